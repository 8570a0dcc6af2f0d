//! A refusal reaches its client, whatever of the body is still on its way.

use async_trait::async_trait;
use axum::{Router, routing::get};
use credential_axum::{
    DrainUnread, ForwardAuthHeaders, Guard, ServeConfig, SignIn, SignInError, admin_router,
    forward_auth_router, oauth_router,
};
use credential_core::{
    Credentials,
    actor::{Actor, Role},
};
use http::request::Parts;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    client::{Client, Server},
    common::Platform,
};

/// Everything that can refuse before it has read a body.
fn app(credentials: &Credentials) -> Router {
    let guarded = Router::new()
        .route(
            "/api/2.0/patients/",
            get(async || "here").post(async || "made"),
        )
        .route_layer(Guard::new(credentials, "apiv2").unwrap());
    Router::new()
        .merge(guarded)
        .merge(oauth_router(credentials))
        .merge(forward_auth_router(
            credentials,
            ForwardAuthHeaders::XForwarded,
        ))
        .nest("/api-access/v1", admin_router(credentials, Cookies))
}

struct Cookies;

#[async_trait]
impl SignIn for Cookies {
    async fn actor(&self, parts: &Parts) -> Result<Option<Actor>, SignInError> {
        let ada = Actor {
            id: "ada".parse().map_err(SignInError::new)?,
            tenant: "acme".parse().map_err(SignInError::new)?,
            role: Role::Admin,
        };
        let cookie = parts.headers.get("cookie");
        Ok(cookie.filter(|cookie| *cookie == "user=ada").map(|_| ada))
    }
}

const ADMIN: &str = "cookie: user=ada\r\n";
const FOREIGN: &str = "cookie: user=ada\r\nsec-fetch-site: cross-site\r\n";
const JSON: &str = "cookie: user=ada\r\ncontent-type: application/json\r\n";
const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

/// Who refuses, and with what where the body is larger than 64 KiB.
const REFUSALS: [(&str, &str, &str, u16); 13] = [
    ("POST", "/api/2.0/patients/", "", 401),
    (
        "POST",
        "/api/2.0/patients/",
        "authorization: Bearer no\r\n",
        401,
    ),
    ("PUT", "/api/2.0/patients/", "", 401),
    ("POST", "/forward-auth", "", 405),
    ("GET", "/forward-auth", "", 400),
    ("POST", "/oauth2/token", "", 400),
    ("POST", "/oauth2/token", FORM, 413),
    ("PUT", "/oauth2/token", FORM, 405),
    ("POST", "/api-access/v1/credentials", "", 401),
    ("POST", "/api-access/v1/credentials", FOREIGN, 403),
    ("POST", "/api-access/v1/credentials", JSON, 413),
    ("POST", "/api-access/v1/nothing", ADMIN, 404),
    ("POST", "/nowhere", "", 404),
];

/// How a body is announced, and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Length,
    Chunked,
    OldVersion,
    OldVersionKept,
    LastRequest,
}

const SHAPES: [Shape; 5] = [
    Shape::Length,
    Shape::Chunked,
    Shape::OldVersion,
    Shape::OldVersionKept,
    Shape::LastRequest,
];

impl Shape {
    fn head(self, (method, path, headers): (&str, &str, &str), size: usize) -> String {
        let (version, more) = match self {
            Self::Length => ("1.1", format!("content-length: {size}\r\n")),
            Self::Chunked => ("1.1", "transfer-encoding: chunked\r\n".to_owned()),
            Self::OldVersion => ("1.0", format!("content-length: {size}\r\n")),
            Self::OldVersionKept => (
                "1.0",
                format!("content-length: {size}\r\nconnection: keep-alive\r\n"),
            ),
            Self::LastRequest => (
                "1.1",
                format!("content-length: {size}\r\nconnection: close\r\n"),
            ),
        };
        format!("{method} {path} HTTP/{version}\r\nhost: test\r\n{headers}{more}\r\n")
    }

    fn body(self, size: usize) -> Vec<u8> {
        if self != Self::Chunked {
            return vec![b'x'; size];
        }
        let mut body = Vec::new();
        let mut left = size;
        while left > 0 {
            let piece = left.min(10_000);
            body.extend_from_slice(format!("{piece:x}\r\n").as_bytes());
            body.resize(body.len() + piece, b'x');
            body.extend_from_slice(b"\r\n");
            left -= piece;
        }
        body.extend_from_slice(b"0\r\n\r\n");
        body
    }
}

/// The next request on a connection is answered, unless the last answer said that it ends: then it ends
/// in order.
async fn goes_on(mut client: Client, closes: bool, what: &str) {
    if closes {
        assert_eq!(client.rest().await, "", "{what}");
    } else {
        client.send(crate::client::get("/nowhere").as_bytes()).await;
        assert_eq!(client.answer().await.status, 404, "{what}");
    }
}

