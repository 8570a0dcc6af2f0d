//! A credential's name, description, expiry and networks.

use super::{
    Expected, Manage, ManageError, UpdateCredential,
    request::Findings,
    scopes::changes_api_type,
    settings::{check_description, check_expiry, check_name, check_networks},
};
use crate::{
    credential::{Credential, Settings},
    id::CredentialId,
};

impl Manage<'_> {
    /// Renames or describes a credential, moves its expiry, or sets the networks that it may be used
    /// from. Changing nothing is allowed and leaves the
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
        let description = found.optional(request.description);
        let description = description.and_then(|text| check_description(&text, &mut found));
        let expires_at = match found.optional(request.expires_at) {
            // Why only a new expiry: saving a form unchanged must work on an expired credential.
            Some(asked) if asked.is_none() || asked != before.settings.expires_at => {
                let now = self.credentials.clock().now();
                check_expiry(asked, now, self.credentials.max_lifetime(), &mut found)
            }
            _ => before.settings.expires_at,
        };
        let networks = found.optional(request.allowed_networks);
        let networks = networks.and_then(|texts| check_networks(&texts, &mut found));
        if changes_api_type(&request.api_type, &before) {
            return Err(found.into_immutable());
        }
        if !found.is_empty() {
            return Err(found.into_error());
        }
        let settings = Settings {
            name: name.unwrap_or_else(|| before.settings.name.clone()),
            description: description.unwrap_or_else(|| before.settings.description.clone()),
            expires_at,
            allowed_networks: networks.unwrap_or_else(|| before.settings.allowed_networks.clone()),
            ..before.settings.clone()
        };
        if settings == before.settings {
            return Ok(self.already_in_effect(before).await?.credential);
        }
        Ok(self.replace(&before, settings).await?.credential)
    }
}
