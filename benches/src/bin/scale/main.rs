//! What list, get and a first authentication cost on PostgreSQL with a thousand credentials and
//! with a million, as medians and as their ratio.
//!
//! `cargo run --release -p benches --bin scale -- --help` lists the options.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use benches::{Error, admin, create};
use clap::Parser;
use credential_core::{
    Credentials, ScopeCatalog,
    entropy::OsEntropy,
    secret::{hash::HashCost, keyring::Keyring},
    store::{CredentialStore as _, ListQuery},
};
use credential_store_postgres::PostgresStore;
use serde_json::json;
use sqlx::{PgPool, postgres::PgPoolOptions};

/// Costs at two sizes of one database.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Options {
    /// An empty PostgreSQL database; absent: a throwaway server from the installed binaries.
    #[arg(long)]
    database_url: Option<String>,
    /// Credentials at first.
    #[arg(long, default_value_t = 1_000)]
    small: i64,
    /// Credentials in the end.
    #[arg(long, default_value_t = 1_000_000)]
    large: i64,
    /// Calls that each median is taken of.
    #[arg(long, default_value_t = 2_000)]
    calls: usize,
    /// One JSON object per line instead of a table.
    #[arg(long)]
    json: bool,
}

/// Credentials that other tenants have, a hundred each, copied in the database from one that was
/// made through the library.
const COPIES: &str = "
    with template as (
        select * from credential_management.credential where tenant_id = 'alder' limit 1
    ), tenants as (
        insert into credential_management.tenant (id)
        select distinct 'tenant-' || n / 100 from generate_series($1, $2) n
        on conflict do nothing
    ), copies as (
        insert into credential_management.credential
            (id, tenant_id, name, name_key, api_type, client_id, environment, scopes, created_at,
             created_by, version)
        select md5('id' || n)::uuid, 'tenant-' || n / 100, 'key ' || n,
            sha256(convert_to('key ' || n, 'UTF8')), api_type,
            'cred_sandbox_' || left(md5('client' || n), 22), environment, scopes,
            created_at - n * interval '1 second', created_by, 1
        from template, generate_series($1, $2) n
        returning id
    )
    insert into credential_management.secret
        (selector, credential_id, ordinal, phc, key_name, created_at)
    select left(md5('selector' || copies.id), 16), copies.id, 0, s.phc, s.key_name, s.created_at
    from copies, template
    join credential_management.secret s on s.credential_id = template.id";

fn main() -> ExitCode {
    benches::run("scale", run(&Options::parse()))
}

async fn run(options: &Options) -> Result<(), Error> {
    let url = match &options.database_url {
        Some(url) => url.clone(),
        None => test_postgres::Server::shared().database().url(),
    };
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .connect(&url)
        .await?;
    PostgresStore::migrate(&pool).await?;
    let store = PostgresStore::new(pool.clone());
    let credentials = Credentials::builder(store.clone())
        .catalog(ScopeCatalog::elation())
        .keyring(Keyring::generate(&OsEntropy))
        .hash_cost(HashCost::cheap())
        .build()?;
    for n in 0..100 {
        create(&credentials, format!("key {n}")).await?;
    }

    grow(&pool, 1, options.small).await?;
    let small = measure(&store, options.calls).await?;
    grow(&pool, options.small + 1, options.large).await?;
    let large = measure(&store, options.calls).await?;
    let mut out = io::stdout().lock();
    for ((name, few), (_, many)) in small.into_iter().zip(large) {
        let ratio = many.as_secs_f64() / few.as_secs_f64();
        let micros = [few, many].map(|median| median.as_micros());
        if options.json {
            writeln!(
                out,
                "{}",
                json!({"call": name, "small_us": micros[0], "large_us": micros[1], "ratio": ratio})
            )?;
        } else {
            writeln!(
                out,
                "{name:<28} {:>6} µs at {}, {:>6} µs at {}: {ratio:.2}",
                micros[0], options.small, micros[1], options.large
            )?;
        }
    }
    Ok(())
}

/// Adds copies in steps, so that there is something to see.
async fn grow(pool: &PgPool, from: i64, to: i64) -> Result<(), Error> {
    const STEP: i64 = 50_000;
    let mut next = from;
    while next <= to {
        let last = (next + STEP - 1).min(to);
        write!(io::stderr(), "\r\x1b[Kcredentials: {last} of {to}")?;
        sqlx::query(COPIES)
            .bind(next)
            .bind(last)
            .execute(pool)
            .await?;
        next = last + 1;
    }
    write!(io::stderr(), "\r\x1b[K")?;
    // What loading left behind is not what is measured.
    for settle in ["vacuum (analyze)", "checkpoint"] {
        sqlx::query(settle).execute(pool).await?;
    }
    Ok(())
}

/// The median of each call, warmed up by a tenth as many.
async fn measure(
    store: &PostgresStore,
    calls: usize,
) -> Result<[(&'static str, Duration); 3], Error> {
    let admin = admin();
    let tenant = admin.tenant();
    let query = ListQuery {
        limit: 50,
        after: None,
        include_revoked: false,
    };
    let listed = store.list(tenant, &query).await?;
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for n in 0..calls + calls / 10 {
        let one = listed.get(n % listed.len()).ok_or("nothing is listed")?;
        let selector = one.secrets.first().ok_or("no secret")?.selector;
        let took = [
            timed(store.list(tenant, &query)).await?,
            timed(store.get(tenant, one.id)).await?,
            timed(store.state_by_selector(&selector)).await?,
        ];
        if n >= calls / 10 {
            for (cost, took) in costs.iter_mut().zip(took) {
                cost.push(took);
            }
        }
    }
    let [list, get, state] = costs.map(|mut cost| {
        cost.sort_unstable();
        cost.get(cost.len() / 2).copied().unwrap_or_default()
    });
    Ok([
        ("list, 50 of 100", list),
        ("get", get),
        ("first authenticate, read", state),
    ])
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn timed<T, E>(call: impl Future<Output = Result<T, E>>) -> Result<Duration, E> {
    let began = Instant::now();
    call.await?;
    Ok(began.elapsed())
}
