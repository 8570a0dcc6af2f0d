//! A store around another one that counts, fails and pauses on demand.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};

use crate::{
    clock::{Day, Timestamp},
    credential::{Credential, CredentialName, CredentialState},
    id::{ClientId, CredentialId, ProofId, TenantId},
    secret::keyring::KeyName,
    store::{
        AsOf, AuditQuery, Changes, Committed, CredentialStore, Edit, Heartbeat, KeyCheck,
        ListQuery, NewCredential, RefusalCount, ReplaceHash, Replay, ReplayQuery, Revoke,
        RevokeAll, RevokeToken, SpendAssertion, StoreError, Stores, TrailPage, TrailStore, Usage,
        UsageBatch, UsageStore,
    },
};

/// Runs once, behind a commit's back.
struct AfterCommit(Box<dyn FnOnce() + Send>);

impl fmt::Debug for AfterCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AfterCommit")
    }
}

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
    batches: AtomicU64,
    losing_answers: AtomicBool,
    retirements: AtomicU64,
    failing: AtomicBool,
    failing_catch_ups: AtomicBool,
    hanging_catch_ups: watch::Sender<bool>,
    deaf: AtomicBool,
    restless: AtomicBool,
    after_commit: Mutex<Option<AfterCommit>>,
    holding: AtomicBool,
    running: AtomicUsize,
    most_at_once: AtomicUsize,
    holding_calls: AtomicBool,
    /// One permit for each call that may go on, of those that are held before they begin.
    calls_released: Semaphore,
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
                batches: AtomicU64::new(0),
                losing_answers: AtomicBool::new(false),
                retirements: AtomicU64::new(0),
                failing: AtomicBool::new(false),
                failing_catch_ups: AtomicBool::new(false),
                hanging_catch_ups: watch::Sender::new(false),
                deaf: AtomicBool::new(false),
                running: AtomicUsize::new(0),
                most_at_once: AtomicUsize::new(0),
                holding_calls: AtomicBool::new(false),
                calls_released: Semaphore::new(0),
                restless: AtomicBool::new(false),
                after_commit: Mutex::new(None),
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

    /// Calls that run now, of any method but catch-up and wake-up.
    #[must_use]
    pub fn running(&self) -> usize {
        self.probe.running.load(Ordering::SeqCst)
    }

    /// The most calls that ever ran at the same time, of any method but catch-up and wake-up.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.probe.most_at_once.load(Ordering::SeqCst)
    }

    /// From now on every call but catch-up and wake-up stands still before it begins, as on a database
    /// that is slow; [`release_calls`](Self::release_calls) lets so many go on.
    pub fn hold_calls(&self) {
        self.probe.holding_calls.store(true, Ordering::SeqCst);
    }

    /// Lets `count` held calls go on.
    pub fn release_calls(&self, count: usize) {
        self.probe.calls_released.add_permits(count);
    }

    /// Calls of `state`, `state_by_proof` and `state_by_client`.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.probe.reads.load(Ordering::SeqCst)
    }

    /// Calls of `record`, also failed ones.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.probe.batches.load(Ordering::SeqCst)
    }

    /// From now on batches of usage are recorded and answered with an error (`true`), as where the connection
    /// ends before the answer.
    pub fn lose_answers(&self, losing: bool) {
        self.probe.losing_answers.store(losing, Ordering::SeqCst);
    }

    /// Calls of `catch_up`, also failed ones.
    #[must_use]
    pub fn catch_ups(&self) -> u64 {
        self.probe.catch_ups.load(Ordering::SeqCst)
    }

    /// How often connections were to be retired.
    #[must_use]
    pub fn retirements(&self) -> u64 {
        self.probe.retirements.load(Ordering::SeqCst)
    }

    /// Runs `then` once the next change is committed and before its call returns, as for a failover at
    /// the worst moment.
    pub fn after_next_commit(&self, then: impl FnOnce() + Send + 'static) {
        *self.after_commit() = Some(AfterCommit(Box::new(then)));
    }

    fn after_commit(&self) -> MutexGuard<'_, Option<AfterCommit>> {
        let hook = self.probe.after_commit.lock();
        hook.unwrap_or_else(PoisonError::into_inner)
    }

    fn committed<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let hook = if result.is_ok() {
            self.after_commit().take()
        } else {
            None
        };
        if let Some(AfterCommit(then)) = hook {
            then();
        }
        result
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

    /// From now on catch-ups get no answer (`true`) while all else works, as where packets are dropped;
    /// with `false` those that still wait go on.
    pub fn hang_catch_ups(&self, hanging: bool) {
        self.probe.hanging_catch_ups.send_replace(hanging);
    }

    /// From now on whoever waits for changes is woken at once, change or not.
    pub fn never_rest(&self) {
        self.probe.restless.store(true, Ordering::SeqCst);
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

    async fn called(&self) -> Result<(&S, RunningCall<'_>), StoreError> {
        let probe = &*self.probe;
        probe.calls.fetch_add(1, Ordering::SeqCst);
        let running = probe.running.fetch_add(1, Ordering::SeqCst) + 1;
        let running_one = RunningCall(&probe.running);
        probe.most_at_once.fetch_max(running, Ordering::SeqCst);
        if probe.holding_calls.load(Ordering::SeqCst)
            && let Ok(permit) = probe.calls_released.acquire().await
        {
            permit.forget();
        }
        Ok((self.reachable()?, running_one))
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

/// A call that runs for as long as this lives.
struct RunningCall<'a>(&'a AtomicUsize);

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
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
        let (inner, _running) = self.called().await?;
        self.committed(inner.insert(new).await)
    }

    async fn may_insert(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        limit: u32,
    ) -> Result<(), StoreError> {
        let (inner, _running) = self.called().await?;
        inner.may_insert(tenant, name, limit).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        id: CredentialId,
    ) -> Result<Option<Credential>, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.get(tenant, id).await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        query: &ListQuery,
    ) -> Result<Vec<Credential>, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.list(tenant, query).await
    }

    async fn replace(&self, edit: Edit) -> Result<Committed<Credential>, StoreError> {
        let (inner, _running) = self.called().await?;
        self.committed(inner.replace(edit).await)
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Committed<Credential>, StoreError> {
        let (inner, _running) = self.called().await?;
        self.committed(inner.revoke(revoke).await)
    }

    async fn revoke_all(&self, revoke: RevokeAll) -> Result<Committed<()>, StoreError> {
        let (inner, _running) = self.called().await?;
        self.committed(inner.revoke_all(revoke).await)
    }

    async fn replay(&self, query: &ReplayQuery) -> Result<Option<Replay>, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.replay(query).await
    }

    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let (inner, _running) = self.called().await?;
        let state = inner.state(id).await;
        self.after_read().await;
        state
    }

    async fn state_by_proof(
        &self,
        proof: &ProofId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let (inner, _running) = self.called().await?;
        let state = inner.state_by_proof(proof).await;
        self.after_read().await;
        state
    }

    async fn state_by_client(
        &self,
        client: &ClientId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let (inner, _running) = self.called().await?;
        let state = inner.state_by_client(client).await;
        self.after_read().await;
        state
    }

    async fn spend_assertion(&self, spend: SpendAssertion) -> Result<bool, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.spend_assertion(spend).await
    }

    async fn replace_hash(&self, change: ReplaceHash) -> Result<(), StoreError> {
        let (inner, _running) = self.called().await?;
        inner.replace_hash(change).await
    }

    async fn revoke_token(&self, revoke: RevokeToken) -> Result<Committed<()>, StoreError> {
        let (inner, _running) = self.called().await?;
        self.committed(inner.revoke_token(revoke).await)
    }

    async fn catch_up(&self, heartbeat: &Heartbeat) -> Result<Changes, StoreError> {
        self.probe.catch_ups.fetch_add(1, Ordering::SeqCst);
        if self.probe.failing_catch_ups.load(Ordering::SeqCst) {
            return Err(told_to_fail());
        }
        let mut hanging = self.probe.hanging_catch_ups.subscribe();
        drop(hanging.wait_for(|hanging| !hanging).await);
        self.reachable()?.catch_up(heartbeat).await
    }

    fn retire_connections(&self) {
        self.probe.retirements.fetch_add(1, Ordering::SeqCst);
        self.inner.retire_connections();
    }

    async fn wake_up(&self) {
        if self.probe.restless.load(Ordering::SeqCst) {
            return;
        }
        if self.probe.deaf.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inner.wake_up().await;
    }

    async fn check_keys(&self, keys: &[KeyCheck]) -> Result<Vec<KeyName>, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.check_keys(keys).await
    }

    async fn use_key(&self, key: &KeyCheck) -> Result<Vec<KeyName>, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.use_key(key).await
    }
}

