//! Nodes of the library over one real PostgreSQL: how soon a change on one is in the others'
//! answers, how many transactions checks cause, and what more nodes cost.
//!
//! `cargo run --release -p benches --bin nodes -- --help` lists the options.

mod fleet;
mod propagation;
mod steady;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use benches::{
    Error, fixture,
    report::{Report, progress},
};
use clap::Parser;
use credential_core::{
    Credentials,
    entropy::OsEntropy,
    secret::{hash::HashCost, keyring::Keyring},
    testing::ProbeStore,
};
use credential_store_postgres::PostgresStore;
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions};

/// Change propagation between nodes, transactions of warm checks, and catch-ups of 1 to 8 nodes.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Options {
    /// An empty PostgreSQL database. Without it: a throwaway server from the installed binaries.
    #[arg(long)]
    database_url: Option<String>,
    /// Number of changes: scope edits and revocations alternate.
    #[arg(long, default_value_t = 1_000)]
    changes: usize,
    /// Number of changes without LISTEN, where each takes up to a quarter of a second.
    #[arg(long, default_value_t = 100)]
    changes_without_listen: usize,
    /// Number of checks of warm tokens.
    #[arg(long, default_value_t = 1_000_000)]
    authorizations: usize,
    /// Number of live tokens that are checked.
    #[arg(long, default_value_t = 10_000)]
    tokens: usize,
    /// Numbers of nodes that follow the same changes.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    nodes: Vec<usize>,
    /// Rate of those changes.
    #[arg(long, default_value_t = 20)]
    changes_per_second: u32,
    /// Duration for each number of nodes, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// One JSON object per line instead of sentences and a table.
    #[arg(long)]
    json: bool,
    /// Exit with 1 if a budget is missed.
    #[arg(long)]
    check: bool,
}

/// How often a node asks what changed when nothing wakes it.
const CATCH_UP_EVERY: Duration = Duration::from_millis(250);

/// A node, and the probe between it and its store.
struct Node {
    credentials: Credentials,
    store: ProbeStore<PostgresStore>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    benches::run("nodes", options.check, run(&options))
}

async fn run(options: &Options) -> Result<bool, Error> {
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
    let first = Node::new(first_pool.clone(), &keyring)?;
    let second = Node::new(pool(&url).await?, &keyring)?;
    let running = [
        first.credentials.start().await?,
        second.credentials.start().await?,
    ];
    let mut lines = Vec::new();

    let heard = propagation::measure(&first, &second, options.changes, Duration::ZERO).await?;
    print(options.json, &heard.json())?;
    lines.extend(heard.lines());

    let [first_running, second_running] = running;
    first_running.shutdown().await; // so that all heartbeats are the second node's
    let steady = steady::measure(&first, &second, &first_pool, options).await?;
    print(options.json, &steady.json())?;
    lines.extend(steady.lines());

    let first_running = first.credentials.start().await?;
    second_running.shutdown().await;
    let deaf = Node::new(pool(&url).await?, &keyring)?;
    deaf.store.deafen();
    let deaf_running = deaf.credentials.start().await?;
    let unheard = propagation::measure(
        &first,
        &deaf,
        options.changes_without_listen,
        CATCH_UP_EVERY,
    )
    .await?;
    print(options.json, &unheard.json_without_listen())?;
    lines.push(unheard.line_without_listen());
    deaf_running.shutdown().await;
    first_running.shutdown().await;

    let fleet = fleet::measure(&url, &keyring, options).await?;
    for of_size in &fleet {
        print(options.json, &of_size.json())?;
    }
    lines.extend(fleet::line(&fleet));

    let mut report = Report::of_budgets(options.json);
    for line in lines {
        report.add(line)?;
    }
    Ok(report.all_met())
}

async fn pool(url: &str) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(5))
        .connect(url)
        .await
}

impl Node {
    /// A node with cheap hashing, because nothing here measures Argon2.
    fn new(pool: PgPool, keyring: &Keyring) -> Result<Self, Error> {
        let store = ProbeStore::new(PostgresStore::new(pool));
        Ok(Self {
            credentials: fixture::builder(store.clone(), keyring)
                .hash_cost(HashCost::cheap())
                .build()?,
            store,
        })
    }
}

fn print(as_json: bool, report: &Value) -> Result<(), Error> {
    progress("");
    let mut out = io::stdout().lock();
    if as_json {
        writeln!(out, "{report}")?;
    } else {
        for (name, value) in report.as_object().into_iter().flatten() {
            writeln!(out, "{:<36} {value}", name.replace('_', " "))?;
        }
        writeln!(out)?;
    }
    out.flush()?;
    Ok(())
}
