//! What a change does to the record that a store has found: the contract's rules, for stores that read a
//! record, change it and write it back in one transaction. One that changes its rows in place keeps the
//! rules itself.

use std::collections::HashSet;

use super::{
    Edit, KeyCheck, LastUse, REVOKED_TOKENS_KEPT_FOR, ReplaceHash, Revoke, RevokeAll, RevokeToken,
    StoreError,
};
use crate::{
    audit::Event,
    clock::Timestamp,
    credential::{Credential, CredentialState, Revocation, Settings},
    id::{ActorId, TenantId},
    secret::keyring::KeyName,
};

impl Credential {
    fn owned_by(&mut self, tenant: &TenantId) -> Result<&mut Self, StoreError> {
        if self.identity.tenant == *tenant {
            Ok(self)
        } else {
            Err(StoreError::NotFound)
        }
    }

    fn revoke(&mut self, at: Timestamp, by: ActorId) {
        self.version += 1;
        self.revoked = Some(Revocation { at, by });
    }
}

impl Edit {
    /// Edits the credential, and returns the events to be written. Whether its name is free is left to the store.
    ///
    /// # Errors
    /// `NotFound` if it is another tenant's, `Revoked`, `StaleVersion`. Then nothing has changed.
    pub fn apply_to(self, credential: &mut Credential) -> Result<Vec<Event>, StoreError> {
        let credential = credential.owned_by(&self.tenant)?;
        if credential.revoked.is_some() {
            return Err(StoreError::Revoked);
        }
        if credential.version != self.expected_version {
            return Err(StoreError::StaleVersion);
        }
        let mut settings = self.settings;
        for secret in &mut settings.secrets {
            if let Some(kept) = credential.secret(&secret.selector) {
                secret.hash = kept.hash.clone();
                secret.last_used_at = kept.last_used_at;
            }
        }
        for registration in &mut settings.registrations {
            let mut kept = credential.settings.registrations.iter();
            if let Some(kept) = kept.find(|it| it.proof == registration.proof) {
                registration.clone_from(kept);
            }
        }
        credential.settings = settings;
        credential.version += 1;
        Ok(self.events)
    }
}

impl Revoke {
    /// Revokes the credential, and returns the event to be written; `None` if it is revoked already: then nothing has
    /// changed.
    ///
    /// # Errors
    /// `NotFound` if it is another tenant's, `StaleVersion`. Then nothing has changed.
    pub fn apply_to(self, credential: &mut Credential) -> Result<Option<Event>, StoreError> {
        let credential = credential.owned_by(&self.tenant)?;
        if credential.revoked.is_some() {
            return Ok(None);
        }
        if self
            .expected_version
            .is_some_and(|it| it != credential.version)
        {
            return Err(StoreError::StaleVersion);
        }
        credential.revoke(self.at, self.by);
        Ok(Some(self.event))
    }
}

impl RevokeAll {
    /// Revokes the credentials, which are all of the tenant's that are not revoked, and returns the events to be written:
    /// none if there are no such credentials.
    ///
    /// # Errors
    /// `StaleVersion` unless the events are for exactly those credentials. Then nothing has changed.
    pub fn apply_to<'a>(
        self,
        live: impl IntoIterator<Item = &'a mut Credential>,
    ) -> Result<Vec<Event>, StoreError> {
        let live: Vec<_> = live.into_iter().collect();
        let (ids, events): (HashSet<_>, Vec<_>) = self.events.into_iter().unzip();
        if ids != live.iter().map(|it| it.identity.id).collect() {
            return Err(StoreError::StaleVersion);
        }
        for credential in live {
            credential.revoke(self.at, self.by.clone());
        }
        Ok(events)
    }
}

impl ReplaceHash {
    /// Puts the new hash in the place of the old one, if that is still there.
    pub fn apply_to(self, credential: &mut Credential) {
        let mut secrets = credential.settings.secrets.iter_mut();
        let known = secrets.find(|it| it.selector == self.selector && it.hash == self.old);
        if let Some(secret) = known {
            secret.hash = self.new;
        }
    }
}

impl RevokeToken {
    /// Records the token at the store's `now`. Returns whether anything has changed.
    pub fn apply_to(self, state: &mut CredentialState, now: Timestamp) -> bool {
        let tokens = &mut state.revoked_tokens;
        if tokens.iter().any(|it| it.id == self.token.id) {
            return false;
        }
        let forgotten = now.saturating_sub(REVOKED_TOKENS_KEPT_FOR);
        tokens.retain(|it| it.expires_at > forgotten);
        tokens.push(self.token);
        if tokens.len() > self.limit {
            let latest = tokens.drain(..).map(|it| it.issued_at).max();
            let from = &mut state.credential.observed.tokens_valid_from;
            *from = (*from).max(latest).max(Some(now));
        }
        true
    }
}

impl LastUse {
    /// Notes the use, if it is later than those that are known.
    pub fn apply_to(&self, credential: &mut Credential) {
        let at = Some(self.at);
        let Settings {
            secrets,
            registrations,
            ..
        } = &mut credential.settings;
        let secrets = secrets.iter_mut().filter(|it| it.selector == self.proof);
        let registrations = registrations.iter_mut().filter(|it| it.proof == self.proof);
        let of_proof = secrets
            .map(|it| &mut it.last_used_at)
            .chain(registrations.map(|it| &mut it.last_used_at));
        for last in of_proof.chain([&mut credential.observed.last_used_at]) {
            *last = (*last).max(at);
        }
    }
}

impl KeyCheck {
    /// Compares check values with those that are kept, in the order in which they were first used, whose names it
    /// returns.
    ///
    /// # Errors
    /// `KeyMismatch` for the first that is kept with another value.
    pub fn compare(keys: &[Self], kept: &[Self]) -> Result<Vec<KeyName>, StoreError> {
        let differs = |key: &&Self| {
            let mut kept = kept.iter();
            kept.any(|it| it.name == key.name && it.value != key.value)
        };
        match keys.iter().find(differs) {
            Some(key) => Err(StoreError::KeyMismatch {
                name: key.name.clone(),
            }),
            None => Ok(kept.iter().map(|it| it.name.clone()).collect()),
        }
    }
}
