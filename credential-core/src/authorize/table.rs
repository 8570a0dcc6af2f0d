//! A bounded table of shared entries by digest, for a reader who pays for memory.
//!
//! Among many tokens a check costs what it has to fetch from memory, one thing after the other. This
//! fetches two: a set of four places, which is one line of memory, and the entry. A general cache
//! fetches its directory, its index, its list of entries and then the entry.
//!
//! A digest has two sets, and is in the second only if the first was full. If both are full, the
//! entry that ends soonest gives way, which among tokens of one lifetime is the oldest.

use std::{
    array,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::token_cache::Digest;
use crate::clock::Timestamp;

/// What a [`Table`] keeps.
pub(super) trait Entry {
    /// What it is found by: random, and nobody's choice.
    fn digest(&self) -> Digest;

    /// From when on it is of no use.
    fn ends(&self) -> Timestamp;
}

/// Places of a set: as many as fit into a line of memory beside the lock.
const WAYS: usize = 4;

#[derive(Debug)]
pub(super) struct Table<T> {
    sets: Box<[Set<T>]>,
}

/// Nobody waits for anything while holding the lock: a reader compares, a writer moves a pointer.
#[derive(Debug)]
#[repr(align(64))]
struct Set<T>(RwLock<Ways<T>>);

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Set<()>>() == 64, "a set is one line of memory");

#[derive(Debug)]
struct Ways<T> {
    /// A part of each entry's digest: the entry itself is only looked at if this fits.
    marks: [u32; WAYS],
    entries: [Option<Arc<T>>; WAYS],
}

/// Where a digest belongs.
#[derive(Debug, Clone, Copy)]
struct Place {
    sets: [usize; 2],
    mark: u32,
}

impl<T: Entry> Table<T> {
    /// Room for so many entries. There are half as many places again, so that hardly one in a
    /// hundred finds both of its sets full.
    pub(super) fn new(capacity: usize) -> Self {
        let sets = capacity.saturating_add(capacity / 2).div_ceil(WAYS);
        Self {
            sets: (0..sets).map(|_| Set::new()).collect(),
        }
    }

    #[inline]
    pub(super) fn get(&self, digest: Digest) -> Option<Arc<T>> {
        let Place { sets, mark } = self.place(digest);
        sets.into_iter()
            .find_map(|set| self.sets.get(set)?.get(digest, mark))
    }

    /// Puts an entry in the place of that digest's older one, or in a free one, or in that of the
    /// entry that ends soonest.
    pub(super) fn insert(&self, entry: Arc<T>) {
        let Place { sets, mark } = self.place(entry.digest());
        let [Some(first), Some(second)] = sets.map(|set| self.sets.get(set)) else {
            return; // a table without room
        };
        let full = |entry| second.offer(entry, mark);
        if let Err(entry) = first.offer(entry, mark).or_else(full) {
            first.displace(entry, mark);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "parts of the digest")]
    #[inline]
    fn place(&self, digest: Digest) -> Place {
        let [first, second, mark, _]: [u32; 4] =
            array::from_fn(|part| (digest >> (32 * part)) as u32);
        let count = self.sets.len() as u64;
        let set = |bits: u32| usize::try_from((u64::from(bits) * count) >> 32).unwrap_or(0);
        Place {
            sets: [set(first), set(second)],
            mark,
        }
    }
}

impl<T: Entry> Set<T> {
    fn new() -> Self {
        Self(RwLock::new(Ways {
            marks: [0; WAYS],
            entries: array::from_fn(|_| None),
        }))
    }

    #[inline]
    fn get(&self, digest: Digest, mark: u32) -> Option<Arc<T>> {
        let ways = self.read();
        let mut places = ways.marks.iter().zip(&ways.entries);
        places
            .find_map(|(&other, entry)| {
                let entry = entry.as_ref().filter(|_| other == mark)?;
                (entry.digest() == digest).then_some(entry)
            })
            .cloned()
    }

    /// Takes the place of the digest's older entry, or a free one.
    ///
    /// # Errors
    /// Hands the entry back if there is neither.
    fn offer(&self, entry: Arc<T>, mark: u32) -> Result<(), Arc<T>> {
        let digest = entry.digest();
        self.put(entry, mark, |entries| {
            let of_digest =
                |it: &Option<Arc<T>>| it.as_ref().is_some_and(|it| it.digest() == digest);
            let older = entries.iter().position(of_digest);
            older.or_else(|| entries.iter().position(Option::is_none))
        })
    }

    /// Takes the place of the entry that ends soonest.
    fn displace(&self, entry: Arc<T>, mark: u32) {
        let ends = |it: &Option<Arc<T>>| it.as_ref().map(|it| it.ends());
        let displaced = self.put(entry, mark, |entries| {
            let (soonest, _) = entries.iter().enumerate().min_by_key(|(_, it)| ends(it))?;
            Some(soonest)
        });
        debug_assert!(displaced.is_ok(), "a set has a soonest entry");
    }

