//! The store contract: three traits, split by what they must guarantee, and the values that they
//! pass.
//!
//! | trait | guarantee | without it |
//! | --- | --- | --- |
//! | [`CredentialStore`] | each method is one transaction; all that a check may depend on | nothing works |
//! | [`TrailStore`] | reads what was committed, in order | the audit trail is written and cannot be read |
//! | [`UsageStore`] | may lag, may lose one flush | last uses, calls and refusals are not kept |
//!
//! A store is right when it passes [`conformance`](crate::conformance) (feature `conformance`).

mod apply;
mod calls;
mod change_log;
mod error;
mod forward;
mod replay;
mod stores;
mod trail;
mod usage;

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;

pub use self::{
    calls::{
        Edit, KeyCheck, ListPosition, ListQuery, NewCredential, ReplaceHash, Revoke, RevokeAll,
        RevokeToken, SpendAssertion,
    },
    change_log::{
        AsOf, CHANGES_KEPT_FOR, Change, ChangeId, Changes, Committed, Heartbeat, LoggedChange,
        MAX_CHANGES, Mark, NODE_ALIVE_FOR, NodeId,
    },
    error::StoreError,
    replay::{NewReplay, REPLAYS_KEPT_FOR, Replay, ReplayId, ReplayQuery},
    stores::Stores,
    trail::{AuditQuery, StoredHead, StoredRow, TrailPage, TrailStore},
    usage::{
        BATCHES_KEPT_FOR, CALLS_KEPT_FOR, CallCount, DayUse, LastUse, MAX_BATCH, REFUSALS_KEPT,
        REFUSALS_KEPT_FOR, REFUSALS_MERGE_WITHIN, RefusalCount, RefusalNote, RefusedClient,
        ScopeUse, Usage, UsageBatch, UsageStore,
    },
};
use crate::{
    credential::{Credential, CredentialName, CredentialState},
    id::{ClientId, CredentialId, ProofId, TenantId},
    secret::keyring::KeyName,
};

