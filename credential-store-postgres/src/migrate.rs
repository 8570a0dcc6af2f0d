//! The schema: how it comes about, and whether it is the one that this build was made for.

use sqlx::{PgPool, migrate::Migrator};

use crate::{pooler::Pooler, unnamed::On};

/// Its own schema and its own migrations table (see `sqlx.toml`), beside the host's.
static MIGRATOR: Migrator = sqlx::migrate!();

/// Where a database's schema stands, seen from this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// It is the one that this build was made for.
    Current,
    /// Migrations are missing.
    Older {
        /// The latest migration that was applied; `None`: none was.
        found: Option<i64>,
        /// The latest that this build has.
        needed: i64,
    },
    /// A newer build has migrated the database.
    Newer {
        /// The latest migration that was applied.
        found: i64,
        /// The latest that this build has.
        known: i64,
    },
}

/// Why a database's schema cannot be used or brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Migrations are missing.
    #[error(
        "the database schema `credential_management` {} and this build needs migration {needed}: run `reference-server migrate`, or `PostgresStore::migrate` in a host of your own",
        match found { Some(found) => format!("is at migration {found}"), None => "is missing".to_owned() }
    )]
    Older {
        /// The latest migration that was applied; `None`: none was.
        found: Option<i64>,
        /// The latest that this build has.
        needed: i64,
    },
    /// A newer build has migrated the database.
    #[error(
        "the database schema `credential_management` is at migration {found}, newer than migration {known} of credential-store-postgres {}: run a newer version of it",
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The latest migration that was applied.
        found: i64,
        /// The latest that this build has.
        known: i64,
    },
    /// The database could not be asked, or a migration failed; what it had done is undone.
    #[error("the database schema `credential_management` could not be read or migrated")]
    Backend {
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

pub(crate) async fn state(pool: &PgPool) -> Result<SchemaState, SchemaError> {
    let found = latest_applied(pool).await.map_err(failed)?;
    let ours = latest();
    Ok(match found {
        Some(found) if found > ours => SchemaState::Newer { found, known: ours },
        Some(found) if found == ours => SchemaState::Current,
        found => SchemaState::Older {
            found,
            needed: ours,
        },
    })
}

/// Always as behind a pooler: nobody has said yet whether there is one.
async fn latest_applied(pool: &PgPool) -> Result<Option<i64>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    // Why two: a table that may be missing cannot stand in a query that is to say so.
    let exists = sqlx::query_scalar!(
        r#"select to_regclass('credential_management.migration') is not null as "exists!""#
    )
    .fetch_one(On::new(&mut transaction, Pooler::Transaction))
    .await?;
    let found = if exists {
        sqlx::query_scalar("select max(version) from credential_management.migration where success")
            .fetch_one(On::new(&mut transaction, Pooler::Transaction))
            .await?
    } else {
        None
    };
    transaction.commit().await?;
    Ok(found)
}

pub(crate) async fn check(pool: &PgPool) -> Result<(), SchemaError> {
    match state(pool).await? {
        SchemaState::Current => Ok(()),
        SchemaState::Older { found, needed } => Err(SchemaError::Older { found, needed }),
        SchemaState::Newer { found, known } => Err(SchemaError::Newer { found, known }),
    }
}

pub(crate) async fn migrate(pool: &PgPool) -> Result<(), SchemaError> {
    if let SchemaState::Newer { found, known } = state(pool).await? {
        return Err(SchemaError::Newer { found, known });
    }
    // Why out of the pool: the migrator's advisory lock belongs to the session, and must go with it
    // also when a migration fails.
    let mut connection = pool.acquire().await.map_err(failed)?.detach();
    MIGRATOR
        .run_direct(None, &mut connection, false)
        .await
        .map_err(failed)?;
    sqlx::Connection::close(connection).await.map_err(failed)
}

fn latest() -> i64 {
    MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> SchemaError {
    SchemaError::Backend {
        source: Box::new(error),
    }
}
