//! Every operation refuses with the codes that the document names, and with no others.

use std::collections::{BTreeMap, BTreeSet};

use credential_axum::{ADMIN_ROUTES, AdminRoute};
use http::Request;
use serde_json::{Value, json};

use super::document::{document, operation, resolve};
use crate::common::{ADMIN, Answer, Ask, BASE, Host, OTHER_ADMIN, STAFF, UNKNOWABLE, ask};

/// Too rare to be provoked here: `neighbours.rs` and `idempotency.rs` of the admin API's tests do.
const NOT_ASKED_FOR: [&str; 2] = ["rate_limited", "idempotency_in_progress"];

/// The codes of an operation, by status.
fn documented(document: &Value, route: &AdminRoute) -> BTreeMap<String, Vec<String>> {
    let method = route.method.as_str().to_lowercase();
    let path = format!("{BASE}{}", route.path);
    let responses = operation(document, &method, &path)["responses"]
        .as_object()
        .unwrap();
    let refused = responses
        .iter()
        .filter(|(status, _)| !status.starts_with('2'));
    refused
        .map(|(status, response)| {
            let response = resolve(document, response);
            let schema = &response["content"]["application/problem+json"]["schema"];
            let codes = schema["properties"]["code"]["enum"].as_array().unwrap();
            let codes = codes.iter().map(|it| it.as_str().unwrap().to_owned());
            (status.clone(), codes.collect())
        })
        .collect()
}

/// A credential in some state.
struct Target {
    path: String,
    selector: String,
}

impl Target {
    async fn new(host: &Host, name: &str) -> Self {
        let path = host.created_path(name).await;
        let shown = host.get(&path).await.json();
        let selector = shown["secrets"][0]["selector"].as_str().unwrap().to_owned();
        Self { path, selector }
    }

    fn fill(&self, route: &AdminRoute) -> String {
        let path = route.path.replace("/credentials/{id}", &self.path);
        path.replace("{selector}", &self.selector)
    }
}

/// A body that would be right.
fn right(route: &AdminRoute, live: usize) -> Option<Value> {
    route.body_schema()?;
    Some(match (route.method.as_str(), route.path) {
        ("POST", "/credentials") => json!({"name": "Another", "api_type": "fhir"}),
        ("POST", "/credentials/revoke-all") => json!({"confirm": live.to_string()}),
        (_, path) if path.contains("/scopes") => json!({"scopes": []}),
        _ => json!({}),
    })
}

fn with_body(request: Ask, body: Option<&Value>) -> Request<axum::body::Body> {
    match body {
        Some(body) => request.json(body),
        None => request.empty(),
    }
}

/// The answer to a request whose idempotency key was used for another one.
async fn with_used_key(route: &AdminRoute, body: Option<&Value>) -> Option<Answer> {
    let other = match (route.method.as_str(), route.path) {
        ("POST", "/credentials") => json!({"name": "Other", "api_type": "fhir"}),
        ("POST", "/credentials/{id}/secrets") => json!({"overlap_seconds": 60}),
        _ => return None,
    };
    let host = Host::new();
    let path = Target::new(&host, "Once").await.fill(route);
    let ask_it = || ask("POST", &path).by(ADMIN).header("idempotency-key", "k");
    host.send(with_body(ask_it(), body)).await;
    Some(host.send(ask_it().json(&other)).await)
}

/// The key of RFC 8037, appendix A.
fn one_key() -> Value {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]})
}

/// The answer to a request that would leave nothing to prove the client with.
async fn with_nothing_left(route: &AdminRoute) -> Option<Answer> {
    let (authentication, nothing) = match route.path.rsplit_once('/')? {
        (_, "keys") => (
            json!({"kind": "public_key", "jwks": one_key()}),
            json!({"jwks": null}),
        ),
        (_, "workloads") => (
            json!({
                "kind": "workload", "issuer": "https://ci.example.com", "audience": "a", "subject": "s",
                "jwks": one_key(),
            }),
            json!({"workloads": []}),
        ),
        _ => return None,
    };
    let host = Host::new();
    let new = json!({"name": "Only", "api_type": "fhir", "authentication": authentication});
    let made = ask("POST", "/credentials").by(ADMIN).json(&new);
    let made = host.send(made).await.json();
    let path = route
        .path
        .replace("{id}", made["credential"]["id"].as_str()?);
    let request = ask(route.method.as_str(), &path).by(ADMIN).if_match("*");
    Some(host.send(request.json(&nothing)).await)
}

