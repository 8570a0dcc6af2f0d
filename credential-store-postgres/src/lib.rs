#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! | question | file |
//! | --- | --- |
//! | which SQL runs | `credentials.rs`, `state.rs`, `tokens.rs`, `secrets.rs`, `keys.rs`, `usage.rs`, `changes.rs`, `audit.rs`, under the method's name |
//! | what a row holds | `migrations/`, then `row.rs` |
//! | what an error means | `error.rs` |
//! | how long a call may take | `call.rs` |
//! | what happens to a call that was given up | `sessions.rs` |
//! | why catch-ups do not wait for other calls | `catch_up_session.rs` |
//! | what is different behind a pooler | `pooler.rs`, `executor.rs` |
//! | how a change wakes other nodes | `listen.rs` |
//!
//! # What the pool needs
//!
//! Nothing special. A transaction sets its isolation level and time limits in the round trip that
//! begins it, and they end with it. Changes and heartbeats raise `synchronous_commit` to at least
//! `on`. A call ends within 4 s, waiting for a connection included. A call that was given up keeps its
//! place in the pool until the server has ended its session; after a second the session is
//! terminated.
//!
//! Each store opens further connections beside the pool, with the pool's current connect options:
//!
//! | `application_name` | for |
//! | --- | --- |
//! | `credential-listener` | LISTEN |
//! | `credential-catch-up` | catch-ups |
//! | `credential-control` | terminating a session, while there is one to terminate |
//! | `credential-listener-test` | testing the listener, for a moment every 15 s |
//!
//! The role that migrates needs `create` on the database. The project's `docs/operations.md`, *Roles*,
//! has the narrower grants of the role that runs.
//!
//! # Behind a pooler in transaction mode
//!
//! ```no_run
//! # use credential_store_postgres::{Pooler, PostgresStore};
//! # async fn start(pool: sqlx::PgPool) {
//! let pooler = Pooler::detect(&pool.connect_options()).await;
//! let store = PostgresStore::behind(pooler.unwrap_or(Pooler::Transaction), pool);
//! # }
//! ```
//!
//! With [`Pooler::Transaction`] nothing relies on a session: each call is one transaction of unnamed
//! statements. Any pooler works, also PgBouncer before 1.21 or without `max_prepared_statements`. The
//! promises stay the same. The costs:
//!
//! - A read, a heartbeat or a batch of last uses takes four round trips instead of one, a change
//!   eight instead of five.
//! - There is no LISTEN, because it would stay in a session that serves another client next. A node
//!   learns of changes on other nodes one catch-up interval later, and
//!   [`PostgresStore::listener_state`] is [`BehindPooler`](ListenerState::BehindPooler).
//!
//! [`PostgresStore::migrate`] needs a direct connection. PgBouncer refuses connections that send
//! `extra_float_digits` unless its `ignore_startup_parameters` lists it: give the pool's options
//! `extra_float_digits(None)`; nothing here stores a float.

mod assertions;
mod audit;
mod call;
mod catch_up_session;
mod changes;
mod credentials;
mod error;
mod executor;
mod keys;
mod listen;
mod migrate;
mod pooler;
mod replays;
mod revoke;
mod row;
mod secrets;
mod sessions;
mod state;
mod tokens;
mod usage;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use credential_core::{
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
/// The version that the pool must be of.
pub use sqlx;
use sqlx::PgPool;

use crate::{
    call::{Pool, once_more},
    catch_up_session::CatchUpSession,
    listen::Listener,
};
pub use crate::{
    listen::ListenerState,
    migrate::{SchemaError, SchemaState},
    pooler::{DetectError, Pooler},
};

/// Credentials in PostgreSQL. Clones share the pool and the listening connection. Each clone is woken
/// separately and catches up on a connection of its own.
pub struct PostgresStore {
    pool: Pool,
    catch_up_session: CatchUpSession,
    listener: Arc<Listener>,
    /// What [`wake_up`](CredentialStore::wake_up) has already returned for.
    seen: AtomicU64,
    heartbeats: AtomicU64,
}

impl PostgresStore {
    /// A store on the host's pool, whose connections are PostgreSQL's own. Connects to nothing yet.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self::behind(Pooler::None, pool)
    }

    /// A store on the host's pool, whose connections go through that pooler. Connects to nothing
    /// yet.
    ///
    /// With [`Pooler::Transaction`], do not give the same `pool` to a store without a pooler: the
    /// named statements of that store would stay on the shared connections.
    #[must_use]
    pub fn behind(pooler: Pooler, pool: PgPool) -> Self {
        let pool = Pool::new(pooler, pool);
        Self {
            listener: Arc::new(Listener::new(pool.clone())),
            pool,
            catch_up_session: CatchUpSession::default(),
            seen: AtomicU64::new(0),
            heartbeats: AtomicU64::new(1),
        }
    }

    /// Brings the schema up to date. Does nothing if it is. Several nodes may call this at once: one
    /// migrates, the others wait.
    ///
    /// The role needs `create` on the database, unless the schema is up to date. The host's tables and
    /// migrations are not touched. The connections must lead to PostgreSQL directly: the migration lock
    /// belongs to a session, and a pooler in transaction mode would hand that session to another client.
    ///
    /// # Errors
    /// [`SchemaError::Newer`] if a newer build has migrated the database;
    /// [`SchemaError::Encoding`] if it is not in UTF-8; [`SchemaError::Backend`] if it cannot be
    /// asked or a migration fails.
    pub async fn migrate(pool: &PgPool) -> Result<(), SchemaError> {
        migrate::migrate(pool).await
    }

    /// Where the database's schema stands, seen from this build. Works through any pooler.
    ///
    /// # Errors
    /// [`SchemaError::Encoding`], or [`SchemaError::Backend`] if the database cannot be asked.
    pub async fn schema_state(pool: &PgPool) -> Result<SchemaState, SchemaError> {
        migrate::state(pool).await
    }

