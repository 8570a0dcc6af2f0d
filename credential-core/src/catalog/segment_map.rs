//! A hash map for the one lookup that every API call makes: path segment to rights.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::api_type::Rights;

/// Rights by first path segment, or by FHIR type.
///
/// Why: FNV-1a takes a fraction of the standard hasher's time on a short name. Its weakness, keys
/// chosen to collide, does not matter: callers look up, only the catalogue inserts.
pub(super) type SegmentMap = HashMap<Box<str>, Rights, BuildHasherDefault<Fnv>>;

/// FNV-1a with 64 bits.
#[derive(Debug)]
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
