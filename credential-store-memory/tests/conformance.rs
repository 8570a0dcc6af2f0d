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
credential_core::for_each_credential_case!(run);
credential_core::for_each_trail_case!(run);
credential_core::for_each_usage_case!(run);

mod with_a_hand {
    use std::{sync::Arc, time::Duration};

    use credential_core::{
        clock::{Clock as _, SystemClock},
        conformance,
        testing::ManualClock,
    };
    use credential_store_memory::{Backup, MemoryStore};

    /// A store whose clock is right at first and moves when told.
    fn timed() -> (MemoryStore, ManualClock) {
        let clock = ManualClock::new();
        clock.set_now(SystemClock.now());
        (MemoryStore::with_clock(Arc::new(clock.clone())), clock)
    }

    #[tokio::test]
    async fn catch_up_forgets_dead_nodes() {
        let (store, clock) = timed();
        let let_pass = async |time: Duration| clock.advance(time);
        conformance::catch_up_forgets_dead_nodes(&store, let_pass).await;
    }

    #[tokio::test]
    async fn changes_are_kept_for_their_time() {
        let (store, clock) = timed();
        let let_pass = async |time: Duration| clock.advance(time);
        conformance::changes_are_kept_for_their_time(&store, let_pass).await;
    }

    #[tokio::test]
    async fn revoked_tokens_are_forgotten_after_their_time() {
        let (store, clock) = timed();
        let let_pass = async |time: Duration| clock.advance(time);
        conformance::revoked_tokens_are_forgotten_after_their_time(&store, let_pass).await;
    }

    #[tokio::test]
    async fn answers_end_after_their_time() {
        let (store, clock) = timed();
        let let_pass = async |time: Duration| clock.advance(time);
        conformance::answers_end_after_their_time(&store, let_pass).await;
    }

    #[tokio::test]
    async fn spent_assertions_are_forgotten_after_their_time() {
        let (store, clock) = timed();
        let let_pass = async |time: Duration| clock.advance(time);
        conformance::spent_assertions_are_forgotten_after_their_time(&store, let_pass).await;
    }

    #[tokio::test]
    async fn batch_numbers_are_kept_for_their_time() {
        let (store, clock) = timed();
        let let_pass = async |time: Duration| clock.advance(time);
        conformance::batch_numbers_are_kept_for_their_time(&store, let_pass).await;
    }

    #[tokio::test]
    async fn changes_after_a_restore_are_other_changes() {
        let store = MemoryStore::new();
        let back_up = async || store.back_up();
        let restore = async |backup: Backup| store.restore(&backup);
        conformance::changes_after_a_restore_are_other_changes(&store, back_up, restore).await;
    }
}
