//! The credential store on PostgreSQL 13 or newer, in a schema of its own
//! (`credential_management`) beside the host's tables.
//!
//! ```no_run
//! use credential_store_postgres::PostgresStore;
//! use sqlx::PgPool;
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = PgPool::connect("postgres://localhost/our_platform").await?; // the host's own
//! PostgresStore::migrate(&pool).await?; // or `check_schema`, if a deployment step migrates
//! let store = PostgresStore::new(pool);
//! # Ok(())
//! # }
//! ```
//!
//! | question | file |
//! | --- | --- |
//! | which SQL runs | here, under the method's name |
//! | what a row holds | `migrations/`, then `row.rs` |
//! | what an error means | `error.rs` |
//! | how long a call may take | `lease.rs` |
//! | how a change wakes other nodes | `listen.rs` |
//!
//! # What the pool needs
//!
//! Nothing special: isolation level, time-outs and `synchronous_commit` (raised to at least `on`)
//! are set per transaction, in the round trip that begins it. A call ends within 4 s, waiting for a
//! connection included; a connection whose call was given up is closed. Beside the pool, each store
//! opens one connection that listens (`application_name = credential-listener`).
//!
//! Behind `PgBouncer` in transaction mode, prepared statements need its `max_prepared_statements`
//! above 0 (`PgBouncer` 1.21 or newer). LISTEN cannot work there: changes reach other nodes one
//! catch-up interval later, and [`PostgresStore::listener_state`] says
//! [`Down`](ListenerState::Down). `migrate` takes a session lock and wants a direct connection.

mod error;
mod lease;
mod listen;
mod migrate;
mod row;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use credential_core::{
    audit::AuditEvent,
    credential::{Credential, CredentialState},
    id::{CredentialId, Selector, TenantId},
    store::{
        AsOf, AuditQuery, CHANGES_KEPT_FOR, Changes, Committed, CredentialStore, Edit, Heartbeat,
        KeyCheck, LastUse, ListQuery, MAX_CHANGES, NewCredential, ReplaceHash, Revoke, RevokeToken,
        StoreError,
    },
};
use sqlx::PgPool;

pub use crate::{
    listen::ListenerState,
    migrate::{SchemaError, SchemaState},
};
use crate::{
    error::store_error,
    lease::{Lease, in_time},
    listen::Listener,
    row::{
        AuditRow, CredentialRow, HeadRow, Id, Micros, SealedEvents, StateRow, bigint, limit,
        name_key, number,
    },
};

/// One in so many heartbeats of a store also removes old changes and dead nodes: every few minutes.
const PRUNE_EVERY: u64 = 1024;

/// Credentials in PostgreSQL. Clones share the pool and the listening connection; each is woken on
/// its own.
pub struct PostgresStore {
    pool: PgPool,
    listener: Arc<Listener>,
    /// What [`wake_up`](CredentialStore::wake_up) has already returned for.
    seen: AtomicU64,
    heartbeats: AtomicU64,
}

impl PostgresStore {
    /// A store on the host's pool. Connects to nothing yet.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self {
            listener: Arc::new(Listener::new(pool.clone())),
            pool,
            seen: AtomicU64::new(0),
            heartbeats: AtomicU64::new(1),
        }
    }

    /// Brings the schema up to date, or finds that it is. Several nodes may do so at once: one
    /// migrates, the others wait.
    ///
    /// The role needs `create` on the database; the host's tables and migrations are not touched.
    ///
    /// # Errors
    /// [`SchemaError::Newer`] if a newer build has migrated the database; [`SchemaError::Backend`]
    /// if it cannot be asked or a migration fails.
    pub async fn migrate(pool: &PgPool) -> Result<(), SchemaError> {
        migrate::migrate(pool).await
    }

    /// Where the database's schema stands, seen from this build.
    ///
    /// # Errors
    /// [`SchemaError::Backend`] only.
    pub async fn schema_state(pool: &PgPool) -> Result<SchemaState, SchemaError> {
        migrate::state(pool).await
    }

    /// Refuses a schema that this build was not made for, with what to do about it.
    ///
    /// # Errors
    /// [`SchemaError::Older`], [`SchemaError::Newer`], or [`SchemaError::Backend`] if the database
    /// cannot be asked.
    pub async fn check_schema(pool: &PgPool) -> Result<(), SchemaError> {
        migrate::check(pool).await
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
            listener: Arc::clone(&self.listener),
            seen: AtomicU64::new(self.seen.load(Ordering::Relaxed)),
            heartbeats: AtomicU64::new(1),
        }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("connections", &self.pool.size())
            .field("listener", &self.listener_state())
            .finish_non_exhaustive()
    }
}

