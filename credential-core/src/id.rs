//! Names of things: tenants, people, credentials, clients, secrets.

use std::{
    cmp::Ordering,
    fmt::{self, Debug, Display},
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use crate::{base62, entropy::Entropy};

/// Text that is not of the form its type asks for.
///
/// The text is not repeated: people paste secrets into the wrong field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: expected {expected}")]
pub struct ParseIdError {
    what: &'static str,
    expected: &'static str,
}

impl ParseIdError {
    pub(crate) const fn new(what: &'static str, expected: &'static str) -> Self {
        Self { what, expected }
    }
}

/// A tenant's name: the host's own id of the customer whose admins manage credentials.
///
/// 1 to 128 visible ASCII characters without spaces, so that it can stand in an HTTP header.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The longest id, in characters.
    pub const MAX_LEN: usize = 128;

    /// Takes the host's id.
    ///
    /// # Errors
    /// If it is empty, too long, or holds anything but visible ASCII characters.
    pub fn new(id: impl AsRef<str>) -> Result<Self, ParseIdError> {
        let id = id.as_ref();
        let fits = (1..=Self::MAX_LEN).contains(&id.len());
        if fits && id.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(id.into()))
        } else {
            Err(ParseIdError::new(
                "a tenant id",
                "1 to 128 visible ASCII characters without spaces",
            ))
        }
    }

    /// The id as the host gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a person who manages credentials, or of a process that does so: the host's own id.
///
/// 1 to 128 characters, none of them a control character. It is written into the audit trail.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId(Arc<str>);

impl ActorId {
    /// The longest id, in characters.
    pub const MAX_LEN: usize = 128;

    /// Takes the host's id.
    ///
    /// # Errors
    /// If it is empty, too long, or holds a control character.
    pub fn new(id: impl AsRef<str>) -> Result<Self, ParseIdError> {
        let id = id.as_ref();
        // At most one more than the limit is counted, whatever the length.
        let length = id.chars().take(Self::MAX_LEN + 1).count();
        if (1..=Self::MAX_LEN).contains(&length) && !id.chars().any(char::is_control) {
            Ok(Self(id.into()))
        } else {
            Err(ParseIdError::new(
                "an actor id",
                "1 to 128 characters without control characters",
            ))
        }
    }

    /// The id as the host gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a name of 128 random bits can do: be drawn, be its bytes, and be text of 32 lower-case
/// hexadecimal digits.
macro_rules! hex_id {
    ($id:ident, $what:literal) => {
        impl $id {
            /// Draws a new id.
            #[must_use]
            pub fn random(entropy: &dyn $crate::entropy::Entropy) -> Self {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes);
                Self(bytes)
            }

            /// The id of these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl std::fmt::Display for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::id::write_hex(f, &self.0)
            }
        }

        impl std::str::FromStr for $id {
            type Err = $crate::id::ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::id::parse_hex(text)
                    .map(Self)
                    .ok_or($crate::id::ParseIdError::new(
                        $what,
                        "32 lower-case hexadecimal digits",
                    ))
            }
        }
    };
}
pub(crate) use hex_id;

/// A credential's permanent name: 128 random bits, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId([u8; 16]);

hex_id!(CredentialId, "a credential id");

/// Which of the platform's two environments a credential belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Environment {
    /// For trying out; no real data.
    Sandbox,
    /// Real data.
    Production,
}

impl Environment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sandbox, Self::Production];

    /// `sandbox` or `production`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Production => "production",
        }
    }
}

impl Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Environment {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|environment| environment.as_str() == text)
            .ok_or(ParseIdError::new(
                "an environment",
                "`sandbox` or `production`",
            ))
    }
}

/// What client ids and secrets of a deployment begin with, so that people and secret scanners
/// recognise them.
///
/// 2 to 16 characters: a letter, then letters or digits, all lower case. `cred` by default.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientIdPrefix(Arc<str>);

impl ClientIdPrefix {
    /// Takes a prefix.
    ///
    /// # Errors
    /// If it is not of that form.
    pub fn new(prefix: impl AsRef<str>) -> Result<Self, ParseIdError> {
        let prefix = prefix.as_ref();
        if is_prefix(prefix) {
            Ok(Self(prefix.into()))
        } else {
            Err(ParseIdError::new(
                "a client id prefix",
                "2 to 16 lower-case letters and digits, a letter first",
            ))
        }
    }

    /// The prefix without the underscore that follows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ClientIdPrefix {
    fn default() -> Self {
        Self("cred".into())
    }
}

