//! The background work of a node: it catches up with the store and writes how credentials are used.

use std::time::Duration;

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    Credentials,
    live::shared,
    metrics,
    store::{MAX_BATCH, StoreError},
    usage,
};

/// How often a node asks what changed when nothing wakes it.
const CATCH_UP_EVERY: Duration = Duration::from_millis(250);
/// The shortest time between a catch-up that found nothing new and the next one that only a wake-up
/// requests. It bounds the round trips of a store that wakes without end and without a change.
const WOKEN_AFTER: Duration = Duration::from_millis(5);
/// How often usage is written, so that an admin sees it within ten seconds. One batch each time.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// The shortest time between two flushes around midnight, where one comes early.
const FLUSH_PAUSE: Duration = Duration::from_millis(50);
/// How often a node begins to remove what is too old. While there is more, it removes a little after each flush.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
/// The longest pause between attempts while the store does not answer.
const CATCH_UP_BACKOFF: Duration = Duration::from_secs(2);

impl Credentials {
    /// Compares the keyring with the store's check values, catches up once, and keeps catching
    /// up in a task until [`Running::shutdown`]. Warns in the log of keys that the store has been
    /// used with and the keyring lacks.
    ///
    /// Without it a check has to ask the store once a second: correct, but slower.
    ///
    /// # Errors
    /// `KeyMismatch` if another node uses other bytes under one of the keyring's names;
    /// `IssuerMismatch` if a node that is alive has another issuer;
    /// `Backend` if the store does not answer.
    pub async fn start(&self) -> Result<Running, StoreError> {
        self.0
            .used_keys
            .check(&self.0.keyring, self.store())
            .await?;
        self.0.states.catch_up().await.map_err(shared)?;
        let api_types = self.catalog().api_types();
        tracing::info!(
            environment = %self.environment(),
            issuer = self.issuer(),
            api_types = ?api_types.iter().map(|it| it.id().as_str()).collect::<Vec<_>>(),
            keys = ?self.0.keyring.keys().map(|it| it.name().as_str()).collect::<Vec<_>>(),
            "credentials are served"
        );
        let (stop, stopped) = watch::channel(());
        let tasks = [
            tokio::spawn(keep_up(self.clone(), stopped.clone())),
            tokio::spawn(flush_usage(self.clone(), stopped)),
        ];
        Ok(Running { stop, tasks })
    }
}

/// The background work of a started [`Credentials`]. Dropping it stops the work as well.
#[derive(Debug)]
#[must_use = "dropping it stops the catch-up, and checks then have to ask the store themselves"]
pub struct Running {
    stop: watch::Sender<()>,
    tasks: [JoinHandle<()>; 2],
}

impl Running {
    /// Stops the background work after a last write of usage, and waits for its end.
    pub async fn shutdown(self) {
        drop(self.stop);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a background task ended badly");
            }
        }
    }
}

/// Writes usage every [`FLUSH_EVERY`] and at midnight, UTC, since counts are by day; and all of it at the end.
/// Removes what is too old, about once an hour.
async fn flush_usage(credentials: Credentials, mut stopped: watch::Receiver<()>) {
    let uses = credentials.0.states.uses();
    let store = credentials.0.stores.usage.as_deref();
    let clock = credentials.clock();
    let mut pruned_at = clock.monotonic();
    loop {
        let now = clock.now();
        let midnight = now.day().after().begins().saturating_since(now);
        let stop = tokio::select! {
            biased;
            _ = stopped.changed() => true,
            () = tokio::time::sleep(midnight.clamp(FLUSH_PAUSE, FLUSH_EVERY)) => false,
        };
        credentials.0.tokens.hand_over_counts().await;
        let flushed = uses.flush(store, clock.now(), stop).await;
        metrics::usage_flushed(flushed.as_ref().ok().copied());
        if let Err(error) = flushed {
            // What was counted stays, so only time is lost.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not write usage"
            );
        }
        if stop {
            return;
        }
        let due = clock.monotonic().saturating_since(pruned_at) >= PRUNE_EVERY;
        if let Some(store) = store.filter(|_| due)
            && !usage::prune(store, MAX_BATCH).await
        {
            pruned_at = clock.monotonic();
        }
    }
}

/// Catches up every [`CATCH_UP_EVERY`], and at once when the store says so.
async fn keep_up(credentials: Credentials, mut stopped: watch::Receiver<()>) {
    let states = &credentials.0.states;
    let mut pause = CATCH_UP_EVERY;
    let mut upto = 0;
    let mut rest = WOKEN_AFTER;
    loop {
        let woken = async {
            let rested = Instant::now() + rest;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = credentials.store().wake_up(), if pause == CATCH_UP_EVERY => {}
            }
            // Why not always: a timer rounds up to a millisecond.
            if !rest.is_zero() {
                sleep_until(rested).await;
            }
        };
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = woken => {}
        }
        match states.catch_up().await {
            Ok(caught_up) => {
                if pause != CATCH_UP_EVERY {
                    tracing::info!("the store answers again");
                }
                pause = CATCH_UP_EVERY;
                // If changes follow each other, each is worth a round trip.
                let news = caught_up.upto != upto;
                rest = if news { Duration::ZERO } else { WOKEN_AFTER };
                upto = caught_up.upto;
            }
            Err(error) => {
                if pause == CATCH_UP_EVERY {
                    tracing::warn!(
                        error = &*error as &dyn std::error::Error,
                        "the store does not answer: checks fail once nothing can be proven"
                    );
                }
                pause = (pause * 2).min(CATCH_UP_BACKOFF);
            }
        }
    }
}
