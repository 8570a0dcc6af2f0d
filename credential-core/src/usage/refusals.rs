//! Refusals, merged and bounded.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    mem,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::ScopeRef;
use crate::{
    catalog::ScopeCatalog,
    clock::Timestamp,
    id::{ClientId, CredentialId, TenantId},
    store::{MAX_BATCH, REFUSALS_MERGE_WITHIN, RefusalCount, RefusalNote, RefusedClient},
};

/// At most so many kinds of refusals between two batches, of clients that presented a token or secret of
/// their own.
const PROVEN: usize = 4_000;
/// Of those, at most so many of one tenant's.
const PER_TENANT: usize = 200;
/// At most so many of callers that only claim to be a client: made-up ids have this share and no other.
const CLAIMED: usize = 1_000;
/// Of those, at most so many of one address's, or of one IPv6 network's of 64 bits: whoever makes ids up displaces
/// few refusals of others.
const PER_ADDRESS: usize = 50;
/// Of those, at most so many of callers whose address nobody knows.
const OF_NOBODY: usize = 500;

const _: () = assert!(PROVEN + CLAIMED <= MAX_BATCH);

/// Why a call or a client was refused, for the credential's admins. Whoever was refused is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// A call lacked a scope.
    ScopeMissing,
    /// A call, or a client that proved itself, came from a foreign address.
    AddressNotAllowed,
    /// The credential has expired.
    Expired,
    /// The credential is disabled.
    Disabled,
    /// The credential is revoked.
    Revoked,
    /// The secret has ended, or the one that the token was issued for.
    SecretEnded,
    /// The token is past its own lifetime.
    TokenExpired,
    /// The token was revoked by its client.
    TokenRevoked,
    /// A secret that is not this client's: forged, mistyped or another client's.
    WrongSecret,
    /// A secret of another environment.
    OtherEnvironment,
    /// A token was asked for with a scope that the API type does not list, or with text that is no scope.
    UnknownScope,
    /// A token was asked for with scopes that may not be held together, or none is held at all.
    ScopeConflict,
    /// A signed assertion with a header or claims that are not accepted of anybody.
    AssertionInvalid,
    /// A signed assertion that was used before.
    AssertionReplayed,
    /// A signed assertion that no registered key verifies, or a token that no rule accepts.
    WrongSignature,
    /// The keys behind a URL or of an issuer could not be fetched.
    NoKeys,
}

impl RefusalReason {
    /// The word that admins and programs see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScopeMissing => "scope_missing",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
            Self::SecretEnded => "secret_ended",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::WrongSecret => "wrong_secret",
            Self::OtherEnvironment => "other_environment",
            Self::UnknownScope => "unknown_scope",
            Self::ScopeConflict => "scope_conflict",
            Self::AssertionInvalid => "assertion_invalid",
            Self::AssertionReplayed => "assertion_replayed",
            Self::WrongSignature => "wrong_signature",
            Self::NoKeys => "no_keys",
        }
    }
}

/// A method that may be written down. Others may have any content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Method(&'static str);

impl Method {
    pub(crate) fn of(method: &str) -> Option<Self> {
        const COMMON: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        COMMON.into_iter().find(|it| *it == method).map(Self)
    }
}

/// What was refused, of a client that is known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Refused {
    pub(crate) reason: RefusalReason,
    pub(crate) needed: Option<ScopeRef>,
    pub(crate) method: Option<Method>,
    pub(crate) address: Option<IpAddr>,
}

impl From<RefusalReason> for Refused {
    fn from(reason: RefusalReason) -> Self {
        Self {
            reason,
            needed: None,
            method: None,
            address: None,
        }
    }
}

impl Refused {
    /// The same, of a caller with that address.
    pub(crate) fn of_address(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }
}

/// Refusals since the latest batch.
///
/// Noting one takes a short lock and a place in a map, whether or not a claimed client exists: no look-up, so
/// that the time of an answer says nothing. The store finds out at the flush.
#[derive(Debug, Default)]
pub(crate) struct RefusalBook {
    proven: Mutex<Fair<TenantId, CredentialId>>,
    claimed: Mutex<Fair<Option<IpAddr>, ClientId>>,
}

