//! The content of a store, and the rules that hold within it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use credential_core::{
    audit::{AuditEvent, Event},
    clock::Timestamp,
    credential::{Credential, CredentialState},
    id::{ClientId, CredentialId, ProofId, TenantId},
    store::{AsOf, ChangeId, KeyCheck, ListPosition, LoggedChange, Mark, NodeId, StoreError},
};

use crate::{replay::Replays, usage::UsageData};

#[derive(Clone)]
pub(crate) struct Data {
    /// Boxed, so that the table's free places, up to half of it, cost little.
    pub(crate) credentials: HashMap<CredentialId, Box<CredentialState>>,
    pub(crate) owner_of_proof: HashMap<ProofId, CredentialId>,
    pub(crate) owner_of_client: HashMap<ClientId, CredentialId>,
    /// Assertions that were used, and the same by when they may be forgotten.
    pub(crate) assertions: HashSet<(CredentialId, [u8; 32])>,
    pub(crate) assertion_ends: BTreeSet<(Timestamp, CredentialId, [u8; 32])>,
    pub(crate) tenants: HashMap<TenantId, Tenant>,
    /// The latest change.
    pub(crate) latest: ChangeId,
    /// The latest [`MAX_CHANGES`] changes: no node asks for more.
    pub(crate) changes: VecDeque<LoggedChange>,
    pub(crate) nodes: HashMap<NodeId, Node>,
    /// In the order of their first use.
    pub(crate) keys: Vec<KeyCheck>,
    pub(crate) replays: Replays,
    pub(crate) usage: UsageData,
}

#[derive(Clone, Default)]
pub(crate) struct Tenant {
    pub(crate) positions: BTreeMap<ListPosition, CredentialId>,
    /// Comparison keys of the credentials that are not revoked; their number is what the limit
    /// counts.
    pub(crate) names: HashMap<Box<str>, CredentialId>,
    pub(crate) audit: Vec<AuditEvent>,
}

impl Tenant {
    /// The credentials that are not revoked.
    pub(crate) fn live(&self) -> HashSet<CredentialId> {
        self.names.values().copied().collect()
    }

    pub(crate) fn has_room_for(&self, key: &str, limit: u32) -> Result<(), StoreError> {
        if self.names.contains_key(key) {
            Err(StoreError::NameTaken)
        } else if self.names.len() >= limit as usize {
            Err(StoreError::LimitReached)
        } else {
            Ok(())
        }
    }
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) max_staleness: Duration,
    pub(crate) at: Timestamp,
    pub(crate) issuer: Arc<str>,
}

/// One that no change of any store in this process has.
pub(crate) fn fresh_mark() -> Mark {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let serial = DRAWN.fetch_add(1, Ordering::Relaxed);
    Mark(u128::from(serial).to_be_bytes())
}

impl Data {
    pub(crate) fn new() -> Self {
        Self {
            credentials: HashMap::new(),
            owner_of_proof: HashMap::new(),
            owner_of_client: HashMap::new(),
            assertions: HashSet::new(),
            assertion_ends: BTreeSet::new(),
            tenants: HashMap::new(),
            latest: ChangeId {
                number: 0,
                mark: fresh_mark(),
            },
            changes: VecDeque::new(),
            nodes: HashMap::new(),
            keys: Vec::new(),
            replays: Replays::default(),
            usage: UsageData::default(),
        }
    }

    /// A proof belongs to one credential for ever.
    pub(crate) fn check_proofs(&self, credential: &Credential) -> Result<(), StoreError> {
        let mut owners = credential
            .settings
            .proofs()
            .filter_map(|proof| self.owner_of_proof.get(&proof));
        if owners.all(|owner| *owner == credential.identity.id) {
            Ok(())
        } else {
            let taken = "a secret of another credential has that selector";
            Err(StoreError::from(Box::from(taken)))
        }
    }

    pub(crate) fn find(&mut self, id: CredentialId) -> Result<&mut CredentialState, StoreError> {
        let row = self.credentials.get_mut(&id);
        row.map(|row| &mut **row).ok_or(StoreError::NotFound)
    }

    /// The tenant of a credential.
    pub(crate) fn tenant(&mut self, of: &Credential) -> &mut Tenant {
        self.tenants.entry(of.identity.tenant.clone()).or_default()
    }

    pub(crate) fn append(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            let tenant = self.tenants.entry(event.tenant().clone()).or_default();
            let head = tenant.audit.last().map(AuditEvent::head);
            let mut event = event.seal(head.as_ref());
            // Kept for ever: without the room that writing it left.
            event.details.shrink_to_fit();
            tenant.audit.push(event);
        }
    }

    pub(crate) fn state(&self, id: Option<CredentialId>) -> AsOf<Option<CredentialState>> {
        let row = id.and_then(|id| self.credentials.get(&id));
        AsOf {
            value: row.map(|row| (**row).clone()),
            upto: self.latest,
        }
    }
}
