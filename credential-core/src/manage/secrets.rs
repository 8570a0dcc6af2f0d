//! A credential's secrets: a further one beside those that it has, and the end of one.

use std::time::Duration;

use super::{Changed, MAX_OVERLAP, Manage, ManageError, RotateSecret, Rotated, request::Findings};
use crate::{
    clock::Timestamp,
    credential::{Credential, StoredSecret},
    id::CredentialId,
    secret::{ClientSecret, verify::VerifyError},
    store::NewReplay,
};

/// How long old secrets stay live if the admin does not say.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 3600);
/// The most live secrets of a credential.
const MAX_LIVE: usize = 2;
/// How far apart the clocks of nodes may lie before an end that an admin asks for waits for one of them.
const CLOCKS_APART: Duration = Duration::from_secs(600);
/// The most ended secrets that are kept: bounds what a credential takes that is rotated in a loop.
const MAX_ENDED: usize = 50;

impl Manage<'_> {
    /// Gives a credential a further secret. Those that it has stay live for the overlap, so that the client
    /// can change over without an outage; without an overlap they end at once, with their tokens.
    ///
    /// Costs one hash, unless it is refused. No version is expected: nothing that another admin decided
    /// is undone.
    ///
    /// # Errors
    /// `NotFound`, `SelfServiceUnavailable`, `Revoked`, `Invalid`, `TooManySecrets` (with an overlap, beside
    /// two live secrets), `RateLimited`, `Hash`, `Store`.
    pub async fn rotate_secret(
        self,
        id: CredentialId,
        request: RotateSecret,
    ) -> Result<Rotated, ManageError> {
        let before = self.get(id).await?;
        self.require_self_service()?;
        if before.revoked.is_some() {
            return Err(ManageError::Revoked);
        }
        let overlap = check_overlap(&request)?;
        self.rotate_and(before, overlap, |_, _| |_| None).await
    }

    /// Gives a credential a further secret, and keeps with it what `keep` makes of the secret and the
    /// credential's version.
    pub(super) async fn rotate_and<K>(
        self,
        before: Credential,
        overlap: Duration,
        keep: impl FnOnce(&StoredSecret, &ClientSecret) -> K + Send,
    ) -> Result<Rotated, ManageError>
    where
        K: Fn(u64) -> Option<NewReplay> + Send + Sync,
    {
        // INVARIANT: nothing is hashed that will be refused. Only races are left for later.
        check_room(&before, overlap, self.credentials.clock().now())?;
        let creating = self
            .credentials
            .0
            .store_work
            .creating(self.admin.tenant())
            .await?;
        let (client_secret, stored) = self.new_secret().await?;
        let selector = stored.selector;
        let keep = keep(&stored, &client_secret);
        let decide = |before: &Credential| {
            let now = stored.created_at;
            check_room(before, overlap, now)?;
            let mut settings = before.settings.clone();
            for secret in &mut settings.secrets {
                supersede(secret, overlap, now);
            }
            forget_ended(&mut settings.secrets, now);
            settings.secrets.push(stored.clone());
            Ok(Some(settings))
        };
        let changed = self
            .edit_latest_and(before.identity.id, None, decide, keep)
            .await?;
        drop(creating);
        Ok(Rotated {
            changed,
            selector,
            client_secret,
        })
    }

    /// Ends one secret and its tokens, at once everywhere. One that has ended already stays as it is. Also
    /// where self-service is off: what takes away stays possible.
    ///
    /// # Errors
    /// `NotFound` (also: no such secret), `Revoked`, `LastProof`, `RateLimited`, `Store`.
    pub async fn end_secret(
        self,
        id: CredentialId,
        selector: &str,
    ) -> Result<Changed, ManageError> {
        let now = self.credentials.clock().now();
        self.edit_latest(id, None, |before| {
            let found = before.settings.secrets.iter();
            let mut found = found.enumerate();
            let (at, secret) = found
                .find(|(_, secret)| secret.selector.as_str() == selector)
                .filter(|(_, secret)| secret.is_listed(now))
                .ok_or(ManageError::NotFound)?;
            if before.revoked.is_some() {
                return Err(ManageError::Revoked);
            }
            if !may_be_live(secret, now) {
                return Ok(None);
            }
            let others = before.live_secrets(now);
            let others = others.filter(|other| other.selector != secret.selector);
            if others.count() + before.settings.registrations.len() == 0 {
                return Err(ManageError::LastProof);
            }
            let mut settings = before.settings.clone();
            if let Some(secret) = settings.secrets.get_mut(at) {
                secret.ended_at = Some(now);
            }
            Ok(Some(settings))
        })
        .await
    }

    /// A new secret, and what is kept of it.
    ///
    /// # Errors
    /// `RateLimited`, `Hash`, `Store`.
    pub(super) async fn new_secret(self) -> Result<(ClientSecret, StoredSecret), ManageError> {
        let node = self.credentials;
        node.before_signing().await?;
        let (client_secret, selector) = ClientSecret::generate(
            &node.0.prefix,
            node.environment(),
            &node.0.keyring,
            &*node.0.entropy,
        );
        let hash = node
            .0
            .verifier
            .hash(self.admin.tenant(), &client_secret)
            .await
            .map_err(|error| match error {
                VerifyError::Overloaded { retry_after } => ManageError::RateLimited { retry_after },
                error => ManageError::Hash(error),
            })?;
        let stored = StoredSecret {
            selector,
            hash,
            created_at: node.clock().now(),
            expires_at: None,
            ended_at: None,
            last_used_at: None,
        };
        Ok((client_secret, stored))
    }
}

