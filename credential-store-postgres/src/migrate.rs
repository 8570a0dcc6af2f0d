//! The schema: its migrations, and whether it is the one that this build was made for.

use sqlx::{
    PgPool,
    migrate::{MigrateError, Migrator},
};

use crate::{error::explained, executor::On, pooler::Pooler};

/// The migrations, which have a schema and a migrations table of their own (see `sqlx.toml`).
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
        /// Whether this build may still run on it, beside newer ones.
        compatible: bool,
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
    /// A newer build has migrated the database, to a schema that this one cannot run on.
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
    /// The database cannot hold every name: its encoding is not UTF-8. An encoding cannot be changed.
    #[error(
        "the database's encoding is {found} and must be UTF8, because it cannot hold every name: create another with `create database … encoding 'UTF8' template template0`"
    )]
    Encoding {
        /// The database's encoding.
        found: String,
    },
    /// The database could not be asked, or a migration failed and was rolled back.
    #[error("the database schema `credential_management` could not be read or migrated")]
    Backend {
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

pub(crate) async fn state(pool: &PgPool) -> Result<SchemaState, SchemaError> {
    let applied = applied(pool).await?;
    let ours = latest();
    Ok(match applied {
        Some(Applied { latest, oldest }) if latest > ours => SchemaState::Newer {
            found: latest,
            known: ours,
            compatible: oldest <= ours,
        },
        Some(Applied { latest, .. }) if latest == ours => SchemaState::Current,
        older => SchemaState::Older {
            found: older.map(|older| older.latest),
            needed: ours,
        },
    })
}

/// What a database was migrated to.
struct Applied {
    latest: i64,
    /// The oldest build that may run on it, by its latest migration.
    oldest: i64,
}

/// Always as behind a pooler, because it is not known yet whether there is one.
async fn applied(pool: &PgPool) -> Result<Option<Applied>, SchemaError> {
    let mut transaction = pool.begin().await.map_err(failed)?;
    // Why two queries: one that names a missing table fails.
    let database = sqlx::query!(
        r#"select current_setting('server_encoding') as "encoding!",
            to_regclass('credential_management.migration') is not null as "exists!""#
    )
    .fetch_one(On::new(&mut transaction, Pooler::Transaction))
    .await
    .map_err(failed)?;
    if database.encoding != "UTF8" {
        return Err(SchemaError::Encoding {
            found: database.encoding,
        });
    }
    let found = if database.exists {
        let latest: Option<i64> = sqlx::query_scalar(
            "select max(version) from credential_management.migration where success",
        )
        .fetch_one(On::new(&mut transaction, Pooler::Transaction))
        .await
        .map_err(failed)?;
        match latest {
            Some(latest) => Some(Applied {
                latest,
                oldest: sqlx::query_scalar(
                    "select oldest from credential_management.compatibility",
                )
                .fetch_one(On::new(&mut transaction, Pooler::Transaction))
                .await
                .map_err(failed)?,
            }),
            None => None,
        }
    } else {
        None
    };
    transaction.commit().await.map_err(failed)?;
    Ok(found)
}

pub(crate) async fn check(pool: &PgPool) -> Result<(), SchemaError> {
    match state(pool).await? {
        SchemaState::Current => Ok(()),
        SchemaState::Older { found, needed } => Err(SchemaError::Older { found, needed }),
        SchemaState::Newer {
            found,
            known,
            compatible: true,
        } => {
            tracing::warn!(
                found,
                known,
                "a newer version has migrated the database; this one may run beside it"
            );
            Ok(())
        }
        SchemaState::Newer { found, known, .. } => Err(SchemaError::Newer { found, known }),
    }
}

pub(crate) async fn migrate(pool: &PgPool) -> Result<(), SchemaError> {
    match state(pool).await? {
        // First: a role that runs a node may not migrate.
        SchemaState::Current
        | SchemaState::Newer {
            compatible: true, ..
        } => return Ok(()),
        SchemaState::Newer { found, known, .. } => {
            return Err(SchemaError::Newer { found, known });
        }
        SchemaState::Older { .. } => {}
    }
    // Why detached: the migrator's advisory lock belongs to the session. Closing the session releases it,
    // also when a migration fails.
    let mut connection = pool.acquire().await.map_err(failed)?.detach();
    MIGRATOR
        .run_direct(None, &mut connection, false)
        .await
        .map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                failed(error)
            }
            error => SchemaError::Backend {
                source: Box::new(error),
            },
        })?;
    sqlx::Connection::close(connection).await.map_err(failed)
}

fn latest() -> i64 {
    MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

fn failed(error: sqlx::Error) -> SchemaError {
    SchemaError::Backend {
        source: explained(error),
    }
}
