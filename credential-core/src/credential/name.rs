//! What admins call a credential.

use std::fmt;

use icu_casemap::CaseMapper;
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory},
};
use unicode_normalization::UnicodeNormalization;

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
