//! Clients whose keys somebody else publishes: by URL, and by the issuer of a trusted workload.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/signer.rs"]
mod signer;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use common::{Deployment, Key, admin, request};
use credential_core::{
    assertion::Assertion,
    authenticate::{AuthenticateError, AuthenticatedClient, Refusal},
    authorize::AuthorizeError,
    clock::{Clock as _, Timestamp},
    credential::NewWorkload,
    manage::{CreateCredential, Expected, ManageError, NewProof, SetKeys},
    outbound::{Document, Fetch, FetchError},
    store::UsageStore as _,
};
use serde_json::{Map, Value, json};
use signer::Signer;
use tokio::sync::Notify;

const TOKEN_URL: &str = "https://id.example.com/oauth2/token";
const KEYS: &str = "https://keys.example.com/jwks.json";
const ISSUER: &str = "https://token.actions.example.com";
const DISCOVERY: &str = "https://token.actions.example.com/.well-known/openid-configuration";
const SUBJECT: &str = "repo:acme/site:ref:refs/heads/main";
const READ: &[&str] = &["system/patients.read"];

/// What other servers publish.
#[derive(Debug, Default)]
struct Web(Mutex<HashMap<String, Value>>, Slow);

/// Holds fetches back, if it is told to.
#[derive(Debug, Default)]
struct Slow {
    holding: AtomicBool,
    held: Notify,
    released: Notify,
}

impl Web {
    fn publish(&self, url: &str, document: Value) {
        self.0.lock().unwrap().insert(url.to_owned(), document);
    }

    fn take_down(&self, url: &str) {
        self.0.lock().unwrap().remove(url);
    }
}

#[async_trait]
impl Fetch for Web {
    async fn fetch(&self, url: &str) -> Result<Document, FetchError> {
        let document = self.0.lock().unwrap().get(url).cloned();
        let document = document.ok_or_else(|| FetchError("404".into()))?;
        let Slow {
            holding,
            held,
            released,
        } = &self.1;
        if holding.load(Ordering::SeqCst) {
            held.notify_one();
            released.notified().await;
        }
        Ok(Document {
            body: document.to_string().into(),
            max_age: Some(Duration::from_secs(600)),
        })
    }
}

struct Test {
    deployment: Deployment,
    web: Arc<Web>,
}

impl Test {
    fn new() -> Self {
        let web = Arc::new(Web::default());
        let deployment = Deployment::with(|builder| {
            builder
                .issuer("https://id.example.com")
                .fetch(Arc::clone(&web) as _)
        });
        Self { deployment, web }
    }

    async fn create(&self, proof: NewProof) -> Result<Key, ManageError> {
        self.create_named("Nightly", proof).await
    }

    async fn create_named(&self, name: &str, proof: NewProof) -> Result<Key, ManageError> {
        let request = CreateCredential {
            proof: proof.into(),
            ..request(name, "apiv2", READ)
        };
        let alder = admin("alder");
        let created = self.deployment.node.manage(&alder).create(request).await?;
        assert!(created.client_secret.is_none());
        Ok(Key {
            id: created.credential.identity.id,
            client_id: created.credential.identity.client_id.as_str().to_owned(),
            secret: String::new(),
        })
    }

    /// Now, in seconds.
    fn now(&self) -> i64 {
        self.deployment.clock.now().as_micros() / 1_000_000
    }

    async fn present(
        &self,
        text: &str,
        client_id: Option<&str>,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let assertion = Assertion {
            text,
            client_id,
            token_addresses: &[TOKEN_URL.to_owned()],
        };
        let node = &self.deployment.node;
        node.authenticate_assertion(assertion, &None::<IpAddr>)
            .await
    }

    /// What comes of an assertion of its own; `None`: it is accepted.
    async fn own(&self, key: &Key, signer: &Signer) -> Option<Refusal> {
        outcome(self.present_own(key, signer).await)
    }

    async fn present_own(
        &self,
        key: &Key,
        signer: &Signer,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let jti = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let claims = json!({
            "iss": key.client_id, "sub": key.client_id, "aud": TOKEN_URL,
            "exp": self.now() + 300, "jti": jti,
        });
        self.present(&signer.sign(&claims), None).await
    }

    /// The token of the workload's platform.
    fn platform_token(&self, signer: &Signer) -> String {
        signer.sign(&json!({
            "iss": ISSUER, "aud": "https://api.example.com", "sub": SUBJECT,
            "exp": self.now() + 600, "iat": self.now(),
        }))
    }

    async fn workload(&self, key: &Key, signer: &Signer) -> Option<Refusal> {
        let token = self.platform_token(signer);
        outcome(self.present(&token, Some(&key.client_id)).await)
    }

