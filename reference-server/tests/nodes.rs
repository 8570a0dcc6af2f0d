//! Two real nodes on one real PostgreSQL.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/postgres.rs"]
mod postgres;

use std::time::Duration;

use common::{CREDENTIALS, Client, KEYRING, Key, READ, Server, run, throughout, until};
use postgres::Deployment;
use serde_json::json;
use test_postgres::Server as Postgres;

fn admin_of(node: &Server) -> Client {
    node.signed_in("alder-admin")
}

/// The bound is one second; these machines are shared, so the test allows a few.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_change_on_one_node_is_in_the_others_answers() {
    let deployment = Deployment::new(Postgres::shared());
    let (first, second) = (deployment.node(), deployment.node());
    let (admin, other) = (admin_of(&first), second.client());
    let key = Key::new(&admin, "Lab", READ);
    assert_eq!(
        key.patients(&other),
        200,
        "issued by one, accepted by the other"
    );
    for _ in 0..20 {
        key.set_scopes(&admin, &[]);
        assert_eq!(key.patients(&admin), 403, "its own node at once");
        until(SOON, || key.patients(&other) == 403);
        throughout(Duration::from_millis(20), || key.patients(&other) == 403);
        key.set_scopes(&admin, READ);
        assert_eq!(key.patients(&admin), 200);
        until(SOON, || key.patients(&other) == 200);
    }
    let metrics = other.get("/metrics", &[]).body;
    assert!(metrics.contains("credential_change_delay_seconds_count "));
    key.revoke(&admin);
    assert_eq!(key.patients(&admin), 401);
    until(SOON, || key.patients(&other) == 401);
    until(SOON, || key.token_from(&other).status == 401);
    throughout(Duration::from_millis(50), || key.patients(&other) == 401);
}

/// Networks are part of what each check reads: they count as at once as a revocation.
#[test]
fn a_change_of_networks_is_in_the_others_answers() {
    let deployment = Deployment::new(Postgres::shared());
    let trusted = ["--trusted-proxies", "127.0.0.1"];
    let (first, second) = (
        deployment.node_with(&trusted),
        deployment.node_with(&trusted),
    );
    let (admin, other) = (admin_of(&first), second.client());
    let key = Key::new(&admin, "Lab", READ);
    let authorization = format!("Bearer {}", key.token);
    let from = |node: &Client, address: &str| {
        let headers = [
            ("authorization", &*authorization),
            ("x-forwarded-for", address),
        ];
        node.get("/api/2.0/patients/", &headers).status
    };
    let (office, elsewhere) = ("198.51.100.7", "2001:db8::7");
    assert_eq!(from(&other, elsewhere), 200);
    for _ in 0..10 {
        key.set_networks(&admin, &["198.51.100.0/24"]);
        assert_eq!(from(&admin, elsewhere), 403, "its own node at once");
        assert_eq!(from(&admin, office), 200);
        until(SOON, || from(&other, elsewhere) == 403);
        throughout(Duration::from_millis(20), || {
            from(&other, elsewhere) == 403 && from(&other, office) == 200
        });
        key.set_networks(&admin, &["2001:db8::/32"]);
        assert_eq!(from(&admin, office), 403);
        until(SOON, || from(&other, office) == 403);
        assert_eq!(from(&other, elsewhere), 200);
        key.set_networks(&admin, &[]);
        until(SOON, || from(&other, office) == 200);
    }
    // A token that the other node has not seen, and its client.
    key.set_networks(&admin, &["198.51.100.0/24"]);
    until(SOON, || key.token_from(&other).status == 401);
    key.set_networks(&admin, &[]);
    until(SOON, || key.token_from(&other).status == 200);
}

