//! Bearer token → [`Access`], and what an access permits.
//!
//! The hot path: a keyed hash of the token, two lookups, a few comparisons. No I/O, no
//! allocation and no lock that a writer holds across I/O, as long as the node is caught up.

pub(crate) mod freshness;
mod ledger;
pub(crate) mod token_cache;

/// What [`ledger`] is built on; its model test puts a model checker's types in their place.
mod sync {
    pub(super) use std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };
}

use std::{sync::Arc, time::Duration};

use freshness::LiveCredential;

use crate::{
    authenticate::AuthenticatedClient,
    catalog::{ApiType, Requirement, ScopeSet},
    clock::Timestamp,
    credential::{RevokedToken, Status},
    host::Credentials,
    id::{ClientId, CredentialId, Selector, TenantId},
    store::{RevokeToken, StoreError},
    telemetry,
    token::{TokenClaims, TokenId, TokenScopes},
};

/// The most single tokens of a credential that are remembered as revoked; above it, all tokens
/// issued so far are.
pub const REVOKED_TOKENS_LIMIT: usize = 1000;

/// How far the clocks of two nodes may lie apart before a node forgets that a token was revoked
/// while another still takes it for live.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// A token that was opened once: what it says never changes, so it needs no freshness proof.
#[derive(Debug)]
pub(crate) struct OpenToken {
    credential: CredentialId,
    selector: Selector,
    id: TokenId,
    issued_at: Timestamp,
    expires_at: Timestamp,
    /// What it was issued with; `None`: it follows its credential.
    named: Option<Named>,
}

#[derive(Debug)]
struct Named {
    scopes: ScopeSet,
    rights: ScopeSet,
}

/// A live token, its live credential, and what they may do together: issued ∩ held.
///
/// Only [`Credentials::verify`] makes one. It is an answer about the moment it was made: ask
/// again for each request.
#[derive(Debug, Clone)]
pub struct Access {
    live: Arc<LiveCredential>,
    token: Arc<OpenToken>,
    rights: ScopeSet,
    at: Timestamp,
}

impl Access {
    /// Whose data the caller may touch.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.live.credential.tenant
    }

    /// Which client calls.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.live.credential.client_id
    }

    /// The API type that the credential is for.
    #[must_use]
    pub fn api_type(&self) -> &ApiType {
        &self.live.api_type
    }

    /// When the token was issued.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.token.issued_at
    }

    /// When the token ends by itself.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.token.expires_at
    }

    /// Whether a call with that requirement is allowed. The requirement of another API type
    /// never is. An allowed call counts as a use of the credential and of the token's secret.
    #[must_use]
    pub fn permits(&self, requirement: &Requirement) -> bool {
        let permitted = requirement.is_met_by(&self.rights);
        if permitted {
            self.live.note_use(&self.token.selector, self.at);
        }
        permitted
    }

    /// Whether the token and its credential confer a scope now, by name, wildcard or full
    /// access. A name that the API type does not list is never conferred. Counts as a use, as
    /// [`permits`](Self::permits) does.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.live
            .api_type
            .requires(scope)
            .is_some_and(|requirement| self.permits(&requirement))
    }

    /// The effective scopes now: canonical names, sorted, separated by spaces.
    #[must_use]
    pub fn scope(&self) -> String {
        let live = &self.live;
        let effective = match &self.token.named {
            None => Some(live.held),
            // By name on either side, as far as the other side confers it.
            Some(named) => named
                .scopes
                .intersection(&live.rights)
                .union(&live.held.intersection(&named.rights)),
        };
        effective.map_or_else(String::new, |set| live.api_type.names(&set).join(" "))
    }
}

/// Why a bearer token is not accepted: always `401 invalid_token` (RFC 6750 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// Not sealed by this deployment, or altered.
    NotOurs,
    /// Past its own lifetime.
    Expired,
    /// Revoked by its client (RFC 7009), alone or with all older ones.
    Revoked,
    /// The credential does not exist here, or its API type is no longer offered.
    UnknownCredential,
    /// The credential is revoked.
    CredentialRevoked,
    /// The credential has expired.
    CredentialExpired,
    /// The secret that it was issued for has ended.
    SecretEnded,
}

impl TokenRefusal {
    /// A word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotOurs => "not_ours",
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
    Refused(TokenRefusal),
    /// Nothing can be proven now: `503`, never "probably still valid".
    #[error("could not read the credential")]
    Store(#[source] Arc<StoreError>),
}

impl Credentials {
    /// Opens a bearer token and reads the live state of its credential.
    ///
    /// # Errors
    /// `Refused` with the reason; `Store` if freshness cannot be proven and the store does not
    /// answer.
    pub async fn verify(&self, bearer: &str) -> Result<Access, AuthorizeError> {
        let result = self.open_and_admit(bearer).await;
        match &result {
            Ok(_) => {} // counting these is the host's: it knows the route
            Err(AuthorizeError::Refused(refusal)) => telemetry::token_refusal(refusal.as_str()),
            Err(AuthorizeError::Store(_)) => telemetry::token_refusal("store"),
        }
        result
    }

