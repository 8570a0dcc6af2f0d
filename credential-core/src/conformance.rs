//! The store contract as test functions, for authors of stores (feature `conformance`).
//!
//! Each case takes a fresh, empty store. For each trait a macro passes the list of its cases to a
//! macro of yours, so that no store can skip one:
//! [`for_each_credential_case!`](crate::for_each_credential_case),
//! [`for_each_trail_case!`](crate::for_each_trail_case) and
//! [`for_each_usage_case!`](crate::for_each_usage_case).
//!
//! ```
//! # use credential_store_memory::MemoryStore;
//! # async fn fresh_store() -> MemoryStore { MemoryStore::new() }
//! macro_rules! run {
//!     ($($case:ident),* $(,)?) => { $(
//!         #[tokio::test]
//!         async fn $case() {
//!             credential_core::conformance::$case(&fresh_store().await).await;
//!         }
//!     )* };
//! }
//! credential_core::for_each_credential_case!(run);
//! credential_core::for_each_trail_case!(run);
//! credential_core::for_each_usage_case!(run);
//! ```
//!
//! More cases need help from the store's author and are called by name:
//!
//! | needed | cases |
//! | --- | --- |
//! | a clock that can be moved, or times that can be set back | [`catch_up_forgets_dead_nodes`], [`changes_are_kept_for_their_time`], [`revoked_tokens_are_forgotten_after_their_time`], [`spent_assertions_are_forgotten_after_their_time`], [`answers_end_after_their_time`], [`batch_numbers_are_kept_for_their_time`] |
//! | a content that can be put back | [`changes_after_a_restore_are_other_changes`] |
//! | a store that can be closed and opened again | [`all_is_there_after_reopening`], [`trail_goes_on_after_reopening`] |
//!
//! A case panics with what it missed. Cases that race calls are strictest on a multi-threaded
//! runtime, and work on any.

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "these are tests: a broken promise panics, as the module says"
)]

mod change_log;
mod credentials;
mod fixture;
mod proofs;
mod reopening;
mod replays;
mod tokens;
mod trail;
mod usage;

pub use change_log::*;
pub use credentials::*;
pub use proofs::*;
pub use reopening::*;
pub use replays::*;
pub use tokens::*;
pub use trail::*;
pub use usage::*;

/// Hands the names of the conformance cases of [`CredentialStore`](crate::store::CredentialStore) to a macro.
#[macro_export]
macro_rules! for_each_credential_case {
    ($run:ident) => {
        $run! {
            insert_is_there_afterwards,
            text_and_times_come_back_to_the_byte,
            ids_are_compared_by_their_bytes,
            insert_keeps_the_limit,
            insert_keeps_the_limit_under_concurrency,
            insert_keeps_names_unique_in_a_tenant,
            insert_keeps_names_unique_under_concurrency,
            insert_counts_only_what_is_not_revoked,
            insert_refused_writes_nothing,
            may_insert_says_what_insert_would,
            get_is_invisible_across_tenants,
            list_is_newest_first_page_by_page,
            list_leaves_out_revoked_unless_asked,
            list_is_invisible_across_tenants,
            replace_puts_settings_in_the_place_of_others,
            replace_refuses_a_stale_version,
            a_selector_of_another_credential_is_refused,
            replace_sets_each_part_of_the_settings,
            replace_adds_and_takes_away_secrets,
            replace_leaves_the_hash_and_last_use_of_a_secret,
            replace_adds_and_takes_away_registrations,
            replace_lets_one_of_two_racing_edits_win,
            replace_refuses_a_revoked_credential,
            replace_refuses_for_the_first_reason,
            replace_keeps_names_unique,
            replace_is_invisible_across_tenants,
            revoke_all_ends_a_tenants_credentials,
            revoke_all_refuses_when_others_came_first,
            revoke_is_final_and_keeps_the_first,
            revoke_counts_once_under_concurrency,
            revoke_honours_an_expected_version,
            revoke_is_invisible_across_tenants,
            state_is_found_by_id_and_by_proof,
            state_of_a_stranger_is_none,
            state_is_found_by_client,
            an_assertion_is_spent_once,
            an_assertion_is_spent_once_under_concurrency,
            replace_hash_swaps_only_the_hash_it_knows,
            replace_hash_moves_neither_version_nor_log,
            revoked_tokens_are_in_the_state,
            revoked_tokens_above_the_limit_end_all_older_ones,
            revoke_token_of_a_stranger_is_not_found,
            an_answer_is_kept_with_its_change,
            answers_are_invisible_across_tenants,
            a_refused_change_keeps_no_answer,
            a_used_key_refuses_the_change,
            one_of_racing_changes_keeps_its_answer,
            an_answer_ends_and_its_key_is_free,
            the_first_effective_time_of_an_answer_stays,
            changes_have_no_gaps_and_follow_commits,
            changes_start_anew_without_a_place,
            changes_are_no_more_than_asked_for,
            changes_are_kept_for_longer_than_a_moment,
            changes_never_pretend_to_know_a_future_place,
            changes_do_not_continue_another_history,
            reads_carry_the_latest_change,
            reads_are_of_one_moment,
            catch_up_knows_the_slowest_node,
            catch_up_refuses_a_newcomer_of_another_issuer,
            wake_up_waits_for_a_change,
            keys_are_compared_by_name,
            keys_are_kept_in_the_order_of_their_first_use,
        }
    };
}

/// Hands the names of the conformance cases of [`TrailStore`](crate::store::TrailStore) to a macro.
#[macro_export]
macro_rules! for_each_trail_case {
    ($run:ident) => {
        $run! {
            audit_rows_come_with_their_change,
            audit_rows_of_one_edit_keep_their_order,
            audit_has_no_row_of_what_did_not_happen,
            audit_keeps_what_an_event_is_about,
            trail_is_paged_beside_its_head,
            audit_chain_holds_under_concurrency,
            audit_is_paged_and_filtered,
            audit_is_invisible_across_tenants,
            audited_tenants_are_paged_in_order,
        }
    };
}

/// Hands the names of the conformance cases of [`UsageStore`](crate::store::UsageStore) to a macro.
#[macro_export]
macro_rules! for_each_usage_case {
    ($run:ident) => {
        $run! {
            last_use_only_moves_forward,
            last_use_is_of_one_proof,
            last_use_of_a_registration_stays,
            last_use_takes_a_full_batch,
            last_use_moves_neither_version_nor_log,
            a_batch_counts_once,
            calls_add_up_over_nodes_and_days,
            usage_of_what_does_not_exist_is_passed_over,
            usage_is_invisible_across_tenants,
            used_scopes_are_those_of_allowed_calls,
            usage_takes_a_full_batch,
            batches_of_many_nodes_add_up_under_concurrency,
            equal_refusals_within_a_minute_are_one,
            refusals_of_a_claimed_client_are_its_credentials,
            refusals_are_newest_first_and_few,
            old_usage_is_pruned,
        }
    };
}
