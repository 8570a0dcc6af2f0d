//! Behind real proxies: a stranger's refused request fails nobody, and neither does a restart.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/proxy.rs"]
mod proxy;

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{Client, Key, RECOVERY as STARTED, SaysOver, Server, own_address, until};
use postgres::Deployment;
use proxy::Proxy;
use test_postgres::Server as Postgres;

/// One `upstream` with these nodes, in nginx's words.
fn upstream(nodes: &[SocketAddr], more: &str) -> String {
    let servers: Vec<_> = nodes.iter().map(|it| format!("server {it};")).collect();
    format!("upstream nodes {{ {} {more} }}", servers.concat())
}

const KEPT: &str = "location / {
    proxy_pass http://nodes;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
}";
const KEPT_UNBUFFERED: &str = "location / {
    proxy_pass http://nodes;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_request_buffering off;
}";
const OLD: &str = "location / { proxy_pass http://nodes; }";
const OLD_UNBUFFERED: &str = "location / { proxy_pass http://nodes; proxy_request_buffering off; }";

/// What an early refusal costs a proxy: nothing. nginx takes a node whose connection is reset for
/// failed, for ten seconds and for everybody.
#[test]
fn a_refused_body_fails_no_upstream() {
    let nodes = [Server::start(&[]), Server::start(&[])];
    let addresses = nodes.each_ref().map(Server::address);
    for count in [1, 2] {
        for (keepalive, location) in [
            ("keepalive 8;", KEPT),
            ("keepalive 8;", KEPT_UNBUFFERED),
            ("", OLD),
            ("", OLD_UNBUFFERED),
        ] {
            let nginx = Proxy::nginx(&upstream(&addresses[..count], keepalive), location);
            // A connection each: unbuffered, nginx itself ends its client's without a word.
            let stranger = || Client::new(&nginx.base());
            for size in [20, 20_000, 1_000_000, 3_000_000] {
                let body = "x".repeat(size);
                for _ in 0..8 {
                    let what = format!("{count} {keepalive} {location} {size}");
                    for (path, status) in [("/api/2.0/patients/", 401), ("/nowhere", 404)] {
                        let answer = stranger().send("POST", path, &[], Some(&body));
                        assert_eq!(answer.status, status, "{what}");
                    }
                    assert_eq!(stranger().get("/livez", &[]).status, 200, "{what}");
                }
            }
            assert_eq!(nginx.log(), "", "{count} {keepalive} {location}");
        }
    }
}

/// How many restarts; `ROLLING_RESTARTS=8` for as many as the figure in docs/operations.md.
fn restarts() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a setting of this test alone")]
    let wanted = std::env::var("ROLLING_RESTARTS");
    wanted.map_or(2, |wanted| wanted.parse().unwrap())
}

/// Restarts the nodes in turn under load. Every request through the proxy must be answered as without.
fn roll(proxy: impl FnOnce(&[SocketAddr; 2]) -> Proxy) {
    const CLIENTS: usize = 8;
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // A failed test before this one is no fault of this one.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let deployment = Deployment::new(Postgres::shared());
    let addresses = [own_address(), own_address()];
    let start = |address: SocketAddr| {
        let address = address.to_string();
        // Room for a machine that stands still for a moment: this is about restarts.
        let patient = ["--drain", "5s", "--max-staleness", "10s"];
        deployment.node_with(&[&["--listen", &address][..], &patient].concat())
    };
    let mut nodes = addresses.map(start);
    let admin = nodes[0].signed_in("alder-admin");
    let key = Key::new(&admin, "Lab", &["system/patients.read"]);
    let proxy = proxy(&addresses);
    let through = Client::new(&proxy.base());
    until(STARTED, || through.get("/readyz", &[]).status == 200);

    let over = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    let failed = std::thread::scope(|scope| {
        let _end = SaysOver(&over);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let client = Client::new(&proxy.base());
                    let mut failed = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let read = client.call("GET", "/api/2.0/patients/", &key.token);
                        let token = key.token_from(&client);
                        let answers = [read, token].map(|it| (it.status, it.body));
                        failed.extend(answers.into_iter().filter(|(status, _)| *status != 200));
                        answered.fetch_add(2, Ordering::Relaxed);
                        // The nodes that start need the processor as well.
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    failed
                })
            })
            .collect();
        for turn in 0..restarts() {
            let turn = turn % nodes.len();
            let before = answered.load(Ordering::Relaxed);
            nodes[turn].signal("TERM");
            assert_eq!(nodes[turn].wait(), Some(0));
            nodes[turn] = start(addresses[turn]);
            // The load goes on, and the proxy has found the node again.
            let direct = nodes[turn].client();
            until(STARTED, || direct.get("/readyz", &[]).status == 200);
            let seen = || -> usize {
                let metrics = direct.get("/metrics", &[]).body;
                let guarded = metrics.lines().find(|line| {
                    line.starts_with("http_requests_total") && line.contains("/oauth2/token")
                });
                guarded.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
            };
            until(Duration::from_mins(1), || seen() > 0);
            assert!(answered.load(Ordering::Relaxed) > before);
        }
        over.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect::<Vec<_>>()
    });
    let answered = answered.load(Ordering::Relaxed);
    let first = failed.first();
    assert_eq!(failed.len(), 0, "of {answered}, the first with {first:?}");
    #[expect(clippy::print_stdout, reason = "the figure, for whoever asks for it")]
    {
        println!("0 of {answered} requests failed");
    }
}

#[test]
fn no_request_fails_while_nodes_restart_behind_haproxy() {
    roll(|[a, b]| {
        Proxy::haproxy(
            "    option redispatch
    retries 3
    retry-on conn-failure empty-response",
            &format!(
                "    option httpchk GET /readyz
    http-check expect status 200
    timeout check 5s
    default-server check inter 250ms fall 2 rise 1
    server a {a}
    server b {b}"
            ),
        )
    });
}

#[test]
fn no_request_fails_while_nodes_restart_behind_nginx() {
    roll(|nodes| {
        let servers: Vec<_> = nodes
            .iter()
            .map(|it| format!("server {it} fail_timeout=1s;"))
            .collect();
        let upstream = format!("upstream nodes {{ {} keepalive 16; }}", servers.concat());
        Proxy::nginx(&upstream, KEPT)
    });
}
