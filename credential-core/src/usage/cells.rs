//! Counters of one credential's calls, by needed scopes.

use std::sync::{
    OnceLock,
    atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
};

use super::{
    needed::Packed,
    notes::{NEVER, is_later},
};
use crate::clock::Timestamp;

/// Cells of the first level; each further one has twice as many as the one before.
const FIRST: usize = 4;
/// The most in one level, which is then the last one: 4 + 8 + … + 256 = 508 cells in all.
const LARGEST: usize = 256;

/// Counters by needed scopes. They are found by comparing one after the other: a client needs few
/// different scopes, and the first ones that it needed come first. Cells are added and never removed, so a
/// warm count is an addition to an atomic: no lock, no allocation.
#[derive(Debug, Default)]
pub(super) struct Cells(OnceLock<Box<Level>>);

#[derive(Debug)]
struct Level {
    cells: Box<[Cell]>,
    next: Cells,
}

#[derive(Debug)]
struct Cell {
    /// What the calls needed; 0: the cell is free, and so are those behind it.
    key: AtomicU64,
    /// Since the latest drain.
    allowed: AtomicU32,
    denied: AtomicU32,
    /// When one was last allowed, noted once a second at most, in microseconds since the Unix epoch.
    last: AtomicI64,
}

/// What a cell has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Count {
    pub(super) allowed: u64,
    pub(super) denied: u64,
    pub(super) last_used_at: Option<Timestamp>,
}

impl Count {
    pub(super) fn add(&mut self, more: Self) {
        self.allowed = self.allowed.saturating_add(more.allowed);
        self.denied = self.denied.saturating_add(more.denied);
        self.last_used_at = self.last_used_at.max(more.last_used_at);
    }
}

impl Level {
    fn new(size: usize) -> Self {
        let free = || Cell {
            key: AtomicU64::new(0),
            allowed: AtomicU32::new(0),
            denied: AtomicU32::new(0),
            last: AtomicI64::new(NEVER),
        };
        Self {
            cells: (0..size).map(|_| free()).collect(),
            next: Cells::default(),
        }
    }
}

impl Cell {
    /// Whether the cell is of that key, which it is from now on if it was free.
    #[inline]
    fn is_of(&self, key: u64) -> bool {
        // Why relaxed: the counters do not depend on it.
        match self.key.load(Ordering::Relaxed) {
            0 => {
                let claimed =
                    self.key
                        .compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
                claimed.is_ok_and(|_| true) || claimed == Err(key)
            }
            other => other == key,
        }
    }

    fn drain(&self) -> Count {
        let take = |count: &AtomicU32| match count.load(Ordering::Relaxed) {
            0 => 0,
            _ => count.swap(0, Ordering::Acquire).into(),
        };
        let allowed = take(&self.allowed);
        let last = self.last.load(Ordering::Relaxed);
        Count {
            allowed,
            denied: take(&self.denied),
            last_used_at: (allowed > 0 && last != NEVER).then(|| Timestamp::from_micros(last)),
        }
    }
}

impl Cells {
    /// Counts an allowed call. False if there is no room for another cell.
    #[inline]
    pub(super) fn allow(&self, needed: Packed, at: Timestamp) -> bool {
        self.with(needed, |cell| {
            let at = at.as_micros();
            if is_later(at, cell.last.load(Ordering::Relaxed)) {
                cell.last.fetch_max(at, Ordering::Relaxed);
            }
            // Last, so that a drain that takes the count sees the time.
            cell.allowed.fetch_add(1, Ordering::Release);
        })
    }

    /// Counts allowed calls whose time was noted already. False if there is no room for another cell.
    pub(super) fn allowed_before(&self, needed: Packed, calls: u32) -> bool {
        self.with(needed, |cell| {
            cell.allowed.fetch_add(calls, Ordering::Release);
        })
    }

