//! The `Authorization` header, read strictly: one header, one scheme, one value.

use http::{HeaderMap, header::AUTHORIZATION};

/// What the `Authorization` header holds (RFC 9110 §11.6.2).
///
/// No `Debug`: the value is a secret.
#[derive(Clone, Copy)]
pub(crate) enum Authorization<'a> {
    /// No such header.
    Absent,
    /// Exactly one header, `<scheme> <value>`; `value` is empty if there is only a scheme.
    One {
        /// The scheme as sent; compare without case.
        scheme: &'a str,
        /// Everything after the spaces that follow the scheme.
        value: &'a str,
    },
    /// Several headers: two parsers may choose different ones.
    Repeated,
    /// Not text.
    Unreadable,
}

impl<'a> Authorization<'a> {
    /// Whether any of the headers has that scheme.
    pub(crate) fn any_is(headers: &HeaderMap, scheme: &str) -> bool {
        headers.get_all(AUTHORIZATION).iter().any(|header| {
            let sent = header
                .as_bytes()
                .split(|byte| matches!(byte, b' ' | b'\t' | b','))
                .next();
            sent.is_some_and(|sent| sent.eq_ignore_ascii_case(scheme.as_bytes()))
        })
    }

    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let Some(header) = all.next() else {
            return Self::Absent;
        };
        if all.next().is_some() {
            return Self::Repeated;
        }
        // Why not `to_str`, which checks for visible ASCII byte by byte: every reader of the value
        // compares it as a whole or decodes a stricter alphabet.
        let Ok(text) = std::str::from_utf8(header.as_bytes()) else {
            return Self::Unreadable;
        };
        let (scheme, value) = text.split_once(' ').unwrap_or((text, ""));
        Self::One {
            scheme,
            value: value.trim_matches(' '),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(values: &[&'static [u8]]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        match Authorization::of(&headers) {
            Authorization::One { scheme, value } => Some((scheme.to_owned(), value.to_owned())),
            _ => None,
        }
    }

    #[test]
    fn one_header_of_one_scheme() {
        let pair = |scheme: &str, value: &str| Some((scheme.to_owned(), value.to_owned()));
        assert_eq!(read(&[b"Bearer abc"]), pair("Bearer", "abc"));
        assert_eq!(read(&[b"bearer   abc"]), pair("bearer", "abc"));
        assert_eq!(read(&[b"Bearer"]), pair("Bearer", ""));
        assert_eq!(
            read(&[b"Bearer abc, Basic x"]),
            pair("Bearer", "abc, Basic x")
        );
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[b"Bearer abc", b"Bearer abc"]), None);
        assert_eq!(read(&[b"Bearer \xff"]), None);
    }
}
