//! Bearer token → [`Access`], and what an access permits.
//!
//! The hot path: a keyed hash of the token, one look-up, a few comparisons. No I/O, no
//! allocation and no lock that a writer holds across I/O, as long as the node is caught up.

mod admission;
mod catch_up;
pub(crate) mod freshness;
pub(crate) mod ledger;
mod links;
mod shared_reads;
mod table;
pub(crate) mod token_cache;

/// What [`ledger`] and [`links`] are built on; their model test puts a model checker's types in
/// their place.
mod sync {
    pub(super) use std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };

    pub(super) use crate::store::{Change, ChangeId, Changes, LoggedChange};
}

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use admission::{Admission, OpenToken};

use crate::{
    authenticate::AuthenticatedClient,
    catalog::{ApiType, Requirement},
    clock::Timestamp,
    credential::RevokedToken,
    host::Credentials,
    id::{ClientId, CredentialId, TenantId},
    store::{RevokeToken, StoreError},
    store_work::{CallError, Side},
    telemetry,
    tenant_share::Refused,
    token::NotOurToken,
};

/// The most single tokens of a credential that are remembered as revoked; above it, all tokens
/// issued so far are.
pub const REVOKED_TOKENS_LIMIT: usize = 1000;

/// A live token, its live credential, and what they may do together: issued ∩ held.
///
/// Only [`Credentials::verify`] makes one. It is an answer about the moment it was made: ask
/// again for each request.
#[derive(Debug, Clone)]
pub struct Access {
    admission: Arc<Admission>,
    at: Timestamp,
}

impl Access {
    /// Whose data the caller may touch.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.admission.live.credential.tenant
    }

    /// Which client calls.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.admission.live.credential.client_id
    }

    /// Which credential that is.
    #[must_use]
    pub fn credential_id(&self) -> CredentialId {
        self.admission.live.credential.id
    }

    /// What the tenant's admins call the credential, for logs and for them. Not unique in time:
    /// they may rename it.
    #[must_use]
    pub fn credential_name(&self) -> &str {
        self.admission.live.credential.name.as_str()
    }

    /// The API type that the credential is for.
    #[must_use]
    pub fn api_type(&self) -> &ApiType {
        &self.admission.live.api_type
    }

    /// When the token was issued.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.admission.token.issued_at
    }

    /// When the token ends by itself.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.admission.token.expires_at
    }

    /// Whether a call with that requirement is allowed. The requirement of another API type
    /// never is. An allowed call counts as a use of the credential and of the token's secret.
    ///
    /// A requirement comes from [`ApiType::requires`] for a scope that the host names, which refuses
    /// a misspelt name, or from [`ApiType::requirement`] for method and path.
    #[must_use]
    pub fn permits(&self, requirement: &Requirement) -> bool {
        let permitted = requirement.is_met_by(&self.admission.rights);
        if permitted {
            self.admission.note_use(self.at);
        }
        permitted
    }

    /// Whether the token and its credential confer a scope now, by name, wildcard or full
    /// access. Counts as a use, as [`permits`](Self::permits) does.
    ///
    /// A name that the API type does not list is never conferred: the first such name is logged as
    /// an error. Where the name is known beforehand, let [`ApiType::requires`] refuse it at the start.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        match self.api_type().requires(scope) {
            Ok(requirement) => self.permits(&requirement),
            Err(error) => {
                static TOLD: AtomicBool = AtomicBool::new(false);
                // Why once: it is the same mistake on every call.
                if !TOLD.swap(true, Ordering::Relaxed) {
                    tracing::error!(error = &error as &dyn Error, "`has_scope` is always false");
                }
                false
            }
        }
    }

    /// The effective scopes now: canonical names, sorted, separated by spaces.
    #[must_use]
    pub fn scope(&self) -> String {
        self.admission
            .scopes()
            .map_or_else(String::new, |set| self.api_type().names(&set).join(" "))
    }
}

/// Why a bearer token is not accepted: always `401 invalid_token` (RFC 6750 §3.1). For logs, never
/// for whoever sent the token.
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
    /// The secret that it was issued for has ended.
    #[error("the secret that the token was issued for has ended")]
    SecretEnded,
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
            Self::SecretEnded => "secret_ended",
        }
    }
}

/// Why there is no [`Access`].
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// `401`.
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

impl Credentials {
    /// Opens a bearer token and reads the live state of its credential.
    ///
    /// # Errors
    /// `Refused` with the reason; `Store` if freshness cannot be proven and the store does not
    /// answer.
    pub async fn verify(&self, bearer: &str) -> Result<Access, AuthorizeError> {
        if let Some(decided) = self.verify_known(bearer) {
            return decided.map_err(AuthorizeError::Refused);
        }
        // Boxed, or the hot path would carry the other one's state around.
        let result = Box::pin(self.look_up(bearer)).await;
        match &result {
            Ok(_) => {} // counting these is the host's: it knows the route
            Err(AuthorizeError::Refused(refusal)) => telemetry::token_refusal(refusal.as_str()),
            Err(AuthorizeError::Store(_)) => telemetry::token_refusal("store"),
        }
        result
    }

