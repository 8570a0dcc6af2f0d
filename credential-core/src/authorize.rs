//! Bearer token → [`Access`], and what an access permits.
//!
//! The hot path: a keyed hash of the token, one look-up, a few comparisons. No I/O, no
//! allocation and no lock that a writer holds across I/O, as long as the node is caught up.

mod origin;
mod refusal;
mod table;
// Not in the table's own file, which its model checks without the rest of the crate.
#[cfg(test)]
#[path = "authorize/table/tests.rs"]
mod table_tests;
pub(crate) mod token_cache;
mod token_entry;

/// What [`table`] is made of. Its model (`tests/table_model.rs`) has loom's types in their place.
mod sync {
    pub(super) use std::sync::{
        Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering},
    };

    pub(super) use super::token_cache::TokenDigest;
    pub(super) use crate::clock::Timestamp;
}

use std::{
    error::Error,
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub use self::{
    origin::CallOrigin,
    refusal::{AuthorizeError, RevokeTokenError, TokenRefusal},
};
use self::{
    token_cache::TokenDigest,
    token_entry::{OpenToken, TokenEntry},
};
use crate::{
    CallerAddress, Credentials,
    authenticate::AuthenticatedClient,
    catalog::{ApiType, Requirement},
    clock::Timestamp,
    credential::{Credential, Networks, RevokedToken},
    id::{ClientId, CredentialId, TenantId},
    metrics,
    store::RevokeToken,
    store_work::Side,
    token::NotOurToken,
    usage::{RefusalReason, Refused, ScopeRef},
};

/// The most tokens of a credential that are recorded as revoked one by one. Above it, all tokens
/// issued so far are revoked.
pub const REVOKED_TOKENS_LIMIT: usize = 1000;

/// A live token, its live credential, and what they may do together: issued ∩ held.
///
/// Only [`Credentials::verify`] makes one. It is valid for the moment at which it was made: verify
/// again for each request.
#[derive(Debug, Clone)]
pub struct Access {
    entry: Arc<TokenEntry>,
    at: Timestamp,
}

impl Access {
    /// The tenant whose data the caller may access.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.entry.live.credential.identity.tenant
    }

    /// The client that calls.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.entry.live.credential.identity.client_id
    }

    /// The client's credential.
    #[must_use]
    pub fn credential_id(&self) -> CredentialId {
        self.entry.live.credential.identity.id
    }

    /// The credential's name, for logs and for admins. It is not an identifier: admins may rename
    /// the credential.
    #[must_use]
    pub fn credential_name(&self) -> &str {
        self.entry.live.credential.settings.name.as_str()
    }

    /// The API type that the credential is for.
    #[must_use]
    pub fn api_type(&self) -> &ApiType {
        &self.entry.live.api_type
    }

    /// When the token was issued.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.entry.token.issued_at
    }

    /// When the token ends by itself.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.entry.token.expires_at
    }

    /// When the credential, or the secret that the token was issued for, ends, if that is within
    /// [`END_ANNOUNCED`](crate::authenticate::END_ANNOUNCED).
    #[must_use]
    pub fn ends_soon(&self) -> Option<Timestamp> {
        self.entry.ends_soon(self.at)
    }

    /// Whether a call with that requirement is allowed. The requirement of another API type
    /// never is. An allowed call counts as a use of the credential and of the token's secret.
    ///
    /// The call is counted for the tenant's admins: as allowed, by the first scope that it needs, or as denied, by the
    /// first one that is missing. What is open to all is not counted. Ask once for each call: each question is counted.
    ///
    /// A requirement comes from [`ApiType::requires`], which refuses a misspelt scope, or from
    /// [`ApiType::requirement`] for method and path.
    #[must_use]
    pub fn permits(&self, requirement: &Requirement) -> bool {
        let permitted = self.meets(requirement);
        if permitted {
            self.allowed(&[requirement]);
        } else {
            self.denied(requirement);
        }
        permitted
    }

    /// As [`permits`](Self::permits), and a denial is noted as a refusal for the tenant's admins, with what is
    /// known of where the call came from.
    #[must_use]
    pub fn permits_call(&self, requirement: &Requirement, origin: CallOrigin<'_>) -> bool {
        self.permits_all(&[requirement], origin)
    }

    /// As [`permits_call`](Self::permits_call), for one call that needs several things. The first requirement names the call; the
    /// others count as used with it. The first one that is not met is the one that is noted.
    #[must_use]
    pub fn permits_all(&self, requirements: &[&Requirement], origin: CallOrigin<'_>) -> bool {
        let unmet = requirements.iter().find(|it| !self.meets(it));
        match unmet {
            None => self.allowed(requirements),
            Some(unmet) => self.note_denied(unmet, origin),
        }
        unmet.is_none()
    }

    /// Counts a call that the caller denied itself for want of what it needed, and notes it as a refusal: the same as
    /// a [`permits_call`](Self::permits_call) that was refused.
    pub fn note_denied(&self, requirement: &Requirement, origin: CallOrigin<'_>) {
        let needed = self.denied(requirement);
        self.entry
            .note_refusal(RefusalReason::ScopeMissing, needed, origin, self.at);
    }

    #[inline]
    fn allowed(&self, requirements: &[&Requirement]) {
        self.entry.count_allowed(requirements, self.at);
    }

    /// Counts a denied call. Which scope it lacks.
    fn denied(&self, requirement: &Requirement) -> Option<ScopeRef> {
        let note = self.entry.note.as_ref()?;
        let missing = note.missing(requirement, Some(&self.entry.rights));
        note.count_denied(missing);
        missing.scope()
    }

    /// As [`permits`](Self::permits), without counting as a use or a call: for a condition of a call that is not
    /// decided yet.
    #[must_use]
    pub fn meets(&self, requirement: &Requirement) -> bool {
        requirement.is_met_by(&self.entry.rights)
    }

    /// Whether the token and its credential confer a scope now, by name, wildcard or full
    /// access. Counts as a call, as [`permits`](Self::permits) does.
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
        self.entry
            .scopes()
            .map_or_else(String::new, |set| self.api_type().names(&set).join(" "))
    }
}

