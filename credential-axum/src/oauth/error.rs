//! The refusals of the OAuth endpoints (RFC 6749 §5.2).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::answer::no_store_json;

/// Why an OAuth request was refused (RFC 6749 §5.2).
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "OAuthError")
)]
pub(super) struct ErrorAnswer<'a> {
    /// For programs.
    error: &'a str,
    /// For people.
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
    /// `401 invalid_client`: the request has no client authentication, or half of one.
    NoClient,
    /// `401 invalid_client` for a signed assertion, with what its sender has to mend.
    BadAssertion(String),
    /// `400 invalid_grant`, of an assertion that is the grant.
    InvalidGrant(String),
    /// `400 unsupported_grant_type`.
    UnsupportedGrantType,
    /// `400 unsupported_response_type` (RFC 6749 §4.1.2.1).
    UnsupportedResponseType,
    /// `400 invalid_scope`.
    InvalidScope(String),
    /// `400 invalid_target` (RFC 8707 §2).
    InvalidTarget(String),
    /// `405`, with the methods that are allowed.
    MethodNotAllowed(&'static str),
    /// `503`: the request cannot be decided now.
    Unavailable {
        /// When to try again, in seconds.
        retry_after: u64,
    },
    /// `500`: the fault is ours.
    Server,
}

impl OAuthError {
    /// The store did not answer. It is asked again at the next request.
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
            Self::NoClient => (
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                Some(
                    "the request has no client authentication: send client_id and client_secret, by HTTP \
                     Basic or in the body, or a client_assertion",
                ),
            ),
            Self::BadAssertion(why) => (StatusCode::UNAUTHORIZED, "invalid_client", Some(why)),
            Self::InvalidGrant(why) => (StatusCode::BAD_REQUEST, "invalid_grant", Some(why)),
            Self::UnsupportedGrantType => (
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                Some(
                    "supported are client_credentials and urn:ietf:params:oauth:grant-type:jwt-bearer",
                ),
            ),
            Self::UnsupportedResponseType => (
                StatusCode::BAD_REQUEST,
                "unsupported_response_type",
                Some(
                    "nobody signs in here: programs get tokens from the token endpoint, with the \
                     grant client_credentials",
                ),
            ),
            Self::InvalidScope(why) => (StatusCode::BAD_REQUEST, "invalid_scope", Some(why)),
            Self::InvalidTarget(why) => (StatusCode::BAD_REQUEST, "invalid_target", Some(why)),
            Self::MethodNotAllowed(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                Some("the method is not allowed here"),
            ),
            // RFC 6749 §5.2 has no such case for this endpoint; the code is that of §4.1.2.1.
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
            // RFC 6749 §5.2 asks for it where the client used the header; others do not mind.
            Self::NoClient | Self::BadAssertion(_) => challenge(headers, false),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_keep_to_their_alphabet() {
        assert_eq!(describable("unknown scope `a`"), "unknown scope `a`");
        assert_eq!(describable("a\"b\\c\nd é"), "a?b?c?d ?");
    }
}
