//! The freshness proof, with a clock that only moves when told and reads that can be held back.

mod common;

use std::{future::Future as _, task::Poll, time::Duration};

use common::{Deployment, Key, admin};
use credential_core::{
    Credentials,
    authorize::{AuthorizeError, TokenRefusal},
    manage::{Expected, ManageError, RotateSecret, ScopeChoice, SetScopes, UpdateCredential},
    store::CredentialStore as _,
};

const READ: &[&str] = &["system/patients.read"];

async fn refusal(node: &Credentials, token: &str) -> Option<TokenRefusal> {
    match node.verify(token).await {
        Ok(_) => None,
        Err(AuthorizeError::Refused(refusal)) => Some(refusal),
        Err(error) => panic!("no verdict: {error:?}"),
    }
}

async fn key_and_token(deployment: &Deployment) -> (Key, String) {
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(&deployment.node, None).await;
    (key, token)
}

#[tokio::test]
async fn a_warm_check_reads_nothing_and_a_change_is_in_the_next_answer() {
    let deployment = Deployment::new();
    let running = deployment.node.start().await.unwrap();
    let (key, token) = key_and_token(&deployment).await;
    deployment.node.verify(&token).await.unwrap();
    let reads = deployment.store.reads();
    for _ in 0..1_000 {
        deployment.node.verify(&token).await.unwrap();
    }
    assert_eq!(deployment.store.reads(), reads);

    deployment.set_scopes(&key, &["system/bills.read"]).await;
    let access = deployment.node.verify(&token).await.unwrap();
    assert!(!access.has_scope("system/patients.read"));
    assert!(
        access.has_scope("system/bills.read"),
        "it follows its credential"
    );
    deployment.set_scopes(&key, READ).await;
    let access = deployment.node.verify(&token).await.unwrap();
    assert!(access.has_scope("system/patients.read"));
    deployment.revoke(&key).await;
    assert_eq!(
        refusal(&deployment.node, &token).await,
        Some(TokenRefusal::CredentialRevoked)
    );
    running.shutdown().await;
}

#[tokio::test]
async fn another_node_learns_of_a_change_by_catching_up() {
    let deployment = Deployment::new();
    let other = deployment.second_node();
    let (key, token) = key_and_token(&deployment).await;
    other.catch_up().await.unwrap();
    other.verify(&token).await.unwrap();
    deployment.revoke(&key).await;
    // Not caught up and within the bound: allowed to answer from before.
    assert_eq!(refusal(&other, &token).await, None);
    other.catch_up().await.unwrap();
    assert_eq!(
        refusal(&other, &token).await,
        Some(TokenRefusal::CredentialRevoked)
    );
}

#[tokio::test]
async fn another_node_that_hears_nothing_never_answers_beyond_the_bound() {
    let deployment = Deployment::new();
    let other = deployment.second_node();
    let (key, token) = key_and_token(&deployment).await;
    other.catch_up().await.unwrap();
    other.verify(&token).await.unwrap();
    deployment.revoke(&key).await;
    deployment.advance(1_000);
    assert_eq!(refusal(&other, &token).await, None, "exactly at the bound");
    deployment.clock.advance(Duration::from_micros(1));
    assert_eq!(
        refusal(&other, &token).await,
        Some(TokenRefusal::CredentialRevoked),
        "one tick later the store is read"
    );
}

#[tokio::test]
async fn suspend_counts_and_a_wall_clock_set_back_does_not_help() {
    let deployment = Deployment::new();
    let (_, token) = key_and_token(&deployment).await;
    deployment.node.catch_up().await.unwrap();
    deployment.node.verify(&token).await.unwrap();
    let catch_ups = deployment.store.catch_ups();
    deployment.clock.advance_monotonic(Duration::from_secs(60));
    let long_ago = deployment
        .node
        .clock()
        .now()
        .saturating_sub(Duration::from_secs(5));
    deployment.clock.set_now(long_ago);
    deployment.node.verify(&token).await.unwrap();
    assert_eq!(deployment.store.catch_ups(), catch_ups + 1);
}

