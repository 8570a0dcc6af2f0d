//! The generic cell rate algorithm (GCRA): each caller takes the next turn and waits for it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The theoretical arrival time of GCRA: the time of the latest turn that was taken, in nanoseconds
/// on the callers' clock.
#[derive(Debug, Default)]
pub(crate) struct Gcra(AtomicU64);

/// How turns follow one another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// From one turn to the next.
    pub(crate) every: Duration,
    /// The burst: turns that are available at once after a pause.
    pub(crate) at_once: u32,
    /// The longest wait. Beyond it, callers share a turn.
    pub(crate) longest: Duration,
}

impl Gcra {
    /// Takes the next turn and says how far away it is.
    pub(crate) fn take(&self, now: Duration, pace: Pace) -> Duration {
        let kept = pace.every.saturating_mul(pace.at_once);
        let earliest = nanos(now.saturating_sub(kept));
        let latest = nanos(now.saturating_add(pace.longest));
        let after = |taken: u64| {
            let next = taken.max(earliest).saturating_add(nanos(pace.every));
            next.min(latest)
        };
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                Some(after(taken))
            })
            .unwrap_or_default();
        Duration::from_nanos(after(taken)).saturating_sub(now)
    }
}

/// A duration as a counter of 584 years holds it.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
