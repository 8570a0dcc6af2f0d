//! Shared reads of the store for checks (single-flight): one at a time for each credential, and few
//! in all.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::store::StoreError;

/// Reads of the store that run at the same time: half of PostgreSQL's connections. The tenant is
/// known only after the read. One tenant cannot occupy all places, because each credential has one
/// read at a time.
const READS_AT_ONCE: usize = 8;
/// How long a read may wait for one of those places: as long as the read itself may take.
const PLACE_WITHIN: Duration = Duration::from_secs(3);
/// Reads that may wait for one of those places; more are refused with "no answer".
const READS_WAITING: usize = 1024;

/// The result of a read, for all callers that wait for it.
pub(super) type SharedRead<V> = Result<Arc<V>, Arc<StoreError>>;

/// Reads of the store, one at a time per key. Callers that wait meanwhile share the result.
#[derive(Debug)]
pub(super) struct Reads<K, V> {
    flights: Mutex<HashMap<K, Arc<Flight<V>>>>,
    places: Semaphore,
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Flight<V> {
    latest: tokio::sync::Mutex<Option<SharedRead<V>>>,
}

impl<V> Default for Flight<V> {
    fn default() -> Self {
        Self {
            latest: tokio::sync::Mutex::default(),
        }
    }
}

impl<K: Copy + Eq + Hash, V> Reads<K, V> {
    pub(super) fn new() -> Self {
        Self {
            flights: Mutex::default(),
            places: Semaphore::new(READS_AT_ONCE),
            waiting: AtomicUsize::new(0),
        }
    }

    /// What a read that ended while this caller waited has found, if it `serves`, else a new one.
    /// A failure serves everyone who waited for it.
    ///
    /// If a caller gives up during its read, the next caller in line takes over.
    pub(super) async fn run<F: Future<Output = SharedRead<V>>>(
        &self,
        key: K,
        serves: impl Fn(&V) -> bool,
        read: impl FnOnce() -> F,
    ) -> SharedRead<V> {
        let seat = Seat {
            reads: self,
            key,
            flight: Some(Arc::clone(self.lock().entry(key).or_default())),
        };
        let Some(flight) = &seat.flight else {
            return Err(Arc::new(overloaded())); // taken only on drop
        };
        let mut latest = flight.latest.lock().await;
        if let Some(shared) = &*latest
            && shared.as_ref().map_or(true, |entry| serves(entry))
        {
            return shared.clone();
        }
        let waiting = Waiting::enter(&self.waiting).ok_or_else(|| Arc::new(overloaded()))?;
        let place = tokio::time::timeout(PLACE_WITHIN, self.places.acquire())
            .await
            .map_err(|_| Arc::new(overloaded()))?;
        drop(waiting);
        let shared = read().await;
        drop(place);
        *latest = Some(shared.clone());
        shared
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Flight<V>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller's share in a flight; the last one to leave takes the flight out of the table.
struct Seat<'a, K: Copy + Eq + Hash, V> {
    reads: &'a Reads<K, V>,
    key: K,
    flight: Option<Arc<Flight<V>>>,
}

impl<K: Copy + Eq + Hash, V> Drop for Seat<'_, K, V> {
    fn drop(&mut self) {
        // Others join and leave only under this lock, so the count cannot change meanwhile.
        let mut flights = self.reads.lock();
        self.flight = None;
        if flights
            .get(&self.key)
            .is_some_and(|flight| Arc::strong_count(flight) == 1)
        {
            flights.remove(&self.key);
        }
    }
}

/// Counts callers that wait for a place, also those that give up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let entered = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < READS_WAITING).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn overloaded() -> StoreError {
    StoreError::Backend {
        source: "too many reads are waiting".into(),
    }
}
