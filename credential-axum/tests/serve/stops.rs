//! A stop: what runs is finished, and a load balancer has time to look elsewhere.

use std::{future::pending, time::Duration};

use axum::{Router, routing::get};
use credential_axum::ServeConfig;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::client::{self, Server};

const SLOW: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_secs(1);

async fn start(drain: Duration) -> Server {
    let app = Router::new()
        .route("/", get(async || "here"))
        .route("/slow", get(async || sleep(SLOW).await))
        .route("/never", get(pending::<()>));
    let config = ServeConfig {
        drain,
        ..ServeConfig::default()
    };
    Server::start(app, config).await
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_requests_and_not_for_idle_connections() {
    let server = start(Duration::ZERO).await;
    let idle = server.get("/").await;
    let slow = server.get("/slow").await;
    sleep(MOMENT).await;
    server.stop.notify_one();
    let began = Instant::now();
    server.served.await.unwrap();
    assert!(began.elapsed() < SLOW, "no longer than the request");
    for client in [idle, slow] {
        let text = client.rest().await;
        assert!(text.contains("200 OK"), "{text}");
    }
    TcpStream::connect(server.address).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever() {
    let server = start(Duration::ZERO).await;
    let _never = server.get("/never").await;
    sleep(MOMENT).await;
    server.stop.notify_one();
    let began = Instant::now();
    server.served.await.unwrap();
    let grace = ServeConfig::default().grace;
    assert!(began.elapsed() >= grace && began.elapsed() < grace + MOMENT);
}

#[tokio::test(start_paused = true)]
async fn while_it_drains_everybody_is_served_and_told_to_go() {
    let drain = ServeConfig::default().drain;
    let server = start(drain).await;
    let mut kept = server.get("/").await;
    assert!(!kept.answer().await.closes());
    let idle = server.get("/").await;
    sleep(MOMENT).await;
    server.stop.notify_one();
    let began = Instant::now();
    sleep(MOMENT).await;
    kept.send(client::get("/").as_bytes()).await;
    let answer = kept.answer().await;
    assert_eq!((answer.status, answer.closes()), (200, true));
    assert_eq!(kept.rest().await, "");
    let answer = server.get("/nowhere").await.answer().await;
    assert_eq!((answer.status, answer.closes()), (404, true));
    assert!(idle.rest().await.contains("200 OK"));
    assert!(
        began.elapsed() >= drain,
        "an idle connection stays until the end"
    );
    server.served.await.unwrap();
    assert!(began.elapsed() < drain + MOMENT);
    TcpStream::connect(server.address).await.unwrap_err();
}

/// What the kernel has accepted is answered, though the listener closes.
#[tokio::test(start_paused = true)]
async fn a_connection_in_the_backlog_is_answered() {
    let server = start(Duration::ZERO).await;
    sleep(MOMENT).await;
    server.stop.notify_one();
    // Without a wait: the kernel takes these before the server runs again.
    let mut clients = Vec::new();
    for _ in 0..20 {
        let stream = std::net::TcpStream::connect(server.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        clients.push(client::Client::from(TcpStream::from_std(stream).unwrap()));
    }
    for mut client in clients {
        client.send(client::get("/").as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.closes()), (200, true));
    }
    server.served.await.unwrap();
}
