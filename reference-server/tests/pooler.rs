//! Real nodes behind a real PgBouncer in transaction mode, which nobody has told them of.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/postgres.rs"]
mod postgres;

use std::time::{Duration, Instant};

use common::{CREDENTIALS, Client, KEYRING, Key, READ, RECOVERY, Server, run, throughout, until};
use postgres::Deployment;
use test_postgres::{PgBouncer, Server as Postgres};

/// `max_staleness` of the nodes here: after it `effective_everywhere_at` has come.
const PROMISED: Duration = Duration::from_secs(1);

#[expect(clippy::disallowed_methods, reason = "these tests are about real time")]
fn now() -> Instant {
    Instant::now()
}

/// A node gives these answers; none but the last for a check that begins once the promised time is
/// over. How long that took.
fn becomes(right: u16, wrong: u16, changed: Instant, mut ask: impl FnMut() -> u16) -> Duration {
    loop {
        let asked = changed.elapsed();
        let status = ask();
        if status == right {
            return changed.elapsed();
        }
        assert!(
            status == 503 || (status == wrong && asked < PROMISED),
            "{status} for a check that began {asked:?} after the change returned"
        );
        assert!(asked < RECOVERY, "still {status} after {asked:?}");
    }
}

fn listener(node: &Client) -> String {
    node.get("/readyz", &[]).text("/listener")
}

#[test]
fn changes_reach_the_other_node_in_the_promised_time() {
    let postgres = Postgres::start();
    let bouncer = PgBouncer::start(&postgres);
    let deployment = Deployment::behind(&bouncer, &postgres);
    let (first, second) = (deployment.node(), deployment.node());
    let (admin, other) = (first.signed_in("alder-admin"), second.client());
    for node in [&admin, &other] {
        assert_eq!(node.get("/readyz", &[]).status, 200);
        assert_eq!(listener(node), "behind a pooler");
        let metrics = node.get("/metrics", &[]).body;
        assert!(metrics.contains("credential_listener_up 0"), "{metrics}");
    }
    let key = Key::new(&admin, "Lab", READ);
    assert_eq!(key.patients(&other), 200);
    let mut delays = Vec::new();
    for _ in 0..10 {
        key.set_scopes(&admin, &[]);
        let changed = now();
        assert_eq!(key.patients(&admin), 403, "its own node at once");
        delays.push(becomes(403, 200, changed, || key.patients(&other)));
        key.set_scopes(&admin, READ);
        let changed = now();
        assert_eq!(key.patients(&admin), 200);
        delays.push(becomes(200, 403, changed, || key.patients(&other)));
    }
    key.revoke(&admin);
    let changed = now();
    assert_eq!(key.patients(&admin), 401);
    delays.push(becomes(401, 200, changed, || key.patients(&other)));
    throughout(Duration::from_millis(300), || key.patients(&other) == 401);
    delays.sort_unstable();
    let median = delays[delays.len() / 2];
    assert!(median < PROMISED, "{delays:?}");

    let log = first.stop().log;
    assert!(log.contains("pooler=transaction"), "{log}");
    assert_eq!(log.matches("do not wake this one").count(), 1, "{log}");
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn last_use_and_the_audit_trail_go_through() {
    let postgres = Postgres::start();
    let bouncer = PgBouncer::start(&postgres);
    let deployment = Deployment::behind(&bouncer, &postgres);
    let node = deployment.node();
    let key = Key::new(&node.signed_in("alder-admin"), "Lab", READ);
    assert_eq!(key.patients(&node.client()), 200);
    assert_eq!(node.stop().code, Some(0));

    let node = deployment.node();
    let listed = node.signed_in("alder-admin").get(CREDENTIALS, &[]).json();
    assert!(listed["items"][0]["last_used_at"].is_string(), "{listed}");

    let verify = || {
        let arguments = ["audit", "verify", "--database-url", &deployment.url];
        run(&[&arguments[..], &["--keyring", KEYRING]].concat())
    };
    let verified = verify();
    let printed = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(0), "{printed}");
    deployment.sql("update credential_management.audit_event set actor = 'somebody-else'");
    assert_eq!(verify().status.code(), Some(1));
}

