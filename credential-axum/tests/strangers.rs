//! What a request without a token, or without a client's secret, may cost: counted in allocations,
//! of which each parameter that is decoded makes some.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

#[path = "common/oauth.rs"]
#[expect(dead_code, reason = "these tests need a part of it")]
mod common;

use allocation_counter::measure;
use axum::{
    Router,
    body::Body,
    routing::{any, post},
};
use common::Platform;
use credential_axum::{ForwardAuthHeaders, Guard, forward_auth_router, oauth_router};
use credential_core::Credentials;
use http::{Request, request::Builder};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// Each of these is decoded on its own.
fn many(count: usize) -> String {
    let parameters: Vec<_> = (0..count).map(|n| format!("{n:x}%41=%42")).collect();
    parameters.join("&")
}

/// The longest query that fits in a head.
fn long_query() -> String {
    let query = many(5_500);
    assert!(
        query.len() > 60_000 && query.len() < 65_000,
        "{}",
        query.len()
    );
    query
}

fn app(credentials: &Credentials) -> Router {
    let fhir = Guard::new(credentials, "fhir").unwrap();
    Router::new()
        .route("/fhir/r4/{*path}", any(async || "here"))
        .route_layer(fhir.clone())
        .route(
            "/one",
            post(async || "here").layer(fhir.requires("system/Patient.read").unwrap()),
        )
        .merge(forward_auth_router(
            credentials,
            ForwardAuthHeaders::XForwarded,
        ))
        .merge(oauth_router(credentials))
}

/// Status and allocations.
fn cost(runtime: &Runtime, app: &Router, request: Request<Body>) -> (u16, u64) {
    let mut status = 0;
    let counted = measure(|| {
        let response = runtime.block_on(app.clone().oneshot(request)).unwrap();
        status = response.status().as_u16();
    });
    (status, counted.count_total)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn guarded(target: &str) -> Builder {
    Request::get(target)
}

fn asked(target: &str) -> Builder {
    Request::get("/forward-auth")
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-uri", target)
}

#[test]
fn without_a_token_no_parameter_is_read() {
    let runtime = runtime();
    let platform = runtime.block_on(async { Platform::new(|_| Router::new()) });
    let app = app(&platform.credentials);
    let long = long_query();
    let chain = format!("Patient:{}", "a.".repeat(30_000));
    for ask in [guarded as fn(&str) -> Builder, asked] {
        for token in [None, Some("Bearer made-up")] {
            let request = |query: &str| {
                let ask = ask(&format!("/fhir/r4/Observation?{query}"));
                let ask = match token {
                    Some(token) => ask.header("authorization", token),
                    None => ask,
                };
                ask.body(Body::empty()).unwrap()
            };
            let _warm = cost(&runtime, &app, request("a=b"));
            let short = cost(&runtime, &app, request("a=b"));
            assert_eq!(short.0, 401);
            for query in [&*long, &chain] {
                let cost = cost(&runtime, &app, request(query));
                assert_eq!(cost.0, 401, "{token:?}");
                assert!(cost.1 <= short.1 + 8, "{token:?}: {cost:?}, {short:?}");
            }
        }
    }
}

/// With a token as well: what is more than any search needs is refused unread.
#[test]
fn a_search_has_a_bounded_number_of_parameters() {
    let runtime = runtime();
    let platform = runtime.block_on(async { Platform::new(|_| Router::new()) });
    let key = runtime.block_on(platform.key("alder", "fhir", &["system/*.read"]));
    let app = app(&platform.credentials);
    let token = format!("Bearer {}", key.token);
    let get = |query: &str| {
        let ask = guarded(&format!("/fhir/r4/Observation?{query}"));
        ask.header("authorization", &token)
            .body(Body::empty())
            .unwrap()
    };
    let form = |query: &str| {
        let ask = Request::post("/fhir/r4/Observation/_search")
            .header("authorization", &token)
            .header("content-type", "application/x-www-form-urlencoded");
        ask.body(Body::from(query.to_owned())).unwrap()
    };
    let long = long_query();
    for request in [&get as &dyn Fn(&str) -> Request<Body>, &form] {
        assert_eq!(cost(&runtime, &app, request("a=b&c=d")).0, 200);
        let short = cost(&runtime, &app, request("a=b&c=d"));
        let (status, count) = cost(&runtime, &app, request(&long));
        assert_eq!(status, 400);
        assert!(count <= short.1 + 40, "{count}, {short:?}");
        assert_eq!(cost(&runtime, &app, request(&many(500))).0, 200);
    }
}

#[test]
fn a_form_of_a_stranger_has_a_bounded_number_of_parameters() {
    let runtime = runtime();
    let platform = runtime.block_on(async { Platform::new(|_| Router::new()) });
    let app = app(&platform.credentials);
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        let request = |query: &str, body: &str| {
            Request::post(format!("{path}{query}"))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(body.to_owned()))
                .unwrap()
        };
        let _warm = cost(&runtime, &app, request("", "a=b"));
        let short = cost(&runtime, &app, request("", "a=b"));
        assert_eq!(short.0, 401);
        let plain: Vec<_> = (0..13_000).map(|n| format!("{n:x}")).collect();
        for (query, body) in [
            ("", plain.join("&")),
            ("", many(5_500)),
            (&*format!("?{}", long_query()), String::new()),
        ] {
            let (status, count) = cost(&runtime, &app, request(query, &body));
            assert_eq!(status, 400, "{path}");
            assert!(count <= short.1 + 16, "{path}: {count}, {short:?}");
        }
        assert_eq!(cost(&runtime, &app, request("", &many(50))).0, 401);
    }
}
