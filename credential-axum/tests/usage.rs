//! How a credential is used, as its admins see it: from calls of guard and forward-auth to the admin API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

#[path = "common/oauth.rs"]
#[expect(dead_code, reason = "shared by several test files")]
mod common;

use std::net::SocketAddr;

use async_trait::async_trait;
use axum::{Router, extract::connect_info::MockConnectInfo, routing::any};
use common::{Answer, Key, Platform};
use credential_axum::{
    Access, ForwardAuthHeaders, Guard, SignIn, SignInError, admin_router, forward_auth_router,
    oauth_router,
};
use credential_core::actor::{Actor, Role};
use http::{Request, StatusCode, request::Parts};
use serde_json::{Value, json};

/// Everybody is alder's admin.
struct Alder;

#[async_trait]
impl SignIn for Alder {
    async fn actor(&self, _: &Parts) -> Result<Option<Actor>, SignInError> {
        Ok(Some(Actor {
            id: "lee".parse().unwrap(),
            tenant: "alder".parse().unwrap(),
            role: Role::Admin,
        }))
    }
}

const PEER: &str = "192.0.2.9";

fn platform() -> Platform {
    Platform::new(|credentials| {
        let apiv2 = Guard::new(credentials, "apiv2").unwrap();
        let fixed = apiv2.requires("system/vitals.read").unwrap();
        let peer: SocketAddr = format!("{PEER}:4000").parse().unwrap();
        Router::new()
            .route("/api/2.0/{*rest}", any(async |_: Access| "done"))
            .layer(apiv2)
            .route("/vitals", any(async |_: Access| "done").layer(fixed))
            .merge(forward_auth_router(
                credentials,
                ForwardAuthHeaders::XForwarded,
            ))
            .merge(oauth_router(credentials))
            .nest("/admin", admin_router(credentials, Alder))
            .layer(MockConnectInfo(peer))
    })
}

impl Platform {
    async fn call(&self, key: &Key, method: &str, path: &str) -> StatusCode {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {}", key.token));
        self.send(request, "").await.status
    }

    /// What was counted is in the store from now on.
    async fn flush(&self) {
        self.credentials.start().await.unwrap().shutdown().await;
    }

    async fn see(&self, path: &str) -> Answer {
        let request = Request::builder().uri(format!("/admin{path}"));
        self.send(request, "").await
    }

    async fn preview(&self, path: &str, body: &Value) -> Answer {
        let request = Request::builder()
            .method("POST")
            .uri(format!("/admin{path}"));
        let request = request
            .header("content-type", "application/json")
            .header("sec-fetch-site", "same-origin");
        self.send(request, body.to_string()).await
    }
}

fn path_of(key: &Key) -> String {
    format!("/credentials/{}", key.created.credential.identity.id)
}

#[tokio::test]
async fn admins_see_what_was_called_and_what_was_denied() {
    let platform = platform();
    let held = ["act_as_user", "system/patients.read", "system/vitals.read"];
    let key = platform.key("alder", "apiv2", &held).await;
    for (times, method, path, status) in [
        (3, "GET", "/api/2.0/patients/1/", 200),
        (2, "GET", "/api/2.0/bills/1/", 403),
        (1, "GET", "/api/2.0/no_such_thing/", 403),
        (1, "GET", "/vitals", 200),
        // Not decided: its path can be read in two ways.
        (1, "GET", "/api/2.0/patients/../bills/", 400),
    ] {
        for _ in 0..times {
            assert_eq!(platform.call(&key, method, path).await, status, "{path}");
        }
    }
    // Through a gateway, on behalf of a user.
    let asked = Request::builder()
        .uri("/forward-auth")
        .header("authorization", format!("Bearer {}", key.token))
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-uri", "/api/2.0/patients/1/")
        .header("x-on-behalf-of", "77");
    assert_eq!(platform.send(asked, "").await.status, StatusCode::OK);
    platform.flush().await;

    let path = path_of(&key);
    let usage = platform.see(&format!("{path}/usage")).await.json();
    let now = platform.credentials.clock().now();
    let at = now.to_string();
    assert_eq!(
        usage,
        json!({
            "last_used_at": at,
            "days": [{"date": now.day().to_string(), "allowed": 5, "denied": 3}],
            "scopes": [
                {"scope": "act_as_user", "allowed": 0, "denied": 0, "last_used_at": at},
                {"scope": "apiv2", "allowed": 0, "denied": 1, "last_used_at": null},
                {"scope": "system/bills.read", "allowed": 0, "denied": 2, "last_used_at": null},
                {"scope": "system/patients.read", "allowed": 4, "denied": 0, "last_used_at": at},
                {"scope": "system/vitals.read", "allowed": 1, "denied": 0, "last_used_at": at},
            ],
        })
    );
    let refusals = platform.see(&format!("{path}/refusals")).await.json();
    let item = |scope: &str, count: u64| {
        json!({
            "at": at, "last_at": at, "count": count, "reason": "scope_missing",
            "needed_scope": scope, "method": "GET", "address": PEER,
        })
    };
    let mut items = refusals["items"].as_array().unwrap().clone();
    items.sort_by_key(|it| it["needed_scope"].to_string());
    assert_eq!(items, [item("apiv2", 1), item("system/bills.read", 2)]);
}

