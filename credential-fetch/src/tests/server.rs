//! A server with TLS, and a network on which names and addresses lead to it.

use std::{
    collections::VecDeque,
    fmt::{self, Debug},
    future, io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use crate::network::{Network, System};

pub(super) const HOST: &str = "keys.example.com";
pub(super) const PUBLIC: &str = "203.0.114.7";

/// What the server does with a connection, in this order; then it closes.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Before TLS: nothing, ever.
    Silence,
    Send(Vec<u8>),
    /// A byte every 100 ms, for ever.
    Trickle,
    /// Nothing more, and no close.
    Hold,
    /// Ends the connection without saying so in TLS.
    Cut,
}

/// Two ways to the same server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Over {
    /// Nothing takes time but what a test lets take time.
    Memory,
    Loopback,
}

#[derive(Clone)]
pub(super) struct TestNetwork(Arc<Shared>);

pub(super) struct Shared {
    over: Over,
    server: Arc<ServerConfig>,
    steps: Vec<Step>,
    /// What each look-up answers; the last one again and again.
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    /// Addresses that refuse a connection, and such that never answer.
    dead: Vec<IpAddr>,
    silent: Vec<IpAddr>,
    pub(super) looked_up: Mutex<Vec<String>>,
    pub(super) connected: Mutex<Vec<SocketAddr>>,
    pub(super) requests: Arc<Mutex<Vec<String>>>,
    /// Bytes of the answer that the server was able to write.
    pub(super) sent: Arc<AtomicUsize>,
    /// Connections whose other side has gone.
    pub(super) left: Arc<AtomicUsize>,
}

/// What a certificate says.
pub(super) struct Certificate {
    pub(super) names: &'static [&'static str],
    pub(super) year_of_end: i32,
    /// Signed by an authority that clients do not know.
    pub(super) unknown: bool,
}

impl Default for Certificate {
    fn default() -> Self {
        Self {
            names: &[HOST, PUBLIC],
            year_of_end: 4000,
            unknown: false,
        }
    }
}

impl TestNetwork {
    pub(super) fn new(over: Over, steps: Vec<Step>) -> (Self, RootCertStore) {
        Self::with(over, steps, &Certificate::default())
    }

    pub(super) fn with(
        over: Over,
        steps: Vec<Step>,
        certificate: &Certificate,
    ) -> (Self, RootCertStore) {
        let (known, unknown) = (authority(), authority());
        let mut roots = RootCertStore::empty();
        roots.add(known.der().clone()).unwrap();
        let issuer = if certificate.unknown { unknown } else { known };
        let names = certificate.names.iter().map(ToString::to_string);
        let mut params = CertificateParams::new(names.collect::<Vec<_>>()).unwrap();
        params.not_after = date_time_ymd(certificate.year_of_end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &issuer).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![signed.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let shared = Shared {
            over,
            server: Arc::new(server),
            steps,
            answers: Mutex::new([vec![PUBLIC.parse().unwrap()]].into()),
            dead: Vec::new(),
            silent: Vec::new(),
            looked_up: Mutex::default(),
            connected: Mutex::default(),
            requests: Arc::default(),
            sent: Arc::default(),
            left: Arc::default(),
        };
        (Self(Arc::new(shared)), roots)
    }

    /// What one look-up after the other answers. Before any fetch.
    pub(super) fn answering(mut self, answers: &[&[&str]]) -> Self {
        let addresses = |them: &&[&str]| them.iter().map(|it| it.parse().unwrap()).collect();
        let answers = answers.iter().map(addresses).collect();
        Arc::get_mut(&mut self.0).unwrap().answers = Mutex::new(answers);
        self
    }

    /// Addresses that refuse, and those that never answer. Before any fetch.
    pub(super) fn failing(mut self, dead: &[&str], silent: &[&str]) -> Self {
        let shared = Arc::get_mut(&mut self.0).unwrap();
        shared.dead = dead.iter().map(|it| it.parse().unwrap()).collect();
        shared.silent = silent.iter().map(|it| it.parse().unwrap()).collect();
        self
    }

    pub(super) fn seen(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    /// The addresses that were connected to.
    pub(super) fn connected(&self) -> Vec<String> {
        let connected = self.connected.lock().unwrap();
        connected.iter().map(|it| it.ip().to_string()).collect()
    }
}

impl Debug for TestNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestNetwork")
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Network for TestNetwork {
    type Stream = Box<dyn Io>;

    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.0.looked_up.lock().unwrap().push(name.to_owned());
        let found = {
            let mut answers = self.0.answers.lock().unwrap();
            let found = answers.front().cloned();
            if answers.len() > 1 {
                answers.pop_front();
            }
            found
        };
        match found {
            Some(found) => Ok(found.into_iter().map(|it| (it, port).into()).collect()),
            None => future::pending().await,
        }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
        self.0.connected.lock().unwrap().push(address);
        if self.0.dead.contains(&address.ip()) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if self.0.silent.contains(&address.ip()) {
            return future::pending().await;
        }
        let (client, server): (Box<dyn Io>, Box<dyn Io + 'static>) = match self.0.over {
            Over::Memory => {
                let (client, server) = duplex(16 * 1024);
                (Box::new(client), Box::new(server))
            }
            Over::Loopback => {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let client: TcpStream = System.connect(listener.local_addr()?).await?;
                (Box::new(client), Box::new(listener.accept().await?.0))
            }
        };
        tokio::spawn(serve(server, Arc::clone(&self.0)));
        Ok(client)
    }
}

async fn serve(stream: Box<dyn Io>, shared: Arc<Shared>) {
    if matches!(shared.steps.first(), Some(Step::Silence)) {
        let _open = stream;
        return future::pending().await;
    }
    let acceptor = TlsAcceptor::from(Arc::clone(&shared.server));
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    shared.requests.lock().unwrap().push(head);
    for step in shared.steps.clone() {
        match step {
            Step::Silence => {}
            Step::Send(bytes) => {
                for part in bytes.chunks(4096) {
                    if stream.write_all(part).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                    shared.sent.fetch_add(part.len(), Ordering::SeqCst);
                }
            }
            Step::Trickle => {
                while stream.write_all(b" ").await.is_ok() && stream.flush().await.is_ok() {
                    shared.sent.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_millis(100)).await;
                }
                return;
            }
            Step::Hold => {
                while stream.read_u8().await.is_ok() {}
                shared.left.fetch_add(1, Ordering::SeqCst);
                return;
            }
            Step::Cut => {
                _ = stream.get_mut().0.shutdown().await;
                return;
            }
        }
    }
    _ = stream.shutdown().await;
}
