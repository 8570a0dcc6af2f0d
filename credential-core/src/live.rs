//! Live state of credentials: cached, and returned only while it is proven fresh.
//!
//! The proof, in full in `docs/architecture.md`: a node reads its clock (T), asks the store what
//! changed since the last time, drops those entries, and only then holds everything cached to be
//! true as of T. A check that starts less than `max_staleness` after T may use the cache. Any other
//! check makes the node ask again first, and fails if the store does not answer.
//!
//! Why a read of the one credential proves nothing: catching up is a write, so a primary that was
//! cut off from its synchronous standby cannot complete it, while it would go on answering reads.

mod cache;
mod catch_up;
mod credential;
mod gate;
mod reads;
mod versions;

/// What [`gate`] and [`versions`] are built on; their model test puts a model checker's types in
/// their place.
mod sync {
    pub(super) use std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };

    pub(super) use crate::store::{Change, ChangeId, Changes, LoggedChange};
}

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::sync::oneshot;

#[cfg(feature = "conformance")]
pub(crate) use self::gate::follows;
use self::{
    cache::{CachedState, Found, PendingRead, Settled, StateCache},
    catch_up::{CatchUps, CaughtUp},
    gate::{Gate, Known, NotBelieved},
    reads::{Reads, SharedRead},
};
pub(crate) use self::{
    catch_up::FAILURE_HOLDS,
    credential::{LiveCredential, NotLive},
    versions::Stamp,
};
use crate::{
    catalog::ScopeCatalog,
    clock::{Clock, Monotonic},
    credential::{Credential, CredentialState, Identity},
    id::{ClientId, CredentialId, ProofId, TenantId},
    log_limit::LogLimit,
    metrics,
    store::{ANSWER_WITHIN, AsOf, ChangeId, Heartbeat, MAX_CHANGES, NodeId, StoreError, Stores},
    usage::UseLog,
};

/// Assumed as another node's `max_staleness` when the store cannot be asked; also the bound on
/// what may be configured.
pub(crate) const LARGEST_MAX_STALENESS: Duration = Duration::from_secs(60);

static CONTRADICTED: LogLimit = LogLimit::new();
static UNCONFIRMED: LogLimit = LogLimit::new();

/// The believed result, for all callers that share the read.
#[derive(Debug)]
struct Believed {
    state: Arc<CachedState>,
    /// The changes that this node knew of by then.
    known: Known,
}

/// The state of credentials on this node. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct LiveStates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stores: Stores,
    catalog: ScopeCatalog,
    clock: Arc<dyn Clock>,
    /// How often the log did not follow on what this node knew.
    lost: AtomicU64,
    node: NodeId,
    issuer: Arc<str>,
    max_staleness: Duration,
    gate: Gate<PendingRead>,
    cache: StateCache,
    /// A proof belongs to one credential for ever, so this cannot become stale.
    owner: Cache<ProofId, CredentialId>,
    /// A client id as well.
    client: Cache<ClientId, CredentialId>,
    uses: UseLog,
    reads: Reads<ReadKey, Believed>,
    /// By client ids, which anybody may make up: in places of their own, so that nobody else waits for them.
    strangers: Reads<ReadKey, Believed>,
    catch_ups: CatchUps,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ReadKey {
    Id(CredentialId),
    Proof(ProofId),
    Client(ClientId),
}

impl LiveStates {
    pub(crate) fn new(
        stores: Stores,
        catalog: ScopeCatalog,
        clock: Arc<dyn Clock>,
        node: NodeId,
        issuer: Arc<str>,
        max_staleness: Duration,
        capacity: usize,
    ) -> Self {
        let uses = UseLog::new(catalog.clone(), node, clock.now());
        Self(Arc::new(Inner {
            stores,
            catalog,
            clock,
            lost: AtomicU64::new(0),
            node,
            issuer,
            max_staleness,
            gate: Gate::new(),
            cache: StateCache::new(capacity),
            owner: Cache::new(capacity),
            client: Cache::new(capacity),
            uses,
            reads: Reads::new(reads::OF_CHECKS),
            strangers: Reads::new(reads::OF_STRANGERS),
            catch_ups: CatchUps::default(),
        }))
    }

