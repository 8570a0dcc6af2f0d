//! The JSON of what proves a client: read from requests, and shown.

use std::collections::BTreeMap;

use credential_core::{
    credential::{Credential, Means, NewWorkload, Registration, WorkloadRule},
    jose::{Algorithm, MAX_KEYS, PublicKey},
    manage::{Field, NewProof},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{credential_json::text, fields::Kind, json::JsonValue};

type Wrong<'a> = &'a mut dyn FnMut(&'static str, &str);

/// A JWK Set, or null. The use case judges it.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeySetOrNull;

impl Kind<JsonValue> for KeySetOrNull {
    type Value = Option<Value>;

    fn read(self, sent: JsonValue, wrong: Wrong<'_>) -> Field<Option<Value>> {
        if matches!(sent, JsonValue::Null) {
            return Field::Value(None);
        }
        key_set(sent, wrong).map_or(Field::Unreadable, |set| Field::Value(Some(set)))
    }

    fn schema(self) -> Value {
        // Without a type: generators of clients stumble over an object that may be null in one of two ways to
        // write a body.
        json!({})
    }
}

/// A text, or null.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextOrNull {
    /// The most characters, for the description: the use case judges the text.
    pub(super) max_chars: usize,
}

impl Kind<JsonValue> for TextOrNull {
    type Value = Option<String>;

    fn read(self, sent: JsonValue, wrong: Wrong<'_>) -> Field<Option<String>> {
        match sent {
            JsonValue::Null => Field::Value(None),
            JsonValue::Text(text) => Field::Value(Some(text)),
            _ => {
                wrong("wrong_type", "must be a text or null");
                Field::Unreadable
            }
        }
    }

    fn schema(self) -> Value {
        json!({"type": ["string", "null"], "maxLength": self.max_chars})
    }
}

/// A list of rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workloads;

impl Kind<JsonValue> for Workloads {
    type Value = Vec<NewWorkload>;

    fn read(self, sent: JsonValue, wrong: Wrong<'_>) -> Field<Vec<NewWorkload>> {
        let JsonValue::List(entries) = sent else {
            wrong("wrong_type", "must be a list of rules");
            return Field::Unreadable;
        };
        // One too many is refused as such; how long an answer is must have a bound.
        let entries = entries.into_iter().take(WorkloadRule::MAX_RULES + 1);
        let rules = entries.enumerate().map(|(at, entry)| {
            let mut wrong =
                |code, message: &str| wrong(code, &format!("`workloads[{at}]`: {message}"));
            if let JsonValue::Object(members) = entry {
                return workload(members, &mut wrong);
            }
            wrong("wrong_type", "must be an object");
            None
        });
        // All of them, so that every fault shows.
        let rules: Vec<Option<NewWorkload>> = rules.collect();
        let rules: Option<Vec<NewWorkload>> = rules.into_iter().collect();
        rules.map_or(Field::Unreadable, Field::Value)
    }

    fn schema(self) -> Value {
        json!({
            "type": "array",
            "maxItems": WorkloadRule::MAX_RULES,
            "items": {
                "type": "object",
                "properties": workload_properties(),
                "required": ["issuer", "audience", "subject"],
                "additionalProperties": false,
            },
        })
    }
}

/// How a new client proves itself: an object whose `kind` says which other members it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Authentication;

impl Kind<JsonValue> for Authentication {
    type Value = NewProof;

    fn read(self, sent: JsonValue, wrong: Wrong<'_>) -> Field<NewProof> {
        let JsonValue::Object(mut members) = sent else {
            wrong("wrong_type", "must be an object");
            return Field::Unreadable;
        };
        let kind = match take(&mut members, "kind", wrong) {
            Some(JsonValue::Text(kind)) => kind,
            Some(_) => String::new(),
            None => {
                wrong("required", "`kind` is missing");
                return Field::Unreadable;
            }
        };
        let proof = match kind.as_str() {
            "secret" => no_more(&members, wrong).then_some(NewProof::Secret),
            "public_key" => public_key(members, wrong),
            "workload" => workload(members, wrong).map(|it| NewProof::Workload(Box::new(it))),
            _ => {
                let message = "`kind` must be `secret`, `public_key` or `workload`";
                wrong("unsupported_authentication", message);
                None
            }
        };
        proof.map_or(Field::Unreadable, Field::Value)
    }

    fn schema(self) -> Value {
        let kind = |name: &str| json!({"type": "string", "const": name});
        let mut workload = workload_properties();
        workload["kind"] = kind("workload");
        json!({"type": "object", "oneOf": [
            {
                "type": "object",
                "properties": {"kind": kind("secret")},
                "required": ["kind"],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": {
                    "kind": kind("public_key"),
                    "jwks": key_set_schema(),
                    "jwks_uri": {"type": "string", "format": "uri"},
                },
                "required": ["kind"],
                "oneOf": [{"required": ["jwks"]}, {"required": ["jwks_uri"]}],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": workload,
                "required": ["kind", "issuer", "audience", "subject"],
                "additionalProperties": false,
            },
        ]})
    }
}

