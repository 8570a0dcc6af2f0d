//! A store around another one that counts, fails and pauses on demand.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::{
    audit::AuditEvent,
    credential::{Credential, CredentialName, CredentialState},
    id::{CredentialId, Selector, TenantId},
    store::{
        AsOf, AuditQuery, Changes, Committed, CredentialStore, Edit, Heartbeat, KeyCheck, LastUse,
        ListQuery, NewCredential, ReplaceHash, Revoke, RevokeToken, StoreError,
    },
};

/// Counts calls, fails all of them while told to, and can hold state reads back between the
/// moment they read and the moment they return. Clones share everything.
#[derive(Debug, Clone)]
pub struct ProbeStore<S> {
    inner: S,
    probe: Arc<Probe>,
}

#[derive(Debug)]
struct Probe {
    calls: AtomicU64,
    reads: AtomicU64,
    catch_ups: AtomicU64,
    failing: AtomicBool,
    failing_catch_ups: AtomicBool,
    deaf: AtomicBool,
    holding: AtomicBool,
    /// One permit for each state read that was done and is held back.
    held: Semaphore,
    /// One permit for each that may go on.
    released: Semaphore,
}

impl<S: CredentialStore> ProbeStore<S> {
    /// Passes everything on to `inner`.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            probe: Arc::new(Probe {
                calls: AtomicU64::new(0),
                reads: AtomicU64::new(0),
                catch_ups: AtomicU64::new(0),
                failing: AtomicBool::new(false),
                failing_catch_ups: AtomicBool::new(false),
                deaf: AtomicBool::new(false),
                holding: AtomicBool::new(false),
                held: Semaphore::new(0),
                released: Semaphore::new(0),
            }),
        }
    }

    /// Calls of any method but catch-up and wake-up.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.probe.calls.load(Ordering::SeqCst)
    }

    /// Calls of `state` and `state_by_selector`.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.probe.reads.load(Ordering::SeqCst)
    }

    /// Calls of `catch_up`, also failed ones.
    #[must_use]
    pub fn catch_ups(&self) -> u64 {
        self.probe.catch_ups.load(Ordering::SeqCst)
    }

    /// From now on every call fails (`true`) or works again (`false`).
    pub fn fail(&self, failing: bool) {
        self.probe.failing.store(failing, Ordering::SeqCst);
    }

    /// From now on catch-ups fail (`true`) while all else works, as on a primary that was cut off
    /// from its synchronous standby.
    pub fn fail_catch_ups(&self, failing: bool) {
        self.probe
            .failing_catch_ups
            .store(failing, Ordering::SeqCst);
    }

    /// From now on nothing wakes whoever waits for changes, as where notices are not delivered.
    pub fn deafen(&self) {
        self.probe.deaf.store(true, Ordering::SeqCst);
    }

    /// From now on state reads read and are then held back, until [`release`](Self::release).
    pub fn hold_reads(&self) {
        self.probe.holding.store(true, Ordering::SeqCst);
    }

    /// Waits until one more state read has read and is held back.
    pub async fn read_is_held(&self) {
        if let Ok(permit) = self.probe.held.acquire().await {
            permit.forget();
        }
    }

    /// Lets `count` held reads go on, and holds no further ones.
    pub fn release(&self, count: usize) {
        self.probe.holding.store(false, Ordering::SeqCst);
        self.probe.released.add_permits(count);
    }

    fn called(&self) -> Result<&S, StoreError> {
        self.probe.calls.fetch_add(1, Ordering::SeqCst);
        self.reachable()
    }

    fn reachable(&self) -> Result<&S, StoreError> {
        if self.probe.failing.load(Ordering::SeqCst) {
            Err(told_to_fail())
        } else {
            Ok(&self.inner)
        }
    }

    async fn after_read(&self) {
        self.probe.reads.fetch_add(1, Ordering::SeqCst);
        if self.probe.holding.load(Ordering::SeqCst) {
            self.probe.held.add_permits(1);
            if let Ok(permit) = self.probe.released.acquire().await {
                permit.forget();
            }
        }
    }
}

fn told_to_fail() -> StoreError {
    StoreError::Backend {
        source: "told to fail".into(),
    }
}

#[async_trait]
impl<S: CredentialStore> CredentialStore for ProbeStore<S> {
    async fn insert(&self, new: NewCredential) -> Result<Committed<()>, StoreError> {
        self.called()?.insert(new).await
    }

    async fn may_insert(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        limit: u32,
    ) -> Result<(), StoreError> {
        self.called()?.may_insert(tenant, name, limit).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        id: CredentialId,
    ) -> Result<Option<Credential>, StoreError> {
        self.called()?.get(tenant, id).await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        query: &ListQuery,
    ) -> Result<Vec<Credential>, StoreError> {
        self.called()?.list(tenant, query).await
    }

    async fn replace(&self, edit: Edit) -> Result<Committed<Credential>, StoreError> {
        self.called()?.replace(edit).await
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Committed<Credential>, StoreError> {
        self.called()?.revoke(revoke).await
    }

    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let state = self.called()?.state(id).await;
        self.after_read().await;
        state
    }

    async fn state_by_selector(
        &self,
        selector: &Selector,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let state = self.called()?.state_by_selector(selector).await;
        self.after_read().await;
        state
    }

    async fn replace_hash(&self, change: ReplaceHash) -> Result<(), StoreError> {
        self.called()?.replace_hash(change).await
    }

    async fn revoke_token(&self, revoke: RevokeToken) -> Result<Committed<()>, StoreError> {
        self.called()?.revoke_token(revoke).await
    }

    async fn catch_up(&self, heartbeat: &Heartbeat) -> Result<Changes, StoreError> {
        self.probe.catch_ups.fetch_add(1, Ordering::SeqCst);
        if self.probe.failing_catch_ups.load(Ordering::SeqCst) {
            return Err(told_to_fail());
        }
        self.reachable()?.catch_up(heartbeat).await
    }

    async fn wake_up(&self) {
        if self.probe.deaf.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inner.wake_up().await;
    }

    async fn audit_events(
        &self,
        tenant: &TenantId,
        query: &AuditQuery,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        self.called()?.audit_events(tenant, query).await
    }

    async fn audited_tenants(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantId>, StoreError> {
        self.called()?.audited_tenants(after, limit).await
    }

    async fn record_use(&self, uses: &[LastUse]) -> Result<(), StoreError> {
        self.called()?.record_use(uses).await
    }

    async fn check_keys(&self, keys: &[KeyCheck]) -> Result<(), StoreError> {
        self.called()?.check_keys(keys).await
    }
}
