//! Bounded places for expensive work, shared fairly among tenants (fair queueing).
//!
//! Two resources are scarce: cores for hashing, and the store's connections. Each has a number of
//! [`Places`]. A caller that finds none free waits in the line of its own key, usually its tenant,
//! and free places go to the lines in turn (round-robin). However much one tenant requests,
//! another's first piece of work begins as soon as one place becomes free. A tenant alone may use
//! as many as [`Limits::each`] allows.
//!
//! Waiting places are shared in the same way: when all are taken, a key with a shorter line takes
//! the last place of the longest line. A refused caller is told when to come back, at the pace of
//! its own line ([`Gcra`]).

use std::{
    collections::{HashMap, VecDeque},
    fmt::{self, Debug},
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::{sync::oneshot, time::Instant};

use crate::pacing::{Gcra, Pace, nanos};

/// The longest time to retry after: who waits longer may have given up, and its turn be lost.
const LONGEST: Duration = Duration::from_secs(120);
/// How many keys are remembered for their time to come back.
const PROMISED: usize = 4096;

/// How much is done at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// In all, at least 1.
    pub(crate) at_once: usize,
    /// For one key, at least 1.
    pub(crate) each: usize,
    /// How many may wait, in all.
    pub(crate) waiting: usize,
    /// What one piece of work takes, until one was timed.
    pub(crate) typical: Duration,
}

/// Work of that key is not done now, because too much of it waits already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests are waiting; try again in {} s", .retry_after.as_secs())]
pub(crate) struct Refused {
    /// When this caller's turn should come: whole seconds, 1 to 120. Callers of one key that are
    /// refused at the same time are told different times.
    pub(crate) retry_after: Duration,
}

/// What tells the lines apart.
pub(crate) trait LineKey: Clone + Eq + Hash + Debug + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Debug + Send + Sync + 'static> LineKey for T {}

/// Places for one kind of work.
pub(crate) struct Places<K: LineKey> {
    limits: Limits,
    /// Never held across an await, and no future or permit is dropped under it.
    lines: Mutex<Lines<K>>,
    refused: AtomicU64,
    /// Nanoseconds that a piece of work took lately: a moving average.
    typical: AtomicU64,
    since: Instant,
    /// What callers that were refused are promised, counted from `since`.
    promised: Cache<K, Arc<Gcra>>,
}

struct Lines<K: LineKey> {
    /// Of the keys that work or wait, and of those that did lately, until it makes no difference.
    of: HashMap<K, Line<K>>,
    /// How many places were given so far: the clock by which turns go round.
    given: u64,
    arrived: u64,
    running: usize,
    /// Without those that cannot be refused.
    waiting: usize,
}

struct Line<K: LineKey> {
    running: usize,
    waiting: VecDeque<Waiter<K>>,
    /// The key's next turn is when so many places were given.
    due: u64,
}

struct Waiter<K: LineKey> {
    arrival: u64,
    /// Was let in before, and is not refused half way.
    let_in: bool,
    place: oneshot::Sender<Result<Permit<K>, Refused>>,
}

