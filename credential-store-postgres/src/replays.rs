//! Kept answers.

use credential_core::{
    id::TenantId,
    secret::keyring::KeyName,
    store::{NewReplay, Replay, ReplayId, ReplayQuery, StoreError},
};

use crate::{
    PostgresStore,
    call::{Call, Pool, in_time},
    error::{Unreadable, backend, store_error},
    row::Micros,
};

/// So many at once are removed.
const PRUNED_AT_ONCE: i64 = 500;

/// Keeps an answer in the transaction of its change, which has locked the tenant.
///
/// # Errors
/// `IdempotencyKeyUsed`, and the transaction is rolled back, if an answer is kept under one of its names.
pub(crate) async fn keep(
    mut call: Call,
    tenant: &TenantId,
    new: Option<&NewReplay>,
) -> Result<Call, StoreError> {
    let Some(new) = new else {
        return Ok(call);
    };
    let aliases: Vec<&[u8]> = new.aliases.iter().map(|id| &id.0[..]).collect();
    let kept = sqlx::query_scalar!(
        r#"
        insert into credential_management.replay as r
            (tenant_id, id, key_name, request, sealed, expires_at)
        select $1, $2, $3, $4, $5, now() + make_interval(secs => $6)
        where not exists (
            select from credential_management.replay
            where tenant_id = $1 and id = any($7::bytea[]) and expires_at > now()
        )
        on conflict (tenant_id, id) do update set key_name = excluded.key_name,
            request = excluded.request, sealed = excluded.sealed, effective_at = null,
            expires_at = excluded.expires_at
        where r.expires_at <= now()
        returning true as "kept!"
        "#,
        tenant.as_str(),
        &new.replay.id.0[..],
        new.replay.key.as_str(),
        &new.replay.request[..],
        &new.replay.sealed,
        new.keep_for.as_secs_f64(),
        &aliases as &[&[u8]],
    )
    .fetch_optional(call.on())
    .await
    .map_err(store_error)?;
    match kept {
        Some(_) => Ok(call),
        None => Err(call.roll_back(StoreError::IdempotencyKeyUsed).await),
    }
}

struct ReplayRow {
    id: Vec<u8>,
    key_name: String,
    request: Vec<u8>,
    sealed: Vec<u8>,
    effective_at: Option<Micros>,
}

impl TryFrom<ReplayRow> for Replay {
    type Error = StoreError;

    fn try_from(row: ReplayRow) -> Result<Self, StoreError> {
        let unreadable = |column| backend(Unreadable { column });
        Ok(Self {
            id: ReplayId(row.id.try_into().map_err(|_| unreadable("id"))?),
            key: row
                .key_name
                .parse::<KeyName>()
                .map_err(|_| unreadable("key_name"))?,
            request: row.request.try_into().map_err(|_| unreadable("request"))?,
            sealed: row.sealed,
            effective_at: row.effective_at.map(Micros::at),
        })
    }
}

pub(crate) async fn replay(
    store: &PostgresStore,
    query: &ReplayQuery,
) -> Result<Option<Replay>, StoreError> {
    let ids: Vec<&[u8]> = query.ids.iter().map(|id| &id.0[..]).collect();
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        let found = match query.effective_at {
            None => {
                sqlx::query_as!(
                    ReplayRow,
                    r#"select id, key_name, request, sealed, effective_at as "effective_at: Micros"
                    from credential_management.replay
                    where tenant_id = $1 and id = any($2) and expires_at > now()"#,
                    query.tenant.as_str(),
                    &ids as &[&[u8]],
                )
                .fetch_optional(call.on())
                .await
            }
            // The row's lock orders those who race; who comes later finds the first one's time.
            Some(at) => {
                sqlx::query_as!(
                    ReplayRow,
                    r#"update credential_management.replay
                    set effective_at = coalesce(effective_at, $3)
                    where tenant_id = $1 and id = any($2) and expires_at > now()
                    returning id, key_name, request, sealed, effective_at as "effective_at: Micros""#,
                    query.tenant.as_str(),
                    &ids as &[&[u8]],
                    Micros::from(at) as _,
                )
                .fetch_optional(call.on())
                .await
            }
        };
        let found = found.map_err(store_error)?;
        call.end().await?;
        found.map(Replay::try_from).transpose()
    })
    .await
}

/// Removes the answers whose time is over, so that no sealed secret stays. What is left, a later call removes.
pub(crate) async fn prune(pool: &Pool) -> Result<(), StoreError> {
    loop {
        let removed = in_time(async {
            let mut call = Call::take(pool).await?;
            // Why `skip locked`: another node that prunes at the same time removes those rows.
            let done = sqlx::query!(
                r#"delete from credential_management.replay where ctid = any(array(
                    select ctid from credential_management.replay
                    where expires_at <= now() order by expires_at limit $1 for update skip locked
                ))"#,
                PRUNED_AT_ONCE,
            )
            .execute(call.on())
            .await
            .map_err(store_error)?;
            call.end().await?;
            Ok(done.rows_affected())
        })
        .await?;
        if removed < PRUNED_AT_ONCE.unsigned_abs() {
            return Ok(());
        }
    }
}
