//! What routes say that they read is what they read.

use credential_axum::{ADMIN_ROUTES, AdminRoute};
use serde_json::{Map, Value, json};

use crate::common::{ADMIN, Answer, Host, ask};

fn properties(schema: &Value) -> &Map<String, Value> {
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["additionalProperties"], false);
    schema["properties"].as_object().unwrap()
}

/// The accepted names, in the words of a refusal.
fn accepted(answer: &Answer) -> Vec<String> {
    let errors = answer.json()["errors"].clone();
    let unknown = errors
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["field"] == "nonsense");
    let message = unknown.unwrap()["message"].as_str().unwrap().to_owned();
    let mut names: Vec<_> = message
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names
}

async fn send(host: &Host, path: &str, route: &AdminRoute, body: &Value) -> Answer {
    let path = route.path.replace("/credentials/{id}", path);
    let request = ask(route.method.as_str(), &path).by(ADMIN).if_match("*");
    host.send(request.json(body)).await
}

/// A value of the kind that a schema names.
fn fitting(schema: &Value) -> Value {
    if let Some(words) = schema.get("enum") {
        return words[0].clone();
    }
    let kind = schema["type"].get(0).unwrap_or(&schema["type"]);
    match (kind, &schema["format"]) {
        (_, format) if format == "date-time" => json!("2027-01-01T00:00:00Z"),
        (kind, _) if kind == "array" => json!([]),
        (kind, _) if kind == "integer" => schema["minimum"].clone(),
        (kind, _) if kind == "object" || kind.is_null() => json!({"kind": "secret"}),
        _ => json!("x"),
    }
}

#[tokio::test]
async fn every_body_is_described_as_it_is_read() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    for route in ADMIN_ROUTES {
        let Some(schema) = route.body_schema() else {
            continue;
        };
        let fields = properties(&schema);
        let answer = send(&host, &path, route, &json!({"nonsense": 1})).await;
        let names: Vec<_> = fields.keys().cloned().collect();
        assert_eq!(accepted(&answer), names, "{route:?}");

        // What has to be there is missed, and nothing else.
        let required = schema["required"].as_array().unwrap();
        if !required.is_empty() {
            let missed = send(&host, &path, route, &json!({})).await.faults();
            let missed: Vec<_> = missed
                .iter()
                .map(|(name, code)| (&**name, &**code))
                .collect();
            let expected: Vec<_> = required
                .iter()
                .map(|name| (name.as_str().unwrap(), "required"))
                .collect();
            assert_eq!(missed, expected, "{route:?}");
        }

        // Each field is of the kind that it says, and of no other.
        for (name, field) in fields {
            assert!(field["description"].as_str().unwrap().len() > 10, "{name}");
            let wrong = if name == "api_type" && required.is_empty() {
                "api_type_immutable"
            } else {
                "wrong_type"
            };
            let kind = field["type"].get(0).unwrap_or(&field["type"]);
            let wrong_values = match kind.as_str() {
                Some("integer") => [json!("5"), json!({}), json!(1.5)],
                Some("object") | None => [json!(5), json!("x"), json!([])],
                _ => [json!(5), json!({}), json!(true)],
            };
            for value in wrong_values {
                let answer = send(&host, &path, route, &json!({name: value})).await;
                let fault = (name.clone(), wrong.to_owned());
                assert!(answer.all_errors().contains(&fault), "{name} {value}");
            }
            let body = json!({name: fitting(field), "nonsense": 1});
            let right = send(&host, &path, route, &body).await;
            let fault = (name.clone(), "wrong_type".to_owned());
            assert!(!right.all_errors().contains(&fault), "{name}");
        }
    }
}

#[tokio::test]
async fn every_parameter_is_described_as_it_is_read() {
    let host = Host::new();
    let path = host.created_path("Lab").await;
    for route in ADMIN_ROUTES {
        let Some(schema) = route.query_schema() else {
            continue;
        };
        let path = route.path.replace("/credentials/{id}", &path);
        let answer = host.get(&format!("{path}?nonsense=1")).await;
        let names: Vec<_> = properties(&schema).keys().cloned().collect();
        assert_eq!(accepted(&answer), names, "{route:?}");
    }
}

#[test]
fn bounds_and_words_are_described() {
    let schema = |method: &str, path: &str| {
        let mut routes = ADMIN_ROUTES.iter();
        let route = routes.find(|it| it.method == method && it.path == path);
        route.and_then(AdminRoute::body_schema).unwrap()
    };
    let create = schema("POST", "/credentials");
    assert_eq!(create["required"], json!(["name", "api_type"]));
    assert_eq!(create["properties"]["name"]["maxLength"], 100);
    assert_eq!(
        create["properties"]["expires_at"]["type"],
        json!(["string", "null"])
    );
    let scopes = schema("PUT", "/credentials/{id}/scopes");
    assert_eq!(scopes["properties"]["preset"]["enum"], json!(["read_only"]));
    let either = json!([{"required": ["scopes"]}, {"required": ["preset"]}]);
    assert_eq!(scopes["oneOf"], either);
}
