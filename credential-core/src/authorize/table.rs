//! A bounded, set-associative hash table of shared entries, laid out for few cache misses.
//!
//! With many tokens the cost of a check is memory latency: the cache lines that it fetches one
//! after the other. This table fetches two: a set of four places, which is one cache line, and the
//! entry. A general cache fetches its directory, its index, its list of entries and then the entry.
//!
//! A digest has two sets, and is in the second only if the first was full. If both are full, one of
//! their entries moves to its own other set (cuckoo hashing, one step). If none can move, the entry
//! that ends soonest is evicted: among tokens of one lifetime, the oldest.
//!
//! The table grows by one set at a time (linear hashing), so a node with few tokens keeps them
//! close together, and no check waits for a resize. A look-up while a set is split may miss an
//! entry that exists; the caller then makes it anew.
//!
//! Freshness does not depend on this table: every entry that it returns is checked against gate and
//! version.

use std::{
    array,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::token_cache::TokenDigest;
use crate::clock::Timestamp;

/// What a [`Table`] keeps.
pub(super) trait Entry {
    /// The key of the entry: pseudorandom, so that no caller can choose it.
    fn digest(&self) -> TokenDigest;

    /// The moment from which the entry is useless.
    fn ends(&self) -> Timestamp;
}

/// Places of a set: as many as fit into a cache line beside the lock.
const WAYS: usize = 4;
/// Sets at the start; a power of two.
const FIRST: usize = 64;
/// Blocks of sets: each as large as all before it, so that they never move.
const BLOCKS: usize = 27;
/// How many sets there are for each eight entries: two places in five are taken then.
const SETS_PER_8: usize = 5;
/// How many sets are split when an entry has found both of its sets full.
const SPLITS_WHEN_FULL: usize = 8;

/// The table. Entries are shared: a caller that has found one keeps it, also if its place is taken.
#[derive(Debug)]
pub(super) struct Table<T> {
    blocks: [OnceLock<Box<[Set<T>]>>; BLOCKS],
    /// Sets in use.
    sets: AtomicUsize,
    /// The most that there may be.
    most: usize,
    /// Places taken. An entry that ends keeps its place until another needs it.
    taken: AtomicUsize,
    /// Held by the one who splits.
    splitting: Mutex<()>,
}

/// Never held across a wait: a reader compares, a writer moves pointers.
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
struct Home {
    sets: [usize; 2],
    mark: u32,
}

impl Home {
    /// Its set, given the number of sets.
    #[expect(clippy::cast_possible_truncation, reason = "parts of the digest")]
    #[inline]
    fn of(digest: TokenDigest, sets: usize) -> Self {
        let [first, second, mark, _]: [u32; 4] =
            array::from_fn(|part| (digest >> (32 * part)) as u32);
        // The sets that were not split yet also take what will be in their other half.
        let all = sets.next_power_of_two().wrapping_sub(1);
        let set = |bits: u32| {
            let set = bits as usize & all;
            if set < sets { set } else { set & (all >> 1) }
        };
        Self {
            sets: [set(first), set(second)],
            mark,
        }
    }
}

impl<T: Entry> Table<T> {
    /// Room for so many entries, in up to twice as many places.
    pub(super) fn new(capacity: usize) -> Self {
        let most = capacity.div_ceil(WAYS / 2).min(FIRST << (BLOCKS - 1));
        Self {
            blocks: [const { OnceLock::new() }; BLOCKS],
            sets: AtomicUsize::new(most.min(FIRST)),
            most,
            taken: AtomicUsize::new(0),
            splitting: Mutex::new(()),
        }
    }

    #[inline]
    pub(super) fn get(&self, digest: TokenDigest) -> Option<Arc<T>> {
        let Home { sets, mark } = Home::of(digest, self.sets.load(Ordering::Acquire));
        sets.into_iter()
            .find_map(|set| self.set(set)?.get(digest, mark))
    }

    /// Puts an entry in the place of that digest's older one, or in a free one, or in that of the
    /// entry that ends soonest.
    pub(super) fn insert(&self, entry: Arc<T>) {
        let count = self.sets.load(Ordering::Acquire);
        match self.put(entry, count) {
            Ok(Took::Older) => {}
            Ok(Took::Free) => {
                let taken = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
                self.grow_to(taken.saturating_mul(SETS_PER_8) / 8 + 1);
            }
            Err(entry) => {
                let Home { sets, mark } = Home::of(entry.digest(), count);
                let [first, _] = sets;
                if let Some(first) = self.set(first) {
                    first.displace(entry, mark);
                }
                // Not only the places count, also how they are spread: sets that were not split yet
                // fill up first.
                self.grow_to(self.sets.load(Ordering::Relaxed) + SPLITS_WHEN_FULL);
            }
        }
    }

    /// Puts an entry where it belongs among so many sets, and others aside for it.
    ///
    /// # Errors
    /// Returns the entry if there is no room.
    fn put(&self, entry: Arc<T>, count: usize) -> Result<Took, Arc<T>> {
        let Home { sets, mark } = Home::of(entry.digest(), count);
        let [Some(first), Some(second)] = sets.map(|set| self.set_or_new(set)) else {
            return Err(entry);
        };
        let either = |entry| {
            let full = |entry| second.offer(entry, mark);
            first.offer(entry, mark).or_else(full)
        };
        either(entry).or_else(|entry| {
            if sets.into_iter().any(|set| self.make_room(set, count)) {
                either(entry)
            } else {
                Err(entry)
            }
        })
    }

    /// Moves one of a full set's entries to its other set. It is found all the while.
    fn make_room(&self, set: usize, count: usize) -> bool {
        let Some(from) = self.set(set) else {
            return false;
        };
        from.entries().into_iter().flatten().any(|entry| {
            let Home { sets, mark } = Home::of(entry.digest(), count);
            let other = sets.into_iter().find(|other| *other != set);
            let other = other.and_then(|other| self.set(other));
            let moved = other
                .is_some_and(|it| matches!(it.offer(Arc::clone(&entry), mark), Ok(Took::Free)));
            if moved && !from.remove(&entry) {
                self.taken.fetch_add(1, Ordering::Relaxed); // someone else was faster: it is in both
            }
            moved
        })
    }

    /// Splits sets until there are so many, or as many as there may be.
    fn grow_to(&self, sets: usize) {
        let sets = sets.min(self.most);
        if self.sets.load(Ordering::Relaxed) >= sets {
            return;
        }
        // Another thread is splitting already and does the most urgent part; the rest follows with
        // later inserts.
        if let Ok(_splitting) = self.splitting.try_lock() {
            for new in self.sets.load(Ordering::Relaxed)..sets {
                self.split(new);
            }
        }
    }

    /// Takes the set of that number into use: what belongs there comes out of the one that had it,
    /// whose number lacks the highest bit.
    fn split(&self, new: usize) {
        let old = new ^ 1 << new.ilog2();
        let Some(from) = self.set_or_new(old) else {
            return;
        };
        // First, so that what is made anew meanwhile is put where it will be looked for.
        self.sets.store(new + 1, Ordering::Release);
        let moves = |entry: &T| Home::of(entry.digest(), new + 1).sets.contains(&new);
        for entry in from.take(moves).into_iter().flatten() {
            if !matches!(self.put(entry, new + 1), Ok(Took::Free)) {
                // It was made anew meanwhile, or there is no place for it: one less is taken.
                self.taken.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    #[inline]
    fn set(&self, set: usize) -> Option<&Set<T>> {
        let (block, at) = block_of(set);
        self.blocks.get(block)?.get()?.get(at)
    }

    fn set_or_new(&self, set: usize) -> Option<&Set<T>> {
        let (block, at) = block_of(set);
        let sets = || {
            let size = FIRST << block.saturating_sub(1);
            let size = size.min(self.most.saturating_sub(set - at));
            (0..size).map(|_| Set::new()).collect()
        };
        self.blocks.get(block)?.get_or_init(sets).get(at)
    }
}

/// In which block a set is, and where there. The first holds [`FIRST`]; each of the others begins at
/// a power of two.
#[inline]
fn block_of(set: usize) -> (usize, usize) {
    let block = (set / FIRST + 1).next_power_of_two().ilog2() as usize;
    let begins = if block == 0 { 0 } else { FIRST << (block - 1) };
    (block, set - begins)
}

/// What kind of place an entry took.
#[derive(Debug, PartialEq, Eq)]
enum Took {
    Free,
    /// That of the digest's older entry.
    Older,
}

impl<T: Entry> Set<T> {
    fn new() -> Self {
        Self(RwLock::new(Ways {
            marks: [0; WAYS],
            entries: array::from_fn(|_| None),
        }))
    }

    #[inline]
    fn get(&self, digest: TokenDigest, mark: u32) -> Option<Arc<T>> {
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
    /// Returns the entry if there is neither.
    fn offer(&self, entry: Arc<T>, mark: u32) -> Result<Took, Arc<T>> {
        let digest = entry.digest();
        let mut ways = self.write();
        let older = |it: &Option<Arc<T>>| it.as_ref().is_some_and(|it| it.digest() == digest);
        let chosen = ways
            .position(older)
            .or_else(|| ways.position(Option::is_none));
        let Some(way) = chosen else {
            return Err(entry);
        };
        let before = ways.put(way, entry, mark);
        drop(ways);
        // Dropped here, not under the lock.
        Ok(if before.is_some() {
            Took::Older
        } else {
            Took::Free
        })
    }

    /// Takes the place of the entry that ends soonest.
    fn displace(&self, entry: Arc<T>, mark: u32) {
        let mut ways = self.write();
        let ends = |it: &Option<Arc<T>>| it.as_ref().map(|it| it.ends());
        let mut soonest = (0..).zip(ways.entries.iter().map(ends));
        let soonest = soonest.by_ref().min_by_key(|(_, ends)| *ends);
        let before = soonest.map(|(way, _)| ways.put(way, entry, mark));
        drop(ways);
        drop(before);
    }

    fn entries(&self) -> [Option<Arc<T>>; WAYS] {
        self.read().entries.clone()
    }

    /// Whether it was there.
    fn remove(&self, entry: &Arc<T>) -> bool {
        let mut ways = self.write();
        let same = |it: &&mut Option<Arc<T>>| it.as_ref().is_some_and(|it| Arc::ptr_eq(it, entry));
        let removed = ways.entries.iter_mut().find(same).and_then(Option::take);
        drop(ways);
        removed.is_some()
    }

    /// Takes out what is to move.
    fn take(&self, moves: impl Fn(&T) -> bool) -> [Option<Arc<T>>; WAYS] {
        let entries = &mut self.write().entries;
        entries
            .each_mut()
            .map(|entry| entry.take_if(|it| moves(it)))
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

impl<T> Ways<T> {
    fn position(&self, is: impl Fn(&Option<Arc<T>>) -> bool) -> Option<usize> {
        self.entries.iter().position(is)
    }

    /// What stood there before.
    fn put(&mut self, way: usize, entry: Arc<T>, mark: u32) -> Option<Arc<T>> {
        *self.marks.get_mut(way)? = mark;
        self.entries.get_mut(way)?.replace(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Weak, thread};

    use super::*;
    use crate::{entropy::Entropy as _, testing::SeededEntropy};

    #[derive(Debug)]
    struct Thing {
        digest: TokenDigest,
        ends: i64,
    }

    impl Entry for Thing {
        fn digest(&self) -> TokenDigest {
            self.digest
        }

        fn ends(&self) -> Timestamp {
            Timestamp::from_micros(self.ends)
        }
    }

    fn thing(digest: TokenDigest, ends: i64) -> Arc<Thing> {
        Arc::new(Thing { digest, ends })
    }

    fn digests(count: usize) -> Vec<TokenDigest> {
        let entropy = SeededEntropy::new(21);
        let mut bytes = [0; 16];
        let mut digest = || {
            entropy.fill(&mut bytes);
            TokenDigest::from_le_bytes(bytes)
        };
        (0..count).map(|_| digest()).collect()
    }

    /// As a node does: what is not found is made anew.
    fn missed(table: &Table<Thing>, digests: &[TokenDigest]) -> usize {
        let missed = digests.iter().filter(|digest| {
            let missed = table.get(**digest).is_none();
            if missed {
                table.insert(thing(**digest, 1));
            }
            missed
        });
        missed.count()
    }

    #[test]
    fn what_it_has_room_for_is_found() {
        const CAPACITY: usize = 20_000;
        let digests = digests(CAPACITY);
        for count in [10, 100, 300, 1_000, 3_000, 6_000, 12_000, 18_000, CAPACITY] {
            let table = Table::new(CAPACITY);
            let digests = &digests[..count];
            assert_eq!(missed(&table, digests), count, "each is new");
            assert_eq!(missed(&table, digests), 0, "of {count}");
            assert_eq!(table.taken.load(Ordering::Relaxed), held(&table));
        }
    }

    #[test]
    fn it_grows_with_what_it_holds() {
        let table = Table::new(1_000_000);
        let sets = |table: &Table<Thing>| table.sets.load(Ordering::Relaxed);
        assert_eq!(sets(&table), FIRST);
        missed(&table, &digests(10_000));
        let sets = sets(&table);
        assert!(
            (4_000..8_000).contains(&sets),
            "{sets} sets of {WAYS} for 10 000"
        );
        assert_eq!(table.taken.load(Ordering::Relaxed), held(&table));
    }

    /// Counted by looking into each place.
    fn held(table: &Table<Thing>) -> usize {
        let sets = (0..table.sets.load(Ordering::Relaxed)).filter_map(|set| table.set(set));
        sets.map(|set| set.read().entries.iter().flatten().count())
            .sum()
    }

    #[test]
    fn blocks_follow_one_another_without_a_gap() {
        let mut expected = (0, 0);
        for set in 0..10 * FIRST {
            let found = block_of(set);
            assert!(
                found == expected || found == (expected.0 + 1, 0),
                "{set}: {found:?}"
            );
            expected = (found.0, found.1 + 1);
        }
        assert_eq!(block_of(FIRST - 1), (0, FIRST - 1));
        assert_eq!(block_of(FIRST), (1, 0));
        assert_eq!(block_of(2 * FIRST), (2, 0));
    }

    #[test]
    fn it_never_holds_more_than_twice_as_many() {
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
        assert_eq!(held, 2 * CAPACITY, "and none of its places is wasted");
        assert_eq!(table.taken.load(Ordering::Relaxed), held);
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
        let table = Table::new(2);
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
        let table = Table::new(2);
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
        // Small at first, full in the end: it is split and displaced from meanwhile.
        let table = Table::<Thing>::new(500);
        let digests = digests(2_000);
        thread::scope(|scope| {
            for offset in 0..4 {
                let (table, digests) = (&table, &digests);
                scope.spawn(move || {
                    for turn in 0..20_000 {
                        let digest = digests[(turn * 7 + offset * 500) % digests.len()];
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
