//! The change log where PostgreSQL could break it: rollbacks, pruning, a node far behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use std::time::Duration;

use credential_core::{
    store::{Changes, CredentialStore as _, Heartbeat, MAX_CHANGES, NodeId},
    testing::ManualClock,
};
use credential_store_postgres::PostgresStore;

async fn catch_up(store: &PostgresStore, applied: Option<u64>) -> Changes {
    let clock = ManualClock::new();
    let heartbeat = Heartbeat {
        node: NodeId([7; 16]),
        applied,
        max_staleness: Duration::from_secs(1),
        at: credential_core::clock::Clock::now(&clock),
    };
    store.catch_up(&heartbeat).await.unwrap()
}

/// Numbers are taken only by what commits, while transactions that took one roll back between.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn numbers_have_no_gaps_beside_rollbacks() {
    let fresh = common::fresh().await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let node = common::node(&fresh.store, &ManualClock::new());
            tokio::spawn(async move {
                for n in 0..10 {
                    common::create(&node, "alder", &format!("key {writer} {n}")).await;
                }
            })
        })
        .collect();
    let breakers: Vec<_> = (0..2)
        .map(|_| {
            let pool = fresh.pool.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    let mut given_up = pool.begin().await.unwrap();
                    sqlx::raw_sql(
                        "update credential_management.change_counter set value = value + 1;
                        insert into credential_management.change (number)
                            select value from credential_management.change_counter",
                    )
                    .execute(&mut *given_up)
                    .await
                    .unwrap();
                    given_up.rollback().await.unwrap();
                }
            })
        })
        .collect();
    for task in writers.into_iter().chain(breakers) {
        task.await.unwrap();
    }
    let changes = catch_up(&fresh.store, Some(0)).await;
    assert_eq!(changes.upto, 40);
    let numbers: Vec<u64> = changes.items.unwrap().iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
}

async fn append(fresh: &common::Fresh, count: usize, age: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "insert into credential_management.change (number, at)
            select value + n, now() - interval '{age}'
            from credential_management.change_counter, generate_series(1, {count}) as n;
        update credential_management.change_counter set value = value + {count}"
    )))
    .execute(&fresh.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_node_too_far_behind_starts_anew() {
    let fresh = common::fresh().await;
    append(&fresh, MAX_CHANGES, "1 second").await;
    let all = catch_up(&fresh.store, Some(0)).await;
    assert_eq!(all.items.map(|items| items.len()), Some(MAX_CHANGES));
    append(&fresh, 1, "1 second").await;
    let too_many = catch_up(&fresh.store, Some(0)).await;
    assert_eq!(too_many.items, None);
    assert_eq!(too_many.upto, MAX_CHANGES as u64 + 1);
    let last = catch_up(&fresh.store, Some(MAX_CHANGES as u64)).await;
    assert_eq!(last.items.map(|items| items.len()), Some(1));
}

/// The server's clock says how long the oldest change has waited, whatever the nodes' clocks say.
#[tokio::test]
async fn how_long_a_change_waited_is_told() {
    let fresh = common::fresh().await;
    append(&fresh, 1, "10 minutes").await;
    append(&fresh, 1, "1 second").await;
    let minutes = async |applied| {
        let waited = catch_up(&fresh.store, Some(applied)).await.waited;
        waited.as_secs() / 60
    };
    assert_eq!(minutes(0).await, 10, "the oldest of two");
    assert_eq!(minutes(1).await, 0, "the later one alone");
    let nothing = catch_up(&fresh.store, Some(2)).await;
    assert_eq!(nothing.waited, Duration::ZERO);
}

/// Old rows go, now and then, and whoever needed them starts anew.
#[tokio::test]
async fn old_changes_are_removed_now_and_then() {
    let fresh = common::fresh().await;
    append(&fresh, 3, "61 minutes").await;
    append(&fresh, 2, "59 minutes").await;
    let left = async || -> i64 {
        sqlx::query_scalar("select count(*) from credential_management.change")
            .fetch_one(&fresh.pool)
            .await
            .unwrap()
    };
    assert_eq!(
        catch_up(&fresh.store, Some(0)).await.items.unwrap().len(),
        5
    );
    assert_eq!(left().await, 5, "not with every heartbeat");
    for _ in 0..1024 {
        catch_up(&fresh.store, Some(5)).await;
    }
    // Apart from the heartbeat that began it.
    let removed = async { while left().await != 2 {} };
    tokio::time::timeout(Duration::from_secs(20), removed)
        .await
        .unwrap();
    assert_eq!(catch_up(&fresh.store, Some(0)).await.items, None);
    assert_eq!(catch_up(&fresh.store, Some(2)).await.items, None);
    assert_eq!(
        catch_up(&fresh.store, Some(3)).await.items.unwrap().len(),
        2
    );
}

/// What a host's pool sets must not weaken the proof: the answer waits for its commit.
#[tokio::test]
async fn a_catch_up_and_a_change_wait_for_their_commit() {
    let fresh = common::fresh().await;
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(
                    "set synchronous_commit = off;
                    set default_transaction_isolation = 'serializable'",
                )
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .connect(&fresh.database.url())
        .await
        .unwrap();
    // What a transaction ends with is seen by a trigger that fires at its commit.
    sqlx::raw_sql(
        "create table seen (setting text);
        create function note() returns trigger language plpgsql as $$ begin
            insert into seen values (current_setting('synchronous_commit')); return null; end $$;
        create constraint trigger note after insert or update on credential_management.node
            deferrable initially deferred for each row execute function note();
        create constraint trigger note after insert on credential_management.change
            deferrable initially deferred for each row execute function note()",
    )
    .execute(&fresh.pool)
    .await
    .unwrap();
    let store = PostgresStore::new(pool.clone());
    catch_up(&store, None).await;
    common::create(&common::node(&store, &ManualClock::new()), "alder", "Lab").await;
    let seen: Vec<String> = sqlx::query_scalar("select distinct setting from seen")
        .fetch_all(&fresh.pool)
        .await
        .unwrap();
    assert_eq!(seen, ["on"]);
    let after: String = sqlx::query_scalar("show synchronous_commit")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(after, "off", "the host's setting is the host's again");
}
