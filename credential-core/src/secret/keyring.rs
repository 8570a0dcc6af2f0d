//! The root keys of a deployment, and every working key derived from them.

use std::{
    collections::HashSet,
    fmt::{self, Debug, Display, Write as _},
    str::FromStr,
    sync::Arc,
};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use pasetors::{keys::SymmetricKey, version4::V4};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{entropy::Entropy, id::ParseIdError};

/// Bytes of a root key and of every key derived from one.
const KEY_LEN: usize = 32;

/// Accepts what people have: with or without padding. Bits beyond the last byte must be zero.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An ordered list of named root keys: the first signs, all verify. Cheap to clone.
///
/// Every node of a deployment needs the same one. The root keys themselves are not kept: each working
/// key is derived from its root by HKDF-SHA256 (RFC 5869) under a label of its own. `Debug` shows
/// names and roles.
#[derive(Clone)]
pub struct Keyring(Arc<Ring>);

struct Ring {
    signing: Key,
    others: Vec<Key>,
}

impl FromStr for Keyring {
    type Err = KeyringError;

    fn from_str(text: &str) -> Result<Self, KeyringError> {
        Self::parse(text)
    }
}

impl Keyring {
    /// Reads `name:base64[:tag],…`, the entries separated by commas or line ends.
    ///
    /// Names are 1 to 32 of `[a-z0-9-]`, keys are 32 bytes in standard or URL-safe base64 with or
    /// without padding. Blank lines, and lines that begin with `#`, are skipped, so that a file can
    /// hold it.
    ///
    /// # Errors
    /// If there is no entry, an entry is not of that form, a name or a key comes twice, or the first
    /// entry is marked `tag`. The error names the entry and never repeats the key.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let lines = text.lines().map(str::trim);
        let entries = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            // One comma may end a line, as in any list of one item per line.
            .flat_map(|line| line.strip_suffix(',').unwrap_or(line).split(','));

        let mut names = HashSet::new();
        let mut checks = HashSet::new();
        let mut keys = Vec::new();
        for (at, entry) in entries.enumerate() {
            let position = at + 1;
            let key = Key::parse(entry.trim()).map_err(|(name, fault)| KeyringError {
                entry: Some((position, name)),
                fault,
            })?;
            let fault = if !names.insert(key.name.clone()) {
                Some(EntryFault::NameTwice)
            } else if !checks.insert(key.check_value.clone()) {
                Some(EntryFault::KeyTwice)
            } else if at == 0 && key.role == KeyRole::Tag {
                Some(EntryFault::NoSigningKey)
            } else {
                None
            };
            if let Some(fault) = fault {
                return Err(KeyringError {
                    entry: Some((position, Some(key.name))),
                    fault,
                });
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let signing = keys.next().ok_or(KeyringError {
            entry: None,
            fault: EntryFault::Empty,
        })?;
        Ok(Self(Arc::new(Ring {
            signing,
            others: keys.collect(),
        })))
    }

    /// Draws a keyring of one key named `k1`. What it signs cannot be checked once it is dropped.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut root = Zeroizing::new([0; KEY_LEN]);
        entropy.fill(&mut root[..]);
        Self(Arc::new(Ring {
            signing: Key::derive(KeyName("k1".into()), KeyRole::Full, &root),
            others: Vec::new(),
        }))
    }

    /// Draws a key and writes it as an entry that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn generate_entry(name: &KeyName, entropy: &dyn Entropy) -> Zeroizing<String> {
        let mut root = Zeroizing::new([0; KEY_LEN]);
        entropy.fill(&mut root[..]);
        // Sized once (name, colon, 44 characters): growing would leave a copy that is not wiped.
        let mut entry = Zeroizing::new(String::with_capacity(name.as_str().len() + 1 + 44));
        entry.push_str(name.as_str());
        entry.push(':');
        general_purpose::STANDARD.encode_string(&root[..], &mut entry);
        entry
    }

    /// The key that signs: the first.
    #[must_use]
    pub fn signing(&self) -> &Key {
        &self.0.signing
    }

    /// All keys, the signing one first.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.0.signing).chain(&self.0.others)
    }

    /// All names, the signing key's first.
    pub fn names(&self) -> impl Iterator<Item = &KeyName> {
        self.keys().map(Key::name)
    }

    /// The key of that name.
    #[must_use]
    pub fn get(&self, name: &KeyName) -> Option<&Key> {
        self.keys().find(|key| key.name == *name)
    }
}

