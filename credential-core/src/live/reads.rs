//! Shared reads of the store for checks: one at a time for each credential, and few in all.

use std::{
    convert::Infallible,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    flight::{Flight, Flights},
    store::{ANSWER_WITHIN, StoreError},
};

/// How many reads there are at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadLimits {
    /// That run.
    at_once: usize,
    /// That may wait for a place; more are refused with "no answer".
    waiting: usize,
}

/// Half of PostgreSQL's connections. The tenant is known only after the read. One tenant cannot occupy all
/// places, because each credential has one read at a time.
pub(super) const OF_CHECKS: ReadLimits = ReadLimits {
    at_once: 8,
    waiting: 1024,
};
/// Of callers that have proven nothing. Two connections, so that a flood of them leaves the others free.
pub(super) const OF_STRANGERS: ReadLimits = ReadLimits {
    at_once: 2,
    waiting: 128,
};
/// How long a read may wait for one of those places: as long as the read itself may take.
const PLACE_WITHIN: Duration = ANSWER_WITHIN;

/// The result of a read, for all callers that wait for it.
pub(super) type SharedRead<V> = Result<Arc<V>, Arc<StoreError>>;

/// Reads of the store, one at a time per key. Callers that wait meanwhile share the result.
#[derive(Debug)]
pub(super) struct Reads<K, V> {
    flights: Arc<Flights<K, SharedRead<V>>>,
    places: Arc<ReadPlaces>,
}

#[derive(Debug)]
struct ReadPlaces {
    free: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl<K, V> Reads<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(super) fn new(limits: ReadLimits) -> Self {
        Self {
            flights: Arc::default(),
            places: Arc::new(ReadPlaces {
                free: Semaphore::new(limits.at_once),
                waiting: AtomicUsize::new(0),
                most_waiting: limits.waiting,
            }),
        }
    }

    /// The result of a read that was running when this was called, if it `serves`, or of one that began
    /// afterwards. A failure serves all callers that waited for it.
    pub(super) async fn run<F>(
        &self,
        key: K,
        serves: impl Fn(&V) -> bool,
        read: impl Fn() -> F,
    ) -> SharedRead<V>
    where
        F: Future<Output = SharedRead<V>> + Send + 'static,
    {
        let mut first = true;
        loop {
            let places = Arc::clone(&self.places);
            let prepare = || Ok::<_, Infallible>(((), read()));
            let fly = |mut flight: Flight<_, _>, read| async move {
                let found = match flight.unless_empty(places.enter()).await {
                    Some(Ok(_place)) => read.await,
                    Some(Err(error)) => Err(error),
                    None => return,
                };
                flight.land(found);
            };
            let Ok(seat) = Flights::board(&self.flights, key.clone(), prepare, fly);
            let began = seat.began;
            let found = seat.landed().await;
            let found = found.unwrap_or_else(|| Err(no_answer("the read was stopped")));
            // What flies after the first one began after this call.
            if began || !first || found.as_ref().map_or(true, |found| serves(found)) {
                return found;
            }
            first = false;
        }
    }
}

impl ReadPlaces {
    async fn enter(&self) -> Result<SemaphorePermit<'_>, Arc<StoreError>> {
        let waiting = WaitingRead::enter(&self.waiting, self.most_waiting);
        let _waiting = waiting.ok_or_else(overloaded)?;
        let place = tokio::time::timeout(PLACE_WITHIN, self.free.acquire()).await;
        place.map_err(|_| overloaded())?.map_err(|_| overloaded())
    }
}

/// Counts reads that wait for a place.
struct WaitingRead<'a>(&'a AtomicUsize);

impl<'a> WaitingRead<'a> {
    fn enter(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let entered = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(entered)
    }
}

impl Drop for WaitingRead<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn overloaded() -> Arc<StoreError> {
    no_answer("too many reads are waiting")
}

pub(super) fn no_answer(why: &'static str) -> Arc<StoreError> {
    Arc::new(StoreError::Backend { source: why.into() })
}
