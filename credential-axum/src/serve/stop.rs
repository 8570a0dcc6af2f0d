//! When a server is to stop.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Tells everybody who holds a clone that the server is to stop: [`serve`](super::serve), and whoever
/// answers the readiness probe, which has to fail from then on.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

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
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            ready.await;
            sender.send_replace(true);
        });
        Self(receiver)
    }

    /// Whether it has fired.
    #[must_use]
    pub fn is_told(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it fires.
    pub async fn told(&mut self) {
        // An error: whoever could have fired it panicked. Nobody can tell us any more, so it is time.
        let _ = self.0.wait_for(|told| *told).await;
    }
}
