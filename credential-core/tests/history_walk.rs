//! Random walks over the rule of the freshness proof (`src/live/gate.rs`, that very file): does
//! a node ever answer from a value that the authoritative database no longer had when the node's latest
//! proof began?
//!
//! Restores and promotions cut the history and bring the same numbers again for other changes. Reads
//! arrive late, and some come from the old primary after the promotion. One heartbeat is in flight, up
//! to three reads are. Rows are pruned. The node commits too, sometimes on the old primary.
//!
//! Weaker rules are walked as well and must fail, or these walks would show nothing.

#![expect(dead_code, reason = "the walks use part of the gate")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod sync {
    pub(super) use std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };

    pub(super) use credential_core::store::{Change, ChangeId, Changes, LoggedChange};
}

#[path = "../src/live/gate.rs"]
mod gate;

use std::{cell::RefCell, time::Duration};

use credential_core::{
    entropy::Entropy as _,
    id::CredentialId,
    store::{Change, ChangeId, Changes, LoggedChange, Mark},
    testing::SeededEntropy,
};
use gate::{Cache, CatchUpTicket, Gate, Known, NotBelieved, ReadTicket};

const CREDENTIALS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The gate's.
    Vouched,
    /// Marks are not compared.
    NumbersAlone,
    /// Heartbeats compare marks; reads are believed by their numbers.
    AppliedMarkAlone,
    /// Reads are believed at once, and thrown away if the next heartbeat knows them otherwise.
    BelievedUntilTheNextHeartbeat,
}

struct Random(SeededEntropy);

