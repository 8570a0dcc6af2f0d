//! What makes a secret, carried out once however often it is asked for.

use zeroize::Zeroizing;

use super::{
    Answered, CreateCredential, Created, IdempotencyKey, Manage, ManageError, RotateSecret,
    create::Wanted,
    idempotency::{Asked, Known, Retry},
    sealed_answer::Contents,
    secrets::check_overlap,
};
use crate::{credential::StoredSecret, id::CredentialId, secret::ClientSecret};

impl Manage<'_> {
    /// As [`create`](Self::create). A repetition of the request by the same admin with the same key within
    /// [`REPLAYS_KEPT_FOR`](crate::store::REPLAYS_KEPT_FOR) gives the first answer again, whatever has become
    /// of the credential. A refusal does not use the key up.
    ///
    /// `write` writes the answer, before the credential is committed: what it writes is kept, sealed, with
    /// the credential.
    ///
    /// # Errors
    /// As `create`, and `IdempotencyKeyReused`, `IdempotencyInProgress`.
    pub async fn create_once(
        self,
        key: &IdempotencyKey,
        request: CreateCredential,
        write: impl FnOnce(&Created) -> Zeroizing<String> + Send,
    ) -> Result<Answered, ManageError> {
        self.require_self_service()?;
        let retry = Retry::new(self, key, Asked::new_credential(&request));
        let running = retry.begin();
        match retry.look(false).await? {
            Known::Answered(answered) => return Ok(answered),
            Known::Other => return Err(ManageError::IdempotencyKeyReused),
            Known::Nothing => {}
        }
        if running.is_none() {
            let now = self.credentials.clock().now();
            Wanted::of(request, self.credentials, now)?;
            return Err(ManageError::IdempotencyInProgress);
        }
        let mut body = Zeroizing::default();
        let created = self.create_and(request, |created| {
            body = write(created);
            Some(retry.keep(Contents {
                credential: created.credential.identity.id,
                version: created.credential.version,
                body: &body,
            }))
        });
        match created.await {
            Ok(created) => Ok(Answered {
                credential: created.credential.identity.id,
                version: created.credential.version,
                body,
                effective_everywhere_at: None,
            }),
            Err(refusal) => answered_meanwhile(&retry, false, refusal).await,
        }
    }

    /// As [`rotate_secret`](Self::rotate_secret), and once as [`create_once`](Self::create_once) says. What
    /// `write` writes lacks the time from which the change counts: that is known when it is committed.
    ///
    /// # Errors
    /// As `rotate_secret`, and `IdempotencyKeyReused`, `IdempotencyInProgress`.
    pub async fn rotate_secret_once(
        self,
        key: &IdempotencyKey,
        id: CredentialId,
        request: RotateSecret,
        write: impl FnOnce(&StoredSecret, &ClientSecret) -> Zeroizing<String> + Send,
    ) -> Result<Answered, ManageError> {
        let before = self.get(id).await?;
        self.require_self_service()?;
        let retry = Retry::new(self, key, Asked::new_secret(id, &request));
        let running = retry.begin();
        let known = retry.look(true).await?;
        if let Known::Answered(answered) = known {
            return Ok(answered);
        }
        if before.revoked.is_some() {
            return Err(ManageError::Revoked);
        }
        if let Known::Other = known {
            return Err(ManageError::IdempotencyKeyReused);
        }
        let overlap = check_overlap(&request)?;
        if running.is_none() {
            return Err(ManageError::IdempotencyInProgress);
        }
        let mut body = Zeroizing::default();
        let write = |stored: &StoredSecret, secret: &ClientSecret| {
            body = write(stored, secret);
            |version| {
                Some(retry.keep(Contents {
                    credential: id,
                    version,
                    body: &body,
                }))
            }
        };
        match self.rotate_and(before, overlap, write).await {
            Ok(rotated) => Ok(Answered {
                credential: id,
                version: rotated.changed.credential.version,
                body,
                effective_everywhere_at: Some(
                    retry
                        .effective_at(rotated.changed.effective_everywhere_at)
                        .await?,
                ),
            }),
            Err(refusal) => answered_meanwhile(&retry, true, refusal).await,
        }
    }
}

/// A conflict may be one with the same request, carried out by another node since this one looked.
async fn answered_meanwhile(
    retry: &Retry<'_>,
    moved: bool,
    refusal: ManageError,
) -> Result<Answered, ManageError> {
    match refusal {
        ManageError::NameTaken
        | ManageError::LimitReached { .. }
        | ManageError::TooManySecrets
        | ManageError::Revoked
        | ManageError::StaleVersion
        | ManageError::IdempotencyInProgress => match retry.look(moved).await? {
            Known::Answered(answered) => Ok(answered),
            Known::Other => Err(ManageError::IdempotencyKeyReused),
            Known::Nothing => Err(refusal),
        },
        other => Err(other),
    }
}
