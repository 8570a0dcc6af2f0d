//! Entity tags: `ETag` out, `If-Match` in (RFC 9110 §8.8.3, §13.1.1).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use credential_core::manage::Expected;
use http::{HeaderMap, HeaderValue, header, request::Parts};

/// `"<version>"`.
pub(super) fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The value of `If-Match`; `None` without one.
#[derive(Debug)]
pub(super) struct IfMatch(pub(super) Option<Expected>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(expected(&parts.headers)))
    }
}

/// Several lines count as one list (RFC 9110 §5.3). A tag that is not ours, or text that is no tag,
/// matches no version.
///
/// A weak tag counts like a strong one, contrary to RFC 9110 §13.1.1: proxies that compress an
/// answer weaken its tag, and the version is compared here, not bytes.
fn expected(headers: &HeaderMap) -> Option<Expected> {
    let lines: Vec<&[u8]> = headers
        .get_all(header::IF_MATCH)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.is_empty() {
        return None;
    }
    let joined = lines.join(&b',');
    if joined.trim_ascii() == b"*" {
        return Some(Expected::Any);
    }
    // A list that breaks the grammar anywhere matches nothing.
    Some(Expected::OneOf(versions(&joined).unwrap_or_default()))
}

fn versions(mut list: &[u8]) -> Option<Vec<u64>> {
    let mut versions = Vec::new();
    loop {
        list = list.trim_ascii_start();
        while let Some(rest) = list.strip_prefix(b",") {
            list = rest.trim_ascii_start();
        }
        if list.is_empty() {
            return Some(versions);
        }
        let quoted = list.strip_prefix(b"W/").unwrap_or(list);
        let opaque = quoted.strip_prefix(b"\"")?;
        let end = opaque.iter().position(|byte| *byte == b'"')?;
        let (tag, rest) = opaque.split_at_checked(end)?;
        list = rest.strip_prefix(b"\"")?.trim_ascii_start();
        if !(list.is_empty() || list.starts_with(b",")) {
            return None;
        }
        versions.extend(version(tag));
    }
}

/// A version exactly as [`etag`] writes it.
fn version(tag: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(tag).ok()?;
    let version: u64 = text.parse().ok()?;
    (version.to_string() == text).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&'static str]) -> Option<Expected> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append(header::IF_MATCH, value);
        }
        expected(&headers)
    }

    #[test]
    fn what_is_written_is_read() {
        for number in [0, 1, 42, u64::MAX] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, etag(number).parse().unwrap());
            assert_eq!(expected(&headers), Some(Expected::OneOf(vec![number])));
        }
    }

    #[test]
    fn the_table_of_headers() {
        assert_eq!(of(&[]), None);
        let table: &[(&[&'static str], &[u64])] = &[
            (&["\"3\""], &[3]),
            (&["  \"3\"  "], &[3]),
            (&["\"3\", \"5\""], &[3, 5]),
            (&["\"3\",,\"5\","], &[3, 5]),
            (&["\"3\"", "\"5\""], &[3, 5]),
            (&["W/\"3\""], &[3]),
            (&["W/\"3\", \"5\""], &[3, 5]),
            (&["W/\"03\""], &[]),
            (&["W/3"], &[]),
            (&["W/ \"3\""], &[]),
            (&["W/W/\"3\""], &[]),
            (&["W/*"], &[]),
            (&["\"abc\", \"5\""], &[5]),
            (&["\"a,b\", \"5\""], &[5]),
            (&["\"03\""], &[]),
            (&["\"+3\""], &[]),
            (&["\" 3\""], &[]),
            (&["\"\""], &[]),
            (&["\"99999999999999999999999\""], &[]),
            (&["3"], &[]),
            (&[""], &[]),
            (&["\"3"], &[]),
            (&["\"3\" \"5\""], &[]),
            (&["\"3\"5"], &[]),
            (&["*, \"3\""], &[]),
            (&["*", "*"], &[]),
            (&["\"é\", \"5\""], &[5]),
            (&["w/\"3\""], &[]),
        ];
        for (lines, versions) in table {
            assert_eq!(
                of(lines),
                Some(Expected::OneOf(versions.to_vec())),
                "{lines:?}"
            );
        }
        assert_eq!(of(&["*"]), Some(Expected::Any));
        assert_eq!(of(&[" * "]), Some(Expected::Any));
    }
}
