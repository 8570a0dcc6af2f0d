//! Last uses, calls and refusals: no check depends on any of it.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use credential_core::{
    clock::{Day, Timestamp},
    id::{CredentialId, TenantId},
    store::{
        BATCHES_KEPT_FOR, CALLS_KEPT_FOR, CallCount, DayUse, NodeId, REFUSALS_KEPT_FOR,
        RefusalCount, RefusedClient, ScopeUse, StoreError, Usage, UsageBatch, UsageStore,
    },
};

use crate::{MemoryStore, data::Data};

#[derive(Clone, Default)]
pub(crate) struct UsageData {
    by_credential: HashMap<CredentialId, OfCredential>,
    /// The number of each node's latest batch, and when it came.
    batches: HashMap<NodeId, (u64, Timestamp)>,
}

#[derive(Clone, Default)]
struct OfCredential {
    calls: BTreeMap<(Day, String), Calls>,
    /// Newest first.
    refusals: Vec<RefusalCount>,
}

#[derive(Clone, Copy, Default)]
struct Calls {
    allowed: u64,
    denied: u64,
    last_used_at: Option<Timestamp>,
}

impl UsageData {
    /// Whether a batch is new. From now on it is not.
    fn is_new(&mut self, batch: &UsageBatch, now: Timestamp) -> bool {
        let latest = self.batches.entry(batch.node).or_insert((0, now));
        let new = batch.number > latest.0;
        if new {
            *latest = (batch.number, now);
        }
        new
    }

    fn add_calls(&mut self, count: &CallCount) {
        let of = self.by_credential.entry(count.credential_id).or_default();
        let key = (count.day, count.scopes.clone());
        let calls = of.calls.entry(key).or_default();
        calls.allowed += count.allowed;
        calls.denied += count.denied;
        calls.last_used_at = calls.last_used_at.max(count.last_used_at);
    }
}

impl Data {
    fn record(&mut self, batch: &UsageBatch, now: Timestamp) {
        if !self.usage.is_new(batch, now) {
            return;
        }
        for used in &batch.uses {
            if let Ok(row) = self.find(used.credential_id) {
                used.apply_to(&mut row.credential);
            }
        }
        for count in &batch.calls {
            if self.credentials.contains_key(&count.credential_id) {
                self.usage.add_calls(count);
            }
        }
        for note in &batch.refusals {
            let id = match &note.client {
                RefusedClient::Proven(id) => Some(*id),
                RefusedClient::Claimed(client) => self.owner_of_client.get(client).copied(),
            };
            if let Some(id) = id.filter(|id| self.credentials.contains_key(id)) {
                let of = self.usage.by_credential.entry(id).or_default();
                note.refusal.add_to(&mut of.refusals);
            }
        }
    }

    /// The usage of a credential, if the tenant has it and it was used.
    fn usage_of(&self, tenant: &TenantId, id: CredentialId) -> Option<&OfCredential> {
        let row = self.credentials.get(&id)?;
        let of = self.usage.by_credential.get(&id)?;
        (row.credential.identity.tenant == *tenant).then_some(of)
    }
}

#[async_trait]
impl UsageStore for MemoryStore {
    async fn record(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        self.data().record(batch, now);
        Ok(())
    }

    async fn usage(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Day,
    ) -> Result<Usage, StoreError> {
        let data = self.data();
        let mut days = BTreeMap::<Day, Calls>::new();
        let mut scopes = BTreeMap::<&str, Calls>::new();
        let calls = data.usage_of(tenant, id).map(|it| &it.calls);
        for ((day, needed), calls) in calls.into_iter().flatten() {
            let of_scopes = scopes.entry(needed).or_default();
            of_scopes.last_used_at = of_scopes.last_used_at.max(calls.last_used_at);
            if *day < since {
                continue;
            }
            for total in [of_scopes, days.entry(*day).or_default()] {
                total.allowed += calls.allowed;
                total.denied += calls.denied;
            }
        }
        let days = days.into_iter().map(|(day, it)| DayUse {
            day,
            allowed: it.allowed,
            denied: it.denied,
        });
        let scopes = scopes.into_iter().map(|(scopes, it)| ScopeUse {
            scopes: scopes.to_owned(),
            allowed: it.allowed,
            denied: it.denied,
            last_used_at: it.last_used_at,
        });
        Ok(Usage {
            days: days.collect(),
            scopes: scopes.collect(),
        })
    }

    async fn refusals(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<RefusalCount>, StoreError> {
        let data = self.data();
        let refusals = data.usage_of(tenant, id).map(|it| &*it.refusals);
        let newer = refusals.unwrap_or_default().iter();
        let newer = newer.take_while(|it| it.at > since);
        Ok(newer.take(limit).cloned().collect())
    }

    async fn prune(&self, most: usize) -> Result<bool, StoreError> {
        let now = self.shared.clock.now();
        let first_day = now.saturating_sub(CALLS_KEPT_FOR).day();
        let since = now.saturating_sub(REFUSALS_KEPT_FOR);
        let usage = &mut self.data().usage;
        let (mut calls, mut refusals) = (most, most);
        for of in usage.by_credential.values_mut() {
            while let Some(first) = of.calls.first_entry()
                && first.key().0 < first_day
                && calls > 0
            {
                first.remove();
                calls -= 1;
            }
            while of.refusals.last().is_some_and(|it| it.at < since) && refusals > 0 {
                of.refusals.pop();
                refusals -= 1;
            }
        }
        usage
            .by_credential
            .retain(|_, it| !it.calls.is_empty() || !it.refusals.is_empty());
        let alive = now.saturating_sub(BATCHES_KEPT_FOR);
        usage.batches.retain(|_, (_, at)| *at >= alive);
        Ok(calls == 0 || refusals == 0)
    }
}
