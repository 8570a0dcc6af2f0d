//! Credentials: insert, read, list, edit. Every change locks the tenant's row first, decides in a
//! later statement, and ends with [`commit_change`].

use credential_core::{
    credential::{Credential, CredentialName, Settings},
    id::{CredentialId, TenantId},
    store::{Change, Committed, Edit, ListQuery, NewCredential, StoreError},
};

use crate::{
    PostgresStore,
    call::{Call, in_time},
    changes::commit_change,
    error::store_error,
    replays::keep,
    row::{
        CredentialRow, HeadRow, Id, Micros, RegistrationColumns, SealedEvents, SecretColumns,
        bigint, limit, name_key,
    },
};

/// Queries that return credentials select the same columns, from `c`: a [`CredentialRow`].
macro_rules! credentials {
    ($with:tt from $source:tt then $tail:tt $(, $argument:expr)* $(,)?) => {
        credentials!($with from $source with "credential_management.secret" then $tail $(, $argument)*)
    };
    ($with:tt from $source:tt with $secrets:tt then $tail:tt $(, $argument:expr)* $(,)?) => {
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
                c.last_used_at as "last_used_at?: Micros", c.description as "description!",
                c.disabled_at as "disabled_at?: Micros", c.allowed_networks as "allowed_networks!",
                c.registration_proof as "registration_proof!",
                c.registration_means as "registration_means!",
                c.registration_created_at as "registration_created_at!: Vec<Micros>",
                u.proof as "used_proof!", u.at as "used_at!: Vec<Micros>",
                s.selector as "secret_selector!", s.phc as "secret_phc!",
                s.key_name as "secret_key_name!", s.created_at as "secret_created_at!: Vec<Micros>",
                s.expires_at as "secret_expires_at!: Vec<Option<Micros>>",
                s.ended_at as "secret_ended_at!: Vec<Option<Micros>>",
                s.last_used_at as "secret_last_used_at!: Vec<Option<Micros>>"
            from "# + $source + r#" as c
            cross join lateral (
                select coalesce(array_agg(selector order by ordinal), '{}') as selector,
                    coalesce(array_agg(phc order by ordinal), '{}') as phc,
                    coalesce(array_agg(key_name order by ordinal), '{}') as key_name,
                    coalesce(array_agg(created_at order by ordinal), '{}') as created_at,
                    coalesce(array_agg(expires_at order by ordinal), '{}') as expires_at,
                    coalesce(array_agg(ended_at order by ordinal), '{}') as ended_at,
                    coalesce(array_agg(last_used_at order by ordinal), '{}') as last_used_at
                from "# + $secrets + r#" where credential_id = c.id
            ) as s
            cross join lateral (
                select coalesce(array_agg(proof), '{}') as proof,
                    coalesce(array_agg(last_used_at), '{}') as at
                from credential_management.registration_use where credential_id = c.id
            ) as u
            "# + $tail
            $(, $argument)*
        )
    };
}

pub(crate) use credentials;

