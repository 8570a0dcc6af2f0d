//! A layer for answers that a browser may be made to open.

use axum::response::Response;
use http::{HeaderValue, header};

/// Tells browsers to take an answer for what its `Content-Type` says (Fetch §3.6). For
/// `axum::middleware::map_response`.
pub(crate) async fn no_sniff(mut response: Response) -> Response {
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