    /// Refuses a schema that this build was not made for. The error says what to do.
    ///
    /// # Errors
    /// [`SchemaError::Older`], [`SchemaError::Newer`], [`SchemaError::Encoding`], or
    /// [`SchemaError::Backend`] if the database cannot be asked.
    pub async fn check_schema(pool: &PgPool) -> Result<(), SchemaError> {
        migrate::check(pool).await
    }

    /// Writes a change for everything, so that every node drops its caches and starts anew. Call it
    /// after rows were restored or repaired by hand: nodes learn of changes from the log only.
    ///
    /// # Errors
    /// [`StoreError::Backend`] only.
    pub async fn invalidate(&self) -> Result<(), StoreError> {
        changes::invalidate(self).await
    }

    /// Whether changes on other nodes wake this one at once.
    #[must_use]
    pub fn listener_state(&self) -> ListenerState {
        self.listener.state()
    }
}

impl Clone for PostgresStore {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            catch_up_session: CatchUpSession::default(),
            listener: Arc::clone(&self.listener),
            seen: AtomicU64::new(self.seen.load(Ordering::Relaxed)),
            heartbeats: AtomicU64::new(1),
        }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("connections", &self.pool.connections.size())
            .field("pooler", &self.pool.pooler)
            .field("listener", &self.listener_state())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialStore for PostgresStore {
    async fn insert(&self, new: NewCredential) -> Result<Committed<()>, StoreError> {
        credentials::insert(self, new).await
    }

    async fn may_insert(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        limit: u32,
    ) -> Result<(), StoreError> {
        credentials::may_insert(self, tenant, name, limit).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        id: CredentialId,
    ) -> Result<Option<Credential>, StoreError> {
        once_more(&self.pool, || credentials::get(self, tenant, id)).await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        query: &ListQuery,
    ) -> Result<Vec<Credential>, StoreError> {
        once_more(&self.pool, || credentials::list(self, tenant, query)).await
    }

    async fn replace(&self, edit: Edit) -> Result<Committed<Credential>, StoreError> {
        credentials::replace(self, edit).await
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Committed<Credential>, StoreError> {
        revoke::revoke(self, revoke).await
    }

    async fn revoke_all(&self, revoke: RevokeAll) -> Result<Committed<()>, StoreError> {
        revoke::revoke_all(self, revoke).await
    }

    async fn replay(&self, query: &ReplayQuery) -> Result<Option<Replay>, StoreError> {
        once_more(&self.pool, || replays::replay(self, query)).await
    }

    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        once_more(&self.pool, || state::state(self, id)).await
    }

    async fn state_by_proof(
        &self,
        proof: &ProofId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        once_more(&self.pool, || state::state_by_proof(self, proof)).await
    }

    async fn state_by_client(
        &self,
        client: &ClientId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        once_more(&self.pool, || state::state_by_client(self, client)).await
    }

    async fn spend_assertion(&self, spend: SpendAssertion) -> Result<bool, StoreError> {
        once_more(&self.pool, || assertions::spend(self, spend)).await
    }

    async fn replace_hash(&self, change: ReplaceHash) -> Result<(), StoreError> {
        secrets::replace_hash(self, change).await
    }

    async fn revoke_token(&self, revoke: RevokeToken) -> Result<Committed<()>, StoreError> {
        tokens::revoke_token(self, revoke).await
    }

    async fn catch_up(&self, heartbeat: &Heartbeat) -> Result<Changes, StoreError> {
        once_more(&self.pool, || changes::catch_up(self, heartbeat)).await
    }

    fn retire_connections(&self) {
        self.pool.retire();
    }

    async fn wake_up(&self) {
        self.listener.heard_since(&self.seen).await;
    }

    async fn check_keys(&self, keys: &[KeyCheck]) -> Result<Vec<KeyName>, StoreError> {
        // A start calls this first, and no other call works on a schema that does not fit.
        let fits = PostgresStore::check_schema(&self.pool.connections).await;
        fits.map_err(error::backend)?;
        keys::check_keys(self, keys).await
    }

    async fn use_key(&self, key: &KeyCheck) -> Result<Vec<KeyName>, StoreError> {
        once_more(&self.pool, || keys::use_key(self, key)).await
    }
}

#[async_trait]
impl TrailStore for PostgresStore {
    async fn audited_tenants(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        once_more(&self.pool, || audit::audited_tenants(self, after, limit)).await
    }

    async fn trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<TrailPage, StoreError> {
        once_more(&self.pool, || audit::trail(self, tenant, query)).await
    }
}

#[async_trait]
impl UsageStore for PostgresStore {
    async fn record(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        once_more(&self.pool, || usage::record(self, batch)).await
    }

    async fn usage(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Day,
    ) -> Result<Usage, StoreError> {
        once_more(&self.pool, || usage::usage(self, tenant, id, since)).await
    }

    async fn used_scopes(
        &self,
        tenant: &TenantId,
        ids: &[CredentialId],
        since: Day,
    ) -> Result<Vec<(CredentialId, String)>, StoreError> {
        once_more(&self.pool, || usage::used_scopes(self, tenant, ids, since)).await
    }

    async fn refusals(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<RefusalCount>, StoreError> {
        once_more(&self.pool, || {
            usage::refusals(self, tenant, id, since, limit)
        })
        .await
    }

    async fn prune(&self, most: usize) -> Result<bool, StoreError> {
        once_more(&self.pool, || usage::prune(self, most)).await
    }
}

impl From<PostgresStore> for Stores {
    fn from(store: PostgresStore) -> Self {
        Self::all(store)
    }
}
