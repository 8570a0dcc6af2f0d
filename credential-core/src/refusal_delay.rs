//! Delays the refusals of a secret that is presented again and again.
//!
//! A secret that was rotated out, revoked or taken from another client costs no hash and no read,
//! but a loop without pauses takes its share of the processor from everyone else. So a secret that
//! is refused more often than by mistake gets its refusals delayed. An accepted secret is never
//! delayed, not even the same one. A text that is no secret of ours is not remembered.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    id::ProofId,
    metrics,
    pacing::{Pace, Turns},
};

/// The first hundred refusals of one secret are answered at once. After that one refusal is
/// answered every 10 ms, until the secret was not presented for a second. No refusal is delayed by
/// more than a second.
const PACE: Pace = Pace {
    every: Duration::from_millis(10),
    at_once: 100,
    longest: Duration::from_secs(1),
};
/// How many secrets are remembered. Only genuine ones are, so forged ones cannot evict them.
const SECRETS: usize = 4096;

/// When each secret's next refusal may be answered.
#[derive(Debug)]
pub(crate) struct RefusalDelay(Turns<ProofId>);

impl RefusalDelay {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Turns::new(clock, SECRETS))
    }

    /// Returns once a refusal of that secret may be answered.
    pub(crate) async fn hold(&self, proof: ProofId) {
        let wait = self.wait(proof);
        if !wait.is_zero() {
            metrics::refusal_held();
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes a secret's next turn and says how far away it is.
    fn wait(&self, proof: ProofId) -> Duration {
        self.0.take(&proof, PACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ManualClock, SeededEntropy};

    fn delay_of_test() -> (ManualClock, RefusalDelay, impl FnMut() -> ProofId) {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(60));
        let entropy = SeededEntropy::new(31);
        let delay = RefusalDelay::new(Arc::new(clock.clone()));
        (clock, delay, move || ProofId::random(&entropy))
    }

    /// How long each of so many refusals waits.
    fn waits(delay: &RefusalDelay, proof: ProofId, count: u64) -> Vec<Duration> {
        (0..count).map(|_| delay.wait(proof)).collect()
    }

    #[test]
    fn what_anyone_would_send_by_mistake_waits_for_nothing() {
        let (clock, delay, mut proof) = delay_of_test();
        let proof = proof();
        for _ in 0..3 {
            let waits = waits(&delay, proof, u64::from(PACE.at_once));
            assert!(waits.iter().all(Duration::is_zero), "{waits:?}");
            clock.advance(Duration::from_secs(1));
        }
    }

    #[test]
    fn what_comes_too_often_is_answered_in_turn() {
        let (clock, delay, mut proof) = delay_of_test();
        let proof = proof();
        waits(&delay, proof, u64::from(PACE.at_once));
        assert_eq!(
            waits(&delay, proof, 3),
            [PACE.every, PACE.every * 2, PACE.every * 3]
        );
        clock.advance(PACE.every * 3);
        assert_eq!(delay.wait(proof), PACE.every, "one turn later");
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (_, delay, mut proof) = delay_of_test();
        let waits = waits(&delay, proof(), 10 * u64::from(PACE.at_once));
        assert_eq!(waits.last(), Some(&PACE.longest));
        assert_eq!(waits.iter().max(), Some(&PACE.longest));
    }

    #[test]
    fn one_secret_does_not_slow_another_down() {
        let (_, delay, mut proof) = delay_of_test();
        waits(&delay, proof(), 10 * u64::from(PACE.at_once));
        assert_eq!(delay.wait(proof()), Duration::ZERO);
    }
}
