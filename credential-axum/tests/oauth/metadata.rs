//! What the endpoints say about themselves (RFC 8414, SMART App Launch 2.2).

use axum::body::Body;
use credential_axum::oauth_router;
use credential_core::ScopeCatalog;
use http::{Request, StatusCode};
use serde_json::json;

use crate::{
    common::{ISSUER, Platform},
    platform, post, refused,
};

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

/// RFC 8414 §3.1: between host and path of the issuer.
#[tokio::test]
async fn an_issuer_with_a_path_has_its_metadata_where_clients_look() {
    const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";
    for (issuer, path) in [
        ("https://platform.example/auth", "/auth"),
        ("https://platform.example/a/b-c/", "/a/b-c"),
    ] {
        let platform = Platform::build(ScopeCatalog::elation(), issuer, oauth_router);
        for path in [WELL_KNOWN.to_owned(), format!("{WELL_KNOWN}{path}")] {
            let answer = platform.send(Request::get(&path), Body::empty()).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            let named = answer.json()["issuer"].as_str().unwrap().to_owned();
            assert_eq!(named, issuer.trim_end_matches('/'));
        }
    }
    let platform = Platform::new(oauth_router);
    let answer = platform
        .send(Request::get(format!("{WELL_KNOWN}/auth")), Body::empty())
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
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