    /// Whether a stamp is of the latest state, for a check that began then: no I/O, no allocation, no
    /// lock.
    #[inline]
    pub(crate) fn holds(&self, stamp: Option<Stamp>, check_began: Monotonic) -> bool {
        // INVARIANT: clock, then gate, then version (see `Gate::proven_at`, `Versions::is_current`).
        stamp.is_some_and(|stamp| self.is_proven(check_began) && self.0.cache.is_current(stamp))
    }

    /// The credential's live state if it is cached and proven fresh: no I/O, no allocation.
    #[inline]
    fn cached(&self, id: CredentialId) -> Option<Found> {
        // INVARIANT: clock, then gate, then entry (see `Gate::proven_at`).
        if !self.is_proven(self.0.clock.monotonic()) {
            return None;
        }
        self.0.cache.get(id)
    }

    /// The credential's live state, proven fresh as of now or `max_staleness` before.
    ///
    /// # Errors
    /// The store's error; nothing is known then.
    pub(crate) async fn get(&self, id: CredentialId) -> Result<Found, Arc<StoreError>> {
        match self.cached(id) {
            Some(found) => Ok(found),
            None => self.look_up(Some(id), ReadKey::Id(id)).await,
        }
    }

    /// As [`get`](Self::get), for the owner of a proof, live or ended.
    pub(crate) async fn get_by_proof(&self, proof: ProofId) -> Result<Found, Arc<StoreError>> {
        match self.0.owner.get(&proof) {
            Some(id) => self.get(id).await,
            None => self.look_up(None, ReadKey::Proof(proof)).await,
        }
    }

    /// Whether [`get_by_client`](Self::get_by_client) needs no look-up of the name.
    pub(crate) fn knows_client(&self, client: &ClientId) -> bool {
        self.0.client.get(client).is_some()
    }

    /// As [`get`](Self::get), for the credential of a client that has not proven itself.
    pub(crate) async fn get_by_client(
        &self,
        client: &ClientId,
    ) -> Result<Option<Arc<LiveCredential>>, Arc<StoreError>> {
        let found = match self.0.client.get(client) {
            Some(id) => self.get(id).await,
            None => self.look_up(None, ReadKey::Client(client.clone())).await,
        };
        let live = found?.map(|(live, _)| live);
        // Of another name only if the store says so of what it found.
        Ok(live.filter(|live| live.credential.identity.client_id == *client))
    }

    /// Whether what is cached is true as of `check_began`, or of at most `max_staleness` before.
    #[inline]
    fn is_proven(&self, check_began: Monotonic) -> bool {
        let proven = self.0.gate.proven_at();
        proven != 0 && self.0.serves(Monotonic::from_nanos(proven), check_began)
    }

