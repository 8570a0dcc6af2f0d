//! What a document says of the OAuth endpoints.

use credential_core::{Credentials, catalog::PathRules};
use serde_json::{Value, json};

use super::{
    answer::{ActiveToken, ResourceMetadata, ServerMetadata, SmartConfiguration, TokenAnswer},
    client::JWT_BEARER,
    error::ErrorAnswer,
    metadata::{GRANT_TYPES, INTROSPECT_PATH, REVOKE_PATH, TOKEN_PATH},
};
use crate::{openapi::Schemas, well_known};

/// The group of these operations, and what it is about.
pub(crate) const TAG: (&str, &str) = (
    "OAuth 2.0",
    "For clients and resource servers. A client authenticates with HTTP Basic (`client_secret_basic`) or with \
     `client_id` and `client_secret` in the body (`client_secret_post`), or with a signed assertion \
     (`private_key_jwt`); never with two of them. Parameters that are not \
     known are ignored; repeated ones are refused.",
);

/// Path, method and operation, without examples.
pub(crate) fn operations(
    credentials: &Credentials,
    schemas: &mut Schemas,
) -> Vec<(String, &'static str, Value)> {
    let token = schemas.of::<TokenAnswer<'_>>();
    let active = schemas.of::<ActiveToken<'_>>();
    let mut all = vec![
        (
            TOKEN_PATH.to_owned(),
            "post",
            Endpoint {
                id: "issueToken",
                summary: "Issue an access token",
                description: "RFC 6749 §4.4. The host may serve it under further paths.",
                form: token_form(),
                security: json!([{"clientBasic": []}, {}]),
                answer: Some(token),
                errors: &[
                    "invalid_request",
                    "unsupported_grant_type",
                    "invalid_grant",
                    "invalid_scope",
                    "invalid_target",
                ],
            }
            .describe(schemas),
        ),
        (
            INTROSPECT_PATH.to_owned(),
            "post",
            Endpoint {
                id: "introspectToken",
                summary: "Say what a token may do now",
                description: "RFC 7662. A client, and the holder of an access token with the scope for it, see the \
                              tokens of their own tenant; a resource server that has the host's introspection \
                              secret sees all. Whatever is not active is exactly `{\"active\":false}`.",
                form: of_a_token(),
                security: json!([{"clientBasic": []}, {"resourceServer": []}, {}]),
                answer: Some(json!({"anyOf": [active, inactive()]})),
                errors: &["invalid_request"],
            }
            .describe(schemas),
        ),
        (
            REVOKE_PATH.to_owned(),
            "post",
            Endpoint {
                id: "revokeToken",
                summary: "Revoke one of the client's own tokens",
                description: "RFC 7009. Also 200 for what is no token of the client.",
                form: of_a_token(),
                security: json!([{"clientBasic": []}, {}]),
                answer: None,
                errors: &["invalid_request"],
            }
            .describe(schemas),
        ),
    ];
    let server = schemas.of::<ServerMetadata<'_>>();
    all.push((
        well_known::SERVER.to_owned(),
        "get",
        metadata(
            "getServerMetadata",
            "Describe these endpoints",
            "RFC 8414.",
            &server,
        ),
    ));
    for api_type in credentials.catalog().api_types() {
        let path = format!("{}{}", well_known::RESOURCE, api_type.base_path());
        let id = format!("getResourceMetadata_{}", api_type.id());
        let resource = schemas.of::<ResourceMetadata<'_>>();
        all.push((
            path,
            "get",
            metadata(
                &id,
                &format!("Describe {} as a protected resource", api_type.label()),
                "RFC 9728.",
                &resource,
            ),
        ));
        if api_type.rules() == PathRules::Fhir {
            let path = format!("{}/.well-known/smart-configuration", api_type.base_path());
            let id = format!("getSmartConfiguration_{}", api_type.id());
            let smart = schemas.of::<SmartConfiguration<'_>>();
            all.push((
                path,
                "get",
                metadata(
                    &id,
                    &format!("Describe {} for SMART clients", api_type.label()),
                    "SMART App Launch 2.2.",
                    &smart,
                ),
            ));
        }
    }
    all
}

