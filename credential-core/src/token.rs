//! Access tokens: sealed, self-contained, opaque to their holder.
//!
//! A token is PASETO `v4.local`: `XChaCha20` and `BLAKE2b` under a key from the [keyring](Keyring), whose
//! name stands in the footer. Issuer and environment are the implicit assertion: they are not sent, but
//! a token of another issuer or environment does not open.
//!
//! # What is inside
//!
//! All numbers big-endian, 59 bytes, then 4 for each named scope, written in base64url, since PASETO wants
//! UTF-8 inside:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | form: `1` follows its credential, `2` names scopes |
//! | 16 | credential id |
//! | 12 | proof id, as a base-62 number |
//! | 16 | token id |
//! | 8 | issued at, microseconds since 1970, signed |
//! | 6 | lifetime, microseconds |
//! | 4 each | digests of the scopes' names |
//!
//! Any other form is refused. `129` and `130` are kept free for the same two with a confirmation
//! (`cnf`, RFC 7800 §3.1) of 32 bytes behind the lifetime.

use std::{
    fmt::{self, Debug},
    hash::Hasher as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use pasetors::{
    token::{Local, UntrustedToken},
    version4::{LocalToken, V4},
};
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use zeroize::Zeroizing;

use crate::{
    clock::Timestamp,
    entropy::Entropy,
    id::{CredentialId, Environment, ProofId, hex_id, write_hex},
    secret::keyring::{Key, KeyName, Keyring},
};

/// The form that follows its credential.
const FOLLOWS: u8 = 1;
/// The form that names scopes.
const NAMED: u8 = 2;

/// A token's name, by which it is revoked: 128 random bits, written as 32 lower-case hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 16]);

hex_id!(TokenId, "a token id");

impl Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// Draws token ids: the values of a pseudorandom function (SipHash-2-4, 128 bits) at 0, 1, 2, …, under
/// a key drawn once.
///
/// Why not the operating system each time: that is a system call per token, and an id is a name, not
/// a secret. The call that the token's seal makes for its nonce stays.
pub(crate) struct TokenIds {
    function: SipHasher24,
    drawn: AtomicU64,
}

impl TokenIds {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        let mut key = Zeroizing::new([0; 16]);
        entropy.fill(key.as_mut_slice());
        Self {
            function: SipHasher24::new_with_key(&key),
            drawn: AtomicU64::new(0),
        }
    }

    pub(crate) fn draw(&self) -> TokenId {
        let mut function = self.function;
        function.write_u64(self.drawn.fetch_add(1, Ordering::Relaxed));
        TokenId(function.finish128().as_bytes())
    }
}

impl Debug for TokenIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIds").finish_non_exhaustive()
    }
}

/// The `access_token` of RFC 6749 §1.4. Handed to the client, never stored, wiped on drop.
///
/// No `Clone`, `PartialEq`, `Display` or `Serialize`, and `Debug` is redacted.
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    /// The token's text. Expect one caller: the response that hands it out.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenClaims {
    /// The credential that it was issued to.
    pub(crate) credential: CredentialId,
    /// What the client proved itself with. The token ends with it.
    pub(crate) proof: ProofId,
    /// The token's own name.
    pub(crate) id: TokenId,
    /// From when.
    pub(crate) issued_at: Timestamp,
    /// It is live while `now < expires_at`.
    pub(crate) expires_at: Timestamp,
    /// What it was issued with.
    pub(crate) scopes: TokenScopes,
}

/// The scopes that a token was issued with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenScopes {
    /// Whatever its credential holds, at each check.
    FollowsCredential,
    /// These alone, as 32-bit digests of their names, so that nodes with different catalogue versions
    /// agree. Order is kept; none means none.
    Named(Vec<u32>),
}

/// Why a token was not issued.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It expires before it is issued, or more than 2^48 µs (8.9 years) after.
    #[error("token lifetime out of bounds: accepted are 0 to 2^48 microseconds")]
    Lifetime,
    /// It names more than 512 scopes.
    #[error("a token names at most {max} scopes", max = TokenSealer::MAX_SCOPES)]
    TooManyScopes,
    /// The operating system gave no randomness for the nonce.
    #[error("could not draw a nonce for the token")]
    NoRandomness,
}

