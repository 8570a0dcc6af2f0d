//! The document's examples are what is really asked and answered, and answers have the members that
//! their schemas name.

use std::{fs, path::Path};

use axum::{Router, body::Body, routing::any};
use credential_axum::{Access, Guard, oauth_router};
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use super::document::{document, operations, resolve};
use crate::common::{ADMIN, Ask, BASE, Host, ask};

const FILE: &str = "src/openapi/examples.json";

/// Asks, and keeps what was asked and answered.
struct Asked {
    host: Host,
    /// The OAuth endpoints, and an API behind the guard.
    app: Router,
    examples: Map<String, Value>,
}

impl Asked {
    fn new() -> Self {
        let host = Host::with(|builder| builder.issuer("http://127.0.0.1:8080"));
        let guard = Guard::new(&host.credentials, "apiv2").unwrap();
        let app = Router::new()
            .route("/api/2.0/{*rest}", any(async |_: Access| "done"))
            .layer(guard)
            .merge(oauth_router(&host.credentials));
        Self {
            host,
            app,
            examples: Map::new(),
        }
    }

    async fn admin(&mut self, id: &str, ask: Ask, body: Value) -> Value {
        let request = ask.by(ADMIN);
        let request = if body.is_null() {
            request.empty()
        } else {
            request.json(&body)
        };
        let answer = self.host.send(request).await;
        assert!(answer.status.is_success(), "{id}: {answer:?}");
        self.keep(id, body, answer.json())
    }

    /// Another way to make a credential, beside the first.
    async fn also_created(&mut self, name: &str, of: &str, authentication: Value) {
        let body = json!({
            "name": of, "api_type": "fhir", "scopes": ["system/Patient.read"], "authentication": authentication,
        });
        let request = ask("POST", "/credentials").by(ADMIN).json(&body);
        let answer = self.host.send(request).await;
        assert!(answer.status.is_success(), "{name}: {answer:?}");
        let example = &mut self.examples["createCredential"];
        if let Some(first) = example.as_object_mut().unwrap().remove("request") {
            example["requests"] = json!({"secret": {"value": first}});
        }
        example["requests"][name] = json!({"value": body});
    }

    async fn oauth(&mut self, id: &str, path: &str, form: &[(&str, &str)]) -> Value {
        let pairs: Vec<_> = form
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(pairs.join("&")));
        let fields: Map<_, _> = form
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let answer = self.app(request.unwrap()).await;
        self.keep(id, fields.into(), answer)
    }

    async fn app(&self, request: Request<Body>) -> Value {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap_or_default()
    }

    async fn call(&self, path: &str, token: &str) {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        self.app(request.body(Body::empty()).unwrap()).await;
    }

    fn keep(&mut self, id: &str, request: Value, answer: Value) -> Value {
        let mut example = json!({});
        for (part, value) in [("request", request), ("answer", answer.clone())] {
            if !value.is_null() {
                example[part] = value;
            }
        }
        self.examples.insert(id.to_owned(), example);
        answer
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap()
        .to_owned()
}

