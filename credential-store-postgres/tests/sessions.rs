//! Server sessions of calls that were given up: never more than the pool has, and one that ends
//! them.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use common::heartbeat;
use credential_core::{id::CredentialId, store::CredentialStore as _};
use credential_store_postgres::PostgresStore;
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use test_postgres::{Database, Forwarder, Server};
use tokio::{task::JoinSet, time::timeout};

/// The pool's size.
const POOL: u32 = 5;
/// The pool, the connection that catches up, and the one that ends sessions.
const SESSIONS: i64 = POOL as i64 + 2;
/// What a call may take, with a margin for a busy machine.
const IN_TIME: Duration = Duration::from_secs(20);
/// How long the callers here wait: core waits for longer, and then goes on just the same.
const PATIENCE: Duration = Duration::from_millis(100);
/// As long as one that was given up may stay, several times over.
const A_WHILE: Duration = Duration::from_secs(8);

/// How many lists of sessions in a row are compared.
const LISTS: usize = 20;

const NOBODY: CredentialId = CredentialId::from_bytes([0; 16]);

async fn store_at(url: &str) -> (Arc<PostgresStore>, PgPool) {
    let pool = PgPoolOptions::new()
        .max_connections(POOL)
        .acquire_timeout(Duration::from_secs(2))
        .connect(url)
        .await
        .unwrap();
    PostgresStore::migrate(&pool).await.unwrap();
    // Shared, not cloned: a clone is another node's, and catches up on a connection of its own.
    let store = Arc::new(PostgresStore::new(pool.clone()));
    store.state(NOBODY).await.unwrap();
    (store, pool)
}

/// A connection beside the node's.
async fn beside(database: &Database<'_>) -> PgConnection {
    let options: PgConnectOptions = database.url().parse().unwrap();
    options.application_name("beside").connect().await.unwrap()
}

/// The node's server sessions. The server reads its list entry by entry: of two sessions that follow
/// each other it may show both.
async fn sessions(beside: &mut PgConnection) -> BTreeSet<i32> {
    let sessions: Vec<i32> = sqlx::query_scalar(
        "select pid from pg_stat_activity
        where datname = current_database() and application_name <> 'beside'
            and backend_type = 'client backend'",
    )
    .fetch_all(beside)
    .await
    .unwrap();
    sessions.into_iter().collect()
}

