//! The background work of a node: it catches up with the store and writes last uses.

use std::time::Duration;

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{Credentials, live::shared, metrics, store::StoreError};

/// How often a node asks what changed when nothing wakes it.
const CATCH_UP_EVERY: Duration = Duration::from_millis(250);
/// The shortest time between a catch-up that found nothing new and the next one that only a wake-up
/// requests. It bounds the round trips of a store that wakes without end and without a change.
const WOKEN_AFTER: Duration = Duration::from_millis(5);
/// How often last uses are written, so that an admin sees them within ten seconds.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
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
            tokio::spawn(flush_uses(self.clone(), stopped)),
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
    /// Stops the background work after a last write of last uses, and waits for its end.
    pub async fn shutdown(self) {
        drop(self.stop);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a background task ended badly");
            }
        }
    }
}

/// Writes last uses every [`FLUSH_EVERY`], and once more at the end.
async fn flush_uses(credentials: Credentials, mut stopped: watch::Receiver<()>) {
    loop {
        let stop = tokio::select! {
            biased;
            _ = stopped.changed() => true,
            () = tokio::time::sleep(FLUSH_EVERY) => false,
        };
        let flushed = credentials.0.states.flush_uses().await;
        metrics::uses_flushed(flushed.is_ok(), *flushed.as_ref().unwrap_or(&0));
        if let Err(error) = flushed {
            // The notes stay, so only time is lost.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not write last uses"
            );
        }
        if stop {
            return;
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
