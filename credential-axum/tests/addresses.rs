//! Who calls from where, and what a credential that is bound to networks makes of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

#[path = "common/addresses.rs"]
mod addresses;
#[expect(dead_code, reason = "these tests need a part of it")]
#[path = "common/oauth.rs"]
mod common;

use std::net::{IpAddr, SocketAddr};

use addresses::{Caller, Table};
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, connect_info::MockConnectInfo},
    routing::{any, get},
};
use common::{Answer, Key, Platform, in_full};
use credential_axum::{
    Access, ClientAddressLayer, ForwardAuthHeaders, Guard, OAuthConfig, client_address,
    forward_auth_router, oauth_router_with,
};
use credential_core::{
    clock::Timestamp,
    credential::Networks,
    manage::{Expected, Field, UpdateCredential},
    store::UsageStore as _,
};
use http::{Extensions, HeaderMap, Request, request::Builder};

const SECRET: &str = "a-secret-of-resource-servers";
const PATIENTS: &str = "/api/2.0/patients/1";
const FORM: &str = "application/x-www-form-urlencoded";

fn layer(trusted: &[&str]) -> ClientAddressLayer {
    ClientAddressLayer::trusting(Networks::parse(trusted).unwrap())
}

/// Guarded routes, the OAuth endpoints and forward-auth, behind these proxies.
fn platform(trusted: &[&str], family: ForwardAuthHeaders) -> Platform {
    let layer = layer(trusted);
    Platform::new(move |credentials| {
        let apiv2 = Guard::new(credentials, "apiv2").unwrap();
        let fhir = Guard::new(credentials, "fhir").unwrap();
        let config = OAuthConfig::default().introspection_secret(SECRET.into());
        Router::new()
            .route("/api/2.0/{*rest}", any(async |_: Access| "in"))
            .route_layer(apiv2)
            .merge(
                Router::new()
                    .route("/fhir/r4/metadata", get(volunteer))
                    .route("/fhir/r4/{*rest}", any(async |_: Access| "in"))
                    .route_layer(fhir),
            )
            .merge(oauth_router_with(credentials, config.unwrap()))
            .merge(forward_auth_router(credentials, family))
            .route("/whence", get(whence))
            .layer(layer)
    })
}

async fn volunteer(access: Option<Access>) -> &'static str {
    access.map_or("nobody", |_| "somebody")
}

async fn whence(request: axum::extract::Request) -> String {
    let address = client_address(request.extensions(), request.headers());
    address.map_or_else(|| "unknown".to_owned(), |it| it.to_string())
}

/// A request of that caller.
fn from(caller: &Caller, mut request: Builder) -> Builder {
    if let Some(peer) = caller.peer {
        request = request.extension(ConnectInfo(SocketAddr::new(peer, 4711)));
    }
    let headers = caller.forwarded.iter();
    headers.fold(request, |it, value| it.header("X-Forwarded-For", value))
}

fn at(address: &str, request: Builder) -> Builder {
    let peer: IpAddr = address.parse().unwrap();
    request.extension(ConnectInfo(SocketAddr::new(peer, 4711)))
}

fn bearer(key: &Key, request: Builder) -> Builder {
    request.header("authorization", format!("Bearer {}", key.token))
}

impl Platform {
    /// A key with a token, which may then be used from these networks only.
    async fn key_within(&self, api_type: &str, scopes: &[&str], networks: &[&str]) -> Key {
        let key = self.key("alder", api_type, scopes).await;
        self.set_networks(&key, networks).await;
        key
    }

    /// From now on the key may be used from these networks only; none: from everywhere.
    async fn set_networks(&self, key: &Key, networks: &[&str]) {
        let request = UpdateCredential {
            allowed_networks: Field::Value(networks.iter().map(ToString::to_string).collect()),
            ..UpdateCredential::default()
        };
        let id = key.created.credential.identity.id;
        let admin = self.credentials.manage(&key.admin);
        let updated = admin.update(id, Some(&Expected::Any), request).await;
        updated.unwrap();
    }

