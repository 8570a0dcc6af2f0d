//! What records consist of, as documents have it (feature `serde`).
//!
//! Names and ids are text, and are checked again when they are read. Moments and dates are numbers,
//! which databases compare. A field that this version does not know is refused: it might be a restriction.

use std::convert::Infallible;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    audit::Action,
    catalog::ApiTypeId,
    clock::{Day, Timestamp},
    credential::{CredentialName, Description, Means, Networks},
    id::{ActorId, ClientId, CredentialId, Environment, ProofId, TenantId, parse_hex},
    secret::{hash::SecretHash, keyring::KeyName},
    store::Mark,
    token::TokenId,
};

/// A type, what stands for it, and the way there and back.
macro_rules! written_as {
    ($($type:ty: $form:ty = $write:expr, $read:expr;)*) => { $(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let write: fn(&Self) -> $form = $write;
                write(self).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let form = <$form>::deserialize(deserializer)?;
                let read: Result<Self, _> = $read(form);
                read.map_err(D::Error::custom)
            }
        }
    )* };
}

written_as! {
    ActorId: String = Self::to_string, |it: String| it.parse();
    ApiTypeId: String = Self::to_string, |it: String| it.parse();
    ClientId: String = Self::to_string, |it: String| it.parse();
    CredentialId: String = Self::to_string, |it: String| it.parse();
    Environment: String = Self::to_string, |it: String| it.parse();
    KeyName: String = Self::to_string, |it: String| it.parse();
    ProofId: String = Self::to_string, |it: String| it.parse();
    TenantId: String = Self::to_string, |it: String| it.parse();
    TokenId: String = Self::to_string, |it: String| it.parse();
    Action: String = |it| it.as_str().to_owned(), |it: String| Ok::<_, Infallible>(it.into());
    CredentialName: String = Self::to_string, |it: String| Self::new(&it);
    Description: String = |it| it.as_str().to_owned(), |it: String| Self::new(&it);
    Networks: Vec<String> = |it| it.texts().collect(), |it: Vec<String>| networks(&it);
    Means: String = Self::to_text, |it: String| Self::from_text(&it).ok_or("not as core writes it");
    SecretHash: (String, KeyName) = |it| (it.phc().to_owned(), it.key().clone()),
        |(phc, key): (String, _)| Self::from_parts(phc, key);
    Mark: String = |it| format!("{:032x}", u128::from_be_bytes(it.0)),
        |it: String| parse_hex(&it).map(Self).ok_or("not 32 lower-case hexadecimal digits");
    Timestamp: i64 = |it| it.as_micros(), |micros| Ok::<_, Infallible>(Self::from_micros(micros));
    Day: i32 = |it| it.as_days(), |days| Ok::<_, Infallible>(Self::from_days(days));
}

fn networks(texts: &[String]) -> Result<Networks, &'static str> {
    Networks::parse(texts).map_err(|_| "not a list of networks")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::CredentialState;

    /// A new part of a record has a default (`#[serde(default)]`; an `Option` has one by itself), so that
    /// stores go on reading what they have.
    #[test]
    fn documents_of_the_first_version_stay_readable() {
        const FIRST: &str = r#"{"credential":{"identity":{"id":"0102030405060708090a0b0c0d0e0f10",
            "tenant":"alder","api_type":"apiv2","client_id":"cred_sandbox_0123456789abcdefghijkl",
            "environment":"sandbox","created_at":1767225600000001,"created_by":"dr-lee"},
            "settings":{"name":"Röntgen","description":"two\nlines","scopes":["system/patients.read"],
            "expires_at":null,"disabled_at":-1,"allowed_networks":["192.0.2.0/24"],"secrets":[
            {"selector":"0123456789abcdef","hash":["$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","k1"],
            "created_at":1767225600000001,"expires_at":1767225600000002,"ended_at":null,"last_used_at":null}]},
            "observed":{"tokens_valid_from":null,"last_used_at":1767225600000003},
            "revoked":{"at":1767225600000004,"by":"dr-lee"},"version":7},
            "revoked_tokens":[{"id":"0102030405060708090a0b0c0d0e0f10","issued_at":1,"expires_at":2}]}"#;
        let read: CredentialState = serde_json::from_str(FIRST).unwrap();
        let written: serde_json::Value = serde_json::to_value(&read).unwrap();
        let first: serde_json::Value = serde_json::from_str(FIRST).unwrap();
        assert_eq!(written, first);

        // It might be a restriction.
        let newer = FIRST.replace(
            r#""disabled_at":"#,
            r#""only_on_sundays":true,"disabled_at":"#,
        );
        assert!(serde_json::from_str::<CredentialState>(&newer).is_err());
    }

    #[test]
    fn what_core_would_not_have_written_is_refused() {
        assert!(serde_json::from_str::<TenantId>(r#""""#).is_err());
        assert!(serde_json::from_str::<Networks>(r#"["192.0.2.1/24"]"#).is_err());
        assert!(serde_json::from_str::<SecretHash>(r#"["plain","k1"]"#).is_err());
    }
}