#[expect(clippy::too_many_lines, reason = "one statement, column by column")]
pub(crate) async fn insert(
    store: &PostgresStore,
    new: NewCredential,
) -> Result<Committed<()>, StoreError> {
    let NewCredential {
        credential,
        limit,
        event,
        replay,
    } = new;
    in_time(async {
        let mut call = Call::begin(&store.pool).await?;
        // Locks the tenant, new or not. Later statements decide under that lock, and see everything
        // that was committed while this one waited.
        let head = sqlx::query_as!(
            HeadRow,
            r#"insert into credential_management.tenant as t (id) values ($1)
            on conflict (id) do update set audit_seq = t.audit_seq
            returning t.audit_seq as seq, t.audit_hash as hash, t.audit_key as key"#,
            credential.identity.tenant.as_str(),
        )
        .fetch_one(call.on())
        .await
        .map_err(store_error)?;
        let mut call = keep(call, &credential.identity.tenant, replay.as_ref()).await?;
        let events = SealedEvents::behind(head, [event])?;
        let Credential {
            identity,
            settings,
            observed,
            ..
        } = &credential;
        let secrets = SecretColumns::of(&settings.secrets);
        let registrations = RegistrationColumns::of(&settings.registrations);
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
                    last_used_at, description, disabled_at, allowed_networks,
                    registration_proof, registration_means, registration_created_at)
                select $1, $2, $3, $4, $5, $6, $7, $8, $9, $11, $12, $13, $14, $15, $16, $17,
                    $36, $37, $38, $40, $41, $42
                from live where not live.full and not live.taken
                returning id
            ), secrets as (
                insert into credential_management.secret (selector, credential_id, ordinal, phc,
                    key_name, created_at, expires_at, last_used_at, ended_at)
                select s.selector, added.id, s.ordinal, s.phc, s.key_name, s.created_at,
                    s.expires_at, s.last_used_at, s.ended_at
                from added, unnest($18::text[], $19::text[], $20::text[], $21::timestamptz[],
                    $22::timestamptz[], $23::timestamptz[], $39::timestamptz[]) with ordinality
                    as s (selector, phc, key_name, created_at, expires_at, last_used_at, ended_at,
                    ordinal)
            ), events as (
                insert into credential_management.audit_event
                    (tenant_id, seq, format, at, actor, action, credential_id, details, key_name,
                    hash)
                select $2, e.* from added, unnest($24::bigint[], $34::smallint[],
                    $25::timestamptz[], $26::text[], $27::text[], $28::uuid[], $29::text[],
                    $30::text[], $31::bytea[]) as e
            ), head as (
                update credential_management.tenant
                set audit_seq = $32, audit_hash = $33, audit_key = $35
                from added where tenant.id = $2
            )
            select live.full as "full!", live.taken as "taken!" from live
            "#,
            Id::from(identity.id) as _,
            identity.tenant.as_str(),
            settings.name.as_str(),
            name_key(&settings.name),
            identity.api_type.as_str(),
            identity.client_id.as_str(),
            identity.environment.as_str(),
            &settings.scopes,
            Micros::from(identity.created_at) as _,
            i64::from(limit),
            identity.created_by.as_str(),
            settings.expires_at.map(Micros::from) as _,
            credential
                .revoked
                .as_ref()
                .map(|revoked| Micros::from(revoked.at)) as _,
            credential
                .revoked
                .as_ref()
                .map(|revoked| revoked.by.as_str()),
            bigint(credential.version)?,
            observed.tokens_valid_from.map(Micros::from) as _,
            observed.last_used_at.map(Micros::from) as _,
            &secrets.selector,
            &secrets.phc,
            &secrets.key_name,
            secrets.created_at as _,
            secrets.expires_at as _,
            secrets.last_used_at as _,
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
            &events.format,
            events.head_key,
            settings.description.as_str(),
            settings.disabled_at.map(Micros::from) as _,
            &settings.allowed_networks.texts().collect::<Vec<_>>(),
            secrets.ended_at as _,
            &registrations.proof,
            &registrations.means,
            registrations.created_at as _,
        )
        .fetch_one(call.on())
        .await
        .map_err(store_error)?;
        if written.taken {
            return Err(call.roll_back(StoreError::NameTaken).await);
        }
        if written.full {
            return Err(call.roll_back(StoreError::LimitReached).await);
        }
        commit_change(call, (), &Change::Credential(credential.identity.id)).await
    })
    .await
}

pub(crate) async fn may_insert(
    store: &PostgresStore,
    tenant: &TenantId,
    name: &CredentialName,
    limit: u32,
) -> Result<(), StoreError> {
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        let found = sqlx::query!(
            r#"
            select exists (
                select from credential_management.credential
                where tenant_id = $1 and name_key = $2 and revoked_at is null
            ) as "taken!", (
                -- No further than the limit, however many there are.
                select count(*) from (
                    select from credential_management.credential
                    where tenant_id = $1 and revoked_at is null limit $3
                ) as live
            ) >= $3 as "full!"
            "#,
            tenant.as_str(),
            name_key(name),
            i64::from(limit),
        )
        .fetch_one(call.on())
        .await
        .map_err(store_error)?;
        call.end().await?;
        if found.taken {
            Err(StoreError::NameTaken)
        } else if found.full {
            Err(StoreError::LimitReached)
        } else {
            Ok(())
        }
    })
    .await
}

