//! The demo APIs: every path of an API type answers 200 with what the guard checked.

use std::sync::Arc;

use axum::{
    Router,
    extract::{OriginalUri, State},
    handler::Handler as _,
    response::{IntoResponse, Response},
    routing::any,
};
use credential_axum::{Access, AccessRejection, Guard};
use credential_core::{
    catalog::{ApiType, PathRules},
    clock::Clock,
};
use http::{Method, StatusCode, Uri, header};
use serde::Serialize;
use serde_json::{Value, json};

/// Tells the demo's tags in FHIR answers from a server's own.
const TAG_SYSTEM: &str = "urn:reference-server:checked";

struct Demo {
    api_type: Arc<ApiType>,
    /// RFC 3339; `CapabilityStatement.date`.
    started_at: String,
}

/// All paths of an API type, behind the guard.
///
/// The guard wraps the handlers themselves. Around a router's routes axum would clone it in boxes, some ten
/// allocations a call.
pub fn router(api_type: &Arc<ApiType>, guard: &Guard, clock: &dyn Clock) -> Router {
    let demo = Arc::new(Demo {
        api_type: Arc::clone(api_type),
        started_at: clock.now().to_string(),
    });
    let base = api_type.base_path();
    let answer = match api_type.rules() {
        PathRules::Fhir => any(fhir.layer(guard.clone())),
        _ => any(plain.layer(guard.clone())),
    };
    let mut router = Router::new()
        .route(&format!("{base}/"), answer.clone())
        .route(&format!("{base}/{{*path}}"), answer.clone());
    if !base.is_empty() {
        router = router.route(base, answer);
    }
    router.with_state(demo)
}

/// What was checked, for people who try things out.
#[derive(Serialize)]
struct Facts<'a> {
    tenant: &'a str,
    client_id: &'a str,
    required_scope: String,
    method: &'a str,
    path: &'a str,
}

impl<'a> Facts<'a> {
    fn new(access: &'a Access, method: &'a Method, uri: &'a Uri) -> Self {
        Self {
            tenant: access.tenant().as_str(),
            client_id: access.client_id().as_str(),
            required_scope: access.required_scope(),
            method: method.as_str(),
            path: uri.path(),
        }
    }
}

/// The caller. An error means that the route is public, because nothing else passes the guard, and that
/// there is no valid token. A public route also answers clients whose token has expired.
type Caller = Result<Access, AccessRejection>;

async fn plain(access: Caller, method: Method, OriginalUri(uri): OriginalUri) -> Response {
    match access {
        Ok(access) => json_response(JSON, &Facts::new(&access, &method, &uri)),
        Err(_) => json_response(
            JSON,
            &json!({"method": method.as_str(), "path": uri.path()}),
        ),
    }
}

async fn fhir(
    State(demo): State<Arc<Demo>>,
    access: Caller,
    method: Method,
    OriginalUri(uri): OriginalUri,
) -> Response {
    let body = match access {
        _ if demo.is_metadata(uri.path()) => demo.capability_statement(),
        Ok(access) => bundle(&Facts::new(&access, &method, &uri)),
        Err(_) => return not_found(),
    };
    json_response(FHIR_JSON, &body)
}

const JSON: &str = "application/json";
const FHIR_JSON: &str = "application/fhir+json";

fn json_response(content_type: &'static str, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => ([(header::CONTENT_TYPE, content_type)], body).into_response(),
        // Unreachable: what is written here has string keys.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A valid empty Bundle, the facts as tags.
fn bundle(facts: &Facts<'_>) -> Value {
    let tag = |fact, value| json!({"system": TAG_SYSTEM, "code": fact, "display": value});
    json!({
        "resourceType": "Bundle",
        "meta": {"tag": [
            tag("tenant", facts.tenant),
            tag("client_id", facts.client_id),
            tag("required_scope", &facts.required_scope),
            tag("method", facts.method),
            tag("path", facts.path),
        ]},
        "type": "searchset",
        "total": 0,
    })
}

fn not_found() -> Response {
    let issue = json!({"severity": "error", "code": "not-found", "diagnostics": "nothing is here"});
    let body = json!({"resourceType": "OperationOutcome", "issue": [issue]});
    (StatusCode::NOT_FOUND, json_response(FHIR_JSON, &body)).into_response()
}

impl Demo {
    fn is_metadata(&self, path: &str) -> bool {
        path.strip_prefix(self.api_type.base_path()) == Some("/metadata")
    }

    fn capability_statement(&self) -> Value {
        json!({
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": self.started_at,
            "kind": "instance",
            "implementation": {
                "description": "Demo API behind the guard; every search is empty",
                "url": self.api_type.base_path(),
            },
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "rest": [{
                "mode": "server",
                "security": {"service": [{"coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                    "code": "SMART-on-FHIR",
                }]}]},
            }],
        })
    }
}