/// The code of each refusal that a set of odd requests to one route gets, with its status.
async fn provoked(route: &AdminRoute) -> BTreeSet<(String, String)> {
    let mut seen = BTreeSet::new();
    let mut note = |answer: Answer| {
        if !answer.status.is_success() {
            let (status, code) = answer.problem();
            seen.insert((status.to_string(), code));
        }
    };
    let method = route.method.as_str();
    let host = Host::with(|builder| builder.limit_per_tenant(3));
    let live = Target::new(&host, "Live").await;
    let gone = Target::new(&host, "Gone").await;
    host.send(ask("DELETE", &gone.path).by(ADMIN).empty()).await;
    Target::new(&host, "Taken").await;
    let path = live.fill(route);
    let body = right(route, 2);
    let body = body.as_ref();
    let ask_it = || ask(method, &path).if_match("*");

    // Who asks, and from where.
    note(host.send(with_body(ask_it(), body)).await);
    for actor in [STAFF, UNKNOWABLE] {
        note(host.send(with_body(ask_it().by(actor), body)).await);
    }
    let foreign = ask_it().by(ADMIN).header("sec-fetch-site", "cross-site");
    if method != "GET" {
        note(host.send(with_body(foreign, body)).await);
    }
    let elsewhere = ask_it().by(ADMIN).header("x-expected-tenant", "other");
    note(host.send(with_body(elsewhere, body)).await);
    // What is asked.
    if route.path.contains('{') {
        note(host.send(with_body(ask_it().by(OTHER_ADMIN), body)).await);
    }
    if route.query_schema().is_some() {
        note(host.get(&format!("{path}?nonsense=1")).await);
    }
    if route.body_schema().is_some() {
        let too_large = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
        for odd in [
            "{",
            r#"{"nonsense":1}"#,
            r#"{"api_type":"other"}"#,
            &too_large,
        ] {
            note(host.send(ask_it().by(ADMIN).raw(odd.to_owned())).await);
        }
        note(host.send(ask_it().by(ADMIN).body("x")).await);
    }
    // Which version. What is disabled already, is so in every version; likewise enabled.
    let other = match route.path.rsplit_once('/') {
        Some((_, "disable")) => "enable",
        _ => "disable",
    };
    let turn = ask("POST", &format!("{}/{other}", live.path)).by(ADMIN);
    host.send(turn.empty()).await;
    for tag in [Some("\"7\""), None] {
        let request = tag
            .into_iter()
            .fold(ask(method, &path).by(ADMIN), Ask::if_match);
        note(host.send(with_body(request, body)).await);
    }
    // What is there.
    if route.path.contains('{') {
        let revoked = ask(method, &gone.fill(route)).by(ADMIN).if_match("*");
        note(host.send(with_body(revoked, body)).await);
    }
    if body.is_some() {
        let taken = match route.path {
            "/credentials" => json!({"name": "Taken", "api_type": "fhir"}),
            _ => json!({"name": "Taken"}),
        };
        let host = Host::new();
        Target::new(&host, "Taken").await;
        let other = Target::new(&host, "Other").await;
        let request = ask(method, &other.fill(route)).by(ADMIN).if_match("*");
        note(host.send(request.json(&taken)).await);
    }
    for name in ["A second", "A third"] {
        let mut body = body.cloned();
        if let Some(name_of_it) = body.as_mut().and_then(|body| body.get_mut("name")) {
            *name_of_it = json!(name);
        }
        note(
            host.send(with_body(ask_it().by(ADMIN), body.as_ref()))
                .await,
        );
    }
    if let Some(answer) = with_used_key(route, body).await {
        note(answer);
    }
    if let Some(answer) = with_nothing_left(route).await {
        note(answer);
    }
    // Where self-service is off.
    let path = Target::new(&Host::over(host.store.clone(), |it| it), "Off").await;
    let off = Host::over(host.store, |builder| builder.self_service(false));
    let request = ask(method, &path.fill(route)).by(ADMIN).if_match("*");
    note(off.send(with_body(request, body)).await);
    seen
}

#[tokio::test]
async fn every_operation_names_its_refusals_and_no_others() {
    let document = document(&Host::new());
    for route in ADMIN_ROUTES {
        let mut expected = BTreeSet::new();
        for (status, codes) in documented(&document, route) {
            for code in codes
                .into_iter()
                .filter(|it| !NOT_ASKED_FOR.contains(&&**it))
            {
                expected.insert((status.clone(), code));
            }
        }
        // Happens only if another admin is at work in the same moment, or the host keeps no such list.
        let rare = match route.path {
            "/credentials/revoke-all" => Some(("412", "stale_version")),
            "/audit-events" => Some(("404", "not_found")),
            _ => None,
        };
        if let Some((status, code)) = rare {
            assert!(expected.remove(&(status.to_owned(), code.to_owned())));
        }
        assert_eq!(
            provoked(route).await,
            expected,
            "{} {}",
            route.method,
            route.path
        );
    }
}

#[test]
fn every_operation_can_be_held_back() {
    let document = document(&Host::new());
    for route in ADMIN_ROUTES {
        let codes = documented(&document, route);
        assert_eq!(codes["429"], ["rate_limited"], "{route:?}");
        assert_eq!(codes["503"], ["unavailable"], "{route:?}");
    }
}
