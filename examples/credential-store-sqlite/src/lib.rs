#![doc = include_str!("../README.md")]

mod db;
mod usage;

use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use credential_core::{
    clock::{Clock, Timestamp},
    credential::{Credential, CredentialName, CredentialState, Revocation},
    id::{CredentialId, ProofId, TenantId},
    secret::keyring::KeyName,
    store::{
        AsOf, AuditQuery, CHANGES_KEPT_FOR, Change, Changes, Committed, CredentialStore, Edit,
        Heartbeat, KeyCheck, ListQuery, LoggedChange, Mark, NODE_ALIVE_FOR, NewCredential,
        REVOKED_TOKENS_KEPT_FOR, ReplaceHash, Revoke, RevokeAll, RevokeToken, StoreError,
        StoredHead, StoredRow, TrailPage, TrailQuery, TrailStore,
    },
};
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::Notify;

use crate::db::{Db, Failure, change_id, most};

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
        connection.pragma_update(None, "journal_mode", "wal")?;
        // A commit is on the disk before it is answered: a revocation outlives a loss of power.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.execute_batch(include_str!("schema.sql"))?;
        Ok(Self(Arc::new(Shared {
            connection: Mutex::new(connection),
            clock,
            changed: Notify::new(),
        })))
    }

    /// Runs a method as one transaction, on a thread that may wait. It runs to its end also when the caller
    /// goes away. After an error it is rolled back.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Db<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.0);
        let run = move || {
            let connection = shared.connection.lock();
            // A panic has rolled its transaction back.
            let mut connection = connection.unwrap_or_else(PoisonError::into_inner);
            let db = Db {
                transaction: connection
                    .transaction_with_behavior(TransactionBehavior::Immediate)?,
                now: shared.clock.now(),
                changed: &shared.changed,
            };
            let done = work(&db)?;
            db.transaction.commit()?;
            Ok(done)
        };
        let done = tokio::task::spawn_blocking(run).await;
        done.map_err(Failure::from).flatten().map_err(|failure| {
            failure
                .downcast()
                .map_or_else(|source| StoreError::Backend { source }, |it| *it)
        })
    }
}

impl Db<'_> {
    fn owned(&self, tenant: &TenantId, id: CredentialId) -> Result<CredentialState, Failure> {
        let found = self.find(id)?;
        let found = found.filter(|it| it.credential.identity.tenant == *tenant);
        found.ok_or_else(|| StoreError::NotFound.into())
    }

    /// Refuses a name that another credential than `this` has.
    fn name_is_free(&self, tenant: &TenantId, key: &str, this: &[u8]) -> Result<(), Failure> {
        let sql = "select 1 from credential
            where tenant = ? and name_key = ? and revoked_at is null and id <> ?";
        let taken = self.all(sql, params![tenant.as_str(), key, this], |_| Ok(()))?;
        if taken.is_empty() {
            return Ok(());
        }
        Err(StoreError::NameTaken.into())
    }

    fn has_room(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        limit: u32,
    ) -> Result<(), Failure> {
        self.name_is_free(tenant, &name.comparison_key(), &[])?;
        let sql = "select 1 from credential where tenant = ? and revoked_at is null limit ?";
        let live = self.all(sql, params![tenant.as_str(), limit], |_| Ok(()))?;
        if live.len() < limit as usize {
            return Ok(());
        }
        Err(StoreError::LimitReached.into())
    }

    fn state(&self, id: Option<CredentialId>) -> Result<AsOf<Option<CredentialState>>, Failure> {
        let value = id.map(|id| self.find(id)).transpose()?.flatten();
        let upto = self.latest()?;
        Ok(AsOf { value, upto })
    }

    fn compare(&self, keys: &[KeyCheck]) -> Result<Vec<KeyName>, Failure> {
        let sql = "select name, value from key_check order by ordinal";
        let kept = self.all(sql, [], |row| {
            let (name, value): (String, String) = (row.get(0)?, row.get(1)?);
            Ok((name.parse::<KeyName>()?, value))
        })?;
        for key in keys {
            let name = key.name.clone();
            if kept
                .iter()
                .any(|(known, value)| *known == name && *value != key.value)
            {
                return Err(StoreError::KeyMismatch { name }.into());
            }
        }
        Ok(kept.into_iter().map(|(name, _)| name).collect())
    }
}

#[async_trait]
impl CredentialStore for SqliteStore {
    async fn insert(&self, new: NewCredential) -> Result<Committed<()>, StoreError> {
        self.run(move |db| {
            let identity = &new.credential.identity;
            let id = identity.id;
            db.has_room(&identity.tenant, &new.credential.settings.name, new.limit)?;
            db.put(&CredentialState {
                credential: new.credential,
                revoked_tokens: Vec::new(),
            })?;
            db.append([new.event])?;
            db.commit(&Change::Credential(id), ())
        })
        .await
    }

