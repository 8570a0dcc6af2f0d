//! Client secrets at rest: Argon2id (RFC 9106) with a pepper, in PHC form.

use std::{
    collections::TryReserveError,
    fmt::{self, Debug},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::phc::{Output, ParamsString, Salt},
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::keyring::{Key, KeyName, Keyring};
use crate::entropy::Entropy;

/// Bytes of a salt (RFC 9106 §3.1 recommends 16).
const SALT: usize = 16;
/// Bytes of a hash.
const OUTPUT: usize = Params::DEFAULT_OUTPUT_LEN;
/// More than any PHC string within the bounds below needs.
const MAX_PHC: usize = 256;

/// What one hash costs: Argon2id's parameters (RFC 9106 §3.1).
///
/// By default OWASP's: 19 456 KiB, 2 iterations, 1 lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashCost {
    memory_kib: u32,
    iterations: u32,
    parallelism: u32,
}

impl HashCost {
    /// The least memory of a new hash, the smallest that OWASP's password storage advice lists.
    pub const MIN_MEMORY_KIB: u32 = 7_168;
    /// The most memory, also of a stored hash: 256 MiB. An altered row must not exhaust the machine.
    pub const MAX_MEMORY_KIB: u32 = 262_144;
    /// The most iterations, also of a stored hash.
    pub const MAX_ITERATIONS: u32 = 10;
    /// The most lanes, also of a stored hash. They are computed one after the other.
    pub const MAX_PARALLELISM: u32 = 8;

    /// Takes a cost.
    ///
    /// # Errors
    /// If memory is not within 7 168 to 262 144 KiB, iterations within 1 to 10, lanes within 1 to 8.
    pub fn new(memory_kib: u32, iterations: u32, parallelism: u32) -> Result<Self, HashCostError> {
        let cost = Self::unchecked(memory_kib, iterations, parallelism);
        if memory_kib >= Self::MIN_MEMORY_KIB && cost.is_bearable() {
            Ok(cost)
        } else {
            Err(HashCostError)
        }
    }

    /// Memory in KiB.
    #[must_use]
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    #[must_use]
    pub const fn iterations(self) -> u32 {
        self.iterations
    }

    /// Lanes.
    #[must_use]
    pub const fn parallelism(self) -> u32 {
        self.parallelism
    }

    pub(crate) const fn unchecked(memory_kib: u32, iterations: u32, parallelism: u32) -> Self {
        Self {
            memory_kib,
            iterations,
            parallelism,
        }
    }

    fn is_bearable(self) -> bool {
        self.memory_kib <= Self::MAX_MEMORY_KIB
            && (1..=Self::MAX_ITERATIONS).contains(&self.iterations)
            && (1..=Self::MAX_PARALLELISM).contains(&self.parallelism)
    }

    fn params(self) -> Result<Params, HashError> {
        let Self {
            memory_kib,
            iterations,
            parallelism,
        } = self;
        Params::new(memory_kib, iterations, parallelism, Some(OUTPUT)).map_err(HashError::failed)
    }
}

impl Default for HashCost {
    fn default() -> Self {
        Self::unchecked(
            Params::DEFAULT_M_COST,
            Params::DEFAULT_T_COST,
            Params::DEFAULT_P_COST,
        )
    }
}

/// A hash cost is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "hash cost out of bounds: accepted are 7168 to 262144 KiB of memory, 1 to 10 iterations and 1 to 8 lanes"
)]
pub struct HashCostError;

/// The stored hash of a client secret and the name of the key whose pepper went into it.
///
/// Well formed and within the bounds of [`HashCost`]. `Debug` shows the key's name only.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash {
    phc: Arc<str>,
    key: KeyName,
}

impl SecretHash {
    /// Takes what a store kept.
    ///
    /// # Errors
    /// [`HashError::Malformed`] if the text is not an Argon2id hash in PHC form as this crate writes
    /// them, or if its cost is beyond what [`HashCost`] allows at most.
    pub fn from_parts(phc: impl AsRef<str>, key: KeyName) -> Result<Self, HashError> {
        let phc = phc.as_ref();
        Parsed::read(phc)?;
        Ok(Self {
            phc: phc.into(),
            key,
        })
    }

