//! Counts of calls against the truth: two real nodes on one real PostgreSQL.
//!
//! `USAGE_REQUESTS=1000000 cargo test --release -p reference-server --test usage` makes a million requests.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/postgres.rs"]
mod postgres;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use common::{Client, Key, Server, until};
use postgres::Deployment;
use serde_json::Value;
use test_postgres::Server as Postgres;

/// A node writes one batch in this time at most.
const INTERVAL: Duration = Duration::from_secs(5);
/// What was counted is visible after this time, with some more for a busy machine.
const VISIBLE: Duration = Duration::from_secs(30);

/// What a call needs, and what it gets with [`HELD`].
const CALLS: &[(&str, &str, &str, u16)] = &[
    ("GET", "/api/2.0/patients/1/", "system/patients.read", 200),
    ("PUT", "/api/2.0/patients/1/", "system/patients.write", 200),
    ("GET", "/api/2.0/vitals/", "system/vitals.read", 200),
    ("GET", "/api/2.0/bills/", "system/bills.read", 403),
    ("DELETE", "/api/2.0/vitals/1/", "system/vitals.write", 403),
    ("GET", "/api/2.0/no_such_thing/", "apiv2", 403),
];
const HELD: &[&str] = &[
    "system/patients.read",
    "system/patients.write",
    "system/vitals.read",
];

/// Allowed and denied, by scope.
type Counts = BTreeMap<String, (u64, u64)>;

/// The counters are the subject, not what a machine that stands still for a moment cannot prove.
const PATIENT: [&str; 2] = ["--max-staleness", "10s"];

fn requests() -> u64 {
    let set = std::env::var_os("USAGE_REQUESTS");
    set.map_or(4_000, |it| it.to_str().unwrap().parse().unwrap())
}

/// Makes so many calls at a node and returns what they were answered.
fn calls(node: &Client, key: &Key, count: u64, seed: u64) -> Counts {
    let mut counts = Counts::new();
    let mut random = seed;
    for _ in 0..count {
        // A linear congruential generator: the mix is the same at each run.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let pick = usize::try_from(random >> 33).unwrap() % CALLS.len();
        let (method, path, scope, expected) = CALLS[pick];
        let status = node.call(method, path, &key.token).status;
        node.seen.lock().unwrap().clear();
        assert_eq!(status, expected, "{method} {path}");
        let of = counts.entry(scope.to_owned()).or_default();
        if status == 200 {
            of.0 += 1;
        } else {
            of.1 += 1;
        }
    }
    counts
}

/// Calls of both keys at both nodes at once.
fn traffic(nodes: &[&Server], keys: &[Key], count: u64) -> Vec<Counts> {
    let mut totals = vec![Counts::new(); keys.len()];
    let each = count / u64::try_from(nodes.len() * keys.len()).unwrap();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            for (seed, node) in (1..).zip(nodes) {
                let node = node.client();
                threads.push((place, scope.spawn(move || calls(&node, key, each, seed))));
            }
        }
        for (place, thread) in threads {
            add(&mut totals[place], thread.join().unwrap());
        }
    });
    totals
}

fn add(total: &mut Counts, more: Counts) {
    for (scope, (allowed, denied)) in more {
        let of = total.entry(scope).or_default();
        of.0 += allowed;
        of.1 += denied;
    }
}

fn sum(counts: &Counts) -> (u64, u64) {
    let all = counts.values();
    all.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
}

fn list<'a>(usage: &'a Value, of: &str) -> impl Iterator<Item = (&'a Value, (u64, u64))> {
    let items = usage[of].as_array().unwrap().iter();
    items.map(|it| {
        let count = |of: &str| it[of].as_u64().unwrap();
        (it, (count("allowed"), count("denied")))
    })
}

/// What an admin sees, by scope. The days say the same in sum.
fn seen(admin: &Client, key: &Key) -> Counts {
    let usage = admin.get(&format!("{}/usage", key.path), &[]).json();
    let scopes = list(&usage, "scopes");
    let counts: Counts = scopes
        .map(|(it, counts)| (it["scope"].as_str().unwrap().to_owned(), counts))
        .collect();
    let days = list(&usage, "days").fold((0, 0), |sum, (_, day)| (sum.0 + day.0, sum.1 + day.1));
    assert_eq!(days, sum(&counts), "{usage}");
    counts
}

/// How many batches a node has written.
fn batches(node: &Server) -> u64 {
    let metrics = node.client().get("/metrics", &[]).body;
    let mut lines = metrics.lines();
    let line = lines.find_map(|it| it.strip_prefix("credential_usage_batches_total "));
    line.map_or(0, |it| it.parse().unwrap())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "intervals are real time")]
fn nodes_that_stop_cleanly_have_counted_every_call() {
    let deployment = Deployment::new(Postgres::shared());
    let began = Instant::now();
    let (first, second) = (
        deployment.node_with(&PATIENT),
        deployment.node_with(&PATIENT),
    );
    let admin = first.signed_in("alder-admin");
    let keys = [
        Key::new(&admin, "Lab", HELD),
        Key::new(&admin, "Billing", HELD),
    ];
    let truth = traffic(&[&first, &second], &keys, requests());

    // While they run, each has written one batch per interval at most. One more may be due to midnight.
    let written = [batches(&first), batches(&second)];
    let intervals = began.elapsed().as_secs() / INTERVAL.as_secs();
    assert!(
        written.iter().all(|it| *it <= intervals + 1),
        "{written:?} in {intervals} intervals"
    );
    for node in [first, second] {
        assert_eq!(node.stop().code, Some(0));
    }
    let third = deployment.node_with(&PATIENT);
    let admin = third.signed_in("alder-admin");
    for (key, truth) in keys.iter().zip(truth) {
        assert_eq!(seen(&admin, key), truth);
        let (allowed, denied) = sum(&truth);
        assert!(allowed > 0 && denied > 0);
    }
}

/// A node that is killed loses what it counted since its last batch and nothing else, and the other node
/// goes on.
#[test]
fn a_killed_node_loses_at_most_one_interval() {
    let deployment = Deployment::new(Postgres::shared());
    let (victim, other) = (
        deployment.node_with(&PATIENT),
        deployment.node_with(&PATIENT),
    );
    let admin = other.signed_in("alder-admin");
    let keys = [Key::new(&admin, "Lab", HELD)];
    let key = &keys[0];
    let mut least = traffic(&[&victim, &other], &keys, 400).remove(0);
    until(VISIBLE, || seen(&admin, key) == least);

    // Of what follows, the victim's part may be lost.
    let late = traffic(&[&victim], &keys, 200).remove(0);
    victim.signal("KILL");
    let (rest, others) = (traffic(&[&other], &keys, 200).remove(0), other);
    add(&mut least, rest);
    assert_eq!(others.stop().code, Some(0));

    let third = deployment.node_with(&PATIENT);
    let counted = seen(&third.signed_in("alder-admin"), key);
    let mut most = least.clone();
    add(&mut most, late);
    for (scope, (allowed, denied)) in &most {
        let found = counted.get(scope).copied().unwrap_or_default();
        let least = least.get(scope).copied().unwrap_or_default();
        assert!(
            (least.0..=*allowed).contains(&found.0),
            "{scope}: {found:?}"
        );
        assert!((least.1..=*denied).contains(&found.1), "{scope}: {found:?}");
    }
    assert!(counted.keys().all(|scope| most.contains_key(scope)));
}
