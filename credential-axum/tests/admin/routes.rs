//! Every route × who asks. A new route without a row here fails.

use credential_axum::{ADMIN_ROUTES, AdminRoute};
use http::{Method, Request, StatusCode};

use crate::common::{ADMIN, Answer, Ask, BASE, Host, OTHER_ADMIN, STAFF, UNKNOWABLE, ask};

/// What another tenant's admin finds where alder's credential is.
#[derive(Clone, Copy, PartialEq)]
enum Stranger {
    NotFound,
    EmptyList,
    /// Nothing of any tenant.
    SameForAll,
    /// Works in the stranger's own tenant.
    OwnTenant,
}

struct Row {
    method: &'static str,
    path: &'static str,
    body: &'static str,
    stranger: Stranger,
    off: Off,
}

/// What it does where self-service is off.
#[derive(Clone, Copy)]
enum Off {
    /// Reads and what takes away.
    Works,
    Refused,
}

const fn row(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    stranger: Stranger,
    off: Off,
) -> Row {
    Row {
        method,
        path,
        body,
        stranger,
        off,
    }
}

const ROWS: &[Row] = &[
    row("GET", "/catalog", "", Stranger::SameForAll, Off::Works),
    row("GET", "/policy", "", Stranger::SameForAll, Off::Works),
    row("GET", "/credentials", "", Stranger::EmptyList, Off::Works),
    row(
        "POST",
        "/credentials",
        r#"{"name":"n","api_type":"fhir"}"#,
        Stranger::OwnTenant,
        Off::Refused,
    ),
    row(
        "GET",
        "/credentials/{id}",
        "",
        Stranger::NotFound,
        Off::Works,
    ),
    row(
        "PATCH",
        "/credentials/{id}",
        r#"{"name":"taken over"}"#,
        Stranger::NotFound,
        Off::Refused,
    ),
    row(
        "DELETE",
        "/credentials/{id}",
        "",
        Stranger::NotFound,
        Off::Works,
    ),
    row(
        "PUT",
        "/credentials/{id}/scopes",
        r#"{"scopes":[]}"#,
        Stranger::NotFound,
        Off::Refused,
    ),
    row(
        "POST",
        "/credentials/{id}/disable",
        "",
        Stranger::NotFound,
        Off::Works,
    ),
    row(
        "POST",
        "/credentials/{id}/enable",
        "",
        Stranger::NotFound,
        Off::Refused,
    ),
    row(
        "POST",
        "/credentials/{id}/secrets",
        r#"{"overlap_seconds":0}"#,
        Stranger::NotFound,
        Off::Refused,
    ),
    row(
        "DELETE",
        "/credentials/{id}/secrets/{selector}",
        "",
        Stranger::NotFound,
        Off::Works,
    ),
    row(
        "POST",
        "/credentials/revoke-all",
        r#"{"confirm":"1"}"#,
        Stranger::OwnTenant,
        Off::Works,
    ),
    row(
        "POST",
        "/credentials/{id}/scopes/preview",
        r#"{"scopes":[]}"#,
        Stranger::NotFound,
        Off::Works,
    ),
    row(
        "GET",
        "/credentials/{id}/usage",
        "",
        Stranger::NotFound,
        Off::Works,
    ),
    row(
        "GET",
        "/credentials/{id}/refusals",
        "",
        Stranger::NotFound,
        Off::Works,
    ),
    row(
        "PUT",
        "/credentials/{id}/keys",
        r#"{"jwks":{"keys":[{"kty":"OKP","crv":"Ed25519",
            "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}}"#,
        Stranger::NotFound,
        Off::Refused,
    ),
    row(
        "PUT",
        "/credentials/{id}/workloads",
        r#"{"workloads":[]}"#,
        Stranger::NotFound,
        Off::Refused,
    ),
    row("GET", "/audit-events", "", Stranger::EmptyList, Off::Works),
];

fn row_of(route: &AdminRoute) -> &'static Row {
    ROWS.iter()
        .find(|row| row.method == route.method.as_str() && row.path == route.path)
        .unwrap_or_else(|| {
            panic!(
                "no row for {} {}: who may call it?",
                route.method, route.path
            )
        })
}

/// A credential of alder, and the older of its two secrets.
struct Target {
    path: String,
    selector: String,
}

