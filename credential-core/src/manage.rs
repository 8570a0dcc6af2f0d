//! The use cases of an admin on the tenant's credentials: [`Credentials::manage`].
//!
//! They need a [`TenantAdmin`], which only the role check makes. A request that several rules
//! refuse gets the first of: not found, self-service off, revoked, version missing, version stale,
//! invalid input (every fault at once) or a reused idempotency key, then a conflict: a taken name, the limit,
//! too many secrets, the last one, a request with the same idempotency key that is still running.
//!
//! Calls of the store are made in the tenant's turn (`store_work.rs`). If too many calls of the
//! tenant wait, every use case ends with [`ManageError::RateLimited`] and nothing is done.

mod create;
mod disable;
mod edit;
mod idempotency;
mod lists;
mod once;
mod preview;
mod proofs;
mod request;
mod revoke;
mod revoke_all;
mod scopes;
mod sealed_answer;
mod secrets;
mod settings;
mod usage;

use std::time::Duration;

pub(crate) use self::idempotency::RunningRetries;
pub use self::{
    idempotency::{Answered, IdempotencyKey},
    lists::MAX_PAGE,
    preview::{RemovedScope, ScopePreview},
    request::{
        AllRevoked, Changed, CreateCredential, Created, Expected, Fault, Field, MAX_OVERLAP,
        ManageError, NewProof, Page, RevokeAll, RotateSecret, Rotated, ScopeChoice, SetKeys,
        SetScopes, SetWorkloads, UpdateCredential,
    },
    usage::{MAX_USAGE_DAYS, ScopeCounts, Summary, UNUSED_DAYS, UsageReport, UsedScope},
};
use crate::{
    Credentials,
    actor::TenantAdmin,
    audit::{Details, Event, Subject},
    credential::{Credential, Settings, Status},
    id::CredentialId,
    store::{Committed, Edit, NewReplay, StoreError},
    store_work::{CallError, Side},
};

/// How often an edit is decided anew. Few calls of one tenant run at the same time, and each attempt that
/// fails is another's success.
const EDIT_ATTEMPTS: usize = 8;

impl Credentials {
    /// The use cases of an admin, on the credentials of the admin's own tenant.
    #[must_use]
    pub fn manage<'a>(&'a self, admin: &'a TenantAdmin) -> Manage<'a> {
        Manage {
            credentials: self,
            admin,
        }
    }
}

/// The use cases of an admin; see the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Manage<'a> {
    credentials: &'a Credentials,
    admin: &'a TenantAdmin,
}

