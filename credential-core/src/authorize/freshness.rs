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

use super::{
    ledger::Ledger,
    links::{self, Link, Links},
    shared_reads::{SharedRead, SharedReads},
};
use crate::{
    catalog::{ApiType, ScopeCatalog, ScopeSet},
    clock::{Clock, Monotonic, Timestamp},
    credential::{Credential, CredentialState},
    id::{CredentialId, Selector, TenantId},
    store::{AsOf, Change, Changes, CredentialStore, Heartbeat, NodeId, StoreError},
    telemetry,
    token::TokenId,
    usage::{UseLog, UseNote},
};

/// How long a call of the store may take before the check is refused with "no answer".
const STORE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long after a failed catch-up checks fail at once in place of trying for themselves.
const FAILURE_HOLDS: Duration = Duration::from_millis(250);
/// Assumed as another node's `max_staleness` when the store cannot be asked; also the bound on
/// what may be configured.
pub(crate) const LARGEST_MAX_STALENESS: Duration = Duration::from_secs(60);

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
    /// The latest change in it.
    upto: u64,
    live: Option<Arc<LiveCredential>>,
}

/// A credential's live state, and the link to it if it was cached.
type Found = Option<(Arc<LiveCredential>, Option<Link>)>;

/// The state of credentials on this node.
#[derive(Debug)]
pub(crate) struct States {
    store: Arc<dyn CredentialStore>,
    catalog: ScopeCatalog,
    clock: Arc<dyn Clock>,
    node: NodeId,
    max_staleness: Duration,
    ledger: Ledger,
    links: Links,
    by_id: Cache<CredentialId, Arc<Entry>>,
    /// A selector belongs to one credential for ever, so this says nothing that can go stale.
    owner: Cache<Selector, CredentialId>,
    uses: UseLog,
    reads: SharedReads<ReadKey, Entry>,
    catch_up: tokio::sync::Mutex<CatchUp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ReadKey {
    Id(CredentialId),
    Selector(Selector),
}

#[derive(Debug, Default)]
struct CatchUp {
    applied: Option<u64>,
    latest: Option<CaughtUp>,
    /// The latest attempt failed, and ended then.
    failed: Option<(Monotonic, Arc<StoreError>)>,
}

/// What a catch-up found out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CaughtUp {
    began: Monotonic,
    /// The largest `max_staleness` of the nodes that are alive.
    pub(crate) largest_max_staleness: Duration,
}

impl States {
    pub(crate) fn new(
        store: Arc<dyn CredentialStore>,
        catalog: ScopeCatalog,
        clock: Arc<dyn Clock>,
        node: NodeId,
        max_staleness: Duration,
        capacity: usize,
    ) -> Self {
        Self {
            store,
            catalog,
            clock,
            node,
            max_staleness,
            ledger: Ledger::new(),
            links: Links::new(links::SLOTS),
            by_id: Cache::new(capacity),
            owner: Cache::new(capacity),
            uses: UseLog::default(),
            reads: SharedReads::new(),
            catch_up: tokio::sync::Mutex::default(),
        }
    }

    /// Whether the state that was linked to is the latest, for a check that began then: no I/O, no
    /// allocation, no lock.
    #[inline]
    pub(crate) fn holds(&self, link: Option<Link>, check_began: Monotonic) -> bool {
        // INVARIANT: clock, then gate, then link (see `Ledger::proven_at`, `Links::holds`).
        link.is_some_and(|link| self.is_proven(check_began) && self.links.holds(link))
    }

    /// The credential's live state if it is cached and proven fresh: no I/O, no allocation.
    #[inline]
    fn cached(&self, id: CredentialId) -> Option<Found> {
        // INVARIANT: clock, then gate, then entry (see `Ledger::proven_at`).
        if !self.is_proven(self.clock.monotonic()) {
            return None;
        }
        self.by_id(id)
    }

    fn by_id(&self, id: CredentialId) -> Option<Found> {
        let (entry, link) = self.links.link(id.as_bytes(), || self.by_id.get(&id));
        Some(entry?.live.clone().map(|live| (live, Some(link))))
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
        match self.owner.get(&selector) {
            Some(id) => self.get(id).await,
            None => self.look_up(None, ReadKey::Selector(selector)).await,
        }
    }

