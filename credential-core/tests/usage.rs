//! Last use: noted by checks and issued tokens, written in batches.

mod common;

use common::{Deployment, admin};
use std::error::Error as _;

use credential_core::{
    authorize::TokenRefusal,
    clock::Timestamp,
    manage::{Expected, UpdateCredential},
};

const READ: &[&str] = &["system/patients.read"];

async fn last_used(deployment: &Deployment, key: &common::Key) -> [Option<Timestamp>; 2] {
    let credential = deployment.credential(key).await;
    [
        credential.observed.last_used_at,
        credential.settings.secrets[0].last_used_at,
    ]
}

#[tokio::test]
async fn use_is_written_at_shutdown_and_never_per_request() {
    let deployment = Deployment::new();
    let running = deployment.node.start().await.unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    assert_eq!(last_used(&deployment, &key).await, [None, None]);
    let token = key.token(&deployment.node, None).await;
    deployment.advance(3_000);
    deployment.node.catch_up().await.unwrap();
    let access = deployment.node.verify(&token).await.unwrap();
    let calls = deployment.store.calls();
    for _ in 0..1_000 {
        assert!(access.has_scope("system/patients.read"));
    }
    assert_eq!(deployment.store.calls(), calls);
    running.shutdown().await;
    let now = Some(deployment.node.clock().now());
    assert_eq!(last_used(&deployment, &key).await, [now, now]);
}

#[tokio::test]
async fn a_condition_of_a_call_is_no_use() {
    let deployment = Deployment::new();
    let running = deployment.node.start().await.unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(&deployment.node, None).await;
    let issued = Some(deployment.node.clock().now());
    deployment.advance(3_000);
    deployment.node.catch_up().await.unwrap();
    let access = deployment.node.verify(&token).await.unwrap();
    let reading = access.api_type().requires(READ[0]).unwrap();
    assert!(access.meets(&reading));
    running.shutdown().await;
    assert_eq!(last_used(&deployment, &key).await, [issued, issued]);
}

#[tokio::test]
async fn an_access_says_which_credential_calls_and_a_misspelt_scope_is_an_error() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(&deployment.node, None).await;
    let access = deployment.node.verify(&token).await.unwrap();
    assert_eq!(access.credential_id(), key.id);
    assert_eq!(access.credential_name(), "Lab");

    let apiv2 = access.api_type();
    assert!(access.permits(&apiv2.requires(READ[0]).unwrap()));
    for typo in ["system/patient.read", "system/Patient.read", ""] {
        let error = apiv2.requires(typo).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the API type `apiv2` has no scope `{typo}`")
        );
        assert!(!access.has_scope(typo));
    }
    // What could be a secret in the wrong place is not repeated.
    let secret = "x".repeat(100);
    assert!(
        !apiv2
            .requires(&secret)
            .unwrap_err()
            .to_string()
            .contains(&secret)
    );

    // A renamed credential goes by its new name.
    let rename = UpdateCredential {
        name: "Lab 2".into(),
        ..UpdateCredential::default()
    };
    let expected = Some(&Expected::Any);
    let admin = admin("alder");
    deployment
        .node
        .manage(&admin)
        .update(key.id, expected, rename)
        .await
        .unwrap();
    let access = deployment.node.verify(&token).await.unwrap();
    assert_eq!(access.credential_name(), "Lab 2");
}

#[tokio::test]
async fn a_refusal_is_an_error_with_its_reason_below() {
    let deployment = Deployment::new();
    let error = deployment.node.verify("made up").await.unwrap_err();
    assert_eq!(error.to_string(), "the access token is not valid");
    let reason: &TokenRefusal = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(*reason, TokenRefusal::NotOurs);
    let said = reason.to_string();
    assert_eq!(said, "the token is not of this deployment, or was altered");
}

#[tokio::test]
async fn a_denied_call_is_no_use_and_an_issued_token_is() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(&deployment.node, None).await;
    let issued = Some(deployment.node.clock().now());
    deployment.advance(3_000);
    let access = deployment.node.verify(&token).await.unwrap();
    assert!(!access.has_scope("system/patients.write"));
    deployment.node.start().await.unwrap().shutdown().await;
    assert_eq!(last_used(&deployment, &key).await, [issued, issued]);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later() {
    let deployment = Deployment::new();
    let running = deployment.node.start().await.unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    key.token(&deployment.node, None).await;
    deployment.store.fail(true);
    running.shutdown().await;
    deployment.store.fail(false);
    assert_eq!(last_used(&deployment, &key).await, [None, None]);
    deployment.node.start().await.unwrap().shutdown().await;
    assert!(last_used(&deployment, &key).await[0].is_some());
}

#[tokio::test]
async fn use_makes_no_edit_stale() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    key.token(&deployment.node, None).await;
    deployment.node.start().await.unwrap().shutdown().await;
    let first = Expected::OneOf(vec![1]);
    deployment
        .node
        .manage(&admin("alder"))
        .revoke(key.id, Some(&first))
        .await
        .unwrap();
}
