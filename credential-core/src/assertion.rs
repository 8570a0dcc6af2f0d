//! A signed assertion → [`AuthenticatedClient`]: `private_key_jwt` (RFC 7523), and tokens of trusted workloads.
//!
//! Refused in this order: its form, its claims, its client, its signature, the credential's state and networks, and
//! last an assertion that was used before. So nothing is learned of a client by who lacks its key, and a forged assertion
//! uses up no `jti`.

mod claims;

use std::{sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};

use self::claims::Claims;
pub use self::claims::{ASSERTION_AHEAD, CLOCK_SKEW};
use crate::{
    CallerAddress, Credentials,
    authenticate::{AuthenticateError, AuthenticatedClient, Bounds, Refusal},
    catalog::PathRules,
    credential::Means,
    id::{ClientId, ProofId},
    jose::{Jws, JwsFault, PublicKey},
    live::LiveCredential,
    metrics,
    outbound::{KeySource, NoKeys},
    store::{ANSWER_WITHIN, SpendAssertion},
    store_work::{CallError, Side},
    tenant_share::{Limits, Places, Refused},
    usage::{RefusalReason, neighbourhood},
};

/// The most keys that are tried for one assertion, of all registrations together: each costs a verification.
const MAX_TRIES: usize = 10;

/// Turns to look up clients that a node has not met, for each address that asks.
pub(crate) const STRANGERS: Limits = Limits {
    at_once: 2,
    each: 1,
    waiting: 128,
    typical: Duration::from_millis(2),
};

/// The longest life of tokens that were got with a key, for API types with FHIR rules (SMART Backend Services
/// §2.1.2).
const SMART_TOKENS: Duration = Duration::from_secs(300);

/// What a client presents.
#[derive(Debug, Clone, Copy)]
pub struct Assertion<'a> {
    /// The signed token.
    pub text: &'a str,
    /// The `client_id` beside it. A client's own assertion names the client itself; a workload's token does not.
    pub client_id: Option<&'a str>,
    /// The addresses of the token endpoint, which its `aud` may name in place of the issuer.
    pub token_addresses: &'a [String],
}

/// What is wrong with an assertion, whoever sent it. Says nothing about any client, so it may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct AssertionFault(Fault);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("the assertion cannot be read: {0}")]
    Jws(#[from] JwsFault),
    #[error("the header's `typ` must be JWT or client-authentication+jwt, or left out")]
    Type,
    #[error("the claim `{0}` is missing or not of its type")]
    Claim(&'static str),
    #[error("`client_id` must be left out or equal `iss` and `sub`")]
    OtherClient,
    #[error(
        "`iss` and `sub` must both be the client id; with a token of another issuer, send `client_id`"
    )]
    NoClient,
    #[error("`aud` must be this server's issuer or its token endpoint's URL, and nothing else")]
    Audience,
    #[error("with this `typ`, `aud` must be this server's issuer and nothing else")]
    AudienceIssuer,
    #[error("`exp` has passed: sign a new assertion for each request")]
    Expired,
    #[error("`exp` lies too far ahead: at most 5 minutes")]
    TooFar,
    #[error("`iat` or `nbf` lies in the future: check this machine's clock")]
    Future,
    #[error("`jti` must be a text of 1 to 256 characters")]
    Jti,
    #[error("`jti` was used before: sign a new assertion for each request")]
    Replayed,
}

impl From<Fault> for AuthenticateError {
    fn from(fault: Fault) -> Self {
        Self::Assertion(AssertionFault(fault))
    }
}