/// The client sends everything before it reads anything, as most do.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_everything_first_gets_the_answer() {
    let platform = Platform::new(|_| Router::new());
    let server = Server::start(app(&platform.credentials), ServeConfig::default()).await;
    for (method, path, headers, status) in REFUSALS {
        for shape in SHAPES {
            for size in [20_000, 1_000_000, 3_000_000, 9_000_000] {
                let what = format!("{method} {path} {shape:?} {size}");
                if size < 65_536 && status == 413 {
                    continue;
                }
                let mut client = server.connect().await;
                let head = shape.head((method, path, headers), size);
                client.send(head.as_bytes()).await;
                client.send(&shape.body(size)).await;
                let answer = client.answer().await;
                assert_eq!(answer.status, status, "{what}");
                if size <= 3_000_000 && [Shape::Length, Shape::Chunked].contains(&shape) {
                    assert!(
                        !answer.closes(),
                        "a bounded rest keeps its connection: {what}"
                    );
                }
                // More than what is kept, and nobody could say so before.
                if size <= 3_000_000 || shape != Shape::Chunked {
                    goes_on(client, answer.closes(), &what).await;
                }
            }
        }
    }
}

/// The body is a segment of its own, after the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_that_comes_late_does_not_end_its_connection() {
    let platform = Platform::new(|_| Router::new());
    let server = Server::start(app(&platform.credentials), ServeConfig::default()).await;
    for (method, path, headers, status) in REFUSALS {
        // These wait for it, or for more.
        if [413, 422].contains(&status) || path == "/oauth2/token" && headers == FORM {
            continue;
        }
        for shape in SHAPES {
            let what = format!("{method} {path} {shape:?}");
            let mut client = server.connect().await;
            for _ in 0..3 {
                let head = shape.head((method, path, headers), 20);
                client.send(head.as_bytes()).await;
                let answer = client.answer().await;
                assert_eq!(answer.status, status, "{what}");
                client.send(&shape.body(20)).await;
                if answer.closes() {
                    assert!(![Shape::Length, Shape::Chunked].contains(&shape), "{what}");
                    assert_eq!(client.rest().await, "", "{what}");
                    client = server.connect().await;
                }
            }
        }
    }
}

/// A client that waits for `100 Continue` learns at once that its body is not wanted.
#[tokio::test(flavor = "multi_thread")]
async fn an_expected_body_is_refused_before_it_is_sent() {
    let platform = Platform::new(|_| Router::new());
    let server = Server::start(app(&platform.credentials), ServeConfig::default()).await;
    for (method, path, headers, status) in REFUSALS {
        for size in [20, 3_000_000] {
            let headers = format!("{headers}expect: 100-continue\r\n");
            let what = format!("{method} {path} {size}");
            let reads = path == "/oauth2/token" && headers.contains(FORM) || status == 413;
            if size == 20 && reads && method == "POST" {
                continue;
            }
            for sends in [false, true] {
                let mut client = server.connect().await;
                let head = Shape::Length.head((method, path, &headers), size);
                client.send(head.as_bytes()).await;
                let answer = client.answer().await;
                assert_eq!(answer.status, status, "{what}");
                assert!(answer.closes(), "{what}: {}", answer.head);
                // Some clients send it all the same.
                if sends {
                    client.send(&vec![b'x'; size]).await;
                }
                assert_eq!(client.rest().await, "", "{what}");
            }
        }
    }
}

#[tokio::test]
async fn an_expected_body_that_is_wanted_is_asked_for() {
    let platform = Platform::new(|_| Router::new());
    let server = Server::start(app(&platform.credentials), ServeConfig::default()).await;
    let headers = format!("{FORM}expect: 100-continue\r\n");
    let head = Shape::Length.head(("POST", "/oauth2/token", &headers), 20);
    let mut client = server.send(&head).await;
    assert_eq!(client.answer().await.status, 100);
    client.send(&[b'x'; 20]).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 401, "{answer:?}");
    goes_on(client, answer.closes(), "wanted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_cannot_be_read_is_answered_in_the_middle_of_it() {
    let server = Server::start(Router::new(), ServeConfig::default()).await;
    let mut client = server.connect().await;
    client
        .send(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(3_000_000)).as_bytes())
        .await;
    let answer = client.answer().await;
    assert!([414, 431].contains(&answer.status), "{answer:?}");
    assert_eq!(client.rest().await, "");
}

/// A host that serves with `axum::serve` and the layer.
async fn plain_host() -> (std::net::SocketAddr, JoinHandle<()>) {
    let platform = Platform::new(|_| Router::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app(&platform.credentials).layer(DrainUnread);
    let served = tokio::spawn(async move {
        axum::serve(listener, app).await.unwrap();
    });
    (address, served)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layer_does_it_for_other_hosts_too() {
    let (address, _served) = plain_host().await;
    for (method, path, headers, status) in REFUSALS {
        for shape in [Shape::Length, Shape::Chunked] {
            for size in [20, 1_000_000, 3_000_000] {
                if size == 20 && status == 413 {
                    continue;
                }
                let what = format!("{method} {path} {shape:?} {size}");
                let mut client = Client::to(address).await;
                let head = shape.head((method, path, headers), size);
                client.send(head.as_bytes()).await;
                client.send(&shape.body(size)).await;
                let answer = client.answer().await;
                assert_eq!(answer.status, status, "{what}");
                assert!(!answer.closes(), "{what}");
                goes_on(client, false, &what).await;
            }
        }
        let headers = format!("{headers}expect: 100-continue\r\n");
        let head = Shape::Length.head((method, path, &headers), 3_000_000);
        let mut client = Client::to(address).await;
        client.send(head.as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.closes()), (status, true), "{path}");
        client.send(&vec![b'x'; 3_000_000]).await;
        assert_eq!(client.rest().await, "", "{path}");
    }
}
