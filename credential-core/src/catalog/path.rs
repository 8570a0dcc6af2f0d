//! Which spellings of a path are accepted: those that every parser reads alike.
//!
//! A gateway, a framework and an upstream may each clean up a path in their own way. The catalogue
//! decides on the bytes as sent, so a path whose reading could differ is refused, never repaired.

use crate::percent::hex_pair;

/// Why a path, or a query that had to be read, is refused. The answer is `400 Bad Request`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The target is not in origin form (RFC 9112 §3.2.1).
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// Two slashes in a row.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A segment that RFC 3986 §5.2.4 would remove.
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
    /// Some parsers take it for a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// A raw control character, NUL or DEL.
    #[error("the path or query has a control character")]
    Control,
    /// A raw space.
    #[error("the path has a space")]
    Space,
    /// A raw byte outside ASCII.
    #[error("the path has a byte outside ASCII")]
    NonAscii,
    /// Matrix parameters (RFC 3986 §3.3), which some frameworks cut off, raw or encoded.
    #[error("the path has a semicolon")]
    Semicolon,
    /// A fragment, which is never sent.
    #[error("the path has a `#`")]
    Fragment,
    /// A `%` without two hexadecimal digits after it.
    #[error("the path or query has a malformed percent-encoding")]
    MalformedEscape,
    /// A percent-encoded unreserved character (RFC 3986 §2.3): a second spelling of the same path.
    #[error("the path encodes a character that needs no encoding")]
    NeedlessEscape,
    /// A percent-encoded `/`, `\`, `%` or `$`.
    #[error("the path encodes a `/`, `\\`, `%` or `$`; send a `$` as it is")]
    EncodedDelimiter,
    /// A percent-encoded control character.
    #[error("the path or query encodes a control character")]
    EncodedControl,
    /// More parameters than any search needs, each of which would have to be looked at.
    #[error("the query or form has more than 1000 parameters")]
    TooManyParameters,
    /// Percent-encoded bytes that are not UTF-8.
    #[error("the path or query encodes bytes that are not UTF-8")]
    NotUtf8,
}

/// Path and query of a target whose path every parser reads alike.
pub(super) fn checked(target: &str) -> Result<(&str, &str), PathError> {
    // One glance for most calls; a query is not plain.
    if is_plain(target.as_bytes()) {
        return Ok((target, ""));
    }
    let (path, query) = split_at_byte(target, b'?').unwrap_or((target, ""));
    check(path)?;
    Ok((path, query))
}

/// Accepts a path that every parser reads alike.
pub(super) fn check(path: &str) -> Result<(), PathError> {
    let bytes = path.as_bytes();
    if is_plain(bytes) {
        return Ok(());
    }
    closely(bytes)
}

fn closely(path: &[u8]) -> Result<(), PathError> {
    let Some((b'/', mut rest)) = path.split_first().map(|(first, rest)| (*first, rest)) else {
        return Err(PathError::NotAbsolute);
    };
    // Bytes of the current segment so far, and whether all of them are dots.
    let (mut length, mut dots) = (0usize, true);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match class(byte) {
            Class::Plain => (length, dots) = (length + 1, false),
            Class::Dot => length += 1,
            Class::Slash => {
                check_segment(length, dots)?;
                if length == 0 {
                    return Err(PathError::EmptySegment);
                }
                (length, dots) = (0, true);
            }
            Class::Percent => {
                rest = check_escape(rest)?;
                (length, dots) = (length + 1, false);
            }
            Class::Refused(error) => return Err(error),
        }
    }
    check_segment(length, dots)
}

/// True if a glance proves the path acceptable, as it does for almost every path: it starts with
/// a slash, holds only plain characters, and no slash is followed by a slash or a dot.
///
/// Why: this runs for every API call, and a loop without branches takes a fraction of the time.
fn is_plain(path: &[u8]) -> bool {
    let (mut odd, mut before) = (0, 0);
    for byte in path {
        let mark = MARKS.get(usize::from(*byte)).copied().unwrap_or(ODD);
        // `before` has STARTS_BADLY if the byte before was a slash: SLASH is its left neighbour.
        odd |= mark & ODD | mark & before & STARTS_BADLY;
        before = (mark & SLASH) >> 1;
    }
    odd == 0 && path.first() == Some(&b'/')
}