impl Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}

/// Chooses the key that signs an audit row: the ring's first, or a newer one that another node has
/// signed with already.
///
/// While a new key is rolled out, nodes differ in which key is the first. Their rows of one trail must
/// not step back from the newer key to the older, which is how a leaked key would show.
#[derive(Clone)]
pub(crate) struct KeySigner {
    keyring: Keyring,
    /// Names in the order of their first use with the store, as far as this node knows.
    used: Arc<[KeyName]>,
}

impl KeySigner {
    pub(crate) fn new(keyring: &Keyring, used: Arc<[KeyName]>) -> Self {
        Self {
            keyring: keyring.clone(),
            used,
        }
    }

    /// The key to sign with behind a row that `newest` signed.
    pub(crate) fn behind(&self, newest: Option<&KeyName>) -> &Key {
        let own = self.keyring.signing();
        let other = newest
            .and_then(|name| self.keyring.get(name))
            .filter(|key| key.role == KeyRole::Full);
        let Some(other) = other else { return own };
        let place = |key: &Key| self.used.iter().position(|name| *name == key.name);
        // What this node has not heard of was first used after it last heard.
        match (place(own), place(other)) {
            (Some(own_place), other_place) if other_place.is_none_or(|it| it > own_place) => other,
            _ => own,
        }
    }
}

/// What a key of the ring may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyRole {
    /// Everything; the first of the ring also signs.
    Full,
    /// Check tags, old hashes and old audit rows, but open no token and unseal no replay: the way out
    /// after a leak.
    Tag,
}

/// One root key's working keys.
pub struct Key {
    name: KeyName,
    role: KeyRole,
    check_value: String,
    // Keyed once: the inner and outer pads of HMAC are two of the compressions of a short message.
    tag: Hmac<Sha256>,
    audit: Hmac<Sha256>,
    /// Absent from a `tag` key, as `token`.
    replay: Option<Hmac<Sha256>>,
    pepper: Zeroizing<[u8; KEY_LEN]>,
    /// Absent from a `tag` key, so that no code can forget to look at the role.
    token: Option<SymmetricKey<V4>>,
}

impl Key {
    /// The key's name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it may still do.
    #[must_use]
    pub const fn role(&self) -> KeyRole {
        self.role
    }

    /// A public value that tells, by comparison, whether two nodes hold the same bytes under a name:
    /// 32 lower-case hexadecimal digits. It says nothing about the key.
    #[must_use]
    pub fn check_value(&self) -> &str {
        &self.check_value
    }

    /// HMAC-SHA256 that chains an audit row.
    #[must_use]
    pub(crate) fn audit_mac(&self, data: &[u8]) -> [u8; 32] {
        mac(&self.audit, data)
    }

    /// HMAC-SHA256 for what is kept of a request with an idempotency key; `None` for a `tag` key. The parts
    /// are told apart by their lengths, and the first says what the result is for: it may be a key.
    pub(crate) fn replay_mac(&self, parts: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
        let mut mac = self.replay.clone()?;
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Some(Zeroizing::new(mac.finalize().into_bytes().into()))
    }

    /// The tag over a secret's text, as a number of 64 bits. Cut to 62^6 by the caller: the modulo
    /// favours no tag by more than one in 2^28.
    pub(super) fn tag(&self, text: &[u8]) -> u64 {
        let mac = mac(&self.tag, text);
        mac.iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Argon2's secret input (RFC 9106 §3.1), the pepper.
    pub(super) fn pepper(&self) -> &[u8; KEY_LEN] {
        &self.pepper
    }

    /// The key that seals and opens access tokens; `None` for a `tag` key.
    pub(crate) const fn token(&self) -> Option<&SymmetricKey<V4>> {
        self.token.as_ref()
    }

    fn parse(entry: &str) -> Result<Self, (Option<KeyName>, EntryFault)> {
        let mut parts = entry.split(':').map(str::trim);
        let (name, key, role) = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(key)) = (name, key) else {
            return Err((None, EntryFault::Form));
        };
        let name = name
            .parse::<KeyName>()
            .map_err(|_| (None, EntryFault::Name))?;
        // Repeated only when it cannot be the key, put first by mistake: that one is the longer.
        let shown = (key.len() > name.as_str().len()).then(|| name.clone());
        let role = match (role, parts.next()) {
            (None, _) => KeyRole::Full,
            (Some("tag"), None) => KeyRole::Tag,
            _ => return Err((shown, EntryFault::Role)),
        };
        let root = decode(key).map_err(|fault| (shown, fault))?;
        Ok(Self::derive(name, role, &root))
    }

