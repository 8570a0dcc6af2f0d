//! What a document says of a route of the admin API beside what the route reads.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Map, Value, json};

use super::{refusals::Refusals, schemas::Schemas};
use crate::admin::AdminRoute;

/// One operation of the admin API.
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// As in [`ADMIN_ROUTES`](crate::ADMIN_ROUTES).
    pub(crate) path: &'static str,
    /// What generated clients call it.
    pub(crate) id: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: &'static str,
    /// The name of the schema of its body, if it reads one.
    pub(crate) body: Option<&'static str>,
    /// A request without a body is one without fields.
    pub(crate) body_optional: bool,
    pub(crate) if_match: IfMatch,
    /// Whether an `Idempotency-Key` makes it safe to repeat.
    pub(crate) once: bool,
    pub(crate) status: u16,
    pub(crate) answer: fn(&mut Schemas) -> Value,
    /// Names among the headers of the document.
    pub(crate) headers: &'static [&'static str],
    /// Codes of its refusals, beside those that follow from what it reads.
    pub(crate) refusals: &'static [&'static str],
}

/// Whether the version that a change was decided on is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMatch {
    No,
    Optional,
    Required,
}

impl Operation {
    /// Every code with which it refuses.
    fn codes(&self, route: &AdminRoute) -> Vec<&'static str> {
        let mut codes = vec![
            "unauthenticated",
            "forbidden",
            "tenant_changed",
            "rate_limited",
            "unavailable",
        ];
        if self.method != Method::GET {
            codes.push("cross_site");
        }
        if self.body.is_some() {
            codes.extend(["payload_too_large", "unsupported_media_type", "malformed"]);
        }
        if self.body.is_some() || route.query_schema().is_some() {
            codes.push("invalid");
        }
        if self.path.contains('{') {
            codes.push("not_found");
        }
        match self.if_match {
            IfMatch::No => {}
            IfMatch::Optional => codes.push("stale_version"),
            IfMatch::Required => codes.extend(["precondition_required", "stale_version"]),
        }
        if self.once {
            codes.extend(["idempotency_key_reused", "idempotency_in_progress"]);
        }
        codes.extend(self.refusals);
        codes
    }

    /// The operation object, without its examples.
    pub(super) fn describe(
        &self,
        route: &AdminRoute,
        schemas: &mut Schemas,
        refusals: &mut Refusals,
    ) -> Value {
        let mut responses = refusals.responses(&self.codes(route), schemas);
        let headers = self.headers.iter().map(|name| {
            let reference = json!({"$ref": format!("#/components/headers/{name}")});
            ((*name).to_owned(), reference)
        });
        let mut success = json!({
            "description": self.summary,
            "content": {"application/json": {"schema": (self.answer)(schemas)}},
        });
        if !self.headers.is_empty() {
            success["headers"] = headers.collect::<Map<_, _>>().into();
        }
        responses.insert(self.status.to_string(), success);
        let mut operation = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.description,
            "security": [{"signIn": []}],
            "parameters": self.parameters(route),
            "responses": responses,
        });
        if let Some(name) = self.body {
            let schema = json!({"schema": {"$ref": format!("#/components/schemas/{name}")}});
            let mut content = json!({"application/json": schema});
            if self.method == Method::PATCH {
                content["application/merge-patch+json"] = schema;
            }
            operation["requestBody"] = json!({"required": !self.body_optional, "content": content});
        }
        operation
    }

    fn parameters(&self, route: &AdminRoute) -> Vec<Value> {
        let shared = |name: &str| json!({"$ref": format!("#/components/parameters/{name}")});
        let mut parameters: Vec<Value> = ["id", "selector"]
            .into_iter()
            .filter(|name| self.path.contains(&format!("{{{name}}}")))
            .map(shared)
            .collect();
        if let Some(Value::Object(query)) = route.query_schema() {
            let fields = query.get("properties").and_then(Value::as_object);
            parameters.extend(fields.into_iter().flatten().map(|(name, schema)| {
                let mut schema = schema.clone();
                let meaning = schema
                    .as_object_mut()
                    .and_then(|it| it.remove("description"));
                json!({"name": name, "in": "query", "description": meaning, "schema": schema})
            }));
        }
        match self.if_match {
            IfMatch::No => {}
            IfMatch::Optional => parameters.push(shared("IfMatch")),
            IfMatch::Required => parameters.push(shared("IfMatchRequired")),
        }
        if self.once {
            parameters.push(shared("IdempotencyKey"));
        }
        parameters.push(shared("ExpectedTenant"));
        parameters
    }
}

/// The body of a route, as one schema per way to write it: `oneOf` whole objects, which generated
/// clients understand, in place of one object with a rule.
pub(super) fn body(name: &str, schema: Value) -> Value {
    let Value::Object(mut object) = schema else {
        return schema;
    };
    let Some(Value::Array(ways)) = object.remove("oneOf") else {
        return object.into();
    };
    let needed = |way: &Value| way["required"].as_array().cloned().unwrap_or_default();
    let one_of: BTreeSet<String> = ways
        .iter()
        .flat_map(needed)
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let way = |way: &Value| {
        let required = needed(way);
        let mut object = object.clone();
        let field = required.iter().find_map(Value::as_str).unwrap_or_default();
        object.insert("title".to_owned(), json!(format!("{name}_{field}")));
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            properties.retain(|name, _| !one_of.contains(name) || required.contains(&json!(name)));
        }
        if let Some(Value::Array(all)) = object.get_mut("required") {
            all.extend(required);
        }
        Value::Object(object)
    };
    json!({"oneOf": ways.iter().map(way).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_either_of_two_fields_is_one_of_two_objects() {
        let object = |properties: Value, required: Value| {
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        };
        let titled = |title: &str, mut object: Value| {
            object["title"] = json!(title);
            object
        };
        let mut either = object(json!({"a": {}, "b": {}, "c": {}}), json!(["c"]));
        either["oneOf"] = json!([{"required": ["a"]}, {"required": ["b"]}]);
        let expected = json!({"oneOf": [
            titled("Choice_a", object(json!({"a": {}, "c": {}}), json!(["c", "a"]))),
            titled("Choice_b", object(json!({"b": {}, "c": {}}), json!(["c", "b"]))),
        ]});
        assert_eq!(body("Choice", either), expected);
        let plain = object(json!({"a": {}}), json!(["a"]));
        assert_eq!(body("Plain", plain.clone()), plain);
    }
}