    /// Lets a fetch that nobody waits for come to its end.
    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    fn advance(&self, seconds: u64) {
        self.deployment.clock.advance(Duration::from_secs(seconds));
    }

    /// Why its admins are told that it was refused.
    async fn reasons(&self, key: &Key) -> Vec<String> {
        self.deployment.node.start().await.unwrap().shutdown().await;
        let alder = "alder".parse().unwrap();
        let memory = &self.deployment.memory;
        let found = memory.refusals(&alder, key.id, Timestamp::MIN, 50).await;
        // Those that lie close together may be one note.
        let mut reasons: Vec<_> = found
            .unwrap()
            .iter()
            .map(|it| it.reason.to_string())
            .collect();
        reasons.dedup();
        reasons
    }
}

fn outcome(result: Result<AuthenticatedClient, AuthenticateError>) -> Option<Refusal> {
    match result {
        Ok(_) => None,
        Err(AuthenticateError::Refused(refusal)) => Some(refusal),
        Err(other) => panic!("{other:?}"),
    }
}

fn by_url() -> NewProof {
    NewProof::KeySetUrl(KEYS.to_owned())
}

fn by_issuer() -> NewProof {
    NewProof::Workload(Box::new(NewWorkload {
        issuer: ISSUER.into(),
        audience: "https://api.example.com".into(),
        subject: SUBJECT.into(),
        claims: Map::new(),
        jwks: None,
    }))
}

/// Nothing is fetched when it is registered: its server may not be there yet.
#[tokio::test]
async fn keys_at_a_url_rotate() {
    let test = Test::new();
    let key = test.create(by_url()).await.unwrap();
    let (old, new) = (
        Signer::with_kid("ES256", "old"),
        Signer::with_kid("ES384", "new"),
    );
    test.web.publish(KEYS, old.key_set());
    assert_eq!(test.own(&key, &old).await, None);
    assert_eq!(test.own(&key, &new).await, Some(Refusal::WrongSignature));

    // Both are published, as clients do that rotate.
    test.web
        .publish(KEYS, json!({"keys": [old.jwk(), new.jwk()]}));
    test.advance(59);
    assert_eq!(test.own(&key, &new).await, Some(Refusal::WrongSignature));
    test.advance(1);
    assert_eq!(test.own(&key, &new).await, None);
    assert_eq!(test.own(&key, &old).await, None);

    // The old one is removed: it counts until the set's age ends at the latest.
    test.web.publish(KEYS, new.key_set());
    test.advance(539);
    assert_eq!(test.own(&key, &old).await, None);
    test.settle().await;
    test.advance(61);
    assert_eq!(test.own(&key, &old).await, Some(Refusal::WrongSignature));
    assert_eq!(test.own(&key, &new).await, None);
    let reasons = test.reasons(&key).await;
    assert_eq!(reasons, ["wrong_signature"]);
}

#[tokio::test]
async fn without_its_keys_a_client_is_refused_and_told_why() {
    let test = Test::new();
    let signer = Signer::with_kid("EdDSA", "k");
    let key = test.create(by_url()).await.unwrap();
    assert_eq!(test.own(&key, &signer).await, Some(Refusal::NoKeys));
    test.web.publish(KEYS, signer.key_set());
    assert_eq!(test.own(&key, &signer).await, Some(Refusal::NoKeys));
    test.advance(60);
    assert_eq!(test.own(&key, &signer).await, None);
    test.web.take_down(KEYS);
    test.advance(599);
    assert_eq!(test.own(&key, &signer).await, None);
    test.settle().await;
    test.advance(1);
    assert_eq!(test.own(&key, &signer).await, Some(Refusal::NoKeys));
    assert_eq!(test.reasons(&key).await, ["no_keys"]);
}

/// Where a tenant's servers are slow and many, a client is told to come again.
#[tokio::test]
async fn too_many_fetches_are_no_verdict() {
    let test = Arc::new(Test::new());
    let signer = Arc::new(Signer::with_kid("EdDSA", "k"));
    test.web.1.holding.store(true, Ordering::SeqCst);
    let mut last = None;
    // Two fetches run for a tenant, and 64 wait.
    for at in 0..=66 {
        let url = format!("https://keys{at}.example.com/jwks.json");
        test.web.publish(&url, signer.key_set());
        let name = format!("Client {at}");
        let key = test.create_named(&name, NewProof::KeySetUrl(url));
        let key = key.await.unwrap();
        let (test, signer) = (Arc::clone(&test), Arc::clone(&signer));
        last = Some(tokio::spawn(async move {
            test.present_own(&key, &signer).await
        }));
    }
    let refused = last.unwrap().await.unwrap().unwrap_err();
    let AuthenticateError::Crowded { retry_after } = refused else {
        panic!("{refused:?}");
    };
    assert!(retry_after >= Duration::from_secs(1));
}

