//! Percent-encoded text, decoded strictly.
//!
//! A lenient decoder leaves a broken `%zz` as it stands and replaces what is not UTF-8, so that two of
//! them may read the same bytes differently. Here both are refused.

use std::ops::Deref;

use zeroize::Zeroizing;

/// A decoded value. What had to be copied is wiped on drop, since it may be a secret. No `Debug`, for
/// the same reason.
pub struct Decoded<'a>(Text<'a>);

enum Text<'a> {
    AsSent(&'a str),
    Copied(Zeroizing<String>),
}

impl<'a> Decoded<'a> {
    /// The text as it was sent, if nothing in it was encoded.
    #[must_use]
    pub fn as_sent(&self) -> Option<&'a str> {
        match self.0 {
            Text::AsSent(text) => Some(text),
            Text::Copied(_) => None,
        }
    }
}

impl Deref for Decoded<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Text::AsSent(text) => text,
            Text::Copied(text) => text,
        }
    }
}

/// Why a text cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A `%` without two hexadecimal digits after it.
    #[error("the percent-encoding is malformed")]
    Encoding,
    /// The bytes are not UTF-8.
    #[error("the percent-encoded bytes are not UTF-8")]
    NotUtf8,
}

/// Decodes one name or value of `application/x-www-form-urlencoded`, where `+` is a space.
///
/// # Errors
/// [`DecodeError`]
pub fn decode(text: &str) -> Result<Decoded<'_>, DecodeError> {
    // Why counted: a loop that may stop at each byte takes several times as long as one that the
    // compiler can do on many at a time, and almost nothing is encoded.
    let encoded = text.bytes().filter(|byte| matches!(byte, b'+' | b'%'));
    if encoded.count() == 0 {
        return Ok(Decoded(Text::AsSent(text)));
    }
    // Why wrapped from the start: it may be a secret, also where decoding fails halfway.
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (value, after) = hex_pair(after).ok_or(DecodeError::Encoding)?;
                rest = after;
                value
            }
            plain => *plain,
        });
    }
    let text = std::str::from_utf8(&decoded).map_err(|_| DecodeError::NotUtf8)?;
    Ok(Decoded(Text::Copied(Zeroizing::new(text.to_owned()))))
}

/// The byte that two hexadecimal digits stand for, and what follows them.
pub(crate) fn hex_pair(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = text.split_at_checked(2)?;
    let mut value = 0u8;
    for digit in digits {
        let nibble = char::from(*digit).to_digit(16)?;
        value = (value << 4) | u8::try_from(nibble).ok()?;
    }
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<String, DecodeError> {
        decode(text).map(|text| text.to_string())
    }

    #[test]
    fn values_are_decoded_as_forms_are() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("a%20b+c%C3%A9", "a b cé"),
            ("a+b%20c%2Bd", "a b c+d"),
            ("%63%6f%6D", "com"),
            ("é", "é"),
        ] {
            assert_eq!(decoded(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_decoders_could_read_differently_is_refused() {
        for text in ["%", "%4", "%zz", "%+1", "a%", "%2", "%é"] {
            assert_eq!(decoded(text), Err(DecodeError::Encoding), "{text}");
        }
        for text in ["%ff", "%C3", "%c3x"] {
            assert_eq!(decoded(text), Err(DecodeError::NotUtf8), "{text}");
        }
    }
}
