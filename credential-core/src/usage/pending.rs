//! What was counted and is not in a batch yet, bounded.

use std::{
    collections::BTreeMap,
    mem,
    ops::Bound::{Excluded, Unbounded},
};

use super::{cells::Count, needed::Needed};
use crate::{
    catalog::ScopeCatalog,
    clock::{Day, Timestamp},
    id::{CredentialId, ProofId},
    store::{CallCount, LastUse, MAX_BATCH},
};

/// How many counts wait at most, by credential, day and needed scopes; and as many last uses. At about 100
/// bytes each.
const MOST: usize = 100_000;

/// What waits to be written. It grows while the store does not answer, and while more is counted than
/// batches can take; equal counts are added up.
#[derive(Debug)]
pub(super) struct Pending {
    /// Counts are of that day.
    pub(super) day: Day,
    calls: Queue<CallKey, Count>,
    uses: Queue<(CredentialId, ProofId), Timestamp>,
    lost_calls: u64,
    lost_uses: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct CallKey {
    credential_id: CredentialId,
    day: Day,
    api_type: u16,
    needed: Needed,
}

/// A map of which batches take all parts in turn.
#[derive(Debug)]
struct Queue<K, V> {
    waiting: BTreeMap<K, V>,
    /// What was taken last.
    latest: Option<K>,
}

impl<K: Ord + Clone, V> Queue<K, V> {
    const fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            latest: None,
        }
    }

    fn take(&mut self) -> Vec<(K, V)> {
        if self.waiting.len() <= MAX_BATCH {
            return mem::take(&mut self.waiting).into_iter().collect();
        }
        let after = self.latest.take().map_or(Unbounded, Excluded);
        // There are more than it takes, so none comes twice.
        let behind = self.waiting.range((after, Unbounded));
        let keys: Vec<K> = behind
            .chain(&self.waiting)
            .map(|(key, _)| key.clone())
            .take(MAX_BATCH)
            .collect();
        self.latest = keys.last().cloned();
        keys.into_iter()
            .filter_map(|key| self.waiting.remove_entry(&key))
            .collect()
    }
}

impl Pending {
    pub(super) const fn new(day: Day) -> Self {
        Self {
            day,
            calls: Queue::new(),
            uses: Queue::new(),
            lost_calls: 0,
            lost_uses: 0,
        }
    }

    /// False if there is no room.
    pub(super) fn add_use(&mut self, last: LastUse) -> bool {
        let key = (last.credential_id, last.proof);
        let waiting = &mut self.uses.waiting;
        if waiting.len() >= MOST && !waiting.contains_key(&key) {
            return false;
        }
        let at = waiting.entry(key).or_insert(last.at);
        *at = last.at.max(*at);
        true
    }

    pub(super) fn lose_use(&mut self) {
        self.lost_uses += 1;
    }

    /// Adds calls. Of more than [`CallCount::MAX_SCOPES`] scopes the first ones are counted, and of the others the use
    /// alone is noted.
    pub(super) fn add_calls(
        &mut self,
        credential_id: CredentialId,
        api_type: u16,
        needed: Needed,
        mut count: Count,
    ) {
        let mut add = |needed, count| {
            let day = self.day;
            let key = CallKey {
                credential_id,
                day,
                api_type,
                needed,
            };
            self.add_call(key, count);
        };
        match needed {
            Needed::Many(scopes) if scopes.len() > CallCount::MAX_SCOPES => {
                for part in scopes.chunks(CallCount::MAX_SCOPES) {
                    if let Some(needed) = Needed::of(part.iter().copied()) {
                        add(needed, count);
                    }
                    count.allowed = 0;
                    count.denied = 0;
                }
            }
            needed => add(needed, count),
        }
    }

    fn add_call(&mut self, key: CallKey, count: Count) {
        let waiting = &mut self.calls.waiting;
        if let Some(known) = waiting.get_mut(&key) {
            known.add(count);
        } else if waiting.len() < MOST {
            waiting.insert(key, count);
        } else {
            self.lose_calls(count.allowed.saturating_add(count.denied));
        }
    }

    pub(super) fn lose_calls(&mut self, count: u64) {
        self.lost_calls = self.lost_calls.saturating_add(count);
    }

    /// How many calls and last uses did not fit since this was asked before.
    pub(super) fn lost(&mut self) -> (u64, u64) {
        (
            mem::take(&mut self.lost_calls),
            mem::take(&mut self.lost_uses),
        )
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.calls.waiting.is_empty() && self.uses.waiting.is_empty()
    }