impl Credentials {
    /// Checks a client's assertion: signed by a key that is registered for it, or a token of a platform that its
    /// credential trusts. A client's own assertion counts once, on all nodes together: the one write of this path.
    ///
    /// # Errors
    /// `Assertion` with what the client's developer has to mend; `Refused` for everything that depends on the
    /// client; `Busy` and `Store` are no verdict on it.
    pub async fn authenticate_assertion(
        &self,
        assertion: Assertion<'_>,
        caller: &dyn CallerAddress,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let mut claimed = None;
        let result = self.check_assertion(assertion, &mut claimed, caller).await;
        match &result {
            Ok(_) => metrics::authenticated(),
            Err(AuthenticateError::Refused(refusal)) => {
                metrics::not_authenticated(refusal.as_str());
            }
            Err(AuthenticateError::Assertion(_)) => metrics::not_authenticated("assertion"),
            Err(AuthenticateError::Busy(_) | AuthenticateError::Crowded { .. }) => {
                metrics::not_authenticated("busy");
            }
            Err(AuthenticateError::Store(_)) => metrics::not_authenticated("store"),
        }
        let of_stranger = match &result {
            Err(AuthenticateError::Assertion(_)) => Some(Refusal::AssertionInvalid),
            // The others are noted where the client has proven itself.
            Err(AuthenticateError::Refused(
                refusal @ (Refusal::Malformed
                | Refusal::OtherEnvironment
                | Refusal::UnknownClient
                | Refusal::WrongSignature
                | Refusal::NoKeys),
            )) => Some(*refusal),
            _ => None,
        };
        if let Some(refusal) = of_stranger {
            self.refuse_claimed(claimed.as_ref(), refusal, caller);
        }
        result
    }

    async fn check_assertion(
        &self,
        assertion: Assertion<'_>,
        claimed: &mut Option<ClientId>,
        caller: &dyn CallerAddress,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let named = assertion.client_id.map(ClientId::parse);
        *claimed = named.clone().and_then(Result::ok);
        let jws = Jws::parse(assertion.text).map_err(Fault::Jws)?;
        let claims = Claims::of(&jws.claims)?;
        let own = ClientId::parse(claims.iss)
            .ok()
            .filter(|_| claims.iss == claims.sub);
        let now = self.clock().now();
        let client_id = match (own.clone(), named) {
            (Some(own), None) => own,
            (Some(own), Some(Ok(named))) if own == named => own,
            (Some(_), Some(_)) => return Err(Fault::OtherClient.into()),
            (None, Some(Ok(named))) => named,
            (None, Some(Err(_))) => return Err(AuthenticateError::Refused(Refusal::Malformed)),
            (None, None) => return Err(Fault::NoClient.into()),
        };
        *claimed = Some(client_id.clone());
        if own.is_some() {
            let issuer = self.issuer();
            claims.check_own(jws.typ.as_deref(), issuer, assertion.token_addresses, now)?;
        } else {
            claims.check_workload(jws.typ.as_deref(), now)?;
        }
        if client_id.environment() != self.environment() {
            return Err(AuthenticateError::Refused(Refusal::OtherEnvironment));
        }
        let live = self.claimed_client(&client_id, caller).await?;
        let proof = self.proof_of(&live, &jws, own.is_some()).await?;
        let bounds = Bounds {
            // The platform's token ends what it stands for.
            until: own.is_none().then_some(claims.exp),
            longest: match live.api_type.rules() {
                PathRules::Fhir if own.is_some() => Some(SMART_TOKENS),
                _ => None,
            },
        };
        // Read again, because keys may have been fetched meanwhile, and a change since then counts.
        let live = self.0.states.get(live.credential.identity.id).await;
        let (live, _) = live
            .map_err(AuthenticateError::Store)?
            .ok_or(AuthenticateError::Refused(Refusal::UnknownClient))?;
        let client = self.live_with(live, proof, bounds, caller)?;
        let client = self.within_its_networks(client, caller)?;
        self.before_signing()
            .await
            .map_err(|error| AuthenticateError::Store(Arc::new(error)))?;
        if own.is_some() {
            self.spend(&client, &claims, caller).await?;
        }
        Ok(client)
    }

    /// The credential of a client that has proven nothing yet. Those that are not known here are looked up in
    /// turns of the addresses that ask, so that one that makes names up keeps nobody but itself waiting.
    async fn claimed_client(
        &self,
        client_id: &ClientId,
        caller: &dyn CallerAddress,
    ) -> Result<Arc<LiveCredential>, AuthenticateError> {
        let _turn = if self.0.states.knows_client(client_id) {
            None
        } else {
            let crowded = |Refused { retry_after }| AuthenticateError::Crowded { retry_after };
            let from = caller.address().map(neighbourhood);
            let turn = Places::enter(&self.0.strangers, &from).map_err(crowded)?;
            Some(turn.permit_within(ANSWER_WITHIN).await.map_err(crowded)?)
        };
        let live = self.0.states.get_by_client(client_id).await;
        live.map_err(AuthenticateError::Store)?
            .filter(|live| live.credential.identity.environment == self.environment())
            .ok_or(AuthenticateError::Refused(Refusal::UnknownClient))
    }

