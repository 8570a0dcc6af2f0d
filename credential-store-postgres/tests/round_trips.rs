//! Round trips to the server, counted on the wire.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use credential_core::{
    manage::{CreateCredential, Created, Expected, IdempotencyKey, ScopeChoice, SetScopes},
    store::{
        CallCount, ChangeId, CredentialStore as _, Heartbeat, LastUse, MAX_CHANGES, Mark, NodeId,
        RefusalCount, RefusalNote, RefusedClient, ReplayId, ReplayQuery, UsageBatch,
        UsageStore as _,
    },
    testing::ManualClock,
};
use credential_store_postgres::{Pooler, PostgresStore};
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

/// The round trips of the longest transaction since the last call, begin and end included: the
/// change itself. The reads before it and the catch-up behind it may be transactions too.
fn of_the_change(log: &Log) -> usize {
    let exchanges = std::mem::take(&mut *log.lock().unwrap());
    let longest = exchanges
        .split_inclusive(|exchange| *exchange == Exchange::End)
        .filter_map(|until_end| {
            let begin = until_end.iter().position(|it| *it == Exchange::Begin)?;
            Some(until_end.len() - begin)
        })
        .max();
    longest.unwrap_or_else(|| panic!("a transaction expected: {exchanges:?}"))
}

/// All since the last call.
fn all(log: &Log) -> usize {
    let exchanges = std::mem::take(&mut *log.lock().unwrap());
    exchanges
        .iter()
        .filter(|exchange| **exchange != Exchange::Ping)
        .count()
}

/// The round trips of each call, once a connection has run all of them before.
#[derive(Debug, PartialEq, Eq)]
struct RoundTrips {
    insert: usize,
    insert_once: usize,
    replay: usize,
    replace: usize,
    revoke: usize,
    state: usize,
    state_by_proof: usize,
    catch_up: usize,
    record: usize,
}

#[expect(clippy::too_many_lines, reason = "one call after the other")]
async fn round_trips(pooler: Pooler) -> RoundTrips {
    let server = Server::start();
    let database = server.database();
    let log = tap(&server);
    let migrating = common::pool(&database.url()).await;
    PostgresStore::migrate(&migrating).await.unwrap();
    let url = format!("{}&port={PORT}&sslmode=disable", database.url());
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect(&url)
        .await
        .unwrap();
    let store = PostgresStore::behind(pooler, pool);
    let node = common::node(&store, &ManualClock::new());
    let admin = common::admin("alder");
    let mut latest = None;
    // The first round also prepares what is named, once per connection.
    for round in 0..2 {
        log.lock().unwrap().clear();
        let made = common::create(&node, "alder", &format!("key {round}")).await;
        let insert = of_the_change(&log);
        let once = IdempotencyKey::new(&format!("key {round}").replace(' ', "-")).unwrap();
        let request = CreateCredential {
            name: format!("once {round}").into(),
            api_type: "apiv2".into(),
            ..CreateCredential::default()
        };
        let manage = node.manage(&admin);
        let write = |_: &Created| "answer".to_owned().into();
        manage.create_once(&once, request, write).await.unwrap();
        let insert_once = of_the_change(&log);
        store
            .replay(&ReplayQuery {
                tenant: admin.tenant().clone(),
                ids: vec![ReplayId([0; 32])],
                effective_at: None,
            })
            .await
            .unwrap();
        let replay = all(&log);
        let wanted = SetScopes {
            choice: ScopeChoice::Named(vec!["system/bills.read".into()]).into(),
            ..SetScopes::default()
        };
        node.manage(&admin)
            .set_scopes(made.identity.id, Some(&Expected::Any), wanted)
            .await
            .unwrap();
        let replace = of_the_change(&log);
        node.manage(&admin)
            .revoke(made.identity.id, None)
            .await
            .unwrap();
        let revoke = of_the_change(&log);

        store.state(made.identity.id).await.unwrap();
        let state = all(&log);
        let selector = &made.settings.secrets[0].selector;
        store.state_by_proof(selector).await.unwrap();
        let state_by_proof = all(&log);
        let heartbeat = Heartbeat {
            node: NodeId([1; 16]),
            applied: Some(ChangeId {
                number: 4 * round,
                mark: Mark([0; 16]),
            }),
            max_changes: MAX_CHANGES,
            max_staleness: Duration::from_secs(1),
            issuer: "https://api.example.com".into(),
        };
        let changes = store.catch_up(&heartbeat).await.unwrap();
        assert_eq!(changes.items.unwrap().len(), 4);
        let catch_up = all(&log);
        let (credential_id, at) = (made.identity.id, made.identity.created_at);
        let refusal = RefusalCount {
            reason: "scope_missing".into(),
            needed_scope: None,
            method: None,
            address: None,
            at,
            last_at: at,
            count: 1,
        };
        let batch = UsageBatch {
            node: NodeId([1; 16]),
            number: round + 1,
            uses: vec![LastUse {
                credential_id,
                proof: *selector,
                at,
            }],
            calls: vec![CallCount {
                credential_id,
                day: at.day(),
                scopes: "system/patients.read".into(),
                allowed: 1,
                denied: 0,
                last_used_at: Some(at),
            }],
            refusals: vec![RefusalNote {
                client: RefusedClient::Proven(credential_id),
                refusal,
            }],
        };
        store.record(&batch).await.unwrap();
        latest = Some(RoundTrips {
            insert,
            insert_once,
            replay,
            replace,
            revoke,
            state,
            state_by_proof,
            catch_up,
            record: all(&log),
        });
    }
    latest.unwrap()
}

#[tokio::test]
async fn each_change_takes_five_round_trips_and_each_check_one() {
    let expected = RoundTrips {
        insert: 5,
        insert_once: 6,
        replay: 1,
        replace: 5,
        revoke: 5,
        state: 1,
        state_by_proof: 1,
        catch_up: 1,
        record: 1,
    };
    assert_eq!(round_trips(Pooler::None).await, expected);
}

/// Begin, prepare, run and commit, where names would save the preparing.
#[tokio::test]
async fn behind_a_pooler_each_change_takes_eight_and_each_check_four() {
    let expected = RoundTrips {
        insert: 8,
        insert_once: 10,
        replay: 4,
        replace: 8,
        revoke: 8,
        state: 4,
        state_by_proof: 4,
        catch_up: 4,
        record: 4,
    };
    assert_eq!(round_trips(Pooler::Transaction).await, expected);
}
