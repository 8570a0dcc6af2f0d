//! Public keys and trusted workloads over HTTP.

use serde_json::{Value, json};

use crate::common::{ADMIN, Answer, Host, ask};

/// RFC 7515 appendix A.3, with a name.
fn key(kid: &str) -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": kid,
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

fn rule() -> Value {
    json!({
        "issuer": "https://token.actions.example.com", "audience": "https://api.example.com",
        "subject": "repo:acme/*", "claims": {"environment": "production", "attempt": 1.5, "fork": false},
        "jwks": {"keys": [key("ci")]},
    })
}

async fn create(host: &Host, authentication: Value) -> Answer {
    let body = json!({"name": "Lab", "api_type": "apiv2", "authentication": authentication});
    host.send(ask("POST", "/credentials").by(ADMIN).json(&body))
        .await
}

async fn put(host: &Host, path: &str, body: &Value) -> Answer {
    host.send(ask("PUT", path).by(ADMIN).if_match("*").json(body))
        .await
}

fn codes(answer: &Answer) -> Vec<(String, String)> {
    let errors = answer.json()["errors"].clone();
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let each = errors.as_array().unwrap().iter();
    each.map(|it| (text(&it["field"]), text(&it["code"])))
        .collect()
}

#[tokio::test]
async fn a_key_without_a_secret() {
    let host = Host::new();
    let answer = create(
        &host,
        json!({"kind": "public_key", "jwks": {"keys": [key("k1")]}}),
    )
    .await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    let json = answer.json();
    assert_eq!(json["client_secret"], Value::Null);
    assert!(json.as_object().unwrap().contains_key("client_secret"));
    let credential = &json["credential"];
    assert_eq!(credential["secrets"], json!([]));
    assert_eq!(credential["jwks_uri"], Value::Null);
    let shown = json!([{
        "kid": "k1", "kty": "EC", "alg": null, "thumbprint": "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
        "jwk": key("k1"), "created_at": "2026-01-01T00:00:00Z", "last_used_at": null,
    }]);
    assert_eq!(credential["keys"], shown);
    let list = host.get("/credentials?view=summary").await.json();
    assert_eq!(list["items"][0]["keys"][0]["kid"], "k1");
    assert_eq!(
        list["items"][0]["keys"][0]["jwk"],
        Value::Null,
        "a list stays short"
    );
    assert_eq!(credential["workloads"], json!([]));
    let path = format!("/credentials/{}", credential["id"].as_str().unwrap());
    // Another key in its place; the same set again changes nothing.
    let keys = format!("{path}/keys");
    let set = json!({"jwks": {"keys": [key("k2")]}});
    let first = put(&host, &keys, &set).await;
    assert_eq!(first.status, 200, "{}", first.json());
    assert_eq!(first.json()["credential"]["keys"][0]["kid"], "k2");
    assert!(first.json()["effective_everywhere_at"].is_string());
    assert_eq!(first.header("etag"), "\"2\"");
    assert_eq!(put(&host, &keys, &set).await.header("etag"), "\"2\"");
    assert_eq!(
        put(&host, &keys, &json!({"jwks": null})).await.problem(),
        (409, "last_proof".into())
    );
    let trail = host
        .send(ask("GET", "/audit-events").by(ADMIN).empty())
        .await
        .json();
    let event = &trail["items"][0];
    assert_eq!(event["action"], "credential.keys_changed");
    assert_eq!(event["details"]["keys"][0]["kid"], "k2");
    assert_eq!(event["details"]["keys_before"][0]["kid"], "k1");
}

#[tokio::test]
async fn a_workload_without_a_secret() {
    let host = Host::new();
    let mut authentication = rule();
    authentication["kind"] = "workload".into();
    let answer = create(&host, authentication).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    let credential = answer.json()["credential"].clone();
    let shown = &credential["workloads"][0];
    assert_eq!(shown["id"].as_str().unwrap().len(), 16);
    for (name, value) in rule().as_object().unwrap() {
        assert_eq!(shown[name], *value, "{name}");
    }
    let path = format!(
        "/credentials/{}/workloads",
        credential["id"].as_str().unwrap()
    );
    let mut other = rule();
    other["subject"] = "repo:acme/site:ref:refs/heads/main".into();
    let changed = put(&host, &path, &json!({"workloads": [other, rule()]})).await;
    assert_eq!(changed.status, 200, "{}", changed.json());
    let workloads = changed.json()["credential"]["workloads"].clone();
    assert_eq!(workloads[1], *shown);
    assert_eq!(
        workloads[0]["subject"],
        "repo:acme/site:ref:refs/heads/main"
    );
    assert_eq!(
        put(&host, &path, &json!({"workloads": []})).await.problem(),
        (409, "last_proof".into())
    );
}

