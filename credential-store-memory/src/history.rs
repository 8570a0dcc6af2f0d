//! The audit trail as it is read.

use async_trait::async_trait;
use credential_core::{
    id::TenantId,
    store::{AuditQuery, StoreError, StoredHead, StoredRow, TrailPage, TrailQuery, TrailStore},
};

use crate::MemoryStore;

#[async_trait]
impl TrailStore for MemoryStore {
    async fn audit_events(
        &self,
        tenant: &TenantId,
        query: &AuditQuery,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let data = self.data();
        let rows = data
            .tenants
            .get(tenant)
            .map_or(&[][..], |tenant| &tenant.audit);
        Ok(rows
            .iter()
            .rev()
            .filter(|row| query.before.is_none_or(|before| row.seq < before))
            .filter(|row| {
                query
                    .credential_id
                    .is_none_or(|id| row.subject.credential() == Some(id))
            })
            .take(query.limit)
            .cloned()
            .map(StoredRow::Event)
            .collect())
    }

    async fn audited_tenants(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let data = self.data();
        let mut tenants: Vec<&str> = data
            .tenants
            .iter()
            .map(|(id, tenant)| (id.as_str(), tenant))
            .filter(|(id, tenant)| !tenant.audit.is_empty() && after.is_none_or(|at| *id > at))
            .map(|(id, _)| id)
            .collect();
        tenants.sort_unstable();
        Ok(tenants.into_iter().take(limit).map(str::to_owned).collect())
    }

    async fn trail(&self, tenant: &TenantId, query: &TrailQuery) -> Result<TrailPage, StoreError> {
        let data = self.data();
        let rows = data
            .tenants
            .get(tenant)
            .map_or(&[][..], |tenant| &tenant.audit);
        Ok(TrailPage {
            head: rows.last().map(|row| StoredHead {
                seq: row.seq,
                hash: row.hash.to_vec(),
            }),
            rows: rows
                .iter()
                .rev()
                .filter(|row| query.before.is_none_or(|before| row.seq < before))
                .take(query.limit)
                .cloned()
                .map(StoredRow::Event)
                .collect(),
        })
    }
}
