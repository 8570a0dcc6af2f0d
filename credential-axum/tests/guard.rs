//! What the guard lets through, and what callers hear when it does not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

#[path = "common/oauth.rs"]
mod common;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    middleware::map_response,
    response::{IntoResponse as _, Response},
    routing::{any, get, post},
};
use common::{Answer, Platform, in_full};
use credential_axum::{
    Access, CallRefused, ForwardAuthHeaders, Guard, GuardError, forward_auth_router,
};
use credential_core::{ScopeCatalog, clock::Timestamp};
use http::{Request, StatusCode, request::Builder};
use serde_json::{Value, json};

/// Says what was checked.
async fn facts(access: Option<Access>) -> Json<Value> {
    Json(match access {
        None => json!("public"),
        Some(access) => json!({
            "tenant": access.tenant().as_str(),
            "client_id": access.client_id().as_str(),
            "required_scope": access.required_scope(),
            "on_behalf_of": access.on_behalf_of(),
        }),
    })
}

/// Gives back what it was sent, behind the guard.
async fn echo(_: Access, body: String) -> String {
    body
}

/// The same API three times: at the root, nested, and route by route; and one route of its own.
fn platform() -> Platform {
    Platform::new(|credentials| {
        let apiv2 = Guard::new(credentials, "apiv2").unwrap();
        let fhir = Guard::new(credentials, "fhir").unwrap();
        let vitals = apiv2.requires("system/vitals.write").unwrap();
        let inner = Router::new()
            .route("/{*rest}", any(facts))
            .route("/metadata/", get(async || "for everybody"))
            .layer(fhir.clone());
        Router::new()
            .route("/api/2.0/{*rest}", any(facts))
            .layer(apiv2.clone())
            .route("/api/2.0/patients/single", get(facts).layer(apiv2))
            .route("/vitals", post(facts).layer(vitals))
            .route("/fhir/r4/Patient/_search", post(echo).layer(fhir.clone()))
            .route("/fhir/r4/Observation/{id}", get(facts).layer(fhir))
            .nest("/fhir/r4", inner)
            .route("/unguarded", get(async |_: Access| "never"))
            .route(
                "/unguarded/optional",
                get(async |_: Option<Access>| "never"),
            )
    })
}

const PATIENTS: &str = "/api/2.0/patients/1";

fn bearer(request: Builder, token: &str) -> Builder {
    request.header("authorization", format!("Bearer {token}"))
}

impl Platform {
    async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(bearer(Request::get(path), token), Body::empty())
            .await
    }
}

#[track_caller]
fn challenged(answer: &Answer, status: u16, challenge: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert_eq!(answer.header("www-authenticate"), in_full(challenge));
    assert_eq!(answer.header("cache-control"), "no-store");
}

const INVALID: &str =
    r#"Bearer realm="apiv2", error="invalid_token", scope="system/patients.read""#;
/// Of a call that names a user: all of its scopes.
const INVALID_FOR_A_USER: &str =
    r#"Bearer realm="apiv2", error="invalid_token", scope="system/patients.read act_as_user""#;

