//! A set of scopes of one API type, as bits.

use std::fmt;

/// The most scopes one API type may list; the catalogue refuses more at load.
pub(crate) const MAX_SCOPES: usize = WORDS * WORD_BITS;

const WORDS: usize = 8;
const WORD_BITS: usize = 64;

/// The place of a scope in its API type. Only the catalogue makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeIndex(u32);

impl ScopeIndex {
    /// How many there can be.
    pub(crate) const MOST: usize = MAX_SCOPES;

    /// The index of the scope at `position`, if a set can hold it.
    pub(crate) fn new(position: usize) -> Option<Self> {
        let index = u32::try_from(position).ok()?;
        (position < MAX_SCOPES).then_some(Self(index))
    }

    pub(crate) fn position(self) -> usize {
        self.0 as usize
    }

    fn word(self) -> usize {
        self.position() / WORD_BITS
    }

    fn bit(self) -> u64 {
        1 << (self.position() % WORD_BITS)
    }
}

/// A set of scopes of one API type.
///
/// Only the catalogue makes one, so every scope in it is listed. It carries a tag of its API type
/// and of that type's list of scopes: sets of different API types, or of catalogues that list
/// different scopes, never mix. At most 512 scopes, 72 bytes, no heap.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeSet {
    tag: u64,
    bits: [u64; WORDS],
}

impl ScopeSet {
    /// No scopes of the API type with this tag.
    pub(crate) fn empty(tag: u64) -> Self {
        Self {
            tag,
            bits: [0; WORDS],
        }
    }

    /// Exactly one scope.
    pub(crate) fn of(tag: u64, index: ScopeIndex) -> Self {
        let mut set = Self::empty(tag);
        set.insert(index);
        set
    }

    /// Which API type, and which list of scopes, the set belongs to.
    pub(crate) fn tag(&self) -> u64 {
        self.tag
    }

    /// Adds one scope.
    pub(crate) fn insert(&mut self, index: ScopeIndex) {
        if let Some(word) = self.bits.get_mut(index.word()) {
            *word |= index.bit();
        }
    }

    /// Adds what `other` holds. A set of another API type adds nothing.
    pub(crate) fn insert_all(&mut self, other: &Self) {
        if self.tag == other.tag {
            for (word, more) in self.bits.iter_mut().zip(other.bits) {
                *word |= more;
            }
        }
    }

    /// True if the set holds this scope.
    #[must_use]
    pub fn contains(&self, index: ScopeIndex) -> bool {
        self.bits
            .get(index.word())
            .is_some_and(|word| word & index.bit() != 0)
    }

    /// True if the set holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits == [0; WORDS]
    }

    /// The number of scopes held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bits
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// The scope held, if it is one.
    #[inline]
    pub(crate) fn only(&self) -> Option<ScopeIndex> {
        let mut held = (0..)
            .step_by(WORD_BITS)
            .zip(self.bits)
            .filter(|(_, word)| *word != 0);
        let (base, word): (u32, u64) = held.next()?;
        let one = word.is_power_of_two() && held.next().is_none();
        one.then(|| ScopeIndex(base + word.trailing_zeros()))
    }

    /// The scopes held, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = ScopeIndex> + Clone + use<> {
        (0u32..).step_by(WORD_BITS).zip(self.bits).flat_map(
            // Clears the lowest bit at each step, so a sparse set costs what it holds.
            |(base, mut word)| {
                std::iter::from_fn(move || {
                    let lowest = (word != 0).then(|| word.trailing_zeros())?;
                    word &= word - 1;
                    Some(ScopeIndex(base + lowest))
                })
            },
        )
    }

    /// What either set holds; `None` if they belong to different API types.
    #[must_use]
    pub fn union(&self, other: &Self) -> Option<Self> {
        let mut union = *self;
        union.insert_all(other);
        (self.tag == other.tag).then_some(union)
    }

    /// What both sets hold; nothing if they belong to different API types.
    #[must_use]
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::empty(self.tag);
        if self.tag == other.tag {
            for ((word, a), b) in both.bits.iter_mut().zip(self.bits).zip(other.bits) {
                *word = a & b;
            }
        }
        both
    }

    /// What this set holds and `other` does not. A set of another API type takes nothing away.
    #[must_use]
    pub(crate) fn difference(&self, other: &Self) -> Self {
        let mut rest = *self;
        if self.tag == other.tag {
            for (word, less) in rest.bits.iter_mut().zip(other.bits) {
                *word &= !less;
            }
        }
        rest
    }

    /// True if `other` holds everything this set holds. Always false across API types, also for
    /// the empty set, so that no check passes by accident.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        // A call mostly needs one scope: words of which it needs nothing are not fetched.
        let mut words = self.bits.iter().zip(&other.bits);
        self.tag == other.tag && words.all(|(a, b)| *a == 0 || a & !b == 0)
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(ScopeIndex::position))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(tag: u64, positions: &BTreeSet<usize>) -> ScopeSet {
        let mut set = ScopeSet::empty(tag);
        for position in positions {
            set.insert(ScopeIndex::new(*position).expect("in range"));
        }
        set
    }

    fn positions(set: &ScopeSet) -> BTreeSet<usize> {
        set.iter().map(ScopeIndex::position).collect()
    }

    #[test]
    fn an_index_outside_the_set_does_not_exist() {
        assert!(ScopeIndex::new(MAX_SCOPES - 1).is_some());
        assert!(ScopeIndex::new(MAX_SCOPES).is_none());
    }

    #[test]
    fn sets_of_different_api_types_never_mix() {
        let (a, b) = (set(1, &[0, 1].into()), set(2, &[0, 1].into()));
        assert_eq!(a.union(&b), None);
        assert!(a.intersection(&b).is_empty());
        assert!(!a.is_subset(&b));
        assert!(!ScopeSet::empty(1).is_subset(&b));
        assert_eq!(a.difference(&b), a);
        let mut grown = a;
        grown.insert_all(&set(2, &[7].into()));
        assert_eq!(grown, a);
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(
            a in prop_oneof![btree_set(0..MAX_SCOPES, 0..3), btree_set(0..MAX_SCOPES, 0..40)],
            b in btree_set(0..MAX_SCOPES, 0..40),
        ) {
            let (x, y) = (set(1, &a), set(1, &b));
            prop_assert_eq!(positions(&x), a.clone());
            prop_assert_eq!(x.len(), a.len());
            prop_assert_eq!(x.is_empty(), a.is_empty());
            prop_assert_eq!(x.union(&y).map(|u| positions(&u)), Some(&a | &b));
            prop_assert_eq!(positions(&x.intersection(&y)), &a & &b);
            prop_assert_eq!(positions(&x.difference(&y)), &a - &b);
            prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
            prop_assert!(x.iter().all(|index| x.contains(index)));
            prop_assert_eq!(x.only(), x.iter().next().filter(|_| x.len() == 1));
        }
    }
}
