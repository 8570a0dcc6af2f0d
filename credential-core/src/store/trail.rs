//! Reading what was committed, in order: [`TrailStore`].

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;

use super::StoreError;
use crate::{
    audit::{AuditEvent, AuditHead},
    id::{CredentialId, TenantId},
};

/// The audit trail as [`CredentialStore`](super::CredentialStore) wrote it. Reading it changes no answer
/// of a check, so it may come from a replica.
///
/// # Contract
///
/// Nothing is written here: rows come from [`CredentialStore`](super::CredentialStore), which seals them. A row comes back to
/// the byte, `details` above all, because its hash covers them: text, not a JSON type that writes it
/// anew. A tenant's numbers are 1, 2, 3, … without gaps. Rows are never removed by the store.
#[async_trait]
pub trait TrailStore: Debug + Send + Sync + 'static {
    /// Every tenant that has audit rows, or that the store keeps a head for, also without rows: in
    /// ascending order of their ids' bytes, behind `after`. As text, because what somebody else
    /// wrote there need not be a [`TenantId`].
    ///
    /// # Errors
    /// `Backend` only.
    async fn audited_tenants(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError>;

    /// A tenant's rows as they lie there, newest first, with the head that is kept beside them: both
    /// as of one moment. A row that cannot be read is said to be so and hides no other.
    ///
    /// # Errors
    /// `Backend` only.
    async fn trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<TrailPage, StoreError>;
}

#[async_trait]
impl<S: TrailStore + ?Sized> TrailStore for Arc<S> {
    async fn audited_tenants(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        (**self).audited_tenants(after, limit).await
    }

    async fn trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<TrailPage, StoreError> {
        (**self).trail(tenant, query).await
    }
}

/// Which audit rows of a tenant to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only those of this credential.
    pub credential_id: Option<CredentialId>,
    /// At most so many, at least 1.
    pub limit: usize,
    /// Only those with a smaller number.
    pub before: Option<u64>,
}

/// Rows of a tenant's trail.
#[derive(Debug, Clone)]
pub struct TrailPage {
    /// The head that is kept beside the tenant's rows; `None`: none is.
    pub head: Option<StoredHead>,
    /// Newest first.
    pub rows: Vec<StoredRow>,
}

/// A tenant's head as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHead {
    /// The number of the newest row.
    pub seq: u64,
    /// Its hash, if nobody wrote anything else there.
    pub hash: Vec<u8>,
}

impl From<AuditHead> for StoredHead {
    fn from(head: AuditHead) -> Self {
        Self {
            seq: head.seq,
            hash: head.hash.to_vec(),
        }
    }
}

/// An audit row as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredRow {
    /// A row of core's making, or one that looks like it.
    Event(AuditEvent),
    /// A row that core cannot read.
    Unreadable {
        /// Its number; zero for any that is not positive.
        seq: u64,
        /// Where.
        column: &'static str,
    },
}

impl StoredRow {
    /// Its number.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Event(event) => event.seq,
            Self::Unreadable { seq, .. } => *seq,
        }
    }

    /// The event, if the row can be read.
    #[must_use]
    pub fn event(&self) -> Option<&AuditEvent> {
        match self {
            Self::Event(event) => Some(event),
            Self::Unreadable { .. } => None,
        }
    }

    /// Its hash, if the row can be read.
    #[must_use]
    pub fn hash(&self) -> Option<&[u8; 32]> {
        Some(&self.event()?.hash)
    }
}
