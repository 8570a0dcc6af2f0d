//! Answers as gzip (RFC 1952), for those who take it.
//!
//! Only what holds no secret is compressed: the length of a compressed answer tells something of its content.

use std::io::Write as _;

use axum::{
    body::{Body, Bytes, HttpBody as _, to_bytes},
    response::{IntoResponse as _, Response},
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::problem::Problem;

/// Below it, an answer fits in a packet as it is.
const WORTH_IT: usize = 2048;
/// Longer answers are streamed, and left as they are.
const MOST: usize = 4 * 1024 * 1024;

/// The same as gzip.
pub(crate) fn gzip(content: &[u8], level: Compression) -> Bytes {
    let mut gzip = GzEncoder::new(Vec::new(), level);
    let gzip = gzip.write_all(content).and_then(|()| gzip.finish());
    // Writing to a `Vec` cannot fail. An empty one is never sent.
    gzip.unwrap_or_default().into()
}

/// Whether gzip is named and not refused (`q=0`), by RFC 9110 §12.5.3.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let codings = values.filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = |weight: &str| {
            let (name, value) = weight.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0_f32)
        };
        named && !parts.any(refused)
    })
}

/// The answer to a GET, smaller if that is worth it. One with an `ETag` stays as it is: the tag names its bytes.
pub(crate) async fn shrink(response: Response) -> Response {
    let headers = response.headers();
    let size = response.body().size_hint().exact();
    let is_worth_it = size.is_some_and(|size| {
        usize::try_from(size).is_ok_and(|size| (WORTH_IT..=MOST).contains(&size))
    });
    if !is_worth_it
        || response.status() != StatusCode::OK
        || headers.contains_key(header::ETAG)
        || headers.contains_key(header::CONTENT_ENCODING)
    {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(plain) = to_bytes(body, MOST).await else {
        return Problem::unavailable().into_response();
    };
    let small = gzip(&plain, Compression::fast());
    let small = if small.is_empty() {
        plain
    } else {
        let encoding = HeaderValue::from_static("gzip");
        parts.headers.insert(header::CONTENT_ENCODING, encoding);
        parts.headers.remove(header::CONTENT_LENGTH);
        small
    };
    Response::from_parts(parts, Body::from(small))
}
