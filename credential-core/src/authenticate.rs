//! `client_id` + `client_secret` → [`AuthenticatedClient`], and the token it is given.
//!
//! What cannot be ours is refused before any I/O; what is ours but dead is refused before any
//! hash, and in a loop not faster than a hundred times a second. The reason of a refusal is for logs and metrics: the client learns one answer.

use std::sync::Arc;

use crate::{
    authorize::freshness::LiveCredential,
    catalog::{self, ApiType, RequestedScopes, ScopeRequestError},
    clock::Timestamp,
    credential::{Credential, Status},
    host::Credentials,
    id::{ClientId, Selector, TenantId},
    secret::{
        self, GenuineSecret, NotOurs,
        hash::SecretHash,
        verify::{Verified, VerifyError},
    },
    store::{ReplaceHash, StoreError},
    store_work::Side,
    telemetry,
    token::{AccessToken, SealError, TokenClaims, TokenScopes},
};

/// A client that has proven its secret. Only [`Credentials::authenticate`] makes one.
#[derive(Debug)]
pub struct AuthenticatedClient {
    live: Arc<LiveCredential>,
    selector: Selector,
    secret_expires_at: Option<Timestamp>,
}

impl AuthenticatedClient {
    /// Who it is.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.live.credential.client_id
    }

    /// Whose it is.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.live.credential.tenant
    }

    /// The API type that its tokens are for.
    #[must_use]
    pub fn api_type(&self) -> &ApiType {
        &self.live.api_type
    }

    pub(crate) fn live(&self) -> &LiveCredential {
        &self.live
    }
}

/// Why a client was refused. For logs and metrics only: every reason gets the same answer.
/// Exhaustive on purpose: a new reason must break the `match` of who counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `client_id` or `client_secret` is not of our shape, or the secret lacks our tag.
    Malformed,
    /// The secret has our shape and none of the keyring's keys made its tag, while the store has been
    /// used with keys that the keyring lacks: probably one of those made it.
    UnknownKey,
    /// Of another environment than this deployment's.
    OtherEnvironment,
    /// Nobody has that secret, or it is not this client's.
    UnknownClient,
    /// The secret's tag is ours and its hash differs.
    WrongSecret,
    /// The credential or this secret has expired.
    Expired,
    /// The credential is revoked.
    Revoked,
}

