//! A credential and its life.

use std::fmt;

use icu_casemap::CaseMapper;
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory},
};
use unicode_normalization::UnicodeNormalization;

use crate::{
    catalog::ApiTypeId,
    clock::Timestamp,
    id::{ActorId, ClientId, CredentialId, Environment, ProofId, TenantId},
    secret::hash::SecretHash,
    token::TokenId,
};

/// The stored record behind an API key, in three parts by how they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Never changes.
    pub identity: Identity,
    /// What admins edit, as a whole; each edit moves `version`.
    pub settings: Settings,
    /// What happens to it in use; moves no version.
    pub observed: Observed,
    /// Set once, final; moves `version`.
    pub revoked: Option<Revocation>,
    /// Grows by one with each edit and with the revocation. Starts at 1.
    pub version: u64,
}

/// Which credential it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The admin API's name for it.
    pub id: CredentialId,
    /// Who owns it.
    pub tenant: TenantId,
    /// Which API it is for, chosen once.
    pub api_type: ApiTypeId,
    /// RFC 6749 §2.2.
    pub client_id: ClientId,
    /// Where it works; also part of `client_id` and of each secret.
    pub environment: Environment,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: ActorId,
}

/// What admins decide about a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What admins call it; unique among the tenant's credentials that are not revoked.
    pub name: CredentialName,
    /// Canonical scope names, sorted. A name that the catalogue no longer lists confers nothing.
    pub scopes: Vec<String>,
    /// From then on it is refused; `None`: never. May be moved, also to revive it.
    pub expires_at: Option<Timestamp>,
    /// One or two live secrets, and those that ended, oldest first. An edit adds secrets, takes them
    /// away and moves their `expires_at`; the hash and the last use of a secret that stays are the
    /// store's.
    pub secrets: Vec<StoredSecret>,
}

/// What was seen of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Tokens issued up to then are refused (RFC 7009 in bulk); `None`: none are.
    pub tokens_valid_from: Option<Timestamp>,
    /// The latest issued token or allowed call that was recorded.
    pub last_used_at: Option<Timestamp>,
}

impl Credential {
    /// Where in its life the credential is at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        if self.revoked.is_some() {
            Status::Revoked
        } else if self.settings.expires_at.is_some_and(|at| at <= now) {
            Status::Expired
        } else {
            Status::Active
        }
    }

    /// The secrets that authenticate at `now`.
    pub fn live_secrets(&self, now: Timestamp) -> impl Iterator<Item = &StoredSecret> {
        self.settings
            .secrets
            .iter()
            .filter(move |secret| secret.is_live(now))
    }

    /// The secret of that selector, live or not.
    #[must_use]
    pub fn secret(&self, selector: &ProofId) -> Option<&StoredSecret> {
        self.settings
            .secrets
            .iter()
            .find(|secret| secret.selector == *selector)
    }
}

/// Where in its life a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Works.
    Active,
    /// Past `expires_at`: refused, and revived by moving that into the future.
    Expired,
    /// Ended for good.
    Revoked,
}

impl Status {
    /// `active`, `expired` or `revoked`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// When and by whom a credential was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The first revocation's time.
    pub at: Timestamp,
    /// The first revocation's actor.
    pub by: ActorId,
}

/// What is kept of a client secret: enough to check one, not to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// The public part that finds it.
    pub selector: ProofId,
    /// Argon2id in PHC form.
    pub hash: SecretHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is refused, and so are its tokens; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// The latest recorded use.
    pub last_used_at: Option<Timestamp>,
}

impl StoredSecret {
    /// Whether it authenticates at `now`.
    #[must_use]
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

/// A token that was revoked before it expired (RFC 7009).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedToken {
    /// The token's own id.
    pub id: TokenId,
    /// When it was issued, by the clock of the node that issued it.
    pub issued_at: Timestamp,
    /// When it would have expired by itself.
    pub expires_at: Timestamp,
}

/// Everything about a credential that a check may depend on, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialState {
    /// The record.
    pub credential: Credential,
    /// Its revoked tokens; the store may leave out expired ones. At most
    /// [`RevokeToken::limit`](crate::store::RevokeToken::limit).
    pub revoked_tokens: Vec<RevokedToken>,
}

/// What admins call a credential: 1–100 characters, trimmed, printable.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialName(String);

impl CredentialName {
    /// The longest name, in Unicode scalar values after trimming.
    pub const MAX_CHARS: usize = 100;

