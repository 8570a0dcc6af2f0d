//! A token with the state of its credential, computed once for all checks until that state changes.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use super::{CallOrigin, Origin, TokenRefusal, table::Entry, token_cache::TokenDigest};
use crate::{
    CallerAddress,
    catalog::{ApiType, Requirement, ScopeSet},
    clock::Timestamp,
    id::{CredentialId, ProofId},
    live::{LiveCredential, Stamp},
    token::{TokenClaims, TokenId, TokenScopes},
    usage::{self, Method, ProofUse, RefusalReason, Refused, ScopeRef, Slot},
};

/// An opened token. Its content never changes, so it needs no freshness proof.
#[derive(Debug, Clone)]
pub(crate) struct OpenToken {
    pub(super) credential: CredentialId,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    proof: ProofId,
    id: TokenId,
    /// The scopes that it was issued with; `None`: it follows its credential.
    named: Option<Box<NamedScopes>>,
}

#[derive(Debug, Clone)]
struct NamedScopes {
    scopes: ScopeSet,
    rights: ScopeSet,
}

impl OpenToken {
    pub(super) fn resolve(claims: TokenClaims, api_type: &ApiType) -> Self {
        let named = match claims.scopes {
            TokenScopes::FollowsCredential => None,
            TokenScopes::Named(digests) => {
                let scopes = api_type.of_digests(digests);
                Some(Box::new(NamedScopes {
                    rights: api_type.rights(&scopes),
                    scopes,
                }))
            }
        };
        Self {
            credential: claims.credential,
            proof: claims.proof,
            id: claims.id,
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            named,
        }
    }
}

/// What a token may do in one state of its credential.
///
/// Everything that a warm check reads is in the first 128 bytes. With many tokens a cache miss
/// costs more than most of the computing.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct TokenEntry {
    /// Of the token's text.
    digest: TokenDigest,
    /// The version stamp of that state; `None`: a look-up has to decide.
    pub(super) stamp: Option<Stamp>,
    /// The check is allowed before that moment, wherever the call comes from, if nothing changes. Of a
    /// credential that is bound to networks: always past, so that the others pay nothing for the rule.
    open_until: Timestamp,
    /// When a use was last noted through this entry, in microseconds since the Unix epoch, so that
    /// a note with the same content is skipped.
    noted: AtomicI64,
    /// Issued ∩ held.
    pub(super) rights: ScopeSet,
    /// Allowed calls that `note` does not know of yet.
    slot: Slot,
    /// Where uses of the token's proof are noted and calls counted; `None` if the credential no longer has it.
    pub(super) note: Option<Arc<ProofUse>>,
    pub(super) live: Arc<LiveCredential>,
    /// The check is allowed before that moment, from addresses that the credential may be used from.
    live_until: Timestamp,
    pub(super) token: OpenToken,
}

impl TokenEntry {
    pub(super) fn new(
        digest: TokenDigest,
        token: OpenToken,
        live: Arc<LiveCredential>,
        stamp: Option<Stamp>,
    ) -> Self {
        let rights = match &token.named {
            None => live.rights,
            Some(named) => live.rights.intersection(&named.rights),
        };
        let live_until = live_until(&token, &live);
        Self {
            digest,
            stamp,
            open_until: if live.networks().is_empty() {
                live_until
            } else {
                Timestamp::MIN
            },
            noted: AtomicI64::new(usage::NEVER),
            rights,
            slot: Slot::default(),
            note: live.note_of(&token.proof).cloned(),
            live,
            live_until,
            token,
        }
    }

    /// Why the token is not accepted at that moment, from there.
    ///
    /// # Errors
    /// [`TokenRefusal`]; `AddressNotAllowed` only for a token that is live.
    #[inline]
    pub(super) fn check(&self, now: Timestamp, origin: Origin<'_>) -> Result<(), TokenRefusal> {
        if now < self.open_until {
            return Ok(());
        }
        self.check_closely(now, origin)
    }

    #[inline(never)]
    fn check_closely(&self, now: Timestamp, origin: Origin<'_>) -> Result<(), TokenRefusal> {
        if now < self.live_until {
            let networks = self.live.networks();
            return if networks.is_empty() || origin.is_within(networks) {
                Ok(())
            } else {
                Err(TokenRefusal::AddressNotAllowed)
            };
        }
        // Both follow from one rule, which a test holds them to; when unsure, refuse.
        Err(refusal(&self.token, &self.live, now).unwrap_or(TokenRefusal::Expired))
    }

