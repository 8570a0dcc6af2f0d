//! What is refused, in which order, and that one answer names every fault.

use std::io;

use axum::body::{Body, Bytes};
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use serde_json::{Value, json};

use crate::common::{ADMIN, Answer, Host, ask};

async fn create(host: &Host, body: &Value) -> Answer {
    host.send(ask("POST", "/credentials").by(ADMIN).json(body))
        .await
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(field, code)| ((*field).to_owned(), (*code).to_owned()))
        .collect()
}

#[tokio::test]
async fn create_names_every_fault() {
    let host = Host::new();
    let table: &[(Value, &[(&str, &str)])] = &[
        (json!({}), &[("name", "required"), ("api_type", "required")]),
        (json!([]), &[("", "wrong_type")]),
        (json!(null), &[("", "wrong_type")]),
        (
            json!({"name": 5, "api_type": ["fhir"], "scopes": null, "expires_at": 0}),
            &[
                ("name", "wrong_type"),
                ("api_type", "wrong_type"),
                ("scopes", "wrong_type"),
                ("expires_at", "wrong_type"),
            ],
        ),
        (
            json!({"name": null, "api_type": "fhir"}),
            &[("name", "wrong_type")],
        ),
        (
            json!({"name": "", "api_type": "soap", "expires_at": "soon", "admin": true}),
            &[
                ("expires_at", "invalid_timestamp"),
                ("admin", "unknown_field"),
                ("name", "required"),
                ("api_type", "unknown_api_type"),
            ],
        ),
        (
            json!({"name": "a\u{0}b", "api_type": "fhir", "expires_at": "2020-01-01T00:00:00Z"}),
            &[
                ("name", "forbidden_character"),
                ("expires_at", "in_the_past"),
            ],
        ),
        (
            json!({"name": "x".repeat(101), "api_type": "fhir", "scopes": ["nonsense", 5]}),
            &[
                ("scopes", "wrong_type"),
                ("name", "too_long"),
                ("scopes", "unknown_scope"),
            ],
        ),
        (
            json!({
                "name": "x",
                "api_type": "fhir",
                "scopes": ["nonsense", "system/patients.read"],
            }),
            &[
                ("scopes", "unknown_scope"),
                ("scopes", "scope_of_other_api_type"),
            ],
        ),
        (
            json!({"name": "x", "api_type": "apiv2", "scopes": ["apiv2", "system/patients.read"]}),
            &[("scopes", "scope_conflict")],
        ),
    ];
    for (body, expected) in table {
        let answer = create(&host, body).await;
        assert_eq!(answer.faults(), pairs(expected), "{body}");
    }
    let nothing = host.get("/credentials").await.json();
    assert_eq!(nothing["items"], json!([]));
    assert_eq!(host.get("/audit-events").await.json()["items"], json!([]));
}

#[tokio::test]
async fn null_is_no_expiry_and_zones_are_understood() {
    let host = Host::new();
    let answer = create(
        &host,
        &json!({"name": "a", "api_type": "fhir", "expires_at": null}),
    )
    .await;
    assert_eq!(answer.json()["credential"]["expires_at"], Value::Null);
    let expires_at = "2027-01-01T02:00:00.5+02:00";
    let answer = create(
        &host,
        &json!({"name": "b", "api_type": "fhir", "expires_at": expires_at}),
    )
    .await;
    let stored = &answer.json()["credential"]["expires_at"];
    assert_eq!(stored, "2027-01-01T00:00:00.500000Z");
}

#[tokio::test]
async fn duplicate_keys_are_faults_wherever_they_stand() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let post = ask("POST", "/credentials").by(ADMIN);
    let body = r#"{"name":"a","api_type":"fhir","name":"b","\u006eame":"c"}"#;
    assert_eq!(
        host.send(post.raw(body)).await.faults(),
        pairs(&[("name", "duplicate")])
    );
    let edit = ask("PATCH", &path).by(ADMIN).if_match("*");
    let body = r#"{"expires_at":null,"expires_at":null,"x":1,"x":2}"#;
    assert_eq!(
        host.send(edit.raw(body)).await.faults(),
        pairs(&[("expires_at", "duplicate"), ("x", "unknown_field")])
    );
    let put = ask("PUT", &format!("{path}/scopes"))
        .by(ADMIN)
        .if_match("*");
    let body = r#"{"scopes":["nonsense"],"scopes":[]}"#;
    assert_eq!(
        host.send(put.raw(body)).await.faults(),
        pairs(&[("scopes", "duplicate"), ("scopes", "unknown_scope")])
    );
}

