//! What the document says of routes, and what of the host.

use credential_axum::{ADMIN_ROUTES, OpenApi, openapi_router};
use credential_core::ScopeCatalog;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use crate::common::{BASE, Host};

pub fn document(host: &Host) -> Value {
    OpenApi::new(&host.credentials).admin_api(BASE).document()
}

/// The operation of a method (lower case) and path.
pub fn operation<'a>(document: &'a Value, method: &str, path: &str) -> &'a Value {
    let found = &document["paths"][path][method];
    assert!(found.is_object(), "{method} {path} is not described");
    found
}

/// What a reference leads to.
pub fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(to) => document.pointer(to.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// Every operation: path, method, and the object.
pub fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let host = Host::new();
    let document = document(&host);
    let mut described: Vec<String> = operations(&document)
        .into_iter()
        .filter_map(|(path, method, _)| Some(format!("{method} {}", path.strip_prefix(BASE)?)))
        .collect();
    let mut served: Vec<String> = ADMIN_ROUTES
        .iter()
        .map(|route| format!("{} {}", route.method.as_str().to_lowercase(), route.path))
        .collect();
    described.sort_unstable();
    served.sort_unstable();
    assert_eq!(described, served);
}

#[test]
fn each_operation_says_what_people_and_generators_need() {
    let host = Host::new();
    let document = document(&host);
    let tags: Vec<_> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    let mut ids = Vec::new();
    for (path, method, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(!ids.contains(&id), "{id}");
        ids.push(id);
        for words in ["summary", "description"] {
            assert!(operation[words].as_str().unwrap().len() > 5, "{id}");
        }
        assert!(tags.contains(&&operation["tags"][0]), "{id}");
        assert!(operation["security"].is_array(), "{id}");
        for name in path
            .split('{')
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap())
        {
            let parameters = operation["parameters"].as_array().unwrap().iter();
            let mut named = parameters.map(|it| resolve(&document, it));
            assert!(
                named.any(|it| it["name"] == name && it["in"] == "path"),
                "{id}"
            );
        }
        if let Some(content) = operation.pointer("/requestBody/content") {
            for media in content.as_object().unwrap().values() {
                assert!(
                    media["example"].is_object() || media["examples"].is_object(),
                    "{id} has no example of a request"
                );
            }
        }
        let success = ["200", "201"].map(|status| &operation["responses"][status]);
        let success = success.into_iter().find(|it| it.is_object()).unwrap();
        if let Some(media) = success.pointer("/content/application~1json") {
            assert!(
                media["example"].is_object() || media["examples"].is_object(),
                "{id} has no example of an answer"
            );
        } else {
            assert_eq!((method, id), ("post", "revokeToken"));
        }
    }
    assert!(ids.len() > 20, "{ids:?}");
}

#[test]
fn bodies_are_those_that_are_read() {
    let host = Host::new();
    let document = document(&host);
    for route in ADMIN_ROUTES {
        let Some(read) = route.body_schema() else {
            continue;
        };
        let method = route.method.as_str().to_lowercase();
        let path = format!("{BASE}{}", route.path);
        let content = &operation(&document, &method, &path)["requestBody"]["content"];
        let schema = resolve(&document, &content["application/json"]["schema"]);
        let ways = match schema["oneOf"].as_array() {
            Some(ways) => ways.clone(),
            None => vec![schema.clone()],
        };
        let mut fields = Map::new();
        for way in ways {
            assert_eq!(way["additionalProperties"], false, "{path}");
            fields.extend(way["properties"].as_object().unwrap().clone());
        }
        let read = read["properties"].as_object().unwrap();
        assert_eq!(fields.len(), read.len(), "{path}");
        for (name, mut field) in fields {
            if name == "api_type" {
                let chosen = field.as_object_mut().unwrap().remove("enum");
                assert_eq!(chosen, Some(json!(["apiv2", "fhir"])));
            }
            assert_eq!(field, read[&name], "{path} {name}");
        }
    }
}

#[test]
fn the_document_follows_the_host() {
    let catalog = r#"
        [[api_type]]
        id = "ledger"
        label = "Ledger"
        description = "Entries and balances."
        base_path = "/ledger"
        token_ttl_seconds = 600
        error_body = "detail"
        rules = "first-segment"

        [[api_type.category]]
        id = "all"
        label = "All"

        [[api_type.category.resource]]
        id = "entries"
        label = "Entries"
        read = { scope = "entries.read", description = "See entries" }
    "#;
    let host = Host::with(|builder| {
        builder
            .catalog(ScopeCatalog::from_toml(catalog).unwrap())
            .issuer("https://bank.example/auth")
    });
    let document = OpenApi::new(&host.credentials)
        .admin_api("/keys/api/")
        .session_cookie("bank")
        .document();
    assert_eq!(
        document["servers"],
        json!([{"url": "https://bank.example/auth"}])
    );
    assert!(document["paths"]["/keys/api/policy"]["get"].is_object());
    let schemas = &document["components"]["schemas"];
    let api_type = &schemas["NewCredential"]["properties"]["api_type"];
    assert_eq!(api_type["enum"], json!(["ledger"]));
    assert_eq!(
        document["components"]["securitySchemes"]["signIn"]["name"],
        "bank"
    );
    let paths = document["paths"].as_object().unwrap();
    assert!(
        !paths.keys().any(|path| path.contains("smart")),
        "no API of this host is FHIR's"
    );
}

#[test]
fn whole_credentials_and_summaries_are_told_apart() {
    let host = Host::new();
    let schemas = document(&host)["components"]["schemas"].clone();
    for (name, has, lacks) in [
        ("Credential", "scopes", "scope_counts"),
        ("CredentialSummary", "scope_counts", "scopes"),
    ] {
        let fields = schemas[name]["properties"].as_object().unwrap();
        assert!(
            fields.contains_key(has) && !fields.contains_key(lacks),
            "{name}"
        );
        let required = schemas[name]["required"].as_array().unwrap();
        assert_eq!(
            required.len(),
            fields.len(),
            "{name}: every member is always there"
        );
    }
    let counts = &schemas["CredentialSummary"]["properties"]["scope_counts"];
    assert_eq!(*counts, json!({"$ref": "#/components/schemas/ScopeCounts"}));
}

#[tokio::test]
async fn the_document_is_served() {
    let host = Host::new();
    let api = OpenApi::new(&host.credentials);
    let app = openapi_router::<()>(&api);
    let request = Request::get("/openapi.json").body(axum::body::Body::empty());
    let response = app.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        api.document()
    );
}
