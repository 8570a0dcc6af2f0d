//! The baselines of ratios: the bare work of each path, done with the same libraries.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use quick_cache::sync::Cache;
use siphasher::sip128::SipHasher24;

use crate::Error;

const KEY: [u8; 16] = [7; 16];

/// SipHash-2-4 with 128 bits of a token's text, as the library digests it.
#[must_use]
pub fn siphash(text: &str) -> u128 {
    SipHasher24::new_with_key(&KEY)
        .hash(text.as_bytes())
        .as_u128()
}

/// Keyed BLAKE3 of a token's text.
#[must_use]
pub fn blake3(text: &str) -> blake3::Hash {
    blake3::keyed_hash(&[7; 32], text.as_bytes())
}

/// A concurrent map from the digests of tokens, of the kind that the library uses.
#[derive(Debug)]
pub struct Map(Cache<u128, Arc<usize>>);

impl Map {
    /// With an entry for each token.
    #[must_use]
    pub fn of(tokens: &[String]) -> Self {
        // Room to spare, so that none is evicted.
        let map = Cache::new(2 * tokens.len());
        for (index, token) in tokens.iter().enumerate() {
            map.insert(siphash(token), Arc::new(index));
        }
        Self(map)
    }

    /// One hit.
    #[must_use]
    pub fn get(&self, digest: u128) -> Option<Arc<usize>> {
        self.0.get(&digest)
    }
}

/// Argon2id at the library's default cost, in memory that is reused: the minimum time of one hash.
#[derive(Debug)]
pub struct Argon2id {
    argon2: Argon2<'static>,
    memory: Vec<Block>,
}

impl Argon2id {
    /// KiB of memory.
    pub const MEMORY_KIB: u32 = 19_456;
    /// Passes over it.
    pub const ITERATIONS: u32 = 2;
    /// Lanes.
    pub const LANES: u32 = 1;

    /// The parameters, as they occur in the names of benchmarks.
    #[must_use]
    pub fn parameters() -> String {
        let (m, t, p) = (Self::MEMORY_KIB, Self::ITERATIONS, Self::LANES);
        format!("m={m},t={t},p={p}")
    }

    /// Allocates the memory.
    ///
    /// # Errors
    /// Never with these parameters.
    pub fn new() -> Result<Self, Error> {
        let params = Params::new(Self::MEMORY_KIB, Self::ITERATIONS, Self::LANES, None)?;
        Ok(Self {
            memory: vec![Block::new(); params.block_count()],
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
        })
    }

    /// Hashes a secret.
    ///
    /// # Errors
    /// Never with such a salt.
    pub fn hash(&mut self, secret: &str) -> Result<[u8; 32], Error> {
        let mut output = [0; 32];
        let (secret, memory) = (secret.as_bytes(), &mut self.memory);
        self.argon2
            .hash_password_into_with_memory(secret, &KEY, &mut output, memory)?;
        Ok(output)
    }
}
