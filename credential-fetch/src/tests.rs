//! A fetch against real TLS: what is taken, and everything that is not.

mod server;

use std::{io::ErrorKind, net::SocketAddr, sync::atomic::Ordering, time::Duration};

use credential_core::outbound::{Document, FETCH_WITHIN, Fetch as _, MAX_DOCUMENT};
use tokio::{task::yield_now, time::Instant};

use self::server::{Certificate, HOST, Over, PUBLIC, Step, TestNetwork};
use crate::{Fetcher, HttpsFetch, failure::Failure};

const URL: &str = "https://keys.example.com/jwks.json?set=1";
const KEYS: &str = r#"{"keys":[]}"#;

fn fetcher(steps: Vec<Step>) -> Fetcher<TestNetwork> {
    let (network, roots) = TestNetwork::new(Over::Memory, steps);
    Fetcher::new(network, roots)
}

/// A whole answer.
fn answer(status: &str, headers: &[&str], body: &[u8]) -> Step {
    let mut bytes = head(status, headers);
    bytes.extend_from_slice(body);
    Step::Send(bytes)
}

fn head(status: &str, headers: &[&str]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn good() -> Step {
    answer("200 OK", &[JSON, "Content-Length: 11"], KEYS.as_bytes())
}

const JSON: &str = "Content-Type: application/json";

/// What comes of an answer that ends with the connection.
async fn of(status: &str, headers: &[&str], body: &[u8]) -> Result<Document, Failure> {
    let fetcher = fetcher(vec![answer(status, headers, body)]);
    fetcher.fetch(URL).await
}

#[tokio::test(start_paused = true)]
async fn a_document_is_fetched() {
    for (headers, max_age) in [
        (&[JSON, "Content-Length: 11"][..], None),
        (
            &[
                JSON,
                "Content-Length: 11",
                "Cache-Control: public, max-age=600",
                "Age: 60",
            ],
            Some(540),
        ),
        (
            &[
                JSON,
                "Cache-Control: no-store",
                "Content-Encoding: identity",
            ],
            Some(0),
        ),
    ] {
        let found = of("200 OK", headers, KEYS.as_bytes()).await;
        let expected = Document {
            body: KEYS.into(),
            max_age: max_age.map(Duration::from_secs),
        };
        assert_eq!(found, Ok(expected), "{headers:?}");
    }
    let chunked = b"4\r\n{\"ke\r\n7\r\nys\":[]}\r\n0\r\n\r\n";
    let found = of("200 OK", &[JSON, "Transfer-Encoding: chunked"], chunked).await;
    assert_eq!(found.unwrap().body, KEYS.as_bytes());
}

#[tokio::test]
async fn a_document_is_fetched_over_a_socket() {
    let (network, roots) = TestNetwork::new(Over::Loopback, vec![good()]);
    let fetcher = Fetcher::new(network, roots);
    assert_eq!(fetcher.fetch(URL).await.unwrap().body, KEYS.as_bytes());
}

/// Nothing but what HTTP needs: no cookie, no referrer, nothing about us.
#[tokio::test(start_paused = true)]
async fn the_request_tells_nothing() {
    let fetcher = fetcher(vec![good()]);
    fetcher.fetch(URL).await.unwrap();
    fetcher
        .fetch("https://keys.example.com.:8443")
        .await
        .unwrap();
    fetcher.fetch("https://203.0.114.7:443/ä").await.unwrap();
    let seen = fetcher.network.seen();
    let expected = |target: &str, host: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: credential-fetch\r\n\
             accept: application/jwk-set+json, application/json\r\naccept-encoding: identity\r\n\
             connection: close\r\n\r\n"
        )
    };
    let requests = seen.requests.lock().unwrap();
    assert_eq!(
        *requests,
        [
            expected("/jwks.json?set=1", HOST),
            expected("/", "keys.example.com.:8443"),
            expected("/%C3%A4", PUBLIC),
        ]
    );
    let connected = seen.connected.lock().unwrap();
    let ports: Vec<_> = connected.iter().map(SocketAddr::port).collect();
    assert_eq!(ports, [443, 8443, 443]);
}

