//! Where randomness comes from: the one door to the operating system's generator.

use std::fmt::Debug;

use rand::{TryRng as _, rngs::SysRng};

/// A source of cryptographically secure random bytes.
///
/// Filling cannot fail. Nothing sensible can be done with a secret that is not random, so a source
/// that cannot deliver must not return.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// Fills the whole buffer with fresh random bytes.
    fn fill(&self, buffer: &mut [u8]);
}

const _: fn(&dyn Entropy) = |_| {}; // stays usable as `Arc<dyn Entropy>`

/// The operating system's generator (`getrandom(2)` and its kin).
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    /// Fills the buffer, waiting at most for the system's first seeding after boot.
    ///
    /// # Panics
    /// If the operating system refuses, for example because a sandbox forbids the call. Going on
    /// would make guessable secrets; unwinding ends the one operation that asked, and nothing is
    /// stored.
    fn fill(&self, buffer: &mut [u8]) {
        SysRng
            .try_fill_bytes(buffer)
            .expect("without randomness from the operating system nothing may be drawn");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ_and_fill_everything() {
        let (mut one, mut two) = ([0u8; 64], [0u8; 64]);
        OsEntropy.fill(&mut one);
        OsEntropy.fill(&mut two);
        assert_ne!(one, two);
        // 16 zero bytes at the end by chance: 2^-128.
        assert_ne!(one[48..], [0; 16]);
    }
}
