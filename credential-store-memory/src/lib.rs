#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod data;
mod history;
mod replay;
mod usage;

use std::{
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use credential_core::{
    clock::{Clock, SystemClock, Timestamp},
    credential::{Credential, CredentialName, CredentialState},
    id::{ClientId, CredentialId, ProofId, TenantId},
    secret::keyring::KeyName,
    store::{
        ASSERTIONS_KEPT_FOR, AsOf, CHANGES_KEPT_FOR, Change, Changes, Committed, CredentialStore,
        Edit, Heartbeat, KeyCheck, ListPosition, ListQuery, MAX_CHANGES, NODE_ALIVE_FOR,
        NewCredential, ReplaceHash, Replay, ReplayQuery, Revoke, RevokeAll, RevokeToken,
        SpendAssertion, StoreError, Stores,
    },
};
use tokio::sync::Notify;

use crate::data::{Data, Node, Tenant, fresh_mark};

/// The most assertions that are forgotten at a time.
const FORGOTTEN_AT_ONCE: usize = 16;

/// Credentials in memory. Clones share them.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    /// INVARIANT: held for one method and never across an await, so each method is one
    /// transaction and the change counter orders them.
    data: Mutex<Data>,
    changed: Notify,
    clock: Arc<dyn Clock>,
}

