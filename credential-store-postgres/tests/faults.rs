//! A server that freezes, dies or is blocked: calls end in time, and all is well afterwards.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use std::time::Duration;

use credential_core::{
    id::CredentialId,
    manage::{Expected, UpdateCredential},
    store::{CredentialStore, StoreError},
    testing::ManualClock,
};
use credential_store_postgres::{ListenerState, PostgresStore};
use test_postgres::Server;
use tokio::time::timeout;

/// What a call may take, with a margin for a busy machine.
const IN_TIME: Duration = Duration::from_secs(10);

const NOBODY: CredentialId = CredentialId::from_bytes([0; 16]);

async fn refused(store: &PostgresStore) -> StoreError {
    let read = timeout(IN_TIME, store.state(NOBODY)).await.unwrap();
    read.map(|state| state.upto).unwrap_err()
}

#[tokio::test]
async fn a_frozen_server_is_given_up_and_taken_back() {
    let server = Server::start();
    let database = server.database();
    let pool = common::pool(&database.url()).await;
    PostgresStore::migrate(&pool).await.unwrap();
    let store = PostgresStore::new(pool);
    store.state(NOBODY).await.unwrap();
    server.pause();
    let error = refused(&store).await;
    server.resume();
    assert!(matches!(error, StoreError::Backend { .. }));
    timeout(IN_TIME, store.state(NOBODY))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_crashed_server_loses_nothing_that_was_acknowledged() {
    // Durability on, which throwaway servers otherwise leave out.
    let server = Server::start_with(&["fsync = on", "full_page_writes = on"]);
    let database = server.database();
    let pool = common::pool(&database.url()).await;
    PostgresStore::migrate(&pool).await.unwrap();
    let store = PostgresStore::new(pool);
    let node = common::node(&store, &ManualClock::new());
    let made = common::create(&node, "alder", "Lab").await;
    server.stop_immediately();
    assert!(matches!(refused(&store).await, StoreError::Backend { .. }));
    server.start_again();
    let found = timeout(IN_TIME, store.get(&made.identity.tenant, made.identity.id)).await;
    assert_eq!(found.unwrap().unwrap(), Some(made));
}

#[tokio::test]
async fn a_listener_says_that_it_is_down_and_comes_back() {
    let server = Server::start();
    let database = server.database();
    let store = PostgresStore::new(common::pool(&database.url()).await);
    timeout(IN_TIME, store.wake_up()).await.unwrap();
    assert_eq!(store.listener_state(), ListenerState::Listening);
    server.stop_immediately();
    let down = async {
        while store.listener_state() != ListenerState::Down {
            tokio::task::yield_now().await;
        }
    };
    timeout(IN_TIME, down).await.unwrap();
    server.start_again();
    timeout(IN_TIME, store.wake_up()).await.unwrap();
    assert_eq!(store.listener_state(), ListenerState::Listening);
}

/// Somebody holds the counter: writers give up in time, and leave nothing locked or half done.
#[tokio::test]
async fn a_blocked_writer_gives_up_and_leaves_nothing() {
    let fresh = common::fresh().await;
    let node = common::node(&fresh.store, &ManualClock::new());
    let made = common::create(&node, "alder", "Lab").await;
    let mut blocker = fresh.pool.begin().await.unwrap();
    sqlx::query("select from credential_management.change_counter for update")
        .execute(&mut *blocker)
        .await
        .unwrap();
    let admin = common::admin("alder");
    let given_up = timeout(IN_TIME, node.manage(&admin).revoke(made.identity.id, None)).await;
    given_up.unwrap().unwrap_err();
    // Reads never wait for writers.
    let state = fresh.store.state(made.identity.id).await.unwrap();
    assert_eq!(state.upto.number, 1);
    assert_eq!(state.value.unwrap().credential, made);
    blocker.rollback().await.unwrap();
    node.manage(&admin)
        .revoke(made.identity.id, None)
        .await
        .unwrap();
    assert_eq!(
        fresh
            .store
            .state(made.identity.id)
            .await
            .unwrap()
            .upto
            .number,
        2
    );
}

/// A caller that goes away in the middle of a transaction leaves no lock behind.
#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_lock() {
    let fresh = common::fresh().await;
    let node = common::node(&fresh.store, &ManualClock::new());
    let made = common::create(&node, "alder", "Lab").await;
    let mut blocker = fresh.pool.begin().await.unwrap();
    sqlx::query("select from credential_management.change_counter for update")
        .execute(&mut *blocker)
        .await
        .unwrap();
    let admin = common::admin("alder");
    // It has locked its tenant when it waits for the counter.
    let waiting = async {
        loop {
            let waiting: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock')",
            )
            .fetch_one(&fresh.pool)
            .await
            .unwrap();
            if waiting {
                break;
            }
        }
    };
    tokio::select! {
        done = node.manage(&admin).revoke(made.identity.id, None) => panic!("{done:?}"),
        () = waiting => {}
    }
    blocker.rollback().await.unwrap();
    timeout(IN_TIME, node.manage(&admin).revoke(made.identity.id, None))
        .await
        .unwrap()
        .unwrap();
}

/// An edit locks no secret that it leaves as it is: otherwise it would wait for last uses that are being
/// written, and these, in another order, for the edit.
#[tokio::test]
async fn an_edit_waits_for_no_last_use_that_is_being_written() {
    let fresh = common::fresh().await;
    let node = common::node(&fresh.store, &ManualClock::new());
    let made = common::create(&node, "alder", "Lab").await;
    let mut writing = fresh.pool.begin().await.unwrap();
    sqlx::query("select from credential_management.secret for no key update")
        .fetch_all(&mut *writing)
        .await
        .unwrap();
    let rename = UpdateCredential {
        name: "Imaging".into(),
        ..UpdateCredential::default()
    };
    node.manage(&common::admin("alder"))
        .update(made.identity.id, Some(&Expected::Any), rename)
        .await
        .unwrap();
    writing.rollback().await.unwrap();
}
