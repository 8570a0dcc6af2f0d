//! The header that tells a client that its credential ends soon.

use axum::response::Response;
use http::{HeaderName, HeaderValue};

use super::Decision;

const CREDENTIAL_EXPIRES: HeaderName = HeaderName::from_static("credential-expires");

/// When the caller's credential or secret ends (RFC 3339), if that is near.
pub(super) fn announced(decision: &Decision) -> Option<HeaderValue> {
    let Decision::Allowed(access) = decision else {
        return None;
    };
    // Its characters are those of a date.
    HeaderValue::try_from(access.ends_soon()?.to_string()).ok()
}

pub(super) fn announce(ends: Option<&HeaderValue>, mut answer: Response) -> Response {
    if let Some(ends) = ends {
        answer
            .headers_mut()
            .insert(CREDENTIAL_EXPIRES, ends.clone());
    }
    answer
}
