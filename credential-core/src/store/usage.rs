//! How credentials are used, which may lag behind: [`UsageStore`].

use std::{borrow::Cow, fmt::Debug, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{NodeId, StoreError};
use crate::{
    clock::{Day, Timestamp},
    id::{ClientId, CredentialId, ProofId, TenantId},
};

/// How credentials are used: last uses, calls per scope and day, refusals. It may lag, and a crash may lose
/// what one node counted since its last flush; no answer of a check depends on it.
///
/// # Contract
///
/// **Exactly once.** A node numbers its batches upwards and has one in progress at a time. [`record`](Self::record) is one
/// transaction: it notes the batch's number as the latest of its node, or, if that node's latest is
/// as high already, changes nothing and succeeds. So a call that was given up, or repeated, does no harm. The note of
/// a node goes after [`BATCHES_KEPT_FOR`] without a batch, by the store's clock.
///
/// **Last uses** are kept where [`CredentialStore`](super::CredentialStore) reads them: in `last_used_at` of the credential and of
/// the secret that the use names, and of no other. Without a `UsageStore` they stay `None`. A secret that
/// is gone, or that another credential has, moves its credential's time alone. Times only ever move forward,
/// also when several nodes report.
///
/// **Calls** are added up by credential, day and needed scopes, over all nodes.
///
/// **Refusals** that are equal but for their times and counts, and begin less than [`REFUSALS_MERGE_WITHIN`] apart, become one when a
/// later batch brings them: the earlier `at`, the later `last_at`, the sum. Of each credential the newest
/// [`REFUSALS_KEPT`] are kept, by `at`; of those beyond, a store may keep some for a while.
///
/// **What does not exist** is passed over: of unknown credentials and clients nothing is kept. Neither the
/// version of a credential nor the change log moves. What is read is the tenant's own: another tenant's credential has no
/// usage.
#[async_trait]
pub trait UsageStore: Debug + Send + Sync + 'static {
    /// Adds a batch, once. Each of its lists has at most [`MAX_BATCH`] items, in any order, and may name a
    /// credential, proof, day or scope twice.
    ///
    /// # Errors
    /// `Backend` only.
    async fn record(&self, batch: &UsageBatch) -> Result<(), StoreError>;

    /// How a credential was used, on that day and later. Empty for a credential that the tenant does not have.
    ///
    /// # Errors
    /// `Backend` only.
    async fn usage(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Day,
    ) -> Result<Usage, StoreError>;

    /// Of each of those credentials that the tenant has: every [`CallCount::scopes`] of that day or later that has a
    /// [`CallCount::last_used_at`], once. Unless the store has a way to ask for many at once: those of
    /// [`usage`](Self::usage) that were last used on that day or later.
    ///
    /// # Errors
    /// `Backend` only.
    async fn used_scopes(
        &self,
        tenant: &TenantId,
        ids: &[CredentialId],
        since: Day,
    ) -> Result<Vec<(CredentialId, String)>, StoreError> {
        let mut used = Vec::new();
        for id in ids {
            let mut scopes = self.usage(tenant, *id, since).await?.scopes;
            scopes.retain(|it| it.last_used_at >= Some(since.begins()));
            used.extend(scopes.into_iter().map(|it| (*id, it.scopes)));
        }
        Ok(used)
    }

    /// The newest refusals of a credential that began after `since`, newest first: by `at`, at most `limit`. None for a
    /// credential that the tenant does not have.
    ///
    /// # Errors
    /// `Backend` only.
    async fn refusals(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<RefusalCount>, StoreError>;

    /// Removes what is too old by the store's clock: calls of days that ended longer than [`CALLS_KEPT_FOR`]
    /// ago, refusals after [`REFUSALS_KEPT_FOR`], notes of batches after [`BATCHES_KEPT_FOR`]. At most about `most`
    /// rows of each kind, so that the call is short. Returns whether there may be more: then it is called
    /// again, a few seconds later.
    ///
    /// # Errors
    /// `Backend` only.
    async fn prune(&self, most: usize) -> Result<bool, StoreError>;
}

/// The most items in each list of a [`UsageBatch`].
pub const MAX_BATCH: usize = 5_000;

/// How long counts of calls are kept, at least: 400 days.
pub const CALLS_KEPT_FOR: Duration = Duration::from_secs(400 * 86_400);

/// How long refusals are kept, at least: 7 days.
pub const REFUSALS_KEPT_FOR: Duration = Duration::from_secs(7 * 86_400);

/// How many refusals of a credential are kept, at least.
pub const REFUSALS_KEPT: usize = 50;

/// How far apart the beginnings of equal refusals may be that become one.
pub const REFUSALS_MERGE_WITHIN: Duration = Duration::from_secs(60);

/// How long the number of a node's latest batch is kept, at least: 30 days. A node that repeats a batch for
/// longer than that, without an answer, may have it counted twice.
pub const BATCHES_KEPT_FOR: Duration = Duration::from_secs(30 * 86_400);

#[async_trait]
impl<S: UsageStore + ?Sized> UsageStore for Arc<S> {
    async fn record(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        (**self).record(batch).await
    }

    async fn usage(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Day,
    ) -> Result<Usage, StoreError> {
        (**self).usage(tenant, id, since).await
    }

    async fn used_scopes(
        &self,
        tenant: &TenantId,
        ids: &[CredentialId],
        since: Day,
    ) -> Result<Vec<(CredentialId, String)>, StoreError> {
        (**self).used_scopes(tenant, ids, since).await
    }

    async fn refusals(
        &self,
        tenant: &TenantId,
        id: CredentialId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<RefusalCount>, StoreError> {
        (**self).refusals(tenant, id, since, limit).await
    }

    async fn prune(&self, most: usize) -> Result<bool, StoreError> {
        (**self).prune(most).await
    }
}

/// What one node has counted since its last batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageBatch {
    /// The node, drawn anew at each start.
    pub node: NodeId,
    /// Higher than those of the node's batches before.
    pub number: u64,
    /// Last uses.
    pub uses: Vec<LastUse>,
    /// Calls that were allowed or denied.
    pub calls: Vec<CallCount>,
    /// Calls and clients that were refused.
    pub refusals: Vec<RefusalNote>,
}

/// When a credential, through one of its proofs, was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastUse {
    /// The credential.
    pub credential_id: CredentialId,
    /// The client's proof, for this call or for the token of the call.
    pub proof: ProofId,
    /// When.
    pub at: Timestamp,
}

