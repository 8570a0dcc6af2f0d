//! Verifying secrets without hashing twice: the verified cache, shared first uses, a bounded pool.
//!
//! Argon2id costs some 20 ms of a core, on purpose. Three rules keep that from being the price of
//! every token, and from being a way to bring a node down:
//!
//! - a secret that was right once is known by a digest, under a key drawn at start-up and never stored;
//! - callers that present one secret at the same time share one hash, a **flight** (`flight.rs`); it outlives a
//!   caller that gives up, and is skipped if all have before it began;
//! - few hashes run at a time and a bounded number waits, both shared fairly among tenants
//!   (`tenant_share.rs`); the rest is refused at once.
//!
//! What is cached says that a secret *matches a stored hash*. Whether that hash is still live is asked
//! elsewhere, each time.

use std::{
    fmt::{self, Debug},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use quick_cache::{DefaultHashBuilder, UnitWeighter, sync::Cache, sync::DefaultLifecycle};
use tokio::task;
use zeroize::Zeroizing;

use super::{
    ClientSecret, GenuineSecret,
    hash::{HashError, SecretHash, SecretHasher, Verdict},
};
use crate::{
    entropy::Entropy,
    flight::{Flight, Flights, Seat},
    id::TenantId,
    log_limit::LogLimit,
    tenant_share::{self, Limits, Places, Refused},
};

type Place = tenant_share::Place<TenantId>;
type Permit = tenant_share::Permit<TenantId>;

/// What a hash takes until one was timed: the default cost on a common core, rounded up.
const TYPICAL: Duration = Duration::from_millis(25);

/// Verifies and makes stored hashes, on a bounded pool and with a memory for what was right.
///
/// Cheap to clone; clones are one. Lives within a Tokio runtime.
#[derive(Clone)]
pub(crate) struct Verifier(Arc<Inner>);

/// How many secrets are hashed at a time, and how many are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifierConfig {
    /// Hashes that run at a time, at least 1. By default one core is left free, for requests that need
    /// no hash.
    pub workers: usize,
    /// Hashes that may wait for one of those. By default 128, some 3 s of work for one worker. A
    /// tenant alone may have all these places; it loses them to tenants that have fewer.
    pub waiting: usize,
    /// Maximum number of cached verified secrets, about 60 bytes each; 0 caches none. By default 100 000.
    pub cache_entries: usize,
}

impl Default for VerifierConfig {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers: cores.saturating_sub(1).max(1),
            waiting: 128,
            cache_entries: 100_000,
        }
    }
}

/// The secret is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verified {
    /// It was right before.
    Cached,
    /// It was hashed and compared.
    Hashed {
        /// The stored hash should be replaced; see [`Verifier::rehash`]. Only one of the callers that
        /// shared the hash is told so.
        rehash: bool,
    },
}

/// Why there is no hash, or why a secret is not taken as right.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VerifyError {
    /// It is not the secret that was hashed.
    #[error("wrong secret")]
    Wrong,
    /// Too many hashes of this tenant are waiting already: `503` with `Retry-After`.
    #[error("too many secrets of this tenant are being hashed")]
    Overloaded {
        /// When this caller's turn should come: whole seconds, 1 to 120. Follows its tenant's own
        /// queue; callers that are refused at the same time are told different times.
        retry_after: Duration,
    },
    /// No verdict on the secret.
    #[error("could not hash the secret")]
    Failed(#[source] HashError),
}

/// What the hashing of secrets has done since the start, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifierStats {
    /// Hashes begun.
    pub hashes: u64,
    /// Hashes running now.
    pub running: usize,
    /// Hashes waiting now.
    pub waiting: usize,
    /// Secrets remembered now.
    pub cached: usize,
    /// Secrets known from before.
    pub cache_hits: u64,
    /// Secrets not known from before.
    pub cache_misses: u64,
    /// Hashes dropped unbegun because nobody waited for them any more.
    pub skipped: u64,
    /// Callers refused because too many were waiting.
    pub refused: u64,
}

impl Verifier {
    /// A verifier that knows no secret yet. Draws the key of its digests.
    #[must_use]
    pub(crate) fn new(
        hasher: Arc<dyn SecretHasher>,
        config: VerifierConfig,
        entropy: &dyn Entropy,
    ) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        entropy.fill(&mut key[..]);
        Self(Arc::new(Inner {
            hasher,
            key,
            cache: Cache::with(
                config.cache_entries,
                u64::try_from(config.cache_entries).unwrap_or(u64::MAX),
                UnitWeighter,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            flights: Arc::default(),
            pool: Places::new(Limits {
                at_once: config.workers,
                each: config.workers,
                waiting: config.waiting,
                typical: TYPICAL,
            }),
            hashes: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            failures: LogLimit::new(),
        }))
    }

