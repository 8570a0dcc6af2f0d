//! `application/x-www-form-urlencoded`, read strictly.
//!
//! A lenient parser picks one of two `scope` parameters and replaces broken bytes. Two parsers
//! that pick differently are a way around a check, so here both are refused.

use std::{borrow::Cow, collections::HashSet};

use credential_core::percent::{DecodeError, Decoded, decode};
use http::Uri;

/// The parameters that the OAuth endpoints know. A parameter without a value counts as absent
/// (RFC 6749 §3.2). No `Debug`: some are secrets.
#[derive(Default)]
pub(super) struct Form<'a> {
    pub(super) grant_type: Option<Decoded<'a>>,
    pub(super) client_id: Option<Decoded<'a>>,
    pub(super) client_secret: Option<Decoded<'a>>,
    pub(super) client_assertion_type: Option<Decoded<'a>>,
    pub(super) client_assertion: Option<Decoded<'a>>,
    /// Of the grant of RFC 7523 §2.1.
    pub(super) assertion: Option<Decoded<'a>>,
    pub(super) scope: Option<Decoded<'a>>,
    pub(super) token: Option<Decoded<'a>>,
    /// May be repeated (RFC 8707 §2). An empty one counts: it names nothing.
    pub(super) resources: Vec<Decoded<'a>>,
}

/// Why a body is no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    #[error("the body has a malformed percent-encoding")]
    Encoding,
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("a parameter is repeated")]
    Repeated,
    #[error("there are more than 64 parameters")]
    TooMany,
    #[error("credentials and tokens do not belong in the URL")]
    SecretInQuery,
}

/// The maximum number of parameters, known or not.
const MOST_PARAMETERS: usize = 64;

fn check_count(parameters: &[u8]) -> Result<(), FormError> {
    let separators = parameters.iter().filter(|byte| **byte == b'&');
    if separators.count() >= MOST_PARAMETERS {
        return Err(FormError::TooMany);
    }
    Ok(())
}

impl From<DecodeError> for FormError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Encoding => Self::Encoding,
            DecodeError::NotUtf8 => Self::NotUtf8,
        }
    }
}

impl<'a> Form<'a> {
    /// Reads a whole body. Unknown parameters are ignored, but not repeated ones (RFC 6749 §3.2).
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, FormError> {
        check_count(body)?;
        let body = std::str::from_utf8(body).map_err(|_| FormError::NotUtf8)?;
        let mut form = Self::default();
        let mut seen = Seen::default();
        for pair in body.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if &*name == "resource" {
                form.resources.push(value);
                continue;
            }
            let slot = match &*name {
                "grant_type" => Some((Known::GrantType, &mut form.grant_type)),
                "client_id" => Some((Known::ClientId, &mut form.client_id)),
                "client_secret" => Some((Known::ClientSecret, &mut form.client_secret)),
                "client_assertion_type" => {
                    Some((Known::AssertionType, &mut form.client_assertion_type))
                }
                "client_assertion" => Some((Known::ClientAssertion, &mut form.client_assertion)),
                "assertion" => Some((Known::Assertion, &mut form.assertion)),
                "scope" => Some((Known::Scope, &mut form.scope)),
                "token" => Some((Known::Token, &mut form.token)),
                _ => None,
            };
            let first = match slot {
                Some((known, slot)) => {
                    *slot = Some(value).filter(|value| !value.is_empty());
                    seen.known(known)
                }
                None => seen.unknown(&name),
            };
            if !first {
                return Err(FormError::Repeated);
            }
        }
        Ok(form)
    }
}

#[derive(Clone, Copy)]
enum Known {
    GrantType = 1,
    ClientId = 2,
    ClientSecret = 4,
    Scope = 8,
    Token = 16,
    AssertionType = 32,
    ClientAssertion = 64,
    Assertion = 128,
}

/// The names that have been read. Allocates for unknown names only.
#[derive(Default)]
struct Seen<'a> {
    known: u8,
    unknown: HashSet<Cow<'a, str>>,
}

impl<'a> Seen<'a> {
    fn known(&mut self, name: Known) -> bool {
        let bit = name as u8;
        let first = self.known & bit == 0;
        self.known |= bit;
        first
    }

    fn unknown(&mut self, name: &Decoded<'a>) -> bool {
        self.unknown.insert(match name.as_sent() {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(name.to_string()),
        })
    }
}

/// Refuses a query with a parameter that must stay out of URLs, which are logged (RFC 6749 §2.3.1,
/// RFC 6750 §2.3).
///
/// # Errors
/// `SecretInQuery`; `TooMany` to be looked at.
pub(super) fn check_query(uri: &Uri) -> Result<(), FormError> {
    let query = uri.query().unwrap_or_default();
    check_count(query.as_bytes())?;
    let secret = |pair: &str| {
        let name = decode(pair.split('=').next().unwrap_or_default());
        // A name that cannot be decoded is none of these.
        name.is_ok_and(|name| {
            matches!(
                &*name,
                "client_id"
                    | "client_secret"
                    | "client_assertion"
                    | "assertion"
                    | "access_token"
                    | "token"
            )
        })
    };
    if query.split('&').any(secret) {
        return Err(FormError::SecretInQuery);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(body: &[u8]) -> Result<Option<String>, FormError> {
        Form::parse(body).map(|form| form.scope.map(|text| text.to_string()))
    }

    #[test]
    fn values_are_decoded_as_forms_are() {
        assert_eq!(scope(b"scope=a+b%20c%2Bd"), Ok(Some("a b c+d".to_owned())));
        assert_eq!(scope(b"s%63ope=%C3%A9&x=1"), Ok(Some("é".to_owned())));
        assert_eq!(scope(b"scope=a=b"), Ok(Some("a=b".to_owned())));
    }

    #[test]
    fn empty_is_absent() {
        for body in [&b""[..], b"scope=", b"scope", b"&&", b"=x", b"scope=&x=1"] {
            assert_eq!(scope(body), Ok(None), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn what_parsers_could_read_differently_is_refused() {
        for (body, error) in [
            (&b"scope=a&scope=a"[..], FormError::Repeated),
            (b"scope=&scope=a", FormError::Repeated),
            (b"scope=a&%73cope=b", FormError::Repeated),
            (b"x=1&y=2&x=1", FormError::Repeated),
            (b"scope=%", FormError::Encoding),
            (b"scope=%2", FormError::Encoding),
            (b"scope=%+1", FormError::Encoding),
            (b"%zz=1", FormError::Encoding),
            (b"scope=%ff", FormError::NotUtf8),
            (b"scope=\xff", FormError::NotUtf8),
            (b"x=%c3", FormError::NotUtf8),
            (&[b'&'; 64], FormError::TooMany),
        ] {
            assert_eq!(scope(body), Err(error), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn secrets_in_the_query_are_seen_through_encodings() {
        let seen = |uri: &str| check_query(&uri.parse().unwrap()) == Err(FormError::SecretInQuery);
        assert!(seen("/oauth2/token?client_secret=x"));
        assert!(seen("/oauth2/token?a=1&client%5Fid=x"));
        assert!(!seen("/oauth2/token?trace=1"));
        assert!(!seen("/oauth2/token"));
    }
}
