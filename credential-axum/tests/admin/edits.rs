//! Editing and revoking: versions, what each answer holds, what stays as it was.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{ADMIN, Answer, Host, ask};

async fn rename(host: &Host, path: &str, tag: &str, name: &str) -> Answer {
    let request = ask("PATCH", path).by(ADMIN).if_match(tag);
    host.send(request.json(&json!({ "name": name }))).await
}

async fn revoke(host: &Host, path: &str) -> Answer {
    host.send(ask("DELETE", path).by(ADMIN).empty()).await
}

#[tokio::test]
async fn two_admins_cannot_undo_each_other() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let tag = host.get(&path).await.header("etag").to_owned();
    assert_eq!(tag, "\"1\"");

    let first = rename(&host, &path, &tag, "First").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("etag"), "\"2\"");
    assert_eq!(first.json(), host.get(&path).await.json());

    let second = rename(&host, &path, &tag, "Second").await;
    assert_eq!(second.problem(), (412, "stale_version".into()));
    assert_eq!(host.get(&path).await.json()["name"], "First");

    let scopes = format!("{path}/scopes");
    let put = |tag: &str| {
        let request = ask("PUT", &scopes).by(ADMIN).if_match(tag);
        host.send(request.json(&json!({"scopes": []})))
    };
    assert_eq!(put(&tag).await.problem(), (412, "stale_version".into()));
    assert_eq!(put(first.header("etag")).await.header("etag"), "\"3\"");
}

#[tokio::test]
async fn only_tags_of_ours_match() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    for tag in [
        "1", "\"01\"", "W/\"2\"", "w/\"1\"", "\"abc\"", "", "*, \"1\"",
    ] {
        let answer = rename(&host, &path, tag, "Other").await;
        assert_eq!(answer.problem(), (412, "stale_version".into()), "{tag}");
        // No such version ever was, so nobody is said to have changed it.
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.contains("or the tag is of something else"),
            "{detail}"
        );
    }
    assert_eq!(
        rename(&host, &path, "*", "Any").await.header("etag"),
        "\"2\""
    );
    // A proxy that compresses has weakened it on the way.
    let weak = rename(&host, &path, "W/\"2\"", "Weak").await;
    assert_eq!((weak.status.as_u16(), weak.header("etag")), (200, "\"3\""));
    assert_eq!(
        rename(&host, &path, "\"9\", W/\"3\"", "List").await.status,
        200
    );
    let two_lines = ask("PATCH", &path)
        .by(ADMIN)
        .if_match("\"9\"")
        .if_match("\"4\"");
    assert_eq!(
        host.send(two_lines.json(&json!({"name": "Lines"})))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn changing_nothing_is_allowed_and_keeps_the_version() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let request = ask("PATCH", &path).by(ADMIN).if_match("\"1\"");
    let answer = host.send(request.json(&json!({}))).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("etag")),
        (200, "\"1\"")
    );
    assert_eq!(
        rename(&host, &path, "\"1\"", "Lab").await.header("etag"),
        "\"1\""
    );
}

#[tokio::test]
async fn an_expired_credential_says_so_and_is_revived() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let move_expiry = |expires_at: Value| {
        let request = ask("PATCH", &path).by(ADMIN).if_match("*");
        host.send(request.json(&json!({ "expires_at": expires_at })))
    };
    assert_eq!(
        move_expiry(json!("2026-01-02T00:00:00Z")).await.json()["status"],
        "active"
    );
    host.clock.advance(Duration::from_hours(24));
    let expired = host.get(&path).await;
    assert_eq!(expired.json()["status"], "expired");
    assert_eq!(expired.header("etag"), "\"2\"");
    assert_eq!(move_expiry(Value::Null).await.json()["status"], "active");
}

#[tokio::test]
async fn revoking_twice_keeps_the_first_time() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    host.clock.advance(Duration::from_mins(1));
    let first = revoke(&host, &path).await;
    assert_eq!(first.status, 200);
    let credential = &first.json()["credential"];
    assert_eq!(credential["status"], "revoked");
    assert_eq!(credential["revoked_at"], "2026-01-01T00:01:00Z");
    assert_eq!(credential["revoked_by"], ADMIN);
    assert_eq!(
        first.json()["effective_everywhere_at"],
        "2026-01-01T00:01:01Z"
    );

    host.clock.advance(Duration::from_mins(1));
    let again = revoke(&host, &path).await;
    assert_eq!(again.json()["credential"], *credential);
    assert_eq!(
        again.json()["effective_everywhere_at"],
        "2026-01-01T00:02:01Z"
    );
    assert_eq!(host.get(&path).await.json(), *credential);
    let events = host.get("/audit-events").await.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn revoking_heeds_a_version_only_if_there_is_one() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let stale = ask("DELETE", &path).by(ADMIN).if_match("\"7\"").empty();
    assert_eq!(
        host.send(stale).await.problem(),
        (412, "stale_version".into())
    );
    let right = ask("DELETE", &path).by(ADMIN).if_match("\"1\"").empty();
    assert_eq!(host.send(right).await.status, 200);
}

#[tokio::test]
async fn scopes_come_back_sorted_and_with_when_they_count() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    let scopes = json!([
        "system/patients.write",
        "system/allergies.read",
        "system/patients.write"
    ]);
    let request = ask("PUT", &format!("{path}/scopes"))
        .by(ADMIN)
        .if_match("*");
    let answer = host.send(request.json(&json!({ "scopes": scopes }))).await;
    assert_eq!(answer.status, 200);
    let sorted = json!(["system/allergies.read", "system/patients.write"]);
    assert_eq!(answer.json()["credential"]["scopes"], sorted);
    assert_eq!(
        answer.json()["effective_everywhere_at"],
        "2026-01-01T00:00:01Z"
    );
    // By the same clock, so that the difference says how long that is.
    assert_eq!(answer.headers["date"], "Thu, 01 Jan 2026 00:00:00 GMT");
    assert_eq!(host.get(&path).await.json()["scopes"], sorted);
}
