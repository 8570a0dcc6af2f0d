//! JSON Schemas of the answers, made from the types that are serialized.

use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform as _},
};
use serde_json::{Map, Value, json};

/// The schemas of one document. Each named type stands in it once.
pub(crate) struct Schemas(SchemaGenerator);

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().for_serialize().with(|it| {
            it.definitions_path = "/components/schemas".into();
            it.meta_schema = None;
        });
        Self(settings.into_generator())
    }

    /// A reference to the schema of a type.
    pub(crate) fn of<T: JsonSchema>(&mut self) -> Value {
        self.0.subschema_for::<T>().into()
    }

    /// A reference to a schema that no type has.
    pub(crate) fn put(&mut self, name: &str, schema: Value) -> Value {
        self.0.definitions_mut().insert(name.to_owned(), schema);
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// Every named schema.
    pub(super) fn named(mut self) -> Map<String, Value> {
        let mut named = self.0.take_definitions(true);
        for schema in named.values_mut() {
            if let Ok(schema) = schema.try_into() {
                RecursiveTransform(tidy).transform(schema);
            }
        }
        named
    }
}

/// Says of each text whether it is a moment or a day, which the field's name tells (CONTRIBUTING.md,
/// Words). What may be left out is not `null`. Leaves out the formats of integers, which are Rust's, and the line breaks of comments.
fn tidy(schema: &mut Schema) {
    let whole = schema.get("type").is_some_and(|kind| has(kind, "integer"));
    if whole {
        schema.remove("format");
    }
    if let Some(Value::String(meaning)) = schema.get_mut("description") {
        *meaning = meaning.replace('\n', " ");
    }
    let required = schema.get("required").cloned().unwrap_or_default();
    let properties = schema.get_mut("properties");
    let Some(properties) = properties.and_then(Value::as_object_mut) else {
        return;
    };
    for (name, field) in properties {
        if !has(&required, name) {
            without_null(field);
        }
        let format = match name.as_str() {
            "date" => "date",
            "at" => "date-time",
            name if name.ends_with("_at") => "date-time",
            _ => continue,
        };
        if has(&field["type"], "string") {
            field["format"] = json!(format);
        }
    }
}

/// Makes the schema one of a value that is there or left out.
fn without_null(schema: &mut Value) {
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some([first, _]) = schema["anyOf"].as_array().map(Vec::as_slice) {
        *schema = first.clone();
    }
}

/// Whether that is the word, or among the words.
fn has(words: &Value, word: &str) -> bool {
    words == word
        || words
            .as_array()
            .is_some_and(|all| all.contains(&json!(word)))
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Serialize, JsonSchema)]
    #[schemars(rename = "Thing")]
    struct Shown<'a> {
        /// How many.
        count: u64,
        seen_at: Option<String>,
        /// In seconds.
        ends_at: i64,
        date: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<&'a str>,
    }

    #[test]
    fn what_is_serialized_is_described() {
        let mut schemas = Schemas::new();
        assert_eq!(
            schemas.of::<Shown<'_>>(),
            json!({"$ref": "#/components/schemas/Thing"})
        );
        let expected = json!({
            "type": "object",
            "properties": {
                "count": {"type": "integer", "minimum": 0, "description": "How many."},
                "seen_at": {"type": ["string", "null"], "format": "date-time"},
                "ends_at": {"type": "integer", "description": "In seconds."},
                "date": {"type": "string", "format": "date"},
                "note": {"type": "string"},
            },
            "required": ["count", "seen_at", "ends_at", "date"],
        });
        assert_eq!(schemas.named()["Thing"], expected);
    }
}