/// One endpoint that takes a form.
struct Endpoint {
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    form: Value,
    security: Value,
    /// `None`: an empty body.
    answer: Option<Value>,
    /// With status 400.
    errors: &'static [&'static str],
}

impl Endpoint {
    fn describe(self, schemas: &mut Schemas) -> Value {
        let header = |name: &str| json!({name: {"$ref": format!("#/components/headers/{name}")}});
        let mut refused = |description: &str, codes: &[&str]| {
            let schema = json!({
                "allOf": [schemas.of::<ErrorAnswer<'_>>()],
                "properties": {"error": {"type": "string", "enum": codes}},
            });
            json!({
                "description": description,
                "content": {"application/json": {"schema": schema}},
            })
        };
        let mut invalid_client = refused("The client is not authenticated", &["invalid_client"]);
        invalid_client["headers"] = header("WWW-Authenticate");
        let mut unavailable = refused("Temporarily unavailable", &["temporarily_unavailable"]);
        unavailable["headers"] = header("Retry-After");
        let mut success = json!({"description": self.summary});
        if let Some(schema) = self.answer {
            success["content"] = json!({"application/json": {"schema": schema}});
        }
        json!({
            "operationId": self.id,
            "tags": [TAG.0],
            "summary": self.summary,
            "description": self.description,
            "security": self.security,
            "requestBody": {
                "required": true,
                "content": {"application/x-www-form-urlencoded": {"schema": self.form}},
            },
            "responses": {
                "200": success,
                "400": refused("Refused", self.errors),
                "401": invalid_client,
                "413": refused("Request too large", &["invalid_request"]),
                "503": unavailable,
            },
        })
    }
}

/// Parameters that are not known are ignored, and may not be repeated.
fn form(required: &[&str], mut properties: Value) -> Value {
    properties["client_id"] = json!({
        "type": "string",
        "description": "With `client_secret`, unless the client is named in `Authorization`.",
    });
    properties["client_secret"] = json!({"type": "string"});
    // A parameter without a value counts as left out (RFC 6749 §3.1), so the empty text is accepted as well.
    properties["client_assertion_type"] = json!({
        "type": "string", "enum": [JWT_BEARER, ""], "description": "Beside `client_assertion`.",
    });
    properties["client_assertion"] = json!({
        "type": "string",
        "description": "RFC 7523 §2.2: a JWT that the client signed with a registered key, or the token of a \
                        trusted workload beside `client_id`.",
    });
    json!({
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": {"type": "string"},
    })
}

fn token_form() -> Value {
    form(
        &["grant_type"],
        json!({
            "grant_type": {"type": "string", "enum": GRANT_TYPES},
            "assertion": {
                "type": "string",
                "description": "With the grant type of RFC 7523 §2.1: the token of a trusted workload, whose \
                                client `client_id` names.",
            },
            "scope": {
                "type": "string",
                "description": "Scopes that the token shall be narrowed to, with a space between them. Without \
                                it the token follows the credential.",
            },
            "resource": {
                "type": "array",
                "items": {"type": "string"},
                "description": "RFC 8707: the base URL of the credential's API type, or one below it.",
            },
        }),
    )
}

fn of_a_token() -> Value {
    form(
        &["token"],
        json!({
            "token": {"type": "string", "minLength": 1},
            "token_type_hint": {
                "type": "string",
                "description": "Ignored: there is one kind of token.",
            },
        }),
    )
}

/// [`INACTIVE`](super::answer::INACTIVE).
fn inactive() -> Value {
    json!({
        "type": "object",
        "title": "InactiveToken",
        "required": ["active"],
        "properties": {"active": {"type": "boolean", "const": false}},
    })
}

fn metadata(id: &str, summary: &str, description: &str, schema: &Value) -> Value {
    json!({
        "operationId": id,
        "tags": [TAG.0],
        "summary": summary,
        "description": description,
        "security": [],
        "responses": {"200": {
            "description": "The metadata",
            "content": {"application/json": {"schema": schema}},
        }},
    })
}