impl Refusal {
    /// A word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::OtherEnvironment => "other_environment",
            Self::UnknownClient => "unknown_client",
            Self::WrongSecret => "wrong_secret",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// Why a client was not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// Always `401 invalid_client` (RFC 6749 §5.2), whatever the reason.
    #[error("client authentication failed")]
    Refused(Refusal),
    /// No verdict on the client, because too many secrets are being hashed: `503`, try again.
    #[error("could not check the secret now")]
    Busy(#[source] VerifyError),
    /// No verdict on the client: `503`.
    #[error("could not read the credential")]
    Store(#[source] Arc<StoreError>),
}

/// Why an authenticated client got no token.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// `400 invalid_scope`.
    #[error(transparent)]
    Scope(#[from] ScopeRequestError),
    /// The credential or its secret ends within the second, too soon for a token: `401 invalid_client`,
    /// as from then on.
    #[error("the credential or its secret ends within the second")]
    Ending,
    /// The token could not be sealed: `500`.
    #[error("could not seal the token")]
    Seal(#[from] SealError),
}

/// A token for a client (RFC 6749 §5.1).
#[derive(Debug)]
pub struct IssuedToken {
    /// The token itself.
    pub access_token: AccessToken,
    /// Seconds that it is live, counted down from now; at least 1.
    pub expires_in: u64,
    /// What it was issued with, in the client's own spelling where that said the same.
    pub scope: String,
}

impl Credentials {
    /// Checks a client's secret: exactly one Argon2id on its first use, none later.
    ///
    /// A genuine secret that is refused more than a hundred times in a row, without a pause of a
    /// second, waits for its further refusals, up to a second each. Nothing else ever waits.
    ///
    /// # Errors
    /// `Refused` with the reason; `Busy` and `Store` say nothing about the client.
    pub async fn authenticate(
        &self,
        client_id: &str,
        client_secret: &str,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let parsed = ClientId::parse(client_id);
        let result = self.check_client(parsed.as_ref().ok(), client_secret).await;
        match &result {
            Ok(_) => telemetry::authenticated(),
            Err(AuthenticateError::Refused(refusal)) => {
                match refusal {
                    // Logged where it was found out whose secret it is.
                    Refusal::Revoked | Refusal::Expired | Refusal::WrongSecret => {}
                    Refusal::Malformed
                    | Refusal::UnknownKey
                    | Refusal::OtherEnvironment
                    | Refusal::UnknownClient => self
                        .refusals()
                        .log_client(parsed.as_ref().ok(), refusal.as_str()),
                }
                telemetry::not_authenticated(refusal.as_str());
            }
            Err(AuthenticateError::Busy(_)) => telemetry::not_authenticated("busy"),
            Err(AuthenticateError::Store(_)) => telemetry::not_authenticated("store"),
        }
        result
    }

    async fn check_client(
        &self,
        client_id: Option<&ClientId>,
        client_secret: &str,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        // Why the secret first: a string without our tag costs the same whatever the client id.
        let secret = secret::check(client_secret, self.keyring()).map_err(|fault| {
            AuthenticateError::Refused(match fault {
                NotOurs::Tag if self.used_keys().lacking() => Refusal::UnknownKey,
                NotOurs::Tag | NotOurs::Form => Refusal::Malformed,
            })
        })?;
        let client_id = client_id.ok_or(AuthenticateError::Refused(Refusal::Malformed))?;
        if secret.environment() != self.environment()
            || client_id.environment() != self.environment()
        {
            return Err(AuthenticateError::Refused(Refusal::OtherEnvironment));
        }
        let checked = self.check_genuine(client_id, &secret).await;
        if matches!(checked, Err(AuthenticateError::Refused(_))) {
            self.brake().hold(secret.selector()).await;
        }
        checked
    }

    /// The rest, for a secret that this deployment has issued to someone.
    async fn check_genuine(
        &self,
        client_id: &ClientId,
        secret: &GenuineSecret<'_>,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let client = self.live_client(client_id, secret).await?;
        let Some(stored) = client.live.credential.secret(&secret.selector()) else {
            return Err(AuthenticateError::Refused(Refusal::UnknownClient));
        };
        let credential = &client.live.credential;
        let verified = self
            .verifier()
            .verify(&credential.tenant, secret, &stored.hash)
            .await;
        if verified.is_ok() {
            // What comes next is a token, or the secret's new hash.
            self.before_signing()
                .await
                .map_err(|error| AuthenticateError::Store(Arc::new(error)))?;
        }
        match verified {
            Ok(Verified::Cached) => Ok(client),
            Ok(Verified::Hashed { rehash }) => {
                if rehash {
                    self.rehash(credential, secret, &stored.hash).await;
                }
                // Hashing takes its time: what changed meanwhile counts.
                self.live_client(client_id, secret).await
            }
            Err(VerifyError::Wrong) => Err(self.refuse_known(credential, Refusal::WrongSecret)),
            Err(busy) => Err(AuthenticateError::Busy(busy)),
        }
    }

    /// The client, if its credential and this secret are live. Does not look at the hash.
    async fn live_client(
        &self,
        client_id: &ClientId,
        secret: &GenuineSecret<'_>,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let refused = |refusal| Err(AuthenticateError::Refused(refusal));
        let selector = secret.selector();
        let found = self
            .states()
            .get_by_selector(selector)
            .await
            .map_err(AuthenticateError::Store)?;
        let Some((live, _)) = found else {
            return refused(Refusal::UnknownClient);
        };
        let credential = &live.credential;
        let Some(stored) = credential.secret(&selector) else {
            return refused(Refusal::UnknownClient);
        };
        if credential.client_id != *client_id || credential.environment != self.environment() {
            return refused(Refusal::UnknownClient);
        }
        let now = self.clock().now();
        match credential.status(now) {
            Status::Revoked => return Err(self.refuse_known(credential, Refusal::Revoked)),
            Status::Expired => return Err(self.refuse_known(credential, Refusal::Expired)),
            Status::Active => {}
        }
        if !stored.is_live(now) {
            return Err(self.refuse_known(credential, Refusal::Expired));
        }
        Ok(AuthenticatedClient {
            selector,
            secret_expires_at: stored.expires_at,
            live,
        })
    }

    /// Logs the refusal of a client that named itself and presented a secret of its own.
    fn refuse_known(&self, credential: &Credential, refusal: Refusal) -> AuthenticateError {
        self.refusals().log_known(credential, refusal.as_str());
        AuthenticateError::Refused(refusal)
    }

    /// Stores the secret's hash under the current parameters and pepper. A failure is counted and
    /// logged where it happens, and costs nothing but another try at the next first use.
    async fn rehash(&self, credential: &Credential, secret: &GenuineSecret<'_>, old: &SecretHash) {
        let Ok(new) = self.verifier().rehash(&credential.tenant, secret).await else {
            return;
        };
        let change = ReplaceHash {
            id: credential.id,
            selector: secret.selector(),
            old: old.clone(),
            new: new.clone(),
        };
        let replace = self.store().replace_hash(change);
        let replaced = self
            .call_store_again(&credential.tenant, Side::Clients, replace)
            .await;
        if replaced.is_ok() {
            self.verifier().remember(secret, &new);
        }
    }

    /// Issues a token (RFC 6749 §4.4.3) for the scopes asked for; without any, the token follows
    /// its credential. Writes nothing.
    ///
    /// # Errors
    /// `Scope` if the client may not have what it asks for; `Ending`; `Seal`.
    pub fn issue(
        &self,
        client: &AuthenticatedClient,
        scope: Option<&str>,
    ) -> Result<IssuedToken, IssueError> {
        let live = client.live();
        let RequestedScopes { scopes, echo, .. } = live.api_type.request(scope, &live.held)?;
        let now = self.clock().now();
        let lifetimes = [
            Some(now.saturating_add(live.api_type.token_ttl())),
            live.credential.expires_at,
            client.secret_expires_at,
        ];
        let expires_at = lifetimes.into_iter().flatten().min().unwrap_or(now);
        let micros = expires_at.as_micros().saturating_sub(now.as_micros());
        let expires_in = u64::try_from(micros / 1_000_000).unwrap_or(0);
        if expires_in == 0 {
            return Err(IssueError::Ending);
        }
        let claims = TokenClaims {
            credential: live.credential.id,
            selector: client.selector,
            id: self.token_ids().draw(),
            issued_at: now,
            expires_at,
            scopes: match scopes {
                catalog::TokenScopes::FollowsCredential => TokenScopes::FollowsCredential,
                catalog::TokenScopes::Named(set) => TokenScopes::Named(live.api_type.digests(&set)),
            },
        };
        let access_token = self.sealer().seal(&claims)?;
        live.note_use(&client.selector, now);
        telemetry::token_issued();
        Ok(IssuedToken {
            access_token,
            expires_in,
            scope: echo,
        })
    }
}
