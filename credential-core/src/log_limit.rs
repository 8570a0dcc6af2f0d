//! A limit on repeated log lines.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Allows one log line in ten seconds, for failures that repeat while a part is down or overloaded.
/// The line carries the number of the others.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<(Option<Instant>, u64)>);

impl LogLimit {
    /// From one line to the next.
    const EVERY: Duration = Duration::from_secs(10);

    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// Whether to log this one, and how many were not logged since the last.
    #[must_use]
    pub fn is_due(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (latest, unlogged) = &mut *state;
        if latest.is_some_and(|latest| latest.elapsed() < Self::EVERY) {
            *unlogged += 1;
            return None;
        }
        *latest = Some(Instant::now());
        Some(std::mem::take(unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_in_ten_seconds_says_how_many_it_stands_for() {
        let limit = LogLimit::new();
        let asked: Vec<_> = (0..1_000).map(|_| limit.is_due()).collect();
        assert_eq!(
            (asked[0], asked[1..].iter().flatten().count()),
            (Some(0), 0)
        );
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!((limit.is_due(), limit.is_due()), (Some(999), None));
    }
}
