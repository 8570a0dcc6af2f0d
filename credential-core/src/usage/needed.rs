//! Which scopes a call needed, as one number.

use super::slot::Slot;
use crate::catalog::ScopeIndex;

/// A scope of some API type of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ScopeRef {
    /// The place of the API type in the catalogue.
    pub(crate) api_type: u16,
    pub(crate) scope: ScopeIndex,
}

/// The scopes that a call needed, in order: the first names the call. All are of one API type.
///
/// Up to three of them are one number, so that a counter is found by a comparison. Few calls need more: FHIR searches
/// that name many types.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Needed {
    Few(Packed),
    Many(Box<[ScopeIndex]>),
}

/// Up to [`Packed::MOST`] scopes, ten bits each: the scope's place plus 1. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Packed(u32);

const BITS: u32 = 10;
const MASK: u32 = (1 << BITS) - 1;

// Every scope's place plus 1 fits, and is not the mark of a call that no scope would allow.
const _: () = assert!(ScopeIndex::MOST < MASK as usize);

impl Packed {
    pub(super) const MOST: usize = 3;

    /// No scope would do.
    pub(crate) const NONE_WOULD_DO: Self = Self(MASK);

    pub(super) fn number(self) -> u32 {
        self.0
    }

    /// Of a number that was one before; `None` for 0.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    fn scopes(self) -> impl Iterator<Item = ScopeIndex> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let lowest = usize::try_from(rest & MASK).ok()?.checked_sub(1)?;
            rest >>= BITS;
            ScopeIndex::new(lowest)
        })
    }
}

impl From<ScopeIndex> for Packed {
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "there are fewer than 1 023"
    )]
    fn from(scope: ScopeIndex) -> Self {
        Self(scope.position() as u32 + 1)
    }
}

impl Needed {
    /// Counts a call in a token's slot, if it fits there.
    #[inline]
    pub(crate) fn count_in(&self, slot: &Slot) -> bool {
        matches!(self, Self::Few(packed) if slot.count(*packed))
    }

    /// The first of the scopes names the call; a repeated one counts once. `None`: it needed none.
    #[inline]
    pub(crate) fn of(scopes: impl Iterator<Item = ScopeIndex> + Clone) -> Option<Self> {
        let mut packed = 0;
        let mut places = (0..).step_by(BITS as usize).take(Packed::MOST);
        for scope in scopes.clone() {
            if Packed(packed).scopes().any(|known| known == scope) {
                continue;
            }
            let Some(place) = places.next() else {
                return Some(Self::many(scopes));
            };
            packed |= Packed::from(scope).0 << place;
        }
        Packed::from_number(packed).map(Self::Few)
    }

    #[cold]
    fn many(scopes: impl Iterator<Item = ScopeIndex>) -> Self {
        let mut all: Vec<ScopeIndex> = Vec::new();
        for scope in scopes {
            if !all.contains(&scope) {
                all.push(scope);
            }
        }
        Self::Many(all.into())
    }

    /// In order; none where no scope would do.
    pub(super) fn scopes(&self) -> Vec<ScopeIndex> {
        match self {
            Self::Few(packed) => packed.scopes().collect(),
            Self::Many(scopes) => scopes.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn a_call_that_no_scope_would_allow_has_a_number_of_its_own() {
        let last = ScopeIndex::new(ScopeIndex::MOST - 1).unwrap();
        assert_ne!(Packed::from(last), Packed::NONE_WOULD_DO);
        assert!(Needed::Few(Packed::NONE_WOULD_DO).scopes().is_empty());
    }

    proptest! {
        #[test]
        fn the_scopes_come_back_in_their_order(places in vec(0..ScopeIndex::MOST, 0..12)) {
            let scopes: Vec<_> = places.iter().map(|it| ScopeIndex::new(*it).unwrap()).collect();
            let mut once: Vec<ScopeIndex> = Vec::new();
            for scope in &scopes {
                if !once.contains(scope) {
                    once.push(*scope);
                }
            }
            let needed = Needed::of(scopes.iter().copied());
            prop_assert_eq!(needed.is_none(), once.is_empty());
            if let Some(needed) = needed {
                prop_assert_eq!(matches!(needed, Needed::Few(_)), once.len() <= Packed::MOST);
                prop_assert_eq!(needed.scopes(), once);
            }
        }
    }
}
