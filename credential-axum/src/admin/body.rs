//! JSON bodies: read up to a limit, decoded with every fault kept.

use std::fmt;

use axum::extract::{FromRequest, Request};
use credential_core::{clock::Timestamp, manage::Fault};
use http::{HeaderMap, Method, header};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::input::Input;
use crate::{
    body::{BODY_LIMIT, BodyError, read_body},
    media_type,
    problem::Problem,
};

/// The fields of a JSON object.
pub(super) type Fields = Input<Value>;

/// A JSON body. Refuses, in this order, what is too large, of another media type, or not JSON;
/// everything else becomes a fault.
#[derive(Debug)]
pub(super) struct JsonBody(pub(super) Fields);

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = read_body(body).await.map_err(|error| match error {
            BodyError::TooLarge => Problem::payload_too_large(BODY_LIMIT),
            BodyError::Broken => Problem::malformed(),
        })?;
        let nothing_sent = body.is_empty() && !parts.headers.contains_key(header::CONTENT_TYPE);
        if !nothing_sent && !is_json(&parts.headers, &parts.method) {
            return Err(Problem::unsupported_media_type());
        }
        decode(&body).map(Self)
    }
}

/// One `Content-Type`, of JSON; for PATCH also of a JSON merge patch (RFC 7396), which ours are.
fn is_json(headers: &HeaderMap, method: &Method) -> bool {
    media_type::content_type(headers).is_some_and(|sent| {
        media_type::is(&sent, "application/json")
            || *method == Method::PATCH && media_type::is(&sent, "application/merge-patch+json")
    })
}

fn decode(body: &[u8]) -> Result<Fields, Problem> {
    // Why first: what serde_json skips it does not check.
    let text = std::str::from_utf8(body).map_err(|_| Problem::malformed())?;
    let body = serde_json::from_str(text).map_err(|_| Problem::malformed())?;
    let Value::Object(fields) = body else {
        let fault = Fault::new("", "wrong_type", "the body must be a JSON object");
        return Ok(Input::new(Vec::new(), vec![fault]));
    };
    Ok(Input::new(fields, Vec::new()))
}

impl Fields {
    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let Value::Text(text) = self.take(name)? else {
            self.fault(name, "wrong_type", "must be a text");
            return None;
        };
        Some(text)
    }

    /// A list of texts. The texts among other things are kept, so that their faults show too.
    pub(super) fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        let Value::List(entries) = self.take(name)? else {
            self.fault(name, "wrong_type", "must be a list of texts");
            return None;
        };
        let mut texts = Vec::with_capacity(entries.len());
        let mut only_texts = true;
        for entry in entries {
            match entry {
                Value::Text(text) => texts.push(text),
                _ => only_texts = false,
            }
        }
        if !only_texts {
            self.fault(name, "wrong_type", "must be a list of texts only");
        }
        Some(texts)
    }

    /// A time, or `Some(None)` for null.
    #[expect(
        clippy::option_option,
        reason = "absent, null and a time are three things"
    )]
    pub(super) fn time_or_null(&mut self, name: &'static str) -> Option<Option<Timestamp>> {
        match self.take(name)? {
            Value::Null => Some(None),
            Value::Text(text) => match Timestamp::parse_rfc3339(&text) {
                Ok(at) => Some(Some(at)),
                Err(error) => {
                    self.fault(name, "invalid_timestamp", error.to_string());
                    None
                }
            },
            _ => {
                self.fault(name, "wrong_type", "must be a text or null");
                None
            }
        }
    }
}

/// As much of a JSON value as a request of ours can need: an object with texts and lists of
/// texts. What is deeper is skipped, in constant space.
///
/// Unlike `serde_json::Value` it keeps duplicate keys.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Text(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
    /// A number or a boolean, or something too deep.
    Other,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Depth::Body.deserialize(deserializer)
    }
}

/// Where in a body a value stands.
#[derive(Debug, Clone, Copy)]
enum Depth {
    Body,
    Field,
    Entry,
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        if !matches!(self, Self::Field) {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Other);
        }
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element_seed(Self::Entry)? {
            entries.push(entry);
        }
        Ok(Value::List(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        if !matches!(self, Self::Body) {
            while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Other);
        }
        let mut fields = Vec::new();
        while let Some(name) = object.next_key()? {
            fields.push((name, object.next_value_seed(Self::Field)?));
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(mut fields: Fields, read: impl FnOnce(&mut Fields)) -> Vec<(String, &'static str)> {
        read(&mut fields);
        let faults = fields.finish("unknown_field");
        faults.into_iter().map(|f| (f.field, f.code)).collect()
    }

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
            let found = faults(decode(body.as_bytes()).unwrap(), |_| {});
            assert_eq!(found, [(String::new(), "wrong_type")], "{body}");
        }
    }

    #[test]
    fn each_type_is_told_apart() {
        for value in ["null", "1", "-1", "1.5", "true", "[\"x\"]", "{\"a\":1}"] {
            let fields = decode(format!("{{\"name\":{value}}}").as_bytes()).unwrap();
            let found = faults(fields, |fields| assert_eq!(fields.text("name"), None));
            assert_eq!(found, [("name".to_owned(), "wrong_type")], "{value}");
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
            let fields = decode(format!("{{\"scopes\":{value}}}").as_bytes()).unwrap();
            let found = faults(fields, |fields| drop(fields.texts("scopes")));
            assert_eq!(found, [("scopes".to_owned(), "wrong_type")], "{value}");
        }
        for (value, code) in [("1", "wrong_type"), ("\"tomorrow\"", "invalid_timestamp")] {
            let fields = decode(format!("{{\"expires_at\":{value}}}").as_bytes()).unwrap();
            let found = faults(fields, |fields| _ = fields.time_or_null("expires_at"));
            assert_eq!(found, [("expires_at".to_owned(), code)], "{value}");
        }
        let mut fields = decode(br#"{"name":"\u0000x","scopes":["a"],"expires_at":null}"#).unwrap();
        assert_eq!(fields.text("name").as_deref(), Some("\0x"));
        assert_eq!(fields.texts("scopes"), Some(vec!["a".to_owned()]));
        assert_eq!(fields.time_or_null("expires_at"), Some(None));
        assert_eq!(fields.time_or_null("absent"), None);
    }

    #[test]
    fn no_nesting_is_deep_enough_to_hurt() {
        for open in ["[", "{\"a\":", "[{\"a\":["] {
            let endless = open.repeat(BODY_LIMIT / open.len());
            assert!(decode(endless.as_bytes()).is_err());
        }
        let depth = 10_000;
        let body = format!("{{\"name\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let found = faults(decode(body.as_bytes()).unwrap(), |fields| {
            drop(fields.text("name"));
        });
        assert_eq!(found, [("name".to_owned(), "wrong_type")]);
    }
}
