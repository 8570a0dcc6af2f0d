//! Round trips to the server, counted on the wire.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use std::{
    io,
    sync::{Arc, Mutex},
};

use credential_core::{
    manage::{Expected, ScopeChoice, SetScopes},
    store::CredentialStore as _,
    testing::ManualClock,
};
use credential_store_postgres::PostgresStore;
use sqlx::postgres::PgPoolOptions;
use test_postgres::Server;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf},
};

/// What the client waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exchange {
    Begin,
    End,
    /// Something prepared was run, or prepared.
    Statement,
    /// The pool's own look whether the connection is alive.
    Ping,
}

type Log = Arc<Mutex<Vec<Exchange>>>;

/// The port that the tap's socket is named after.
const PORT: u16 = 5433;

/// Passes everything on to the server and notes each exchange.
fn tap(server: &Server) -> Log {
    let log = Log::default();
    // In the server's own folder, which goes with it.
    let socket = format!(".s.PGSQL.{PORT}");
    let listener = UnixListener::bind(server.socket().with_file_name(socket)).unwrap();
    let (noted, socket) = (Arc::clone(&log), server.socket());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = UnixStream::connect(&socket).await.unwrap();
            let (from_client, mut to_client) = client.into_split();
            let (mut from_server, to_server) = server.into_split();
            let noted = Arc::clone(&noted);
            tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            tokio::spawn(requests(from_client, to_server, noted));
        }
    });
    log
}

async fn requests(
    mut client: OwnedReadHalf,
    mut server: tokio::net::unix::OwnedWriteHalf,
    log: Log,
) -> io::Result<()> {
    // The first message alone has no tag.
    let length = client.read_u32().await?;
    let mut startup = vec![0; length as usize - 4];
    client.read_exact(&mut startup).await?;
    server.write_u32(length).await?;
    server.write_all(&startup).await?;
    let mut since_sync = 0;
    loop {
        let tag = client.read_u8().await?;
        let length = client.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        client.read_exact(&mut body).await?;
        let exchange = match tag {
            b'Q' if body.starts_with(b"begin") => Some(Exchange::Begin),
            b'Q' if body.starts_with(b"commit") || body.starts_with(b"rollback") => {
                Some(Exchange::End)
            }
            b'S' if since_sync == 0 => Some(Exchange::Ping),
            b'Q' | b'S' => Some(Exchange::Statement),
            _ => None,
        };
        since_sync = if exchange.is_some() {
            0
        } else {
            since_sync + 1
        };
        // Before it is passed on, so that it is noted when the answer is there.
        log.lock().unwrap().extend(exchange);
        server.write_u8(tag).await?;
        server.write_u32(length).await?;
        server.write_all(&body).await?;
    }
}

/// The round trips of the one transaction since the last call, begin and end included.
fn of_the_transaction(log: &Log) -> usize {
    let exchanges = std::mem::take(&mut *log.lock().unwrap());
    let begins: Vec<_> = (0..exchanges.len())
        .filter(|at| exchanges[*at] == Exchange::Begin)
        .collect();
    let ends: Vec<_> = (0..exchanges.len())
        .filter(|at| exchanges[*at] == Exchange::End)
        .collect();
    let ([begin], [end]) = (&*begins, &*ends) else {
        panic!("one transaction expected: {exchanges:?}");
    };
    end - begin + 1
}

fn statements(log: &Log) -> usize {
    let exchanges = std::mem::take(&mut *log.lock().unwrap());
    exchanges
        .iter()
        .filter(|exchange| **exchange != Exchange::Ping)
        .count()
}

#[tokio::test]
async fn each_change_takes_five_round_trips_and_each_check_one() {
    let server = Server::start();
    let database = server.database();
    let log = tap(&server);
    let url = format!("{}&port={PORT}&sslmode=disable", database.url());
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect(&url)
        .await
        .unwrap();
    PostgresStore::migrate(&pool).await.unwrap();
    let store = PostgresStore::new(pool);
    let node = common::node(&store, &ManualClock::new());
    let admin = common::admin("alder");
    let scopes = |names: &[&str]| SetScopes {
        choice: Some(ScopeChoice::Named(
            names.iter().map(|&name| name.into()).collect(),
        )),
        api_type: None,
        faults: Vec::new(),
    };
    // The first round also prepares the statements, once per connection.
    for round in 0..2 {
        log.lock().unwrap().clear();
        let made = common::create(&node, "alder", &format!("key {round}")).await;
        let insert = of_the_transaction(&log);
        let wanted = scopes(&["system/bills.read"]);
        node.set_scopes(&admin, made.id, Some(&Expected::Any), wanted)
            .await
            .unwrap();
        let replace = of_the_transaction(&log);
        node.revoke(&admin, made.id, None).await.unwrap();
        let revoke = of_the_transaction(&log);

        store.state(made.id).await.unwrap();
        let state = statements(&log);
        store
            .state_by_selector(&made.secrets[0].selector)
            .await
            .unwrap();
        let by_selector = statements(&log);
        if round > 0 {
            assert_eq!((insert, replace, revoke), (5, 5, 5));
            assert_eq!((state, by_selector), (1, 1));
        }
    }
    let heartbeat = credential_core::store::Heartbeat {
        node: credential_core::store::NodeId([1; 16]),
        applied: Some(0),
        max_staleness: std::time::Duration::from_secs(1),
        at: credential_core::clock::Timestamp::UNIX_EPOCH,
    };
    log.lock().unwrap().clear();
    assert_eq!(
        store
            .catch_up(&heartbeat)
            .await
            .unwrap()
            .items
            .unwrap()
            .len(),
        6
    );
    assert_eq!(statements(&log), 1);
}
