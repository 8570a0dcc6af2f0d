//! Faults in last uses, calls and refusals.

use std::collections::HashMap;

use async_trait::async_trait;
use credential_core::{
    clock::{Day, Timestamp},
    id::{CredentialId, TenantId},
    store::{
        CallCount, LastUse, NodeId, RefusalCount, RefusedClient, StoreError, Usage, UsageBatch,
        UsageStore,
    },
};

use super::{Fault, Mutant};

/// What a fault of this file needs to remember.
#[derive(Debug, Default)]
pub(super) struct Memory {
    latest: HashMap<NodeId, u64>,
    drawn: u128,
    prunes: u8,
}

impl Mutant {
    /// A node that never reported before.
    fn new_node(&self) -> NodeId {
        let memory = &mut self.memory().usage;
        memory.drawn += 1;
        NodeId(memory.drawn.to_be_bytes())
    }

    /// The batch as a fault takes it; `None`: it is skipped.
    fn batch(&self, mut batch: UsageBatch) -> Option<UsageBatch> {
        let (node, number) = (batch.node, batch.number);
        let before = self.memory().usage.latest.insert(node, number);
        match self.fault {
            Some(Fault::BatchLateTwice | Fault::BatchNeverForgotten) if before == Some(number) => {
                return None;
            }
            Some(Fault::BatchTwice | Fault::BatchLateTwice) => batch.node = self.new_node(),
            Some(Fault::BatchOfOneNode) => batch.node = NodeId([0; 16]),
            Some(Fault::BatchOfOneOnly) if number != 1 => return None,
            Some(Fault::BatchForgotten) => {
                batch.node.0[0] ^= self.memory().usage.prunes;
            }
            Some(Fault::UseCut) => {
                batch.uses.truncate(100);
                batch.calls.truncate(100);
                batch.refusals.truncate(100);
            }
            Some(Fault::UseBack) => {
                let noted = batch.uses.iter().map(|used| (used.proof, used.at));
                self.memory().uses.extend(noted);
            }
            Some(Fault::RefusalOfClaimedLost) => {
                batch
                    .refusals
                    .retain(|it| matches!(it.client, RefusedClient::Proven(_)));
            }
            _ => {}
        }
        for calls in &mut batch.calls {
            self.change_calls(calls);
        }
        for (n, note) in batch.refusals.iter_mut().enumerate() {
            self.change_refusal(n, number, &mut note.refusal);
        }
        Some(batch)
    }

    fn change_calls(&self, calls: &mut CallCount) {
        match self.fault {
            Some(Fault::CallsAllowedOnly) => calls.denied = 0,
            Some(Fault::CallsOfOneDay) => calls.day = Day::from_days(20_000),
            Some(Fault::CallsByFirstScope) => {
                let first = calls.scopes.split(' ').next().unwrap_or_default();
                calls.scopes = first.to_owned();
            }
            Some(Fault::ScopesCut) => calls.scopes.truncate(255),
            Some(Fault::LastOfScopeLost) => calls.last_used_at = None,
            Some(Fault::LastOfScopeByCalls) if calls.allowed == 0 => calls.last_used_at = None,
            _ => {}
        }
    }

    fn change_refusal(&self, n: usize, number: u64, refusal: &mut RefusalCount) {
        match self.fault {
            // Taken away again where it is read.
            Some(Fault::RefusalsApart) => {
                let node = self.new_node();
                refusal.reason = format!("{}#{number}{n}{node:?}", refusal.reason).into();
            }
            Some(Fault::RefusalCountsOne) => refusal.count = 1,
            Some(Fault::RefusalAddressLost) => refusal.address = None,
            Some(Fault::RefusalMethodLost) => refusal.method = None,
            Some(Fault::RefusalScopeLost) => refusal.needed_scope = None,
            Some(Fault::RefusalReasonLost) => refusal.reason = "refused".into(),
            Some(Fault::RefusalTimesOne) => refusal.last_at = refusal.at,
            _ => {}
        }
    }
}

