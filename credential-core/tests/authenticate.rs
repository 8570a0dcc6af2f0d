//! Client authentication, counted: what costs an Argon2, what costs a read of the store.

mod common;

use std::{sync::Arc, time::Duration};

use common::{Deployment, admin, request};
use credential_core::{
    authenticate::{AuthenticateError, Refusal},
    entropy::OsEntropy,
    manage::{Expected, UpdateCredential},
    secret::{
        hash::{Argon2Hasher, HashCost},
        keyring::Keyring,
    },
    testing::CountingHasher,
};
use tokio::time::Instant;

const READ: &[&str] = &["system/patients.read"];

#[tokio::test]
async fn a_forged_or_malformed_secret_costs_no_argon2_and_no_read() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let before = (deployment.hasher.verified(), deployment.store.calls());
    let last_flipped = common::with_another_end(&key.secret);
    let foreign = Deployment::new().key("Lab", "apiv2", READ).await.secret;
    for secret in [
        "",
        "x",
        &"A".repeat(1 << 20),
        &last_flipped,
        &foreign,
        "\0",
        "ü",
    ] {
        let refused = deployment.node.authenticate(&key.client_id, secret).await;
        assert!(
            matches!(refused, Err(AuthenticateError::Refused(Refusal::Malformed))),
            "{refused:?}"
        );
    }
    for client_id in ["", "nobody", &"A".repeat(1 << 20), "\0"] {
        let refused = deployment.node.authenticate(client_id, &key.secret).await;
        assert!(matches!(
            refused,
            Err(AuthenticateError::Refused(Refusal::Malformed))
        ));
    }
    let after = (deployment.hasher.verified(), deployment.store.calls());
    assert_eq!(after, before);
}

#[tokio::test]
async fn the_first_use_costs_one_argon2_and_the_second_none() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let running = deployment.node.start().await.unwrap();
    for _ in 0..3 {
        key.token(&deployment.node, None).await;
    }
    assert_eq!(deployment.hasher.verified(), 1);
    let reads = deployment.store.reads();
    for _ in 0..100 {
        key.token(&deployment.node, None).await;
    }
    assert_eq!(
        deployment.store.reads(),
        reads,
        "a warm client reads nothing"
    );
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_first_uses_at_once_cost_one_argon2() {
    let deployment = Deployment::new();
    let key = Arc::new(deployment.key("Lab", "apiv2", READ).await);
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (node, key) = (deployment.node.clone(), Arc::clone(&key));
            tokio::spawn(async move {
                node.authenticate(&key.client_id, &key.secret)
                    .await
                    .unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(deployment.hasher.verified(), 1);
}

#[tokio::test]
async fn the_verified_cache_survives_edits_and_says_nothing_about_life() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    key.token(&deployment.node, None).await;

    deployment.set_scopes(&key, &["system/bills.read"]).await;
    let rename = UpdateCredential {
        name: "Radiology".into(),
        ..UpdateCredential::default()
    };
    deployment
        .node
        .manage(&admin("alder"))
        .update(key.id, Some(&Expected::Any), rename)
        .await
        .unwrap();
    let client = deployment
        .node
        .authenticate(&key.client_id, &key.secret)
        .await
        .unwrap();
    let issued = deployment.node.issue(&client, None).unwrap();
    assert_eq!(
        issued.scope, "system/bills.read",
        "the scopes are the new ones"
    );
    assert_eq!(deployment.hasher.verified(), 1);

    deployment.revoke(&key).await;
    assert_eq!(key.refusal(&deployment.node).await, Refusal::Revoked);
    assert_eq!(deployment.hasher.verified(), 1);
}

#[tokio::test]
async fn a_genuine_but_dead_or_foreign_secret_costs_no_argon2() {
    let deployment = Deployment::new();
    let revoked = deployment.key("revoked", "apiv2", READ).await;
    deployment.revoke(&revoked).await;
    let expired = deployment.key("expired", "apiv2", READ).await;
    let soon = deployment
        .node
        .clock()
        .now()
        .saturating_add(Duration::from_secs(5));
    let expire = UpdateCredential {
        expires_at: Some(soon).into(),
        ..UpdateCredential::default()
    };
    deployment
        .node
        .manage(&admin("alder"))
        .update(expired.id, Some(&Expected::Any), expire)
        .await
        .unwrap();
    deployment.advance(5_000);
    let mut mixed = deployment.key("one", "apiv2", READ).await;
    mixed.client_id = deployment.key("other", "apiv2", READ).await.client_id;

    let before = deployment.hasher.verified();
    assert_eq!(revoked.refusal(&deployment.node).await, Refusal::Revoked);
    assert_eq!(expired.refusal(&deployment.node).await, Refusal::Expired);
    assert_eq!(
        mixed.refusal(&deployment.node).await,
        Refusal::UnknownClient
    );
    assert_eq!(deployment.hasher.verified(), before);
}

/// Time is tokio's here, which moves only while everybody waits.
#[tokio::test(start_paused = true)]
async fn a_dead_secret_in_a_loop_waits_for_its_answers_and_nobody_else_does() {
    let deployment = Deployment::new();
    let good = deployment.key("good", "apiv2", READ).await;
    let other = deployment.key("other", "apiv2", READ).await;
    let mut mixed = deployment.key("mixed", "apiv2", READ).await;
    mixed.client_id.clone_from(&good.client_id);
    let dead = deployment.key("dead", "apiv2", READ).await;
    deployment.revoke(&dead).await;
    for (secret, refusal) in [(&dead, Refusal::Revoked), (&mixed, Refusal::UnknownClient)] {
        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(secret.refusal(&deployment.node).await, refusal);
        }
        assert_eq!(began.elapsed(), Duration::ZERO, "a hundred at once");
        assert_eq!(secret.refusal(&deployment.node).await, refusal);
        assert!(began.elapsed() >= Duration::from_millis(10));
    }

    let began = Instant::now();
    let refused = tokio::spawn({
        let node = deployment.node.clone();
        async move { dead.refusal(&node).await }
    });
    tokio::task::yield_now().await; // lets it begin
    good.token(&deployment.node, None).await;
    other.token(&deployment.node, None).await;
    let malformed = deployment
        .node
        .authenticate(&good.client_id, &common::with_another_end(&good.secret))
        .await;
    assert!(matches!(
        malformed,
        Err(AuthenticateError::Refused(Refusal::Malformed))
    ));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(!refused.is_finished());
    refused.await.unwrap();
    assert!(began.elapsed() > Duration::ZERO);
}

