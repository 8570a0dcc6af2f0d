//! Clients that come with a token of the platform that they run on.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/signer.rs"]
mod signer;

use std::net::IpAddr;

use common::{Deployment, Key, admin, request};
use credential_core::{
    Credentials,
    assertion::Assertion,
    authenticate::{AuthenticateError, AuthenticatedClient, Refusal},
    clock::Clock as _,
    credential::NewWorkload,
    manage::{Changed, CreateCredential, Expected, Field, ManageError, NewProof, SetWorkloads},
};
use serde_json::{Map, Value, json};
use signer::Signer;

const READ: &[&str] = &["system/patients.read"];
const AUDIENCE: &str = "https://id.example.com";

/// As a forge's pipelines, a cluster's pods and a service mesh name themselves.
fn rules(platform: &Signer) -> [NewWorkload; 3] {
    let rule = |issuer: &str, subject: &str, claims: Value| NewWorkload {
        issuer: issuer.to_owned(),
        audience: AUDIENCE.to_owned(),
        subject: subject.to_owned(),
        claims: claims.as_object().cloned().unwrap_or_default(),
        jwks: Some(platform.key_set()),
    };
    [
        rule(
            "https://token.actions.example.com",
            "repo:acme/*",
            json!({"environment": "production", "repository_owner_id": "77"}),
        ),
        rule(
            "https://kubernetes.default.svc.cluster.local",
            "system:serviceaccount:billing:nightly",
            json!({}),
        ),
        rule(
            "https://spire.example.org",
            "spiffe://example.org/ns/billing/*",
            json!({}),
        ),
    ]
}

fn tokens(deployment: &Deployment) -> [Value; 3] {
    let now = deployment.clock.now().as_micros() / 1_000_000;
    [
        json!({
            "iss": "https://token.actions.example.com", "aud": AUDIENCE, "sub": "repo:acme/site:ref:refs/heads/main",
            "environment": "production", "repository_owner_id": "77", "run_id": "1", "jti": "x",
            "iat": now, "nbf": now - 600, "exp": now + 300,
        }),
        json!({
            "iss": "https://kubernetes.default.svc.cluster.local", "aud": [AUDIENCE],
            "sub": "system:serviceaccount:billing:nightly", "exp": now + 3_600, "iat": now,
            "kubernetes.io": {"namespace": "billing", "serviceaccount": {"name": "nightly"}},
        }),
        json!({
            "iss": "https://spire.example.org", "aud": AUDIENCE, "sub": "spiffe://example.org/ns/billing/sa/x",
            "exp": now + 120,
        }),
    ]
}

async fn created(deployment: &Deployment, rule: NewWorkload) -> Key {
    let request = CreateCredential {
        proof: NewProof::Workload(Box::new(rule)).into(),
        ..request("Pipeline", "apiv2", READ)
    };
    let alder = admin("alder");
    let created = deployment
        .node
        .manage(&alder)
        .create(request)
        .await
        .unwrap();
    assert!(created.client_secret.is_none());
    Key {
        id: created.credential.identity.id,
        client_id: created.credential.identity.client_id.as_str().to_owned(),
        secret: String::new(),
    }
}

async fn set(
    node: &Credentials,
    key: &Key,
    rules: Vec<NewWorkload>,
) -> Result<Changed, ManageError> {
    let request = SetWorkloads {
        workloads: Field::Value(rules),
        ..SetWorkloads::default()
    };
    let alder = admin("alder");
    let manage = node.manage(&alder);
    manage
        .set_workloads(key.id, Some(&Expected::Any), request)
        .await
}

async fn present(
    node: &Credentials,
    client_id: Option<&str>,
    text: &str,
) -> Result<AuthenticatedClient, AuthenticateError> {
    let assertion = Assertion {
        text,
        client_id,
        token_addresses: &[],
    };
    node.authenticate_assertion(assertion, &None::<IpAddr>)
        .await
}

fn lifetime(node: &Credentials, client: &AuthenticatedClient) -> u64 {
    node.issue(client, None).unwrap().expires_in
}

