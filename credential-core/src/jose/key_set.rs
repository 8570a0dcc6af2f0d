//! A set of public keys (RFC 7517 §5).

use serde_json::Value;

use super::{
    json::parse_object,
    jwk::{KeyFault, PublicKey},
};

/// The most keys of a registered set.
pub const MAX_KEYS: usize = 10;
/// The longest registered set, as JSON without spaces, in bytes.
pub const MAX_KEY_SET: usize = 16 * 1024;

/// Why a key set is not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// Not an object with a list `keys` of at least one key.
    #[error("a key set is an object with a list `keys` of 1 to {MAX_KEYS} keys")]
    Malformed,
    /// Above [`MAX_KEYS`].
    #[error("a key set has at most {MAX_KEYS} keys")]
    TooMany,
    /// Above [`MAX_KEY_SET`].
    #[error("a key set has at most {MAX_KEY_SET} bytes")]
    TooLarge,
    /// Two keys with one `kid`, by their places: which of them signed would be open.
    #[error("keys {0} and {1} have the same `kid`")]
    RepeatedKid(usize, usize),
    /// Two entries that are the same key.
    #[error("keys {0} and {1} are the same key")]
    RepeatedKey(usize, usize),
    /// One key's fault, with its place, counted from 0.
    #[error("key {at}: {fault}")]
    Key {
        /// Its place.
        at: usize,
        /// What is wrong.
        fault: KeyFault,
    },
}

impl KeySetFault {
    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed_key_set",
            Self::TooMany => "too_many",
            Self::TooLarge => "too_long",
            Self::RepeatedKid(..) => "duplicate_kid",
            Self::RepeatedKey(..) => "duplicate_key",
            Self::Key { fault, .. } => fault.code(),
        }
    }
}

/// Reads a key set that is to be registered.
///
/// # Errors
/// Every fault; of a key the first.
pub fn parse_key_set(set: &Value) -> Result<Vec<PublicKey>, Vec<KeySetFault>> {
    key_set(set, PublicKey::parse)
}

/// A set that was checked when it was registered.
pub(crate) fn stored_key_set(set: &Value) -> Option<Vec<PublicKey>> {
    key_set(set, PublicKey::read).ok()
}

fn key_set(
    set: &Value,
    read: fn(&Value) -> Result<PublicKey, KeyFault>,
) -> Result<Vec<PublicKey>, Vec<KeySetFault>> {
    let entries = set.get("keys").and_then(Value::as_array);
    let entries = entries.filter(|entries| !entries.is_empty());
    let entries = entries.ok_or_else(|| vec![KeySetFault::Malformed])?;
    if entries.len() > MAX_KEYS {
        return Err(vec![KeySetFault::TooMany]);
    }
    if set.to_string().len() > MAX_KEY_SET {
        return Err(vec![KeySetFault::TooLarge]);
    }
    let mut keys: Vec<(usize, PublicKey)> = Vec::with_capacity(entries.len());
    let mut faults = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        match read(entry) {
            Err(fault) => faults.push(KeySetFault::Key { at, fault }),
            Ok(key) => {
                let same_kid =
                    |other: &PublicKey| other.kid().is_some() && other.kid() == key.kid();
                for (before, other) in &keys {
                    if same_kid(other) {
                        faults.push(KeySetFault::RepeatedKid(*before, at));
                    } else if other.is_the_key(&key) {
                        faults.push(KeySetFault::RepeatedKey(*before, at));
                    }
                }
                keys.push((at, key));
            }
        }
    }
    if faults.is_empty() {
        Ok(keys.into_iter().map(|(_, key)| key).collect())
    } else {
        Err(faults)
    }
}

/// The keys of a set that somebody else publishes that verify signatures here, at most `most`. Others may be among
/// them: for encryption, or of newer kinds.
pub(crate) fn usable_keys(set: &[u8], most: usize) -> Option<Vec<PublicKey>> {
    let set = parse_object(set)?;
    let entries = set.get("keys")?.as_array()?;
    let usable = entries
        .iter()
        .filter_map(|entry| PublicKey::read(entry).ok());
    Some(usable.take(most).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_foreign_set_what_can_be_used_is_taken() {
        let set = br#"{"keys":[{"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"},{"kty":"AKP","alg":"ML-DSA-44","pub":"x"},
            {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"2"}]}"#;
        assert_eq!(usable_keys(set, 30).unwrap().len(), 2);
        assert_eq!(usable_keys(set, 1).unwrap().len(), 1);
        assert_eq!(usable_keys(b"{\"keys\":[]}", 30), Some(Vec::new()));
        for no_set in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[],\"keys\":[]}"] {
            assert_eq!(usable_keys(no_set.as_bytes(), 30), None, "{no_set}");
        }
    }
}
