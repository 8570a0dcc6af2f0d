//! Pages of a list: how many items, where the next page begins, and the JSON of one.
//!
//! A cursor is base64url without padding of the position, big-endian. Not signed: a made-up cursor
//! opens another page of the caller's own tenant and nothing else.

use std::marker::PhantomData;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use credential_core::{
    clock::Timestamp,
    id::CredentialId,
    manage::{Field, MAX_PAGE},
    store::ListPosition,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    fields::{Fields, Kind},
    query::WholeNumber,
};

/// How many items a page has unless the client asks for another number.
const DEFAULT_LIMIT: u16 = 50;

/// [`MAX_PAGE`].
#[expect(clippy::cast_possible_truncation, reason = "it is 100")]
const LARGEST_LIMIT: u16 = MAX_PAGE as u16;

/// One page of a list.
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "{T}Page")
)]
pub(super) struct ListPage<T> {
    pub(super) items: Vec<T>,
    /// The `cursor` of the next page; `null`: this was the last.
    pub(super) next_cursor: Option<String>,
}

/// `limit`: how many items at most.
pub(super) fn limit(query: &mut Fields<String>) -> usize {
    let limit = WholeNumber {
        most: LARGEST_LIMIT,
        default: DEFAULT_LIMIT,
    };
    let meaning = "How many items at most.";
    match query.optional("limit", limit, meaning) {
        Field::Value(limit) => limit.into(),
        Field::Absent | Field::Unreadable => DEFAULT_LIMIT.into(),
    }
}

/// `cursor`: where the page begins.
pub(super) fn after<C: Cursor>(query: &mut Fields<String>) -> Option<C> {
    let meaning = "Where the page begins: the `next_cursor` of the page before.";
    match query.optional("cursor", Position(PhantomData), meaning) {
        Field::Value(position) => Some(position),
        Field::Absent | Field::Unreadable => None,
    }
}

struct Position<C>(PhantomData<C>);

impl<C: Cursor> Kind<String> for Position<C> {
    type Value = C;

    fn read(self, sent: String, wrong: &mut dyn FnMut(&'static str, &str)) -> Field<C> {
        C::from_text(&sent).map_or_else(
            || {
                let message = "must be the `next_cursor` of the page before";
                wrong("invalid_cursor", message);
                Field::Unreadable
            },
            Field::Value,
        )
    }

    fn schema(self) -> Value {
        json!({"type": "string", "pattern": C::PATTERN})
    }
}

/// A position after which a page can begin.
pub(super) trait Cursor: Sized {
    /// What each text is like, as a regular expression.
    const PATTERN: &str;

    fn to_text(&self) -> String;
    /// `None` for everything that [`to_text`](Self::to_text) did not write.
    fn from_text(text: &str) -> Option<Self>;
}

/// Microseconds since 1970 (8 bytes), credential id (16 bytes).
impl Cursor for ListPosition {
    // The first twelve bits of the microseconds are zero from 1970 to 2112.
    const PATTERN: &str = "^AA[A-Za-z0-9_-]{30}$";

    fn to_text(&self) -> String {
        let mut bytes = [0; 24];
        let (at, id) = bytes.split_at_mut(8);
        at.copy_from_slice(&self.created_at.as_micros().to_be_bytes());
        id.copy_from_slice(self.id.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn from_text(text: &str) -> Option<Self> {
        let bytes: [u8; 24] = decoded(text)?;
        let (at, id) = bytes.split_first_chunk()?;
        let position = Self {
            created_at: Timestamp::from_micros(i64::from_be_bytes(*at)),
            id: CredentialId::from_bytes(id.try_into().ok()?),
        };
        // A time outside the calendar is not one of ours.
        (position.to_text() == text).then_some(position)
    }
}

/// The number of an audit row (8 bytes); positive, and small enough for every store.
impl Cursor for u64 {
    // Below 2^63, and the last character has four bits.
    const PATTERN: &str = "^[A-Za-f][A-Za-z0-9_-]{9}[AEIMQUYcgkosw048]$";

    fn to_text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.to_be_bytes())
    }

    fn from_text(text: &str) -> Option<Self> {
        let seq = Self::from_be_bytes(decoded(text)?);
        (1..=i64::MAX.unsigned_abs()).contains(&seq).then_some(seq)
    }
}

fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for micros in [0, -1, 1_767_225_600_123_456, Timestamp::MAX.as_micros()] {
            let position = ListPosition {
                created_at: Timestamp::from_micros(micros),
                id: CredentialId::from_bytes([7; 16]),
            };
            assert_eq!(Cursor::from_text(&position.to_text()), Some(position));
        }
        for seq in [1, 2, i64::MAX.unsigned_abs()] {
            assert_eq!(u64::from_text(&seq.to_text()), Some(seq));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let good = 1_u64.to_text();
        let padded = format!("{good}=");
        let longer = format!("{good}A");
        for text in [
            "",
            "A",
            "-",
            "é",
            "AAAAAAAAAAA",
            "__________8",
            &padded,
            &longer,
        ] {
            assert_eq!(u64::from_text(text), None, "{text}");
        }
        let beyond = BASE64_URL_SAFE_NO_PAD.encode([0xff; 24]);
        let year_300_000 = BASE64_URL_SAFE_NO_PAD.encode([0x7f; 24]);
        let table = ["", "A", good.as_str(), year_300_000.as_str()];
        for text in table {
            assert_eq!(ListPosition::from_text(text), None, "{text}");
        }
        // -1 µs is a time; what counts is that it is written the same way again.
        assert!(ListPosition::from_text(&beyond).is_some());
    }
}
