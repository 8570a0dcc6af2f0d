//! One connection, from its first byte to its end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use super::{
    exchange::App,
    open_connections::{Connection, Listed, Phase},
};

/// How long a client that was answered in the middle of its body may be silent before its connection
/// is closed all the same.
const SILENCE: Duration = Duration::from_secs(5);

/// How long it may go on sending.
const LINGER: Duration = Duration::from_secs(30);

/// Bytes that are read of that at a time.
const PIECE: usize = 16 * 1024;

/// What is read at once of a head. hyper doubles its buffer and fills what there is, so that a bound on
/// it would be overrun by as much again.
const PIECE_OF_HEAD: usize = 2 * 1024;

pub(super) async fn run(stream: TcpStream, listed: Arc<Listed>) {
    let connection = Arc::clone(&listed.connection);
    let app = App(Arc::clone(&listed));
    let io = TokioIo::new(Socket {
        stream,
        connection: Arc::clone(&connection),
    });
    let mut http = listed.open.http.serve_connection(io, app);
    let mut finishing = false;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut http => break ended,
            () = connection.told.notified() => {}
        }
        if connection.is_cut() {
            tracing::debug!("a connection was cut: it was out of bounds, or there were too many");
            return;
        }
        // A connection that has not sent anything yet may have a request on its way.
        if connection.finishes() && !finishing && connection.phase() != Phase::First {
            finishing = true;
            Pin::new(&mut http).graceful_shutdown();
        }
    };
    let mut lingers = connection.lingers();
    if let Err(error) = ended {
        // hyper has answered a head that it could not read, whatever came behind it.
        lingers |= error.is_parse();
        tracing::debug!(%error, "a connection ended badly");
    }
    if lingers {
        listed.lingering();
        linger(http.into_parts().io.into_inner().stream, &connection).await;
    }
}

/// Closes our side, and waits for the client to close its own: closing both while it still sends makes
/// the kernel reset the connection, and the client may then lose an answer that it has not read.
async fn linger(mut stream: TcpStream, connection: &Connection) {
    let until_closed = async {
        // On an error the client is gone, so there is no reason to wait.
        stream.shutdown().await?;
        let mut dropped = vec![0; PIECE];
        while timeout(SILENCE, stream.read(&mut dropped)).await?? > 0 {}
        io::Result::Ok(())
    };
    let cut = async {
        while !connection.is_cut() {
            connection.told.notified().await;
        }
    };
    tokio::select! {
        _ = timeout(LINGER, until_closed) => {}
        () = cut => {}
    }
}

/// A socket that reads heads in small pieces.
struct Socket {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.connection.waits_for_head() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let mut piece =
            ReadBuf::new(buffer.initialize_unfilled_to(PIECE_OF_HEAD.min(buffer.remaining())));
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
        let read = piece.filled().len();
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