#[tokio::test]
async fn nothing_provable_is_no_answer_and_recovers_by_itself() {
    let deployment = Deployment::new();
    let (key, token) = key_and_token(&deployment).await;
    deployment.node.catch_up().await.unwrap();
    deployment.node.verify(&token).await.unwrap();
    deployment.store.fail(true);
    deployment.node.verify(&token).await.unwrap(); // still proven
    deployment.advance(1_001);
    for _ in 0..3 {
        let result = deployment.node.verify(&token).await;
        assert!(
            matches!(result, Err(AuthorizeError::Store(_))),
            "{result:?}"
        );
    }
    deployment.store.fail(false);
    deployment.advance(250); // for so long a failure speaks for the checks after it
    deployment.node.verify(&token).await.unwrap();
    deployment.revoke(&key).await;
    assert!(refusal(&deployment.node, &token).await.is_some());
}

#[tokio::test]
async fn zero_staleness_asks_the_store_for_every_check() {
    let deployment = Deployment::with(|builder| builder.max_staleness(Duration::ZERO));
    let (key, token) = key_and_token(&deployment).await;
    deployment.node.verify(&token).await.unwrap();
    let catch_ups = deployment.store.catch_ups();
    for _ in 0..5 {
        deployment.node.verify(&token).await.unwrap();
    }
    assert_eq!(deployment.store.catch_ups(), catch_ups + 5);
    deployment
        .second_node()
        .manage(&admin("alder"))
        .revoke(key.id, None)
        .await
        .unwrap();
    assert!(refusal(&deployment.node, &token).await.is_some());
}

#[tokio::test]
async fn one_catch_up_revalidates_everything_that_is_cached() {
    let deployment = Deployment::new();
    let (_, first) = key_and_token(&deployment).await;
    let other = deployment.key("Other", "apiv2", READ).await;
    let second = other.token(&deployment.node, None).await;
    deployment.advance(60_000);
    let (reads, catch_ups) = (deployment.store.reads(), deployment.store.catch_ups());
    for token in [&first, &second, &first] {
        deployment.node.verify(token).await.unwrap();
    }
    assert_eq!(deployment.store.reads(), reads);
    assert_eq!(deployment.store.catch_ups(), catch_ups + 1);
}

/// A store whose reads work and whose writes do not proves nothing: a primary that was cut off.
#[tokio::test]
async fn reads_alone_prove_nothing() {
    let deployment = Deployment::new();
    let (_, token) = key_and_token(&deployment).await;
    let fresh = deployment.second_node();
    deployment.store.fail_catch_ups(true);
    deployment.advance(1_001);
    for node in [&deployment.node, &fresh] {
        let result = node.verify(&token).await;
        assert!(
            matches!(result, Err(AuthorizeError::Store(_))),
            "{result:?}"
        );
    }
}

/// While the store is known not to answer, checks fail at once and do not queue up.
#[tokio::test]
async fn a_failure_speaks_for_the_checks_right_after_it() {
    let deployment = Deployment::new();
    let (_, token) = key_and_token(&deployment).await;
    deployment.advance(1_001);
    deployment.store.fail(true);
    let catch_ups = deployment.store.catch_ups();
    for _ in 0..10 {
        assert!(deployment.node.verify(&token).await.is_err());
    }
    assert_eq!(deployment.store.catch_ups(), catch_ups + 1);
}

/// Interleaving 1: load, change, fill. The read saw the old state and comes back after the node
/// has made the change itself.
#[tokio::test]
async fn a_read_from_before_an_own_change_is_not_cached() {
    let deployment = Deployment::new();
    let (key, token) = key_and_token(&deployment).await;
    let node = deployment.second_node(); // nothing cached, so that its first check reads
    deployment.store.hold_reads();
    let early = {
        let (node, text) = (node.clone(), token.clone());
        tokio::spawn(async move { node.verify(&text).await.is_ok() })
    };
    deployment.store.read_is_held().await;

    node.manage(&admin("alder"))
        .revoke(key.id, None)
        .await
        .unwrap();
    deployment.store.release(1);
    assert!(!early.await.unwrap(), "it reads again");
    assert_eq!(
        refusal(&node, &token).await,
        Some(TokenRefusal::CredentialRevoked)
    );
}