fn key_set_schema() -> Value {
    json!({
        "type": "object",
        "description": "A JWK Set (RFC 7517) of public keys.",
        "properties": {"keys": {
            "type": "array", "minItems": 1, "maxItems": MAX_KEYS, "items": {"type": "object"},
        }},
        "required": ["keys"],
    })
}

fn workload_properties() -> Value {
    let text = |meaning: &str| {
        let most = WorkloadRule::MAX_TEXT;
        json!({"type": "string", "minLength": 1, "maxLength": most, "description": meaning})
    };
    json!({
        "issuer": text("`iss` of the tokens: an https URL, unless `jwks` pins the keys."),
        "audience": text("`aud` of the tokens."),
        "subject": text("`sub` of the tokens; it may end in a `*` right after a `:` or `/`."),
        "claims": {
            "type": "object",
            "maxProperties": WorkloadRule::MAX_CLAIMS,
            "additionalProperties": {"type": ["string", "number", "boolean"]},
            "description": "Further claims, which must be equal.",
        },
        "jwks": key_set_schema(),
    })
}

/// Takes a member out. A repeat is a fault.
fn take(members: &mut Vec<(String, JsonValue)>, name: &str, wrong: Wrong<'_>) -> Option<JsonValue> {
    let mut found = members.extract_if(.., |(key, _)| key == name);
    let first = found.next();
    if found.count() > 0 {
        wrong("duplicate", &format!("`{name}` is given more than once"));
    }
    first.map(|(_, value)| value)
}

/// Whether all members were taken out.
fn no_more(members: &[(String, JsonValue)], wrong: Wrong<'_>) -> bool {
    if !members.is_empty() {
        wrong("unknown_field", "it has members that are not known here");
    }
    members.is_empty()
}

fn key_set(sent: JsonValue, wrong: Wrong<'_>) -> Option<Value> {
    let plain = match sent {
        JsonValue::Object(_) => sent.plain(),
        _ => None,
    };
    if plain.is_none() {
        let message = "`jwks` must be an object without repeated members";
        wrong("wrong_type", message);
    }
    plain
}

fn public_key(mut members: Vec<(String, JsonValue)>, wrong: Wrong<'_>) -> Option<NewProof> {
    let set = take(&mut members, "jwks", wrong);
    let url = take(&mut members, "jwks_uri", wrong);
    let known = no_more(&members, wrong);
    let proof = match (set, url) {
        (Some(set), None) => key_set(set, wrong).map(NewProof::Keys),
        (None, Some(JsonValue::Text(url))) => Some(NewProof::KeySetUrl(url)),
        (None, Some(_)) => {
            wrong("wrong_type", "`jwks_uri` must be a text");
            None
        }
        (None, None) => {
            wrong("required", "send `jwks` or `jwks_uri`");
            None
        }
        (Some(_), Some(_)) => {
            wrong("not_with_jwks", "send `jwks` or `jwks_uri`, not both");
            None
        }
    };
    proof.filter(|_| known)
}

