//! What stands before PostgreSQL is found out, with real servers and poolers.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

use std::{
    path::{Path, PathBuf},
    str::FromStr as _,
};

use credential_store_postgres::Pooler;
use sqlx::postgres::PgConnectOptions;
use test_postgres::{PgBouncer, Server};
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
};

async fn found(url: &str) -> Pooler {
    let options = PgConnectOptions::from_str(url).unwrap();
    Pooler::detect(&options).await.unwrap()
}

/// What is found twice: when the pooler has just started, and when it has sessions open.
async fn found_behind(settings: &[&str]) -> [Pooler; 2] {
    let server = Server::start();
    let database = server.database();
    let bouncer = PgBouncer::start_with(&server, settings);
    let url = bouncer.url(&database);
    [found(&url).await, found(&url).await]
}

#[tokio::test]
async fn a_direct_connection_is_never_taken_for_a_pooler() {
    let database = Server::shared().database();
    let others: Vec<_> = (0..4)
        .map(|_| {
            let url = database.url();
            tokio::spawn(async move {
                for _ in 0..10 {
                    assert_eq!(found(&url).await, Pooler::None);
                }
            })
        })
        .collect();
    for other in others {
        other.await.unwrap();
    }
}

#[tokio::test]
async fn pgbouncer_as_it_comes() {
    assert_eq!(found_behind(&[]).await, [Pooler::Transaction; 2]);
}

#[tokio::test]
async fn one_session_for_all() {
    let settings = ["default_pool_size = 1"];
    assert_eq!(found_behind(&settings).await, [Pooler::Transaction; 2]);
}

#[tokio::test]
async fn sessions_that_take_turns() {
    let settings = ["server_round_robin = 1", "min_pool_size = 3"];
    assert_eq!(found_behind(&settings).await, [Pooler::Transaction; 2]);
}

/// It cannot be told from the outside, and what is right everywhere is right there.
#[tokio::test]
async fn session_mode_is_taken_for_transaction_mode() {
    let settings = ["pool_mode = session"];
    assert_eq!(found_behind(&settings).await, [Pooler::Transaction; 2]);
}

/// No two connections of ours share a pooler until the fifth.
#[tokio::test]
async fn four_poolers_behind_one_address() {
    let server = Server::start();
    let database = server.database();
    let bouncers: [_; 4] = std::array::from_fn(|_| PgBouncer::start(&server));
    let balancer = bouncers[0].socket().with_file_name(".s.PGSQL.7000");
    balance(&balancer, bouncers.each_ref().map(PgBouncer::socket));
    let url = format!("{}&port=7000", bouncers[0].url(&database));
    assert_eq!(found(&url).await, Pooler::Transaction);
}

/// Passes connections on to the targets in turns.
fn balance(address: &Path, targets: [PathBuf; 4]) {
    let listener = UnixListener::bind(address).unwrap();
    tokio::spawn(async move {
        for target in targets.iter().cycle() {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = UnixStream::connect(target).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let options = PgConnectOptions::from_str("postgres://nobody@127.0.0.1:1/none").unwrap();
    let error = Pooler::detect(&options).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not detect whether there is a pooler in front of PostgreSQL"
    );
}
