//! Live state of credentials: cached, and only ever answered while it is proven fresh.
//!
//! The proof, in full in `docs/architecture.md`: a node reads its clock (T), asks the store what
//! changed since the last time, drops those entries, and only then says "everything I hold is
//! true as of T". A check that starts less than `max_staleness` after T may use what it finds; any
//! other has the node ask again first, and fails if the store does not answer.
//!
//! Why only catching up proves anything, and not a read of the one credential: catching up is a
//! write, so a primary that was cut off from its synchronous standby cannot complete it, while it
//! would go on answering reads.

use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

use quick_cache::sync::Cache;
use tokio::sync::oneshot;

use super::{
    catch_up::{CatchUps, CaughtUp},
    ledger::{self, Known, Ledger, Refused},
    links::{self, Link, Links},
    shared_reads::{SharedRead, SharedReads},
};
use crate::{
    catalog::{ApiType, ScopeCatalog, ScopeSet},
    clock::{Clock, Monotonic, Timestamp},
    credential::{Credential, CredentialState},
    id::{CredentialId, Selector, TenantId},
    store::{AsOf, Change, ChangeId, CredentialStore, Heartbeat, NodeId, StoreError},
    telemetry::{self, Seldom},
    token::TokenId,
    usage::{UseLog, UseNote},
};

/// How long a call of the store may take before the check is refused with "no answer".
const STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// Assumed as another node's `max_staleness` when the store cannot be asked; also the bound on
/// what may be configured.
pub(crate) const LARGEST_MAX_STALENESS: Duration = Duration::from_secs(60);

static CONTRADICTED: Seldom = Seldom::new();
static UNCONFIRMED: Seldom = Seldom::new();

/// A credential as checks see it: its record resolved against the catalogue once.
#[derive(Debug)]
pub(crate) struct LiveCredential {
    pub(crate) credential: Credential,
    pub(crate) api_type: Arc<ApiType>,
    /// What it holds by name.
    pub(crate) held: ScopeSet,
    /// What that confers.
    pub(crate) rights: ScopeSet,
    pub(crate) revoked_tokens: HashSet<TokenId>,
    /// Of each secret, in the order of `credential.secrets`.
    uses: Vec<Arc<UseNote>>,
}

impl LiveCredential {
    /// `None` if the catalogue does not offer the credential's API type: it confers nothing.
    pub(super) fn resolve(
        state: CredentialState,
        catalog: &ScopeCatalog,
        uses: &UseLog,
    ) -> Option<Self> {
        let api_type = Arc::clone(catalog.api_type(state.credential.api_type.as_str())?);
        let held = api_type.resolve(state.credential.scopes.iter().map(String::as_str));
        Some(Self {
            rights: api_type.rights(&held),
            held,
            api_type,
            revoked_tokens: state.revoked_tokens.iter().map(|token| token.id).collect(),
            uses: uses.notes_of(&state.credential),
            credential: state.credential,
        })
    }

    /// Where uses through that secret are noted; `None` if the credential no longer has it.
    pub(crate) fn note_of(&self, selector: &Selector) -> Option<&Arc<UseNote>> {
        let secrets = self.credential.secrets.iter();
        let mut noted = secrets.zip(&self.uses);
        let (_, note) = noted.find(|(secret, _)| secret.selector == *selector)?;
        Some(note)
    }

    /// Notes that the credential was used through that secret.
    pub(crate) fn note_use(&self, selector: &Selector, at: Timestamp) {
        if let Some(note) = self.note_of(selector) {
            note.note(at);
        }
    }
}

/// What one read of the store found.
#[derive(Debug)]
struct Entry {
    live: Option<Arc<LiveCredential>>,
}

/// What is believed, for all who share the read.
#[derive(Debug)]
struct Believed {
    entry: Arc<Entry>,
    /// How much this node knew by then.
    known: Known,
}

