//! Two nodes of the library over one real PostgreSQL: how soon a change on one is in the other's
//! answers, and how many transactions checks cause.
//!
//! `cargo run --release -p benches --bin nodes -- --help` lists the options.

mod propagation;
mod steady;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use benches::Error;
use clap::Parser;
use credential_core::{
    Credentials, ScopeCatalog,
    entropy::OsEntropy,
    secret::{hash::HashCost, keyring::Keyring},
};
use credential_store_postgres::PostgresStore;
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions};

/// Change propagation between two nodes, and transactions of warm checks.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Options {
    /// An empty PostgreSQL database; absent: a throwaway server from the installed binaries.
    #[arg(long)]
    database_url: Option<String>,
    /// Scope edits and revocations, in turn.
    #[arg(long, default_value_t = 1_000)]
    changes: usize,
    /// Checks of warm tokens.
    #[arg(long, default_value_t = 1_000_000)]
    authorizations: usize,
    /// Live tokens that are checked.
    #[arg(long, default_value_t = 10_000)]
    tokens: usize,
    /// One JSON object per line instead of sentences.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    benches::run("nodes", run(&Options::parse()))
}

async fn run(options: &Options) -> Result<(), Error> {
    // Why no autovacuum: its transactions would be counted with ours.
    let throwaway = match options.database_url {
        Some(_) => None,
        None => Some(test_postgres::Server::start_with(&["autovacuum = off"])),
    };
    let database = throwaway.as_ref().map(test_postgres::Server::database);
    let url = match (&options.database_url, &database) {
        (Some(url), _) => url.clone(),
        (None, Some(database)) => database.url(),
        (None, None) => return Err("there is no database".into()),
    };
    let first_pool = pool(&url).await?;
    PostgresStore::migrate(&first_pool).await?;
    let keyring = Keyring::generate(&OsEntropy);
    let first = node(first_pool.clone(), &keyring)?;
    let second = node(pool(&url).await?, &keyring)?;
    let running = [first.start().await?, second.start().await?];

    let report = propagation::measure(&first, &second, options.changes).await?;
    print(options.json, &report)?;

    let [first_running, second_running] = running;
    first_running.shutdown().await; // so that all heartbeats are the second node's
    let report = steady::measure(&first, &second, &first_pool, options).await?;
    print(options.json, &report)?;
    second_running.shutdown().await;
    Ok(())
}

async fn pool(url: &str) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(5))
        .connect(url)
        .await
}

/// A node with cheap hashing: nothing here is about Argon2.
fn node(pool: PgPool, keyring: &Keyring) -> Result<Credentials, Error> {
    Ok(Credentials::builder(PostgresStore::new(pool))
        .catalog(ScopeCatalog::elation())
        .keyring(keyring.clone())
        .hash_cost(HashCost::cheap())
        .limit_per_tenant(u32::MAX)
        .build()?)
}

/// What is being done, on standard error so that the report stays clean.
fn progress(done: usize, of: usize, what: &str) {
    if done.is_multiple_of(of.div_ceil(20).max(1)) {
        let _ = write!(io::stderr(), "\r\x1b[K{what}: {done} of {of}");
    }
}

fn print(as_json: bool, report: &Value) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    write!(io::stderr(), "\r\x1b[K")?;
    if as_json {
        writeln!(out, "{report}")?;
    } else {
        for (name, value) in report.as_object().into_iter().flatten() {
            writeln!(out, "{:<34} {value}", name.replace('_', " "))?;
        }
        writeln!(out)?;
    }
    Ok(())
}
