//! Names and connections.

use std::{fmt::Debug, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};

/// What a fetch needs of the operating system.
pub(crate) trait Network: Debug + Send + Sync {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// Every address of a name, in the order in which to try them.
    fn look_up(
        &self,
        name: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    fn connect(&self, address: SocketAddr)
    -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct System;

impl Network for System {
    type Stream = TcpStream;

    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((name, port)).await?.collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }
}
