#![doc = include_str!("../README.md")]

mod history;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use credential_core::{
    audit::{AuditEvent, Event},
    clock::{Clock, Timestamp},
    credential::{Credential, CredentialState},
    id::{ClientId, CredentialId, ProofId, TenantId},
    secret::keyring::KeyName,
    store::{
        ASSERTIONS_KEPT_FOR, AsOf, Change, ChangeId, Changes, Committed, CredentialStore, Edit,
        Heartbeat, KeyCheck, ListQuery, LoggedChange, NODE_ALIVE_FOR, NewCredential, NewReplay,
        ReplaceHash, Replay, ReplayQuery, Revoke, RevokeAll, RevokeToken, SpendAssertion,
        StoreError,
    },
};
use rusqlite::{Connection, Params, Transaction, TransactionBehavior, params};
use serde::de::DeserializeOwned;
use tokio::{runtime, sync::Notify, task};

/// Credentials in a SQLite file. Clones share one connection: there is one writer, as there is in the file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    connection: Arc<Mutex<Connection>>,
    clock: Arc<dyn Clock>,
    changed: Arc<Notify>,
}

impl SqliteStore {
    /// Opens the file, or makes it. The clock is the store's own: that of the machine, but for tests.
    ///
    /// # Errors
    /// If it cannot be opened, or is no database.
    pub fn open(
        path: impl AsRef<std::path::Path>,
        clock: Arc<dyn Clock>,
    ) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(include_str!("schema.sql"))?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            clock,
            changed: Arc::default(),
        })
    }

    /// Runs a method as one transaction, which is rolled back after an error. The thread waits for the disk;
    /// where the runtime has others, they go on with its tasks.
    fn run<T>(&self, work: impl FnOnce(&Db<'_>) -> Done<T>) -> Result<T, StoreError> {
        let run = || {
            let connection = self.connection.lock();
            // A panic has rolled its transaction back.
            let mut connection = connection.unwrap_or_else(PoisonError::into_inner);
            let db = Db {
                transaction: connection
                    .transaction_with_behavior(TransactionBehavior::Immediate)?,
                now: self.clock.now(),
                changed: &self.changed,
            };
            let done = work(&db)?;
            db.transaction.commit()?;
            Done::Ok(done)
        };
        Ok(match runtime::Handle::current().runtime_flavor() {
            runtime::RuntimeFlavor::MultiThread => task::block_in_place(run),
            _ => run(),
        }?)
    }
}

/// Done, or refused with a `StoreError`, or anything else that went wrong.
type Done<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A transaction that has the file's write lock. So transactions follow one another, and each rule is checked
/// and kept as if each tenant had been locked.
struct Db<'a> {
    transaction: Transaction<'a>,
    now: Timestamp,
    changed: &'a Notify,
}

