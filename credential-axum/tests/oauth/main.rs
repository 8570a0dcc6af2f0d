//! What integrations and resource servers see of the OAuth endpoints.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

#[path = "../common/oauth.rs"]
mod common;

#[path = "../../../credential-core/tests/common/signer.rs"]
mod signer;

mod all;
mod assertion;
mod introspection;
mod metadata;
mod token;

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{Answer, Key, Platform};
use credential_axum::{OAuthConfig, oauth_router_with};
use http::{Request, StatusCode, request::Builder};

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
            .introspection_secret(RESOURCE_SERVER.to_owned())
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
        created.credential.identity.client_id.as_str(),
        created.client_secret.as_ref().unwrap().expose_secret(),
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