/// Callers that give up and try again, in turns, for a while; the most sessions that there were.
async fn most_sessions(store: &Arc<PostgresStore>, beside: &mut PgConnection) -> i64 {
    let mut callers = JoinSet::new();
    for caller in 0..20 {
        let store = Arc::clone(store);
        callers.spawn(async move {
            loop {
                if caller % 2 == 0 {
                    let beat = timeout(PATIENCE, store.catch_up(&heartbeat(caller))).await;
                    assert!(!matches!(beat, Ok(Ok(_))), "a heartbeat was confirmed");
                } else {
                    let _given_up = timeout(PATIENCE, store.state(NOBODY)).await;
                }
            }
        });
    }
    let mut most = 0;
    let watch = async {
        let mut lists = VecDeque::new();
        loop {
            lists.push_back(sessions(beside).await);
            // What stays in so many lists was there all the time. One that waits would stay for seconds; one that
            // is ending or beginning does not.
            if lists.len() == LISTS {
                let last = lists.pop_front().unwrap();
                let stayed = last
                    .iter()
                    .filter(|it| lists.iter().all(|list| list.contains(it)));
                most = most.max(i64::try_from(stayed.count()).unwrap());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(A_WHILE, watch).await.unwrap_err();
    assert!(callers.try_join_next().is_none(), "a caller ended badly");
    callers.shutdown().await;
    most
}

async fn works_again(store: &PostgresStore) {
    let work = async {
        while store.catch_up(&heartbeat(100)).await.is_err() {
            tokio::task::yield_now().await;
        }
        store.state(NOBODY).await.unwrap();
    };
    timeout(IN_TIME, work).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_costs_no_more_sessions_than_the_pool_has() {
    let server = Server::start();
    let database = server.database();
    let (store, _pool) = store_at(&database.url()).await;
    let (mut blocker, mut beside) = (beside(&database).await, beside(&database).await);
    let mut locked = blocker.begin().await.unwrap();
    sqlx::query(
        "lock table credential_management.change_counter, credential_management.node
        in access exclusive mode",
    )
    .execute(&mut *locked)
    .await
    .unwrap();
    let most = most_sessions(&store, &mut beside).await;
    assert!((2..=SESSIONS).contains(&most), "{most} sessions");
    none_waits(&mut beside).await;
    locked.rollback().await.unwrap();
    works_again(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_standby_costs_no_more_sessions_than_the_pool_has() {
    let primary = Server::start();
    let database = primary.database();
    let (store, _pool) = store_at(&database.url()).await;
    let standby = primary.standby("s1");
    primary.set("synchronous_standby_names", "s1");
    store.catch_up(&heartbeat(100)).await.unwrap();
    let mut beside = beside(&database).await;
    standby.pause();
    // No heartbeat is confirmed, however often its session was ended in the wait for the standby.
    let most = most_sessions(&store, &mut beside).await;
    assert!((2..=SESSIONS).contains(&most), "{most} sessions");
    none_waits(&mut beside).await;
    standby.resume();
    works_again(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_hang_up_cost_no_session() {
    let server = Server::start();
    let database = server.database();
    let (store, pool) = store_at(&database.url()).await;
    let mut beside = beside(&database).await;
    // The pool is as large as it gets.
    let mut all = Vec::new();
    for _ in 0..POOL {
        all.push(pool.acquire().await.unwrap());
    }
    drop(all);
    let before = sessions(&mut beside).await;
    for round in 0..200_u8 {
        for _ in 0..3 {
            tokio::select! {
                biased;
                _ = store.state(NOBODY) => {}
                // At another place each time.
                () = turns(u32::from(round) % 40) => {}
            }
        }
        store.state(NOBODY).await.unwrap();
    }
    let after = sessions(&mut beside).await;
    // Few: a call that takes longer than its grace costs its session, as it should.
    let anew = after.difference(&before).count();
    assert!(anew <= 2, "opened anew: {after:?}, not {before:?}");
}

async fn turns(count: u32) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// The connections of running calls carry nothing more and do not end; new ones work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_behind_connections_that_died_silently_are_ended() {
    let server = Server::start();
    let database = server.database();
    let forwarder = Forwarder::start(&server);
    let (store, _pool) = store_at(&forwarder.url(database.name())).await;
    let (mut blocker, mut beside) = (beside(&database).await, beside(&database).await);
    let mut locked = blocker.begin().await.unwrap();
    sqlx::query("lock table credential_management.change_counter in access exclusive mode")
        .execute(&mut *locked)
        .await
        .unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        let store = Arc::clone(&store);
        calls.spawn(async move { store.state(NOBODY).await.map(|_| ()) });
    }
    let all_wait = async {
        while waiting(&mut beside).await != 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(IN_TIME, all_wait).await.unwrap();
    forwarder.silence();
    calls.shutdown().await;
    none_waits(&mut beside).await;
    locked.rollback().await.unwrap();
    works_again(&store).await;
}

/// Sessions that wait for a lock or for a standby.
async fn waiting(beside: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database()
        and (wait_event_type = 'Lock' or wait_event = 'SyncRep')",
    )
    .fetch_one(beside)
    .await
    .unwrap()
}

/// Sessions that wait have been ended, though what they wait for is still away.
async fn none_waits(beside: &mut PgConnection) {
    let ended = async {
        while waiting(beside).await != 0 {
            tokio::task::yield_now().await;
        }
    };
    if timeout(IN_TIME, ended).await.is_err() {
        let left: Vec<String> = sqlx::query_scalar(
            "select a::text from pg_stat_activity as a where datname = current_database()",
        )
        .fetch_all(beside)
        .await
        .unwrap();
        panic!("still waiting: {left:#?}");
    }
}
