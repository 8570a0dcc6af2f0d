//! A credential as checks see it, and the one rule that decides whether it and its proof are live.

use std::{collections::HashSet, sync::Arc};

use crate::{
    authenticate::END_ANNOUNCED,
    catalog::{ApiType, ScopeCatalog, ScopeSet},
    clock::Timestamp,
    credential::{Credential, CredentialState, Networks, Status, StoredSecret},
    id::ProofId,
    token::TokenId,
    usage::{ProofUse, UseLog},
};

/// A credential as checks see it: its record resolved against the catalogue once.
#[derive(Debug)]
pub(crate) struct LiveCredential {
    pub(crate) credential: Credential,
    pub(crate) api_type: Arc<ApiType>,
    /// The names of the scopes that it holds.
    pub(crate) held: ScopeSet,
    /// The scopes that these confer.
    pub(crate) rights: ScopeSet,
    pub(crate) revoked_tokens: HashSet<TokenId>,
    /// Of each secret, in the order of `credential.settings.secrets`, and then of each registration.
    uses: Vec<Arc<ProofUse>>,
}

impl LiveCredential {
    /// `None` if the catalogue does not offer the credential's API type: it confers nothing.
    pub(crate) fn resolve(
        state: CredentialState,
        catalog: &ScopeCatalog,
        uses: &UseLog,
    ) -> Option<Self> {
        let api_type = Arc::clone(catalog.api_type(state.credential.identity.api_type.as_str())?);
        let held = api_type.resolve(state.credential.settings.scopes.iter().map(String::as_str));
        Some(Self {
            rights: api_type.rights(&held),
            held,
            api_type,
            revoked_tokens: state.revoked_tokens.iter().map(|token| token.id).collect(),
            uses: uses.notes_of(&state.credential),
            credential: state.credential,
        })
    }

    /// Whether the credential and that proof of it are live: asked of tokens and of clients alike.
    ///
    /// # Errors
    /// The first rule that refuses.
    pub(crate) fn check(&self, proof: &ProofId, now: Timestamp) -> Result<(), NotLive> {
        match self.credential.status(now) {
            Status::Revoked => return Err(NotLive::Revoked),
            Status::Expired => return Err(NotLive::Expired),
            Status::Disabled => return Err(NotLive::Disabled),
            Status::Active => {}
        }
        if !self.proof(proof).ok_or(NotLive::NoSuchProof)?.is_live(now) {
            return Err(NotLive::ProofEnded);
        }
        Ok(())
    }

    /// The networks that it may be used from; empty: from everywhere.
    pub(crate) fn networks(&self) -> &Networks {
        &self.credential.settings.allowed_networks
    }

    /// The first moment at which the credential or that proof ends by itself; `None`: never.
    pub(crate) fn ends(&self, proof: &ProofId) -> Option<Timestamp> {
        let of_proof = match self.proof(proof) {
            Some(Proof::Secret(secret)) => secret.expires_at,
            Some(Proof::Registration) | None => None,
        };
        let ends = [self.credential.settings.expires_at, of_proof];
        ends.into_iter().flatten().min()
    }

    /// As [`ends`](Self::ends), once it is near.
    pub(crate) fn ends_soon(&self, proof: &ProofId, now: Timestamp) -> Option<Timestamp> {
        let end = self.ends(proof)?;
        (end <= now.saturating_add(END_ANNOUNCED)).then_some(end)
    }

    /// Where uses of that proof are noted; `None` if the credential no longer has it.
    pub(crate) fn note_of(&self, proof: &ProofId) -> Option<&Arc<ProofUse>> {
        let place = self
            .credential
            .settings
            .proofs()
            .position(|it| it == *proof);
        self.uses.get(place?)
    }

    fn proof(&self, proof: &ProofId) -> Option<Proof<'_>> {
        let registered = || {
            let registrations = &self.credential.settings.registrations;
            registrations.iter().any(|it| it.proof == *proof)
        };
        match self.credential.secret(proof) {
            Some(secret) => Some(Proof::Secret(secret)),
            None => registered().then_some(Proof::Registration),
        }
    }
}

/// A proof of a credential.
enum Proof<'a> {
    Secret(&'a StoredSecret),
    /// It is live for as long as the credential has it.
    Registration,
}

impl Proof<'_> {
    fn is_live(&self, now: Timestamp) -> bool {
        match self {
            Self::Secret(secret) => secret.is_live(now),
            Self::Registration => true,
        }
    }
}

/// Why a credential with one of its proofs does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotLive {
    /// The credential is revoked.
    Revoked,
    /// The credential has expired.
    Expired,
    /// The credential is disabled.
    Disabled,
    /// The credential has no such proof, or no longer.
    NoSuchProof,
    /// The proof has ended.
    ProofEnded,
}
