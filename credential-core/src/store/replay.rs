//! Answers that can be had again: what a store keeps of a request with an idempotency key.

use std::{fmt, time::Duration};

use crate::{clock::Timestamp, id::TenantId, secret::keyring::KeyName};

/// For how long the answer to a request with an idempotency key can be had again.
pub const REPLAYS_KEPT_FOR: Duration = Duration::from_secs(600);

/// The name of a kept answer: an HMAC over the tenant, the actor and their idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReplayId(pub [u8; 32]);

/// A kept answer. It is sealed under a key that takes the keyring and the caller's idempotency key, and
/// neither is here.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Replay {
    /// What finds it.
    pub id: ReplayId,
    /// The key of the ring from which the other fields were made.
    pub key: KeyName,
    /// An HMAC over what was asked for.
    pub request: [u8; 32],
    /// The answer, sealed; up to some ten kilobytes.
    pub sealed: Vec<u8>,
    /// From when the change counts everywhere, as it was answered; `None`: it was not answered yet, or the
    /// answer has no such time.
    pub effective_at: Option<Timestamp>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("key", &self.key)
            .field("effective_at", &self.effective_at)
            .finish_non_exhaustive()
    }
}

/// An answer to keep with the change that it is about, in one transaction.
#[derive(Debug, Clone)]
pub struct NewReplay {
    /// The answer.
    pub replay: Replay,
    /// Its other names, under other keys of the ring: nothing is done if an answer is kept under one of them.
    pub aliases: Vec<ReplayId>,
    /// For how long, by the store's clock. After that it is gone for every method, whether or not its row
    /// still is there, and its name may be used anew.
    pub keep_for: Duration,
}

impl NewReplay {
    /// All its names.
    pub fn ids(&self) -> impl Iterator<Item = &ReplayId> {
        std::iter::once(&self.replay.id).chain(&self.aliases)
    }
}

/// Which answer is asked for.
#[derive(Debug, Clone)]
pub struct ReplayQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Its name under each key of the ring.
    pub ids: Vec<ReplayId>,
    /// Kept as [`Replay::effective_at`], unless there is one already.
    pub effective_at: Option<Timestamp>,
}
