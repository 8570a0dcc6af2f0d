//! What breaks while real nodes answer: never a stale yes beyond the bound, 503 while nothing can
//! be proven, and recovery without a restart.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/postgres.rs"]
mod postgres;

use std::{
    collections::HashMap,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use common::{BOUND, CREDENTIALS, Client, Key, READ, RECOVERY, Server, throughout, until};
use postgres::Deployment;
use serde_json::json;
use test_postgres::Server as Postgres;

/// Two nodes, an admin on the first, a client of the second, a key that both have seen.
struct Scene {
    nodes: [Server; 2],
    admin: Client,
    other: Client,
    key: Key,
}

impl Scene {
    fn new(deployment: &Deployment<'_>) -> Self {
        let nodes = [deployment.node(), deployment.node()];
        let admin = nodes[0].signed_in("alder-admin");
        let other = nodes[1].client();
        let key = Key::new(&admin, "Lab", READ);
        assert_eq!(key.patients(&other), 200);
        Self {
            nodes,
            admin,
            other,
            key,
        }
    }

    /// Both nodes recover, and a change on one reaches the other again.
    fn works(&self) {
        for node in [&self.admin, &self.other] {
            until(RECOVERY, || node.get("/readyz", &[]).status == 200);
        }
        let fresh = Key::new(
            &self.admin,
            &format!("again {:?}", self.key.path.len()),
            READ,
        );
        until(RECOVERY, || fresh.patients(&self.other) == 200);
        fresh.revoke(&self.admin);
        until(RECOVERY, || fresh.patients(&self.other) == 401);
    }
}

/// No yes later than the bound after the change had returned; every refusal and 503 are right.
fn never_stale(key: &Key, node: &Client, changed: Instant, watch: Duration) {
    while changed.elapsed() < watch {
        let asked = changed.elapsed();
        let status = key.patients(node);
        assert!(
            [401, 403, 503].contains(&status) || asked < BOUND,
            "{status} for a check that began {asked:?} after the change returned"
        );
    }
}

/// What an admin does to a key.
type End = fn(&Key, &Client);

/// Each change after which a key is refused: with 401, or with 403 if it comes from elsewhere.
const ENDS: [(&str, End); 5] = [
    ("revoked", |key, admin| {
        key.revoke(admin);
    }),
    ("disabled", |key, admin| key.turn(admin, "disable")),
    ("rotated", |key, admin| {
        let path = format!("{}/secrets", key.path);
        let body = json!({"overlap_seconds": 0});
        assert_eq!(admin.json("POST", &path, &[], &body).status, 201);
    }),
    ("bound to networks", |key, admin| {
        key.edit(admin, &json!({"allowed_networks": ["192.0.2.0/24"]}));
    }),
    ("all revoked", |_, admin| revoke_all(admin)),
];

fn revoke_all(admin: &Client) {
    let listed = admin.get(CREDENTIALS, &[]).json();
    let count = listed["items"].as_array().unwrap().len().to_string();
    let path = format!("{CREDENTIALS}/revoke-all");
    let revoked = admin.json("POST", &path, &[], &json!({"confirm": count}));
    assert_eq!(revoked.status, 200, "{}", revoked.body);
}

/// Nodes that cannot reach the database say no, and never yes from before, to every kind of change.
#[test]
fn every_end_counts_on_a_node_that_cannot_catch_up() {
    let deployment = Deployment::new(Postgres::shared());
    for (name, change) in ENDS {
        let scene = Scene::new(&deployment);
        let lock = deployment.hold("lock table credential_management.node in exclusive mode");
        change(&scene.key, &scene.admin);
        #[expect(clippy::disallowed_methods, reason = "this is about real time")]
        let changed = Instant::now();
        never_stale(&scene.key, &scene.other, changed, Duration::from_secs(4));
        drop(lock);
        never_stale(&scene.key, &scene.other, changed, Duration::from_secs(5));
        until(RECOVERY, || {
            [401, 403].contains(&scene.key.patients(&scene.other))
        });
        assert_eq!(scene.key.token_from(&scene.other).status, 401, "{name}");
        revoke_all(&scene.admin);
    }
}

#[test]
fn a_killed_listener_costs_at_most_an_interval() {
    let deployment = Deployment::new(Postgres::shared());
    let scene = Scene::new(&deployment);
    until(RECOVERY, || {
        scene.other.get("/readyz", &[]).json()["listener"] == "listening"
    });
    deployment.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where application_name = 'credential-listener' and datname = current_database()",
    );
    scene.key.revoke(&scene.admin);
    #[expect(clippy::disallowed_methods, reason = "this is about real time")]
    never_stale(
        &scene.key,
        &scene.other,
        Instant::now(),
        Duration::from_secs(2),
    );
    until(RECOVERY, || {
        scene.other.get("/readyz", &[]).json()["listener"] == "listening"
    });
    scene.works();
}

