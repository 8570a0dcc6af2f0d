//! Refusals of the admin API as problem details (RFC 9457).

use std::{borrow::Cow, error::Error, time::Duration};

use axum::response::{IntoResponse, Response};
use credential_core::manage::{Fault, ManageError};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::{cross_site::CrossSite, sign_in::SignInError};

/// Why a request was refused, as `application/problem+json`. Hosts may answer alike with it.
///
/// Programs decide on `code`; its meaning is the same as that of `type`, which is
/// `urn:problem-type:credential:<code>`: a name, the same on every host, behind which there is
/// nothing to load. Always `Cache-Control: no-store`; 503 with `Retry-After: 1`, 429 with the seconds
/// after which the tenant's own queue has room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<Fault>,
    /// In seconds.
    retry_after: Option<u64>,
}

impl Problem {
    /// A problem of the host's own. `title` is the same for every problem of that `code`;
    /// `detail` says what to do about this one. Neither must repeat what could be a secret.
    #[must_use]
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
        }
    }

    /// Nobody is signed in: 401.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Not signed in",
            "Sign in and try again.",
        )
    }

    /// Signed in, and not an admin: 403.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "Admins only",
            "Only admins manage API credentials. Ask an admin of your account.",
        )
    }

    /// Nothing that the caller may know of: 404.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Not found",
            "There is nothing at this address.",
        )
    }

    /// No verdict now: 503.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Temporarily unavailable",
            "This cannot be answered right now. Try again in a moment.",
        )
    }

    /// Every fault of the request: 422.
    #[must_use]
    pub fn invalid(errors: Vec<Fault>) -> Self {
        let detail: Cow<'_, _> = match errors.len() {
            1 => "One thing in the request needs to be corrected; see `errors`.".into(),
            n => format!("{n} things in the request need to be corrected; see `errors`.").into(),
        };
        let problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "Invalid request",
            detail,
        );
        Self { errors, ..problem }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong with which field; empty unless the request is invalid.
    #[must_use]
    pub fn errors(&self) -> &[Fault] {
        &self.errors
    }

    #[cfg(feature = "openapi")]
    pub(crate) fn title(&self) -> &'static str {
        self.title
    }

    /// In seconds.
    #[cfg(feature = "openapi")]
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    pub(crate) fn tenant_changed() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "tenant_changed",
            "Signed in elsewhere",
            "The request was made for another account than the one you are signed in to now. Nothing \
             was done. Load the page anew.",
        )
    }

    pub(crate) fn no_such_credential() -> Self {
        Self {
            detail: "There is no such credential.".into(),
            ..Self::not_found()
        }
    }

    pub(crate) fn no_such_secret() -> Self {
        Self {
            detail: "There is no such secret of this credential, or no such credential.".into(),
            ..Self::not_found()
        }
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            "This address does not support that method; `Allow` names those it supports.",
        )
    }

    pub(crate) fn self_service_unavailable() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "self_service_unavailable",
            "Self-service is off",
            "API credentials cannot be created or changed here. Contact the platform's support.",
        )
    }

    pub(crate) fn payload_too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            "Request too large",
            format!("Send at most {} KiB.", limit / 1024),
        )
    }

    pub(crate) fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Unsupported media type",
            "Send JSON with `Content-Type: application/json`.",
        )
    }

    pub(crate) fn malformed() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed",
            "Malformed request",
            "The body is not valid JSON in UTF-8, or it is not complete.",
        )
    }

    pub(crate) fn malformed_key() -> Self {
        Self {
            detail: "Send one `Idempotency-Key`: 1 to 255 visible ASCII characters, bare or as a quoted string."
                .into(),
            ..Self::malformed()
        }
    }

    fn rate_limited(retry_after: Duration) -> Self {
        let seconds = retry_after.as_secs();
        let problem = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "Too many requests",
            format!(
                "Too many requests of your account are waiting, and this one was not carried out. \
                 Try again in {seconds} s, and send fewer at the same time."
            ),
        );
        Self {
            retry_after: Some(seconds),
            ..problem
        }
    }

    fn api_type_immutable(errors: Vec<Fault>) -> Self {
        let problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "api_type_immutable",
            "The API type is final",
            "The API type of a credential cannot be changed. Create a new credential for the \
             other API.",
        );
        Self { errors, ..problem }
    }
}

