//! What a client may prove itself with in place of a secret: a public key, or a token of a platform that is
//! trusted.

use serde_json::{Value, json};

use super::{KeySetUrl, WorkloadRule};
use crate::{clock::Timestamp, id::ProofId, jose::PublicKey};

/// One registered proof that is no secret. It ends when it is taken away, at once and with its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Registration {
    /// Drawn when it was registered; tokens name it.
    pub proof: ProofId,
    /// What proves.
    pub means: Means,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The latest recorded use.
    pub last_used_at: Option<Timestamp>,
}

/// What a registration accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// Assertions that the client signed with this key (RFC 7523).
    Key(PublicKey),
    /// The same with the keys that the client publishes there.
    KeySetUrl(KeySetUrl),
    /// Tokens that this rule accepts.
    Workload(WorkloadRule),
}

impl Means {
    /// As JSON text, for stores. Equal means have equal texts.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (kind, value) = match self {
            Self::Key(key) => ("jwk", key.to_jwk()),
            Self::KeySetUrl(url) => ("jwks_uri", url.as_str().into()),
            Self::Workload(rule) => ("workload", rule.to_json()),
        };
        json!({ kind: value }).to_string()
    }

    /// Reads what [`to_text`](Self::to_text) wrote. `None` if it is anything else.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let Ok(Value::Object(members)) = serde_json::from_str(text) else {
            return None;
        };
        let (kind, value) = members.iter().next()?;
        Some(match kind.as_str() {
            "jwk" => Self::Key(PublicKey::read(value).ok()?),
            "jwks_uri" => Self::KeySetUrl(KeySetUrl::stored(value.as_str()?)),
            "workload" => Self::Workload(WorkloadRule::stored(value)?),
            _ => return None,
        })
    }
}
