//! `Idempotency-Key` on the requests that make a secret.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use credential_core::{
    entropy::OsEntropy,
    secret::{hash::HashCost, keyring::Keyring},
    testing::{CountingHasher, SeededEntropy},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::common::{ADMIN, Answer, Ask, BASE, Host, OTHER_ADMIN, STAFF, ask};

fn lab() -> Value {
    json!({"name": "Lab", "api_type": "apiv2", "scopes": ["system/patients.read"]})
}

fn create(key: &str) -> Ask {
    ask("POST", "/credentials")
        .by(ADMIN)
        .header("idempotency-key", key)
}

fn rotate(path: &str, key: &str) -> Ask {
    ask("POST", &format!("{path}/secrets"))
        .by(ADMIN)
        .header("idempotency-key", key)
}

/// Status, headers and body: all of an answer, but when it was sent.
fn all_of(answer: &Answer) -> (StatusCode, HeaderMap, String) {
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    let mut headers = answer.headers.clone();
    assert!(headers.remove(header::DATE).is_some());
    (answer.status, headers, body)
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.problem(), (status, code.to_owned()));
}

async fn listed(host: &Host) -> usize {
    let listed = host.get("/credentials?include_revoked=true").await.json();
    listed["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_repeated_create_gets_the_first_answer_to_the_byte() {
    let host = Host::new();
    let first = host.send(create("\"k-1\"").json(&lab())).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let id = first.json()["credential"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/credentials/{id}");
    assert!(
        first.headers[header::LOCATION]
            .to_str()
            .unwrap()
            .ends_with(&path)
    );
    assert_eq!(first.headers[header::ETAG], "\"1\"");
    assert_eq!(first.headers[header::CACHE_CONTROL], "no-store");

    // The members in another order, the key without its quotes, the credential renamed and then revoked.
    let reordered = r#"{"scopes":["system/patients.read"], "api_type":"apiv2", "name":"\u004cab"}"#;
    let again = async || {
        let again = host.send(create("k-1").raw(reordered)).await;
        assert_eq!(all_of(&again), all_of(&first));
    };
    again().await;
    let rename = ask("PATCH", &path).by(ADMIN).if_match("*");
    host.send(rename.raw(r#"{"name":"Imaging"}"#)).await;
    again().await;
    host.send(ask("DELETE", &path).by(ADMIN).empty()).await;
    again().await;
    assert_eq!(listed(&host).await, 1);
}

#[tokio::test]
async fn a_repeated_rotation_gets_the_first_answer_to_the_byte() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let first = host
        .send(rotate(&path, "k").raw(r#"{"overlap_seconds":60}"#))
        .await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(first.headers[header::ETAG], "\"2\"");
    let shown = first.json();
    assert!(shown["client_secret"].is_string());
    assert!(shown["effective_everywhere_at"].is_string());
    for _ in 0..2 {
        host.clock.advance(Duration::from_secs(90));
        let again = host
            .send(rotate(&path, "k").raw(r#"{ "overlap_seconds": 60 }"#))
            .await;
        assert_eq!(all_of(&again), all_of(&first));
    }
    let secrets = host.get(&path).await.json()["secrets"].clone();
    assert_eq!(secrets.as_array().unwrap().len(), 2);
    // Without a body it is a request with the same key as well.
    let first = host.send(rotate(&path, "without").empty()).await;
    let again = host.send(rotate(&path, "without").empty()).await;
    assert_eq!(all_of(&again), all_of(&first));
}

#[tokio::test]
async fn a_repetition_costs_no_hash() {
    let entropy = SeededEntropy::new(7);
    let keyring = Keyring::generate(&entropy);
    let hasher = credential_core::secret::hash::Argon2Hasher::new(
        keyring.clone(),
        HashCost::cheap(),
        Arc::new(OsEntropy),
    );
    let hasher = Arc::new(CountingHasher::new(hasher));
    let host = Host::with(|builder| {
        builder
            .keyring(keyring)
            .hasher(hasher.clone())
            .limit_per_tenant(1)
    });
    for _ in 0..5 {
        let answer = host.send(create("k").json(&lab())).await;
        assert_eq!(answer.status, StatusCode::CREATED);
    }
    assert_eq!(hasher.hashed(), 1);
}

#[tokio::test]
async fn another_request_with_the_same_key_is_refused() {
    let host = Host::new();
    let first = host.send(create("k").json(&lab())).await.json();
    let path = format!(
        "/credentials/{}",
        first["credential"]["id"].as_str().unwrap()
    );
    let other = json!({"name": "Lab", "api_type": "apiv2", "scopes": []});
    refused(
        &host.send(create("k").json(&other)).await,
        422,
        "idempotency_key_reused",
    );
    refused(
        &host.send(rotate(&path, "k").empty()).await,
        422,
        "idempotency_key_reused",
    );
    refused(
        &host
            .send(create("k").raw(r#"{"name":"Lab","more":1}"#))
            .await,
        422,
        "idempotency_key_reused",
    );
    // Keys are told apart by case.
    refused(
        &host.send(create("K").json(&lab())).await,
        409,
        "name_taken",
    );
}

/// What ranks above a used key, and above a key that is none.
#[tokio::test]
async fn the_first_reason_is_answered() {
    let host = Host::new();
    let first = host.send(create("k").json(&lab())).await.json();
    let path = format!(
        "/credentials/{}",
        first["credential"]["id"].as_str().unwrap()
    );
    let bad = "not a key";
    let as_nobody = ask("POST", "/credentials").header("idempotency-key", bad);
    refused(
        &host.send(as_nobody.json(&lab())).await,
        401,
        "unauthenticated",
    );
    let as_staff = ask("POST", "/credentials")
        .by(STAFF)
        .header("idempotency-key", "k");
    refused(&host.send(as_staff.json(&lab())).await, 403, "forbidden");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    refused(
        &host.send(create(bad).raw(large)).await,
        413,
        "payload_too_large",
    );
    refused(
        &host.send(create(bad).body("{}")).await,
        415,
        "unsupported_media_type",
    );
    refused(&host.send(create(bad).raw("{}")).await, 400, "malformed");
    let nobody = "/credentials/00000000000000000000000000000000";
    refused(
        &host.send(rotate(nobody, bad).raw("{}")).await,
        400,
        "malformed",
    );
    refused(
        &host.send(rotate(nobody, "k").raw("{}")).await,
        404,
        "not_found",
    );
    let strangers = ask("POST", &format!("{path}/secrets"))
        .by(OTHER_ADMIN)
        .header("idempotency-key", "k");
    refused(&host.send(strangers.raw("{}")).await, 404, "not_found");
    let off = Host::over(host.store.clone(), |builder| builder.self_service(false));
    refused(
        &off.send(create("k").json(&lab())).await,
        403,
        "self_service_unavailable",
    );
    refused(
        &off.send(rotate(&path, "k").raw("{}")).await,
        403,
        "self_service_unavailable",
    );
    host.send(ask("DELETE", &path).by(ADMIN).empty()).await;
    refused(
        &host.send(rotate(&path, "k").raw("{}")).await,
        409,
        "revoked",
    );
    // Two of them, as one.
    let twice = create("k").header("idempotency-key", "k");
    refused(&host.send(twice.json(&lab())).await, 400, "malformed");
    assert_eq!(listed(&host).await, 1);
}

#[tokio::test]
async fn a_refusal_does_not_use_the_key_up() {
    let host = Host::new();
    host.create("Lab").await;
    refused(
        &host.send(create("k").raw(r#"{"name":""}"#)).await,
        422,
        "invalid",
    );
    refused(
        &host.send(create("k").json(&lab())).await,
        409,
        "name_taken",
    );
    let other = json!({"name": "Imaging", "api_type": "fhir"});
    let made = host.send(create("k").json(&other)).await;
    assert_eq!(made.status, StatusCode::CREATED);
}

/// Another tenant's admin learns nothing of it.
#[tokio::test]
async fn the_same_key_of_another_tenant_is_another_key() {
    let host = Host::new();
    let first = host.send(create("k").json(&lab())).await.json();
    let theirs = ask("POST", "/credentials")
        .by(OTHER_ADMIN)
        .header("idempotency-key", "k");
    let theirs = host.send(theirs.json(&lab())).await;
    assert_eq!(theirs.status, StatusCode::CREATED);
    let theirs = theirs.json();
    assert_ne!(theirs["credential"]["id"], first["credential"]["id"]);
    assert_ne!(theirs["client_secret"], first["client_secret"]);
}

/// Elsewhere the header means nothing, and is not read.
#[tokio::test]
async fn other_routes_ignore_the_header() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    for _ in 0..2 {
        let disable = ask("POST", &format!("{path}/disable"))
            .by(ADMIN)
            .header("idempotency-key", "not a key");
        assert_eq!(host.send(disable.empty()).await.status, StatusCode::OK);
    }
}

/// 32 at once: one is made, whoever is told so; the others are told that it still runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_repetitions_make_one() {
    let host = Arc::new(Host::new());
    let sent = (0..32).map(|_| {
        let host = Arc::clone(&host);
        tokio::spawn(async move { host.send(create("k").json(&lab())).await })
    });
    let mut bodies = Vec::new();
    for sent in sent.collect::<Vec<_>>() {
        let answer = sent.await.unwrap();
        if answer.status == StatusCode::CREATED {
            bodies.push(answer.body);
        } else {
            refused(&answer, 409, "idempotency_in_progress");
        }
    }
    assert!(!bodies.is_empty());
    assert!(bodies.iter().all(|it| *it == bodies[0]));
    assert_eq!(listed(&host).await, 1);
}

/// The store stands still in the midst of the first.
#[tokio::test]
async fn what_still_runs_is_said_to() {
    let host = Arc::new(Host::new());
    host.store.hold_calls();
    let first = {
        let host = Arc::clone(&host);
        tokio::spawn(async move { host.send(create("k").json(&lab())).await })
    };
    let running = async |count| {
        while host.store.running() < count {
            tokio::task::yield_now().await;
        }
    };
    running(1).await;
    let second = host.send(create("k").json(&lab()));
    // Both look for an answer, and find none. What the first does then is held again.
    let release = async {
        running(2).await;
        host.store.release_calls(2);
    };
    let (second, ()) = tokio::join!(second, release);
    refused(&second, 409, "idempotency_in_progress");
    host.store.release_calls(100);
    assert_eq!(first.await.unwrap().status, StatusCode::CREATED);
}

/// What a client of one connection reads of the answer: `wanted` bytes, and then it is gone; or all.
async fn read(address: SocketAddr, request: &str, wanted: Option<usize>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; wanted.unwrap_or_default()];
    match wanted {
        Some(_) => _ = stream.read_exact(&mut answer).await.unwrap(),
        None => _ = stream.read_to_end(&mut answer).await.unwrap(),
    }
    // Nothing is left to be delivered: the connection is reset.
    stream.set_zero_linger().unwrap();
    answer
}

/// The body of an answer, as far as it came.
fn body_of(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n");
    end.map_or(b"", |end| &answer[end + 4..])
}

/// The connection is cut at every byte of the answer, also before the first: the retry gets the same answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_cut_anywhere_comes_again() {
    let host = Host::with(|builder| builder.limit_per_tenant(10_000));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, host.router.clone()).into_future());
    let path = host.created_path("Rotated").await;
    for (path, what) in [
        ("/credentials".to_owned(), "create"),
        (format!("{path}/secrets"), "rotate"),
    ] {
        let request = |n: usize| {
            let body = match what {
                "create" => json!({"name": format!("key {n:05}"), "api_type": "apiv2"}),
                _ => json!({"overlap_seconds": 0}),
            };
            let body = body.to_string();
            format!(
                "POST {BASE}{path} HTTP/1.1\r\nhost: api\r\nx-test-actor: {ADMIN}\r\n\
                content-type: application/json\r\nidempotency-key: {what}-{n}\r\n\
                content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
        };
        let whole = read(address, &request(99_999), None).await.len();
        assert!(whole > 400, "{whole}");
        for n in 0..whole {
            // Not so many requests at once.
            host.clock.advance(Duration::from_secs(1));
            let cut = read(address, &request(n), Some(n)).await;
            let again = loop {
                let again = read(address, &request(n), None).await;
                // Cut before it was carried out, and not given up yet.
                if !again.starts_with(b"HTTP/1.1 409") {
                    break again;
                }
            };
            assert!(
                again.starts_with(b"HTTP/1.1 201 Created\r\n"),
                "{what} cut at {n}"
            );
            assert!(
                body_of(&again).starts_with(body_of(&cut)),
                "{what} cut at {n}"
            );
            let third = read(address, &request(n), None).await;
            assert_eq!(body_of(&third), body_of(&again), "{what} cut at {n}");
        }
        // The first of all, the whole one, and one for each cut: each was carried out once.
        let made = match what {
            "create" => all(&host).await,
            _ => host.get(path.trim_end_matches("/secrets")).await.json()["version"].as_u64(),
        };
        assert_eq!(made, Some(whole as u64 + 2), "{what}");
    }
}

/// How many credentials there are.
async fn all(host: &Host) -> Option<u64> {
    let mut count = 0;
    let mut cursor = String::new();
    loop {
        let page = host
            .get(&format!("/credentials?limit=100{cursor}"))
            .await
            .json();
        count += page["items"].as_array().unwrap().len() as u64;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Some(count),
        }
    }
}
