#![doc = include_str!("../README.md")]

mod db;
mod trail;
mod usage;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use credential_core::{
    clock::Clock,
    credential::{Credential, CredentialState},
    id::{CredentialId, ProofId, TenantId},
    secret::keyring::KeyName,
    store::{
        AsOf, CHANGES_KEPT_FOR, Change, Changes, Committed, CredentialStore, Edit, Heartbeat,
        KeyCheck, ListQuery, NODE_ALIVE_FOR, NewCredential, ReplaceHash, Revoke, RevokeAll,
        RevokeToken, StoreError,
    },
};
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::{runtime::Handle, sync::Notify};

use crate::db::{Db, Done};

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

    /// Runs a method as one transaction, which is rolled back after an error. The thread waits for the disk;
    /// where the runtime has others, they go on with its tasks.
    fn run<T>(&self, work: impl FnOnce(&Db<'_>) -> Done<T>) -> Result<T, StoreError> {
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
            Done::Ok(done)
        };
        let done = match Handle::current().runtime_flavor() {
            tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(run),
            _ => run(),
        };
        done.map_err(|error| match error.downcast() {
            Ok(refusal) => *refusal,
            Err(source) => StoreError::Backend { source },
        })
    }
}

#[async_trait]
impl CredentialStore for SqliteStore {
    async fn insert(&self, new: NewCredential) -> Result<Committed<()>, StoreError> {
        self.run(|db| {
            let (revoked_tokens, credential) = (Vec::new(), new.credential);
            let identity = credential.identity.clone();
            db.put(&CredentialState {
                credential,
                revoked_tokens,
            })?;
            let sql = "select json_quote(count(name_key)) from credential where tenant = ?";
            if db.read(sql, [identity.tenant.as_str()])?.pop() > Some(new.limit) {
                return Err(StoreError::LimitReached.into());
            }
            db.commit(vec![new.event], Change::Credential(identity.id), ())
        })
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
        self.run(|db| db.read(sql, params![tenant.as_str(), at, id, revoked, limit]))
    }

    async fn replace(&self, edit: Edit) -> Result<Committed<Credential>, StoreError> {
        self.run(|db| {
            let id = edit.id;
            let mut state = db.find(id)?.ok_or(StoreError::NotFound)?;
            let events = edit.apply_to(&mut state.credential)?;
            db.put(&state)?;
            db.commit(events, Change::Credential(id), state.credential)
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
            db.commit(vec![event], Change::Credential(id), state.credential)
        })
    }

    async fn revoke_all(&self, revoke: RevokeAll) -> Result<Committed<()>, StoreError> {
        self.run(|db| {
            let tenant = revoke.tenant.clone();
            let sql = "select document from credential where tenant = ? and name_key is not null";
            let mut live: Vec<CredentialState> = db.read(sql, [tenant.as_str()])?;
            let events = revoke.apply_to(live.iter_mut().map(|it| &mut it.credential))?;
            if events.is_empty() {
                return db.unchanged(());
            }
            live.iter().try_for_each(|it| db.put(it))?;
            db.commit(events, Change::Tenant(tenant), ())
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
            let (value, upto) = (db.read(sql, [proof.as_str()])?.pop(), db.latest()?);
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
            db.commit(Vec::new(), Change::Credential(id), ())
        })
    }

    async fn catch_up(&self, beat: &Heartbeat) -> Result<Changes, StoreError> {
        self.run(|db| {
            let since = |time| db.now.saturating_sub(time).as_micros();
            let sql = "select json_quote(issuer) from node where issuer <> ? and seen_at >= ?";
            let alive = params![&*beat.issuer, since(NODE_ALIVE_FOR)];
            if let (None, Some(other)) = (beat.applied, db.read(sql, alive)?.pop()) {
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
            let sql = "select document from change where number > ? order by number limit ?";
            let items: Vec<_> = db.read(sql, params![applied, beat.max_changes])?;
            let complete = beat.applied.is_some() && applied + items.len() as u64 == upto.number;
            let sql = "select json_quote(max(max_staleness)) from node";
            let largest = db.read(sql, [])?.pop().unwrap_or_default();
            Ok(Changes {
                upto,
                items: complete.then_some(items),
                waited: Duration::ZERO,
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
        let sql = "select document from key_check order by rowid";
        KeyCheck::compare(keys, &self.run(|db| db.read(sql, []))?)
    }

    async fn use_key(&self, key: &KeyCheck) -> Result<Vec<KeyName>, StoreError> {
        let sql = "insert into key_check values (?, ?) on conflict do nothing";
        self.run(|db| db.run(sql, [key.name.as_str(), &serde_json::to_string(key)?]))?;
        self.check_keys(std::slice::from_ref(key)).await
    }
}