impl Credentials {
    /// Opens a bearer token and reads the live state of its credential.
    ///
    /// This names no address, so the tokens of a credential that is bound to networks are refused.
    /// [`bearer`](Self::bearer) takes an address.
    ///
    /// # Errors
    /// `Refused` with the reason; `Store` if freshness cannot be proven and the store does not
    /// answer.
    pub async fn verify(&self, bearer: &str) -> Result<Access, AuthorizeError> {
        self.bearer(bearer).verify().await
    }

    /// A presented bearer token, digested once, for callers that try
    /// [`verify_known`](Bearer::verify_known) before [`verify`](Bearer::verify), or that say
    /// [where it comes from](Bearer::called_from).
    #[inline]
    #[must_use]
    pub fn bearer<'a>(&'a self, text: &'a str) -> Bearer<'a> {
        Bearer {
            credentials: self,
            text,
            digest: self.0.tokens.digest(text),
            origin: Origin::From(&UNKNOWN),
        }
    }

    #[inline]
    fn admit(
        &self,
        entry: Arc<TokenEntry>,
        at: Timestamp,
        origin: Origin<'_>,
    ) -> Result<Access, TokenRefusal> {
        match entry.check(at, origin) {
            Ok(()) => Ok(Access { entry, at }),
            Err(refusal) => {
                self.0
                    .refusals
                    .log_known(&entry.live.credential, refusal.as_str());
                // Who only asks about a token is not refused.
                if let (Some(reason), Origin::From(caller)) = (refusal.told_to_admins(), origin) {
                    self.note_refusal(&entry.live.credential, reason, caller.address());
                }
                Err(refusal)
            }
        }
    }

    /// Notes for its admins that the credential was refused, whatever proof was presented.
    pub(crate) fn note_refusal(
        &self,
        credential: &Credential,
        reason: RefusalReason,
        address: Option<IpAddr>,
    ) {
        self.note_refused(credential, Refused::from(reason).of_address(address));
    }

    /// As [`note_refusal`](Self::note_refusal), with all that is known of the refusal.
    pub(crate) fn note_refused(&self, credential: &Credential, refused: Refused) {
        let identity = &credential.identity;
        let now = self.clock().now();
        let refusals = self.0.states.uses().refusals();
        refusals.proven(&identity.tenant, identity.id, refused, now);
    }

    /// Revokes one token (RFC 7009), if it is the client's own and still live. Any other string is
    /// accepted and ignored.
    ///
    /// # Errors
    /// `Busy` or `Store` if it was not recorded: the token is still live.
    pub async fn revoke_token(
        &self,
        client: &AuthenticatedClient,
        token: &str,
    ) -> Result<(), RevokeTokenError> {
        let now = self.clock().now();
        let id = client.live().credential.identity.id;
        let Ok(claims) = self.0.sealer.open(token) else {
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
            .0
            .store_work
            .call(client.tenant(), Side::Clients, revoke)
            .await?;
        self.0.states.own_change(id, committed.change);
        self.0
            .states
            .confirm(committed.change)
            .await
            .map_err(RevokeTokenError::Store)?;
        Ok(())
    }
}

/// A bearer token that was presented; see [`Credentials::bearer`].
#[derive(Clone, Copy)]
pub struct Bearer<'a> {
    credentials: &'a Credentials,
    text: &'a str,
    digest: TokenDigest,
    origin: Origin<'a>,
}

/// Where a token is used.
#[derive(Clone, Copy)]
enum Origin<'a> {
    From(&'a dyn CallerAddress),
    /// It is not used: somebody asks about it.
    Nowhere,
}

static UNKNOWN: Option<IpAddr> = None;

impl Origin<'_> {
    /// Whether a credential that is bound to those networks may be used from here.
    fn is_within(self, networks: &Networks) -> bool {
        match self {
            Self::From(caller) => networks.allow(caller.address()),
            Self::Nowhere => true,
        }
    }
}