/// A store's whole content at some moment, to be put back by [`MemoryStore::restore`].
#[derive(Clone)]
pub struct Backup(Data);

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup")
            .field("credentials", &self.0.credentials.len())
            .finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty store that goes by another clock, for tests.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let data = Data::new();
        Self {
            shared: Arc::new(Shared {
                data: Mutex::new(data),
                changed: Notify::new(),
                clock,
            }),
        }
    }

    /// All that the store holds now.
    #[must_use]
    pub fn back_up(&self) -> Backup {
        Backup(self.data().clone())
    }

    /// Puts back what the store held then, as a database is restored from a backup, for tests of what
    /// comes after. Nodes that follow the store start anew; nothing wakes them.
    pub fn restore(&self, backup: &Backup) {
        *self.data() = backup.0.clone();
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        // Why go on after a panic: nothing between two statements of a method can panic.
        self.shared
            .data
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn commit<T>(&self, mut data: MutexGuard<'_, Data>, value: T, change: Change) -> Committed<T> {
        let logged = data.latest.next(fresh_mark(), change);
        let id = logged.id;
        data.latest = id;
        data.changes.push_back(logged);
        if data.changes.len() > MAX_CHANGES {
            data.changes.pop_front();
        }
        drop(data);
        self.shared.changed.notify_waiters();
        Committed { value, change: id }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data();
        f.debug_struct("MemoryStore")
            .field("credentials", &data.credentials.len())
            .field("changes", &data.latest.number)
            .field("replays", &data.replays.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialStore for MemoryStore {
    async fn insert(&self, new: NewCredential) -> Result<Committed<()>, StoreError> {
        let NewCredential {
            credential,
            limit,
            event,
            replay,
        } = new;
        let now = self.shared.clock.now();
        let mut data = self.data();
        let id = credential.identity.id;
        let owner = credential.identity.tenant.clone();
        data.replays.check(&owner, replay.as_ref(), now)?;
        data.check_proofs(&credential)?;
        let tenant = data.tenant(&credential);
        let key = credential.settings.name.comparison_key();
        tenant.has_room_for(&key, limit)?;
        tenant.names.insert(key.into(), id);
        tenant.positions.insert(ListPosition::of(&credential), id);
        for proof in credential.settings.proofs() {
            data.owner_of_proof.insert(proof, id);
        }
        let client = credential.identity.client_id.clone();
        data.owner_of_client.insert(client, id);
        data.credentials.insert(id, Box::new(credential.into()));
        data.replays.keep(&owner, replay, now);
        data.append([event]);
        Ok(self.commit(data, (), Change::Credential(id)))
    }

    async fn may_insert(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        limit: u32,
    ) -> Result<(), StoreError> {
        let data = self.data();
        let nobody = Tenant::default();
        let tenant = data.tenants.get(tenant).unwrap_or(&nobody);
        tenant.has_room_for(&name.comparison_key(), limit)
    }

    async fn list(
        &self,
        tenant: &TenantId,
        query: &ListQuery,
    ) -> Result<Vec<Credential>, StoreError> {
        let data = self.data();
        let Some(tenant) = data.tenants.get(tenant) else {
            return Ok(Vec::new());
        };
        let end = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(tenant
            .positions
            .range((Bound::Unbounded, end))
            .rev()
            .filter_map(|(_, id)| data.credentials.get(id))
            .map(|row| &row.credential)
            .filter(|credential| query.include_revoked || credential.revoked.is_none())
            .take(query.limit)
            .cloned()
            .collect())
    }

    async fn replace(&self, mut edit: Edit) -> Result<Committed<Credential>, StoreError> {
        let (owner, replay) = (edit.tenant.clone(), edit.replay.take());
        let now = self.shared.clock.now();
        let mut data = self.data();
        data.replays.check(&owner, replay.as_ref(), now)?;
        let id = edit.id;
        let before = data.find(id)?.credential.clone();
        let mut after = before.clone();
        let events = edit.apply_to(&mut after)?;
        data.check_proofs(&after)?;
        let tenant = data.tenant(&after);
        let key = after.settings.name.comparison_key();
        if tenant.names.get(&*key).is_some_and(|owner| *owner != id) {
            return Err(StoreError::NameTaken);
        }
        tenant.names.remove(&*before.settings.name.comparison_key());
        tenant.names.insert(key.into(), id);
        for proof in before.settings.proofs() {
            data.owner_of_proof.remove(&proof);
        }
        for proof in after.settings.proofs() {
            data.owner_of_proof.insert(proof, id);
        }
        data.find(id)?.credential = after.clone();
        data.replays.keep(&owner, replay, now);
        data.append(events);
        Ok(self.commit(data, after, Change::Credential(id)))
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Committed<Credential>, StoreError> {
        let mut data = self.data();
        let (id, change) = (revoke.id, data.latest);
        let credential = &mut data.find(id)?.credential;
        let event = revoke.apply_to(credential)?;
        let value = credential.clone();
        let Some(event) = event else {
            return Ok(Committed { value, change });
        };
        let key = value.settings.name.comparison_key();
        data.tenant(&value).names.remove(&*key);
        data.append([event]);
        Ok(self.commit(data, value, Change::Credential(id)))
    }

    async fn revoke_all(&self, revoke: RevokeAll) -> Result<Committed<()>, StoreError> {
        let mut data = self.data();
        let id = revoke.tenant.clone();
        let live = data.tenants.get(&id).map(Tenant::live);
        let live = live.unwrap_or_default().into_iter();
        let found = live.map(|id| Ok(data.find(id)?.credential.clone()));
        let mut live = found.collect::<Result<Vec<_>, StoreError>>()?;
        let events = revoke.apply_to(&mut live)?;
        if events.is_empty() {
            let change = data.latest;
            return Ok(Committed { value: (), change });
        }
        for credential in &live {
            data.tenant(credential).names.clear();
            data.find(credential.identity.id)?
                .credential
                .clone_from(credential);
        }
        data.append(events);
        Ok(self.commit(data, (), Change::Tenant(id)))
    }

    async fn replay(&self, query: &ReplayQuery) -> Result<Option<Replay>, StoreError> {
        let now = self.shared.clock.now();
        Ok(self.data().replays.find(query, now))
    }

    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        Ok(self.data().state(Some(id)))
    }

    async fn state_by_proof(
        &self,
        proof: &ProofId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let data = self.data();
        let owner = data.owner_of_proof.get(proof).copied();
        Ok(data.state(owner))
    }

    async fn state_by_client(
        &self,
        client: &ClientId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let data = self.data();
        let owner = data.owner_of_client.get(client).copied();
        Ok(data.state(owner))
    }

    async fn spend_assertion(&self, spend: SpendAssertion) -> Result<bool, StoreError> {
        let now = self.shared.clock.now();
        let forgotten = now.saturating_sub(ASSERTIONS_KEPT_FOR);
        let mut data = self.data();
        let old = |(until, ..): &(Timestamp, CredentialId, [u8; 32])| *until < forgotten;
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some((_, id, digest)) = data.assertion_ends.first().copied().filter(old) else {
                break;
            };
            data.assertion_ends.pop_first();
            data.assertions.remove(&(id, digest));
        }
        let SpendAssertion {
            credential_id: id,
            digest,
            until,
        } = spend;
        let first = data.assertions.insert((id, digest));
        if first {
            data.assertion_ends.insert((until.max(now), id, digest));
        }
        Ok(first)
    }

    async fn replace_hash(&self, change: ReplaceHash) -> Result<(), StoreError> {
        if let Ok(row) = self.data().find(change.id) {
            change.apply_to(&mut row.credential);
        }
        Ok(())
    }

    async fn revoke_token(&self, revoke: RevokeToken) -> Result<Committed<()>, StoreError> {
        let now = self.shared.clock.now();
        let mut data = self.data();
        let change = data.latest;
        if !revoke.apply_to(data.find(revoke.credential_id)?, now) {
            return Ok(Committed { value: (), change });
        }
        Ok(self.commit(data, (), Change::Credential(revoke.credential_id)))
    }

    async fn catch_up(&self, heartbeat: &Heartbeat) -> Result<Changes, StoreError> {
        let at = self.shared.clock.now();
        let mut data = self.data();
        let alive_since = at.saturating_sub(NODE_ALIVE_FOR);
        let mut alive = data.nodes.values().filter(|node| node.at >= alive_since);
        if heartbeat.applied.is_none()
            && let Some(other) = alive.find(|node| node.issuer != heartbeat.issuer)
        {
            return Err(StoreError::IssuerMismatch {
                issuer: Arc::clone(&heartbeat.issuer),
                other: other.issuer.to_string(),
            });
        }
        let node = Node {
            max_staleness: heartbeat.max_staleness,
            at,
            issuer: Arc::clone(&heartbeat.issuer),
        };
        data.nodes.insert(heartbeat.node, node);
        let dead_before = at.saturating_sub(CHANGES_KEPT_FOR);
        data.nodes.retain(|_, node| node.at >= dead_before);
        data.replays.prune(at);
        let rows = heartbeat.applied.map(|applied| {
            let missing = data.latest.number.saturating_sub(applied.number);
            let missing = usize::try_from(missing).unwrap_or(usize::MAX);
            let skip = data.changes.len().saturating_sub(missing);
            let rows = data.changes.iter().skip(skip);
            rows.take(heartbeat.max_changes).cloned().collect()
        });
        let largest = data.nodes.values().map(|node| node.max_staleness).max();
        let largest = largest.unwrap_or(heartbeat.max_staleness);
        Ok(heartbeat.answer(data.latest, rows.unwrap_or_default(), largest))
    }

    fn retire_connections(&self) {}

    async fn wake_up(&self) {
        self.shared.changed.notified().await;
    }

    async fn check_keys(&self, keys: &[KeyCheck]) -> Result<Vec<KeyName>, StoreError> {
        KeyCheck::compare(keys, &self.data().keys)
    }

    async fn use_key(&self, key: &KeyCheck) -> Result<Vec<KeyName>, StoreError> {
        let mut data = self.data();
        if data.keys.iter().all(|kept| kept.name != key.name) {
            data.keys.push(key.clone());
        }
        KeyCheck::compare(std::slice::from_ref(key), &data.keys)
    }
}

impl From<MemoryStore> for Stores {
    fn from(store: MemoryStore) -> Self {
        Self::all(store)
    }
}