    pub(super) fn take_uses(&mut self) -> Vec<LastUse> {
        let taken = self.uses.take().into_iter();
        taken
            .map(|((credential_id, proof), at)| LastUse {
                credential_id,
                proof,
                at,
            })
            .collect()
    }

    /// By the names that the catalogue gives the scopes.
    pub(super) fn take_calls(&mut self, catalog: &ScopeCatalog) -> Vec<CallCount> {
        let taken = self.calls.take().into_iter();
        taken
            .map(|(key, count)| CallCount {
                credential_id: key.credential_id,
                day: key.day,
                scopes: names(catalog, &key),
                allowed: count.allowed,
                denied: count.denied,
                last_used_at: count.last_used_at,
            })
            .collect()
    }
}

fn names(catalog: &ScopeCatalog, key: &CallKey) -> String {
    let Some(api_type) = catalog.api_types().get(usize::from(key.api_type)) else {
        return String::new();
    };
    let scopes = key.needed.scopes();
    let names = scopes.iter().filter_map(|it| api_type.scope_at(*it));
    let names: Vec<_> = names.map(|scope| scope.name.as_str()).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::ScopeIndex, testing::SeededEntropy};

    const ONE: Count = Count {
        allowed: 1,
        denied: 0,
        last_used_at: Some(Timestamp::UNIX_EPOCH),
    };

    fn pending() -> Pending {
        Pending::new(Timestamp::UNIX_EPOCH.day())
    }

    #[test]
    fn batches_take_all_in_turn_also_of_what_comes_again() {
        let mut pending = pending();
        let entropy = SeededEntropy::new(1);
        let ids: Vec<_> = (0..3 * MAX_BATCH)
            .map(|_| CredentialId::random(&entropy))
            .collect();
        let needed = || Needed::Few(ScopeIndex::new(0).unwrap().into());
        let mut taken = std::collections::HashMap::<_, u64>::new();
        for _ in 0..6 {
            for id in &ids {
                pending.add_calls(*id, 0, needed(), ONE);
            }
            let batch = pending.take_calls(&ScopeCatalog::elation());
            assert_eq!(batch.len(), MAX_BATCH);
            for count in batch {
                *taken.entry(count.credential_id).or_default() += count.allowed;
            }
        }
        assert_eq!(taken.len(), ids.len(), "nobody waits for ever");
        while !pending.is_empty() {
            for count in pending.take_calls(&ScopeCatalog::elation()) {
                *taken.entry(count.credential_id).or_default() += count.allowed;
            }
        }
        assert!(taken.values().all(|count| *count == 6));
        assert_eq!(pending.lost(), (0, 0));
    }

    #[test]
    fn what_does_not_fit_is_counted_as_lost() {
        let mut pending = pending();
        let entropy = SeededEntropy::new(2);
        let needed = || Needed::Few(ScopeIndex::new(0).unwrap().into());
        let mut first = None;
        for n in 0..MOST + 5 {
            let credential_id = CredentialId::random(&entropy);
            let first = *first.get_or_insert(credential_id);
            pending.add_calls(credential_id, 0, needed(), ONE);
            pending.add_calls(first, 0, needed(), ONE);
            let last = LastUse {
                credential_id,
                proof: ProofId::random(&entropy),
                at: Timestamp::UNIX_EPOCH,
            };
            assert_eq!(pending.add_use(last), n < MOST);
        }
        pending.lose_use();
        assert_eq!(pending.lost(), (5, 1));
        assert_eq!(pending.lost(), (0, 0));
    }

    #[test]
    fn a_long_list_of_scopes_is_counted_once_and_seen_whole() {
        let mut pending = pending();
        let id = CredentialId::random(&SeededEntropy::new(3));
        let scopes: Vec<_> = (0..40).map(|n| ScopeIndex::new(n).unwrap()).collect();
        let needed = Needed::of(scopes.into_iter()).unwrap();
        pending.add_calls(id, 0, needed, ONE);
        let calls = pending.take_calls(&ScopeCatalog::elation());
        let counts: Vec<_> = calls
            .iter()
            .map(|it| (it.scopes.split(' ').count(), it.allowed, it.last_used_at))
            .collect();
        let at = ONE.last_used_at;
        assert_eq!(counts.iter().map(|it| it.0).sum::<usize>(), 40);
        assert_eq!(counts.iter().map(|it| it.1).sum::<u64>(), 1);
        assert!(counts.iter().all(|it| it.0 <= 16 && it.2 == at));
    }
}