pub(super) fn check_overlap(request: &RotateSecret) -> Result<Duration, ManageError> {
    let mut found = Findings::new(request.incomplete);
    let overlap = match found.optional(request.overlap_seconds) {
        None => DEFAULT_OVERLAP,
        Some(seconds) => {
            let overlap = u64::try_from(seconds).ok().map(Duration::from_secs);
            overlap.filter(|it| *it <= MAX_OVERLAP).unwrap_or_else(|| {
                let message = format!("from 0 to {} seconds", MAX_OVERLAP.as_secs());
                found.add("overlap_seconds", "out_of_range", message);
                DEFAULT_OVERLAP
            })
        }
    };
    if found.is_empty() {
        Ok(overlap)
    } else {
        Err(found.into_error())
    }
}

fn check_room(before: &Credential, overlap: Duration, now: Timestamp) -> Result<(), ManageError> {
    if !overlap.is_zero() && before.live_secrets(now).count() >= MAX_LIVE {
        return Err(ManageError::TooManySecrets);
    }
    Ok(())
}

/// Whether a secret is live, or so lately expired that a node whose clock is behind still takes it for live.
fn may_be_live(secret: &StoredSecret, now: Timestamp) -> bool {
    secret.is_live(now.saturating_sub(CLOCKS_APART))
}

/// Brings the end of a live secret forward to the end of the overlap.
fn supersede(secret: &mut StoredSecret, overlap: Duration, now: Timestamp) {
    if overlap.is_zero() {
        if may_be_live(secret, now) {
            secret.ended_at = Some(now);
        }
        return;
    }
    if !secret.is_live(now) {
        return;
    }
    let end = now.saturating_add(overlap);
    secret.expires_at = Some(secret.expires_at.map_or(end, |at| at.min(end)));
}

/// Removes the secrets that are no longer listed, and the oldest ended ones beyond [`MAX_ENDED`].
fn forget_ended(secrets: &mut Vec<StoredSecret>, now: Timestamp) {
    secrets.retain(|secret| secret.is_listed(now));
    let ended = secrets.iter().filter(|secret| !secret.is_live(now)).count();
    let mut surplus = ended.saturating_sub(MAX_ENDED);
    secrets.retain(|secret| {
        let goes = surplus > 0 && !secret.is_live(now);
        surplus -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::ProofId,
        secret::{
            hash::{Argon2Hasher, HashCost, SecretHasher as _},
            keyring::Keyring,
        },
        testing::SeededEntropy,
    };

    #[test]
    fn ended_secrets_are_kept_for_a_month_and_at_most_fifty() {
        let entropy = SeededEntropy::new(7);
        let hasher = Argon2Hasher::new(
            Keyring::generate(&entropy),
            HashCost::cheap(),
            std::sync::Arc::new(SeededEntropy::new(8)),
        );
        let hash = hasher.hash("secret").unwrap();
        let day = |day: i64| Timestamp::from_micros(day * 24 * 3_600_000_000);
        let secret = |ended: Option<i64>, expires: Option<i64>| StoredSecret {
            selector: ProofId::random(&entropy),
            hash: hash.clone(),
            created_at: day(0),
            expires_at: expires.map(day),
            ended_at: ended.map(day),
            last_used_at: None,
        };
        let mut secrets = vec![
            secret(Some(69), None),
            secret(None, Some(70)),
            secret(Some(71), None),
            secret(None, Some(71)),
            secret(None, Some(101)),
            secret(None, None),
        ];
        let kept: Vec<_> = secrets[2..].to_vec();
        forget_ended(&mut secrets, day(100));
        assert_eq!(secrets, kept);

        let mut many: Vec<_> = (0..60).map(|_| secret(Some(99), None)).collect();
        many.insert(0, secret(None, None));
        let expected: Vec<_> = [&many[..1], &many[11..]].concat();
        forget_ended(&mut many, day(100));
        assert_eq!(many, expected);
    }
}