#[async_trait]
impl UsageStore for Mutant {
    async fn record(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        self.count(Fault::UseCounted);
        let Some(mut batch) = self.batch(batch.clone()) else {
            return Ok(());
        };
        if self.is(Fault::UseOnEverySecret) {
            for used in batch.uses.clone() {
                let Some(found) = self.any(used.credential_id).await else {
                    continue;
                };
                let secrets = found.settings.secrets.iter();
                batch.uses.extend(secrets.map(|secret| LastUse {
                    proof: secret.selector,
                    ..used
                }));
            }
        }
        let named = batch.calls.iter().map(|it| it.credential_id);
        let named: Vec<_> = named
            .chain(batch.uses.iter().map(|it| it.credential_id))
            .collect();
        for id in named {
            if self.is(Fault::UseOfNobodyFails) {
                self.any(id).await.ok_or(StoreError::NotFound)?;
            }
        }
        self.inner.record(&batch).await
    }

    async fn usage(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Day,
    ) -> Result<Usage, StoreError> {
        let tenant = self.owner(Fault::UsageOfAnyTenant, tenant, id).await;
        let from = match self.fault {
            Some(Fault::UsageOfAllDays) => Day::from_days(i32::MIN),
            Some(Fault::UsageAfterTheDay) => since.after(),
            _ => since,
        };
        let mut usage = self.inner.usage(&tenant, id, from).await?;
        match self.fault {
            Some(Fault::LastOfScopeSince) => {
                for it in &mut usage.scopes {
                    it.last_used_at = it.last_used_at.filter(|at| *at >= since.begins());
                }
            }
            Some(Fault::DaysNewestFirst) => usage.days.reverse(),
            Some(Fault::ScopesReversed) => usage.scopes.reverse(),
            _ => {}
        }
        Ok(usage)
    }

    async fn used_scopes(
        &self,
        tenant: &TenantId,
        ids: &[CredentialId],
        since: Day,
    ) -> Result<Vec<(CredentialId, String)>, StoreError> {
        let mut used = Vec::new();
        let since = match self.fault {
            Some(Fault::UsedBefore) => Day::from_days(i32::MIN),
            Some(Fault::UsedAfterTheDay) => since.after(),
            _ => since,
        };
        for id in ids {
            let tenant = self.owner(Fault::UsedOfAnyTenant, tenant, *id).await;
            if self.is(Fault::UsedIfDenied) {
                let scopes = self.inner.usage(&tenant, *id, since).await?.scopes;
                used.extend(scopes.into_iter().map(|it| (*id, it.scopes)));
            } else {
                used.extend(self.inner.used_scopes(&tenant, &[*id], since).await?);
            }
            if self.is(Fault::UsedOfTheFirst) {
                break;
            }
        }
        if self.is(Fault::UsedTwice) {
            used.extend(used.clone());
        }
        Ok(used)
    }

    async fn refusals(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<RefusalCount>, StoreError> {
        let tenant = self.owner(Fault::RefusalsOfAnyTenant, tenant, id).await;
        let since = match self.fault {
            Some(Fault::RefusalsBefore) => Timestamp::MIN,
            _ => since,
        };
        let limit = match self.fault {
            Some(Fault::RefusalsWithoutLimit) => usize::MAX,
            Some(Fault::RefusalsFew) => limit.min(20),
            _ => limit,
        };
        let mut found = self.inner.refusals(&tenant, id, since, limit).await?;
        match self.fault {
            Some(Fault::RefusalsOldestFirst) => found.reverse(),
            Some(Fault::RefusalsApart) => {
                for it in &mut found {
                    let reason = it.reason.split('#').next().unwrap_or_default();
                    it.reason = reason.to_owned().into();
                }
            }
            Some(Fault::RefusalsOfADayMerge) => {
                let mut merged: Vec<RefusalCount> = Vec::new();
                for it in found {
                    match merged.iter_mut().find(|known| known.is_like(&it)) {
                        Some(known) => known.merge(&it),
                        None => merged.push(it),
                    }
                }
                found = merged;
            }
            _ => {}
        }
        Ok(found)
    }

    async fn prune(&self, most: usize) -> Result<bool, StoreError> {
        self.count(Fault::UseCounted);
        self.memory().usage.prunes += 1;
        match self.fault {
            Some(Fault::PruneNothing) => Ok(false),
            Some(Fault::PruneAtOnce) => self.inner.prune(usize::MAX).await,
            Some(Fault::PruneOnce) => self.inner.prune(most).await.map(|_| false),
            Some(Fault::PruneWithoutEnd) => self.inner.prune(most).await.map(|_| true),
            _ => self.inner.prune(most).await,
        }
    }
}
