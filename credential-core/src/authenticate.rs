//! `client_id` + `client_secret` → [`AuthenticatedClient`], and the token it is given.
//!
//! A secret that this deployment did not issue is refused before any I/O. A genuine secret that is
//! no longer live is refused before any hash; in a loop, at most a hundred times a second. The
//! reason of a refusal is for logs and metrics: clients get the same answer for all.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{
    CallerAddress, Credentials,
    assertion::AssertionFault,
    catalog::{self, ApiType, RequestedScopes, ScopeRequestError},
    clock::Timestamp,
    credential::Credential,
    id::{ClientId, ProofId, TenantId},
    live::{LiveCredential, NotLive},
    metrics,
    secret::{
        self, GenuineSecret, NotOurs,
        hash::SecretHash,
        verify::{Verified, VerifyError},
    },
    store::{ReplaceHash, StoreError},
    store_work::Side,
    token::{AccessToken, SealError, TokenClaims, TokenScopes},
    usage::{RefusalReason, Refused},
};

/// A client that has proven itself. Only [`Credentials::authenticate`] and
/// [`Credentials::authenticate_assertion`] make one.
#[derive(Debug)]
pub struct AuthenticatedClient {
    live: Arc<LiveCredential>,
    /// The proof that the client used.
    proof: ProofId,
    bounds: Bounds,
}

/// What bounds the life of a client's tokens besides its credential and API type.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    pub(crate) until: Option<Timestamp>,
    pub(crate) longest: Option<Duration>,
}

impl AuthenticatedClient {
    /// Who it is.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.live.credential.identity.client_id
    }

    /// The tenant that owns the credential.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.live.credential.identity.tenant
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
/// Exhaustive on purpose: a new reason must break every `match` that counts reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `client_id` or `client_secret` is not of our shape, or the secret lacks our tag.
    Malformed,
    /// The secret has our shape, but no key of the keyring made its tag, and the store was used
    /// with keys that the keyring lacks: probably one of those made it.
    UnknownKey,
    /// The secret or client id is of another environment.
    OtherEnvironment,
    /// Nobody has that secret, or it is not this client's.
    UnknownClient,
    /// The secret's tag is valid, but its hash differs.
    WrongSecret,
    /// The credential or this secret has expired.
    Expired,
    /// The credential is disabled.
    Disabled,
    /// The credential is revoked.
    Revoked,
    /// The proof is right, but the credential is bound to networks, and the request comes from elsewhere
    /// or nobody knows from where.
    AddressNotAllowed,
    /// An assertion that nobody may send as it is.
    AssertionInvalid,
    /// No key that the client registered verifies the assertion, or no rule of it accepts the token.
    WrongSignature,
    /// The keys that would verify the assertion cannot be fetched now.
    NoKeys,
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
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::AssertionInvalid => "assertion_invalid",
            Self::WrongSignature => "wrong_signature",
            Self::NoKeys => "no_keys",
        }
    }
}

/// Why a client was not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// Always `401 invalid_client` (RFC 6749 §5.2), whatever the reason.
    #[error("client authentication failed")]
    Refused(Refusal),
    /// `401 invalid_client`, with what the client's developer has to mend.
    #[error("{0}")]
    Assertion(AssertionFault),
    /// No verdict on the client, because too much of its tenant's work waits for the store: `503`, try again.
    #[error("too many requests of this tenant are waiting")]
    Crowded {
        /// When to try again.
        retry_after: Duration,
    },
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

/// What the credential's admins are told of a refused `scope`. Not what was sent, which may be anything.
fn told(error: &ScopeRequestError) -> RefusalReason {
    match error {
        ScopeRequestError::NotHeld { .. } => RefusalReason::ScopeMissing,
        ScopeRequestError::Malformed | ScopeRequestError::Unknown { .. } => {
            RefusalReason::UnknownScope
        }
        ScopeRequestError::NoScopes | ScopeRequestError::Conflict { .. } => {
            RefusalReason::ScopeConflict
        }
    }
}

/// A token for a client (RFC 6749 §5.1).
#[derive(Debug)]
pub struct IssuedToken {
    /// The token itself.
    pub access_token: AccessToken,
    /// Seconds that it is live, counted down from now; at least 1.
    pub expires_in: u64,
    /// The scope that it was issued with, in the client's own spelling if that is equivalent.
    pub scope: String,
    /// When the credential or the secret ends, if that is within [`END_ANNOUNCED`].
    pub ends_soon: Option<Timestamp>,
}