impl Target {
    async fn new(host: &Host, name: &str) -> Self {
        let path = host.created_path(name).await;
        let rotate = ask("POST", &format!("{path}/secrets")).by(ADMIN);
        let rotated = host.send(rotate.raw(r#"{"overlap_seconds":60}"#)).await;
        assert_eq!(rotated.status, StatusCode::CREATED);
        let shown = host.get(&path).await.json();
        let selector = shown["secrets"][0]["selector"].as_str().unwrap().to_owned();
        Self { path, selector }
    }

    fn fill(&self, template: &str) -> String {
        template
            .replace("/credentials/{id}", &self.path)
            .replace("{selector}", &self.selector)
    }
}

/// The route's request about alder's credential, right in everything but who asks.
fn request(row: &Row, target: &Target) -> Ask {
    ask(row.method, &target.fill(row.path)).if_match("*")
}

fn with_body(row: &Row, request: Ask) -> Request<axum::body::Body> {
    if row.body.is_empty() {
        request.empty()
    } else {
        request.raw(row.body)
    }
}

/// What alder's admin sees of everything.
async fn everything(host: &Host) -> Vec<Answer> {
    let paths = ["/credentials?include_revoked=true", "/audit-events"];
    let mut seen = Vec::new();
    for path in paths {
        let answer = host.get(path).await;
        assert_eq!(answer.status, StatusCode::OK);
        seen.push(answer);
    }
    seen
}

#[tokio::test]
async fn every_route_has_a_row_and_every_row_a_route() {
    assert_eq!(ADMIN_ROUTES.len(), ROWS.len());
    for route in ADMIN_ROUTES {
        let row = row_of(route);
        let is_described = route.body_schema().is_some();
        assert_eq!(is_described, !row.body.is_empty(), "{route:?}");
    }
}

#[tokio::test]
async fn every_route_refuses_everyone_but_the_tenants_admins() {
    let host = Host::new();
    let path = Target::new(&host, "Lab").await;
    let before = everything(&host).await;
    for route in ADMIN_ROUTES {
        let row = row_of(route);
        let name = format!("{} {}", row.method, row.path);

        let answer = host.send(with_body(row, request(row, &path))).await;
        assert_eq!(answer.problem(), (401, "unauthenticated".into()), "{name}");

        let answer = host
            .send(with_body(row, request(row, &path).by(STAFF)))
            .await;
        assert_eq!(answer.problem(), (403, "forbidden".into()), "{name}");

        let answer = host
            .send(with_body(row, request(row, &path).by(UNKNOWABLE)))
            .await;
        assert_eq!(answer.problem(), (503, "unavailable".into()), "{name}");
        assert_eq!(answer.header("retry-after"), "1");
        assert!(!String::from_utf8_lossy(&answer.body).contains("session store"));

        if row.stranger == Stranger::OwnTenant {
            continue; // what_a_stranger_creates_is_only_theirs
        }
        let answer = host
            .send(with_body(row, request(row, &path).by(OTHER_ADMIN)))
            .await;
        match row.stranger {
            Stranger::NotFound => {
                assert_eq!(answer.problem(), (404, "not_found".into()), "{name}");
            }
            Stranger::EmptyList => {
                assert_eq!(
                    answer.json()["items"].as_array().map(Vec::len),
                    Some(0),
                    "{name}"
                );
            }
            Stranger::SameForAll => {
                let ours = host
                    .send(with_body(row, request(row, &path).by(ADMIN)))
                    .await;
                assert_eq!(answer.body, ours.body, "{name}");
            }
            Stranger::OwnTenant => unreachable!(),
        }
    }
    for (before, after) in before.iter().zip(everything(&host).await) {
        assert_eq!(before.body, after.body);
    }
}

/// What alder's page sends; pinned, because all nodes must agree on it.
const ALDER: &str = "CHM1S4CpbjA1vzpsdE72oA";

#[tokio::test]
async fn every_route_refuses_what_was_made_for_another_tenant() {
    let host = Host::new();
    let path = Target::new(&host, "Lab").await;
    let before = everything(&host).await;
    let wrong: [&[&[u8]]; 6] = [
        &[b"alder"],
        &[b""],
        &[b"\xff"],
        &[b"chm1s4cpbja1vzpsde72oa"],
        &[ALDER.as_bytes(), b"birch"],
        &[b"birch", ALDER.as_bytes()],
    ];
    for route in ADMIN_ROUTES {
        let row = row_of(route);
        let name = format!("{} {}", row.method, row.path);
        let meant_for = |values: &[&[u8]]| {
            values.iter().fold(request(row, &path), |ask, value| {
                ask.header("x-expected-tenant", value)
            })
        };
        for values in wrong {
            // Before whatever is wrong with the body.
            let answer = host.send(meant_for(values).by(ADMIN).raw("{")).await;
            assert_eq!(answer.problem(), (409, "tenant_changed".into()), "{name}");
        }
        // Whoever switched to birch acts on birch, with alder's page still open.
        let answer = host
            .send(with_body(
                row,
                meant_for(&[ALDER.as_bytes()]).by(OTHER_ADMIN),
            ))
            .await;
        assert_eq!(answer.problem(), (409, "tenant_changed".into()), "{name}");

        let answer = host.send(with_body(row, meant_for(&[b"birch"]))).await;
        assert_eq!(answer.problem(), (401, "unauthenticated".into()), "{name}");
        let answer = host
            .send(with_body(row, meant_for(&[b"birch"]).by(STAFF)))
            .await;
        assert_eq!(answer.problem(), (403, "forbidden".into()), "{name}");
        if row.method != "GET" {
            let foreign = meant_for(&[b"birch"]).header("sec-fetch-site", "cross-site");
            let answer = host.send(with_body(row, foreign.by(ADMIN))).await;
            assert_eq!(answer.problem(), (403, "cross_site".into()), "{name}");
        }
    }
    for (before, after) in before.iter().zip(everything(&host).await) {
        assert_eq!(before.body, after.body);
    }
    for route in ADMIN_ROUTES {
        let row = row_of(route);
        let request = request(row, &path).by(ADMIN);
        let answer = host
            .send(with_body(row, request.header("x-expected-tenant", ALDER)))
            .await;
        // Those that came before have changed what is there.
        let done = answer.status.is_success() || matches!(answer.status.as_u16(), 409 | 422);
        assert!(done, "{route:?} {answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("tenant_changed"));
    }
}

#[tokio::test]
async fn what_a_stranger_creates_is_only_theirs() {
    let host = Host::new();
    host.create("Lab").await;
    let before = everything(&host).await;
    let rows = ROWS
        .iter()
        .filter(|row| row.stranger == Stranger::OwnTenant);
    for row in rows {
        let answer = host
            .send(with_body(row, ask(row.method, row.path).by(OTHER_ADMIN)))
            .await;
        assert!(answer.status.is_success(), "{answer:?}");
    }
    for (before, after) in before.iter().zip(everything(&host).await) {
        assert_eq!(before.body, after.body);
    }
}

#[tokio::test]
async fn every_route_works_for_the_tenants_admin_and_is_never_cached() {
    for route in ADMIN_ROUTES {
        let host = Host::new();
        let path = Target::new(&host, "Lab").await;
        let row = row_of(route);
        let answer = host
            .send(with_body(row, request(row, &path).by(ADMIN)))
            .await;
        assert!(answer.status.is_success(), "{route:?} {answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-type"), "application/json");
        if route.method == Method::GET {
            let head = host
                .send(ask("HEAD", &path.fill(row.path)).by(ADMIN).empty())
                .await;
            assert_eq!(
                (head.status, head.body.len()),
                (StatusCode::OK, 0),
                "{route:?}"
            );
        }
    }
}

#[tokio::test]
async fn changes_from_other_sites_are_refused_after_sign_in_and_before_the_role() {
    let host = Host::new();
    let path = Target::new(&host, "Lab").await;
    for route in ADMIN_ROUTES {
        let row = row_of(route);
        let foreign = |request: Ask| request.header("sec-fetch-site", "cross-site");
        let refused = (403, "cross_site".to_owned());
        for actor in [ADMIN, STAFF] {
            let answer = host
                .send(with_body(row, foreign(request(row, &path)).by(actor)))
                .await;
            if route.method != Method::GET {
                assert_eq!(answer.problem(), refused, "{route:?}");
            } else if actor == ADMIN {
                assert_eq!(answer.status, StatusCode::OK, "{route:?}");
            }
        }
        let answer = host
            .send(with_body(row, foreign(request(row, &path))))
            .await;
        assert_eq!(answer.problem().0, 401, "{route:?}");
    }
}

/// What takes away stays possible; another tenant's thing is not found first, and what is wrong with
/// the request comes where the contract puts it.
#[tokio::test]
async fn where_self_service_is_off_admins_read_and_take_away_and_change_nothing_else() {
    for route in ADMIN_ROUTES {
        let row = row_of(route);
        let on = Host::new();
        let path = Target::new(&on, "Lab").await;
        let gone = Target::new(&on, "Gone").await;
        on.send(ask("DELETE", &gone.path).by(ADMIN).empty()).await;
        let host = Host::over(on.store, |builder| builder.self_service(false));
        let before = everything(&host).await;
        let off = (403, "self_service_unavailable".to_owned());
        let has_id = row.path.contains("{id}");
        let has_body = !row.body.is_empty();

        let refused = matches!(row.off, Off::Refused);
        if row.stranger != Stranger::SameForAll && (has_id || has_body && refused) {
            let stranger = request(row, &path).by(OTHER_ADMIN);
            let answer = host.send(with_body(row, stranger)).await.problem();
            let nothing = (404, "not_found".to_owned());
            assert_eq!(
                answer,
                if has_id { nothing } else { off.clone() },
                "{route:?}"
            );
        }
        if has_body {
            let answer = host.send(request(row, &path).by(ADMIN).raw("{")).await;
            assert_eq!(answer.problem(), (400, "malformed".into()), "{route:?}");
            let answer = host.send(request(row, &path).by(ADMIN).body("x")).await;
            let media_type = (415, "unsupported_media_type".into());
            assert_eq!(answer.problem(), media_type, "{route:?}");
        }
        if has_body && refused {
            // Before what else is wrong with it: a revoked credential, no version, a fault.
            for path in [&gone, &path] {
                let target = path.fill(row.path);
                for body in [row.body, "{}", r#"{"name":""}"#] {
                    let answer = host
                        .send(ask(row.method, &target).by(ADMIN).raw(body))
                        .await;
                    assert_eq!(answer.problem(), off, "{route:?} {body}");
                    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
                    assert!(detail.contains("support"), "{detail}");
                }
            }
        }
        for (before, after) in before.iter().zip(everything(&host).await) {
            assert_eq!(before.body, after.body);
        }
        let answer = host
            .send(with_body(row, request(row, &path).by(ADMIN)))
            .await;
        match row.off {
            Off::Works => {
                assert_eq!(answer.status, StatusCode::OK, "{route:?}");
                let again = host
                    .send(with_body(row, request(row, &path).by(ADMIN)))
                    .await;
                // Nothing is left of the number that was confirmed.
                let none_left = row.path == "/credentials/revoke-all";
                let expected = if none_left { 422 } else { 200 };
                assert_eq!(again.status, expected, "{route:?}");
            }
            Off::Refused => assert_eq!(answer.problem(), off, "{route:?}"),
        }
    }
}

#[tokio::test]
async fn the_production_default_is_off() {
    use credential_core::id::Environment;
    let host = Host::with(|builder| {
        builder
            .environment(Environment::Production)
            .issuer("https://api.example.com")
    });
    let body = serde_json::json!({"name": "Lab", "api_type": "fhir"});
    let answer = host
        .send(ask("POST", "/credentials").by(ADMIN).json(&body))
        .await;
    assert_eq!(answer.problem(), (403, "self_service_unavailable".into()));
    assert_eq!(host.get("/credentials").await.status, StatusCode::OK);
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_problems_too() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    for unknown in [
        "/nothing",
        "/credentials/",
        "/catalog/x",
        "/credentials/a/b/c",
        "",
    ] {
        let answer = host.get(unknown).await;
        assert_eq!(answer.problem(), (404, "not_found".into()), "{unknown}");
    }
    for (unsupported, allow) in [
        ("/catalog", "GET,HEAD"),
        ("/credentials", "GET,HEAD,POST"),
        (path.as_str(), "GET,HEAD,PATCH,DELETE"),
        (&format!("{path}/scopes"), "PUT"),
        ("/audit-events", "GET,HEAD"),
    ] {
        let answer = host
            .send(ask("OPTIONS", unsupported).by(ADMIN).empty())
            .await;
        assert_eq!(
            answer.problem(),
            (405, "method_not_allowed".into()),
            "{unsupported}"
        );
        assert_eq!(answer.header("allow"), allow);
    }
    let answer = host.send(ask("GET", "/nothing").empty()).await;
    assert_eq!(answer.problem(), (401, "unauthenticated".into()));
}

#[tokio::test]
async fn what_is_no_id_names_nothing() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let upper = path.to_uppercase().replace("CREDENTIALS", "credentials");
    let ids = [
        "/credentials/1",
        "/credentials/%00",
        "/credentials/%ff",
        &upper,
    ];
    for id in ids.into_iter().chain([format!("{path}0").as_str()]) {
        assert_eq!(
            host.get(id).await.problem(),
            (404, "not_found".into()),
            "{id}"
        );
        // Only after what the body is refused for.
        let answer = host.send(ask("PATCH", id).by(ADMIN).raw("{")).await;
        assert_eq!(answer.problem(), (400, "malformed".into()), "{id}");
        let answer = host.send(ask("PATCH", id).by(ADMIN).raw("{}")).await;
        assert_eq!(answer.problem(), (404, "not_found".into()), "{id}");
    }
}

#[tokio::test]
async fn a_location_is_the_address_as_the_client_sees_it() {
    let host = Host::new();
    let body = serde_json::json!({"name": "Lab", "api_type": "fhir"});
    let answer = host
        .send(ask("POST", "/credentials").by(ADMIN).json(&body))
        .await;
    let location = answer.header("location").to_owned();
    let found = host.get(location.strip_prefix(BASE).unwrap()).await;
    assert_eq!(found.json(), answer.json()["credential"]);
    assert_eq!(found.header("etag"), answer.header("etag"));
}
