//! The change log where PostgreSQL could break it: rollbacks, pruning, a node far behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use std::time::Duration;

use credential_core::{
    conformance,
    store::{ChangeId, Changes, CredentialStore as _, Heartbeat, MAX_CHANGES, Mark, NodeId},
    testing::ManualClock,
};
use credential_store_postgres::PostgresStore;

/// Whether marks match is for the node to decide: the store is asked by number.
async fn catch_up(store: &PostgresStore, applied: Option<u64>) -> Changes {
    let heartbeat = Heartbeat {
        node: NodeId([7; 16]),
        applied: applied.map(|number| ChangeId {
            number,
            mark: Mark([0; 16]),
        }),
        max_changes: MAX_CHANGES,
        max_staleness: Duration::from_secs(1),
        issuer: "https://api.example.com".into(),
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
                        "update credential_management.change_counter
                            set value = value + 1, previous = mark, mark = gen_random_uuid();
                        insert into credential_management.change (number, mark, previous)
                            select value, mark, previous
                            from credential_management.change_counter",
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
    assert_eq!(changes.upto.number, 40);
    let numbers: Vec<u64> = changes
        .items
        .unwrap()
        .iter()
        .map(|it| it.id.number)
        .collect();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
}

async fn append(fresh: &common::Fresh, count: usize, age: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "insert into credential_management.change (number, mark, previous, at)
            select value + n, gen_random_uuid(), gen_random_uuid(), now() - interval '{age}'
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
    assert_eq!(too_many.upto.number, MAX_CHANGES as u64 + 1);
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
    append(&fresh, 2, "30 minutes").await;
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
    // For every session, the one that catches up included.
    let database = fresh.database.name();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "alter database {database} set synchronous_commit = off;
        alter database {database} set default_transaction_isolation = 'serializable'"
    )))
    .execute(&fresh.pool)
    .await
    .unwrap();
    let pool = common::pool(&fresh.database.url()).await;
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

/// What the tables hold, beside them; and back.
const BACK_UP: &str = "do $$ declare t record; begin
    create schema backup;
    for t in select tablename from pg_tables where schemaname = 'credential_management'
        and tablename not like '%migrations' loop
        execute format('create table backup.%1$I as table credential_management.%1$I', t.tablename);
    end loop; end $$";
const RESTORE: &str = "do $$ declare t record; begin
    set local session_replication_role = replica; -- in any order, whatever refers to what
    for t in select tablename from pg_tables where schemaname = 'backup' loop
        execute format('delete from credential_management.%1$I', t.tablename);
        execute format('insert into credential_management.%1$I table backup.%1$I', t.tablename);
    end loop;
    drop schema backup cascade; end $$";

#[tokio::test]
async fn changes_after_a_restore_are_other_changes() {
    let fresh = common::fresh().await;
    let run = async |sql| {
        sqlx::raw_sql(sql).execute(&fresh.pool).await.unwrap();
    };
    let (back_up, restore) = (async || run(BACK_UP).await, async |()| run(RESTORE).await);
    conformance::changes_after_a_restore_are_other_changes(&fresh.store, back_up, restore).await;
}