/// The listener's connection stays open and delivers nothing, as when its packets are dropped:
/// changes are learned of one catch-up interval later.
#[test]
fn a_deaf_listener_costs_at_most_an_interval() {
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    let scene = Scene::new(&deployment);
    for node in [&scene.admin, &scene.other] {
        until(RECOVERY, || {
            node.get("/readyz", &[]).json()["listener"] == "listening"
        });
    }
    let backends = deployment.sql(
        "select pid from pg_stat_activity
         where application_name = 'credential-listener' and datname = current_database()",
    );
    assert_eq!(backends.lines().count(), 2, "one of each node");
    let freeze = |signal: &str| {
        for pid in backends.lines() {
            let status = Command::new("kill").args(["-s", signal, pid]).status();
            assert!(status.unwrap().success());
        }
    };
    freeze("STOP");
    for (name, change) in ENDS {
        let key = Key::new(&scene.admin, name, READ);
        assert_eq!(key.patients(&scene.other), 200);
        change(&key, &scene.admin);
        #[expect(clippy::disallowed_methods, reason = "this is about real time")]
        never_stale(&key, &scene.other, Instant::now(), Duration::from_secs(2));
        // Caught up without being woken.
        until(RECOVERY, || {
            [401, 403].contains(&key.patients(&scene.other))
        });
    }
    freeze("CONT");
    scene.works();
}

/// Forty requests of one practice on a node wait for a lock, or are told to come back. Another practice's
/// keys are checked as ever, and its revocation counts there as soon as anywhere.
#[test]
fn a_practice_that_waits_for_a_lock_delays_no_other() {
    let deployment = Deployment::new(Postgres::shared());
    let scene = Scene::new(&deployment);
    let birch = scene.nodes[0].signed_in("birch-admin");
    let birch_there = scene.nodes[1].signed_in("birch-admin");
    let (warm, key) = (
        Key::new(&birch, "Warm", READ),
        Key::new(&birch, "Lab", READ),
    );
    until(RECOVERY, || warm.patients(&scene.other) == 200);
    assert_eq!(key.patients(&scene.other), 200);
    let second_admin = scene.nodes[1].signed_in("alder-admin");
    let lock = deployment
        .hold("select id from credential_management.tenant where id = 'alder' for update");
    std::thread::scope(|scope| {
        for _ in 0..40 {
            let (admin, busy) = (&second_admin, &scene.key);
            scope.spawn(move || {
                let path = format!("{}/scopes", busy.path);
                let body = json!({"scopes": []});
                let answer = admin.json("PUT", &path, &[("if-match", "*")], &body);
                let expected = [200, 412, 429, 503];
                assert!(expected.contains(&answer.status), "{}", answer.body);
            });
        }
        // As many as one practice's admins have places for: one behind the lock's owner, the others
        // behind that one.
        until(RECOVERY, || {
            let waiting = deployment.sql(
                "select count(*) from pg_stat_activity
                 where datname = current_database() and wait_event in ('tuple', 'transactionid')",
            );
            waiting.parse::<usize>().unwrap() >= 3
        });
        key.revoke(&birch);
        #[expect(clippy::disallowed_methods, reason = "this is about real time")]
        let changed = Instant::now();
        while changed.elapsed() < Duration::from_secs(3) {
            let asked = changed.elapsed();
            let status = key.patients(&scene.other);
            assert!(status == 401 || asked < BOUND, "{status} after {asked:?}");
            assert_eq!(
                warm.patients(&scene.other),
                200,
                "a warm check waits for nothing"
            );
            assert_eq!(birch_there.get(CREDENTIALS, &[]).status, 200);
        }
        drop(lock);
    });
    scene.works();
}

