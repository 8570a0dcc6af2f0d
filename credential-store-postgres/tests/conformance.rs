//! The store contract, case for case.

#[expect(dead_code, reason = "shared by all test files")]
mod common;

macro_rules! run {
    ($($case:ident),* $(,)?) => { $(
        #[tokio::test]
        async fn $case() {
            credential_core::conformance::$case(&common::fresh().await.store).await;
        }
    )* };
}
credential_core::for_each_case!(run);