    async fn ask(&self, request: Builder) -> Answer {
        self.send(request, Body::empty()).await
    }

    async fn token(&self, key: &Key, request: impl FnOnce(Builder) -> Builder) -> Answer {
        let body = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            key.created.credential.identity.client_id.as_str(),
            key.created.client_secret.as_ref().unwrap().expose_secret(),
        );
        let request = request(Request::post("/oauth2/token").header("content-type", FORM));
        self.send(request, body).await
    }
}

#[tokio::test]
async fn the_address_that_counts() {
    let table = Table::read();
    let platform = platform(&table.trusted, ForwardAuthHeaders::XForwarded);
    for caller in &table.callers {
        let answer = platform.ask(from(caller, Request::get("/whence"))).await;
        let expected = caller.address.map(|it| it.to_string());
        let expected = expected.unwrap_or_else(|| "unknown".to_owned());
        assert_eq!(answer.body, expected, "line {}", caller.line);
    }
}

/// Every caller of the table against every list of networks, by every way in.
#[tokio::test]
async fn every_way_in_decides_as_the_table_says() {
    let table = Table::read();
    let platforms = [
        ForwardAuthHeaders::XForwarded,
        ForwardAuthHeaders::XOriginal,
        ForwardAuthHeaders::XOriginalUrl,
        ForwardAuthHeaders::Path,
    ]
    .map(|family| (family, platform(&table.trusted, family)));
    let mut decided = 0;
    for (turn, (family, platform)) in platforms.iter().enumerate() {
        for (number, list) in table.lists.iter().enumerate() {
            // A name of its own for each, which is made of the scopes.
            let tags = ["patients", "vitals", "bills", "visit_notes", "allergies"];
            let scopes = [
                "system/patients.read".to_owned(),
                format!("system/{}.write", tags[number % 5]),
                format!("system/{}.write", tags[(number / 5 + number % 5 + 1) % 5]),
            ];
            let scopes = scopes.each_ref().map(String::as_str);
            let key = platform.key_within("apiv2", &scopes, &list.networks).await;
            for caller in &table.callers {
                let what = format!("{family:?}, line {}, list {}", caller.line, list.name);
                let allowed = if caller.is_in(list) { 200 } else { 403 };
                let question = match family {
                    ForwardAuthHeaders::XForwarded => Request::get("/forward-auth")
                        .header("X-Forwarded-Method", "GET")
                        .header("X-Forwarded-Uri", PATIENTS),
                    ForwardAuthHeaders::XOriginal => Request::get("/forward-auth")
                        .header("X-Original-Method", "GET")
                        .header("X-Original-URI", PATIENTS),
                    ForwardAuthHeaders::XOriginalUrl => Request::get("/forward-auth")
                        .header("X-Original-Method", "GET")
                        .header("X-Original-URL", format!("https://a.example{PATIENTS}")),
                    ForwardAuthHeaders::Path => Request::get(format!("/forward-auth{PATIENTS}")),
                };
                let asked = platform.ask(bearer(&key, from(caller, question))).await;
                assert_eq!(asked.status, allowed, "forward-auth, {what}");
                if turn == 0 {
                    let call = bearer(&key, from(caller, Request::get(PATIENTS)));
                    let called = platform.ask(call).await;
                    assert_eq!(called.status, allowed, "guard, {what}");
                    let token = platform.token(&key, |request| from(caller, request)).await;
                    let given = if caller.is_in(list) { 200 } else { 401 };
                    assert_eq!(token.status, given, "token, {what}");
                    decided += 1;
                }
            }
        }
    }
    assert!(decided >= 40 * 25, "{decided}");
}

