#![doc = include_str!("../README.md")]

mod db;
mod usage;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use credential_core::{
    clock::{Clock, Timestamp},
    credential::{Credential, CredentialName, CredentialState},
    id::{CredentialId, ProofId, TenantId},
    secret::keyring::KeyName,
    store::{
        AsOf, AuditQuery, CHANGES_KEPT_FOR, Change, ChangeId, Changes, Committed, CredentialStore,
        Edit, Heartbeat, KeyCheck, ListQuery, LoggedChange, Mark, NODE_ALIVE_FOR, NewCredential,
        ReplaceHash, Revoke, RevokeAll, RevokeToken, StoreError, StoredHead, StoredRow, TrailPage,
        TrailQuery, TrailStore,
    },
};
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Notify,
};

use crate::db::{Db, Failure};

/// Credentials in a SQLite file. Clones share one connection: there is one writer, as there is in the file.
#[derive(Debug, Clone)]
pub struct SqliteStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connection: Mutex<Connection>,
    clock: Arc<dyn Clock>,
    changed: Notify,
}

impl SqliteStore {
    /// Opens the file, or makes it. The clock is the store's own: that of the machine, but for tests.
    ///
    /// # Errors
    /// If it cannot be opened, or is no database.
    pub fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        // Another process may write: wait for it, for less long than core waits for an answer.
        connection.busy_timeout(Duration::from_secs(2))?;
        connection.execute_batch(include_str!("schema.sql"))?;
        Ok(Self(Arc::new(Shared {
            connection: Mutex::new(connection),
            clock,
            changed: Notify::new(),
        })))
    }

    /// Runs a method as one transaction, which is rolled back after an error. The thread waits for the disk:
    /// where the runtime has others, they go on with its tasks.
    fn run<T>(&self, work: impl FnOnce(&Db<'_>) -> Result<T, Failure>) -> Result<T, StoreError> {
        let run = || {
            let connection = self.0.connection.lock();
            // A panic has rolled its transaction back.
            let mut connection = connection.unwrap_or_else(PoisonError::into_inner);
            let db = Db {
                transaction: connection
                    .transaction_with_behavior(TransactionBehavior::Immediate)?,
                now: self.0.clock.now(),
                changed: &self.0.changed,
            };
            let done = work(&db)?;
            db.transaction.commit()?;
            Ok(done)
        };
        let done = match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => tokio::task::block_in_place(run),
            _ => run(),
        };
        done.map_err(|failure: Failure| match failure.downcast() {
            Ok(refusal) => *refusal,
            Err(source) => StoreError::Backend { source },
        })
    }
}

#[async_trait]
impl CredentialStore for SqliteStore {
    async fn insert(&self, new: NewCredential) -> Result<Committed<()>, StoreError> {
        self.run(|db| {
            let (identity, settings) = (&new.credential.identity, &new.credential.settings);
            db.has_room(&identity.tenant, &settings.name, None, new.limit)?;
            let change = Change::Credential(identity.id);
            db.put(&CredentialState {
                credential: new.credential,
                revoked_tokens: Vec::new(),
            })?;
            db.commit([new.event], &change, ())
        })
    }

    async fn may_insert(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        limit: u32,
    ) -> Result<(), StoreError> {
        self.run(|db| db.has_room(tenant, name, None, limit))
    }

    async fn list(
        &self,
        tenant: &TenantId,
        query: &ListQuery,
    ) -> Result<Vec<Credential>, StoreError> {
        let at = query.after.map(|place| place.created_at.as_micros());
        let id = query.after.map(|place| place.id.to_string());
        let (revoked, limit) = (query.include_revoked, query.limit);
        let sql = "select document -> 'credential' from credential where tenant = ?1
            and (?2 is null or (created_at, id) < (?2, ?3)) and (?4 or name_key is not null)
            order by created_at desc, id desc limit ?5";
        self.run(|db| db.documents(sql, params![tenant.as_str(), at, id, revoked, limit]))
    }

    async fn replace(&self, edit: Edit) -> Result<Committed<Credential>, StoreError> {
        self.run(|db| {
            let id = edit.id;
            let mut state = db.find(id)?.ok_or(StoreError::NotFound)?;
            let credential = &mut state.credential;
            let events = edit.apply_to(credential)?;
            let (tenant, name) = (&credential.identity.tenant, &credential.settings.name);
            db.has_room(tenant, name, Some(id), u32::MAX)?;
            db.put(&state)?;
            db.commit(events, &Change::Credential(id), state.credential)
        })
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Committed<Credential>, StoreError> {
        self.run(|db| {
            let id = revoke.id;
            let mut state = db.find(id)?.ok_or(StoreError::NotFound)?;
            let Some(event) = revoke.apply_to(&mut state.credential)? else {
                return db.unchanged(state.credential);
            };
            db.put(&state)?;
            db.commit([event], &Change::Credential(id), state.credential)
        })
    }

    async fn revoke_all(&self, revoke: RevokeAll) -> Result<Committed<()>, StoreError> {
        self.run(|db| {
            let tenant = revoke.tenant.clone();
            let sql = "select document from credential where tenant = ? and name_key is not null";
            let mut live: Vec<CredentialState> = db.documents(sql, [tenant.as_str()])?;
            let events = revoke.apply_to(live.iter_mut().map(|it| &mut it.credential))?;
            if events.is_empty() {
                return db.unchanged(());
            }
            live.iter().try_for_each(|it| db.put(it))?;
            db.commit(events, &Change::Tenant(tenant), ())
        })
    }

    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        self.run(|db| {
            let (value, upto) = (db.find(id)?, db.latest()?);
            Ok(AsOf { value, upto })
        })
    }

