//! A request whose answer was lost is sent again: real nodes, a real database, `kill -9`.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/postgres.rs"]
mod postgres;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

use common::{Answer, CREDENTIALS, Client, Server, until};
use postgres::Deployment;
use serde_json::json;
use test_postgres::Server as Postgres;

const SOON: Duration = Duration::from_secs(10);

/// Sends a create on a connection of its own and reads nothing of the answer.
fn begin(node: &Server, name: &str) -> TcpStream {
    let mut signing_in = TcpStream::connect(node.address()).unwrap();
    let form = "user=alder-admin";
    write!(
        signing_in,
        "POST /sign-in HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\
        content-type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    )
    .unwrap();
    let mut answer = String::new();
    signing_in.read_to_string(&mut answer).unwrap();
    let (_, cookie) = answer
        .split_once("set-cookie: ")
        .unwrap_or_else(|| panic!("no session: {answer}"));
    let (cookie, _) = cookie.split_once(';').unwrap();

    let mut stream = TcpStream::connect(node.address()).unwrap();
    let body = wanted(name).to_string();
    write!(
        stream,
        "POST {CREDENTIALS} HTTP/1.1\r\nhost: localhost\r\ncookie: {cookie}\r\n\
        content-type: application/json\r\nidempotency-key: {}\r\ncontent-length: {}\r\n\r\n{body}",
        key(name),
        body.len()
    )
    .unwrap();
    stream
}

fn wanted(name: &str) -> serde_json::Value {
    json!({"name": name, "api_type": "apiv2", "scopes": ["system/patients.read"]})
}

fn key(name: &str) -> String {
    format!("\"{}\"", name.replace(' ', "-"))
}

fn create(admin: &Client, name: &str) -> Answer {
    let key = key(name);
    admin.json(
        "POST",
        CREDENTIALS,
        &[("idempotency-key", &key)],
        &wanted(name),
    )
}

fn works(node: &Client, created: &Answer) {
    let (id, secret) = (
        created.text("/credential/client_id"),
        created.text("/client_secret"),
    );
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", &*id),
        ("client_secret", &secret),
    ];
    assert_eq!(node.form("/oauth2/token", &fields).status, 200);
}

/// A node is killed at some moment of a create: in the midst of it, or right after the commit. The other node
/// answers the retry, and there is one credential with one secret.
#[test]
fn a_node_that_is_killed_leaves_one_credential_and_its_secret() {
    let deployment = Deployment::new(Postgres::shared());
    let other = deployment.node();
    let admin = other.signed_in("alder-admin");
    for (n, after) in [None, Some(5), Some(20), Some(50), Some(90)]
        .into_iter()
        .enumerate()
    {
        let node = deployment.node();
        let name = format!("key {n}");
        let connection = begin(&node, &name);
        let committed = || {
            let sql =
                format!("select id from credential_management.credential where name = '{name}'");
            deployment.sql(&sql)
        };
        match after {
            None => _ = until(SOON, || !committed().is_empty()),
            Some(millis) => thread::sleep(Duration::from_millis(millis)),
        }
        node.signal("KILL");
        node.stop_is_over();
        drop(connection);
        let before = committed();
        let created = create(&admin, &name);
        assert_eq!(created.status, 201, "{}", created.body);
        let id = created.text("/credential/id");
        let once = committed().replace('-', "");
        assert_eq!(once, id, "one row");
        if !before.is_empty() {
            assert_eq!(before.replace('-', ""), id, "what was committed before");
        }
        works(&admin, &created);
        assert_eq!(create(&admin, &name).body, created.body);
    }
}

/// Ten at once on each of two nodes, and then the same to both: one credential.
#[test]
fn two_nodes_make_one_of_many_equal_requests() {
    let deployment = Deployment::new(Postgres::shared());
    let nodes = [deployment.node(), deployment.node()];
    let admins = nodes.each_ref().map(|node| node.signed_in("alder-admin"));
    let answers: Vec<Answer> = thread::scope(|scope| {
        let sent: Vec<_> = (0..20)
            .map(|n| {
                let admin = &admins[n % 2];
                scope.spawn(move || create(admin, "Lab"))
            })
            .collect();
        sent.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let (done, others): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 201);
    assert!(!done.is_empty());
    for answer in others {
        assert_eq!(
            (answer.status, &*answer.text("/code")),
            (409, "idempotency_in_progress")
        );
    }
    for admin in &admins {
        let again = create(admin, "Lab");
        assert_eq!(again.status, 201);
        assert!(done.iter().all(|it| it.body == again.body));
        works(admin, &again);
        let other = json!({"name": "Lab", "api_type": "fhir"});
        let reused = admin.json("POST", CREDENTIALS, &[("idempotency-key", "Lab")], &other);
        assert_eq!(
            (reused.status, &*reused.text("/code")),
            (422, "idempotency_key_reused")
        );
    }
    let count = "select count(*) from credential_management.credential";
    assert_eq!(deployment.sql(count), "1");
}
