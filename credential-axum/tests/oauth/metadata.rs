//! What the endpoints say about themselves and the APIs (RFC 8414, RFC 9728, SMART App Launch 2.2).

use std::path::Path;

use axum::{Router, body::Body, routing::get};
use credential_axum::{Guard, OAuthConfig, oauth_router, oauth_router_with};
use credential_core::ScopeCatalog;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::{
    INTROSPECT,
    common::{ISSUER, Platform, in_full},
    in_body, platform, post, refused,
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
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:jwt-bearer"
      ],
      "introspection_endpoint": "https://platform.example/oauth2/introspect",
      "introspection_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt",
        "Bearer"
      ],
      "introspection_endpoint_auth_signing_alg_values_supported": [
        "RS256",
        "RS384",
        "PS256",
        "ES256",
        "ES384",
        "EdDSA",
        "Ed25519"
      ],
      "issuer": "https://platform.example",
      "response_types_supported": [
        "none"
      ],
      "revocation_endpoint": "https://platform.example/oauth2/revoke",
      "revocation_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt"
      ],
      "revocation_endpoint_auth_signing_alg_values_supported": [
        "RS256",
        "RS384",
        "PS256",
        "ES256",
        "ES384",
        "EdDSA",
        "Ed25519"
      ],
      "scopes_supported": null,
      "token_endpoint": "https://platform.example/oauth2/token",
      "token_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt"
      ],
      "token_endpoint_auth_signing_alg_values_supported": [
        "RS256",
        "RS384",
        "PS256",
        "ES256",
        "ES384",
        "EdDSA",
        "Ed25519"
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
        json!([
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt"
        ])
    );
}

