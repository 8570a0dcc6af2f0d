//! What integrations and resource servers see of the OAuth endpoints.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

#[path = "common/oauth.rs"]
mod common;

use axum::body::{Body, Bytes};
use base64::{Engine, engine::general_purpose::STANDARD};
use common::{Answer, ISSUER, Key, Platform};
use credential_axum::{OAuthConfig, oauth_router, oauth_router_with};
use http::{Request, StatusCode, request::Builder};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use zeroize::Zeroizing;

const FORM: &str = "application/x-www-form-urlencoded";
const TOKEN: &str = "/oauth2/token";
const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";
const RESOURCE_SERVER: &str = "resource-server-secret";

/// The default endpoints, an alias as in the field, and a resource server.
fn platform() -> Platform {
    Platform::new(|credentials| {
        let config = OAuthConfig::default()
            .token_path_alias("/api/2.0/oauth2/token/")
            .unwrap()
            .introspection_secret(Zeroizing::new(RESOURCE_SERVER.to_owned()))
            .unwrap();
        oauth_router_with(credentials, config)
    })
}

fn post(path: &str) -> Builder {
    Request::post(path).header("content-type", FORM)
}

fn secret(key: &Key) -> (&str, &str) {
    let created = &key.created;
    (
        created.credential.client_id.as_str(),
        created.client_secret.expose_secret(),
    )
}

