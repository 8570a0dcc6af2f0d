//! A host of the OAuth endpoints with more credentials than the reference server's limit allows,
//! as a process of its own, so that its memory is its own.

use std::{
    io::{self, Read as _, Write as _},
    thread,
};

use axum::{Router, routing::get};
use benches::{
    Error,
    fixture::{Client, Deployment, SCOPE},
    report::progress_of,
};
use credential_axum::oauth_router;
use credential_core::secret::verify::VerifierConfig;
use serde_json::json;
use tokio::net::TcpListener;

/// Prints its address, then each client's id and secret, then an empty line.
pub async fn run(clients: usize) -> Result<bool, Error> {
    let made_by = Deployment::with_default_cost()?;
    // Another node makes the credentials, on all cores, so that the one under test is new.
    let making = VerifierConfig {
        workers: thread::available_parallelism().map_or(1, usize::from),
        waiting: clients,
        ..VerifierConfig::default()
    };
    let maker = made_by.another_node().verifier(making).build()?;
    let tasks: Vec<_> = (0..=clients)
        .map(|n| {
            let maker = maker.clone();
            tokio::spawn(async move { Client::create(&maker, format!("key {n}"), &[SCOPE]).await })
        })
        .collect();
    let mut lines = String::new();
    for (n, task) in tasks.into_iter().enumerate() {
        progress_of("credentials", n, clients);
        let client = task.await??;
        lines.extend([&client.client_id, " ", &client.secret, "\n"]);
    }

    let node = made_by.node.clone();
    let running = node.start().await?;
    let counted = node.clone();
    let app = Router::new().merge(oauth_router(&node)).route(
        "/hashes",
        get(move || async move { json!(counted.verifier_stats().hashes).to_string() }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    {
        let mut out = io::stdout().lock();
        writeln!(out, "{}\n{lines}", listener.local_addr()?)?;
        out.flush()?;
    }
    let served = tokio::spawn(axum::serve(listener, app).into_future());
    // Ends when the one who started it does.
    tokio::task::spawn_blocking(|| io::stdin().read(&mut [0])).await??;
    served.abort();
    running.shutdown().await;
    Ok(true)
}