#[async_trait]
impl<S: CredentialStore + TrailStore> TrailStore for ProbeStore<S> {
    async fn audited_tenants(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.audited_tenants(after, limit).await
    }

    async fn trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<TrailPage, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.trail(tenant, query).await
    }
}

#[async_trait]
impl<S: CredentialStore + UsageStore> UsageStore for ProbeStore<S> {
    async fn record(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        self.probe.batches.fetch_add(1, Ordering::SeqCst);
        let (inner, _running) = self.called().await?;
        inner.record(batch).await?;
        if self.probe.losing_answers.load(Ordering::SeqCst) {
            return Err(told_to_fail());
        }
        Ok(())
    }

    async fn usage(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Day,
    ) -> Result<Usage, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.usage(tenant, id, since).await
    }

    async fn used_scopes(
        &self,
        tenant: &TenantId,
        ids: &[CredentialId],
        since: Day,
    ) -> Result<Vec<(CredentialId, String)>, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.used_scopes(tenant, ids, since).await
    }

    async fn refusals(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<RefusalCount>, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.refusals(tenant, id, since, limit).await
    }

    async fn prune(&self, most: usize) -> Result<bool, StoreError> {
        let (inner, _running) = self.called().await?;
        inner.prune(most).await
    }
}

impl<S: CredentialStore + TrailStore + UsageStore> From<ProbeStore<S>> for Stores {
    fn from(store: ProbeStore<S>) -> Self {
        Self::all(store)
    }
}