#[test]
fn credentials_and_revoked_tokens_survive_a_restart() {
    let deployment = Deployment::new(Postgres::shared());
    let node = deployment.node();
    let admin = admin_of(&node);
    let key = Key::new(&admin, "Lab", READ);
    let spared = key.token_from(&admin).text("/access_token");
    let fields = [
        ("client_id", &*key.client_id),
        ("client_secret", &key.secret),
        ("token", &key.token),
    ];
    assert_eq!(admin.form("/oauth2/revoke", &fields).status, 200);
    assert_eq!(key.patients(&admin), 401);
    assert_eq!(node.stop().code, Some(0));

    let node = deployment.node();
    let admin = admin_of(&node);
    assert_eq!(key.patients(&admin), 401, "still revoked");
    assert_eq!(admin.call("GET", "/api/2.0/patients/", &spared).status, 200);
    assert_eq!(key.token_from(&admin).status, 200);
    let listed = admin.get(CREDENTIALS, &[]).json();
    assert_eq!(listed["items"][0]["name"], "Lab");
    assert!(
        listed["items"][0]["last_used_at"].is_string(),
        "written at shutdown"
    );
}

#[test]
fn limits_and_names_hold_when_two_nodes_race() {
    let deployment = Deployment::new(Postgres::shared());
    let nodes = [deployment.node(), deployment.node()];
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let creators: Vec<_> = (0..32)
            .map(|n| {
                let admin = admin_of(nodes.get(n % 2).unwrap());
                scope.spawn(move || {
                    let request = json!({"name": "the same", "api_type": "apiv2"});
                    admin.json("POST", CREDENTIALS, &[], &request).status
                })
            })
            .collect();
        creators
            .into_iter()
            .map(|creator| creator.join().unwrap())
            .collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 201).count(),
        1,
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|status| [201, 409].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(
        deployment.sql("select count(*) from credential_management.credential"),
        "1"
    );
    assert_eq!(
        deployment.sql("select count(*) from credential_management.audit_event"),
        "1"
    );
}

#[test]
fn of_two_edits_on_one_version_one_wins() {
    let deployment = Deployment::new(Postgres::shared());
    let (first, second) = (deployment.node(), deployment.node());
    let admins = [admin_of(&first), admin_of(&second)];
    let key = Key::new(&admins[0], "Lab", READ);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let edits: Vec<_> = admins
            .iter()
            .zip(["system/bills.read", "system/vitals.read"])
            .map(|(admin, scope_name)| {
                let path = format!("{}/scopes", key.path);
                scope.spawn(move || {
                    let body = json!({"scopes": [scope_name]});
                    admin.json("PUT", &path, &[("if-match", "\"1\"")], &body)
                })
            })
            .collect();
        edits.into_iter().map(|edit| edit.join().unwrap()).collect()
    });
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let late = answers.iter().find(|answer| answer.status == 412).unwrap();
    assert_eq!(late.text("/code"), "stale_version");
}

#[test]
fn a_node_says_what_is_missing_before_it_starts() {
    let postgres = Postgres::shared();
    let empty = postgres.database();
    let fails = |arguments: &[&str], code: i32, words: &str| {
        let output = run(&[&["--listen", "127.0.0.1:0"], arguments].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(words), "{message}");
    };
    let url = empty.url();
    fails(&["--database-url", &url], 2, "reference-server keygen");
    let with_keyring = ["--keyring", KEYRING, "--database-url", &url];
    fails(&with_keyring, 1, "reference-server migrate");
    let nowhere = "postgres://nobody:secret-word@127.0.0.1:1/none";
    // A command; a node would wait for its database.
    let verify = ["audit", "verify"];
    let output = run(&[
        &verify[..],
        &["--keyring", KEYRING, "--database-url", nowhere],
    ]
    .concat());
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        message.contains("could not connect to PostgreSQL"),
        "{message}"
    );
    assert!(!message.contains("secret-word"), "{message}");

    let deployment = Deployment::new(postgres);
    let first = deployment.node();
    Key::new(&admin_of(&first), "Lab", READ);
    let other_bytes = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh4=";
    let other = ["--keyring", other_bytes, "--database-url", &deployment.url];
    fails(&other, 1, "the key `k1`");
    let elsewhere = ["--issuer", "https://elsewhere.example.com"];
    let other = [
        &elsewhere[..],
        &["--keyring", KEYRING, "--database-url", &deployment.url],
    ];
    for issuer in ["https://elsewhere.example.com", "https://api.example.com"] {
        fails(&other.concat(), 1, issuer);
    }
    drop(first);
}

