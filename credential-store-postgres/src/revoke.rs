//! The end of one credential, and of all of a tenant. Locks and decides as edits do (`credentials.rs`).

use credential_core::{
    credential::Credential,
    id::TenantId,
    store::{Change, Committed, Revoke, RevokeAll, StoreError},
};

use crate::{
    PostgresStore,
    call::{Call, in_time},
    changes::commit_change,
    credentials::{credentials, lock_tenant, standing},
    error::store_error,
    row::{CredentialRow, Id, Micros, SealedEvents, bigint, change_id},
};

pub(crate) async fn revoke(
    store: &PostgresStore,
    revoke: Revoke,
) -> Result<Committed<Credential>, StoreError> {
    in_time(async {
        let mut call = Call::begin(&store.pool).await?;
        let Some(head) = lock_tenant(&mut call, &revoke.tenant).await? else {
            return Err(call.roll_back(StoreError::NotFound).await);
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
                    (tenant_id, seq, format, at, actor, action, credential_id, details, key_name,
                    hash)
                select $1, e.* from changed, unnest($6::bigint[], $16::smallint[],
                    $7::timestamptz[], $8::text[], $9::text[], $10::uuid[], $11::text[],
                    $12::text[], $13::bytea[]) as e
            ), head as (
                update credential_management.tenant
                set audit_seq = $14, audit_hash = $15, audit_key = $17
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
            &events.format,
            events.head_key,
        )
        .fetch_optional(call.on())
        .await
        .map_err(store_error)?;
        if let Some(row) = changed {
            return commit_change(call, row.try_into()?, &Change::Credential(revoke.id)).await;
        }
        match standing(&mut call, &revoke.tenant, revoke.id).await? {
            None => Err(call.roll_back(StoreError::NotFound).await),
            Some(standing) if !standing.revoked => {
                Err(call.roll_back(StoreError::StaleVersion).await)
            }
            Some(standing) => {
                let row = credentials!(
                    "" from "credential_management.credential" then "where c.id = $1",
                    Id::from(revoke.id) as _,
                )
                .fetch_one(call.on())
                .await
                .map_err(store_error)?;
                call.commit().await?;
                Ok(Committed {
                    value: row.try_into()?,
                    change: change_id(standing.latest, standing.mark)?,
                })
            }
        }
    })
    .await
}

pub(crate) async fn revoke_all(
    store: &PostgresStore,
    revoke: RevokeAll,
) -> Result<Committed<()>, StoreError> {
    in_time(async {
        let mut call = Call::begin(&store.pool).await?;
        let head = lock_tenant(&mut call, &revoke.tenant).await?;
        let (ids, events): (Vec<Id>, Vec<_>) = revoke
            .events
            .into_iter()
            .map(|(id, event)| (Id::from(id), event))
            .unzip();
        // Without a row of its own a tenant has no credentials.
        let Some(head) = head.filter(|_| !ids.is_empty()) else {
            return none_to_revoke(call, &revoke.tenant, ids.is_empty()).await;
        };
        let events = SealedEvents::behind(head, events)?;
        let revoked = sqlx::query!(
            r#"
            with live as (
                select coalesce(array_agg(id order by id), '{}') as ids
                from credential_management.credential where tenant_id = $1 and revoked_at is null
            ), changed as (
                update credential_management.credential as c set
                    version = c.version + 1, revoked_at = $3, revoked_by = $4
                from live
                where c.tenant_id = $1 and c.revoked_at is null
                    and live.ids = (select array_agg(id order by id) from unnest($2::uuid[]) as i (id))
                returning c.id
            ), events as (
                insert into credential_management.audit_event
                    (tenant_id, seq, format, at, actor, action, credential_id, details, key_name,
                    hash)
                select $1, e.* from unnest($5::bigint[], $6::smallint[], $7::timestamptz[],
                    $8::text[], $9::text[], $10::uuid[], $11::text[], $12::text[],
                    $13::bytea[]) as e
                where exists (select from changed)
            ), head as (
                update credential_management.tenant
                set audit_seq = $14, audit_hash = $15, audit_key = $16
                where id = $1 and exists (select from changed)
            )
            select count(*) as "count!" from changed
            "#,
            revoke.tenant.as_str(),
            ids as _,
            Micros::from(revoke.at) as _,
            revoke.by.as_str(),
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
        )
        .fetch_one(call.on())
        .await
        .map_err(store_error)?;
        if revoked.count == 0 {
            return Err(call.roll_back(StoreError::StaleVersion).await);
        }
        commit_change(call, (), &Change::Tenant(revoke.tenant)).await
    })
    .await
}

/// The answer where nothing is to be revoked; `asked`: that is what was asked for.
async fn none_to_revoke(
    mut call: Call,
    tenant: &TenantId,
    asked: bool,
) -> Result<Committed<()>, StoreError> {
    let found = sqlx::query!(
        r#"select n.value as "latest!", n.mark as "mark!: Id", exists (
            select from credential_management.credential
            where tenant_id = $1 and revoked_at is null
        ) as "any!"
        from credential_management.change_counter as n"#,
        tenant.as_str(),
    )
    .fetch_one(call.on())
    .await
    .map_err(store_error)?;
    if found.any || !asked {
        return Err(call.roll_back(StoreError::StaleVersion).await);
    }
    call.commit().await?;
    Ok(Committed {
        value: (),
        change: change_id(found.latest, found.mark)?,
    })
}
