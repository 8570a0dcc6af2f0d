//! Lists: pages, cursors, filters; and the catalogue.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use axum::extract::ConnectInfo;
use credential_axum::ClientAddressLayer;
use credential_core::credential::Networks;
use serde_json::{Value, json};

use crate::common::{ADMIN, Host, ask};

fn texts(page: &Value, field: &str) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| item[field].as_str().unwrap().to_owned())
        .collect()
}

fn next(page: &Value, path: &str) -> Option<String> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let cursor = page["next_cursor"].as_str()?;
    Some(format!("{path}{separator}cursor={cursor}"))
}

#[tokio::test]
async fn pages_lose_nothing_while_credentials_are_added() {
    let host = Host::with(|builder| builder.limit_per_tenant(1000));
    let mut created = Vec::new();
    for n in 0..120 {
        // Several at one moment, so that the id decides too.
        if n % 5 == 0 {
            host.clock.advance(Duration::from_millis(1));
        }
        let new = host.create(&format!("key {n}")).await;
        created.push(new["credential"]["id"].as_str().unwrap().to_owned());
    }
    let path = "/credentials?limit=7";
    let mut seen = Vec::new();
    let mut times = Vec::new();
    let mut following = Some(path.to_owned());
    while let Some(page) = following {
        let page = host.get(&page).await.json();
        assert!(page["items"].as_array().unwrap().len() <= 7);
        seen.extend(texts(&page, "id"));
        times.extend(texts(&page, "created_at"));
        following = next(&page, path);
        host.clock.advance(Duration::from_millis(1));
        host.create(&format!("late {}", seen.len())).await;
    }
    assert_eq!(seen.len(), 120);
    assert_eq!(
        seen.iter().collect::<HashSet<_>>(),
        created.iter().collect()
    );
    assert!(times.is_sorted_by(|newer, older| newer >= older));
}

#[tokio::test]
async fn a_full_last_page_has_no_next() {
    let host = Host::new();
    for name in ["a", "b", "c", "d"] {
        host.create(name).await;
        host.clock.advance(Duration::from_secs(1));
    }
    let first = host.get("/credentials?limit=2").await.json();
    assert_eq!(texts(&first, "name"), ["d", "c"]);
    let second = host
        .get(&next(&first, "/credentials?limit=2").unwrap())
        .await
        .json();
    assert_eq!(texts(&second, "name"), ["b", "a"]);
    assert_eq!(second["next_cursor"], Value::Null);
}

#[tokio::test]
async fn revoked_credentials_show_on_request() {
    let host = Host::new();
    let path = host.created_path("Old").await;
    host.clock.advance(Duration::from_secs(1));
    host.create("New").await;
    host.send(ask("DELETE", &path).by(ADMIN).empty()).await;
    let names = async |path| texts(&host.get(path).await.json(), "name");
    assert_eq!(names("/credentials").await, ["New"]);
    assert_eq!(names("/credentials?include_revoked=false").await, ["New"]);
    assert_eq!(
        names("/credentials?include_revoked=true").await,
        ["New", "Old"]
    );
    assert_eq!(host.get(&path).await.json()["status"], "revoked");
}

#[tokio::test]
async fn queries_name_every_fault() {
    let host = Host::new();
    let table: &[(&str, &[(&str, &str)])] = &[
        ("/credentials?limit=0", &[("limit", "out_of_range")]),
        ("/credentials?limit=101", &[("limit", "out_of_range")]),
        (
            "/credentials?limit=ten&cursor=x",
            &[("limit", "wrong_type"), ("cursor", "invalid_cursor")],
        ),
        (
            "/credentials?include_revoked=1",
            &[("include_revoked", "wrong_type")],
        ),
        ("/credentials?limit=5&limit=5", &[("limit", "duplicate")]),
        (
            "/credentials?tenant=birch&cursor=%ff",
            &[
                ("cursor", "invalid_encoding"),
                ("tenant", "unknown_parameter"),
            ],
        ),
        (
            "/credentials?credential_id=x",
            &[("credential_id", "unknown_parameter")],
        ),
        ("/credentials?cursor=", &[("cursor", "invalid_cursor")]),
        (
            "/audit-events?credential_id=x&limit=0&cursor=AAAA&include_revoked=true",
            &[
                ("credential_id", "invalid_id"),
                ("limit", "out_of_range"),
                ("cursor", "invalid_cursor"),
                ("include_revoked", "unknown_parameter"),
            ],
        ),
    ];
    for (path, expected) in table {
        let faults = host.get(path).await.faults();
        let faults: Vec<_> = faults
            .iter()
            .map(|(f, c)| (f.as_str(), c.as_str()))
            .collect();
        assert_eq!(faults, *expected, "{path}");
    }
    assert_eq!(host.get("/credentials?").await.status, 200);
    assert_eq!(host.get("/credentials?limit=100&").await.status, 200);
}

