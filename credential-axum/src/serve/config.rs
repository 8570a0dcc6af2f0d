//! Bounds of the accept loop.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// Bounds on what one client, or one stop, may take. The defaults are those of
/// [`ServeConfig::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServeConfig {
    /// How long a connection may be without a complete head of a request, be it idle or slow; 75 s.
    /// Longer than proxies keep idle connections to a server (nginx: 60 s), so that a proxy does not
    /// send a request on one that this side is about to close.
    pub head_within: Duration,
    /// How long the body of a request may take; 30 s. After that it is answered with 408. To be raised
    /// by hosts that take large uploads.
    pub body_within: Duration,
    /// How long a request and its answer may take together, from the head of the one to the last byte of
    /// the other; 60 s. After that the connection is cut. To be raised by hosts that stream.
    pub exchange_within: Duration,
    /// The most connections at once. Beyond that, the connections whose clients keep the server
    /// waiting longest are closed: first those in the middle of a request, then idle ones. By
    /// default as many as the limit of file
    /// descriptors allows after an eighth of it, and at least 128, is left for everything else.
    pub max_connections: usize,
    /// How long after [`Stop`](super::Stop) the listener stays open, with `Connection: close` in every answer, so
    /// that load balancers notice the failing readiness probe and look elsewhere; 5 s.
    pub drain: Duration,
    /// How long requests may still run after that; 10 s.
    pub grace: Duration,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            head_within: Duration::from_secs(75),
            body_within: Duration::from_secs(30),
            exchange_within: Duration::from_mins(1),
            max_connections: descriptors_to_spare(),
            drain: Duration::from_secs(5),
            grace: Duration::from_secs(10),
        }
    }
}

/// How many connections the limit of file descriptors allows: the database, files and the runtime need
/// some as well.
fn descriptors_to_spare() -> usize {
    const LEFT_FOR_OTHERS: u64 = 128;
    const FEWEST: u64 = 16;
    // Without a limit of descriptors, memory is the limit.
    const MOST: u64 = 65_536;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let spare = limit.saturating_sub(LEFT_FOR_OTHERS.max(limit / 8));
    usize::try_from(spare.clamp(FEWEST, MOST)).unwrap_or(usize::MAX)
}
