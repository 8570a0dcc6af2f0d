//! The end of a credential.

use super::{Changed, Expected, Manage, ManageError};
use crate::{audit::Details, id::CredentialId, store::Revoke};

impl Manage<'_> {
    /// Ends a credential, all its secrets and all its tokens, for good. A repeat keeps the first
    /// revocation. Also where self-service is off: what takes away stays possible.
    ///
    /// # Errors
    /// `NotFound`, `StaleVersion` (only if a version is expected), `RateLimited`, `Store`.
    pub async fn revoke(
        self,
        id: CredentialId,
        expected: Option<&Expected>,
    ) -> Result<Changed, ManageError> {
        let before = self.get(id).await?;
        // Also for a repeat it is the store that decides: what was read just now may come from a
        // server that lost its place to another, where the revocation never came.
        let expected_version = match expected {
            None | Some(Expected::Any) => None,
            Some(_) if before.revoked.is_some() => None,
            Some(expected) if expected.allows(before.version) => Some(before.version),
            Some(_) => return Err(ManageError::StaleVersion),
        };
        let details = Details::Revoked {
            name: before.settings.name.as_str(),
            client_id: before.identity.client_id.as_str(),
        };
        let event = self.event(&before, &details).await?;
        let revoke = self.credentials.store().revoke(Revoke {
            tenant: self.admin.tenant().clone(),
            id,
            expected_version,
            at: self.credentials.clock().now(),
            by: self.admin.id().clone(),
            event,
        });
        let committed = self.call(revoke).await?;
        self.in_effect(committed).await
    }
}
