//! Tokens that were opened once, found again by a keyed digest of their text.

use std::sync::Arc;

use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use super::OpenToken;
use crate::entropy::Entropy;

/// Opened tokens by digest. The texts themselves are not kept.
#[derive(Debug)]
pub(crate) struct TokenCache {
    key: DigestKey,
    opened: Cache<Digest, Arc<OpenToken>>,
}

pub(crate) type Digest = [u8; 32];

/// Drawn at start and never stored, so that nobody can aim at a place in the cache.
struct DigestKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey")
    }
}

impl TokenCache {
    pub(crate) fn new(capacity: usize, entropy: &dyn Entropy) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        entropy.fill(key.as_mut_slice());
        Self {
            key: DigestKey(key),
            opened: Cache::new(capacity),
        }
    }

    #[inline]
    pub(crate) fn digest(&self, text: &str) -> Digest {
        *blake3::keyed_hash(&self.key.0, text.as_bytes()).as_bytes()
    }

    #[inline]
    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<OpenToken>> {
        self.opened.get(digest)
    }

    pub(crate) fn insert(&self, digest: Digest, token: Arc<OpenToken>) {
        self.opened.insert(digest, token);
    }
}
