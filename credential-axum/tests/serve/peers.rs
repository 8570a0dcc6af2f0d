//! Who is at the other end of a connection.

use std::net::SocketAddr;

use axum::{Router, extract::ConnectInfo, routing::get};
use credential_axum::ServeConfig;

use crate::client::Server;

#[tokio::test]
async fn each_request_knows_its_peer() {
    let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| [("x-peer", peer.to_string())];
    let app = Router::new().route("/", get(peer));
    let server = Server::start(app, ServeConfig::default()).await;
    for _ in 0..2 {
        let mut client = server.get("/").await;
        let address = client.stream.local_addr().unwrap();
        let answer = client.answer().await;
        let expected = format!("\r\nx-peer: {address}\r\n");
        assert!(answer.head.contains(&expected), "{}", answer.head);
        // A second request of the connection.
        client.send(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        assert!(client.answer().await.head.contains(&expected));
    }
}
