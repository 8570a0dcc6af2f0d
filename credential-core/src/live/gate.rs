//! The rule of the freshness proof, without I/O: which reads may be believed and cached, and until
//! when the cache may answer. A model checker checks every interleaving of this very file
//! (`tests/gate_model.rs`), and random walks test it on histories with restores and failovers
//! (`tests/history_walk.rs`).
//!
//! Only a catch-up decides which history counts. A read may come from a primary that has lost its
//! role, or be ahead in a history that no longer exists. So a read returns the latest change that
//! it saw. It is believed once the log that catch-ups have shown contains that very change (number
//! and mark), and no later one that concerns what was read. A read that is ahead waits for the next
//! catch-up.
//!
//! Reads and catch-ups decide under one lock, which is never held across I/O.

use std::collections::VecDeque;

use super::sync::{
    AtomicU64, Change, ChangeId, Changes, LoggedChange, Mutex, MutexGuard, Ordering,
};

/// How many of the latest changes are remembered, for reads that a catch-up overtook: more than are
/// made while a read is on its way.
const RECENT: usize = 1024;

/// The cache that the gate keeps consistent with the change log.
pub(crate) trait Cache {
    /// A read on its way into the cache and to its callers.
    type Read;

    /// Whether a change concerns what was read.
    fn concerns(change: &Change, read: &Self::Read) -> bool;

    /// Drops what a change concerns.
    fn drop_changed(&self, change: &Change);

    /// Drops everything.
    fn drop_all(&self);

    /// Caches a read and returns it to its callers: it is true as of what this node now knows.
    fn keep(&self, read: Self::Read, known: Known);

    /// Discards a read.
    fn refuse(&self, read: Self::Read, why: NotBelieved);
}

/// Why a read is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotBelieved {
    /// Later changes concern what was read, or more were applied meanwhile than are remembered.
    Outrun,
    /// It is of another history than the one that counts.
    Contradicted,
}

/// The node's place in the change log, and the reads that wait for its confirmation.
#[derive(Debug)]
pub(crate) struct Gate<R> {
    inner: Mutex<Inner<R>>,
    /// Monotonic nanoseconds at which the latest complete catch-up began; 0: never caught up.
    proven_at: AtomicU64,
}

#[derive(Debug)]
struct Inner<R> {
    /// Grows when everything cached is dropped. A read that began in an earlier epoch may come from a
    /// history that was lost.
    epoch: u64,
    /// The latest change that a catch-up has shown; `None`: never caught up.
    applied: Option<ChangeId>,
    /// The changes up to `applied`, without gaps, at most [`RECENT`].
    recent: VecDeque<LoggedChange>,
    /// This node's latest commit, until a catch-up that began after it has ended.
    own: Option<OwnCommit>,
    /// Catch-ups that began.
    begun: u64,
    waiting: Vec<Waiting<R>>,
}

#[derive(Debug)]
struct OwnCommit {
    number: u64,
    /// Catch-ups that had begun when it returned.
    begun: u64,
}

/// A read that is ahead of what catch-ups have shown.
#[derive(Debug)]
struct Waiting<R> {
    upto: ChangeId,
    /// Catch-ups that had begun when the read had ended.
    begun: u64,
    read: R,
}

/// Taken before a read begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadTicket {
    epoch: u64,
    applied: Option<ChangeId>,
}

/// Taken before a catch-up begins. There is one at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CatchUpTicket {
    /// Which catch-up, counted from 1.
    number: u64,
    /// What to ask the store for.
    pub(crate) applied: Option<ChangeId>,
}

/// The changes that this node knows of: a read of the same epoch, up to at least that number, is
/// not older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    epoch: u64,
    number: u64,
}

impl Known {
    /// Whether this is no older than `other`.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.epoch == other.epoch && self.number >= other.number
    }
}