fn workload(mut members: Vec<(String, JsonValue)>, wrong: Wrong<'_>) -> Option<NewWorkload> {
    let mut complete = true;
    let mut text = |name: &str| match take(&mut members, name, wrong) {
        Some(JsonValue::Text(text)) => text,
        Some(_) => {
            wrong("wrong_type", &format!("`{name}` must be a text"));
            complete = false;
            String::new()
        }
        None => {
            wrong("required", &format!("`{name}` is missing"));
            complete = false;
            String::new()
        }
    };
    let (issuer, audience, subject) = (text("issuer"), text("audience"), text("subject"));
    let claims = match take(&mut members, "claims", wrong) {
        None | Some(JsonValue::Null) => Some(Map::new()),
        Some(claims @ JsonValue::Object(_)) => match claims.plain() {
            Some(Value::Object(claims)) => Some(claims),
            _ => None,
        },
        Some(_) => None,
    };
    if claims.is_none() {
        wrong(
            "wrong_type",
            "`claims` must be an object without repeated members",
        );
    }
    let jwks = match take(&mut members, "jwks", wrong) {
        None | Some(JsonValue::Null) => Some(None),
        Some(set) => key_set(set, wrong).map(Some),
    };
    let known = no_more(&members, wrong);
    let (claims, jwks) = (claims?, jwks?);
    (complete && known).then_some(NewWorkload {
        issuer,
        audience,
        subject,
        claims,
        jwks,
    })
}

/// A public key as admins see it.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub(super) struct ShownKey<'a> {
    kid: Option<&'a str>,
    kty: &'static str,
    alg: Option<&'static str>,
    thumbprint: String,
    /// The key itself, for an edit that keeps it; `null` in a list with `view=summary`.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<serde_json::Map<String, Value>>")
    )]
    jwk: Option<Value>,
    created_at: String,
    last_used_at: Option<String>,
}

impl<'a> ShownKey<'a> {
    fn of(key: &'a PublicKey, registration: &'a Registration) -> Self {
        Self {
            kid: key.kid(),
            kty: key.kty(),
            alg: key.algorithm().map(Algorithm::as_str),
            thumbprint: key.thumbprint(),
            jwk: Some(key.to_jwk()),
            created_at: registration.created_at.to_string(),
            last_used_at: text(registration.last_used_at),
        }
    }

    pub(super) fn in_a_list(self) -> Self {
        Self { jwk: None, ..self }
    }
}

/// A trusted workload as admins see it.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub(super) struct ShownWorkload<'a> {
    id: String,
    issuer: &'a str,
    audience: &'a str,
    subject: &'a str,
    claims: &'a BTreeMap<String, Value>,
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<serde_json::Map<String, Value>>")
    )]
    jwks: Option<Value>,
    created_at: String,
    last_used_at: Option<String>,
}

/// What a credential may be proven with besides its secrets.
pub(super) struct ShownProofs<'a> {
    pub(super) jwks_uri: Option<&'a str>,
    pub(super) keys: Vec<ShownKey<'a>>,
    pub(super) workloads: Vec<ShownWorkload<'a>>,
}

impl<'a> ShownProofs<'a> {
    pub(super) fn of(credential: &'a Credential) -> Self {
        let mut shown = Self {
            jwks_uri: None,
            keys: Vec::new(),
            workloads: Vec::new(),
        };
        for registration in &credential.settings.registrations {
            match &registration.means {
                Means::Key(key) => shown.keys.push(ShownKey::of(key, registration)),
                Means::KeySetUrl(url) => shown.jwks_uri = Some(url.as_str()),
                Means::Workload(rule) => shown.workloads.push(ShownWorkload {
                    id: registration.proof.to_string(),
                    issuer: rule.issuer(),
                    audience: rule.audience(),
                    subject: rule.subject(),
                    claims: rule.claims(),
                    jwks: rule.jwks(),
                    created_at: registration.created_at.to_string(),
                    last_used_at: text(registration.last_used_at),
                }),
            }
        }
        shown
    }
}
