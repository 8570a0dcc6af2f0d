//! Nobody holds a connection longer than its bounds, nor all of them.

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    routing::{get, post},
};
use credential_axum::ServeConfig;
use http_body::Frame;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{self, Client, Server};

/// How exact bounds are, and more than anything here takes where time is not the machine's.
const MOMENT: Duration = Duration::from_secs(1);

fn app() -> Router {
    Router::new()
        .route("/", get(async || "here"))
        .route("/read", post(async |body: Bytes| body.len().to_string()))
        .route("/never", get(pending::<()>))
        .route("/large", get(async || Body::from(vec![b'x'; LARGE])))
        .route("/endless", get(async || Body::new(Endless)))
}

/// More than sockets take.
const LARGE: usize = 64_000_000;

struct Endless;

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

async fn start() -> (Server, ServeConfig) {
    let config = ServeConfig::default();
    (Server::start(app(), config).await, config)
}

async fn lasts(client: Client) -> Duration {
    let began = Instant::now();
    client.gone().await;
    began.elapsed()
}

fn assert_about(lasted: Duration, bound: Duration, what: &str) {
    assert!(
        lasted >= bound && lasted < bound + MOMENT,
        "{what}: {lasted:?}"
    );
}

fn announced(length: usize) -> String {
    format!("POST /read HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_ends_its_connection() {
    let (server, config) = start().await;
    for text in ["", "GET / HTTP/1.1\r\nhost: te"] {
        let lasted = lasts(server.send(text).await).await;
        assert_about(lasted, config.head_within, text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_between_requests() {
    let (server, config) = start().await;
    let mut client = server.get("/").await;
    assert_eq!(client.answer().await.status, 200);
    sleep(config.head_within.saturating_sub(MOMENT)).await;
    client.send(client::get("/").as_bytes()).await;
    assert_eq!(client.answer().await.status, 200);
    assert_about(lasts(client).await, config.head_within, "counted anew");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_answered_and_its_connection_ends() {
    let (server, config) = start().await;
    let chunked = "POST /read HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    for text in [&announced(10), &format!("{}12345", announced(10)), chunked] {
        let began = Instant::now();
        let mut client = server.send(text).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.closes()), (408, true), "{text}");
        assert_about(began.elapsed(), config.body_within, text);
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_in_drops_takes_no_longer() {
    let (server, config) = start().await;
    let began = Instant::now();
    let mut client = server.send(&announced(1_000)).await;
    let answer = loop {
        client.send(b"x").await;
        if let Ok(answer) = timeout(MOMENT, client.answer()).await {
            break answer;
        }
    };
    assert_eq!(answer.status, 408);
    assert_about(began.elapsed(), config.body_within, "in drops");
}

/// Refused at once, and the rest of the body never comes.
#[tokio::test(start_paused = true)]
async fn a_refused_body_that_does_not_come_ends_its_connection() {
    let (server, config) = start().await;
    let mut client = server.send(&announced(10).replace("/read", "/")).await;
    assert_eq!(client.answer().await.status, 405);
    let lasted = lasts(client).await;
    assert!(lasted < config.body_within + 6 * MOMENT, "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_read_ends_its_connection() {
    let (server, config) = start().await;
    for (path, bound) in [
        ("/endless", config.exchange_within),
        // hyper has taken all of it, and waits for the next head.
        ("/large", config.head_within),
    ] {
        let client = server.get(path).await;
        sleep(bound + MOMENT).await;
        let read = client.gone().await;
        assert!(read < LARGE, "all of it came: {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_ends_its_connection() {
    let (server, config) = start().await;
    let lasted = lasts(server.get("/never").await).await;
    assert_about(lasted, config.exchange_within, "/never");
}

#[tokio::test(start_paused = true)]
async fn who_lets_us_wait_longest_makes_room_for_others() {
    let config = ServeConfig {
        max_connections: 8,
        ..ServeConfig::default()
    };
    let server = Server::start(app(), config).await;
    let mut kept = server.get("/").await;
    assert_eq!(kept.answer().await.status, 200);
    let mut working = vec![server.get("/never").await];
    sleep(MOMENT).await;
    // Six that promise, or say nothing.
    let mut stuck = Vec::new();
    for n in 0..6 {
        let text = if n % 2 == 0 { &announced(10) } else { "GET" };
        stuck.push(server.send(text).await);
        sleep(MOMENT).await;
    }
    let mut others = Vec::new();
    for client in stuck {
        let mut other = server.get("/").await;
        assert_eq!(other.answer().await.status, 200);
        others.push(other);
        client.gone().await;
    }
    kept.send(client::get("/").as_bytes()).await;
    assert_eq!(
        kept.answer().await.status,
        200,
        "who is served stays longest"
    );
    // Where all are at work, nobody else gets in until one ends.
    drop((kept, others));
    sleep(MOMENT).await;
    for _ in 0..7 {
        working.push(server.get("/never").await);
    }
    sleep(MOMENT).await;
    let mut last = server.get("/").await;
    timeout(MOMENT, last.answer()).await.unwrap_err();
    working.pop();
    assert_eq!(last.answer().await.status, 200);
}

/// Whatever comes at once: no more of a head is kept.
#[tokio::test]
async fn a_head_is_at_most_64_kib() {
    let (server, _) = start().await;
    let head = |length: usize| {
        let name = "GET / HTTP/1.1\r\nhost: test\r\nx: \r\n\r\n".len();
        format!(
            "GET / HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n",
            "x".repeat(length - name)
        )
    };
    assert_eq!(server.send(&head(65_000)).await.answer().await.status, 200);
    assert_eq!(server.send(&head(70_000)).await.answer().await.status, 431);
}