    /// Counts an allowed call that met all of these requirements, and notes that the token's credential and proof
    /// were used.
    #[inline]
    pub(super) fn count_allowed(&self, requirements: &[&Requirement], at: Timestamp) {
        let micros = at.as_micros();
        let later = usage::is_later(micros, self.noted.load(Ordering::Relaxed));
        let needed = usage::needed_by(requirements);
        // Within a second of a call that was counted by its time, the time says nothing new.
        if !later
            && needed
                .as_ref()
                .is_none_or(|needed| needed.count_in(&self.slot))
        {
            return;
        }
        let Some(note) = &self.note else { return };
        if later {
            self.noted.store(micros, Ordering::Relaxed);
            note.note(at);
        }
        if let Some(needed) = needed {
            note.count_allowed(needed, at);
        }
    }

    /// Hands the token's own counts over to its credential's.
    pub(super) fn hand_over(&self) {
        if let Some(note) = &self.note {
            let noted = self.noted.load(Ordering::Relaxed);
            note.take_over(&self.slot, Timestamp::from_micros(noted));
        }
    }

    /// When the credential or the token's proof ends, once that is near.
    pub(super) fn ends_soon(&self, now: Timestamp) -> Option<Timestamp> {
        self.live.ends_soon(&self.token.proof, now)
    }

    /// Notes a refused call for the credential's admins.
    pub(super) fn note_refusal(
        &self,
        reason: RefusalReason,
        needed: Option<ScopeRef>,
        origin: CallOrigin<'_>,
        at: Timestamp,
    ) {
        if let Some(note) = &self.note {
            let refused = Refused {
                reason,
                needed,
                method: origin.method.and_then(Method::of),
                address: origin.address.and_then(CallerAddress::address),
            };
            note.refused(&self.live.credential.identity.tenant, refused, at);
        }
    }

    /// The effective scopes: each name that one side lists and the other side confers.
    pub(super) fn scopes(&self) -> Option<ScopeSet> {
        let live = &self.live;
        match &self.token.named {
            None => Some(live.held),
            Some(named) => named
                .scopes
                .intersection(&live.rights)
                .union(&live.held.intersection(&named.rights)),
        }
    }
}

