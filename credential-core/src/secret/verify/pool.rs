//! How many hashes run and wait at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::VerifyError;
use crate::turns::{Pace, Turns, nanos};

/// Who may hash now, and who waits.
pub(super) struct Pool {
    workers: usize,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    refused: AtomicU64,
    /// Nanoseconds that a hash took lately: a moving average.
    typical: AtomicU64,
    since: Instant,
    /// What callers that were refused are promised, counted from `since`.
    promised: Turns,
}

impl Pool {
    /// What a hash takes until one was timed: the default cost on a common core, rounded up.
    const TYPICAL: Duration = Duration::from_millis(25);
    /// The longest time to retry after: who waits longer may have given up, and its turn be lost.
    const LONGEST: Duration = Duration::from_secs(120);

    pub(super) fn new(workers: usize, max_waiting: usize) -> Arc<Self> {
        let workers = workers.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            workers,
            permits: Arc::new(Semaphore::new(workers)),
            waiting: AtomicUsize::new(0),
            max_waiting,
            refused: AtomicU64::new(0),
            typical: AtomicU64::new(nanos(Self::TYPICAL)),
            since: Instant::now(),
            promised: Turns::default(),
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
            retry_after: this.next_turn(),
        })
    }

    /// Hashes running now.
    pub(super) fn running(&self) -> usize {
        self.workers
            .saturating_sub(self.permits.available_permits())
    }

    /// Takes note of what a hash took.
    pub(super) fn took(&self, time: Duration) {
        let before = self.typical.load(Ordering::Relaxed);
        // Of two at once one may be lost, which an average bears.
        let average = before - before / 8 + nanos(time) / 8;
        self.typical.store(average, Ordering::Relaxed);
    }

    /// When a caller that is refused now should come back. Each is given a turn of its own: if all
    /// came back at once, all but a queue's length would be refused again.
    fn next_turn(&self) -> Duration {
        let each = self.typical.load(Ordering::Relaxed) / self.workers as u64;
        let pace = Pace {
            every: Duration::from_nanos(each),
            at_once: 0,
            longest: Self::LONGEST,
        };
        let wait = self.promised.take(self.since.elapsed(), pace);
        // Whole seconds, as HTTP has it; never earlier than the turn.
        Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(SECOND)
    }
}

const SECOND: Duration = Duration::from_secs(1);

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

#[cfg(test)]
mod tests {
    use super::*;

    /// So many callers in a row that find the pool taken: how many seconds each is told to wait.
    fn told(pool: &Arc<Pool>, count: usize) -> Vec<u64> {
        let refused = (0..count).map(|_| match Pool::enter(pool) {
            Err(VerifyError::Overloaded { retry_after }) => retry_after.as_secs(),
            _ => panic!("not refused"),
        });
        refused.collect()
    }

    fn taken(workers: usize) -> (Arc<Pool>, Vec<Place>) {
        let pool = Pool::new(workers, 0);
        let places = (0..workers).map(|_| Pool::enter(&pool).ok().unwrap());
        let places = places.collect();
        (pool, places)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_is_given_a_turn_of_its_own() {
        let (pool, _places) = taken(1);
        let told_first = told(&pool, 100);
        assert_eq!(told_first[..40], [1; 40], "40 of 25 ms in a second");
        assert_eq!(told_first[40..80], [2; 40]);
        assert_eq!(told_first[80..], [3; 20]);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(told(&pool, 1), [1], "half a second is still promised");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(told(&pool, 41)[39..], [1, 2], "and nothing now");

        let (pool, _places) = taken(4);
        assert_eq!(told(&pool, 161)[159..], [1, 2], "four at a time");
    }

    #[tokio::test(start_paused = true)]
    async fn turns_follow_what_a_hash_takes_and_end_somewhere() {
        let (pool, _places) = taken(1);
        for _ in 0..100 {
            pool.took(Duration::from_millis(500));
        }
        assert_eq!(told(&pool, 6), [1, 1, 2, 2, 3, 3]);
        assert_eq!(told(&pool, 1_000).last(), Some(&120));
        for _ in 0..100 {
            pool.took(Duration::ZERO);
        }
        tokio::time::advance(Duration::from_secs(300)).await;
        assert_eq!(told(&pool, 1_000).last(), Some(&1), "never less");
    }
}
