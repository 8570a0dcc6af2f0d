//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use credential_core::manage::IdempotencyKey;
use http::{HeaderMap, request::Parts};
use zeroize::Zeroizing;

use crate::problem::Problem;

const NAME: &str = "idempotency-key";

/// The request's `Idempotency-Key`. What is no key is refused by [`get`](Self::get), so that a body that cannot be
/// read is refused first.
#[derive(Debug)]
pub(super) struct OptionalKey(Result<Option<IdempotencyKey>, NotAKey>);

#[derive(Debug, PartialEq, Eq)]
struct NotAKey;

impl OptionalKey {
    pub(super) fn get(self) -> Result<Option<IdempotencyKey>, Problem> {
        self.0.map_err(|NotAKey| Problem::malformed_key())
    }
}

impl<S: Sync> FromRequestParts<S> for OptionalKey {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(sent(&parts.headers)))
    }
}

fn sent(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, NotAKey> {
    let mut lines = headers.get_all(NAME).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(NotAKey);
    }
    let text = line.to_str().map_err(|_| NotAKey)?.trim_ascii();
    let key = match text.strip_prefix('"') {
        Some(quoted) => IdempotencyKey::new(&unquoted(quoted)?),
        // Why at all: clients of other services send it so.
        None => IdempotencyKey::new(text),
    };
    key.map(Some).map_err(|_| NotAKey)
}

/// The content of a string of RFC 8941 (§3.3.3), of which the first quote was read. It has no parameters.
fn unquoted(text: &str) -> Result<Zeroizing<String>, NotAKey> {
    let mut content = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars = text.chars();
    loop {
        match chars.next().ok_or(NotAKey)? {
            '"' => break,
            '\\' => {
                let escaped = chars.next().filter(|c| matches!(c, '"' | '\\'));
                content.push(escaped.ok_or(NotAKey)?);
            }
            plain => content.push(plain),
        }
    }
    chars.as_str().is_empty().then_some(content).ok_or(NotAKey)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(lines: &[&str]) -> Result<bool, NotAKey> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append(NAME, line);
        }
        sent(&headers).map(|key| key.is_some())
    }

    #[test]
    fn one_key_bare_or_quoted_is_accepted() {
        let longest = "k".repeat(255);
        let quoted = format!("\"{longest}\"");
        assert_eq!(of(&[]), Ok(false));
        for line in [
            "k",
            "\"k\"",
            " k ",
            "a\"b",
            "a;b,c",
            "!~",
            r#""a\"\\b""#,
            &longest,
            &quoted,
        ] {
            assert_eq!(of(&[line]), Ok(true), "{line}");
        }
    }

    #[test]
    fn anything_else_is_not_a_key() {
        let long = "k".repeat(256);
        let quoted = format!("\"{long}\"");
        for line in [
            "",
            " ",
            "a b",
            "a, b",
            "é",
            "\"\"",
            "\"k",
            "\"",
            "\"a b\"",
            "\"k\";a=1",
            "\"k\" x",
            r#""\k""#,
            r#""k\"#,
            "\"a\tb\"",
            "\"é\"",
            &long,
            &quoted,
        ] {
            assert_eq!(of(&[line]), Err(NotAKey), "{line}");
        }
        assert_eq!(of(&["k", "k"]), Err(NotAKey));
    }

    #[test]
    fn escapes_are_no_part_of_the_key() {
        assert_eq!(*unquoted(r#"a\"\\b""#).unwrap(), r#"a"\b"#);
        assert_eq!(*unquoted("k\"").unwrap(), "k");
    }
}
