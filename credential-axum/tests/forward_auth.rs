//! The guard's decision, asked for by a gateway.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

#[path = "common/oauth.rs"]
mod common;

use axum::body::Body;
use common::{Answer, Key, Platform, in_full};
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

const FAMILIES: [ForwardAuthHeaders; 4] = [
    ForwardAuthHeaders::XForwarded,
    ForwardAuthHeaders::XOriginal,
    ForwardAuthHeaders::XOriginalUrl,
    ForwardAuthHeaders::Path,
];

/// A question about one call, as the gateways of that family put it.
fn ask(family: ForwardAuthHeaders, method: &str, uri: &str) -> Builder {
    match family {
        ForwardAuthHeaders::XForwarded => forwarded(method, uri),
        ForwardAuthHeaders::XOriginal => original(method, uri),
        ForwardAuthHeaders::XOriginalUrl => question()
            .header("X-Original-Method", method)
            .header("X-Original-URL", format!("https://a.example{uri}")),
        ForwardAuthHeaders::Path => Request::builder()
            .method(method)
            .uri(format!("/forward-auth{uri}")),
    }
}

/// What a family's gateway is told in place of a 400: nginx knows 401 and 403 only.
#[track_caller]
fn malformed(answer: &Answer, family: ForwardAuthHeaders, what: &str) {
    let expected = match family {
        ForwardAuthHeaders::XForwarded | ForwardAuthHeaders::Path => 400,
        ForwardAuthHeaders::XOriginal | ForwardAuthHeaders::XOriginalUrl => 403,
    };
    assert_eq!(answer.status.as_u16(), expected, "{what}: {}", answer.body);
    assert!(!answer.header("x-credential-error").is_empty(), "{what}");
    assert_eq!(CALLER.map(|name| answer.header(name)), [""; 4], "{what}");
}

#[tokio::test]
async fn every_family_of_headers_gets_the_guards_decision() {
    for family in FAMILIES {
        let platform = platform(family);
        let scopes = &["act_as_user", "system/patients.read"];
        let key = platform.key("alder", "apiv2", scopes).await;
        let get = || ask(family, "GET", "/api/2.0/patients/1?a=b");
        let answer = platform.ask(get(), &key).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let client_id = key.created.credential.identity.client_id.as_str();
        let caller = CALLER.map(|name| answer.headers[name].to_str().unwrap());
        assert_eq!(
            caller,
            ["alder", client_id, "act_as_user system/patients.read", ""]
        );
        assert_eq!(answer.header("cache-control"), "no-store");

        let answer = platform
            .ask(get().header("X-On-Behalf-Of", "42"), &key)
            .await;
        assert_eq!(answer.header("x-credential-on-behalf-of"), "42");

        if family != ForwardAuthHeaders::Path {
            let answer = platform.ask(get().method("HEAD"), &key).await;
            assert_eq!(answer.status, StatusCode::OK);
        }

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
        ] {
            let answer = platform.ask(ask(family, method, uri), &key).await;
            let what = format!("{family:?} {method} {uri}");
            if status == 400 {
                malformed(&answer, family, &what);
            }
            if status == 403 {
                assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.body);
            }
            assert_eq!(CALLER.map(|name| answer.header(name)), [""; 4]);
        }
        if matches!(
            family,
            ForwardAuthHeaders::XForwarded | ForwardAuthHeaders::XOriginal
        ) {
            for (method, uri) in [
                ("GET", "https://platform.example/api/2.0/patients"),
                ("GET", "api/2.0/patients"),
                ("GET", ""),
                ("", "/api/2.0/patients"),
                ("GET /", "/api/2.0/patients"),
            ] {
                let answer = platform.ask(ask(family, method, uri), &key).await;
                malformed(&answer, family, &format!("{family:?} {method} {uri}"));
            }
        }
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
        (
            ForwardAuthHeaders::XOriginal,
            original("GET", path).header("X-Original-URL", "https://a.example/api/2.0/patients/1"),
        ),
        (ForwardAuthHeaders::XOriginalUrl, original("GET", path)),
        (
            ForwardAuthHeaders::XOriginalUrl,
            ask(ForwardAuthHeaders::XOriginalUrl, "GET", path).header("X-Original-URI", path),
        ),
        (
            ForwardAuthHeaders::Path,
            ask(ForwardAuthHeaders::Path, "GET", path).header("X-Original-URI", path),
        ),
        (
            ForwardAuthHeaders::Path,
            ask(ForwardAuthHeaders::Path, "GET", path).header("X-Forwarded-Method", "GET"),
        ),
    ] {
        let platform = platform(family);
        let key = platform.key("alder", "apiv2", &["apiv2"]).await;
        let what = format!("{family:?} {question:?}");
        let answer = platform.ask(question, &key).await;
        malformed(&answer, family, &what);
        assert_eq!(answer.json()["code"], "malformed");
    }
}

/// What a client must not say itself, whoever reads `_` and `-` alike.
const FORGERIES: &[&str] = &[
    "X-Credential-Tenant",
    "X-Credential-Client-Id",
    "X-Credential-Scope",
    "X-Credential-On-Behalf-Of",
    "X_Credential_Tenant",
    "x-credential_tenant",
    "X_CREDENTIAL-On_Behalf_Of",
    "X.Credential.Tenant",
    "X-Credential-Whatever",
    "X-Credential-Error",
    "X_On_Behalf_Of",
    "X-On_Behalf-Of",
    "X_HTTP_Method_Override",
    "X-HTTP_Method",
    "x_method_override",
    "X-HTTP-Method-Override",
    "X-Rewrite-URL",
    "X_Rewrite_Url",
];

