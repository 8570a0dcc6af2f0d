//! What a [`CredentialStore`](super::CredentialStore) is asked to do.

use super::NewReplay;
use crate::{
    audit::Event,
    clock::Timestamp,
    credential::{Credential, RevokedToken, Settings},
    id::{ActorId, CredentialId, ProofId, TenantId},
    secret::{
        hash::SecretHash,
        keyring::{Key, KeyName},
    },
};

/// A credential to add.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// The whole record, version 1.
    pub credential: Credential,
    /// How many credentials that are not revoked the tenant may have, this one included.
    pub limit: u32,
    /// Written with it.
    pub event: Event,
    /// Kept with it.
    pub replay: Option<NewReplay>,
}

/// Which credentials of a tenant to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListQuery {
    /// At most so many, at least 1.
    pub limit: usize,
    /// Only those behind this place.
    pub after: Option<ListPosition>,
    /// With the revoked ones.
    pub include_revoked: bool,
}

/// A place in the list of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPosition {
    /// That credential's `created_at`.
    pub created_at: Timestamp,
    /// That credential's id, which decides between equal times.
    pub id: CredentialId,
}

impl ListPosition {
    /// The place of a credential.
    #[must_use]
    pub fn of(credential: &Credential) -> Self {
        Self {
            created_at: credential.identity.created_at,
            id: credential.identity.id,
        }
    }
}

/// An edit of one credential.
#[derive(Debug, Clone)]
pub struct Edit {
    /// Who must own it.
    pub tenant: TenantId,
    /// Which one.
    pub id: CredentialId,
    /// The version that the edit was decided on.
    pub expected_version: u64,
    /// All settings as they shall be. A secret that the credential has keeps its hash and its last use, and
    /// a registration its last use, whatever is said of them here.
    pub settings: Settings,
    /// Written with it, in this order.
    pub events: Vec<Event>,
    /// Kept with it.
    pub replay: Option<NewReplay>,
}

/// A revocation.
#[derive(Debug, Clone)]
pub struct Revoke {
    /// Who must own it.
    pub tenant: TenantId,
    /// Which one.
    pub id: CredentialId,
    /// Only if it still has this version.
    pub expected_version: Option<u64>,
    /// When, unless it already was.
    pub at: Timestamp,
    /// By whom, unless it already was.
    pub by: ActorId,
    /// Written with it, unless it already was.
    pub event: Event,
}

/// The revocation of every credential of a tenant.
#[derive(Debug, Clone)]
pub struct RevokeAll {
    /// Whose.
    pub tenant: TenantId,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: ActorId,
    /// The tenant's credentials that are not revoked, each with what is written with its revocation, in
    /// this order.
    pub events: Vec<(CredentialId, Event)>,
}

/// A secret's hash under newer parameters or another pepper.
#[derive(Debug, Clone)]
pub struct ReplaceHash {
    /// The credential.
    pub id: CredentialId,
    /// The secret.
    pub selector: ProofId,
    /// The hash that was verified.
    pub old: SecretHash,
    /// The new one.
    pub new: SecretHash,
}

/// The use of one assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpendAssertion {
    /// Whose.
    pub credential_id: CredentialId,
    /// SHA-256 of its `jti`.
    pub digest: [u8; 32],
    /// Until when it would count.
    pub until: Timestamp,
}

/// The revocation of one token.
#[derive(Debug, Clone, Copy)]
pub struct RevokeToken {
    /// The token's credential.
    pub credential_id: CredentialId,
    /// The token.
    pub token: RevokedToken,
    /// How many records a credential may have.
    pub limit: usize,
}

/// A key's public check value: it shows other bytes under the same name, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KeyCheck {
    /// The key's name.
    pub name: KeyName,
    /// Derived from its bytes.
    pub value: String,
}

impl From<&Key> for KeyCheck {
    fn from(key: &Key) -> Self {
        Self {
            name: key.name().clone(),
            value: key.check_value().to_owned(),
        }
    }
}