/// What a guard answers, by every shape of an error, and what it does not say.
#[tokio::test]
async fn a_foreign_address_gets_403_without_a_code_of_oauth() {
    let platform = platform(&[], ForwardAuthHeaders::XForwarded);
    let networks = &["198.51.100.0/24"];
    let read = &["system/patients.read"];
    let apiv2 = platform.key_within("apiv2", read, networks).await;
    let fhir = &["system/Patient.read"];
    let fhir = platform.key_within("fhir", fhir, networks).await;
    let search = || Request::post("/fhir/r4/Patient/_search").header("content-type", FORM);
    for (key, request) in [
        (&apiv2, Request::get(PATIENTS)),
        (&fhir, Request::get("/fhir/r4/Patient/1")),
        (&fhir, search()),
        // Public, but the token that is there must count.
        (&fhir, Request::get("/fhir/r4/metadata")),
        (
            &apiv2,
            Request::get("/forward-auth")
                .header("X-Forwarded-Method", "GET")
                .header("X-Forwarded-Uri", PATIENTS),
        ),
    ] {
        let answer = platform
            .send(at("203.0.113.9", bearer(key, request)), "name=lee")
            .await;
        assert_eq!(answer.status, 403, "{}", answer.body);
        assert_eq!(answer.header("www-authenticate"), "");
        assert_eq!(answer.header("cache-control"), "no-store");
        for secret in ["198.51", "203.0", "/24"] {
            let said = format!("{:?}{}", answer.headers, answer.body);
            assert!(!said.contains(secret), "{said}");
        }
        let why = "the access token may not be used from the address that this call comes from";
        let json = answer.json();
        let said = if key.created.credential.identity.api_type.as_str() == "fhir" {
            assert_eq!(json["resourceType"], "OperationOutcome");
            assert_eq!(json["issue"][0]["code"], "forbidden");
            &json["issue"][0]["diagnostics"]
        } else {
            &json["detail"]
        };
        assert_eq!(said, why);
    }
    for request in [search(), Request::get("/fhir/r4/metadata")] {
        let request = at("198.51.100.7", bearer(&fhir, request));
        assert_eq!(platform.send(request, "name=lee").await.status, 200);
    }
}

/// Malformed before anything, then the token, then the address, then the scope.
#[tokio::test]
async fn of_several_refusals_the_first_in_order_is_given() {
    let platform = platform(&[], ForwardAuthHeaders::XForwarded);
    let scopes = &["system/patients.read"];
    let key = platform
        .key_within("apiv2", scopes, &["198.51.100.7"])
        .await;
    let (inside, outside) = ("198.51.100.7", "198.51.100.8");
    let status = async |address: &str, path: &str, key: &Key| {
        let request = at(address, bearer(key, Request::get(path)));
        let answer = platform.ask(request).await;
        let challenged = answer.header("www-authenticate").to_owned();
        (answer.status.as_u16(), challenged)
    };
    let bad = "/api/2.0/patients/../bills";
    assert_eq!(status(outside, bad, &key).await.0, 400);
    let (refused, challenge) = status(inside, "/api/2.0/bills/", &key).await;
    assert_eq!(refused, 403);
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
    // From elsewhere nobody learns which scope would do.
    let foreign = status(outside, "/api/2.0/bills/", &key).await;
    assert_eq!(foreign, (403, String::new()));
    let foreign = status(outside, "/fhir/r4/Patient/1", &key).await;
    assert_eq!(foreign, (403, String::new()), "a token of another API");

    platform.revoke(&key).await;
    let invalid = r#"Bearer realm="apiv2", error="invalid_token", scope="system/patients.read""#;
    for address in [inside, outside] {
        let refused = status(address, PATIENTS, &key).await;
        assert_eq!(refused, (401, in_full(invalid)), "{address}");
    }
}