    async fn open_and_admit(&self, bearer: &str) -> Result<Access, AuthorizeError> {
        let digest = self.tokens().digest(bearer);
        // The hot path: known token, cached credential, fresh proof.
        if let Some(token) = self.tokens().get(&digest) {
            let found = match self.states().cached(token.credential) {
                Some(found) => found,
                None => self
                    .states()
                    .get(token.credential)
                    .await
                    .map_err(AuthorizeError::Store)?,
            };
            let live = found.ok_or(AuthorizeError::Refused(TokenRefusal::UnknownCredential))?;
            return self.admit(token, live);
        }
        let claims = self
            .sealer()
            .open(bearer)
            .map_err(|_| AuthorizeError::Refused(TokenRefusal::NotOurs))?;
        if claims.expires_at <= self.clock().now() {
            return Err(AuthorizeError::Refused(TokenRefusal::Expired));
        }
        let live = self
            .states()
            .get(claims.credential)
            .await
            .map_err(AuthorizeError::Store)?
            .ok_or(AuthorizeError::Refused(TokenRefusal::UnknownCredential))?;
        let token = Arc::new(OpenToken::resolve(claims, &live.api_type));
        self.tokens().insert(digest, Arc::clone(&token));
        self.admit(token, live)
    }

    fn admit(
        &self,
        token: Arc<OpenToken>,
        live: Arc<LiveCredential>,
    ) -> Result<Access, AuthorizeError> {
        let now = self.clock().now();
        if let Some(refusal) = refusal(&token, &live, now) {
            self.refusals()
                .log_client(Some(&live.credential.client_id), refusal.as_str());
            return Err(AuthorizeError::Refused(refusal));
        }
        let rights = match &token.named {
            None => live.rights,
            Some(named) => live.rights.intersection(&named.rights),
        };
        Ok(Access {
            live,
            token,
            rights,
            at: now,
        })
    }

    /// Revokes one token (RFC 7009), if it is the client's own and still live; any other string
    /// is taken without a word.
    ///
    /// # Errors
    /// `Store` if it could not be recorded.
    pub async fn revoke_token(
        &self,
        client: &AuthenticatedClient,
        token: &str,
    ) -> Result<(), StoreError> {
        let now = self.clock().now();
        let id = client.live().credential.id;
        let Ok(claims) = self.sealer().open(token) else {
            return Ok(());
        };
        if claims.credential != id || claims.expires_at <= now {
            return Ok(());
        }
        let committed = self
            .store()
            .revoke_token(RevokeToken {
                credential_id: id,
                token: RevokedToken {
                    id: claims.id,
                    issued_at: claims.issued_at,
                    expires_at: claims.expires_at,
                },
                at: now,
                forget_expired_by: now.saturating_sub(CLOCK_SKEW),
                limit: REVOKED_TOKENS_LIMIT,
            })
            .await?;
        self.states().own_change(id, committed.change);
        // Brings this node up to date before the client hears of it; what keeps it from that
        // is logged there, and its own cache is already right.
        self.states().largest_max_staleness().await;
        Ok(())
    }
}

impl OpenToken {
    fn resolve(claims: TokenClaims, api_type: &ApiType) -> Self {
        let named = match claims.scopes {
            TokenScopes::FollowsCredential => None,
            TokenScopes::Named(digests) => {
                let scopes = api_type.from_digests(digests);
                Some(Named {
                    rights: api_type.rights(&scopes),
                    scopes,
                })
            }
        };
        Self {
            credential: claims.credential,
            selector: claims.selector,
            id: claims.id,
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            named,
        }
    }
}

fn refusal(token: &OpenToken, live: &LiveCredential, now: Timestamp) -> Option<TokenRefusal> {
    let credential = &live.credential;
    match credential.status(now) {
        Status::Revoked => return Some(TokenRefusal::CredentialRevoked),
        Status::Expired => return Some(TokenRefusal::CredentialExpired),
        Status::Active => {}
    }
    if token.expires_at <= now {
        return Some(TokenRefusal::Expired);
    }
    if credential
        .secret(&token.selector)
        .is_none_or(|secret| !secret.is_live(now))
    {
        return Some(TokenRefusal::SecretEnded);
    }
    if live.revoked_tokens.contains(&token.id)
        || credential
            .tokens_valid_from
            .is_some_and(|from| token.issued_at <= from)
    {
        return Some(TokenRefusal::Revoked);
    }
    None
}
