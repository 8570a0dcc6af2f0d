//! The audit trail as it is read.

use async_trait::async_trait;
use credential_core::{
    id::TenantId,
    store::{AuditQuery, StoreError, StoredRow, TrailPage, TrailStore},
};
use rusqlite::params;

use crate::SqliteStore;

#[async_trait]
impl TrailStore for SqliteStore {
    async fn audited_tenants(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let sql = "select json_quote(tenant) from
                (select tenant from head union select tenant from audit_event)
            where ?1 is null or tenant > ?1 order by tenant limit ?2";
        self.run(|db| db.read(sql, params![after, limit]))
    }

    async fn trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<TrailPage, StoreError> {
        let id = query.credential_id.map(|id| id.to_string());
        let sql = "select json_array(seq, document) from audit_event where tenant = ?1
            and (?2 is null or seq < ?2) and (?3 is null or credential = ?3)
            order by seq desc limit ?4";
        self.run(|db| {
            let head = db.head(tenant)?.map(|row| row.head().into());
            let wanted = params![tenant.as_str(), query.before, id, query.limit];
            let rows: Vec<(u64, String)> = db.read(sql, wanted)?;
            let column = "document";
            let read = |(seq, text): (u64, String)| match serde_json::from_str(&text) {
                Ok(event) => StoredRow::Event(event),
                Err(_) => StoredRow::Unreadable { seq, column },
            };
            let rows = rows.into_iter().map(read).collect();
            Ok(TrailPage { head, rows })
        })
    }
}
