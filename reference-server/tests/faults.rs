//! What breaks while real nodes answer: never a stale yes beyond the bound, 503 while nothing can
//! be proven, and recovery without a restart.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/postgres.rs"]
mod postgres;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use common::{Client, Server};
use postgres::{CREDENTIALS, Deployment, Key, throughout, until};
use serde_json::json;
use test_postgres::Server as Postgres;

const READ: &[&str] = &["system/patients.read"];
const RECOVERY: Duration = Duration::from_secs(20);
/// `max_staleness` of the nodes here, and what a request itself may take on a busy machine.
const BOUND: Duration = Duration::from_millis(1_000 + 500);

/// Two nodes, an admin on the first, a client of the second, a key that both have seen.
struct Scene {
    _nodes: [Server; 2],
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
            _nodes: nodes,
            admin,
            other,
            key,
        }
    }

    /// A change on one node reaches the other again.
    fn works(&self) {
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

/// No yes later than the bound after the change had returned; 401 and 503 are both right.
fn never_stale(key: &Key, node: &Client, changed: Instant, watch: Duration) {
    while changed.elapsed() < watch {
        let asked = changed.elapsed();
        let status = key.patients(node);
        assert!(
            [401, 503].contains(&status) || asked < BOUND,
            "{status} for a check that began {asked:?} after the revocation returned"
        );
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
    assert_eq!(scene.other.get("/readyz", &[]).status, 503);
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
    postgres.sql("set synchronous_commit = local; alter system reset synchronous_standby_names");
    postgres.sql("select pg_reload_conf()");
    until(RECOVERY, || scene.key.patients(&scene.other) == 200);
    scene.works();
}

#[test]
fn blocked_catch_ups_end_in_reads_or_503_and_never_in_a_stale_yes() {
    let deployment = Deployment::new(Postgres::shared());
    let scene = Scene::new(&deployment);
    std::thread::scope(|scope| {
        // Nobody can write a heartbeat while this holds the table.
        let blocker = scope.spawn(|| {
            deployment.sql(
                "begin; lock table credential_management.node in access exclusive mode;
                 select pg_sleep(4); commit",
            )
        });
        until(RECOVERY, || {
            deployment.sql(
                "select count(*) from pg_locks where mode = 'AccessExclusiveLock'
                 and relation = 'credential_management.node'::regclass and granted",
            ) == "1"
        });
        scene.key.revoke(&scene.admin);
        #[expect(clippy::disallowed_methods, reason = "this is about real time")]
        never_stale(
            &scene.key,
            &scene.other,
            Instant::now(),
            Duration::from_secs(5),
        );
        blocker.join().unwrap();
    });
    scene.works();
}

/// Nodes are killed and the database is stopped without warning while admins work. Whatever was
/// acknowledged is there afterwards, with its audit event, and nothing is half done.
#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn every_acknowledged_change_survives_kills_and_crashes() {
    const WRITERS: usize = 4;
    const OPERATIONS: usize = 2_500;
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    let steady = deployment.node();
    let admin = steady.signed_in("alder-admin");
    let keys: Vec<Key> = (0..WRITERS)
        .map(|n| Key::new(&admin, &format!("key {n}"), &[]))
        .collect();
    let finished = Arc::new(AtomicBool::new(false));

    let acknowledged: Vec<HashMap<u64, &str>> = std::thread::scope(|scope| {
        let chaos = {
            let (finished, deployment, postgres) = (Arc::clone(&finished), &deployment, &postgres);
            scope.spawn(move || {
                let mut rounds = 0;
                while !finished.load(Ordering::SeqCst) || rounds < 3 {
                    let victim = deployment.node();
                    let admin = victim.signed_in("birch-admin");
                    std::thread::scope(|scope| {
                        scope
                            .spawn(|| {
                                // Dies with its node at some point; whatever it was told stands.
                                let name = format!("victim {rounds}");
                                let request = json!({"name": name, "api_type": "apiv2"});
                                admin.json("POST", CREDENTIALS, &[], &request);
                            })
                            .join()
                            .unwrap();
                    });
                    victim.signal("KILL");
                    postgres.stop_immediately();
                    postgres.start_again();
                    rounds += 1;
                }
                rounds
            })
        };
        let writers: Vec<_> = keys
            .iter()
            .map(|key| {
                let admin = admin.clone();
                scope.spawn(move || {
                    let mut acknowledged = HashMap::new();
                    for n in 0..OPERATIONS {
                        let wanted = if n % 2 == 0 {
                            "system/bills.read"
                        } else {
                            "system/vitals.read"
                        };
                        let path = format!("{}/scopes", key.path);
                        let body = json!({"scopes": [wanted]});
                        let answer = admin.json("PUT", &path, &[("if-match", "*")], &body);
                        if answer.status == 200 {
                            let version = answer.json()["credential"]["version"].as_u64().unwrap();
                            acknowledged.insert(version, wanted);
                        } else {
                            assert!([503, 412].contains(&answer.status), "{}", answer.body);
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        let acknowledged = writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect();
        finished.store(true, Ordering::SeqCst);
        let rounds = chaos.join().unwrap();
        assert!(rounds >= 3, "{rounds} crashes");
        acknowledged
    });

    until(RECOVERY, || admin.get("/readyz", &[]).status == 200);
    for (key, acknowledged) in keys.iter().zip(acknowledged) {
        assert!(
            acknowledged.len() > OPERATIONS / 4,
            "{} acknowledged",
            acknowledged.len()
        );
        let id = key.path.rsplit('/').next().unwrap();
        // Version n + 1 was made by the n-th change of scopes in the trail.
        let trail = deployment.sql(&format!(
            "select details::json->'scopes'->>0 from credential_management.audit_event
             where credential_id = '{id}'::uuid and action = 'credential.scopes_changed' order by seq"
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
    let verified = common::run(&[
        "audit",
        "verify",
        "--database-url",
        &deployment.url,
        "--keyring",
        postgres::KEYRING,
    ]);
    assert!(verified.status.success(), "{verified:?}");
}
