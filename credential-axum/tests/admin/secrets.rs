//! The secret is in exactly one answer.

use serde_json::json;

use crate::common::{ADMIN, Answer, Host, ask};

#[tokio::test]
async fn a_created_credential_in_full() {
    let host = Host::new();
    let body = json!({
        "name": " Lab sync ",
        "api_type": "fhir",
        "scopes": ["system/Patient.rs", "system/Group.read"],
        "expires_at": "2027-01-01T00:00:00Z",
    });
    let answer = host
        .send(ask("POST", "/credentials").by(ADMIN).json(&body))
        .await;
    assert_eq!(answer.status, 201);
    let mut shown = answer.json();
    let id = shown["credential"]["id"].take();
    let client_id = shown["credential"]["client_id"].take();
    let selector = shown["credential"]["secrets"][0]["selector"].take();
    let secret = shown["client_secret"].take();
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap(), @r#"
    {
      "client_secret": null,
      "credential": {
        "allowed_networks": [],
        "api_type": "fhir",
        "client_id": null,
        "created_at": "2026-01-01T00:00:00Z",
        "created_by": "alder-admin",
        "description": "",
        "disabled_at": null,
        "environment": "sandbox",
        "expires_at": "2027-01-01T00:00:00Z",
        "id": null,
        "jwks_uri": null,
        "keys": [],
        "last_used_at": null,
        "name": "Lab sync",
        "revoked_at": null,
        "revoked_by": null,
        "scopes": [
          "system/Group.read",
          "system/Patient.read"
        ],
        "secrets": [
          {
            "created_at": "2026-01-01T00:00:00Z",
            "expires_at": null,
            "last_used_at": null,
            "selector": null
          }
        ],
        "status": "active",
        "version": 1,
        "workloads": []
      }
    }
    "#);

    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    assert_eq!(text(&id).len(), 32);
    assert!(text(&client_id).starts_with("cred_sandbox_"));
    assert!(text(&secret).starts_with(&format!("cred_sandbox_{}", text(&selector))));
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!(
        answer.header("location"),
        format!("/api-access/v1/credentials/{}", text(&id))
    );
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn one_answer_of_the_whole_life_holds_the_secret() {
    let host = Host::new();
    let body = json!({"name": "Lab", "api_type": "fhir"});
    let created = host
        .send(ask("POST", "/credentials").by(ADMIN).json(&body))
        .await;
    let secret = created.json()["client_secret"].as_str().unwrap().to_owned();
    let path = created
        .header("location")
        .strip_prefix(crate::common::BASE)
        .unwrap()
        .to_owned();

    let edit = ask("PATCH", &path)
        .by(ADMIN)
        .if_match("*")
        .json(&json!({"name": "Lab 2"}));
    let put = ask("PUT", &format!("{path}/scopes"))
        .by(ADMIN)
        .if_match("*");
    let later = [
        ask("POST", "/credentials").by(ADMIN).json(&body),
        ask("GET", &path).by(ADMIN).empty(),
        edit,
        put.json(&json!({"preset": "read_only"})),
        ask("GET", "/credentials").by(ADMIN).empty(),
        ask("DELETE", &path).by(ADMIN).empty(),
        ask("GET", &path).by(ADMIN).empty(),
        ask("GET", "/credentials?include_revoked=true")
            .by(ADMIN)
            .empty(),
        ask("GET", "/audit-events").by(ADMIN).empty(),
    ];
    // From behind the selector, so that no part of it passes either.
    let hidden = secret["cred_sandbox_".len() + 16..].to_owned();
    let holds = |answer: &Answer| {
        let headers = format!("{:?}", answer.headers);
        let body = String::from_utf8_lossy(&answer.body);
        assert!(!body.contains("argon2") && !body.contains("hash\":\"$"));
        headers.contains(&hidden) || body.contains(&hidden)
    };
    assert!(holds(&created));
    for request in later {
        let shown = format!("{} {}", request.method(), request.uri());
        let answer = host.send(request).await;
        assert!(
            answer.status.is_success() || answer.status == 409,
            "{shown} {answer:?}"
        );
        assert!(!holds(&answer), "{shown}");
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_what_the_answer_names() {
    let host = Host::new();
    let path = host.created_path("Lab").await + "/secrets/AAAAAAAAAAAAAAAA";
    let answer = host.send(ask("DELETE", &path).by(ADMIN).empty()).await;
    assert_eq!(answer.status, 404);
    let problem = answer.json();
    assert_eq!(problem["code"], "not_found");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("no such secret"), "{detail}");
}