    async fn may_insert(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        limit: u32,
    ) -> Result<(), StoreError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.run(move |db| db.has_room(&tenant, &name, limit)).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        id: CredentialId,
    ) -> Result<Option<Credential>, StoreError> {
        let found = self.run(move |db| db.find(id)).await?;
        let credential = found.map(|it| it.credential);
        Ok(credential.filter(|it| it.identity.tenant == *tenant))
    }

    async fn list(
        &self,
        tenant: &TenantId,
        query: &ListQuery,
    ) -> Result<Vec<Credential>, StoreError> {
        let (tenant, revoked, limit) = (tenant.clone(), query.include_revoked, query.limit);
        // Without a place: before everything.
        let (at, id) = query.after.map_or((i64::MAX, [0xff; 16]), |place| {
            (place.created_at.as_micros(), *place.id.as_bytes())
        });
        self.run(move |db| {
            db.all(
                "select * from credential where tenant = ? and (created_at, id) < (?, ?)
                    and (? or revoked_at is null) order by created_at desc, id desc limit ?",
                params![tenant.as_str(), at, id, revoked, most(limit)],
                |row| Ok(db::state(row)?.credential),
            )
        })
        .await
    }

    async fn replace(&self, edit: Edit) -> Result<Committed<Credential>, StoreError> {
        self.run(move |db| {
            let mut state = db.owned(&edit.tenant, edit.id)?;
            let before = state.credential.clone();
            if before.revoked.is_some() {
                return Err(StoreError::Revoked.into());
            }
            if before.version != edit.expected_version {
                return Err(StoreError::StaleVersion.into());
            }
            let key = edit.settings.name.comparison_key();
            db.name_is_free(&edit.tenant, &key, edit.id.as_bytes())?;
            state.credential.version += 1;
            state.credential.settings = edit.settings;
            for secret in &mut state.credential.settings.secrets {
                if let Some(kept) = before.secret(&secret.selector) {
                    secret.hash = kept.hash.clone();
                    secret.last_used_at = kept.last_used_at;
                }
            }
            db.put(&state)?;
            db.append(edit.events)?;
            db.commit(&Change::Credential(edit.id), state.credential)
        })
        .await
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Committed<Credential>, StoreError> {
        self.run(move |db| {
            let mut state = db.owned(&revoke.tenant, revoke.id)?;
            let credential = &mut state.credential;
            if credential.revoked.is_some() {
                return db.unchanged(state.credential);
            }
            if revoke
                .expected_version
                .is_some_and(|it| it != credential.version)
            {
                return Err(StoreError::StaleVersion.into());
            }
            let (at, by) = (revoke.at, revoke.by);
            credential.version += 1;
            credential.revoked = Some(Revocation { at, by });
            db.put(&state)?;
            db.append([revoke.event])?;
            db.commit(&Change::Credential(revoke.id), state.credential)
        })
        .await
    }

    async fn revoke_all(&self, revoke: RevokeAll) -> Result<Committed<()>, StoreError> {
        self.run(move |db| {
            let sql = "select * from credential where tenant = ? and revoked_at is null";
            let mut live = db.all(sql, [revoke.tenant.as_str()], db::state)?;
            let id = |state: &CredentialState| state.credential.identity.id;
            let ids: HashSet<_> = live.iter().map(id).collect();
            if ids != revoke.events.iter().map(|(id, _)| *id).collect() {
                return Err(StoreError::StaleVersion.into());
            }
            if live.is_empty() {
                return db.unchanged(());
            }
            for state in &mut live {
                let (at, by) = (revoke.at, revoke.by.clone());
                state.credential.version += 1;
                state.credential.revoked = Some(Revocation { at, by });
                db.put(state)?;
            }
            db.append(revoke.events.into_iter().map(|(_, event)| event))?;
            db.commit(&Change::Tenant(revoke.tenant), ())
        })
        .await
    }

    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        self.run(move |db| db.state(Some(id))).await
    }

    async fn state_by_proof(
        &self,
        proof: &ProofId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let proof = *proof;
        self.run(move |db| {
            let sql = "select credential from proof where id = ?";
            let owner = db.all(sql, [proof.as_str()], |row| Ok(row.get(0)?))?.pop();
            db.state(owner.map(CredentialId::from_bytes))
        })
        .await
    }

    async fn replace_hash(&self, change: ReplaceHash) -> Result<(), StoreError> {
        self.run(move |db| {
            let Some(mut state) = db.find(change.id)? else {
                return Ok(());
            };
            let mut secrets = state.credential.settings.secrets.iter_mut();
            if let Some(secret) = secrets.find(|it| it.selector == change.selector)
                && secret.hash == change.old
            {
                secret.hash = change.new;
            }
            db.put(&state)
        })
        .await
    }

    async fn revoke_token(&self, revoke: RevokeToken) -> Result<Committed<()>, StoreError> {
        self.run(move |db| {
            let id = revoke.credential_id;
            let mut state = db.find(id)?.ok_or(StoreError::NotFound)?;
            let tokens = &mut state.revoked_tokens;
            if tokens.iter().any(|it| it.id == revoke.token.id) {
                return db.unchanged(());
            }
            let forgotten = db.now.saturating_sub(REVOKED_TOKENS_KEPT_FOR);
            tokens.retain(|it| it.expires_at > forgotten);
            tokens.push(revoke.token);
            if tokens.len() > revoke.limit {
                let dropped = tokens.drain(..).map(|it| it.issued_at).max();
                let from = &mut state.credential.observed.tokens_valid_from;
                *from = (*from).max(dropped).max(Some(db.now));
            }
            db.put(&state)?;
            db.commit(&Change::Credential(id), ())
        })
        .await
    }

    async fn catch_up(&self, heartbeat: &Heartbeat) -> Result<Changes, StoreError> {
        let beat = heartbeat.clone();
        self.run(move |db| {
            let issuer = Arc::clone(&beat.issuer);
            let since = |time| db.now.saturating_sub(time).as_micros();
            let sql = "select issuer from node where issuer <> ? and seen_at >= ?";
            let alive = params![&*issuer, since(NODE_ALIVE_FOR)];
            let other = db.all(sql, alive, |row| Ok(row.get(0)?))?.pop();
            if let (None, Some(other)) = (beat.applied, other) {
                return Err(StoreError::IssuerMismatch { issuer, other }.into());
            }
            let bound = i64::try_from(beat.max_staleness.as_micros()).unwrap_or(i64::MAX);
            let node = params![beat.node.0, bound, &*issuer, db.now.as_micros()];
            db.run("insert or replace into node values (?, ?, ?, ?)", node)?;
            let old = [since(CHANGES_KEPT_FOR)];
            db.run("delete from node where seen_at < ?", old)?;
            let sql = "delete from change
                where at < ? and number < (select max(number) from change)";
            db.run(sql, old)?;

            let upto = db.latest()?;
            let missing = beat.applied.and_then(|it| {
                let missing = upto.number.checked_sub(it.number)?;
                usize::try_from(missing)
                    .ok()
                    .filter(|it| *it <= beat.max_changes)
            });
            // The newest, oldest first.
            let sql =
                "select * from (select * from change order by number desc limit ?) order by number";
            let mut oldest = db.now;
            let items = db.all(sql, [most(missing.unwrap_or(0))], |row| {
                let about: Option<[u8; 16]> = row.get("credential")?;
                let whose: Option<String> = row.get("tenant")?;
                oldest = oldest.min(Timestamp::from_micros(row.get("at")?));
                Ok(LoggedChange {
                    id: change_id(row)?,
                    previous: Mark(row.get("previous")?),
                    change: match (about, whose) {
                        (Some(id), _) => Change::Credential(CredentialId::from_bytes(id)),
                        (None, Some(tenant)) => Change::Tenant(tenant.parse()?),
                        (None, None) => Change::Everything,
                    },
                })
            })?;
            let sql = "select max(max_staleness) from node";
            let largest = db.all(sql, [], |row| Ok(row.get(0)?))?.pop();
            Ok(Changes {
                upto,
                items: (missing == Some(items.len())).then_some(items),
                waited: db.now.saturating_since(oldest),
                largest_max_staleness: Duration::from_micros(largest.unwrap_or(0)),
            })
        })
        .await
    }

    fn retire_connections(&self) {}

    /// Woken by this process only: another one that has the file open learns of a change at its next
    /// catch-up.
    async fn wake_up(&self) {
        self.0.changed.notified().await;
    }

    async fn check_keys(&self, keys: &[KeyCheck]) -> Result<Vec<KeyName>, StoreError> {
        let keys = keys.to_vec();
        self.run(move |db| db.compare(&keys)).await
    }

    async fn use_key(&self, key: &KeyCheck) -> Result<Vec<KeyName>, StoreError> {
        let key = key.clone();
        self.run(move |db| {
            let sql = "insert into key_check (name, value) values (?, ?) on conflict do nothing";
            db.run(sql, params![key.name.as_str(), key.value])?;
            db.compare(&[key])
        })
        .await
    }
}

#[async_trait]
impl TrailStore for SqliteStore {
    async fn audit_events(
        &self,
        tenant: &TenantId,
        query: &AuditQuery,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let (tenant, it) = (tenant.clone(), *query);
        self.run(move |db| db.trail(&tenant, it.credential_id, it.before, it.limit))
            .await
    }

    async fn audited_tenants(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let after = after.map(str::to_owned);
        self.run(move |db| {
            let sql = "select tenant from head where ?1 is null or tenant > ?1
                union select tenant from audit_event where ?1 is null or tenant > ?1
                order by 1 limit ?2";
            db.all(sql, params![after, most(limit)], |row| Ok(row.get(0)?))
        })
        .await
    }

    async fn trail(&self, tenant: &TenantId, query: &TrailQuery) -> Result<TrailPage, StoreError> {
        let (tenant, query) = (tenant.clone(), *query);
        self.run(move |db| {
            let head = db.head(&tenant)?.map(|head| StoredHead {
                seq: head.seq,
                hash: head.hash.to_vec(),
            });
            let rows = db.trail(&tenant, None, query.before, query.limit)?;
            Ok(TrailPage { head, rows })
        })
        .await
    }
}