/// A read on its way into the cache.
#[derive(Debug)]
struct PendingRead {
    /// `None`: no credential has that selector.
    id: Option<CredentialId>,
    entry: Arc<Entry>,
    settled: oneshot::Sender<Settled>,
}

/// What became of a read: up to where it is true, or why it is not believed.
type Settled = Result<Known, Refused>;

/// A credential's live state, and the link to it if it was cached.
type Found = Option<(Arc<LiveCredential>, Option<Link>)>;

/// The state of credentials on this node. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct States(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn CredentialStore>,
    catalog: ScopeCatalog,
    clock: Arc<dyn Clock>,
    node: NodeId,
    issuer: Arc<str>,
    max_staleness: Duration,
    ledger: Ledger<PendingRead>,
    entries: Entries,
    /// A selector belongs to one credential for ever, so this says nothing that can go stale.
    owner: Cache<Selector, CredentialId>,
    uses: UseLog,
    reads: SharedReads<ReadKey, Believed>,
    catch_ups: CatchUps,
}

/// The cached states, and which token entries still speak for them.
#[derive(Debug)]
struct Entries {
    by_id: Cache<CredentialId, Arc<Entry>>,
    links: Links,
}

impl Entries {
    fn get(&self, id: CredentialId) -> Option<Found> {
        let (entry, link) = self.links.link(id.as_bytes(), || self.by_id.get(&id));
        Some(entry?.live.clone().map(|live| (live, Some(link))))
    }

    fn drop_one(&self, id: CredentialId) {
        self.links.cut(id.as_bytes(), || {
            self.by_id.remove(&id);
        });
    }

    fn drop_tenant(&self, tenant: &TenantId) {
        let others = |entry: &Arc<Entry>| {
            let live = entry.live.as_ref();
            live.is_some_and(|live| live.credential.tenant != *tenant)
        };
        self.links
            .cut_all(|| self.by_id.retain(|_, entry| others(entry)));
    }
}

impl ledger::Cache for Entries {
    type Read = PendingRead;

    fn concerns(change: &Change, read: &PendingRead) -> bool {
        match change {
            Change::Credential(id) => read.id == Some(*id),
            // An unknown credential may be that tenant's.
            Change::Tenant(tenant) => read
                .entry
                .live
                .as_ref()
                .is_none_or(|live| live.credential.tenant == *tenant),
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
        self.links.cut_all(|| self.by_id.clear());
    }

    fn keep(&self, read: PendingRead, known: Known) {
        if let Some(id) = read.id {
            // Why cut: a token may be linked to a state that was evicted, and this one is another.
            self.links.cut(id.as_bytes(), || {
                self.by_id.insert(id, read.entry);
            });
        }
        let _gone = read.settled.send(Ok(known)); // whoever asked may have given up
    }

    fn refuse(&self, read: PendingRead, why: Refused) {
        let _gone = read.settled.send(Err(why));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ReadKey {
    Id(CredentialId),
    Selector(Selector),
}

impl States {
    pub(crate) fn new(
        store: Arc<dyn CredentialStore>,
        catalog: ScopeCatalog,
        clock: Arc<dyn Clock>,
        node: NodeId,
        issuer: Arc<str>,
        max_staleness: Duration,
        capacity: usize,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            catalog,
            clock,
            node,
            issuer,
            max_staleness,
            ledger: Ledger::new(),
            entries: Entries {
                by_id: Cache::new(capacity),
                links: Links::new(links::SLOTS),
            },
            owner: Cache::new(capacity),
            uses: UseLog::default(),
            reads: SharedReads::new(),
            catch_ups: CatchUps::default(),
        }))
    }

    /// Whether the state that was linked to is the latest, for a check that began then: no I/O, no
    /// allocation, no lock.
    #[inline]
    pub(crate) fn holds(&self, link: Option<Link>, check_began: Monotonic) -> bool {
        // INVARIANT: clock, then gate, then link (see `Ledger::proven_at`, `Links::holds`).
        link.is_some_and(|link| self.is_proven(check_began) && self.0.entries.links.holds(link))
    }

