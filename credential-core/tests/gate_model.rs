//! Every interleaving of filling, stamping and invalidating, walked by a model checker over the very
//! files that core runs (`src/live/gate.rs`, `versions.rs`), with loom's types in the place of
//! std's.

#![expect(dead_code, reason = "the models use part of the gate")]
#![expect(clippy::unwrap_used, reason = "a poisoned lock fails the model")]

mod sync {
    pub(super) use credential_core::store::{Change, ChangeId, Changes, LoggedChange};
    pub(super) use loom::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };
}

#[path = "../src/live/gate.rs"]
mod gate;
#[path = "../src/live/versions.rs"]
mod versions;

use std::time::Duration;

use credential_core::{
    id::CredentialId,
    store::{Change, ChangeId, Changes, LoggedChange, Mark},
};
use gate::{Cache, Gate, Known, NotBelieved};
use loom::{sync::Arc, thread};
use versions::{Stamp, Versions};

/// A store with one credential and a cache with one entry.
struct World {
    gate: Gate<u64>,
    /// The store: (number of the latest change, state as of it). State n is written by change n.
    store: loom::sync::Mutex<u64>,
    cached: Cached,
    /// A token's entry: the state that it was made of.
    token: loom::sync::Mutex<Option<(u64, Stamp)>>,
}

struct Cached {
    /// The state that was read, if any.
    entry: loom::sync::Mutex<Option<u64>>,
    versions: Versions,
}

impl Cache for Cached {
    type Read = u64;

    fn concerns(_: &Change, _: &u64) -> bool {
        true // there is one credential
    }

    fn drop_changed(&self, _: &Change) {
        self.drop_all();
    }

    fn drop_all(&self) {
        self.versions
            .drop_one(&CREDENTIAL, || *self.entry.lock().unwrap() = None);
    }

    fn keep(&self, read: u64, _: Known) {
        self.versions
            .drop_one(&CREDENTIAL, || *self.entry.lock().unwrap() = Some(read));
    }

    fn refuse(&self, _: u64, _: NotBelieved) {}
}

const CREDENTIAL: [u8; 16] = [0; 16];

/// The change with that number in a history.
fn change(number: u64, history: u8) -> ChangeId {
    let mut mark = [history; 16];
    mark[..8].copy_from_slice(&number.to_be_bytes());
    let mark = Mark(mark);
    ChangeId { number, mark }
}

impl World {
    /// The node has applied change 1.
    fn new() -> Arc<Self> {
        let world = Self {
            gate: Gate::new(),
            store: loom::sync::Mutex::new(1),
            cached: Cached {
                entry: loom::sync::Mutex::new(None),
                versions: Versions::new(1),
            },
            token: loom::sync::Mutex::new(None),
        };
        world.catch_up(1);
        Arc::new(world)
    }

    fn read_store(&self) -> u64 {
        *self.store.lock().unwrap()
    }

    /// Load, then offer: what a cache miss does.
    fn load_and_fill(&self, history: u8) {
        let ticket = self.gate.begin_read();
        let state = self.read_store();
        let upto = change(state, history);
        self.gate.offer(ticket, upto, state, &self.cached);
    }

    fn change(&self) -> u64 {
        let mut store = self.store.lock().unwrap();
        *store += 1;
        *store
    }

    fn entry(&self) -> Option<u64> {
        *self.cached.entry.lock().unwrap()
    }

    /// What a check without a stamp does.
    fn stamp(&self) {
        let look_up = || self.entry();
        if let (Some(state), stamp) = self.cached.versions.stamp(&CREDENTIAL, look_up) {
            *self.token.lock().unwrap() = Some((state, stamp));
        }
    }

    /// What a check with a stamp answers from: the gate first, the stamp after.
    fn check_by_stamp(&self) -> Option<(u64, u64)> {
        let proven = self.gate.proven_at();
        let token = *self.token.lock().unwrap();
        let (state, _) = token.filter(|(_, stamp)| self.cached.versions.is_current(*stamp))?;
        Some((proven, state))
    }

