//! `application/x-www-form-urlencoded`, read strictly.
//!
//! A lenient parser picks one of two `scope` parameters and replaces broken bytes. Two parsers
//! that pick differently are a way around a check, so here both are refused.

use std::{borrow::Cow, collections::HashSet, ops::Deref};

use http::Uri;
use zeroize::Zeroizing;

/// The parameters that the OAuth endpoints know. A parameter without a value counts as absent
/// (RFC 6749 §3.2). No `Debug`: some are secrets.
#[derive(Default)]
pub(super) struct Form<'a> {
    pub(super) grant_type: Option<Text<'a>>,
    pub(super) client_id: Option<Text<'a>>,
    pub(super) client_secret: Option<Text<'a>>,
    pub(super) scope: Option<Text<'a>>,
    pub(super) token: Option<Text<'a>>,
    /// May be repeated (RFC 8707 §2). An empty one counts: it names nothing.
    pub(super) resources: Vec<Text<'a>>,
}

/// A decoded value; what had to be copied is wiped on drop.
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Owned(Zeroizing<String>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
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

/// The most parameters that are looked at, be they known or not.
const MOST_PARAMETERS: usize = 64;

fn check_count(parameters: &[u8]) -> Result<(), FormError> {
    let separators = parameters.iter().filter(|byte| **byte == b'&');
    if separators.count() >= MOST_PARAMETERS {
        return Err(FormError::TooMany);
    }
    Ok(())
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
                "scope" => Some((Known::Scope, &mut form.scope)),
                "token" => Some((Known::Token, &mut form.token)),
                _ => None,
            };
            let first = match slot {
                Some((known, slot)) => {
                    *slot = Some(value).filter(|value| !value.is_empty());
                    seen.known(known)
                }
                None => seen.unknown(name),
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
}

/// Which names have been read. Allocates for unknown names only.
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

    fn unknown(&mut self, name: Text<'a>) -> bool {
        self.unknown.insert(match name {
            Text::Borrowed(name) => Cow::Borrowed(name),
            Text::Owned(name) => Cow::Owned(name.to_string()),
        })
    }
}

/// Decodes one name or value: `+` is a space, `%` needs two hexadecimal digits, the result must
/// be UTF-8.
pub(super) fn decode(text: &str) -> Result<Text<'_>, FormError> {
    // Why counted: a loop that may stop at each byte takes several times as long as one that the
    // compiler can do on many at a time, and almost nothing is encoded.
    let encoded = text.bytes().filter(|byte| matches!(byte, b'+' | b'%'));
    if encoded.count() == 0 {
        return Ok(Text::Borrowed(text));
    }
    // Why wrapped from the start: it may be a secret, also where decoding fails halfway.
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = hex_digit(rest.next())?;
                let low = hex_digit(rest.next())?;
                (high << 4) | low
            }
            plain => plain,
        });
    }
    let text = std::str::from_utf8(&decoded).map_err(|_| FormError::NotUtf8)?;
    Ok(Text::Owned(Zeroizing::new(text.to_owned())))
}

fn hex_digit(byte: Option<u8>) -> Result<u8, FormError> {
    match byte.ok_or(FormError::Encoding)? {
        digit @ b'0'..=b'9' => Ok(digit - b'0'),
        digit @ b'a'..=b'f' => Ok(digit - b'a' + 10),
        digit @ b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(FormError::Encoding),
    }
}

/// Refuses a query with a parameter that must stay out of URLs, which are logged (RFC 6749 §2.3.1,
/// RFC 6750 §2.3).
///
/// # Errors
/// `SecretInQuery`; `TooMany` to be looked at.
pub(super) fn check_query(uri: &Uri) -> Result<(), FormError> {
    let query = uri.query().unwrap_or_default().as_bytes();
    check_count(query)?;
    let mut names = form_urlencoded::parse(query).map(|(name, _)| name);
    let secret = |name: Cow<'_, str>| {
        matches!(
            &*name,
            "client_id" | "client_secret" | "client_assertion" | "access_token" | "token"
        )
    };
    if names.any(secret) {
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