/// Calls of one credential on one day that needed the same scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CallCount {
    /// The credential.
    pub credential_id: CredentialId,
    /// When they were counted.
    pub day: Day,
    /// The scopes that each call needed, separated by spaces; the first one names the call. Of denied
    /// calls, the scope that was missing. Empty where no scope would do. At most [`CallCount::MAX_SCOPES`]
    /// names of at most 128 characters.
    pub scopes: String,
    /// How many were allowed.
    pub allowed: u64,
    /// How many were denied.
    pub denied: u64,
    /// When one was last allowed; always set if one was. Set alone for the scopes of a call that has more than
    /// [`CallCount::MAX_SCOPES`], beyond the first ones.
    pub last_used_at: Option<Timestamp>,
}

impl CallCount {
    /// The most scopes in [`scopes`](Self::scopes).
    pub const MAX_SCOPES: usize = 16;
}

/// Refusals of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RefusalNote {
    /// Who was refused.
    pub client: RefusedClient,
    /// Why, and how often.
    pub refusal: RefusalCount,
}

/// Who was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RefusedClient {
    /// It had a token or secret of that credential.
    Proven(CredentialId),
    /// It named that client, and proved nothing. The client may be made up.
    Claimed(ClientId),
}

/// Equal refusals.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RefusalCount {
    /// Why: a word of [`RefusalReason`](crate::usage::RefusalReason), or of another version's.
    pub reason: Cow<'static, str>,
    /// The scope that was missing.
    pub needed_scope: Option<String>,
    /// The method of the calls, where it is a common one.
    pub method: Option<Cow<'static, str>>,
    /// Where they came from, where that is known.
    pub address: Option<IpAddr>,
    /// The first one.
    pub at: Timestamp,
    /// The last one.
    pub last_at: Timestamp,
    /// How many; at least 1.
    pub count: u64,
}

impl RefusalCount {
    /// Whether both are of one kind: equal but for times and count.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let kind = |it: &Self| (it.reason.clone(), it.method.clone(), it.address);
        kind(self) == kind(other) && self.needed_scope == other.needed_scope
    }

    fn merges_with(&self, other: &Self) -> bool {
        let apart = self.at.saturating_since(other.at) + other.at.saturating_since(self.at);
        apart < REFUSALS_MERGE_WITHIN && self.is_like(other)
    }

    /// Adds it to a credential's refusals, which are the newest first: to one that is [alike](Self::is_like) and began
    /// less than [`REFUSALS_MERGE_WITHIN`] from it, or as one more. The newest [`REFUSALS_KEPT`] stay.
    pub fn add_to(&self, refusals: &mut Vec<Self>) {
        match refusals.iter_mut().find(|it| it.merges_with(self)) {
            Some(known) => known.merge(self),
            None => refusals.push(self.clone()),
        }
        refusals.sort_by_key(|it| std::cmp::Reverse(it.at));
        refusals.truncate(REFUSALS_KEPT);
    }

    /// Adds the other one.
    pub fn merge(&mut self, other: &Self) {
        self.at = self.at.min(other.at);
        self.last_at = self.last_at.max(other.last_at);
        self.count = self.count.saturating_add(other.count);
    }
}

/// How one credential was used since some day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// The days with calls, oldest first.
    pub days: Vec<DayUse>,
    /// By needed scopes, in the order of their text.
    pub scopes: Vec<ScopeUse>,
}

/// The calls of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DayUse {
    /// Which day.
    pub day: Day,
    /// How many were allowed.
    pub allowed: u64,
    /// How many were denied.
    pub denied: u64,
}

/// The calls that needed the same scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ScopeUse {
    /// As [`CallCount::scopes`].
    pub scopes: String,
    /// How many were allowed.
    pub allowed: u64,
    /// How many were denied.
    pub denied: u64,
    /// When one was last allowed, of all that is kept: also before that day.
    pub last_used_at: Option<Timestamp>,
}
