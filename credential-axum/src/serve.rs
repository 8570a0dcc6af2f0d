//! Connections: accepted, served with HTTP/1.1, bounded, and ended.
//!
//! Why not `axum::serve`: it has no time limit for a request's head, its body and its answer,
//! accepts connections until no file descriptor is left, resets a client that is still sending when
//! it is refused, and does not drain before it stops.

mod config;
mod connection;
mod exchange;
mod open_connections;
mod ready;
mod stop;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, serve::Listener as _};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use self::open_connections::Open;
pub use self::{
    config::ServeConfig,
    ready::{NotReady, ready},
    stop::Stop,
};

/// Serves `app` until [`Stop`] fires, then drains and ends: see [`ServeConfig`].
///
/// A refusal always reaches its client, whatever of the request's body is still on its way: a rest of up
/// to 4 MiB is read and dropped and the connection kept; otherwise the answer says `Connection: close`, and
/// the connection lingers until the client has read it.
///
/// Each request has axum's `ConnectInfo<SocketAddr>`, the address of its peer.
pub async fn serve(mut listener: TcpListener, app: Router, config: ServeConfig, stop: Stop) {
    let open = Arc::new(Open::new(app, config, stop));
    let served = async {
        {
            let mut accepting = std::pin::pin!(accept(&mut listener, &open));
            tokio::select! {
                () = &mut accepting => {}
                () = open.stop.told() => {}
            }
            // Always elapses, because accepting never ends.
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
        let (stream, peer) = listener.accept().await;
        open.make_room().await;
        take(stream, peer, open);
    }
}

/// Closes the listener, after it has taken the connections that the kernel had already accepted:
/// closing would reset them.
fn last_connections(listener: TcpListener, open: &Arc<Open>) -> io::Result<()> {
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(true)?;
                take(TcpStream::from_std(stream)?, peer, open);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn take(stream: TcpStream, peer: SocketAddr, open: &Arc<Open>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's delay");
    }
    tokio::spawn(connection::run(stream, Open::add(open, peer)));
}
