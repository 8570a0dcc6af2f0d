//! Clients that prove themselves with a key: what is accepted, and everything that is not.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/signer.rs"]
mod signer;

use std::{net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{Deployment, Key, admin, request};
use credential_core::{
    Credentials,
    assertion::Assertion,
    authenticate::{AuthenticateError, AuthenticatedClient, Refusal},
    authorize::AuthorizeError,
    clock::Clock as _,
    entropy::OsEntropy,
    id::{ClientId, ClientIdPrefix},
    manage::{
        Changed, CreateCredential, Expected, Fault, ManageError, NewProof, RotateSecret, SetKeys,
        UpdateCredential,
    },
    store::ASSERTIONS_KEPT_FOR,
};
use serde_json::{Value, json};
use signer::Signer;

const READ: &[&str] = &["system/patients.read"];
const FHIR_READ: &[&str] = &["system/Patient.read"];
const TOKEN_URL: &str = "https://id.example.com/oauth2/token";
const ALGORITHMS: [&str; 7] = [
    "RS256", "RS384", "PS256", "ES256", "ES384", "EdDSA", "Ed25519",
];

fn deployment() -> Deployment {
    Deployment::with(|builder| builder.issuer("https://id.example.com"))
}

fn second_node(deployment: &Deployment) -> Credentials {
    let node = deployment.node_builder().issuer("https://id.example.com");
    node.build().unwrap()
}

/// A key without a secret, that these signers may use.
async fn client(deployment: &Deployment, api_type: &str, signers: &[&Signer]) -> Key {
    let keys: Vec<Value> = signers.iter().map(|it| it.jwk()).collect();
    let scopes = if api_type == "fhir" { FHIR_READ } else { READ };
    let request = CreateCredential {
        proof: NewProof::Keys(json!({ "keys": keys })).into(),
        ..request("Signing", api_type, scopes)
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

async fn set_keys(node: &Credentials, key: &Key, set: Value) -> Result<Changed, ManageError> {
    let request = SetKeys {
        jwks: Some(set).into(),
        ..SetKeys::default()
    };
    let alder = admin("alder");
    let manage = node.manage(&alder);
    manage.set_keys(key.id, Some(&Expected::Any), request).await
}

/// Good claims, each time with another `jti`.
fn claims(deployment: &Deployment, key: &Key) -> Value {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = deployment.clock.now().as_micros() / 1_000_000;
    json!({
        "iss": key.client_id, "sub": key.client_id, "aud": TOKEN_URL, "exp": now + 300,
        "jti": NEXT.fetch_add(1, Ordering::Relaxed).to_string(),
    })
}

async fn present(node: &Credentials, text: &str) -> Result<AuthenticatedClient, AuthenticateError> {
    let assertion = Assertion {
        text,
        client_id: None,
        token_addresses: &[TOKEN_URL.to_owned()],
    };
    node.authenticate_assertion(assertion, &None::<IpAddr>)
        .await
}

/// What its developer is told.
async fn fault(node: &Credentials, text: &str) -> String {
    match present(node, text).await {
        Err(AuthenticateError::Assertion(fault)) => fault.to_string(),
        other => panic!("{other:?} of {text}"),
    }
}

async fn refusal(node: &Credentials, text: &str) -> Refusal {
    match present(node, text).await {
        Err(AuthenticateError::Refused(refusal)) => refusal,
        other => panic!("{other:?} of {text}"),
    }
}

#[tokio::test]
async fn a_key_of_each_kind_gets_a_token() {
    for algorithm in ALGORITHMS {
        let deployment = deployment();
        let signer = Signer::with_kid(algorithm, "one");
        let key = client(&deployment, "apiv2", &[&signer]).await;
        let text = signer.sign(&claims(&deployment, &key));
        let client = present(&deployment.node, &text).await.expect(algorithm);
        assert_eq!(client.client_id().as_str(), key.client_id);
        let token = deployment.node.issue(&client, None).unwrap();
        let access = deployment
            .node
            .verify(token.access_token.expose_secret())
            .await
            .unwrap();
        assert!(access.has_scope("system/patients.read"));
        // The use is the key's.
        deployment.node.start().await.unwrap().shutdown().await;
        let credential = deployment.credential(&key).await;
        let [registration] = &*credential.settings.registrations else {
            panic!("one key")
        };
        assert_eq!(registration.last_used_at, Some(deployment.clock.now()));
    }
}

#[tokio::test]
async fn real_clients_write_it_differently() {
    let deployment = deployment();
    let signer = Signer::with_kid("ES256", "k");
    let key = client(&deployment, "apiv2", &[&signer]).await;
    let good = || claims(&deployment, &key);
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        signer.sign(&claims)
    };
    let header = |header: Value| signer.sign_with(&header, &good());
    let now = deployment.clock.now().as_micros() / 1_000_000;
    for text in [
        with("aud", json!("https://id.example.com")),
        with("aud", json!("https://id.example.com/")),
        with("aud", json!([TOKEN_URL])),
        with("exp", json!(now + 360)),
        with("exp", json!(f64::from(i32::try_from(now).unwrap()) + 299.5)),
        with("iat", json!(now + 60)),
        with("nbf", json!(now - 1_000)),
        with("whatever", json!({"a": [1, null]})),
        // MCP's SDKs send no `kid`, others no `typ`.
        header(json!({"alg": "ES256"})),
        header(json!({"alg": "ES256", "typ": "jwt", "kid": "k"})),
        header(json!({"alg": "ES256", "typ": "application/JWT", "kid": "k", "x5t": "abc"})),
    ] {
        present(&deployment.node, &text).await.unwrap();
    }
    let mut strict = good();
    strict["aud"] = json!("https://id.example.com");
    let header = json!({"alg": "ES256", "typ": "client-authentication+jwt"});
    present(&deployment.node, &signer.sign_with(&header, &strict))
        .await
        .unwrap();
}

/// Each is refused, and none uses up the `jti` that the good assertion has.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn hostile_assertions_are_refused_and_burn_nothing() {
    let deployment = deployment();
    let node = &deployment.node;
    let (es, rs) = (
        Signer::with_kid("ES256", "es"),
        Signer::with_kid("RS256", "rs"),
    );
    let key = client(&deployment, "apiv2", &[&es, &rs]).await;
    let good = claims(&deployment, &key);
    let now = deployment.clock.now().as_micros() / 1_000_000;
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let unsigned = format!(
        "{}.{}.",
        encoded(r#"{"alg":"none"}"#),
        encoded(&good.to_string())
    );

    for (what, header) in [
        ("`crit`", json!({"alg": "ES256", "crit": ["exp"]})),
        (
            "`jwk`",
            json!({"alg": "ES256", "jwk": Signer::new("ES256").jwk()}),
        ),
        (
            "`x5u`",
            json!({"alg": "ES256", "x5u": "https://evil.example.com"}),
        ),
        ("`x5c`", json!({"alg": "ES256", "x5c": ["MII"]})),
        ("`b64`", json!({"alg": "ES256", "b64": false})),
        ("`zip`", json!({"alg": "ES256", "zip": "DEF"})),
        ("`kid`", json!({"alg": "ES256", "kid": null})),
        ("`kid`", json!({"alg": "ES256", "kid": ""})),
        ("`kid`", json!({"alg": "ES256", "kid": 7})),
        ("`alg`", json!({"alg": "HS256"})),
        ("`alg`", json!({"alg": "none"})),
        ("`alg`", json!({"alg": "es256"})),
        ("`alg`", json!({"alg": "ES512"})),
        ("`alg`", json!({"alg": ["ES256"]})),
        ("`alg`", json!({})),
        ("`typ`", json!({"alg": "ES256", "typ": "at+jwt"})),
        ("`typ`", json!({"alg": "ES256", "typ": "dpop+jwt"})),
        ("`typ`", json!({"alg": "ES256", "typ": 1})),
    ] {
        let told = fault(node, &es.sign_with(&header, &good)).await;
        assert!(told.contains(what), "{header}: {told}");
    }
    assert!(fault(node, &unsigned).await.contains("`alg`"));
    // HMAC with the public key as the secret.
    let header = json!({"alg": "HS256", "kid": "rs"});
    assert!(
        fault(node, &rs.sign_with(&header, &good))
            .await
            .contains("`alg`")
    );

    for (what, name, value) in [
        ("`exp` has passed", "exp", json!(now - 30)),
        ("too far ahead", "exp", json!(now + 3_600)),
        ("`exp`", "exp", json!("soon")),
        ("`exp`", "exp", json!(null)),
        ("in the future", "iat", json!(now + 61)),
        ("in the future", "nbf", json!(now + 61)),
        ("`jti`", "jti", json!(null)),
        ("`jti`", "jti", json!("")),
        ("`jti`", "jti", json!("x".repeat(257))),
        ("`aud`", "aud", json!([TOKEN_URL, "https://id.example.com"])),
        ("`aud`", "aud", json!("https://other.example.com")),
        ("`aud`", "aud", json!([])),
        ("`aud`", "aud", json!(null)),
        ("`iss` and `sub`", "sub", json!("someone-else")),
        ("`iss`", "iss", json!(null)),
    ] {
        let mut claims = good.clone();
        claims[name] = value.clone();
        let told = fault(node, &es.sign(&claims)).await;
        assert!(told.contains(what), "{name}={value}: {told}");
    }
    for name in ["iss", "sub", "aud", "exp", "jti"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        assert!(
            fault(node, &es.sign(&claims)).await.contains(name),
            "without {name}"
        );
    }

    let text = es.sign(&good);
    let (message, signature) = text.rsplit_once('.').unwrap();
    let (head, payload) = message.split_once('.').unwrap();
    let repeated = good.to_string().replacen('{', "{\"sub\":\"x\",", 1);
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        message.to_owned(),
        format!("{text}."),
        format!("{text}.x"),
        format!("{text}="),
        format!(" {text}"),
        format!("{head}.{payload}.{signature}\n"),
        format!("{head}=.{payload}.{signature}"),
        format!("{}.{payload}.{signature}", head.replace('e', "+")),
        es.sign_text("[]", &good.to_string()),
        es.sign_text(r#"{"alg":"ES256"}"#, "\"text\""),
        es.sign_text(r#"{"alg":"ES256","alg":"ES256"}"#, &good.to_string()),
        es.sign_text(r#"{"alg":"ES256"}"#, &repeated),
    ] {
        assert!(fault(node, &text).await.contains("three parts"), "{text}");
    }
    let mut long = good.clone();
    long["padding"] = "x".repeat(9 * 1024).into();
    assert!(fault(node, &es.sign(&long)).await.contains("8 KiB"));

    // What depends on the client is told to nobody.
    let other = Signer::with_kid("ES256", "es");
    let header = |header: Value| es.sign_with(&header, &good);
    let mut swapped = signature.to_owned();
    swapped.replace_range(..1, if swapped.starts_with('A') { "B" } else { "A" });
    let mut unknown = good.clone();
    let stranger = common::with_another_end(&key.client_id);
    unknown["iss"] = stranger.as_str().into();
    unknown["sub"] = stranger.as_str().into();
    for (text, why) in [
        (other.sign(&good), Refusal::WrongSignature),
        (
            Signer::with_kid("RS256", "es").sign(&good),
            Refusal::WrongSignature,
        ),
        (format!("{message}.{swapped}"), Refusal::WrongSignature),
        (format!("{message}."), Refusal::WrongSignature),
        (
            header(json!({"alg": "ES256", "kid": "rs"})),
            Refusal::WrongSignature,
        ),
        (
            header(json!({"alg": "ES384", "kid": "es"})),
            Refusal::WrongSignature,
        ),
        (
            header(json!({"alg": "EdDSA", "kid": "es"})),
            Refusal::WrongSignature,
        ),
        (
            header(json!({"alg": "RS256", "kid": "es"})),
            Refusal::WrongSignature,
        ),
        (
            header(json!({"alg": "ES256", "jku": "https://evil.example.com/jwks"})),
            Refusal::WrongSignature,
        ),
        (es.sign(&unknown), Refusal::UnknownClient),
    ] {
        assert_eq!(refusal(node, &text).await, why, "{text}");
    }

    // None of these has used the name up.
    present(node, &text).await.unwrap();
    assert!(fault(node, &text).await.contains("used before"));
}

#[tokio::test]
async fn another_clients_key_and_a_removed_one_are_refused() {
    let deployment = deployment();
    let node = &deployment.node;
    let (mine, theirs) = (Signer::new("ES256"), Signer::new("ES256"));
    let key = client(&deployment, "apiv2", &[&mine]).await;
    let alder = admin("alder");
    let request = CreateCredential {
        proof: NewProof::Keys(theirs.key_set()).into(),
        ..request("Other", "apiv2", READ)
    };
    node.manage(&alder).create(request).await.unwrap();
    let text = theirs.sign(&claims(&deployment, &key));
    assert_eq!(refusal(node, &text).await, Refusal::WrongSignature);

    let second = second_node(&deployment);
    let text = mine.sign(&claims(&deployment, &key));
    let client = present(&second, &text).await.unwrap();
    let token = second.issue(&client, None).unwrap();
    let bearer = token.access_token.expose_secret();
    second.verify(bearer).await.unwrap();
    // The key goes; another comes in its place.
    let newer = Signer::new("EdDSA");
    set_keys(node, &key, newer.key_set()).await.unwrap();
    deployment.advance(1_001);
    let text = mine.sign(&claims(&deployment, &key));
    for node in [node, &second] {
        assert_eq!(refusal(node, &text).await, Refusal::WrongSignature);
        let refused = node.verify(bearer).await;
        assert!(
            matches!(refused, Err(AuthorizeError::Refused(_))),
            "{refused:?}"
        );
    }
    present(&second, &newer.sign(&claims(&deployment, &key)))
        .await
        .unwrap();
    // Registered anew, it revives no token.
    set_keys(node, &key, mine.key_set()).await.unwrap();
    deployment.advance(1_001);
    assert!(second.verify(bearer).await.is_err());
    present(&second, &mine.sign(&claims(&deployment, &key)))
        .await
        .unwrap();
}

#[tokio::test]
async fn keys_that_stay_keep_their_tokens() {
    let deployment = deployment();
    let node = &deployment.node;
    let (first, second) = (
        Signer::with_kid("ES256", "1"),
        Signer::with_kid("ES256", "2"),
    );
    let key = client(&deployment, "apiv2", &[&first]).await;
    let client = present(node, &first.sign(&claims(&deployment, &key)))
        .await
        .unwrap();
    let token = node.issue(&client, None).unwrap();
    let both = json!({"keys": [second.jwk(), first.jwk()]});
    let changed = set_keys(node, &key, both.clone()).await.unwrap();
    node.verify(token.access_token.expose_secret())
        .await
        .unwrap();
    present(node, &second.sign(&claims(&deployment, &key)))
        .await
        .unwrap();
    let again = set_keys(node, &key, both).await.unwrap();
    assert_eq!(again.credential.version, changed.credential.version);
}

#[tokio::test]
async fn of_a_hundred_at_once_on_two_nodes_one_wins() {
    let deployment = deployment();
    let signer = Signer::new("ES256");
    let key = client(&deployment, "apiv2", &[&signer]).await;
    let nodes = [deployment.node.clone(), second_node(&deployment)];
    let text: Arc<str> = signer.sign(&claims(&deployment, &key)).into();
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (node, text) = (nodes[n % 2].clone(), Arc::clone(&text));
        tries.spawn(async move { present(&node, &text).await });
    }
    let mut won = 0;
    for outcome in tries.join_all().await {
        match outcome {
            Ok(_) => won += 1,
            Err(AuthenticateError::Assertion(fault)) => {
                assert!(fault.to_string().contains("used before"));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won, 1);
}

/// Also when the record may be forgotten, the assertion has ended by then.
#[tokio::test]
async fn an_assertion_never_counts_again() {
    let deployment = deployment();
    let signer = Signer::new("ES256");
    let key = client(&deployment, "apiv2", &[&signer]).await;
    let text = signer.sign(&claims(&deployment, &key));
    present(&deployment.node, &text).await.unwrap();
    for _ in 0..60 {
        deployment.clock.advance(Duration::from_secs(20));
        assert!(present(&deployment.node, &text).await.is_err());
        present(&deployment.node, &signer.sign(&claims(&deployment, &key)))
            .await
            .unwrap();
    }
    assert!(60 * 20 > ASSERTIONS_KEPT_FOR.as_secs());
}

#[tokio::test]
async fn without_the_store_nothing_is_accepted() {
    let deployment = deployment();
    let signer = Signer::new("ES256");
    let key = client(&deployment, "apiv2", &[&signer]).await;
    present(&deployment.node, &signer.sign(&claims(&deployment, &key)))
        .await
        .unwrap();
    let text = signer.sign(&claims(&deployment, &key));
    deployment.store.fail(true);
    // What is cached is still proven fresh, but nobody can say whether the assertion was used.
    let outcome = present(&deployment.node, &text).await;
    assert!(
        matches!(outcome, Err(AuthenticateError::Store(_))),
        "{outcome:?}"
    );
    deployment.store.fail(false);
    present(&deployment.node, &text).await.unwrap();
}

#[tokio::test]
async fn tokens_of_keys_are_short_for_fhir() {
    let deployment = deployment();
    let signer = Signer::new("ES384");
    let key = client(&deployment, "fhir", &[&signer]).await;
    let client = present(&deployment.node, &signer.sign(&claims(&deployment, &key)))
        .await
        .unwrap();
    assert_eq!(
        deployment.node.issue(&client, None).unwrap().expires_in,
        300
    );
    let by_secret = deployment.key("Secret", "fhir", FHIR_READ).await;
    let client = deployment
        .node
        .authenticate(&by_secret.client_id, &by_secret.secret)
        .await
        .unwrap();
    assert!(deployment.node.issue(&client, None).unwrap().expires_in > 300);
}

#[tokio::test]
async fn states_and_networks_count_as_for_secrets() {
    let deployment = deployment();
    let node = &deployment.node;
    let signer = Signer::new("ES256");
    let key = client(&deployment, "apiv2", &[&signer]).await;
    let alder = admin("alder");
    node.manage(&alder).disable(key.id, None).await.unwrap();
    let text = signer.sign(&claims(&deployment, &key));
    assert_eq!(refusal(node, &text).await, Refusal::Disabled);
    node.manage(&alder).enable(key.id, None).await.unwrap();
    deployment.set_networks(&key, &["192.0.2.0/24"]).await;
    assert_eq!(refusal(node, &text).await, Refusal::AddressNotAllowed);
    let endpoints = [TOKEN_URL.to_owned()];
    let from = |address: &str| {
        let assertion = Assertion {
            text: &text,
            client_id: Some(&key.client_id),
            token_addresses: &endpoints,
        };
        let address: IpAddr = address.parse().unwrap();
        async move { node.authenticate_assertion(assertion, &address).await }
    };
    assert!(from("198.51.100.1").await.is_err());
    // None of these has used it up.
    from("192.0.2.7").await.unwrap();
    deployment.set_networks(&key, &[]).await;
    let ends = deployment
        .clock
        .now()
        .saturating_add(Duration::from_secs(100));
    let request = UpdateCredential {
        expires_at: Some(ends).into(),
        ..UpdateCredential::default()
    };
    node.manage(&alder)
        .update(key.id, Some(&Expected::Any), request)
        .await
        .unwrap();
    let text = signer.sign(&claims(&deployment, &key));
    let client = present(node, &text).await.unwrap();
    assert_eq!(node.issue(&client, None).unwrap().expires_in, 100);
    deployment.clock.advance(Duration::from_secs(100));
    let text = signer.sign(&claims(&deployment, &key));
    assert_eq!(refusal(node, &text).await, Refusal::Expired);
    node.manage(&alder).revoke(key.id, None).await.unwrap();
    assert_eq!(refusal(node, &text).await, Refusal::Revoked);
}

#[tokio::test]
async fn a_client_id_beside_it_must_be_the_same() {
    let deployment = deployment();
    let signer = Signer::new("ES256");
    let key = client(&deployment, "apiv2", &[&signer]).await;
    let other = deployment.key("Other", "apiv2", READ).await;
    let text = signer.sign(&claims(&deployment, &key));
    for client_id in [other.client_id.as_str(), "nobody", ""] {
        let assertion = Assertion {
            text: &text,
            client_id: Some(client_id),
            token_addresses: &[],
        };
        let outcome = deployment
            .node
            .authenticate_assertion(assertion, &None::<IpAddr>)
            .await;
        assert!(
            matches!(outcome, Err(AuthenticateError::Assertion(_))),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn the_last_proof_stays_and_others_may_go() {
    let deployment = deployment();
    let node = &deployment.node;
    let alder = admin("alder");
    let signer = Signer::new("ES256");
    let key = client(&deployment, "apiv2", &[&signer]).await;
    let no_keys = || SetKeys {
        jwks: None.into(),
        ..SetKeys::default()
    };
    let remove = || {
        node.manage(&alder)
            .set_keys(key.id, Some(&Expected::Any), no_keys())
    };
    assert!(matches!(remove().await, Err(ManageError::LastProof)));
    let rotated = node
        .manage(&alder)
        .rotate_secret(key.id, RotateSecret::default())
        .await
        .unwrap();
    // Beside the key, the secret may go, and beside the secret the key.
    let selector = rotated.selector.as_str().to_owned();
    assert!(remove().await.is_ok());
    let end = node.manage(&alder).end_secret(key.id, &selector).await;
    assert!(matches!(end, Err(ManageError::LastProof)));
    set_keys(node, &key, signer.key_set()).await.unwrap();
    node.manage(&alder)
        .end_secret(key.id, &selector)
        .await
        .unwrap();
    assert!(matches!(remove().await, Err(ManageError::LastProof)));
    let secret = rotated.client_secret.expose_secret();
    assert!(node.authenticate(&key.client_id, secret).await.is_err());
}

#[tokio::test]
async fn key_sets_are_judged_when_they_are_registered() {
    let deployment = deployment();
    let signer = Signer::with_kid("ES256", "k");
    let key = client(&deployment, "apiv2", &[&signer]).await;
    let (es, rs, ed) = (
        signer.jwk(),
        Signer::new("RS256").jwk(),
        Signer::new("EdDSA").jwk(),
    );
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        json!({"keys": [jwk]})
    };
    let many: Vec<Value> = (0..11).map(|_| Signer::new("EdDSA").jwk()).collect();
    for (set, code) in [
        (json!({}), "malformed_key_set"),
        (json!({"keys": []}), "malformed_key_set"),
        (json!({"keys": {}}), "malformed_key_set"),
        (json!([es]), "malformed_key_set"),
        (json!({"keys": many}), "too_many"),
        (json!({"keys": ["x"]}), "malformed_key"),
        (json!({"keys": [{"kty": "EC"}]}), "malformed_key"),
        (
            json!({"keys": [{"kty": "oct", "k": "AAAA"}]}),
            "private_key",
        ),
        (json!({"keys": [{"kty": "oct"}]}), "private_key"),
        (with(&es, "d", json!("AAAA")), "private_key"),
        (with(&rs, "p", json!("AAAA")), "private_key"),
        (with(&rs, "n", json!("AQAB")), "key_size"),
        (with(&rs, "e", json!("Ag")), "key_size"),
        (with(&rs, "e", json!("AQ")), "key_size"),
        (with(&es, "crv", json!("P-521")), "unsupported_key"),
        (with(&es, "crv", json!("secp256k1")), "unsupported_key"),
        (with(&es, "crv", json!("P-384")), "not_on_curve"),
        (with(&es, "y", es["x"].clone()), "not_on_curve"),
        (with(&es, "x", json!("not base64!")), "malformed_key"),
        (with(&ed, "crv", json!("X25519")), "unsupported_key"),
        (with(&ed, "x", json!("AAAA")), "not_on_curve"),
        (with(&es, "use", json!("enc")), "not_for_signatures"),
        (with(&es, "key_ops", json!(["sign"])), "not_for_signatures"),
        (with(&es, "key_ops", json!("verify")), "not_for_signatures"),
        (with(&es, "alg", json!("RS256")), "unsupported_algorithm"),
        (with(&es, "alg", json!("HS256")), "unsupported_algorithm"),
        (with(&rs, "alg", json!("RS512")), "unsupported_algorithm"),
        (with(&es, "kid", json!("")), "invalid_kid"),
        (with(&es, "kid", json!(1)), "invalid_kid"),
        (
            json!({"keys": [es, with(&rs, "kid", json!("k"))["keys"][0]]}),
            "duplicate_kid",
        ),
        (
            json!({"keys": [rs, with(&rs, "kid", json!("k"))["keys"][0]]}),
            "duplicate_key",
        ),
        (with(&es, "x5c", json!(["x".repeat(17_000)])), "too_long"),
    ] {
        let refused = set_keys(&deployment.node, &key, set.clone()).await;
        let Err(ManageError::Invalid(faults)) = &refused else {
            panic!("{set}: {refused:?}")
        };
        let codes: Vec<_> = faults
            .iter()
            .map(|it: &Fault| (it.field.as_str(), it.code))
            .collect();
        assert_eq!(codes, [("jwks", code)], "{set}");
        // Nothing of a key is repeated.
        assert!(!faults[0].message.contains("AAAA"), "{}", faults[0].message);
    }
    let url = SetKeys {
        jwks_uri: Some("https://keys.example.com/jwks".to_owned()).into(),
        ..SetKeys::default()
    };
    let alder = admin("alder");
    let manage = deployment.node.manage(&alder);
    let refused = manage.set_keys(key.id, Some(&Expected::Any), url).await;
    let Err(ManageError::Invalid(faults)) = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (faults[0].field.as_str(), faults[0].code),
        ("jwks_uri", "outbound_off")
    );
    // Each is right by itself, and so are spare members.
    for set in [
        with(&es, "use", json!("sig")),
        with(&rs, "alg", json!("PS256")),
        with(&ed, "alg", json!("Ed25519")),
        with(&es, "key_ops", json!(["verify"])),
    ] {
        set_keys(&deployment.node, &key, set).await.unwrap();
    }
}

/// A key's own `alg` bounds what it verifies.
#[tokio::test]
async fn a_keys_algorithm_counts() {
    let deployment = deployment();
    let (rs, ps) = (Signer::new("RS256"), Signer::new("PS256"));
    let key = client(&deployment, "apiv2", &[&rs]).await;
    present(&deployment.node, &ps.sign(&claims(&deployment, &key)))
        .await
        .unwrap();
    let mut only = rs.jwk();
    only["alg"] = json!("RS256");
    set_keys(&deployment.node, &key, json!({"keys": [only]}))
        .await
        .unwrap();
    let text = ps.sign(&claims(&deployment, &key));
    assert_eq!(
        refusal(&deployment.node, &text).await,
        Refusal::WrongSignature
    );
    present(&deployment.node, &rs.sign(&claims(&deployment, &key)))
        .await
        .unwrap();
}

/// Reads by made-up client ids have places of their own, one for each address: others' first uses find theirs free.
#[tokio::test]
async fn made_up_clients_keep_nobody_else_waiting() {
    let deployment = deployment();
    let signer = Signer::new("ES256");
    let key = client(&deployment, "apiv2", &[&signer]).await;
    let by_secret = deployment.key("Secret", "apiv2", READ).await;
    let node = second_node(&deployment);
    node.catch_up().await.unwrap();
    deployment.store.hold_reads();
    let mut strangers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let mut claims = claims(&deployment, &key);
        let name = ClientId::generate(&ClientIdPrefix::default(), node.environment(), &OsEntropy);
        claims["iss"] = name.as_str().into();
        claims["sub"] = name.as_str().into();
        let (node, text) = (node.clone(), signer.sign(&claims));
        strangers.spawn(async move { refusal(&node, &text).await });
    }
    deployment.store.read_is_held().await;
    let with_a_secret = {
        let (node, key) = (node.clone(), by_secret);
        tokio::spawn(async move { node.authenticate(&key.client_id, &key.secret).await })
    };
    let with_a_key = {
        let (node, text) = (node.clone(), signer.sign(&claims(&deployment, &key)));
        tokio::spawn(async move {
            let assertion = Assertion {
                text: &text,
                client_id: None,
                token_addresses: &[TOKEN_URL.to_owned()],
            };
            let elsewhere: IpAddr = "198.51.100.7".parse().unwrap();
            node.authenticate_assertion(assertion, &elsewhere).await
        })
    };
    // The next two reads that run are not theirs.
    deployment.store.read_is_held().await;
    deployment.store.read_is_held().await;
    deployment.store.release(1_000);
    with_a_secret.await.unwrap().unwrap();
    with_a_key.await.unwrap().unwrap();
    for outcome in strangers.join_all().await {
        assert_eq!(outcome, Refusal::UnknownClient);
    }
}
