//! The audit trail: the row of each change, and the chain of rows.
//!
//! Core computes each row's hash; the store only calls [`Event::seal`] while it holds the
//! tenant's lock, with the head of that tenant's chain. A row that is altered, removed or moved
//! breaks the chain, and the head that the store keeps beside the rows shows a removed end; see
//! [`verify_trails`]. If the end was removed together with that head, only [`Heads`] that were kept
//! elsewhere show it.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use crate::{
    clock::Timestamp,
    id::{ActorId, CredentialId, TenantId},
    secret::keyring::{KeyName, KeySigner},
};

mod verify;

pub use self::verify::{Heads, HeadsError, TrailFault, TrailReport, verify_trails};

/// The version of the framing of what a row's hash covers.
const FORMAT: u8 = 1;

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident = $name:literal,)*) => {
        /// What happened.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Action {
            $($(#[$doc])* $action,)*
            /// An action that only a newer version knows, by its name.
            Other(String),
        }

        impl Action {
            /// `credential.created` and so on.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$action => $name,)*
                    Self::Other(name) => name,
                }
            }
        }

        /// From its name, for stores that keep it as text.
        impl From<String> for Action {
            fn from(name: String) -> Self {
                match name.as_str() {
                    $($name => Self::$action,)*
                    _ => Self::Other(name),
                }
            }
        }
    };
}

actions! {
    /// Created, with what its client proves itself with.
    Created = "credential.created",
    /// Its name changed.
    Renamed = "credential.renamed",
    /// Its expiry moved.
    ExpiryChanged = "credential.expiry_changed",
    /// Its description changed.
    DescriptionChanged = "credential.description_changed",
    /// The networks that it may be used from changed.
    NetworksChanged = "credential.networks_changed",
    /// Refused from then on, until it is enabled.
    Disabled = "credential.disabled",
    /// Accepted again.
    Enabled = "credential.enabled",
    /// It has a further secret.
    SecretAdded = "credential.secret_added",
    /// One of its secrets was ended at once.
    SecretEnded = "credential.secret_ended",
    /// Its public keys changed.
    KeysChanged = "credential.keys_changed",
    /// The workloads that it trusts changed.
    WorkloadsChanged = "credential.workloads_changed",
    /// Its scopes changed.
    ScopesChanged = "credential.scopes_changed",
    /// Revoked.
    Revoked = "credential.revoked",
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Subject {
    /// One credential.
    Credential(CredentialId),
    /// The tenant as a whole.
    Tenant,
}

impl Subject {
    /// The credential, if it is one.
    #[must_use]
    pub fn credential(&self) -> Option<CredentialId> {
        match self {
            Self::Credential(id) => Some(*id),
            Self::Tenant => None,
        }
    }
}

impl From<Option<CredentialId>> for Subject {
    fn from(id: Option<CredentialId>) -> Self {
        id.map_or(Self::Tenant, Self::Credential)
    }
}

/// An event that has no place in the chain yet.
#[derive(Clone)]
pub struct Event {
    at: Timestamp,
    actor: ActorId,
    tenant: TenantId,
    action: Action,
    subject: Subject,
    details: String,
    signer: KeySigner,
}

impl Event {
    /// An event whose `details` are written as a JSON object.
    pub(crate) fn new(
        signer: KeySigner,
        at: Timestamp,
        actor: &ActorId,
        tenant: &TenantId,
        subject: Subject,
        details: &Details<'_>,
    ) -> Self {
        // Why `unwrap_or_default`: a struct of strings and lists always serialises.
        let mut text = serde_json::to_string(details).unwrap_or_default();
        // A store in memory keeps it.
        text.shrink_to_fit();
        Self {
            at,
            actor: actor.clone(),
            tenant: tenant.clone(),
            action: details.action(),
            subject,
            details: text,
            signer,
        }
    }

    /// The tenant whose chain it goes into.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Gives the event its place behind `head`, the tenant's latest row (`None`: the first).
    ///
    /// For stores only, under the lock that orders the tenant's rows.
    #[must_use]
    pub fn seal(self, head: Option<&AuditHead>) -> AuditEvent {
        let key = self.signer.behind(head.and_then(|head| head.key.as_ref()));
        let mut event = AuditEvent {
            format: FORMAT,
            tenant: self.tenant,
            seq: head.map_or(1, |head| head.seq.saturating_add(1)),
            at: self.at,
            actor: self.actor,
            action: self.action,
            subject: self.subject,
            details: self.details,
            key: key.name().clone(),
            hash: [0; 32],
        };
        event.hash = key.audit_mac(&event.framed(head.map(|head| &head.hash)));
        event
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("tenant", &self.tenant)
            .field("action", &self.action)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// The details of an event. Never a secret.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Details<'a> {
    Created {
        name: &'a str,
        api_type: &'a str,
        client_id: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        description: &'a str,
        scopes: &'a [String],
        expires_at: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        allowed_networks: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        keys: Vec<KeyNote<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        workloads: Vec<WorkloadNote<'a>>,
    },
    Renamed {
        name: &'a str,
        name_before: &'a str,
    },
    ExpiryChanged {
        expires_at: Option<String>,
        expires_at_before: Option<String>,
    },
    ScopesChanged {
        scopes: &'a [String],
        scopes_before: &'a [String],
    },
    DescriptionChanged {
        description: &'a str,
        description_before: &'a str,
    },
    NetworksChanged {
        allowed_networks: Vec<String>,
        allowed_networks_before: Vec<String>,
    },
    Disabled {
        name: &'a str,
    },
    Enabled {
        name: &'a str,
    },
    SecretAdded {
        selector: &'a str,
        /// The secrets whose end was set by it.
        ends: Vec<SecretEnd<'a>>,
    },
    SecretEnded {
        selector: &'a str,
    },
    KeysChanged {
        keys: Vec<KeyNote<'a>>,
        keys_before: Vec<KeyNote<'a>>,
    },
    WorkloadsChanged {
        workloads: Vec<WorkloadNote<'a>>,
        workloads_before: Vec<WorkloadNote<'a>>,
    },
    Revoked {
        name: &'a str,
        client_id: &'a str,
    },
}

/// A public key, by the digest of RFC 7638, or where keys are.
#[derive(Debug, Serialize, PartialEq)]
#[serde(untagged)]
pub(crate) enum KeyNote<'a> {
    Key {
        kid: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        alg: Option<&'a str>,
        thumbprint: String,
    },
    Url {
        jwks_uri: &'a str,
    },
}

/// A trusted workload.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct WorkloadNote<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) claims: &'a BTreeMap<String, Value>,
    /// The keys that are pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pinned: Option<Vec<KeyNote<'a>>>,
}