#[tokio::test]
async fn the_trail_tells_who_did_what_newest_first() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let id = path.rsplit('/').next().unwrap();
    host.create("Other").await;
    let request = ask("PATCH", &path).by(ADMIN).if_match("*");
    host.send(request.json(&json!({"name": "Lab 2"}))).await;
    host.send(ask("DELETE", &path).by(ADMIN).empty()).await;

    let page = host
        .get(&format!("/audit-events?credential_id={id}"))
        .await
        .json();
    assert_eq!(
        texts(&page, "action"),
        [
            "credential.revoked",
            "credential.renamed",
            "credential.created"
        ]
    );
    let renamed = &page["items"][1];
    assert_eq!(renamed["seq"], 3);
    assert_eq!(renamed["actor"], ADMIN);
    assert_eq!(renamed["at"], "2026-01-01T00:00:00Z");
    assert_eq!(renamed["credential_id"], id);
    assert_eq!(
        renamed["details"],
        json!({"name": "Lab 2", "name_before": "Lab"})
    );
    // To the byte as stored, in the order in which the hash covers it.
    let created = host.get("/audit-events?limit=1&cursor=AAAAAAAAAAI").await;
    let body = String::from_utf8_lossy(&created.body);
    let start = r#""details":{"name":"Lab","api_type":"apiv2","client_id":"#;
    assert!(body.contains(start), "{body}");
    let hash = renamed["hash"].as_str().unwrap();
    assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));

    let mut seqs = Vec::new();
    let mut following = Some("/audit-events?limit=1".to_owned());
    while let Some(path) = following {
        let page = host.get(&path).await.json();
        seqs.push(page["items"][0]["seq"].as_u64().unwrap());
        following = next(&page, "/audit-events?limit=1");
    }
    assert_eq!(seqs, [4, 3, 2, 1]);
    let unknown = format!("/audit-events?credential_id={:032}", 0);
    assert_eq!(host.get(&unknown).await.json()["items"], json!([]));
}

