//! The audit trail: what is written with each change, and how the rows are chained.
//!
//! Core computes each row's hash; the store only calls [`Event::seal`] while it holds the
//! tenant's lock, with the head of that tenant's chain. A row that is altered, removed from the
//! middle or put in another's place breaks the chain; a cut-off tail shows only against a head
//! that was kept elsewhere.

use std::fmt;

use serde::Serialize;

use crate::{
    clock::Timestamp,
    id::{ActorId, CredentialId, TenantId},
    secret::keyring::{KeyName, Keyring},
    store::{AuditQuery, CredentialStore, StoreError},
};

/// What happened to a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Created, with its first secret.
    Created,
    /// Its name changed.
    Renamed,
    /// Its expiry moved.
    ExpiryChanged,
    /// Its scopes changed.
    ScopesChanged,
    /// Revoked.
    Revoked,
}

impl Action {
    const ALL: [Self; 5] = [
        Self::Created,
        Self::Renamed,
        Self::ExpiryChanged,
        Self::ScopesChanged,
        Self::Revoked,
    ];

    /// `credential.created` and so on.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "credential.created",
            Self::Renamed => "credential.renamed",
            Self::ExpiryChanged => "credential.expiry_changed",
            Self::ScopesChanged => "credential.scopes_changed",
            Self::Revoked => "credential.revoked",
        }
    }

    /// The action of that name, for stores that keep it as text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// Something that is about to happen, not yet in its place in the chain.
#[derive(Clone)]
pub struct Event {
    at: Timestamp,
    actor: ActorId,
    tenant: TenantId,
    action: Action,
    credential_id: CredentialId,
    details: String,
    keyring: Keyring,
}

impl Event {
    /// An event whose `details` are written as a JSON object.
    pub(crate) fn new(
        keyring: &Keyring,
        at: Timestamp,
        actor: &ActorId,
        tenant: &TenantId,
        credential_id: CredentialId,
        details: &Details<'_>,
    ) -> Self {
        Self {
            at,
            actor: actor.clone(),
            tenant: tenant.clone(),
            action: details.action(),
            credential_id,
            // Why `unwrap_or_default`: a struct of strings and lists always serialises.
            details: serde_json::to_string(details).unwrap_or_default(),
            keyring: keyring.clone(),
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
        let key = self.keyring.signing();
        let mut event = AuditEvent {
            tenant: self.tenant,
            seq: head.map_or(1, |head| head.seq.saturating_add(1)),
            at: self.at,
            actor: self.actor,
            action: self.action,
            credential_id: self.credential_id,
            details: self.details,
            key: key.name().clone(),
            hash: [0; 32],
        };
        event.hash = key.audit_mac(&event.framed(head));
        event
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("tenant", &self.tenant)
            .field("action", &self.action)
            .field("credential_id", &self.credential_id)
            .finish_non_exhaustive()
    }
}

/// What an event says beside who, when and which credential. Never a secret.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Details<'a> {
    Created {
        name: &'a str,
        api_type: &'a str,
        client_id: &'a str,
        scopes: &'a [String],
        expires_at: Option<String>,
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
    Revoked {
        name: &'a str,
        client_id: &'a str,
    },
}

impl Details<'_> {
    fn action(&self) -> Action {
        match self {
            Self::Created { .. } => Action::Created,
            Self::Renamed { .. } => Action::Renamed,
            Self::ExpiryChanged { .. } => Action::ExpiryChanged,
            Self::ScopesChanged { .. } => Action::ScopesChanged,
            Self::Revoked { .. } => Action::Revoked,
        }
    }
}

/// The latest row of a tenant's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// One row of a tenant's audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Whose trail.
    pub tenant: TenantId,
    /// Its place: 1, 2, 3, … per tenant, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: ActorId,
    /// What.
    pub action: Action,
    /// To which credential.
    pub credential_id: CredentialId,
    /// A JSON object, kept to the byte because the hash covers it.
    pub details: String,
    /// The keyring's key that the hash was made with.
    pub key: KeyName,
    /// HMAC-SHA256 over this row and the hash of the row before.
    pub hash: [u8; 32],
}

impl AuditEvent {
    /// This row as the head that the next one builds on.
    #[must_use]
    pub fn head(&self) -> AuditHead {
        AuditHead {
            seq: self.seq,
            hash: self.hash,
        }
    }

