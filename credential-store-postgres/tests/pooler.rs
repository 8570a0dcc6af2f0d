//! Behind a real PgBouncer in transaction mode: server sessions are shared, nothing is mixed up
//! and nothing stays behind in them.

#[expect(dead_code, reason = "shared by all test files")]
mod common;
#[path = "common/pooled.rs"]
mod pooled;

use std::time::Duration;

use credential_core::{
    manage::{Expected, ScopeChoice, SetScopes},
    store::{ChangeId, CredentialStore as _, Heartbeat, MAX_CHANGES, Mark, NodeId, StoreError},
    testing::ManualClock,
};
use credential_store_postgres::{ListenerState, Pooler, PostgresStore, SchemaState};
use sqlx::Row as _;

fn heartbeat(node: u8, applied: u64) -> Heartbeat {
    Heartbeat {
        node: NodeId([node; 16]),
        applied: Some(ChangeId {
            number: applied,
            mark: Mark([0; 16]),
        }),
        max_changes: MAX_CHANGES,
        max_staleness: Duration::from_secs(1),
        issuer: "https://api.example.com".into(),
    }
}

/// Fifteen connections of three nodes share four sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_share_sessions_do_not_mix_up_their_calls() {
    const ROUNDS: usize = 8;
    let pooled = pooled::fresh().await;
    let clock = ManualClock::new();
    let mut tasks = Vec::new();
    for node_number in 1..=3 {
        let pool = pooled::pool(&pooled.database).await;
        let store = PostgresStore::behind(Pooler::Transaction, pool);
        let node = common::node(&store, &clock);
        for task in 0..3 {
            let (store, node) = (store.clone(), node.clone());
            tasks.push(tokio::spawn(async move {
                let tenant = format!("tenant-{node_number}-{task}");
                let admin = common::admin(&tenant);
                for round in 0..ROUNDS {
                    let made = common::create(&node, &tenant, &format!("key {round}")).await;
                    let wanted = SetScopes {
                        choice: ScopeChoice::Named(vec!["system/bills.read".into()]).into(),
                        ..SetScopes::default()
                    };
                    node.manage(&admin)
                        .set_scopes(made.identity.id, Some(&Expected::Any), wanted)
                        .await
                        .unwrap();
                    let state = store.state(made.identity.id).await.unwrap().value.unwrap();
                    assert_eq!(state.credential.identity.tenant, made.identity.tenant);
                    assert_eq!(state.credential.settings.scopes, ["system/bills.read"]);
                    let selector = &made.settings.secrets[0].selector;
                    let found = store.state_by_proof(selector).await.unwrap();
                    assert_eq!(found.value.unwrap().credential, state.credential);
                    store.catch_up(&heartbeat(node_number, 0)).await.unwrap();
                    node.manage(&admin)
                        .revoke(made.identity.id, None)
                        .await
                        .unwrap();
                    let found = store
                        .get(&made.identity.tenant, made.identity.id)
                        .await
                        .unwrap()
                        .unwrap();
                    assert_eq!(
                        (found.identity.id, found.revoked.is_some()),
                        (made.identity.id, true)
                    );
                }
            }));
        }
    }
    let changes = 3 * tasks.len() * ROUNDS;
    for task in tasks {
        task.await.unwrap();
    }
    let all = pooled.store.catch_up(&heartbeat(9, 0)).await.unwrap();
    assert_eq!(all.upto.number, changes as u64);
    assert_eq!(all.items.map(|items| items.len()), Some(changes));
}

/// Why the mode matters: the names of another client's statements are in the session.
#[tokio::test]
async fn a_store_that_takes_the_pooler_for_postgresql_is_refused() {
    let pooled = pooled::fresh().await;
    let unaware = PostgresStore::new(pooled::pool(&pooled.database).await);
    let Err(StoreError::Backend { source }) = unaware.catch_up(&heartbeat(1, 0)).await else {
        panic!("a named statement went through");
    };
    let source = source.downcast::<sqlx::Error>().unwrap();
    let code = source.as_database_error().unwrap().code();
    assert_eq!(
        code.as_deref(),
        Some("42P05"),
        "duplicate_prepared_statement"
    );
    pooled.store.catch_up(&heartbeat(1, 0)).await.unwrap();
}

#[tokio::test]
async fn nothing_stays_behind_in_a_session() {
    let pooled = pooled::fresh().await;
    let node = common::node(&pooled.store, &ManualClock::new());
    // Waiting for changes is what would listen.
    tokio::select! {
        biased;
        () = pooled.store.wake_up() => panic!("nothing can wake a node behind a pooler"),
        made = common::create(&node, "alder", "Lab") => {
            node.manage(&common::admin("alder")).revoke(made.identity.id, None).await.unwrap();
        }
    }
    assert_eq!(pooled.store.listener_state(), ListenerState::BehindPooler);
    pooled.store.catch_up(&heartbeat(1, 0)).await.unwrap();
    pooled::in_every_session(&pooled.database, async |connection| {
        let left = sqlx::raw_sql(
            "select (select count(*) from pg_prepared_statements
                    where statement not like '%of another client%'),
                (select count(*) from pg_listening_channels()),
                (select count(*) from pg_locks
                    where pid = pg_backend_pid() and locktype = 'advisory'),
                (select count(*) from pg_settings where source = 'session' and name in (
                    'statement_timeout', 'lock_timeout', 'synchronous_commit',
                    'idle_in_transaction_session_timeout', 'default_transaction_isolation'))",
        )
        .fetch_one(connection)
        .await
        .unwrap();
        let left: [i64; 4] = std::array::from_fn(|column| left.get(column));
        assert_eq!(left, [0; 4], "statements, channels, locks, settings");
    })
    .await;
}

#[tokio::test]
async fn the_schema_is_looked_at_through_any_pooler() {
    let pooled = pooled::fresh().await;
    let pool = pooled::pool(&pooled.database).await;
    for _ in 0..2 * pooled::SESSIONS {
        let state = PostgresStore::schema_state(&pool).await.unwrap();
        assert_eq!(state, SchemaState::Current);
    }
    PostgresStore::check_schema(&pool).await.unwrap();
}
