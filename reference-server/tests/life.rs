//! A credential's life on two real nodes and one real PostgreSQL: rotation without an outage, pause, expiry,
//! and the end of all keys at once.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/postgres.rs"]
mod postgres;

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use common::{CREDENTIALS, Client, Key, READ, Server, throughout, until};
use postgres::Deployment;
use serde_json::json;
use test_postgres::Server as Postgres;

/// The bound is one second; these machines are shared, so the test allows a few.
const SOON: Duration = Duration::from_secs(5);

/// Two nodes, an admin on the first, a client of the second.
fn two(deployment: &Deployment<'_>) -> ([Server; 2], Client, Client) {
    let nodes = [deployment.node(), deployment.node()];
    let (admin, other) = (nodes[0].signed_in("alder-admin"), nodes[1].client());
    (nodes, admin, other)
}

/// A client that changes over in the middle of the overlap sees no failure. Then the old secret ends, and is
/// refused with its tokens on both nodes.
#[test]
fn a_client_changes_over_without_an_outage() {
    let deployment = Deployment::new(Postgres::shared());
    // A machine that stands still for a moment is no outage of the keys.
    let patient = || deployment.node_with(&["--max-staleness", "10s"]);
    let nodes = [patient(), patient()];
    let (admin, other) = (nodes[0].signed_in("alder-admin"), nodes[1].client());
    let old = Key::new(&admin, "Lab", READ);
    let (changed_over, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let calls = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let new = std::thread::scope(|scope| {
        let (sent, received) = std::sync::mpsc::channel::<Key>();
        let (changed_over, over, calls, old) = (&changed_over, &over, &calls, &old);
        let _end = common::SaysOver(over);
        let clients = nodes.each_ref().map(Server::client);
        let integration = scope.spawn(move || {
            let mut new = None;
            while !over.load(Ordering::Relaxed) {
                if new.is_none() {
                    new = received.try_recv().ok();
                    changed_over.store(new.is_some(), Ordering::Relaxed);
                }
                for client in &clients {
                    let key = new.as_ref().unwrap_or(old);
                    let token = key.token_from(client);
                    assert_eq!(token.status, 200, "{}", token.body);
                    let token = token.text("/access_token");
                    assert_eq!(client.call("GET", "/api/2.0/patients/", &token).status, 200);
                    calls[usize::from(new.is_some())].fetch_add(1, Ordering::Relaxed);
                }
            }
            new.unwrap()
        });
        let made = |which: usize| calls[which].load(Ordering::Relaxed);
        until(SOON, || made(0) > 10);
        let new = old.rotate(&admin, 3_600);
        let before = made(0);
        until(SOON, || made(0) > before + 10);
        sent.send(new).unwrap();
        until(SOON, || {
            changed_over.load(Ordering::Relaxed) && made(1) > 10
        });
        let first = old.selectors(&admin).remove(0);
        assert_eq!(old.end_secret(&admin, &first).status, 200);
        assert_eq!(old.patients(&admin), 401, "its own node at once");
        assert_eq!(old.token_from(&admin).status, 401);
        until(SOON, || old.patients(&other) == 401);
        until(SOON, || old.token_from(&other).status == 401);
        throughout(Duration::from_millis(100), || old.patients(&other) == 401);
        let before = made(1);
        until(SOON, || made(1) > before + 10);
        over.store(true, Ordering::Relaxed);
        integration.join().unwrap()
    });
    assert_eq!(new.patients(&other), 200);
    // The last one stays.
    let last = new.selectors(&admin).remove(1);
    let refused = new.end_secret(&admin, &last);
    assert_eq!(
        (refused.status, refused.text("/code")),
        (409, "last_proof".to_owned())
    );
}

/// Both secrets are ended at once, each on a node of its own, while others end the same ones and a third is
/// added: at no time is the client left without a secret.
#[test]
fn ends_that_race_leave_a_secret() {
    let deployment = Deployment::new(Postgres::shared());
    let (nodes, admin, _) = two(&deployment);
    for turn in 0..5 {
        let key = Key::new(&admin, &format!("Lab {turn}"), READ);
        let new = key.rotate(&admin, 3_600);
        let both = key.selectors(&admin);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let ends: Vec<_> = (0..8)
                .map(|n| {
                    let admin = nodes[n % 2].signed_in("alder-admin");
                    let (key, selector) = (&key, &both[(n / 2) % 2]);
                    scope.spawn(move || key.end_secret(&admin, selector).status)
                })
                .collect();
            ends.into_iter().map(|end| end.join().unwrap()).collect()
        });
        let known = |status: &u16| [200, 409].contains(status);
        assert!(statuses.iter().all(known), "{statuses:?}");
        let left = [&key, &new].map(|key| key.token_from(&admin).status);
        assert!([[200, 401], [401, 200]].contains(&left), "{left:?}");
    }
}

