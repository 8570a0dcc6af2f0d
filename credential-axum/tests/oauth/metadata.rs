//! What the endpoints say about themselves (RFC 8414, SMART App Launch 2.2).

use axum::body::Body;
use credential_axum::oauth_router;
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
