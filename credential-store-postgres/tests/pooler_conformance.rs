//! The store contract through a real PgBouncer in transaction mode, case for case.

#[expect(dead_code, reason = "shared by all test files")]
mod common;
#[path = "common/pooled.rs"]
mod pooled;

macro_rules! run {
    ($($case:ident),* $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            credential_core::conformance::$case(&pooled::fresh().await.store).await;
        }
    )* };
}
credential_core::for_each_credential_case!(run);
credential_core::for_each_trail_case!(run);
credential_core::for_each_usage_case!(run);