impl<K: LineKey> Places<K> {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits: Limits {
                at_once: limits.at_once.max(1),
                each: limits.each.max(1),
                ..limits
            },
            lines: Mutex::new(Lines {
                of: HashMap::new(),
                given: 0,
                arrived: 0,
                running: 0,
                waiting: 0,
            }),
            refused: AtomicU64::new(0),
            typical: AtomicU64::new(nanos(limits.typical)),
            since: Instant::now(),
            promised: Cache::new(PROMISED),
        })
    }

    /// A place at once or in the key's line.
    ///
    /// # Errors
    /// [`Refused`] if too many wait, and this key has its share of them.
    pub(crate) fn enter(this: &Arc<Self>, key: &K) -> Result<Place<K>, Refused> {
        let mut lines = this.lock();
        if lines.may_begin(key, this.limits) {
            lines.begin(key);
            drop(lines);
            return Ok(Place::Given(Permit::new(this, key)));
        }
        let mut pushed_out = None;
        if lines.waiting >= this.limits.waiting {
            pushed_out = lines.push_out_for(key);
            if pushed_out.is_none() {
                drop(lines);
                return Err(this.refuse(key));
            }
        }
        let queued = lines.queue(this, key, false);
        drop(lines);
        if let Some((other, waiter)) = pushed_out {
            // It may have gone by itself.
            _ = waiter.place.send(Err(this.refuse(&other)));
        }
        Ok(Place::Queued(queued))
    }

    /// As [`enter`](Self::enter), for the rest of what was let in before: ahead of its line, and never
    /// refused. Only for what is bounded by other means.
    pub(crate) fn enter_again(this: &Arc<Self>, key: &K) -> Place<K> {
        let mut lines = this.lock();
        if lines.may_begin(key, this.limits) {
            lines.begin(key);
            drop(lines);
            return Place::Given(Permit::new(this, key));
        }
        Place::Queued(lines.queue(this, key, true))
    }

    /// Whether [`enter`](Self::enter) would refuse now.
    ///
    /// # Errors
    /// [`Refused`] if so.
    pub(crate) fn look(&self, key: &K) -> Result<(), Refused> {
        let lines = self.lock();
        let lets_in = lines.may_begin(key, self.limits)
            || lines.waiting < self.limits.waiting
            || lines.longest_for(key).is_some();
        drop(lines);
        if lets_in {
            Ok(())
        } else {
            Err(self.refuse(key))
        }
    }

    /// How much runs now.
    pub(crate) fn running(&self) -> usize {
        self.lock().running
    }

    /// How much waits now.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// How much was refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Lines<K>> {
        // Nothing under this lock can leave the lines half changed.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal and gives it a turn of its own: if all came back at once, all but a queue's
    /// length would be refused again.
    fn refuse(&self, key: &K) -> Refused {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let turns = self.promised.get(key).unwrap_or_else(|| {
            let turns = Arc::new(Gcra::default());
            // Two at once may each make one: a turn is then counted to the one that is lost.
            self.promised.insert(key.clone(), Arc::clone(&turns));
            turns
        });
        let typical = Duration::from_nanos(self.typical.load(Ordering::Relaxed));
        let pace = Pace {
            // Its line moves at its share of all places, or at the speed of those that it may have.
            every: (typical * self.lock().sharers(key) / count(self.limits.at_once))
                .max(typical / count(self.limits.each)),
            at_once: 0,
            longest: LONGEST,
        };
        let wait = turns.take(self.since.elapsed(), pace);
        // Whole seconds, as HTTP has it; never earlier than the turn.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Refused {
            retry_after: Duration::from_secs(seconds.max(1)),
        }
    }

    /// A piece of work is done: its place goes to whoever's turn it is.
    fn release(this: &Arc<Self>, key: &K, took: Duration) {
        let before = this.typical.load(Ordering::Relaxed);
        // Of two at once one may be lost, which an average bears.
        let average = before - before / 8 + nanos(took) / 8;
        this.typical.store(average, Ordering::Relaxed);
        let mut lines = this.lock();
        lines.end(key);
        let next = lines.next(this.limits);
        drop(lines);
        if let Some((key, waiter)) = next {
            // If it went by itself meanwhile, the permit is dropped, and its place goes on from there.
            _ = waiter.place.send(Ok(Permit::new(this, &key)));
        }
    }
}

impl<K: LineKey> Debug for Places<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places")
            .field("limits", &self.limits)
            .field("running", &self.running())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

/// A number of places, as durations are multiplied by.
fn count(places: usize) -> u32 {
    u32::try_from(places).unwrap_or(u32::MAX)
}

impl<K: LineKey> Lines<K> {
    fn may_begin(&self, key: &K, limits: Limits) -> bool {
        let running = self.of.get(key).map_or(0, |line| line.running);
        self.running < limits.at_once && running < limits.each
    }

    fn begin(&mut self, key: &K) {
        let others = self.of.iter();
        let others = others.filter(|(other, line)| *other != key && !line.waiting.is_empty());
        // Behind all that wait now. At least one later, so that whoever comes next goes first.
        let turn = (others.count() as u64).max(1);
        self.given += 1;
        self.running += 1;
        let due = self.given + turn;
        let line = self.of.entry(key.clone()).or_default();
        line.running += 1;
        line.due = due;
    }

    fn end(&mut self, key: &K) {
        self.running -= 1;
        if let Some(line) = self.of.get_mut(key) {
            line.running -= 1;
        }
        self.forget();
    }

    /// Forgets keys that neither work nor wait, once their next turn has come anyway.
    fn forget(&mut self) {
        let idle = self.running == 0 && self.of.values().all(|line| line.waiting.is_empty());
        let given = self.given;
        self.of
            .retain(|_, line| !idle && (line.is_active() || line.due > given));
    }

    fn queue(&mut self, places: &Arc<Places<K>>, key: &K, let_in: bool) -> Queued<K> {
        let (sender, place) = oneshot::channel();
        let arrival = self.arrived;
        self.arrived += 1;
        let waiter = Waiter {
            arrival,
            let_in,
            place: sender,
        };
        let given = self.given;
        let line = self.of.entry(key.clone()).or_default();
        if line.waiting.is_empty() {
            line.due = line.due.max(given);
        }
        if let_in {
            let ahead = line.waiting.iter().take_while(|other| other.let_in);
            let behind_those = ahead.count();
            line.waiting.insert(behind_those, waiter);
        } else {
            line.waiting.push_back(waiter);
            self.waiting += 1;
        }
        Queued {
            places: Arc::clone(places),
            key: key.clone(),
            arrival,
            place,
        }
    }

