//! States of credentials in memory, and the versions that stamps are held against.

use std::sync::Arc;

use quick_cache::sync::Cache;
use tokio::sync::oneshot;

use super::{
    credential::LiveCredential,
    gate::{self, Known, NotBelieved},
    versions::{self, Stamp, Versions},
};
use crate::{
    id::{CredentialId, TenantId},
    store::Change,
};

/// What one read of the store found.
#[derive(Debug)]
pub(super) struct CachedState {
    pub(super) live: Option<Arc<LiveCredential>>,
}

/// A read on its way into the cache.
#[derive(Debug)]
pub(super) struct PendingRead {
    /// `None`: no credential has that proof.
    pub(super) id: Option<CredentialId>,
    pub(super) state: Arc<CachedState>,
    pub(super) settled: oneshot::Sender<Settled>,
}

/// The outcome of a read: up to which change it is true, or why it is not believed.
pub(super) type Settled = Result<Known, NotBelieved>;

/// A credential's live state, and its stamp if it was cached.
pub(super) type Found = Option<(Arc<LiveCredential>, Option<Stamp>)>;

/// The cached states, and the versions that stamps are held against.
#[derive(Debug)]
pub(super) struct StateCache {
    by_id: Cache<CredentialId, Arc<CachedState>>,
    versions: Versions,
}

impl StateCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            by_id: Cache::new(capacity),
            versions: Versions::new(versions::SLOTS),
        }
    }

    /// Whether a stamp is of the latest state. Asked after the gate.
    #[inline]
    pub(super) fn is_current(&self, stamp: Stamp) -> bool {
        self.versions.is_current(stamp)
    }

    pub(super) fn get(&self, id: CredentialId) -> Option<Found> {
        let look_up = || self.by_id.get(&id);
        let (state, stamp) = self.versions.stamp(id.as_bytes(), look_up);
        Some(state?.live.clone().map(|live| (live, Some(stamp))))
    }

    pub(super) fn drop_one(&self, id: CredentialId) {
        self.versions.drop_one(id.as_bytes(), || {
            self.by_id.remove(&id);
        });
    }

    pub(super) fn drop_tenant(&self, tenant: &TenantId) {
        let others = |state: &Arc<CachedState>| {
            let live = state.live.as_ref();
            live.is_some_and(|live| live.credential.identity.tenant != *tenant)
        };
        self.versions
            .drop_all(|| self.by_id.retain(|_, state| others(state)));
    }
}

impl gate::Cache for StateCache {
    type Read = PendingRead;

    fn concerns(change: &Change, read: &PendingRead) -> bool {
        match change {
            Change::Credential(id) => read.id == Some(*id),
            // An unknown credential may be that tenant's.
            Change::Tenant(tenant) => read
                .state
                .live
                .as_ref()
                .is_none_or(|live| live.credential.identity.tenant == *tenant),
            Change::Everything => true,
        }
    }

    fn drop_changed(&self, change: &Change) {
        match change {
            Change::Credential(id) => self.drop_one(*id),
            Change::Tenant(tenant) => self.drop_tenant(tenant),
            Change::Everything => self.drop_all(),
        }
    }

    fn drop_all(&self) {
        self.versions.drop_all(|| self.by_id.clear());
    }

    fn keep(&self, read: PendingRead, known: Known) {
        if let Some(id) = read.id {
            // Why the version advances: a token's stamp may be of a state that was evicted, and
            // this is another state.
            self.versions.drop_one(id.as_bytes(), || {
                self.by_id.insert(id, read.state);
            });
        }
        let _gone = read.settled.send(Ok(known)); // whoever asked may have given up
    }

    fn refuse(&self, read: PendingRead, why: NotBelieved) {
        let _gone = read.settled.send(Err(why));
    }
}