impl Db<'_> {
    fn run(&self, sql: &str, values: impl Params) -> Done<usize> {
        Ok(self.transaction.prepare_cached(sql)?.execute(values)?)
    }

    /// Each row is one document.
    fn read<T: DeserializeOwned>(&self, sql: &str, values: impl Params) -> Done<Vec<T>> {
        let mut statement = self.transaction.prepare_cached(sql)?;
        let rows = statement.query_and_then(values, |row| {
            Ok(serde_json::from_str(row.get_ref(0)?.as_str()?)?)
        });
        rows?.collect()
    }

    fn find(&self, id: CredentialId) -> Done<Option<CredentialState>> {
        let sql = "select document from credential where id = ?";
        Ok(self.read(sql, [id.to_string()])?.pop())
    }

    fn state(&self, sql: &str, key: &str) -> Done<AsOf<Option<CredentialState>>> {
        let (value, upto) = (self.read(sql, [key])?.pop(), self.latest()?);
        Ok(AsOf { value, upto })
    }

    /// Puts a credential in the place of what is there, unless another one has its name.
    fn put(&self, state: &CredentialState) -> Done<()> {
        let it = &state.credential;
        let (id, tenant) = (it.identity.id.to_string(), it.identity.tenant.as_str());
        let key = it.settings.name.comparison_key();
        let sql = "insert into credential select ?1, ?2, it ->> 'client_id', it ->> 'created_at',
            iif(?4 ->> '$.credential.revoked' is null, ?3, null), ?4 from (select ?4 -> '$.credential.identity' as it)
            where true on conflict (tenant, name_key) do nothing";
        let rows = self.run(sql, params![id, tenant, key, serde_json::to_string(state)?])?;
        (rows > 0).then_some(()).ok_or(StoreError::NameTaken)?;
        for proof in it.settings.proofs() {
            self.run("insert into proof values (?, ?)", [proof.as_str(), &id])?;
        }
        Ok(())
    }

    /// Edits a credential; without events, not even an empty list, nothing changes.
    fn change<F>(&self, id: CredentialId, apply: F) -> Done<Committed<Credential>>
    where
        F: FnOnce(&mut CredentialState) -> Result<Option<Vec<Event>>, StoreError>,
    {
        let mut state = self.find(id)?.ok_or(StoreError::NotFound)?;
        let Some(events) = apply(&mut state)? else {
            return self.unchanged(state.credential);
        };
        self.put(&state)?;
        self.commit(events, Change::Credential(id), state.credential)
    }

    /// Keeps an answer, unless one of its names is in use.
    fn keep(&self, tenant: &TenantId, new: Option<NewReplay>) -> Done<()> {
        let Some(new) = new else { return Ok(()) };
        let ends = self.now.saturating_add(new.keep_for).as_micros();
        let ids = serde_json::to_string(&new.ids().collect::<Vec<_>>())?;
        let document = serde_json::to_string(&new.replay)?;
        let sql = "insert or replace into replay select ?1, ?2 -> 'id', ?2, ?3 where not exists (select 1
            from replay where tenant = ?1 and id in (select value from json_each(?4)) and expires_at > ?5)";
        let values = params![tenant.as_str(), document, ends, ids, self.now.as_micros()];
        let (rows, used) = (self.run(sql, values)?, StoreError::IdempotencyKeyUsed);
        Ok((rows > 0).then_some(()).ok_or(used)?)
    }

    /// The newest of a tenant's audit rows.
    fn head(&self, tenant: &TenantId) -> Done<Option<AuditEvent>> {
        let sql = "select document from head where tenant = ?";
        Ok(self.read(sql, [tenant.as_str()])?.pop())
    }

    /// Appends audit events, each behind the head of its tenant, and the change. Who is woken waits for this
    /// transaction to end.
    fn commit<T>(&self, events: Vec<Event>, change: Change, value: T) -> Done<Committed<T>> {
        for event in events {
            let head = self.head(event.tenant())?.map(|row| row.head());
            let row = serde_json::to_string(&event.seal(head.as_ref()))?;
            let sql = "insert into audit_event select ?1 ->> 'tenant', ?1 ->> 'seq', ?1 ->> '$.subject.Credential', ?1";
            self.run(sql, [&row])?;
        }
        let mark = "select json_quote(lower(hex(randomblob(16))))";
        let change = self.latest()?.next(self.read(mark, [])?.remove(0), change);
        let (document, at) = (serde_json::to_string(&change)?, self.now.as_micros());
        let row = params![change.id.number, document, at];
        self.run("insert into change values (?, ?, ?)", row)?;
        self.changed.notify_waiters();
        self.unchanged(value)
    }

    /// What is returned where nothing changed.
    fn unchanged<T>(&self, value: T) -> Done<Committed<T>> {
        let change = self.latest()?;
        Ok(Committed { value, change })
    }

    fn latest(&self) -> Done<ChangeId> {
        let sql = "select document from change order by number desc limit 1";
        let latest: Option<LoggedChange> = self.read(sql, [])?.pop();
        Ok(latest.ok_or("the change log is empty")?.id)
    }
}

#[async_trait]
impl CredentialStore for SqliteStore {
    async fn insert(&self, new: NewCredential) -> Result<Committed<()>, StoreError> {
        self.run(|db| {
            let identity = new.credential.identity.clone();
            db.keep(&identity.tenant, new.replay)?;
            db.put(&new.credential.into())?;
            let sql = "select json_quote(count(name_key)) from credential where tenant = ?";
            let has_room = db.read(sql, [identity.tenant.as_str()])?.pop() <= Some(new.limit);
            has_room.then_some(()).ok_or(StoreError::LimitReached)?;
            db.commit(vec![new.event], Change::Credential(identity.id), ())
        })
    }

