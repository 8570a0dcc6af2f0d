//! The audit trail as it is read, and the check values of keys.

use credential_core::{
    audit::AuditEvent,
    id::TenantId,
    store::{AuditQuery, KeyCheck, StoreError},
};

use crate::{
    PostgresStore,
    error::store_error,
    lease::{Lease, in_time},
    row::{self, AuditRow, Id, Micros, bigint, limit},
};

pub(crate) async fn audit_events(
    store: &PostgresStore,
    tenant: &TenantId,
    query: &AuditQuery,
) -> Result<Vec<AuditEvent>, StoreError> {
    let before = query.before.map_or(Ok(i64::MAX), bigint)?;
    let limit = limit(query.limit);
    in_time(async {
        let mut lease = Lease::take(&store.pool).await?;
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
        lease.end().await?;
        rows.into_iter().map(AuditEvent::try_from).collect()
    })
    .await
}

pub(crate) async fn audited_tenants(
    store: &PostgresStore,
    after: Option<&TenantId>,
    limit: usize,
) -> Result<Vec<TenantId>, StoreError> {
    in_time(async {
        let mut lease = Lease::take(&store.pool).await?;
        let tenants = sqlx::query_scalar!(
            r#"select id from credential_management.tenant
            where id > $1 and audit_seq > 0 order by id limit $2"#,
            after.map_or("", TenantId::as_str),
            row::limit(limit),
        )
        .fetch_all(lease.on())
        .await
        .map_err(store_error)?;
        lease.end().await?;
        tenants.into_iter().map(row::tenant).collect()
    })
    .await
}

pub(crate) async fn check_keys(store: &PostgresStore, keys: &[KeyCheck]) -> Result<(), StoreError> {
    // Sorted, so that two nodes that start at once do not wait for each other in a circle.
    let mut sorted: Vec<&KeyCheck> = keys.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let column = |of: fn(&KeyCheck) -> &str| -> Vec<String> {
        sorted.iter().map(|key| of(key).to_owned()).collect()
    };
    in_time(async {
        let mut lease = Lease::begin(&store.pool).await?;
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
