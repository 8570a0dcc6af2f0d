//! Version stamps: whether a token's entry still has the latest state of its credential.
//!
//! A token's entry holds what a check needs of its credential, so that the hot path makes one
//! look-up instead of two. Its stamp is the version of the credential's state when the entry was
//! made. Dropping a state advances the version, which outdates every earlier stamp, wherever the
//! entries are.
//!
//! The credentials of one slot share a version. A change of another credential in the slot costs
//! one look-up, never a wrong answer.

use super::sync::{AtomicU64, Ordering};

/// Enough slots for few collisions at a thousand changes per second, in 32 KiB.
pub(crate) const SLOTS: usize = 4096;

/// The lowest bits of a stamp hold the slot, the others the version: 2^48 changes.
const SLOT_BITS: u32 = 16;

/// The versions of all credentials, by slot.
#[derive(Debug)]
pub(crate) struct Versions {
    versions: Box<[AtomicU64]>,
}

/// A credential's version at some moment.
///
/// Small, because a check reads it from memory that is seldom in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Versions {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            versions: (0..slots.max(1)).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Looks a credential's state up, and stamps what is found.
    ///
    /// INVARIANT: the version comes first. It moves on after the state was dropped, so a version
    /// from after that means a look-up that no longer finds what was dropped.
    pub(crate) fn stamp<T>(
        &self,
        credential: &[u8; 16],
        look_up: impl FnOnce() -> T,
    ) -> (T, Stamp) {
        let slot = self.slot(credential);
        let stamp = Stamp(self.version(slot) << SLOT_BITS | u64::from(slot));
        (look_up(), stamp)
    }

    /// Whether nothing was dropped since the stamp was made.
    ///
    /// INVARIANT: called after the gate was read. The gate opens after the version moved on, so whoever
    /// reads it open sees the version.
    #[inline]
    pub(crate) fn is_current(&self, stamp: Stamp) -> bool {
        let [low, high, ..] = stamp.0.to_le_bytes();
        let slot = u16::from_le_bytes([low, high]);
        self.version(slot) == stamp.0 >> SLOT_BITS
    }

    /// Drops a credential's state, and then moves its version on.
    pub(crate) fn drop_one(&self, credential: &[u8; 16], drop_state: impl FnOnce()) {
        drop_state();
        if let Some(version) = self.versions.get(usize::from(self.slot(credential))) {
            version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Drops states of many credentials, and then moves every version on.
    pub(crate) fn drop_all(&self, drop_states: impl FnOnce()) {
        drop_states();
        for version in &self.versions {
            version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Ids are random, so any of their bytes can be used.
    fn slot(&self, credential: &[u8; 16]) -> u16 {
        let [low, high, ..] = *credential;
        u16::from_le_bytes([low, high]) % u16::try_from(self.versions.len()).unwrap_or(u16::MAX)
    }

    #[inline]
    fn version(&self, slot: u16) -> u64 {
        // Every slot comes from `slot`; one that did not would never hold.
        self.versions
            .get(usize::from(slot))
            .map_or(u64::MAX, |version| version.load(Ordering::Acquire))
    }
}
