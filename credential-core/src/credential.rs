//! A credential and its life.

use std::time::Duration;

mod description;
mod key_set_url;
mod name;
mod networks;
mod registration;
mod workload;

pub use self::{
    description::{Description, DescriptionError},
    key_set_url::{KeySetUrl, UrlFault, is_public},
    name::{CredentialName, NameError},
    networks::{NetworkError, Networks},
    registration::{Means, Registration},
    workload::{NewWorkload, WorkloadFault, WorkloadRule},
};
use crate::{
    catalog::ApiTypeId,
    clock::Timestamp,
    id::{ActorId, ClientId, CredentialId, Environment, ProofId, TenantId},
    secret::hash::SecretHash,
    token::TokenId,
};

/// How long an ended secret stays listed. Later edits forget it.
pub const ENDED_SECRETS_KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The stored record behind an API key, in three parts by how they change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Credential {
    /// Never changes.
    pub identity: Identity,
    /// What admins edit, as a whole; each edit moves `version`.
    pub settings: Settings,
    /// What happens to it in use; moves no version.
    pub observed: Observed,
    /// Set once, final; moves `version`.
    pub revoked: Option<Revocation>,
    /// Grows by one with each edit and with the revocation. Starts at 1.
    pub version: u64,
}

/// Which credential it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Identity {
    /// The admin API's name for it.
    pub id: CredentialId,
    /// Who owns it.
    pub tenant: TenantId,
    /// Which API it is for, chosen once.
    pub api_type: ApiTypeId,
    /// RFC 6749 §2.2.
    pub client_id: ClientId,
    /// Where it works; also part of `client_id` and of each secret.
    pub environment: Environment,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: ActorId,
}

/// What admins decide about a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Settings {
    /// What admins call it; unique among the tenant's credentials that are not revoked.
    pub name: CredentialName,
    /// What admins wrote about it.
    pub description: Description,
    /// Canonical scope names, sorted. A name that the catalogue no longer lists confers nothing.
    pub scopes: Vec<String>,
    /// From then on it is refused; `None`: never. May be moved, also to revive it.
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused until it is enabled again; `None`: it is not. Whether there is a time
    /// decides, not which: the clocks of nodes differ.
    pub disabled_at: Option<Timestamp>,
    /// From where it may be used.
    pub allowed_networks: Networks,
    /// At most two live secrets, and those that ended in the last [`ENDED_SECRETS_KEPT_FOR`] before the
    /// latest edit, oldest first. An edit adds secrets, takes them
    /// away and moves their `expires_at`; the hash and the last use of a secret that stays are the
    /// store's.
    pub secrets: Vec<StoredSecret>,
    /// What proves the client in place of a secret. An edit adds and takes away; the last use of what stays
    /// is the store's, and nothing else of it ever changes.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Vec::is_empty")
    )]
    pub registrations: Vec<Registration>,
}

impl Settings {
    /// The proofs that the client has, live or ended: of its secrets, then of its registrations.
    pub fn proofs(&self) -> impl Iterator<Item = ProofId> + Clone {
        let secrets = self.secrets.iter().map(|secret| secret.selector);
        secrets.chain(self.registrations.iter().map(|it| it.proof))
    }

    /// Whether admins decided the same. The hash and the last use of a secret are the store's.
    pub(crate) fn decides_as(&self, other: &Self) -> bool {
        let Self {
            name,
            description,
            scopes,
            expires_at,
            disabled_at,
            allowed_networks,
            secrets,
            registrations,
        } = self;
        *name == other.name
            && *description == other.description
            && *scopes == other.scopes
            && *expires_at == other.expires_at
            && *disabled_at == other.disabled_at
            && *allowed_networks == other.allowed_networks
            && secrets
                .iter()
                .map(StoredSecret::decided)
                .eq(other.secrets.iter().map(StoredSecret::decided))
            && registrations
                .iter()
                .map(|it| it.proof)
                .eq(other.registrations.iter().map(|it| it.proof))
    }
}

