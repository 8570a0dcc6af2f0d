//! A pause in a credential's life.

use super::{Changed, Expected, Manage, ManageError};
use crate::{
    credential::{Credential, Settings},
    id::CredentialId,
};

impl Manage<'_> {
    /// Refuses a credential, its secrets and its tokens, at once everywhere, until it is enabled. A repeat
    /// changes nothing, whatever version is expected. Also where self-service is off: what takes away
    /// stays possible.
    ///
    /// # Errors
    /// `NotFound`, `Revoked`, `StaleVersion` (only if a version is expected), `RateLimited`, `Store`.
    pub async fn disable(
        self,
        id: CredentialId,
        expected: Option<&Expected>,
    ) -> Result<Changed, ManageError> {
        let now = self.credentials.clock().now();
        self.edit_latest(id, expected, |before| {
            Ok(
                changes(before, before.settings.disabled_at.is_none())?.map(|settings| Settings {
                    disabled_at: Some(now),
                    ..settings
                }),
            )
        })
        .await
    }

    /// Accepts a disabled credential again, with the same secrets and those tokens that are still live.
    /// A repeat changes nothing, whatever version is expected.
    ///
    /// # Errors
    /// `NotFound`, `SelfServiceUnavailable`, `Revoked`, `StaleVersion` (only if a version is expected),
    /// `RateLimited`, `Store`.
    pub async fn enable(
        self,
        id: CredentialId,
        expected: Option<&Expected>,
    ) -> Result<Changed, ManageError> {
        self.edit_latest(id, expected, |before| {
            self.require_self_service()?;
            Ok(
                changes(before, before.settings.disabled_at.is_some())?.map(|settings| Settings {
                    disabled_at: None,
                    ..settings
                }),
            )
        })
        .await
    }
}

/// The settings to change; `None`: they are as they shall be.
fn changes(before: &Credential, differs: bool) -> Result<Option<Settings>, ManageError> {
    if before.revoked.is_some() {
        return Err(ManageError::Revoked);
    }
    Ok(differs.then(|| before.settings.clone()))
}