/// Both MCP SDKs refuse metadata without an authorization endpoint.
#[tokio::test]
async fn an_authorization_endpoint_is_published_if_the_host_says_so() {
    const AUTHORIZE: &str = "/oauth2/authorize";
    let path = "/.well-known/oauth-authorization-server";
    let published = async |config: OAuthConfig| {
        let platform = Platform::new(|credentials| oauth_router_with(credentials, config));
        let json = platform
            .send(Request::get(path), Body::empty())
            .await
            .json();
        let types = json["response_types_supported"].clone();
        (platform, json["authorization_endpoint"].clone(), types)
    };
    let (platform, endpoint, types) = published(OAuthConfig::default()).await;
    assert_eq!((endpoint, types), (Value::Null, json!(["none"])));
    let none = platform.send(Request::get(AUTHORIZE), Body::empty()).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);

    let theirs = "https://login.example/authorize?realm=a";
    let config = OAuthConfig::default()
        .authorization_endpoint(theirs)
        .unwrap();
    let (platform, endpoint, types) = published(config).await;
    assert_eq!((endpoint, types), (json!(theirs), json!(["code"])));
    let none = platform.send(Request::get(AUTHORIZE), Body::empty()).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);

    let config = OAuthConfig::default().refusing_authorization_endpoint();
    let (platform, endpoint, types) = published(config).await;
    let ours = format!("{ISSUER}{AUTHORIZE}");
    assert_eq!((endpoint, types), (json!(ours), json!(["code"])));
    // It refuses, and sends nobody anywhere.
    let query = "?response_type=code&client_id=x&redirect_uri=https%3A%2F%2Fevil.example";
    let asked = format!("{AUTHORIZE}{query}");
    for request in [Request::get(&asked), post(AUTHORIZE)] {
        let answer = platform.send(request, Body::empty()).await;
        refused(&answer, 400, "unsupported_response_type");
        assert_eq!(answer.header("location"), "");
    }
    let browser = Request::get(&asked).header("accept", "text/html,application/xhtml+xml;q=0.9");
    let answer = platform.send(browser, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert!(answer.body.contains("unsupported_response_type"));
    assert!(answer.body.contains("client_credentials"));
    let put = platform.send(Request::put(AUTHORIZE), Body::empty()).await;
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn each_api_describes_itself() {
    let platform = Platform::new(|credentials| {
        let docs = "https://docs.platform.example/";
        let config = OAuthConfig::default().documentation("apiv2", docs);
        let guard = Guard::new(credentials, "fhir").unwrap();
        let fhir = get(async || "fhir").layer(guard);
        oauth_router_with(credentials, config.unwrap()).route("/fhir/r4/Patient", fhir)
    });
    let path = "/.well-known/oauth-protected-resource";
    let answer = platform
        .send(Request::get(format!("{path}/api/2.0")), Body::empty())
        .await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let mut json = answer.json();
    let scopes = json["scopes_supported"].take();
    assert_eq!(scopes.as_array().unwrap().len(), 151 + 2);
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r#"
    {
      "authorization_servers": [
        "https://platform.example"
      ],
      "bearer_methods_supported": [
        "header"
      ],
      "resource": "https://platform.example/api/2.0",
      "resource_documentation": "https://docs.platform.example/",
      "resource_name": "Elation APIv2",
      "scopes_supported": null
    }
    "#);
    let refused = platform
        .send(Request::get("/fhir/r4/Patient"), Body::empty())
        .await;
    assert_eq!(
        refused.header("www-authenticate"),
        in_full(r#"Bearer realm="fhir", scope="system/Patient.read""#)
    );
    let fhir = platform
        .send(Request::get(format!("{path}/fhir/r4")), Body::empty())
        .await
        .json();
    assert_eq!(fhir["resource"], "https://platform.example/fhir/r4");
    assert_eq!(fhir["scopes_supported"].as_array().unwrap().len(), 28);
    assert_eq!(fhir.get("resource_documentation"), None);
    for other in ["", "/", "/api", "/api/2.0/patients"] {
        let answer = platform
            .send(Request::get(format!("{path}{other}")), Body::empty())
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{other}");
    }
}

/// What the host says about an API's address counts for all that names it.
#[tokio::test]
async fn everything_follows_a_base_url_of_the_hosts_own() {
    let platform = Platform::built(
        |builder| {
            builder
                .issuer("https://platform.example/auth/")
                .base_url("fhir", "https://fhir.example:8443/r4/")
        },
        |credentials| {
            let guard = |id| Guard::new(credentials, id).unwrap();
            Router::new()
                .route(
                    "/fhir/r4/{*rest}",
                    get(async || "fhir").layer(guard("fhir")),
                )
                .route(
                    "/api/2.0/{*rest}",
                    get(async || "api").layer(guard("apiv2")),
                )
                .merge(oauth_router(credentials))
        },
    );
    for (id, scope, call, base, paths) in [
        (
            "fhir",
            "system/Patient.read",
            "/fhir/r4/Patient/1",
            "https://fhir.example:8443/r4",
            ["/r4", "/fhir/r4"],
        ),
        (
            "apiv2",
            "system/patients.read",
            "/api/2.0/patients/1",
            "https://platform.example/auth/api/2.0",
            ["/auth/api/2.0", "/api/2.0"],
        ),
    ] {
        let path = "/.well-known/oauth-protected-resource";
        for base_path in paths {
            let request = Request::get(format!("{path}{base_path}"));
            let json = platform.send(request, Body::empty()).await.json();
            assert_eq!(json["resource"], base);
            assert_eq!(
                json["authorization_servers"],
                json!(["https://platform.example/auth/"]),
                "byte for byte"
            );
        }
        let answer = platform.send(Request::get(call), Body::empty()).await;
        let (origin, own_path) = base.split_at(base.find(".example").unwrap());
        let (rest, own_path) = own_path.split_at(own_path.find('/').unwrap());
        assert_eq!(
            answer.header("www-authenticate"),
            format!(
                r#"Bearer realm="{id}", scope="{scope}", resource_metadata="{origin}{rest}{path}{own_path}""#
            )
        );
        let key = platform.key("alder", id, &[scope]).await;
        for (resource, status) in [
            (base.to_owned(), 200),
            (format!("{base}/"), 200),
            (format!("{base}/Patient"), 200),
            (format!("{base}x"), 400),
            ("https://platform.example/fhir/r4".to_owned(), 400),
            ("https://platform.example/auth/fhir/r4".to_owned(), 400),
            ("https://platform.example/api/2.0".to_owned(), 400),
            ("https://platform.example/auth".to_owned(), 400),
            ("https://platform.example/auth/".to_owned(), 400),
        ] {
            let answer = platform.ask(&key, &format!("&resource={resource}")).await;
            assert_eq!(
                answer.status.as_u16(),
                status,
                "{resource}: {}",
                answer.body
            );
        }
        let form = format!("{}&token={}", in_body(&key), key.token);
        let json = platform.send(post(INTROSPECT), form).await.json();
        assert_eq!(json["aud"], base);
        assert_eq!(json["iss"], "https://platform.example/auth/");
    }
    // Addresses have no slash too many.
    let request = Request::get("/.well-known/oauth-authorization-server/auth");
    let json = platform.send(request, Body::empty()).await.json();
    assert_eq!(json["issuer"], "https://platform.example/auth/");
    assert_eq!(
        json["token_endpoint"],
        "https://platform.example/auth/oauth2/token"
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
            assert_eq!(named, issuer, "byte for byte");
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
        "client-confidential-asymmetric",
        "permission-v1",
        "permission-v2"
      ],
      "code_challenge_methods_supported": [
        "S256"
      ],
      "grant_types_supported": [
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:jwt-bearer"
      ],
      "introspection_endpoint": "https://platform.example/oauth2/introspect",
      "revocation_endpoint": "https://platform.example/oauth2/revoke",
      "scopes_supported": null,
      "token_endpoint": "https://platform.example/oauth2/token",
      "token_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt"
      ],
      "token_endpoint_auth_signing_alg_values_supported": [
        "RS256",
        "RS384",
        "PS256",
        "ES256",
        "ES384",
        "EdDSA",
        "Ed25519"
      ]
    }
    "#);
    let apiv2 = "/api/2.0/.well-known/smart-configuration";
    let answer = platform.send(Request::get(apiv2), Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

/// Every assertion of the tables has its test.
#[test]
fn the_tests_of_the_conformance_tables_exist() {
    let page = include_str!("../../../docs/clients.md");
    let (_, tables) = page.split_once("## Conformance").unwrap();
    let rows = tables.lines().filter(|line| line.starts_with("| "));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    let mut file = String::new();
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in cell.split('`').skip(1).step_by(2) {
            if name.starts_with("scripts/") {
                assert!(root.join("..").join(name).exists(), "{name}");
            } else if name.contains('.') {
                let tests = root.join("tests").join(name);
                let elsewhere = root.join("..").join(name);
                let path = if tests.exists() { tests } else { elsewhere };
                file = std::fs::read_to_string(path).unwrap();
            } else {
                named += 1;
                assert!(file.contains(&format!("fn {name}(")), "{name}");
            }
        }
    }
    assert!(named > 12, "{named}");
}
