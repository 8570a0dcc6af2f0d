//! The freshness proof, with a clock that only moves when told and reads that can be held back.

mod common;

use std::time::Duration;

use common::{Deployment, Key, admin};
use credential_core::{
    Credentials,
    authorize::{AuthorizeError, TokenRefusal},
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
    other.ready().await.unwrap();
    other.verify(&token).await.unwrap();
    deployment.revoke(&key).await;
    // Not caught up and within the bound: allowed to answer from before.
    assert_eq!(refusal(&other, &token).await, None);
    other.ready().await.unwrap();
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
    other.ready().await.unwrap();
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
    deployment.node.ready().await.unwrap();
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
    deployment.node.ready().await.unwrap();
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
        .revoke(&admin("alder"), key.id, None)
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

    node.revoke(&admin("alder"), key.id, None).await.unwrap();
    deployment.store.release(1);
    // The early check began before the revocation, so either answer is right for it.
    assert!(early.await.unwrap());
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
    other.ready().await.unwrap();
    deployment.store.hold_reads();
    let (node, text) = (other.clone(), token.clone());
    let early = tokio::spawn(async move { node.verify(&text).await.is_ok() });
    deployment.store.read_is_held().await;

    deployment.revoke(&key).await;
    other.ready().await.unwrap();
    deployment.store.release(1);
    assert!(early.await.unwrap());
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
    node.revoke(&admin("alder"), key.id, None).await.unwrap();
    let late = verify();
    tokio::task::yield_now().await; // it queues behind the held read
    deployment.store.release(1);
    assert_eq!(early.await.unwrap(), None);
    assert_eq!(late.await.unwrap(), Some(TokenRefusal::CredentialRevoked));
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
async fn a_check_that_gives_up_leaves_the_read_to_the_next() {
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
    first.abort();
    deployment.store.read_is_held().await; // the second reads for itself
    deployment.store.release(2);
    assert!(second.await.unwrap());
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
    other.ready().await.unwrap();
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
    deployment.node.ready().await.unwrap();
    let quick = deployment.second_node();
    quick.ready().await.unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let changed = quick.revoke(&admin("alder"), key.id, None).await.unwrap();
    let now = quick.clock().now();
    assert_eq!(
        changed.effective_everywhere_at.saturating_since(now),
        Duration::from_secs(7)
    );
}