/// A client with the right secret hears from elsewhere what a wrong secret hears.
#[tokio::test]
async fn the_token_endpoint_answers_as_to_a_wrong_secret() {
    let platform = platform(&[], ForwardAuthHeaders::XForwarded);
    let scopes = &["system/patients.read"];
    let key = platform
        .key_within("apiv2", scopes, &["198.51.100.7"])
        .await;
    let given = platform.token(&key, |it| at("198.51.100.7", it)).await;
    assert_eq!(given.status, 200, "{}", given.body);
    let body = format!(
        "grant_type=client_credentials&client_id={}&client_secret=wrong",
        key.created.credential.identity.client_id.as_str(),
    );
    let request = Request::post("/oauth2/token").header("content-type", FORM);
    let wrong = platform.send(at("198.51.100.7", request), body).await;
    let foreign = platform.token(&key, |it| at("198.51.100.8", it)).await;
    let unknown = platform.token(&key, |it| it).await;
    for refused in [foreign, unknown] {
        assert_eq!(refused.status, 401);
        assert_eq!(refused.body, wrong.body);
        assert_eq!(refused.headers, wrong.headers);
    }
}

/// What a token may do is the question, not whether whoever asks may use it. A client that asks proves
/// itself from where it is.
#[tokio::test]
async fn introspection_looks_at_no_address_of_the_token() {
    let platform = platform(&[], ForwardAuthHeaders::XForwarded);
    let scopes = &["system/patients.read"];
    let key = platform
        .key_within("apiv2", scopes, &["198.51.100.7"])
        .await;
    let ask = |request: Builder| request.header("content-type", FORM);
    let secret = format!("Bearer {SECRET}");
    let by_server = ask(Request::post("/oauth2/introspect")).header("authorization", secret);
    let token = format!("token={}", key.token);
    let answer = platform.send(at("203.0.113.9", by_server), token).await;
    assert_eq!(answer.json()["active"], true, "{}", answer.body);

    for (endpoint, inside) in [("/oauth2/introspect", 200), ("/oauth2/revoke", 200)] {
        for (address, status) in [("203.0.113.9", 401), ("198.51.100.7", inside)] {
            let body = format!(
                "token={}&client_id={}&client_secret={}",
                key.token,
                key.created.credential.identity.client_id.as_str(),
                key.created.client_secret.as_ref().unwrap().expose_secret(),
            );
            let request = at(address, ask(Request::post(endpoint)));
            let answer = platform.send(request, body).await;
            assert_eq!(answer.status, status, "{endpoint} {address}");
        }
    }
}