#[tokio::test]
async fn tokens_of_three_platforms_are_traded() {
    let deployment = Deployment::new();
    let node = &deployment.node;
    let platform = Signer::with_kid("RS256", "p1");
    let [forge, cluster, mesh] = rules(&platform);
    let key = created(&deployment, forge.clone()).await;
    set(node, &key, vec![forge, cluster, mesh]).await.unwrap();
    let ttl = node
        .catalog()
        .api_type("apiv2")
        .unwrap()
        .token_ttl()
        .as_secs();
    for (claims, left) in tokens(&deployment).iter().zip([300, 3_600, 120]) {
        let text = platform.sign(claims);
        let client = present(node, Some(&key.client_id), &text).await.unwrap();
        assert_eq!(client.client_id().as_str(), key.client_id);
        // Not longer than the platform's own token.
        assert_eq!(lifetime(node, &client), ttl.min(left));
        // Platforms hand one token out again and again.
        present(node, Some(&key.client_id), &text).await.unwrap();
    }
    // Without `typ` and `kid`, as clusters and meshes do.
    let [_, claims, _] = tokens(&deployment);
    let text = platform.sign_with(&json!({"alg": "RS256"}), &claims);
    present(node, Some(&key.client_id), &text).await.unwrap();
}

#[tokio::test]
async fn another_subject_audience_issuer_claim_or_key_is_refused() {
    let deployment = Deployment::new();
    let node = &deployment.node;
    let (platform, other) = (
        Signer::with_kid("ES256", "p"),
        Signer::with_kid("ES256", "p"),
    );
    let [forge, ..] = rules(&platform);
    let key = created(&deployment, forge).await;
    let [good, ..] = tokens(&deployment);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        platform.sign(&claims)
    };
    for text in [
        with(
            "iss",
            json!("https://token.actions.example.com.evil.example"),
        ),
        with("aud", json!("https://other.example.com")),
        with("aud", json!([AUDIENCE, "https://other.example.com"])),
        with("sub", json!("repo:acme-evil/site")),
        with("sub", json!("repo:acme/")),
        with("environment", json!("staging")),
        with("environment", json!(["production"])),
        with("repository_owner_id", json!(77)),
        other.sign(&good),
        platform.sign_with(&json!({"alg": "ES256", "kid": "q"}), &good),
    ] {
        let refused = present(node, Some(&key.client_id), &text).await;
        let wrong = matches!(
            &refused,
            Err(AuthenticateError::Refused(Refusal::WrongSignature))
        );
        assert!(wrong, "{text}: {refused:?}");
    }
    let now = deployment.clock.now().as_micros() / 1_000_000;
    for text in [
        with("exp", json!(now)),
        with("exp", json!(null)),
        with("nbf", json!(now + 61)),
        platform.sign_with(&json!({"alg": "ES256", "typ": "dpop+jwt"}), &good),
    ] {
        let refused = present(node, Some(&key.client_id), &text).await;
        assert!(
            matches!(&refused, Err(AuthenticateError::Assertion(_))),
            "{text}: {refused:?}"
        );
    }
    let text = platform.sign(&good);
    // Whose it is meant for must be said, and be right.
    let nobody = present(node, None, &text).await;
    assert!(
        matches!(nobody, Err(AuthenticateError::Assertion(_))),
        "{nobody:?}"
    );
    let secret = deployment.key("Other", "apiv2", READ).await;
    let another = present(node, Some(&secret.client_id), &text).await;
    assert!(
        matches!(another, Err(AuthenticateError::Refused(_))),
        "{another:?}"
    );
    present(node, Some(&key.client_id), &text).await.unwrap();
}

/// A client cannot pass off a key of its own as a platform's, nor a platform's token as its own.
#[tokio::test]
async fn a_platforms_token_is_no_assertion_of_the_client() {
    let deployment = Deployment::with(|builder| builder.issuer(AUDIENCE));
    let node = &deployment.node;
    let platform = Signer::new("ES256");
    let [forge, ..] = rules(&platform);
    let key = created(&deployment, forge).await;
    let now = deployment.clock.now().as_micros() / 1_000_000;
    let own = json!({
        "iss": key.client_id, "sub": key.client_id, "aud": AUDIENCE, "exp": now + 60, "jti": "1",
    });
    let refused = present(node, Some(&key.client_id), &platform.sign(&own)).await;
    assert!(matches!(
        refused,
        Err(AuthenticateError::Refused(Refusal::WrongSignature))
    ));
}

