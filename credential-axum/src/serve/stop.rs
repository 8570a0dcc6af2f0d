//! When a server is to stop.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

/// A signal to stop, shared by its clones: by [`serve`](super::serve()), and by the readiness
/// probe, which fails from then on.
#[derive(Debug, Clone)]
pub struct Stop(Arc<State>);

#[derive(Debug, Default)]
struct State {
    told: AtomicBool,
    telling: Notify,
}

impl Stop {
    /// Fires on SIGTERM and on SIGINT.
    ///
    /// # Errors
    /// The handlers could not be installed.
    pub fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(Self::when(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }))
    }

    /// Fires when something else is ready. Must be called within a runtime of tokio.
    pub fn when(ready: impl Future<Output = ()> + Send + 'static) -> Self {
        let state = Arc::new(State::default());
        let fires = Fires(Arc::clone(&state));
        tokio::spawn(async move {
            ready.await;
            drop(fires);
        });
        Self(state)
    }

    /// Whether it has fired.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.0.told.load(Ordering::Relaxed)
    }

    /// Waits until it fires.
    pub async fn told(&self) {
        let mut telling = pin!(self.0.telling.notified());
        // From here on no signal is missed.
        telling.as_mut().enable();
        if !self.is_told() {
            telling.await;
        }
    }
}

/// Fires when it is dropped, also if the wait panicked.
struct Fires(Arc<State>);

impl Drop for Fires {
    fn drop(&mut self) {
        self.0.told.store(true, Ordering::Relaxed);
        self.0.telling.notify_waiters();
    }
}