/// Interleaving 2: the same with the change made by another node and learned by catching up.
#[tokio::test]
async fn a_read_from_before_a_foreign_change_is_not_cached() {
    let deployment = Deployment::new();
    let other = deployment.second_node();
    let (key, token) = key_and_token(&deployment).await;
    other.catch_up().await.unwrap();
    deployment.store.hold_reads();
    let (node, text) = (other.clone(), token.clone());
    let early = tokio::spawn(async move { node.verify(&text).await.is_ok() });
    deployment.store.read_is_held().await;

    deployment.revoke(&key).await;
    other.catch_up().await.unwrap();
    deployment.store.release(1);
    assert!(!early.await.unwrap(), "it reads again");
    assert_eq!(
        refusal(&other, &token).await,
        Some(TokenRefusal::CredentialRevoked)
    );
}

/// A check that starts after the change must not ride along on a read from before it.
#[tokio::test]
async fn a_later_check_does_not_share_a_read_from_before_the_change() {
    let deployment = Deployment::new();
    let (key, token) = key_and_token(&deployment).await;
    let node = deployment.second_node();
    deployment.store.hold_reads();
    let verify = || {
        let (node, text) = (node.clone(), token.clone());
        tokio::spawn(async move { refusal(&node, &text).await })
    };
    let early = verify();
    deployment.store.read_is_held().await;
    node.manage(&admin("alder"))
        .revoke(key.id, None)
        .await
        .unwrap();
    let late = verify();
    tokio::task::yield_now().await; // it queues behind the held read
    deployment.store.release(1);
    assert_eq!(
        early.await.unwrap(),
        Some(TokenRefusal::CredentialRevoked),
        "it reads again"
    );
    assert_eq!(late.await.unwrap(), Some(TokenRefusal::CredentialRevoked));
}

/// A read that other credentials' changes overtook is as good as one from after them.
#[tokio::test]
async fn a_read_that_strangers_changes_overtook_is_believed() {
    let deployment = Deployment::new();
    let (_, token) = key_and_token(&deployment).await;
    let node = deployment.second_node();
    node.catch_up().await.unwrap();
    let reads = deployment.store.reads();
    deployment.store.hold_reads();
    let check = {
        let (node, text) = (node.clone(), token.clone());
        tokio::spawn(async move { refusal(&node, &text).await })
    };
    deployment.store.read_is_held().await;
    deployment.key("Other", "apiv2", READ).await;
    node.catch_up().await.unwrap();
    deployment.store.release(1);
    assert_eq!(check.await.unwrap(), None);
    assert_eq!(deployment.store.reads(), reads + 1, "read once");
    assert_eq!(refusal(&node, &token).await, None);
    assert_eq!(deployment.store.reads(), reads + 1, "and cached");
}

/// A read that is ahead of what this node knows waits for a catch-up, and is cached by it.
#[tokio::test]
async fn a_read_that_is_ahead_is_believed_once_a_catch_up_shows_it() {
    let deployment = Deployment::new();
    let other = deployment.second_node();
    other.catch_up().await.unwrap();
    let (_, token) = key_and_token(&deployment).await;
    let (reads, catch_ups) = (deployment.store.reads(), deployment.store.catch_ups());
    assert_eq!(refusal(&other, &token).await, None);
    assert_eq!(deployment.store.reads(), reads + 1);
    assert_eq!(deployment.store.catch_ups(), catch_ups + 1);
    assert_eq!(refusal(&other, &token).await, None);
    assert_eq!(deployment.store.reads(), reads + 1, "cached");

    let another = deployment.second_node();
    another.catch_up().await.unwrap();
    deployment.key("Other", "apiv2", READ).await;
    deployment.store.fail_catch_ups(true);
    let result = another.verify(&token).await;
    assert!(
        matches!(result, Err(AuthorizeError::Store(_))),
        "nobody vouches for it: {result:?}"
    );
}