/// The life of a credential, from its first secret to its end.
async fn life() -> Map<String, Value> {
    let mut asked = Asked::new();
    let new = json!({
        "name": "Lab sync",
        "api_type": "apiv2",
        "scopes": ["system/patients.read", "system/vitals.read"],
        "description": "Nightly import of results",
        "expires_at": "2030-01-01T00:00:00Z",
        "authentication": {"kind": "secret"},
    });
    asked
        .admin("getCatalog", ask("GET", "/catalog"), Value::Null)
        .await;
    asked
        .admin("getPolicy", ask("GET", "/policy"), Value::Null)
        .await;
    let created = asked
        .admin("createCredential", ask("POST", "/credentials"), new)
        .await;
    // The key of RFC 8037, appendix A.
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "2026-01", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let jwks = json!({"keys": [key]});
    let rule = json!({
        "issuer": "https://token.actions.example.com", "audience": "https://api.example.com",
        "subject": "repo:acme/*", "claims": {"environment": "production"}, "jwks": jwks,
    });
    let mut workload = rule.clone();
    workload["kind"] = json!("workload");
    let key = json!({"kind": "public_key", "jwks": jwks});
    asked
        .also_created("public_key", "Billing export", key)
        .await;
    asked
        .also_created("workload", "Nightly build", workload)
        .await;
    let path = format!("/credentials/{}", text(&created, "/credential/id"));
    let client_id = text(&created, "/credential/client_id");
    let secret = text(&created, "/client_secret");
    asked
        .admin("getCredential", ask("GET", &path), Value::Null)
        .await;
    let one = |method: &str, rest: &str| ask(method, &format!("{path}{rest}")).if_match("*");
    let edit = json!({"description": "Nightly import of results and orders", "expires_at": "2031-01-01T00:00:00Z"});
    asked
        .admin("updateCredential", one("PATCH", ""), edit)
        .await;

    let client = [("client_id", &*client_id), ("client_secret", &secret)];
    let token = [client.as_slice(), &[("grant_type", "client_credentials")]].concat();
    let issued = asked.oauth("issueToken", "/oauth2/token", &token).await;
    let token = text(&issued, "/access_token");
    let of_it = [client.as_slice(), &[("token", &token)]].concat();
    asked
        .oauth("introspectToken", "/oauth2/introspect", &of_it)
        .await;
    for path in [
        "/api/2.0/patients/1/",
        "/api/2.0/patients/2/",
        "/api/2.0/bills/1/",
    ] {
        asked.call(path, &token).await;
    }
    asked
        .host
        .credentials
        .start()
        .await
        .unwrap()
        .shutdown()
        .await;
    asked.oauth("revokeToken", "/oauth2/revoke", &of_it).await;
    asked
        .admin("getUsage", one("GET", "/usage"), Value::Null)
        .await;
    asked
        .admin("listRefusals", one("GET", "/refusals"), Value::Null)
        .await;
    let choice = json!({"scopes": ["system/patients.read", "system/appointments.read"]});
    asked
        .admin(
            "previewScopes",
            one("POST", "/scopes/preview"),
            choice.clone(),
        )
        .await;
    asked
        .admin("setScopes", one("PUT", "/scopes"), choice)
        .await;
    let overlap = json!({"overlap_seconds": 3600});
    asked
        .admin("rotateSecret", one("POST", "/secrets"), overlap)
        .await;
    let end = format!(
        "/secrets/{}",
        text(&created, "/credential/secrets/0/selector")
    );
    asked
        .admin("endSecret", one("DELETE", &end), Value::Null)
        .await;
    let keys = json!({"jwks": jwks});
    asked.admin("setKeys", one("PUT", "/keys"), keys).await;
    asked
        .admin(
            "setWorkloads",
            one("PUT", "/workloads"),
            json!({"workloads": [rule]}),
        )
        .await;
    asked
        .admin("disableCredential", one("POST", "/disable"), Value::Null)
        .await;
    asked
        .admin("enableCredential", one("POST", "/enable"), Value::Null)
        .await;
    asked
        .admin(
            "listCredentials",
            ask("GET", "/credentials?limit=1"),
            Value::Null,
        )
        .await;
    asked
        .admin(
            "listAuditEvents",
            ask("GET", "/audit-events?limit=2"),
            Value::Null,
        )
        .await;
    asked
        .admin("revokeCredential", one("DELETE", ""), Value::Null)
        .await;
    let confirm = json!({"confirm": "2"});
    let all = ask("POST", "/credentials/revoke-all");
    asked.admin("revokeAllCredentials", all, confirm).await;
    for (id, path) in [
        (
            "getResourceMetadata_apiv2",
            "/.well-known/oauth-protected-resource/api/2.0",
        ),
        (
            "getResourceMetadata_fhir",
            "/.well-known/oauth-protected-resource/fhir/r4",
        ),
        (
            "getServerMetadata",
            "/.well-known/oauth-authorization-server",
        ),
        (
            "getSmartConfiguration_fhir",
            "/fhir/r4/.well-known/smart-configuration",
        ),
    ] {
        let answer = asked
            .app(Request::get(path).body(Body::empty()).unwrap())
            .await;
        asked.keep(id, Value::Null, answer);
    }
    asked.examples
}