#[tokio::test]
async fn a_preview_says_what_a_change_breaks_and_a_summary_counts_what_is_unused() {
    let platform = platform();
    let held = [
        "act_as_user",
        "system/patients.read",
        "system/patients.write",
    ];
    let key = platform.key("alder", "apiv2", &held).await;
    let full = platform.key("alder", "apiv2", &["apiv2"]).await;
    assert_eq!(platform.call(&key, "GET", "/api/2.0/patients/").await, 200);
    assert_eq!(platform.call(&full, "GET", "/api/2.0/bills/").await, 200);
    platform.flush().await;
    let at = platform.credentials.clock().now().to_string();

    let path = format!("{}/scopes/preview", path_of(&key));
    let change = json!({"scopes": ["system/bills.read"]});
    let preview = platform.preview(&path, &change).await;
    let removed = |scope, requests: u64, last: Option<&str>| json!({"scope": scope, "requests_30d": requests, "last_used_at": last});
    assert_eq!(
        preview.json(),
        json!({
            "added": ["system/bills.read"],
            "removed": [
                removed("act_as_user", 0, None),
                removed("system/patients.read", 1, Some(&at)),
                removed("system/patients.write", 0, None),
            ],
            "unused_30d": ["act_as_user", "system/patients.write"],
        })
    );
    let preset = platform
        .preview(&path, &json!({"preset": "read_only"}))
        .await;
    assert_eq!(preset.json()["removed"][0]["scope"], "act_as_user");
    let wrong = platform.preview(&path, &json!({"scopes": ["typo"]})).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(wrong.json()["errors"][0]["code"], "unknown_scope");

    let listed = platform.see("/credentials?view=summary").await.json();
    let item = |key: &Key| {
        let id = key.created.credential.identity.id.to_string();
        let items = listed["items"].as_array().unwrap();
        items.iter().find(|it| it["id"] == id).unwrap().clone()
    };
    let counts = |read: u64, write: u64, broad: u64, unused: u64| json!({"read": read, "write": write, "broad": broad, "unused_30d": unused});
    assert_eq!(item(&key)["scope_counts"], counts(1, 1, 1, 2));
    assert_eq!(item(&full)["scope_counts"], counts(0, 0, 1, 0));
    assert_eq!(
        (&item(&key)["full_access"], &item(&full)["full_access"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(item(&key).get("scopes"), None);
    let whole = platform.see("/credentials").await.json();
    assert_eq!(whole["items"][0].get("scope_counts"), None);
    assert!(whole["items"][0]["scopes"].is_array());
}

#[tokio::test]
async fn days_have_bounds_and_another_view_is_a_fault() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let path = path_of(&key);
    for (query, status) in [
        ("", 200),
        ("?days=1", 200),
        ("?days=400", 200),
        ("?days=0", 422),
        ("?days=401", 422),
        ("?days=-1", 422),
        ("?days=x", 422),
        ("?days=1&days=2", 422),
        ("?since=1", 422),
    ] {
        let answer = platform.see(&format!("{path}/usage{query}")).await;
        assert_eq!(answer.status, status, "{query}");
    }
    let answer = platform.see("/credentials?view=all").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let strange = "/credentials/00000000000000000000000000000000/usage?days=0";
    assert_eq!(platform.see(strange).await.status, StatusCode::NOT_FOUND);
}

/// A forged secret is of the credential that it was presented for.
#[tokio::test]
async fn a_wrong_secret_is_told_to_the_clients_admins() {
    let platform = platform();
    let key = platform
        .key("alder", "apiv2", &["system/patients.read"])
        .await;
    let client = key.created.credential.identity.client_id.as_str();
    for client in [client, client, "cred_sandbox_0000000000000000000000"] {
        let form = format!("grant_type=client_credentials&client_id={client}&client_secret=guess");
        let request = Request::builder()
            .method("POST")
            .uri("/oauth2/token")
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = platform.send(request, form).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    platform.flush().await;
    let refusals = platform
        .see(&format!("{}/refusals", path_of(&key)))
        .await
        .json();
    let items = refusals["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(items[0]["reason"], "wrong_secret");
    assert_eq!(
        (&items[0]["count"], &items[0]["address"]),
        (&json!(2), &json!(PEER))
    );
    let usage = platform
        .see(&format!("{}/usage", path_of(&key)))
        .await
        .json();
    assert_eq!(usage["days"], json!([]), "no call was decided");
}