impl Manage<'_> {
    /// Counts one request of the tenant's admins, and says whether it may go on: it would find room now, and
    /// the tenant has not made more than 2 000 at once, or 1 000 a second after that. For callers
    /// that read requests from a network, before they read one. A use case that is called without it has no
    /// such pace.
    ///
    /// # Errors
    /// `RateLimited`.
    pub fn begin_request(self) -> Result<(), ManageError> {
        Ok(self
            .credentials
            .0
            .store_work
            .room_for_admins(self.admin.tenant())?)
    }

    fn require_self_service(&self) -> Result<(), ManageError> {
        if self.credentials.self_service() {
            Ok(())
        } else {
            Err(ManageError::SelfServiceUnavailable)
        }
    }

    /// The credential, if it may be edited and has the expected version.
    async fn editable(
        &self,
        id: CredentialId,
        expected: Option<&Expected>,
    ) -> Result<Credential, ManageError> {
        let credential = self.get(id).await?;
        self.require_self_service()?;
        if credential.status(self.credentials.clock().now()) == Status::Revoked {
            return Err(ManageError::Revoked);
        }
        match expected {
            None => Err(ManageError::VersionRequired),
            Some(expected) if expected.allows(credential.version) => Ok(credential),
            Some(_) => Err(ManageError::StaleVersion),
        }
    }

    /// An edit that is decided on whatever the credential is now: anew, if another admin was faster. It gets
    /// the latest credential and returns its settings; `None`: they are as they shall be. A version may
    /// be expected of a credential that is not as it shall be.
    async fn edit_latest(
        &self,
        id: CredentialId,
        expected: Option<&Expected>,
        decide: impl Fn(&Credential) -> Result<Option<Settings>, ManageError> + Send + Sync,
    ) -> Result<Changed, ManageError> {
        self.edit_latest_and(id, expected, decide, |_| None).await
    }

    /// As [`edit_latest`](Self::edit_latest), and keeps with the edit what `keep` makes of the version that
    /// the credential then has.
    async fn edit_latest_and(
        &self,
        id: CredentialId,
        expected: Option<&Expected>,
        decide: impl Fn(&Credential) -> Result<Option<Settings>, ManageError> + Send + Sync,
        keep: impl Fn(u64) -> Option<NewReplay> + Send + Sync,
    ) -> Result<Changed, ManageError> {
        for _ in 0..EDIT_ATTEMPTS {
            let before = self.get(id).await?;
            let done = match decide(&before)? {
                None => self.already_in_effect(before).await,
                Some(_) if expected.is_some_and(|it| !it.allows(before.version)) => {
                    return Err(ManageError::StaleVersion);
                }
                Some(settings) => {
                    let replay = keep(before.version + 1);
                    self.replace_and(&before, settings, replay).await
                }
            };
            match done {
                Err(ManageError::StaleVersion) => {}
                done => return done,
            }
        }
        Err(ManageError::StaleVersion)
    }

    /// Puts other settings in the place of those that the edit was decided on.
    async fn replace(
        &self,
        before: &Credential,
        settings: Settings,
    ) -> Result<Changed, ManageError> {
        self.replace_and(before, settings, None).await
    }

    async fn replace_and(
        &self,
        before: &Credential,
        settings: Settings,
        replay: Option<NewReplay>,
    ) -> Result<Changed, ManageError> {
        let mut events = Vec::new();
        for details in settings::differences(&before.settings, &settings) {
            events.push(self.event(before, &details).await?);
        }
        let replace = self.credentials.store().replace(Edit {
            tenant: self.admin.tenant().clone(),
            id: before.identity.id,
            expected_version: before.version,
            settings,
            events,
            replay,
        });
        let replaced = self.call(replace).await?;
        self.in_effect(replaced).await
    }

    /// Calls the store in the turn of the tenant's admins.
    async fn call<T>(
        self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, CallError> {
        let store_work = &self.credentials.0.store_work;
        store_work
            .call(self.admin.tenant(), Side::Admins, work)
            .await
    }

    /// When a change that is committed is in effect on every node. On this one it is at once.
    async fn in_effect(&self, committed: Committed<Credential>) -> Result<Changed, ManageError> {
        let Committed { value, change } = committed;
        let states = &self.credentials.0.states;
        states.own_change(value.identity.id, change);
        let bound = states.confirm(change).await?;
        Ok(self.changed(value, bound))
    }

    /// As [`in_effect`](Self::in_effect), where the credential was found to be as it shall be: nothing is
    /// promised unless the change log confirms what was read.
    async fn already_in_effect(&self, credential: Credential) -> Result<Changed, ManageError> {
        let states = &self.credentials.0.states;
        let (same, bound) = states.confirm_version(&credential).await?;
        if !same {
            return Err(ManageError::StaleVersion);
        }
        Ok(self.changed(credential, bound))
    }

    fn changed(&self, credential: Credential, bound: Duration) -> Changed {
        Changed {
            credential,
            effective_everywhere_at: self.credentials.clock().now().saturating_add(bound),
        }
    }

    async fn event(
        &self,
        credential: &Credential,
        details: &Details<'_>,
    ) -> Result<Event, StoreError> {
        Ok(Event::new(
            self.credentials.signer().await?,
            self.credentials.clock().now(),
            self.admin.id(),
            self.admin.tenant(),
            Subject::Credential(credential.identity.id),
            details,
        ))
    }
}