    async fn list(&self, tenant: &TenantId, it: &ListQuery) -> Result<Vec<Credential>, StoreError> {
        let at = it.after.map(|place| place.created_at.as_micros());
        let id = it.after.map(|place| place.id.to_string());
        let sql = "select document -> 'credential' from credential where tenant = ?1 and (?4 or name_key is not null)
            and (?2 is null or (created_at, id) < (?2, ?3)) order by created_at desc, id desc limit ?5";
        let wanted = params![tenant.as_str(), at, id, it.include_revoked, it.limit];
        self.run(|db| db.read(sql, wanted))
    }

    async fn replace(&self, mut edit: Edit) -> Result<Committed<Credential>, StoreError> {
        self.run(|db| {
            db.keep(&edit.tenant, edit.replay.take())?;
            db.change(edit.id, |it| Ok(Some(edit.apply_to(&mut it.credential)?)))
        })
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Committed<Credential>, StoreError> {
        let events = |event: Option<Event>| event.map(|event| vec![event]);
        self.run(|db| {
            db.change(revoke.id, |it| {
                revoke.apply_to(&mut it.credential).map(events)
            })
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

    async fn replay(&self, query: &ReplayQuery) -> Result<Option<Replay>, StoreError> {
        let sql = "update replay set document = json_set(document, '$.effective_at', ifnull(document ->> 'effective_at',
            ?3)) where tenant = ?1 and id in (select value from json_each(?2)) and expires_at > ?4 returning document";
        let at = query.effective_at.map(Timestamp::as_micros);
        self.run(|db| {
            let (tenant, ids) = (query.tenant.as_str(), serde_json::to_string(&query.ids)?);
            let mut rows = db.read(sql, params![tenant, ids, at, db.now.as_micros()])?;
            Ok(rows.pop())
        })
    }

    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let sql = "select document from credential where id = ?";
        self.run(|db| db.state(sql, &id.to_string()))
    }

    async fn state_by_proof(
        &self,
        proof: &ProofId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let sql = "select document from credential where id = (select credential from proof where id = ?)";
        self.run(|db| db.state(sql, proof.as_str()))
    }

    async fn state_by_client(
        &self,
        client: &ClientId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let sql = "select document from credential where client_id = ?";
        self.run(|db| db.state(sql, client.as_str()))
    }

    async fn spend_assertion(&self, spend: SpendAssertion) -> Result<bool, StoreError> {
        self.run(|db| {
            let forgotten = db.now.saturating_sub(ASSERTIONS_KEPT_FOR).as_micros();
            let sql = "delete from spent where rowid in
                (select rowid from spent where until < ? order by until limit 16)";
            db.run(sql, [forgotten])?;
            let (id, until) = (spend.credential_id.to_string(), spend.until.max(db.now));
            let sql = "insert or ignore into spent values (?, ?, ?)";
            Ok(db.run(sql, params![id, spend.digest, until.as_micros()])? > 0)
        })
    }

    async fn replace_hash(&self, change: ReplaceHash) -> Result<(), StoreError> {
        self.run(|db| {
            if let Some(mut state) = db.find(change.id)? {
                change.apply_to(&mut state.credential);
                db.put(&state)?;
            }
            Ok(())
        })
    }

    async fn revoke_token(&self, revoke: RevokeToken) -> Result<Committed<()>, StoreError> {
        self.run(|db| {
            let apply = |it: &mut _| Ok(revoke.apply_to(it, db.now).then(Vec::new));
            let Committed { change, .. } = db.change(revoke.credential_id, apply)?;
            Ok(Committed { value: (), change })
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
            let upto = db.latest()?;
            let applied = beat.applied.map_or(upto.number, |it| it.number);
            let sql = "select document from change where number > ? order by number limit ?";
            let items = db.read(sql, params![applied, beat.max_changes])?;
            let sql = "select json_quote(max(max_staleness)) from node";
            let largest = db.read(sql, [])?.pop().unwrap_or_default();
            Ok(beat.answer(upto, items, Duration::try_from_secs_f64(largest)?))
        })
    }

    fn retire_connections(&self) {}

    /// Woken by this process only. Others learn of its changes at their next catch-up.
    async fn wake_up(&self) {
        self.changed.notified().await;
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