    /// `$argon2id$v=19$m=…,t=…,p=…$salt$hash`. To be stored, not shown.
    #[must_use]
    pub fn phc(&self) -> &str {
        &self.phc
    }

    /// The key whose pepper went into it.
    #[must_use]
    pub const fn key(&self) -> &KeyName {
        &self.key
    }
}

impl Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretHash")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Whether a secret is the one that was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Match {
        /// Its hash was made at another cost or under another key than new ones are, and should be
        /// replaced.
        rehash: bool,
    },
    /// It is not.
    Mismatch,
}

/// Why there is no hash, or no verdict on one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HashError {
    /// The stored text is not a hash that this crate wrote: the row was altered.
    #[error("the stored hash is malformed")]
    Malformed,
    /// The stored hash needs a pepper that the keyring no longer has: put the key back, as `tag`.
    #[error("the keyring has no key `{0}`, under which the secret was hashed")]
    UnknownKey(KeyName),
    /// Hashing failed, for want of memory or by a panic.
    #[error("hashing failed")]
    Failed {
        /// What happened.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl HashError {
    pub(super) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed {
            source: Arc::new(error),
        }
    }
}

/// Hashes secrets. Slow on purpose, so called on a thread that may block: few at a time, as
/// [`VerifierConfig`](super::verify::VerifierConfig) says.
pub trait SecretHasher: Debug + Send + Sync + 'static {
    /// Hashes a new secret under the signing key.
    ///
    /// # Errors
    /// [`HashError::Failed`] if there is no memory for it.
    fn hash(&self, secret: &str) -> Result<SecretHash, HashError>;

    /// Compares a secret with a stored hash, in a time that does not depend on where they differ.
    ///
    /// # Errors
    /// [`HashError::UnknownKey`] if the keyring lacks its key; [`HashError::Failed`] if there is no
    /// memory for it.
    fn verify(&self, secret: &str, stored: &SecretHash) -> Result<Verdict, HashError>;
}

const _: fn(&dyn SecretHasher) = |_| {}; // stays usable as `Arc<dyn SecretHasher>`

/// Argon2id, peppered from the keyring. Cheap to clone; clones share their working memory.
#[derive(Clone)]
pub struct Argon2Hasher {
    keyring: Keyring,
    cost: HashCost,
    entropy: Arc<dyn Entropy>,
    memory: Arc<Memory>,
}

impl Argon2Hasher {
    /// A hasher that makes new hashes at `cost`.
    #[must_use]
    pub fn new(keyring: Keyring, cost: HashCost, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            keyring,
            cost,
            entropy,
            memory: Arc::new(Memory {
                blocks: usize::try_from(cost.memory_kib).unwrap_or(usize::MAX),
                kept: thread::available_parallelism().map_or(1, usize::from),
                idle: Mutex::new(Vec::new()),
            }),
        }
    }

    /// The cost of new hashes.
    #[must_use]
    pub const fn cost(&self) -> HashCost {
        self.cost
    }

    fn argon2id(
        &self,
        secret: &str,
        salt: &[u8],
        key: &Key,
        params: Params,
    ) -> Result<Zeroizing<[u8; OUTPUT]>, HashError> {
        let blocks = params.block_count();
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let argon2 = Argon2::new_with_secret(key.pepper(), algorithm, version, params)
            .map_err(HashError::failed)?;
        let mut output = Zeroizing::new([0; OUTPUT]);
        self.memory
            .with(blocks, |memory| {
                let (secret, output) = (secret.as_bytes(), &mut output[..]);
                argon2.hash_password_into_with_memory(secret, salt, output, memory)
            })
            .map_err(HashError::failed)?
            .map_err(HashError::failed)?;
        Ok(output)
    }
}