    /// Whether what is cached is true as of `check_began`, or of at most `max_staleness` before.
    #[inline]
    fn is_proven(&self, check_began: Monotonic) -> bool {
        let proven = self.ledger.proven_at();
        // Why apart: 0 means proven after the check began, also within one tick of the clock.
        !self.max_staleness.is_zero()
            && proven != 0
            && check_began.saturating_since(Monotonic::from_nanos(proven)) <= self.max_staleness
    }

    async fn look_up(
        &self,
        id: Option<CredentialId>,
        key: ReadKey,
    ) -> Result<Found, Arc<StoreError>> {
        let check_began = self.clock.monotonic();
        self.prove(check_began).await?;
        if let Some(found) = id.and_then(|id| self.by_id(id)) {
            return Ok(found);
        }
        // A read that others began may answer this check only if it saw all that this node knew
        // when the check began.
        let seen = self.ledger.seen();
        let shared = self
            .reads
            .run(key, |entry| entry.upto >= seen, || self.read_once(key))
            .await?;
        Ok(shared.live.clone().map(|live| (live, None)))
    }

    /// Returns once what is cached is proven for a check that began then.
    async fn prove(&self, check_began: Monotonic) -> Result<(), Arc<StoreError>> {
        if self.is_proven(check_began) {
            return Ok(());
        }
        let mut place = self.catch_up.lock().await;
        // What others did while this check waited may serve it too.
        if self.is_proven(check_began)
            || place
                .latest
                .is_some_and(|latest| latest.began > check_began)
        {
            return Ok(());
        }
        if let Some((ended, error)) = &place.failed
            && ended.saturating_add(FAILURE_HOLDS) > check_began
        {
            return Err(Arc::clone(error));
        }
        self.catch_up_from(&mut place).await.map(|_| ())
    }

    async fn read_once(&self, key: ReadKey) -> SharedRead<Entry> {
        let ticket = self.ledger.begin_read();
        let read = async {
            match key {
                ReadKey::Id(id) => self.store.state(id).await,
                ReadKey::Selector(selector) => self.store.state_by_selector(&selector).await,
            }
        };
        let AsOf { value, upto } = in_time(read)
            .await
            .inspect(|_| telemetry::state_read(true))
            .inspect_err(|_| telemetry::state_read(false))?;
        let owned = value.as_ref().map(|state| state.credential.id);
        let live = value
            .and_then(|state| LiveCredential::resolve(state, &self.catalog, &self.uses))
            .map(Arc::new);
        let entry = Arc::new(Entry { upto, live });
        tracing::debug!(
            credential = owned.map(tracing::field::display),
            upto,
            "read a state"
        );
        let id = match key {
            ReadKey::Id(id) => Some(id),
            ReadKey::Selector(selector) => {
                if let Some(id) = owned {
                    self.owner.insert(selector, id);
                }
                owned
            }
        };
        if let Some(id) = id {
            self.ledger.fill(ticket, upto, || {
                self.by_id.insert(id, Arc::clone(&entry));
            });
        }
        Ok(entry)
    }

    /// This node committed `change` on `id`: its own cache must not answer from before.
    pub(crate) fn own_change(&self, id: CredentialId, change: u64) {
        self.ledger.apply(change, || self.drop_older(id, change));
    }

