//! One catch-up at a time, shared by all who wait for one (single-flight).
//!
//! Each attempt is a task of its own: a caller that waits may disconnect, and the attempt continues
//! for the others. The work of an attempt is in [`live`](super).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    clock::{Clock, Monotonic},
    store::StoreError,
};

/// How long after a failed attempt further calls fail at once instead of trying again.
pub(crate) const FAILURE_HOLDS: Duration = Duration::from_millis(250);
/// How old an attempt may be before checks no longer wait for it. It goes on, for as long as a call of
/// the store may take.
const OVERDUE_AFTER: Duration = Duration::from_secs(1);

/// The result of a catch-up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CaughtUp {
    /// The number of the latest change.
    pub(crate) upto: u64,
    /// The largest `max_staleness` of the nodes that are alive.
    pub(crate) largest_max_staleness: Duration,
}

type Outcome = Result<CaughtUp, Arc<StoreError>>;

/// Attempts to catch up.
#[derive(Debug, Default)]
pub(crate) struct CatchUps(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    running: Option<Attempt>,
    /// The latest attempt failed, and ended then.
    failed: Option<(Monotonic, Arc<StoreError>)>,
}

/// An attempt that has not ended yet.
#[derive(Debug, Clone)]
struct Attempt {
    began: Monotonic,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl CatchUps {
    /// The outcome of an attempt that begins after this call.
    pub(crate) async fn next<F>(
        &self,
        clock: &Arc<dyn Clock>,
        attempt: impl FnOnce() -> F,
    ) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let running = self.lock().running.clone();
        if let Some(running) = running {
            let _before = running.ended().await;
        }
        let (attempt, _) = self.join(clock, attempt);
        attempt.ended().await
    }

    /// Returns once an attempt has succeeded that `serves` this check by when it began, or that began
    /// after this call. Fails at once where a failure speaks for this check, and does not wait for an
    /// attempt that is overdue.
    pub(crate) async fn for_check<F>(
        &self,
        clock: &Arc<dyn Clock>,
        serves: impl Fn(Monotonic) -> bool,
        attempt: impl Fn() -> F,
    ) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let asked = clock.monotonic();
        let mut came_first = true;
        loop {
            if let Some((ended, error)) = &self.lock().failed
                && ended.saturating_add(FAILURE_HOLDS) > asked
            {
                return Err(Arc::clone(error));
            }
            let (running, begun_now) = self.join(clock, &attempt);
            let began = running.began;
            let age = clock.monotonic().saturating_since(began);
            let patience = OVERDUE_AFTER.saturating_sub(age);
            let outcome = tokio::time::timeout(patience, running.ended())
                .await
                .unwrap_or_else(|_| Err(failed("the store does not answer")))?;
            // What runs after the first one began after this call.
            if begun_now || !came_first || serves(began) {
                return Ok(outcome);
            }
            came_first = false;
        }
    }

    /// The running attempt, else a new one; whether it is new.
    fn join<F>(&self, clock: &Arc<dyn Clock>, attempt: impl FnOnce() -> F) -> (Attempt, bool)
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut inner = self.lock();
        if let Some(running) = &inner.running {
            return (running.clone(), false);
        }
        let (ended, outcome) = watch::channel(None);
        let began = clock.monotonic();
        let running = Attempt { began, outcome };
        inner.running = Some(running.clone());
        let end = End {
            attempts: Arc::clone(&self.0),
            clock: Arc::clone(clock),
            ended,
        };
        let attempt = attempt();
        tokio::spawn(async move {
            let outcome = attempt.await;
            end.with(outcome);
        });
        (running, true)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    async fn ended(mut self) -> Outcome {
        match self.outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Err(failed("the catch-up ended without an outcome")),
        }
    }
}

/// Removes an attempt, however it ends, and publishes its outcome.
struct End {
    attempts: Arc<Mutex<Inner>>,
    clock: Arc<dyn Clock>,
    ended: watch::Sender<Option<Outcome>>,
}

impl End {
    fn with(self, outcome: Outcome) {
        let failed = outcome.as_ref().err().cloned();
        let now = self.clock.monotonic();
        let mut inner = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        inner.failed = failed.map(|error| (now, error));
        inner.running = None;
        drop(inner);
        self.ended.send_replace(Some(outcome));
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // After `with` there is nothing left to do, unless another attempt has begun: leave that.
        if self.ended.borrow().is_none() {
            let mut inner = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            inner.running = None;
        }
    }
}

fn failed(why: &'static str) -> Arc<StoreError> {
    Arc::new(StoreError::Backend { source: why.into() })
}
