//! Reading: one credential, pages of credentials, and the audit trail.

use super::{Manage, ManageError, Page};
use crate::{
    credential::Credential,
    id::CredentialId,
    store::{AuditQuery, ListPosition, ListQuery, StoredRow},
};

/// The most items of one page, of credentials and of audit events.
pub const MAX_PAGE: usize = 100;

impl Manage<'_> {
    /// One credential of the admin's tenant, also a revoked one.
    ///
    /// # Errors
    /// `NotFound`, `RateLimited`, `Store`.
    pub async fn get(self, id: CredentialId) -> Result<Credential, ManageError> {
        let tenant = self.admin.tenant();
        let found = self.credentials.store().get(tenant, id);
        self.call(found).await?.ok_or(ManageError::NotFound)
    }

    /// A page of the tenant's credentials, newest first.
    ///
    /// `limit` is brought into 1…[`MAX_PAGE`].
    ///
    /// # Errors
    /// `RateLimited`, `Store`.
    pub async fn list(
        self,
        query: ListQuery,
    ) -> Result<Page<Credential, ListPosition>, ManageError> {
        let limit = query.limit.clamp(1, MAX_PAGE);
        let one_more = ListQuery {
            limit: limit + 1,
            ..query
        };
        let tenant = self.admin.tenant();
        let items = self.credentials.store().list(tenant, &one_more);
        let items = self.call(items).await?;
        self.credentials
            .0
            .store_work
            .charge_admins(tenant, items.len());
        Ok(page(items, limit, ListPosition::of))
    }

    /// A page of the tenant's audit trail, newest first, also with rows that cannot be read.
    ///
    /// `limit` is brought into 1…[`MAX_PAGE`].
    ///
    /// # Errors
    /// `NoTrail`, `RateLimited`, `Store`.
    pub async fn audit_events(
        self,
        query: AuditQuery,
    ) -> Result<Page<StoredRow, u64>, ManageError> {
        let limit = query.limit.clamp(1, MAX_PAGE);
        let one_more = AuditQuery {
            limit: limit + 1,
            ..query
        };
        let tenant = self.admin.tenant();
        let trail = self.credentials.trail().ok_or(ManageError::NoTrail)?;
        let found = trail.trail(tenant, &one_more);
        let rows = self.call(found).await?.rows;
        Ok(page(rows, limit, StoredRow::seq))
    }
}

/// Cuts the one item too many that says whether there is a next page.
fn page<T, P>(mut items: Vec<T>, limit: usize, position: impl Fn(&T) -> P) -> Page<T, P> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more {
        items.last().map(position)
    } else {
        None
    };
    Page { items, next }
}