pub(crate) async fn get(
    store: &PostgresStore,
    tenant: &TenantId,
    id: CredentialId,
) -> Result<Option<Credential>, StoreError> {
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        let row = credentials!(
            "" from "credential_management.credential"
            then "where c.tenant_id = $1 and c.id = $2",
            tenant.as_str(),
            Id::from(id) as _,
        )
        .fetch_optional(call.on())
        .await
        .map_err(store_error)?;
        call.end().await?;
        row.map(Credential::try_from).transpose()
    })
    .await
}

pub(crate) async fn list(
    store: &PostgresStore,
    tenant: &TenantId,
    query: &ListQuery,
) -> Result<Vec<Credential>, StoreError> {
    // Without a place: before everything.
    let (before, before_id) = query.after.map_or((Micros::INFINITY, Id::MAX), |place| {
        (place.created_at.into(), place.id.into())
    });
    let limit = limit(query.limit);
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        // Why two queries: each uses an index of its own, so a page costs the same for any number of
        // revoked credentials between its rows.
        let rows = if query.include_revoked {
            credentials!(
                r#"with page as (
                    select * from credential_management.credential
                    where tenant_id = $1 and (created_at, id) < ($2, $3)
                    order by created_at desc, id desc limit $4
                )"# from "page" then "order by c.created_at desc, c.id desc",
                tenant.as_str(), before as _, before_id as _, limit,
            )
            .fetch_all(call.on())
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
            .fetch_all(call.on())
            .await
        };
        let rows = rows.map_err(store_error)?;
        call.end().await?;
        rows.into_iter().map(Credential::try_from).collect()
    })
    .await
}

