//! A host of the OAuth endpoints with more credentials than the reference server's limit allows: a
//! process of its own, so that its memory and its processor time are its own.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
    thread,
};

use axum::{Router, routing::get, serve::ListenerExt as _};
use benches::{
    Error,
    fixture::{Client, Deployment, SCOPE},
    measure::Process,
    report::progress_of,
};
use credential_axum::oauth_router;
use credential_core::{manage::ManageError, secret::verify::VerifierConfig};
use serde_json::json;
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
};

use crate::{
    client::{Connection, Exchange, render},
    setup::token_by_post,
};

/// The process, as the one who started it sees it; it ends with its standard input.
pub struct Host {
    pub address: String,
    process: Child,
}

impl Host {
    /// Starts it, and returns its clients' token requests: so many, and one more.
    pub fn start(clients: usize) -> Result<(Self, Vec<Exchange>), Error> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["host", &clients.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("no output to read")?;
        let mut host = Self {
            address: String::new(),
            process,
        };
        let mut lines = BufReader::new(stdout).lines();
        host.address = lines.next().ok_or("the host did not start")??;
        let mut exchanges = Vec::with_capacity(clients + 1);
        for line in lines {
            let line = line?;
            let Some((client_id, secret)) = line.split_once(' ') else {
                break;
            };
            exchanges.push(token_by_post("token", client_id, secret, 200));
        }
        Ok((host, exchanges))
    }

    pub fn process(&self) -> Process {
        Process {
            id: Some(self.process.id()),
        }
    }

    pub async fn hashes(&self) -> Result<u64, Error> {
        let mut connection = Connection::open(&self.address).await?;
        let answer = connection
            .exchange(&render("GET", "/hashes", &[], ""))
            .await?;
        Ok(serde_json::from_slice(answer.body)?)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process itself. Prints its address, then each client's id and secret, then an empty line.
pub async fn run(clients: usize) -> Result<bool, Error> {
    let made_by = Deployment::with_default_cost()?;
    // Another node makes the credentials, on all cores, so that the one under test is new.
    let making = VerifierConfig {
        workers: thread::available_parallelism().map_or(1, usize::from),
        ..VerifierConfig::default()
    };
    let maker = made_by.another_node().verifier(making).build()?;
    // As many at a time as are hashed: more of one tenant would be told to wait.
    let mut lines = String::new();
    let mut tasks = JoinSet::new();
    for n in 0..=clients {
        if tasks.len() == making.workers {
            add(&mut lines, tasks.join_next().await)?;
        }
        progress_of("credentials", n, clients);
        let maker = maker.clone();
        tasks.spawn(async move { Client::create(&maker, format!("key {n}"), &[SCOPE]).await });
    }
    while let Some(made) = tasks.join_next().await {
        add(&mut lines, Some(made))?;
    }

    let node = made_by.node.clone();
    let running = node.start().await?;
    let counted = node.clone();
    let app = Router::new()
        .merge(oauth_router(&node))
        .route("/livez", get(|| async { "ok\n" }))
        .route(
            "/hashes",
            get(move || async move { json!(counted.verifier_stats().hashes).to_string() }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    {
        let mut out = io::stdout().lock();
        writeln!(out, "{}\n{lines}", listener.local_addr()?)?;
        out.flush()?;
    }
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true); // as the socket was, then
    });
    let served = tokio::spawn(async { axum::serve(listener, app).await });
    // Ends when the one who started it does.
    tokio::task::spawn_blocking(|| io::stdin().read(&mut [0])).await??;
    served.abort();
    running.shutdown().await;
    Ok(true)
}

/// Notes a client that was made.
fn add(
    lines: &mut String,
    made: Option<Result<Result<Client, ManageError>, JoinError>>,
) -> Result<(), Error> {
    if let Some(made) = made {
        let client = made??;
        lines.extend([&client.client_id, " ", &client.secret, "\n"]);
    }
    Ok(())
}
