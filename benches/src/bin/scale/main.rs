//! The cost of list, get and a first authentication on PostgreSQL, and the bytes of a credential, from a
//! thousand credentials to a million.
//!
//! A bare round trip alternates with the calls: where it costs more at another size, the cause is the
//! machine and not the database. `cargo run --release -p benches --bin scale -- --help` lists the
//! options.

use std::{process::ExitCode, time::Duration};

use benches::{
    Error,
    fixture::{self, Client, SCOPE, admin},
    measure::{Samples, now},
    report::{Budget, Cell, Report, Unit, column, progress},
};
use clap::Parser;
use credential_core::{
    entropy::OsEntropy,
    secret::{hash::HashCost, keyring::Keyring},
    store::{CredentialStore as _, ListQuery},
};
use credential_store_postgres::PostgresStore;
use sqlx::{PgPool, postgres::PgPoolOptions};

/// Costs of one database at growing sizes.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Options {
    /// An empty PostgreSQL database. Without it: a throwaway server from the installed binaries.
    #[arg(long)]
    database_url: Option<String>,
    /// Numbers of credentials, ascending. Ratios are to the first.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000])]
    sizes: Vec<i64>,
    /// Number of calls for each median.
    #[arg(long, default_value_t = 2_000)]
    calls: usize,
    /// One JSON object per line instead of a table.
    #[arg(long)]
    json: bool,
    /// Exit with 1 if a budget is missed.
    #[arg(long)]
    check: bool,
}

/// The most that a call may take, relative to the smallest database.
const BUDGET: Budget = Budget::at_most(1.3, Unit::Times);

/// What is measured, in the order of [`measure`]; the first is the bare round trip.
const CALLS: [&str; 4] = [
    "round trip",
    "list, 50 of 100",
    "get",
    "first authenticate, read",
];

/// Credentials of other tenants, a hundred each: copies, made in the database, of one that the library
/// created.
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

/// Bytes of every table, indexes included. Copies have no audit trail.
const BYTES: &str = "
    select sum(pg_total_relation_size(c.oid))::bigint
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'credential_management' and c.relkind = 'r'";

fn main() -> ExitCode {
    let options = Options::parse();
    benches::run("scale", options.check, run(&options))
}

async fn run(options: &Options) -> Result<bool, Error> {
    if !options.sizes.is_sorted_by(|a, b| a < b) || options.sizes.iter().any(|size| *size < 1) {
        return Err("--sizes: positive numbers in ascending order".into());
    }
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
    let node = fixture::builder(store.clone(), &Keyring::generate(&OsEntropy))
        .hash_cost(HashCost::cheap())
        .build()?;
    for n in 0..100 {
        Client::create(&node, format!("key {n}"), &[SCOPE]).await?;
    }

    let mut report = Report::new(
        options.json,
        [
            column("credentials", "credentials", 11),
            column("bytes_each", "bytes each", 10),
            column("call", "call", -24),
            column("us", "µs", 7),
            column("ratio", "ratio", 6),
            column("of_the_round_trip", "round trip's", 12),
            column("budget", "budget", 8),
            column("met", "", -6),
        ],
    );
    let mut smallest = None;
    for (n, &size) in options.sizes.iter().enumerate() {
        let before = n.checked_sub(1).map_or(0, |last| options.sizes[last]);
        grow(&pool, before + 1, size).await?;
        let (bytes,): (i64,) = sqlx::query_as(BYTES).fetch_one(&pool).await?;
        let costs = measure(&pool, &store, options.calls).await?;
        let first = *smallest.get_or_insert(costs);
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        let (size, bytes) = (size as f64, bytes as f64 / size as f64);
        let drift = costs[0].as_secs_f64() / first[0].as_secs_f64();
        for ((call, cost), first) in CALLS.iter().zip(costs).zip(first) {
            let ratio = cost.as_secs_f64() / first.as_secs_f64();
            let judged = n > 0 && *call != CALLS[0];
            report.row(&[
                Cell::Number(size, 0),
                Cell::Number(bytes, 0),
                (*call).into(),
                Cell::Number(cost.as_secs_f64() * 1e6, 0),
                Cell::Number(ratio, 2),
                Cell::Number(drift, 2),
                if judged {
                    Cell::Budget(BUDGET)
                } else {
                    Cell::Empty
                },
                // Why without the drift: the smaller ratio must not hide behind it.
                if judged {
                    Cell::Met(BUDGET.is_met_by(ratio / drift.max(1.0)))
                } else {
                    Cell::Empty
                },
            ])?;
        }
    }
    Ok(report.all_met())
}

/// Adds copies in steps, so that there is something to see.
async fn grow(pool: &PgPool, from: i64, to: i64) -> Result<(), Error> {
    const STEP: i64 = 50_000;
    let mut next = from;
    while next <= to {
        let last = (next + STEP - 1).min(to);
        progress(&format!("credentials: {last} of {to}"));
        sqlx::query(COPIES)
            .bind(next)
            .bind(last)
            .execute(pool)
            .await?;
        next = last + 1;
    }
    progress("settling");
    // What loading left behind is not what is measured.
    for settle in ["vacuum (analyze)", "checkpoint"] {
        sqlx::query(settle).execute(pool).await?;
    }
    Ok(())
}

/// The median of each call, warmed up by a tenth as many.
async fn measure(
    pool: &PgPool,
    store: &PostgresStore,
    calls: usize,
) -> Result<[Duration; CALLS.len()], Error> {
    let admin = admin();
    let tenant = admin.tenant();
    let query = ListQuery {
        limit: 50,
        after: None,
        include_revoked: false,
    };
    let listed = store.list(tenant, &query).await?;
    let mut costs = CALLS.map(|_| Vec::with_capacity(calls));
    progress("calls");
    for n in 0..calls + calls / 10 {
        let one = listed.get(n % listed.len()).ok_or("nothing is listed")?;
        let selector = one.settings.secrets.first().ok_or("no secret")?.selector;
        let took = [
            timed(sqlx::query("select 1").execute(pool)).await?,
            timed(store.list(tenant, &query)).await?,
            timed(store.get(tenant, one.identity.id)).await?,
            timed(store.state_by_proof(&selector)).await?,
        ];
        if n >= calls / 10 {
            for (cost, took) in costs.iter_mut().zip(took) {
                cost.push(took.as_secs_f64());
            }
        }
    }
    Ok(costs.map(|cost| Duration::from_secs_f64(Samples::new(cost).median())))
}

async fn timed<T, E>(call: impl Future<Output = Result<T, E>>) -> Result<Duration, E> {
    let began = now();
    call.await?;
    Ok(began.elapsed())
}