/// Nothing that was counted is lost when the entry gives way, or its credential changes.
impl Drop for TokenEntry {
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl Entry for TokenEntry {
    #[inline]
    fn digest(&self) -> TokenDigest {
        self.digest
    }

    fn ends(&self) -> Timestamp {
        self.live_until
    }
}

/// The first moment at which [`refusal`] refuses.
fn live_until(token: &OpenToken, live: &LiveCredential) -> Timestamp {
    let ends = live
        .ends(&token.proof)
        .map_or(token.expires_at, |end| end.min(token.expires_at));
    // What is refused just before its end is refused always.
    let just_before = Timestamp::from_micros(ends.as_micros().saturating_sub(1));
    match refusal(token, live, just_before) {
        None => ends,
        Some(_) => Timestamp::MIN,
    }
}

fn refusal(token: &OpenToken, live: &LiveCredential, now: Timestamp) -> Option<TokenRefusal> {
    if let Err(why) = live.check(&token.proof, now) {
        return Some(why.into());
    }
    if token.expires_at <= now {
        return Some(TokenRefusal::Expired);
    }
    let valid_from = live.credential.observed.tokens_valid_from;
    if live.revoked_tokens.contains(&token.id)
        || valid_from.is_some_and(|from| token.issued_at <= from)
    {
        return Some(TokenRefusal::Revoked);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::{prelude::*, sample::select};

    use super::*;
    use crate::{
        catalog::ScopeCatalog,
        credential::{
            Credential, CredentialName, CredentialState, Description, Identity, Networks, Observed,
            Revocation, RevokedToken, Settings, StoredSecret,
        },
        id::{ClientId, ClientIdPrefix, Environment},
        secret::{
            hash::{Argon2Hasher, HashCost, SecretHasher as _},
            keyring::Keyring,
        },
        store::NodeId,
        testing::SeededEntropy,
        usage::UseLog,
    };

    /// Ends that meet, cross and miss.
    fn end() -> impl Strategy<Value = Option<Timestamp>> {
        select(vec![None, Some(10), Some(20), Some(30)])
            .prop_map(|end| end.map(Timestamp::from_micros))
    }

    fn state(
        credential_ends: Option<Timestamp>,
        secret_ends: Option<Timestamp>,
        tokens_valid_from: Option<Timestamp>,
    ) -> CredentialState {
        let entropy = SeededEntropy::new(7);
        let hasher = Argon2Hasher::new(
            Keyring::generate(&entropy),
            HashCost::cheap(),
            Arc::new(SeededEntropy::new(8)),
        );
        let secret = StoredSecret {
            selector: ProofId::random(&entropy),
            hash: hasher.hash("secret").unwrap(),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: secret_ends,
            ended_at: None,
            last_used_at: None,
        };
        CredentialState {
            credential: Credential {
                identity: Identity {
                    id: CredentialId::random(&entropy),
                    tenant: "alder".parse().unwrap(),
                    api_type: "apiv2".parse().unwrap(),
                    client_id: ClientId::generate(
                        &ClientIdPrefix::default(),
                        Environment::Sandbox,
                        &entropy,
                    ),
                    environment: Environment::Sandbox,
                    created_at: Timestamp::UNIX_EPOCH,
                    created_by: "lee".parse().unwrap(),
                },
                settings: Settings {
                    name: CredentialName::new("Lab").unwrap(),
                    description: Description::default(),
                    scopes: vec!["system/patients.read".to_owned()],
                    expires_at: credential_ends,
                    disabled_at: None,
                    allowed_networks: Networks::default(),
                    secrets: vec![secret],
                    registrations: Vec::new(),
                },
                observed: Observed {
                    tokens_valid_from,
                    last_used_at: None,
                },
                revoked: None,
                version: 1,
            },
            revoked_tokens: Vec::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The one comparison of the hot path says what the rule says, at every moment.
        #[test]
        fn live_until_is_where_the_rule_begins_to_refuse(
            token_ends in end(),
            credential_ends in end(),
            secret_ends in end(),
            tokens_valid_from in select(vec![None, Some(0), Some(5)]),
            revoked in any::<bool>(),
            token_revoked in any::<bool>(),
            other_secret in any::<bool>(),
            bound in any::<bool>(),
        ) {
            let mut state = state(
                credential_ends,
                secret_ends,
                tokens_valid_from.map(Timestamp::from_micros),
            );
            let expires_at = token_ends.unwrap_or(Timestamp::from_micros(40));
            let token = OpenToken {
                credential: state.credential.identity.id,
                issued_at: Timestamp::from_micros(3),
                expires_at,
                proof: if other_secret {
                    ProofId::random(&SeededEntropy::new(9))
                } else {
                    state.credential.settings.secrets[0].selector
                },
                id: TokenId::random(&SeededEntropy::new(10)),
                named: None,
            };
            if bound {
                state.credential.settings.allowed_networks =
                    Networks::parse(&["192.0.2.0/24"]).unwrap();
            }
            let inside: IpAddr = "192.0.2.7".parse().unwrap();
            let outside: IpAddr = "192.0.3.7".parse().unwrap();
            let (at, by) = (Timestamp::UNIX_EPOCH, "lee".parse().unwrap());
            state.credential.revoked = revoked.then_some(Revocation { at, by });
            if token_revoked {
                let (id, issued_at) = (token.id, token.issued_at);
                state.revoked_tokens.push(RevokedToken { id, issued_at, expires_at });
            }
            let catalog = ScopeCatalog::elation();
            let live = LiveCredential::resolve(
                state,
                &catalog,
                &UseLog::new(catalog.clone(), NodeId([0; 16]), Timestamp::UNIX_EPOCH),
            )
            .unwrap();
            let entry = TokenEntry::new(0, token, Arc::new(live), None);
            for now in (-1..45).map(Timestamp::from_micros) {
                let rule = refusal(&entry.token, &entry.live, now);
                let foreign = bound.then_some(TokenRefusal::AddressNotAllowed);
                for (origin, expected) in [
                    (Origin::From(&inside), rule),
                    (Origin::Nowhere, rule),
                    (Origin::From(&outside), rule.or(foreign)),
                    (Origin::From(&None::<IpAddr>), rule.or(foreign)),
                ] {
                    prop_assert_eq!(entry.check(now, origin).err(), expected, "at {}", now);
                }
            }
        }
    }
}
