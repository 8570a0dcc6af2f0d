//! The latest use of each proof, and the log of all of this node's counters.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use super::{
    ScopeRef,
    cells::{Cells, Count},
    flush::Flusher,
    needed::{Needed, Packed},
    pending::Pending,
    rare::{RareCounts, RareKey},
    refusals::{RefusalBook, Refused},
    slot::Slot,
};
use crate::{
    catalog::{ApiType, Requirement, ScopeCatalog, ScopeIndex, ScopeSet},
    clock::Timestamp,
    credential::Credential,
    id::{CredentialId, ProofId, TenantId},
    store::{LastUse, NodeId},
};

/// The least distance between two noted uses, in microseconds. Without it, threads that check one
/// busy credential would contend for its cache line.
const RESOLUTION: i64 = 1_000_000;

/// In how many parts the log lies.
const SHARDS: usize = 64;

/// Whether a use is late enough after the noted one to be noted.
#[inline]
pub(crate) fn is_later(at: i64, noted: i64) -> bool {
    at >= noted.saturating_add(RESOLUTION)
}

/// No use at all, as a number of microseconds.
pub(crate) const NEVER: i64 = i64::MIN;

/// One proof's latest use on this node, and the counters of its credential.
#[derive(Debug)]
pub(crate) struct ProofUse {
    /// Microseconds since the Unix epoch; [`NEVER`] until the first use.
    noted: AtomicI64,
    /// What the flush has taken of it.
    taken: AtomicI64,
    credential: Arc<CredentialUse>,
}

/// How one credential is used on this node. A credential whose proofs have all changed may have two for a
/// while, which are added up at the flush.
#[derive(Debug)]
struct CredentialUse {
    id: CredentialId,
    calls: Cells,
    book: Arc<Book>,
    /// As in [`ScopeRef`].
    api_type: u16,
}

/// What all credentials of the node share.
#[derive(Debug)]
pub(crate) struct Book {
    pub(super) catalog: ScopeCatalog,
    pub(super) rare: RareCounts,
    pub(crate) refusals: RefusalBook,
}

impl ProofUse {
    /// Notes a use; no lock, no allocation.
    #[inline]
    pub(crate) fn note(&self, at: Timestamp) {
        let at = at.as_micros();
        let noted = self.noted.load(Ordering::Relaxed);
        if is_later(at, noted) {
            self.noted.fetch_max(at, Ordering::Relaxed);
        }
    }

    /// Counts an allowed call. No lock and no allocation, if it is of a kind that was counted before and of
    /// few scopes.
    pub(crate) fn count_allowed(&self, needed: Needed, at: Timestamp) {
        let credential = &*self.credential;
        if let Needed::Few(packed) = needed
            && credential.calls.allow(packed, 1, at)
        {
            return;
        }
        let count = Count {
            allowed: 1,
            denied: 0,
            last_used_at: Some(at),
        };
        credential.rarely(credential.api_type, needed, count);
    }

    /// Takes over what a token's slot has counted within a second after `noted`. That time is noted of them: they
    /// may be the only calls of their kind.
    pub(crate) fn take_over(&self, slot: &Slot, noted: Timestamp) {
        let Some((needed, count)) = slot.take() else {
            return;
        };
        let credential = &*self.credential;
        if !credential.calls.allow(needed, count, noted) {
            let count = Count {
                allowed: count.into(),
                denied: 0,
                last_used_at: Some(noted),
            };
            credential.rarely(credential.api_type, Needed::Few(needed), count);
        }
    }

    /// Counts a call that was denied for want of a scope.
    #[inline]
    pub(crate) fn count_denied(&self, missing: Missing) {
        let credential = &*self.credential;
        let (api_type, packed) = match missing {
            Missing::Nothing => return,
            Missing::Scope(scope) => (scope.api_type, scope.scope.into()),
            Missing::NoneWouldDo => (credential.api_type, Packed::NONE_WOULD_DO),
        };
        if api_type == credential.api_type && credential.calls.deny(packed) {
            return;
        }
        let count = Count {
            allowed: 0,
            denied: 1,
            last_used_at: None,
        };
        credential.rarely(api_type, Needed::Few(packed), count);
    }

