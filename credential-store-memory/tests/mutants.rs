//! Whether the conformance suite finds faults: it runs on stores with one fault each.
//!
//! A [`Mutant`] is a memory store behind a wrapper that does one thing wrong. Each must fail at least one
//! case, each case must find at least one fault, and the store without a fault must pass all. The test prints which cases killed which mutant
//! (`cargo test -p credential-store-memory --test mutants -- --nocapture`).

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that prints a table, and must fail if it cannot be set up"
)]

#[path = "mutants/replays.rs"]
mod replays;
#[path = "mutants/usage.rs"]
mod usage;

use std::{
    cmp::Reverse,
    collections::HashMap,
    fmt,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use credential_core::{
    audit::Subject,
    clock::{Clock as _, Monotonic, SystemClock, Timestamp},
    conformance,
    credential::{
        Credential, CredentialName, CredentialState, Description, Networks, Revocation,
        RevokedToken,
    },
    id::{ClientId, CredentialId, ProofId, TenantId},
    secret::keyring::KeyName,
    store::{
        AsOf, AuditQuery, CHANGES_KEPT_FOR, Change, ChangeId, Changes, Committed, CredentialStore,
        Edit, Heartbeat, KeyCheck, ListPosition, ListQuery, LoggedChange, Mark, NewCredential,
        NodeId, ReplaceHash, Replay, ReplayQuery, Revoke, RevokeAll, RevokeToken, SpendAssertion,
        StoreError, StoredRow, TrailPage, TrailStore,
    },
    testing::ManualClock,
};
use credential_store_memory::MemoryStore;

macro_rules! faults {
    ($($fault:ident: $what:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Fault { $( $fault, )* }

        impl Fault {
            const ALL: &[Self] = &[$( Self::$fault, )*];

            fn what(self) -> &'static str {
                match self { $( Self::$fault => $what, )* }
            }
        }
    };
}

faults! {
    // Insert and list.
    LimitOneMore: "the limit is off by one",
    LimitWithRevoked: "the limit counts what is revoked",
    LimitOfAllTenants: "the limit counts all tenants",
    LimitBeforeName: "LimitReached before NameTaken",
    LimitCheckedBefore: "the limit is checked before the transaction",
    NamesAsTyped: "names are compared as they were typed",
    NameOfRevokedTaken: "revoking does not give the name back",
    LeftNameTaken: "a rename does not give the old name back",
    RefusalHalfDone: "a refused insert is done in part",
    RefusalCounted: "a refused insert moves the change log",
    MayInsertAnything: "may_insert refuses nothing",
    TextCut: "names are cut at 255 bytes",
    TimesInMillis: "times are kept to the millisecond",
    ScopesSorted: "scopes come back sorted",
    SecretsReversed: "secrets come back in reverse order",
    NoSecretNoCredential: "a credential without secrets is not found (an inner join)",
    GetOfAnyTenant: "get asks for no tenant",
    TenantsWithoutCase: "tenants are compared without case",
    ListById: "the list is ordered by id alone",
    ListWithAfter: "a page begins with the place itself",
    ListWithRevoked: "the list always has the revoked ones",
    ListNeverRevoked: "the list never has the revoked ones",
    ListOfAllTenants: "the list asks for no tenant",
    ListWithoutLimit: "a page has no end",
    ClonesApart: "a clone is a copy",
    // Replace.
    VersionStands: "replace does not move the version",
    VersionIgnored: "replace ignores the expected version",
    VersionCheckedBefore: "the expected version is checked before the transaction",
    NameBeforeStale: "NameTaken before StaleVersion",
    StaleBeforeRevoked: "StaleVersion before Revoked",
    OldScopesStay: "replace keeps the old scopes",
    OldExpiryStays: "replace keeps the old expiry",
    EditedHashWins: "replace takes a kept secret's hash from the edit",
    EndedSecretFound: "a secret that was taken away is still found",
    EditOfAnyTenant: "replace asks for no tenant",
    SecondEventLost: "an edit's second audit event is lost",
    EventsReversed: "an edit's audit events are written in reverse",
    // Revoke.
    RevocationOverwritten: "a repeat overwrites the first revocation",
    RevokeKeepsVersion: "revoke does not move the version",
    RevokeIgnoresVersion: "revoke ignores the expected version",
    RepeatIsStale: "a repeat with an old version is refused",
    RepeatIsNotFound: "a repeat finds nothing",
    RepeatCounted: "a repeat moves the change log",
    RevokeOfAnyTenant: "revoke asks for no tenant",
    RevokeAllIgnoresSet: "revoke_all takes whatever is asked for",
    RevokeAllLeavesOne: "revoke_all leaves the last credential",
    RevokeAllOfNothingCounted: "revoke_all of nothing moves the change log",
    RevokeAllAsOne: "revoke_all logs a change of one credential",
    // Settings.
    DescriptionLost: "descriptions are not kept",
    DisabledLost: "whether a credential is disabled is not kept",
    NetworksLost: "networks are not kept",
    EndLost: "the end of a secret is not kept",
    // Kept answers.
    AnswerOfEditLost: "an edit keeps no answer",
    AnswerOfInsertLost: "an insert keeps no answer",
    AnswerCut: "answers are cut at eight kilobytes",
    AnswerOfFirstName: "an answer is looked for under the first name only",
    AnswerOfAnyTenant: "answers ask for no tenant",
    AnswerOfRefused: "a refused change keeps its answer",
    AnswerOverwritten: "a change that is refused for its key leaves its answer",
    AnswerCheckedBefore: "whether a key is used is asked before the transaction",
    AnswerAfterName: "NameTaken before IdempotencyKeyUsed",
    AliasesIgnored: "only the name under the newest key is compared",
    AnswerRefusalCounted: "a used key moves the change log",
    AnswerReadCounted: "looking for an answer moves the change log",
    AnswerNeverEnds: "answers do not end",
    AnswerEndsEarly: "answers end after half their time",
    AnswerKeyStays: "the name of an answer that ended cannot be used again",
    EffectiveOverwritten: "the last effective time counts",
    EffectiveNotKept: "an effective time is returned and not kept",
    EffectiveOfAll: "an effective time is kept with every answer",
    OpenedWithoutAnswers: "answers are lost when the store is closed",
    RegistrationsReversed: "registrations come back in reverse order",
    RegistrationUseLost: "the use of a registration is not kept",
    // Assertions.
    ClientNotFound: "no credential is found by its client id",
    AssertionAlwaysFirst: "an assertion counts each time",
    AssertionOfAnyCredential: "the assertions of all credentials are one set",
    AssertionForgottenByItsEnd: "an assertion that has ended is not remembered",
    AssertionKeptForEver: "assertions are never forgotten",
    // State.
    SelectorsWithoutCase: "selectors are compared without case",
    TokensNotInState: "the state has no revoked tokens",
    TokensNotByProof: "the state by proof has no revoked tokens",
    UptoAhead: "a state claims a change that is not there yet",
    StateOfNobodyFails: "the state of an unknown credential is an error",
    StateTorn: "a state and its change are read one after the other",
    HashWithoutOld: "replace_hash ignores the old hash",
    HashCounted: "replace_hash moves the change log",
    TokenLimitOneMore: "the limit of revoked tokens is off by one",
    TokenRepeatCounted: "the repeated revocation of a token moves the change log",
    TokenOfNobody: "a token of an unknown credential is no error",
    TokensEndEarly: "revoked tokens are forgotten when they expire",
    TokensNeverEnd: "revoked tokens are never forgotten",
    ValidFromBack: "tokens_valid_from goes back",
    ValidFromNow: "tokens_valid_from ignores the dropped tokens",
    // The change log.
    MaxChangesIgnored: "catch_up lists as many changes as there are",
    MaxChangesOneMore: "catch_up lists one change more than asked for",
    KeptForASecond: "change rows are kept for one second",
    KeptForHalfTheTime: "change rows are kept for half the time",
    LatestRowRemoved: "the latest change row is removed when it is old",
    RowSkipped: "catch_up leaves out a row",
    AppliedRepeated: "catch_up repeats the applied row",
    RowsReversed: "catch_up lists the newest row first",
    SubjectWrong: "a change row names another credential",
    MarkReused: "two changes have one mark",
    MarksFromNumbers: "a mark follows from the number",
    PreviousIsOwn: "a row's previous mark is its own",
    FutureConfirmed: "a place that does not exist yet is confirmed",
    MarkConfirmed: "the latest number is confirmed with any mark",
    AnewWithRows: "a node that starts anew gets rows",
    WaitedSinceEpoch: "waited counts from 1970",
    DeadNodesCounted: "the bound of a dead node counts for ever",
    OwnBoundLeftOut: "the largest bound is without the node's own",
    IssuerIgnored: "any issuer is welcome",
    RunningNodeRefused: "a running node of another issuer is refused",
    RefusedNodeCounted: "a refused node leaves its bound",
    WokenAtOnce: "wake_up returns at once",
    KeyOverwritten: "use_key takes a new value for a known name",
    CheckKeepsKeys: "check_keys keeps what it compares",
    KeysByName: "keys are listed by name",
    // The trail.
    AuditOfAnyTenant: "a trail has the rows of all tenants",
    AuditOfAnyCredential: "a trail does not look at the credential",
    AuditWithBefore: "a page of a trail begins with the place itself",
    AuditOldestFirst: "a trail has the oldest first",
    DetailsRewritten: "details are parsed and written anew",
    SubjectLost: "what is about the tenant is told of nobody's credential",
    HashOfBefore: "a row has the hash of the row before",
    HeadOfPage: "the head is that of the page",
    HeadStands: "the head does not move",
    HeadMissing: "there is no head",
    TenantsWithoutOrder: "audited_tenants goes by the alphabet",
    TenantsWithAfter: "audited_tenants begins with the place itself",
    // Usage.
    UseOnEverySecret: "a use is noted on every secret",
    UseBack: "a late report takes a use back",
    UseCut: "of a batch the first hundred uses are recorded",
    UseOfNobodyFails: "a use of an unknown credential is an error",
    UseCounted: "record moves the change log",
    BatchTwice: "a repeated batch is counted again",
    BatchLateTwice: "an older batch that comes late is counted again",
    BatchOfOneNode: "batches are numbered over all nodes",
    BatchOfOneOnly: "a node's first batch is its only one",
    BatchForgotten: "the numbers of batches are forgotten when old usage goes",
    BatchNeverForgotten: "the numbers of batches are never forgotten",
    CallsAllowedOnly: "denied calls are not counted",
    CallsOfOneDay: "calls of all days are one",
    CallsByFirstScope: "calls are added up by their first scope",
    ScopesCut: "lists of scopes are cut at 255 bytes",
    ScopesReversed: "usage has the last scopes first",
    DaysNewestFirst: "usage has the newest day first",
    LastOfScopeLost: "the last use of a scope is not kept",
    LastOfScopeByCalls: "the last use of a scope is kept with counted calls only",
    LastOfScopeSince: "the last use of a scope before the day is not seen",
    UsageOfAnyTenant: "usage asks for no tenant",
    UsageOfAllDays: "usage does not look at the day",
    UsageAfterTheDay: "usage leaves out the first day",
    UsedOfAnyTenant: "used_scopes asks for no tenant",
    UsedBefore: "used_scopes does not look at the day",
    UsedAfterTheDay: "used_scopes leaves out the first day",
    UsedIfDenied: "used_scopes counts denied calls",
    UsedOfTheFirst: "used_scopes looks at the first credential only",
    UsedTwice: "used_scopes names a scope twice",
    RefusalsApart: "equal refusals stay apart",
    RefusalsOfADayMerge: "equal refusals become one however far apart",
    RefusalCountsOne: "a refusal counts as one",
    RefusalAddressLost: "the address of a refusal is lost",
    RefusalMethodLost: "the method of a refusal is lost",
    RefusalScopeLost: "the scope of a refusal is lost",
    RefusalReasonLost: "all refusals have one reason",
    RefusalTimesOne: "the end of a refusal is lost",
    RefusalOfClaimedLost: "refusals of claimed clients are dropped",
    RefusalsOfAnyTenant: "refusals asks for no tenant",
    RefusalsBefore: "refusals does not look at the time",
    RefusalsWithoutLimit: "refusals has no end",
    RefusalsFew: "twenty refusals are kept",
    RefusalsOldestFirst: "refusals has the oldest first",
    PruneNothing: "prune removes nothing",
    PruneAtOnce: "prune removes everything at once",
    PruneOnce: "prune never says that there is more",
    PruneWithoutEnd: "prune always says that there is more",
    // Opening again.
    OpenedWithNewMarks: "marks are drawn anew when the store is opened",
    OpenedWithoutRows: "change rows are lost when the store is closed",
    OpenedWithoutKeys: "check values are lost when the store is closed",
    OpenedWithoutNodes: "nodes are forgotten when the store is closed",
}

/// What a fault needs to remember.
#[derive(Debug, Default)]
struct Memory {
    /// Numbers that were taken for nothing.
    extra: u64,
    tenants: Vec<TenantId>,
    aliases: HashMap<CredentialId, CredentialName>,
    left_names: Vec<String>,
    edits: HashMap<CredentialId, u64>,
    revocations: HashMap<CredentialId, Revocation>,
    proofs: Vec<(ProofId, CredentialId)>,
    tokens: HashMap<CredentialId, Vec<RevokedToken>>,
    valid_from: HashMap<CredentialId, Timestamp>,
    uses: HashMap<ProofId, Timestamp>,
    committed: HashMap<u64, Duration>,
    bounds: HashMap<NodeId, Duration>,
    replays: replays::Memory,
    usage: usage::Memory,
}

struct Mutant {
    inner: MemoryStore,
    fault: Option<Fault>,
    clock: ManualClock,
    started: (Monotonic, Timestamp),
    memory: Arc<Mutex<Memory>>,
    /// The latest change when it was opened again.
    reopened_at: Option<u64>,
}

impl Clone for Mutant {
    fn clone(&self) -> Self {
        let mut inner = self.inner.clone();
        if self.is(Fault::ClonesApart) {
            inner = MemoryStore::with_clock(Arc::new(self.clock.clone()));
            inner.restore(&self.inner.back_up());
        }
        Self {
            inner,
            fault: self.fault,
            clock: self.clock.clone(),
            started: self.started,
            memory: Arc::clone(&self.memory),
            reopened_at: self.reopened_at,
        }
    }
}

impl fmt::Debug for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mutant").field(&self.fault).finish()
    }
}