/// Why a request was refused (RFC 9457).
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "Problem")
)]
pub(crate) struct ProblemJson<'a> {
    /// `urn:problem-type:credential:` and the `code`.
    r#type: String,
    /// The same for every problem of that `code`.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What to do about this one, for people.
    detail: &'a str,
    /// For programs: it never changes its meaning.
    code: &'a str,
    /// Every fault of an invalid request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FaultJson<'a>>,
}

/// A field and what is wrong with it.
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "Fault")
)]
struct FaultJson<'a> {
    /// Its name in the request; empty: the request as a whole.
    field: &'a str,
    /// For programs, such as `required` or `unknown_scope`.
    code: &'a str,
    /// For people.
    message: &'a str,
}

impl Problem {
    /// The body.
    pub(crate) fn json(&self) -> ProblemJson<'_> {
        let errors = self.errors.iter().map(|fault| FaultJson {
            field: &fault.field,
            code: fault.code,
            message: &fault.message,
        });
        ProblemJson {
            r#type: format!("urn:problem-type:credential:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            errors: errors.collect(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.json())).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<CrossSite> for Problem {
    fn from(_: CrossSite) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "cross_site",
            "Request from another site",
            "This request came from another website and was refused. Open the page here and try \
             again.",
        )
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        error.log();
        Self::unavailable()
    }
}

impl From<ManageError> for Problem {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::SelfServiceUnavailable => Self::self_service_unavailable(),
            ManageError::NotFound => Self::no_such_credential(),
            ManageError::Revoked => Self::new(
                StatusCode::CONFLICT,
                "revoked",
                "The credential is revoked",
                "A revoked credential stays revoked and cannot be changed. Create a new one.",
            ),
            ManageError::VersionRequired => Self::new(
                StatusCode::PRECONDITION_REQUIRED,
                "precondition_required",
                "Version needed",
                "Load the credential and send its `ETag` as `If-Match`, so that nobody else's \
                 change is lost.",
            ),
            ManageError::StaleVersion => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "stale_version",
                "Not the present version",
                "The `If-Match` is not the credential's present `ETag`: it was changed in the \
                 meantime, or the tag is of something else. Load it again and repeat your change.",
            ),
            ManageError::Invalid(faults) => Self::invalid(faults),
            ManageError::ApiTypeImmutable(faults) => Self::api_type_immutable(faults),
            ManageError::NameTaken => Self::new(
                StatusCode::CONFLICT,
                "name_taken",
                "The name is taken",
                "Another credential has this name. Choose a different one.",
            ),
            ManageError::TooManySecrets => Self::new(
                StatusCode::CONFLICT,
                "too_many_secrets",
                "Two secrets are live",
                "This credential has two live secrets already. End one of them first, or let both end \
                 now.",
            ),
            ManageError::LastProof => Self::new(
                StatusCode::CONFLICT,
                "last_proof",
                "The last proof",
                "Nothing would be left for the client to prove itself with. Add a secret or a key \
                 first, or disable or revoke the credential.",
            ),
            ManageError::LimitReached { limit } => Self::new(
                StatusCode::CONFLICT,
                "limit_reached",
                "Limit reached",
                format!(
                    "You have {limit} credentials, which is the most possible. Revoke one that is \
                     no longer needed, or contact the platform's support."
                ),
            ),
            ManageError::IdempotencyKeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "The key was used for another request",
                "Another request was carried out with this `Idempotency-Key`. Repeat that one as it was, or \
                 choose a new key for this one.",
            ),
            ManageError::IdempotencyInProgress => Self::new(
                StatusCode::CONFLICT,
                "idempotency_in_progress",
                "Still running",
                "A request with this `Idempotency-Key` is still running. Repeat it in a moment to get its \
                 answer.",
            ),
            ManageError::RateLimited { retry_after } => Self::rate_limited(retry_after),
            ManageError::NoTrail => Self::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "No audit trail",
                "The audit trail cannot be read here.",
            ),
            ManageError::NoUsage => Self::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "No usage",
                "How keys are used is not kept here.",
            ),
            // Core counts calls that the store does not answer, and logs them at a bounded rate.
            error @ (ManageError::Hash(_) | ManageError::Store(_)) => {
                tracing::debug!(error = &error as &dyn Error, "no verdict on a request");
                Self::unavailable()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unavailable_service_says_when_to_try_again() {
        let response = Problem::unavailable().into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
    }
}