    /// Which scope a call lacks, or would lack: the first that is needed and not among `rights`.
    pub(crate) fn missing(&self, requirement: &Requirement, rights: Option<&ScopeSet>) -> Missing {
        match requirement {
            Requirement::Public => Missing::Nothing,
            Requirement::Scopes(needed) => self.credential.missing(needed, rights),
            Requirement::Unlisted(_) => self
                .credential
                .own_api_type()
                .and_then(ApiType::full_access)
                .map_or(Missing::NoneWouldDo, |full| {
                    self.credential.own_scope(full.index)
                }),
        }
    }

    /// Notes a refusal for the credential's admins.
    pub(crate) fn refused(&self, tenant: &TenantId, refused: Refused, at: Timestamp) {
        let credential = &*self.credential;
        credential
            .book
            .refusals
            .proven(tenant, credential.id, refused, at);
    }

    /// The use that the flush has not taken yet.
    fn untaken(&self, proof: ProofId) -> Option<LastUse> {
        let noted = self.noted.load(Ordering::Relaxed);
        (noted > self.taken.load(Ordering::Relaxed)).then(|| LastUse {
            credential_id: self.credential.id,
            proof,
            at: Timestamp::from_micros(noted),
        })
    }

    /// Hands over what the flush has not taken yet. What does not fit stays, unless it is the last chance.
    fn drain(&self, proof: ProofId, now: Timestamp, pending: &mut Pending, last_chance: bool) {
        if let Some(last) = self.untaken(proof) {
            if pending.add_use(last) {
                self.taken.fetch_max(last.at.as_micros(), Ordering::Relaxed);
            } else if last_chance {
                pending.lose_use();
            }
        }
        let CredentialUse { id, api_type, .. } = *self.credential;
        self.credential.calls.drain(now, |packed, count| {
            pending.add_calls(id, api_type, Needed::Few(packed), count);
        });
    }
}

/// What a denied call lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is open to all.
    Nothing,
    Scope(ScopeRef),
    /// No scope would do.
    NoneWouldDo,
}

impl Missing {
    pub(crate) fn scope(self) -> Option<ScopeRef> {
        match self {
            Self::Scope(scope) => Some(scope),
            Self::Nothing | Self::NoneWouldDo => None,
        }
    }
}

/// What an allowed call needed that met all of these requirements; `None`: no scope.
#[inline]
pub(crate) fn needed_by(requirements: &[&Requirement]) -> Option<Needed> {
    // Almost always.
    if let [Requirement::Scopes(needed)] = requirements
        && let Some(scope) = needed.only()
    {
        return Some(Needed::Few(scope.into()));
    }
    Needed::of(requirements.iter().copied().flat_map(scopes_of))
}

fn scopes_of(requirement: &Requirement) -> impl Iterator<Item = ScopeIndex> + Clone + use<'_> {
    let needed = match requirement {
        Requirement::Scopes(needed) => Some(needed),
        Requirement::Public | Requirement::Unlisted(_) => None,
    };
    needed.into_iter().flat_map(ScopeSet::iter)
}

impl CredentialUse {
    fn own_api_type(&self) -> Option<&ApiType> {
        let api_types = self.book.catalog.api_types();
        api_types.get(usize::from(self.api_type)).map(|it| &**it)
    }

    fn own_scope(&self, scope: ScopeIndex) -> Missing {
        Missing::Scope(ScopeRef {
            api_type: self.api_type,
            scope,
        })
    }

