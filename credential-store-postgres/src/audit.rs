//! The audit trail as it is read.

use credential_core::{
    id::TenantId,
    store::{AuditQuery, StoreError, StoredHead, TrailPage},
};

use crate::{
    PostgresStore,
    call::{Call, in_time},
    error::store_error,
    row::{self, AuditRow, Id, Micros, bigint, limit, number},
};

pub(crate) async fn audited_tenants(
    store: &PostgresStore,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    // The next text in byte order, so that one condition also fits the first page.
    let from = after.map_or(String::new(), |after| format!("{after}\u{1}"));
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        // The second query jumps in the index from tenant to tenant (a loose index scan).
        let tenants = sqlx::query_scalar!(
            r#"with recursive audited (id) as (
                (select tenant_id from credential_management.audit_event
                where tenant_id >= $1 order by tenant_id limit 1)
                union all
                select (select e.tenant_id from credential_management.audit_event as e
                    where e.tenant_id > audited.id order by e.tenant_id limit 1)
                from audited where audited.id is not null
            )
            select id as "id!" from (
                (select id from credential_management.tenant
                where id >= $1 order by id limit $2)
                union
                (select id from audited where id is not null limit $2)
            ) as known
            order by id collate "C" limit $2"#,
            from,
            row::limit(limit),
        )
        .fetch_all(call.on())
        .await
        .map_err(store_error)?;
        call.end().await?;
        Ok(tenants)
    })
    .await
}

pub(crate) async fn trail(
    store: &PostgresStore,
    tenant: &TenantId,
    query: &AuditQuery,
) -> Result<TrailPage, StoreError> {
    let upto = query
        .before
        .map_or(Ok(i64::MAX), |before| bigint(before.saturating_sub(1)))?;
    in_time(async {
        let mut call = Call::take(&store.pool).await?;
        // One statement, so that no row is written between the reading of the head and of the rows. Its two halves use
        // an index each, and one of them is never run.
        let found = sqlx::query!(
            r#"select t.audit_seq as "audit_seq?", t.audit_hash,
                e.tenant_id as "tenant_id?", e.seq as "seq?", e.format as "format?",
                e.at as "at?: Micros", e.actor as "actor?", e.action as "action?",
                e.credential_id as "credential_id?: Id", e.details as "details?",
                e.key_name as "key_name?", e.hash as "hash?"
            from (select) as always
            left join credential_management.tenant as t on t.id = $1
            left join (
                (select * from credential_management.audit_event
                where $4::uuid is null and tenant_id = $1 and seq <= $2
                order by seq desc limit $3)
                union all
                (select * from credential_management.audit_event
                where credential_id = $4 and tenant_id = $1 and seq <= $2
                order by seq desc limit $3)
            ) as e on true
            order by e.seq desc"#,
            tenant.as_str(),
            upto,
            limit(query.limit),
            query.credential_id.map(Id::from) as _,
        )
        .fetch_all(call.on())
        .await
        .map_err(store_error)?;
        call.end().await?;
        let mut page = TrailPage {
            head: None,
            rows: Vec::with_capacity(found.len()),
        };
        for row in found {
            if let (None, Some(seq @ 1..)) = (&page.head, row.audit_seq) {
                page.head = Some(StoredHead {
                    seq: number(seq)?,
                    hash: row.audit_hash.unwrap_or_default(),
                });
            }
            let columns = (|| {
                Some(AuditRow {
                    tenant_id: row.tenant_id?,
                    seq: row.seq?,
                    format: row.format?,
                    at: row.at?,
                    actor: row.actor?,
                    action: row.action?,
                    credential_id: row.credential_id,
                    details: row.details?,
                    key_name: row.key_name?,
                    hash: row.hash?,
                })
            })();
            page.rows.extend(columns.map(AuditRow::stored));
        }
        Ok(page)
    })
    .await
}
