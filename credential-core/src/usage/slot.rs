//! The counter of one token, for calls that need what its calls needed before.

use std::sync::atomic::{AtomicU64, Ordering};

use super::needed::Packed;

/// Counts of one kind of call, beside what a check reads anyway.
///
/// The credential's cells ([`Cells`](super::cells::Cells)) are three pointers away, and with many tokens each of them
/// is a cache miss. A token's calls mostly need the same, so they are counted here first and
/// handed over later.
///
/// The upper half is what the calls needed, 0 if the slot is free; the lower half their number.
#[derive(Debug, Default)]
pub(crate) struct Slot(AtomicU64);

const COUNT_BITS: u32 = 32;

/// Far below where the number would run into the key.
const MOST: u64 = 1 << 31;

impl Slot {
    /// Counts a call, if the slot is free or of that kind.
    #[inline]
    pub(super) fn count(&self, needed: Packed) -> bool {
        let key = u64::from(needed.number());
        let free = key << COUNT_BITS;
        let counted =
            self.0
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| match held {
                    0 => Some(free | 1),
                    held if held >> COUNT_BITS == key && held - free < MOST => Some(held + 1),
                    _ => None,
                });
        counted.is_ok()
    }

    /// Takes what was counted, and frees the slot.
    pub(super) fn take(&self) -> Option<(Packed, u32)> {
        // Why not swap at once: most slots are free, and a write would take the line from its readers.
        if self.0.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let held = self.0.swap(0, Ordering::Relaxed);
        let count = u32::try_from(held % (1 << COUNT_BITS)).ok()?;
        let key = u32::try_from(held >> COUNT_BITS).ok()?;
        Some((Packed::from_number(key)?, count))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::catalog::ScopeIndex;

    fn needed(scope: usize) -> Packed {
        ScopeIndex::new(scope).unwrap().into()
    }

    #[test]
    fn it_counts_one_kind_until_it_is_taken() {
        let slot = Slot::default();
        assert_eq!(slot.take(), None);
        assert!(slot.count(needed(7)));
        assert!(!slot.count(needed(8)));
        assert!(slot.count(needed(7)));
        assert_eq!(slot.take(), Some((needed(7), 2)));
        assert_eq!(slot.take(), None);
        assert!(slot.count(needed(8)));
        assert_eq!(slot.take(), Some((needed(8), 1)));
    }

    #[test]
    fn what_a_full_slot_does_not_take_is_counted_elsewhere() {
        let slot = Slot(AtomicU64::new(1 << COUNT_BITS | MOST));
        assert!(!slot.count(needed(0)));
        assert_eq!(slot.take(), Some((needed(0), 1 << 31)));
    }

    #[test]
    fn threads_that_count_and_take_at_once_lose_nothing() {
        let slot = Slot::default();
        let mut taken = 0;
        let counted: u32 = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let slot = &slot;
                    scope.spawn(move || {
                        let counted = (0..20_000).filter(|n| slot.count(needed((n + thread) % 2)));
                        u32::try_from(counted.count()).unwrap()
                    })
                })
                .collect();
            while threads.iter().any(|it| !it.is_finished()) {
                taken += slot.take().map_or(0, |(_, count)| count);
            }
            threads.into_iter().map(|it| it.join().unwrap()).sum()
        });
        taken += slot.take().map_or(0, |(_, count)| count);
        assert_eq!(taken, counted);
        assert!(counted > 0);
    }
}