    fn catch_up(&self, began: u64) {
        self.catch_up_in(0, began);
    }

    fn catch_up_in(&self, history: u8, began: u64) {
        let ticket = self.gate.begin_catch_up();
        let upto = self.read_store();
        let after = ticket.applied.map_or(upto, |applied| applied.number);
        let items = (after + 1..=upto).map(|number| LoggedChange {
            id: change(number, history),
            previous: change(number - 1, history).mark,
            change: Change::Credential(CredentialId::from_bytes(CREDENTIAL)),
        });
        let changes = Changes {
            upto: change(upto, history),
            items: Some(items.collect()),
            waited: Duration::ZERO,
            largest_max_staleness: Duration::ZERO,
        };
        self.gate.apply(ticket, &changes, &self.cached);
        self.gate.publish(began);
    }
}

/// The node changes the credential while another task fills: once the change has returned, no
/// entry from before it is there.
#[test]
fn own_change_against_fill() {
    loom::model(|| {
        let world = World::new();
        let filler = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.load_and_fill(0))
        };
        let number = world.change();
        let own = change(number, 0);
        world.gate.own_commit(own, || world.cached.drop_all());
        let seen = world.entry();
        assert!(seen.is_none_or(|state| state >= number), "stale: {seen:?}");
        filler.join().unwrap();
        let seen = world.entry();
        assert!(seen.is_none_or(|state| state >= number), "stale: {seen:?}");
    });
}

/// Another node changes the credential; this one catches up while another task fills. Whoever sees
/// the gate opened by that catch-up finds no entry from before the change.
#[test]
fn catch_up_against_fills() {
    loom::model(|| {
        let world = World::new();
        let filler = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.load_and_fill(0))
        };
        let catcher = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let number = world.change(); // committed before the catch-up began
                world.catch_up(number);
            })
        };
        // A check: gate first, entry after.
        let proven = world.gate.proven_at();
        if let Some(state) = world.entry() {
            assert!(state >= proven, "state {state} under the proof of {proven}");
        }
        filler.join().unwrap();
        catcher.join().unwrap();
        // A read that was ahead was settled by the catch-up.
        let entry = world.entry();
        assert!(entry.is_none_or(|state| state == 2), "{entry:?}");
    });
}

/// A read from a history that was lost is not stored after the node has started anew, be its number
/// higher or the same.
#[test]
fn lost_history_against_fill() {
    for (lost, kept) in [(9, 3), (2, 2)] {
        loom::model(move || {
            let world = World::new();
            *world.store.lock().unwrap() = lost;
            let filler = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.load_and_fill(0))
            };
            *world.store.lock().unwrap() = 100 + kept; // what the filler may read by then is told apart
            let ticket = world.gate.begin_catch_up();
            let changes = Changes {
                upto: change(kept, 1),
                items: None,
                waited: Duration::ZERO,
                largest_max_staleness: Duration::ZERO,
            };
            world.gate.apply(ticket, &changes, &world.cached);
            filler.join().unwrap();
            assert_eq!(world.entry(), None);
        });
    }
}

/// The node catches up with another node's change while a check stamps a token with the state from
/// before it and another check answers by that stamp.
#[test]
fn catch_up_against_stamps() {
    loom::model(|| {
        let world = World::new();
        world.load_and_fill(0);
        let stamper = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.stamp())
        };
        let catcher = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let number = world.change();
                world.catch_up(number);
            })
        };
        if let Some((proven, state)) = world.check_by_stamp() {
            assert!(
                state >= proven,
                "stamp of {state} under the proof of {proven}"
            );
        }
        stamper.join().unwrap();
        catcher.join().unwrap();
        assert_eq!(
            world.check_by_stamp(),
            None,
            "nothing newer was ever stamped"
        );
    });
}