/// Two changes are lost in a restore and two others take their numbers: the node that had applied the
/// lost ones starts anew, and the revocation among the others counts.
#[tokio::test]
async fn a_restore_that_brings_the_same_numbers_again_is_noticed() {
    for lost in 0..4 {
        for anew in 1..5 {
            let deployment = Deployment::new();
            let other = deployment.second_node();
            let (key, token) = key_and_token(&deployment).await;
            let busy = deployment.key("Busy", "apiv2", READ).await;
            let backup = deployment.memory.back_up();
            for scope in [
                "system/bills.read",
                "system/vitals.read",
                "system/letters.read",
            ]
            .iter()
            .take(lost)
            {
                deployment.set_scopes(&busy, &[scope]).await;
            }
            other.catch_up().await.unwrap();
            assert_eq!(refusal(&other, &token).await, None);

            deployment.memory.restore(&backup);
            // A node of its own, so that its commits are of the history that counts.
            let admins = deployment.second_node();
            admins
                .manage(&admin("alder"))
                .revoke(key.id, None)
                .await
                .unwrap();
            for n in 1..anew {
                let request = common::request(&format!("new {n}"), "apiv2", READ);
                admins
                    .manage(&admin("alder"))
                    .create(request)
                    .await
                    .unwrap();
            }
            other.catch_up().await.unwrap();
            assert_eq!(
                refusal(&other, &token).await,
                Some(TokenRefusal::CredentialRevoked),
                "{lost} lost, {anew} anew"
            );
        }
    }
}

/// A read from a history that was lost is neither answered nor cached, be its number higher than what
/// the node knows or the same, and connections are opened anew.
#[tokio::test]
async fn a_read_from_a_lost_history_is_thrown_away() {
    for anew in [0, 1, 2] {
        let deployment = Deployment::new();
        let (key, token) = key_and_token(&deployment).await;
        deployment.revoke(&key).await;
        let backup = deployment.memory.back_up();
        let lost = deployment.key("Lost", "apiv2", READ).await;
        let lost_token = lost.token(&deployment.node, None).await;
        let node = deployment.second_node();
        node.catch_up().await.unwrap();
        deployment.key("Later", "apiv2", READ).await;
        deployment.store.hold_reads();
        let check = {
            let (node, text) = (node.clone(), lost_token.clone());
            tokio::spawn(async move { refusal(&node, &text).await })
        };
        deployment.store.read_is_held().await;
        deployment.memory.restore(&backup);
        let admins = deployment.second_node();
        for n in 0..anew {
            let request = common::request(&format!("new {n}"), "apiv2", READ);
            admins
                .manage(&admin("alder"))
                .create(request)
                .await
                .unwrap();
        }
        deployment.store.release(1);
        let answer = check.await.unwrap();
        assert_eq!(answer, Some(TokenRefusal::UnknownCredential), "{anew} anew");
        assert!(deployment.store.retirements() > 0);
        assert_eq!(
            refusal(&node, &token).await,
            Some(TokenRefusal::CredentialRevoked)
        );
    }
}

/// A repeat promises nothing that was not confirmed: while the node cannot catch up, it would go on
/// answering from before.
#[tokio::test]
async fn a_repeat_that_cannot_be_confirmed_fails() {
    let deployment = Deployment::new();
    let other = deployment.second_node();
    let (key, token) = key_and_token(&deployment).await;
    let narrowed = deployment.key("Narrow", "apiv2", READ).await;
    other.catch_up().await.unwrap();
    assert_eq!(refusal(&other, &token).await, None);
    deployment.revoke(&key).await;
    deployment
        .set_scopes(&narrowed, &["system/bills.read"])
        .await;
    deployment.store.fail_catch_ups(true);

    let repeated = other.manage(&admin("alder")).revoke(key.id, None).await;
    let says_yes = other.verify(&token).await.is_ok();
    assert!(repeated.is_err() || !says_yes, "{repeated:?}");
    let request = SetScopes {
        choice: ScopeChoice::Named(vec!["system/bills.read".to_owned()]).into(),
        ..Default::default()
    };
    let any = Some(&Expected::Any);
    let repeated = other
        .manage(&admin("alder"))
        .set_scopes(narrowed.id, any, request)
        .await;
    assert!(repeated.is_err(), "{repeated:?}");

    deployment.store.fail_catch_ups(false);
    deployment.advance(250);
    other
        .manage(&admin("alder"))
        .revoke(key.id, None)
        .await
        .unwrap();
    assert!(refusal(&other, &token).await.is_some());
}