    fn put(
        &self,
        entry: Arc<T>,
        mark: u32,
        choose: impl FnOnce(&[Option<Arc<T>>; WAYS]) -> Option<usize>,
    ) -> Result<(), Arc<T>> {
        let mut ways = self.write();
        let Ways { marks, entries } = &mut *ways;
        let chosen =
            choose(entries).and_then(|way| Some((marks.get_mut(way)?, entries.get_mut(way)?)));
        let Some((its_mark, place)) = chosen else {
            return Err(entry);
        };
        *its_mark = mark;
        let before = place.replace(entry);
        drop(ways);
        drop(before); // may be the last one that holds it: not under the lock
        Ok(())
    }

    // Why not fail on a poisoned lock: the places are valid after every statement.

    #[inline]
    fn read(&self) -> RwLockReadGuard<'_, Ways<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ways<T>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Weak, thread};

    use super::*;
    use crate::{entropy::Entropy as _, testing::SeededEntropy};

    #[derive(Debug)]
    struct Thing {
        digest: Digest,
        ends: i64,
    }

    impl Entry for Thing {
        fn digest(&self) -> Digest {
            self.digest
        }

        fn ends(&self) -> Timestamp {
            Timestamp::from_micros(self.ends)
        }
    }

    fn thing(digest: Digest, ends: i64) -> Arc<Thing> {
        Arc::new(Thing { digest, ends })
    }

    fn digests(count: usize) -> Vec<Digest> {
        let entropy = SeededEntropy::new(21);
        let mut bytes = [0; 16];
        let mut digest = || {
            entropy.fill(&mut bytes);
            Digest::from_le_bytes(bytes)
        };
        (0..count).map(|_| digest()).collect()
    }

    #[test]
    fn at_its_capacity_hardly_one_in_a_hundred_is_displaced() {
        const CAPACITY: usize = 20_000;
        let table = Table::new(CAPACITY);
        let digests = digests(CAPACITY);
        for digest in &digests {
            table.insert(thing(*digest, 1));
        }
        let found = digests.iter().filter(|it| table.get(**it).is_some());
        assert!(found.count() >= CAPACITY / 100 * 98);
    }

    #[test]
    fn it_never_holds_more_than_half_as_many_again() {
        const CAPACITY: usize = 1_000;
        let table = Table::new(CAPACITY);
        let held: Vec<Weak<Thing>> = digests(20 * CAPACITY)
            .into_iter()
            .map(|digest| {
                let thing = thing(digest, 1);
                let held = Arc::downgrade(&thing);
                table.insert(thing);
                held
            })
            .collect();
        let held = held.iter().filter(|it| it.strong_count() > 0).count();
        assert_eq!(held, CAPACITY / 2 * 3, "and none of its places is wasted");
    }

    #[test]
    fn a_digest_has_one_entry_the_latest() {
        let table = Table::new(100);
        for digest in digests(100) {
            table.insert(thing(digest, 1));
            table.insert(thing(digest, 2));
            assert_eq!(table.get(digest).unwrap().ends, 2);
        }
    }

    #[test]
    fn the_entry_that_ends_soonest_gives_way() {
        // Four places in all.
        let table = Table::new(3);
        let digests = digests(5);
        for (digest, ends) in digests.iter().zip([30, 10, 20, 40, 5]) {
            table.insert(thing(*digest, ends));
        }
        let mut kept: Vec<_> = digests
            .iter()
            .filter_map(|digest| Some(table.get(*digest)?.ends))
            .collect();
        kept.sort_unstable();
        assert_eq!(kept, [5, 20, 30, 40]);
    }

    #[test]
    fn a_mark_alone_finds_nothing() {
        let table = Table::new(3);
        let digest = 0x0000_0001_0000_0002_0000_0003_0000_0004;
        table.insert(thing(digest, 1));
        // Same sets, same mark, another digest.
        assert!(table.get(digest ^ 1 << 127).is_none());
        assert!(table.get(digest).is_some());
    }

    #[test]
    fn a_table_without_room_keeps_nothing() {
        let table = Table::new(0);
        table.insert(thing(1, 1));
        assert!(table.get(1).is_none());
    }

    #[test]
    fn whoever_reads_meanwhile_finds_its_own_or_nothing() {
        let table = Table::<Thing>::new(50);
        let digests = digests(200);
        thread::scope(|scope| {
            for offset in 0..4 {
                let (table, digests) = (&table, &digests);
                scope.spawn(move || {
                    for turn in 0..5_000 {
                        let digest = digests[(turn * 7 + offset * 50) % digests.len()];
                        match table.get(digest) {
                            Some(found) => assert_eq!(found.digest, digest),
                            None => table.insert(thing(digest, i64::try_from(turn).unwrap())),
                        }
                    }
                });
            }
        });
    }
}