#[tokio::test(start_paused = true)]
async fn the_connection_ends_with_the_answer() {
    let fetcher = fetcher(vec![good(), Step::Hold]);
    fetcher.fetch(URL).await.unwrap();
    let left = &fetcher.network.seen().left;
    for _ in 0..1_000 {
        yield_now().await;
    }
    assert_eq!(left.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn redirects_are_not_followed() {
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let headers = [
            JSON,
            "Location: https://keys.example.com/moved",
            "Content-Length: 11",
        ];
        let moved = answer(&format!("{status} Moved"), &headers, KEYS.as_bytes());
        let fetcher = fetcher(vec![moved]);
        assert_eq!(fetcher.fetch(URL).await, Err(Failure::Status(status)));
        let seen = fetcher.network.seen();
        assert_eq!(seen.requests.lock().unwrap().len(), 1);
        assert_eq!(seen.connected().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn other_answers_are_refused() {
    for status in [201, 204, 206, 400, 401, 404, 410, 429, 500, 503] {
        let status_line = format!("{status} Text");
        let found = of(&status_line, &[JSON], KEYS.as_bytes()).await;
        assert_eq!(found, Err(Failure::Status(status)));
    }
    for bad in [
        "text/html",
        "text/plain",
        "text/json",
        "application/octet-stream",
        "application/jsonp",
        "application/json+xml",
        "image/svg+json",
        "json",
        "",
    ] {
        let header = format!("Content-Type: {bad}");
        let found = of("200 OK", &[&header], KEYS.as_bytes()).await;
        assert_eq!(found, Err(Failure::ContentType), "{bad}");
    }
    for headers in [&[][..], &[JSON, "Content-Type: text/html"]] {
        let found = of("200 OK", headers, KEYS.as_bytes()).await;
        assert_eq!(found, Err(Failure::ContentType), "{headers:?}");
    }
    for good in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/jwk-set+json",
        "application/vnd.example+json;v=1",
    ] {
        let header = format!("Content-Type: {good}");
        let found = of("200 OK", &[&header], KEYS.as_bytes()).await;
        assert_eq!(found.unwrap().body, KEYS.as_bytes(), "{good}");
    }
    let large = format!("X: {}", "x".repeat(1 << 20));
    let found = of("200 OK", &[JSON, &large], KEYS.as_bytes()).await;
    assert_eq!(found, Err(Failure::Http));
    let not_http = fetcher(vec![Step::Send(b"* OK IMAP4rev1 ready\r\n".to_vec())]);
    assert_eq!(not_http.fetch(URL).await, Err(Failure::Http));
}

/// A small answer that would become a large one is not even opened.
#[tokio::test(start_paused = true)]
async fn compressed_answers_are_refused() {
    for coding in ["gzip", "br", "deflate", "identity, gzip"] {
        let header = format!("Content-Encoding: {coding}");
        let found = of("200 OK", &[JSON, &header], b"\x1f\x8b\x08").await;
        assert_eq!(found, Err(Failure::Compressed), "{coding}");
    }
    // One that does not say so stays as it is.
    let found = of("200 OK", &[JSON], b"\x1f\x8b\x08").await;
    assert_eq!(found.unwrap().body, b"\x1f\x8b\x08");
}

#[tokio::test(start_paused = true)]
async fn a_body_is_cut_off_above_the_bound() {
    let just = vec![b' '; MAX_DOCUMENT];
    let found = of("200 OK", &[JSON], &just).await;
    assert_eq!(found.unwrap().body, just);
    let above = vec![b' '; MAX_DOCUMENT + 1];
    assert_eq!(of("200 OK", &[JSON], &above).await, Err(Failure::TooLarge));
    let chunk = vec![b' '; 1 << 20];
    let mut chunked = b"100000\r\n".to_vec();
    chunked.extend_from_slice(&chunk);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    for (header, body) in [
        ("Content-Length: 1048576", &chunk),
        ("Transfer-Encoding: chunked", &chunked),
        // None: it ends with the connection.
        ("X-Content-Length: 11", &chunk),
    ] {
        let fetcher = fetcher(vec![answer("200 OK", &[JSON, header], body)]);
        assert_eq!(fetcher.fetch(URL).await, Err(Failure::TooLarge), "{header}");
        for _ in 0..1_000 {
            yield_now().await;
        }
        // It was not read to its end: the rest is what lies between the two sides.
        let sent = fetcher.network.seen().sent.load(Ordering::SeqCst);
        assert!(sent < MAX_DOCUMENT + 100_000, "{header}: {sent}");
    }
    // Lengths that are not true.
    let found = of("200 OK", &[JSON, "Content-Length: 11"], &chunk).await;
    assert_eq!(found.unwrap().body.len(), 11);
    let found = of("200 OK", &[JSON, "Content-Length: 12"], KEYS.as_bytes()).await;
    assert_eq!(found, Err(Failure::Http));
    // An end that somebody on the way may have made.
    let cut = fetcher(vec![answer("200 OK", &[JSON], KEYS.as_bytes()), Step::Cut]);
    assert_eq!(cut.fetch(URL).await, Err(Failure::Http));
}

#[tokio::test(start_paused = true)]
async fn whatever_is_slow_ends_in_time() {
    let started = || Step::Send(head("200 OK", &[JSON]));
    for steps in [
        vec![Step::Silence],
        vec![Step::Hold],
        vec![Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), Step::Hold],
        vec![Step::Send(b"HTTP/1.1 200 OK\r\nX:".to_vec()), Step::Trickle],
        vec![started(), Step::Hold],
        vec![started(), Step::Trickle],
        vec![Step::Send(head("100 Continue", &[]).repeat(3)), Step::Hold],
    ] {
        let began = Instant::now();
        let trickles = matches!(steps.last(), Some(Step::Trickle));
        let fetcher = fetcher(steps.clone());
        assert_eq!(fetcher.fetch(URL).await, Err(Failure::TooSlow), "{steps:?}");
        assert_eq!(began.elapsed(), FETCH_WITHIN, "{steps:?}");
        let sent = fetcher.network.seen().sent.load(Ordering::SeqCst);
        assert!(!trickles || sent > 30, "it came all the time: {sent}");
    }
    // A look-up without an answer.
    let (network, roots) = TestNetwork::new(Over::Memory, vec![good()]);
    let fetcher = Fetcher::new(network.answering(&[]), roots);
    let began = Instant::now();
    assert_eq!(fetcher.fetch(URL).await, Err(Failure::TooSlow));
    assert_eq!(began.elapsed(), FETCH_WITHIN);
}

/// A fetcher for a name that look-ups answer like this, one after the other.
fn resolving(answers: &[&[&str]]) -> Fetcher<TestNetwork> {
    let (network, roots) = TestNetwork::new(Over::Memory, vec![good()]);
    Fetcher::new(network.answering(answers), roots)
}

#[tokio::test(start_paused = true)]
async fn names_of_private_addresses_are_not_connected_to() {
    for private in [
        &["127.0.0.1"][..],
        &["10.0.0.7", "192.168.1.1", "172.16.0.1"],
        &["169.254.169.254"],
        &["0.0.0.0"],
        &["::1"],
        &["fd00::1", "fe80::1"],
        &["::ffff:10.0.0.1", "64:ff9b::7f00:1"],
        &[],
    ] {
        let fetcher = resolving(&[private]);
        assert_eq!(
            fetcher.fetch(URL).await,
            Err(Failure::NotPublic),
            "{private:?}"
        );
        assert!(fetcher.network.seen().connected().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_public_addresses_of_a_name_are_used() {
    for answer in [
        &["10.0.0.7", PUBLIC, "::1"][..],
        &[PUBLIC, "10.0.0.7"],
        &["127.0.0.1", "::ffff:127.0.0.1", PUBLIC],
    ] {
        let fetcher = resolving(&[answer]);
        fetcher.fetch(URL).await.unwrap();
        assert_eq!(fetcher.network.seen().connected(), [PUBLIC], "{answer:?}");
    }
    // A public address that does not answer leads to no private one.
    let (network, roots) = TestNetwork::new(Over::Memory, vec![good()]);
    let network = network
        .answering(&[&[PUBLIC, "10.0.0.7"]])
        .failing(&[PUBLIC], &[]);
    let fetcher = Fetcher::new(network, roots);
    let refused = Failure::Connect(ErrorKind::ConnectionRefused);
    assert_eq!(fetcher.fetch(URL).await, Err(refused));
    assert_eq!(fetcher.network.seen().connected(), [PUBLIC]);
}

/// DNS rebinding: the answer that was checked is the one that is used.
#[tokio::test(start_paused = true)]
async fn a_name_that_changes_its_address_leads_nowhere_else() {
    let fetcher = resolving(&[&[PUBLIC], &["127.0.0.1"]]);
    fetcher.fetch(URL).await.unwrap();
    let seen = fetcher.network.seen();
    assert_eq!(*seen.looked_up.lock().unwrap(), [HOST]);
    assert_eq!(seen.connected(), [PUBLIC]);
    assert_eq!(fetcher.fetch(URL).await, Err(Failure::NotPublic));
    assert_eq!(seen.connected(), [PUBLIC]);
    assert_eq!(seen.looked_up.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_fails_is_followed_by_the_next() {
    let (network, roots) = TestNetwork::new(Over::Memory, vec![good()]);
    let network = network
        .answering(&[&["203.0.114.8", "2600:1901::1", PUBLIC]])
        .failing(&["203.0.114.8"], &["2600:1901::1"]);
    let fetcher = Fetcher::new(network, roots);
    fetcher.fetch(URL).await.unwrap();
    let connected = fetcher.network.seen().connected();
    assert_eq!(connected, ["203.0.114.8", "2600:1901::1", PUBLIC]);
}

#[tokio::test(start_paused = true)]
async fn literal_private_addresses_and_other_urls_are_refused() {
    let fetcher = fetcher(vec![good()]);
    let real = HttpsFetch::new();
    for (url, failure) in [
        ("https://127.0.0.1/", Failure::NotPublic),
        ("https://2130706433/", Failure::NotPublic),
        ("https://0x7f.1/", Failure::NotPublic),
        ("https://169.254.169.254/latest", Failure::NotPublic),
        ("https://10.0.0.1:8443/", Failure::NotPublic),
        ("https://[::1]/", Failure::NotPublic),
        ("https://[::ffff:10.0.0.1]/", Failure::NotPublic),
        ("http://keys.example.com/", Failure::Url),
        ("http://203.0.114.7/", Failure::Url),
        ("ftp://keys.example.com/", Failure::Url),
        ("file:///etc/passwd", Failure::Url),
        ("https://user@keys.example.com/", Failure::Url),
        ("https://:word@keys.example.com/", Failure::Url),
        ("keys.example.com", Failure::Url),
        ("", Failure::Url),
    ] {
        assert_eq!(fetcher.fetch(url).await, Err(failure), "{url}");
        let error = real.fetch(url).await.unwrap_err();
        assert_eq!(error.to_string(), failure.to_string(), "{url}");
    }
    let seen = fetcher.network.seen();
    assert!(seen.connected().is_empty());
    assert!(seen.looked_up.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn certificates_are_checked() {
    let default = Certificate::default;
    for (certificate, url, expected) in [
        (default(), URL, Ok(())),
        (default(), "https://203.0.114.7/", Ok(())),
        (
            Certificate {
                names: &["other.example.com"],
                ..default()
            },
            URL,
            Err(Failure::Certificate),
        ),
        (
            Certificate {
                names: &[HOST],
                ..default()
            },
            "https://203.0.114.7/",
            Err(Failure::Certificate),
        ),
        (
            Certificate {
                unknown: true,
                ..default()
            },
            URL,
            Err(Failure::Certificate),
        ),
        (
            Certificate {
                year_of_end: 2020,
                ..default()
            },
            URL,
            Err(Failure::Certificate),
        ),
    ] {
        let (network, roots) = TestNetwork::with(Over::Memory, vec![good()], &certificate);
        let fetcher = Fetcher::new(network, roots);
        assert_eq!(fetcher.fetch(url).await.map(drop), expected);
        let requests = fetcher.network.seen().requests.lock().unwrap().len();
        assert_eq!(requests, usize::from(expected.is_ok()), "nothing was asked");
    }
    // The roots of the real one are Mozilla's, which know nobody of this test.
    let (network, _) = TestNetwork::new(Over::Memory, vec![good()]);
    let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let fetcher = Fetcher::new(network, roots);
    assert_eq!(fetcher.fetch(URL).await, Err(Failure::Certificate));
}