#[test]
fn a_frozen_database_ends_in_503_and_never_in_a_stale_yes() {
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    let scene = Scene::new(&deployment);
    postgres.pause();
    // Within the bound the cache may still answer; then nothing can be proven.
    until(Duration::from_secs(20), || {
        scene.key.patients(&scene.other) == 503
    });
    // Whoever asks whether the node is ready waits for nothing, and makes no check wait.
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(scene.other.get("/readyz", &[]).status, 503));
        }
        for _ in 0..10 {
            let took = until(Duration::from_secs(5), || {
                scene.key.patients(&scene.other) == 503
            });
            assert!(took < Duration::from_secs(3), "503 after {took:?}");
        }
    });
    assert_eq!(scene.other.get("/livez", &[]).status, 200);
    let refused = scene
        .other
        .call("GET", "/api/2.0/patients/", &scene.key.token);
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert_eq!(scene.key.token_from(&scene.other).status, 503);
    postgres.resume();
    until(RECOVERY, || scene.key.patients(&scene.other) == 200);
    scene.works();
}

#[test]
fn an_immediate_restart_of_the_database_loses_nothing() {
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    let scene = Scene::new(&deployment);
    scene.key.revoke(&scene.admin);
    postgres.stop_immediately();
    #[expect(clippy::disallowed_methods, reason = "this is about real time")]
    let changed = Instant::now();
    never_stale(&scene.key, &scene.other, changed, Duration::from_secs(2));
    postgres.start_again();
    until(RECOVERY, || scene.key.patients(&scene.other) == 401);
    until(RECOVERY, || scene.other.get("/readyz", &[]).status == 200);
    scene.works();
}

#[test]
fn a_primary_without_its_synchronous_standby_proves_nothing() {
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    let scene = Scene::new(&deployment);
    postgres.sql("alter system set synchronous_standby_names = 'unreachable'");
    postgres.sql("select pg_reload_conf()");
    until(Duration::from_secs(20), || {
        scene.key.patients(&scene.other) == 503
    });
    throughout(Duration::from_secs(1), || {
        scene.key.patients(&scene.other) == 503
    });
    postgres.sql("alter system reset synchronous_standby_names");
    postgres.sql("select pg_reload_conf()");
    until(RECOVERY, || scene.key.patients(&scene.other) == 200);
    scene.works();
}

#[test]
fn blocked_catch_ups_end_in_reads_or_503_and_never_in_a_stale_yes() {
    let deployment = Deployment::new(Postgres::shared());
    let scene = Scene::new(&deployment);
    // Nobody can write a heartbeat while this holds the table.
    let lock = deployment.hold("lock table credential_management.node in access exclusive mode");
    scene.key.revoke(&scene.admin);
    #[expect(clippy::disallowed_methods, reason = "this is about real time")]
    let changed = Instant::now();
    never_stale(&scene.key, &scene.other, changed, Duration::from_secs(4));
    drop(lock);
    never_stale(&scene.key, &scene.other, changed, Duration::from_secs(5));
    scene.works();
}

/// Acknowledged changes of one key: the scope that each version was given.
type Acknowledged = HashMap<u64, &'static str>;