    async fn state_by_proof(
        &self,
        proof: &ProofId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let sql = "select document from credential
            where id = (select credential from proof where id = ?)";
        self.run(|db| {
            let value = db.documents(sql, [proof.as_str()])?.pop();
            let upto = db.latest()?;
            Ok(AsOf { value, upto })
        })
    }

    async fn replace_hash(&self, change: ReplaceHash) -> Result<(), StoreError> {
        self.run(|db| {
            let Some(mut state) = db.find(change.id)? else {
                return Ok(());
            };
            change.apply_to(&mut state.credential);
            db.put(&state)
        })
    }

    async fn revoke_token(&self, revoke: RevokeToken) -> Result<Committed<()>, StoreError> {
        self.run(|db| {
            let id = revoke.credential_id;
            let mut state = db.find(id)?.ok_or(StoreError::NotFound)?;
            if !revoke.apply_to(&mut state, db.now) {
                return db.unchanged(());
            }
            db.put(&state)?;
            db.commit([], &Change::Credential(id), ())
        })
    }

    async fn catch_up(&self, beat: &Heartbeat) -> Result<Changes, StoreError> {
        self.run(|db| {
            let since = |time| db.now.saturating_sub(time).as_micros();
            let sql = "select issuer from node where issuer <> ? and seen_at >= ?";
            let alive = params![&*beat.issuer, since(NODE_ALIVE_FOR)];
            if let (None, Some((other,))) = (beat.applied, db.rows(sql, alive)?.pop()) {
                let issuer = Arc::clone(&beat.issuer);
                return Err(StoreError::IssuerMismatch { issuer, other }.into());
            }
            let (node, bound) = (beat.node.0, beat.max_staleness.as_secs_f64());
            let node = params![node, bound, &*beat.issuer, db.now.as_micros()];
            db.run("insert or replace into node values (?, ?, ?, ?)", node)?;
            let old = [since(CHANGES_KEPT_FOR)];
            db.run("delete from node where seen_at < ?", old)?;
            let sql = "delete from change
                where at < ? and number < (select max(number) from change)";
            db.run(sql, old)?;

            let upto = db.latest()?;
            let applied = beat.applied.map_or(upto.number, |it| it.number);
            let sql = "select number, mark, previous, document, at from change
                where number > ? order by number limit ?";
            let mut oldest = db.now;
            let mut items = Vec::new();
            for row in db.rows(sql, params![applied, beat.max_changes])? {
                let (number, mark, previous, change, at): (u64, _, _, String, _) = row;
                oldest = oldest.min(Timestamp::from_micros(at));
                items.push(LoggedChange {
                    id: ChangeId {
                        number,
                        mark: Mark(mark),
                    },
                    previous: Mark(previous),
                    change: serde_json::from_str(&change)?,
                });
            }
            let complete = beat.applied.is_some() && applied + items.len() as u64 == upto.number;
            let sql = "select max(max_staleness) from node";
            let largest = db.rows(sql, [])?.pop().map_or(0.0, |(it,)| it);
            Ok(Changes {
                upto,
                items: complete.then_some(items),
                waited: db.now.saturating_since(oldest),
                largest_max_staleness: Duration::try_from_secs_f64(largest)?,
            })
        })
    }

    fn retire_connections(&self) {}

    /// Woken by this process only: another one that has the file open learns of a change at its next
    /// catch-up.
    async fn wake_up(&self) {
        self.0.changed.notified().await;
    }

    async fn check_keys(&self, keys: &[KeyCheck]) -> Result<Vec<KeyName>, StoreError> {
        self.run(|db| {
            let rows = db.rows("select name, value from key_check order by rowid", [])?;
            let read = |(name, value): (String, String)| {
                let name = name.parse()?;
                Ok(KeyCheck { name, value })
            };
            let kept = rows
                .into_iter()
                .map(read)
                .collect::<Result<Vec<_>, Failure>>()?;
            Ok(KeyCheck::compare(keys, &kept)?)
        })
    }

    async fn use_key(&self, key: &KeyCheck) -> Result<Vec<KeyName>, StoreError> {
        let sql = "insert into key_check values (?, ?) on conflict do nothing";
        self.run(|db| db.run(sql, [key.name.as_str(), &key.value]))?;
        self.check_keys(std::slice::from_ref(key)).await
    }
}

#[async_trait]
impl TrailStore for SqliteStore {
    async fn audit_events(
        &self,
        tenant: &TenantId,
        query: &AuditQuery,
    ) -> Result<Vec<StoredRow>, StoreError> {
        self.run(|db| db.trail(tenant, query))
    }

    async fn audited_tenants(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let sql = "select tenant from head where ?1 is null or tenant > ?1
            union select tenant from audit_event where ?1 is null or tenant > ?1
            order by 1 limit ?2";
        let tenants = self.run(|db| db.rows(sql, params![after, limit]))?;
        Ok(tenants.into_iter().map(|(tenant,)| tenant).collect())
    }

    async fn trail(&self, tenant: &TenantId, query: &TrailQuery) -> Result<TrailPage, StoreError> {
        self.run(|db| {
            let head = db.head(tenant)?.map(|head| StoredHead {
                seq: head.seq,
                hash: head.hash.to_vec(),
            });
            let query = AuditQuery {
                credential_id: None,
                limit: query.limit,
                before: query.before,
            };
            let rows = db.trail(tenant, &query)?;
            Ok(TrailPage { head, rows })
        })
    }
}