const ODD: u8 = 0b100;
const SLASH: u8 = 0b010;
const STARTS_BADLY: u8 = 0b001;

/// What [`is_plain`] has to know of each byte.
const MARKS: [u8; 256] = {
    let mut marks = [0; 256];
    let mut byte = 0u8;
    loop {
        marks[byte as usize] = match class(byte) {
            Class::Plain if byte == b'?' => ODD, // where a query begins
            Class::Plain => 0,
            Class::Slash => SLASH | STARTS_BADLY,
            Class::Dot => STARTS_BADLY,
            Class::Percent | Class::Refused(_) => ODD,
        };
        match byte.checked_add(1) {
            Some(next) => byte = next,
            None => break,
        }
    }
    marks
};

#[derive(Clone, Copy)]
enum Class {
    Plain,
    Dot,
    Slash,
    Percent,
    Refused(PathError),
}

const fn class(byte: u8) -> Class {
    match byte {
        b'/' => Class::Slash,
        b'.' => Class::Dot,
        b'%' => Class::Percent,
        b' ' => Class::Refused(PathError::Space),
        b'\\' => Class::Refused(PathError::Backslash),
        b';' => Class::Refused(PathError::Semicolon),
        b'#' => Class::Refused(PathError::Fragment),
        0..=0x1f | 0x7f => Class::Refused(PathError::Control),
        0x80.. => Class::Refused(PathError::NonAscii),
        _ => Class::Plain,
    }
}

fn check_segment(length: usize, dots: bool) -> Result<(), PathError> {
    if dots && (length == 1 || length == 2) {
        return Err(PathError::DotSegment);
    }
    Ok(())
}

/// Checks one percent-encoded character, given what follows its first `%`; returns what follows it.
fn check_escape(rest: &[u8]) -> Result<&[u8], PathError> {
    let (lead, mut rest) = hex_pair(rest).ok_or(PathError::MalformedEscape)?;
    if lead.is_ascii() {
        return match lead {
            b';' => Err(PathError::Semicolon),
            b'/' | b'\\' | b'%' | b'$' => Err(PathError::EncodedDelimiter),
            _ if lead.is_ascii_control() => Err(PathError::EncodedControl),
            _ if is_unreserved(lead) => Err(PathError::NeedlessEscape),
            _ => Ok(rest),
        };
    }
    // Raw bytes are ASCII, so the rest of this character must be encoded as well.
    let mut character = [lead, 0, 0, 0];
    let length = match lead {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Err(PathError::NotUtf8),
    };
    for slot in character.iter_mut().take(length).skip(1) {
        let after = rest.strip_prefix(b"%").ok_or(PathError::NotUtf8)?;
        (*slot, rest) = hex_pair(after).ok_or(PathError::MalformedEscape)?;
    }
    let text = character
        .get(..length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .ok_or(PathError::NotUtf8)?;
    if text.chars().any(char::is_control) {
        return Err(PathError::EncodedControl);
    }
    Ok(rest)
}

/// Unreserved characters of RFC 3986 §2.3.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// True if a catalogue may use `text` as a literal segment. Such a segment has one spelling only:
/// [`check`] refuses every other.
pub(super) fn is_literal_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.bytes().all(|b| is_unreserved(b) || b == b'$')
}

/// What `path` holds below `base`, or `None` if it lies elsewhere.
pub(super) fn below<'a>(path: &'a str, base: &str) -> Option<Segments<'a>> {
    let rest = path.strip_prefix(base)?;
    if rest.is_empty() {
        return Some(Segments(None));
    }
    let rest = rest.strip_prefix('/')?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    Some(Segments((!rest.is_empty()).then_some(rest)))
}

/// As `split_once`, for one ASCII byte. Why: what is split here is short, and a plain loop over it
/// takes less time than the standard search takes to begin.
pub(super) fn split_at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|other| other == byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The segments of a path, first to last, without the slashes around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segments<'a>(Option<&'a str>);

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0?;
        let (segment, rest) = match split_at_byte(rest, b'/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        self.0 = rest;
        Some(segment)
    }
}

#[cfg(test)]
mod tests;