/// What was seen of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Observed {
    /// Tokens issued up to then are refused (RFC 7009 in bulk); `None`: none are.
    pub tokens_valid_from: Option<Timestamp>,
    /// The latest issued token or allowed call that was recorded.
    pub last_used_at: Option<Timestamp>,
}

impl Credential {
    /// Where in its life the credential is at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        if self.revoked.is_some() {
            Status::Revoked
        } else if self.settings.expires_at.is_some_and(|at| at <= now) {
            Status::Expired
        } else if self.settings.disabled_at.is_some() {
            Status::Disabled
        } else {
            Status::Active
        }
    }

    /// The secrets that authenticate at `now`.
    pub fn live_secrets(&self, now: Timestamp) -> impl Iterator<Item = &StoredSecret> {
        self.settings
            .secrets
            .iter()
            .filter(move |secret| secret.is_live(now))
    }

    /// The secrets that admins see: those that are live at `now`, and those that ended in the last
    /// [`ENDED_SECRETS_KEPT_FOR`].
    pub fn listed_secrets(&self, now: Timestamp) -> impl Iterator<Item = &StoredSecret> {
        self.settings
            .secrets
            .iter()
            .filter(move |secret| secret.is_listed(now))
    }

    /// How many proofs, secrets and others, authenticate at `now`.
    #[must_use]
    pub fn live_proofs(&self, now: Timestamp) -> usize {
        self.live_secrets(now).count() + self.settings.registrations.len()
    }

    /// The secret of that selector, live or not.
    #[must_use]
    pub fn secret(&self, selector: &ProofId) -> Option<&StoredSecret> {
        self.settings
            .secrets
            .iter()
            .find(|secret| secret.selector == *selector)
    }
}

/// Where in its life a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Works.
    Active,
    /// Past `expires_at`: refused, and revived by moving that into the future.
    Expired,
    /// Refused until it is enabled again.
    Disabled,
    /// Ended for good.
    Revoked,
}

impl Status {
    /// `active`, `expired`, `disabled` or `revoked`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }
}

/// When and by whom a credential was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Revocation {
    /// The first revocation's time.
    pub at: Timestamp,
    /// The first revocation's actor.
    pub by: ActorId,
}

/// What is kept of a client secret: enough to check one, not to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct StoredSecret {
    /// The public part that finds it.
    pub selector: ProofId,
    /// Argon2id in PHC form.
    pub hash: SecretHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is refused, and so are its tokens; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When an admin ended it, at once. Whether there is a time decides, not which: the clocks of nodes
    /// differ. Final.
    pub ended_at: Option<Timestamp>,
    /// The latest recorded use.
    pub last_used_at: Option<Timestamp>,
}

impl StoredSecret {
    /// What an edit decides of it.
    fn decided(&self) -> (ProofId, Timestamp, Option<Timestamp>, Option<Timestamp>) {
        (
            self.selector,
            self.created_at,
            self.expires_at,
            self.ended_at,
        )
    }

    /// Whether it authenticates at `now`.
    #[must_use]
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }

    pub(crate) fn is_listed(&self, now: Timestamp) -> bool {
        self.is_live(now)
            || self
                .ends_at()
                .is_some_and(|at| now < at.saturating_add(ENDED_SECRETS_KEPT_FOR))
    }

    /// When it ended or will end; `None`: not by itself.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        [self.ended_at, self.expires_at].into_iter().flatten().min()
    }
}

/// A token that was revoked before it expired (RFC 7009).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RevokedToken {
    /// The token's own id.
    pub id: TokenId,
    /// When it was issued, by the clock of the node that issued it.
    pub issued_at: Timestamp,
    /// When it would have expired by itself.
    pub expires_at: Timestamp,
}

impl From<Credential> for CredentialState {
    /// Of a new credential.
    fn from(credential: Credential) -> Self {
        Self {
            credential,
            revoked_tokens: Vec::new(),
        }
    }
}

/// Everything about a credential that a check may depend on, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct CredentialState {
    /// The record.
    pub credential: Credential,
    /// Its revoked tokens; the store may leave out expired ones. At most
    /// [`RevokeToken::limit`](crate::store::RevokeToken::limit).
    pub revoked_tokens: Vec<RevokedToken>,
}