/// This deployment did not issue that text as an access token, or can no longer tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotOurToken {
    /// Not sealed for this issuer and environment by a key that may still open.
    #[error("not an access token of this deployment")]
    Foreign,
    /// It names a key that the ring lacks. Nothing says that it is more than a name.
    #[error("the access token was sealed with a key that the keyring lacks")]
    UnknownKey,
}

/// Seals and opens the access tokens of one issuer and environment.
pub(crate) struct TokenSealer {
    keyring: Keyring,
    assertion: Vec<u8>,
}

impl TokenSealer {
    /// The longest text that is looked at, in bytes.
    pub(crate) const MAX_LEN: usize = 4_096;
    /// The most scopes that a token names; it then stays below [`MAX_LEN`](Self::MAX_LEN).
    pub(crate) const MAX_SCOPES: usize = 512;

    /// A sealer for tokens of `issuer` and `environment`.
    #[must_use]
    pub(crate) fn new(keyring: Keyring, issuer: &str, environment: Environment) -> Self {
        let mut assertion = b"credential-core/v1".to_vec();
        for part in [issuer, environment.as_str()] {
            // Each with its length, so that no two pairs read alike.
            assertion.extend((part.len() as u64).to_be_bytes());
            assertion.extend(part.as_bytes());
        }
        Self { keyring, assertion }
    }

    /// Seals claims into a token, under the keyring's signing key.
    ///
    /// # Errors
    /// [`SealError::Lifetime`] and [`SealError::TooManyScopes`] if the claims are out of bounds;
    /// [`SealError::NoRandomness`] if there is no randomness.
    pub(crate) fn seal(&self, claims: &TokenClaims) -> Result<AccessToken, SealError> {
        let payload = URL_SAFE_NO_PAD.encode(pack(claims)?);
        let key = self.keyring.signing();
        // A ring whose first key is marked `tag` cannot be made.
        let sealing = key.token().expect("the signing key is no `tag` key");
        let footer = Some(key.name().as_str().as_bytes());
        LocalToken::encrypt(sealing, payload.as_bytes(), footer, Some(&self.assertion))
            .map(|text| AccessToken(Zeroizing::new(text)))
            .map_err(|_| SealError::NoRandomness)
    }

    /// Opens a token. Whether it has expired or been revoked is not asked here.
    ///
    /// Each token has one spelling; another one, also of the same bytes, is refused.
    ///
    /// # Errors
    /// If it was not sealed by [`seal`](Self::seal) for this issuer and environment, or was sealed
    /// under a key that the ring does not have or has marked `tag`.
    pub(crate) fn open(&self, text: &str) -> Result<TokenClaims, NotOurToken> {
        match self.try_open(text) {
            Some(claims) => Ok(claims),
            None if self.names_unknown_key(text) => Err(NotOurToken::UnknownKey),
            None => Err(NotOurToken::Foreign),
        }
    }

    fn names_unknown_key(&self, text: &str) -> bool {
        let footer = text.strip_prefix(LocalToken::HEADER);
        let Some((_, footer)) = footer.and_then(|rest| rest.split_once('.')) else {
            return false;
        };
        // At most 32 bytes: whatever is longer names none.
        let mut name = [0; 33];
        let name = URL_SAFE_NO_PAD
            .decode_slice(footer, &mut name)
            .ok()
            .and_then(|length| std::str::from_utf8(name.get(..length)?).ok());
        name.and_then(|name| name.parse().ok())
            .is_some_and(|name: KeyName| self.keyring.get(&name).is_none())
    }