const EVERYTHING: ListQuery = ListQuery {
    limit: usize::MAX,
    after: None,
    include_revoked: true,
};

impl Mutant {
    fn new(fault: Option<Fault>) -> Self {
        let clock = ManualClock::new();
        clock.set_now(SystemClock.now());
        Self {
            inner: MemoryStore::with_clock(Arc::new(clock.clone())),
            fault,
            started: (SystemClock.monotonic(), clock.now()),
            clock,
            memory: Arc::default(),
            reopened_at: None,
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    /// Time since the start, also what the clock was moved by.
    fn passed(&self) -> Duration {
        let (really, by_the_clock) = self.started;
        SystemClock.monotonic().saturating_since(really)
            + self.clock.now().saturating_since(by_the_clock)
    }

    async fn reopened(self) -> Self {
        let nobody = CredentialId::from_bytes([0; 16]);
        let upto = self.inner.state(nobody).await.unwrap().upto;
        Self {
            reopened_at: Some(upto.number),
            ..self
        }
    }

    /// The number that a fault took for nothing.
    fn count(&self, fault: Fault) {
        if self.is(fault) {
            self.memory().extra += 1;
        }
    }

    fn mark(&self, number: u64, mark: Mark) -> Mark {
        let of = |number: u64| Mark(u128::from(number).to_be_bytes());
        match self.fault {
            Some(Fault::MarkReused) => of(number / 2),
            Some(Fault::MarksFromNumbers) => of(number),
            _ => mark,
        }
    }

    fn id(&self, id: ChangeId) -> ChangeId {
        let extra = self.memory().extra;
        let mark = if self.is(Fault::OpenedWithNewMarks) && self.reopened_at == Some(id.number) {
            Mark([9; 16])
        } else {
            self.mark(id.number, id.mark)
        };
        ChangeId {
            number: id.number + extra,
            mark,
        }
    }

    fn committed<T>(&self, done: Committed<T>) -> Committed<T> {
        let at = self.passed();
        self.memory()
            .committed
            .entry(done.change.number)
            .or_insert(at);
        Committed {
            change: self.id(done.change),
            ..done
        }
    }

    /// A credential as it comes back.
    fn seen(&self, mut credential: Credential) -> Option<Credential> {
        let id = credential.identity.id;
        let memory = self.memory();
        let settings = &mut credential.settings;
        match self.fault? {
            Fault::NamesAsTyped => {
                if let Some(name) = memory.aliases.get(&id) {
                    settings.name = name.clone();
                }
            }
            Fault::TextCut => {
                let text = settings.name.as_str();
                let starts = text.char_indices().map(|(start, _)| start);
                let end = starts.take_while(|start| *start <= 255).last().unwrap();
                if text.len() > 255 {
                    settings.name = CredentialName::new(&text[..end]).unwrap();
                }
            }
            Fault::TimesInMillis => {
                let at = credential.identity.created_at.as_micros();
                credential.identity.created_at = Timestamp::from_micros(at / 1_000 * 1_000);
            }
            Fault::ScopesSorted => settings.scopes.sort(),
            Fault::SecretsReversed => settings.secrets.reverse(),
            Fault::DescriptionLost => settings.description = Description::default(),
            Fault::DisabledLost => settings.disabled_at = None,
            Fault::NetworksLost => settings.allowed_networks = Networks::default(),
            Fault::EndLost => settings
                .secrets
                .iter_mut()
                .for_each(|it| it.ended_at = None),
            Fault::RegistrationsReversed => settings.registrations.reverse(),
            Fault::RegistrationUseLost => settings
                .registrations
                .iter_mut()
                .for_each(|it| it.last_used_at = None),
            Fault::NoSecretNoCredential if settings.secrets.is_empty() => return None,
            Fault::VersionStands => {
                credential.version -= memory.edits.get(&id).copied().unwrap_or(0);
            }
            Fault::RevokeKeepsVersion if credential.revoked.is_some() => credential.version -= 1,
            Fault::RevocationOverwritten => {
                if let Some(later) = memory.revocations.get(&id) {
                    credential.revoked = Some(later.clone());
                }
            }
            Fault::ValidFromBack | Fault::ValidFromNow => {
                if let Some(at) = memory.valid_from.get(&id) {
                    credential.observed.tokens_valid_from = Some(*at);
                }
            }
            Fault::UseBack => {
                for secret in &mut settings.secrets {
                    if let Some(at) = memory.uses.get(&secret.selector) {
                        secret.last_used_at = Some(*at);
                    }
                }
            }
            _ => {}
        }
        Some(credential)
    }

    /// As [`seen`](Self::seen), where there is something.
    fn shown(&self, credential: Credential) -> Credential {
        if self.fault.is_none() {
            return credential;
        }
        let hidden = credential.clone();
        self.seen(credential).unwrap_or(hidden)
    }

    fn state_seen(
        &self,
        state: AsOf<Option<CredentialState>>,
        by_proof: bool,
    ) -> AsOf<Option<CredentialState>> {
        let now = self.clock.now();
        let mut upto = self.id(state.upto);
        if self.is(Fault::UptoAhead) {
            upto.number += 1;
        }
        let value = state.value.map(|mut state| {
            let tokens = &mut state.revoked_tokens;
            match self.fault {
                Some(Fault::TokensNotInState) => tokens.clear(),
                Some(Fault::TokensNotByProof) if by_proof => tokens.clear(),
                Some(Fault::TokensEndEarly) => tokens.retain(|token| token.expires_at > now),
                Some(Fault::TokensNeverEnd) => {
                    let id = state.credential.identity.id;
                    *tokens = self.memory().tokens.get(&id).cloned().unwrap_or_default();
                }
                _ => {}
            }
            state.credential = self.shown(state.credential);
            state
        });
        AsOf { value, upto }
    }

    /// The owner and the credential, whoever asks.
    async fn any(&self, id: CredentialId) -> Option<Credential> {
        let state = self.inner.state(id).await.unwrap().value;
        state.map(|state| state.credential)
    }

    /// Whose credential a call is about, for a store that does not look.
    async fn owner(&self, fault: Fault, tenant: &TenantId, id: CredentialId) -> TenantId {
        let found = self.any(id).await;
        found
            .map(|it| it.identity.tenant)
            .filter(|owner| {
                self.is(fault)
                    || self.is(Fault::TenantsWithoutCase)
                        && owner.as_str().eq_ignore_ascii_case(tenant.as_str())
            })
            .unwrap_or_else(|| tenant.clone())
    }

    /// The rows of the change log as they are listed, unless they are gone.
    fn rows_seen(&self, mut rows: Vec<LoggedChange>, latest: u64) -> Option<Vec<LoggedChange>> {
        for row in &mut rows {
            row.previous = self.mark(row.id.number - 1, row.previous);
            row.id = self.id(row.id);
            match self.fault {
                Some(Fault::PreviousIsOwn) => row.previous = row.id.mark,
                Some(Fault::RevokeAllAsOne) if matches!(row.change, Change::Tenant(_)) => {
                    row.change = Change::Credential(CredentialId::from_bytes([7; 16]));
                }
                Some(Fault::SubjectWrong) => {
                    row.change = Change::Credential(CredentialId::from_bytes([7; 16]));
                }
                _ => {}
            }
        }
        let kept_for = match self.fault {
            Some(Fault::RowSkipped) if rows.len() > 1 => {
                rows.remove(0);
                return Some(rows);
            }
            Some(Fault::RowsReversed) => {
                rows.reverse();
                return Some(rows);
            }
            Some(Fault::KeptForASecond) => Duration::from_secs(1),
            Some(Fault::KeptForHalfTheTime) => CHANGES_KEPT_FOR / 2,
            Some(Fault::LatestRowRemoved) => CHANGES_KEPT_FOR,
            _ => return Some(rows),
        };
        let passed = self.passed();
        let memory = self.memory();
        let gone = rows.iter().any(|row| {
            let spared = row.id.number == latest && !self.is(Fault::LatestRowRemoved);
            let at = memory.committed.get(&row.id.number);
            !spared && at.is_some_and(|at| passed.saturating_sub(*at) > kept_for)
        });
        (!gone).then_some(rows)
    }

    async fn all_of(&self, tenant: &TenantId) -> Vec<Credential> {
        self.inner.list(tenant, &EVERYTHING).await.unwrap()
    }

    async fn refused(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        limit: u32,
    ) -> Result<(), StoreError> {
        let limit_in = match self.fault {
            Some(Fault::LimitOneMore) => limit + 1,
            _ => limit,
        };
        let told = self.inner.may_insert(tenant, name, limit_in).await;
        let all = self.all_of(tenant).await;
        let live = all.iter().filter(|it| it.revoked.is_none()).count();
        let limit = limit as usize;
        let key = name.comparison_key();
        match self.fault {
            Some(Fault::LimitBeforeName) if live >= limit => Err(StoreError::LimitReached),
            Some(Fault::LimitWithRevoked) if told.is_ok() && all.len() >= limit => {
                Err(StoreError::LimitReached)
            }
            Some(Fault::LimitOfAllTenants)
                if told.is_ok() && self.memory().tenants.len() >= limit =>
            {
                Err(StoreError::LimitReached)
            }
            Some(Fault::NameOfRevokedTaken)
                if all
                    .iter()
                    .any(|it| it.settings.name.comparison_key() == key) =>
            {
                Err(StoreError::NameTaken)
            }
            Some(Fault::NamesAsTyped)
                if !all
                    .iter()
                    .any(|it| it.settings.name.as_str() == name.as_str()) =>
            {
                Ok(())
            }
            Some(Fault::LeftNameTaken) if self.memory().left_names.contains(&key) => {
                Err(StoreError::NameTaken)
            }
            _ => told,
        }
    }
}

#[async_trait]
impl CredentialStore for Mutant {
    async fn insert(&self, mut new: NewCredential) -> Result<Committed<()>, StoreError> {
        let tenant = new.credential.identity.tenant.clone();
        let name = new.credential.settings.name.clone();
        let used = self.key_is_used(&tenant, new.replay.as_ref()).await;
        let replay = new.replay.clone();
        new.replay = self
            .replay_kept(&tenant, new.replay, Fault::AnswerOfInsertLost)
            .await?;
        // Only where it differs: two calls are not one.
        if self.fault.is_some()
            && (!used || self.is(Fault::AnswerAfterName))
            && let Err(refusal) = self.refused(&tenant, &name, new.limit).await
        {
            self.count(Fault::RefusalCounted);
            self.replay_refused(&tenant, replay, &refusal);
            if self.is(Fault::RefusalHalfDone) {
                let name = new.credential.identity.id.to_string();
                new.credential.settings.name = CredentialName::new(&name).unwrap();
                new.limit = u32::MAX;
                self.inner.insert(new).await?;
            }
            return Err(refusal);
        }
        match self.fault {
            Some(Fault::LimitOneMore) => new.limit += 1,
            Some(Fault::LimitCheckedBefore) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                new.limit = u32::MAX;
            }
            Some(Fault::NamesAsTyped)
                if self
                    .inner
                    .may_insert(&tenant, &name, u32::MAX)
                    .await
                    .is_err() =>
            {
                let id = new.credential.identity.id;
                let alias = CredentialName::new(&id.to_string()).unwrap();
                new.credential.settings.name = alias;
                self.memory().aliases.insert(id, name);
            }
            _ => {}
        }
        let id = new.credential.identity.id;
        let secrets = new.credential.settings.secrets.clone();
        let done = self.inner.insert(new).await;
        let done = done.inspect_err(|it| self.replay_refused(&tenant, replay, it))?;
        let mut memory = self.memory();
        memory.tenants.push(tenant);
        let proofs = secrets.iter().map(|secret| (secret.selector, id));
        memory.proofs.extend(proofs);
        drop(memory);
        Ok(self.committed(done))
    }

    async fn may_insert(
        &self,
        tenant: &TenantId,
        name: &CredentialName,
        limit: u32,
    ) -> Result<(), StoreError> {
        if self.is(Fault::MayInsertAnything) {
            return Ok(());
        }
        self.refused(tenant, name, limit).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        id: CredentialId,
    ) -> Result<Option<Credential>, StoreError> {
        let tenant = self.owner(Fault::GetOfAnyTenant, tenant, id).await;
        let found = self.inner.get(&tenant, id).await?;
        Ok(match self.fault {
            None => found,
            Some(_) => found.and_then(|it| self.seen(it)),
        })
    }

    async fn list(
        &self,
        tenant: &TenantId,
        query: &ListQuery,
    ) -> Result<Vec<Credential>, StoreError> {
        if self.is(Fault::ListOfAllTenants) {
            let mut tenants = self.memory().tenants.clone();
            tenants.push(tenant.clone());
            tenants.sort();
            tenants.dedup();
            let mut found = Vec::new();
            for tenant in &tenants {
                found.extend(self.inner.list(tenant, query).await?);
            }
            return Ok(found);
        }
        let mut query = *query;
        let after = query.after;
        let limit = query.limit;
        match self.fault {
            Some(Fault::ListWithRevoked) => query.include_revoked = true,
            Some(Fault::ListNeverRevoked) => query.include_revoked = false,
            Some(Fault::ListWithoutLimit) => query.limit = usize::MAX,
            Some(Fault::ListById | Fault::ListWithAfter) => {
                query.limit = usize::MAX;
                query.after = None;
            }
            _ => {}
        }
        let mut found = self.inner.list(tenant, &query).await?;
        match self.fault {
            Some(Fault::ListById) => {
                found.sort_by_key(|it| Reverse(it.identity.id));
                found.retain(|it| after.is_none_or(|after| it.identity.id < after.id));
                found.truncate(limit);
            }
            Some(Fault::ListWithAfter) => {
                found.retain(|it| after.is_none_or(|after| ListPosition::of(it) <= after));
                found.truncate(limit);
            }
            None => return Ok(found),
            _ => {}
        }
        Ok(found.into_iter().filter_map(|it| self.seen(it)).collect())
    }

    async fn replace(&self, mut edit: Edit) -> Result<Committed<Credential>, StoreError> {
        edit.tenant = self
            .owner(Fault::EditOfAnyTenant, &edit.tenant, edit.id)
            .await;
        let before = self.inner.get(&edit.tenant, edit.id).await?;
        let given = edit.settings.clone();
        let id = edit.id;
        if let Some(before) = &before {
            let key = given.name.comparison_key();
            let all = self.all_of(&edit.tenant).await;
            let mut others = all.iter().filter(|it| it.identity.id != id);
            let taken =
                others.any(|it| it.revoked.is_none() && it.settings.name.comparison_key() == key);
            match self.fault {
                Some(Fault::VersionStands) => {
                    let edits = self.memory().edits.get(&id).copied();
                    edit.expected_version += edits.unwrap_or(0);
                }
                Some(Fault::VersionCheckedBefore) if before.version == edit.expected_version => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let now = self.inner.get(&edit.tenant, id).await?;
                    edit.expected_version = now.unwrap().version;
                }
                Some(Fault::VersionIgnored) => edit.expected_version = before.version,
                Some(Fault::NameBeforeStale) if taken && before.revoked.is_none() => {
                    return Err(StoreError::NameTaken);
                }
                Some(Fault::StaleBeforeRevoked) if before.version != edit.expected_version => {
                    return Err(StoreError::StaleVersion);
                }
                Some(Fault::OldScopesStay) => edit.settings.scopes = before.settings.scopes.clone(),
                Some(Fault::OldExpiryStays) => {
                    edit.settings.expires_at = before.settings.expires_at;
                }
                Some(Fault::SecondEventLost) => edit.events.truncate(1),
                Some(Fault::EventsReversed) => edit.events.reverse(),
                _ => {}
            }
        }
        let tenant = edit.tenant.clone();
        let replay = edit.replay.clone();
        edit.replay = self
            .replay_kept(&tenant, edit.replay, Fault::AnswerOfEditLost)
            .await?;
        let done = self.inner.replace(edit).await;
        let done = done.inspect_err(|it| self.replay_refused(&tenant, replay, it))?;
        {
            let mut memory = self.memory();
            *memory.edits.entry(id).or_default() += 1;
            if let Some(before) = before {
                let left = before.settings.name.comparison_key();
                memory.left_names.push(left);
            }
            let proofs = given.secrets.iter().map(|secret| (secret.selector, id));
            memory.proofs.extend(proofs);
        }
        let mut value = done.value;
        if self.is(Fault::EditedHashWins) {
            for secret in &mut value.settings.secrets {
                let edited = given
                    .secrets
                    .iter()
                    .find(|it| it.selector == secret.selector);
                let change = ReplaceHash {
                    id,
                    selector: secret.selector,
                    old: secret.hash.clone(),
                    new: edited.unwrap().hash.clone(),
                };
                secret.hash = change.new.clone();
                self.inner.replace_hash(change).await?;
            }
        }
        let value = self.shown(value);
        Ok(self.committed(Committed {
            value,
            change: done.change,
        }))
    }

