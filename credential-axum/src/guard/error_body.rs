//! Refusals of the guard, in the shape that an API's clients know.

use axum::response::{IntoResponse, Response};
use credential_core::catalog::ErrorBody;
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};

use super::{challenge::Challenge, denial::Denial};
use crate::problem::Problem;

/// Why a call was refused: in the extensions of every refusal of [`Guard`](crate::Guard),
/// [`Access`](crate::Access) and forward-auth, for a host whose clients know an error body of another
/// shape than the catalogue's `error_body` names.
///
/// ```
/// use axum::{Json, Router, middleware::map_response, response::{IntoResponse, Response}};
/// use credential_axum::CallRefused;
/// use serde_json::json;
///
/// /// Status and headers stay as they are; only the body is the host's own.
/// async fn our_errors(response: Response) -> Response {
///     let Some(refused) = response.extensions().get::<CallRefused>() else {
///         return response;
///     };
///     let ours = Json(json!({"error": {"type": refused.code, "message": refused.detail}}));
///     let (mut parts, _) = response.into_parts();
///     let ours = ours.into_response();
///     parts.headers.remove("content-length");
///     parts.headers.extend(ours.headers().clone());
///     Response::from_parts(parts, ours.into_body())
/// }
///
/// # fn mounted(api_behind_its_guard: Router) -> Router {
/// api_behind_its_guard.layer(map_response(our_errors)) // after the guard: outside of it
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CallRefused {
    /// A word that does not change, such as `insufficient_scope`.
    pub code: &'static str,
    /// The word's meaning.
    pub title: &'static str,
    /// What is wrong with this call, for its caller.
    pub detail: String,
}

/// The answer to a call that may not go on.
pub(crate) fn refusal(denial: &Denial, shape: ErrorBody, challenge: &Challenge) -> Response {
    let words = RefusalWords::of(denial);
    let detail = denial.to_string();
    let mut response = match shape {
        ErrorBody::Problem => {
            Problem::new(words.status, words.code, words.title, detail.clone()).into_response()
        }
        ErrorBody::Detail => json_response("application/json", &json!({ "detail": detail })),
        ErrorBody::OperationOutcome => json_response(
            "application/fhir+json",
            &json!({
                "resourceType": "OperationOutcome",
                "issue": [{
                    "severity": "error",
                    "code": words.issue,
                    "diagnostics": detail,
                }],
            }),
        ),
    };
    *response.status_mut() = words.status;
    response.extensions_mut().insert(CallRefused {
        code: words.code,
        title: words.title,
        detail,
    });
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(challenge) = challenge.to(denial) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    match denial {
        Denial::Unavailable => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Denial::Trace => {
            headers.insert(
                ALLOW,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
            );
        }
        _ => {}
    }
    response
}

/// The words of the shapes for a denial.
struct RefusalWords {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    /// <https://hl7.org/fhir/R4/valueset-issue-type.html>
    issue: &'static str,
}

impl RefusalWords {
    fn of(denial: &Denial) -> Self {
        let (status, code, title, issue) = match denial {
            Denial::BadRequest(_) => (
                StatusCode::BAD_REQUEST,
                "malformed",
                "Malformed request",
                "invalid",
            ),
            Denial::Trace => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
                "not-supported",
            ),
            Denial::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "Body too large",
                "invalid",
            ),
            Denial::NoToken { .. } | Denial::InvalidToken { .. } | Denial::MayNotActFor { .. } => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "No valid access token",
                "login",
            ),
            Denial::AddressNotAllowed => (
                StatusCode::FORBIDDEN,
                "address_not_allowed",
                "Address not allowed",
                "forbidden",
            ),
            Denial::OtherApiType { .. } | Denial::InsufficientScope { .. } => (
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "Insufficient scope",
                "forbidden",
            ),
            Denial::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Temporarily unavailable",
                "transient",
            ),
        };
        Self {
            status,
            code,
            title,
            issue,
        }
    }
}

fn json_response(content_type: &'static str, body: &Value) -> Response {
    let content_type = HeaderValue::from_static(content_type);
    ([(CONTENT_TYPE, content_type)], body.to_string()).into_response()
}