    /// The credential's live state if it is cached and proven fresh: no I/O, no allocation.
    #[inline]
    fn cached(&self, id: CredentialId) -> Option<Found> {
        // INVARIANT: clock, then gate, then entry (see `Ledger::proven_at`).
        if !self.is_proven(self.0.clock.monotonic()) {
            return None;
        }
        self.0.entries.get(id)
    }

    /// The credential's live state, proven fresh as of now or `max_staleness` before.
    ///
    /// # Errors
    /// Whatever keeps the store from answering; nothing is known then.
    pub(crate) async fn get(&self, id: CredentialId) -> Result<Found, Arc<StoreError>> {
        match self.cached(id) {
            Some(found) => Ok(found),
            None => self.look_up(Some(id), ReadKey::Id(id)).await,
        }
    }

    /// As [`get`](Self::get), for the owner of a secret, live or ended.
    pub(crate) async fn get_by_selector(
        &self,
        selector: Selector,
    ) -> Result<Found, Arc<StoreError>> {
        match self.0.owner.get(&selector) {
            Some(id) => self.get(id).await,
            None => self.look_up(None, ReadKey::Selector(selector)).await,
        }
    }

    /// Whether what is cached is true as of `check_began`, or of at most `max_staleness` before.
    #[inline]
    fn is_proven(&self, check_began: Monotonic) -> bool {
        let proven = self.0.ledger.proven_at();
        proven != 0 && self.0.serves(Monotonic::from_nanos(proven), check_began)
    }

    async fn look_up(
        &self,
        id: Option<CredentialId>,
        key: ReadKey,
    ) -> Result<Found, Arc<StoreError>> {
        let check_began = self.0.clock.monotonic();
        self.prove(check_began).await?;
        if let Some(found) = id.and_then(|id| self.0.entries.get(id)) {
            return Ok(found);
        }
        // A read that others began may answer this check only if it saw all that this node knew
        // when the check began.
        let known = self.0.ledger.known();
        let shared = self
            .0
            .reads
            .run(
                key,
                |believed| believed.known.covers(known),
                || self.read_believed(key),
            )
            .await?;
        Ok(shared.entry.live.clone().map(|live| (live, None)))
    }

    /// Returns once what is cached is proven for a check that began then.
    async fn prove(&self, check_began: Monotonic) -> Result<(), Arc<StoreError>> {
        if self.is_proven(check_began) {
            return Ok(());
        }
        let serves = |began| self.0.serves(began, check_began);
        let attempt = || Inner::attempt(Arc::clone(&self.0));
        let proven = self
            .0
            .catch_ups
            .for_check(&self.0.clock, serves, attempt)
            .await;
        proven.map(|_| ())
    }

    /// A read that the change log vouches for. One that it does not vouch for is thrown away and made
    /// again, once.
    async fn read_believed(&self, key: ReadKey) -> SharedRead<Believed> {
        for _ in 0..2 {
            let (settled, outcome) = oneshot::channel();
            let ticket = self.0.ledger.begin_read();
            let (upto, read) = self.read_once(key, settled).await?;
            let entry = Arc::clone(&read.entry);
            self.0.ledger.offer(ticket, upto, read, &self.0.entries);
            match self.settled(outcome).await? {
                Ok(known) => return Ok(Arc::new(Believed { entry, known })),
                Err(Refused::Outrun) => {}
                Err(Refused::Contradicted) => {
                    if let Some(unlogged) = CONTRADICTED.is_due() {
                        tracing::warn!(
                            upto = upto.number,
                            unlogged,
                            "a read is not of the history that catch-ups have shown: the database was \
                         restored or failed over, and connections to the old one are still open"
                        );
                    }
                    self.0.store.retire_connections();
                }
            }
        }
        Err(Arc::new(unproven()))
    }