    /// Whether the secret, of one of the tenant's credentials, is the one that was hashed.
    ///
    /// A secret that was right before costs one digest and one look-up. Callers at the same time share
    /// one hash. Dropping the future gives the result up, for this caller only. A wrong secret is not
    /// remembered.
    ///
    /// # Errors
    /// [`VerifyError::Wrong`] if it is not; [`VerifyError::Overloaded`] if it would have to be hashed
    /// and too many are waiting; [`VerifyError::Failed`] if hashing fails.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub(crate) async fn verify(
        &self,
        tenant: &TenantId,
        secret: &GenuineSecret<'_>,
        stored: &SecretHash,
    ) -> Result<Verified, VerifyError> {
        let digest = self.0.digest(secret, stored);
        if self.0.cache.get(&digest).is_some() {
            self.0.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Verified::Cached);
        }
        self.0.misses.fetch_add(1, Ordering::Relaxed);
        let seat = match Inner::board(&self.0, digest, tenant, secret, stored) {
            Ok(seat) => seat,
            Err(at_once) => return at_once,
        };
        match seat.landed().await.as_deref() {
            Some(Outcome::Right { rehash }) => Ok(Verified::Hashed {
                rehash: rehash.swap(false, Ordering::Relaxed),
            }),
            Some(Outcome::Wrong) => Err(VerifyError::Wrong),
            Some(Outcome::Refused(refused)) => Err((*refused).into()),
            Some(Outcome::Failed(error)) => Err(VerifyError::Failed(error.clone())),
            // The runtime is shutting down and dropped the flight.
            None => Err(VerifyError::Failed(HashError::failed(Interrupted))),
        }
    }

    /// Hashes a new secret of the tenant's. It is not remembered: the first use shows that the stored hash is right.
    ///
    /// # Errors
    /// [`VerifyError::Overloaded`] if too many are waiting; [`VerifyError::Failed`] if hashing fails.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub(crate) async fn hash(
        &self,
        tenant: &TenantId,
        secret: &ClientSecret,
    ) -> Result<SecretHash, VerifyError> {
        self.hash_text(tenant, secret.expose_secret()).await
    }

    /// Hashes a secret of the tenant's anew that was found right, to replace a hash of another cost or key.
    ///
    /// # Errors
    /// As for [`hash`](Self::hash). The old hash still holds: try again at the next success.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub(crate) async fn rehash(
        &self,
        tenant: &TenantId,
        secret: &GenuineSecret<'_>,
    ) -> Result<SecretHash, VerifyError> {
        self.hash_text(tenant, secret.expose_secret()).await
    }

    /// Whether the secret is known to match the stored hash.
    #[cfg(test)]
    pub(crate) fn is_cached(&self, secret: &GenuineSecret<'_>, stored: &SecretHash) -> bool {
        let digest = self.0.digest(secret, stored);
        self.0.cache.peek(&digest).is_some()
    }

    /// Remembers that the secret matches the stored hash.
    ///
    /// To be called only for a hash that was made of this very secret: nothing is checked.
    pub(crate) fn remember(&self, secret: &GenuineSecret<'_>, stored: &SecretHash) {
        self.0.cache.insert(self.0.digest(secret, stored), ());
    }

    /// What was done so far.
    #[must_use]
    pub(crate) fn stats(&self) -> VerifierStats {
        let inner = &*self.0;
        VerifierStats {
            hashes: inner.hashes.load(Ordering::Relaxed),
            running: inner.pool.running(),
            waiting: inner.pool.waiting(),
            cached: inner.cache.len(),
            cache_hits: inner.hits.load(Ordering::Relaxed),
            cache_misses: inner.misses.load(Ordering::Relaxed),
            skipped: inner.skipped.load(Ordering::Relaxed),
            refused: inner.pool.refused(),
        }
    }

    async fn hash_text(&self, tenant: &TenantId, secret: &str) -> Result<SecretHash, VerifyError> {
        let permit = Places::enter(&self.0.pool, tenant)?.permit().await?;
        let secret = Zeroizing::new(secret.to_owned());
        Inner::hash_on(&self.0, permit, move |hasher| hasher.hash(&secret))
            .await
            .map_err(VerifyError::Failed)
    }
}

impl Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("hasher", &self.0.hasher)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

struct Inner {
    hasher: Arc<dyn SecretHasher>,
    key: Zeroizing<[u8; 32]>,
    cache: Cache<SecretDigest, (), UnitWeighter, DefaultHashBuilder>,
    flights: Arc<Flights<SecretDigest, Arc<Outcome>>>,
    pool: Arc<Places<TenantId>>,
    hashes: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    skipped: AtomicU64,
    failures: LogLimit,
}

