//! Whether a node should be sent requests.

use std::time::Duration;

use credential_core::Credentials;

use super::stop::Stop;

/// The bound where `max_staleness` is zero and every check asks the store: four times the interval of
/// the catch-up that goes on all the same.
const FRESH_WITHOUT_CACHE: Duration = Duration::from_secs(1);

/// Why a readiness probe fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The node is stopping; requests should go to other nodes.
    #[error("draining: this node was told to stop")]
    Draining,
    /// Checks fail, or soon will.
    #[error("the store does not answer: the cache cannot be proven fresh")]
    Stale,
}

/// The answer to a readiness probe, from this node's memory: the store is not asked, so a probe
/// costs it nothing.
///
/// # Errors
/// `Draining` once [`Stop`] has fired; `Stale` while the latest catch-up is older than `max_staleness`.
pub fn ready(credentials: &Credentials, stop: &Stop) -> Result<(), NotReady> {
    if stop.is_told() {
        return Err(NotReady::Draining);
    }
    let bound = match credentials.max_staleness() {
        Duration::ZERO => FRESH_WITHOUT_CACHE,
        bound => bound,
    };
    match credentials.freshness_age() {
        Some(age) if age <= bound => Ok(()),
        _ => Err(NotReady::Stale),
    }
}