#[test]
fn a_pause_counts_everywhere_and_ends_everywhere() {
    let deployment = Deployment::new(Postgres::shared());
    let (_nodes, admin, other) = two(&deployment);
    let key = Key::new(&admin, "Lab", READ);
    for _ in 0..5 {
        until(SOON, || key.patients(&other) == 200);
        key.turn(&admin, "disable");
        assert_eq!(key.patients(&admin), 401, "its own node at once");
        until(SOON, || key.patients(&other) == 401);
        throughout(Duration::from_millis(50), || {
            key.patients(&other) == 401 && key.token_from(&other).status == 401
        });
        key.turn(&admin, "enable");
        assert_eq!(key.patients(&admin), 200);
    }
}

#[test]
fn an_expiry_counts_everywhere_and_is_taken_back_everywhere() {
    let deployment = Deployment::new(Postgres::shared());
    let (_nodes, admin, other) = two(&deployment);
    let key = Key::new(&admin, "Lab", READ);
    assert_eq!(key.patients(&other), 200);
    let soon = deployment.sql("select to_json((now() + interval '5 seconds') at time zone 'UTC')");
    let soon = format!("{}Z", soon.trim_matches('"'));
    key.edit(&admin, &json!({"expires_at": soon}));
    let in_time = Duration::from_secs(5) + SOON;
    until(in_time, || key.patients(&admin) == 401);
    until(SOON, || key.patients(&other) == 401);
    assert_eq!(key.token_from(&other).status, 401);
    assert_eq!(admin.get(&key.path, &[]).text("/status"), "expired");
    key.edit(&admin, &json!({"expires_at": null}));
    assert_eq!(key.patients(&admin), 200, "the unexpired token is back");
    until(SOON, || key.patients(&other) == 200);
}

#[test]
fn all_keys_of_a_practice_end_everywhere_and_no_others() {
    let deployment = Deployment::new(Postgres::shared());
    let (nodes, admin, other) = two(&deployment);
    let birch = Key::new(&nodes[1].signed_in("birch-admin"), "Lab", READ);
    let keys: Vec<_> = (0..20)
        .map(|n| Key::new(&admin, &format!("Lab {n}"), READ))
        .collect();
    for key in &keys {
        assert_eq!(key.patients(&other), 200);
    }
    let path = format!("{CREDENTIALS}/revoke-all");
    let wrong = admin.json("POST", &path, &[], &json!({"confirm": "19"}));
    assert_eq!(wrong.status, 422, "{}", wrong.body);
    let done = admin.json("POST", &path, &[], &json!({"confirm": "20"}));
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(done.json()["revoked"], 20);
    for key in &keys {
        assert_eq!(key.patients(&admin), 401);
        until(SOON, || key.patients(&other) == 401);
    }
    assert_eq!(birch.patients(&other), 200);
    assert_eq!(birch.patients(&admin), 200);
    let left = admin.get(CREDENTIALS, &[]).json();
    assert_eq!(left["items"], json!([]));
}
