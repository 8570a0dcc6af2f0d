//! Histories that are cut: a restore, and the promotion of a standby that was behind. The numbers of the
//! changes that were lost come again for other changes; what a node remembers of the lost ones must not
//! count.
//!
//! As often as you like: `for _ in $(seq 20); do cargo test -p reference-server --test histories || break; done`

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/postgres.rs"]
mod postgres;

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use common::{BOUND, Client, Key, READ, RECOVERY, Server, throughout, until};
use postgres::{Deployment, node_at};
use serde_json::json;
use test_postgres::{Forwarder, Server as Postgres};

/// Changes the key's scopes, as often as it takes: the first calls may meet connections that are gone.
fn change(admin: &Client, key: &Key, scopes: &[&str]) {
    let path = format!("{}/scopes", key.path);
    until(RECOVERY, || {
        let body = json!({"scopes": scopes});
        admin.json("PUT", &path, &[("if-match", "*")], &body).status == 200
    });
}

fn revoke(admin: &Client, key: &Key) {
    until(RECOVERY, || {
        admin.send("DELETE", &key.path, &[], None).status == 200
    });
}

/// From the moment at which the node could know, no yes later than the bound; and a no in the end.
#[expect(clippy::disallowed_methods, reason = "this is about real time")]
fn refused_in_time(key: &Key, node: &Client) {
    let could_know = Instant::now();
    until(RECOVERY, || {
        let asked = could_know.elapsed();
        let status = key.patients(node);
        assert!(
            [401, 503].contains(&status) || asked < BOUND,
            "{status} for a check that began {asked:?} after the node could know"
        );
        status == 401
    });
    throughout(Duration::from_millis(500), || key.patients(node) == 401);
}

#[test]
fn a_restore_brings_no_revoked_key_back() {
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    let nodes = [deployment.node(), deployment.node()];
    let admin = nodes[0].signed_in("alder-admin");
    let other = nodes[1].client();
    for lost in [1, 2] {
        let key = Key::new(&admin, &format!("Lab {lost}"), READ);
        let busy = Key::new(&admin, &format!("Busy {lost}"), READ);
        until(RECOVERY, || key.patients(&other) == 200);
        let dump = deployment.dump();
        for n in 0..lost {
            change(&admin, &busy, [&["system/bills.read"][..], READ][n % 2]);
        }
        // The other node has applied what is lost.
        let expected = if lost % 2 == 1 { 403 } else { 200 };
        until(RECOVERY, || busy.patients(&other) == expected);
        let ready = || other.get("/readyz", &[]).status == 200;
        until(RECOVERY, ready);

        nodes[1].signal("STOP");
        deployment.restore(&dump);
        // As many changes as were lost, the revocation among them.
        revoke(&admin, &key);
        for n in 1..lost {
            change(&admin, &busy, [&["system/bills.read"][..], READ][n % 2]);
        }
        nodes[1].signal("CONT");
        refused_in_time(&key, &other);
    }
}

/// Two nodes, each behind a forwarder of its own, on a primary with a standby that is behind.
struct Failover<'a> {
    forwarders: [Forwarder; 2],
    nodes: [Server; 2],
    deployment: Deployment<'a>,
}

impl<'a> Failover<'a> {
    fn new(primary: &'a Postgres) -> Self {
        let deployment = Deployment::new(primary);
        let forwarders = [(); 2].map(|()| Forwarder::start(primary));
        let node = |forwarder: &Forwarder| node_at(&forwarder.url(deployment.name()), &[]);
        let nodes = [node(&forwarders[0]), node(&forwarders[1])];
        Self {
            forwarders,
            nodes,
            deployment,
        }
    }
}

/// How the second node's connections come to the new primary.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// All are cut.
    All,
    /// The session that catches up is; those of the pool still lead to the old primary, which answers.
    CatchUpAlone,
}

#[test]
fn a_promoted_standby_that_was_behind_brings_no_revoked_key_back() {
    for (lost, moved) in [
        (1, Move::All),
        (2, Move::All),
        (1, Move::CatchUpAlone),
        (2, Move::CatchUpAlone),
    ] {
        promoted(lost, moved);
    }
}

fn promoted(lost: usize, moved: Move) {
    let primary = Postgres::start();
    let failover = Failover::new(&primary);
    let admin = failover.nodes[0].signed_in("alder-admin");
    let other = failover.nodes[1].client();
    let key = Key::new(&admin, "Lab", READ);
    // Seen by the other node for the first time only after the promotion.
    let unseen = Key::new(&admin, "Unseen", READ);
    let busy = Key::new(&admin, "Busy", READ);
    until(RECOVERY, || key.patients(&other) == 200);
    let standby = primary.standby("behind");
    standby.cut_off();
    for n in 0..lost {
        change(&admin, &busy, [&["system/bills.read"][..], READ][n % 2]);
    }
    let expected = if lost % 2 == 1 { 403 } else { 200 };
    until(RECOVERY, || busy.patients(&other) == expected);

    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Busy throughout.
        let (client, busy) = (failover.nodes[1].client(), &busy);
        let (stop, asked) = (&stop, &asked);
        let _end = common::SaysOver(stop);
        scope.spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                busy.patients(&client);
                asked.fetch_add(1, Ordering::SeqCst);
            }
        });
        let promoted = standby.promote();
        failover.forwarders[0].turn_to(&promoted);
        failover.forwarders[0].cut();
        revoke(&admin, &key);
        revoke(&admin, &unseen);
        for n in 2..lost.max(2) {
            change(&admin, busy, [&["system/bills.read"][..], READ][n % 2]);
        }
        // Until here the other node has heard of the old primary alone.
        failover.forwarders[1].turn_to(&promoted);
        match moved {
            Move::All => failover.forwarders[1].cut(),
            Move::CatchUpAlone => {
                failover.deployment.sql(
                    "select pg_terminate_backend(pid) from pg_stat_activity
                    where application_name = 'credential-catch-up'
                        and datname = current_database()",
                );
            }
        }
        refused_in_time(&key, &other);
        refused_in_time(&unseen, &other);
        stop.store(true, Ordering::SeqCst);
        drop(promoted);
    });
    assert!(asked.load(Ordering::SeqCst) > 0);
}

/// Connections that are open die silently, and new ones work: the node is back within twice the time
/// that a call of the store may take.
#[test]
fn a_node_whose_connections_died_silently_comes_back() {
    const TWICE: Duration = Duration::from_secs(2 * 3);
    const MARGIN: Duration = Duration::from_secs(6);
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    let forwarder = Forwarder::start(&postgres);
    let node = node_at(&forwarder.url(deployment.name()), &[]);
    let admin = node.signed_in("alder-admin");
    let key = Key::new(&admin, "Lab", READ);
    // The pool is as large as it gets, so that many connections die.
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| admin.get(&key.path, &[]));
        }
    });
    let new = Key::new(&admin, "New", READ);
    for _ in 0..2 {
        forwarder.silence();
        let out = || key.patients(&admin) == 503;
        until(RECOVERY, out);
        until(TWICE + MARGIN, || key.patients(&admin) == 200);
        assert_eq!(new.token_from(&admin).status, 200);
    }

    // Those that are made meanwhile die before their first answer.
    forwarder.mute(true);
    forwarder.silence();
    until(RECOVERY, || key.patients(&admin) == 503);
    throughout(Duration::from_secs(5), || key.patients(&admin) == 503);
    forwarder.mute(false);
    until(TWICE + MARGIN, || key.patients(&admin) == 200);
    until(RECOVERY, || new.token_from(&admin).status == 200);
}