    async fn look_up(
        &self,
        id: Option<CredentialId>,
        key: ReadKey,
    ) -> Result<Found, Arc<StoreError>> {
        let check_began = self.0.clock.monotonic();
        self.prove(check_began).await?;
        if let Some(found) = id.and_then(|id| self.0.cache.get(id)) {
            return Ok(found);
        }
        // A read that others began may answer this check only if it saw all that this node knew
        // when the check began.
        let known = self.0.gate.known();
        let reads = match key {
            ReadKey::Id(_) | ReadKey::Proof(_) => &self.0.reads,
            ReadKey::Client(_) => &self.0.strangers,
        };
        let shared = reads
            .run(
                key.clone(),
                |believed| believed.known.covers(known),
                || self.clone().read_believed(key.clone()),
            )
            .await?;
        Ok(shared.state.live.clone().map(|live| (live, None)))
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

    /// A read that the change log confirms. Another read is discarded and made again, once.
    async fn read_believed(self, key: ReadKey) -> SharedRead<Believed> {
        for _ in 0..2 {
            let (settled, outcome) = oneshot::channel();
            let ticket = self.0.gate.begin_read();
            let (upto, read) = self.read_once(&key, settled).await?;
            let state = Arc::clone(&read.state);
            self.0.gate.offer(ticket, upto, read, &self.0.cache);
            match self.settled(outcome).await? {
                Ok(known) => return Ok(Arc::new(Believed { state, known })),
                Err(NotBelieved::Outrun) => {}
                Err(NotBelieved::Contradicted) => {
                    if let Some(unlogged) = CONTRADICTED.is_due() {
                        tracing::warn!(
                            upto = upto.number,
                            unlogged,
                            "a read is not of the history that catch-ups have shown: the database was \
                         restored or failed over, and connections to the old one are still open"
                        );
                    }
                    self.0.stores.credentials.retire_connections();
                }
            }
        }
        Err(Arc::new(unproven()))
    }

    /// The outcome of a read that was offered. If it waits, the next catch-up settles it.
    async fn settled(
        &self,
        mut outcome: oneshot::Receiver<Settled>,
    ) -> Result<Settled, Arc<StoreError>> {
        if let Ok(settled) = outcome.try_recv() {
            return Ok(settled);
        }
        self.catch_up().await?;
        // The catch-up began after the read had ended, so it has settled it.
        Ok(outcome.try_recv().unwrap_or(Err(NotBelieved::Outrun)))
    }

    async fn read_once(
        &self,
        key: &ReadKey,
        settled: oneshot::Sender<Settled>,
    ) -> Result<(ChangeId, PendingRead), Arc<StoreError>> {
        let read = async {
            match key {
                ReadKey::Id(id) => self.0.stores.credentials.state(*id).await,
                ReadKey::Proof(proof) => self.0.stores.credentials.state_by_proof(proof).await,
                ReadKey::Client(client) => self.0.stores.credentials.state_by_client(client).await,
            }
        };
        let AsOf { value, upto } = in_time(read)
            .await
            .inspect(|_| metrics::state_read(true))
            .inspect_err(|_| metrics::state_read(false))?;
        let owned = value.as_ref().map(|state| state.credential.identity.id);
        if let Some(CredentialState { credential, .. }) = &value
            && !credential.settings.registrations.is_empty()
        {
            let Identity { client_id, id, .. } = &credential.identity;
            self.0.client.insert(client_id.clone(), *id);
        }
        tracing::debug!(
            credential = owned.map(tracing::field::display),
            upto = upto.number,
            "read a state"
        );
        let id = match key {
            ReadKey::Id(id) => Some(*id),
            ReadKey::Proof(proof) => {
                if let Some(id) = owned {
                    self.0.owner.insert(*proof, id);
                }
                owned
            }
            ReadKey::Client(_) => owned,
        };
        let live = value
            .and_then(|state| LiveCredential::resolve(state, &self.0.catalog, &self.0.uses))
            .map(Arc::new);
        let state = Arc::new(CachedState { live });
        Ok((upto, PendingRead { id, state, settled }))
    }

    /// This node committed `change` on `id`: its own cache must not answer from before.
    pub(crate) fn own_change(&self, id: CredentialId, change: ChangeId) {
        self.0.gate.own_commit(change, || self.0.cache.drop_one(id));
    }

    /// This node committed `change` on every credential of `tenant`.
    pub(crate) fn own_tenant_change(&self, tenant: &TenantId, change: ChangeId) {
        self.0
            .gate
            .own_commit(change, || self.0.cache.drop_tenant(tenant));
    }

    /// Catches up: asks the store what changed, and drops that from the cache. Begins after this
    /// call.
    ///
    /// # Errors
    /// The store's error; the gate then closes after `max_staleness`.
    pub(crate) async fn catch_up(&self) -> Result<CaughtUp, Arc<StoreError>> {
        let attempt = || Inner::attempt(Arc::clone(&self.0));
        self.0.catch_ups.next(&self.0.clock, attempt).await
    }

    /// Brings this node up to date after its own commit, and returns how long the slowest node may
    /// take.
    ///
    /// # Errors
    /// `Backend` if the commit is not in the change log: it was made by a server that has lost its
    /// place to another.
    pub(crate) async fn confirm(&self, change: ChangeId) -> Result<Duration, StoreError> {
        match self.catch_up().await {
            Ok(caught_up) if self.0.gate.shows::<StateCache>(change) => {
                Ok(caught_up.largest_max_staleness)
            }
            Ok(_) => {
                self.0.stores.credentials.retire_connections();
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
        let found = self.get(credential.identity.id).await.map_err(shared)?;
        // `None`: this node's catalogue does not offer its API type, so it confers nothing here.
        let same = found.is_none_or(|(live, _)| {
            // The version alone does not tell: after a failover it comes again for another edit.
            let now = &live.credential;
            now.version == credential.version
                && now.settings.decides_as(&credential.settings)
                && now.revoked == credential.revoked
        });
        Ok((same, caught_up.largest_max_staleness))
    }

    /// Brings this node up to date, and returns how long the slowest node may take.
    ///
    /// # Errors
    /// `Backend` if the store cannot be asked.
    pub(crate) async fn bound(&self) -> Result<Duration, StoreError> {
        let caught_up = self.catch_up().await.map_err(shared)?;
        Ok(caught_up.largest_max_staleness)
    }

    /// Counts the histories of the store that this node has seen end, by a restore or a failover.
    pub(crate) fn histories_lost(&self) -> u64 {
        self.0.lost.load(Ordering::Acquire)
    }

    /// How credentials are used on this node.
    pub(crate) fn uses(&self) -> &UseLog {
        &self.0.uses
    }

    /// How long ago the latest complete catch-up began; `None` before the first.
    pub(crate) fn age(&self) -> Option<Duration> {
        let proven = self.0.gate.proven_at();
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
        // Why a separate case: 0 means proven after the check began, also within one tick of the
        // clock.
        !self.max_staleness.is_zero() && check_began.saturating_since(proven) <= self.max_staleness
    }

    /// One catch-up.
    async fn attempt(self: Arc<Self>) -> Result<CaughtUp, Arc<StoreError>> {
        let began = self.clock.monotonic();
        let ticket = self.gate.begin_catch_up();
        let heartbeat = Heartbeat {
            node: self.node,
            applied: ticket.applied,
            max_changes: MAX_CHANGES,
            max_staleness: self.max_staleness,
            issuer: Arc::clone(&self.issuer),
        };
        let answer =
            tokio::time::timeout(ANSWER_WITHIN, self.stores.credentials.catch_up(&heartbeat)).await;
        let changes = match answer {
            Ok(Ok(changes)) => changes,
            Ok(Err(error)) => {
                metrics::catch_up(false);
                return Err(Arc::new(error));
            }
            Err(elapsed) => {
                metrics::catch_up(false);
                // Where connections die silently, each would cost its caller as long.
                self.stores.credentials.retire_connections();
                return Err(Arc::new(too_late(elapsed)));
            }
        };
        metrics::catch_up(true);
        let followed = self.gate.apply(ticket, &changes, &self.cache);
        self.gate.publish(began.as_nanos());
        let items = changes.items.as_ref().map_or(0, Vec::len);
        if followed {
            metrics::changes_applied(items);
        } else if let Some(applied) = ticket.applied {
            self.lost.fetch_add(1, Ordering::Release);
            metrics::caches_dropped();
            tracing::warn!(
                applied = applied.number,
                upto = changes.upto.number,
                "the change log does not follow on what this node knows: everything cached was dropped"
            );
            // Open connections may lead to a server with another log.
            self.stores.credentials.retire_connections();
        }
        if items > 0 {
            let took = self.clock.monotonic().saturating_since(began);
            metrics::change_delay(changes.waited.saturating_add(took));
        }
        tracing::trace!(upto = changes.upto.number, "caught up");
        Ok(CaughtUp {
            upto: changes.upto.number,
            largest_max_staleness: changes.largest_max_staleness,
        })
    }
}

/// A call of the store, for at most [`ANSWER_WITHIN`].
async fn in_time<T>(
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Arc<StoreError>> {
    tokio::time::timeout(ANSWER_WITHIN, call)
        .await
        .unwrap_or_else(|elapsed| Err(too_late(elapsed)))
        .map_err(Arc::new)
}

/// A shared error, as one that a caller owns.
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
