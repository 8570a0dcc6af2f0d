//! Migrations: at once from several nodes, beside the host's, and what is said when they differ.

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use std::borrow::Cow;

use credential_store_postgres::{PostgresStore, SchemaError, SchemaState};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use test_postgres::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_nodes_migrate_at_once() {
    let database = Server::shared().database();
    let nodes: Vec<_> = (0..6)
        .map(|_| {
            let url = database.url();
            tokio::spawn(async move { PostgresStore::migrate(&common::pool(&url).await).await })
        })
        .collect();
    for node in nodes {
        node.await.unwrap().unwrap();
    }
    let pool = common::pool(&database.url()).await;
    PostgresStore::check_schema(&pool).await.unwrap();
    let applied: i64 = sqlx::query_scalar("select count(*) from credential_management.migration")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(applied, 1);
}

#[tokio::test]
async fn migrating_leaves_no_lock_and_keeps_the_pool() {
    let fresh = common::fresh().await;
    PostgresStore::migrate(&fresh.pool).await.unwrap();
    let locks: i64 = sqlx::query_scalar(
        "select count(*) from pg_locks where locktype = 'advisory'
        and database = (select oid from pg_database where datname = current_database())",
    )
    .fetch_one(&fresh.pool)
    .await
    .unwrap();
    assert_eq!(locks, 0);
}

/// A host with a migration of the same number, and tables of the same names.
#[tokio::test]
async fn the_hosts_migrations_and_ours_coexist() {
    let database = Server::shared().database();
    let pool = common::pool(&database.url()).await;
    let migration = |version, sql: &'static str| {
        Migration::new(
            version,
            Cow::Borrowed("host"),
            MigrationType::Simple,
            sqlx::SqlStr::from_static(sql),
            false,
        )
    };
    let first = migration(1, "create table tenant (id int primary key)");
    let second = migration(2, "create table credential (id int primary key)");
    let before = Migrator::with_migrations(vec![first.clone()]);
    before.run(&pool).await.unwrap();
    PostgresStore::migrate(&pool).await.unwrap();
    let after = Migrator::with_migrations(vec![first, second]);
    after.run(&pool).await.unwrap();
    PostgresStore::migrate(&pool).await.unwrap();
    PostgresStore::check_schema(&pool).await.unwrap();
    sqlx::query("insert into tenant values (1)")
        .execute(&pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_older_schema_names_the_command() {
    let database = Server::shared().database();
    let pool = common::pool(&database.url()).await;
    let refused = PostgresStore::check_schema(&pool).await.unwrap_err();
    assert!(matches!(
        refused,
        SchemaError::Older {
            found: None,
            needed: 1
        }
    ));
    assert_eq!(
        refused.to_string(),
        "the database schema `credential_management` is missing and this build needs migration 1: \
         run `reference-server migrate`, or `PostgresStore::migrate` in a host of your own"
    );
    PostgresStore::migrate(&pool).await.unwrap();
    let state = PostgresStore::schema_state(&pool).await.unwrap();
    assert_eq!(state, SchemaState::Current);
}

#[tokio::test]
async fn a_newer_schema_names_this_version() {
    let fresh = common::fresh().await;
    sqlx::query(
        "insert into credential_management.migration
            (version, description, success, checksum, execution_time)
        values (99, 'from the future', true, '', 0)",
    )
    .execute(&fresh.pool)
    .await
    .unwrap();
    let refused = PostgresStore::check_schema(&fresh.pool).await.unwrap_err();
    let expected = format!(
        "the database schema `credential_management` is at migration 99, newer than migration 1 \
         of credential-store-postgres {}: run a newer version of it",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(refused.to_string(), expected);
    let refused = PostgresStore::migrate(&fresh.pool).await.unwrap_err();
    assert_eq!(refused.to_string(), expected);
}
