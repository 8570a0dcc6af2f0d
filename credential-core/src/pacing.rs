//! The generic cell rate algorithm (GCRA): each caller takes the next turn and waits for it, or is
//! refused.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;

use crate::clock::Clock;

/// The turns of each of many keys, of which as many are remembered as there are places.
#[derive(Debug)]
pub(crate) struct Turns<K> {
    clock: Arc<dyn Clock>,
    of: Cache<K, Arc<Gcra>>,
}

impl<K: Clone + Eq + Hash> Turns<K> {
    pub(crate) fn new(clock: Arc<dyn Clock>, places: usize) -> Self {
        Self {
            clock,
            of: Cache::new(places),
        }
    }

    /// As [`Gcra::take`].
    pub(crate) fn take(&self, key: &K, pace: Pace) -> Duration {
        self.of(key).take(self.now(), pace)
    }

    /// As [`Gcra::try_take`].
    pub(crate) fn try_take(&self, key: &K, pace: Pace) -> bool {
        self.of(key).try_take(self.now(), pace)
    }

    fn of(&self, key: &K) -> Arc<Gcra> {
        self.of.get(key).unwrap_or_else(|| {
            let turns = Arc::new(Gcra::default());
            // Two threads may each make an entry: the turn of the lost one is then not counted.
            self.of.insert(key.clone(), Arc::clone(&turns));
            turns
        })
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.clock.monotonic().as_nanos())
    }
}

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

    /// Takes the next turn if it is available now. Whoever is refused takes none.
    pub(crate) fn try_take(&self, now: Duration, pace: Pace) -> bool {
        let kept = pace.every.saturating_mul(pace.at_once);
        let earliest = nanos(now.saturating_sub(kept));
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                let next = taken.max(earliest).saturating_add(nanos(pace.every));
                (next <= nanos(now)).then_some(next)
            });
        taken.is_ok()
    }
}

/// A duration as a counter of 584 years holds it.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
