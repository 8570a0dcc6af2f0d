//! What the API Access page answers before any script runs: who sees what, and the headers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

use async_trait::async_trait;
use axum::{Router, body::Body};
use credential_axum::{PageConfig, SignIn, SignInError, page_router};
use credential_core::{
    Credentials, ScopeCatalog,
    actor::{Actor, Role},
    id::Environment,
    secret::{hash::HashCost, keyring::Keyring},
    testing::SeededEntropy,
};
use credential_store_memory::MemoryStore;
use http::{HeaderMap, Request, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use tower::ServiceExt;

const MOUNT: &str = "/settings/api-access";

/// Believes a header, as no host should.
struct HeaderSignIn;

#[async_trait]
impl SignIn for HeaderSignIn {
    async fn actor(&self, parts: &Parts) -> Result<Option<Actor>, SignInError> {
        let role = match parts
            .headers
            .get("x-test-role")
            .map(http::HeaderValue::as_bytes)
        {
            None => return Ok(None),
            Some(b"admin") => Role::Admin,
            Some(b"member") => Role::Member,
            Some(_) => return Err(SignInError::new("the session store is down")),
        };
        Ok(Some(Actor {
            id: "ada".parse().unwrap(),
            tenant: "alder".parse().unwrap(),
            role,
        }))
    }
}

fn page(environment: Environment) -> Router {
    let entropy = SeededEntropy::new(1);
    let credentials = Credentials::builder(MemoryStore::new())
        .catalog(ScopeCatalog::elation())
        .keyring(Keyring::generate(&entropy))
        .hash_cost(HashCost::cheap())
        .environment(environment)
        .issuer("https://api.example.com")
        .build()
        .unwrap();
    let config = PageConfig::default()
        .product("Alder Health")
        .tenant("practice")
        .admins("Practice Admins")
        .support("Alder support", Some("https://support.example.org"))
        .sign_in_url("/welcome")
        .stylesheet("/brand.css");
    page_router(&credentials, HeaderSignIn, config)
}

async fn ask(
    router: &Router,
    path: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        parts.status,
        parts.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

async fn seen_by(role: Option<&str>, environment: Environment) -> (StatusCode, HeaderMap, String) {
    let router = Router::new().nest_service(MOUNT, page(environment));
    let header = role.map(|role| ("x-test-role", role));
    ask(&router, MOUNT, header.as_slice()).await
}

#[tokio::test]
async fn each_state_has_its_status_and_shows_nothing_else() {
    let table = [
        (None, StatusCode::UNAUTHORIZED, "href=\"/welcome\""),
        (
            Some("member"),
            StatusCode::FORBIDDEN,
            "Only Practice Admins manage the API keys of your practice.",
        ),
        (
            Some("unknowable"),
            StatusCode::SERVICE_UNAVAILABLE,
            "not available right now",
        ),
    ];
    for (role, status, words) in table {
        let (found, headers, html) = seen_by(role, Environment::Sandbox).await;
        assert_eq!(found, status);
        assert!(html.contains(words), "{html}");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        for never in ["data-settings", "<script", "main.js", "Sandbox"] {
            assert!(!html.contains(never), "{never} in {html}");
        }
    }
}

#[tokio::test]
async fn an_admin_gets_the_page_in_the_words_of_the_host() {
    let (status, headers, html) = seen_by(Some("admin"), Environment::Sandbox).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    for words in [
        "API Access · Alder Health",
        "Sandbox",
        "your practice",
        "href=\"/brand.css\"",
        "/main.js",
    ] {
        assert!(html.contains(words), "{words} not in {html}");
    }
    assert!(!html.contains("cannot be created or changed here"));
}

#[tokio::test]
async fn without_self_service_it_says_whom_to_ask() {
    let (status, _, html) = seen_by(Some("admin"), Environment::Production).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        html.contains("contact <a href=\"https://support.example.org\">Alder support</a>"),
        "{html}"
    );
    assert!(html.contains("&quot;selfService&quot;:false"), "{html}");
    assert!(!html.contains("Sandbox"));
}

#[tokio::test]
async fn every_answer_is_protected() {
    let router = Router::new().nest_service(MOUNT, page(Environment::Sandbox));
    for path in [
        "",
        "/",
        "/nothing",
        "/assets/0/main.js",
        "/assets/0/none.js",
    ] {
        let (_, headers, _) = ask(&router, &format!("{MOUNT}{path}"), &[]).await;
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
        assert!(headers.contains_key("permissions-policy"));
    }
}

#[tokio::test]
async fn every_address_in_the_page_works_however_it_is_mounted() {
    let page = page(Environment::Sandbox);
    let admin = [("x-test-role", "admin")];
    let mounts = [
        (Router::new().nest_service(MOUNT, page.clone()), MOUNT),
        (
            Router::new().nest_service(MOUNT, page.clone()),
            "/settings/api-access/",
        ),
        (Router::new().nest(MOUNT, page.clone()), MOUNT),
        (
            Router::new().nest_service("/{practice}/keys", page.clone()),
            "/alder/keys",
        ),
        (page, "/"),
    ];
    for (router, path) in mounts {
        let (status, _, html) = ask(&router, path, &admin).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let assets: Vec<_> = html
            .split(['"'])
            .filter(|text| text.contains("/assets/"))
            .collect();
        assert_eq!(
            assets.len(),
            13,
            "icon, style, nine modules, the watch and the start: {assets:?}"
        );
        for asset in assets {
            let (status, headers, _) = ask(&router, asset, &[]).await;
            assert_eq!(status, StatusCode::OK, "{asset}");
            assert_eq!(
                headers[header::CACHE_CONTROL],
                "public, max-age=31536000, immutable"
            );
            let etag = headers[header::ETAG].to_str().unwrap();
            let (status, _, body) = ask(&router, asset, &[("if-none-match", etag)]).await;
            assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
        }
    }
}
