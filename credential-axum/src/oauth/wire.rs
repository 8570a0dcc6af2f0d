//! The JSON of the OAuth endpoints, and the errors of RFC 6749 §5.2.

use std::borrow::Cow;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

/// RFC 6749 §5.1.
#[derive(Serialize)]
pub(super) struct TokenAnswer<'a> {
    pub(super) access_token: &'a str,
    pub(super) token_type: &'static str,
    pub(super) expires_in: u64,
    pub(super) scope: &'a str,
}

/// RFC 7662 §2.2, of an active token; `tenant` and `api_type` are ours. Times are in seconds
/// since the Unix epoch.
#[derive(Serialize)]
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

/// All that is said of a token that is not active, not the caller's to see, or no token.
pub(super) const INACTIVE: &str = r#"{"active":false}"#;

/// RFC 8414 §2.
#[derive(Serialize)]
pub(super) struct ServerMetadata<'a> {
    pub(super) issuer: &'a str,
    pub(super) token_endpoint: &'a str,
    pub(super) token_endpoint_auth_methods_supported: &'a [&'a str],
    pub(super) introspection_endpoint: &'a str,
    pub(super) introspection_endpoint_auth_methods_supported: &'a [&'a str],
    pub(super) revocation_endpoint: &'a str,
    pub(super) revocation_endpoint_auth_methods_supported: &'a [&'a str],
    pub(super) grant_types_supported: &'a [&'a str],
    /// Required, and empty: no grant here goes through an authorization endpoint.
    pub(super) response_types_supported: &'a [&'a str],
    pub(super) scopes_supported: Vec<&'a str>,
}

/// SMART App Launch 2.2, `.well-known/smart-configuration`.
#[derive(Serialize)]
pub(super) struct SmartConfiguration<'a> {
    pub(super) token_endpoint: &'a str,
    pub(super) token_endpoint_auth_methods_supported: &'a [&'a str],
    pub(super) introspection_endpoint: &'a str,
    pub(super) revocation_endpoint: &'a str,
    pub(super) grant_types_supported: &'a [&'a str],
    pub(super) scopes_supported: Vec<&'a str>,
    pub(super) capabilities: &'a [&'a str],
    /// Required by the specification, also where no authorization endpoint uses it.
    pub(super) code_challenge_methods_supported: &'a [&'a str],
}

#[derive(Serialize)]
struct ErrorAnswer<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'a str>,
}

/// Why an OAuth request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OAuthError {
    /// `400 invalid_request`, with what is wrong with it.
    InvalidRequest(Cow<'static, str>),
    /// `413`, otherwise as `InvalidRequest`.
    TooLarge(Cow<'static, str>),
    /// `401 invalid_client`: one answer, whatever the reason.
    InvalidClient {
        /// A resource server's bearer secret would have been accepted.
        bearer: bool,
    },
    /// `400 unsupported_grant_type`.
    UnsupportedGrantType,
    /// `400 invalid_scope`.
    InvalidScope(String),
    /// `400 invalid_target` (RFC 8707 §2).
    InvalidTarget(String),
    /// `405`, with the methods that are allowed.
    MethodNotAllowed(&'static str),
    /// `503`: nothing can be said about the request now.
    Unavailable {
        /// When to try again, in seconds.
        retry_after: u64,
    },
    /// `500`: the fault is ours.
    Server,
}

impl OAuthError {
    /// For want of an answer of the store, which is asked again at the next request.
    pub(super) const UNAVAILABLE: Self = Self::Unavailable { retry_after: 1 };

    pub(super) fn invalid_request(why: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidRequest(why.into())
    }

    fn parts(&self) -> (StatusCode, &'static str, Option<&str>) {
        match self {
            Self::InvalidRequest(why) => (StatusCode::BAD_REQUEST, "invalid_request", Some(why)),
            Self::TooLarge(why) => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", Some(why)),
            Self::InvalidClient { .. } => (
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                Some("client authentication failed"),
            ),
            Self::UnsupportedGrantType => (
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                Some("only client_credentials is supported"),
            ),
            Self::InvalidScope(why) => (StatusCode::BAD_REQUEST, "invalid_scope", Some(why)),
            Self::InvalidTarget(why) => (StatusCode::BAD_REQUEST, "invalid_target", Some(why)),
            Self::MethodNotAllowed(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                Some("the method is not allowed here"),
            ),
            // Not in RFC 6749 §5.2, which knows no such case for this endpoint; the word is that
            // of §4.1.2.1.
            Self::Unavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                None,
            ),
            Self::Server => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", None),
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let (status, error, description) = self.parts();
        let description = description.map(describable);
        let mut response = no_store_json(&ErrorAnswer {
            error,
            error_description: description.as_deref(),
        });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        match self {
            Self::InvalidClient { bearer } => challenge(headers, bearer),
            Self::MethodNotAllowed(methods) => {
                headers.insert(ALLOW, HeaderValue::from_static(methods));
            }
            Self::Unavailable { retry_after } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(retry_after));
            }
            _ => {}
        }
        response
    }
}

/// `WWW-Authenticate`, one line per scheme that would be accepted.
fn challenge(headers: &mut HeaderMap, bearer: bool) {
    headers.append(
        WWW_AUTHENTICATE,
        HeaderValue::from_static(r#"Basic realm="oauth2", charset="UTF-8""#),
    );
    if bearer {
        headers.append(
            WWW_AUTHENTICATE,
            HeaderValue::from_static(r#"Bearer realm="oauth2""#),
        );
    }
}

/// The characters that `error_description` may hold: `%x20-21 / %x23-5B / %x5D-7E` (RFC 6749
/// §5.2).
fn describable(text: &str) -> Cow<'_, str> {
    let fits = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
    if text.chars().all(fits) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .map(|c| if fits(c) { c } else { '?' })
        .collect()
}

/// A `200` with JSON that nobody may keep.
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

/// A `200` that says it is JSON and that nobody may keep it.
pub(super) fn no_store(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_keep_to_their_alphabet() {
        assert_eq!(describable("unknown scope `a`"), "unknown scope `a`");
        assert_eq!(describable("a\"b\\c\nd é"), "a?b?c?d ?");
    }
}
