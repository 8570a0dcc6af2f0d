//! A credential's name and expiry.

use super::{
    Expected, Manage, ManageError, UpdateCredential,
    request::Findings,
    scopes::changes_api_type,
    settings::{check_expiry, check_name},
};
use crate::{
    credential::{Credential, Settings},
    id::CredentialId,
};

impl Manage<'_> {
    /// Renames a credential or moves its expiry. Changing nothing is allowed and leaves the
    /// version as it is.
    ///
    /// # Errors
    /// `NotFound`, `SelfServiceUnavailable`, `Revoked`, `VersionRequired`, `StaleVersion`,
    /// `ApiTypeImmutable`, `Invalid`, `NameTaken`, `RateLimited`, `Store`.
    pub async fn update(
        self,
        id: CredentialId,
        expected: Option<&Expected>,
        request: UpdateCredential,
    ) -> Result<Credential, ManageError> {
        let before = self.editable(id, expected).await?;
        let mut found = Findings::new(request.incomplete);
        let name = found.optional(request.name);
        let name = name.and_then(|name| check_name(&name, &mut found));
        let expires_at = found.optional(request.expires_at);
        let expires_at = expires_at.unwrap_or(before.settings.expires_at);
        // Why only a new expiry: saving a form unchanged must work on an expired credential.
        if expires_at != before.settings.expires_at {
            check_expiry(expires_at, self.credentials.clock().now(), &mut found);
        }
        if changes_api_type(&request.api_type, &before) {
            return Err(found.into_immutable());
        }
        if !found.is_empty() {
            return Err(found.into_error());
        }
        let settings = Settings {
            name: name.unwrap_or_else(|| before.settings.name.clone()),
            expires_at,
            ..before.settings.clone()
        };
        if settings == before.settings {
            return Ok(before);
        }
        Ok(self.replace(&before, settings).await?.credential)
    }
}
