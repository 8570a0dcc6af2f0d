//! Batches for the store, each until the store has it.

use std::{error::Error, time::Duration};

use tokio::{sync::Mutex, time::timeout};

use super::{UseLog, pending::Pending};
use crate::{
    clock::{Day, Timestamp},
    metrics,
    store::{NodeId, StoreError, UsageBatch, UsageStore},
};

/// How long the store may take for a call. A batch that takes longer is repeated; the store counts it once.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Counts that a timer takes so soon after midnight are of the day before: the timer was set for midnight.
const TIMER: Duration = Duration::from_secs(1);

/// Writes what was counted, one batch after the other.
#[derive(Debug)]
pub(crate) struct Flusher {
    node: NodeId,
    /// Held for a whole flush.
    turn: Mutex<Turn>,
}

#[derive(Debug)]
struct Turn {
    pending: Option<Pending>,
    /// The number of the latest batch.
    number: u64,
    /// It may be with the store already, and is sent until the store has said so.
    in_flight: Option<UsageBatch>,
    /// When counts were last taken.
    drained_at: Timestamp,
}

/// What a flush wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flushed {
    /// Calls of the store.
    pub(crate) batches: usize,
    /// Rows in them.
    pub(crate) rows: usize,
}

impl Flusher {
    pub(super) fn new(node: NodeId, now: Timestamp) -> Self {
        Self {
            node,
            turn: Mutex::new(Turn {
                pending: None,
                number: 0,
                in_flight: None,
                drained_at: now,
            }),
        }
    }
}

/// The day of what was counted between those moments. A timer drains at midnight, so that they are
/// of one day.
fn day_between(drained_at: Timestamp, now: Timestamp) -> Day {
    now.saturating_sub(TIMER).max(drained_at).min(now).day()
}

impl UseLog {
    /// Takes what was counted until now and writes one batch of it; `all`: as many as it takes. A batch that fails
    /// stays as it is for the next time. Without a store everything is dropped.
    ///
    /// # Errors
    /// The store's error for a batch.
    pub(crate) async fn flush(
        &self,
        store: Option<&dyn UsageStore>,
        now: Timestamp,
        all: bool,
    ) -> Result<Flushed, StoreError> {
        let mut turn = self.flusher.turn.lock().await;
        let day = day_between(turn.drained_at, now);
        turn.drained_at = now;
        let turn = &mut *turn;
        let pending = turn.pending.get_or_insert_with(|| Pending::new(day));
        pending.day = day;
        self.drain(now, pending).await;
        let mut flushed = Flushed::default();
        let Some(store) = store else {
            *pending = Pending::new(day);
            drop(self.book.refusals.drain(&self.book.catalog));
            return Ok(flushed);
        };
        loop {
            if turn.in_flight.is_none() {
                turn.in_flight = self.next_batch(turn.number + 1, pending);
            }
            let Some(batch) = &turn.in_flight else {
                return Ok(flushed);
            };
            turn.number = batch.number;
            in_time(store.record(batch)).await?;
            flushed.batches += 1;
            flushed.rows += rows(batch);
            turn.in_flight = None;
            if !all {
                return Ok(flushed);
            }
        }
    }

    /// The next batch of what waits, unless nothing does.
    fn next_batch(&self, number: u64, pending: &mut Pending) -> Option<UsageBatch> {
        let catalog = &self.book.catalog;
        let (refusals, lost) = self.book.refusals.drain(catalog);
        metrics::usage_lost("refusals", lost);
        let batch = UsageBatch {
            node: self.flusher.node,
            number,
            uses: pending.take_uses(),
            calls: pending.take_calls(catalog),
            refusals,
        };
        let (calls, uses) = pending.lost();
        metrics::usage_lost("calls", calls);
        metrics::usage_lost("last_uses", uses);
        (rows(&batch) > 0).then_some(batch)
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let answer = timeout(STORE_ANSWERS_WITHIN, call).await;
    answer.unwrap_or_else(|late| {
        Err(StoreError::Backend {
            source: late.into(),
        })
    })
}

fn rows(batch: &UsageBatch) -> usize {
    batch.uses.len() + batch.calls.len() + batch.refusals.len()
}

/// Removes a little of what is too old. Whether there may be more.
pub(crate) async fn prune(store: &dyn UsageStore, most: usize) -> bool {
    in_time(store.prune(most)).await.unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn Error,
            "could not remove old counts of calls"
        );
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_are_taken_at_midnight_are_of_the_day_before() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        for (drained, now, day) in [
            (
                "2026-01-01T23:59:57Z",
                "2026-01-02T00:00:00.3Z",
                "2026-01-01",
            ),
            ("2026-01-01T23:59:57Z", "2026-01-01T23:59:59Z", "2026-01-01"),
            (
                "2026-01-02T00:00:00.3Z",
                "2026-01-02T00:00:00.6Z",
                "2026-01-02",
            ),
            (
                "2026-01-02T00:00:00.3Z",
                "2026-01-02T00:00:05Z",
                "2026-01-02",
            ),
            // A process that was suspended, a clock that was set back.
            ("2026-01-01T12:00:00Z", "2026-01-09T12:00:00Z", "2026-01-09"),
            ("2026-01-09T12:00:00Z", "2026-01-02T12:00:00Z", "2026-01-02"),
        ] {
            let found = day_between(at(drained), at(now));
            assert_eq!(found.to_string(), day, "{drained} {now}");
        }
    }
}
