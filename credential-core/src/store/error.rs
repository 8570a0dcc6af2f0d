//! Why a store did not do what was asked.

use std::{error::Error, sync::Arc};

use crate::secret::keyring::KeyName;

/// Why a call of the store failed; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The tenant has no such credential.
    #[error("no such credential")]
    NotFound,
    /// Another credential of the tenant that is not revoked has that name.
    #[error("another credential has that name")]
    NameTaken,
    /// The tenant has reached its limit of credentials.
    #[error("the tenant has reached its limit of credentials")]
    LimitReached,
    /// Somebody else changed the credential first.
    #[error("the credential has another version")]
    StaleVersion,
    /// An answer is kept already for a request with that idempotency key.
    #[error("an answer is kept for that idempotency key")]
    IdempotencyKeyUsed,
    /// The credential is revoked and can no longer be edited.
    #[error("the credential is revoked")]
    Revoked,
    /// A node that is alive has another issuer.
    #[error(
        "this node's issuer is `{issuer}` and that of a node that is alive is `{other}`: tokens of one \
        would not count on the other"
    )]
    IssuerMismatch {
        /// Of the node that asks.
        issuer: Arc<str>,
        /// Of the node that is alive.
        other: String,
    },
    /// Another node used other bytes under this key name.
    #[error(
        "the key `{name}` of the keyring differs from the one used with this store before; use the \
        nodes' keyring, or give a new key a new name"
    )]
    KeyMismatch {
        /// The key's name.
        name: KeyName,
    },
    /// The store could not answer, or did not in time.
    #[error("the store did not answer")]
    Backend {
        /// The store's own error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl From<Box<dyn Error + Send + Sync>> for StoreError {
    /// A `StoreError` stays what it is, any other error is `Backend`.
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        match error.downcast() {
            Ok(known) => *known,
            Err(source) => Self::Backend { source },
        }
    }
}