#[tokio::test]
async fn a_rule_that_goes_ends_its_tokens_and_no_others() {
    let deployment = Deployment::new();
    let node = &deployment.node;
    let platform = Signer::new("EdDSA");
    let [forge, cluster, mesh] = rules(&platform);
    let key = created(&deployment, forge.clone()).await;
    set(node, &key, vec![forge.clone(), cluster.clone()])
        .await
        .unwrap();
    let [of_forge, of_cluster, of_mesh] = tokens(&deployment);
    let mut bearers = Vec::new();
    for claims in [&of_forge, &of_cluster] {
        let client = present(node, Some(&key.client_id), &platform.sign(claims))
            .await
            .unwrap();
        bearers.push(node.issue(&client, None).unwrap().access_token);
    }
    let changed = set(node, &key, vec![mesh, cluster]).await.unwrap();
    assert!(node.verify(bearers[0].expose_secret()).await.is_err());
    node.verify(bearers[1].expose_secret()).await.unwrap();
    let refused = present(node, Some(&key.client_id), &platform.sign(&of_forge)).await;
    assert!(refused.is_err());
    present(node, Some(&key.client_id), &platform.sign(&of_mesh))
        .await
        .unwrap();
    assert!(matches!(
        set(node, &key, Vec::new()).await,
        Err(ManageError::LastProof)
    ));
    assert_eq!(
        deployment.credential(&key).await.version,
        changed.credential.version
    );
}

/// Each try costs a verification, and nothing is proven before one succeeds.
#[tokio::test]
async fn ten_keys_are_tried_and_no_more() {
    let deployment = Deployment::new();
    let node = &deployment.node;
    let platform = Signer::new("EdDSA");
    let [forge, ..] = rules(&platform);
    let pinned = |own: bool, count: usize, subject: &str| {
        let mut keys: Vec<Value> = (0..count).map(|_| Signer::new("EdDSA").jwk()).collect();
        if own {
            keys.push(platform.jwk());
        }
        NewWorkload {
            subject: subject.to_owned(),
            jwks: Some(json!({ "keys": keys })),
            ..forge.clone()
        }
    };
    let key = created(&deployment, forge.clone()).await;
    let [claims, ..] = tokens(&deployment);
    let text = platform.sign(&claims);
    let tenth = vec![pinned(false, 5, "repo:*"), pinned(true, 4, "repo:acme/*")];
    set(node, &key, tenth).await.unwrap();
    present(node, Some(&key.client_id), &text).await.unwrap();
    let eleventh = vec![pinned(false, 5, "repo:*"), pinned(true, 5, "repo:acme/*")];
    set(node, &key, eleventh).await.unwrap();
    assert!(present(node, Some(&key.client_id), &text).await.is_err());
}

#[tokio::test]
async fn rules_are_judged_with_every_fault() {
    let deployment = Deployment::new();
    let platform = Signer::new("ES256");
    let [forge, ..] = rules(&platform);
    let key = created(&deployment, forge.clone()).await;
    let wide = NewWorkload {
        subject: "*".to_owned(),
        ..forge.clone()
    };
    let bare = NewWorkload {
        audience: String::new(),
        claims: Map::from_iter([("sub".to_owned(), json!("x"))]),
        jwks: None,
        ..forge.clone()
    };
    let refused = set(&deployment.node, &key, vec![wide, bare, forge.clone()]).await;
    let Err(ManageError::Invalid(faults)) = refused else {
        panic!("{refused:?}")
    };
    let mut codes: Vec<_> = faults
        .iter()
        .map(|it| (it.field.as_str(), it.code))
        .collect();
    codes.sort_unstable();
    let expected = [
        ("workloads[0].subject", "invalid_subject"),
        ("workloads[1].audience", "length"),
        ("workloads[1].claims", "invalid_claim"),
        ("workloads[1].issuer", "outbound_off"),
    ];
    assert_eq!(codes, expected);
    for rules in [vec![forge.clone(); 6], vec![forge.clone(); 2]] {
        assert!(set(&deployment.node, &key, rules).await.is_err());
    }
    assert_eq!(deployment.credential(&key).await.version, 1);
}
