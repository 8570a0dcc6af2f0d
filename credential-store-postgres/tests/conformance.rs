//! The store contract, case for case.

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use credential_core::conformance;
use credential_store_postgres::PostgresStore;
use test_postgres::Server;

macro_rules! run {
    ($($case:ident),* $(,)?) => { $(
        #[tokio::test]
        async fn $case() {
            conformance::$case(&common::fresh().await.store).await;
        }
    )* };
}
credential_core::for_each_credential_case!(run);
credential_core::for_each_trail_case!(run);
credential_core::for_each_usage_case!(run);

/// Every case, each on a database of its own that has been prepared alike.
macro_rules! run_each {
    ($($case:ident),* $(,)?) => {
        pub async fn run_each(prepared: &impl AsyncFn() -> crate::common::Fresh) {
            $( credential_core::conformance::$case(&prepared().await.store).await; )*
        }
    };
}
mod credential_cases {
    credential_core::for_each_credential_case!(run_each);
}
mod trail_cases {
    credential_core::for_each_trail_case!(run_each);
}
mod usage_cases {
    credential_core::for_each_usage_case!(run_each);
}

async fn all(prepared: impl AsyncFn() -> common::Fresh) {
    credential_cases::run_each(&prepared).await;
    trail_cases::run_each(&prepared).await;
    usage_cases::run_each(&prepared).await;
}

async fn all_isolated_by(level: &str) {
    all(async || {
        let fresh = common::fresh().await;
        fresh.database.query(&format!(
            "alter database {} set default_transaction_isolation = '{level}'",
            fresh.database.name()
        ));
        fresh.reconnected(|options| options).await
    })
    .await;
}

/// Neither a read alone nor a heartbeat fails because another one ran beside it.
#[tokio::test]
async fn the_contract_holds_where_transactions_are_serializable_by_default() {
    all_isolated_by("serializable").await;
}

#[tokio::test]
async fn the_contract_holds_where_reads_are_repeatable_by_default() {
    all_isolated_by("repeatable read").await;
}

/// A server that crashed, as after a loss of power, and another store on a pool of its own.
#[tokio::test]
async fn what_was_committed_outlives_a_crash() {
    let server = Server::start();
    let reopen = async |store: PostgresStore| {
        drop(store);
        server.stop_immediately();
        server.start_again();
        PostgresStore::new(common::pool(&server.url("reopened")).await)
    };
    for case in 0..2 {
        server.sql("drop database if exists reopened with (force)");
        server.sql("create database reopened");
        let pool = common::pool(&server.url("reopened")).await;
        PostgresStore::migrate(&pool).await.unwrap();
        let store = PostgresStore::new(pool);
        match case {
            0 => conformance::all_is_there_after_reopening(store, reopen).await,
            _ => conformance::trail_goes_on_after_reopening(store, reopen).await,
        }
    }
}

/// With the grants of docs/operations.md, to the letter.
#[tokio::test]
async fn the_contract_holds_for_the_documented_role() {
    all(async || {
        let fresh = common::fresh().await;
        let role = common::grant(&fresh.database, "credential_node");
        fresh.reconnected(|options| options.username(&role)).await
    })
    .await;
}