impl<R> Gate<R> {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                epoch: 0,
                applied: None,
                recent: VecDeque::new(),
                own: None,
                begun: 0,
                waiting: Vec::new(),
            }),
            proven_at: AtomicU64::new(0),
        }
    }

    /// When the latest complete catch-up began, in monotonic nanoseconds; 0: never.
    ///
    /// INVARIANT: a check calls this before it looks at an entry. `publish` comes after the
    /// entries were dropped, so an entry found afterwards has survived that catch-up.
    pub(crate) fn proven_at(&self) -> u64 {
        self.proven_at.load(Ordering::Acquire)
    }

    /// The changes that this node knows of, its own commits included.
    pub(crate) fn known(&self) -> Known {
        let inner = self.lock();
        let applied = inner.applied.map_or(0, |applied| applied.number);
        let own = inner.own.as_ref().map_or(0, |own| own.number);
        Known {
            epoch: inner.epoch,
            number: applied.max(own),
        }
    }

    pub(crate) fn begin_read(&self) -> ReadTicket {
        let inner = self.lock();
        ReadTicket {
            epoch: inner.epoch,
            applied: inner.applied,
        }
    }

    /// Keeps a read, refuses it, or makes it wait for the next catch-up.
    ///
    /// `upto` is the latest change in the read.
    pub(crate) fn offer<C: Cache<Read = R>>(
        &self,
        ticket: ReadTicket,
        upto: ChangeId,
        read: R,
        cache: &C,
    ) {
        let mut inner = self.lock();
        let own = inner.own.as_ref().map_or(0, |own| own.number);
        if inner.epoch != ticket.epoch || upto.number < own {
            return cache.refuse(read, NotBelieved::Outrun);
        }
        if inner.is_ahead(upto) {
            let begun = inner.begun;
            return inner.waiting.push(Waiting { upto, begun, read });
        }
        match inner.vouch::<C>(upto, Some(&read)) {
            Ok(known) => cache.keep(read, known),
            // What a read sees is never older than what this node knew before it began.
            Err(_) if ticket.applied.is_some_and(|it| upto.number < it.number) => {
                cache.refuse(read, NotBelieved::Contradicted);
            }
            Err(why) => cache.refuse(read, why),
        }
    }

    /// Whether a change that this node committed is in the history that catch-ups have shown. To be
    /// asked after a catch-up that began after the commit.
    pub(crate) fn shows<C: Cache<Read = R>>(&self, change: ChangeId) -> bool {
        let inner = self.lock();
        !inner.is_ahead(change)
            && match inner.vouch::<C>(change, None) {
                Ok(_) => true,
                Err(NotBelieved::Contradicted) => false,
                // From before the first catch-up, or no longer remembered. No history was ever lost
                // here if the node never started anew.
                Err(NotBelieved::Outrun) => inner.epoch == 1,
            }
    }

    /// This node committed a change: `drop_entry` drops what it concerns, and nothing that was read
    /// before is kept any more.
    pub(crate) fn own_commit(&self, change: ChangeId, drop_entry: impl FnOnce()) {
        let mut inner = self.lock();
        drop_entry();
        let before = inner.own.as_ref().map_or(0, |own| own.number);
        inner.own = Some(OwnCommit {
            number: before.max(change.number),
            begun: inner.begun,
        });
    }

    pub(crate) fn begin_catch_up(&self) -> CatchUpTicket {
        let mut inner = self.lock();
        inner.begun += 1;
        CatchUpTicket {
            number: inner.begun,
            applied: inner.applied,
        }
    }

    /// Drops what changed and settles the reads that waited. If the answer does not follow on what was
    /// applied, everything is dropped and the node starts anew; returns whether it did follow.
    pub(crate) fn apply<C: Cache<Read = R>>(
        &self,
        ticket: CatchUpTicket,
        changes: &Changes,
        cache: &C,
    ) -> bool {
        let mut inner = self.lock();
        let followed = match (ticket.applied, &changes.items) {
            (Some(applied), Some(items)) if follows(applied, items, changes.upto) => {
                for item in items {
                    cache.drop_changed(&item.change);
                    inner.recent.push_back(item.clone());
                }
                let surplus = inner.recent.len().saturating_sub(RECENT);
                inner.recent.drain(..surplus);
                inner.applied = Some(changes.upto);
                inner.settle(ticket, cache);
                true
            }
            _ => {
                // Why close first: until the cache is empty, the old proof must not speak for it.
                self.close();
                cache.drop_all();
                inner.epoch += 1;
                inner.applied = Some(changes.upto);
                inner.recent.clear();
                for waiting in inner.waiting.drain(..) {
                    cache.refuse(waiting.read, NotBelieved::Outrun);
                }
                false
            }
        };
        // An own commit from before this catch-up is in what it has shown, or is lost.
        if inner
            .own
            .as_ref()
            .is_some_and(|own| own.begun < ticket.number)
        {
            inner.own = None;
        }
        followed
    }

    /// What is cached now is proven as of `began`, the moment before the catch-up's round trip.
    pub(crate) fn publish(&self, began: u64) {
        self.proven_at.store(began, Ordering::Release);
    }

    /// Closes the gate: nothing is proven until the next [`publish`](Self::publish).
    fn close(&self) {
        self.proven_at.store(0, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<R>> {
        // Why not fail: the guarded values are valid after every statement, so a panic in a
        // callback leaves nothing half done. A poisoned lock must not stop invalidation.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<R> Inner<R> {
    fn is_ahead(&self, change: ChangeId) -> bool {
        self.applied
            .is_none_or(|applied| change.number > applied.number)
    }

    /// Whether the log that catch-ups have shown holds that change, and none after it that concerns
    /// what was read; up to where that is so.
    fn vouch<C: Cache<Read = R>>(
        &self,
        upto: ChangeId,
        read: Option<&R>,
    ) -> Result<Known, NotBelieved> {
        let applied = self.applied.ok_or(NotBelieved::Outrun)?;
        let behind = applied.number.saturating_sub(upto.number);
        let mut later = usize::try_from(behind)
            .ok()
            .and_then(|behind| self.recent.len().checked_sub(behind))
            .map(|first| self.recent.range(first..))
            .ok_or(NotBelieved::Outrun)?
            .peekable();
        let mark = later.peek().map_or(applied.mark, |next| next.previous);
        if mark != upto.mark {
            return Err(NotBelieved::Contradicted);
        }
        if read.is_some_and(|read| later.any(|later| C::concerns(&later.change, read))) {
            return Err(NotBelieved::Outrun);
        }
        Ok(Known {
            epoch: self.epoch,
            number: applied.number,
        })
    }

    fn settle<C: Cache<Read = R>>(&mut self, ticket: CatchUpTicket, cache: &C) {
        for waiting in std::mem::take(&mut self.waiting) {
            if !self.is_ahead(waiting.upto) {
                match self.vouch::<C>(waiting.upto, Some(&waiting.read)) {
                    Ok(known) => cache.keep(waiting.read, known),
                    Err(why) => cache.refuse(waiting.read, why),
                }
            } else if waiting.begun < ticket.number {
                // The catch-up began after the read had ended and does not know that change.
                cache.refuse(waiting.read, NotBelieved::Contradicted);
            } else {
                self.waiting.push(waiting);
            }
        }
    }
}

/// Whether `items` are all the changes from `applied` (exclusive) to `upto`, in order and of one
/// history.
pub(crate) fn follows(applied: ChangeId, items: &[LoggedChange], upto: ChangeId) -> bool {
    let mut latest = applied;
    items.iter().all(|item| {
        let next =
            item.previous == latest.mark && Some(item.id.number) == latest.number.checked_add(1);
        latest = item.id;
        next
    }) && latest == upto
}