#[test]
fn migrations_are_refused_and_told_where_to_go() {
    let postgres = Postgres::start();
    let bouncer = PgBouncer::start(&postgres);
    let database = postgres.database();
    let url = bouncer.url(&database);
    for more in [&[][..], &["--database-pooler", "transaction"]] {
        let refused = run(&[&["migrate", "--database-url", &url][..], more].concat());
        let message = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{message}");
        assert!(
            message.contains("connect to PostgreSQL itself"),
            "{message}"
        );
    }
    // Whoever knows better says so.
    let direct = database.url();
    for more in [&[][..], &["--database-pooler", "none"]] {
        let done = run(&[&["migrate", "--database-url", &direct][..], more].concat());
        assert!(done.status.success(), "{done:?}");
    }
    let nowhere = run(&[
        "migrate",
        "--database-url",
        &direct,
        "--database-pooler",
        "transaction",
    ]);
    assert_eq!(nowhere.status.code(), Some(1), "taken at its word");
}

/// The pooler dies under one node while another, which needs none, goes on and revokes.
#[test]
fn a_dead_pooler_ends_in_503_and_never_in_a_stale_yes() {
    let postgres = Postgres::start();
    let mut bouncer = PgBouncer::start(&postgres);
    let deployment = Deployment::behind(&bouncer, &postgres);
    let (direct, behind) = (deployment.direct_node(), deployment.node());
    let (admin, other) = (direct.signed_in("alder-admin"), behind.client());
    until(RECOVERY, || listener(&admin) == "listening");
    let (kept, revoked) = (
        Key::new(&admin, "kept", READ),
        Key::new(&admin, "revoked", READ),
    );
    for key in [&kept, &revoked] {
        assert_eq!(key.patients(&other), 200);
    }

    bouncer.kill();
    revoked.revoke(&admin);
    let changed = now();
    while changed.elapsed() < 2 * PROMISED {
        let asked = changed.elapsed();
        let status = revoked.patients(&other);
        assert!(
            status == 503 || (status == 200 && asked < PROMISED),
            "{status} for a check that began {asked:?} after the revocation returned"
        );
    }
    throughout(Duration::from_secs(1), || kept.patients(&other) == 503);
    assert_eq!(other.get("/readyz", &[]).status, 503);
    assert_eq!(other.get("/livez", &[]).status, 200);
    assert_eq!(kept.patients(&admin), 200, "the other node goes on");

    bouncer.start_again();
    until(RECOVERY, || kept.patients(&other) == 200);
    assert_eq!(revoked.patients(&other), 401);
    until(RECOVERY, || other.get("/readyz", &[]).status == 200);
    assert_eq!(listener(&other), "behind a pooler");
    let back = behind.signed_in("alder-admin");
    let fresh = Key::new(&back, "afterwards", READ);
    until(RECOVERY, || fresh.patients(&admin) == 200);
    fresh.revoke(&back);
    becomes(401, 200, now(), || fresh.patients(&admin));
}

/// More nodes and connections than the pooler has sessions: they wait for each other and nothing is
/// lost.
#[test]
fn many_nodes_share_a_few_sessions() {
    let postgres = Postgres::start();
    let bouncer = PgBouncer::start_with(&postgres, &["default_pool_size = 2"]);
    let deployment = Deployment::behind(&bouncer, &postgres);
    let nodes: [Server; 4] = std::array::from_fn(|_| deployment.node());
    std::thread::scope(|scope| {
        for (n, node) in nodes.iter().enumerate() {
            let others = &nodes;
            scope.spawn(move || {
                let admin = node.signed_in("alder-admin");
                for round in 0..5 {
                    let key = Key::new(&admin, &format!("key {n} {round}"), READ);
                    key.revoke(&admin);
                    let changed = now();
                    for other in others {
                        becomes(401, 200, changed, || key.patients(&other.client()));
                    }
                }
            });
        }
    });
    let revoked = "select count(*) from credential_management.credential
        where revoked_at is not null";
    assert_eq!(deployment.sql(revoked), "20");
}
