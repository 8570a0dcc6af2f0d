//! The OpenAPI 3.1 document of the admin API and the OAuth endpoints.
//!
//! Bodies and parameters are described by the functions that read them, answers by the types that are
//! serialized, refusals by the values that are sent. What is left to say of each operation is in
//! `admin/operations.rs` and `oauth/operations.rs`, examples in `openapi/examples.json`.

use axum::{
    Router,
    body::Bytes,
    middleware::map_response,
    response::IntoResponse as _,
    routing::{MethodRouter, get},
};
use credential_core::Credentials;
use flate2::Compression;
use http::{HeaderMap, header};
use serde_json::{Map, Value, json};

use crate::{
    admin::{ADMIN_ROUTES, operations as admin},
    gzip::{accepts_gzip, gzip},
    no_sniff::no_sniff,
    oauth::operations as oauth,
};

mod operation;
mod page;
mod refusals;
mod schemas;

use self::refusals::Refusals;
pub(crate) use self::{
    operation::{IfMatch, Operation},
    schemas::Schemas,
};

/// What the document says of this host, for [`openapi_router`].
///
/// It follows the [`Credentials`]: the issuer is the server's URL, the catalogue names the API types.
#[derive(Debug, Clone)]
pub struct OpenApi {
    credentials: Credentials,
    admin_api: String,
    session_cookie: String,
}

impl OpenApi {
    /// The admin API at `/api-access/v1` below the issuer's URL, the sign-in by a cookie named `session`.
    #[must_use]
    pub fn new(credentials: &Credentials) -> Self {
        Self {
            credentials: credentials.clone(),
            admin_api: "/api-access/v1".to_owned(),
            session_cookie: "session".to_owned(),
        }
    }

    /// Where [`admin_router`](crate::admin_router) is nested, from the issuer's URL on.
    #[must_use]
    pub fn admin_api(mut self, path: &str) -> Self {
        path.trim_end_matches('/').clone_into(&mut self.admin_api);
        self
    }

    /// The name of the cookie that the host's sign-in sets.
    #[must_use]
    pub fn session_cookie(mut self, name: &str) -> Self {
        name.clone_into(&mut self.session_cookie);
        self
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut schemas = Schemas::new();
        let mut refusals = Refusals::new();
        let mut paths = Map::new();
        let mut add = |path: String, method: &str, operation: Value| {
            paths.entry(path).or_insert_with(|| json!({}))[method] = operation;
        };
        let mut bodies = Map::new();
        for route in ADMIN_ROUTES {
            let all = admin::operations();
            let mut described = all.iter();
            // A test asks that every route is described.
            let Some(operation) =
                described.find(|it| it.method == route.method && it.path == route.path)
            else {
                continue;
            };
            if let (Some(name), Some(schema)) = (operation.body, route.body_schema()) {
                bodies.insert(name.to_owned(), operation::body(name, schema));
            }
            let method = route.method.as_str().to_ascii_lowercase();
            let described = operation.describe(route, &mut schemas, &mut refusals);
            add(
                format!("{}{}", self.admin_api, route.path),
                &method,
                described,
            );
        }
        for (path, method, operation) in oauth::operations(&self.credentials, &mut schemas) {
            add(path, method, operation);
        }
        self.choose_api_types(&mut bodies);
        let mut named = schemas.named();
        admin::tell_summaries_apart(&mut named);
        named.append(&mut bodies);
        let (responses, examples) = refusals.components();
        let tags = admin::TAGS.iter().chain([&oauth::TAG]);
        let mut document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "API credentials",
                "version": env!("CARGO_PKG_VERSION"),
                "description": DESCRIPTION,
                "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
            },
            "servers": [{"url": self.credentials.issuer().trim_end_matches('/')}],
            "tags": tags.map(|(name, about)| json!({"name": name, "description": about})).collect::<Vec<_>>(),
            "paths": paths,
            "components": {
                "schemas": named,
                "responses": responses,
                "examples": examples,
                "parameters": parameters(),
                "headers": headers(),
                "securitySchemes": self.security_schemes(),
            },
        });
        add_examples(&mut document);
        document
    }

    /// The API types of the catalogue, wherever a body chooses one.
    fn choose_api_types(&self, bodies: &mut Map<String, Value>) {
        let api_types = self.credentials.catalog().api_types().iter();
        let ids: Vec<_> = api_types.map(|it| it.id().as_str()).collect();
        for body in bodies.values_mut() {
            let ways = match body.get_mut("oneOf").and_then(Value::as_array_mut) {
                Some(ways) => ways.iter_mut().collect(),
                None => vec![body],
            };
            for way in ways {
                if let Some(field) = way.pointer_mut("/properties/api_type") {
                    field["enum"] = json!(ids);
                }
            }
        }
    }

    fn security_schemes(&self) -> Value {
        json!({
            "signIn": {
                "type": "apiKey",
                "in": "cookie",
                "name": self.session_cookie,
                "description": "The session of the host's own sign-in, of an admin of the tenant.",
            },
            "clientBasic": {
                "type": "http",
                "scheme": "basic",
                "description": "`client_id` and `client_secret`, each form-url-encoded (RFC 6749 §2.3.1).",
            },
            "resourceServer": {
                "type": "http",
                "scheme": "bearer",
                "description": "The introspection secret of the host, where it has set one; or an access token with the \
                                scope for introspection, where the catalogue has one.",
            },
        })
    }
}

