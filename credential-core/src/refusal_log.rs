//! Refusals as structured log events, at a bounded rate.
//!
//! Clients that are proven to exist have a share of their own, so that invented client ids cannot
//! displace them. No tenant has more than half of that share. Every refusal is counted by
//! [`metrics`](crate::metrics), logged or not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quick_cache::sync::Cache;

use crate::{
    clock::{Clock, Monotonic},
    credential::Credential,
    id::{ClientId, TenantId},
};

/// One event per client in this time.
const PER_CLIENT: Duration = Duration::from_secs(10);
/// At most so many events a second of clients that exist.
const KNOWN_PER_SECOND: usize = 50;
/// Of those, at most so many of one tenant's.
const PER_TENANT: usize = 25;
/// At most so many events a second of everybody else.
const OTHERS_PER_SECOND: usize = 20;
/// How many clients are remembered, of those that exist and of others.
const CLIENTS: usize = 4096;

/// Who was refused lately.
#[derive(Debug)]
pub(crate) struct RefusalLog {
    clock: Arc<dyn Clock>,
    known: Share,
    others: Share,
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
        let now = clock.monotonic();
        Self {
            clock,
            known: Share::new(KNOWN_PER_SECOND, now),
            others: Share::new(OTHERS_PER_SECOND, now),
        }
    }

    /// Logs the refusal of an existing client that presented a secret or a token of its own.
    pub(crate) fn log_known(&self, credential: &Credential, reason: &'static str) {
        let client_id = &credential.identity.client_id;
        let who = Who::Client(client_id.clone());
        let now = self.clock.monotonic();
        if self
            .known
            .is_due(who, Some(&credential.identity.tenant), now)
        {
            log_client(client_id.as_str(), reason);
        }
    }

    /// Logs the refusal of a caller that claims to be that client. Only a well-formed client id is
    /// written: other text may be a secret in the wrong field.
    pub(crate) fn log_client(&self, client_id: Option<&ClientId>, reason: &'static str) {
        let who = client_id.map_or(Who::NoClient, |client_id| Who::Client(client_id.clone()));
        if self.others.is_due(who, None, self.clock.monotonic()) {
            log_client(client_id.map_or("malformed", ClientId::as_str), reason);
        }
    }

    /// Logs the refusal of a bearer token that belongs to no client here.
    pub(crate) fn log_token(&self, reason: &'static str) {
        let who = Who::NoToken(reason);
        if self.others.is_due(who, None, self.clock.monotonic()) {
            tracing::info!(target: "credential_core::refused", reason, "refused a token");
        }
    }
}

fn log_client(client_id: &str, reason: &'static str) {
    tracing::info!(target: "credential_core::refused", client_id, reason, "refused a client");
}

/// A share of the log.
#[derive(Debug)]
struct Share {
    per_second: usize,
    latest: Cache<Who, Monotonic>,
    second: Mutex<Second>,
}

/// What was logged since it began.
#[derive(Debug)]
struct Second {
    began: Monotonic,
    events: usize,
    of_tenant: HashMap<TenantId, usize>,
}

impl Share {
    fn new(per_second: usize, now: Monotonic) -> Self {
        Self {
            per_second,
            latest: Cache::new(CLIENTS),
            second: Mutex::new(Second {
                began: now,
                events: 0,
                of_tenant: HashMap::new(),
            }),
        }
    }

    /// Whether to log an event now, which then counts.
    fn is_due(&self, who: Who, tenant: Option<&TenantId>, now: Monotonic) -> bool {
        let lately = self
            .latest
            .get(&who)
            .is_some_and(|latest| now.saturating_since(latest) < PER_CLIENT);
        if lately || !self.has_room(tenant, now) {
            return false;
        }
        self.latest.insert(who, now);
        true
    }

    fn has_room(&self, tenant: Option<&TenantId>, now: Monotonic) -> bool {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_since(second.began) >= Duration::from_secs(1) {
            second.began = now;
            second.events = 0;
            second.of_tenant.clear();
        }
        if second.events >= self.per_second {
            return false;
        }
        if let Some(tenant) = tenant {
            // One entry per event at most.
            let events = second.of_tenant.entry(tenant.clone()).or_default();
            if *events >= PER_TENANT {
                return false;
            }
            *events += 1;
        }
        second.events += 1;
        true
    }
}
