//! The cache of opened tokens, by a keyed digest of their text.

use std::{fmt, sync::Arc};

use siphasher::sip128::SipHasher24;
use zeroize::Zeroizing;

use super::{table::Table, token_entry::TokenEntry};
use crate::entropy::Entropy;

/// Opened tokens by digest. The texts themselves are not kept.
#[derive(Debug)]
pub(crate) struct TokenCache {
    key: DigestKey,
    opened: Table<TokenEntry>,
}

/// SipHash-2-4 of the whole text, 128 bits, under a key that never leaves the process.
///
/// Why `SipHash`: it is a pseudorandom function at a third of keyed BLAKE3's cost on a text of this
/// length. Digests stay in the process, so a forger can only send texts and hope that one has the
/// digest of a cached token: probability 2^-128 for each pair.
pub(crate) type TokenDigest = u128;

/// Drawn at start and never stored, so that no client can compute a digest.
struct DigestKey(Zeroizing<[u8; 16]>);

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}

impl TokenCache {
    pub(crate) fn new(capacity: usize, entropy: &dyn Entropy) -> Self {
        let mut key = Zeroizing::new([0; 16]);
        entropy.fill(key.as_mut_slice());
        Self {
            key: DigestKey(key),
            opened: Table::new(capacity),
        }
    }

    #[inline]
    pub(crate) fn digest(&self, text: &str) -> TokenDigest {
        SipHasher24::new_with_key(&self.key.0)
            .hash(text.as_bytes())
            .as_u128()
    }

    #[inline]
    pub(crate) fn get(&self, digest: TokenDigest) -> Option<Arc<TokenEntry>> {
        self.opened.get(digest)
    }

    /// Hands the counts of all tokens over to their credentials', from time to time letting others go first.
    pub(crate) async fn hand_over_counts(&self) {
        for part in self.opened.parts() {
            part.for_each(|entry| entry.hand_over());
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn insert(&self, entry: Arc<TokenEntry>) {
        self.opened.insert(entry);
    }
}