#[tokio::test]
async fn scopes_are_named_or_preset() {
    let host = Host::new();
    let path = format!("{}/scopes", host.created_path("Lab").await);
    let put = |body: &Value| host.send(ask("PUT", &path).by(ADMIN).if_match("*").json(body));
    let table: &[(Value, &[(&str, &str)])] = &[
        (json!({}), &[("scopes", "required")]),
        (json!({"scopes": null}), &[("scopes", "wrong_type")]),
        (
            json!({"scopes": "system/patients.read"}),
            &[("scopes", "wrong_type")],
        ),
        (json!({"preset": 1}), &[("preset", "wrong_type")]),
        (json!({"preset": "all"}), &[("preset", "unknown_preset")]),
        (
            json!({"scopes": [], "preset": "read_only"}),
            &[("preset", "not_with_scopes")],
        ),
        (
            json!({"scopes": ["nonsense"], "preset": "all", "mode": 1}),
            &[
                ("preset", "unknown_preset"),
                ("preset", "not_with_scopes"),
                ("mode", "unknown_field"),
                ("scopes", "unknown_scope"),
            ],
        ),
    ];
    for (body, expected) in table {
        assert_eq!(put(body).await.faults(), pairs(expected), "{body}");
    }
    let changed = put(&json!({"preset": "read_only"})).await.json();
    let scopes = changed["credential"]["scopes"].as_array().unwrap();
    assert_eq!(scopes.len(), 78);
    assert!(
        scopes
            .iter()
            .all(|scope| !scope.as_str().unwrap().contains("write"))
    );
    let changed = put(&json!({"scopes": []})).await.json();
    assert_eq!(changed["credential"]["scopes"], json!([]));
}

#[tokio::test]
async fn the_api_type_is_final_on_every_route_whatever_else_is_wrong() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let scopes = format!("{path}/scopes");
    let before = host.get(&path).await.body;
    let table = [
        ("PATCH", &path, json!({"api_type": "fhir"}), 1),
        (
            "PATCH",
            &path,
            json!({"api_type": null, "name": "", "x": 1}),
            3,
        ),
        ("PUT", &scopes, json!({"scopes": [], "api_type": "fhir"}), 1),
        (
            "PUT",
            &scopes,
            json!({"scopes": ["nonsense"], "api_type": 5, "x": 1}),
            3,
        ),
        ("PUT", &scopes, json!({"preset": "all", "api_type": {}}), 2),
    ];
    for (method, path, body, faults) in table {
        let answer = host
            .send(ask(method, path).by(ADMIN).if_match("*").json(&body))
            .await;
        assert_eq!(
            answer.problem(),
            (422, "api_type_immutable".into()),
            "{body}"
        );
        let errors = answer.all_errors();
        assert_eq!(errors.len(), faults, "{body} {errors:?}");
        assert_eq!(errors[0], ("api_type".into(), "api_type_immutable".into()));
    }
    assert_eq!(host.get(&path).await.body, before);
}

/// A client that sends back what it read changes nothing by naming the API type.
#[tokio::test]
async fn the_api_type_that_it_has_may_be_repeated() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let before = host.get(&path).await.json();
    let api_type = &before["api_type"];
    let body = json!({"api_type": api_type, "name": "Lab sync"});
    let answer = host
        .send(ask("PATCH", &path).by(ADMIN).if_match("*").json(&body))
        .await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.json()["name"], "Lab sync");
    let put = json!({"api_type": api_type, "scopes": before["scopes"]});
    let path = format!("{path}/scopes");
    let answer = host
        .send(ask("PUT", &path).by(ADMIN).if_match("*").json(&put))
        .await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

#[tokio::test]
async fn bodies_have_a_size_a_type_and_a_grammar() {
    let host = Host::new();
    let post = || ask("POST", "/credentials").by(ADMIN);
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024));
    let typed = |content_type: &str| post().header("content-type", content_type);
    let table: Vec<(Request<Body>, u16, &str)> = vec![
        (post().raw(huge.clone()), 413, "payload_too_large"),
        // The size comes before the type, the type before the grammar.
        (typed("text/plain").body(huge), 413, "payload_too_large"),
        (typed("text/plain").body("{"), 415, "unsupported_media_type"),
        (post().body("{}"), 415, "unsupported_media_type"),
        (typed("text/plain").empty(), 415, "unsupported_media_type"),
        (
            typed("application/jsonp").body("{}"),
            415,
            "unsupported_media_type",
        ),
        (
            typed("application/merge-patch+json").body("{}"),
            415,
            "unsupported_media_type",
        ),
        (
            post().header("content-type", b"\xff").body("{}"),
            415,
            "unsupported_media_type",
        ),
        (
            typed("application/json")
                .header("content-type", "application/json")
                .body("{}"),
            415,
            "unsupported_media_type",
        ),
        (post().empty(), 400, "malformed"),
        (post().raw("{\"name\":"), 400, "malformed"),
        (
            post().raw(&b"{\"name\":\"\xc3\x28\"}"[..]),
            400,
            "malformed",
        ),
        (
            post().raw(&b"{\"unknown\":[\"\xff\"]}"[..]),
            400,
            "malformed",
        ),
        (post().raw("{\"name\":\"a\0b\"}"), 400, "malformed"),
        (post().raw("{} {}"), 400, "malformed"),
        (post().raw("[".repeat(60_000)), 400, "malformed"),
        (post().raw("{\"a\":".repeat(12_000)), 400, "malformed"),
        (
            typed("Application/JSON ; charset=utf-8").body("{}"),
            422,
            "invalid",
        ),
    ];
    for (request, status, code) in table {
        let shown = format!("{:?}", request.headers());
        assert_eq!(
            host.send(request).await.problem(),
            (status, code.into()),
            "{shown}"
        );
    }
    // Deep but complete JSON is JSON: the fault is its type.
    let deep = format!("{{\"name\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    let faults = host.send(post().raw(deep)).await.faults();
    assert_eq!(
        faults,
        pairs(&[("name", "wrong_type"), ("api_type", "required")])
    );

    let path = host.created_path("Lab").await;
    let edit = ask("PATCH", &path).by(ADMIN).if_match("*");
    let edit = edit.header("content-type", "application/merge-patch+json");
    assert_eq!(host.send(edit.body("{}")).await.status, 200);
}