    async fn revoke(&self, mut revoke: Revoke) -> Result<Committed<Credential>, StoreError> {
        revoke.tenant = self
            .owner(Fault::RevokeOfAnyTenant, &revoke.tenant, revoke.id)
            .await;
        let id = revoke.id;
        let before = self.inner.get(&revoke.tenant, id).await?;
        let repeat = before.as_ref().is_some_and(|it| it.revoked.is_some());
        if self.is(Fault::RevokeIgnoresVersion) {
            revoke.expected_version = None;
        }
        if let (true, Some(before)) = (repeat, &before) {
            self.count(Fault::RepeatCounted);
            let stale = revoke
                .expected_version
                .is_some_and(|it| it != before.version);
            match self.fault {
                Some(Fault::RepeatIsStale) if stale => return Err(StoreError::StaleVersion),
                Some(Fault::RepeatIsNotFound) => return Err(StoreError::NotFound),
                Some(Fault::RevocationOverwritten) => {
                    let later = Revocation {
                        at: revoke.at,
                        by: revoke.by.clone(),
                    };
                    self.memory().revocations.insert(id, later);
                }
                _ => {}
            }
        }
        let done = self.inner.revoke(revoke).await?;
        let value = self.shown(done.value);
        Ok(self.committed(Committed {
            value,
            change: done.change,
        }))
    }

