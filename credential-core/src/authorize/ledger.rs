//! Which reads may be cached, and until when the cache may answer: the rule of the freshness
//! proof, apart from I/O so that a model checker can walk every interleaving of this very file
//! (`tests/ledger_model.rs`).
//!
//! A fill reads the store at some moment and stores what it read later. In between, a change may
//! have been applied that the read did not see. So every read carries the number of the latest
//! change that it saw, and is stored only if the node has applied none beyond it. Both sides
//! decide under one lock, which is never held across I/O.

use super::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// The node's place in the change log.
#[derive(Debug)]
pub(crate) struct Ledger {
    inner: Mutex<Inner>,
    /// Monotonic nanoseconds at which the latest complete catch-up began; 0: never caught up.
    proven_at: AtomicU64,
    /// Copy of `Inner::seen`, for readers without the lock.
    seen: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    /// Grows when everything cached is dropped. A read that began in an earlier epoch may come
    /// from a time line that was lost in a failover.
    epoch: u64,
    /// The latest change whose entries were dropped: by catch-up, or by the node that made it.
    seen: u64,
}

/// Taken before a read begins; says in which epoch it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    epoch: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner { epoch: 0, seen: 0 }),
            proven_at: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        }
    }

    /// When the latest complete catch-up began, in monotonic nanoseconds; 0: never.
    ///
    /// INVARIANT: a check calls this before it looks at an entry. `publish` comes after the
    /// entries were dropped, so an entry found afterwards has survived that catch-up.
    pub(crate) fn proven_at(&self) -> u64 {
        self.proven_at.load(Ordering::Acquire)
    }

    /// The latest change that this node knows of.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    pub(crate) fn begin_read(&self) -> Ticket {
        Ticket {
            epoch: self.lock().epoch,
        }
    }

    /// Runs `store` if what was read is still the latest that this node knows.
    ///
    /// `upto` is the number of the latest change in the read.
    pub(crate) fn fill(&self, ticket: Ticket, upto: u64, store: impl FnOnce()) -> bool {
        let inner = self.lock();
        let current = inner.epoch == ticket.epoch && upto >= inner.seen;
        if current {
            store();
        }
        drop(inner);
        current
    }

    /// Runs `drop_entries` for the changes up to `upto`; from then on no older read is stored.
    pub(crate) fn apply(&self, upto: u64, drop_entries: impl FnOnce()) {
        let mut inner = self.lock();
        drop_entries();
        inner.seen = inner.seen.max(upto);
        self.seen.store(inner.seen, Ordering::Release);
    }

    /// Runs `drop_all`, forgets the place in the log and starts anew at `upto`.
    pub(crate) fn start_anew(&self, upto: u64, drop_all: impl FnOnce()) {
        let mut inner = self.lock();
        drop_all();
        inner.epoch += 1;
        inner.seen = upto;
        self.seen.store(upto, Ordering::Release);
    }

    /// What is cached now is proven as of `began`, the moment before the catch-up's round trip.
    pub(crate) fn publish(&self, began: u64) {
        self.proven_at.store(began, Ordering::Release);
    }

    /// Nothing is proven any more until the next [`publish`](Self::publish).
    pub(crate) fn close(&self) {
        self.proven_at.store(0, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Why not fail: the guarded numbers are valid after every statement, so a panic in a
        // callback leaves nothing half done. A poisoned lock must not stop invalidation.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