#[tokio::test]
async fn the_limit_is_64_kib_to_the_byte() {
    let host = Host::new();
    let body = |length: usize| {
        let empty = r#"{"name":""}"#.len();
        format!("{{\"name\":\"{}\"}}", "x".repeat(length - empty))
    };
    let post = |body: String| host.send(ask("POST", "/credentials").by(ADMIN).raw(body));
    let most = post(body(64 * 1024)).await;
    assert_eq!(
        most.faults(),
        pairs(&[("name", "too_long"), ("api_type", "required")])
    );
    let answer = post(body(64 * 1024 + 1)).await;
    assert_eq!(answer.problem(), (413, "payload_too_large".into()));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_malformed() {
    // Ends with an error, as a connection that closes early does.
    let body = Limited::new(Full::new(Bytes::from_static(b"{}")), 1);
    let body = body.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof));
    let host = Host::new();
    let request = ask("POST", "/credentials").by(ADMIN);
    let answer = host.send(request.raw(Body::new(body))).await;
    assert_eq!(answer.problem(), (400, "malformed".into()));
}

#[tokio::test]
async fn of_several_refusals_the_first_in_the_contract_wins() {
    let host = Host::new();
    let gone = host.created_path("Gone").await;
    host.send(ask("DELETE", &gone).by(ADMIN).empty()).await;
    let live = host.created_path("Live").await;
    host.create("Taken").await;
    let nowhere = format!("/credentials/{:032}", 0);
    let wrong = json!({"name": "", "api_type": "fhir"});
    let taken = json!({"name": "taken"});
    let table = [
        (&nowhere, None, &wrong, 404, "not_found"),
        (&gone, None, &wrong, 409, "revoked"),
        (&gone, Some("\"1\""), &wrong, 409, "revoked"),
        (&live, None, &wrong, 428, "precondition_required"),
        (&live, Some("\"7\""), &wrong, 412, "stale_version"),
        (&live, Some("\"1\""), &wrong, 422, "api_type_immutable"),
        (&live, Some("\"7\""), &taken, 412, "stale_version"),
        (&live, Some("\"1\""), &taken, 409, "name_taken"),
    ];
    for (path, if_match, body, status, code) in table {
        let mut request = ask("PATCH", path).by(ADMIN);
        if let Some(tag) = if_match {
            request = request.if_match(tag);
        }
        let answer = host.send(request.json(body)).await;
        assert_eq!(
            answer.problem(),
            (status, code.into()),
            "{path} {if_match:?} {body}"
        );
    }
}

#[tokio::test]
async fn names_and_the_limit_count_what_is_not_revoked() {
    let host = Host::with(|builder| builder.limit_per_tenant(2));
    let path = host.created_path("Lab").await;
    let fhir = |name: &str| json!({"name": name, "api_type": "fhir"});
    assert_eq!(
        create(&host, &fhir(" LAB ")).await.problem(),
        (409, "name_taken".into())
    );
    assert_eq!(create(&host, &fhir("Two")).await.status, 201);
    let full = create(&host, &fhir("Three")).await;
    assert_eq!(full.problem(), (409, "limit_reached".into()));
    assert!(full.json()["detail"].as_str().unwrap().contains('2'));
    host.send(ask("DELETE", &path).by(ADMIN).empty()).await;
    assert_eq!(create(&host, &fhir("Lab")).await.status, 201);
}

#[tokio::test]
async fn a_secret_in_the_wrong_place_does_not_come_back() {
    let host = Host::new();
    let secret = host.create("Lab").await["client_secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut body = serde_json::Map::new();
    body.insert(secret.clone(), json!(secret));
    body.insert("api_type".into(), json!({secret.clone(): secret}));
    body.insert("expires_at".into(), json!(secret));
    let answer = create(&host, &Value::Object(body)).await;
    assert_eq!(answer.status, 422);
    assert!(!String::from_utf8_lossy(&answer.body).contains(&secret));
    let answer = host
        .get(&format!("/credentials?{secret}={secret}&cursor={secret}"))
        .await;
    assert_eq!(answer.status, 422);
    assert!(!String::from_utf8_lossy(&answer.body).contains(&secret));
}