/// `client_secret_post`, as a form without a trailing `&`.
fn in_body(key: &Key) -> String {
    let (id, secret) = secret(key);
    format!("client_id={id}&client_secret={secret}")
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn basic_of(key: &Key) -> String {
    let (id, secret) = secret(key);
    basic(id, secret)
}

impl Platform {
    /// Asks for a token, authenticated in the body.
    async fn ask(&self, key: &Key, more: &str) -> Answer {
        let form = format!("grant_type=client_credentials&{}{more}", in_body(key));
        self.send(post(TOKEN), form).await
    }

    async fn issue(&self, key: &Key, scope: &str) -> String {
        let answer = self.ask(key, &format!("&scope={scope}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn introspect(&self, token: &str) -> Answer {
        let request = post(INTROSPECT).header("authorization", format!("Bearer {RESOURCE_SERVER}"));
        self.send(request, format!("token={token}")).await
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert_eq!(answer.json()["error"], error, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
}

#[tokio::test]
async fn a_token_by_every_way_in() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let (id, secret) = secret(&key);
    let grant = "grant_type=client_credentials";
    for (path, authorization, form) in [
        (TOKEN, None, format!("{grant}&{}", in_body(&key))),
        (
            "/api/2.0/oauth2/token/",
            None,
            format!("{grant}&{}&", in_body(&key)),
        ),
        (TOKEN, Some(basic(id, secret)), grant.to_owned()),
        // Form-encoded before base64, as RFC 6749 §2.3.1 has it.
        (
            TOKEN,
            Some(basic(&id.replace('_', "%5F"), secret)),
            grant.to_owned(),
        ),
        (
            TOKEN,
            Some(basic(id, secret).replace("Basic", "bAsIc ")),
            grant.to_owned(),
        ),
        (
            TOKEN,
            Some(basic(id, secret)),
            format!("{grant}&client_id={id}"),
        ),
        (
            TOKEN,
            Some(basic(id, secret)),
            format!("{grant}&client_secret=&scope=&audience=x"),
        ),
    ] {
        let mut request = post(path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let answer = platform.send(request, form.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{form}: {}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("pragma"), "no-cache");
        let mut json = answer.json();
        let token = json["access_token"].take();
        assert!(token.as_str().is_some_and(|token| token.len() > 40));
        insta::allow_duplicates! {
            insta::assert_snapshot!(json, @r#"{"access_token":null,"expires_in":36000,"scope":"system/patients.read","token_type":"Bearer"}"#);
        }
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_before_the_client_is_looked_at() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let good = format!("grant_type=client_credentials&{}", in_body(&key));
    let twice = format!("{good}&grant_type=client_credentials");
    let with_basic = || post(TOKEN).header("authorization", basic_of(&key));
    let grant = "grant_type=client_credentials";
    for (what, request, body) in [
        ("grant_type twice", post(TOKEN), twice),
        (
            "an unknown parameter twice",
            post(TOKEN),
            format!("{good}&x=1&x=1"),
        ),
        (
            "broken percent-encoding",
            post(TOKEN),
            format!("{good}&scope=%2"),
        ),
        ("broken UTF-8", post(TOKEN), format!("{good}&scope=%ff")),
        ("secret in header and body", with_basic(), good.clone()),
        (
            "another client in the body",
            with_basic(),
            format!("{grant}&client_id=cred"),
        ),
        (
            "two Authorization headers",
            with_basic().header("authorization", basic_of(&key)),
            grant.to_owned(),
        ),
        (
            "credentials in the URL",
            post(&format!("{TOKEN}?client_secret=x")),
            good.clone(),
        ),
        (
            "JSON",
            Request::post(TOKEN).header("content-type", "application/json"),
            good.clone(),
        ),
        ("no content type", Request::post(TOKEN), good.clone()),
        (
            "two content types",
            post(TOKEN).header("content-type", FORM),
            good.clone(),
        ),
    ] {
        let answer = platform.send(request, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}");
        refused(&answer, 400, "invalid_request");
    }
    let huge = format!("{good}&x={}", "x".repeat(64 * 1024));
    refused(
        &platform.send(post(TOKEN), huge).await,
        413,
        "invalid_request",
    );
    refused(
        &platform.send(post(TOKEN), torn()).await,
        400,
        "invalid_request",
    );
}

/// A body that breaks off after its first bytes.
fn torn() -> Body {
    let start = Full::<Bytes>::from("grant_type=").map_err(|never| match never {});
    let end = async { Some(Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))) };
    Body::new(start.with_trailers(end))
}

#[tokio::test]
async fn one_answer_for_every_client_that_is_not_authenticated() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let other = platform
        .key("birch", "apiv2", &["system/patients.read"])
        .await;
    let dead = platform
        .key("alder", "apiv2", &["system/vitals.read"])
        .await;
    platform.revoke(&dead).await;
    let (id, genuine) = secret(&key);
    let grant = "grant_type=client_credentials";
    let last = if genuine.ends_with('A') { 'B' } else { 'A' };
    let wrong = format!("{}{last}", &genuine[..genuine.len() - 1]);
    let mut bodies = Vec::new();
    for (authorization, form) in [
        (None, grant.to_owned()),
        (None, format!("{grant}&client_id={id}")),
        (None, format!("{grant}&client_secret={genuine}")),
        (
            None,
            format!("{grant}&client_id={id}&client_secret=made-up"),
        ),
        (
            None,
            format!("{grant}&client_id={id}&client_secret={wrong}"),
        ),
        (
            None,
            format!("{grant}&client_id={id}&client_secret={}", secret(&other).1),
        ),
        (None, format!("{grant}&{}", in_body(&dead))),
        // The client comes before the grant type.
        (
            None,
            format!("grant_type=password&client_id={id}&client_secret=made-up"),
        ),
        (Some(basic(id, "")), grant.to_owned()),
        (Some(basic(id, "%zz")), grant.to_owned()),
        (Some("Basic".to_owned()), grant.to_owned()),
        (Some("Basic !".to_owned()), grant.to_owned()),
        (
            Some(format!("Basic {}", STANDARD.encode("no colon"))),
            grant.to_owned(),
        ),
        (
            Some(format!("Basic {}", STANDARD.encode(b"\xff:\xff"))),
            grant.to_owned(),
        ),
        (Some("Digest x".to_owned()), grant.to_owned()),
        (Some(format!("Bearer {RESOURCE_SERVER}")), grant.to_owned()),
    ] {
        let mut request = post(TOKEN);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let answer = platform.send(request, form).await;
        refused(&answer, 401, "invalid_client");
        assert_eq!(
            answer.header("www-authenticate"),
            r#"Basic realm="oauth2", charset="UTF-8""#
        );
        bodies.push(answer.body);
    }
    bodies.dedup();
    insta::assert_snapshot!(bodies.join("\n"), @r#"{"error":"invalid_client","error_description":"client authentication failed"}"#);
}

#[tokio::test]
async fn only_client_credentials_are_granted() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    for (grant, error) in [
        ("", "invalid_request"),
        ("grant_type=&", "invalid_request"),
        ("grant_type=password&", "unsupported_grant_type"),
        ("grant_type=refresh_token&", "unsupported_grant_type"),
        ("grant_type=Client_Credentials&", "unsupported_grant_type"),
    ] {
        let answer = platform
            .send(post(TOKEN), format!("{grant}{}", in_body(&key)))
            .await;
        refused(&answer, 400, error);
    }
}

#[tokio::test]
async fn scopes_are_granted_narrowed_or_refused() {
    let platform = platform();
    let api = platform
        .key(
            "alder",
            "apiv2",
            &["system/patients.read", "system/patients.write"],
        )
        .await;
    let fhir = platform
        .key(
            "alder",
            "fhir",
            &["system/Patient.read", "system/Observation.read"],
        )
        .await;
    let empty = platform.key("alder", "apiv2", &[]).await;
    for (key, asked, granted) in [
        (&api, "system/patients.read", "system/patients.read"),
        (
            &api,
            "system/patients.write%20system/patients.read",
            "system/patients.write system/patients.read",
        ),
        // Elation's own example on a key without full access: the token follows the key.
        (&api, "apiv2", "system/patients.read system/patients.write"),
        (&api, "", "system/patients.read system/patients.write"),
        // The client's own spelling comes back where it says the same.
        (&fhir, "system/Patient.rs", "system/Patient.rs"),
        (
            &fhir,
            "system/*.read",
            "system/Observation.read system/Patient.read",
        ),
        (
            &fhir,
            "system/*.rs",
            "system/Observation.read system/Patient.read",
        ),
    ] {
        let answer = platform.ask(key, &format!("&scope={asked}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{asked}: {}", answer.body);
        assert_eq!(answer.json()["scope"], granted, "{asked}");
    }
    for (key, asked, why) in [
        (
            &api,
            "system/vitals.read",
            "does not hold `system/vitals.read`",
        ),
        (&api, "system/Patient.read", "unknown scope"),
        (&api, "nonsense", "unknown scope `nonsense`"),
        (&api, "a%22b", "not a list of scope-tokens"),
        (&fhir, "system/patients.read", "unknown scope"),
        (&empty, "", "has no scopes"),
        (&empty, "apiv2", "has no scopes"),
    ] {
        let answer = platform.ask(key, &format!("&scope={asked}")).await;
        refused(&answer, 400, "invalid_scope");
        let json = answer.json();
        let said = json["error_description"].as_str().unwrap();
        assert!(said.contains(why), "{asked}: {said}");
    }
}

#[tokio::test]
async fn a_token_without_scope_follows_its_key() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let named = platform.issue(&key, "system/patients.read").await;
    let follows = platform.issue(&key, "").await;
    platform
        .set_scopes(&key, &["system/patients.read", "system/vitals.read"])
        .await;
    let both = "system/patients.read system/vitals.read";
    assert_eq!(platform.introspect(&follows).await.json()["scope"], both);
    let narrow = platform.introspect(&named).await.json();
    assert_eq!(narrow["scope"], "system/patients.read");
    platform.set_scopes(&key, &["system/vitals.read"]).await;
    assert_eq!(platform.introspect(&named).await.json()["scope"], "");
}

#[tokio::test]
async fn a_resource_server_introspects_every_token() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let answer = platform.introspect(&key.token).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("cache-control"), "no-store");
    let json = answer.json();
    let lifetime = json["exp"].as_i64().unwrap() - json["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 36_000);
    assert_eq!(
        json,
        json!({
            "active": true,
            "scope": "system/patients.read",
            "client_id": secret(&key).0,
            "token_type": "Bearer",
            "exp": json["exp"],
            "iat": json["iat"],
            "iss": ISSUER,
            "tenant": "alder",
            "api_type": "apiv2",
        })
    );
    for dead in [
        "made-up",
        &key.token[..key.token.len() - 1],
        &"x".repeat(60_000),
    ] {
        assert_eq!(platform.introspect(dead).await.body, r#"{"active":false}"#);
    }
    platform.revoke(&key).await;
    assert_eq!(
        platform.introspect(&key.token).await.body,
        r#"{"active":false}"#
    );
}

#[tokio::test]
async fn a_client_introspects_tokens_of_its_own_tenant_only() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let colleague = platform
        .key("alder", "fhir", &["system/Patient.read"])
        .await;
    let stranger = platform
        .key("birch", "apiv2", &["system/patients.read"])
        .await;
    for (caller, active) in [(&key, true), (&colleague, true), (&stranger, false)] {
        let form = format!("{}&token={}", in_body(caller), key.token);
        let in_the_body = platform.send(post(INTROSPECT), form).await;
        let request = post(INTROSPECT).header("authorization", basic_of(caller));
        let by_basic = platform.send(request, format!("token={}", key.token)).await;
        for answer in [in_the_body, by_basic] {
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.json()["active"], active);
            assert!(
                active || answer.body == r#"{"active":false}"#,
                "{}",
                answer.body
            );
        }
    }
}

#[tokio::test]
async fn introspection_is_not_for_everyone() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let body = format!("token={}", key.token);
    for bearer in ["wrong", "", &key.token, &RESOURCE_SERVER[1..]] {
        let request = post(INTROSPECT).header("authorization", format!("Bearer {bearer}"));
        let answer = platform.send(request, body.clone()).await;
        refused(&answer, 401, "invalid_client");
        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(
            challenges,
            [
                r#"Basic realm="oauth2", charset="UTF-8""#,
                r#"Bearer realm="oauth2""#
            ]
        );
    }
    refused(
        &platform.send(post(INTROSPECT), body.clone()).await,
        401,
        "invalid_client",
    );
    let both = post(INTROSPECT).header("authorization", format!("Bearer {RESOURCE_SERVER}"));
    let answer = platform
        .send(both, format!("{body}&{}", in_body(&key)))
        .await;
    refused(&answer, 400, "invalid_request");
    for no_token in ["", "token="] {
        let request = post(INTROSPECT).header("authorization", basic_of(&key));
        refused(
            &platform.send(request, no_token).await,
            400,
            "invalid_request",
        );
    }

    // Without the option no bearer is good enough.
    let plain = Platform::new(oauth_router);
    let request = post(INTROSPECT).header("authorization", format!("Bearer {RESOURCE_SERVER}"));
    refused(&plain.send(request, "token=x").await, 401, "invalid_client");
    let request = post("/api/2.0/oauth2/token/");
    assert_eq!(plain.send(request, "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_client_revokes_its_own_tokens_only() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let colleague = platform
        .key("alder", "fhir", &["system/Patient.read"])
        .await;
    let token = platform.issue(&key, "").await;
    let is_active = async |token: &str| platform.introspect(token).await.json()["active"] == true;
    let revoke = async |by: &Key, token: &str| {
        let form = format!(
            "{}&token_type_hint=refresh_token&token={token}",
            in_body(by)
        );
        let answer = platform.send(post(REVOKE), form).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.body, "");
        assert_eq!(answer.header("cache-control"), "no-store");
    };
    revoke(&colleague, &token).await;
    revoke(&key, "made-up").await;
    assert!(is_active(&token).await);
    revoke(&key, &token).await;
    assert!(!is_active(&token).await);
    assert!(
        is_active(&key.token).await,
        "another token of the same key lives on"
    );
    revoke(&key, &token).await;

    refused(
        &platform.send(post(REVOKE), in_body(&key)).await,
        400,
        "invalid_request",
    );
    let request = post(REVOKE).header("authorization", format!("Bearer {RESOURCE_SERVER}"));
    refused(
        &platform.send(request, "token=x").await,
        401,
        "invalid_client",
    );
}

#[tokio::test]
async fn without_the_store_there_is_no_verdict() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    platform.cut_off_store();
    let token = platform.ask(&key, "").await;
    let introspected = platform.introspect(&key.token).await;
    let form = format!("{}&token={}", in_body(&key), key.token);
    let revoked = platform.send(post(REVOKE), form).await;
    for answer in [token, introspected, revoked] {
        refused(&answer, 503, "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    // What cannot be ours is refused all the same.
    let forged = "grant_type=client_credentials&client_id=a&client_secret=b";
    refused(
        &platform.send(post(TOKEN), forged).await,
        401,
        "invalid_client",
    );
}

#[tokio::test]
async fn other_methods_are_told_which_are_allowed() {
    let platform = platform();
    for path in [TOKEN, "/api/2.0/oauth2/token/", INTROSPECT, REVOKE] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            let request = Request::builder().method(method).uri(path);
            let answer = platform.send(request, Body::empty()).await;
            assert_eq!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert_eq!(answer.header("allow"), "POST");
            assert!(method == "HEAD" || answer.json()["error"] == "invalid_request");
        }
    }
    let metadata = "/.well-known/oauth-authorization-server";
    let answer = platform.send(Request::post(metadata), Body::empty()).await;
    refused(&answer, 405, "invalid_request");
    assert_eq!(answer.header("allow"), "GET,HEAD");
    let answer = platform.send(Request::head(metadata), Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn the_metadata_is_true() {
    let platform = platform();
    let path = "/.well-known/oauth-authorization-server";
    let answer = platform.send(Request::get(path), Body::empty()).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let mut json = answer.json();
    let scopes = json["scopes_supported"].take();
    assert_eq!(scopes.as_array().unwrap().len(), 151 + 2 + 28);
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r#"
    {
      "grant_types_supported": [
        "client_credentials"
      ],
      "introspection_endpoint": "https://platform.example/oauth2/introspect",
      "introspection_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post",
        "Bearer"
      ],
      "issuer": "https://platform.example",
      "response_types_supported": [],
      "revocation_endpoint": "https://platform.example/oauth2/revoke",
      "revocation_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post"
      ],
      "scopes_supported": null,
      "token_endpoint": "https://platform.example/oauth2/token",
      "token_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post"
      ]
    }
    "#);
    // Every endpoint it names is there.
    for field in [
        "token_endpoint",
        "introspection_endpoint",
        "revocation_endpoint",
    ] {
        let path = json[field].as_str().unwrap().strip_prefix(ISSUER).unwrap();
        let answer = platform.send(post(path), "").await;
        refused(&answer, 401, "invalid_client");
    }
    // Without the option it does not claim the bearer.
    let plain = Platform::new(oauth_router);
    let json = plain.send(Request::get(path), Body::empty()).await.json();
    assert_eq!(
        json["introspection_endpoint_auth_methods_supported"],
        json!(["client_secret_basic", "client_secret_post"])
    );
}

#[tokio::test]
async fn fhir_clients_find_the_smart_configuration() {
    let platform = platform();
    let path = "/fhir/r4/.well-known/smart-configuration";
    let answer = platform.send(Request::get(path), Body::empty()).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let mut json = answer.json();
    let scopes = json["scopes_supported"].take();
    assert_eq!(scopes.as_array().unwrap().len(), 28);
    assert!(
        scopes
            .as_array()
            .unwrap()
            .contains(&json!("system/Patient.read"))
    );
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r#"
    {
      "capabilities": [
        "client-confidential-symmetric",
        "permission-v1",
        "permission-v2"
      ],
      "code_challenge_methods_supported": [
        "S256"
      ],
      "grant_types_supported": [
        "client_credentials"
      ],
      "introspection_endpoint": "https://platform.example/oauth2/introspect",
      "revocation_endpoint": "https://platform.example/oauth2/revoke",
      "scopes_supported": null,
      "token_endpoint": "https://platform.example/oauth2/token",
      "token_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post"
      ]
    }
    "#);
    let apiv2 = "/api/2.0/.well-known/smart-configuration";
    let answer = platform.send(Request::get(apiv2), Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
