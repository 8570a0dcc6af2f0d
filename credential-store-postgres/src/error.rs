//! PostgreSQL's errors, as errors that a caller can act on.

use credential_core::store::StoreError;
use sqlx::error::DatabaseError;

/// A violated constraint becomes the domain error that it guards; every other error is `Backend`.
///
/// `Display` of the result has no SQL and no value. The server's message is its source.
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    let constraint = error
        .as_database_error()
        .and_then(|error| error.constraint());
    match constraint {
        Some("credential_live_name") => StoreError::NameTaken,
        Some("audit_event_pkey") => backend(HeadBehindTrail(error)),
        _ => StoreError::Backend {
            source: explained(error),
        },
    }
}

/// The error, wrapped in a hint for operators where there is one.
pub(crate) fn explained(error: sqlx::Error) -> Box<dyn std::error::Error + Send + Sync> {
    let code = error.as_database_error().and_then(DatabaseError::code);
    let hint = match code.as_deref() {
        // undefined_table, invalid_schema_name
        Some("42P01" | "3F000") => Some(NO_SCHEMA),
        // insufficient_privilege
        Some("42501") => Some(NO_RIGHT),
        _ => None,
    };
    match hint {
        Some(hint) => Box::new(Explained { hint, error }),
        None => Box::new(error),
    }
}

const NO_SCHEMA: &str = "the database schema `credential_management` is missing or incomplete: \
    run `reference-server migrate`, or `PostgresStore::migrate` in a host of your own";
const NO_RIGHT: &str = "the database role lacks a right: a role that runs a node needs the grants \
    that docs/operations.md lists under `Roles`, a role that migrates needs `create` on the database";

/// PostgreSQL's error, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{hint}")]
struct Explained {
    hint: &'static str,
    #[source]
    error: sqlx::Error,
}

/// Whether the server aborted a transaction because of a concurrent one: `serialization_failure` or
/// `deadlock_detected`.
pub(crate) fn is_conflict(error: &StoreError) -> bool {
    let StoreError::Backend { source } = error else {
        return false;
    };
    let code = source
        .downcast_ref::<sqlx::Error>()
        .and_then(|error| error.as_database_error()?.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// An error that this crate itself raises.
pub(crate) fn backend(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Backend {
        source: Box::new(error),
    }
}

/// A stored value that core did not write.
#[derive(Debug, thiserror::Error)]
#[error("column `{column}` holds a value that core does not accept")]
pub(crate) struct Unreadable {
    pub(crate) column: &'static str,
}

/// The head in `tenant` names an earlier row than the newest, so the next row would overwrite one.
#[derive(Debug, thiserror::Error)]
#[error(
    "the tenant's audit trail goes on behind the head kept with the tenant: verify it with \
     `reference-server audit verify`, and repair the head (docs/operations.md)"
)]
pub(crate) struct HeadBehindTrail(#[source] sqlx::Error);

/// A call that took too long; its connection is closed, so nothing of it can happen later unless
/// it was already committing.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL did not answer within {0:?}")]
pub(crate) struct TookTooLong(pub(crate) std::time::Duration);