/// Queries that return credentials select the same columns, from `c`: a [`CredentialRow`].
macro_rules! credentials {
    ($with:tt from $source:tt then $tail:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            CredentialRow,
            $with + r#"
            select c.id as "id!: Id", c.tenant_id as "tenant_id!", c.name as "name!",
                c.api_type as "api_type!", c.client_id as "client_id!",
                c.environment as "environment!", c.scopes as "scopes!",
                c.created_at as "created_at!: Micros", c.created_by as "created_by!",
                c.expires_at as "expires_at?: Micros", c.revoked_at as "revoked_at?: Micros",
                c.revoked_by as "revoked_by?", c.version as "version!",
                c.tokens_valid_from as "tokens_valid_from?: Micros",
                c.last_used_at as "last_used_at?: Micros",
                s.selector as "secret_selector!", s.phc as "secret_phc!",
                s.key_name as "secret_key_name!", s.created_at as "secret_created_at!: Vec<Micros>",
                s.expires_at as "secret_expires_at!: Vec<Option<Micros>>",
                s.last_used_at as "secret_last_used_at!: Vec<Option<Micros>>"
            from "# + $source + r#" as c
            cross join lateral (
                select coalesce(array_agg(selector order by ordinal), '{}') as selector,
                    coalesce(array_agg(phc order by ordinal), '{}') as phc,
                    coalesce(array_agg(key_name order by ordinal), '{}') as key_name,
                    coalesce(array_agg(created_at order by ordinal), '{}') as created_at,
                    coalesce(array_agg(expires_at order by ordinal), '{}') as expires_at,
                    coalesce(array_agg(last_used_at order by ordinal), '{}') as last_used_at
                from credential_management.secret where credential_id = c.id
            ) as s
            "# + $tail
            $(, $argument)*
        )
    };
}

/// What a check reads, in one statement and hence of one moment: a [`StateRow`]. The counter's row
/// is always there, the credential (`$find`) may not be.
macro_rules! state {
    ($find:tt, $argument:expr) => {
        sqlx::query_as!(
            StateRow,
            r#"
            select n.value as "upto!", c.id as "id?: Id", c.tenant_id as "tenant_id?",
                c.name as "name?", c.api_type as "api_type?", c.client_id as "client_id?",
                c.environment as "environment?", c.scopes as "scopes?",
                c.created_at as "created_at?: Micros", c.created_by as "created_by?",
                c.expires_at as "expires_at?: Micros", c.revoked_at as "revoked_at?: Micros",
                c.revoked_by as "revoked_by?", c.version as "version?",
                c.tokens_valid_from as "tokens_valid_from?: Micros",
                c.last_used_at as "last_used_at?: Micros",
                s.selector as "secret_selector?", s.phc as "secret_phc?",
                s.key_name as "secret_key_name?", s.created_at as "secret_created_at?: Vec<Micros>",
                s.expires_at as "secret_expires_at?: Vec<Option<Micros>>",
                s.last_used_at as "secret_last_used_at?: Vec<Option<Micros>>",
                t.token_id as "token_id?: Vec<Id>", t.issued_at as "token_issued_at?: Vec<Micros>",
                t.expires_at as "token_expires_at?: Vec<Micros>"
            from credential_management.change_counter as n
            left join credential_management.credential as c on c.id = "# + $find + r#"
            left join lateral (
                select array_agg(selector order by ordinal) as selector,
                    array_agg(phc order by ordinal) as phc,
                    array_agg(key_name order by ordinal) as key_name,
                    array_agg(created_at order by ordinal) as created_at,
                    array_agg(expires_at order by ordinal) as expires_at,
                    array_agg(last_used_at order by ordinal) as last_used_at
                from credential_management.secret where credential_id = c.id
            ) as s on true
            left join lateral (
                select array_agg(token_id order by token_id) as token_id,
                    array_agg(issued_at order by token_id) as issued_at,
                    array_agg(expires_at order by token_id) as expires_at
                from credential_management.revoked_token where credential_id = c.id
            ) as t on true
            "#,
            $argument,
        )
    };
}