const DESCRIPTION: &str = "Self-service management of the credentials with which programs call an API, and the \
     OAuth 2.0 endpoints that those programs use. Requests of the admin API hold exactly the fields that are \
     named here; answers may get more fields. Times are RFC 3339 in UTC.\n\nA request that several rules \
     refuse gets the first of these answers: 401, `cross_site`, `forbidden`, `tenant_changed`, 429, 413, 415, \
     400, 404, `self_service_unavailable`, `revoked`, 428, 412, 422, any other 409. Nothing is half done. A \
     change from another website is refused with `cross_site`, which `Sec-Fetch-Site` and `Origin` tell.";

fn parameters() -> Value {
    let if_match = |required: bool, description: &str| {
        json!({
            "name": "If-Match",
            "in": "header",
            "required": required,
            "description": description,
            "schema": {"type": "string"},
            "example": "\"1\"",
        })
    };
    json!({
        "id": {
            "name": "id",
            "in": "path",
            "required": true,
            "description": "The `id` of a credential.",
            "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        },
        "selector": {
            "name": "selector",
            "in": "path",
            "required": true,
            "description": "The `selector` of a secret.",
            "schema": {"type": "string", "pattern": "^[0-9A-Za-z]+$"},
        },
        "IfMatch": if_match(
            false,
            "The `ETag` of the version that the decision was made on: any other version is refused.",
        ),
        "IfMatchRequired": if_match(
            true,
            "The `ETag` of the version that the change was decided on, or `*` for any.",
        ),
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "1 to 255 visible ASCII characters that name this request alone, such as a UUID; bare, or in \
                            quotes as a string of RFC 8941. The same admin's same request with the same key \
                            gets the first answer again, for ten minutes and whatever has happened since; a \
                            refusal does not use the key up.",
            "schema": {
                "type": "string",
                "pattern": r#"^([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")$"#,
            },
            "example": "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
        },
        "ExpectedTenant": {
            "name": "X-Expected-Tenant",
            "in": "header",
            "description": "The mark that the page was given for its tenant. Refused as `tenant_changed` if \
                            another tenant is signed in to. Programs leave it out.",
            "schema": {"type": "string"},
            // Of the tenant that the other examples are of.
            "example": "CHM1S4CpbjA1vzpsdE72oA",
        },
    })
}

fn headers() -> Value {
    json!({
        "ETag": {
            "description": "The version of the credential, for `If-Match`.",
            "required": true,
            "schema": {"type": "string", "pattern": "^\"[0-9]+\"$"},
        },
        "Location": {
            "description": "The path of the new credential.",
            "required": true,
            "schema": {"type": "string"},
        },
        "Retry-After": {
            "description": "When to try again, in seconds.",
            "required": true,
            "schema": {"type": "integer", "minimum": 1},
        },
        "WWW-Authenticate": {
            "description": "The schemes that are accepted, a line each.",
            "required": true,
            "schema": {"type": "string"},
        },
    })
}

/// Real requests and answers, by operation. A test asks anew and compares.
const EXAMPLES: &str = include_str!("openapi/examples.json");

fn add_examples(document: &mut Value) {
    let examples: Value = serde_json::from_str(EXAMPLES).unwrap_or_default();
    let paths = document["paths"].as_object_mut();
    let items = paths.into_iter().flat_map(Map::values_mut);
    for operation in items
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        let Some(example) = operation["operationId"].as_str().map(|id| &examples[id]) else {
            continue;
        };
        let into = |content: Option<&mut Value>, example: &Value, member: &str| {
            let content = content
                .and_then(Value::as_object_mut)
                .filter(|_| !example.is_null());
            for media in content.into_iter().flat_map(Map::values_mut) {
                media[member] = example.clone();
            }
        };
        into(
            operation.pointer_mut("/requestBody/content"),
            &example["request"],
            "example",
        );
        into(
            operation.pointer_mut("/requestBody/content"),
            &example["requests"],
            "examples",
        );
        for status in ["200", "201"] {
            let content = operation.pointer_mut(&format!("/responses/{status}/content"));
            into(content, &example["answer"], "example");
        }
    }
}

/// `/openapi.json`, and `/docs`, a page that shows it. Both are public, and say what `api` says now.
///
/// The page is made on the server. Its `Content-Security-Policy` allows nothing but its own style, below
/// `/docs`: no script, nothing from elsewhere.
pub fn openapi_router<S>(api: &OpenApi) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let document = api.document();
    let page = page::render(&document).into_string();
    let json = serde_json::to_vec(&document).unwrap_or_default();
    Router::new()
        .route("/openapi.json", served("application/json", json))
        .route("/docs", served("text/html; charset=utf-8", page))
        .route(
            "/docs/docs.css",
            served("text/css; charset=utf-8", page::STYLE),
        )
        .layer(map_response(no_sniff))
}

/// One answer, made once, and as gzip for those who take it.
fn served<S>(media_type: &'static str, content: impl Into<Bytes>) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'";
    let plain = content.into();
    let compressed = gzip(&plain, Compression::best());
    get(async move |headers: HeaderMap| {
        let said = [
            (header::CONTENT_TYPE, media_type),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "accept-encoding"),
        ];
        if accepts_gzip(&headers) && !compressed.is_empty() {
            let encoding = [(header::CONTENT_ENCODING, "gzip")];
            (said, encoding, compressed.clone()).into_response()
        } else {
            (said, plain.clone()).into_response()
        }
    })
}
