//! The guard's decision, asked for by a gateway.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

#[path = "common/oauth.rs"]
mod common;

use axum::body::Body;
use common::{Answer, Key, Platform};
use credential_axum::{ForwardAuthHeaders, forward_auth_router};
use http::{Request, StatusCode, request::Builder};

fn platform(headers: ForwardAuthHeaders) -> Platform {
    Platform::new(|credentials| forward_auth_router(credentials, headers))
}

fn question() -> Builder {
    Request::get("/forward-auth")
}

/// A question of Traefik or Caddy.
fn forwarded(method: &str, uri: &str) -> Builder {
    question()
        .header("X-Forwarded-Method", method)
        .header("X-Forwarded-Uri", uri)
}

/// A question of nginx.
fn original(method: &str, uri: &str) -> Builder {
    question()
        .header("X-Original-Method", method)
        .header("X-Original-URI", uri)
}

impl Platform {
    async fn ask(&self, question: Builder, key: &Key) -> Answer {
        let question = question.header("authorization", format!("Bearer {}", key.token));
        self.send(question, Body::empty()).await
    }
}

const CALLER: [&str; 4] = [
    "x-credential-tenant",
    "x-credential-client-id",
    "x-credential-scope",
    "x-credential-on-behalf-of",
];

#[tokio::test]
async fn both_families_of_headers_get_the_guards_decision() {
    for (family, ask) in [
        (
            ForwardAuthHeaders::XForwarded,
            forwarded as fn(&str, &str) -> Builder,
        ),
        (ForwardAuthHeaders::XOriginal, original),
    ] {
        let platform = platform(family);
        let scopes = &["act_as_user", "system/patients.read"];
        let key = platform.key("alder", "apiv2", scopes).await;
        let answer = platform
            .ask(ask("GET", "/api/2.0/patients/1?a=b"), &key)
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let client_id = key.created.credential.client_id.as_str();
        let caller = CALLER.map(|name| answer.header(name));
        assert_eq!(
            caller,
            ["alder", client_id, "act_as_user system/patients.read", ""]
        );
        assert_eq!(answer.header("cache-control"), "no-store");

        let acting = ask("GET", "/api/2.0/patients/1").header("X-On-Behalf-Of", "42");
        let answer = platform.ask(acting, &key).await;
        assert_eq!(answer.header("x-credential-on-behalf-of"), "42");

        let head = ask("HEAD", "/api/2.0/patients/1").method("HEAD");
        assert_eq!(platform.ask(head, &key).await.status, StatusCode::OK);

        for (method, uri, status) in [
            ("DELETE", "/api/2.0/patients/1", 403),
            ("get", "/api/2.0/patients/1", 403),
            ("GET", "/api/2.0/vitals", 403),
            ("GET", "/fhir/r4/Patient/1", 403),
            ("GET", "/elsewhere", 403),
            ("GET", "/api/2.00/patients", 403),
            ("GET", "/api/2.0/patients/../users", 400),
            ("GET", "/elsewhere/../api/2.0/patients", 400),
            ("GET", "/api/2.0//patients", 400),
            ("GET", "//api/2.0/patients", 400),
            ("GET", "https://platform.example/api/2.0/patients", 400),
            ("GET", "api/2.0/patients", 400),
            ("GET", "", 400),
            ("", "/api/2.0/patients", 400),
            ("GET /", "/api/2.0/patients", 400),
        ] {
            let answer = platform.ask(ask(method, uri), &key).await;
            assert_eq!(
                answer.status.as_u16(),
                status,
                "{method} {uri}: {}",
                answer.body
            );
            assert_eq!(CALLER.map(|name| answer.header(name)), [""; 4]);
        }
        let overridden = ask("GET", "/api/2.0/patients/1").header("X-HTTP-Method-Override", "PUT");
        let answer = platform.ask(overridden, &key).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn headers_that_are_missing_repeated_or_foreign_are_refused() {
    let path = "/api/2.0/patients/1";
    let half_forwarded = || question().header("X-Forwarded-Method", "GET");
    for (family, question) in [
        (ForwardAuthHeaders::XForwarded, question()),
        (ForwardAuthHeaders::XForwarded, half_forwarded()),
        (
            ForwardAuthHeaders::XForwarded,
            question().header("X-Forwarded-Uri", path),
        ),
        (ForwardAuthHeaders::XForwarded, original("GET", path)),
        (
            ForwardAuthHeaders::XForwarded,
            forwarded("GET", path).header("X-Forwarded-Uri", path),
        ),
        (
            ForwardAuthHeaders::XForwarded,
            forwarded("GET", path).header("X-Forwarded-Method", "GET"),
        ),
        (
            ForwardAuthHeaders::XForwarded,
            forwarded("GET", path).header("X-Original-URI", path),
        ),
        (
            ForwardAuthHeaders::XForwarded,
            half_forwarded().header("X-Forwarded-Uri", &b"/api/2.0/\xc3\xa9"[..]),
        ),
        (ForwardAuthHeaders::XOriginal, forwarded("GET", path)),
        (
            ForwardAuthHeaders::XOriginal,
            original("GET", path).header("X-Forwarded-Method", "GET"),
        ),
    ] {
        let platform = platform(family);
        let key = platform.key("alder", "apiv2", &["apiv2"]).await;
        let what = format!("{family:?} {question:?}");
        let answer = platform.ask(question, &key).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}");
        assert_eq!(answer.json()["code"], "malformed");
    }
}

#[tokio::test]
async fn refusals_are_the_guards_own() {
    let platform = platform(ForwardAuthHeaders::XForwarded);
    let key = platform
        .key("alder", "fhir", &["system/Patient.read"])
        .await;
    let none = platform
        .send(forwarded("GET", "/fhir/r4/Patient/1"), Body::empty())
        .await;
    assert_eq!(none.status, StatusCode::UNAUTHORIZED);
    assert_eq!(none.header("www-authenticate"), r#"Bearer realm="fhir""#);
    assert_eq!(none.json()["resourceType"], "OperationOutcome");

    let answer = platform
        .ask(forwarded("GET", "/fhir/r4/Condition"), &key)
        .await;
    assert_eq!(
        answer.header("www-authenticate"),
        r#"Bearer realm="fhir", error="insufficient_scope", scope="system/Condition.read""#
    );
    // The body of a search is not there to be read.
    let search = forwarded("POST", "/fhir/r4/Patient/_search");
    assert_eq!(
        platform.ask(search, &key).await.status,
        StatusCode::FORBIDDEN
    );

    platform.set_scopes(&key, &["system/*.read"]).await;
    let search = forwarded("POST", "/fhir/r4/Patient/_search");
    assert_eq!(platform.ask(search, &key).await.status, StatusCode::OK);
    platform.revoke(&key).await;
    let answer = platform
        .ask(forwarded("GET", "/fhir/r4/Patient/1"), &key)
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    platform.cut_off_store();
    let answer = platform
        .ask(forwarded("GET", "/fhir/r4/Patient/1"), &key)
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn public_calls_pass_without_a_caller() {
    let platform = platform(ForwardAuthHeaders::XOriginal);
    let answer = platform
        .send(original("GET", "/fhir/r4/metadata"), Body::empty())
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(CALLER.map(|name| answer.header(name)), [""; 4]);
}

#[tokio::test]
async fn only_get_asks() {
    let platform = platform(ForwardAuthHeaders::XOriginal);
    let answer = platform
        .send(Request::post("/forward-auth"), Body::empty())
        .await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.header("allow"), "GET,HEAD");
    assert_eq!(answer.json()["code"], "method_not_allowed");
}