/// A commit that the change log does not show was made by a server that has lost its place.
#[tokio::test]
async fn a_revocation_that_was_lost_meanwhile_is_not_reported_as_done() {
    let deployment = Deployment::new();
    let (key, _) = key_and_token(&deployment).await;
    let backup = deployment.memory.back_up();
    let memory = deployment.memory.clone();
    deployment
        .store
        .after_next_commit(move || memory.restore(&backup));
    let revoked = deployment
        .node
        .manage(&admin("alder"))
        .revoke(key.id, None)
        .await;
    assert!(revoked.is_err(), "{revoked:?}");
    let again = deployment
        .node
        .manage(&admin("alder"))
        .revoke(key.id, None)
        .await;
    assert!(again.is_ok(), "{again:?}");
}

/// While the store does not answer at all, a check waits for at most a second, and once an attempt is
/// overdue not at all; whoever goes away costs no further attempt.
#[tokio::test(start_paused = true)]
async fn an_overdue_attempt_fails_checks_at_once() {
    const SECOND: Duration = Duration::from_secs(1);
    let deployment = Deployment::new();
    let (_, token) = key_and_token(&deployment).await;
    deployment.node.verify(&token).await.unwrap();
    deployment.store.hang_catch_ups(true);
    deployment.advance(1_001);
    let catch_ups = deployment.store.catch_ups();
    for _ in 0..20 {
        let (node, text) = (deployment.node.clone(), token.clone());
        let gone = tokio::spawn(async move { node.verify(&text).await.is_ok() });
        tokio::task::yield_now().await;
        gone.abort();
    }
    let began = tokio::time::Instant::now();
    assert!(deployment.node.verify(&token).await.is_err());
    assert_eq!(began.elapsed(), SECOND);
    deployment.advance(1_000);
    for _ in 0..20 {
        assert!(deployment.node.verify(&token).await.is_err());
    }
    assert!(began.elapsed() < SECOND + Duration::from_millis(50));
    assert_eq!(deployment.store.catch_ups(), catch_ups + 1);

    // The attempt ends, is noticed, and the next one works.
    tokio::time::sleep(3 * SECOND).await;
    assert!(deployment.store.retirements() > 0, "dead connections go");
    deployment.store.hang_catch_ups(false);
    deployment.advance(250);
    deployment.node.verify(&token).await.unwrap();
}

/// A store that wakes without end costs a bounded number of catch-ups.
#[tokio::test(start_paused = true)]
async fn a_store_that_never_rests_is_asked_at_a_bounded_rate() {
    let deployment = Deployment::new();
    deployment.store.never_rest();
    let running = deployment.node.start().await.unwrap();
    let before = deployment.store.catch_ups();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let catch_ups = deployment.store.catch_ups() - before;
    assert!((8..=400).contains(&catch_ups), "{catch_ups} in 2 s");
    running.shutdown().await;
}

/// A node whose clock is half a day ahead revokes a token: what it would forget by its own clock is
/// remembered, and tokens of nodes whose clocks are right are not ended with it.
#[tokio::test]
async fn a_clock_that_is_ahead_forgets_no_revocation() {
    let deployment = Deployment::new();
    let (key, token) = key_and_token(&deployment).await;
    let spared = key.token(&deployment.node, None).await;
    let client = deployment
        .node
        .authenticate(&key.client_id, &key.secret)
        .await
        .unwrap();
    deployment.node.revoke_token(&client, &token).await.unwrap();

    let ahead = credential_core::testing::ManualClock::new();
    ahead.set_now(deployment.node.clock().now());
    ahead.advance(Duration::from_secs(12 * 3600));
    let fast = deployment
        .node_builder()
        .clock(std::sync::Arc::new(ahead))
        .build()
        .unwrap();
    let client = fast
        .authenticate(&key.client_id, &key.secret)
        .await
        .unwrap();
    let other = key.token(&fast, None).await;
    fast.revoke_token(&client, &other).await.unwrap();

    deployment.node.catch_up().await.unwrap();
    let refused = refusal(&deployment.node, &token).await;
    assert_eq!(refused, Some(TokenRefusal::Revoked));
    assert_eq!(refusal(&deployment.node, &spared).await, None);
    let third = deployment.second_node();
    let refused = refusal(&third, &token).await;
    assert_eq!(refused, Some(TokenRefusal::Revoked));
}