/// A secret, by its selector, and when it ends.
#[derive(Debug, Serialize)]
pub(crate) struct SecretEnd<'a> {
    pub(crate) selector: &'a str,
    pub(crate) expires_at: String,
}

impl Details<'_> {
    fn action(&self) -> Action {
        match self {
            Self::Created { .. } => Action::Created,
            Self::Renamed { .. } => Action::Renamed,
            Self::ExpiryChanged { .. } => Action::ExpiryChanged,
            Self::ScopesChanged { .. } => Action::ScopesChanged,
            Self::DescriptionChanged { .. } => Action::DescriptionChanged,
            Self::NetworksChanged { .. } => Action::NetworksChanged,
            Self::Disabled { .. } => Action::Disabled,
            Self::Enabled { .. } => Action::Enabled,
            Self::SecretAdded { .. } => Action::SecretAdded,
            Self::SecretEnded { .. } => Action::SecretEnded,
            Self::KeysChanged { .. } => Action::KeysChanged,
            Self::WorkloadsChanged { .. } => Action::WorkloadsChanged,
            Self::Revoked { .. } => Action::Revoked,
        }
    }
}

/// The latest row of a tenant's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
    /// The key that it was signed with, if known: no older one signs behind it.
    pub key: Option<KeyName>,
}

/// One row of a tenant's audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct AuditEvent {
    /// How the row is framed for its hash: the first byte of what that covers.
    pub format: u8,
    /// The tenant whose trail it is in.
    pub tenant: TenantId,
    /// Its place: 1, 2, 3, … per tenant, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: ActorId,
    /// What.
    pub action: Action,
    /// About what.
    pub subject: Subject,
    /// A JSON object, kept to the byte because the hash covers it.
    pub details: String,
    /// The keyring's key that the hash was made with.
    pub key: KeyName,
    /// HMAC-SHA-256 over this row and the hash of the row before.
    pub hash: [u8; 32],
}

impl AuditEvent {
    /// This row as the head that the next one builds on.
    #[must_use]
    pub fn head(&self) -> AuditHead {
        AuditHead {
            seq: self.seq,
            hash: self.hash,
            key: Some(self.key.clone()),
        }
    }

    /// The bytes that the hash covers, given the hash of the row before: the format, then each part
    /// after its length, so that no two rows give the same bytes.
    fn framed(&self, before: Option<&[u8; 32]>) -> Vec<u8> {
        let mut framed = Vec::with_capacity(256 + self.details.len());
        framed.push(self.format);
        let mut put = |part: &[u8]| {
            framed.extend_from_slice(&(part.len() as u64).to_le_bytes());
            framed.extend_from_slice(part);
        };
        put(self.key.as_str().as_bytes());
        put(self.tenant.as_str().as_bytes());
        put(&self.seq.to_le_bytes());
        put(&self.at.as_micros().to_le_bytes());
        put(self.actor.as_str().as_bytes());
        put(self.action.as_str().as_bytes());
        let credential = self.subject.credential();
        put(credential.as_ref().map_or(&[][..], |id| &id.as_bytes()[..]));
        put(self.details.as_bytes());
        put(before.unwrap_or(&[0; 32]));
        framed
    }
}