    /// Drops a credential's entry, unless it was read after that change.
    fn drop_older(&self, id: CredentialId, change: u64) {
        self.links.cut(id.as_bytes(), || {
            self.by_id.remove_if(&id, |entry| entry.upto < change);
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

    fn drop_all(&self) {
        self.links.cut_all(|| self.by_id.clear());
    }

    /// Asks the store what changed and drops it from the cache.
    ///
    /// # Errors
    /// Whatever keeps the store from answering; the gate then closes by itself in time.
    pub(crate) async fn catch_up(&self) -> Result<CaughtUp, Arc<StoreError>> {
        let asked = self.clock.monotonic();
        let mut place = self.catch_up.lock().await;
        match place.latest {
            // Began while this call waited: it answers this call too.
            Some(latest) if latest.began > asked => Ok(latest),
            _ => self.catch_up_from(&mut place).await,
        }
    }

    async fn catch_up_from(&self, place: &mut CatchUp) -> Result<CaughtUp, Arc<StoreError>> {
        let began = self.clock.monotonic();
        let heartbeat = Heartbeat {
            node: self.node,
            applied: place.applied,
            max_staleness: self.max_staleness,
            at: self.clock.now(),
        };
        let changes = match in_time(self.store.catch_up(&heartbeat)).await {
            Ok(changes) => changes,
            Err(error) => {
                telemetry::catch_up(false);
                place.failed = Some((self.clock.monotonic(), Arc::clone(&error)));
                return Err(error);
            }
        };
        telemetry::catch_up(true);
        // From here to the end nothing awaits: a caller that gives up leaves nothing half done.
        self.apply(place.applied, &changes);
        self.ledger.publish(began.as_nanos());
        if changes
            .items
            .as_ref()
            .is_some_and(|items| !items.is_empty())
        {
            let took = self.clock.monotonic().saturating_since(began);
            telemetry::change_delay(changes.waited.saturating_add(took));
        }
        tracing::trace!(applied = place.applied, upto = changes.upto, "caught up");
        let caught_up = CaughtUp {
            began,
            largest_max_staleness: changes.largest_max_staleness,
        };
        *place = CatchUp {
            applied: Some(changes.upto),
            latest: Some(caught_up),
            failed: None,
        };
        Ok(caught_up)
    }

    /// Brings this node up to date and says how long the slowest node may take.
    pub(crate) async fn largest_max_staleness(&self) -> Duration {
        match self.catch_up().await {
            Ok(caught_up) => caught_up.largest_max_staleness,
            Err(error) => {
                // Why not fail: the change is committed and this node already answers from it.
                tracing::warn!(%error, "could not ask for the nodes' max_staleness after a change");
                LARGEST_MAX_STALENESS
            }
        }
    }

    fn apply(&self, applied: Option<u64>, changes: &Changes) {
        match (applied, &changes.items) {
            (Some(applied), Some(items)) if is_complete(applied, items, changes.upto) => {
                telemetry::changes_applied(items.len());
                self.ledger.apply(changes.upto, || {
                    for (number, change) in items {
                        match change {
                            Change::Credential(id) => self.drop_older(*id, *number),
                            Change::Tenant(tenant) => self.drop_tenant(tenant),
                            Change::Everything => self.drop_all(),
                        }
                    }
                });
            }
            _ => {
                // Why close first: until the cache is empty, the old proof must not speak for it.
                self.ledger.close();
                self.ledger.start_anew(changes.upto, || self.drop_all());
                if applied.is_some() {
                    telemetry::caches_dropped();
                    tracing::warn!(
                        applied,
                        upto = changes.upto,
                        "the change log has a gap for this node: everything cached was dropped"
                    );
                }
            }
        }
    }

    /// Writes the uses that the store does not know of yet.
    pub(crate) async fn flush_uses(&self) -> Result<usize, StoreError> {
        self.uses.flush(&*self.store).await
    }

    /// How long ago the latest complete catch-up began; `None` before the first.
    pub(crate) fn age(&self) -> Option<Duration> {
        let proven = self.ledger.proven_at();
        (proven != 0).then(|| {
            self.clock
                .monotonic()
                .saturating_since(Monotonic::from_nanos(proven))
        })
    }
}

/// Whether `items` are all the changes from `applied` (exclusive) to `upto`, in order.
fn is_complete(applied: u64, items: &[(u64, Change)], upto: u64) -> bool {
    upto.checked_sub(applied) == Some(items.len() as u64)
        && items
            .iter()
            .zip(applied.saturating_add(1)..)
            .all(|((number, _), expected)| *number == expected)
}

/// A call of the store, for at most [`STORE_TIMEOUT`].
async fn in_time<T>(
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Arc<StoreError>> {
    tokio::time::timeout(STORE_TIMEOUT, call)
        .await
        .unwrap_or_else(|elapsed| {
            Err(StoreError::Backend {
                source: elapsed.into(),
            })
        })
        .map_err(Arc::new)
}