    async fn revoke_all(&self, mut revoke: RevokeAll) -> Result<Committed<()>, StoreError> {
        if self.is(Fault::RevokeAllIgnoresSet) && !revoke.events.is_empty() {
            let all = self.inner.list(&revoke.tenant, &EVERYTHING).await?;
            let live = all.iter().filter(|it| it.revoked.is_none());
            let live: Vec<CredentialId> = live.map(|it| it.identity.id).collect();
            let (_, event) = revoke.events.first().unwrap().clone();
            revoke.events = live.into_iter().map(|id| (id, event.clone())).collect();
        }
        let nothing = revoke.events.is_empty();
        if self.is(Fault::RevokeAllLeavesOne) && revoke.events.len() > 1 {
            let (id, event) = revoke.events.first().unwrap().clone();
            let done = self.inner.revoke(Revoke {
                tenant: revoke.tenant,
                id,
                expected_version: None,
                at: revoke.at,
                by: revoke.by,
                event,
            });
            let Committed { change, .. } = done.await?;
            return Ok(self.committed(Committed { value: (), change }));
        }
        let done = self.inner.revoke_all(revoke).await?;
        if nothing {
            self.count(Fault::RevokeAllOfNothingCounted);
        }
        Ok(self.committed(done))
    }

    async fn replay(&self, query: &ReplayQuery) -> Result<Option<Replay>, StoreError> {
        self.replay_seen(query).await
    }

    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let mut state = self.inner.state(id).await?;
        if self.is(Fault::StateOfNobodyFails) && state.value.is_none() {
            return Err(StoreError::NotFound);
        }
        if self.is(Fault::StateTorn) {
            // As long as a round trip to a database takes.
            tokio::time::sleep(Duration::from_millis(1)).await;
            state.upto = self.inner.state(id).await?.upto;
        }
        Ok(self.state_seen(state, false))
    }

    async fn state_by_proof(
        &self,
        proof: &ProofId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let known = self.memory().proofs.clone();
        let by_another = known.iter().find(|(known, _)| match self.fault {
            Some(Fault::EndedSecretFound) => known == proof,
            Some(Fault::SelectorsWithoutCase) => {
                known.as_str().eq_ignore_ascii_case(proof.as_str())
            }
            _ => false,
        });
        let state = match by_another {
            Some((_, id)) => self.inner.state(*id).await?,
            None => self.inner.state_by_proof(proof).await?,
        };
        Ok(self.state_seen(state, true))
    }

    async fn state_by_client(
        &self,
        client: &ClientId,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        let mut state = self.inner.state_by_client(client).await?;
        if self.is(Fault::ClientNotFound) {
            state.value = None;
        }
        Ok(self.state_seen(state, false))
    }

    async fn spend_assertion(&self, mut spend: SpendAssertion) -> Result<bool, StoreError> {
        match self.fault {
            Some(Fault::AssertionOfAnyCredential) => {
                spend.credential_id = CredentialId::from_bytes([0; 16]);
            }
            Some(Fault::AssertionForgottenByItsEnd) if spend.until < self.clock.now() => {
                return Ok(true);
            }
            Some(Fault::AssertionKeptForEver) => spend.until = Timestamp::MAX,
            _ => {}
        }
        let first = self.inner.spend_assertion(spend).await?;
        Ok(first || self.is(Fault::AssertionAlwaysFirst))
    }

    async fn replace_hash(&self, mut change: ReplaceHash) -> Result<(), StoreError> {
        self.count(Fault::HashCounted);
        if self.is(Fault::HashWithoutOld)
            && let Some(found) = self.any(change.id).await
            && let Some(secret) = found.secret(&change.selector)
        {
            change.old = secret.hash.clone();
        }
        self.inner.replace_hash(change).await
    }

    async fn revoke_token(&self, mut revoke: RevokeToken) -> Result<Committed<()>, StoreError> {
        let id = revoke.credential_id;
        let before = self.inner.state(id).await?;
        let upto = before.upto;
        let Some(before) = before.value else {
            if self.is(Fault::TokenOfNobody) {
                return Ok(Committed {
                    value: (),
                    change: upto,
                });
            }
            return self.inner.revoke_token(revoke).await;
        };
        let mut tokens = before.revoked_tokens;
        if tokens.iter().any(|it| it.id == revoke.token.id) {
            self.count(Fault::TokenRepeatCounted);
        }
        if self.is(Fault::TokenLimitOneMore) {
            revoke.limit += 1;
        }
        let done = self.inner.revoke_token(revoke).await?;
        let after = self.inner.state(id).await?.value.unwrap();
        let mut memory = self.memory();
        memory.tokens.entry(id).or_default().push(revoke.token);
        if after.revoked_tokens.is_empty() {
            tokens.push(revoke.token);
            let issued = tokens.iter().map(|it| it.issued_at).max().unwrap();
            let at = match self.fault {
                Some(Fault::ValidFromBack) => issued,
                _ => self.clock.now(),
            };
            memory.valid_from.insert(id, at);
        }
        drop(memory);
        Ok(self.committed(done))
    }

    async fn catch_up(&self, heartbeat: &Heartbeat) -> Result<Changes, StoreError> {
        let mut asked = heartbeat.clone();
        match self.fault {
            Some(Fault::MaxChangesIgnored) => asked.max_changes = usize::MAX,
            Some(Fault::MaxChangesOneMore) => asked.max_changes += 1,
            Some(Fault::AppliedRepeated) => {
                asked.applied = asked.applied.map(|applied| ChangeId {
                    number: applied.number.saturating_sub(1),
                    ..applied
                });
            }
            Some(Fault::AnewWithRows) => {
                asked.applied = asked.applied.or(Some(ChangeId {
                    number: 0,
                    mark: Mark([0; 16]),
                }));
            }
            Some(Fault::IssuerIgnored) => asked.issuer = "https://any.example.com".into(),
            Some(Fault::RunningNodeRefused) => asked.applied = None,
            _ => {}
        }
        let answer = self.inner.catch_up(&asked).await;
        if let (Err(StoreError::IssuerMismatch { other, .. }), true) =
            (&answer, self.is(Fault::RefusedNodeCounted))
        {
            asked.issuer = other.as_str().into();
            self.inner.catch_up(&asked).await?;
        }
        let mut changes = answer?;
        let latest = changes.upto;
        changes.items = changes
            .items
            .and_then(|items| self.rows_seen(items, latest.number));
        changes.upto = self.id(changes.upto);
        match (self.fault, heartbeat.applied) {
            (Some(Fault::FutureConfirmed), Some(applied)) if applied.number > latest.number => {
                changes.upto = applied;
                changes.items = Some(Vec::new());
            }
            (Some(Fault::MarkConfirmed), Some(applied)) if applied.number == latest.number => {
                changes.upto = applied;
            }
            (Some(Fault::OpenedWithoutRows), Some(applied))
                if self.reopened_at.is_some_and(|at| applied.number < at) =>
            {
                changes.items = None;
            }
            (Some(Fault::WaitedSinceEpoch), _) => {
                changes.waited = self.clock.now().saturating_since(Timestamp::UNIX_EPOCH);
            }
            _ => {}
        }
        let mut memory = self.memory();
        memory
            .bounds
            .insert(heartbeat.node, heartbeat.max_staleness);
        let largest = memory
            .bounds
            .iter()
            .filter(|(node, _)| self.is(Fault::DeadNodesCounted) || **node != heartbeat.node);
        let largest = largest.map(|(_, bound)| *bound).max().unwrap_or_default();
        match self.fault {
            Some(Fault::DeadNodesCounted | Fault::OwnBoundLeftOut) => {
                changes.largest_max_staleness = largest;
            }
            Some(Fault::OpenedWithoutNodes) if self.reopened_at.is_some() => {
                changes.largest_max_staleness = heartbeat.max_staleness;
            }
            _ => {}
        }
        Ok(changes)
    }

    fn retire_connections(&self) {
        self.inner.retire_connections();
    }

    async fn wake_up(&self) {
        if !self.is(Fault::WokenAtOnce) {
            self.inner.wake_up().await;
        }
    }

    async fn check_keys(&self, keys: &[KeyCheck]) -> Result<Vec<KeyName>, StoreError> {
        if self.is(Fault::OpenedWithoutKeys) && self.reopened_at.is_some() {
            return Ok(Vec::new());
        }
        if self.is(Fault::CheckKeepsKeys) {
            for key in keys {
                self.inner.use_key(key).await?;
            }
        }
        let mut names = self.inner.check_keys(keys).await?;
        if self.is(Fault::KeysByName) {
            names.sort();
        }
        Ok(names)
    }

    async fn use_key(&self, key: &KeyCheck) -> Result<Vec<KeyName>, StoreError> {
        match self.inner.use_key(key).await {
            Err(StoreError::KeyMismatch { .. }) if self.is(Fault::KeyOverwritten) => {
                self.inner.check_keys(&[]).await
            }
            done => done,
        }
    }
}