#[tokio::test]
async fn concurrent_checks_share_one_read() {
    let deployment = Deployment::new();
    let (_, token) = key_and_token(&deployment).await;
    let node = deployment.second_node();
    let reads = deployment.store.reads();
    deployment.store.hold_reads();
    let verify = || {
        let (node, text) = (node.clone(), token.clone());
        tokio::spawn(async move { node.verify(&text).await.is_ok() })
    };
    let mut checks = vec![verify()];
    deployment.store.read_is_held().await;
    checks.extend((0..20).map(|_| verify()));
    tokio::task::yield_now().await;
    deployment.store.release(1);
    for check in checks {
        assert!(check.await.unwrap());
    }
    assert_eq!(deployment.store.reads(), reads + 1);
}

#[tokio::test]
async fn a_check_that_gives_up_leaves_its_read_to_the_others() {
    let deployment = Deployment::new();
    let (_, token) = key_and_token(&deployment).await;
    let node = deployment.second_node();
    deployment.store.hold_reads();
    let verify = || {
        let (node, text) = (node.clone(), token.clone());
        tokio::spawn(async move { node.verify(&text).await.is_ok() })
    };
    let first = verify();
    deployment.store.read_is_held().await;
    let second = verify();
    tokio::task::yield_now().await;
    let reads = deployment.store.reads();
    first.abort();
    deployment.store.release(1);
    assert!(second.await.unwrap());
    assert_eq!(deployment.store.reads(), reads, "it reads no second time");
}

#[tokio::test]
async fn a_revoked_token_ends_alone_and_above_the_limit_all_do() {
    let deployment = Deployment::new();
    let (key, token) = key_and_token(&deployment).await;
    let spared = key.token(&deployment.node, None).await;
    let other = deployment.second_node();
    other.verify(&token).await.unwrap();
    let client = deployment
        .node
        .authenticate(&key.client_id, &key.secret)
        .await
        .unwrap();
    deployment.node.revoke_token(&client, &token).await.unwrap();
    assert_eq!(
        refusal(&deployment.node, &token).await,
        Some(TokenRefusal::Revoked)
    );
    assert_eq!(refusal(&deployment.node, &spared).await, None);
    other.catch_up().await.unwrap();
    assert_eq!(refusal(&other, &token).await, Some(TokenRefusal::Revoked));

    for _ in 0..credential_core::authorize::REVOKED_TOKENS_LIMIT {
        let one = deployment.node.issue(&client, None).unwrap().access_token;
        deployment
            .node
            .revoke_token(&client, one.expose_secret())
            .await
            .unwrap();
    }
    assert_eq!(
        refusal(&deployment.node, &spared).await,
        Some(TokenRefusal::Revoked)
    );
    deployment.advance(1);
    let fresh = key.token(&deployment.node, None).await;
    assert_eq!(refusal(&deployment.node, &fresh).await, None);
}

#[tokio::test]
async fn only_ones_own_tokens_are_revoked() {
    let deployment = Deployment::new();
    let (_, token) = key_and_token(&deployment).await;
    let stranger = deployment.key("Stranger", "apiv2", READ).await;
    let client = deployment
        .node
        .authenticate(&stranger.client_id, &stranger.secret)
        .await
        .unwrap();
    deployment.node.revoke_token(&client, &token).await.unwrap();
    deployment
        .node
        .revoke_token(&client, "made up")
        .await
        .unwrap();
    assert_eq!(refusal(&deployment.node, &token).await, None);
}

#[tokio::test]
async fn effective_everywhere_at_counts_the_slowest_node() {
    let deployment = Deployment::with(|builder| builder.max_staleness(Duration::from_secs(7)));
    deployment.node.catch_up().await.unwrap();
    let quick = deployment.second_node();
    quick.catch_up().await.unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let changed = quick
        .manage(&admin("alder"))
        .revoke(key.id, None)
        .await
        .unwrap();
    let now = quick.clock().now();
    assert_eq!(
        changed.effective_everywhere_at.saturating_since(now),
        Duration::from_secs(7)
    );
}