    /// Whether its hash is right behind that row.
    fn follows(&self, before: Option<&AuditHead>, keyring: &Keyring) -> bool {
        keyring.audit_mac(&self.key, &self.framed(before)) == Some(self.hash)
    }

    /// What the hash covers: each part behind its length, so that no two rows read the same.
    fn framed(&self, before: Option<&AuditHead>) -> Vec<u8> {
        let mut framed = Vec::with_capacity(256 + self.details.len());
        let mut put = |part: &[u8]| {
            framed.extend_from_slice(&(part.len() as u64).to_le_bytes());
            framed.extend_from_slice(part);
        };
        put(self.tenant.as_str().as_bytes());
        put(&self.seq.to_le_bytes());
        put(&self.at.as_micros().to_le_bytes());
        put(self.actor.as_str().as_bytes());
        put(self.action.as_str().as_bytes());
        put(self.credential_id.as_bytes());
        put(self.details.as_bytes());
        put(&before.map_or([0; 32], |head| head.hash));
        framed
    }
}

/// Walks one tenant's rows from the first and stops at the first that does not fit.
///
/// # Errors
/// [`BrokenChain`] with the number of the first row that was altered, is missing or was made
/// with a key that the keyring does not hold.
pub fn verify_chain<'a>(
    keyring: &Keyring,
    rows: impl IntoIterator<Item = &'a AuditEvent>,
) -> Result<Option<AuditHead>, BrokenChain> {
    let mut head: Option<AuditHead> = None;
    for row in rows {
        let expected_seq = head.map_or(1, |head| head.seq.saturating_add(1));
        if row.seq != expected_seq || !row.follows(head.as_ref(), keyring) {
            return Err(BrokenChain { seq: expected_seq });
        }
        head = Some(row.head());
    }
    Ok(head)
}

/// What verifying one tenant's trail in the store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailReport {
    /// Whose trail.
    pub tenant: TenantId,
    /// How many rows there are.
    pub rows: u64,
    /// The latest row. Keep it elsewhere: only that shows, later, that a tail was cut off.
    pub head: Option<AuditHead>,
    /// The first row that does not fit, if any.
    pub broken: Option<BrokenChain>,
}

/// Verifies every tenant's trail in a store, page by page, and hands each report on as it is
/// ready.
///
/// # Errors
/// Whatever keeps the store from answering. What is broken is in the reports.
pub async fn verify_trails(
    store: &dyn CredentialStore,
    keyring: &Keyring,
    mut each: impl FnMut(TrailReport),
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let tenants = store.audited_tenants(after.as_ref(), PAGE).await?;
        for tenant in &tenants {
            each(verify_trail(store, keyring, tenant).await?);
        }
        let Some(last) = tenants.into_iter().next_back() else {
            return Ok(());
        };
        after = Some(last);
    }
}

const PAGE: usize = 1000;

/// Walks from the newest row to the oldest, as the store pages.
async fn verify_trail(
    store: &dyn CredentialStore,
    keyring: &Keyring,
    tenant: &TenantId,
) -> Result<TrailReport, StoreError> {
    let mut report = TrailReport {
        tenant: tenant.clone(),
        rows: 0,
        head: None,
        broken: None,
    };
    let mut newer: Option<AuditEvent> = None;
    loop {
        let query = AuditQuery {
            credential_id: None,
            limit: PAGE,
            before: newer.as_ref().map(|row| row.seq),
        };
        let page = store.audit_events(tenant, &query).await?;
        if page.is_empty() {
            break;
        }
        for row in page {
            report.rows += 1;
            report.head.get_or_insert(row.head());
            if let Some(newer) = &newer {
                report.note(newer, Some(&row), keyring);
            }
            newer = Some(row);
        }
    }
    if let Some(oldest) = &newer {
        report.note(oldest, None, keyring);
    }
    Ok(report)
}

impl TrailReport {
    /// Checks `row` behind `older`. Later calls see earlier rows, so the last fault noted is the
    /// first in the trail.
    fn note(&mut self, row: &AuditEvent, older: Option<&AuditEvent>, keyring: &Keyring) {
        let head = older.map(AuditEvent::head);
        let expected = head.map_or(1, |head| head.seq.saturating_add(1));
        if row.seq != expected || !row.follows(head.as_ref(), keyring) {
            self.broken = Some(BrokenChain { seq: expected });
        }
    }
}

/// A tenant's audit trail was altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("audit row {seq} is missing or was altered")]
pub struct BrokenChain {
    /// The first row that does not fit.
    pub seq: u64,
}