#[tokio::test]
async fn a_call_within_its_scopes_tells_the_handler_who_calls() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    for request in [
        Request::get(PATIENTS),
        Request::get("/api/2.0/patients/?limit=5"),
    ] {
        let answer = platform
            .send(bearer(request, &key.token), Body::empty())
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(
            answer.json(),
            json!({
                "tenant": "alder",
                "client_id": key.created.credential.identity.client_id.as_str(),
                "required_scope": "system/patients.read",
                "on_behalf_of": null,
            })
        );
    }
    let head = bearer(Request::head(PATIENTS), &key.token);
    assert_eq!(
        platform.send(head, Body::empty()).await.status,
        StatusCode::OK
    );
    let lower = Request::get(PATIENTS).header("authorization", format!("bearer {}", key.token));
    assert_eq!(
        platform.send(lower, Body::empty()).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_call_without_a_good_token_is_refused() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let token = &key.token;
    let no_token = r#"Bearer realm="apiv2", scope="system/patients.read""#;
    let with = |value: String| Request::get(PATIENTS).header("authorization", value);
    for (request, challenge) in [
        (Request::get(PATIENTS), no_token),
        (with("Basic YTpi".to_owned()), no_token),
        (
            Request::get(format!("{PATIENTS}?access_token={token}")),
            no_token,
        ),
        (
            Request::get(PATIENTS).header("cookie", format!("access_token={token}")),
            no_token,
        ),
        (with("Bearer".to_owned()), INVALID),
        (with("Bearer made-up".to_owned()), INVALID),
        (with(format!("Bearer {token} {token}")), INVALID),
        (with(format!("Bearer {token},")), INVALID),
        (with(format!("Bearer {token}=")), INVALID),
        (
            with(format!("Bearer {token}")).header("authorization", "Bearer x"),
            INVALID,
        ),
    ] {
        let answer = platform.send(request, Body::empty()).await;
        challenged(&answer, 401, challenge);
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(answer.json()["detail"].is_string());
    }
    let answer = platform.get(PATIENTS, "made-up").await;
    insta::assert_snapshot!(answer.body, @r#"{"detail":"the access token is not valid"}"#);
}

/// A client that asks for what a 401 names gets a token for the call, but nobody has a search read for nothing.
#[tokio::test]
async fn a_missing_token_is_told_what_the_call_needs() {
    let platform = platform();
    let named = |scope: &str| format!(r#"Bearer realm="fhir"{scope}"#);
    let get = Request::get;
    let post = Request::post;
    for (request, scope) in [
        (get("/fhir/r4/Observation/1"), "system/Observation.read"),
        (post("/fhir/r4/Observation"), "system/Observation.write"),
        (get("/fhir/r4/Observation?code=1"), ""),
        (post("/fhir/r4/Patient/_search"), ""),
        (
            post("/fhir/r4/Patient").header("If-None-Exist", "name=lee"),
            "",
        ),
    ] {
        let scope = match scope {
            "" => String::new(),
            scope => format!(r#", scope="{scope}""#),
        };
        let answer = platform.send(request, Body::empty()).await;
        challenged(&answer, 401, &named(&scope));
    }
    let answer = platform.send(post("/vitals"), Body::empty()).await;
    let fixed = r#"Bearer realm="apiv2", scope="system/vitals.write""#;
    challenged(&answer, 401, fixed);
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let fhir = platform
        .key("alder", "fhir", &["system/Patient.read"])
        .await;
    let needs = |realm: &str, scope: &str| {
        format!(r#"Bearer realm="{realm}", error="insufficient_scope", scope="{scope}""#)
    };
    let delete = bearer(Request::delete(PATIENTS), &key.token);
    let answer = platform.send(delete, Body::empty()).await;
    challenged(&answer, 403, &needs("apiv2", "system/patients.write"));
    let answer = platform.get("/api/2.0/users", &key.token).await;
    challenged(&answer, 403, &needs("apiv2", "apiv2"));
    // The other API's token could never have the scope, and hears so.
    let answer = platform.get(PATIENTS, &fhir.token).await;
    challenged(&answer, 403, &needs("apiv2", "system/patients.read"));
    let answer = platform.get("/fhir/r4/Patient/1", &key.token).await;
    challenged(&answer, 403, &needs("fhir", "system/Patient.read"));
    assert_eq!(answer.header("content-type"), "application/fhir+json");
    insta::assert_snapshot!(answer.body, @r#"{"issue":[{"code":"forbidden","diagnostics":"the access token is for the API `apiv2`; this call needs one for `fhir` with system/Patient.read","severity":"error"}],"resourceType":"OperationOutcome"}"#);
    let answer = platform.get("/fhir/r4/Condition/1", &fhir.token).await;
    challenged(&answer, 403, &needs("fhir", "system/Condition.read"));
    let lacks = "the access token lacks what this call needs: system/Condition.read";
    assert_eq!(answer.json()["issue"][0]["diagnostics"], lacks);
    // A method that no scope covers.
    let find = bearer(
        Request::builder().method("PROPFIND").uri(PATIENTS),
        &key.token,
    );
    let answer = platform.send(find, Body::empty()).await;
    challenged(
        &answer,
        403,
        r#"Bearer realm="apiv2", error="insufficient_scope""#,
    );
    // And one that nobody gets.
    for path in [PATIENTS, "/fhir/r4/metadata", "/vitals"] {
        let trace = bearer(Request::builder().method("TRACE").uri(path), &key.token);
        let answer = platform.send(trace, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_ne!(answer.header("allow"), "", "{path}");
    }
}

#[tokio::test]
async fn root_nested_and_single_routes_decide_alike() {
    let platform = platform();
    let api = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let fhir = platform
        .key("alder", "fhir", &["system/Patient.read"])
        .await;
    for (token, path, status) in [
        (&api, "/api/2.0/patients/any", 200),
        (&api, "/api/2.0/patients/single", 200),
        (&api, "/api/2.0/vitals/any", 403),
        (&fhir, "/fhir/r4/Patient/1", 200),
        (&fhir, "/fhir/r4/Condition/1", 403),
        (&fhir, "/fhir/r4/Observation/1", 403),
        (
            &fhir,
            "/fhir/r4/Patient/1?_has:Observation:patient:code=1",
            403,
        ),
    ] {
        let answer = platform.get(path, &token.token).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn one_route_may_need_one_scope() {
    let platform = platform();
    let reader = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let writer = platform
        .key("alder", "apiv2", &["system/vitals.write"])
        .await;
    let full = platform.key("alder", "apiv2", &["apiv2"]).await;
    for (key, status) in [(&reader, 403), (&writer, 200), (&full, 200)] {
        let request = bearer(Request::post("/vitals"), &key.token);
        let answer = platform.send(request, Body::empty()).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    }
    let request = bearer(Request::post("/vitals"), &writer.token);
    let answer = platform.send(request, Body::empty()).await;
    assert_eq!(answer.json()["required_scope"], "system/vitals.write");
    let guard = Guard::new(&platform.credentials, "apiv2").unwrap();
    assert!(matches!(
        guard.requires("system/vital.write"),
        Err(GuardError::UnknownScope { .. })
    ));
    assert!(matches!(
        Guard::new(&platform.credentials, "api"),
        Err(GuardError::UnknownApiType(_))
    ));
}

#[tokio::test]
async fn paths_with_two_readings_are_refused_before_the_token() {
    let platform = platform();
    let key = platform.key("alder", "apiv2", &["apiv2"]).await;
    for path in [
        "/api/2.0//patients",
        "/api/2.0/patients/../users",
        "/api/2.0/patients/%2e%2e/users",
        "/api/2.0/./patients",
        "/api/2.0/patients%2f1",
        "/api/2.0/patients/%5c1",
        "/api/2.0/patients/%00",
        "/api/2.0/patients;v=1/1",
        "/api/2.0/patients%3bv=1/1",
        "/api/2.0/%70atients",
        "/api/2.0/patients/%zz",
        "/api/2.0/patients/%ff",
    ] {
        let answer = platform.get(path, &key.token).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.json()["detail"].is_string());
        let stranger = platform.send(Request::get(path), Body::empty()).await;
        assert_eq!(stranger.status, StatusCode::BAD_REQUEST, "{path}");
    }
    let encoded = "/fhir/r4/Patient/1/%24everything";
    let answer = platform.send(Request::get(encoded), Body::empty()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        answer.body.contains("send a `$` as it is"),
        "{}",
        answer.body
    );
    let nested = platform
        .send(Request::get("/fhir/r4/Patient/%2e"), Body::empty())
        .await;
    assert_eq!(nested.status, StatusCode::BAD_REQUEST);
    assert_eq!(nested.json()["issue"][0]["code"], "invalid");
}

#[tokio::test]
async fn headers_that_change_the_method_or_the_path_are_refused() {
    let platform = platform();
    let key = platform.key("alder", "apiv2", &["apiv2"]).await;
    for name in [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        // As CGI and its heirs read them.
        "X_HTTP_Method_Override",
        "X-HTTP_Method",
        "x_method_override",
        "X.HTTP.Method.Override",
        "X-Rewrite-URL",
        "X_Rewrite_Url",
        "X-Original-URL",
        "X-Original_URL",
    ] {
        let request = bearer(Request::get(PATIENTS), &key.token).header(name, "DELETE");
        let answer = platform.send(request, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        let public = Request::get("/fhir/r4/metadata").header(name, "DELETE");
        let answer = platform.send(public, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
    }
}

#[tokio::test]
async fn acting_for_a_user_needs_its_scope() {
    let platform = platform();
    let plain = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let full = platform.key("alder", "apiv2", &["apiv2"]).await;
    let acting = platform
        .key("alder", "apiv2", &["system/patients.read", "act_as_user"])
        .await;
    let send = async |token: &str, users: &[&'static str]| {
        let mut request = bearer(Request::get(PATIENTS), token);
        for user in users {
            request = request.header("X-On-Behalf-Of", *user);
        }
        platform.send(request, Body::empty()).await
    };
    for key in [&plain, &full] {
        for user in ["42", "nonsense"] {
            let answer = send(&key.token, &[user]).await;
            challenged(&answer, 401, INVALID_FOR_A_USER);
        }
    }
    let idle = platform
        .key("alder", "apiv2", &["system/allergies.read", "act_as_user"])
        .await;
    let needed = INVALID_FOR_A_USER.replace("invalid_token", "insufficient_scope");
    challenged(&send(&idle.token, &["42"]).await, 403, &needed);
    let answer = send(&acting.token, &["42"]).await;
    assert_eq!(answer.json()["on_behalf_of"], "42", "{}", answer.body);
    assert_eq!(
        send(&acting.token, &[]).await.json()["on_behalf_of"],
        Value::Null
    );
    for users in [&["nonsense"][..], &[""], &["4 2"], &["-1"], &["42", "42"]] {
        let answer = send(&acting.token, users).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{users:?}");
    }
}

#[tokio::test]
async fn a_second_spelling_of_the_header_that_names_a_user_is_refused() {
    let platform = platform();
    let acting = platform
        .key("alder", "apiv2", &["system/patients.read", "act_as_user"])
        .await;
    let plain = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    for name in ["X_On_Behalf_Of", "x-on_behalf-of", "X.On.Behalf.Of"] {
        for key in [&acting, &plain] {
            let request = bearer(Request::get(PATIENTS), &key.token).header(name, "5");
            let answer = platform.send(request, Body::empty()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
            let both = bearer(Request::get(PATIENTS), &key.token)
                .header("X-On-Behalf-Of", "42")
                .header(name, "5");
            let answer = platform.send(both, Body::empty()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        }
    }
}

#[tokio::test]
async fn edits_and_revocations_are_in_the_next_answer() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    assert_eq!(
        platform.get(PATIENTS, &key.token).await.status,
        StatusCode::OK
    );
    platform.set_scopes(&key, &["system/vitals.read"]).await;
    assert_eq!(
        platform.get(PATIENTS, &key.token).await.status,
        StatusCode::FORBIDDEN
    );
    platform.set_scopes(&key, &["system/patients.read"]).await;
    assert_eq!(
        platform.get(PATIENTS, &key.token).await.status,
        StatusCode::OK
    );
    platform.revoke(&key).await;
    challenged(&platform.get(PATIENTS, &key.token).await, 401, INVALID);
}

#[tokio::test]
async fn without_the_store_there_is_no_yes() {
    let platform = platform();
    let key = platform
        .key("alder", "fhir", &["system/Patient.read"])
        .await;
    platform.cut_off_store();
    let answer = platform.get("/fhir/r4/Patient/1", &key.token).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.json()["issue"][0]["code"], "transient");
    // What can be said without the store is said.
    assert_eq!(
        platform
            .send(Request::get("/fhir/r4/metadata"), Body::empty())
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        platform.get("/fhir/r4/Patient/1", "x").await.status,
        StatusCode::UNAUTHORIZED
    );
}

/// The answers of the handler carry it, warm and after a change, and refusals do not.
#[tokio::test]
async fn an_end_that_is_near_is_announced_in_a_header() {
    let platform = platform();
    let end = "2026-01-20T00:00:00Z";
    let at = Timestamp::parse_rfc3339(end).unwrap();
    let scopes = &["system/patients.read"];
    let soon = platform.key_until("alder", "apiv2", scopes, Some(at)).await;
    let scopes = &["system/patients.read", "system/bills.read"];
    let later = platform.key("alder", "apiv2", scopes).await;
    for _ in 0..2 {
        let answer = platform.get(PATIENTS, &soon.token).await;
        assert_eq!(answer.header("credential-expires"), end);
        let answer = platform.get(PATIENTS, &later.token).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.headers.contains_key("credential-expires"));
        platform.set_scopes(&soon, &["system/patients.read"]).await;
        platform.clock.advance(Duration::from_secs(2));
    }
    let refused = platform.get("/api/2.0/bills/1", &soon.token).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(!refused.headers.contains_key("credential-expires"));
}

#[tokio::test]
async fn public_routes_ask_for_nothing() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    for path in [
        "/fhir/r4/metadata",
        "/fhir/r4/.well-known/smart-configuration",
    ] {
        let answer = platform.send(Request::get(path), Body::empty()).await;
        assert_eq!(answer.json(), "public");
        let answer = platform.send(Request::post(path), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    // A token is not even looked at, if the handler does not ask.
    for token in [&*key.token, "made-up"] {
        let answer = platform.get("/fhir/r4/metadata/", token).await;
        assert_eq!(answer.body, "for everybody", "{}", answer.status);
    }
}

/// On a public route a token is welcome: a handler that asks learns who calls, and a bad token is
/// refused as elsewhere.
#[tokio::test]
async fn a_token_on_a_public_route_is_verified_if_the_handler_asks() {
    let catalog = ScopeCatalog::from_toml(include_str!("../examples/payments.toml")).unwrap();
    let platform = Platform::with(catalog, |credentials| {
        let guard = Guard::new(credentials, "payments").unwrap();
        Router::new()
            .route("/v1/status", get(facts))
            .route(
                "/v1/status/",
                get(async |access: Access| access.required_scope()),
            )
            .route_layer(guard)
    });
    let key = platform.key("acme", "payments", &["refunds.write"]).await;
    let optional = "/v1/status";
    let required = "/v1/status/";
    let invalid = r#"Bearer realm="payments", error="invalid_token""#;

    let answer = platform.get(optional, &key.token).await;
    assert_eq!(answer.json()["tenant"], "acme", "{}", answer.body);
    assert_eq!(answer.json()["required_scope"], "");
    assert_eq!(platform.get(required, &key.token).await.body, "");
    for path in [optional, required] {
        challenged(&platform.get(path, "made-up").await, 401, invalid);
        challenged(&platform.get(path, "").await, 401, invalid);
        let twice = bearer(bearer(Request::get(path), &key.token), &key.token);
        challenged(&platform.send(twice, Body::empty()).await, 401, invalid);
    }
    for other in [
        Request::get(optional),
        Request::get(optional).header("authorization", "Basic YTpi"),
    ] {
        let answer = platform.send(other, Body::empty()).await;
        assert_eq!(answer.json(), "public", "{}", answer.body);
    }
    let none = platform.send(Request::get(required), Body::empty()).await;
    challenged(&none, 401, r#"Bearer realm="payments""#);
    assert_eq!(none.header("content-type"), "application/problem+json");

    platform.cut_off_store();
    for path in [optional, required] {
        let answer = platform.get(path, &key.token).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), "1");
    }
    let none = platform.send(Request::get(optional), Body::empty()).await;
    assert_eq!(none.json(), "public");
}

#[tokio::test]
async fn a_revoked_token_is_refused_on_a_public_route() {
    let platform = platform();
    let key = platform
        .key("alder", "fhir", &["system/Patient.read"])
        .await;
    let path = "/fhir/r4/metadata";
    assert_eq!(
        platform.get(path, &key.token).await.json()["tenant"],
        "alder"
    );
    platform.revoke(&key).await;
    let invalid = r#"Bearer realm="fhir", error="invalid_token""#;
    challenged(&platform.get(path, &key.token).await, 401, invalid);
    // Nor one that can never be good here.
    let other = platform.key("alder", "apiv2", &["apiv2"]).await;
    let answer = platform.get(path, &other.token).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        answer.body.contains("is for the API `apiv2`"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_search_by_post_needs_what_its_body_names() {
    let platform = platform();
    let narrow = platform
        .key("alder", "fhir", &["system/Patient.read"])
        .await;
    let wide = platform.key("alder", "fhir", &["system/*.read"]).await;
    let search = async |token: &str, content_type: Option<&str>, encoded: bool, body: &str| {
        let mut request = bearer(Request::post("/fhir/r4/Patient/_search"), token);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        if encoded {
            request = request.header("content-encoding", "gzip");
        }
        platform.send(request, body.to_owned()).await
    };
    let form = Some("application/x-www-form-urlencoded");
    let includes = "_include=Patient:general-practitioner:Practitioner";
    for (content_type, encoded, body, status) in [
        (form, false, "name=lee", 200),
        (form, false, "", 200),
        (None, false, "", 200),
        (
            Some("application/x-www-form-urlencoded; charset=\"utf-8\""),
            false,
            "name=lee",
            200,
        ),
        (
            Some("application/x-www-form-urlencoded ; charset=UTF-8"),
            false,
            "name=lee",
            200,
        ),
        (
            Some("application/x-www-form-urlencoded; charset=\"utf-16\""),
            false,
            "name=lee",
            403,
        ),
        (form, false, includes, 403),
        (form, false, "_revinclude=Provenance%3Atarget", 403),
        // What the guard cannot read could name anything.
        (form, true, "name=lee", 403),
        (None, false, "name=lee", 403),
        (Some("application/json"), false, "{}", 403),
    ] {
        let answer = search(&narrow.token, content_type, encoded, body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.body);
        let answer = search(&wide.token, content_type, encoded, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{body}: {}", answer.body);
        assert_eq!(answer.body, body, "the handler gets the same body");
    }
    let huge = format!("name={}", "x".repeat(64 * 1024));
    let answer = search(&wide.token, form, false, &huge).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    // Nobody's body is read without a token.
    let answer = search("made-up", form, false, &huge).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let broken = bearer(Request::post("/fhir/r4/Patient/_search"), &wide.token)
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = platform.send(broken, &b"name=\xff"[..]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

/// `If-None-Exist` asks a question: through the guard and through a gateway it needs what the same
/// query needs.
#[tokio::test]
async fn the_criteria_of_a_conditional_create_count_like_a_query() {
    let catalog = ScopeCatalog::from_toml(include_str!("data/writable-fhir.toml")).unwrap();
    let platform = Platform::with(catalog, |credentials| {
        let guard = Guard::new(credentials, "fhir").unwrap();
        Router::new()
            .route("/fhir/{*rest}", any(facts).layer(guard))
            .merge(forward_auth_router(credentials, ForwardAuthHeaders::Path))
    });
    let (patient, write) = ("system/Patient.read", "system/Patient.write");
    let writer = platform.key("acme", "fhir", &[write]).await;
    let both = platform.key("acme", "fhir", &[patient, write]).await;
    let wide = platform
        .key("acme", "fhir", &[patient, write, "system/Observation.read"])
        .await;
    let create = |token: &str, prefix: &str, criteria: &[&[u8]]| {
        let mut request = bearer(Request::post(format!("{prefix}/fhir/Patient")), token);
        for value in criteria {
            request = request.header("If-None-Exist", *value);
        }
        request
    };
    for prefix in ["", "/forward-auth"] {
        for (key, criteria, status) in [
            (&writer, &[][..], 200),
            (&writer, &[&b"identifier=1"[..]], 403),
            (&writer, &[b"_has:Observation:patient:code=1234"], 403),
            (&both, &[b"identifier=1"], 200),
            (&both, &[b"_has:Observation:patient:code=1234"], 403),
            (&both, &[b"?%5fhas:Observation:patient:code=1234"], 403),
            (&wide, &[b"_has:Observation:patient:code=1234"], 200),
            (&wide, &[b"_filter=x"], 403),
            // Two parsers may each take another one.
            (&wide, &[b"identifier=1", b"identifier=2"], 400),
            (&wide, &[b"name=\xc3\xa9"], 400),
            (&wide, &[b"name=%zz"], 400),
        ] {
            let request = create(&key.token, prefix, criteria);
            let answer = platform.send(request, Body::empty()).await;
            let what = format!("{prefix} {criteria:?}: {}", answer.body);
            assert_eq!(answer.status.as_u16(), status, "{what}");
        }
        let request = create(&writer.token, prefix, &[b"_has:Observation:patient:code=1"]);
        let answer = platform.send(request, Body::empty()).await;
        let challenge = "Bearer realm=\"fhir\", error=\"insufficient_scope\", \
             scope=\"system/Observation.read system/Patient.read system/Patient.write\"";
        assert!(answer.header("www-authenticate").starts_with(challenge));
        let respelled = create(&wide.token, prefix, &[]).header("If_None_Exist", "identifier=1");
        let answer = platform.send(respelled, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_handler_without_a_guard_says_so() {
    let platform = platform();
    for path in ["/unguarded", "/unguarded/optional"] {
        let answer = platform.send(Request::get(path), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.json()["code"], "not_guarded");
        assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 0);
    }
}

#[tokio::test]
async fn another_platform_has_its_own_catalogue_and_error_bodies() {
    let catalog = ScopeCatalog::from_toml(include_str!("../examples/payments.toml")).unwrap();
    let platform = Platform::with(catalog, |credentials| {
        let guard = Guard::new(credentials, "payments").unwrap();
        let charges = Router::new()
            .route("/v1/charges/{id}/refunds", post(facts))
            .route("/v1/status", get(facts));
        let payouts = post(facts).layer(guard.requires("payouts.write").unwrap());
        Router::new()
            .merge(charges.route_layer(guard))
            .route("/payouts", payouts)
    });
    let key = platform.key("acme", "payments", &["refunds.write"]).await;
    let refund = bearer(Request::post("/v1/charges/7/refunds"), &key.token);
    let answer = platform.send(refund, Body::empty()).await;
    assert_eq!(
        answer.json()["required_scope"],
        "refunds.write",
        "{}",
        answer.body
    );
    let status = platform
        .send(Request::get("/v1/status"), Body::empty())
        .await;
    assert_eq!(status.json(), "public");

    let payout = bearer(Request::post("/payouts"), &key.token);
    let answer = platform.send(payout, Body::empty()).await;
    let challenge = r#"Bearer realm="payments", error="insufficient_scope", scope="payouts.write""#;
    challenged(&answer, 403, challenge);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    insta::assert_snapshot!(answer.body, @r#"{"type":"urn:problem-type:credential:insufficient_scope","title":"Insufficient scope","status":403,"detail":"the access token lacks what this call needs: payouts.write","code":"insufficient_scope"}"#);

    // As a route layer the guard leaves the host's own 404 alone.
    let nowhere = platform.send(Request::get("/nowhere"), Body::empty()).await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
}

/// What is logged in a test of one thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A guard under the wrong prefix refuses every call; that is told once, without the path.
/// A host's own envelope in the place of the body; what clients and caches act on stays.
async fn in_our_envelope(response: Response) -> Response {
    let Some(refused) = response.extensions().get::<CallRefused>() else {
        return response;
    };
    let ours = json!({"error": {"type": refused.code, "message": refused.detail}});
    let (mut parts, _) = response.into_parts();
    let ours = Json(ours).into_response();
    parts.headers.remove("content-length");
    parts.headers.extend(ours.headers().clone());
    Response::from_parts(parts, ours.into_body())
}

#[tokio::test]
async fn a_host_may_write_error_bodies_of_its_own() {
    let platform = Platform::new(|credentials| {
        Router::new()
            .route("/api/2.0/{*rest}", any(facts))
            .layer(Guard::new(credentials, "apiv2").unwrap())
            .merge(forward_auth_router(credentials, ForwardAuthHeaders::Path))
            .layer(map_response(in_our_envelope))
    });
    let read = &["system/patients.read"];
    let key = platform.key("alder", "apiv2", read).await;
    let fine = platform.get(PATIENTS, &key.token).await;
    assert_eq!(fine.json()["tenant"], "alder");
    for path in [PATIENTS, &format!("/forward-auth{PATIENTS}")] {
        let refused = platform.get(path, "made up").await;
        challenged(&refused, 401, INVALID);
        assert_eq!(refused.header("content-type"), "application/json");
        assert_eq!(refused.json()["error"]["type"], "unauthenticated");
        let request = bearer(Request::post(path), &key.token);
        let refused = platform.send(request, Body::empty()).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert_eq!(refused.json()["error"]["type"], "insufficient_scope");
        let length = refused.body.len().to_string();
        assert!(["", &length].contains(&refused.header("content-length")));
    }
}

#[tokio::test]
async fn a_guard_in_the_wrong_place_says_so_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logged_here = tracing::subscriber::set_default(subscriber);
    let catalog = ScopeCatalog::from_toml(include_str!("../examples/payments.toml")).unwrap();
    let platform = Platform::with(catalog, |credentials| {
        let guard = Guard::new(credentials, "payments").unwrap();
        let api = Router::new().route("/charges/{id}", get(facts).layer(guard.clone()));
        let payouts = post(facts).layer(guard.requires("payouts.write").unwrap());
        Router::new()
            .nest("/v1", api.clone())
            .nest("/v2", api)
            .route("/payouts", payouts)
            .merge(forward_auth_router(credentials, ForwardAuthHeaders::Path))
    });
    let key = platform.key("acme", "payments", &["charges.read"]).await;
    for path in ["/forward-auth/v1/charges/1", "/forward-auth//v2/secret"] {
        platform.get(path, &key.token).await;
    }
    assert_eq!(
        platform.get("/v1/charges/1", &key.token).await.status,
        StatusCode::OK
    );
    let warnings = || {
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let warnings = log.lines().filter(|line| line.contains(" WARN "));
        warnings.map(str::to_owned).collect::<Vec<_>>()
    };
    // Refused where it belongs, and a guard for one scope, which belongs anywhere.
    let delete = bearer(Request::delete("/v1/charges/1"), &key.token);
    platform.send(delete, Body::empty()).await;
    platform
        .send(bearer(Request::post("/payouts"), &key.token), Body::empty())
        .await;
    assert_eq!(warnings(), Vec::<String>::new());

    for token in [&*key.token, "made-up", &*key.token] {
        let answer = platform.get("/v2/charges/secret", token).await;
        assert_ne!(answer.status, StatusCode::OK);
    }
    let [warning] = &warnings()[..] else {
        panic!("{:?}", warnings());
    };
    for said in ["payments", "/v1", "/v2/charges/{id}"] {
        assert!(warning.contains(said), "{warning}");
    }
    assert!(!warning.contains("secret"), "{warning}");

    // The same question by way of a gateway.
    for _ in 0..3 {
        let answer = platform.get("/forward-auth/v2/secret", &key.token).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    let [_, warning] = &warnings()[..] else {
        panic!("{:?}", warnings());
    };
    assert!(warning.contains("a gateway asked"), "{warning}");
    assert!(!warning.contains("secret"), "{warning}");
}