impl Mutant {
    fn row_seen(&self, row: StoredRow) -> StoredRow {
        let StoredRow::Event(mut event) = row else {
            return row;
        };
        match self.fault {
            Some(Fault::DetailsRewritten) => event.details = event.details.replace("\":", "\": "),
            Some(Fault::SubjectLost) if event.subject == Subject::Tenant => {
                event.subject = Subject::Credential(CredentialId::from_bytes([7; 16]));
            }
            Some(Fault::HashOfBefore) if event.seq > 1 => event.hash = [7; 32],
            _ => {}
        }
        StoredRow::Event(event)
    }
}

#[async_trait]
impl TrailStore for Mutant {
    async fn audited_tenants(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let mut all = self.inner.audited_tenants(None, usize::MAX).await?;
        match self.fault {
            Some(Fault::TenantsWithoutOrder) => {
                all.sort_by_key(|it| it.to_lowercase());
                all.retain(|it| after.is_none_or(|after| it.to_lowercase() > after.to_lowercase()));
            }
            Some(Fault::TenantsWithAfter) => {
                all.retain(|it| after.is_none_or(|after| it.as_str() >= after));
            }
            _ => return self.inner.audited_tenants(after, limit).await,
        }
        all.truncate(limit);
        Ok(all)
    }

    async fn trail(&self, tenant: &TenantId, query: &AuditQuery) -> Result<TrailPage, StoreError> {
        let mut query = *query;
        match self.fault {
            Some(Fault::AuditOfAnyCredential) => query.credential_id = None,
            Some(Fault::AuditWithBefore) => query.before = query.before.map(|before| before + 1),
            _ => {}
        }
        let mut page = self.inner.trail(tenant, &query).await?;
        match self.fault {
            Some(Fault::AuditOfAnyTenant) => {
                for other in self.inner.audited_tenants(None, usize::MAX).await? {
                    if other != tenant.as_str() {
                        let other = TenantId::new(other).unwrap();
                        page.rows
                            .extend(self.inner.trail(&other, &query).await?.rows);
                    }
                }
            }
            Some(Fault::AuditOldestFirst) => page.rows.reverse(),
            Some(Fault::HeadMissing) => page.head = None,
            Some(Fault::HeadOfPage) => {
                let newest = page.rows.first().and_then(StoredRow::event);
                page.head = newest.map(|it| it.head().into());
            }
            Some(Fault::HeadStands) => {
                let all = AuditQuery {
                    credential_id: None,
                    limit: usize::MAX,
                    before: None,
                };
                let rows = self.inner.trail(tenant, &all).await?.rows;
                let first = rows.last().and_then(StoredRow::event);
                page.head = first.map(|it| it.head().into());
            }
            _ => {}
        }
        page.rows = page.rows.into_iter().map(|it| self.row_seen(it)).collect();
        Ok(page)
    }
}