    /// The proof whose key signed: one of the client's own, or of a platform whose token a rule accepts.
    async fn proof_of(
        &self,
        live: &LiveCredential,
        jws: &Jws<'_>,
        own: bool,
    ) -> Result<ProofId, AuthenticateError> {
        let registrations = &live.credential.settings.registrations;
        if own && let Some(jku) = &jws.jku {
            let is_it = |means: &Means| match means {
                Means::KeySetUrl(url) => url.as_str() == jku,
                Means::Key(_) | Means::Workload(_) => false,
            };
            if !registrations.iter().any(|it| is_it(&it.means)) {
                return Err(AuthenticateError::Refused(Refusal::WrongSignature));
            }
        }
        let mut why = AuthenticateError::Refused(Refusal::WrongSignature);
        let mut tries = MAX_TRIES;
        for registration in registrations {
            let keys = match &registration.means {
                Means::Key(key) if own => Keys::Known(std::slice::from_ref(key)),
                Means::KeySetUrl(url) if own => Keys::At(KeySource::Set(url.clone())),
                Means::Workload(rule) if !own && rule.accepts(&jws.claims) => match rule.keys() {
                    Some(pinned) => Keys::Known(pinned),
                    None => Keys::At(KeySource::Issuer(rule.issuer().into())),
                },
                _ => continue,
            };
            match self.signed_by(live, jws, keys, &mut tries).await {
                Ok(true) => return Ok(registration.proof),
                Ok(false) => {}
                Err(NoKeys::Crowded { retry_after }) => {
                    why = AuthenticateError::Crowded { retry_after };
                }
                Err(NoKeys::Unavailable) => {
                    if matches!(why, AuthenticateError::Refused(_)) {
                        why = AuthenticateError::Refused(Refusal::NoKeys);
                    }
                }
            }
        }
        Err(why)
    }

    /// Whether one of these keys signed.
    async fn signed_by(
        &self,
        live: &LiveCredential,
        jws: &Jws<'_>,
        keys: Keys<'_>,
        tries: &mut usize,
    ) -> Result<bool, NoKeys> {
        let wanted = |key: &PublicKey| may_have_signed(jws, key);
        let fetched;
        let keys = match keys {
            Keys::Known(keys) => keys,
            Keys::At(source) => {
                let tenant = &live.credential.identity.tenant;
                fetched = self.0.key_sets.get(tenant, &source, wanted).await?;
                &*fetched
            }
        };
        let fitting = keys.iter().filter(|key| wanted(key)).take(*tries);
        let signed = fitting
            .inspect(|_| *tries -= 1)
            .any(|key| key.verifies(jws.algorithm, jws.message, &jws.signature));
        Ok(signed)
    }

    /// Uses the assertion up. Of those with one `jti`, on any node, one is accepted.
    async fn spend(
        &self,
        client: &AuthenticatedClient,
        claims: &Claims<'_>,
        caller: &dyn CallerAddress,
    ) -> Result<(), AuthenticateError> {
        let jti = claims.jti.ok_or(Fault::Jti)?;
        let used = SpendAssertion {
            credential_id: client.live().credential.identity.id,
            digest: Sha256::digest(jti).into(),
            until: claims.exp.saturating_add(CLOCK_SKEW),
        };
        let first = self.store().spend_assertion(used);
        let store_work = &self.0.store_work;
        let first = store_work.call(client.tenant(), Side::Clients, first);
        match first.await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let why = RefusalReason::AssertionReplayed;
                self.note_refusal(&client.live().credential, why, caller.address());
                Err(Fault::Replayed.into())
            }
            Err(CallError::Refused(refused)) => Err(AuthenticateError::Crowded {
                retry_after: refused.retry_after,
            }),
            Err(CallError::Store(error)) => Err(AuthenticateError::Store(Arc::new(error))),
        }
    }
}

/// Keys of which one may have signed.
enum Keys<'a> {
    Known(&'a [PublicKey]),
    At(KeySource),
}

/// A key without a `kid` may be meant by any, and so may every key if the token names none.
fn may_have_signed(jws: &Jws<'_>, key: &PublicKey) -> bool {
    let meant = match (jws.kid.as_deref(), key.kid()) {
        (Some(named), Some(kid)) => named == kid,
        _ => true,
    };
    meant && key.fits(jws.algorithm)
}