impl Debug for Argon2Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Argon2Hasher")
            .field("keyring", &self.keyring)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl SecretHasher for Argon2Hasher {
    fn hash(&self, secret: &str) -> Result<SecretHash, HashError> {
        let key = self.keyring.signing();
        let params = self.cost.params()?;
        let mut salt = [0; SALT];
        self.entropy.fill(&mut salt);
        let output = self.argon2id(secret, &salt, key, params.clone())?;
        // The parameters without the output's length: the output itself tells it.
        let params = ParamsString::try_from(&params).map_err(HashError::failed)?;
        let phc = PasswordHash {
            algorithm: argon2::ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params,
            salt: Some(Salt::new(&salt).map_err(HashError::failed)?),
            hash: Some(Output::new(&output[..]).map_err(HashError::failed)?),
        };
        Ok(SecretHash {
            phc: phc.to_string().into(),
            key: key.name().clone(),
        })
    }

    fn verify(&self, secret: &str, stored: &SecretHash) -> Result<Verdict, HashError> {
        let parsed = Parsed::read(&stored.phc)?;
        let key = self
            .keyring
            .get(&stored.key)
            .ok_or_else(|| HashError::UnknownKey(stored.key.clone()))?;
        let output = self.argon2id(secret, &parsed.salt, key, parsed.cost.params()?)?;
        if bool::from(output.ct_eq(&parsed.output)) {
            let rehash = parsed.cost != self.cost || stored.key != *self.keyring.signing().name();
            Ok(Verdict::Match { rehash })
        } else {
            Ok(Verdict::Mismatch)
        }
    }
}

/// A stored hash, taken apart.
struct Parsed {
    cost: HashCost,
    salt: [u8; SALT],
    output: [u8; OUTPUT],
}

impl Parsed {
    /// Reads exactly what [`Argon2Hasher::hash`] writes: one text per hash, no option left open.
    fn read(phc: &str) -> Result<Self, HashError> {
        Self::parse(phc).ok_or(HashError::Malformed)
    }

    fn parse(phc: &str) -> Option<Self> {
        if phc.len() > MAX_PHC {
            return None;
        }
        let hash = PasswordHash::new(phc).ok()?;
        let params = Params::try_from(&hash).ok()?;
        let cost = HashCost::unchecked(params.m_cost(), params.t_cost(), params.p_cost());
        let ours = hash.algorithm == argon2::ARGON2ID_IDENT
            && hash.version == Some(Version::V0x13.into())
            && cost.is_bearable()
            // No key id, no associated data, no default left out, no other order.
            && hash.params == ParamsString::try_from(&cost.params().ok()?).ok()?
            && hash.to_string() == phc;
        if !ours {
            return None;
        }
        Some(Self {
            cost,
            salt: hash.salt?.as_ref().try_into().ok()?,
            output: hash.hash?.as_bytes().try_into().ok()?,
        })
    }
}

/// Argon2's working memory, kept between hashes.
///
/// Why: 19 MiB taken from the system anew for each hash are 4 864 page faults, and what a hash costs
/// beyond Argon2 itself. What is left in it is not wiped: it is derived from a secret of 256 bits
/// and a pepper, and the next hash overwrites it.
struct Memory {
    /// Blocks of 1 KiB that a hash of the current cost needs.
    blocks: usize,
    /// The most buffers kept idle: no more than this many hashes run at a time.
    kept: usize,
    idle: Mutex<Vec<Vec<Block>>>,
}

impl Memory {
    fn with<T>(
        &self,
        blocks: usize,
        run: impl FnOnce(&mut [Block]) -> T,
    ) -> Result<T, TryReserveError> {
        // A hash of another cost is rare: it is replaced on its next success.
        if blocks > self.blocks {
            return Ok(run(&mut allocate(blocks)?));
        }
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut buffer = match idle {
            Some(buffer) => buffer,
            None => allocate(self.blocks)?,
        };
        let result = run(&mut buffer);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.kept {
            idle.push(buffer);
        }
        Ok(result)
    }
}

/// Asks for memory in a way that can be refused: an ordinary vector would end the process.
fn allocate(blocks: usize) -> Result<Vec<Block>, TryReserveError> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(blocks)?;
    buffer.resize(blocks, Block::new());
    Ok(buffer)
}

#[cfg(test)]
mod tests;