#[async_trait]
impl CredentialStore for PostgresStore {
    async fn insert(&self, new: NewCredential) -> Result<Committed<()>, StoreError> {
        let NewCredential {
            credential,
            limit,
            event,
        } = new;
        in_time(async {
            let mut lease = Lease::begin(&self.pool).await?;
            // Locks the tenant, new or not. What follows is decided under that lock, in later
            // statements, which see all that was committed while this one waited.
            let head = sqlx::query_as!(
                HeadRow,
                r#"insert into credential_management.tenant as t (id) values ($1)
                on conflict (id) do update set audit_seq = t.audit_seq
                returning t.audit_seq, t.audit_hash"#,
                credential.tenant.as_str(),
            )
            .fetch_one(lease.on())
            .await
            .map_err(store_error)?;
            let events = SealedEvents::behind(head, [event])?;
            let secrets = &credential.secrets;
            let written = sqlx::query!(
                r#"
                with live as (
                    select count(*) >= $10 as full,
                        coalesce(bool_or(name_key = $4), false) as taken
                    from credential_management.credential
                    where tenant_id = $2 and revoked_at is null
                ), added as (
                    insert into credential_management.credential (id, tenant_id, name, name_key,
                        api_type, client_id, environment, scopes, created_at, created_by,
                        expires_at, revoked_at, revoked_by, version, tokens_valid_from,
                        last_used_at)
                    select $1, $2, $3, $4, $5, $6, $7, $8, $9, $11, $12, $13, $14, $15, $16, $17
                    from live where not live.full and not live.taken
                    returning id
                ), secrets as (
                    insert into credential_management.secret (selector, credential_id, ordinal, phc,
                        key_name, created_at, expires_at, last_used_at)
                    select s.selector, added.id, s.ordinal, s.phc, s.key_name, s.created_at,
                        s.expires_at, s.last_used_at
                    from added, unnest($18::text[], $19::text[], $20::text[], $21::timestamptz[],
                        $22::timestamptz[], $23::timestamptz[]) with ordinality
                        as s (selector, phc, key_name, created_at, expires_at, last_used_at, ordinal)
                ), events as (
                    insert into credential_management.audit_event
                        (tenant_id, seq, at, actor, action, credential_id, details, key_name, hash)
                    select $2, e.* from added, unnest($24::bigint[], $25::timestamptz[],
                        $26::text[], $27::text[], $28::uuid[], $29::text[], $30::text[],
                        $31::bytea[]) as e
                ), head as (
                    update credential_management.tenant set audit_seq = $32, audit_hash = $33
                    from added where tenant.id = $2
                )
                select live.full as "full!", live.taken as "taken!" from live
                "#,
                Id::from(credential.id) as _,
                credential.tenant.as_str(),
                credential.name.as_str(),
                name_key(&credential.name),
                credential.api_type.as_str(),
                credential.client_id.as_str(),
                credential.environment.as_str(),
                &credential.scopes,
                Micros::from(credential.created_at) as _,
                i64::from(limit),
                credential.created_by.as_str(),
                credential.expires_at.map(Micros::from) as _,
                credential.revoked.as_ref().map(|revoked| Micros::from(revoked.at)) as _,
                credential.revoked.as_ref().map(|revoked| revoked.by.as_str()),
                bigint(credential.version)?,
                credential.tokens_valid_from.map(Micros::from) as _,
                credential.last_used_at.map(Micros::from) as _,
                &secrets.iter().map(|s| s.selector.as_str().to_owned()).collect::<Vec<_>>(),
                &secrets.iter().map(|s| s.hash.phc().to_owned()).collect::<Vec<_>>(),
                &secrets.iter().map(|s| s.hash.key().as_str().to_owned()).collect::<Vec<_>>(),
                secrets.iter().map(|s| s.created_at.into()).collect::<Vec<Micros>>() as _,
                secrets.iter().map(|s| s.expires_at.map(Micros::from)).collect::<Vec<_>>() as _,
                secrets.iter().map(|s| s.last_used_at.map(Micros::from)).collect::<Vec<_>>() as _,
                &events.seq,
                events.at as _,
                &events.actor,
                &events.action,
                events.credential_id as _,
                &events.details,
                &events.key_name,
                &events.hash,
                events.head_seq,
                events.head_hash,
            )
            .fetch_one(lease.on())
            .await
            .map_err(store_error)?;
            if written.taken {
                return Err(lease.roll_back(StoreError::NameTaken).await);
            }
            if written.full {
                return Err(lease.roll_back(StoreError::LimitReached).await);
            }
            commit_change(lease, (), credential.id).await
        })
        .await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        id: CredentialId,
    ) -> Result<Option<Credential>, StoreError> {
        in_time(async {
            let mut lease = Lease::take(&self.pool).await?;
            let row = credentials!(
                "" from "credential_management.credential"
                then "where c.tenant_id = $1 and c.id = $2",
                tenant.as_str(),
                Id::from(id) as _,
            )
            .fetch_optional(lease.on())
            .await
            .map_err(store_error)?;
            lease.finish();
            row.map(Credential::try_from).transpose()
        })
        .await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        query: &ListQuery,
    ) -> Result<Vec<Credential>, StoreError> {
        // Without a place: before everything.
        let (before, before_id) = query.after.map_or((Micros::INFINITY, Id::MAX), |place| {
            (place.created_at.into(), place.id.into())
        });
        let limit = limit(query.limit);
        in_time(async {
            let mut lease = Lease::take(&self.pool).await?;
            // Why two: each walks an index of its own, so a page costs the same however many
            // revoked credentials lie between.
            let rows = if query.include_revoked {
                credentials!(
                    r#"with page as (
                        select * from credential_management.credential
                        where tenant_id = $1 and (created_at, id) < ($2, $3)
                        order by created_at desc, id desc limit $4
                    )"# from "page" then "order by c.created_at desc, c.id desc",
                    tenant.as_str(), before as _, before_id as _, limit,
                )
                .fetch_all(lease.on())
                .await
            } else {
                credentials!(
                    r#"with page as (
                        select * from credential_management.credential
                        where tenant_id = $1 and (created_at, id) < ($2, $3)
                            and revoked_at is null
                        order by created_at desc, id desc limit $4
                    )"# from "page" then "order by c.created_at desc, c.id desc",
                    tenant.as_str(), before as _, before_id as _, limit,
                )
                .fetch_all(lease.on())
                .await
            };
            let rows = rows.map_err(store_error)?;
            lease.finish();
            rows.into_iter().map(Credential::try_from).collect()
        })
        .await
    }

    async fn replace(&self, edit: Edit) -> Result<Committed<Credential>, StoreError> {
        in_time(async {
            let mut lease = Lease::begin(&self.pool).await?;
            let Some(head) = lock_tenant(&mut lease, &edit.tenant).await? else {
                return Err(lease.roll_back(StoreError::NotFound).await);
            };
            let events = SealedEvents::behind(head, edit.events)?;
            let expected_version = bigint(edit.expected_version)?;
            let changed = credentials!(
                r#"
                with changed as (
                    update credential_management.credential set
                        version = version + 1,
                        name = coalesce($4, name),
                        name_key = coalesce($5, name_key),
                        expires_at = case when $6 then $7 else expires_at end,
                        scopes = coalesce($8, scopes)
                    where tenant_id = $1 and id = $2 and version = $3 and revoked_at is null
                    returning *
                ), events as (
                    insert into credential_management.audit_event
                        (tenant_id, seq, at, actor, action, credential_id, details, key_name, hash)
                    select $1, e.* from changed, unnest($9::bigint[], $10::timestamptz[],
                        $11::text[], $12::text[], $13::uuid[], $14::text[], $15::text[],
                        $16::bytea[]) as e
                ), head as (
                    update credential_management.tenant set audit_seq = $17, audit_hash = $18
                    from changed where tenant.id = $1
                )"# from "changed" then "",
                edit.tenant.as_str(),
                Id::from(edit.id) as _,
                expected_version,
                edit.name.as_ref().map(|name| name.as_str()),
                edit.name.as_ref().map(name_key),
                edit.expires_at.is_some(),
                edit.expires_at.flatten().map(Micros::from) as _,
                edit.scopes.as_deref(),
                &events.seq,
                events.at as _,
                &events.actor,
                &events.action,
                events.credential_id as _,
                &events.details,
                &events.key_name,
                &events.hash,
                events.head_seq,
                events.head_hash,
            )
            .fetch_optional(lease.on())
            .await;
            let changed = match changed.map_err(store_error) {
                Ok(changed) => changed,
                Err(refusal @ StoreError::NameTaken) => return Err(lease.roll_back(refusal).await),
                Err(error) => return Err(error),
            };
            let Some(row) = changed else {
                let refusal = match standing(&mut lease, &edit.tenant, edit.id).await? {
                    None => StoreError::NotFound,
                    Some(standing) if standing.revoked => StoreError::Revoked,
                    Some(_) => StoreError::StaleVersion,
                };
                return Err(lease.roll_back(refusal).await);
            };
            commit_change(lease, row.try_into()?, edit.id).await
        })
        .await
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Committed<Credential>, StoreError> {
        in_time(async {
            let mut lease = Lease::begin(&self.pool).await?;
            let Some(head) = lock_tenant(&mut lease, &revoke.tenant).await? else {
                return Err(lease.roll_back(StoreError::NotFound).await);
            };
            let events = SealedEvents::behind(head, [revoke.event])?;
            let expected_version = revoke.expected_version.map(bigint).transpose()?;
            let changed = credentials!(
                r#"
                with changed as (
                    update credential_management.credential set
                        version = version + 1, revoked_at = $4, revoked_by = $5
                    where tenant_id = $1 and id = $2 and version = coalesce($3, version)
                        and revoked_at is null
                    returning *
                ), events as (
                    insert into credential_management.audit_event
                        (tenant_id, seq, at, actor, action, credential_id, details, key_name, hash)
                    select $1, e.* from changed, unnest($6::bigint[], $7::timestamptz[],
                        $8::text[], $9::text[], $10::uuid[], $11::text[], $12::text[],
                        $13::bytea[]) as e
                ), head as (
                    update credential_management.tenant set audit_seq = $14, audit_hash = $15
                    from changed where tenant.id = $1
                )"# from "changed" then "",
                revoke.tenant.as_str(),
                Id::from(revoke.id) as _,
                expected_version,
                Micros::from(revoke.at) as _,
                revoke.by.as_str(),
                &events.seq,
                events.at as _,
                &events.actor,
                &events.action,
                events.credential_id as _,
                &events.details,
                &events.key_name,
                &events.hash,
                events.head_seq,
                events.head_hash,
            )
            .fetch_optional(lease.on())
            .await
            .map_err(store_error)?;
            if let Some(row) = changed {
                return commit_change(lease, row.try_into()?, revoke.id).await;
            }
            match standing(&mut lease, &revoke.tenant, revoke.id).await? {
                None => Err(lease.roll_back(StoreError::NotFound).await),
                Some(standing) if !standing.revoked => {
                    Err(lease.roll_back(StoreError::StaleVersion).await)
                }
                Some(standing) => {
                    let row = credentials!(
                        "" from "credential_management.credential" then "where c.id = $1",
                        Id::from(revoke.id) as _,
                    )
                    .fetch_one(lease.on())
                    .await
                    .map_err(store_error)?;
                    lease.commit().await?;
                    Ok(Committed {
                        value: row.try_into()?,
                        change: number(standing.latest)?,
                    })
                }
            }
        })
        .await
    }

    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        in_time(async {
            let mut lease = Lease::take(&self.pool).await?;
            let row = state!("$1", Id::from(id) as _)
                .fetch_one(lease.on())
                .await
                .map_err(store_error)?;
            lease.finish();
            as_of(row)
        })
        .await
    }

    async fn state_by_selector(
        &self,
        selector: &Selector,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        in_time(async {
            let mut lease = Lease::take(&self.pool).await?;
            let row = state!(
                "(select credential_id from credential_management.secret where selector = $1)",
                selector.as_str()
            )
            .fetch_one(lease.on())
            .await
            .map_err(store_error)?;
            lease.finish();
            as_of(row)
        })
        .await
    }

    async fn replace_hash(&self, change: ReplaceHash) -> Result<(), StoreError> {
        in_time(async {
            let mut lease = Lease::take(&self.pool).await?;
            sqlx::query!(
                r#"update credential_management.secret set phc = $3, key_name = $4
                where credential_id = $1 and selector = $2 and phc = $5 and key_name = $6"#,
                Id::from(change.id) as _,
                change.selector.as_str(),
                change.new.phc(),
                change.new.key().as_str(),
                change.old.phc(),
                change.old.key().as_str(),
            )
            .execute(lease.on())
            .await
            .map_err(store_error)?;
            lease.finish();
            Ok(())
        })
        .await
    }

    async fn revoke_token(&self, revoke: RevokeToken) -> Result<Committed<()>, StoreError> {
        let id = Id::from(revoke.credential_id);
        in_time(async {
            let mut lease = Lease::begin(&self.pool).await?;
            // Orders the revocations of one credential's tokens, so that the count below is right.
            let found = sqlx::query_scalar!(
                r#"select true as "found!" from credential_management.credential
                where id = $1 for no key update"#,
                id as _,
            )
            .fetch_optional(lease.on())
            .await
            .map_err(store_error)?;
            if found.is_none() {
                return Err(lease.roll_back(StoreError::NotFound).await);
            }
            let changed = sqlx::query_scalar!(
                r#"
                with kept as (
                    select count(*) as held, max(issued_at) as latest
                    from credential_management.revoked_token
                    where credential_id = $1 and expires_at > $6
                ), fate as (
                    select held + 1 > $7 as drop_all, latest from kept where not exists (
                        select from credential_management.revoked_token
                        where credential_id = $1 and token_id = $2
                    )
                ), gone as (
                    delete from credential_management.revoked_token using fate
                    where credential_id = $1 and (fate.drop_all or expires_at <= $6)
                ), added as (
                    insert into credential_management.revoked_token
                        (credential_id, token_id, issued_at, expires_at)
                    select $1, $2, $3, $4 from fate where not fate.drop_all
                ), moved as (
                    update credential_management.credential set
                        tokens_valid_from = greatest(tokens_valid_from, $5, $3, fate.latest)
                    from fate where id = $1 and fate.drop_all
                )
                select true as "changed!" from fate
                "#,
                id as _,
                Id(*revoke.token.id.as_bytes()) as _,
                Micros::from(revoke.token.issued_at) as _,
                Micros::from(revoke.token.expires_at) as _,
                Micros::from(revoke.at) as _,
                Micros::from(revoke.forget_expired_by) as _,
                limit(revoke.limit),
            )
            .fetch_optional(lease.on())
            .await
            .map_err(store_error)?;
            if changed.is_some() {
                return commit_change(lease, (), revoke.credential_id).await;
            }
            let latest = latest(&mut lease).await?;
            lease.commit().await?;
            Ok(Committed {
                value: (),
                change: latest,
            })
        })
        .await
    }

    async fn catch_up(&self, heartbeat: &Heartbeat) -> Result<Changes, StoreError> {
        let beat = self.heartbeats.fetch_add(1, Ordering::Relaxed);
        let applied = heartbeat.applied.map(bigint).transpose()?;
        let max_staleness =
            i64::try_from(heartbeat.max_staleness.as_micros()).unwrap_or(i64::MAX);
        let row = in_time(async {
            let mut lease = Lease::take(&self.pool).await?;
            // One statement: one round trip, one snapshot for the counter and the rows, and one
            // commit that the answer waits for. The insert is what makes it a write.
            let row = sqlx::query!(
                r#"
                with beat as (
                    insert into credential_management.node (id, applied, max_staleness, seen_at)
                    values ($1, $2, $3, $4)
                    on conflict (id) do update set applied = excluded.applied,
                        max_staleness = excluded.max_staleness, seen_at = excluded.seen_at
                ), old_changes as (
                    delete from credential_management.change where $7 and number in (
                        select number from credential_management.change
                        where at < now() - make_interval(secs => $8)
                        order by number limit 10000 for update skip locked
                    )
                ), dead_nodes as (
                    delete from credential_management.node where $7 and id in (
                        select id from credential_management.node
                        where seen_at < $5 and id <> $1 for update skip locked
                    )
                )
                select n.value as "upto!",
                    greatest($3, (
                        select max(max_staleness) from credential_management.node
                        where seen_at >= $5 and id <> $1
                    )) as "largest!",
                    l.number as "number!", l.credential_id as "credential_id!: Vec<Option<Id>>",
                    l.tenant_id as "tenant_id!: Vec<Option<String>>",
                    set_config('synchronous_commit',
                        case when current_setting('synchronous_commit') in ('off', 'local')
                            then 'on' else current_setting('synchronous_commit') end,
                        true) as synchronous_commit
                from credential_management.change_counter as n
                cross join lateral (
                    select coalesce(array_agg(number order by number), '{}') as number,
                        coalesce(array_agg(credential_id order by number), '{}') as credential_id,
                        coalesce(array_agg(tenant_id order by number), '{}') as tenant_id
                    from credential_management.change
                    where number > $2 and n.value - $2 between 1 and $6
                ) as l
                "#,
                Id(heartbeat.node.0) as _,
                applied,
                max_staleness,
                Micros::from(heartbeat.at) as _,
                Micros::from(heartbeat.at.saturating_sub(CHANGES_KEPT_FOR)) as _,
                limit(MAX_CHANGES),
                beat.is_multiple_of(PRUNE_EVERY),
                CHANGES_KEPT_FOR.as_secs_f64(),
            )
            .fetch_one(lease.on())
            .await
            .map_err(store_error)?;
            lease.finish();
            Ok(row)
        })
        .await?;
        let missing = applied.and_then(|applied| row.upto.checked_sub(applied));
        let complete = missing.and_then(|missing| usize::try_from(missing).ok())
            == Some(row.number.len());
        let items = || {
            let numbers = row.number.into_iter();
            numbers
                .zip(row.credential_id)
                .zip(row.tenant_id)
                .map(|((n, credential), tenant)| Ok((number(n)?, row::change(credential, tenant)?)))
                .collect::<Result<Vec<_>, StoreError>>()
        };
        Ok(Changes {
            upto: number(row.upto)?,
            items: complete.then(items).transpose()?,
            largest_max_staleness: Duration::from_micros(number(row.largest)?),
        })
    }

    async fn wake_up(&self) {
        self.listener.heard_since(&self.seen).await;
    }

    async fn audit_events(
        &self,
        tenant: &TenantId,
        query: &AuditQuery,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        let before = query.before.map_or(Ok(i64::MAX), bigint)?;
        let limit = limit(query.limit);
        in_time(async {
            let mut lease = Lease::take(&self.pool).await?;
            // Why two: each walks an index of its own.
            let rows = match query.credential_id {
                None => {
                    sqlx::query_as!(
                        AuditRow,
                        r#"select tenant_id, seq, at as "at: Micros", actor, action,
                            credential_id as "credential_id: Id", details, key_name, hash
                        from credential_management.audit_event
                        where tenant_id = $1 and seq < $2 order by seq desc limit $3"#,
                        tenant.as_str(),
                        before,
                        limit,
                    )
                    .fetch_all(lease.on())
                    .await
                }
                Some(id) => {
                    sqlx::query_as!(
                        AuditRow,
                        r#"select tenant_id, seq, at as "at: Micros", actor, action,
                            credential_id as "credential_id: Id", details, key_name, hash
                        from credential_management.audit_event
                        where tenant_id = $1 and seq < $2 and credential_id = $4
                        order by seq desc limit $3"#,
                        tenant.as_str(),
                        before,
                        limit,
                        Id::from(id) as _,
                    )
                    .fetch_all(lease.on())
                    .await
                }
            };
            let rows = rows.map_err(store_error)?;
            lease.finish();
            rows.into_iter().map(AuditEvent::try_from).collect()
        })
        .await
    }

    async fn audited_tenants(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantId>, StoreError> {
        in_time(async {
            let mut lease = Lease::take(&self.pool).await?;
            let tenants = sqlx::query_scalar!(
                r#"select id from credential_management.tenant
                where id > $1 and audit_seq > 0 order by id limit $2"#,
                after.map_or("", TenantId::as_str),
                row::limit(limit),
            )
            .fetch_all(lease.on())
            .await
            .map_err(store_error)?;
            lease.finish();
            tenants.into_iter().map(row::tenant).collect()
        })
        .await
    }

    async fn record_use(&self, uses: &[LastUse]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        in_time(async {
            let mut lease = Lease::take(&self.pool).await?;
            // Why lock in order first: two nodes that report the same credentials must not wait
            // for each other in a circle.
            sqlx::query!(
                r#"
                with used as (
                    select credential_id, selector, max(at) as at
                    from unnest($1::uuid[], $2::text[], $3::timestamptz[])
                        as u (credential_id, selector, at)
                    group by credential_id, selector
                ), latest as (
                    select c.id, l.at from credential_management.credential as c
                    join (select credential_id, max(at) as at from used group by credential_id) as l
                        on l.credential_id = c.id
                    where c.last_used_at is null or c.last_used_at < l.at
                    order by c.id for no key update of c
                ), credentials as (
                    update credential_management.credential as c
                    set last_used_at = greatest(c.last_used_at, latest.at)
                    from latest where c.id = latest.id
                ), later as (
                    select s.selector, u.at from credential_management.secret as s
                    join used as u using (credential_id, selector)
                    where s.last_used_at is null or s.last_used_at < u.at
                    order by s.selector for no key update of s
                )
                update credential_management.secret as s
                set last_used_at = greatest(s.last_used_at, later.at)
                from later where s.selector = later.selector
                "#,
                uses.iter().map(|u| u.credential_id.into()).collect::<Vec<Id>>() as _,
                &uses.iter().map(|u| u.selector.as_str().to_owned()).collect::<Vec<_>>(),
                uses.iter().map(|u| u.at.into()).collect::<Vec<Micros>>() as _,
            )
            .execute(lease.on())
            .await
            .map_err(store_error)?;
            lease.finish();
            Ok(())
        })
        .await
    }

    async fn check_keys(&self, keys: &[KeyCheck]) -> Result<(), StoreError> {
        // Sorted, so that two nodes that start at once do not wait for each other in a circle.
        let mut sorted: Vec<&KeyCheck> = keys.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        let column = |of: fn(&KeyCheck) -> &str| -> Vec<String> {
            sorted.iter().map(|key| of(key).to_owned()).collect()
        };
        in_time(async {
            let mut lease = Lease::begin(&self.pool).await?;
            sqlx::query!(
                r#"insert into credential_management.key_check (name, value)
                select * from unnest($1::text[], $2::text[]) on conflict (name) do nothing"#,
                &column(|key| key.name.as_str()),
                &column(|key| &key.value),
            )
            .execute(lease.on())
            .await
            .map_err(store_error)?;
            let other = sqlx::query_scalar!(
                r#"select k.name from unnest($1::text[], $2::text[]) as given (name, value)
                join credential_management.key_check as k on k.name = given.name collate "C"
                where k.value <> given.value"#,
                &column(|key| key.name.as_str()),
                &column(|key| &key.value),
            )
            .fetch_all(lease.on())
            .await
            .map_err(store_error)?;
            let first = keys
                .iter()
                .find(|key| other.iter().any(|name| name == key.name.as_str()));
            match first {
                Some(key) => {
                    let name = key.name.clone();
                    Err(lease.roll_back(StoreError::KeyMismatch { name }).await)
                }
                None => lease.commit().await,
            }
        })
        .await
    }
}

