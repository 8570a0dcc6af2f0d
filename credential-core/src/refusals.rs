//! Refusals as structured log events, at a bounded rate.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quick_cache::sync::Cache;

use crate::{
    clock::{Clock, Monotonic},
    id::ClientId,
};

/// One event per client in this time.
const PER_CLIENT: Duration = Duration::from_secs(10);
/// At most so many events a second, whoever is refused.
const PER_SECOND: u32 = 50;
/// How many clients are told apart.
const CLIENTS: usize = 4096;

/// Who was refused lately.
#[derive(Debug)]
pub(crate) struct RefusalLog {
    clock: Arc<dyn Clock>,
    /// `None` stands for everyone without a well-formed client id.
    latest: Cache<Option<ClientId>, Monotonic>,
    window: Mutex<(Monotonic, u32)>,
}

impl RefusalLog {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let window = Mutex::new((clock.monotonic(), 0));
        Self {
            clock,
            latest: Cache::new(CLIENTS),
            window,
        }
    }

    /// Logs that a client was refused. Only a well-formed client id is ever written: anything
    /// else might be a secret in the wrong field.
    pub(crate) fn log_client(&self, client_id: Option<&ClientId>, reason: &'static str) {
        let now = self.clock.monotonic();
        let key = client_id.cloned();
        if self
            .latest
            .get(&key)
            .is_some_and(|latest| now.saturating_since(latest) < PER_CLIENT)
            || !self.has_room(now)
        {
            return;
        }
        self.latest.insert(key, now);
        let client_id = client_id.map_or("malformed", ClientId::as_str);
        tracing::info!(target: "credential_core::refused", client_id, reason, "refused a client");
    }

    fn has_room(&self, now: Monotonic) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_since(window.0) >= Duration::from_secs(1) {
            *window = (now, 0);
        }
        window.1 += 1;
        window.1 <= PER_SECOND
    }
}
