//! The page for people: whole, safe and readable without anything else.

use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use credential_axum::{OpenApi, openapi_router};
use http::{HeaderMap, Request, StatusCode};
use tower::ServiceExt as _;

use super::document::{document, operations};
use crate::common::Host;

async fn get(host: &Host, path: &str, accept: &str) -> (HeaderMap, Vec<u8>) {
    let app = openapi_router::<()>(&OpenApi::new(&host.credentials));
    let request = Request::get(path).header("accept-encoding", accept);
    let response = app
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let headers = response.headers().clone();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (headers, body.to_vec())
}

async fn page(host: &Host) -> String {
    String::from_utf8(get(host, "/docs", "").await.1).unwrap()
}

/// What stands between each `before` and the next `"`.
fn quoted<'a>(page: &'a str, before: &str) -> Vec<&'a str> {
    let behind = page.split(before).skip(1);
    behind.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn every_operation_and_schema_is_there_and_every_link_leads_somewhere() {
    let host = Host::new();
    let page = page(&host).await;
    let ids = quoted(&page, " id=\"");
    let unique: BTreeSet<_> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len(), "no name is given twice");
    let document = document(&host);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let described = operations(&document)
        .into_iter()
        .map(|(_, _, it)| it["operationId"].as_str().unwrap().to_owned())
        .chain(schemas.keys().map(|name| format!("schema-{name}")));
    for name in described {
        assert!(unique.contains(&*name), "{name}");
    }
    let mut inside = 0;
    for target in quoted(&page, " href=\"") {
        match target.strip_prefix('#') {
            Some(name) => assert!(unique.contains(name), "#{name}"),
            None => assert!(
                ["docs/docs.css", "openapi.json"].contains(&target),
                "{target}"
            ),
        }
        inside += 1;
    }
    assert!(inside > 60, "{inside}");
    for labelled in quoted(&page, "aria-labelledby=\"") {
        assert!(unique.contains(labelled), "{labelled}");
    }
}

/// What has no name of its own is shown where it is used.
#[tokio::test]
async fn members_within_members_and_examples_are_shown() {
    let page = page(&Host::new()).await;
    let article = |id: &str| {
        let (_, from) = page.split_once(&format!("id=\"{id}\"")).unwrap();
        from.split_once("</article>").unwrap().0
    };
    let new = article("schema-NewCredential");
    for told in [
        "object, in one of 3 forms",
        "<code>public_key</code>",
        "Exactly one of <code>jwks</code>, <code>jwks_uri</code>.",
        "<code>audience</code>",
    ] {
        assert!(new.contains(told), "{told}: {new}");
    }
    assert!(article("schema-Workloads").contains("<code>subject</code>"));
    let create = article("createCredential");
    for told in [
        "Example: secret",
        "Example: public_key",
        "Example: workload",
        "href=\"#problem-name_taken\"",
    ] {
        assert!(create.contains(told), "{told}: {create}");
    }
    assert!(article("issueToken").contains("&amp;grant_type=client_credentials"));
    let (_, problem) = page.split_once("id=\"problem-name_taken\"").unwrap();
    let (problem, _) = problem.split_once("</details>").unwrap();
    assert!(problem.contains("&quot;status&quot;: 409"), "{problem}");
}

#[tokio::test]
async fn headings_skip_no_level() {
    let page = page(&Host::new()).await;
    let mut before = 0;
    let levels = page
        .split("<h")
        .skip(1)
        .filter_map(|rest| rest[..1].parse().ok());
    let mut count = 0;
    for level in levels {
        let level: u32 = level;
        assert!(level <= before + 1, "h{level} below h{before}");
        assert!(level > 1 || before == 0, "one h1, and first");
        before = level;
        count += 1;
    }
    assert!(count > 60, "{count}");
}

#[tokio::test]
async fn nothing_runs_and_nothing_comes_from_elsewhere() {
    let host = Host::new();
    for path in ["/docs", "/docs/docs.css", "/openapi.json"] {
        let (headers, body) = get(&host, path, "").await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self';"),
            "{policy}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let (small, compressed) = get(&host, path, "gzip").await;
        assert_eq!(small["content-encoding"], "gzip");
        assert!(compressed.len() < body.len() / 2, "{path}");
    }
    let page = page(&host).await;
    for banned in ["<script", "<style", " style=", "<img", "javascript:"] {
        assert!(!page.contains(banned), "{banned}");
    }
}

#[tokio::test]
async fn what_the_host_says_is_text_not_markup() {
    let hostile = "\"><script>alert('&')</script>";
    let host = Host::new();
    let api = OpenApi::new(&host.credentials)
        .admin_api(hostile)
        .session_cookie(hostile);
    let request = Request::get("/docs").body(Body::empty()).unwrap();
    let response = openapi_router::<()>(&api).oneshot(request).await.unwrap();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let page = String::from_utf8(body.to_vec()).unwrap();
    assert!(!page.contains("<script>"), "{page}");
    assert!(page.contains("&quot;&gt;&lt;script&gt;"));
}