#[tokio::test]
async fn every_fault_is_named() {
    let host = Host::new();
    let field = |code: &str| vec![("authentication".to_owned(), code.to_owned())];
    for (authentication, code) in [
        (json!("secret"), "wrong_type"),
        (json!(null), "wrong_type"),
        (json!({}), "required"),
        (json!({"kind": "password"}), "unsupported_authentication"),
        (json!({"kind": 1}), "unsupported_authentication"),
        (json!({"kind": "secret", "jwks": {}}), "unknown_field"),
        (json!({"kind": "public_key"}), "required"),
        (json!({"kind": "public_key", "jwks": "x"}), "wrong_type"),
        (
            json!({"kind": "public_key", "jwks": {"keys": []}, "jwks_uri": "https://a.example.com"}),
            "not_with_jwks",
        ),
        (json!({"kind": "public_key", "jwks_uri": 1}), "wrong_type"),
        (
            json!({"kind": "workload", "issuer": "a", "audience": "b", "subject": 1}),
            "wrong_type",
        ),
        (
            json!({"kind": "workload", "issuer": "a", "audience": "b"}),
            "required",
        ),
        (
            json!({"kind": "workload", "issuer": "a", "audience": "b", "subject": "c", "claims": []}),
            "wrong_type",
        ),
        (
            json!({"kind": "workload", "issuer": "a", "audience": "b", "subject": "c", "other": 1}),
            "unknown_field",
        ),
    ] {
        let answer = create(&host, authentication.clone()).await;
        assert_eq!(answer.status, 422, "{authentication}: {}", answer.json());
        assert_eq!(codes(&answer), field(code), "{authentication}");
    }
    let answer = create(&host, json!({"kind": "public_key", "jwks": {"keys": []}})).await;
    let of_set = [(
        "authentication.jwks".to_owned(),
        "malformed_key_set".to_owned(),
    )];
    assert_eq!(codes(&answer), of_set);
    let answer = create(
        &host,
        json!({"kind": "public_key", "jwks_uri": "https://a.example.com/k"}),
    )
    .await;
    let off = [(
        "authentication.jwks_uri".to_owned(),
        "outbound_off".to_owned(),
    )];
    assert_eq!(codes(&answer), off);
    // Nothing was made.
    let listed = host
        .send(ask("GET", "/credentials").by(ADMIN).empty())
        .await
        .json();
    assert_eq!(listed["items"], json!([]));
}

/// A key that should have stayed at home is refused, and nothing of it is repeated or kept.
#[tokio::test]
async fn a_private_key_goes_nowhere() {
    let host = Host::new();
    let mut private = key("k1");
    private["d"] = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI".into();
    let answer = create(
        &host,
        json!({"kind": "public_key", "jwks": {"keys": [private]}}),
    )
    .await;
    let refused = [("authentication.jwks".to_owned(), "private_key".to_owned())];
    assert_eq!(codes(&answer), refused);
    assert!(!answer.json().to_string().contains("jpsQnn"));
}

#[tokio::test]
async fn bodies_of_keys_and_workloads_are_read_strictly() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let (keys, workloads) = (format!("{path}/keys"), format!("{path}/workloads"));
    for (path, body, code) in [
        (&keys, json!({}), "required"),
        (&keys, json!({"jwks": [], "jwks_uri": null}), "wrong_type"),
        (&keys, json!({"jwks_uri": 7}), "wrong_type"),
        (
            &keys,
            json!({"jwks": {"keys": [key("a")]}, "jwks_uri": "https://a.example.com"}),
            "not_with_jwks",
        ),
        (
            &keys,
            json!({"jwks": {"keys": [key("a"), key("a")]}}),
            "duplicate_kid",
        ),
        (&workloads, json!({}), "required"),
        (&workloads, json!({"workloads": {}}), "wrong_type"),
        (&workloads, json!({"workloads": [1]}), "wrong_type"),
        (
            &workloads,
            json!({"workloads": [rule(), rule()]}),
            "duplicate",
        ),
    ] {
        let answer = put(&host, path, &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.json());
        assert!(
            codes(&answer).iter().any(|(_, it)| it == code),
            "{body}: {}",
            answer.json()
        );
    }
    let repeated = r#"{"jwks":{"keys":[{"kty":"EC","kty":"RSA"}]}}"#;
    let answer = host
        .send(ask("PUT", &keys).by(ADMIN).if_match("*").raw(repeated))
        .await;
    assert_eq!(answer.problem(), (422, "invalid".into()));
    let none = ask("PUT", &keys).by(ADMIN).json(&json!({"jwks": null}));
    assert_eq!(
        host.send(none).await.problem(),
        (428, "precondition_required".into())
    );
    let stale = ask("PUT", &keys)
        .by(ADMIN)
        .if_match("\"7\"")
        .json(&json!({"jwks": null}));
    assert_eq!(
        host.send(stale).await.problem(),
        (412, "stale_version".into())
    );
    // A secret is left, so no keys is fine and nothing new.
    assert_eq!(
        put(&host, &keys, &json!({"jwks": null}))
            .await
            .header("etag"),
        "\"1\""
    );
    // The place of a rule is in the sentence.
    let answer = put(
        &host,
        &workloads,
        &json!({"workloads": [rule(), {"issuer": "a"}]}),
    )
    .await;
    let faults = answer.json()["errors"].clone();
    assert_eq!(
        faults[0]["message"], "`workloads[1]`: `audience` is missing",
        "{faults}"
    );
}