/// A token belongs to the registration: it ends with that, not with the key that happened to sign.
#[tokio::test]
async fn tokens_end_when_the_url_is_taken_away() {
    let test = Test::new();
    let signer = Signer::with_kid("RS256", "k");
    test.web.publish(KEYS, signer.key_set());
    let key = test.create(by_url()).await.unwrap();
    let claims = json!({
        "iss": key.client_id, "sub": key.client_id, "aud": TOKEN_URL,
        "exp": test.now() + 300, "jti": "1",
    });
    let client = test.present(&signer.sign(&claims), None).await.unwrap();
    let node = &test.deployment.node;
    let token = node.issue(&client, None).unwrap();
    let token = token.access_token.expose_secret();
    node.verify(token).await.unwrap();
    let other = SetKeys {
        jwks_uri: Some("https://other.example.com/keys".to_owned()).into(),
        ..SetKeys::default()
    };
    let alder = admin("alder");
    let manage = node.manage(&alder);
    let changed = manage.set_keys(key.id, Some(&Expected::Any), other).await;
    changed.unwrap();
    let refused = node.verify(token).await.unwrap_err();
    assert!(matches!(refused, AuthorizeError::Refused(_)), "{refused:?}");
    assert_eq!(test.own(&key, &signer).await, Some(Refusal::NoKeys));
}

#[tokio::test]
async fn an_issuers_keys_are_found_and_rotate() {
    let test = Test::new();
    let (old, new) = (
        Signer::with_kid("RS256", "2026-1"),
        Signer::with_kid("ES256", "2026-2"),
    );
    let discovery = |issuer: &str| json!({"issuer": issuer, "jwks_uri": KEYS});
    test.web.publish(DISCOVERY, discovery(ISSUER));
    test.web.publish(KEYS, old.key_set());
    let key = test.create(by_issuer()).await.unwrap();
    assert_eq!(test.workload(&key, &old).await, None);
    let token = test.platform_token(&old);
    let client = test.present(&token, Some(&key.client_id)).await.unwrap();
    let issued = test.deployment.node.issue(&client, None).unwrap();
    // A platform's token may come again, and no token outlives it.
    assert_eq!(issued.expires_in, 600);

    test.web.publish(KEYS, new.key_set());
    test.advance(60);
    assert_eq!(test.workload(&key, &new).await, None);
    assert_eq!(
        test.workload(&key, &old).await,
        Some(Refusal::WrongSignature)
    );

    // One whose document has become another's is not believed.
    test.web
        .publish(DISCOVERY, discovery("https://evil.example.com"));
    test.advance(600);
    assert_eq!(test.workload(&key, &new).await, Some(Refusal::NoKeys));
    test.web.publish(DISCOVERY, discovery(ISSUER));
    test.advance(60);
    assert_eq!(test.workload(&key, &new).await, None);
}

#[tokio::test]
async fn urls_that_lead_inside_are_refused_when_they_are_registered() {
    let test = Test::new();
    for (url, code) in [
        ("https://169.254.169.254/latest", "private_address"),
        ("https://[::ffff:10.0.0.1]/", "private_address"),
        ("https://localhost/keys", "private_address"),
        ("http://keys.example.com/", "invalid_url"),
    ] {
        let found = test.create(NewProof::KeySetUrl(url.to_owned())).await;
        let Err(ManageError::Invalid(faults)) = found else {
            panic!("{url}")
        };
        let fault = (faults[0].field.as_str(), faults[0].code);
        assert_eq!(fault, ("authentication.jwks_uri", code), "{url}");
    }
}

/// What was changed while keys were fetched counts, as while a secret is hashed.
#[tokio::test]
async fn a_change_during_a_fetch_counts() {
    let test = Test::new();
    let signer = Signer::with_kid("ES256", "1");
    test.web.publish(KEYS, signer.key_set());
    let key = test
        .create(NewProof::KeySetUrl(KEYS.to_owned()))
        .await
        .unwrap();
    let Slow {
        holding,
        held,
        released,
    } = &test.web.1;
    holding.store(true, Ordering::SeqCst);
    let changed = async {
        held.notified().await;
        test.deployment.revoke(&key).await;
        released.notify_one();
    };
    let (refusal, ()) = tokio::join!(test.own(&key, &signer), changed);
    assert_eq!(refusal, Some(Refusal::Revoked));
}
