//! How an answer that holds a secret lies in a store: XChaCha20-Poly1305.
//!
//! ```text
//! nonce(24) encrypted( credential id(16) version(8) body ) tag(16)
//! ```
//!
//! The nonce is random, and what identifies the record is authenticated with it, so no sealed answer passes
//! for that of another record. Every key seals one answer, or one after another has expired.

use orion::hazardous::{
    aead::xchacha20poly1305::{Nonce, SecretKey, Tag, XChaCha20Poly1305},
    mac::poly1305::POLY1305_OUTSIZE,
    stream::xchacha20::XCHACHA_NONCESIZE,
};
use zeroize::Zeroizing;

use crate::{entropy::Entropy, id::CredentialId};

/// Bytes of an id and a version.
const HEAD: usize = 16 + 8;

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contents<'a> {
    pub(super) credential: CredentialId,
    pub(super) version: u64,
    pub(super) body: &'a str,
}

pub(super) fn seal(
    key: &[u8; 32],
    record: &[u8],
    contents: Contents<'_>,
    entropy: &dyn Entropy,
) -> Vec<u8> {
    let mut nonce = [0; XCHACHA_NONCESIZE];
    entropy.fill(&mut nonce);
    // Sized once: growing would leave a copy that is not wiped. It is encrypted in place.
    let room = XCHACHA_NONCESIZE + HEAD + contents.body.len() + POLY1305_OUTSIZE;
    let mut sealed = Vec::with_capacity(room);
    sealed.extend(nonce);
    sealed.extend(contents.credential.as_bytes());
    sealed.extend(contents.version.to_be_bytes());
    sealed.extend(contents.body.as_bytes());
    let (_, plain) = sealed.split_at_mut(XCHACHA_NONCESIZE);
    let tag = XChaCha20Poly1305::seal_inplace(
        &SecretKey::from(*key),
        &Nonce::from(nonce),
        Some(record),
        plain,
    )
    .expect("ChaCha20 takes up to 256 GiB (RFC 8439 §2.8)");
    sealed.extend(tag.unprotected_as_ref());
    sealed
}

/// The plain text of a sealed answer, wiped on drop.
pub(super) struct Unsealed(Zeroizing<Vec<u8>>);

impl Unsealed {
    pub(super) fn contents(&self) -> Option<Contents<'_>> {
        let (credential, rest) = self.0.split_first_chunk::<16>()?;
        let (version, body) = rest.split_first_chunk::<8>()?;
        Some(Contents {
            credential: CredentialId::from_bytes(*credential),
            version: u64::from_be_bytes(*version),
            body: std::str::from_utf8(body).ok()?,
        })
    }
}

/// `None` unless it is what [`seal`] made with that key for that record.
pub(super) fn unseal(key: &[u8; 32], record: &[u8], sealed: &[u8]) -> Option<Unsealed> {
    let (nonce, rest) = sealed.split_first_chunk::<XCHACHA_NONCESIZE>()?;
    let (encrypted, tag) = rest.split_last_chunk::<POLY1305_OUTSIZE>()?;
    let mut plain = Zeroizing::new(encrypted.to_vec());
    XChaCha20Poly1305::open_inplace(
        &SecretKey::from(*key),
        &Nonce::from(*nonce),
        &Tag::from(*tag),
        Some(record),
        &mut plain,
    )
    .ok()?;
    Some(Unsealed(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;

    #[test]
    fn opens_with_its_key_for_its_record_and_unaltered_only() {
        let contents = Contents {
            credential: CredentialId::from_bytes([7; 16]),
            version: 3,
            body: "{\"client_secret\":\"é\"}",
        };
        let (key, record) = ([1; 32], b"record");
        let sealed = seal(&key, record, contents, &OsEntropy);
        assert_eq!(sealed.capacity(), sealed.len(), "grew while it was written");
        let text = String::from_utf8_lossy(&sealed);
        assert!(!text.contains("client_secret"));
        let opened = unseal(&key, record, &sealed).unwrap();
        assert_eq!(opened.contents(), Some(contents));
        assert_ne!(seal(&key, record, contents, &OsEntropy), sealed);

        assert!(unseal(&[2; 32], record, &sealed).is_none());
        assert!(unseal(&key, b"another", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(unseal(&key, record, &altered).is_none(), "{at}");
            assert!(unseal(&key, record, &sealed[..at]).is_none(), "cut at {at}");
        }
    }
}