/// The same without secrets, and with lists of the catalogue cut short.
fn shown(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for (name, member) in members {
                let hidden = match name.as_str() {
                    "client_secret" => "cred_sandbox_…",
                    "access_token" | "token" => "v4.local.…",
                    _ => {
                        *member = shown(member.take());
                        continue;
                    }
                };
                *member = json!(hidden);
            }
        }
        Value::Array(items) => {
            let long = items.len() > 3;
            if long {
                items.truncate(2);
            }
            for item in items {
                *item = shown(item.take());
            }
        }
        _ => {}
    }
    value
}

#[tokio::test]
async fn examples_are_real() {
    let examples = shown(life().await.into());
    let written = format!("{examples:#}\n");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("ACCEPT").is_some() {
        fs::write(&file, &written).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap() == written,
        "the examples are not what is answered; to accept what is:\n  \
         ACCEPT=1 cargo test -p credential-axum --all-features --test openapi examples_are_real"
    );
}

/// Fails unless the value has every member that the schema names and no other.
fn same_members(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolve(document, schema);
    if let Some(ways) = schema["anyOf"].as_array() {
        let fits = |way: &&Value| {
            let way = resolve(document, way);
            let required = way["required"].as_array();
            let mut required = required.into_iter().flatten();
            value.is_null() && way["type"] == "null"
                || value.is_object()
                    && way["type"] == "object"
                    && required.all(|name| value.get(name.as_str().unwrap()).is_some())
        };
        let way = ways.iter().find(fits);
        let way = way.unwrap_or_else(|| panic!("{at} fits none of {ways:?}"));
        return same_members(document, way, value, at);
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&json!(kind)), "{at} is a {kind}: {schema}");
    match value {
        Value::Array(items) => {
            for item in items {
                same_members(document, &schema["items"], item, &format!("{at}[]"));
            }
        }
        Value::Object(members) => {
            let Some(properties) = schema["properties"].as_object() else {
                assert_eq!(schema["additionalProperties"], true, "{at}");
                return;
            };
            for (name, member) in members {
                let property = properties.get(name);
                let property = property.unwrap_or_else(|| panic!("{at}.{name} is not described"));
                same_members(document, property, member, &format!("{at}.{name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    members.contains_key(name.as_str().unwrap()),
                    "{at} has no {name}"
                );
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn answers_have_the_members_that_are_described() {
    let document = document(&Host::new());
    let examples = life().await;
    let mut compared = 0;
    for (_, _, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        let example = examples
            .get(id)
            .unwrap_or_else(|| panic!("{id} is not asked"));
        let content = ["200", "201"]
            .iter()
            .find_map(|it| operation["responses"][*it].pointer("/content/application~1json"));
        if let Some(content) = content {
            same_members(&document, &content["schema"], &example["answer"], id);
            compared += 1;
        }
    }
    assert_eq!(compared, examples.len() - 1, "revokeToken has no body");
}

#[tokio::test]
async fn summaries_have_the_members_that_are_described() {
    let host = Host::new();
    host.create("Lab").await;
    let document = document(&host);
    let list = host.get("/credentials?view=summary").await.json();
    let summary = &document["components"]["schemas"]["CredentialSummary"];
    same_members(&document, summary, &list["items"][0], "summary");
    let path = format!("{BASE}/credentials");
    let list_schema = &document["paths"][&path]["get"]["responses"]["200"]["content"];
    same_members(
        &document,
        &list_schema["application/json"]["schema"],
        &list,
        "list",
    );
}
