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
//! version. A model checker walks the interleavings of this very file (`tests/table_model.rs`).

use std::{
    array,
    sync::{OnceLock, PoisonError},
};

use super::sync::{
    Arc, AtomicUsize, Mutex, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard, Timestamp,
    TokenDigest,
};

/// What a [`Table`] keeps.
pub(super) trait Entry {
    /// The key of the entry: pseudorandom, so that no caller can choose it.
    fn digest(&self) -> TokenDigest;

    /// The moment from which the entry is useless.
    fn ends(&self) -> Timestamp;
}

/// Places of a set: as many as fit into a cache line beside the lock.
pub(super) const WAYS: usize = 4;
/// Sets at the start; a power of two.
pub(super) const FIRST: usize = 64;
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

    /// Sets in use, places counted as taken, and entries found by looking into each place.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let sets = self.sets.load(Ordering::Relaxed);
        let entries = (0..sets).filter_map(|set| self.set(set));
        let held = entries.map(|set| set.read().entries.iter().flatten().count());
        (sets, self.taken.load(Ordering::Relaxed), held.sum())
    }

    /// All entries, in parts that take little time each.
    pub(super) fn parts(&self) -> impl Iterator<Item = impl Iterator<Item = Arc<T>>> {
        let sets = self.sets.load(Ordering::Acquire);
        (0..sets).step_by(FIRST).map(move |first| {
            let part = (first..sets.min(first + FIRST)).filter_map(|set| self.set(set));
            part.flat_map(|set| set.entries().into_iter().flatten())
        })
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
pub(super) fn block_of(set: usize) -> (usize, usize) {
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

/// The size of a set of entries, in bytes.
#[cfg(test)]
pub(super) const SET_BYTES: usize = size_of::<Set<()>>();

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