impl<'a> Bearer<'a> {
    /// Says where the call comes from. The address is asked for only if the token's credential is bound
    /// to networks. Without this, the address is unknown, and such a token is refused.
    #[inline]
    #[must_use]
    pub fn called_from(self, caller: &'a dyn CallerAddress) -> Self {
        let origin = Origin::From(caller);
        Self { origin, ..self }
    }

    /// For a question about a token that is not used by whoever asks, such as introspection: what it may
    /// do, from wherever it may be used. Networks are not looked at.
    #[inline]
    #[must_use]
    pub fn called_from_anywhere(self) -> Self {
        let origin = Origin::Nowhere;
        Self { origin, ..self }
    }

    /// The hot path: [`verify`](Self::verify) for callers that cannot wait. It answers for a known
    /// token whose credential's state is proven and unchanged, which is almost always. `None` is no
    /// verdict on the token: call `verify`.
    ///
    /// # Errors
    /// The reason of a refusal.
    #[inline]
    #[must_use]
    pub fn verify_known(&self) -> Option<Result<Access, TokenRefusal>> {
        let node = self.credentials;
        let known = node.0.tokens.get(self.digest)?;
        // INVARIANT: clock, then gate, then version (see `LiveStates::holds`).
        let (at, began) = node.clock().both();
        if !node.0.states.holds(known.stamp, began) {
            return None;
        }
        let result = node.admit(known, at, self.origin);
        if let Err(refusal) = &result {
            metrics::token_refusal(refusal.as_str());
        }
        Some(result)
    }

    /// Counts a call with this token as denied, by the first scope that it needed, and notes for the tenant's admins that its
    /// address is not allowed. For callers that know what a call needs after
    /// [`verify`](Self::verify) has refused its address. Nothing, if this node has not seen the token.
    pub fn note_refused(&self, requirement: &Requirement, origin: CallOrigin<'_>) {
        let node = self.credentials;
        let Some(entry) = node.0.tokens.get(self.digest) else {
            return;
        };
        if let Some(note) = &entry.note {
            let needed = note.missing(requirement, None);
            note.count_denied(needed);
            let reason = RefusalReason::AddressNotAllowed;
            entry.note_refusal(reason, needed.scope(), origin, node.clock().now());
        }
    }

    /// Opens the token and reads the live state of its credential.
    ///
    /// # Errors
    /// `Refused` with the reason; `Store` if freshness cannot be proven and the store does not
    /// answer.
    pub async fn verify(self) -> Result<Access, AuthorizeError> {
        if let Some(decided) = self.verify_known() {
            return decided.map_err(AuthorizeError::Refused);
        }
        // Boxed, so that the hot path's future does not contain the state of the other path.
        let result = Box::pin(self.look_up()).await;
        match &result {
            Ok(_) => {} // counting these is the host's: it knows the route
            Err(AuthorizeError::Refused(refusal)) => metrics::token_refusal(refusal.as_str()),
            Err(AuthorizeError::Store(_)) => metrics::token_refusal("store"),
        }
        result
    }

    /// The cold path: a token that this node has not seen, a state that changed, or a proof that is
    /// too old.
    async fn look_up(self) -> Result<Access, AuthorizeError> {
        let node = self.credentials;
        let refused = AuthorizeError::Refused;
        // Of nobody here; who belongs to a client is logged by `admit`.
        let nobodys = |refusal: TokenRefusal| {
            node.0.refusals.log_token(refusal.as_str());
            refused(refusal)
        };
        let unknown = || nobodys(TokenRefusal::UnknownCredential);
        let entry = if let Some(known) = node.0.tokens.get(self.digest) {
            let found = node.0.states.get(known.token.credential).await;
            let (live, stamp) = found.map_err(AuthorizeError::Store)?.ok_or_else(unknown)?;
            if stamp.is_some() && stamp == known.stamp {
                // Only the proof of freshness was too old.
                let now = node.clock().now();
                return node.admit(known, now, self.origin).map_err(refused);
            }
            TokenEntry::new(self.digest, known.token.clone(), live, stamp)
        } else {
            let opened = node.0.sealer.open(self.text);
            let claims = opened.map_err(|fault| {
                nobodys(match fault {
                    NotOurToken::Foreign => TokenRefusal::NotOurs,
                    NotOurToken::UnknownKey => TokenRefusal::UnknownKey,
                })
            })?;
            if claims.expires_at <= node.clock().now() {
                return Err(nobodys(TokenRefusal::Expired));
            }
            let found = node.0.states.get(claims.credential).await;
            let (live, stamp) = found.map_err(AuthorizeError::Store)?.ok_or_else(unknown)?;
            let token = OpenToken::resolve(claims, &live.api_type);
            TokenEntry::new(self.digest, token, live, stamp)
        };
        let entry = Arc::new(entry);
        node.0.tokens.insert(Arc::clone(&entry));
        let now = node.clock().now();
        node.admit(entry, now, self.origin).map_err(refused)
    }
}

impl fmt::Debug for Bearer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer([redacted])")
    }
}
