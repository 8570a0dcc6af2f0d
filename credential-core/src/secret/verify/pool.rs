//! How many hashes run and wait at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::VerifyError;

/// Who may hash now, and who waits.
pub(super) struct Pool {
    workers: usize,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    refused: AtomicU64,
}

impl Pool {
    /// Hashing time assumed for `Retry-After`: the default cost on a common core, rounded up.
    const TYPICAL: Duration = Duration::from_millis(25);

    pub(super) fn new(workers: usize, max_waiting: usize) -> Arc<Self> {
        let workers = workers.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            workers,
            permits: Arc::new(Semaphore::new(workers)),
            waiting: AtomicUsize::new(0),
            max_waiting,
            refused: AtomicU64::new(0),
        })
    }

    /// Hashes waiting now.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Hashes refused so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A place for one hash, at once or in the queue.
    pub(super) fn enter(this: &Arc<Self>) -> Result<Place, VerifyError> {
        if let Ok(permit) = Arc::clone(&this.permits).try_acquire_owned() {
            return Ok(Place::Worker(permit));
        }
        let queued = |waiting: usize| (waiting < this.max_waiting).then_some(waiting + 1);
        let claimed = this
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, queued);
        if claimed.is_ok() {
            return Ok(Place::Queue(Queued(Arc::clone(this))));
        }
        this.refused.fetch_add(1, Ordering::Relaxed);
        Err(VerifyError::Overloaded {
            retry_after: this.retry_after(),
        })
    }

    /// Hashes running now.
    pub(super) fn running(&self) -> usize {
        self.workers
            .saturating_sub(self.permits.available_permits())
    }

    pub(super) fn retry_after(&self) -> Duration {
        let rounds = u32::try_from(self.max_waiting / self.workers).unwrap_or(u32::MAX);
        let drained = Self::TYPICAL
            .saturating_mul(rounds)
            .as_millis()
            .div_ceil(1_000);
        Duration::from_secs(u64::try_from(drained).unwrap_or(u64::MAX).clamp(1, 60))
    }
}

/// What a caller got from the pool.
pub(super) enum Place {
    Worker(OwnedSemaphorePermit),
    Queue(Queued),
}

/// A place in the queue, given up when dropped.
pub(super) struct Queued(Arc<Pool>);

impl Place {
    /// Waits for a worker. Dropping the future gives the place up.
    pub(super) async fn permit(self) -> OwnedSemaphorePermit {
        match self {
            Self::Worker(permit) => permit,
            Self::Queue(queued) => Arc::clone(&queued.0.permits)
                .acquire_owned()
                .await
                .expect("the pool never closes its semaphore"),
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
