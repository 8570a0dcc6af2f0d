//! PostgreSQL: opening the store, and the commands that work on the database alone.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use credential_core::{
    audit::{Heads, verify_trails},
    secret::keyring::Keyring,
    store::StoreError,
};
use credential_store_postgres::{DetectError, Pooler, PostgresStore, SchemaError};
use sqlx::{
    ConnectOptions as _, Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::config::Database;

/// Connections of one node; the listener's own comes on top.
const MAX_CONNECTIONS: u32 = 16;

/// How long a call waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a server waits at its start for a database that is not there yet.
const WAIT_FOR_START: Duration = Duration::from_mins(1);
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// Limit on a statement outside a transaction, so that a statement of a dead node does not stay in the
/// queue for a lock. It is set only where the sessions are this node's own, not a pooler's.
const LIMITS: &str = "set statement_timeout = '4s'; set lock_timeout = '3s'; \
    set idle_in_transaction_session_timeout = '4s'";

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("could not connect to PostgreSQL")]
    Connect(#[source] sqlx::Error),
    #[error("PostgreSQL did not answer within {0:?}")]
    NoAnswer(Duration),
    #[error(transparent)]
    Detect(#[from] DetectError),
    #[error(
        "migrations do not go through a pooler, because their lock belongs to a session of \
         PostgreSQL: connect to PostgreSQL itself with --database-url (DATABASE_URL); if this is \
         PostgreSQL, or a pooler in session mode, say --database-pooler none"
    )]
    MigrateBehindPooler,
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("could not read the audit trail")]
    Audit(#[from] StoreError),
    #[error("{faulty} of {trails} audit trails cannot be vouched for; see each one's line")]
    NotIntact { faulty: u64, trails: u64 },
    #[error("could not write the change for everything")]
    Invalidate(#[source] StoreError),
    #[error("could not write to standard output")]
    Output(#[from] io::Error),
}

/// The store, on a schema that fits this build.
///
/// # Errors
/// `Connect`; `Schema` says whether to migrate or to run a newer build.
pub async fn open(database: Database) -> Result<PostgresStore, DatabaseError> {
    let options = options(database.options);
    reach(&options).await?;
    let pooler = match database.pooler {
        Some(said) => said,
        None => found(&options).await,
    };
    let pool = connect(options, pooler).await?;
    PostgresStore::check_schema(&pool).await?;
    Ok(PostgresStore::behind(pooler, pool))
}

/// As [`open`], for a server that may start before its database: waits for it, and logs that.
///
/// # Errors
/// As those of [`open`]; `Connect` after a minute.
pub async fn wait_and_open(database: Database) -> Result<PostgresStore, DatabaseError> {
    let options = options(database.options.clone());
    let mut waiting = false;
    let there = async {
        while let Err(error) = reach(&options).await {
            if !may_come(&error) {
                return;
            }
            if !waiting {
                waiting = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "PostgreSQL is not there yet: waiting for it, for at most {WAIT_FOR_START:?}"
                );
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    };
    // If it does not come, opening says why.
    let _in_time = tokio::time::timeout(WAIT_FOR_START, there).await;
    open(database).await
}

/// Connects once, for the cause of a failure: a pool reports only that it has timed out.
async fn reach(options: &PgConnectOptions) -> Result<(), DatabaseError> {
    let reach = async { options.connect().await?.close().await };
    match tokio::time::timeout(ACQUIRE_TIMEOUT, reach).await {
        Ok(reached) => reached.map_err(DatabaseError::Connect),
        Err(_) => Err(DatabaseError::NoAnswer(ACQUIRE_TIMEOUT)),
    }
}

/// Whether PostgreSQL may not be up yet, as opposed to refusing the role.
fn may_come(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::NoAnswer(_) | DatabaseError::Connect(sqlx::Error::Io(_)) => true,
        DatabaseError::Connect(sqlx::Error::Database(error)) => {
            // cannot_connect_now, too_many_connections
            matches!(error.code().as_deref(), Some("57P03" | "53300"))
        }
        _ => false,
    }
}

/// The pooler in front of PostgreSQL; in doubt the mode that works everywhere.
async fn found(options: &PgConnectOptions) -> Pooler {
    match Pooler::detect(options).await {
        Ok(found) => {
            tracing::info!(pooler = %found, "found out what stands before PostgreSQL");
            found
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "goes on as behind a pooler in transaction mode"
            );
            Pooler::Transaction
        }
    }
}

/// `reference-server migrate`.
///
/// # Errors
/// `MigrateBehindPooler`; `Detect` if that cannot be found out; `Connect`, `Schema`.
pub async fn migrate(database: Database) -> Result<(), DatabaseError> {
    let options = options(database.options);
    reach(&options).await?;
    let pooler = match database.pooler {
        Some(said) => said,
        None => Pooler::detect(&options).await?,
    };
    if pooler == Pooler::Transaction {
        return Err(DatabaseError::MigrateBehindPooler);
    }
    // Without limits: a migration takes its time.
    let pool = connect(options, Pooler::Transaction).await?;
    PostgresStore::migrate(&pool).await?;
    writeln!(
        io::stdout(),
        "the schema credential_management is up to date"
    )?;
    Ok(())
}

/// `reference-server invalidate`.
///
/// # Errors
/// As those of [`open`]; `Invalidate` if the change could not be written.
pub async fn invalidate(database: Database) -> Result<(), DatabaseError> {
    let store = open(database).await?;
    store
        .invalidate()
        .await
        .map_err(DatabaseError::Invalidate)?;
    writeln!(io::stdout(), "every node starts anew")?;
    Ok(())
}

/// `reference-server audit verify`: a line on standard output for each trail that is not intact.
///
/// With `print_heads`, standard output holds the heads of the intact ones alone, and those lines go
/// to standard error.
///
/// # Errors
/// `NotIntact` after all trails were looked at; `Connect`, `Schema`, `Audit`.
pub async fn verify_audit(
    database: Database,
    keyring: &Keyring,
    heads: &Heads,
    print_heads: bool,
) -> Result<(), DatabaseError> {
    let store = open(database).await?;
    let (mut trails, mut faulty) = (0_u64, 0_u64);
    let mut written = Ok(());
    verify_trails(&store, keyring, heads, |report| {
        trails += 1;
        faulty += u64::from(!report.is_intact());
        let write = || match (report.is_intact(), print_heads) {
            (true, false) => Ok(()),
            (true, true) => match report.head_line() {
                Some(line) => writeln!(io::stdout(), "{line}"),
                None => Ok(()),
            },
            (false, false) => writeln!(io::stdout(), "{report}"),
            (false, true) => writeln!(io::stderr(), "{report}"),
        };
        if written.is_ok() {
            written = write();
        }
    })
    .await?;
    written?;
    tracing::info!(trails, faulty, "verified the audit trails");
    match faulty {
        0 => Ok(()),
        _ => Err(DatabaseError::NotIntact { faulty, trails }),
    }
}

fn options(options: PgConnectOptions) -> PgConnectOptions {
    options
        .application_name("credential-node")
        // Why none: no float is stored, and PgBouncer refuses connections that send it.
        .extra_float_digits(None)
}

async fn connect(options: PgConnectOptions, pooler: Pooler) -> Result<PgPool, DatabaseError> {
    let mut pool = PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT);
    if pooler == Pooler::None {
        pool = pool.after_connect(|connection, _| {
            Box::pin(async { sqlx::raw_sql(LIMITS).execute(connection).await.map(drop) })
        });
    }
    pool.connect_with(options)
        .await
        .map_err(DatabaseError::Connect)
}