/// How long before a credential or its secret ends its client is told so.
pub const END_ANNOUNCED: Duration = Duration::from_secs(30 * 24 * 3_600);

impl Credentials {
    /// Checks a client's secret: exactly one Argon2id on its first use, none later.
    ///
    /// A genuine secret that is refused more than a hundred times in a row, without a pause of a
    /// second, gets its further refusals delayed by up to a second each. No other answer is
    /// delayed.
    ///
    /// This names no address, so a client whose credential is bound to networks is refused.
    /// [`authenticate_from`](Self::authenticate_from) takes one.
    ///
    /// # Errors
    /// `Refused` with the reason; `Busy` and `Store` are no verdict on the client.
    pub async fn authenticate(
        &self,
        client_id: &str,
        client_secret: &str,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        self.authenticate_from(client_id, client_secret, &None::<IpAddr>)
            .await
    }

    /// As [`authenticate`](Self::authenticate), for a client that calls from there. The address is asked
    /// for last, after the proof, and only if the credential is bound to networks: whoever lacks the
    /// secret learns nothing of them.
    ///
    /// # Errors
    /// As for `authenticate`; `Refused` with `AddressNotAllowed`.
    pub async fn authenticate_from(
        &self,
        client_id: &str,
        client_secret: &str,
        caller: &dyn CallerAddress,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let parsed = ClientId::parse(client_id);
        let checked = self.check_client(parsed.as_ref().ok(), client_secret, caller);
        let result = checked.await;
        match &result {
            Ok(_) => metrics::authenticated(),
            Err(AuthenticateError::Refused(refusal)) => {
                match refusal {
                    // Logged where the owner of the secret was found.
                    Refusal::Revoked
                    | Refusal::Disabled
                    | Refusal::Expired
                    | Refusal::WrongSecret
                    | Refusal::AddressNotAllowed
                    // Of assertions.
                    | Refusal::AssertionInvalid
                    | Refusal::WrongSignature
                    | Refusal::NoKeys => {}
                    Refusal::Malformed
                    | Refusal::UnknownKey
                    | Refusal::OtherEnvironment
                    | Refusal::UnknownClient => {
                        self.refuse_claimed(parsed.as_ref().ok(), *refusal, caller);
                    }
                }
                metrics::not_authenticated(refusal.as_str());
            }
            Err(AuthenticateError::Assertion(_)) => {} // Of assertions.
            Err(AuthenticateError::Busy(_) | AuthenticateError::Crowded { .. }) => {
                metrics::not_authenticated("busy");
            }
            Err(AuthenticateError::Store(_)) => metrics::not_authenticated("store"),
        }
        result
    }

    async fn check_client(
        &self,
        client_id: Option<&ClientId>,
        client_secret: &str,
        caller: &dyn CallerAddress,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        // Why the secret first: a string without our tag costs the same whatever the client id.
        let secret = secret::check(client_secret, &self.0.keyring).map_err(|fault| {
            AuthenticateError::Refused(match fault {
                NotOurs::Tag if self.0.used_keys.lacking() => Refusal::UnknownKey,
                NotOurs::Tag | NotOurs::Form => Refusal::Malformed,
            })
        })?;
        let client_id = client_id.ok_or(AuthenticateError::Refused(Refusal::Malformed))?;
        if secret.environment() != self.environment()
            || client_id.environment() != self.environment()
        {
            return Err(AuthenticateError::Refused(Refusal::OtherEnvironment));
        }
        let checked = self.check_genuine(client_id, &secret, caller).await;
        if matches!(checked, Err(AuthenticateError::Refused(_))) {
            self.0.refusal_delay.hold(secret.selector()).await;
        }
        checked
    }

