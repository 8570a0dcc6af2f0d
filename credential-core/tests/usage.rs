//! Last use: noted by checks and issued tokens, written in batches.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Deployment, admin};
use credential_core::{clock::Timestamp, manage::Expected};

const READ: &[&str] = &["system/patients.read"];

async fn last_used(deployment: &Deployment, key: &common::Key) -> [Option<Timestamp>; 2] {
    let credential = deployment.node.get(&admin("alder"), key.id).await.unwrap();
    [credential.last_used_at, credential.secrets[0].last_used_at]
}

#[tokio::test]
async fn use_is_written_at_shutdown_and_never_per_request() {
    let deployment = Deployment::new();
    let running = deployment.node.start().await.unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    assert_eq!(last_used(&deployment, &key).await, [None, None]);
    let token = key.token(&deployment.node, None).await;
    deployment.advance(3_000);
    deployment.node.ready().await.unwrap();
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
        .revoke(&admin("alder"), key.id, Some(&first))
        .await
        .unwrap();
}