/// Locks the tenant and reads its audit head; `None`: there is no such tenant.
async fn lock_tenant(lease: &mut Lease, tenant: &TenantId) -> Result<Option<HeadRow>, StoreError> {
    sqlx::query_as!(
        HeadRow,
        r#"select audit_seq, audit_hash from credential_management.tenant
        where id = $1 for no key update"#,
        tenant.as_str(),
    )
    .fetch_optional(lease.on())
    .await
    .map_err(store_error)
}

/// Why an edit found nothing to change.
struct Standing {
    revoked: bool,
    latest: i64,
}

async fn standing(
    lease: &mut Lease,
    tenant: &TenantId,
    id: CredentialId,
) -> Result<Option<Standing>, StoreError> {
    sqlx::query_as!(
        Standing,
        r#"select c.revoked_at is not null as "revoked!", n.value as "latest!"
        from credential_management.credential as c, credential_management.change_counter as n
        where c.tenant_id = $1 and c.id = $2"#,
        tenant.as_str(),
        Id::from(id) as _,
    )
    .fetch_optional(lease.on())
    .await
    .map_err(store_error)
}

/// The number of the latest change.
async fn latest(lease: &mut Lease) -> Result<u64, StoreError> {
    let latest = sqlx::query_scalar!("select value from credential_management.change_counter")
        .fetch_one(lease.on())
        .await
        .map_err(store_error)?;
    number(latest)
}

/// Appends the change and commits: always the last statement, because the counter's lock, held from
/// here to the commit, is what orders changes and makes every writer wait.
async fn commit_change<T>(
    mut lease: Lease,
    value: T,
    id: CredentialId,
) -> Result<Committed<T>, StoreError> {
    let change = sqlx::query!(
        r#"
        with counted as (
            update credential_management.change_counter set value = value + 1 returning value
        ), logged as (
            insert into credential_management.change (number, credential_id)
            select value, $1 from counted
        )
        select value as "number!",
            pg_notify('credential_management_change', '') is null as notified,
            set_config('synchronous_commit',
                case when current_setting('synchronous_commit') in ('off', 'local')
                    then 'on' else current_setting('synchronous_commit') end,
                true) as synchronous_commit
        from counted
        "#,
        Id::from(id) as _,
    )
    .fetch_one(lease.on())
    .await
    .map_err(store_error)?;
    let change = number(change.number)?;
    lease.commit().await?;
    Ok(Committed { value, change })
}

fn as_of(row: StateRow) -> Result<AsOf<Option<CredentialState>>, StoreError> {
    Ok(AsOf {
        upto: number(row.upto)?,
        value: row.state()?,
    })
}