    /// What became of a read that was offered; if it waits, it is settled by the next catch-up.
    async fn settled(
        &self,
        mut outcome: oneshot::Receiver<Settled>,
    ) -> Result<Settled, Arc<StoreError>> {
        if let Ok(settled) = outcome.try_recv() {
            return Ok(settled);
        }
        self.catch_up().await?;
        // The catch-up began after the read had ended, so it has settled it.
        Ok(outcome.try_recv().unwrap_or(Err(Refused::Outrun)))
    }

    async fn read_once(
        &self,
        key: ReadKey,
        settled: oneshot::Sender<Settled>,
    ) -> Result<(ChangeId, PendingRead), Arc<StoreError>> {
        let read = async {
            match key {
                ReadKey::Id(id) => self.0.store.state(id).await,
                ReadKey::Selector(selector) => self.0.store.state_by_selector(&selector).await,
            }
        };
        let AsOf { value, upto } = in_time(read)
            .await
            .inspect(|_| telemetry::state_read(true))
            .inspect_err(|_| telemetry::state_read(false))?;
        let owned = value.as_ref().map(|state| state.credential.id);
        tracing::debug!(
            credential = owned.map(tracing::field::display),
            upto = upto.number,
            "read a state"
        );
        let id = match key {
            ReadKey::Id(id) => Some(id),
            ReadKey::Selector(selector) => {
                if let Some(id) = owned {
                    self.0.owner.insert(selector, id);
                }
                owned
            }
        };
        let live = value
            .and_then(|state| LiveCredential::resolve(state, &self.0.catalog, &self.0.uses))
            .map(Arc::new);
        let entry = Arc::new(Entry { live });
        Ok((upto, PendingRead { id, entry, settled }))
    }

    /// This node committed `change` on `id`: its own cache must not answer from before.
    pub(crate) fn own_change(&self, id: CredentialId, change: ChangeId) {
        self.0
            .ledger
            .own_commit(change, || self.0.entries.drop_one(id));
    }

    /// Asks the store what changed and drops it from the cache; begins after this call.
    ///
    /// # Errors
    /// Whatever keeps the store from answering; the gate then closes by itself in time.
    pub(crate) async fn catch_up(&self) -> Result<CaughtUp, Arc<StoreError>> {
        let attempt = || Inner::attempt(Arc::clone(&self.0));
        self.0.catch_ups.next(&self.0.clock, attempt).await
    }

    /// Brings this node up to date after its own commit, and says how long the slowest node may take.
    ///
    /// # Errors
    /// `Backend` if the commit is not in the change log: it was made by a server that has lost its
    /// place to another.
    pub(crate) async fn confirm(&self, change: ChangeId) -> Result<Duration, StoreError> {
        match self.catch_up().await {
            Ok(caught_up) if self.0.ledger.shows::<Entries>(change) => {
                Ok(caught_up.largest_max_staleness)
            }
            Ok(_) => {
                self.0.store.retire_connections();
                Err(unproven())
            }
            Err(error) => {
                // Why not fail: the change is committed and this node already answers from it.
                if let Some(unlogged) = UNCONFIRMED.is_due() {
                    tracing::warn!(%error, unlogged, "a change could not be confirmed by a catch-up");
                }
                Ok(LARGEST_MAX_STALENESS)
            }
        }
    }

    /// Brings this node up to date; whether the credential still has the version that the caller read,
    /// and how long the slowest node may take.
    ///
    /// # Errors
    /// `Backend` if the store cannot be asked.
    pub(crate) async fn confirm_version(
        &self,
        credential: &Credential,
    ) -> Result<(bool, Duration), StoreError> {
        let caught_up = self.catch_up().await.map_err(shared)?;
        let found = self.get(credential.id).await.map_err(shared)?;
        // `None`: this node's catalogue does not offer its API type, so it confers nothing here.
        let same = found.is_none_or(|(live, _)| live.credential.version == credential.version);
        Ok((same, caught_up.largest_max_staleness))
    }