type Case = (
    &'static str,
    fn(Mutant) -> Pin<Box<dyn Future<Output = ()>>>,
);

macro_rules! list {
    ($($case:ident),* $(,)?) => {
        [$( (stringify!($case), |store| Box::pin(async move { conformance::$case(&store).await })), )*]
    };
}

/// A case that needs a clock.
macro_rules! timed {
    ($($case:ident),*) => {
        [$( (stringify!($case), |store| Box::pin(async move {
            let let_pass = async |time| store.clock.advance(time);
            conformance::$case(&store, let_pass).await;
        })), )*]
    };
}

/// A case that needs a store to be opened again.
macro_rules! reopened {
    ($($case:ident),*) => {
        [$( (stringify!($case), |store| Box::pin(async move {
            conformance::$case(store, Mutant::reopened).await;
        })), )*]
    };
}

const RESTORED: Case = ("changes_after_a_restore_are_other_changes", |store| {
    Box::pin(async move {
        let back_up = async || store.inner.back_up();
        let restore = async |backup| store.inner.restore(&backup);
        conformance::changes_after_a_restore_are_other_changes(&store, back_up, restore).await;
    })
});

/// Every case; those that take long at the end.
fn cases() -> Vec<Case> {
    let credential: &[Case] = &credential_core::for_each_credential_case!(list);
    let trail: &[Case] = &credential_core::for_each_trail_case!(list);
    let usage: &[Case] = &credential_core::for_each_usage_case!(list);
    let timed: &[Case] = &timed!(
        catch_up_forgets_dead_nodes,
        changes_are_kept_for_their_time,
        revoked_tokens_are_forgotten_after_their_time,
        answers_end_after_their_time,
        spent_assertions_are_forgotten_after_their_time,
        batch_numbers_are_kept_for_their_time
    );
    let reopened: &[Case] = &reopened!(all_is_there_after_reopening, trail_goes_on_after_reopening);
    let mut cases = [credential, trail, usage, timed, reopened, &[RESTORED]].concat();
    cases.sort_by_key(|(name, _)| slow(name).is_some());
    cases
}