#[expect(clippy::too_many_lines, reason = "one statement, column by column")]
pub(crate) async fn replace(
    store: &PostgresStore,
    edit: Edit,
) -> Result<Committed<Credential>, StoreError> {
    in_time(async {
        let mut call = Call::begin(&store.pool).await?;
        let Some(head) = lock_tenant(&mut call, &edit.tenant).await? else {
            return Err(call.roll_back(StoreError::NotFound).await);
        };
        let mut call = keep(call, &edit.tenant, edit.replay.as_ref()).await?;
        let events = SealedEvents::behind(head, edit.events)?;
        let expected_version = bigint(edit.expected_version)?;
        let Settings {
            name,
            description,
            scopes,
            expires_at,
            disabled_at,
            allowed_networks,
            secrets,
            registrations,
        } = &edit.settings;
        let secrets = SecretColumns::of(secrets);
        let registrations = RegistrationColumns::of(registrations);
        let changed = credentials!(
            r#"
            with changed as (
                update credential_management.credential set
                    version = version + 1, name = $4, name_key = $5, expires_at = $6, scopes = $7,
                    description = $26, disabled_at = $27, allowed_networks = $28,
                    registration_proof = $30, registration_means = $31,
                    registration_created_at = $32
                where tenant_id = $1 and id = $2 and version = $3 and revoked_at is null
                returning *
            ), secrets as (
                -- As they shall be. What the store keeps of a secret by itself stays.
                select changed.id as credential_id, s.selector, s.ordinal,
                    coalesce(kept.phc, s.phc) as phc,
                    coalesce(kept.key_name, s.key_name) as key_name, s.created_at, s.expires_at,
                    s.ended_at,
                    case when kept.selector is null then s.last_used_at else kept.last_used_at end
                        as last_used_at,
                    kept.selector is null as added,
                    (kept.ordinal, kept.created_at, kept.expires_at, kept.ended_at)
                        is distinct from (s.ordinal, s.created_at, s.expires_at, s.ended_at)
                        as differs
                from changed, unnest($8::text[], $9::text[], $10::text[], $11::timestamptz[],
                    $12::timestamptz[], $13::timestamptz[], $29::timestamptz[]) with ordinality
                    as s (selector, phc, key_name, created_at, expires_at, last_used_at, ended_at,
                    ordinal)
                left join credential_management.secret as kept
                    on kept.selector = s.selector and kept.credential_id = $2
            ), gone as (
                delete from credential_management.secret as s using changed
                where s.credential_id = changed.id and s.selector <> all ($8)
            ), unused as (
                delete from credential_management.registration_use as u using changed
                where u.credential_id = changed.id and u.proof <> all ($30)
            ), moved as (
                -- Only what differs: a secret whose use is being written is locked meanwhile.
                update credential_management.secret as s
                set ordinal = m.ordinal, created_at = m.created_at, expires_at = m.expires_at,
                    ended_at = m.ended_at
                from secrets as m
                where s.selector = m.selector and s.credential_id = m.credential_id
                    and not m.added and m.differs
            ), written as (
                -- Fails if the selector is another credential's.
                insert into credential_management.secret (credential_id, selector, ordinal, phc,
                    key_name, created_at, expires_at, last_used_at, ended_at)
                select credential_id, selector, ordinal, phc, key_name, created_at, expires_at,
                    last_used_at, ended_at
                from secrets where added
            ), events as (
                insert into credential_management.audit_event
                    (tenant_id, seq, format, at, actor, action, credential_id, details, key_name,
                    hash)
                select $1, e.* from changed, unnest($14::bigint[], $15::smallint[],
                    $16::timestamptz[], $17::text[], $18::text[], $19::uuid[], $20::text[],
                    $21::text[], $22::bytea[]) as e
            ), head as (
                update credential_management.tenant
                set audit_seq = $23, audit_hash = $24, audit_key = $25
                from changed where tenant.id = $1
            )"# from "changed" with "secrets" then "",
            edit.tenant.as_str(),
            Id::from(edit.id) as _,
            expected_version,
            name.as_str(),
            name_key(name),
            expires_at.map(Micros::from) as _,
            scopes,
            &secrets.selector,
            &secrets.phc,
            &secrets.key_name,
            secrets.created_at as _,
            secrets.expires_at as _,
            secrets.last_used_at as _,
            &events.seq,
            &events.format,
            events.at as _,
            &events.actor,
            &events.action,
            events.credential_id as _,
            &events.details,
            &events.key_name,
            &events.hash,
            events.head_seq,
            events.head_hash,
            events.head_key,
            description.as_str(),
            disabled_at.map(Micros::from) as _,
            &allowed_networks.texts().collect::<Vec<_>>(),
            secrets.ended_at as _,
            &registrations.proof,
            &registrations.means,
            registrations.created_at as _,
        )
        .fetch_optional(call.on())
        .await;
        let changed = match changed.map_err(store_error) {
            Ok(changed) => changed,
            Err(refusal @ StoreError::NameTaken) => return Err(call.roll_back(refusal).await),
            Err(error) => return Err(error),
        };
        let Some(row) = changed else {
            let refusal = match standing(&mut call, &edit.tenant, edit.id).await? {
                None => StoreError::NotFound,
                Some(standing) if standing.revoked => StoreError::Revoked,
                Some(_) => StoreError::StaleVersion,
            };
            return Err(call.roll_back(refusal).await);
        };
        commit_change(call, row.try_into()?, &Change::Credential(edit.id)).await
    })
    .await
}

/// Locks the tenant and reads its audit head; `None`: there is no such tenant.
pub(crate) async fn lock_tenant(
    call: &mut Call,
    tenant: &TenantId,
) -> Result<Option<HeadRow>, StoreError> {
    sqlx::query_as!(
        HeadRow,
        r#"select audit_seq as seq, audit_hash as hash, audit_key as key
        from credential_management.tenant where id = $1 for no key update"#,
        tenant.as_str(),
    )
    .fetch_optional(call.on())
    .await
    .map_err(store_error)
}

/// Why an edit found nothing to change.
pub(crate) struct Standing {
    pub(crate) revoked: bool,
    pub(crate) latest: i64,
    pub(crate) mark: Id,
}

pub(crate) async fn standing(
    call: &mut Call,
    tenant: &TenantId,
    id: CredentialId,
) -> Result<Option<Standing>, StoreError> {
    sqlx::query_as!(
        Standing,
        r#"select c.revoked_at is not null as "revoked!", n.value as "latest!",
            n.mark as "mark!: Id"
        from credential_management.credential as c, credential_management.change_counter as n
        where c.tenant_id = $1 and c.id = $2"#,
        tenant.as_str(),
        Id::from(id) as _,
    )
    .fetch_optional(call.on())
    .await
    .map_err(store_error)
}