/// Durable credentials, the audit rows of their changes, and the log of what changed.
///
/// Each method is one transaction: all or nothing, and racing calls behave as if one came
/// first. The caller passes the dates of the domain. The store's own clock, one for all nodes,
/// decides which nodes are alive and which records may be removed.
///
/// **The change log.** Every method that returns [`Committed`] appends one row for what a check may
/// now answer differently, in the same transaction. A row is identified by its number and by its
/// mark ([`ChangeId`]). Numbers have no gaps and follow the order of commits: the counter is locked
/// last and held to the end of the transaction. The store draws a mark for each change that no
/// other change of any history of this store ever has, and keeps the mark of the latest change
/// beside the counter. Number 0, before the first change, has a mark too. Each row also holds the
/// mark of the change before it. Rows are kept for at least [`CHANGES_KEPT_FOR`] by the store's
/// clock, the latest one always.
///
/// *Why marks:* a restore, or the promotion of a standby that was behind, sets the counter back,
/// and later changes then get numbers that other changes had before. By numbers alone such a log
/// would look complete, and a node's cache of the lost changes would still count.
///
/// # Contract
///
/// **The order of locks.** A change with an audit event locks the tenant first, then decides, then writes;
/// every change takes its number last. Under the tenant's lock it reads the head of the tenant's audit chain (`seq`, `hash` and
/// `key` of the newest row, `None` before the first), gives each event its place with
/// [`Event::seal`](crate::audit::Event::seal) behind the one before, writes the rows and moves the head.
/// All of it is one transaction with the change.
///
/// **Which error wins.** `IdempotencyKeyUsed` before all others. `insert` and `may_insert`: `NameTaken`,
/// then `LimitReached`. `replace`: `NotFound`, `Revoked`, `StaleVersion`, `NameTaken`. `revoke`: `NotFound`; then a credential that is
/// revoked already is no error, whatever version is expected; then `StaleVersion`. After an error nothing
/// has changed: no row, no audit event, no number.
///
/// **The version** starts at 1 and grows by one with each `replace` and with the first `revoke`, with
/// nothing else. `revoke_all` moves it for each credential that it revokes.
///
/// **Two clocks.** Times of the domain come with the call and are kept to the microsecond. The store's
/// own clock, one for all nodes, gives a change row its time (any moment of its transaction),
/// [`Changes::waited`] is measured by it, and it decides what may go: change rows, nodes, records of
/// revoked tokens, kept answers. The clock of a node decides none of that.
///
/// **Text** is any UTF-8, and comes back to the byte. Ids, proofs, key names, comparison keys and marks
/// are equal if their bytes are: letters of different case differ. Secrets come back in the order of
/// [`Settings::secrets`](crate::credential::Settings::secrets), scopes in that of [`Settings::scopes`](crate::credential::Settings::scopes). Revoked tokens have no order.
///
/// **A change row for everything** is written by no method here. It is for what
/// changes rows by hand. A store may have a function for it (such as `PostgresStore::invalidate`), which
/// appends a row like any other: next number, own mark, the mark before.
///
/// **Clones** share the content. A node takes one of them, and each is woken on its own.
///
/// **A future that is dropped** leaves its call committed as a whole or not at all, and nothing of it
/// may meet a later call: no open transaction, no answer that is still to come. Checks are not waited for
/// longer than [`ANSWER_WITHIN`], so this happens.
///
/// **A wrapper** passes each method on, `wake_up` and `retire_connections` as well. It may count, log,
/// slow down and refuse with `Backend`. It may neither answer from memory nor repeat a call that may
/// have been committed.
///
/// **What may be left out.** [`TrailStore`] and [`UsageStore`], wholly: see [`Stores`]. A `wake_up` that
/// never returns costs up to one interval of catch-up. `retire_connections` of a store without
/// connections does nothing.
#[async_trait]
pub trait CredentialStore: Debug + Send + Sync + 'static {
    /// Adds a credential and its audit event, and keeps the answer if one comes with it.
    ///
    /// # Errors
    /// The first of: `IdempotencyKeyUsed` if an answer is kept under one of the new answer's names; `NameTaken` if a credential of the tenant that is not revoked has the same comparison
    /// key; `LimitReached` if the tenant has `limit` of them. Both also when calls race.
    async fn insert(&self, new: NewCredential) -> Result<Committed<()>, StoreError>;

    /// Whether [`insert`](Self::insert) would be refused now; changes nothing and locks nothing.
    /// Asked before the secret of a new credential is hashed; `insert` decides anew. Decided from
    /// [`list`](Self::list), unless the store has a cheaper way.
    ///
    /// # Errors
    /// As `insert` with that name and limit.
    async fn may_insert(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        limit: u32,
    ) -> Result<(), StoreError> {
        let all = ListQuery {
            limit: u32::MAX as usize,
            after: None,
            include_revoked: false,
        };
        let live = self.list(tenant, &all).await?;
        let key = name.comparison_key();
        let has_it = |it: &Credential| it.settings.name.comparison_key() == key;
        if live.iter().any(has_it) {
            Err(StoreError::NameTaken)
        } else if live.len() >= limit as usize {
            Err(StoreError::LimitReached)
        } else {
            Ok(())
        }
    }

    /// The credential, if `tenant` owns it. Another tenant gets `None`. A part of [`state`](Self::state),
    /// unless the store has a cheaper way.
    ///
    /// # Errors
    /// `Backend` only.
    async fn get(
        &self,
        tenant: &TenantId,
        id: CredentialId,
    ) -> Result<Option<Credential>, StoreError> {
        let credential = self.state(id).await?.value.map(|it| it.credential);
        Ok(credential.filter(|it| it.identity.tenant == *tenant))
    }

    /// The tenant's credentials, newest first: by `created_at`, then id, both descending.
    ///
    /// # Errors
    /// `Backend` only.
    async fn list(
        &self,
        tenant: &TenantId,
        query: &ListQuery,
    ) -> Result<Vec<Credential>, StoreError>;

    /// Applies an edit and its audit events, if the credential still has the expected version, and keeps the
    /// answer if one comes with it.
    ///
    /// # Errors
    /// The first of: `IdempotencyKeyUsed`, as for `insert`; `NotFound` if `tenant` has no such credential, `Revoked`, `StaleVersion`,
    /// `NameTaken`.
    async fn replace(&self, edit: Edit) -> Result<Committed<Credential>, StoreError>;

    /// Revokes a credential, which moves its version and gives its name and its place back. A repeat changes
    /// nothing and keeps the first revocation.
    ///
    /// # Errors
    /// `NotFound` if `tenant` has no such credential; `StaleVersion` if a version is expected and
    /// the credential, not yet revoked, has another.
    async fn revoke(&self, revoke: Revoke) -> Result<Committed<Credential>, StoreError>;

    /// Revokes every credential of a tenant that is not revoked, each with its event, which moves their
    /// versions and gives their names and places back. The change is the tenant's
    /// ([`Change::Tenant`]). Without any event nothing is done, and the change is the latest one.
    ///
    /// # Errors
    /// `StaleVersion` unless the events are for exactly those credentials.
    async fn revoke_all(&self, revoke: RevokeAll) -> Result<Committed<()>, StoreError>;

    /// The tenant's answer that is kept under one of the names and whose time is not over. Where `effective_at`
    /// is given and none is kept, that one is kept first: of racing calls one wins, and all return it. The
    /// change log does not move.
    ///
    /// # Errors
    /// `Backend` only.
    async fn replay(&self, query: &ReplayQuery) -> Result<Option<Replay>, StoreError>;

    /// The credential and its revoked tokens, with the latest change, all as of one moment.
    ///
    /// # Errors
    /// `Backend` only.
    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError>;

    /// As [`state`](Self::state), for the credential that has that secret, live or ended.
    ///
    /// # Errors
    /// `Backend` only.
    async fn state_by_proof(
        &self,
        proof: &ProofId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError>;

    /// As [`state`](Self::state), for the credential of that client id.
    ///
    /// # Errors
    /// `Backend` only.
    async fn state_by_client(
        &self,
        client: &ClientId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError>;

    /// Records that an assertion was used; `false` if its credential has used one of that digest before, and
    /// it is still remembered: of calls with the same credential and digest, on any node, one gets
    /// `true`. Remembers it until [`ASSERTIONS_KEPT_FOR`] after its `until`, or after now if that is later, both
    /// by the store's clock; then forgets it, a bounded number at a time. No change of the log, no event; as
    /// durable as a commit.
    ///
    /// # Errors
    /// `Backend` only.
    async fn spend_assertion(&self, spend: SpendAssertion) -> Result<bool, StoreError>;

    /// Puts a secret's new hash in the place of `old`, or does nothing if it is no longer `old`.
    /// Neither the version nor the change log moves: no check answers differently.
    ///
    /// # Errors
    /// `Backend` only.
    async fn replace_hash(&self, change: ReplaceHash) -> Result<(), StoreError>;

    /// Records that a token is revoked, and forgets those that expired longer than
    /// [`REVOKED_TOKENS_KEPT_FOR`] ago by the store's clock. A repeat changes nothing. When the
    /// credential would have more than `limit`, all are dropped instead and `tokens_valid_from`
    /// becomes the latest of its old value, the store's now and the dropped tokens' `issued_at`.
    ///
    /// # Errors
    /// `NotFound` if there is no such credential.
    async fn revoke_token(&self, revoke: RevokeToken) -> Result<Committed<()>, StoreError>;

    /// Records that the node is alive, and returns what changed since it last looked.
    ///
    /// A write, so that a primary that was cut off from its synchronous standby proves nothing. It
    /// must not wait for what other calls of the store hold, connections above all: checks that need
    /// nothing else from the store depend on it.
    ///
    /// # Errors
    /// `IssuerMismatch`, and nothing is written, if the node starts anew (`applied` is `None`) while
    /// another node of another issuer is alive: heard of within [`NODE_ALIVE_FOR`] by the store's
    /// clock.
    async fn catch_up(&self, heartbeat: &Heartbeat) -> Result<Changes, StoreError>;

    /// Makes later calls use newly opened connections. Called when an answer of the store
    /// contradicts the change log, or when the store did not answer in time: open connections may
    /// lead to a server that has lost its role, or nowhere.
    ///
    /// A store without connections does nothing.
    fn retire_connections(&self);

    /// Waits until something may have changed since the last call. It may return late, twice, now
    /// and then without a change, or never: only speed depends on it.
    async fn wake_up(&self);

    /// Compares the check values of keys with those that are kept, and keeps none. Returns every
    /// name that is kept, in the order in which they were first used.
    ///
    /// # Errors
    /// `KeyMismatch` for the first of `keys` that is kept with another value.
    async fn check_keys(&self, keys: &[KeyCheck]) -> Result<Vec<KeyName>, StoreError>;

    /// Keeps the check value of a key that is about to sign for the first time, as the latest; or
    /// compares it, if the name is kept already. Returns what [`check_keys`](Self::check_keys) does.
    ///
    /// # Errors
    /// `KeyMismatch` if the name is kept with another value.
    async fn use_key(&self, key: &KeyCheck) -> Result<Vec<KeyName>, StoreError>;
}

// Stay usable as trait objects.
const _: fn(&dyn CredentialStore, &dyn TrailStore, &dyn UsageStore) = |_, _, _| {};

/// How long a check, and the catch-up that it needs, waits for a call of the store. Then the check is
/// refused, and the call's future is dropped. Other calls are waited for as long as the store lets them take.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// How long after a token has expired by itself the record that it was revoked is kept: the clocks of
/// nodes may lie so far apart before one still takes a token for live whose record is gone.
pub const REVOKED_TOKENS_KEPT_FOR: Duration = Duration::from_secs(3600);

/// How long an assertion is remembered after it no longer counts by itself: the clocks of nodes may lie so far
/// apart before one still accepts an assertion whose record is gone. Longer than any assertion counts, so that a node
/// by itself never accepts one twice, however wrong its clock is.
pub const ASSERTIONS_KEPT_FOR: Duration = Duration::from_secs(600);