/// What an admin sees of calls from elsewhere: denied, by the scope that each needed, and from where.
#[tokio::test]
async fn a_foreign_call_is_counted_and_told_to_its_admins() {
    let platform = platform(&["10.0.0.0/8"], ForwardAuthHeaders::XForwarded);
    let scopes = &["system/patients.read"];
    let key = platform
        .key_within("apiv2", scopes, &["198.51.100.7"])
        .await;
    let fhir = &["system/Patient.read"];
    let fhir = platform.key_within("fhir", fhir, &["198.51.100.7"]).await;
    let outside = |request: Builder| {
        let forwarded = request.header("X-Forwarded-For", "::ffff:203.0.113.9");
        at("10.1.2.3", forwarded)
    };
    let question = |method: &str| {
        Request::get("/forward-auth")
            .header("X-Forwarded-Method", method)
            .header("X-Forwarded-Uri", PATIENTS)
    };
    for (key, request, times) in [
        (&key, (|| Request::get(PATIENTS)) as fn() -> Builder, 2),
        (&key, || Request::post("/api/2.0/bills/"), 1),
        (&fhir, || Request::get("/fhir/r4/metadata"), 1),
    ] {
        for _ in 0..times {
            let answer = platform.ask(outside(bearer(key, request()))).await;
            assert_eq!(answer.status, 403, "{}", answer.body);
        }
    }
    let asked = platform.ask(outside(bearer(&key, question("GET")))).await;
    assert_eq!(asked.status, 403);
    assert_eq!(platform.token(&key, outside).await.status, 401);
    let inside = at("198.51.100.7", bearer(&key, Request::get(PATIENTS)));
    assert_eq!(platform.ask(inside).await.status, 200);
    // Introspection is no use of the token, so nothing is refused.
    let secret = format!("Bearer {SECRET}");
    let introspect = Request::post("/oauth2/introspect").header("content-type", FORM);
    let introspect = at("203.0.113.9", introspect.header("authorization", secret));
    let token = format!("token={}", key.token);
    assert_eq!(platform.send(introspect, token).await.status, 200);
    // A node that stops writes what it has counted.
    let running = platform.credentials.start().await.unwrap();
    running.shutdown().await;

    let alder = "alder".parse().unwrap();
    let told = async |key: &Key| {
        let id = key.created.credential.identity.id;
        let refusals = platform.store.refusals(&alder, id, Timestamp::MIN, 50);
        let refusals = refusals.await.unwrap();
        let lines = refusals.iter().map(|it| {
            let (method, scope) = (it.method.as_deref(), it.needed_scope.as_deref());
            let (method, scope) = (method.unwrap_or("-"), scope.unwrap_or("-"));
            let address = it.address.unwrap();
            format!("{} {method} {scope} {address} {}", it.reason, it.count)
        });
        let mut lines: Vec<String> = lines.collect();
        lines.sort_unstable();
        lines
    };
    let expected = [
        "address_not_allowed - - 203.0.113.9 1",
        "address_not_allowed GET system/patients.read 203.0.113.9 3",
        "address_not_allowed POST system/bills.write 203.0.113.9 1",
    ];
    assert_eq!(told(&key).await, expected);
    assert_eq!(told(&fhir).await, ["address_not_allowed - - 203.0.113.9 1"]);
    let usage = |key: &Key| {
        let id = key.created.credential.identity.id;
        platform.store.usage(&alder, id, Timestamp::MIN.day())
    };
    let used = usage(&key).await.unwrap();
    let counts = used.scopes.iter();
    let counts: Vec<_> = counts
        .map(|it| (&*it.scopes, it.allowed, it.denied))
        .collect();
    let expected = [("system/bills.write", 0, 1), ("system/patients.read", 1, 3)];
    assert_eq!(counts, expected);
    // What is open to all needs no scope, so no scope was denied.
    assert!(usage(&fhir).await.unwrap().scopes.is_empty());
}

#[tokio::test]
async fn a_change_of_networks_counts_at_once() {
    let platform = platform(&[], ForwardAuthHeaders::XForwarded);
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let call = async |address: &str| {
        let request = at(address, bearer(&key, Request::get(PATIENTS)));
        platform.ask(request).await.status.as_u16()
    };
    for (networks, expected) in [
        (&[][..], [200, 200]),
        (&["198.51.100.7"], [200, 403]),
        (&["198.51.100.8"], [403, 200]),
        (&["203.0.113.0/24"], [403, 403]),
        (&["198.51.100.0/24"], [200, 200]),
        (&[], [200, 200]),
    ] {
        platform.set_networks(&key, networks).await;
        let called = [call("198.51.100.7").await, call("198.51.100.8").await];
        assert_eq!(called, expected, "{networks:?}");
    }
    // Without networks nobody asks from where.
    let call = bearer(&key, Request::get(PATIENTS));
    assert_eq!(platform.ask(call).await.status, 200);
}

#[test]
fn without_a_peer_or_a_layer_nothing_is_made_up() {
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", "198.51.100.7".parse().unwrap());
    let mut extensions = Extensions::new();
    assert_eq!(client_address(&extensions, &headers), None);
    let peer: SocketAddr = "203.0.113.9:4711".parse().unwrap();
    // A host's own test.
    extensions.insert(MockConnectInfo(peer));
    assert_eq!(client_address(&extensions, &headers), Some(peer.ip()));
    let other: SocketAddr = "203.0.113.10:4711".parse().unwrap();
    extensions.insert(ConnectInfo(other));
    assert_eq!(client_address(&extensions, &headers), Some(other.ip()));
}
