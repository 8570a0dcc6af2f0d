//! Audit rows and heads as columns.

use credential_core::{
    audit::{AuditEvent, AuditHead, Event},
    id::{ActorId, CredentialId, TenantId},
    store::{StoreError, StoredRow},
};

use super::{Id, Micros, OrUnreadable as _, bigint, number};

/// One row of the audit trail.
#[derive(Debug)]
pub(crate) struct AuditRow {
    pub(crate) tenant_id: String,
    pub(crate) seq: i64,
    pub(crate) format: i16,
    pub(crate) at: Micros,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) credential_id: Option<Id>,
    pub(crate) details: String,
    pub(crate) key_name: String,
    pub(crate) hash: Vec<u8>,
}

impl AuditRow {
    /// The event, or the column whose value core does not accept.
    fn event(self) -> Result<AuditEvent, &'static str> {
        Ok(AuditEvent {
            format: u8::try_from(self.format).map_err(|_| "format")?,
            tenant: TenantId::new(self.tenant_id).map_err(|_| "tenant_id")?,
            seq: u64::try_from(self.seq).map_err(|_| "seq")?,
            at: self.at.at(),
            actor: ActorId::new(self.actor).map_err(|_| "actor")?,
            action: self.action.into(),
            subject: self
                .credential_id
                .map(|id| CredentialId::from_bytes(id.0))
                .into(),
            details: self.details,
            key: self.key_name.parse().map_err(|_| "key_name")?,
            hash: self.hash.try_into().map_err(|_| "hash")?,
        })
    }

    /// The row as it is verified.
    pub(crate) fn stored(self) -> StoredRow {
        let seq = u64::try_from(self.seq).unwrap_or(0);
        match self.event() {
            Ok(event) => StoredRow::Event(event),
            Err(column) => StoredRow::Unreadable { seq, column },
        }
    }
}

/// A tenant's audit head, from the locked row.
#[derive(Debug)]
pub(crate) struct HeadRow {
    pub(crate) seq: i64,
    pub(crate) hash: Option<Vec<u8>>,
    pub(crate) key: Option<String>,
}

/// Sealed audit rows, column by column, and the head after them.
#[derive(Debug, Default)]
pub(crate) struct SealedEvents {
    pub(crate) seq: Vec<i64>,
    pub(crate) format: Vec<i16>,
    pub(crate) at: Vec<Micros>,
    pub(crate) actor: Vec<String>,
    pub(crate) action: Vec<String>,
    pub(crate) credential_id: Vec<Option<Id>>,
    pub(crate) details: Vec<String>,
    pub(crate) key_name: Vec<String>,
    pub(crate) hash: Vec<Vec<u8>>,
    pub(crate) head_seq: i64,
    pub(crate) head_hash: Option<Vec<u8>>,
    pub(crate) head_key: Option<String>,
}

impl SealedEvents {
    /// Gives events their places behind `head`. The tenant's row must be locked.
    pub(crate) fn behind(
        head: HeadRow,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Self, StoreError> {
        let mut last = match &head.hash {
            None => None,
            Some(hash) => Some(AuditHead {
                seq: number(head.seq)?,
                hash: hash
                    .as_slice()
                    .try_into()
                    .or_unreadable("tenant.audit_hash")?,
                // A value that is no key name counts as none.
                key: head.key.as_ref().and_then(|key| key.parse().ok()),
            }),
        };
        let mut sealed = Self {
            head_seq: head.seq,
            head_hash: head.hash,
            head_key: head.key,
            ..Self::default()
        };
        for event in events {
            let event = event.seal(last.as_ref());
            last = Some(event.head());
            sealed.head_seq = bigint(event.seq)?;
            sealed.head_hash = Some(event.hash.to_vec());
            sealed.head_key = Some(event.key.as_str().to_owned());
            sealed.seq.push(sealed.head_seq);
            sealed.format.push(event.format.into());
            sealed.at.push(event.at.into());
            sealed.actor.push(event.actor.as_str().to_owned());
            sealed.action.push(event.action.as_str().to_owned());
            sealed
                .credential_id
                .push(event.subject.credential().map(Id::from));
            sealed.details.push(event.details);
            sealed.key_name.push(event.key.as_str().to_owned());
            sealed.hash.push(event.hash.to_vec());
        }
        Ok(sealed)
    }
}