impl Inner {
    /// What stands for "this secret matches this stored hash".
    fn digest(&self, secret: &GenuineSecret<'_>, stored: &SecretHash) -> SecretDigest {
        let selector = secret.selector();
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [
            selector.as_str(),
            stored.key().as_str(),
            stored.phc(),
            secret.expose_secret(),
        ] {
            // Each with its length, so that no two lists of parts read alike.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        SecretDigest(*hasher.finalize().as_bytes())
    }

    /// Joins the flight of a digest or starts one.
    ///
    /// # Errors
    /// What is known without: the flight has just landed, and well, or too many hashes are waiting.
    fn board(
        this: &Arc<Self>,
        digest: SecretDigest,
        tenant: &TenantId,
        secret: &GenuineSecret<'_>,
        stored: &SecretHash,
    ) -> Result<Seat<Arc<Outcome>>, Result<Verified, VerifyError>> {
        let prepare = || {
            // INVARIANT: a flight is in the cache before it leaves the table. One that landed between
            // the caller's look into the cache and this one is seen here; else its hash would be done
            // twice.
            if this.cache.get(&digest).is_some() {
                return Err(Ok(Verified::Cached));
            }
            let place = Places::enter(&this.pool, tenant).map_err(|refused| Err(refused.into()))?;
            let secret = Zeroizing::new(secret.expose_secret().to_owned());
            Ok(((), (Arc::clone(this), place, secret, stored.clone())))
        };
        Flights::board(
            &this.flights,
            digest,
            prepare,
            |flight, (this, place, secret, stored)| this.fly(flight, place, secret, stored),
        )
    }

    async fn fly(
        self: Arc<Self>,
        mut flight: Flight<SecretDigest, Arc<Outcome>>,
        place: Place,
        secret: Zeroizing<String>,
        stored: SecretHash,
    ) {
        let Some(permit) = flight.unless_empty(place.permit()).await else {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let outcome = match permit {
            Ok(permit) => {
                let work = move |hasher: &dyn SecretHasher| hasher.verify(&secret, &stored);
                let hashed = Self::hash_on(&self, permit, work).await;
                if let Ok(Verdict::Match { rehash }) = hashed
                    // A rehash that nobody is there to do: hashed again for the next caller, who will.
                    && !(rehash && flight.is_empty())
                {
                    self.cache.insert(*flight.key(), ());
                }
                hashed.into()
            }
            Err(refused) => Outcome::Refused(refused),
        };
        flight.land(Arc::new(outcome));
    }

    /// Hashes on a thread that may block. The permit is held until the thread is done, also when
    /// nobody waits for it any more.
    async fn hash_on<T: Send + 'static>(
        this: &Arc<Self>,
        permit: Permit,
        work: impl FnOnce(&dyn SecretHasher) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let inner = Arc::clone(this);
        let work = move || {
            let _permit = permit;
            inner.hashes.fetch_add(1, Ordering::Relaxed);
            work(&*inner.hasher)
        };
        // Why not hand the join error on: it repeats the panic's message, which is not ours to vouch
        // for.
        let result = task::spawn_blocking(work)
            .await
            .unwrap_or_else(|_| Err(HashError::failed(Interrupted)));
        if let Err(error) = &result
            && let Some(unlogged) = this.failures.is_due()
        {
            tracing::error!(
                error = error as &dyn std::error::Error,
                unlogged,
                "a secret could not be hashed"
            );
        }
        result
    }
}

/// What a shared hash has found.
enum Outcome {
    /// Whether a rehash is due is for the first caller to take.
    Right {
        rehash: AtomicBool,
    },
    Wrong,
    Refused(Refused),
    Failed(HashError),
}

impl From<Refused> for VerifyError {
    fn from(Refused { retry_after }: Refused) -> Self {
        Self::Overloaded { retry_after }
    }
}

impl From<Result<Verdict, HashError>> for Outcome {
    fn from(hashed: Result<Verdict, HashError>) -> Self {
        match hashed {
            Ok(Verdict::Match { rehash }) => Self::Right {
                rehash: AtomicBool::new(rehash),
            },
            Ok(Verdict::Mismatch) => Self::Wrong,
            Err(error) => Self::Failed(error),
        }
    }
}

/// A BLAKE3 digest under the start-up key.
///
/// Why an ordinary comparison is good enough: without the key nobody can choose a digest, or learn one
/// by how long it is compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct SecretDigest([u8; 32]);

/// The hash did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("the hashing thread panicked or was stopped")]
struct Interrupted;

#[cfg(test)]
mod tests;
