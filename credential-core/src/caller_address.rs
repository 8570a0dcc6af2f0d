//! Where a call comes from, for credentials that may be used from some networks only.

use std::net::{IpAddr, SocketAddr};

/// Finds the address that a call comes from.
///
/// It is asked only where the answer matters: about a credential that is bound to networks, and to note a refusal.
/// Finding it may therefore cost something, as where headers of proxies have to be read.
pub trait CallerAddress: Sync {
    /// The address; `None` if nobody can say for sure. An unknown address is outside of every network.
    fn address(&self) -> Option<IpAddr>;
}

impl CallerAddress for IpAddr {
    fn address(&self) -> Option<IpAddr> {
        Some(*self)
    }
}

impl CallerAddress for SocketAddr {
    fn address(&self) -> Option<IpAddr> {
        Some(self.ip())
    }
}

impl<A: CallerAddress> CallerAddress for Option<A> {
    fn address(&self) -> Option<IpAddr> {
        self.as_ref()?.address()
    }
}
