//! Every interleaving of filling, linking and invalidating, walked by a model checker over the very
//! files that core runs (`src/authorize/ledger.rs`, `links.rs`), with loom's types in the place of
//! std's.

#![expect(dead_code, reason = "the models use part of the ledger")]
#![expect(clippy::unwrap_used, reason = "a poisoned lock fails the model")]

mod sync {
    pub(super) use loom::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };
}

#[path = "../src/authorize/ledger.rs"]
mod ledger;
#[path = "../src/authorize/links.rs"]
mod links;

use ledger::Ledger;
use links::{Link, Links};
use loom::{sync::Arc, thread};

/// A store with one credential and a cache with one entry.
struct World {
    ledger: Ledger,
    /// The store: (number of the latest change, state as of it). State n is written by change n.
    store: loom::sync::Mutex<u64>,
    /// The cache: the state that was read, if any.
    entry: loom::sync::Mutex<Option<u64>>,
    links: Links,
    /// A token's entry: the state that it was linked to.
    linked: loom::sync::Mutex<Option<(u64, Link)>>,
}

const CREDENTIAL: [u8; 16] = [0; 16];

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            ledger: Ledger::new(),
            store: loom::sync::Mutex::new(1),
            entry: loom::sync::Mutex::new(None),
            links: Links::new(1),
            linked: loom::sync::Mutex::new(None),
        })
    }

    fn read_store(&self) -> u64 {
        *self.store.lock().unwrap()
    }

    /// Load, then fill: what a cache miss does.
    fn load_and_fill(&self) {
        let ticket = self.ledger.begin_read();
        let state = self.read_store();
        self.ledger.fill(ticket, state, || {
            *self.entry.lock().unwrap() = Some(state);
        });
    }

    fn change(&self) -> u64 {
        let mut store = self.store.lock().unwrap();
        *store += 1;
        *store
    }

    fn drop_entry(&self) {
        self.links
            .cut(&CREDENTIAL, || *self.entry.lock().unwrap() = None);
    }

    /// What a check without a link does.
    fn link(&self) {
        let look_up = || *self.entry.lock().unwrap();
        if let (Some(state), link) = self.links.link(&CREDENTIAL, look_up) {
            *self.linked.lock().unwrap() = Some((state, link));
        }
    }

    /// What a check with a link answers from: the gate first, the link after.
    fn check_by_link(&self) -> Option<(u64, u64)> {
        let proven = self.ledger.proven_at();
        let linked = *self.linked.lock().unwrap();
        let (state, _) = linked.filter(|(_, link)| self.links.holds(*link))?;
        Some((proven, state))
    }

    fn catch_up(&self, began: u64) {
        let upto = self.read_store();
        self.ledger.apply(upto, || self.drop_entry());
        self.ledger.publish(began);
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
            thread::spawn(move || world.load_and_fill())
        };
        let number = world.change();
        world.ledger.apply(number, || world.drop_entry());
        let seen = *world.entry.lock().unwrap();
        assert!(seen.is_none_or(|state| state >= number), "stale: {seen:?}");
        filler.join().unwrap();
        let seen = *world.entry.lock().unwrap();
        assert!(seen.is_none_or(|state| state >= number), "stale: {seen:?}");
    });
}

/// Another node changes the credential; this one catches up while two tasks fill. Whoever sees
/// the gate opened by that catch-up finds no entry from before the change.
#[test]
fn catch_up_against_fills() {
    loom::model(|| {
        let world = World::new();
        let filler = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.load_and_fill())
        };
        let catcher = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let number = world.change(); // committed before the catch-up began
                world.catch_up(number);
            })
        };
        // A check: gate first, entry after.
        let proven = world.ledger.proven_at();
        let entry = *world.entry.lock().unwrap();
        if let Some(state) = entry
            && proven > 0
        {
            assert!(state >= proven, "state {state} under the proof of {proven}");
        }
        filler.join().unwrap();
        catcher.join().unwrap();
    });
}

/// A read from a time line that was lost is not stored after the node has started anew, although
/// its number is higher.
#[test]
fn lost_time_line_against_fill() {
    loom::model(|| {
        let world = World::new();
        *world.store.lock().unwrap() = 9;
        let filler = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.load_and_fill())
        };
        *world.store.lock().unwrap() = 3; // the standby knows less
        world.ledger.start_anew(3, || world.drop_entry());
        filler.join().unwrap();
        // The filler may have read 3 after the fail-over, or 9 before; only 3 may be kept, unless
        // it began after the fail-over.
        assert_ne!(*world.entry.lock().unwrap(), Some(9));
    });
}

/// The node catches up with another node's change while a check links a token to the state from
/// before it and another check answers by that link.
#[test]
fn catch_up_against_links() {
    loom::model(|| {
        let world = World::new();
        world.load_and_fill();
        let linker = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.link())
        };
        let catcher = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let number = world.change();
                world.catch_up(number);
            })
        };
        if let Some((proven, state)) = world.check_by_link() {
            assert!(
                state >= proven,
                "link to {state} under the proof of {proven}"
            );
        }
        linker.join().unwrap();
        catcher.join().unwrap();
        assert_eq!(world.check_by_link(), None, "nothing newer was ever linked");
    });
}
