//! Which tokens of another platform a client may prove itself with (workload identity federation).

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value, json};

use super::{UrlFault, key_set_url::check_https};
use crate::jose::{KeySetFault, PublicKey, parse_key_set, stored_key_set};

/// A rule: the tokens of one issuer, for one audience, about one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadRule {
    issuer: Box<str>,
    audience: Box<str>,
    subject: Box<str>,
    claims: BTreeMap<String, Value>,
    /// Pinned keys; `None`: those that the issuer publishes.
    keys: Option<Vec<PublicKey>>,
}

/// A rule as an admin entered it.
#[derive(Debug, Clone, Default)]
pub struct NewWorkload {
    /// `iss`, to the byte. An https URL, unless keys are pinned.
    pub issuer: String,
    /// `aud`, to the byte.
    pub audience: String,
    /// `sub`, to the byte, or all that is in front of a `*` at the end, right after a `:` or `/`.
    pub subject: String,
    /// Further claims, which must be equal: texts, numbers and booleans.
    pub claims: Map<String, Value>,
    /// A JWK Set in place of the one that the issuer publishes.
    pub jwks: Option<Value>,
}

/// Why a rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadFault {
    /// A part is empty or longer than [`WorkloadRule::MAX_TEXT`].
    #[error("`{0}` must have 1 to {max} bytes", max = WorkloadRule::MAX_TEXT)]
    Length(&'static str),
    /// A part holds a control character.
    #[error("`{0}` must not hold control characters")]
    Character(&'static str),
    /// The issuer's keys cannot be fetched from there.
    #[error("`issuer`: {0}, or pin its keys with `jwks`")]
    Issuer(UrlFault),
    /// A `*` elsewhere than at the end after a separator.
    #[error(
        "`subject` may hold one `*`, at its end, right after a `:` or a `/`, with text before that"
    )]
    Subject,
    /// More than [`WorkloadRule::MAX_CLAIMS`].
    #[error("`claims` may name {max} claims at most", max = WorkloadRule::MAX_CLAIMS)]
    TooManyClaims,
    /// A claim that the rule itself is about, or of another type.
    #[error(
        "`claims`: `{0}` must be a text, a number or a boolean, and none of iss, aud, sub, exp, nbf, iat and jti"
    )]
    Claim(String),
    /// Of the pinned keys.
    #[error("`jwks`: {0}")]
    Keys(KeySetFault),
}

impl WorkloadFault {
    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length(_) => "length",
            Self::Character(_) => "forbidden_character",
            Self::Issuer(fault) => fault.code(),
            Self::Subject => "invalid_subject",
            Self::TooManyClaims => "too_many",
            Self::Claim(_) => "invalid_claim",
            Self::Keys(fault) => fault.code(),
        }
    }

    /// The member that it is about.
    #[must_use]
    pub fn member(&self) -> &'static str {
        match self {
            Self::Length(member) | Self::Character(member) => member,
            Self::Issuer(_) => "issuer",
            Self::Subject => "subject",
            Self::TooManyClaims | Self::Claim(_) => "claims",
            Self::Keys(_) => "jwks",
        }
    }
}

impl WorkloadRule {
    /// The most rules of a credential.
    pub const MAX_RULES: usize = 5;
    /// The most further claims of a rule.
    pub const MAX_CLAIMS: usize = 5;
    /// The longest issuer, audience, subject, claim name and claim text, in bytes.
    pub const MAX_TEXT: usize = 512;

    /// Checks a rule.
    ///
    /// # Errors
    /// Every fault.
    pub fn check(new: NewWorkload) -> Result<Self, Vec<WorkloadFault>> {
        let mut faults = Vec::new();
        for (member, text) in [
            ("issuer", &new.issuer),
            ("audience", &new.audience),
            ("subject", &new.subject),
        ] {
            if !(1..=Self::MAX_TEXT).contains(&text.len()) {
                faults.push(WorkloadFault::Length(member));
            } else if text.chars().any(char::is_control) {
                faults.push(WorkloadFault::Character(member));
            }
        }
        if new.jwks.is_none()
            && !new.issuer.is_empty()
            && let Err(fault) = check_https(&new.issuer)
        {
            faults.push(WorkloadFault::Issuer(fault));
        }
        if !subject_is_bounded(&new.subject) {
            faults.push(WorkloadFault::Subject);
        }
        if new.claims.len() > Self::MAX_CLAIMS {
            faults.push(WorkloadFault::TooManyClaims);
        }
        for (name, value) in new.claims.iter().take(Self::MAX_CLAIMS) {
            if !is_claim(name, value) {
                // A longer one may be a secret that was pasted into the wrong place.
                let shown = if name.len() <= 64 { name } else { "…" };
                faults.push(WorkloadFault::Claim(shown.to_owned()));
            }
        }
        let keys = new.jwks.map(|set| parse_key_set(&set)).transpose();
        let keys = keys.map_err(|wrong| faults.extend(wrong.into_iter().map(WorkloadFault::Keys)));
        match keys {
            Ok(keys) if faults.is_empty() => Ok(Self {
                issuer: new.issuer.into(),
                audience: new.audience.into(),
                subject: new.subject.into(),
                claims: new.claims.into_iter().collect(),
                keys,
            }),
            _ => Err(faults),
        }
    }