    /// Writes the uses that the store does not know of yet.
    pub(crate) async fn flush_uses(&self) -> Result<usize, StoreError> {
        self.0.uses.flush(&*self.0.store).await
    }

    /// How long ago the latest complete catch-up began; `None` before the first.
    pub(crate) fn age(&self) -> Option<Duration> {
        let proven = self.0.ledger.proven_at();
        (proven != 0).then(|| {
            self.0
                .clock
                .monotonic()
                .saturating_since(Monotonic::from_nanos(proven))
        })
    }
}

impl Inner {
    /// Whether a catch-up that began at `proven` speaks for a check that began at `check_began`.
    #[inline]
    fn serves(&self, proven: Monotonic, check_began: Monotonic) -> bool {
        // Why apart: 0 means proven after the check began, also within one tick of the clock.
        !self.max_staleness.is_zero() && check_began.saturating_since(proven) <= self.max_staleness
    }

    /// One catch-up.
    async fn attempt(self: Arc<Self>) -> Result<CaughtUp, Arc<StoreError>> {
        let began = self.clock.monotonic();
        let ticket = self.ledger.begin_catch_up();
        let heartbeat = Heartbeat {
            node: self.node,
            applied: ticket.applied,
            max_staleness: self.max_staleness,
            issuer: Arc::clone(&self.issuer),
        };
        let answer = tokio::time::timeout(STORE_TIMEOUT, self.store.catch_up(&heartbeat)).await;
        let changes = match answer {
            Ok(Ok(changes)) => changes,
            Ok(Err(error)) => {
                telemetry::catch_up(false);
                return Err(Arc::new(error));
            }
            Err(elapsed) => {
                telemetry::catch_up(false);
                // Where connections die silently, each would cost its caller as long.
                self.store.retire_connections();
                return Err(Arc::new(too_late(elapsed)));
            }
        };
        telemetry::catch_up(true);
        let followed = self.ledger.apply(ticket, &changes, &self.entries);
        self.ledger.publish(began.as_nanos());
        let items = changes.items.as_ref().map_or(0, Vec::len);
        if followed {
            telemetry::changes_applied(items);
        } else if let Some(applied) = ticket.applied {
            telemetry::caches_dropped();
            tracing::warn!(
                applied = applied.number,
                upto = changes.upto.number,
                "the change log does not follow on what this node knows: everything cached was dropped"
            );
            // What is open may lead to the server whose log this is not.
            self.store.retire_connections();
        }
        if items > 0 {
            let took = self.clock.monotonic().saturating_since(began);
            telemetry::change_delay(changes.waited.saturating_add(took));
        }
        tracing::trace!(upto = changes.upto.number, "caught up");
        Ok(CaughtUp {
            largest_max_staleness: changes.largest_max_staleness,
        })
    }
}

/// A call of the store, for at most [`STORE_TIMEOUT`].
async fn in_time<T>(
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Arc<StoreError>> {
    tokio::time::timeout(STORE_TIMEOUT, call)
        .await
        .unwrap_or_else(|elapsed| Err(too_late(elapsed)))
        .map_err(Arc::new)
}

/// An error that others may hold as well, as one that a caller can own.
pub(crate) fn shared(error: Arc<StoreError>) -> StoreError {
    match &*error {
        StoreError::IssuerMismatch { issuer, other } => StoreError::IssuerMismatch {
            issuer: Arc::clone(issuer),
            other: other.clone(),
        },
        _ => StoreError::Backend {
            source: error.into(),
        },
    }
}

fn too_late(elapsed: tokio::time::error::Elapsed) -> StoreError {
    StoreError::Backend {
        source: elapsed.into(),
    }
}

fn unproven() -> StoreError {
    StoreError::Backend {
        source: "what the store said is not in its change log: it was restored, or another server took over"
            .into(),
    }
}
