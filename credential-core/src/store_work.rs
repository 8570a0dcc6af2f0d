//! The share of the store that one tenant may occupy.
//!
//! A store has few connections: PostgreSQL's pool has 16 by default. Calls of admins, and writes of
//! clients, go through here, so that many connections of one tenant leave room for other tenants,
//! and all tenants together leave room for the reads of checks (`live/reads.rs`, 8 at a time).
//! Checks do not go through here.
//!
//! `docs/architecture.md` has the whole table: "Who may wait for what".

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::Clock,
    id::TenantId,
    log_limit::LogLimit,
    metrics,
    pacing::{Pace, Turns},
    store::{ANSWER_WITHIN, StoreError},
    tenant_share::{Limits, Permit, Places, Refused},
};

/// Calls of the store that run at the same time, of all tenants.
const CALLS_AT_ONCE: usize = 6;
/// Of those, the most for the admins of one tenant, and as many for its clients.
const CALLS_EACH: usize = 3;
/// Calls that may wait, of all tenants.
const CALLS_WAITING: usize = 256;
/// How long a call waits for its place: as long as a check waits for the store.
const CALL_WAITS: Duration = ANSWER_WITHIN;
/// What a call of the store takes until one was timed.
const CALL_TYPICAL: Duration = Duration::from_millis(2);

/// Credentials that are being created at the same time, of all tenants: of each tenant no more than
/// can be hashed at once.
const CREATES_AT_ONCE: usize = 128;
/// Creates that may wait, of all tenants.
const CREATES_WAITING: usize = 256;
/// How long a create waits for those before it: a full line of one tenant, at 25 ms per hash.
const CREATE_WAITS: Duration = Duration::from_secs(10);
/// What a create takes until one was timed: a hash and two calls of the store.
const CREATE_TYPICAL: Duration = Duration::from_millis(30);

/// Requests of one tenant's admins: two thousand at once after a pause, and then a thousand a second. People
/// stay far below. A program in a loop would otherwise take the processor from every tenant.
const ADMIN_REQUESTS: Pace = Pace {
    every: Duration::from_millis(1),
    at_once: 2_000,
    longest: Duration::ZERO,
};
/// What a long answer costs beyond its request: it is given first and counted after, up to a second ahead.
const ADMIN_DEBTS: Pace = Pace {
    longest: Duration::from_secs(1),
    ..ADMIN_REQUESTS
};
/// So many credentials of a list cost one request more.
const ITEMS_PER_TURN: usize = 20;
/// How many tenants are remembered for it.
const TENANTS: usize = 4_096;
/// When to try again above that pace.
const NEXT_SECOND: Refused = Refused {
    retry_after: Duration::from_secs(1),
};

/// The kind of caller. Admins and clients have separate places, so that a tenant's admins can still
/// revoke the key of a client that keeps the store busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Admins,
    Clients,
}

/// The places for work on the store.
#[derive(Debug)]
pub(crate) struct StoreWork {
    calls: Arc<Places<(TenantId, Side)>>,
    creates: Arc<Places<TenantId>>,
    admin_requests: Turns<TenantId>,
    too_fast: AtomicU64,
    failures: LogLimit,
}

/// Why a call of the store had no effect.
#[derive(Debug)]
pub(crate) enum CallError {
    Refused(Refused),
    Store(StoreError),
}

impl StoreWork {
    /// `hashes`: how many run at the same time.
    pub(crate) fn new(hashes: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            calls: Places::new(Limits {
                at_once: CALLS_AT_ONCE,
                each: CALLS_EACH,
                waiting: CALLS_WAITING,
                typical: CALL_TYPICAL,
            }),
            creates: Places::new(Limits {
                at_once: CREATES_AT_ONCE,
                each: hashes,
                waiting: CREATES_WAITING,
                typical: CREATE_TYPICAL,
            }),
            admin_requests: Turns::new(clock, TENANTS),
            too_fast: AtomicU64::new(0),
            failures: LogLimit::default(),
        }
    }

    /// A tenant's turn to create a credential, from the look at its name to the end. Held through the
    /// hash, so that what the look finds is what the hash is done for.
    pub(crate) async fn creating(&self, tenant: &TenantId) -> Result<Permit<TenantId>, Refused> {
        Places::enter(&self.creates, tenant)?
            .permit_within(CREATE_WAITS)
            .await
    }

    /// How many calls and creates were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.calls.refused() + self.creates.refused() + self.too_fast.load(Ordering::Relaxed)
    }

    /// Counts what a long answer costs against the pace of the tenant's admins.
    pub(crate) fn charge_admins(&self, tenant: &TenantId, items: usize) {
        for _ in 0..items / ITEMS_PER_TURN {
            self.admin_requests.take(tenant, ADMIN_DEBTS);
        }
    }

    /// Calls the store for a tenant, when it is its turn.
    pub(crate) async fn call<T>(
        &self,
        tenant: &TenantId,
        side: Side,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, CallError> {
        let key = (tenant.clone(), side);
        let place = Places::enter(&self.calls, &key).map_err(CallError::Refused)?;
        let permit = place.permit_within(CALL_WAITS).await;
        self.call_with(permit.map_err(CallError::Refused)?, call)
            .await
    }

    /// As [`call`](Self::call), for the end of what cost a hash already: not refused for
    /// others that wait. How many there are is bounded by how many are hashed.
    pub(crate) async fn call_again<T>(
        &self,
        tenant: &TenantId,
        side: Side,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, CallError> {
        let key = (tenant.clone(), side);
        let place = Places::enter_again(&self.calls, &key);
        let permit = place.permit_within(CALL_WAITS).await;
        self.call_with(permit.map_err(CallError::Refused)?, call)
            .await
    }

    async fn call_with<T>(
        &self,
        permit: Permit<(TenantId, Side)>,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, CallError> {
        let result = call.await;
        drop(permit);
        if let Err(error @ StoreError::Backend { .. }) = &result {
            metrics::store_call_failed();
            // A store that is down fails every call, so the lines are limited.
            if let Some(unlogged) = self.failures.is_due() {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    unlogged,
                    "the store did not answer a call"
                );
            }
        }
        result.map_err(CallError::Store)
    }

    /// Counts a request of the tenant's admins against their pace. Whether there is room for its calls,
    /// and if not, when.
    pub(crate) fn room_for_admins(&self, tenant: &TenantId) -> Result<(), Refused> {
        if !self.admin_requests.try_take(tenant, ADMIN_REQUESTS) {
            self.too_fast.fetch_add(1, Ordering::Relaxed);
            return Err(NEXT_SECOND);
        }
        let key = (tenant.clone(), Side::Admins);
        self.calls.look(&key)
    }
}
