//! One catch-up at a time, shared by all callers that wait for one. Its work is in [`live`](super).

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::reads::no_answer;
use crate::{
    clock::{Clock, Monotonic},
    flight::{Flight, Flights, Seat},
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

type CatchUpResult = Result<CaughtUp, Arc<StoreError>>;

/// Attempts to catch up.
#[derive(Debug, Default)]
pub(crate) struct CatchUps {
    /// Each notes when it began.
    attempts: Arc<Flights<(), CatchUpResult, Monotonic>>,
    failed: Arc<Mutex<Option<Failure>>>,
}

/// When the latest attempt ended, which failed, and why.
type Failure = (Monotonic, Arc<StoreError>);

impl CatchUps {
    /// The outcome of an attempt that begins after this call.
    pub(crate) async fn next<F>(
        &self,
        clock: &Arc<dyn Clock>,
        attempt: impl FnOnce() -> F,
    ) -> CatchUpResult
    where
        F: Future<Output = CatchUpResult> + Send + 'static,
    {
        if let Some(running) = self.attempts.join(&()) {
            let _before = running.landed().await;
        }
        ended(self.board(clock, attempt)).await
    }

    /// Returns once an attempt has succeeded that `serves` this check by when it began, or that began
    /// after this call. Fails at once where a failure speaks for this check, and does not wait for an
    /// attempt that is overdue.
    pub(crate) async fn for_check<F>(
        &self,
        clock: &Arc<dyn Clock>,
        serves: impl Fn(Monotonic) -> bool,
        attempt: impl Fn() -> F,
    ) -> CatchUpResult
    where
        F: Future<Output = CatchUpResult> + Send + 'static,
    {
        let asked = clock.monotonic();
        let mut first = true;
        loop {
            if let Some((ended, error)) = &*lock(&self.failed)
                && ended.saturating_add(FAILURE_HOLDS) > asked
            {
                return Err(Arc::clone(error));
            }
            let running = self.board(clock, &attempt);
            let (began, begun_now) = (running.note, running.began);
            let age = clock.monotonic().saturating_since(began);
            let patience = OVERDUE_AFTER.saturating_sub(age);
            let outcome = tokio::time::timeout(patience, ended(running))
                .await
                .unwrap_or_else(|_| Err(no_answer("the store does not answer")))?;
            // What runs after the first one began after this call.
            if begun_now || !first || serves(began) {
                return Ok(outcome);
            }
            first = false;
        }
    }

    /// The running attempt, else a new one.
    fn board<F>(
        &self,
        clock: &Arc<dyn Clock>,
        attempt: impl FnOnce() -> F,
    ) -> Seat<CatchUpResult, Monotonic>
    where
        F: Future<Output = CatchUpResult> + Send + 'static,
    {
        let (failed, ends_by) = (Arc::clone(&self.failed), Arc::clone(clock));
        let prepare = || Ok::<_, Infallible>((clock.monotonic(), attempt()));
        let fly = |flight: Flight<_, _, _>, attempt: F| async move {
            let outcome = attempt.await;
            let error = outcome.as_ref().err();
            *lock(&failed) = error.map(|error| (ends_by.monotonic(), Arc::clone(error)));
            flight.land(outcome);
        };
        let Ok(seat) = Flights::board(&self.attempts, (), prepare, fly);
        seat
    }
}

async fn ended(attempt: Seat<CatchUpResult, Monotonic>) -> CatchUpResult {
    let outcome = attempt.landed().await;
    outcome.unwrap_or_else(|| Err(no_answer("the catch-up ended without an outcome")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
