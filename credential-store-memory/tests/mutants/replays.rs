//! Faults in kept answers.

use std::{collections::HashMap, time::Duration};

use credential_core::{
    clock::Timestamp,
    id::TenantId,
    store::{
        CredentialStore as _, NewReplay, REPLAYS_KEPT_FOR, Replay, ReplayId, ReplayQuery,
        StoreError,
    },
};

use super::{Fault, Mutant};

/// What a fault of this file needs to remember.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Answers that should not be there.
    kept: HashMap<(TenantId, ReplayId), Replay>,
    /// Names that were ever used.
    used: Vec<(TenantId, ReplayId)>,
    effective: Option<Timestamp>,
}

impl Mutant {
    pub(super) async fn key_is_used(&self, tenant: &TenantId, new: Option<&NewReplay>) -> bool {
        let Some(new) = new else { return false };
        let query = ReplayQuery {
            tenant: tenant.clone(),
            ids: new.ids().copied().collect(),
            effective_at: None,
        };
        self.inner.replay(&query).await.is_ok_and(|it| it.is_some())
    }

    /// The answer as a fault takes it.
    pub(super) async fn replay_kept(
        &self,
        tenant: &TenantId,
        new: Option<NewReplay>,
        lost: Fault,
    ) -> Result<Option<NewReplay>, StoreError> {
        let Some(mut new) = new.filter(|_| !self.is(lost)) else {
            return Ok(None);
        };
        let name = (tenant.clone(), new.replay.id);
        match self.fault {
            Some(Fault::AnswerCut) => new.replay.sealed.truncate(8192),
            Some(Fault::AliasesIgnored) => new.aliases.clear(),
            Some(Fault::AnswerNeverEnds) => new.keep_for = REPLAYS_KEPT_FOR * 10,
            Some(Fault::AnswerEndsEarly) => new.keep_for /= 2,
            Some(Fault::AnswerKeyStays) if self.memory().replays.used.contains(&name) => {
                return Err(StoreError::IdempotencyKeyUsed);
            }
            Some(Fault::AnswerCheckedBefore) => {
                if self.key_is_used(tenant, Some(&new)).await {
                    return Err(StoreError::IdempotencyKeyUsed);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.memory().replays.kept.insert(name, new.replay);
                return Ok(None);
            }
            _ => {}
        }
        self.memory().replays.used.push(name);
        Ok(Some(new))
    }

    pub(super) fn replay_refused(
        &self,
        tenant: &TenantId,
        new: Option<NewReplay>,
        refusal: &StoreError,
    ) {
        let Some(new) = new else { return };
        let used = matches!(refusal, StoreError::IdempotencyKeyUsed);
        if used {
            self.count(Fault::AnswerRefusalCounted);
        }
        if self.is(Fault::AnswerOverwritten) && used || self.is(Fault::AnswerOfRefused) && !used {
            let name = (tenant.clone(), new.replay.id);
            self.memory().replays.kept.insert(name, new.replay);
        }
    }

    pub(super) async fn replay_seen(
        &self,
        query: &ReplayQuery,
    ) -> Result<Option<Replay>, StoreError> {
        self.count(Fault::AnswerReadCounted);
        if self.is(Fault::OpenedWithoutAnswers) && self.reopened_at.is_some() {
            return Ok(None);
        }
        let mut query = query.clone();
        let said = query.effective_at;
        match self.fault {
            Some(Fault::AnswerOfFirstName) => query.ids.truncate(1),
            Some(Fault::EffectiveNotKept) => query.effective_at = None,
            _ => {}
        }
        for id in &query.ids {
            let name = (query.tenant.clone(), *id);
            if let Some(kept) = self.memory().replays.kept.get(&name) {
                return Ok(Some(kept.clone()));
            }
        }
        let mut found = self.inner.replay(&query).await?;
        if self.is(Fault::AnswerOfAnyTenant) {
            let tenants = self.memory().tenants.clone();
            for tenant in tenants {
                query.tenant = tenant;
                found = found.or(self.inner.replay(&query).await?);
            }
        }
        if let Some(found) = &mut found {
            match self.fault {
                Some(Fault::EffectiveOverwritten | Fault::EffectiveNotKept) => {
                    found.effective_at = said.or(found.effective_at);
                }
                Some(Fault::EffectiveOfAll) => {
                    let known = &mut self.memory().replays.effective;
                    *known = known.or(found.effective_at);
                    found.effective_at = *known;
                }
                _ => {}
            }
        }
        Ok(found)
    }
}
