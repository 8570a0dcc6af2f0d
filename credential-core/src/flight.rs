//! One piece of work at a time for each key, shared by all who ask for it (single-flight).
//!
//! A flight that has to wait is a task of its own: a caller that gives up loses its own result only. Work that has not
//! begun yet can be called off once all callers have left.

use std::{
    collections::HashMap,
    hash::Hash,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use tokio::{sync::watch, task};

/// The flights that have not landed yet. Each carries a note of type `M` for whoever joins it.
#[derive(Debug)]
pub(crate) struct Flights<K, V, M = ()>(Mutex<HashMap<K, Airborne<V, M>>>);

#[derive(Debug)]
struct Airborne<V, M> {
    note: M,
    result: watch::Sender<Option<V>>,
}

/// A caller's seat in a flight.
#[derive(Debug)]
pub(crate) struct Seat<V, M = ()> {
    pub(crate) note: M,
    /// Whether this caller began the flight.
    pub(crate) began: bool,
    result: watch::Receiver<Option<V>>,
}

/// A flight, as its own task holds it.
#[derive(Debug)]
pub(crate) struct Flight<K: Eq + Hash, V, M = ()> {
    flights: Arc<Flights<K, V, M>>,
    key: K,
    result: watch::Sender<Option<V>>,
    listed: bool,
}

impl<K, V, M> Default for Flights<K, V, M> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V, M> Flights<K, V, M>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Send + Sync + 'static,
    M: Clone + Send + 'static,
{
    /// A seat in the key's flight. If there is none, one begins: `prepare` says with what, or why not,
    /// and `fly` makes its task. Nobody else begins one meanwhile.
    pub(crate) fn board<T, E, F>(
        this: &Arc<Self>,
        key: K,
        prepare: impl FnOnce() -> Result<(M, T), E>,
        fly: impl FnOnce(Flight<K, V, M>, T) -> F,
    ) -> Result<Seat<V, M>, E>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut flights = this.lock();
        if let Some(listed) = flights.get(&key) {
            return Ok(listed.seat());
        }
        let (note, prepared) = prepare()?;
        let (result, receiver) = watch::channel(None);
        let listed = Airborne {
            note: note.clone(),
            result: result.clone(),
        };
        flights.insert(key.clone(), listed);
        drop(flights);
        let flight = Flight {
            flights: Arc::clone(this),
            key,
            result,
            listed: true,
        };
        let mut flying = Box::pin(fly(flight, prepared));
        // Why a look first: what has nothing to wait for lands at once, and needs no task.
        let mut context = Context::from_waker(Waker::noop());
        if flying.as_mut().poll(&mut context).is_pending() {
            task::spawn(flying);
        }
        Ok(Seat {
            note,
            began: true,
            result: receiver,
        })
    }

    /// A seat in the key's flight, if there is one.
    pub(crate) fn join(&self, key: &K) -> Option<Seat<V, M>> {
        self.lock().get(key).map(Airborne::seat)
    }
}

impl<K, V, M> Flights<K, V, M> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Airborne<V, M>>> {
        // Nothing under this lock can leave the table half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl<K, V, M> Flights<K, V, M> {
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }
}

impl<V, M: Clone> Airborne<V, M> {
    fn seat(&self) -> Seat<V, M> {
        Seat {
            note: self.note.clone(),
            began: false,
            result: self.result.subscribe(),
        }
    }
}

impl<V: Clone, M> Seat<V, M> {
    /// What the flight has found; `None` if its task was stopped.
    pub(crate) async fn landed(mut self) -> Option<V> {
        let landed = self.result.wait_for(Option::is_some).await;
        landed.ok()?.clone()
    }
}

impl<K: Eq + Hash, V, M> Flight<K, V, M> {
    /// Ends the flight with a result for all who wait. Whoever asks from now on begins another.
    pub(crate) fn land(mut self, result: V) {
        self.leave();
        self.result.send_replace(Some(result));
    }

    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    /// Whether nobody waits for it any more. Somebody may come aboard right after.
    pub(crate) fn is_empty(&self) -> bool {
        self.result.is_closed()
    }

    /// The result of `wait`, for work that has not begun yet; `None`, and the flight is called off, if all
    /// callers have left before.
    pub(crate) async fn unless_empty<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        loop {
            let waited = tokio::select! {
                waited = &mut wait => Some(waited),
                () = self.result.closed() => None,
            };
            if self.call_off_if_empty() {
                return None;
            }
            // Nothing yet: someone came aboard after the last had left.
            if waited.is_some() {
                return waited;
            }
        }
    }

    /// Takes it out of the table if nobody waits for it; whether it did.
    fn call_off_if_empty(&mut self) -> bool {
        let mut flights = self.flights.lock();
        // Callers come aboard under this lock, so the answer holds until it is released.
        let empty = self.result.is_closed();
        if empty {
            flights.remove(&self.key);
            self.listed = false;
        }
        empty
    }

    fn leave(&mut self) {
        // Once only: the next flight of this key may stand there already.
        if self.listed {
            self.listed = false;
            self.flights.lock().remove(&self.key);
        }
    }
}

impl<K: Eq + Hash, V, M> Drop for Flight<K, V, M> {
    /// Whatever ends the task, the table does not keep a flight that will never land.
    fn drop(&mut self) {
        self.leave();
    }
}
