//! LISTEN and NOTIFY: a change on one node wakes another, also after the connection was lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use std::time::Duration;

use credential_core::{store::CredentialStore as _, testing::ManualClock};
use credential_store_postgres::{ListenerState, PostgresStore};
use tokio::time::timeout;

/// Long enough for any machine; nothing waits that long unless it is broken.
const SOON: Duration = Duration::from_secs(20);

/// Another node's store: a pool and a listening connection of its own.
async fn other_node(fresh: &common::Fresh) -> PostgresStore {
    PostgresStore::new(common::pool(&fresh.database.url()).await)
}

/// Once it hears, it says so by a first wake-up.
async fn listening(store: &PostgresStore) {
    timeout(SOON, store.wake_up()).await.unwrap();
    assert_eq!(store.listener_state(), ListenerState::Listening);
}

#[tokio::test]
async fn a_change_wakes_another_node() {
    let fresh = common::fresh().await;
    let other = other_node(&fresh).await;
    assert_eq!(other.listener_state(), ListenerState::NotStarted);
    listening(&other).await;
    let node = common::node(&fresh.store, &ManualClock::new());
    common::create(&node, "alder", "Lab").await;
    timeout(SOON, other.wake_up()).await.unwrap();
}

/// Several changes between two calls are one wake-up, and none is forgotten.
#[tokio::test]
async fn a_change_between_two_calls_is_not_missed() {
    let fresh = common::fresh().await;
    let (one, two) = (other_node(&fresh).await, other_node(&fresh).await);
    listening(&one).await;
    listening(&two).await;
    let clone = one.clone();
    let node = common::node(&fresh.store, &ManualClock::new());
    common::create(&node, "alder", "Lab").await;
    // When `two` has heard of it, `one` hears of it too, with nobody waiting there; and so does a
    // clone, apart from its original.
    timeout(SOON, two.wake_up()).await.unwrap();
    timeout(SOON, one.wake_up()).await.unwrap();
    timeout(SOON, clone.wake_up()).await.unwrap();
}

#[tokio::test]
async fn a_terminated_listener_comes_back() {
    let fresh = common::fresh().await;
    let other = other_node(&fresh).await;
    listening(&other).await;
    let ended: Vec<bool> = sqlx::query_scalar(
        "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'credential-listener'",
    )
    .fetch_all(&fresh.pool)
    .await
    .unwrap();
    assert_eq!(ended, [true]);
    // The wake-up after the new connection: something may have been missed.
    listening(&other).await;
    let node = common::node(&fresh.store, &ManualClock::new());
    common::create(&node, "alder", "Lab").await;
    timeout(SOON, other.wake_up()).await.unwrap();
}

/// A host may have set another password since: the listener that comes back connects with the options of
/// now, as does the connection that tests it.
#[tokio::test]
async fn a_listener_that_comes_back_uses_the_options_of_now() {
    let fresh = common::fresh().await;
    let pool = common::pool(&fresh.database.url()).await;
    let other = PostgresStore::new(pool.clone());
    listening(&other).await;
    let role = format!("later_{}", fresh.database.name());
    fresh
        .database
        .query(&format!("create role {role} superuser login"));
    let options = pool.connect_options().as_ref().clone().username(&role);
    pool.set_connect_options(options);
    let listeners = |select: &str| {
        fresh.database.query(&format!(
            "select {select} from pg_stat_activity
            where datname = current_database() and application_name = 'credential-listener'"
        ))
    };
    assert_eq!(listeners("pg_terminate_backend(pid)"), "t");
    listening(&other).await;
    // The one before may still be saying goodbye.
    for _ in 0..1_000 {
        if listeners("usename") == role {
            break;
        }
    }
    assert_eq!(listeners("usename"), role);
}

#[tokio::test]
async fn the_listener_takes_no_connection_of_the_pool() {
    let fresh = common::fresh().await;
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .connect(&fresh.database.url())
        .await
        .unwrap();
    let other = PostgresStore::new(pool.clone());
    let _all_there_is = pool.acquire().await.unwrap();
    listening(&other).await;
}

#[tokio::test]
async fn the_listening_connection_ends_with_the_last_clone() {
    let fresh = common::fresh().await;
    let other = other_node(&fresh).await;
    let clone = other.clone();
    listening(&other).await;
    drop(other);
    let node = common::node(&fresh.store, &ManualClock::new());
    common::create(&node, "alder", "Lab").await;
    timeout(SOON, clone.wake_up()).await.unwrap();
    drop(clone);
    let gone = async {
        loop {
            let open: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity
                where datname = current_database() and application_name = 'credential-listener'",
            )
            .fetch_one(&fresh.pool)
            .await
            .unwrap();
            if open == 0 {
                break;
            }
        }
    };
    timeout(SOON, gone).await.unwrap();
}