#[tokio::test]
async fn the_catalogue_lists_what_can_be_chosen() {
    let catalog = Host::new().get("/catalog").await.json();
    let api_types = catalog["api_types"].as_array().unwrap();
    let ids: Vec<_> = api_types.iter().map(|api_type| &api_type["id"]).collect();
    assert_eq!(ids, ["apiv2", "fhir"]);
    let (apiv2, fhir) = (&api_types[0], &api_types[1]);
    assert_eq!(apiv2["full_access_scope"], "apiv2");
    assert_eq!(fhir["full_access_scope"], Value::Null);
    let additional: Vec<_> = apiv2["additional_scopes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|scope| {
            (
                scope["scope"].as_str().unwrap(),
                scope["kind"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        additional,
        [("act_as_user", "on_behalf_of"), ("apiv2", "full_access")]
    );

    let resources = |api_type: &Value| -> Vec<Value> {
        let categories = api_type["categories"].as_array().unwrap();
        let lists = categories
            .iter()
            .map(|category| category["resources"].as_array().unwrap());
        lists.flatten().cloned().collect()
    };
    assert_eq!(apiv2["categories"].as_array().unwrap().len(), 9);
    let of_apiv2 = resources(apiv2);
    let scopes = of_apiv2
        .iter()
        .flat_map(|resource| [&resource["read"], &resource["write"]]);
    assert_eq!(scopes.filter(|scope| scope.is_object()).count(), 151);
    let patients = of_apiv2
        .iter()
        .find(|resource| resource["id"] == "patients")
        .unwrap();
    assert_eq!(patients["read"]["scope"], "system/patients.read");
    assert_eq!(patients["write"]["scope"], "system/patients.write");
    assert_eq!(patients["wildcard"], false);
    assert!(patients["read"]["description"].is_string());

    let of_fhir = resources(fhir);
    assert!(of_fhir.iter().all(|resource| resource["write"].is_null()));
    let wildcards = of_fhir
        .iter()
        .filter(|resource| resource["wildcard"] == true);
    let wildcards: Vec<_> = wildcards
        .map(|resource| &resource["read"]["scope"])
        .collect();
    assert_eq!(wildcards, ["system/*.read"]);
}

#[tokio::test]
async fn the_policy_names_the_callers_address() {
    let mut host = Host::new();
    let proxies = Networks::parse(&["10.0.0.0/8"]).unwrap();
    host.router = host.router.layer(ClientAddressLayer::trusting(proxies));
    for (peer, forwarded, address) in [
        (None, None, Value::Null),
        (None, Some("198.51.100.7"), Value::Null),
        (Some("203.0.113.9:4711"), None, json!("203.0.113.9")),
        (
            Some("203.0.113.9:4711"),
            Some("198.51.100.7"),
            json!("203.0.113.9"),
        ),
        (
            Some("10.1.2.3:4711"),
            Some("::ffff:198.51.100.7"),
            json!("198.51.100.7"),
        ),
        (Some("10.1.2.3:4711"), Some("unknown"), Value::Null),
    ] {
        let mut request = ask("GET", "/policy").by(ADMIN);
        if let Some(forwarded) = forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        let mut request = request.empty();
        if let Some(peer) = peer {
            let peer: SocketAddr = peer.parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let answer = host.send(request).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["client_address"], address, "{peer:?}");
    }
}

#[tokio::test]
async fn long_answers_without_a_secret_are_compressed_for_those_who_take_it() {
    use std::io::Read as _;

    let host = Host::new();
    let mut path = String::new();
    for n in 0..20 {
        path = host.created_path(&format!("key {n}")).await;
    }
    let sent = |method: &str, path: &str| {
        ask(method, path)
            .by(ADMIN)
            .header("accept-encoding", "gzip, br")
    };
    for path in ["/credentials", "/catalog", "/audit-events"] {
        let plain = host.get(path).await;
        assert_eq!(plain.headers.get("content-encoding"), None, "{path}");
        let small = host.send(sent("GET", path).empty()).await;
        assert_eq!(small.headers["content-encoding"], "gzip", "{path}");
        assert!(small.body.len() * 2 < plain.body.len(), "{path}");
        let mut text = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&small.body[..]);
        decoder.read_to_end(&mut text).unwrap();
        assert_eq!(text, plain.body, "{path}");
    }
    // Its tag names these bytes, and the other one holds a secret.
    let one = host.send(sent("GET", &path).empty()).await;
    assert!(one.headers.contains_key("etag"));
    assert_eq!(one.headers.get("content-encoding"), None);
    let body = json!({"name": "x".repeat(100), "api_type": "apiv2", "description": "x".repeat(500),
        "scopes": host.get("/catalog").await.json()["api_types"][0]["categories"].as_array().unwrap().iter()
            .flat_map(|category| category["resources"].as_array().unwrap()).filter_map(|resource| resource["read"]["scope"].as_str()).collect::<Vec<_>>()});
    let created = host.send(sent("POST", "/credentials").json(&body)).await;
    assert_eq!(created.status, 201);
    assert!(
        created.body.len() > 2048,
        "long enough: {}",
        created.body.len()
    );
    assert_eq!(created.headers.get("content-encoding"), None);
}
