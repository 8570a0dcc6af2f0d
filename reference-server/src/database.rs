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
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::config::Database;

/// Connections of one node; the listener's own comes on top.
const MAX_CONNECTIONS: u32 = 16;

/// How long a call waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("could not connect to PostgreSQL")]
    Connect(#[source] sqlx::Error),
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
    #[error("could not write to standard output")]
    Output(#[from] io::Error),
}

/// The store, on a schema that fits this build.
///
/// # Errors
/// `Connect`; `Schema` says whether to migrate or to run a newer build.
pub async fn open(database: Database) -> Result<PostgresStore, DatabaseError> {
    let pool = connect(database.options).await?;
    PostgresStore::check_schema(&pool).await?;
    let pooler = match database.pooler {
        Some(said) => said,
        None => found(&pool).await,
    };
    Ok(PostgresStore::behind(pooler, pool))
}

/// What stands before PostgreSQL; in doubt what is right everywhere.
async fn found(pool: &PgPool) -> Pooler {
    match Pooler::detect(&pool.connect_options()).await {
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
    let pool = connect(database.options).await?;
    let pooler = match database.pooler {
        Some(said) => said,
        None => Pooler::detect(&pool.connect_options()).await?,
    };
    if pooler == Pooler::Transaction {
        return Err(DatabaseError::MigrateBehindPooler);
    }
    PostgresStore::migrate(&pool).await?;
    writeln!(
        io::stdout(),
        "the schema credential_management is up to date"
    )?;
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

async fn connect(options: PgConnectOptions) -> Result<PgPool, DatabaseError> {
    PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(
            options
                .application_name("credential-node")
                // Why none: no float is stored, and PgBouncer refuses who sends it.
                .extra_float_digits(None),
        )
        .await
        .map_err(DatabaseError::Connect)
}