#[tokio::test]
async fn an_expired_credential_is_revived_by_a_later_expiry() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let expire_in = async |seconds| {
        let at = deployment
            .node
            .clock()
            .now()
            .saturating_add(Duration::from_secs(seconds));
        let request = UpdateCredential {
            expires_at: Some(at).into(),
            ..UpdateCredential::default()
        };
        deployment
            .node
            .manage(&admin("alder"))
            .update(key.id, Some(&Expected::Any), request)
            .await
            .unwrap();
    };
    expire_in(10).await;
    let client = deployment
        .node
        .authenticate(&key.client_id, &key.secret)
        .await
        .unwrap();
    let token = deployment.node.issue(&client, None).unwrap();
    assert_eq!(
        token.expires_in, 10,
        "a token never outlives its credential"
    );
    deployment.advance(10_000);
    assert_eq!(key.refusal(&deployment.node).await, Refusal::Expired);
    assert!(
        deployment
            .node
            .verify(token.access_token.expose_secret())
            .await
            .is_err()
    );
    expire_in(10).await;
    key.token(&deployment.node, None).await;
}

#[tokio::test]
async fn other_parameters_or_another_pepper_are_rehashed_on_the_next_success() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let costlier = HashCost::new(HashCost::MIN_MEMORY_KIB, 1, 1).unwrap();
    let hasher = Arc::new(CountingHasher::new(Argon2Hasher::new(
        deployment.keyring.clone(),
        costlier,
        Arc::new(OsEntropy),
    )));
    let upgraded = Deployment {
        hasher: Arc::clone(&hasher),
        store: deployment.store.clone(),
        memory: deployment.memory.clone(),
        keyring: deployment.keyring.clone(),
        clock: deployment.clock.clone(),
        node: deployment.second_node(),
    };
    let node = upgraded.second_node(); // of the new parameters
    key.token(&node, None).await;
    assert_eq!((hasher.verified(), hasher.hashed()), (1, 1));
    key.token(&node, None).await;
    assert_eq!((hasher.verified(), hasher.hashed()), (1, 1), "remembered");
    let fresh = upgraded.second_node();
    key.token(&fresh, None).await;
    assert_eq!((hasher.verified(), hasher.hashed()), (2, 1), "stored");
}

#[tokio::test]
async fn another_environments_credential_is_refused_before_any_read() {
    let sandbox = Deployment::new();
    let key = sandbox.key("Lab", "apiv2", READ).await;
    let production = Deployment::with(|builder| {
        builder
            .environment(credential_core::id::Environment::Production)
            .issuer("https://api.example.com")
            .keyring(sandbox.keyring.clone())
    });
    let before = production.store.calls();
    assert_eq!(
        key.refusal(&production.node).await,
        Refusal::OtherEnvironment
    );
    assert_eq!(production.store.calls(), before);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_no_verdict() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    key.token(&deployment.node, None).await;
    deployment.store.fail(true);
    deployment.advance(2_000);
    let result = deployment
        .node
        .authenticate(&key.client_id, &key.secret)
        .await;
    assert!(
        matches!(result, Err(AuthenticateError::Store(_))),
        "{result:?}"
    );
    deployment.store.fail(false);
    deployment.advance(250); // for so long a failure speaks for those after it
    key.token(&deployment.node, None).await;
}

#[tokio::test]
async fn a_node_with_other_bytes_under_a_key_name_does_not_start() {
    let deployment = Deployment::new();
    let running = deployment.node.start().await.unwrap();
    let other = Deployment {
        keyring: Keyring::generate(&OsEntropy),
        store: deployment.store.clone(),
        memory: deployment.memory.clone(),
        ..Deployment::new()
    };
    let late = other.second_node();
    let started = late.start().await.unwrap();
    deployment.key("Lab", "apiv2", READ).await;
    let names_key = |error: &dyn std::error::Error| {
        let source = error.source().map(ToString::to_string);
        format!("{error} {source:?}").contains("`k1`")
    };
    let refused = other.second_node().start().await;
    assert!(refused.is_err_and(|error| names_key(&error)));
    // One that started before anything was signed signs nothing after it.
    let made = request("Imaging", "apiv2", READ);
    let refused = late.manage(&admin("birch")).create(made).await;
    assert!(refused.is_err_and(|error| names_key(&error)));
    started.shutdown().await;
    running.shutdown().await;
}