#[test]
fn the_audit_trail_is_verified_from_the_command_line() {
    let deployment = Deployment::new(Postgres::shared());
    let node = deployment.node();
    let admin = admin_of(&node);
    let key = Key::new(&admin, "Lab", READ);
    key.set_scopes(&admin, &[]);
    key.revoke(&admin);
    Key::new(&node.signed_in("birch-admin"), "Imaging", READ);
    let verify = || {
        let output = run(&[
            "audit",
            "verify",
            "--database-url",
            &deployment.url,
            "--keyring",
            KEYRING,
        ]);
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, printed) = verify();
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(printed, "");

    deployment.sql(
        "update credential_management.audit_event set actor = 'somebody-else'
         where tenant_id = 'alder' and seq = 2",
    );
    let (code, printed) = verify();
    assert_eq!(code, Some(1));
    assert!(
        printed.starts_with("alder: 3 rows, BROKEN: audit row 2 "),
        "{printed}"
    );
    deployment
        .sql("delete from credential_management.audit_event where tenant_id = 'alder' and seq = 1");
    assert!(verify().1.contains("BROKEN: audit row 1 "));
}

#[test]
fn warm_checks_cause_no_transactions() {
    let deployment = Deployment::new(Postgres::shared());
    let node = deployment.node_with(&["--max-staleness", "10s"]);
    let admin = admin_of(&node);
    let key = Key::new(&admin, "Lab", READ);
    assert_eq!(key.patients(&admin), 200);
    let reads = |admin: &Client| {
        let metrics = admin.get("/metrics", &[]).body;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("credential_state_reads_total{outcome=\"ok\"}"))
            .unwrap()
            .to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let before = reads(&admin);
    for _ in 0..2_000 {
        assert_eq!(key.patients(&admin), 200);
    }
    assert_eq!(reads(&admin), before);
    let details = admin.get("/readyz", &[]).json();
    assert_eq!(details["store"], "postgresql");
    assert_eq!(details["listener"], "listening", "{details}");
}

/// Started before its database, a node waits and says so; told to stop while it waits, it stops.
#[test]
fn a_node_waits_for_its_database() {
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    postgres.stop_immediately();
    let started = std::thread::scope(|scope| {
        let node = scope.spawn(|| deployment.node());
        let url = deployment.url.clone();
        let at = ["--listen", "127.0.0.1:0", "--database-url", &url];
        let mut waits = common::command(&[&at[..], &["--keyring", KEYRING]].concat())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = std::io::BufReader::new(waits.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("waiting for it") {
            assert_ne!(
                std::io::BufRead::read_line(&mut log, &mut said).unwrap(),
                0,
                "{said}"
            );
        }
        let told = std::process::Command::new("kill")
            .arg(waits.id().to_string())
            .status();
        assert!(told.unwrap().success());
        assert_eq!(waits.wait().unwrap().code(), Some(0));
        postgres.start_again();
        node.join().unwrap()
    });
    assert_eq!(started.client().get("/readyz", &[]).status, 200);
    let log = started.stop().log;
    // Once, or not at all if the database was there again before it looked.
    assert!(log.matches("waiting for it").count() <= 1, "{log}");
}

/// What SQL alone has changed is not in the change log; `invalidate` makes every node look.
#[test]
fn a_change_by_sql_counts_after_invalidate() {
    let deployment = Deployment::new(Postgres::shared());
    let nodes = [deployment.node(), deployment.node()];
    let key = Key::new(&admin_of(&nodes[0]), "Lab", READ);
    let clients = nodes.each_ref().map(Server::client);
    for client in &clients {
        assert_eq!(key.patients(client), 200);
    }
    deployment.sql(
        "update credential_management.credential set revoked_at = now(), revoked_by = 'operator'",
    );
    for client in &clients {
        assert_eq!(key.patients(client), 200, "nobody told it");
    }
    let done = run(&["invalidate", "--database-url", &deployment.url]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(done.stdout, b"every node starts anew\n");
    for client in &clients {
        until(SOON, || key.patients(client) == 401);
    }
}
