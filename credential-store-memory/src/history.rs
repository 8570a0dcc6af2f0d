//! The audit trail as it is read.

use async_trait::async_trait;
use credential_core::{
    audit::AuditEvent,
    id::TenantId,
    store::{AuditQuery, StoreError, StoredRow, TrailPage, TrailStore},
};

use crate::MemoryStore;

#[async_trait]
impl TrailStore for MemoryStore {
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

    async fn trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<TrailPage, StoreError> {
        let data = self.data();
        let all = data
            .tenants
            .get(tenant)
            .map_or(&[][..], |tenant| &tenant.audit);
        let about = |row: &AuditEvent| row.subject.credential();
        let rows = all
            .iter()
            .rev()
            .filter(|row| query.before.is_none_or(|before| row.seq < before))
            .filter(|row| query.credential_id.is_none_or(|id| about(row) == Some(id)))
            .take(query.limit)
            .cloned()
            .map(StoredRow::Event)
            .collect();
        let head = all.last().map(|row| row.head().into());
        Ok(TrailPage { head, rows })
    }
}
