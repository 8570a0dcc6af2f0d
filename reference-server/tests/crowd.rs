//! Many clients that hold connections and do nothing with them: others are served all the same.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
};

use common::{Client, Server};

const PROMISE: &str = "POST /oauth2/token HTTP/1.1\r\nhost: test\r\ncontent-type: application/x-www-form-urlencoded\r\n\
     content-length: 1000\r\n\r\nx";
const HALF_A_HEAD: &str = "GET /livez HTTP/1.1\r\nhost: te";

/// A server that may open so many files.
fn limited(files: u32) -> Server {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")])
        .args([
            env!("CARGO_BIN_EXE_reference-server"),
            "--listen",
            "127.0.0.1:0",
        ])
        .env_clear()
        // The kernel would hand memory out in pieces of 2 MiB, which no count of connections evens out.
        .env("MIMALLOC_ALLOW_THP", "0");
    Server::spawn(command)
}

/// A connection on which a client sends this and then does nothing.
fn stuck(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut left = text.as_bytes();
    while !left.is_empty() {
        match stream.write(left) {
            Ok(written) => left = &left[written..],
            // The server has stopped reading, as it should.
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream
}

/// Requests for more than sockets hold, whose answers nobody reads.
fn unread(page: &str) -> String {
    format!("GET {page} HTTP/1.1\r\nhost: test\r\n\r\n").repeat(400)
}

/// The page's script: large, and for everybody.
fn large_page(client: &Client) -> String {
    let page = client.get("/settings/api-access", &[]).body;
    let start = page.find("/settings/api-access/").unwrap();
    let end = page[start..].find('"').unwrap() + start;
    page[start..end].to_owned()
}

fn is_closed(mut stream: &TcpStream) -> bool {
    let mut buffer = [0; 8 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn more_connections_than_files_leave_room_for_others() {
    // Of 256 files 128 are for connections.
    let server = limited(256);
    let address = server.address();
    let client = server.client();
    let unread = unread(&large_page(&client));
    for (text, size) in [
        (PROMISE, 300),
        (HALF_A_HEAD, 300),
        ("", 300),
        (&*unread, 150),
    ] {
        let mut crowd = Vec::new();
        for _ in 0..size {
            crowd.push(stuck(address, text));
            if crowd.len() % 10 == 0 {
                // On a connection of its own each time, and on one that is kept.
                assert_eq!(server.client().get("/livez", &[]).status, 200);
                assert_eq!(client.get("/livez", &[]).status, 200);
            }
        }
        let closed = crowd.iter().filter(|it| is_closed(it)).count();
        assert!(closed >= size - 128, "{closed}");
    }
    let log = server.stop().log;
    assert!(!log.contains("Too many open files"), "{log}");
}

/// The memory that is a process's own, without its code, in bytes: as the kernel finds it page by page, since
/// what it adds up meanwhile (`VmRSS`) is late.
fn own_memory(process: u32) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let line = maps
        .lines()
        .find(|it| it.starts_with("Anonymous:"))
        .unwrap();
    let kib = line.split_ascii_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

#[test]
fn a_connection_that_holds_on_costs_what_it_has_sent_and_24_kib() {
    // The first ones also pay for what is there once: pages of code, the allocator's own.
    const FIRST: usize = 100;
    const EACH: usize = 300;
    let head = format!("GET /livez?{} HTTP/1.1\r\nhost: te", "x".repeat(60_000));
    for text in [PROMISE, HALF_A_HEAD, &*head, "answers"] {
        let server = limited(1_000);
        let client = server.client();
        let text = match text {
            "answers" => &unread(&large_page(&client)),
            text => text,
        };
        let mut crowd = Vec::new();
        let mut memory_with = |more: usize| {
            crowd.extend((0..more).map(|_| stuck(server.address(), text)));
            // What was sent has been read, for what is sent later is answered.
            for _ in 0..more {
                assert_eq!(server.client().get("/livez", &[]).status, 200);
            }
            own_memory(server.process_id())
        };
        let before = memory_with(FIRST);
        let each = memory_with(EACH).saturating_sub(before) / EACH;
        #[expect(clippy::print_stdout, reason = "the figure, for whoever asks for it")]
        {
            println!("{:?}: {each} bytes each", &text[..20]);
        }
        let sent = if text == head { head.len() } else { 0 };
        assert!(each <= sent + 24 * 1024, "{each} bytes: {:?}", &text[..40]);
        drop(crowd);
    }
}