    /// `iss` of the tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `aud` of the tokens.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// `sub` of the tokens, or its beginning and `*`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Further claims of the tokens.
    #[must_use]
    pub fn claims(&self) -> &BTreeMap<String, Value> {
        &self.claims
    }

    /// The keys that are pinned; `None`: the issuer publishes them.
    #[must_use]
    pub fn keys(&self) -> Option<&[PublicKey]> {
        self.keys.as_deref()
    }

    /// The pinned keys as a JWK Set.
    #[must_use]
    pub fn jwks(&self) -> Option<Value> {
        let keys = self.keys.as_ref()?.iter().map(PublicKey::to_jwk);
        Some(json!({ "keys": keys.collect::<Vec<_>>() }))
    }

    /// Whether the claims of a token are those that the rule asks for. Says nothing about its signature and its
    /// times.
    pub(crate) fn accepts(&self, claims: &Map<String, Value>) -> bool {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let audience = match claims.get("aud") {
            Some(Value::Array(list)) => match list.as_slice() {
                [Value::String(only)] => Some(only.as_str()),
                _ => None,
            },
            _ => text("aud"),
        };
        let subject = text("sub").is_some_and(|subject| match self.subject.strip_suffix('*') {
            Some(prefix) => subject.len() > prefix.len() && subject.starts_with(prefix),
            None => *subject == *self.subject,
        });
        text("iss") == Some(&*self.issuer)
            && audience == Some(&*self.audience)
            && subject
            && self
                .claims
                .iter()
                .all(|(name, value)| claims.get(name).is_some_and(|claim| equal(claim, value)))
    }

    pub(super) fn to_json(&self) -> Value {
        let mut rule = json!({
            "issuer": self.issuer, "audience": self.audience, "subject": self.subject,
            "claims": self.claims,
        });
        if let Some(jwks) = self.jwks() {
            rule["jwks"] = jwks;
        }
        rule
    }

    /// One that was checked when it was stored.
    pub(super) fn stored(rule: &Value) -> Option<Self> {
        let text = |name: &str| Some(rule.get(name)?.as_str()?.into());
        let claims = rule.get("claims")?.as_object()?.clone();
        let keys = match rule.get("jwks") {
            Some(set) => Some(stored_key_set(set)?),
            None => None,
        };
        Some(Self {
            issuer: text("issuer")?,
            audience: text("audience")?,
            subject: text("subject")?,
            claims: claims.into_iter().collect(),
            keys,
        })
    }
}

/// No `*`, or one at the end behind a separator with something before it: the prefix then ends where the
/// issuer's own names end, so `repo:acme/*` does not cover `repo:acme-evil/x`.
fn subject_is_bounded(subject: &str) -> bool {
    match subject.find('*') {
        None => true,
        Some(at) => {
            let before = subject.get(..at).unwrap_or_default();
            at + 1 == subject.len() && before.len() > 1 && before.ends_with([':', '/'])
        }
    }
}

fn is_claim(name: &str, value: &Value) -> bool {
    let registered = ["iss", "aud", "sub", "exp", "nbf", "iat", "jti"];
    let fits = match value {
        Value::String(text) => text.len() <= WorkloadRule::MAX_TEXT,
        Value::Number(number) => is_exact(number),
        Value::Bool(_) => true,
        _ => false,
    };
    fits && (1..=WorkloadRule::MAX_TEXT).contains(&name.len()) && !registered.contains(&name)
}

/// JSON has one kind of number: `1` and `1.0` are the same. Above 2^53 a fraction may stand for several whole
/// numbers, and is none of them.
fn equal(claim: &Value, wanted: &Value) -> bool {
    let same = |one: &Number, other: &Number| {
        one == other || is_exact(one) && is_exact(other) && one.as_f64() == other.as_f64()
    };
    match (claim, wanted) {
        (Value::Number(one), Value::Number(other)) => same(one, other),
        _ => claim == wanted,
    }
}