/// After a failover the same version comes again for another edit: what an edit finds already done is
/// confirmed by what the credential holds, not by its version.
#[tokio::test]
async fn a_repeat_is_not_confirmed_by_a_version_that_came_again() {
    const BOTH: &[&str] = &["system/patients.read", "system/patients.write"];
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", BOTH).await;
    let before = deployment.memory.back_up();
    deployment.set_scopes(&key, READ).await;
    let lost = deployment.memory.back_up();
    deployment.memory.restore(&before);
    let rename = UpdateCredential {
        name: "Lab sync".into(),
        ..UpdateCredential::default()
    };
    let alder = admin("alder");
    let elsewhere = deployment.second_node();
    let renamed = elsewhere
        .manage(&alder)
        .update(key.id, Some(&Expected::Any), rename)
        .await
        .unwrap();
    let kept = deployment.memory.back_up();

    deployment.memory.restore(&lost);
    let node = deployment.second_node();
    node.catch_up().await.unwrap();
    let narrowed = SetScopes {
        choice: ScopeChoice::Named(vec![READ[0].to_owned()]).into(),
        ..SetScopes::default()
    };
    let mut repeat = std::pin::pin!(node.manage(&alder).set_scopes(
        key.id,
        Some(&Expected::Any),
        narrowed
    ));
    // It has read what was lost, and waits for its catch-up, which is answered by what was kept.
    deployment.store.hang_catch_ups(true);
    let polled = std::future::poll_fn(|context| Poll::Ready(repeat.as_mut().poll(context))).await;
    assert!(polled.is_pending());
    deployment.memory.restore(&kept);
    deployment.store.hang_catch_ups(false);
    let repeated = repeat.await;
    assert_eq!(renamed.version, 2, "the same version");
    assert!(
        matches!(repeated, Err(ManageError::StaleVersion)),
        "{repeated:?}"
    );
}

/// Nor is any other change: what was read is what the change log confirms, or it is done anew.
#[tokio::test]
async fn a_lost_pause_or_end_is_never_taken_for_done() {
    for ends_secret in [false, true] {
        let deployment = Deployment::new();
        let alder = admin("alder");
        let key = deployment.key("Lab", "apiv2", READ).await;
        let first = deployment.credential(&key).await.settings.secrets[0].selector;
        let rotation = RotateSecret {
            overlap_seconds: 3_600.into(),
            ..RotateSecret::default()
        };
        let rotated = deployment
            .node
            .manage(&alder)
            .rotate_secret(key.id, rotation);
        rotated.await.unwrap();
        let token = key.token(&deployment.node, None).await;
        let change = async |node: &Credentials| {
            let manage = node.manage(&alder);
            if ends_secret {
                manage.end_secret(key.id, first.as_str()).await
            } else {
                manage.disable(key.id, None).await
            }
        };
        let before = deployment.memory.back_up();
        change(&deployment.node).await.unwrap();
        let lost = deployment.memory.back_up();
        deployment.memory.restore(&before);
        let rename = UpdateCredential {
            name: "Lab sync".into(),
            ..UpdateCredential::default()
        };
        let elsewhere = deployment.second_node();
        let renamed = elsewhere.manage(&alder);
        let renamed = renamed.update(key.id, Some(&Expected::Any), rename).await;
        assert_eq!(
            renamed.unwrap().version,
            3,
            "the same version as of the lost change"
        );
        let kept = deployment.memory.back_up();

        deployment.memory.restore(&lost);
        let node = deployment.second_node();
        node.catch_up().await.unwrap();
        let mut repeat = std::pin::pin!(change(&node));
        deployment.store.hang_catch_ups(true);
        let polled =
            std::future::poll_fn(|context| Poll::Ready(repeat.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        deployment.memory.restore(&kept);
        deployment.store.hang_catch_ups(false);
        repeat.await.unwrap();
        assert!(node.verify(&token).await.is_err(), "it is done now");
    }
}

/// A key that signs is known to the store, also to one that was restored to before its first use.
#[tokio::test]
async fn a_key_is_kept_anew_after_a_restore() {
    let deployment = Deployment::new();
    deployment.node.catch_up().await.unwrap();
    let unused = deployment.memory.back_up();
    deployment.key("Lab", "apiv2", READ).await;
    let kept = async || deployment.memory.check_keys(&[]).await.unwrap().len();
    assert_eq!(kept().await, 1);
    deployment.memory.restore(&unused);
    assert_eq!(kept().await, 0);
    deployment.node.catch_up().await.unwrap();
    deployment.key("Lab", "apiv2", READ).await;
    assert_eq!(kept().await, 1);
}
