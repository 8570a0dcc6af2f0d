//! The client secret: its form, and how one of ours is told from any other text.
//!
//! ```text
//! <prefix>_<environment>_ selector(16) random(43) tag(6)
//! ```
//!
//! All that follows the last underscore is `[0-9A-Za-z]`. The **selector** is public and finds the one
//! stored hash. The random part carries 256 bits. The **tag** is an HMAC-SHA256 (RFC 2104) over all
//! that stands before it, cut to six characters (35 bits), under a key from the [`keyring`].
//! It keeps noise away from the database and from Argon2id; that a secret is right is proven by its
//! hash alone.

use std::fmt::{self, Debug};

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{
    base62,
    entropy::Entropy,
    id::{ClientIdPrefix, Environment, ProofId, split_prefixed},
};

pub mod hash;
pub mod keyring;
pub(crate) mod used_keys;
pub mod verify;

use keyring::Keyring;

/// Characters of the random part: 43 × log2(62) = 256.03 bits.
const RANDOM: usize = 43;
/// Characters of the tag.
const TAG: usize = 6;
/// Characters after the environment.
const BODY: usize = ProofId::LEN + RANDOM + TAG;

/// The `client_secret` of RFC 6749 §2.3.1. Shown once, never stored, wiped on drop.
///
/// No `Clone`, `PartialEq`, `Display` or `Serialize`, and `Debug` is redacted.
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// Draws a new secret and tags it under the keyring's signing key.
    #[must_use]
    pub fn generate(
        prefix: &ClientIdPrefix,
        environment: Environment,
        keyring: &Keyring,
        entropy: &dyn Entropy,
    ) -> (Self, ProofId) {
        let selector = ProofId::random(entropy);
        let mut random = Zeroizing::new([0; RANDOM]);
        base62::fill(entropy, &mut random[..]);

        let start = [
            prefix.as_str(),
            "_",
            environment.as_str(),
            "_",
            selector.as_str(),
        ];
        let length = start.iter().map(|part| part.len()).sum::<usize>() + RANDOM + TAG;
        // Sized once: growing would leave a copy behind that is not wiped.
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.extend(start);
        text.extend(random.iter().copied().map(char::from));
        let tag: [u8; TAG] = base62::encode(keyring.signing().tag(text.as_bytes()));
        text.extend(tag.map(char::from));
        (Self(text), selector)
    }

    /// The plaintext. Expect two callers: hashing, and the one response that shows it.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}

/// A presented secret that carries our tag: this deployment issued it, or someone who guessed one in
/// 2^35 tags. Only [`check`] makes one.
///
/// Whether it is *right*, and still live, is for its stored hash and record to say.
#[derive(Clone, Copy)]
pub struct GenuineSecret<'a> {
    text: &'a str,
    selector: ProofId,
    environment: Environment,
}

impl<'a> GenuineSecret<'a> {
    /// Which stored hash it claims to match.
    #[must_use]
    pub const fn selector(&self) -> ProofId {
        self.selector
    }

    /// The environment that it was issued for.
    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.environment
    }

    /// The plaintext. Expect one caller: the comparison with the stored hash.
    #[must_use]
    pub const fn expose_secret(&self) -> &'a str {
        self.text
    }
}

impl Debug for GenuineSecret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenuineSecret")
            .field("selector", &self.selector)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

/// This deployment did not issue that text as a secret, or can no longer tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// It has not the form of a client secret.
    #[error("not a client secret")]
    Form,
    /// It has the form, and no key of the ring made its tag.
    #[error("not a client secret of this deployment")]
    Tag,
}