    /// The rest, for a secret that this deployment has issued to someone.
    async fn check_genuine(
        &self,
        client_id: &ClientId,
        secret: &GenuineSecret<'_>,
        caller: &dyn CallerAddress,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let client = self.live_client(client_id, secret, caller).await?;
        let credential = &client.live.credential;
        let Some(stored) = credential.secret(&client.proof) else {
            return Err(AuthenticateError::Refused(Refusal::UnknownClient));
        };
        let verified = self
            .0
            .verifier
            .verify(client.tenant(), secret, &stored.hash)
            .await;
        if verified.is_ok() {
            // What comes next is a token, or the secret's new hash.
            self.before_signing()
                .await
                .map_err(|error| AuthenticateError::Store(Arc::new(error)))?;
        }
        match verified {
            Ok(Verified::Cached) => self.within_its_networks(client, caller),
            Ok(Verified::Hashed { rehash }) => {
                if rehash {
                    self.rehash(credential, secret, &stored.hash).await;
                }
                // Checked again, because hashing takes time and a change meanwhile counts.
                let client = self.live_client(client_id, secret, caller).await?;
                self.within_its_networks(client, caller)
            }
            Err(VerifyError::Wrong) => {
                let told = RefusalReason::WrongSecret;
                Err(self.refuse_known(credential, (Refusal::WrongSecret, told), caller))
            }
            Err(busy) => Err(AuthenticateError::Busy(busy)),
        }
    }

    /// The client, if its credential and that secret are live. Does not check the hash.
    async fn live_client(
        &self,
        client_id: &ClientId,
        secret: &GenuineSecret<'_>,
        caller: &dyn CallerAddress,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let unknown = || AuthenticateError::Refused(Refusal::UnknownClient);
        let proof = secret.selector();
        let found = self.0.states.get_by_proof(proof).await;
        let (live, _) = found
            .map_err(AuthenticateError::Store)?
            .ok_or_else(unknown)?;
        let credential = &live.credential;
        let Credential { identity, .. } = credential;
        // First, so that another client learns nothing of the credential.
        if credential.secret(&proof).is_none()
            || identity.client_id != *client_id
            || identity.environment != self.environment()
        {
            return Err(unknown());
        }
        self.live_with(live, proof, Bounds::default(), caller)
    }

    /// The client that has that proof, if its credential and the proof are live.
    pub(crate) fn live_with(
        &self,
        live: Arc<LiveCredential>,
        proof: ProofId,
        bounds: Bounds,
        caller: &dyn CallerAddress,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let why = match live.check(&proof, self.clock().now()) {
            Ok(()) => {
                return Ok(AuthenticatedClient {
                    live,
                    proof,
                    bounds,
                });
            }
            Err(NotLive::NoSuchProof) => {
                return Err(AuthenticateError::Refused(Refusal::UnknownClient));
            }
            Err(NotLive::Revoked) => (Refusal::Revoked, RefusalReason::Revoked),
            Err(NotLive::Disabled) => (Refusal::Disabled, RefusalReason::Disabled),
            Err(NotLive::Expired) => (Refusal::Expired, RefusalReason::Expired),
            Err(NotLive::ProofEnded) => (Refusal::Expired, RefusalReason::SecretEnded),
        };
        Err(self.refuse_known(&live.credential, why, caller))
    }

    /// The client, if its credential may be used from there.
    pub(crate) fn within_its_networks(
        &self,
        client: AuthenticatedClient,
        caller: &dyn CallerAddress,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let networks = client.live.networks();
        if networks.is_empty() {
            return Ok(client);
        }
        let address = caller.address();
        if !networks.allow(address) {
            let why = (Refusal::AddressNotAllowed, RefusalReason::AddressNotAllowed);
            return Err(self.refuse_known(&client.live.credential, why, &address));
        }
        Ok(client)
    }

    /// Logs the refusal of a client that named itself and presented a secret of its own, and notes it for the
    /// credential's admins.
    fn refuse_known(
        &self,
        credential: &Credential,
        (refusal, told): (Refusal, RefusalReason),
        caller: &dyn CallerAddress,
    ) -> AuthenticateError {
        self.0.refusals.log_known(credential, refusal.as_str());
        self.note_refusal(credential, told, caller.address());
        AuthenticateError::Refused(refusal)
    }

