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
    latest: Cache<Who, Monotonic>,
    window: Mutex<(Monotonic, u32)>,
}

/// Whose refusals count together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Client(ClientId),
    /// Everyone without a well-formed client id.
    NoClient,
    /// Everyone with a token that names no credential of ours, by reason.
    NoToken(&'static str),
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
        let who = client_id.map_or(Who::NoClient, |client_id| Who::Client(client_id.clone()));
        if self.is_due(who) {
            let client_id = client_id.map_or("malformed", ClientId::as_str);
            tracing::info!(target: "credential_core::refused", client_id, reason, "refused a client");
        }
    }

    /// Logs that a bearer token was refused which belongs to nobody here.
    pub(crate) fn log_token(&self, reason: &'static str) {
        if self.is_due(Who::NoToken(reason)) {
            tracing::info!(target: "credential_core::refused", reason, "refused a token");
        }
    }

    fn is_due(&self, who: Who) -> bool {
        let now = self.clock.monotonic();
        let told = self
            .latest
            .get(&who)
            .is_some_and(|latest| now.saturating_since(latest) < PER_CLIENT);
        if told || !self.has_room(now) {
            return false;
        }
        self.latest.insert(who, now);
        true
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
