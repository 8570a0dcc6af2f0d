//! Connections: accepted, served with HTTP/1.1, bounded, and ended.
//!
//! Why not `axum::serve`: it gives a client all the time in the world for a request's head, its body and
//! its answer, takes connections until there are no more file descriptors, resets a client that still
//! sends when it is refused, and has no time in which a load balancer could look elsewhere.

mod connection;
mod exchange;
mod open;
mod ready;
mod stop;

use std::{io, sync::Arc, time::Duration};

use axum::{Router, serve::Listener as _};
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use self::open::Open;
pub use self::{
    ready::{NotReady, ready},
    stop::Stop,
};

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
    /// The most connections at once. Beyond that, those go whose clients let us wait longest: first
    /// in the middle of something, then idle ones. By default as many as the limit of file
    /// descriptors allows after an eighth of it, and at least 128, is left for everything else.
    pub max_connections: usize,
    /// How long after [`Stop`] the listener stays open, with `Connection: close` in every answer, so
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
    // Where there is no limit, memory is one.
    const MOST: u64 = 65_536;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let spare = limit.saturating_sub(LEFT_FOR_OTHERS.max(limit / 8));
    usize::try_from(spare.clamp(FEWEST, MOST)).unwrap_or(usize::MAX)
}

/// Serves `app` until it is told to stop, then drains and ends: see [`ServeConfig`].
///
/// A refusal always reaches its client, whatever of the request's body is still on its way: a rest of up
/// to 4 MiB is read and dropped and the connection kept; otherwise the answer says `Connection: close`, and
/// the connection lingers until the client has read it.
pub async fn serve(mut listener: TcpListener, app: Router, config: ServeConfig, stop: Stop) {
    let open = Arc::new(Open::new(app, config, stop));
    let served = async {
        {
            let mut accepting = std::pin::pin!(accept(&mut listener, &open));
            tokio::select! {
                () = &mut accepting => {}
                () = open.stop.told() => {}
            }
            // Elapses: whoever accepts does so for ever.
            let _ = timeout(config.drain, accepting).await;
        }
        if let Err(error) = last_connections(listener, &open) {
            tracing::debug!(%error, "connections in the backlog were not accepted");
        }
        if timeout(config.grace, open.finish()).await.is_err() {
            tracing::warn!("stopped with requests still running");
        }
    };
    tokio::select! {
        () = served => {}
        () = open.keep_bounds() => {}
    }
}

async fn accept(listener: &mut TcpListener, open: &Arc<Open>) {
    loop {
        // By axum's trait, which waits a moment when there are no more file descriptors.
        let (stream, _) = listener.accept().await;
        open.make_room().await;
        take(stream, open);
    }
}

/// Closes the listener, after it has taken the connections that the kernel had already accepted:
/// closing would reset them.
fn last_connections(listener: TcpListener, open: &Arc<Open>) -> io::Result<()> {
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                take(TcpStream::from_std(stream)?, open);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn take(stream: TcpStream, open: &Arc<Open>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's delay");
    }
    tokio::spawn(connection::run(stream, Open::add(open)));
}
