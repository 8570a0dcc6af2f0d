//! Counters of one credential's calls, by needed scopes.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use super::needed::Packed;
use crate::clock::Timestamp;

/// Cells of the first level, which lie with the credential's other counters; each further level has twice as
/// many as the one before.
const FIRST: usize = 4;
/// The most in one level, which is then the last one: 4 + 8 + … + 256 = 508 cells in all.
const LARGEST: usize = 256;

/// Counters by needed scopes. They are found by comparing one after the other: a client needs few
/// different scopes, and the first ones that it needed come first. Cells are added and never removed, so a
/// warm count is an addition to an atomic: no lock, no allocation.
#[derive(Debug, Default)]
pub(super) struct Cells {
    first: [Cell; FIRST],
    more: More,
}

/// The next level, once it is needed.
#[derive(Debug, Default)]
struct More(OnceLock<Box<Level>>);

#[derive(Debug)]
struct Level {
    cells: Box<[Cell]>,
    more: More,
}

/// 16 bytes, so that the first four are little more than a cache line.
#[derive(Debug, Default)]
struct Cell {
    /// What the calls needed; 0: the cell is free, and so are those behind it.
    key: AtomicU32,
    /// Since the latest drain.
    allowed: AtomicU32,
    denied: AtomicU32,
    /// When one was last allowed, noted once a second at most: [`Tick`].
    last: AtomicU32,
}

/// A moment in 32 bits: units of 2^16 µs (66 ms), rounded up, of which the higher bits are left out. They are known
/// from the time of the drain, since the moment is less than 8 years before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tick(u32);

impl Tick {
    const BITS: u32 = 16;
    /// One second, and what is missing to a whole unit.
    const RESOLUTION: u32 = 16;

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the higher bits are left out"
    )]
    fn of(at: Timestamp) -> Self {
        Self(Self::units(at) as u32)
    }

    #[inline]
    fn units(at: Timestamp) -> i64 {
        (at.as_micros() + (1 << Self::BITS) - 1) >> Self::BITS
    }

    /// Whether a use then is to be noted over that one. A wrong answer is harmless: both are of now.
    #[inline]
    fn is_news(self, noted: Self) -> bool {
        self.0.wrapping_sub(noted.0) >= Self::RESOLUTION
    }

    /// The latest such moment that is not after `now`; `now` itself for what was rounded up beyond it.
    fn before(self, now: Timestamp) -> Timestamp {
        let ago = Self::of(now).0.wrapping_sub(self.0);
        let moment = Self::units(now) - i64::from(ago);
        Timestamp::from_micros(moment << Self::BITS).min(now)
    }
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

impl Cell {
    /// Whether the cell is of that key, which it is from now on if it was free.
    #[inline]
    fn is_of(&self, key: u32) -> bool {
        // Why relaxed: the counters do not depend on it.
        match self.key.load(Ordering::Relaxed) {
            0 => {
                let claimed =
                    self.key
                        .compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
                claimed.is_ok() || claimed == Err(key)
            }
            other => other == key,
        }
    }

    fn drain(&self, now: Timestamp) -> Count {
        let take = |count: &AtomicU32| match count.load(Ordering::Relaxed) {
            0 => 0,
            _ => count.swap(0, Ordering::Acquire).into(),
        };
        let allowed = take(&self.allowed);
        let last = Tick(self.last.load(Ordering::Relaxed));
        Count {
            allowed,
            denied: take(&self.denied),
            last_used_at: (allowed > 0).then(|| last.before(now)),
        }
    }
}

impl More {
    /// The next level, of that size. `None` if it would be too large.
    fn get(&self, size: usize) -> Option<&Level> {
        if size > LARGEST {
            return None;
        }
        let level = || {
            Box::new(Level {
                cells: (0..size).map(|_| Cell::default()).collect(),
                more: Self::default(),
            })
        };
        Some(self.0.get_or_init(level))
    }
}

impl Cells {
    /// Counts allowed calls, the last of them then. False if there is no room for another cell.
    #[inline]
    pub(super) fn allow(&self, needed: Packed, calls: u32, at: Timestamp) -> bool {
        let cell = self.of(needed);
        if let Some(cell) = cell {
            let tick = Tick::of(at);
            if tick.is_news(Tick(cell.last.load(Ordering::Relaxed))) {
                cell.last.store(tick.0, Ordering::Relaxed);
            }
            // Last, so that a drain that takes the count sees the time.
            cell.allowed.fetch_add(calls, Ordering::Release);
        }
        cell.is_some()
    }

