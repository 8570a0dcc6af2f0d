//! Slows down whoever presents a secret again and again that is refused each time.
//!
//! A secret that was rotated out, revoked or taken from another client costs no hash and no read, but
//! a loop that never pauses still takes its share of the processor from everyone else. So a secret
//! that is refused more often than anyone would by mistake waits for its answers. One that is accepted
//! never waits, also if it is the same; a text that is no secret of ours is not worth remembering.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;

use crate::{
    clock::{Clock, Monotonic},
    id::Selector,
    telemetry,
};

/// Refusals of one secret that are answered at once.
const AT_ONCE: u64 = 100;
/// From then on, and until the secret was left alone for a second, one in this time.
const EVERY: Duration = Duration::from_millis(10);
/// The longest that an answer waits.
const LONGEST: Duration = Duration::from_secs(1);
/// How many secrets are told apart. Only genuine ones are, so nobody can crowd them out.
const SECRETS: usize = 4096;

/// When each secret's next refusal may be answered.
#[derive(Debug)]
pub(crate) struct Brake {
    clock: Arc<dyn Clock>,
    /// In monotonic nanoseconds; behind the clock by as much as may be answered at once.
    next: Cache<Selector, Arc<AtomicU64>>,
}

impl Brake {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            next: Cache::new(SECRETS),
        }
    }

    /// Returns once a refusal of that secret may be answered.
    pub(crate) async fn hold(&self, selector: Selector) {
        let wait = self.wait(selector);
        if !wait.is_zero() {
            telemetry::refusal_held();
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes a secret's next turn and says how far away it is.
    fn wait(&self, selector: Selector) -> Duration {
        let now = self.clock.monotonic();
        let next = self.next.get(&selector).unwrap_or_else(|| {
            let next = Arc::new(AtomicU64::new(0));
            // Two at once may each make one: a turn is then counted to the one that is lost.
            self.next.insert(selector, Arc::clone(&next));
            next
        });
        let every = Monotonic::from_nanos(0).saturating_add(EVERY).as_nanos();
        let earliest = now.as_nanos().saturating_sub(every * AT_ONCE);
        let latest = now.saturating_add(LONGEST).as_nanos();
        let turn_after = |next: u64| (next.max(earliest) + every).min(latest);
        let before = next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                Some(turn_after(next))
            })
            .unwrap_or_default();
        Monotonic::from_nanos(turn_after(before)).saturating_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ManualClock, SeededEntropy};

    fn brake() -> (ManualClock, Brake, impl FnMut() -> Selector) {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(60));
        let entropy = SeededEntropy::new(31);
        let brake = Brake::new(Arc::new(clock.clone()));
        (clock, brake, move || Selector::random(&entropy))
    }

    /// How long each of so many refusals waits.
    fn waits(brake: &Brake, selector: Selector, count: u64) -> Vec<Duration> {
        (0..count).map(|_| brake.wait(selector)).collect()
    }

    #[test]
    fn what_anyone_would_send_by_mistake_waits_for_nothing() {
        let (clock, brake, mut selector) = brake();
        let selector = selector();
        for _ in 0..3 {
            let waits = waits(&brake, selector, AT_ONCE);
            assert!(waits.iter().all(Duration::is_zero), "{waits:?}");
            clock.advance(Duration::from_secs(1));
        }
    }

    #[test]
    fn what_comes_too_often_is_answered_in_turn() {
        let (clock, brake, mut selector) = brake();
        let selector = selector();
        waits(&brake, selector, AT_ONCE);
        assert_eq!(waits(&brake, selector, 3), [EVERY, EVERY * 2, EVERY * 3]);
        clock.advance(EVERY * 3);
        assert_eq!(brake.wait(selector), EVERY, "one turn later");
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (_, brake, mut selector) = brake();
        let waits = waits(&brake, selector(), 10 * AT_ONCE);
        assert_eq!(waits.last(), Some(&LONGEST));
        assert_eq!(waits.iter().max(), Some(&LONGEST));
    }

    #[test]
    fn one_secret_does_not_slow_another_down() {
        let (_, brake, mut selector) = brake();
        waits(&brake, selector(), 10 * AT_ONCE);
        assert_eq!(brake.wait(selector()), Duration::ZERO);
    }
}
