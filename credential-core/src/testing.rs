//! For tests: a live token in one call, time that moves by hand, repeatable randomness, cheap and
//! counted hashing, a store that counts and fails.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use credential_core::{ScopeCatalog, testing};
//! use credential_store_memory::MemoryStore;
//!
//! let credentials = testing::builder(MemoryStore::new(), ScopeCatalog::elation()).build()?;
//! let token = testing::token(&credentials, "apiv2", &["system/patients.read"]).await;
//! assert!(credentials.verify(token.bearer()).await.is_ok());
//!
//! token.revoke(&credentials).await;
//! assert!(credentials.verify(token.bearer()).await.is_err());
//! # Ok(())
//! # }
//! ```

mod live_token;
mod probe_store;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::{Clock, Monotonic, Timestamp},
    entropy::Entropy,
    secret::hash::{HashCost, HashError, SecretHash, SecretHasher, Verdict},
};

pub use live_token::{LiveToken, builder, opens, token, token_of};
pub use probe_store::ProbeStore;

/// A clock that stands still until it is told to move.
///
/// Clones share one time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    now: AtomicI64,
    monotonic: AtomicU64,
}

impl ManualClock {
    /// Starts at `2026-01-01T00:00:00Z` and one second on the monotonic clock.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Timestamp::from_micros(1_767_225_600_000_000))
    }

    /// Starts at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Hands {
            now: AtomicI64::new(now.as_micros()),
            monotonic: AtomicU64::new(1_000_000_000),
        }))
    }

    /// Moves both clocks on; the wall clock by whole microseconds.
    pub fn advance(&self, duration: Duration) {
        self.set_now(self.now().saturating_add(duration));
        self.advance_monotonic(duration);
    }

    /// Moves the monotonic clock alone.
    pub fn advance_monotonic(&self, duration: Duration) {
        let nanos = self.monotonic().saturating_add(duration).as_nanos();
        self.0.monotonic.store(nanos, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as a correction would, also back.
    pub fn set_now(&self, now: Timestamp) {
        self.0.now.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(self.0.monotonic.load(Ordering::SeqCst))
    }
}

/// Randomness that repeats: the same seed gives the same bytes, whatever the sizes asked for.
///
/// Clones go on with one stream.
#[derive(Debug, Clone)]
pub struct SeededEntropy(Arc<Mutex<blake3::OutputReader>>);

impl SeededEntropy {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_be_bytes());
        Self(Arc::new(Mutex::new(hasher.finalize_xof())))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill(buffer);
    }
}

impl HashCost {
    /// Far below what protects anything: a test hashes in well under a millisecond.
    #[must_use]
    pub const fn cheap() -> Self {
        Self::unchecked(64, 1, 1)
    }
}

/// Passes everything on and counts, so that a test can say how much work was done.
#[derive(Debug)]
pub struct CountingHasher<H> {
    inner: H,
    hashed: AtomicU64,
    verified: AtomicU64,
}

impl<H: SecretHasher> CountingHasher<H> {
    /// Counts the calls to `inner`.
    #[must_use]
    pub const fn new(inner: H) -> Self {
        Self {
            inner,
            hashed: AtomicU64::new(0),
            verified: AtomicU64::new(0),
        }
    }

    /// Calls to `hash` so far.
    #[must_use]
    pub fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::SeqCst)
    }

    /// Calls to `verify` so far.
    #[must_use]
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::SeqCst)
    }
}

impl<H: SecretHasher> SecretHasher for CountingHasher<H> {
    fn hash(&self, secret: &str) -> Result<SecretHash, HashError> {
        self.hashed.fetch_add(1, Ordering::SeqCst);
        self.inner.hash(secret)
    }

    fn verify(&self, secret: &str, stored: &SecretHash) -> Result<Verdict, HashError> {
        self.verified.fetch_add(1, Ordering::SeqCst);
        self.inner.verify(secret, stored)
    }
}
