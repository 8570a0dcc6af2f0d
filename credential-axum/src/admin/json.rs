//! JSON bodies: decoded with every fault kept, and the kinds of values that their fields hold.

use std::fmt;

use axum::extract::{FromRequest, Request};
use credential_core::{
    clock::Timestamp,
    manage::{Fault, Field},
};
use http::{HeaderMap, Method, header};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::json;

use super::fields::{Fields, Kind};
use crate::{
    body::{BODY_LIMIT, BodyError, content_type, is_type, read_body},
    problem::Problem,
};

/// A JSON body. Refuses, in this order, a body that is too large, of another media type, or not
/// JSON. Everything else becomes a fault.
#[derive(Debug)]
pub(super) struct JsonBody(pub(super) Fields<JsonValue>);

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        body_or(request, None).await.map(Self)
    }
}

/// One `Content-Type`, of JSON; for PATCH also of a JSON merge patch (RFC 7396), which ours are.
fn is_json(headers: &HeaderMap, method: &Method) -> bool {
    content_type(headers).is_some_and(|sent| {
        is_type(&sent, "application/json")
            || *method == Method::PATCH && is_type(&sent, "application/merge-patch+json")
    })
}

fn decode(body: &[u8]) -> Result<Fields<JsonValue>, Problem> {
    // Why first: serde_json does not check the parts that it skips.
    let text = std::str::from_utf8(body).map_err(|_| Problem::malformed())?;
    let body = serde_json::from_str(text).map_err(|_| Problem::malformed())?;
    let JsonValue::Object(fields) = body else {
        let fault = Fault::new("", "wrong_type", "the body must be a JSON object");
        return Ok(Fields::unreadable(fault));
    };
    Ok(Fields::sent(fields, "unknown_field", Vec::new()))
}

/// As [`JsonBody`], where an empty body is one without fields.
#[derive(Debug)]
pub(super) struct OptionalJsonBody(pub(super) Fields<JsonValue>);

impl<S: Sync> FromRequest<S> for OptionalJsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        body_or(request, Some("{}")).await.map(Self)
    }
}

/// The body, or what stands for an empty one.
async fn body_or(request: Request, empty: Option<&str>) -> Result<Fields<JsonValue>, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_body(body).await.map_err(|error| match error {
        BodyError::TooLarge => Problem::payload_too_large(BODY_LIMIT),
        BodyError::Broken => Problem::malformed(),
    })?;
    let nothing_sent = body.is_empty() && !parts.headers.contains_key(header::CONTENT_TYPE);
    if !nothing_sent && !is_json(&parts.headers, &parts.method) {
        return Err(Problem::unsupported_media_type());
    }
    match empty {
        Some(empty) if body.is_empty() => decode(empty.as_bytes()),
        _ => decode(&body),
    }
}

/// A text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    /// What the description says: the use case judges the text.
    pub(super) form: Form,
}

