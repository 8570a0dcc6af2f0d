//! The end of every credential of a tenant at once.

use super::{AllRevoked, MAX_PAGE, Manage, ManageError, RevokeAll, request::Findings};
use crate::{
    audit::Details,
    credential::Credential,
    store::{self, ListPosition, ListQuery},
};

/// How often the credentials are read anew because another admin was faster.
const ATTEMPTS: usize = 5;

impl Manage<'_> {
    /// Revokes every credential of the tenant, in one transaction: for a tenant whose keys may all have
    /// leaked. Also where self-service is off: what takes away stays possible.
    ///
    /// # Errors
    /// `Invalid` if the number that the request confirms is not the number of credentials that are not
    /// revoked; `StaleVersion` if others kept changing which there are; `RateLimited`, `Store`.
    pub async fn revoke_all(self, request: RevokeAll) -> Result<AllRevoked, ManageError> {
        let mut found = Findings::new(request.incomplete);
        let confirmed = found.required(
            request.confirm,
            "confirm",
            "confirm how many keys end: the number of those that are not revoked",
        );
        let Some(confirmed) = confirmed.filter(|_| found.is_empty()) else {
            return Err(found.into_error());
        };
        for _ in 0..ATTEMPTS {
            let credentials = self.all_live().await?;
            if confirmed != credentials.len().to_string() {
                let message = format!(
                    "the number of keys that are not revoked is {}; confirm that number",
                    credentials.len()
                );
                found.add("confirm", "wrong_number", message);
                return Err(found.into_error());
            }
            match self.revoke_these(&credentials).await {
                Err(ManageError::StaleVersion) => {}
                done => return done,
            }
        }
        Err(ManageError::StaleVersion)
    }

    async fn revoke_these(self, credentials: &[Credential]) -> Result<AllRevoked, ManageError> {
        let mut events = Vec::with_capacity(credentials.len());
        for credential in credentials {
            let details = Details::Revoked {
                name: credential.settings.name.as_str(),
                client_id: credential.identity.client_id.as_str(),
            };
            let event = self.event(credential, &details).await?;
            events.push((credential.identity.id, event));
        }
        let tenant = self.admin.tenant();
        let revoke = self.credentials.store().revoke_all(store::RevokeAll {
            tenant: tenant.clone(),
            at: self.credentials.clock().now(),
            by: self.admin.id().clone(),
            events,
        });
        let committed = self.call(revoke).await?;
        let states = &self.credentials.0.states;
        if !credentials.is_empty() {
            states.own_tenant_change(tenant, committed.change);
        }
        let bound = states.confirm(committed.change).await?;
        Ok(AllRevoked {
            revoked: credentials.len(),
            effective_everywhere_at: self.credentials.clock().now().saturating_add(bound),
        })
    }

    /// Every credential of the tenant that is not revoked.
    async fn all_live(self) -> Result<Vec<Credential>, ManageError> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let query = ListQuery {
                limit: MAX_PAGE,
                after,
                include_revoked: false,
            };
            let store = self.credentials.store();
            let page = self.call(store.list(self.admin.tenant(), &query)).await?;
            let full = page.len() >= MAX_PAGE;
            after = page.last().map(ListPosition::of);
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }
}