    /// The hot path: a known token whose credential's state is proven and unchanged. As
    /// [`verify`](Self::verify), for callers that cannot wait: answers where nothing has to be read,
    /// which is almost always. `None` says nothing about the token: ask `verify`.
    ///
    /// # Errors
    /// The reason of a refusal.
    #[inline]
    #[must_use]
    pub fn verify_known(&self, bearer: &str) -> Option<Result<Access, TokenRefusal>> {
        let known = self.tokens().get(self.tokens().digest(bearer))?;
        // INVARIANT: clock, then gate, then link (see `States::holds`).
        let (at, began) = self.clock().both();
        if !self.states().holds(known.link, began) {
            return None;
        }
        let result = self.admit(known, at);
        if let Err(refusal) = &result {
            telemetry::token_refusal(refusal.as_str());
        }
        Some(result)
    }

    /// Everything else: a token's first sight here, a state that changed, a proof that ran out.
    async fn look_up(&self, bearer: &str) -> Result<Access, AuthorizeError> {
        let digest = self.tokens().digest(bearer);
        let known = self.tokens().get(digest);
        let refused = AuthorizeError::Refused;
        // Of nobody here; who belongs to a client is logged by `admit`.
        let nobodys = |refusal: TokenRefusal| {
            self.refusals().log_token(refusal.as_str());
            refused(refusal)
        };
        let unknown = || nobodys(TokenRefusal::UnknownCredential);
        let admission = if let Some(known) = known {
            let found = self.states().get(known.token.credential).await;
            let (live, link) = found.map_err(AuthorizeError::Store)?.ok_or_else(unknown)?;
            if link.is_some() && link == known.link {
                // Only the proof was missing.
                return self.admit(known, self.clock().now()).map_err(refused);
            }
            Admission::new(digest, known.token.clone(), live, link)
        } else {
            let opened = self.sealer().open(bearer);
            let claims = opened.map_err(|fault| {
                nobodys(match fault {
                    NotOurToken::Foreign => TokenRefusal::NotOurs,
                    NotOurToken::UnknownKey => TokenRefusal::UnknownKey,
                })
            })?;
            if claims.expires_at <= self.clock().now() {
                return Err(nobodys(TokenRefusal::Expired));
            }
            let found = self.states().get(claims.credential).await;
            let (live, link) = found.map_err(AuthorizeError::Store)?.ok_or_else(unknown)?;
            let token = OpenToken::resolve(claims, &live.api_type);
            Admission::new(digest, token, live, link)
        };
        let admission = Arc::new(admission);
        self.tokens().insert(Arc::clone(&admission));
        self.admit(admission, self.clock().now()).map_err(refused)
    }

    #[inline]
    fn admit(&self, admission: Arc<Admission>, at: Timestamp) -> Result<Access, TokenRefusal> {
        match admission.check(at) {
            Ok(()) => Ok(Access { admission, at }),
            Err(refusal) => {
                self.refusals()
                    .log_known(&admission.live.credential, refusal.as_str());
                Err(refusal)
            }
        }
    }

    /// Revokes one token (RFC 7009), if it is the client's own and still live; any other string
    /// is taken without a word.
    ///
    /// # Errors
    /// `Busy` or `Store` if it was not recorded: the token is still live.
    pub async fn revoke_token(
        &self,
        client: &AuthenticatedClient,
        token: &str,
    ) -> Result<(), RevokeTokenError> {
        let now = self.clock().now();
        let id = client.live().credential.id;
        let Ok(claims) = self.sealer().open(token) else {
            return Ok(());
        };
        if claims.credential != id || claims.expires_at <= now {
            return Ok(());
        }
        let revoke = self.store().revoke_token(RevokeToken {
            credential_id: id,
            token: RevokedToken {
                id: claims.id,
                issued_at: claims.issued_at,
                expires_at: claims.expires_at,
            },
            limit: REVOKED_TOKENS_LIMIT,
        });
        let committed = self
            .call_store(client.tenant(), Side::Clients, revoke)
            .await
            .map_err(|error| match error {
                CallError::Refused(Refused { retry_after }) => {
                    RevokeTokenError::Busy { retry_after }
                }
                CallError::Store(error) => RevokeTokenError::Store(error),
            })?;
        self.states().own_change(id, committed.change);
        self.states()
            .confirm(committed.change)
            .await
            .map_err(RevokeTokenError::Store)?;
        Ok(())
    }
}