    /// Trims and checks a name.
    ///
    /// # Errors
    /// [`NameError`] names the rule that it breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(NameError::Required);
        }
        if trimmed.chars().count() > Self::MAX_CHARS {
            return Err(NameError::TooLong);
        }
        if trimmed.chars().any(is_deceptive) {
            return Err(NameError::ForbiddenCharacter);
        }
        if trimmed.chars().all(|c| is_unseen(c) || c.is_whitespace()) {
            return Err(NameError::Invisible);
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// The name as admins see it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key by which names are compared; equal for names that a reader would confuse: case folded, in
    /// compatibility form (NFKC), without invisible characters, white space as single spaces. Stores keep
    /// it unique and never compute it.
    #[must_use]
    pub fn comparison_key(&self) -> String {
        // As Unicode's toNFKC_Casefold: decomposed first, because folding needs marks in order.
        let seen: String = self.0.nfkd().filter(|c| !is_unseen(*c)).collect();
        let folded: String = CaseMapper::new().fold_string(&seen).nfkc().collect();
        let words: Vec<&str> = folded.split_whitespace().collect();
        words.join(" ")
    }
}

impl fmt::Display for CredentialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CredentialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Characters that make a name read as another: controls, bidirectional formatting, line separators,
/// invisible spaces, and letters and signs that are drawn as a blank.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
            // Hangul fillers, the blank Braille pattern, the null notehead, the Khitan filler.
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}' | '\u{1d159}'
            | '\u{16fe4}')
}

/// Characters that nobody sees, such as the soft hyphen, joiners and variation selectors. Writing
/// systems need some, so they are no fault of a name; they make no difference between two.
fn is_unseen(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format
}

/// Why a text is no credential name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty after trimming.
    #[error("a name is needed")]
    Required,
    /// More than [`CredentialName::MAX_CHARS`] characters.
    #[error("at most {} characters", CredentialName::MAX_CHARS)]
    TooLong,
    /// A control, invisible or text-direction character.
    #[error("control, invisible and text-direction characters are not allowed")]
    ForbiddenCharacter,
    /// Nothing in it can be seen.
    #[error("a name needs a character that can be seen")]
    Invisible,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(CredentialName::new("  Lab  ").unwrap().as_str(), "Lab");
        assert_eq!(CredentialName::new(" \t "), Err(NameError::Required));
        assert!(CredentialName::new(&"é".repeat(100)).is_ok());
        assert_eq!(
            CredentialName::new(&"é".repeat(101)),
            Err(NameError::TooLong)
        );
    }

    #[test]
    fn deceptive_characters_are_refused() {
        for c in [
            '\0', '\n', '\u{202e}', '\u{2066}', '\u{200b}', '\u{85}', '\u{2028}',
        ] {
            assert_eq!(
                CredentialName::new(&format!("a{c}b")),
                Err(NameError::ForbiddenCharacter),
                "{c:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_seen_is_no_name() {
        for text in [
            "\u{ad}",
            "\u{ad}\u{200d} \u{fe0f}",
            "\u{e0020}",
            "\u{fff9}",
            "\u{34f}",
        ] {
            assert_eq!(
                CredentialName::new(text),
                Err(NameError::Invisible),
                "{text:?}"
            );
        }
        for blank in [
            '\u{3164}',
            '\u{2800}',
            '\u{115f}',
            '\u{1160}',
            '\u{ffa0}',
            '\u{1d159}',
        ] {
            for text in [blank.to_string(), format!("Lab{blank}sync")] {
                assert_eq!(
                    CredentialName::new(&text),
                    Err(NameError::ForbiddenCharacter),
                    "{text:?}"
                );
            }
        }
        for text in ["❤\u{fe0f}", "می\u{200c}خواهم", "क्\u{200d}ष", "0"] {
            assert!(CredentialName::new(text).is_ok(), "{text:?}");
        }
    }

    fn key(text: &str) -> String {
        CredentialName::new(text).unwrap().comparison_key()
    }

    #[test]
    fn names_that_look_alike_share_a_key() {
        for (one, other) in [
            ("Lab Sync", "LAB sync"),
            ("ﬁle", "FILE"),
            ("Ａ", "a"),
            ("Lab sync", "Lab  sync"),
            ("Lab sync", "Lab\u{3000}\u{a0}sync"),
            ("Lab sync", "Lab\u{ad} sy\u{200d}nc\u{fe0f}"),
            ("Lab sync", "Lab \u{e0041}sync \u{ad}"),
            ("ΟΔΟΣ", "οδος"),
            ("STRASSE", "straße"),
            ("ﬃ", "FFI"),
            ("é", "e\u{34f}\u{301}"),
            ("ᾳ", "ΑΙ"),
            ("İ", "i\u{307}"),
            ("ꭰ", "Ꭰ"),
        ] {
            assert_eq!(key(one), key(other), "{one:?} {other:?}");
        }
        for (one, other) in [("a", "b"), ("Lab sync", "Labsync"), ("é", "e"), ("ı", "i")] {
            assert_ne!(key(one), key(other), "{one:?} {other:?}");
        }
    }

    proptest::proptest! {
        /// Comparing keys is comparing what they stand for: a key is its own key.
        #[test]
        fn a_key_is_its_own_key(text in "\\PC{1,40}") {
            if let Ok(name) = CredentialName::new(&text) {
                let key = name.comparison_key();
                if let Ok(again) = CredentialName::new(&key) {
                    proptest::prop_assert_eq!(again.comparison_key(), key);
                }
            }
        }
    }
}