    fn missing(&self, needed: &ScopeSet, rights: Option<&ScopeSet>) -> Missing {
        let own = self.own_api_type().is_some_and(|own| own.owns(needed));
        let lacking = match rights {
            Some(rights) if own => needed.difference(rights),
            _ => *needed,
        };
        let Some(scope) = lacking.iter().next().or_else(|| needed.iter().next()) else {
            return Missing::NoneWouldDo;
        };
        if own {
            return self.own_scope(scope);
        }
        let mut api_types = self.book.catalog.api_types().iter();
        let place = api_types.position(|it| it.owns(needed));
        let place = place.and_then(|it| u16::try_from(it).ok());
        place.map_or(Missing::NoneWouldDo, |api_type| {
            Missing::Scope(ScopeRef { api_type, scope })
        })
    }

    #[cold]
    fn rarely(&self, api_type: u16, needed: Needed, count: Count) {
        let key = RareKey {
            credential_id: self.id,
            api_type,
            needed,
        };
        self.book.rare.add(key, count);
    }
}

/// All counters of this node, so that they outlive the cached state that points to them.
#[derive(Debug)]
pub(crate) struct UseLog {
    /// By the credential's id, so that a flush locks a part at a time.
    proofs: [Mutex<HashMap<ProofId, Arc<ProofUse>>>; SHARDS],
    pub(super) book: Arc<Book>,
    pub(super) flusher: Flusher,
}

impl UseLog {
    /// Of a node that counts from now on.
    pub(crate) fn new(catalog: ScopeCatalog, node: NodeId, now: Timestamp) -> Self {
        Self {
            proofs: std::array::from_fn(|_| Mutex::default()),
            book: Arc::new(Book {
                catalog,
                rare: RareCounts::default(),
                refusals: RefusalBook::default(),
            }),
            flusher: Flusher::new(node, now),
        }
    }

    /// Where refusals are noted of clients whose state is not at hand.
    pub(crate) fn refusals(&self) -> &RefusalBook {
        &self.book.refusals
    }

    /// The notes of a credential's proofs, in their order.
    pub(crate) fn notes_of(&self, credential: &Credential) -> Vec<Arc<ProofUse>> {
        let id = credential.identity.id;
        let [.., last] = id.as_bytes();
        let mut proofs = lock(&self.proofs[usize::from(*last) % SHARDS]);
        // The credential's counters are found by any of its proofs that was seen before.
        let mut known = credential
            .settings
            .proofs()
            .filter_map(|it| proofs.get(&it));
        let known = known.find(|it| it.credential.id == id);
        let counters = known.map_or_else(
            || {
                let mut api_types = self.book.catalog.api_types().iter();
                let place = api_types.position(|it| *it.id() == credential.identity.api_type);
                Arc::new(CredentialUse {
                    id,
                    // A credential of an API type that is not listed confers nothing.
                    api_type: place
                        .and_then(|it| u16::try_from(it).ok())
                        .unwrap_or(u16::MAX),
                    calls: Cells::default(),
                    book: Arc::clone(&self.book),
                })
            },
            |known| Arc::clone(&known.credential),
        );
        let mut note = |proof: ProofId| {
            Arc::clone(proofs.entry(proof).or_insert_with(|| {
                Arc::new(ProofUse {
                    noted: AtomicI64::new(NEVER),
                    taken: AtomicI64::new(NEVER),
                    credential: Arc::clone(&counters),
                })
            }))
        };
        credential.settings.proofs().map(&mut note).collect()
    }

    /// Hands over everything that was counted since the last time, and forgets whom nobody holds any more.
    pub(super) async fn drain(&self, now: Timestamp, pending: &mut Pending) {
        for part in &self.proofs {
            lock(part).retain(|proof, note| {
                // Whoever let go of it before has counted before.
                let gone = Arc::get_mut(note).is_some();
                note.drain(*proof, now, pending, gone);
                !gone
            });
            // With many credentials each part takes a while.
            tokio::task::yield_now().await;
        }
        let (rare, lost) = self.book.rare.drain();
        for (key, count) in rare {
            pending.add_calls(key.credential_id, key.api_type, key.needed, count);
        }
        pending.lose_calls(lost);
    }
}

fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