    /// Begins the piece of work whose turn it is.
    fn next(&mut self, limits: Limits) -> Option<(K, Waiter<K>)> {
        let turns = self.of.iter().filter_map(|(key, line)| {
            let first = line.waiting.front()?;
            self.may_begin(key, limits)
                .then_some((line.due, first.arrival, key))
        });
        let (_, _, key) = turns.min_by_key(|(due, arrival, _)| (*due, *arrival))?;
        let key = key.clone();
        let waiter = self.of.get_mut(&key)?.waiting.pop_front()?;
        self.waiting -= usize::from(!waiter.let_in);
        self.begin(&key);
        Some((key, waiter))
    }

    /// The longest line, if this key has less than its share of the places in which to wait: if it
    /// still is not longer than that line once it took one.
    fn longest_for(&self, key: &K) -> Option<&K> {
        let own = self.of.get(key).map_or(0, Line::refusable);
        let lines = self.of.iter().map(|(key, line)| (line.refusable(), key));
        let (longest, longest_key) = lines.max_by_key(|(length, _)| *length)?;
        (longest >= own + 2).then_some(longest_key)
    }

    fn push_out_for(&mut self, key: &K) -> Option<(K, Waiter<K>)> {
        let longest = self.longest_for(key)?.clone();
        // The latest, which has waited least.
        let waiter = self.of.get_mut(&longest)?.waiting.pop_back()?;
        self.waiting -= 1;
        Some((longest, waiter))
    }

    /// A caller gave up.
    fn leave(&mut self, key: &K, arrival: u64) {
        let Some(line) = self.of.get_mut(key) else {
            return;
        };
        let mut waiting = line.waiting.iter();
        if let Some(at) = waiting.position(|waiter| waiter.arrival == arrival) {
            let left = line.waiting.remove(at);
            self.waiting -= usize::from(left.is_some_and(|waiter| !waiter.let_in));
            self.forget();
        }
    }

    /// How many keys work or wait, this one among them.
    fn sharers(&self, key: &K) -> u32 {
        let others = self.of.iter();
        let others = others.filter(|(other, line)| *other != key && line.is_active());
        count(others.count()).saturating_add(1)
    }
}

impl<K: LineKey> Default for Line<K> {
    fn default() -> Self {
        Self {
            running: 0,
            waiting: VecDeque::new(),
            due: 0,
        }
    }
}

impl<K: LineKey> Line<K> {
    fn is_active(&self) -> bool {
        self.running > 0 || !self.waiting.is_empty()
    }

    fn refusable(&self) -> usize {
        self.waiting.iter().filter(|waiter| !waiter.let_in).count()
    }
}

/// The answer to a caller.
#[derive(Debug)]
pub(crate) enum Place<K: LineKey> {
    /// It may begin.
    Given(Permit<K>),
    /// It waits.
    Queued(Queued<K>),
}

impl<K: LineKey> Place<K> {
    /// Waits until the work may begin. Dropping the future gives the place up.
    ///
    /// # Errors
    /// [`Refused`] if another key, with less in its line, took the place.
    pub(crate) async fn permit(self) -> Result<Permit<K>, Refused> {
        match self {
            Self::Given(permit) => Ok(permit),
            Self::Queued(mut queued) => match (&mut queued.place).await {
                Ok(answer) => answer,
                // Unreachable: who is taken out of a line is told why.
                Err(_) => Err(queued.places.refuse(&queued.key)),
            },
        }
    }

    /// As [`permit`](Self::permit), for at most so long.
    ///
    /// # Errors
    /// [`Refused`] also if the time is over.
    pub(crate) async fn permit_within(self, longest: Duration) -> Result<Permit<K>, Refused> {
        let Self::Queued(queued) = &self else {
            return self.permit().await;
        };
        let (places, key) = (Arc::clone(&queued.places), queued.key.clone());
        match tokio::time::timeout(longest, self.permit()).await {
            Ok(answer) => answer,
            Err(_) => Err(places.refuse(&key)),
        }
    }
}

/// A place in a line, given up when dropped.
#[derive(Debug)]
pub(crate) struct Queued<K: LineKey> {
    places: Arc<Places<K>>,
    key: K,
    arrival: u64,
    place: oneshot::Receiver<Result<Permit<K>, Refused>>,
}

impl<K: LineKey> Drop for Queued<K> {
    fn drop(&mut self) {
        self.places.lock().leave(&self.key, self.arrival);
    }
}

/// A piece of work may go on for as long as this lives.
#[derive(Debug)]
pub(crate) struct Permit<K: LineKey> {
    places: Arc<Places<K>>,
    key: K,
    began: Instant,
}

impl<K: LineKey> Permit<K> {
    /// For a piece of work that has [begun](Lines::begin).
    fn new(places: &Arc<Places<K>>, key: &K) -> Self {
        Self {
            places: Arc::clone(places),
            key: key.clone(),
            began: Instant::now(),
        }
    }
}

impl<K: LineKey> Drop for Permit<K> {
    fn drop(&mut self) {
        Places::release(&self.places, &self.key, self.began.elapsed());
    }
}

#[cfg(test)]
mod tests;
