//! A server on a free port, and a client that sees what is on the wire.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use credential_axum::{ServeConfig, Stop, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};

/// Longer than anything here takes.
const AT_MOST: Duration = Duration::from_mins(3);

pub struct Server {
    pub address: SocketAddr,
    pub stop: Arc<Notify>,
    pub served: JoinHandle<()>,
}

impl Server {
    pub async fn start(app: Router, config: ServeConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(Notify::new());
        let told = Arc::clone(&stop);
        let stopped = Stop::when(async move { told.notified().await });
        Self {
            address,
            stop,
            served: tokio::spawn(serve(listener, app, config, stopped)),
        }
    }

    pub async fn connect(&self) -> Client {
        Client::to(self.address).await
    }

    pub async fn send(&self, text: &str) -> Client {
        let mut client = self.connect().await;
        client.send(text.as_bytes()).await;
        client
    }

    pub async fn get(&self, path: &str) -> Client {
        self.send(&get(path)).await
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
}

impl Answer {
    /// Whether it says that the connection ends.
    pub fn closes(&self) -> bool {
        self.head.contains("\r\nconnection: close\r\n")
            || self.head.starts_with("HTTP/1.0") && !self.head.contains("connection: keep-alive")
    }
}

impl From<TcpStream> for Client {
    fn from(stream: TcpStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }
}

impl Client {
    pub async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.into()
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// One answer, read to its announced end.
    pub async fn answer(&mut self) -> Answer {
        timeout(AT_MOST, self.read_answer()).await.unwrap()
    }

    async fn read_answer(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await;
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let head = head.to_ascii_lowercase().replace("http/", "HTTP/");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok())
            .unwrap_or(0);
        while self.read.len() < length {
            self.read_more().await;
        }
        self.read.drain(..length);
        Answer { status, head }
    }

    async fn read_more(&mut self) {
        let read = self.stream.read_buf(&mut self.read).await.unwrap();
        assert!(read > 0, "closed in an answer: {:?}", self.read);
    }

    /// What comes until the other side closes. A reset fails the test.
    pub async fn rest(mut self) -> String {
        let read = self.stream.read_to_end(&mut self.read);
        timeout(AT_MOST, read).await.unwrap().unwrap();
        String::from_utf8(self.read).unwrap()
    }

    /// Waits until the other side closes, or resets the connection. Returns how much was read.
    pub async fn gone(mut self) -> usize {
        let read = self.stream.read_to_end(&mut self.read);
        let _ = timeout(AT_MOST, read).await.unwrap();
        self.read.len()
    }
}
