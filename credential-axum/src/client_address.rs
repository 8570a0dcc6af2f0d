//! Which address a call comes from: its peer's, or the one that trusted proxies name.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
};

use axum::extract::{ConnectInfo, Request, connect_info::MockConnectInfo};
use credential_core::{CallerAddress, credential::Networks};
use http::{Extensions, HeaderMap, HeaderName, request::Parts};
use tower::{Layer, Service};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Says which proxies stand before this host: the networks from which `X-Forwarded-For` is believed.
///
/// One layer around the whole app, for [`Guard`](crate::Guard), the OAuth endpoints, forward-auth and the
/// admin API alike. Without it, or with no networks, nobody is believed, and a call comes from its peer.
///
/// The host must know the peer. `serve` (feature `serve`) does; with `axum::serve` use
/// `into_make_service_with_connect_info::<SocketAddr>()`. Otherwise every address is unknown, and a
/// credential that is bound to networks is refused everywhere.
///
/// ```
/// use axum::Router;
/// use credential_axum::ClientAddressLayer;
/// use credential_core::credential::Networks;
///
/// # fn mounted(app: Router) -> Result<Router, Box<dyn std::error::Error>> {
/// let proxies = Networks::parse(&["10.0.0.0/8", "2001:db8:7::/48"]).map_err(|faults| faults[0])?;
/// let app = app.layer(ClientAddressLayer::trusting(proxies)); // last: around everything
/// # Ok(app)
/// # }
/// ```
///
/// # The rule
///
/// 1. The peer counts, unless it is one of these proxies.
/// 2. Otherwise the elements of every `X-Forwarded-For` are one list, in the order sent. The last element
///    that is none of these proxies counts: the last trusted proxy has seen that address itself, and what
///    stands before it is only the client's word. If all are these proxies, the first counts. Without such
///    a header the proxy itself calls.
/// 3. An element may have a port (`192.0.2.7:5`, `[2001:db8::7]:5`). If any element is empty, has a zone
///    (`fe80::1%eth0`) or is no address, the address of the call is unknown, and so outside of every
///    network.
///
/// IPv4-mapped IPv6 addresses are the IPv4 addresses that they stand for. No other header is read.
///
/// The proxies must set or extend the header on every call: one that passes a client's own header on
/// unchanged lets that client choose its address.
#[derive(Debug, Clone, Default)]
pub struct ClientAddressLayer {
    trusted: Arc<Networks>,
}

impl ClientAddressLayer {
    /// The addresses of the proxies. Empty: there are none.
    #[must_use]
    pub fn trusting(proxies: Networks) -> Self {
        Self {
            trusted: Arc::new(proxies),
        }
    }
}

impl<S> Layer<S> for ClientAddressLayer {
    type Service = ClientAddressService<S>;

    fn layer(&self, inner: S) -> ClientAddressService<S> {
        ClientAddressService {
            inner,
            trusted: Trusted(Arc::clone(&self.trusted)),
        }
    }
}

/// A service behind [`ClientAddressLayer`].
#[derive(Debug, Clone)]
pub struct ClientAddressService<S> {
    inner: S,
    trusted: Trusted,
}

impl<S> Service<Request> for ClientAddressService<S>
where
    S: Service<Request>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // Without proxies there is nothing to say.
        if !self.trusted.0.is_empty() {
            request.extensions_mut().insert(self.trusted.clone());
        }
        self.inner.call(request)
    }
}

/// The proxies, in the extensions of a request.
#[derive(Debug, Clone)]
struct Trusted(Arc<Networks>);

impl Trusted {
    fn includes(&self, address: IpAddr) -> bool {
        !self.0.is_empty() && self.0.allow(Some(address))
    }
}

/// The address that a request comes from, by the rule of [`ClientAddressLayer`]; `None` if it is unknown.
///
/// For a host that checks tokens itself, or logs and limits by address.
#[must_use]
pub fn client_address(extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = peer(extensions)?.to_canonical();
    let Some(proxies) = extensions.get::<Trusted>() else {
        return Some(peer);
    };
    if !proxies.includes(peer) {
        return Some(peer);
    }
    let (mut first, mut last_other) = (None, None);
    for value in headers.get_all(X_FORWARDED_FOR) {
        for element in value.to_str().ok()?.split(',') {
            let address = element_address(element)?;
            first = first.or(Some(address));
            if !proxies.includes(address) {
                last_other = Some(address);
            }
        }
    }
    last_other.or(first).or(Some(peer))
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let known = extensions.get::<ConnectInfo<SocketAddr>>();
    let known = known.map(|ConnectInfo(peer)| peer);
    // As axum's own extractor: a host's test has no connection.
    let mocked = || extensions.get::<MockConnectInfo<SocketAddr>>();
    let peer = known.or_else(|| mocked().map(|MockConnectInfo(peer)| peer));
    peer.map(SocketAddr::ip)
}

fn element_address(element: &str) -> Option<IpAddr> {
    let text = element.trim_matches([' ', '\t']);
    // A zone means something on one machine only. A number after the `%` would pass with a port.
    if text.contains('%') {
        return None;
    }
    let address = if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else if let Ok(with_port) = text.parse::<SocketAddr>() {
        with_port.ip()
    } else {
        let inside = text.strip_prefix('[')?.strip_suffix(']')?;
        IpAddr::V6(inside.parse().ok()?)
    };
    Some(address.to_canonical())
}

/// Who sends a request, read no further than a check needs.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a Extensions,
}

impl<'a> Caller<'a> {
    pub(crate) fn of(parts: &'a Parts) -> Self {
        Self {
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}

impl CallerAddress for Caller<'_> {
    fn address(&self) -> Option<IpAddr> {
        client_address(self.extensions, self.headers)
    }
}
