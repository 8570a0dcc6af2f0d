//! What the parameters of a FHIR search reach beyond the type it is about.
//!
//! Search parameters can return other types (`_include`, `_revinclude`) or ask questions about
//! them (`_has`, chains). Each type named needs read. What cannot be told needs read on every type,
//! so a parameter this module does not know can only ask for more.
//! Grammar: <https://hl7.org/fhir/R4/search.html>.

use super::super::path::PathError;
use super::{Needs, is_type};
use crate::percent::{DecodeError, Decoded, hex_pair};

/// Parameters starting with `_` that reach nothing beyond the searched type.
const HARMLESS: &[&str] = &[
    "_at",
    "_contained",
    "_containedType",
    "_content",
    "_count",
    "_elements",
    "_format",
    "_id",
    "_lastUpdated",
    "_offset",
    "_pretty",
    "_profile",
    "_score",
    "_security",
    "_since",
    "_sort",
    "_source",
    "_summary",
    "_tag",
    "_text",
    "_total",
];

/// Parameters that say how an answer looks, not what it is about.
const PRESENTATION: &[&str] = &["_elements", "_format", "_pretty", "_summary"];

/// The most parameters that are looked at.
const MOST_PARAMETERS: usize = 1_000;

/// The most links of a chain, and more than any server follows.
const MOST_LINKS: usize = 16;

/// True if the query of a write chooses what is written: then it is a search.
pub(super) fn has_criteria(query: &str) -> Result<bool, PathError> {
    for pair in query.split(['&', ';']).filter(|pair| !pair.is_empty()) {
        let key = decode(pair.split('=').next().unwrap_or_default())?;
        if !PRESENTATION.contains(&&*key) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds what a query, or the form of a search by POST, needs.
pub(super) fn read(needs: &mut Needs<'_>, query: &str) -> Result<(), PathError> {
    check(query.as_bytes())?;
    let separators = query.bytes().filter(|byte| matches!(byte, b'&' | b';'));
    if separators.count() >= MOST_PARAMETERS {
        return Err(PathError::TooManyParameters);
    }
    for pair in query.split('&') {
        parameter(needs, pair)?;
        // Why: some servers still take `;` for `&` (HTML 4 §B.2.2). Both readings count.
        if pair.contains(';') {
            for pair in pair.split(';') {
                parameter(needs, pair)?;
            }
        }
    }
    Ok(())
}

fn parameter(needs: &mut Needs<'_>, pair: &str) -> Result<(), PathError> {
    if pair.is_empty() {
        return Ok(());
    }
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let key = decode(key)?;
    if key.bytes().any(|b| b.is_ascii_control()) {
        return Err(PathError::EncodedControl);
    }
    if key.is_empty() || !key.bytes().all(is_key_byte) {
        needs.read_everything();
        return Ok(());
    }
    let name = key.split(':').next().unwrap_or_default();
    match name {
        "_include" | "_revinclude" => include(needs, &decode(value)?, name == "_revinclude"),
        "_sort" => sort(needs, &decode(value)?),
        _ => chain(needs, &key),
    }
    Ok(())
}

/// `Source:parameter[:Target]`.
fn include(needs: &mut Needs<'_>, value: &str, reverse: bool) {
    let mut parts = value.split(':');
    let (source, by, target, more) = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some(source), Some(by), None) = (source, by, more) else {
        return needs.read_everything();
    };
    if !is_type(source) || !is_parameter(by) {
        return needs.read_everything();
    }
    needs.read(source);
    match target {
        Some(target) if is_type(target) => needs.read(target),
        Some(_) => needs.read_everything(),
        // What points here is of the source's type; what it points at has to be told.
        None if reverse => {}
        None => needs.read_target_of(by),
    }
}

/// A sort key may be a chain, and the order it gives tells about the other type.
fn sort(needs: &mut Needs<'_>, value: &str) {
    let mut keys = value
        .split(',')
        .map(|key| key.strip_prefix('-').unwrap_or(key));
    if !keys.all(is_parameter) {
        needs.read_everything();
    }
}

/// `link.link.last`, where a link is `parameter[:Type]` and `_has:Type:parameter:` may come before
/// any of them. Every link but the last leads to another type.
fn chain(needs: &mut Needs<'_>, mut key: &str) {
    for _ in 0..MOST_LINKS {
        if let Some(reverse) = key.strip_prefix("_has:") {
            let mut parts = reverse.splitn(3, ':');
            let (Some(kind), Some(by), Some(rest)) = (parts.next(), parts.next(), parts.next())
            else {
                return needs.read_everything();
            };
            if !is_type(kind) || !is_parameter(by) {
                return needs.read_everything();
            }
            needs.read(kind);
            key = rest;
            continue;
        }
        let Some((link, rest)) = key.split_once('.') else {
            return last(needs, key);
        };
        match link.split_once(':') {
            Some((by, kind)) if is_parameter(by) && is_type(kind) => needs.read(kind),
            None if is_parameter(link) => needs.read_target_of(link),
            _ => return needs.read_everything(),
        }
        key = rest;
    }
    needs.read_everything();
}

/// The parameter that is compared, with its modifier.
fn last(needs: &mut Needs<'_>, key: &str) {
    let name = key.split(':').next().unwrap_or_default();
    let known = !name.starts_with('_') || HARMLESS.contains(&name);
    if !is_parameter(name) || !known {
        needs.read_everything();
    }
}

fn is_parameter(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':')
}

/// Refuses what parsers could read differently in any parameter.
fn check(mut query: &[u8]) -> Result<(), PathError> {
    while let Some((byte, rest)) = query.split_first() {
        query = rest;
        if byte.is_ascii_control() {
            return Err(PathError::Control);
        }
        if *byte == b'%' {
            (_, query) = hex_pair(rest).ok_or(PathError::MalformedEscape)?;
        }
    }
    Ok(())
}

fn decode(text: &str) -> Result<Decoded<'_>, PathError> {
    crate::percent::decode(text).map_err(|error| match error {
        DecodeError::Encoding => PathError::MalformedEscape,
        DecodeError::NotUtf8 => PathError::NotUtf8,
    })
}
