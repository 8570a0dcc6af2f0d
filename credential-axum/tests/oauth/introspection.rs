//! Introspection (RFC 7662) and revocation (RFC 7009): who may ask, and what they hear.

use credential_axum::oauth_router;
use credential_core::ScopeCatalog;
use http::{Request, StatusCode};
use serde_json::json;

use crate::{
    INTROSPECT, RESOURCE_SERVER, REVOKE, basic_of,
    common::{ISSUER, Key, Platform},
    in_body, platform, post, refused, secret,
};

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
            "sub": secret(&key).0,
            "aud": "https://platform.example/api/2.0",
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

/// SMART App Launch 2.2: a suitably scoped access token is a proof at introspection.
#[tokio::test]
async fn a_token_with_the_scope_for_it_introspects_its_own_tenants_tokens() {
    let catalog = format!(
        "{}\n[api_type.introspection]\nscope = \"tokens.introspect\"\ndescription = \"Ask\"\n",
        include_str!("../../examples/payments.toml")
    );
    let catalog = ScopeCatalog::from_toml(&catalog).unwrap();
    let platform = Platform::with(catalog, oauth_router);
    let key = |tenant, scopes| platform.key(tenant, "payments", scopes);
    let asking = key("acme", &["tokens.introspect"]).await;
    let colleague = key("acme", &["refunds.write"]).await;
    let stranger = key("bravo", &["refunds.write"]).await;
    let everything = key("acme", &["payments.all"]).await;
    let ask = async |bearer: &str, token: &str| {
        let request = post(INTROSPECT).header("authorization", format!("Bearer {bearer}"));
        platform.send(request, format!("token={token}")).await
    };
    for (token, active) in [
        (&colleague.token, true),
        (&asking.token, true),
        (&stranger.token, false),
        (&"made-up".to_owned(), false),
    ] {
        let answer = ask(&asking.token, token).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["active"], active, "{}", answer.body);
    }
    // A token that follows its key's scopes, one without the scope, and one that is narrower.
    let narrowed = platform
        .key("acme", "payments", &["tokens.introspect", "refunds.write"])
        .await;
    let narrow = platform.issue(&narrowed, "refunds.write").await;
    for bearer in [
        &colleague.token,
        &everything.token,
        &stranger.token,
        &narrow,
    ] {
        let answer = ask(bearer, &colleague.token).await;
        refused(&answer, 401, "invalid_client");
        let mut challenges = answer.headers.get_all("www-authenticate").iter();
        assert!(
            challenges
                .next_back()
                .unwrap()
                .as_bytes()
                .starts_with(b"Bearer")
        );
    }
    platform.revoke(&asking).await;
    let answer = ask(&asking.token, &colleague.token).await;
    refused(&answer, 401, "invalid_client");

    let path = "/.well-known/oauth-authorization-server";
    let json = platform.send(Request::get(path), "").await.json();
    let methods = json["introspection_endpoint_auth_methods_supported"].as_array();
    assert_eq!(methods.unwrap().last(), Some(&json!("Bearer")));

    platform.cut_off_store();
    let answer = ask(&narrowed.token, &colleague.token).await;
    refused(&answer, 503, "temporarily_unavailable");
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
    // A bearer token that is left over from a call is none of introspection's business.
    for left_over in [
        format!("Bearer {}", key.token),
        "Bearer x".to_owned(),
        String::new(),
    ] {
        let request = post(INTROSPECT).header("authorization", left_over);
        let answer = platform
            .send(request, format!("{body}&{}", in_body(&key)))
            .await;
        assert_eq!(answer.json()["active"], true, "{}", answer.body);
    }
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
