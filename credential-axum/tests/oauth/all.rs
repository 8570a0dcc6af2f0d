//! What holds for every endpoint alike.

use async_trait::async_trait;
use axum::{Router, body::Body, extract::State, routing::get};
use credential_axum::{
    ForwardAuthHeaders, OAuthConfig, SignIn, SignInError, admin_router, forward_auth_router,
    oauth_router, oauth_router_with,
};
use credential_core::actor::Actor;
use http::{Request, StatusCode, request};

use crate::{INTROSPECT, REVOKE, TOKEN, common::Platform, in_body, platform, post, refused};

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
    for path in [
        TOKEN,
        "/oauth2/token/",
        "/api/2.0/oauth2/token",
        "/api/2.0/oauth2/token/",
        INTROSPECT,
        "/oauth2/introspect/",
        REVOKE,
    ] {
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"] {
            let request = Request::builder().method(method).uri(path);
            let answer = platform.send(request, Body::empty()).await;
            assert_eq!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert_eq!(answer.header("allow"), "POST, OPTIONS");
            assert!(method == "HEAD" || answer.json()["error"] == "invalid_request");
        }
        // A browser's preflight learns the methods, and that no web page may use them.
        let preflight = Request::options(path)
            .header("origin", "https://elsewhere.example")
            .header("access-control-request-method", "POST");
        let answer = platform.send(preflight, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(answer.header("allow"), "POST, OPTIONS");
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    let metadata = "/.well-known/oauth-authorization-server";
    let answer = platform.send(Request::post(metadata), Body::empty()).await;
    refused(&answer, 405, "invalid_request");
    assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    for document in [metadata, "/fhir/r4/.well-known/smart-configuration"] {
        let options = platform
            .send(Request::options(document), Body::empty())
            .await;
        assert_eq!(options.status, StatusCode::NO_CONTENT);
        assert_eq!(options.header("allow"), "GET, HEAD, OPTIONS");
        let get = platform.send(Request::get(document), Body::empty()).await;
        let head = platform.send(Request::head(document), Body::empty()).await;
        assert_eq!((get.status, head.status), (StatusCode::OK, StatusCode::OK));
        assert_eq!(head.body, "");
        assert_eq!(get.headers, head.headers);
        assert_eq!(get.header("access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn an_alias_never_replaces_an_endpoint() {
    let platform = Platform::new(|credentials| {
        let mut config = OAuthConfig::default();
        for path in [
            INTROSPECT,
            "/fhir/r4/.well-known/smart-configuration",
            "/t",
            "/t",
        ] {
            config = config.token_path_alias(path).unwrap();
        }
        oauth_router_with(credentials, config)
    });
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let form = format!("grant_type=client_credentials&{}&token=x", in_body(&key));
    let introspected = platform.send(post(INTROSPECT), form.clone()).await;
    assert_eq!(introspected.body, r#"{"active":false}"#);
    for path in ["/t", "/t/"] {
        let issued = platform.send(post(path), form.clone()).await;
        assert_eq!(issued.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_revokes_too_much_at_once_is_told_when_to_come_back() {
    let platform = std::sync::Arc::new(platform());
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    platform.ask(&key, "").await; // its secret is known from here on
    platform.store.hold_calls();
    let form = format!("{}&token={}", in_body(&key), key.token);
    let revocations: Vec<_> = (0..500)
        .map(|_| {
            let (platform, form) = (std::sync::Arc::clone(&platform), form.clone());
            tokio::spawn(async move { platform.send(post(REVOKE), form).await })
        })
        .collect();
    while revocations.iter().filter(|it| it.is_finished()).count() < 500 - 3 - 256 {
        tokio::task::yield_now().await;
    }
    assert_eq!(platform.store.running(), 3);
    platform.store.release_calls(10_000);
    let mut told = 0;
    for answer in revocations {
        let answer = answer.await.unwrap();
        if answer.status != StatusCode::OK {
            refused(&answer, 503, "temporarily_unavailable");
            let again: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=120).contains(&again), "{again}");
            told += 1;
        }
    }
    assert_eq!(told, 500 - 3 - 256);
}

struct Nobody;

#[async_trait]
impl SignIn for Nobody {
    async fn actor(&self, _: &request::Parts) -> Result<Option<Actor>, SignInError> {
        Ok(None)
    }
}

/// Everything is mounted before the host's own state is given.
#[tokio::test]
async fn routers_fit_into_a_host_with_a_state_of_its_own() {
    let platform = Platform::new(|credentials| {
        let app = Router::<&'static str>::new()
            .route("/own", get(async |State(state): State<&'static str>| state))
            .nest("/admin", admin_router(credentials, Nobody))
            .merge(oauth_router(credentials))
            .merge(forward_auth_router(
                credentials,
                ForwardAuthHeaders::XForwarded,
            ));
        #[cfg(feature = "page")]
        let app = app.nest(
            "/page",
            credential_axum::page_router(
                credentials,
                Nobody,
                credential_axum::PageConfig::default(),
            ),
        );
        app.with_state("the state")
    });
    let own = platform.send(Request::get("/own"), Body::empty()).await;
    assert_eq!(own.body, "the state");
    for (path, status) in [
        ("/admin/catalog", 401),
        ("/.well-known/oauth-authorization-server", 200),
        ("/forward-auth", 400),
    ] {
        let answer = platform.send(Request::get(path), Body::empty()).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
}
