//! Why a token is not accepted, or was not revoked.

use std::{sync::Arc, time::Duration};

use crate::{
    live::NotLive, store::StoreError, store_work::CallError, tenant_share::Refused,
    usage::RefusalReason,
};

/// Why a bearer token is not accepted: `401 invalid_token` (RFC 6750 §3.1), except for
/// `AddressNotAllowed`. For logs, never for whoever sent the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Not sealed by this deployment, or altered.
    #[error("the token is not of this deployment, or was altered")]
    NotOurs,
    /// It names a key that the keyring lacks.
    #[error("the token names a key that the keyring lacks")]
    UnknownKey,
    /// Past its own lifetime.
    #[error("the token has expired")]
    Expired,
    /// Revoked by its client (RFC 7009), alone or with all older ones.
    #[error("the token was revoked by its client")]
    Revoked,
    /// The credential does not exist here, or its API type is no longer offered.
    #[error("there is no such credential")]
    UnknownCredential,
    /// The credential is revoked.
    #[error("the credential is revoked")]
    CredentialRevoked,
    /// The credential has expired.
    #[error("the credential has expired")]
    CredentialExpired,
    /// The credential is disabled.
    #[error("the credential is disabled")]
    CredentialDisabled,
    /// The secret that it was issued for has ended.
    #[error("the secret that the token was issued for has ended")]
    SecretEnded,
    /// The token is live, but its credential is bound to networks, and the call comes from elsewhere or
    /// nobody knows from where. `403`, without an error code of OAuth: a new token would not help.
    #[error("the credential may not be used from the address of the call")]
    AddressNotAllowed,
}

impl TokenRefusal {
    /// A word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotOurs => "not_ours",
            Self::UnknownKey => "unknown_key",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::UnknownCredential => "unknown_credential",
            Self::CredentialRevoked => "credential_revoked",
            Self::CredentialExpired => "credential_expired",
            Self::CredentialDisabled => "credential_disabled",
            Self::SecretEnded => "secret_ended",
            Self::AddressNotAllowed => "address_not_allowed",
        }
    }
}

impl TokenRefusal {
    /// The reason that the credential's admins see. `None`: the token is of no credential here, or the refusal is
    /// noted by whoever knows the call.
    pub(super) fn told_to_admins(self) -> Option<RefusalReason> {
        match self {
            Self::NotOurs
            | Self::UnknownKey
            | Self::UnknownCredential
            | Self::AddressNotAllowed => None,
            Self::Expired => Some(RefusalReason::TokenExpired),
            Self::Revoked => Some(RefusalReason::TokenRevoked),
            Self::CredentialRevoked => Some(RefusalReason::Revoked),
            Self::CredentialExpired => Some(RefusalReason::Expired),
            Self::CredentialDisabled => Some(RefusalReason::Disabled),
            Self::SecretEnded => Some(RefusalReason::SecretEnded),
        }
    }
}

/// Why there is no [`Access`](crate::Access).
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// `401`; for [`TokenRefusal::AddressNotAllowed`] `403`.
    #[error("the access token is not valid")]
    Refused(#[source] TokenRefusal),
    /// Nothing can be proven now: `503`, never "probably still valid".
    #[error("could not read the credential")]
    Store(#[source] Arc<StoreError>),
}

/// Why a token was not revoked: it is still live.
#[derive(Debug, thiserror::Error)]
pub enum RevokeTokenError {
    /// Too many requests of this tenant's clients are waiting already: `503` with `Retry-After`
    /// (RFC 7009 §2.2.1).
    #[error("too many requests of this tenant are waiting; try again in {} s", .retry_after.as_secs())]
    Busy {
        /// When to try again: whole seconds, 1 to 120. Follows the tenant's own queue.
        retry_after: Duration,
    },
    /// It could not be recorded: `503`.
    #[error("the store did not answer")]
    Store(#[source] StoreError),
}

impl From<NotLive> for TokenRefusal {
    fn from(why: NotLive) -> Self {
        match why {
            NotLive::Revoked => Self::CredentialRevoked,
            NotLive::Expired => Self::CredentialExpired,
            NotLive::Disabled => Self::CredentialDisabled,
            NotLive::NoSuchProof | NotLive::ProofEnded => Self::SecretEnded,
        }
    }
}

impl From<CallError> for RevokeTokenError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(Refused { retry_after }) => Self::Busy { retry_after },
            CallError::Store(error) => Self::Store(error),
        }
    }
}