/// What every text that the use case accepts has, as a regular expression (ECMA-262), and the most characters.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Any,
    Pattern(&'static str),
    Short(usize, &'static str),
}

impl Form {
    fn schema(self) -> serde_json::Value {
        match self {
            Self::Any => json!({"type": "string"}),
            Self::Pattern(pattern) => json!({"type": "string", "pattern": pattern}),
            Self::Short(most, pattern) => {
                json!({"type": "string", "maxLength": most, "pattern": pattern})
            }
        }
    }
}

impl Kind<JsonValue> for Text {
    type Value = String;

    fn read(self, sent: JsonValue, wrong: &mut dyn FnMut(&'static str, &str)) -> Field<String> {
        let JsonValue::Text(text) = sent else {
            wrong("wrong_type", "must be a text");
            return Field::Unreadable;
        };
        Field::Value(text)
    }

    fn schema(self) -> serde_json::Value {
        self.form.schema()
    }
}

/// A text that repeats an unchangeable value. Any other value is an attempt to change it, which the
/// use case refuses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unchanged;

impl Kind<JsonValue> for Unchanged {
    type Value = String;

    fn read(self, sent: JsonValue, _: &mut dyn FnMut(&'static str, &str)) -> Field<String> {
        match sent {
            JsonValue::Text(text) => Field::Value(text),
            _ => Field::Unreadable,
        }
    }

    fn schema(self) -> serde_json::Value {
        json!({"type": "string"})
    }
}

/// A list of texts. Texts beside values of other types are kept, so that their faults show too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts {
    /// What the description says: the use case judges the list.
    pub(super) most: Option<usize>,
    pub(super) form: Form,
}

impl Kind<JsonValue> for Texts {
    type Value = Vec<String>;

    fn read(
        self,
        sent: JsonValue,
        wrong: &mut dyn FnMut(&'static str, &str),
    ) -> Field<Vec<String>> {
        let JsonValue::List(entries) = sent else {
            wrong("wrong_type", "must be a list of texts");
            return Field::Unreadable;
        };
        let mut texts = Vec::with_capacity(entries.len());
        let mut only_texts = true;
        for entry in entries {
            match entry {
                JsonValue::Text(text) => texts.push(text),
                _ => only_texts = false,
            }
        }
        if !only_texts {
            wrong("wrong_type", "must be a list of texts only");
        }
        Field::Value(texts)
    }

    fn schema(self) -> serde_json::Value {
        let mut schema = json!({"type": "array", "items": self.form.schema()});
        if let Some(most) = self.most {
            schema["maxItems"] = most.into();
        }
        schema
    }
}

/// A time in the future, or null.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeOrNull;

/// The years since this was written: no earlier one is in the future.
const LATER_YEARS: &str = "^(202[6-9]|20[3-9][0-9]|2[1-9][0-9]{2}|[3-9][0-9]{3})-";

impl Kind<JsonValue> for TimeOrNull {
    type Value = Option<Timestamp>;

    fn read(
        self,
        sent: JsonValue,
        wrong: &mut dyn FnMut(&'static str, &str),
    ) -> Field<Option<Timestamp>> {
        match sent {
            JsonValue::Null => Field::Value(None),
            JsonValue::Text(text) => match Timestamp::parse_rfc3339(&text) {
                Ok(at) => Field::Value(Some(at)),
                Err(error) => {
                    wrong("invalid_timestamp", &error.to_string());
                    Field::Unreadable
                }
            },
            _ => {
                wrong("wrong_type", "must be a text or null");
                Field::Unreadable
            }
        }
    }

    fn schema(self) -> serde_json::Value {
        json!({"type": ["string", "null"], "format": "date-time", "pattern": LATER_YEARS})
    }
}

/// A whole number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Integer {
    /// The bounds, for the description: the use case judges the number.
    pub(super) least: i64,
    pub(super) most: i64,
}

impl Kind<JsonValue> for Integer {
    type Value = i64;

    fn read(self, sent: JsonValue, wrong: &mut dyn FnMut(&'static str, &str)) -> Field<i64> {
        let JsonValue::Integer(number) = sent else {
            wrong("wrong_type", "must be a whole number");
            return Field::Unreadable;
        };
        Field::Value(number)
    }

    fn schema(self) -> serde_json::Value {
        json!({"type": "integer", "minimum": self.least, "maximum": self.most})
    }
}

/// The one word that is known so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    pub(super) word: &'static str,
    /// The code and the message of any other.
    pub(super) unknown: (&'static str, &'static str),
}

impl Kind<JsonValue> for Word {
    type Value = ();

    fn read(self, sent: JsonValue, wrong: &mut dyn FnMut(&'static str, &str)) -> Field<()> {
        match sent {
            JsonValue::Text(text) if text == self.word => return Field::Value(()),
            JsonValue::Text(_) => wrong(self.unknown.0, self.unknown.1),
            _ => wrong("wrong_type", "must be a text"),
        }
        Field::Unreadable
    }

    fn schema(self) -> serde_json::Value {
        json!({"type": "string", "enum": [self.word]})
    }
}

/// A JSON value that keeps repeated members, unlike `serde_json::Value`. What lies deeper than any request of
/// ours is skipped, in constant space.
#[derive(Debug)]
pub(super) enum JsonValue {
    Null,
    Bool(bool),
    Text(String),
    List(Vec<JsonValue>),
    Object(Vec<(String, JsonValue)>),
    Integer(i64),
    /// Any other number.
    Number(f64),
    TooDeep,
}

/// The deepest that requests go: a rule's key's list of operations.
const DEEPEST: u8 = 7;

impl JsonValue {
    /// The value as others read it; `None` if a member is repeated or something is too deep.
    pub(super) fn plain(self) -> Option<serde_json::Value> {
        Some(match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => value.into(),
            Self::Text(text) => text.into(),
            Self::Integer(number) => number.into(),
            Self::Number(number) => number.into(),
            Self::List(entries) => {
                let entries = entries.into_iter().map(Self::plain);
                entries.collect::<Option<Vec<_>>>()?.into()
            }
            Self::Object(members) => {
                let mut plain = serde_json::Map::new();
                for (name, value) in members {
                    if plain.insert(name, value.plain()?).is_some() {
                        return None;
                    }
                }
                plain.into()
            }
            Self::TooDeep => return None,
        })
    }
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Depth(0).deserialize(deserializer)
    }
}

/// The place of a value in a body.
#[derive(Debug, Clone, Copy)]
struct Depth(u8);

impl Depth {
    /// Of what lies in a list or an object at this depth; `None`: too deep.
    fn inside(self) -> Option<Self> {
        (self.0 < DEEPEST).then_some(Self(self.0 + 1))
    }
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = JsonValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<JsonValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = JsonValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<JsonValue, E> {
        Ok(JsonValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<JsonValue, E> {
        Ok(JsonValue::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<JsonValue, E> {
        Ok(JsonValue::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<JsonValue, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "no whole number of ours is that large"
        )]
        Ok(i64::try_from(number).map_or(JsonValue::Number(number as f64), JsonValue::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<JsonValue, E> {
        // JSON has one kind of number: 1.0 is as whole as 1. Beyond, not every whole number is one.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if number.fract() != 0.0 || number.abs() > EXACT {
            return Ok(JsonValue::Number(number));
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and fits")]
        Ok(JsonValue::Integer(number as i64))
    }

    fn visit_str<E>(self, text: &str) -> Result<JsonValue, E> {
        Ok(JsonValue::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonValue, A::Error> {
        let Some(inside) = self.inside() else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(JsonValue::TooDeep);
        };
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element_seed(inside)? {
            entries.push(entry);
        }
        Ok(JsonValue::List(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<JsonValue, A::Error> {
        let Some(inside) = self.inside() else {
            while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(JsonValue::TooDeep);
        };
        let mut fields = Vec::new();
        while let Some(name) = object.next_key()? {
            fields.push((name, object.next_value_seed(inside)?));
        }
        Ok(JsonValue::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fields::tests::faults, *};

    /// One field of a body, and the faults of the whole.
    fn one<K: Kind<JsonValue>>(
        body: &str,
        name: &'static str,
        kind: K,
    ) -> (Field<K::Value>, Vec<(String, &'static str)>) {
        let fields = decode(body.as_bytes()).unwrap();
        faults(fields, |fields| fields.optional(name, kind, ""))
    }

    const TEXT: Text = Text { form: Form::Any };
    const TEXTS: Texts = Texts {
        most: None,
        form: Form::Any,
    };

    #[test]
    fn what_is_not_json_is_malformed() {
        let not_json: &[&[u8]] = &[
            b"",
            b" ",
            b"{",
            b"{}{}",
            b"nul",
            b"{\"a\":}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":{\"b\":\"\xff\"}}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\0\"}",
            b"{\"a\":\"\\ud800\"}",
            b"name=x",
        ];
        for body in not_json {
            let problem = decode(body).expect_err(&String::from_utf8_lossy(body));
            assert_eq!(problem.code(), "malformed");
        }
    }

    #[test]
    fn what_is_no_object_is_a_fault_of_the_body() {
        for body in ["null", "1", "true", "\"text\"", "[]", "[{\"name\":\"x\"}]"] {
            let (name, found) = one(body, "name", TEXT);
            assert_eq!(name, Field::Unreadable, "{body}");
            assert_eq!(found, [(String::new(), "wrong_type")], "{body}");
        }
    }

    #[test]
    fn each_type_is_told_apart() {
        let wrong_type = |name: &str| [(name.to_owned(), "wrong_type")];
        for value in ["null", "1", "-1", "1.5", "true", "[\"x\"]", "{\"a\":1}"] {
            let body = format!("{{\"name\":{value}}}");
            let (name, found) = one(&body, "name", TEXT);
            assert_eq!(name, Field::Unreadable, "{value}");
            assert_eq!(found, wrong_type("name"), "{value}");
            assert_eq!(
                one(&body, "name", Unchanged),
                (Field::Unreadable, Vec::new())
            );
        }
        for value in [
            "1",
            "null",
            "\"x\"",
            "{}",
            "[1]",
            "[null]",
            "[[\"x\"]]",
            "[{\"a\":\"x\"}]",
        ] {
            let (_, found) = one(&format!("{{\"scopes\":{value}}}"), "scopes", TEXTS);
            assert_eq!(found, wrong_type("scopes"), "{value}");
        }
        for (value, code) in [("1", "wrong_type"), ("\"tomorrow\"", "invalid_timestamp")] {
            let body = format!("{{\"expires_at\":{value}}}");
            let (at, found) = one(&body, "expires_at", TimeOrNull);
            assert_eq!(at, Field::Unreadable, "{value}");
            assert_eq!(found, [("expires_at".to_owned(), code)], "{value}");
        }
        let word = Word {
            word: "read_only",
            unknown: ("unknown_preset", ""),
        };
        for (value, code) in [("1", "wrong_type"), ("\"all\"", "unknown_preset")] {
            let (_, found) = one(&format!("{{\"preset\":{value}}}"), "preset", word);
            assert_eq!(found, [("preset".to_owned(), code)], "{value}");
        }
    }

    #[test]
    fn what_is_right_is_read() {
        let body = r#"{"name":"\u0000x","scopes":["a"],"expires_at":null,"preset":"read_only"}"#;
        let fields = decode(body.as_bytes()).unwrap();
        let word = Word {
            word: "read_only",
            unknown: ("", ""),
        };
        let ((), found) = faults(fields, |fields| {
            let name = fields.optional("name", TEXT, "");
            assert_eq!(name, Field::Value("\0x".to_owned()));
            let scopes = fields.optional("scopes", TEXTS, "");
            assert_eq!(scopes, Field::Value(vec!["a".to_owned()]));
            let expires_at = fields.optional("expires_at", TimeOrNull, "");
            assert_eq!(expires_at, Field::Value(None));
            assert_eq!(fields.optional("preset", word, ""), Field::Value(()));
            assert_eq!(fields.optional("absent", TimeOrNull, ""), Field::Absent);
        });
        assert_eq!(found, []);
    }

    #[test]
    fn no_nesting_is_deep_enough_to_hurt() {
        for open in ["[", "{\"a\":", "[{\"a\":["] {
            let endless = open.repeat(BODY_LIMIT / open.len());
            assert!(decode(endless.as_bytes()).is_err());
        }
        let depth = 10_000;
        let body = format!("{{\"name\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let (_, found) = one(&body, "name", TEXT);
        assert_eq!(found, [("name".to_owned(), "wrong_type")]);
    }
}