#[tokio::test]
async fn what_only_the_gateway_may_say_is_refused() {
    for family in FAMILIES {
        let platform = platform(family);
        let scopes = &["act_as_user", "system/patients.read"];
        let key = platform.key("alder", "apiv2", scopes).await;
        let fhir = platform
            .key("alder", "fhir", &["system/Patient.read"])
            .await;
        for forgery in FORGERIES {
            for (key, path) in [
                (&key, "/api/2.0/patients/1"),
                (&fhir, "/fhir/r4/Patient/1"),
                (&fhir, "/fhir/r4/metadata"),
            ] {
                let what = format!("{family:?} {forgery} {path}");
                for value in ["5", ""] {
                    let question = ask(family, "GET", path).header(*forgery, value);
                    let answer = platform.ask(question, key).await;
                    malformed(&answer, family, &what);
                    assert!(!answer.body.contains("5\""), "{what}: {}", answer.body);
                }
            }
        }
        let allowed = ask(family, "GET", "/api/2.0/patients/1").header("X-Credentials", "mine");
        assert_eq!(platform.ask(allowed, &key).await.status, StatusCode::OK);
    }
}

/// The gateway's own headers in another spelling are not the gateway's.
#[tokio::test]
async fn a_second_spelling_of_the_gateways_own_headers_is_refused() {
    for family in FAMILIES {
        let platform = platform(family);
        let key = platform.key("alder", "apiv2", &["apiv2"]).await;
        for name in [
            "X_Forwarded_Method",
            "X-Forwarded_Uri",
            "X_Original_URI",
            "X-Original_Method",
            "X_Original_URL",
        ] {
            let question = ask(family, "GET", "/api/2.0/patients/1").header(name, "DELETE");
            let answer = platform.ask(question, &key).await;
            malformed(&answer, family, &format!("{family:?} {name}"));
        }
    }
}

#[tokio::test]
async fn the_full_url_of_ingress_nginx_is_read_strictly() {
    let family = ForwardAuthHeaders::XOriginalUrl;
    let platform = platform(family);
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let url = |url: &str| {
        question()
            .header("X-Original-Method", "GET")
            .header("X-Original-URL", url)
    };
    for good in [
        "http://a.example/api/2.0/patients/1?a=b",
        "https://a.example:8443/api/2.0/patients",
        "https://[::1]:8443/api/2.0/patients",
    ] {
        let answer = platform.ask(url(good), &key).await;
        assert_eq!(answer.status, StatusCode::OK, "{good}: {}", answer.body);
    }
    for bad in [
        "/api/2.0/patients/1",
        "a.example/api/2.0/patients/1",
        "ftp://a.example/api/2.0/patients/1",
        "http:/api/2.0/patients/1",
        "http:///api/2.0/patients/1",
        "http://a.example",
        "http://a.example?/api/2.0/patients/1",
        "http://a.example#/api/2.0/patients/1",
        "http://a\\b/api/2.0/patients/1",
        "http://u@a.example/api/2.0/patients/1",
        "http://a.example//api/2.0/patients/1",
        "http://a.example/api/2.0/patients/../patients",
        "http://a.example/http://b/api/2.0/patients/1",
        "",
    ] {
        malformed(&platform.ask(url(bad), &key).await, family, bad);
    }
}

/// Envoy asks with the client's own method and path, below a prefix.
#[tokio::test]
async fn in_the_path_family_the_question_is_the_request_itself() {
    let family = ForwardAuthHeaders::Path;
    let platform = platform(family);
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    for (method, uri, status) in [
        ("GET", "/forward-auth/api/2.0/patients/", 200),
        ("POST", "/forward-auth/api/2.0/patients/", 403),
        ("PROPFIND", "/forward-auth/api/2.0/patients/", 403),
        ("GET", "/forward-auth/", 403),
        ("GET", "/forward-auth", 400),
        ("GET", "/forward-auth?x", 400),
        ("GET", "/forward-auth//api/2.0/patients", 400),
        ("GET", "/forward-auth/./api/2.0/patients", 400),
        ("GET", "/forward-auth/api/2.0/%70atients", 400),
        ("GET", "/forward-authapi/2.0/patients", 404),
    ] {
        let request = Request::builder().method(method).uri(uri);
        let answer = platform.ask(request, &key).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{method} {uri}: {}",
            answer.body
        );
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
    assert_eq!(
        none.header("www-authenticate"),
        in_full(r#"Bearer realm="fhir", scope="system/Patient.read""#)
    );
    assert_eq!(none.json()["resourceType"], "OperationOutcome");

    let answer = platform
        .ask(forwarded("GET", "/fhir/r4/Condition"), &key)
        .await;
    assert_eq!(
        answer.header("www-authenticate"),
        in_full(
            r#"Bearer realm="fhir", error="insufficient_scope", scope="system/Condition.read""#
        )
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
    // There, so that a gateway that copies them overwrites what a client may have sent.
    assert_eq!(CALLER.map(|name| &answer.headers[name]), [""; 4]);
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