/// A share of which each owner has a part.
#[derive(Debug)]
struct Fair<K, C> {
    share: Share<C>,
    of: HashMap<K, usize>,
}

impl<K, C> Default for Fair<K, C> {
    fn default() -> Self {
        Self {
            share: Share::default(),
            of: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash, C: Eq + Hash + Clone> Fair<K, C> {
    /// Notes a refusal of that owner's, who may have `each` of `most`.
    fn note(&mut self, owner: K, (each, most): (usize, usize), kind: (C, Refused), at: Timestamp) {
        let of_this = self.of.get(&owner).copied().unwrap_or(0);
        let has_room = self.share.len() < most && of_this < each;
        let (client, refused) = kind;
        if self.share.note(client, refused, at, has_room) {
            *self.of.entry(owner).or_default() += 1;
        }
    }
}

/// The address, or the IPv6 network that one customer usually has.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[derive(Debug)]
struct Share<C> {
    open: HashMap<(C, Refused), Times>,
    /// Too old to be merged with.
    closed: Vec<((C, Refused), Times)>,
    lost: u64,
}

impl<C> Default for Share<C> {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            closed: Vec::new(),
            lost: 0,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Times {
    at: Timestamp,
    last_at: Timestamp,
    count: u64,
}

impl<C: Eq + Hash + Clone> Share<C> {
    fn len(&self) -> usize {
        self.open.len() + self.closed.len()
    }

    /// Notes a refusal. Whether it took another place; `has_room` says whether it may.
    fn note(&mut self, client: C, refused: Refused, at: Timestamp, has_room: bool) -> bool {
        let new = Times {
            at,
            last_at: at,
            count: 1,
        };
        match self.open.entry((client, refused)) {
            Entry::Occupied(mut known) => {
                let times = known.get_mut();
                if at.saturating_since(times.at) < REFUSALS_MERGE_WITHIN {
                    times.last_at = times.last_at.max(at);
                    times.count = times.count.saturating_add(1);
                    return false;
                }
                if has_room {
                    let key = known.key().clone();
                    let before = known.insert(new);
                    self.closed.push((key, before));
                    return true;
                }
            }
            Entry::Vacant(place) if has_room => {
                place.insert(new);
                return true;
            }
            Entry::Vacant(_) => {}
        }
        self.lost = self.lost.saturating_add(1);
        false
    }
}

impl RefusalBook {
    /// Of a client that presented a token or secret of that credential.
    pub(crate) fn proven(
        &self,
        tenant: &TenantId,
        credential: CredentialId,
        refused: Refused,
        at: Timestamp,
    ) {
        let mut proven = lock(&self.proven);
        let bounds = (PER_TENANT, PROVEN);
        proven.note(tenant.clone(), bounds, (credential, refused), at);
    }

    /// Of a caller that claims to be that client.
    pub(crate) fn claimed(&self, client: &ClientId, refused: Refused, at: Timestamp) {
        let owner = refused.address.map(neighbourhood);
        let each = owner.map_or(OF_NOBODY, |_| PER_ADDRESS);
        let mut claimed = lock(&self.claimed);
        claimed.note(owner, (each, CLAIMED), (client.clone(), refused), at);
    }

    /// Takes everything, and how many refusals did not fit.
    pub(super) fn drain(&self, catalog: &ScopeCatalog) -> (Vec<RefusalNote>, u64) {
        let Fair { share: proven, .. } = mem::take(&mut *lock(&self.proven));
        let Fair { share: claimed, .. } = mem::take(&mut *lock(&self.claimed));
        let lost = proven.lost.saturating_add(claimed.lost);
        let mut notes = Vec::with_capacity(proven.len() + claimed.len());
        for ((id, refused), times) in proven.closed.into_iter().chain(proven.open) {
            notes.push(note(catalog, RefusedClient::Proven(id), refused, times));
        }
        for ((id, refused), times) in claimed.closed.into_iter().chain(claimed.open) {
            notes.push(note(catalog, RefusedClient::Claimed(id), refused, times));
        }
        (notes, lost)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(
    catalog: &ScopeCatalog,
    client: RefusedClient,
    refused: Refused,
    times: Times,
) -> RefusalNote {
    let needed = refused.needed.and_then(|it| {
        let api_type = catalog.api_types().get(usize::from(it.api_type))?;
        Some(api_type.scope_at(it.scope)?.name.clone())
    });
    RefusalNote {
        client,
        refusal: RefusalCount {
            reason: refused.reason.as_str().into(),
            needed_scope: needed,
            method: refused.method.map(|Method(name)| name.into()),
            address: refused.address,
            at: times.at,
            last_at: times.last_at,
            count: times.count,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        id::{ClientIdPrefix, Environment},
        testing::SeededEntropy,
    };

    const AT: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    fn tenant(n: usize) -> TenantId {
        TenantId::new(format!("t{n}")).unwrap()
    }

    fn drained(book: &RefusalBook) -> (Vec<RefusalNote>, u64) {
        book.drain(&ScopeCatalog::elation())
    }

    #[test]
    fn equal_refusals_within_a_minute_are_one() {
        let book = RefusalBook::default();
        let id = CredentialId::random(&SeededEntropy::new(1));
        let get = Refused {
            method: Method::of("GET"),
            ..RefusalReason::ScopeMissing.into()
        };
        let post = Refused {
            method: Method::of("POST"),
            ..get
        };
        let at = |seconds| AT.saturating_add(Duration::from_secs(seconds));
        for (refused, seconds) in [(get, 0), (post, 1), (get, 59), (get, 60), (get, 61)] {
            book.proven(&tenant(0), id, refused, at(seconds));
        }
        let (notes, lost) = drained(&book);
        let mut seen: Vec<_> = notes
            .iter()
            .map(|it| &it.refusal)
            .map(|it| (it.at, it.last_at, it.count, it.method.as_deref()))
            .collect();
        seen.sort_unstable();
        let expected = [
            (at(0), at(59), 2, Some("GET")),
            (at(1), at(1), 1, Some("POST")),
            (at(60), at(61), 2, Some("GET")),
        ];
        assert_eq!((&*seen, lost), (&expected[..], 0));
        assert!(drained(&book).0.is_empty());
    }

    #[test]
    fn no_tenant_displaces_another_and_made_up_clients_displace_nobody() {
        let book = RefusalBook::default();
        let entropy = SeededEntropy::new(2);
        let prefix = ClientIdPrefix::default();
        let wrong = Refused::from(RefusalReason::WrongSecret);
        let made_up = |count, address: Option<&str>| {
            let refused = wrong.of_address(address.map(|it| it.parse().unwrap()));
            for _ in 0..count {
                let client = ClientId::generate(&prefix, Environment::Sandbox, &entropy);
                book.claimed(&client, refused, AT);
            }
        };
        made_up(CLAIMED, None);
        made_up(2 * PER_ADDRESS, Some("192.0.2.1"));
        made_up(PER_ADDRESS, Some("2001:db8::1"));
        made_up(PER_ADDRESS, Some("2001:db8::2"));
        let claimed = OF_NOBODY + 2 * PER_ADDRESS;
        // Somebody else's is noted all the same.
        made_up(1, Some("192.0.2.2"));
        for _ in 0..2 * PER_TENANT {
            let id = CredentialId::random(&entropy);
            book.proven(&tenant(0), id, RefusalReason::Revoked.into(), AT);
        }
        let id = CredentialId::random(&entropy);
        book.proven(&tenant(1), id, RefusalReason::Revoked.into(), AT);
        let (notes, lost) = drained(&book);
        assert_eq!(notes.len(), claimed + 1 + PER_TENANT + 1);
        assert_eq!(lost, (OF_NOBODY + 2 * PER_ADDRESS + PER_TENANT) as u64);
        let expected = RefusedClient::Proven(id);
        assert!(notes.iter().any(|it| it.client == expected));
    }

    #[test]
    fn only_common_methods_are_written_down() {
        assert!(Method::of("DELETE").is_some());
        for other in ["get", "MARY-JONES", ""] {
            assert!(Method::of(other).is_none(), "{other}");
        }
    }
}
