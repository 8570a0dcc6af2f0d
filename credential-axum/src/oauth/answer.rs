//! The answers of the OAuth endpoints.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use credential_core::clock::Timestamp;
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA},
};
use serde::Serialize;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Seconds since the Unix epoch.
pub(super) fn seconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(MICROS_PER_SECOND)
}

/// RFC 6749 §5.1.
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "Token")
)]
pub(super) struct TokenAnswer<'a> {
    pub(super) access_token: &'a str,
    pub(super) token_type: &'static str,
    /// In seconds.
    pub(super) expires_in: u64,
    /// What the token may do now. Without `scope` in the request it follows the credential.
    pub(super) scope: &'a str,
    /// RFC 7591 §3.2.1: when the client's secret ends, in seconds since the Unix epoch. Only if that is near.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_secret_expires_at: Option<i64>,
}

/// RFC 7662 §2.2, of an active token; `tenant` and `api_type` are ours. Times are in seconds
/// since the Unix epoch.
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "ActiveToken")
)]
pub(super) struct ActiveToken<'a> {
    pub(super) active: bool,
    pub(super) scope: &'a str,
    pub(super) client_id: &'a str,
    pub(super) token_type: &'static str,
    pub(super) exp: i64,
    pub(super) iat: i64,
    pub(super) iss: &'a str,
    pub(super) sub: &'a str,
    pub(super) aud: &'a str,
    pub(super) tenant: &'a str,
    pub(super) api_type: &'a str,
}

/// The answer for a token that is inactive, that the caller may not see, or that is none.
pub(super) const INACTIVE: &str = r#"{"active":false}"#;

/// RFC 8414 §2. What would be empty is left out (§3.2).
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub(super) struct ServerMetadata<'a> {
    pub(super) issuer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) authorization_endpoint: Option<&'a str>,
    pub(super) token_endpoint: &'a str,
    pub(super) token_endpoint_auth_methods_supported: &'a [&'a str],
    pub(super) token_endpoint_auth_signing_alg_values_supported: &'a [&'a str],
    pub(super) introspection_endpoint: &'a str,
    pub(super) introspection_endpoint_auth_methods_supported: &'a [&'a str],
    pub(super) introspection_endpoint_auth_signing_alg_values_supported: &'a [&'a str],
    pub(super) revocation_endpoint: &'a str,
    pub(super) revocation_endpoint_auth_methods_supported: &'a [&'a str],
    pub(super) revocation_endpoint_auth_signing_alg_values_supported: &'a [&'a str],
    pub(super) grant_types_supported: &'a [&'a str],
    /// Required, also where no grant goes through an authorization endpoint.
    pub(super) response_types_supported: &'a [&'a str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) scopes_supported: Vec<&'a str>,
}

/// RFC 9728 §2. What would be empty is left out (§3.2).
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub(super) struct ResourceMetadata<'a> {
    pub(super) resource: &'a str,
    pub(super) authorization_servers: &'a [&'a str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) scopes_supported: Vec<&'a str>,
    pub(super) bearer_methods_supported: &'a [&'a str],
    pub(super) resource_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource_documentation: Option<&'a str>,
}

/// SMART App Launch 2.2, `.well-known/smart-configuration`.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub(super) struct SmartConfiguration<'a> {
    pub(super) token_endpoint: &'a str,
    pub(super) token_endpoint_auth_methods_supported: &'a [&'a str],
    pub(super) token_endpoint_auth_signing_alg_values_supported: &'a [&'a str],
    pub(super) introspection_endpoint: &'a str,
    pub(super) revocation_endpoint: &'a str,
    pub(super) grant_types_supported: &'a [&'a str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) scopes_supported: Vec<&'a str>,
    pub(super) capabilities: &'a [&'a str],
    /// Required by the specification, also where no authorization endpoint uses it.
    pub(super) code_challenge_methods_supported: &'a [&'a str],
}

/// A `200` with JSON and `Cache-Control: no-store`.
pub(super) fn no_store_json(answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(json) => no_store(json.into()),
        // Unreachable: these types have string keys and no fallible `Serialize`.
        Err(error) => {
            tracing::error!(%error, "an OAuth answer could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A `200` of JSON with `Cache-Control: no-store`.
pub(super) fn no_store(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