/// Changes one key's scopes until so many changes were acknowledged, whatever happens meanwhile.
fn work(admin: &Client, key: &Key, operations: usize, done: &AtomicUsize) -> Acknowledged {
    let path = format!("{}/scopes", key.path);
    let mut acknowledged = Acknowledged::new();
    let mut scopes = ["system/bills.read", "system/vitals.read"]
        .into_iter()
        .cycle();
    while acknowledged.len() < operations {
        let wanted = scopes.next().unwrap();
        let body = json!({"scopes": [wanted]});
        let answer = admin.json("PUT", &path, &[("if-match", "*")], &body);
        if answer.status == 200 {
            let version = answer.json()["credential"]["version"].as_u64().unwrap();
            acknowledged.insert(version, wanted);
            done.fetch_add(1, Ordering::SeqCst);
        } else {
            // 429 where calls that wait for the database have taken the tenant's places.
            let expected = [412, 429, 503].contains(&answer.status);
            assert!(expected, "{}", answer.body);
        }
    }
    acknowledged
}

/// Nodes are killed and the database is stopped without warning during 10 000 changes. Whatever
/// was acknowledged is there afterwards, with its audit event, and nothing is half done.
#[test]
fn every_acknowledged_change_survives_kills_and_crashes() {
    const WRITERS: usize = 4;
    const OPERATIONS: usize = 2_500;
    const CRASHES: usize = 8;
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    let steady = deployment.node();
    let admin = steady.signed_in("alder-admin");
    let keys: Vec<Key> = (0..WRITERS)
        .map(|n| Key::new(&admin, &format!("key {n}"), READ))
        .collect();
    let done = AtomicUsize::new(0);

    let acknowledged: Vec<Acknowledged> = std::thread::scope(|scope| {
        let writers: Vec<_> = keys
            .iter()
            .map(|key| scope.spawn(|| work(&admin, key, OPERATIONS, &done)))
            .collect();
        for crash in 1..=CRASHES {
            let victim = deployment.node();
            let created = victim.signed_in("birch-admin").json(
                "POST",
                CREDENTIALS,
                &[],
                &json!({"name": format!("victim {crash}"), "api_type": "apiv2"}),
            );
            assert_eq!(created.status, 201, "{}", created.body);
            let enough = WRITERS * OPERATIONS * crash / (CRASHES + 1);
            until(Duration::from_mins(2), || {
                done.load(Ordering::SeqCst) >= enough
            });
            victim.signal("KILL");
            postgres.stop_immediately();
            postgres.start_again();
        }
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });

    until(RECOVERY, || admin.get("/readyz", &[]).status == 200);
    for (key, acknowledged) in keys.iter().zip(acknowledged) {
        let id = key.path.rsplit('/').next().unwrap();
        // Version n + 1 was made by the n-th change of scopes in the trail.
        let trail = deployment.sql(&format!(
            "select details::json->'scopes'->>0 from credential_management.audit_event
             where credential_id = '{id}'::uuid and action = 'credential.scopes_changed'
             order by seq"
        ));
        let trail: Vec<&str> = trail.lines().collect();
        for (version, scope) in acknowledged {
            let place = usize::try_from(version).unwrap() - 2;
            assert_eq!(trail.get(place), Some(&scope), "version {version}");
        }
        let now = admin.get(&key.path, &[]).json();
        assert_eq!(
            now["version"],
            trail.len() as u64 + 1,
            "nothing is half done"
        );
        assert_eq!(now["scopes"][0].as_str(), trail.last().copied());
    }
    let victims = "select count(*) from credential_management.credential where tenant_id = 'birch'";
    assert_eq!(
        deployment.sql(victims),
        CRASHES.to_string(),
        "acknowledged by nodes now dead"
    );
    let arguments = ["audit", "verify", "--database-url", &deployment.url];
    let verified = common::run(&[&arguments[..], &["--keyring", common::KEYRING]].concat());
    assert!(verified.status.success(), "{verified:?}");
}
