//! What PostgreSQL says, as what a caller can act on.

use credential_core::store::StoreError;

/// A broken constraint becomes the domain error that it guards; all else is `Backend`.
///
/// `Display` of the result holds no SQL and no value; what the server said is its source.
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    let constraint = error
        .as_database_error()
        .and_then(|error| error.constraint());
    match constraint {
        Some("credential_live_name") => StoreError::NameTaken,
        _ => StoreError::Backend {
            source: Box::new(error),
        },
    }
}

/// A failure of this crate's own making.
pub(crate) fn backend(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Backend {
        source: Box::new(error),
    }
}

/// A stored value that core did not write, or that a column cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("column `{column}` holds what core does not accept")]
pub(crate) struct Unreadable {
    pub(crate) column: &'static str,
}

/// A call that took too long; its connection is closed, so nothing of it can happen later unless
/// it was already committing.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL did not answer within {0:?}")]
pub(crate) struct TookTooLong(pub(crate) std::time::Duration);
