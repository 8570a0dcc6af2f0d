//! What integrations and resource servers see of the OAuth endpoints.

#[path = "common/oauth.rs"]
mod common;

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use common::{Answer, ISSUER, Key, Platform};
use credential_axum::{OAuthConfig, oauth_router, oauth_router_with};
use http::{Request, StatusCode, request::Builder};
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
    let key = platform.key("alder", "apiv2", &["system/patients.read"]).await;
    let (id, secret) = secret(&key);
    let grant = "grant_type=client_credentials";
    for (path, authorization, form) in [
        (TOKEN, None, format!("{grant}&{}", in_body(&key))),
        ("/api/2.0/oauth2/token/", None, format!("{grant}&{}&", in_body(&key))),
        (TOKEN, Some(basic(id, secret)), grant.to_owned()),
        // Form-encoded before base64, as RFC 6749 §2.3.1 has it.
        (TOKEN, Some(basic(&id.replace('_', "%5F"), secret)), grant.to_owned()),
        (TOKEN, Some(basic(id, secret).replace("Basic", "bAsIc ")), grant.to_owned()),
        (TOKEN, Some(basic(id, secret)), format!("{grant}&client_id={id}")),
        (TOKEN, Some(basic(id, secret)), format!("{grant}&client_secret=&scope=&audience=x")),
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
    let key = platform.key("alder", "apiv2", &["system/patients.read"]).await;
    let good = format!("grant_type=client_credentials&{}", in_body(&key));
    let twice = format!("{good}&grant_type=client_credentials");
    let with_basic = || post(TOKEN).header("authorization", basic_of(&key));
    let grant = "grant_type=client_credentials";
    for (what, request, body) in [
        ("grant_type twice", post(TOKEN), twice),
        ("an unknown parameter twice", post(TOKEN), format!("{good}&x=1&x=1")),
        ("broken percent-encoding", post(TOKEN), format!("{good}&scope=%2")),
        ("broken UTF-8", post(TOKEN), format!("{good}&scope=%ff")),
        ("secret in header and body", with_basic(), good.clone()),
        ("another client in the body", with_basic(), format!("{grant}&client_id=cred")),
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
        ("two content types", post(TOKEN).header("content-type", FORM), good.clone()),
    ] {
        let answer = platform.send(request, body).await;
        println!("{what}");
        refused(&answer, 400, "invalid_request");
    }
    let huge = format!("{good}&x={}", "x".repeat(64 * 1024));
    refused(&platform.send(post(TOKEN), huge).await, 413, "invalid_request");
    let torn = Body::new(http_body_util::StreamBody::new(Torn));
    refused(&platform.send(post(TOKEN), torn).await, 400, "invalid_request");
}

/// A body that breaks off after its first bytes.
struct Torn;

impl futures_core::Stream for Torn {
    type Item = Result<http_body::Frame<axum::body::Bytes>, std::io::Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into())))
    }
}