    fn derive(name: KeyName, role: KeyRole, root: &[u8; KEY_LEN]) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, root);
        let derived = |label: &str| {
            let mut key = Zeroizing::new([0; KEY_LEN]);
            hkdf.expand(label.as_bytes(), &mut key[..])
                .expect("RFC 5869 §2.3 allows 255 times as much");
            key
        };
        let keyed = |label: &str| {
            Hmac::<Sha256>::new_from_slice(&derived(label)[..])
                .expect("RFC 2104 §3 takes keys of any length")
        };
        let token = match role {
            KeyRole::Tag => None,
            KeyRole::Full => Some(
                SymmetricKey::from(&derived("credential-core/v1/token")[..])
                    .expect("a v4.local key has 32 bytes"),
            ),
        };
        let mut check_value = String::with_capacity(32);
        for byte in derived("credential-core/v1/check").iter().take(16) {
            // Writing to a string cannot fail.
            let _ = write!(check_value, "{byte:02x}");
        }
        Self {
            name,
            role,
            check_value,
            tag: keyed("credential-core/v1/tag"),
            audit: keyed("credential-core/v1/audit"),
            replay: match role {
                KeyRole::Tag => None,
                KeyRole::Full => Some(keyed("credential-core/v1/replay")),
            },
            pepper: derived("credential-core/v1/pepper"),
            token,
        }
    }
}

impl Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// A key's public name: 1 to 32 of `[a-z0-9-]`. It stands beside what the key made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Arc<str>);

impl KeyName {
    /// The longest name, in characters.
    pub const MAX_LEN: usize = 32;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(ParseIdError::new(
                "a key name",
                "1 to 32 of a-z, 0-9 and `-`",
            ))
        }
    }
}

impl Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a keyring could not be read. It names the entry and what is accepted, never a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringError {
    /// Position, counted from 1, and name where it is certain to be one.
    entry: Option<(usize, Option<KeyName>)>,
    fault: EntryFault,
}

impl Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keyring")?;
        match &self.entry {
            None => {}
            Some((position, None)) => write!(f, " entry {position}")?,
            Some((position, Some(name))) => write!(f, " entry {position} (`{name}`)")?,
        }
        write!(
            f,
            ": {}; accepted is `name:base64[:tag],...` with names of 1 to 32 of a-z, 0-9 and `-`, keys of \
             32 bytes, and a first entry without `tag`",
            self.fault
        )
    }
}

impl std::error::Error for KeyringError {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum EntryFault {
    #[error("there is no entry")]
    Empty,
    #[error("there is no colon between name and key")]
    Form,
    #[error("the name is not a key name")]
    Name,
    #[error("what follows the key is not `tag`")]
    Role,
    #[error("the key is not base64")]
    NotBase64,
    #[error("the key has {0} bytes instead of 32")]
    Length(usize),
    #[error("the name occurs twice")]
    NameTwice,
    #[error("the key occurs under another name as well")]
    KeyTwice,
    #[error("the first key signs and cannot be marked `tag`")]
    NoSigningKey,
}

/// Reads a root key in either base64 alphabet.
fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, EntryFault> {
    let standard = |byte: u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.bytes().map(standard).collect());
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    LENIENT
        .decode_vec(&text[..], &mut bytes)
        .map_err(|_| EntryFault::NotBase64)?;
    let mut key = Zeroizing::new([0; KEY_LEN]);
    if bytes.len() == KEY_LEN {
        key.copy_from_slice(&bytes);
        Ok(key)
    } else {
        Err(EntryFault::Length(bytes.len()))
    }
}

fn mac(keyed: &Hmac<Sha256>, data: &[u8]) -> [u8; 32] {
    let mut mac = keyed.clone();
    mac.update(data);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