    /// The same of a caller that claims to be that client. Whether there is such a client is for the store to find
    /// out, at the next flush: a look-up here would show in the time of the answer.
    pub(crate) fn refuse_claimed(
        &self,
        claimed: Option<&ClientId>,
        refusal: Refusal,
        caller: &dyn CallerAddress,
    ) {
        self.0.refusals.log_client(claimed, refusal.as_str());
        let here = claimed.filter(|it| it.environment() == self.environment());
        if let Some(client) = here {
            let reason = match refusal {
                Refusal::OtherEnvironment => RefusalReason::OtherEnvironment,
                Refusal::AssertionInvalid => RefusalReason::AssertionInvalid,
                Refusal::WrongSignature => RefusalReason::WrongSignature,
                Refusal::NoKeys => RefusalReason::NoKeys,
                _ => RefusalReason::WrongSecret,
            };
            let refused = Refused::from(reason).of_address(caller.address());
            let book = self.0.states.uses().refusals();
            book.claimed(client, refused, self.clock().now());
        }
    }

    /// Stores the secret's hash under the current parameters and pepper. A failure is counted and
    /// logged where it happens; the next first use tries again.
    async fn rehash(&self, credential: &Credential, secret: &GenuineSecret<'_>, old: &SecretHash) {
        let Ok(new) = self
            .0
            .verifier
            .rehash(&credential.identity.tenant, secret)
            .await
        else {
            return;
        };
        let change = ReplaceHash {
            id: credential.identity.id,
            selector: secret.selector(),
            old: old.clone(),
            new: new.clone(),
        };
        let replace = self.store().replace_hash(change);
        let replaced = self
            .0
            .store_work
            .call_again(&credential.identity.tenant, Side::Clients, replace)
            .await;
        if replaced.is_ok() {
            self.0.verifier.remember(secret, &new);
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
        self.issue_from(client, scope, &None::<IpAddr>)
    }

    /// As [`issue`](Self::issue), where a refusal is noted with the address that the request came from.
    ///
    /// # Errors
    /// As for `issue`.
    pub fn issue_from(
        &self,
        client: &AuthenticatedClient,
        scope: Option<&str>,
        caller: &dyn CallerAddress,
    ) -> Result<IssuedToken, IssueError> {
        let live = client.live();
        let requested = live.api_type.request(scope, &live.held);
        let RequestedScopes { scopes, echo, .. } =
            requested.inspect_err(|error| self.note_refused_scopes(client, error, caller))?;
        let now = self.clock().now();
        let ttl = live.api_type.token_ttl();
        let ttl = client
            .bounds
            .longest
            .map_or(ttl, |longest| longest.min(ttl));
        let ends = [live.ends(&client.proof), client.bounds.until];
        let by_itself = now.saturating_add(ttl);
        let expires_at = ends.into_iter().flatten().fold(by_itself, Ord::min);
        let micros = expires_at.as_micros().saturating_sub(now.as_micros());
        let expires_in = u64::try_from(micros / 1_000_000).unwrap_or(0);
        if expires_in == 0 {
            return Err(IssueError::Ending);
        }
        let claims = TokenClaims {
            credential: live.credential.identity.id,
            proof: client.proof,
            id: self.0.token_ids.draw(),
            issued_at: now,
            expires_at,
            scopes: match scopes {
                catalog::GrantedScopes::FollowsCredential => TokenScopes::FollowsCredential,
                catalog::GrantedScopes::Named(set) => {
                    TokenScopes::Named(live.api_type.digests(&set))
                }
            },
        };
        let access_token = self.0.sealer.seal(&claims)?;
        if let Some(note) = live.note_of(&client.proof) {
            note.note(now);
        }
        metrics::token_issued();
        Ok(IssuedToken {
            access_token,
            expires_in,
            scope: echo,
            ends_soon: live.ends_soon(&client.proof, now),
        })
    }

    /// Notes for its admins that the credential may not have the scopes that it asked for.
    fn note_refused_scopes(
        &self,
        client: &AuthenticatedClient,
        error: &ScopeRequestError,
        caller: &dyn CallerAddress,
    ) {
        let live = client.live();
        let needed = match error {
            ScopeRequestError::NotHeld { name } => live.api_type.requires(name).ok(),
            _ => None,
        };
        let known = live.note_of(&client.proof).zip(needed);
        let refused = Refused {
            needed: known.and_then(|(note, needed)| note.missing(&needed, None).scope()),
            ..Refused::from(told(error)).of_address(caller.address())
        };
        self.note_refused(&live.credential, refused);
    }
}