/// Cases that let time pass, and the fault that each is for. Other mutants are spared these once another
/// case has killed them.
const SLOW: [(&str, Fault); 2] = [
    (
        "changes_are_kept_for_longer_than_a_moment",
        Fault::KeptForASecond,
    ),
    ("wake_up_waits_for_a_change", Fault::WokenAtOnce),
];

fn slow(name: &str) -> Option<Fault> {
    let mut slow = SLOW.iter();
    slow.find(|(slow, _)| *slow == name)
        .map(|(_, fault)| *fault)
}

/// The cases that a store fails.
fn failed(
    runtime: &tokio::runtime::Handle,
    cases: &[Case],
    fault: Option<Fault>,
) -> Vec<&'static str> {
    let mut failed = Vec::new();
    for (name, case) in cases {
        if slow(name).is_some_and(|meant| fault != Some(meant)) && !failed.is_empty() {
            continue;
        }
        let run = || {
            runtime.block_on(async {
                let case = case(Mutant::new(fault));
                tokio::time::timeout(Duration::from_secs(20), case).await
            })
        };
        let outcome = panic::catch_unwind(AssertUnwindSafe(run));
        if !matches!(outcome, Ok(Ok(()))) {
            failed.push(*name);
        }
    }
    failed
}

#[test]
fn each_fault_is_found() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let cases = cases();
    let sound = failed(runtime.handle(), &cases, None);
    assert!(sound.is_empty(), "without a fault: {sound:?}");

    // The panics of mutants are what is looked for.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(fault) = Fault::ALL.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let killers = failed(runtime.handle(), &cases, Some(*fault));
                    found.lock().unwrap().push((*fault, killers));
                }
            });
        }
    });
    panic::set_hook(hook);
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(fault, _)| Fault::ALL.iter().position(|it| it == fault));
    for (fault, killers) in &found {
        println!("{fault:?}, {}: {}", fault.what(), killers.join(", "));
    }
    for (case, meant) in SLOW {
        let (_, killers) = found.iter().find(|(fault, _)| *fault == meant).unwrap();
        assert!(killers.contains(&case), "{case} misses {meant:?}");
    }
    let killers: Vec<_> = found.iter().flat_map(|(_, by)| by).collect();
    let rest = cases.iter().filter(|(name, _)| !killers.contains(&name));
    let rest: Vec<_> = rest.map(|(name, _)| *name).collect();
    assert!(rest.is_empty(), "find none of these faults: {rest:?}");
    let alive: Vec<_> = found.iter().filter(|(_, by)| by.is_empty()).collect();
    println!("{} mutants, {} cases", found.len(), cases.len());
    assert!(alive.is_empty(), "no case finds {alive:?}");
}
