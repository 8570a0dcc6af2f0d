//! The fields of a body or the parameters of a query, read and described by the same calls.
//!
//! A reading function asks [`Fields`] for each field by its name, kind and meaning. Over a request
//! the calls return the values and keep every fault; over nothing ([`describe`]) they build a JSON
//! Schema. So the accepted and the documented fields cannot differ.

use std::collections::BTreeSet;

use credential_core::manage::{Fault, Field, ManageError};
use serde_json::{Map, Value, json};

use crate::problem::Problem;

/// The longest name that is repeated in an answer: below the length of a client secret, so that
/// one pasted into the wrong place does not come back.
const LONGEST_SHOWN: usize = 64;

/// The most unknown fields that are named, each with the names that are accepted: how long an answer is must have a
/// bound.
const UNKNOWN_NAMED: usize = 20;

/// The kind of a field: how a value of the form `V` is read, and how it is described.
pub(super) trait Kind<V> {
    type Value;

    /// The value, and its faults: a code and a message each, which never repeat the value.
    fn read(self, sent: V, wrong: &mut dyn FnMut(&'static str, &str)) -> Field<Self::Value>;

    /// A JSON Schema (draft 2020-12, as OpenAPI 3.1 has it).
    fn schema(self) -> Value;
}

/// The fields of one request, or the description of every such request.
///
/// INVARIANT: a reading function asks for every field, whatever the values are.
#[derive(Debug)]
pub(super) struct Fields<V> {
    source: Source<V>,
    /// The code of the fault for an unknown field.
    unknown: &'static str,
    accepted: Vec<&'static str>,
    faults: Vec<Fault>,
}

#[derive(Debug)]
enum Source<V> {
    Sent(Vec<(String, V)>),
    /// Sent, but without any fields.
    Unreadable,
    Description(Description),
}

#[derive(Debug, Default)]
struct Description {
    properties: Map<String, Value>,
    required: Vec<&'static str>,
    /// Exactly one of these is sent.
    either: Option<[&'static str; 2]>,
}

/// The JSON Schema of the fields that a reading function reads.
pub(super) fn describe<V, T>(read: impl FnOnce(&mut Fields<V>) -> T) -> Value {
    let mut fields = Fields {
        source: Source::Description(Description::default()),
        unknown: "",
        accepted: Vec::new(),
        faults: Vec::new(),
    };
    read(&mut fields);
    let Source::Description(description) = fields.source else {
        return Value::Null; // Unreachable: nothing changes the source.
    };
    let mut schema = json!({
        "type": "object",
        "properties": description.properties,
        "required": description.required,
        "additionalProperties": false,
    });
    if let Some(names) = description.either {
        schema["oneOf"] = names.map(|name| json!({ "required": [name] })).into();
    }
    schema
}

impl<V> Fields<V> {
    pub(super) fn sent(
        values: Vec<(String, V)>,
        unknown: &'static str,
        faults: Vec<Fault>,
    ) -> Self {
        Self {
            source: Source::Sent(values),
            unknown,
            accepted: Vec::new(),
            faults,
        }
    }

    /// Of a request that has no fields at all, which is the `fault`.
    pub(super) fn unreadable(fault: Fault) -> Self {
        Self {
            source: Source::Unreadable,
            unknown: "",
            accepted: Vec::new(),
            faults: vec![fault],
        }
    }

    /// A required field; the use case refuses its absence.
    pub(super) fn required<K: Kind<V>>(
        &mut self,
        name: &'static str,
        kind: K,
        meaning: &str,
    ) -> Field<K::Value> {
        if let Source::Description(description) = &mut self.source {
            description.required.push(name);
        }
        self.optional(name, kind, meaning)
    }

    /// A field that may be left out. Of several with its name the first counts, and the others are a
    /// fault.
    pub(super) fn optional<K: Kind<V>>(
        &mut self,
        name: &'static str,
        kind: K,
        meaning: &str,
    ) -> Field<K::Value> {
        self.accepted.push(name);
        let values = match &mut self.source {
            Source::Sent(values) => values,
            Source::Unreadable => return Field::Unreadable,
            Source::Description(description) => {
                let mut schema = kind.schema();
                schema["description"] = meaning.into();
                description.properties.insert(name.to_owned(), schema);
                return Field::Absent;
            }
        };
        let mut found = values.extract_if(.., |(key, _)| key == name);
        let Some((_, first)) = found.next() else {
            return Field::Absent;
        };
        if found.count() > 0 {
            self.fault(name, "duplicate", "given more than once");
        }
        let faults = &mut self.faults;
        kind.read(first, &mut |code, message| {
            faults.push(Fault::new(name, code, message));
        })
    }

    /// Of two fields exactly one may be sent; `code` names the fault of the second.
    pub(super) fn either<A, B>(
        &mut self,
        (one, first): (&'static str, &Field<A>),
        (other, second): (&'static str, &Field<B>),
        code: &'static str,
    ) {
        match &mut self.source {
            Source::Description(description) => description.either = Some([one, other]),
            Source::Unreadable => {}
            Source::Sent(_) => {
                if !matches!(first, Field::Absent) && !matches!(second, Field::Absent) {
                    self.fault(other, code, format!("send `{one}` or `{other}`, not both"));
                }
            }
        }
    }

    fn fault(&mut self, name: &str, code: &'static str, message: impl Into<String>) {
        self.faults.push(Fault::new(name, code, message));
    }

    /// Whether the request has any fault. Call it after every field has been read: the fields that
    /// are left are unknown, which is a fault.
    pub(super) fn incomplete(&mut self) -> bool {
        if let Source::Sent(values) = &mut self.source {
            let unknown: BTreeSet<&str> = values.iter().map(|(name, _)| shown(name)).collect();
            for name in unknown.into_iter().take(UNKNOWN_NAMED) {
                let accepted: Vec<_> = self.accepted.iter().map(|it| format!("`{it}`")).collect();
                let message = format!("not known here; accepted: {}", accepted.join(", "));
                self.faults.push(Fault::new(name, self.unknown, message));
            }
            values.clear();
        }
        !self.faults.is_empty()
    }

    /// A use case's refusal, with the faults of reading added to those of the use case.
    pub(super) fn refusal(self, error: ManageError) -> Problem {
        let mut faults = self.faults;
        match error {
            ManageError::Invalid(found) => {
                faults.extend(found);
                ManageError::Invalid(faults)
            }
            ManageError::ApiTypeImmutable(mut found) => {
                found.append(&mut faults);
                ManageError::ApiTypeImmutable(found)
            }
            other => other,
        }
        .into()
    }

    /// Refuses the request if it has any fault.
    pub(super) fn check(mut self) -> Result<(), Problem> {
        if self.incomplete() {
            return Err(Problem::invalid(self.faults));
        }
        Ok(())
    }
}

/// The name, if repeating it is harmless.
pub(super) fn shown(name: &str) -> &str {
    let harmless = name.len() <= LONGEST_SHOWN && name.bytes().all(|b| b.is_ascii_graphic());
    if harmless { name } else { "" }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What was read, and the faults, of a request or a part of one.
    pub(crate) fn faults<V, T>(
        mut fields: Fields<V>,
        read: impl FnOnce(&mut Fields<V>) -> T,
    ) -> (T, Vec<(String, &'static str)>) {
        let value = read(&mut fields);
        fields.incomplete();
        let faults = fields.faults.into_iter();
        (value, faults.map(|it| (it.field, it.code)).collect())
    }

    /// The number itself.
    struct Number;

    impl Kind<u8> for Number {
        type Value = u8;

        fn read(self, sent: u8, _: &mut dyn FnMut(&'static str, &str)) -> Field<u8> {
            Field::Value(sent)
        }

        fn schema(self) -> Value {
            json!({"type": "integer"})
        }
    }

    fn read(fields: &mut Fields<u8>) -> [Field<u8>; 3] {
        let [b, a, z] = [
            fields.required("b", Number, "The first."),
            fields.optional("a", Number, "The second."),
            fields.optional("z", Number, "The third."),
        ];
        fields.either(("a", &a), ("z", &z), "not_with_a");
        [b, a, z]
    }

    #[test]
    fn the_first_of_several_counts_and_the_rest_is_named() {
        let values = [("b", 1), ("a", 2), ("b", 3), ("c", 4), ("c", 5)]
            .map(|(name, value)| (name.to_owned(), value));
        let fields = Fields::sent(values.into(), "unknown_field", Vec::new());
        let (values, found) = faults(fields, read);
        assert_eq!(values, [Field::Value(1), Field::Value(2), Field::Absent]);
        let expected = [("b", "duplicate"), ("c", "unknown_field")];
        assert_eq!(found, expected.map(|(name, code)| (name.to_owned(), code)));
    }

    #[test]
    fn one_of_two_is_sent() {
        let both = [("a", 1), ("z", 2)].map(|(name, value)| (name.to_owned(), value));
        let fields = Fields::sent(both.into(), "unknown_field", Vec::new());
        let (_, found) = faults(fields, read);
        assert_eq!(found, [("z".to_owned(), "not_with_a")]);
    }

    #[test]
    fn without_fields_none_can_be_read() {
        let fields = Fields::unreadable(Fault::new("", "wrong_type", "no fields"));
        let (values, found) = faults(fields, read);
        assert_eq!(values, [Field::Unreadable; 3]);
        assert_eq!(found, [(String::new(), "wrong_type")]);
    }

    #[test]
    fn what_is_read_is_what_is_described() {
        let expected = json!({
            "type": "object",
            "properties": {
                "b": {"type": "integer", "description": "The first."},
                "a": {"type": "integer", "description": "The second."},
                "z": {"type": "integer", "description": "The third."},
            },
            "required": ["b"],
            "additionalProperties": false,
            "oneOf": [{"required": ["a"]}, {"required": ["z"]}],
        });
        assert_eq!(describe(read), expected);
    }

    #[test]
    fn long_or_unprintable_names_are_not_repeated() {
        assert_eq!(shown("scope"), "scope");
        assert_eq!(shown(&"a".repeat(65)), "");
        assert_eq!(shown("a\u{202e}"), "");
        assert_eq!(shown("a\0"), "");
    }
}
