//! Where calls come from, at the real server: told by its own connections, and by a real proxy.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

#[path = "../../credential-axum/tests/common/addresses.rs"]
mod addresses;
mod common;
#[path = "common/proxy.rs"]
mod proxy;

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
};

use addresses::{Caller, List, Table};
use common::{Client, Key, READ, Server, connect_from};
use proxy::Proxy;

/// As most people configure it: the address that nginx sees comes last.
const APPENDED: &str = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";

fn behind(server: &Server) -> Proxy {
    let upstream = server.base.clone();
    Proxy::nginx(
        "",
        &format!("location / {{ {APPENDED} proxy_pass {upstream}; }}"),
    )
}

/// A key for each list of networks.
fn keys<'a>(table: &'a Table, server: &Server) -> Vec<(&'a List, Key)> {
    let admin = server.signed_in("alder-admin");
    let key = |list: &'a List| {
        let key = Key::new(&admin, &format!("List {}", list.name), READ);
        key.set_networks(&admin, &list.networks);
        (list, key)
    };
    table.lists.iter().map(key).collect()
}

/// Whether its connection can come from this machine.
fn is_here(caller: &Caller) -> bool {
    caller.peer == Some(Ipv4Addr::LOCALHOST.into())
}

fn called(client: &Client, caller: &Caller, key: &Key) -> u16 {
    let authorization = format!("Bearer {}", key.token);
    let mut headers = vec![("authorization", &*authorization)];
    headers.extend(caller.forwarded.iter().map(|it| ("x-forwarded-for", &**it)));
    client.get("/api/2.0/patients/", &headers).status
}

/// Every list of networks against every caller whose connection can come from here. nginx adds 127.0.0.1,
/// which is a trusted proxy, so both ways in decide alike.
#[test]
fn the_table_holds_directly_and_behind_nginx() {
    let table = Table::read();
    let server = Server::start(&["--trusted-proxies", &table.trusted.join(",")]);
    let nginx = behind(&server);
    let clients = [server.client(), Client::new(&nginx.base())];
    let mut decided = 0;
    for (list, key) in keys(&table, &server) {
        for caller in table.callers.iter().filter(|it| is_here(it)) {
            let expected = if caller.is_in(list) { 200 } else { 403 };
            for (client, way) in clients.iter().zip(["directly", "behind nginx"]) {
                let what = format!("{way}, line {}, list {}", caller.line, list.name);
                assert_eq!(called(client, caller, &key), expected, "{what}");
                decided += 1;
            }
        }
    }
    assert!(decided >= 2 * 40 * 25, "{decided}");
    assert_eq!(nginx.log(), "");
}

/// The answer's status to one call over a connection from that address of this machine.
fn called_from(source: &str, address: SocketAddr, key: &Key, forwarded: &[String]) -> u16 {
    let forwarded = forwarded
        .iter()
        .map(|it| format!("X-Forwarded-For: {it}\r\n"));
    let request = format!(
        "GET /api/2.0/patients/ HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\n{}\r\n",
        key.token,
        forwarded.collect::<String>()
    );
    let mut stream = connect_from(source, address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// What a client says of itself changes nothing, directly and behind nginx.
#[test]
fn nobody_chooses_an_address() {
    let table = Table::read();
    let server = Server::start(&["--trusted-proxies", "127.0.0.1,10.0.0.0/8"]);
    let nginx = behind(&server);
    let admin = server.signed_in("alder-admin");
    let own = Key::new(&admin, "Own", READ);
    own.set_networks(&admin, &["127.0.0.2"]);
    let foreign = Key::new(&admin, "Foreign", READ);
    foreign.set_networks(
        &admin,
        &[
            "198.51.100.0/24",
            "10.0.0.0/8",
            "127.0.0.1",
            "2001:db8::/32",
        ],
    );
    for caller in table.callers.iter().filter(|it| is_here(it)) {
        let said = &caller.forwarded;
        let what = format!("line {}", caller.line);
        // Not one of the proxies: whatever it says is not read.
        let direct = |key| called_from("127.0.0.2", server.address(), key, said);
        assert_eq!((direct(&own), direct(&foreign)), (200, 403), "{what}");
        // nginx adds the true address. What was no list of addresses before is none then either.
        let through = |key| called_from("127.0.0.2", nginx.address, key, said);
        let expected = if caller.address.is_some() { 200 } else { 403 };
        assert_eq!(
            (through(&own), through(&foreign)),
            (expected, 403),
            "{what}"
        );
    }
}

/// Everybody may say what they like then.
#[test]
fn to_trust_everybody_is_a_warning() {
    for (trusted, warned) in [
        ("127.0.0.1,0.0.0.0/0", true),
        ("::/0", true),
        ("10.0.0.0/8", false),
    ] {
        let log = Server::start(&["--trusted-proxies", trusted]).stop().log;
        assert_eq!(log.contains("names everybody"), warned, "{trusted}: {log}");
    }
}

/// Without the option nobody is believed, and the peer counts.
#[test]
fn by_default_the_peer_counts() {
    let server = Server::start(&[]);
    let admin = server.signed_in("alder-admin");
    let key = Key::new(&admin, "Own", READ);
    key.set_networks(&admin, &["127.0.0.2"]);
    let address = server.address();
    let said = ["127.0.0.2".to_owned()];
    assert_eq!(called_from("127.0.0.2", address, &key, &[]), 200);
    assert_eq!(called_from("127.0.0.1", address, &key, &[]), 403);
    assert_eq!(called_from("127.0.0.1", address, &key, &said), 403);
    assert_eq!(key.token_from(&server.client()).status, 401);
    key.set_networks(&admin, &["127.0.0.0/8"]);
    assert_eq!(called_from("127.0.0.1", address, &key, &[]), 200);
    assert_eq!(key.token_from(&server.client()).status, 200);
}
