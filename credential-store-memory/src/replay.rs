//! Kept answers.

use std::collections::HashMap;

use credential_core::{
    clock::Timestamp,
    id::TenantId,
    store::{NewReplay, Replay, ReplayId, ReplayQuery, StoreError},
};

/// The answers of each tenant, each with the time when it is gone.
#[derive(Clone, Default)]
pub(crate) struct Replays(HashMap<(TenantId, ReplayId), (Replay, Timestamp)>);

impl Replays {
    /// Refuses an answer of whose names one is in use.
    pub(crate) fn check(
        &self,
        tenant: &TenantId,
        new: Option<&NewReplay>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let used = |id: &ReplayId| {
            let kept = self.0.get(&(tenant.clone(), *id));
            kept.is_some_and(|(_, ends)| now < *ends)
        };
        if new.is_some_and(|new| new.ids().any(used)) {
            return Err(StoreError::IdempotencyKeyUsed);
        }
        Ok(())
    }

    pub(crate) fn keep(&mut self, tenant: &TenantId, new: Option<NewReplay>, now: Timestamp) {
        if let Some(new) = new {
            let ends = now.saturating_add(new.keep_for);
            self.0
                .insert((tenant.clone(), new.replay.id), (new.replay, ends));
        }
    }

    pub(crate) fn find(&mut self, query: &ReplayQuery, now: Timestamp) -> Option<Replay> {
        let mut ids = query.ids.iter().map(|id| (query.tenant.clone(), *id));
        let name = ids.find(|name| self.0.get(name).is_some_and(|(_, ends)| now < *ends))?;
        let (replay, _) = self.0.get_mut(&name)?;
        replay.effective_at = replay.effective_at.or(query.effective_at);
        Some(replay.clone())
    }

    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.0.retain(|_, (_, ends)| now < *ends);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