impl Random {
    fn next(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// A database: what each change wrote, and its mark.
#[derive(Clone)]
struct Database {
    rows: Vec<Row>,
    mark_of_0: Mark,
    /// The smallest number whose row is still there.
    kept: usize,
}

#[derive(Clone, Copy)]
struct Row {
    mark: Mark,
    credential: usize,
    value: u64,
}

impl Database {
    fn change(&self, number: usize) -> ChangeId {
        let row = number.checked_sub(1).map(|index| self.rows[index].mark);
        ChangeId {
            number: u64::try_from(number).unwrap(),
            mark: row.unwrap_or(self.mark_of_0),
        }
    }

    fn latest(&self) -> ChangeId {
        self.change(self.rows.len())
    }

    fn value(&self, credential: usize) -> u64 {
        let mut rows = self.rows.iter().rev();
        let row = rows.find(|row| row.credential == credential);
        row.map_or(0, |row| row.value)
    }

    fn commit(&mut self, random: &Random) -> (usize, ChangeId) {
        let credential = random.below(CREDENTIALS);
        self.rows.push(Row {
            mark: mark(random),
            credential,
            value: random.next(),
        });
        (credential, self.latest())
    }

    fn answer(&self, applied: Option<ChangeId>) -> Changes {
        let items = applied.and_then(|applied| {
            let applied = usize::try_from(applied.number).unwrap();
            let complete = applied <= self.rows.len() && applied + 1 >= self.kept;
            complete.then(|| {
                let numbers = applied + 1..=self.rows.len();
                let item = |number| LoggedChange {
                    id: self.change(number),
                    previous: self.change(number - 1).mark,
                    change: Change::Credential(id(self.rows[number - 1].credential)),
                };
                numbers.map(item).collect()
            })
        });
        Changes {
            upto: self.latest(),
            items,
            waited: Duration::ZERO,
            largest_max_staleness: Duration::ZERO,
        }
    }
}

fn mark(random: &Random) -> Mark {
    let [a, b] = [random.next(), random.next()];
    let mark = u128::from(a) << 64 | u128::from(b);
    Mark(mark.to_be_bytes())
}

fn id(credential: usize) -> CredentialId {
    CredentialId::from_bytes([u8::try_from(credential).unwrap(); 16])
}

/// What one read found.
#[derive(Debug, Clone, Copy)]
struct Read {
    credential: usize,
    value: u64,
}

#[derive(Clone, Copy)]
struct PendingRead {
    read: Read,
    upto: ChangeId,
    ticket: ReadTicket,
    epoch: u64,
}

#[derive(Default)]
struct Entries(RefCell<[Option<u64>; CREDENTIALS]>);

impl Cache for Entries {
    type Read = Read;

    fn concerns(change: &Change, read: &Read) -> bool {
        *change == Change::Credential(id(read.credential))
    }

    fn drop_changed(&self, change: &Change) {
        for credential in 0..CREDENTIALS {
            if *change == Change::Credential(id(credential)) {
                self.0.borrow_mut()[credential] = None;
            }
        }
    }

    fn drop_all(&self) {
        *self.0.borrow_mut() = [None; CREDENTIALS];
    }

    fn keep(&self, read: Read, _: Known) {
        self.0.borrow_mut()[read.credential] = Some(read.value);
    }

    fn refuse(&self, _: Read, _: NotBelieved) {}
}

struct Heartbeat {
    began: usize,
    ticket: CatchUpTicket,
    answer: Option<Changes>,
}

struct Walk {
    rule: Rule,
    random: Random,
    database: Database,
    /// The primary before the latest promotion; it still answers reads and takes writes.
    old: Option<Database>,
    now: usize,
    /// What the authoritative database held, from when on.
    history: Vec<(usize, [u64; CREDENTIALS])>,
    gate: Gate<Read>,
    entries: Entries,
    reads: Vec<PendingRead>,
    heartbeat: Option<Heartbeat>,
    open: Option<usize>,
    // What the weaker rules go by.
    applied: Option<ChangeId>,
    epoch: u64,
    /// Reads that were believed, and when.
    believed: Vec<(ChangeId, usize)>,
}

impl Walk {
    fn new(rule: Rule, seed: u64) -> Self {
        let random = Random(SeededEntropy::new(seed));
        Self {
            rule,
            database: Database {
                rows: Vec::new(),
                mark_of_0: mark(&random),
                kept: 0,
            },
            old: None,
            now: 0,
            history: vec![(0, [0; CREDENTIALS])],
            gate: Gate::new(),
            entries: Entries::default(),
            reads: Vec::new(),
            heartbeat: None,
            open: None,
            applied: None,
            epoch: 0,
            believed: Vec::new(),
            random,
        }
    }

    /// A change as this rule sees it.
    fn seen(&self, change: ChangeId) -> ChangeId {
        match self.rule {
            Rule::NumbersAlone => ChangeId {
                mark: Mark([0; 16]),
                ..change
            },
            _ => change,
        }
    }

    fn note(&mut self) {
        let values = std::array::from_fn(|credential| self.database.value(credential));
        self.history.push((self.now, values));
    }

    fn step(&mut self) {
        self.now += 1;
        match self.random.below(100) {
            0..18 => {
                self.database.commit(&self.random);
                self.note();
            }
            18..20 => self.commit_here(),
            20..26 => self.lose_history(),
            26..29 if self.database.rows.len() > 1 => {
                let kept = 1 + self.random.below(self.database.rows.len());
                self.database.kept = self.database.kept.max(kept);
            }
            29..46 if self.reads.len() < 3 => self.begin_read(),
            46..62 if !self.reads.is_empty() => {
                let read = self.random.below(self.reads.len());
                let read = self.reads.swap_remove(read);
                self.end_read(read);
            }
            62..73 if self.heartbeat.is_none() => {
                self.heartbeat = Some(Heartbeat {
                    began: self.now,
                    ticket: self.gate.begin_catch_up(),
                    answer: None,
                });
            }
            73..85 => self.answer_heartbeat(),
            85..97 => self.end_heartbeat(),
            _ => {}
        }
    }

    /// A commit of this node's own, through a session that may still lead to the old primary.
    fn commit_here(&mut self) {
        let on_old = self.random.below(10) < 3;
        let primary = match &mut self.old {
            Some(old) if on_old => old,
            _ => &mut self.database,
        };
        let (credential, change) = primary.commit(&self.random);
        self.note();
        let change = self.seen(change);
        let drop_entry = || self.entries.0.borrow_mut()[credential] = None;
        self.gate.own_commit(change, drop_entry);
    }

    fn lose_history(&mut self) {
        self.old = Some(self.database.clone());
        let lost = self.random.below(4);
        let rows = &mut self.database.rows;
        rows.truncate(rows.len().saturating_sub(lost));
        self.database.kept = self.database.kept.min(rows.len());
        self.note();
    }

    fn begin_read(&mut self) {
        let from_old = self.random.below(10) < 3;
        let database = match &self.old {
            Some(old) if from_old => old,
            _ => &self.database,
        };
        let credential = self.random.below(CREDENTIALS);
        self.reads.push(PendingRead {
            read: Read {
                credential,
                value: database.value(credential),
            },
            upto: self.seen(database.latest()),
            ticket: self.gate.begin_read(),
            epoch: self.epoch,
        });
    }

    fn end_read(&mut self, pending: PendingRead) {
        let PendingRead {
            read,
            upto,
            ticket,
            epoch,
        } = pending;
        match self.rule {
            Rule::Vouched | Rule::NumbersAlone => {
                self.gate.offer(ticket, upto, read, &self.entries);
            }
            Rule::AppliedMarkAlone | Rule::BelievedUntilTheNextHeartbeat => {
                let current = self.applied.is_some_and(|it| upto.number >= it.number);
                if current && epoch == self.epoch {
                    self.believed.push((upto, self.now));
                    self.entries.0.borrow_mut()[read.credential] = Some(read.value);
                }
            }
        }
    }

    fn answer_heartbeat(&mut self) {
        let Some(heartbeat) = &self.heartbeat else {
            return;
        };
        if heartbeat.answer.is_some() {
            return;
        }
        let mut answer = self.database.answer(heartbeat.ticket.applied);
        answer.upto = self.seen(answer.upto);
        for item in answer.items.iter_mut().flatten() {
            item.id = self.seen(item.id);
            let number = item.id.number;
            let mark = item.previous;
            item.previous = self.seen(ChangeId { number, mark }).mark;
        }
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.answer = Some(answer);
        }
    }

    fn end_heartbeat(&mut self) {
        let Some(heartbeat) = self.heartbeat.take() else {
            return;
        };
        let Some(answer) = heartbeat.answer.clone() else {
            self.heartbeat = Some(heartbeat);
            return;
        };
        let mut followed = self.gate.apply(heartbeat.ticket, &answer, &self.entries);
        if self.rule == Rule::BelievedUntilTheNextHeartbeat && followed {
            let shown = |change: ChangeId| {
                let items = answer.items.iter().flatten().map(|item| item.id);
                let mut shown = items.chain(self.applied);
                shown.any(|it| it == change)
            };
            let known_otherwise = self.believed.iter().any(|(change, at)| {
                if change.number <= answer.upto.number {
                    !shown(*change)
                } else {
                    *at < heartbeat.began
                }
            });
            if known_otherwise {
                self.entries.drop_all();
                followed = false;
            }
        }
        self.applied = Some(answer.upto);
        self.believed
            .retain(|(change, _)| followed && change.number > answer.upto.number);
        if !followed {
            self.epoch += 1;
        }
        self.open = Some(heartbeat.began);
    }

    /// Whether a check would now answer from a value that was gone when the proof began.
    fn is_stale(&self) -> bool {
        let Some(open) = self.open else {
            return false;
        };
        let cached = *self.entries.0.borrow();
        (0..CREDENTIALS).any(|credential| {
            let mut before = self.history.iter().rev().filter(|(at, _)| *at <= open);
            let before = before.next().map(|(_, values)| values[credential]);
            let mut after = self.history.iter().filter(|(at, _)| *at > open);
            cached[credential].is_some_and(|value| {
                before != Some(value) && after.all(|(_, values)| values[credential] != value)
            })
        })
    }

    /// Nothing breaks any more: a catch-up, and then a read that begins and ends.
    fn recovers(&mut self) -> bool {
        self.heartbeat = None;
        for _ in 0..2 {
            let ticket = self.gate.begin_catch_up();
            let answer = self.database.answer(ticket.applied);
            self.gate.apply(ticket, &answer, &self.entries);
        }
        self.entries.drop_all();
        let ticket = self.gate.begin_read();
        let read = Read {
            credential: 0,
            value: self.database.value(0),
        };
        let upto = self.database.latest();
        self.gate.offer(ticket, upto, read, &self.entries);
        self.entries.0.borrow()[0] == Some(read.value)
    }
}

/// The walks, of so many, that came to a stale answer.
fn stale(rule: Rule, walks: u64) -> Vec<u64> {
    let stale = |seed: &u64| {
        let mut walk = Walk::new(rule, *seed);
        let steps = 15 + walk.random.below(56);
        let stale = (0..steps).any(|_| {
            walk.step();
            walk.is_stale()
        });
        if rule == Rule::Vouched {
            assert!(walk.recovers(), "walk {seed} does not recover");
        }
        stale
    };
    (0..walks).filter(stale).collect()
}

#[test]
fn no_answer_is_from_a_value_that_is_gone() {
    assert_eq!(stale(Rule::Vouched, 50_000), Vec::<u64>::new());
}

#[test]
fn weaker_rules_answer_from_values_that_are_gone() {
    for rule in [
        Rule::NumbersAlone,
        Rule::AppliedMarkAlone,
        Rule::BelievedUntilTheNextHeartbeat,
    ] {
        let stale = stale(rule, 2_000).len();
        assert!(stale >= 10, "{rule:?}: {stale} of 2000");
    }
}
