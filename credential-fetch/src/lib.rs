#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod exchange;
mod failure;
mod freshness;
mod network;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use credential_core::{
    credential::is_public,
    outbound::{Document, FETCH_WITHIN, Fetch, FetchError},
};
use tokio::time::timeout;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, RootCertStore, client::Resumption, crypto::ring, pki_types::ServerName,
    },
};
use url::{Host, Url};

use crate::{
    failure::Failure,
    network::{Network, System},
};

/// How long one of several addresses may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Fetches over https from public addresses. See the crate's documentation for what it refuses.
#[derive(Debug, Clone)]
pub struct HttpsFetch(Fetcher<System>);

#[derive(Debug, Clone)]
struct Fetcher<N> {
    network: N,
    tls: Arc<ClientConfig>,
}

impl HttpsFetch {
    /// Trusts the servers that Mozilla's root certificates vouch for. Needs a Tokio runtime with I/O and time when it
    /// fetches.
    #[must_use]
    pub fn new() -> Self {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Self(Fetcher::new(System, roots))
    }
}

impl Default for HttpsFetch {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Fetch for HttpsFetch {
    async fn fetch(&self, url: &str) -> Result<Document, FetchError> {
        let fetched = self.0.fetch(url).await;
        fetched.map_err(|failure| FetchError(failure.into()))
    }
}

impl<N: Network> Fetcher<N> {
    fn new(network: N, roots: RootCertStore) -> Self {
        let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites of each version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A ticket would tell the server that the same process asks again.
        tls.resumption = Resumption::disabled();
        let tls = Arc::new(tls);
        Self { network, tls }
    }

    async fn fetch(&self, url: &str) -> Result<Document, Failure> {
        let fetched = async {
            let url = Url::parse(url).map_err(|_| Failure::Url)?;
            let user = !url.username().is_empty() || url.password().is_some();
            let host = url.host().ok_or(Failure::Url)?;
            if url.scheme() != "https" || user {
                return Err(Failure::Url);
            }
            let port = url.port_or_known_default().ok_or(Failure::Url)?;
            let stream = self.connect(&host, port).await?;
            let stream = self.secure(&host, stream).await?;
            exchange::get(&url, stream).await
        };
        timeout(FETCH_WITHIN, fetched)
            .await
            .map_err(|_| Failure::TooSlow)?
    }

    /// A connection to a public address of the host.
    async fn connect(&self, host: &Host<&str>, port: u16) -> Result<N::Stream, Failure> {
        let addresses = match host {
            Host::Domain(name) => {
                let found = self.network.look_up(name, port).await;
                found.map_err(|_| Failure::LookUp)?
            }
            Host::Ipv4(address) => vec![SocketAddr::from((*address, port))],
            Host::Ipv6(address) => vec![SocketAddr::from((*address, port))],
        };
        let mut failure = Failure::NotPublic;
        for address in addresses {
            if !is_public(address.ip()) {
                continue;
            }
            match timeout(CONNECT_WITHIN, self.network.connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = Failure::Connect(error.kind()),
                Err(_) => failure = Failure::Connect(io::ErrorKind::TimedOut),
            }
        }
        Err(failure)
    }

    async fn secure(
        &self,
        host: &Host<&str>,
        stream: N::Stream,
    ) -> Result<TlsStream<N::Stream>, Failure> {
        let name = match host {
            Host::Domain(name) => {
                let name = name.trim_end_matches('.').to_owned();
                ServerName::try_from(name).map_err(|_| Failure::Url)?
            }
            Host::Ipv4(address) => ServerName::IpAddress((*address).into()),
            Host::Ipv6(address) => ServerName::IpAddress((*address).into()),
        };
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let connected = connector.connect(name, stream).await;
        connected.map_err(
            |error| match error.get_ref().and_then(|it| it.downcast_ref()) {
                Some(rustls::Error::InvalidCertificate(_)) => Failure::Certificate,
                _ => Failure::Tls,
            },
        )
    }
}