/// Tells a secret that this deployment issued from any other text, without I/O or hashing.
///
/// The shape is looked at first, then the tag under each key of the ring, also under those that may
/// only check (`tag`). The tag covers prefix and environment too. Tags are compared in constant time.
///
/// # Errors
/// If the shape is wrong or no key of the ring made the tag.
pub fn check<'a>(presented: &'a str, keyring: &Keyring) -> Result<GenuineSecret<'a>, NotOurs> {
    let (environment, body) = split_prefixed(presented).ok_or(NotOurs::Form)?;
    if body.len() != BODY || !base62::is_base62(body.as_bytes()) {
        return Err(NotOurs::Form);
    }
    let selector = body.get(..ProofId::LEN).ok_or(NotOurs::Form)?;
    let selector = ProofId::parse(selector).map_err(|_| NotOurs::Form)?;
    let (tagged, tag) = presented
        .as_bytes()
        .split_last_chunk::<TAG>()
        .ok_or(NotOurs::Form)?;
    let made_by = |key: &keyring::Key| {
        let expected: [u8; TAG] = base62::encode(key.tag(tagged));
        bool::from(expected.ct_eq(tag))
    };
    if keyring.keys().any(made_by) {
        Ok(GenuineSecret {
            text: presented,
            selector,
            environment,
        })
    } else {
        Err(NotOurs::Tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEntropy;

    fn generate(keyring: &Keyring, seed: u64) -> (ClientSecret, ProofId) {
        let prefix = ClientIdPrefix::default();
        let entropy = SeededEntropy::new(seed);
        ClientSecret::generate(&prefix, Environment::Sandbox, keyring, &entropy)
    }

    fn ring(seed: u64) -> Keyring {
        Keyring::generate(&SeededEntropy::new(seed))
    }

    #[test]
    fn the_form_is_prefix_environment_selector_random_tag() {
        let keyring = ring(1);
        let (secret, selector) = generate(&keyring, 2);
        let text = secret.expose_secret();
        let body = text.strip_prefix("cred_sandbox_").unwrap();
        assert_eq!(body.len(), 65);
        assert!(body.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(body.starts_with(selector.as_str()));
        assert_eq!(secret.0.capacity(), text.len(), "grew while it was written");

        let genuine = check(text, &keyring).unwrap();
        assert_eq!(genuine.selector(), selector);
        assert_eq!(genuine.environment(), Environment::Sandbox);
        assert_eq!(genuine.expose_secret(), text);
    }

    #[test]
    fn no_two_are_alike() {
        let keyring = ring(1);
        let (one, two) = (generate(&keyring, 2).0, generate(&keyring, 3).0);
        assert_ne!(one.expose_secret()[13..72], two.expose_secret()[13..72]);
    }

    #[test]
    fn any_other_character_anywhere_is_refused() {
        let keyring = ring(1);
        let (secret, _) = generate(&keyring, 2);
        let text = secret.expose_secret();
        for at in 0..text.len() {
            for other in b"0aZ_-\0 " {
                let mut changed = text.as_bytes().to_vec();
                if changed[at] == *other {
                    continue;
                }
                changed[at] = *other;
                let changed = String::from_utf8(changed).unwrap();
                assert!(check(&changed, &keyring).is_err(), "{at}");
            }
            let cut = [&text[..at], &text[at + 1..]].concat();
            assert!(check(&cut, &keyring).is_err(), "without {at}");
        }
        assert!(check(&format!("{text}0"), &keyring).is_err());
        assert!(check(&format!(" {text}"), &keyring).is_err());
        assert!(check("", &keyring).is_err());
    }

    #[test]
    fn another_environment_or_prefix_breaks_the_tag() {
        let keyring = ring(1);
        let (secret, _) = generate(&keyring, 2);
        let text = secret.expose_secret();
        for (from, to) in [("_sandbox_", "_production_"), ("cred_", "acme_")] {
            assert!(check(&text.replacen(from, to, 1), &keyring).is_err());
        }
    }

    #[test]
    fn another_keyring_refuses() {
        let (secret, _) = generate(&ring(1), 2);
        let refused = check(secret.expose_secret(), &ring(9));
        assert_eq!(refused.err(), Some(NotOurs::Tag));
    }

    #[test]
    fn every_key_of_the_ring_checks_and_the_first_signs() {
        let entropy = SeededEntropy::new(1);
        let entry = |name: &str| Keyring::generate_entry(&name.parse().unwrap(), &entropy);
        let (old, new) = (entry("old"), entry("new"));
        let old_ring = Keyring::parse(&old).unwrap();
        let both = Keyring::parse(&format!("{},{}:tag", *new, *old)).unwrap();

        let (secret, _) = generate(&old_ring, 2);
        assert!(check(secret.expose_secret(), &both).is_ok());
        let (secret, _) = generate(&both, 3);
        assert!(check(secret.expose_secret(), &Keyring::parse(&new).unwrap()).is_ok());
        assert!(check(secret.expose_secret(), &old_ring).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let keyring = ring(1);
        let (secret, _) = generate(&keyring, 2);
        let genuine = check(secret.expose_secret(), &keyring).unwrap();
        let random = &secret.expose_secret()[29..72];
        for shown in [format!("{secret:?}"), format!("{genuine:?}")] {
            assert!(!shown.contains(random), "{shown}");
        }
        assert_eq!(format!("{secret:?}"), "ClientSecret([redacted])");
    }
}