    fn try_open(&self, text: &str) -> Option<TokenClaims> {
        if text.len() > Self::MAX_LEN {
            return None;
        }
        let (_, footer) = text.strip_prefix(LocalToken::HEADER)?.split_once('.')?;
        let key = self.keyring.keys().find(|key| is_footer(footer, key))?;
        let opening = key.token()?;
        // Decoding refuses unused bits that are set, padding and foreign characters: one spelling.
        let sealed = UntrustedToken::<Local, V4>::try_from(text).ok()?;
        let footer = Some(key.name().as_str().as_bytes());
        let opened = LocalToken::decrypt(opening, &sealed, footer, Some(&self.assertion)).ok()?;
        unpack(&URL_SAFE_NO_PAD.decode(opened.payload()).ok()?)
    }
}

impl Debug for TokenSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSealer")
            .field("keyring", &self.keyring)
            .finish_non_exhaustive()
    }
}

/// Whether the text is how a key's name is written in a footer, compared as text: one spelling.
fn is_footer(text: &str, key: &Key) -> bool {
    // Four characters for three bytes, of at most 32.
    let mut buffer = [0; 43];
    URL_SAFE_NO_PAD
        .encode_slice(key.name().as_str(), &mut buffer)
        .is_ok_and(|length| buffer.get(..length) == Some(text.as_bytes()))
}

fn pack(claims: &TokenClaims) -> Result<Vec<u8>, SealError> {
    let TokenClaims {
        credential,
        proof,
        id,
        issued_at,
        expires_at,
        scopes,
    } = claims;
    let (form, digests) = match scopes {
        TokenScopes::FollowsCredential => (FOLLOWS, &[][..]),
        TokenScopes::Named(digests) => (NAMED, digests.as_slice()),
    };
    if digests.len() > TokenSealer::MAX_SCOPES {
        return Err(SealError::TooManyScopes);
    }
    let lifetime = expires_at
        .as_micros()
        .checked_sub(issued_at.as_micros())
        .and_then(|micros| u64::try_from(micros).ok())
        .ok_or(SealError::Lifetime)?;
    let [0, 0, lifetime @ ..] = lifetime.to_be_bytes() else {
        return Err(SealError::Lifetime);
    };
    // Below 2^96: see `to_number`.
    let [_, _, _, _, proof @ ..] = proof.to_number().to_be_bytes();

    let mut packed = Vec::with_capacity(59 + 4 * digests.len());
    packed.push(form);
    packed.extend(credential.as_bytes());
    packed.extend(proof);
    packed.extend(id.as_bytes());
    packed.extend(issued_at.as_micros().to_be_bytes());
    packed.extend(lifetime);
    packed.extend(digests.iter().flat_map(|digest| digest.to_be_bytes()));
    Ok(packed)
}

fn unpack(packed: &[u8]) -> Option<TokenClaims> {
    let (&[form], packed) = packed.split_first_chunk::<1>()?;
    let (credential, packed) = packed.split_first_chunk::<16>()?;
    let (proof, packed) = packed.split_first_chunk::<12>()?;
    let (id, packed) = packed.split_first_chunk::<16>()?;
    let (issued_at, packed) = packed.split_first_chunk::<8>()?;
    let (lifetime, packed) = packed.split_first_chunk::<6>()?;
    let (digests, rest) = packed.as_chunks::<4>();

    let proof = proof.iter().fold(0, |n, byte| n << 8 | u128::from(*byte));
    let issued_at = i64::from_be_bytes(*issued_at);
    let lifetime = lifetime.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let scopes = match form {
        FOLLOWS if digests.is_empty() => TokenScopes::FollowsCredential,
        NAMED => TokenScopes::Named(digests.iter().map(|d| u32::from_be_bytes(*d)).collect()),
        _ => return None,
    };
    let from = Timestamp::from_micros(issued_at);
    if !rest.is_empty() || from.as_micros() != issued_at {
        return None;
    }
    Some(TokenClaims {
        credential: CredentialId::from_bytes(*credential),
        proof: ProofId::from_number(proof)?,
        id: TokenId::from_bytes(*id),
        issued_at: from,
        expires_at: from.checked_add(Duration::from_micros(lifetime))?,
        scopes,
    })
}

#[cfg(test)]
mod tests;
