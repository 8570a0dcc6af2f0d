//! Counts that do not fit a credential's counters: calls of another API type, of more scopes than a counter
//! is found by, of more different scopes than there are counters.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
};

use super::{cells::Count, needed::Needed};
use crate::id::CredentialId;

/// How many kinds of calls are counted between two flushes.
const MOST: usize = 4_096;

/// By credential, API type and needed scopes, behind a lock: none of it is the usual case.
#[derive(Debug, Default)]
pub(super) struct RareCounts(Mutex<Rare>);

#[derive(Debug, Default)]
struct Rare {
    counts: HashMap<RareKey, Count>,
    lost: u64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct RareKey {
    pub(super) credential_id: CredentialId,
    /// As in [`ScopeRef`](super::ScopeRef).
    pub(super) api_type: u16,
    pub(super) needed: Needed,
}

impl RareCounts {
    pub(super) fn add(&self, key: RareKey, count: Count) {
        let mut rare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = rare.counts.get_mut(&key) {
            known.add(count);
        } else if rare.counts.len() < MOST {
            rare.counts.insert(key, count);
        } else {
            rare.lost = rare.lost.saturating_add(count.allowed + count.denied);
        }
    }

    /// Takes everything, and how many calls did not fit.
    pub(super) fn drain(&self) -> (HashMap<RareKey, Count>, u64) {
        let mut rare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Rare { counts, lost } = mem::take(&mut *rare);
        (counts, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::ScopeIndex, testing::SeededEntropy};

    #[test]
    fn what_does_not_fit_is_counted_as_lost() {
        let rare = RareCounts::default();
        let entropy = SeededEntropy::new(1);
        let scope = ScopeIndex::new(0).unwrap();
        let one = Count {
            denied: 1,
            ..Count::default()
        };
        let mut ids: Vec<_> = (0..MOST + 10)
            .map(|_| CredentialId::random(&entropy))
            .collect();
        ids.push(ids[0]);
        for credential_id in ids {
            let needed = Needed::Few(scope.into());
            let key = RareKey {
                credential_id,
                api_type: 0,
                needed,
            };
            rare.add(key, one);
        }
        let (counts, lost) = rare.drain();
        assert_eq!((counts.len(), lost), (MOST, 10));
        assert_eq!(counts.values().map(|it| it.denied).max(), Some(2));
        assert_eq!(rare.drain().0.len(), 0);
    }
}