    /// Counts a denied call. False if there is no room for another cell.
    #[inline]
    pub(super) fn deny(&self, missing: Packed) -> bool {
        self.with(missing, |cell| {
            cell.denied.fetch_add(1, Ordering::Relaxed);
        })
    }

    #[inline]
    fn with(&self, needed: Packed, count: impl FnOnce(&Cell)) -> bool {
        let key = needed.number();
        let mut level = self.0.get_or_init(|| Box::new(Level::new(FIRST)));
        loop {
            if let Some(cell) = level.cells.iter().find(|cell| cell.is_of(key)) {
                count(cell);
                return true;
            }
            let size = level.cells.len() * 2;
            if size > LARGEST {
                return false;
            }
            level = level.next.0.get_or_init(|| Box::new(Level::new(size)));
        }
    }

    /// Takes what was counted since the last time.
    pub(super) fn drain(&self, mut each: impl FnMut(Packed, Count)) {
        let mut level = self.0.get();
        while let Some(it) = level {
            for cell in &it.cells {
                let Some(key) = Packed::from_number(cell.key.load(Ordering::Relaxed)) else {
                    return;
                };
                let count = cell.drain();
                if count.allowed > 0 || count.denied > 0 {
                    each(key, count);
                }
            }
            level = it.next.0.get();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, thread};

    use super::*;
    use crate::catalog::ScopeIndex;

    fn key(n: usize) -> Packed {
        ScopeIndex::new(n).unwrap().into()
    }

    fn drained(cells: &Cells) -> HashMap<u64, Count> {
        let mut all = HashMap::new();
        cells.drain(|key, count| {
            assert!(
                all.insert(key.number(), count).is_none(),
                "two cells of one key"
            );
        });
        all
    }

    #[test]
    fn threads_that_count_at_once_lose_nothing() {
        let cells = Cells::default();
        let totals = std::sync::Mutex::new(HashMap::<u64, Count>::new());
        let drain = || {
            let mut totals = totals.lock().unwrap();
            cells.drain(|key, count| totals.entry(key.number()).or_default().add(count));
        };
        thread::scope(|scope| {
            for thread in 0..4 {
                let cells = &cells;
                scope.spawn(move || {
                    for n in 0..20_000 {
                        let at = Timestamp::from_micros(i64::try_from(n).unwrap() * 1_000_000);
                        assert!(cells.allow(key((n * 7 + thread) % 100), at));
                        assert!(cells.deny(key(n % 50)));
                    }
                });
            }
            for _ in 0..100 {
                drain();
                thread::yield_now();
            }
        });
        drain();
        let totals = totals.into_inner().unwrap();
        assert_eq!(totals.len(), 100);
        assert_eq!(totals.values().map(|it| it.allowed).sum::<u64>(), 80_000);
        assert_eq!(totals.values().map(|it| it.denied).sum::<u64>(), 80_000);
        assert!(totals.values().all(|it| it.last_used_at.is_some()));
        assert!(drained(&cells).is_empty());
    }

    #[test]
    fn the_last_use_is_noted_once_a_second_and_never_goes_back() {
        let cells = Cells::default();
        let at = |micros| Timestamp::from_micros(micros);
        for micros in [5_000_000, 5_999_999, 2_000_000] {
            assert!(cells.allow(key(1), at(micros)));
        }
        let count = drained(&cells)[&key(1).number()];
        assert_eq!(
            (count.allowed, count.last_used_at),
            (3, Some(at(5_000_000)))
        );
        assert!(cells.deny(key(1)));
        let count = drained(&cells)[&key(1).number()];
        assert_eq!((count.denied, count.last_used_at), (1, None));
    }

    #[test]
    fn there_is_room_for_508() {
        let cells = Cells::default();
        let room = (0..ScopeIndex::MOST).take_while(|n| cells.deny(key(*n)));
        assert_eq!(room.count(), 508);
        assert!(cells.deny(key(507)), "the known ones go on");
        assert_eq!(drained(&cells).len(), 508);
    }
}