    /// Counts a denied call. False if there is no room for another cell.
    #[inline]
    pub(super) fn deny(&self, missing: Packed) -> bool {
        let cell = self.of(missing);
        if let Some(cell) = cell {
            cell.denied.fetch_add(1, Ordering::Relaxed);
        }
        cell.is_some()
    }

    #[inline]
    fn of(&self, needed: Packed) -> Option<&Cell> {
        let key = needed.number();
        let near = self.first.iter().find(|cell| cell.is_of(key));
        near.or_else(|| self.further(key))
    }

    fn further(&self, key: u32) -> Option<&Cell> {
        let mut size = FIRST * 2;
        let mut level = self.more.get(size)?;
        loop {
            if let Some(cell) = level.cells.iter().find(|cell| cell.is_of(key)) {
                return Some(cell);
            }
            size *= 2;
            level = level.more.get(size)?;
        }
    }

    /// Takes what was counted since the last time.
    pub(super) fn drain(&self, now: Timestamp, mut each: impl FnMut(Packed, Count)) {
        let (mut cells, mut more) = (&self.first[..], &self.more);
        loop {
            for cell in cells {
                let Some(key) = Packed::from_number(cell.key.load(Ordering::Relaxed)) else {
                    return;
                };
                let count = cell.drain(now);
                if count.allowed > 0 || count.denied > 0 {
                    each(key, count);
                }
            }
            let Some(level) = more.0.get() else {
                return;
            };
            (cells, more) = (&level.cells, &level.more);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, thread};

    use proptest::prelude::*;

    use super::*;
    use crate::catalog::ScopeIndex;

    const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_123_457);

    fn key(n: usize) -> Packed {
        ScopeIndex::new(n).unwrap().into()
    }

    fn drained(cells: &Cells) -> HashMap<u32, Count> {
        let mut all = HashMap::new();
        cells.drain(NOW, |key, count| {
            let before = all.insert(key.number(), count);
            assert!(before.is_none(), "two cells of one key");
        });
        all
    }

    #[test]
    fn threads_that_count_at_once_lose_nothing() {
        let cells = Cells::default();
        let totals = std::sync::Mutex::new(HashMap::<u32, Count>::new());
        let drain = || {
            let mut totals = totals.lock().unwrap();
            cells.drain(NOW, |key, count| {
                totals.entry(key.number()).or_default().add(count);
            });
        };
        thread::scope(|scope| {
            for thread in 0..4 {
                let cells = &cells;
                scope.spawn(move || {
                    for n in 0..20_000 {
                        assert!(cells.allow(key((n * 7 + thread) % 100), 1, NOW));
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
        assert!(totals.values().all(|it| it.last_used_at == Some(NOW)));
        assert!(drained(&cells).is_empty());
    }

    #[test]
    fn the_last_use_is_noted_once_a_second() {
        let cells = Cells::default();
        let at = |millis: u64| NOW.saturating_sub(std::time::Duration::from_millis(millis));
        let last = || drained(&cells)[&key(1).number()].last_used_at;
        for millis in [5_000, 4_200] {
            assert!(cells.allow(key(1), 1, at(millis)));
        }
        let noted = last().unwrap();
        assert!((at(5_000)..at(4_900)).contains(&noted), "{noted}");
        assert!(cells.allow(key(1), 1, at(3_000)));
        assert!(last().unwrap() >= at(3_000));
        assert!(cells.deny(key(1)));
        assert_eq!(last(), None);
    }

    #[test]
    fn there_is_room_for_508() {
        let cells = Cells::default();
        let room = (0..ScopeIndex::MOST).take_while(|n| cells.deny(key(*n)));
        assert_eq!(room.count(), 508);
        assert!(cells.deny(key(507)), "the known ones go on");
        assert_eq!(drained(&cells).len(), 508);
    }

    #[test]
    fn a_tick_comes_back_at_a_whole_unit_as_well() {
        let now = Timestamp::from_micros(56_498_469_872 << Tick::BITS);
        assert_eq!(Tick::of(now).before(now), now);
        let at = Timestamp::from_micros(now.as_micros() - (1 << Tick::BITS));
        assert_eq!(Tick::of(at).before(now), at);
    }

    proptest! {
        /// Never before the use, and hardly after it; never after the drain.
        #[test]
        fn a_tick_comes_back_as_its_moment(
            at in 0_i64..4_000_000_000_000_000,
            later in 0_i64..200_000_000_000_000,
        ) {
            let (at, now) = (Timestamp::from_micros(at), Timestamp::from_micros(at + later));
            let back = Tick::of(at).before(now);
            prop_assert!(at <= back && back <= now, "{at} {back} {now}");
            prop_assert!(back.as_micros() - at.as_micros() < 1 << 16);
        }
    }
}
