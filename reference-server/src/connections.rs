//! Connections: accepted, served with HTTP/1.1, and ended.
//!
//! Why not `axum::serve`: it gives a request's head all the time in the world, so that whoever opens
//! connections and says nothing keeps them. Each other setting of hyper was measured
//! (`load --scenario settings`, docs/performance.md); one paid.

use std::time::Duration;

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, time::timeout};

/// How long a connection may be without a complete head of a request, be it idle or slow. Longer
/// than proxies keep idle connections to a server (nginx: 60 s), so that a proxy does not send a
/// request on one that this side is about to close.
const HEAD_WITHIN: Duration = Duration::from_secs(75);

/// How long requests may still run after the server was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Serves `app` until `stop` is ready. From then on nothing is accepted, idle connections end, and
/// requests that run have [`GRACE`].
pub async fn serve(mut listener: TcpListener, app: Router, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        // Answers are short: copying one behind its head costs less than writing two pieces.
        .writev(false);
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        // By axum's trait, which waits a moment when there are no more file descriptors.
        let (stream, peer) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = &mut stop => break,
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "a connection keeps Nagle's delay");
        }
        let service = TowerToHyperService::new(app.clone());
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a connection ended badly");
            }
        });
    }
    drop(listener);
    if timeout(GRACE, connections.shutdown()).await.is_err() {
        tracing::warn!("stopped with requests still running");
    }
}

#[cfg(test)]
#[allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        sync::oneshot,
        task::JoinHandle,
        time::{Instant, sleep},
    };

    use super::*;

    const SLOW: Duration = Duration::from_secs(5);
    /// Far more than any of this takes once time is not the machine's.
    const MOMENT: Duration = Duration::from_secs(1);

    struct Server {
        address: std::net::SocketAddr,
        stop: oneshot::Sender<()>,
        served: JoinHandle<()>,
    }

    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let app = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/slow", get(|| async { sleep(SLOW).await }))
            .route("/never", get(std::future::pending::<()>));
        let served = tokio::spawn(serve(listener, app, async {
            stopped.await.unwrap();
        }));
        Server {
            address,
            stop,
            served,
        }
    }

    impl Server {
        async fn send(&self, text: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream
        }

        async fn get(&self, path: &str) -> TcpStream {
            self.send(&request(path)).await
        }
    }

    fn request(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
    }

    /// What comes until the other side closes, and when it did.
    async fn rest(mut stream: TcpStream) -> (String, Duration) {
        let began = Instant::now();
        let mut text = String::new();
        let read = stream.read_to_string(&mut text);
        timeout(2 * HEAD_WITHIN, read).await.unwrap().unwrap();
        (text, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_ends_its_connection() {
        let server = start().await;
        for text in ["", "GET / HTTP/1.1\r\nhost: te"] {
            let (_, after) = rest(server.send(text).await).await;
            assert!(after >= HEAD_WITHIN, "{text:?} after {after:?}");
            assert!(after < HEAD_WITHIN + MOMENT, "{text:?} after {after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_between_requests() {
        let server = start().await;
        let mut stream = server.get("/").await;
        sleep(HEAD_WITHIN.saturating_sub(MOMENT)).await;
        stream.write_all(request("/").as_bytes()).await.unwrap();
        let (text, after) = rest(stream).await;
        assert_eq!(text.matches("200 OK").count(), 2, "{text}");
        assert!(after >= HEAD_WITHIN, "counted anew: {after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_requests_and_not_for_idle_connections() {
        let server = start().await;
        let idle = server.get("/").await;
        let slow = server.get("/slow").await;
        sleep(MOMENT).await;
        server.stop.send(()).unwrap();
        let began = Instant::now();
        server.served.await.unwrap();
        assert!(began.elapsed() < SLOW, "no longer than the request");
        for stream in [idle, slow] {
            let (text, _) = rest(stream).await;
            assert!(text.contains("200 OK"), "{text}");
        }
        TcpStream::connect(server.address).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_does_not_wait_for_ever() {
        let server = start().await;
        let _never = server.get("/never").await;
        sleep(MOMENT).await;
        server.stop.send(()).unwrap();
        let began = Instant::now();
        server.served.await.unwrap();
        assert!(began.elapsed() >= GRACE && began.elapsed() < GRACE + MOMENT);
    }
}