/// The `client_id` of RFC 6749 §2.2: `<prefix>_<environment>_` and 22 random characters (131 bits).
///
/// Public. Two are equal when their text is.
#[derive(Clone)]
pub struct ClientId {
    text: Arc<str>,
    environment: Environment,
}

impl ClientId {
    /// Random characters at the end.
    const RANDOM: usize = 22;

    /// Draws a new id.
    #[must_use]
    pub fn generate(
        prefix: &ClientIdPrefix,
        environment: Environment,
        entropy: &dyn Entropy,
    ) -> Self {
        let mut random = [0; Self::RANDOM];
        base62::fill(entropy, &mut random);
        let random = random.as_slice().escape_ascii();
        Self {
            text: format!("{}_{environment}_{random}", prefix.as_str()).into(),
            environment,
        }
    }

    /// Reads an id of any prefix. Says nothing about whether such a client exists.
    ///
    /// # Errors
    /// If it is not of that form.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        match split_prefixed(text) {
            Some((environment, random))
                if random.len() == Self::RANDOM && base62::is_base62(random.as_bytes()) =>
            {
                Ok(Self {
                    text: text.into(),
                    environment,
                })
            }
            _ => Err(ParseIdError::new(
                "a client id",
                "a prefix, `_sandbox_` or `_production_`, and 22 letters and digits",
            )),
        }
    }

    /// The environment that the id names.
    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.environment
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for ClientId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ClientId {}

impl PartialOrd for ClientId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ClientId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for ClientId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ClientId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// One registered way for a client to prove itself: 16 letters and digits (95 bits), drawn at
/// registration and never used again.
///
/// Of a client secret it is the selector, the public part that finds the stored hash. A token names
/// the proof that it was issued for and ends with it. Why not a digest of the secret or key itself: what
/// is registered anew must not revive tokens of before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProofId([u8; Self::LEN]);

impl ProofId {
    /// Characters in a proof id.
    pub const LEN: usize = 16;

    /// Draws a new one.
    #[must_use]
    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut text = [0; Self::LEN];
        base62::fill(entropy, &mut text);
        Self(text)
    }

    /// Reads a proof id.
    ///
    /// # Errors
    /// If it is not 16 letters and digits.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        <[u8; Self::LEN]>::try_from(text.as_bytes())
            .ok()
            .filter(|text| base62::is_base62(text))
            .map(Self)
            .ok_or(ParseIdError::new("a proof id", "16 letters and digits"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // INVARIANT: ASCII, by every constructor, so the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The number that the text is in base 62: below 62^16, hence below 2^96.
    pub(crate) fn to_number(self) -> u128 {
        self.0.iter().fold(0, |number, character| {
            number * 62 + u128::from(base62::value(*character).unwrap_or(0))
        })
    }

    /// The proof id of a number below 62^16.
    pub(crate) fn from_number(mut number: u128) -> Option<Self> {
        let mut text = [0; Self::LEN];
        for slot in text.iter_mut().rev() {
            *slot = base62::digit(u64::try_from(number % 62).unwrap_or(0));
            number /= 62;
        }
        (number == 0).then_some(Self(text))
    }
}

impl FromStr for ProofId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// `Display` and `Debug` are the text alone; `FromStr` is the constructor.
macro_rules! shown_as_text {
    ($($name:ident),*) => { $(
        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )* };
}
shown_as_text!(TenantId, ActorId, ClientIdPrefix, ProofId);

macro_rules! parsed_by_new {
    ($($name:ident),*) => { $(
        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }
    )* };
}
parsed_by_new!(TenantId, ActorId, ClientIdPrefix);

impl Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// Splits `<prefix>_<environment>_<rest>`; the rest is not looked at.
pub(crate) fn split_prefixed(text: &str) -> Option<(Environment, &str)> {
    let (prefix, text) = text.split_once('_')?;
    let (environment, rest) = text.split_once('_')?;
    if is_prefix(prefix) {
        Some((environment.parse().ok()?, rest))
    } else {
        None
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8; 16]) -> fmt::Result {
    write!(f, "{:032x}", u128::from_be_bytes(*bytes))
}

/// Reads exactly 32 lower-case hexadecimal digits.
pub(crate) fn parse_hex(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits {
        u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
    } else {
        None
    }
}

fn is_prefix(text: &str) -> bool {
    (2..=16).contains(&text.len())
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| byte.is_ascii_lowercase() || (at > 0 && byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
