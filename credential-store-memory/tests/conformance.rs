//! The store contract, case for case.

use credential_store_memory::MemoryStore;

macro_rules! run {
    ($($case:ident),* $(,)?) => { $(
        #[tokio::test]
        async fn $case() {
            credential_core::conformance::$case(&MemoryStore::new()).await;
        }
    )* };
}
credential_core::for_each_case!(run);
