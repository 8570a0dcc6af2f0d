//! What admins wrote about a credential.

use std::fmt;

/// A note of the admins: at most 500 characters, trimmed, line breaks allowed, possibly empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Description(Box<str>);

impl Description {
    /// The longest description, in Unicode scalar values after trimming.
    pub const MAX_CHARS: usize = 500;

    /// Trims and checks a description. Line breaks become `\n`.
    ///
    /// # Errors
    /// [`DescriptionError`] names the rule that it breaks.
    pub fn new(text: &str) -> Result<Self, DescriptionError> {
        let text = text.trim().replace("\r\n", "\n");
        if text.chars().count() > Self::MAX_CHARS {
            return Err(DescriptionError::TooLong);
        }
        if text.chars().any(is_forbidden) {
            return Err(DescriptionError::ForbiddenCharacter);
        }
        Ok(Self(text.into()))
    }

    /// The text; empty if there is none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Control characters other than line breaks and tabs, and characters that turn the direction of what
/// follows.
fn is_forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Why a text is no description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// More than [`Description::MAX_CHARS`] characters.
    #[error("at most {} characters", Description::MAX_CHARS)]
    TooLong,
    /// A control or text-direction character.
    #[error("control and text-direction characters are not allowed")]
    ForbiddenCharacter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_and_ends_are_trimmed() {
        let description = Description::new("  first\r\nsecond\tpart \n").unwrap();
        assert_eq!(description.as_str(), "first\nsecond\tpart");
        assert_eq!(Description::new(" \n").unwrap(), Description::default());
    }

    #[test]
    fn long_and_deceptive_texts_are_refused() {
        assert!(Description::new(&"é".repeat(500)).is_ok());
        assert_eq!(
            Description::new(&"é".repeat(501)),
            Err(DescriptionError::TooLong)
        );
        for c in [
            '\0', '\u{1b}', '\u{85}', '\u{61c}', '\u{200f}', '\u{2028}', '\u{202e}', '\u{2066}',
        ] {
            assert_eq!(
                Description::new(&format!("a{c}b")),
                Err(DescriptionError::ForbiddenCharacter),
                "{c:?}"
            );
        }
    }
}