/// Sets the server's times back by so much, since its clock cannot be moved.
async fn let_pass(fresh: &common::Fresh, time: Duration) {
    let seconds = time.as_secs();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "update credential_management.node set seen_at = seen_at - interval '{seconds} seconds';
        update credential_management.change set at = at - interval '{seconds} seconds';
        update credential_management.usage_batch set at = at - interval '{seconds} seconds';
        update credential_management.replay
            set expires_at = expires_at - interval '{seconds} seconds';
        update credential_management.spent_assertion set until = until - interval '{seconds} seconds';
        update credential_management.revoked_token
            set expires_at = expires_at - interval '{seconds} seconds'"
    )))
    .execute(&fresh.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn catch_up_forgets_dead_nodes() {
    let fresh = common::fresh().await;
    let let_pass = async |time| let_pass(&fresh, time).await;
    conformance::catch_up_forgets_dead_nodes(&fresh.store, let_pass).await;
}

#[tokio::test]
async fn changes_are_kept_for_their_time() {
    let fresh = common::fresh().await;
    let let_pass = async |time| {
        let_pass(&fresh, time).await;
        for _ in 0..1024 {
            catch_up(&fresh.store, None).await; // old rows are removed now and then
        }
    };
    conformance::changes_are_kept_for_their_time(&fresh.store, let_pass).await;
}

#[tokio::test]
async fn answers_end_after_their_time() {
    let fresh = common::fresh().await;
    let let_pass = async |time| let_pass(&fresh, time).await;
    conformance::answers_end_after_their_time(&fresh.store, let_pass).await;
}

#[tokio::test]
async fn revoked_tokens_are_forgotten_after_their_time() {
    let fresh = common::fresh().await;
    let let_pass = async |time| let_pass(&fresh, time).await;
    conformance::revoked_tokens_are_forgotten_after_their_time(&fresh.store, let_pass).await;
}

#[tokio::test]
async fn spent_assertions_are_forgotten_after_their_time() {
    let fresh = common::fresh().await;
    let let_pass = async |time| let_pass(&fresh, time).await;
    conformance::spent_assertions_are_forgotten_after_their_time(&fresh.store, let_pass).await;
}

#[tokio::test]
async fn batch_numbers_are_kept_for_their_time() {
    let fresh = common::fresh().await;
    let let_pass = async |time| let_pass(&fresh, time).await;
    conformance::batch_numbers_are_kept_for_their_time(&fresh.store, let_pass).await;
}

/// The latest row stays, however old.
#[tokio::test]
async fn the_latest_change_is_never_removed() {
    let fresh = common::fresh().await;
    append(&fresh, 2, "61 minutes").await;
    let left = async || -> Vec<i64> {
        sqlx::query_scalar("select number from credential_management.change")
            .fetch_all(&fresh.pool)
            .await
            .unwrap()
    };
    for _ in 0..1024 {
        catch_up(&fresh.store, Some(2)).await;
    }
    let removed = async { while left().await != [2] {} };
    tokio::time::timeout(Duration::from_secs(20), removed)
        .await
        .unwrap();
}

/// Other calls hold every connection of the pool, and wait: a catch-up has a session of its own, opened
/// by what the pool connects with at that time.
#[tokio::test]
async fn a_catch_up_waits_for_no_connection_of_the_pool() {
    let fresh = common::fresh().await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(fresh.pool.acquire().await.unwrap());
    }
    catch_up(&fresh.store, None).await;
    let sessions = async |pool: &mut sqlx::PgConnection| -> Vec<i32> {
        sqlx::query_scalar(
            "select pid from pg_stat_activity where datname = current_database()
            and application_name = 'credential-catch-up'",
        )
        .fetch_all(pool)
        .await
        .unwrap()
    };
    let first = sessions(&mut held[0]).await;
    catch_up(&fresh.store, None).await;
    assert_eq!(
        sessions(&mut held[0]).await,
        first,
        "the same session again"
    );
    assert_eq!(first.len(), 1);

    // It ends: a later call opens another, with the options of now.
    let role = format!("later_{}", fresh.database.name());
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "create role {role} superuser login"
    )))
    .execute(&mut *held[0])
    .await
    .unwrap();
    let options = fresh.pool.connect_options();
    let options = (*options).clone().username(&role);
    fresh.pool.set_connect_options(options);
    sqlx::query("select pg_terminate_backend($1)")
        .bind(first[0])
        .execute(&mut *held[0])
        .await
        .unwrap();
    let heartbeat = Heartbeat {
        node: NodeId([7; 16]),
        applied: None,
        max_changes: MAX_CHANGES,
        max_staleness: Duration::from_secs(1),
        issuer: "https://api.example.com".into(),
    };
    fresh.store.catch_up(&heartbeat).await.unwrap_err(); // the old session is gone
    catch_up(&fresh.store, None).await;
    let roles: Vec<String> = sqlx::query_scalar(
        "select usename::text from pg_stat_activity where datname = current_database()
        and application_name = 'credential-catch-up'",
    )
    .fetch_all(&mut *held[0])
    .await
    .unwrap();
    assert_eq!(roles, [role]);
}

/// Retired connections serve no further call.
#[tokio::test]
async fn retired_connections_are_not_used_again() {
    let fresh = common::fresh().await;
    let pids = async || -> Vec<i32> {
        sqlx::query_scalar(
            "select pid from pg_stat_activity where datname = current_database()
            and application_name = '' and pid <> pg_backend_pid() order by pid",
        )
        .fetch_all(&fresh.pool)
        .await
        .unwrap()
    };
    let some = credential_core::id::CredentialId::from_bytes([7; 16]);
    let reads = (0..5).map(|_| fresh.store.state(some));
    for read in reads.collect::<Vec<_>>() {
        read.await.unwrap();
    }
    let mut before = pids().await;
    before.push(
        sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&fresh.pool)
            .await
            .unwrap(),
    );
    // A connection comes back to the pool in a task of its own.
    while fresh.pool.num_idle() < fresh.pool.size() as usize {
        tokio::task::yield_now().await;
    }
    fresh.store.retire_connections();
    fresh.store.state(some).await.unwrap();
    let now: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&fresh.pool)
        .await
        .unwrap();
    assert!(!before.contains(&now), "{now} of {before:?}");
}
