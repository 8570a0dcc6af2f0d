//! Migrations: at once from several nodes, beside the host's, and what is said when they differ.

mod common;

use std::borrow::Cow;

use credential_core::{
    audit::{Heads, verify_trails},
    manage::CreateCredential,
    secret::keyring::Keyring,
    store::{CredentialStore as _, TrailStore as _},
    testing::ManualClock,
};
use credential_store_postgres::{PostgresStore, SchemaError, SchemaState};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use test_postgres::Server;

/// The number of the latest migration: they are numbered without gaps.
fn latest() -> i64 {
    let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let files = std::fs::read_dir(migrations).expect("the crate has migrations");
    i64::try_from(files.count()).expect("they are few")
}

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
    assert_eq!(applied, latest());
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
        SchemaError::Older { found: None, needed } if needed == latest()
    ));
    assert_eq!(refused.to_string(), missing());
    PostgresStore::migrate(&pool).await.unwrap();
    let state = PostgresStore::schema_state(&pool).await.unwrap();
    assert_eq!(state, SchemaState::Current);
}

/// An error and what caused it.
fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    told
}

#[tokio::test]
async fn a_database_in_another_encoding_is_refused() {
    let server = Server::start();
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let name = encoding.to_lowercase();
        server.sql(&format!(
            "create database {name} encoding '{encoding}' locale 'C' template template0"
        ));
        let pool = common::pool(&server.url(&name)).await;
        let expected = format!(
            "the database's encoding is {encoding} and must be UTF8, because it cannot hold every \
             name: create another with `create database … encoding 'UTF8' template template0`"
        );
        let refused = PostgresStore::migrate(&pool).await.unwrap_err();
        assert_eq!(refused.to_string(), expected);
        assert!(matches!(refused, SchemaError::Encoding { found } if found == encoding));
        let refused = PostgresStore::check_schema(&pool).await.unwrap_err();
        assert_eq!(refused.to_string(), expected);
        // A host that asks for neither.
        let node = common::node(&PostgresStore::new(pool), &ManualClock::new());
        let refused = node.start().await.unwrap_err();
        assert_eq!(
            told(&refused),
            format!("the store did not answer: {expected}")
        );
    }
}

fn missing() -> String {
    format!(
        "the database schema `credential_management` is missing and this build needs migration {}: \
         run `reference-server migrate`, or `PostgresStore::migrate` in a host of your own",
        latest()
    )
}

#[tokio::test]
async fn a_forgotten_migration_is_named() {
    let database = Server::shared().database();
    let store = PostgresStore::new(common::pool(&database.url()).await);
    let node = common::node(&store, &ManualClock::new());
    assert_eq!(
        told(&node.start().await.unwrap_err()),
        format!("the store did not answer: {}", missing())
    );
    // Also to whoever does not start, or when the tables go later.
    let refused = store.audited_tenants(None, 1).await.unwrap_err();
    let expected = "the store did not answer: the database schema `credential_management` is \
        missing or incomplete: run `reference-server migrate`, or `PostgresStore::migrate` in a \
        host of your own: error returned from database: ";
    assert!(told(&refused).starts_with(expected), "{}", told(&refused));
}

#[tokio::test]
async fn who_runs_may_migrate_what_is_up_to_date() {
    let fresh = common::fresh().await;
    let role = common::grant(&fresh.database, "credential_node");
    let fresh = fresh.reconnected(|options| options.username(&role)).await;
    PostgresStore::migrate(&fresh.pool).await.unwrap();
    let node = common::node(&fresh.store, &ManualClock::new());
    common::create(&node, "alder", "Lab").await;
}