/// Whether a number is as it was written, however it is read.
fn is_exact(number: &Number) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_f64().is_some_and(|it| it.abs() < EXACT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> NewWorkload {
        NewWorkload {
            issuer: "https://token.actions.example.com".into(),
            audience: "https://api.example.com".into(),
            subject: "repo:acme/site:ref:refs/heads/main".into(),
            claims: Map::from_iter([("environment".to_owned(), json!("production"))]),
            jwks: None,
        }
    }

    fn faults(change: impl FnOnce(&mut NewWorkload)) -> Vec<&'static str> {
        let mut rule = new();
        change(&mut rule);
        let faults = WorkloadRule::check(rule).err().unwrap_or_default();
        faults.iter().map(WorkloadFault::code).collect()
    }

    #[test]
    fn a_rule_is_narrow() {
        assert!(faults(|_| {}).is_empty());
        for subject in [
            "repo:acme/*",
            "repo:acme/site:*",
            "system:serviceaccount:ns:*",
            "spiffe://td/ns/*",
        ] {
            assert!(
                faults(|it| it.subject = subject.into()).is_empty(),
                "{subject}"
            );
        }
        for subject in [
            "*",
            ":*",
            "/*",
            "repo:acme*",
            "repo:*/site",
            "repo:acme/**",
            "re*po:a/*",
        ] {
            assert_eq!(
                faults(|it| it.subject = subject.into()),
                ["invalid_subject"],
                "{subject}"
            );
        }
        assert_eq!(faults(|it| it.audience.clear()), ["length"]);
        assert_eq!(
            faults(|it| it.subject = "a\nb".into()),
            ["forbidden_character"]
        );
        assert_eq!(
            faults(|it| it.issuer = "http://issuer.example.com".into()),
            ["invalid_url"]
        );
        assert_eq!(
            faults(|it| it.issuer = "https://10.0.0.1".into()),
            ["private_address"]
        );
        assert_eq!(
            faults(|it| it.jwks = Some(json!({"keys": []}))),
            ["malformed_key_set"]
        );
        for claim in [
            json!(9_007_199_254_740_993_u64),
            json!(1e300),
            json!(null),
            json!([1]),
            json!({"a": 1}),
            json!("x".repeat(513)),
        ] {
            let with = |it: &mut NewWorkload| drop(it.claims.insert("ref".into(), claim.clone()));
            assert_eq!(faults(with), ["invalid_claim"], "{claim}");
        }
        for name in ["iss", "aud", "exp", ""] {
            let with = |it: &mut NewWorkload| drop(it.claims.insert(name.into(), json!("x")));
            assert_eq!(faults(with), ["invalid_claim"], "{name}");
        }
        let many = |it: &mut NewWorkload| {
            (0..6).for_each(|n| drop(it.claims.insert(n.to_string(), json!(n))));
        };
        assert_eq!(faults(many), ["too_many"]);
    }

    #[test]
    fn tokens_are_accepted_by_every_part() {
        let mut rule = new();
        rule.subject = "repo:acme/*".into();
        rule.claims.insert("run".into(), json!(7));
        let rule = WorkloadRule::check(rule).unwrap();
        let good = json!({
            "iss": "https://token.actions.example.com", "aud": "https://api.example.com",
            "sub": "repo:acme/site", "environment": "production", "run": 7.0, "other": [1],
        });
        let accepts = |claims: &Value| rule.accepts(claims.as_object().unwrap());
        assert!(accepts(&good));
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            accepts(&claims)
        };
        assert!(with("aud", json!(["https://api.example.com"])));
        for (name, value) in [
            ("iss", json!("https://token.actions.example.com/")),
            (
                "aud",
                json!(["https://api.example.com", "https://other.example.com"]),
            ),
            ("aud", json!("https://api.example.com/")),
            ("aud", json!([])),
            ("aud", json!(null)),
            ("sub", json!("repo:acme/")),
            ("sub", json!("repo:acme-evil/site")),
            ("sub", json!(["repo:acme/site"])),
            ("environment", json!("staging")),
            ("environment", json!(["production"])),
            ("run", json!(9_007_199_254_740_993_u64)),
            ("run", json!("7")),
            ("run", json!(true)),
        ] {
            assert!(!with(name, value.clone()), "{name}: {value}");
        }
        for name in ["iss", "aud", "sub", "environment", "run"] {
            let mut claims = good.as_object().unwrap().clone();
            claims.remove(name);
            assert!(!rule.accepts(&claims), "without {name}");
        }
        let again = WorkloadRule::stored(&rule.to_json()).unwrap();
        assert_eq!(again, rule);
    }
}