#[tokio::test]
async fn a_missing_right_is_named_with_where_to_look() {
    let hint = "the database role lacks a right: a role that runs a node needs the grants that \
        docs/operations.md lists under `Roles`, a role that migrates needs `create` on the database";
    let fresh = common::fresh().await;
    let role = format!("nobody_of_{}", fresh.database.name());
    fresh.database.query(&format!("create role {role} login"));
    let database = Server::shared().database();
    let url = |database: &str| {
        Server::shared()
            .url(database)
            .replace("postgres@", &format!("{role}@"))
    };
    // Not even the schema may be used.
    let pool = common::pool(&url(fresh.database.name())).await;
    for refused in [
        PostgresStore::migrate(&pool).await.unwrap_err(),
        PostgresStore::check_schema(&pool).await.unwrap_err(),
    ] {
        assert!(told(&refused).contains(hint), "{}", told(&refused));
    }
    let refused = PostgresStore::new(pool).audited_tenants(None, 1).await;
    assert!(told(&refused.unwrap_err()).contains(hint));
    // The schema may not be made.
    let pool = common::pool(&url(database.name())).await;
    let refused = PostgresStore::migrate(&pool).await.unwrap_err();
    assert!(told(&refused).contains(hint), "{}", told(&refused));
}

#[tokio::test]
async fn who_verifies_only_reads() {
    let fresh = common::fresh().await;
    common::create(
        &common::node(&fresh.store, &ManualClock::new()),
        "alder",
        "Lab",
    )
    .await;
    let role = common::grant(&fresh.database, "credential_auditor");
    let fresh = fresh.reconnected(|options| options.username(&role)).await;
    PostgresStore::check_schema(&fresh.pool).await.unwrap();
    let keyring = Keyring::parse(common::KEYRING).unwrap();
    let mut rows = Vec::new();
    verify_trails(&fresh.store, &keyring, &Heads::default(), |report| {
        rows.push(report.to_string());
    })
    .await
    .unwrap();
    assert_eq!(rows, ["alder: 1 rows"]);
    let admin = common::admin("alder");
    let node = common::node(&fresh.store, &ManualClock::new());
    node.manage(&admin)
        .create(CreateCredential::default())
        .await
        .unwrap_err();
}

/// The default of connections that are in use already changes: known too late, noticed by the
/// conflict.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_that_changes_later_fails_no_heartbeat() {
    let server = Server::start();
    let database = server.database();
    let pool = common::pool(&database.url()).await;
    PostgresStore::migrate(&pool).await.unwrap();
    let store = PostgresStore::new(pool);
    let beats = || {
        let nodes = (0..5_u8).map(|node| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..40 {
                    store.catch_up(&common::heartbeat(node)).await.unwrap();
                }
            })
        });
        nodes.collect::<Vec<_>>()
    };
    for level in ["read committed", "serializable"] {
        server.set("default_transaction_isolation", level);
        for node in beats() {
            node.await.unwrap();
        }
    }
}

/// Grows without end; no check depends on it.
const HISTORY: &[&str] = &["audit_event"];
/// What a check, a change or a batch of usage depends on in one transaction, and the schema's own two.
const TOGETHER: &[&str] = &[
    "change",
    "change_counter",
    "compatibility",
    "credential",
    "key_check",
    "migration",
    "node",
    "refusal",
    "registration_use",
    "replay",
    "revoked_token",
    "secret",
    "spent_assertion",
    "tenant",
    "usage_batch",
    "usage_day",
];

/// History must be free to move to another server: its primary key and its indexes begin with the tenant,
/// and no foreign key leads in or out. A new table is one or the other.
#[tokio::test]
async fn history_can_leave_the_server() {
    let fresh = common::fresh().await;
    let ask = |sql: &str| -> Vec<String> {
        let answer = fresh.database.query(sql);
        answer.lines().map(str::to_owned).collect()
    };
    let tables = ask("select tablename from pg_tables
        where schemaname = 'credential_management' order by 1");
    let mut known = [HISTORY, TOGETHER].concat();
    known.sort_unstable();
    assert_eq!(tables, known, "say which of the two a new table is");
    for table in HISTORY {
        let table = format!("'credential_management.{table}'::regclass");
        let foreign = ask(&format!(
            "select conname from pg_constraint
            where contype = 'f' and (conrelid = {table} or confrelid = {table})"
        ));
        assert_eq!(foreign, [""; 0], "{table}");
        let first = ask(&format!(
            "select a.attname || case when i.indisprimary then ' first' else '' end
            from pg_index as i
            join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = {table} order by i.indisprimary desc"
        ));
        let (primary, others) = first.split_first().unwrap();
        assert_eq!(primary, "tenant_id first", "{table}");
        assert!(
            others.iter().all(|column| column == "tenant_id"),
            "{first:?}"
        );
    }
}
