//! The real server as a process of its own, and a small client.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "test set-up, of which each test binary uses its own part"
)]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

/// 32 bytes in base64: the keyring of all nodes.
pub const KEYRING: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub const CREDENTIALS: &str = "/api-access/v1/credentials";
/// The scopes of most keys here.
pub const READ: &[&str] = &["system/patients.read"];
/// Limit on the time until a node answers again.
pub const RECOVERY: Duration = Duration::from_secs(20);
/// `max_staleness` of the nodes here, and half a second for the request itself on a busy machine.
pub const BOUND: Duration = Duration::from_millis(1_000 + 500);

pub struct Server {
    pub base: String,
    process: Child,
    log: Option<JoinHandle<String>>,
    stdout: Option<JoinHandle<String>>,
}

/// What a server left behind.
pub struct Stopped {
    pub code: Option<i32>,
    pub stdout: String,
    pub log: String,
}

/// The server's command, without the environment of whoever runs the tests.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reference-server"));
    command.args(arguments).env_clear();
    command
}

/// Runs a command that is expected to end by itself.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

impl Server {
    /// On a free port and, unless the arguments say otherwise, without a time for draining.
    pub fn start(arguments: &[&str]) -> Self {
        let mut all = arguments.to_vec();
        for default in [["--listen", "127.0.0.1:0"], ["--drain", "0"]] {
            if !arguments.contains(&default[0]) {
                all.extend(default);
            }
        }
        Self::spawn(command(&all))
    }

    /// By a command that ends in the server's own.
    pub fn spawn(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = process.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let stdout = std::thread::spawn(move || {
            let mut rest = String::new();
            stdout.read_to_string(&mut rest).unwrap();
            rest
        });
        let Some(base) = first.trim_end().strip_prefix("listening on ") else {
            let _ = process.kill();
            panic!("no address: {first:?}\n{}", log.join().unwrap());
        };
        Self {
            base: base.to_owned(),
            process,
            log: Some(log),
            stdout: Some(stdout),
        }
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Stops the server as an operator would.
    pub fn stop(mut self) -> Stopped {
        self.signal("TERM");
        Stopped {
            code: self.process.wait().unwrap().code(),
            stdout: self.stdout.take().unwrap().join().unwrap(),
            log: self.log.take().unwrap().join().unwrap(),
        }
    }

    /// Waits for a server that was told to stop.
    pub fn stop_is_over(mut self) -> Option<i32> {
        self.wait()
    }

    /// As `stop_is_over`, for one whose place another takes.
    pub fn wait(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }

    pub fn address(&self) -> SocketAddr {
        self.base.strip_prefix("http://").unwrap().parse().unwrap()
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub fn client(&self) -> Client {
        Client::new(&self.base)
    }

    /// A client with a session of that demo user.
    pub fn signed_in(&self, user: &str) -> Client {
        let mut client = self.client();
        let answer = client.form("/sign-in", &[("user", user)]);
        assert_eq!(answer.status, 303);
        let cookie = answer.header("set-cookie");
        client.cookie = cookie.split(';').next().map(str::to_owned);
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    cookie: Option<String>,
    /// Everything that was answered: headers and bodies.
    pub seen: Arc<Mutex<Vec<String>>>,
}

pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Client {
    pub fn new(base: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .allow_non_standard_methods(true)
            .build();
        Self {
            agent: config.into(),
            base: base.to_owned(),
            cookie: None,
            seen: Arc::default(),
        }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// One request; the body as it is.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let body = body.unwrap_or_default().to_owned();
        let mut response = self.agent.run(request.body(body).unwrap()).unwrap();
        let answer = Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().read_to_string().unwrap(),
        };
        let seen = format!("{:?}\n{}", answer.headers, answer.body);
        self.seen.lock().unwrap().push(seen);
        answer
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, None)
    }

    pub fn json(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send(method, path, &headers, Some(&body.to_string()))
    }

    /// Values must need no escaping.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send("POST", path, &headers, Some(&body.join("&")))
    }

    /// A call with a token.
    pub fn call(&self, method: &str, path: &str, token: &str) -> Answer {
        self.send(
            method,
            path,
            &[("authorization", &format!("Bearer {token}"))],
            None,
        )
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// A text at a JSON pointer.
    pub fn text(&self, pointer: &str) -> String {
        let json = self.json();
        let found = json.pointer(pointer).and_then(Value::as_str);
        found
            .unwrap_or_else(|| panic!("no {pointer}: {}", self.body))
            .to_owned()
    }
}

/// A key that an admin made, and a token that follows it.
pub struct Key {
    pub path: String,
    pub client_id: String,
    pub secret: String,
    pub token: String,
}

impl Key {
    pub fn new(admin: &Client, name: &str, scopes: &[&str]) -> Self {
        let request = json!({"name": name, "api_type": "apiv2", "scopes": scopes});
        let created = admin.json("POST", CREDENTIALS, &[], &request);
        assert_eq!(created.status, 201, "{}", created.body);
        let mut key = Self {
            path: format!("{CREDENTIALS}/{}", created.text("/credential/id")),
            client_id: created.text("/credential/client_id"),
            secret: created.text("/client_secret"),
            token: String::new(),
        };
        key.token = key.token_from(admin).text("/access_token");
        key
    }

    pub fn token_from(&self, node: &Client) -> Answer {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", &*self.client_id),
            ("client_secret", &self.secret),
        ];
        node.form("/oauth2/token", &fields)
    }

    /// What a node says to a read of patients.
    pub fn patients(&self, node: &Client) -> u16 {
        node.call("GET", "/api/2.0/patients/", &self.token).status
    }

    pub fn set_scopes(&self, admin: &Client, scopes: &[&str]) -> Answer {
        let path = format!("{}/scopes", self.path);
        let changed = admin.json(
            "PUT",
            &path,
            &[("if-match", "*")],
            &json!({"scopes": scopes}),
        );
        assert_eq!(changed.status, 200, "{}", changed.body);
        changed
    }

    /// From now on it may be used from these networks only; none: from everywhere.
    pub fn set_networks(&self, admin: &Client, networks: &[&str]) -> Answer {
        let change = json!({"allowed_networks": networks});
        let changed = admin.json("PATCH", &self.path, &[("if-match", "*")], &change);
        assert_eq!(changed.status, 200, "{}", changed.body);
        changed
    }

    pub fn revoke(&self, admin: &Client) -> Answer {
        let revoked = admin.send("DELETE", &self.path, &[], None);
        assert_eq!(revoked.status, 200, "{}", revoked.body);
        revoked
    }

    /// `disable` or `enable`.
    pub fn turn(&self, admin: &Client, which: &str) {
        let turned = admin.send("POST", &format!("{}/{which}", self.path), &[], None);
        assert_eq!(turned.status, 200, "{}", turned.body);
    }

    /// The key with a further secret, and a token of that.
    pub fn rotate(&self, admin: &Client, overlap_seconds: u32) -> Self {
        let path = format!("{}/secrets", self.path);
        let body = json!({"overlap_seconds": overlap_seconds});
        let rotated = admin.json("POST", &path, &[], &body);
        assert_eq!(rotated.status, 201, "{}", rotated.body);
        let mut key = Self {
            path: self.path.clone(),
            client_id: self.client_id.clone(),
            secret: rotated.text("/client_secret"),
            token: String::new(),
        };
        key.token = key.token_from(admin).text("/access_token");
        key
    }

    /// The selectors of the listed secrets, oldest first.
    pub fn selectors(&self, admin: &Client) -> Vec<String> {
        let shown = admin.get(&self.path, &[]).json();
        let secrets = shown["secrets"].as_array().unwrap().iter();
        let selector = |secret: &Value| secret["selector"].as_str().unwrap().to_owned();
        secrets.map(selector).collect()
    }

    pub fn end_secret(&self, admin: &Client, selector: &str) -> Answer {
        let path = format!("{}/secrets/{selector}", self.path);
        admin.send("DELETE", &path, &[], None)
    }

    pub fn edit(&self, admin: &Client, body: &Value) {
        let edited = admin.json("PATCH", &self.path, &[("if-match", "*")], body);
        assert_eq!(edited.status, 200, "{}", edited.body);
    }
}

/// Asks until the answer is right or the time is up; the time it took.
#[expect(clippy::disallowed_methods, reason = "these tests are about real time")]
pub fn until(within: Duration, mut right: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !right() {
        assert!(began.elapsed() < within, "still not right after {within:?}");
        // The processor is for what is waited for.
        std::thread::sleep(Duration::from_millis(2));
    }
    began.elapsed()
}

/// The right answer throughout that time.
#[expect(clippy::disallowed_methods, reason = "these tests are about real time")]
pub fn throughout(time: Duration, mut right: impl FnMut() -> bool) {
    let began = Instant::now();
    while began.elapsed() < time {
        assert!(right(), "wrong after {:?}", began.elapsed());
    }
}

/// The same text with its last character changed.
pub fn with_another_end(text: &str) -> String {
    let mut text = text.to_owned();
    let last = text.pop();
    text.push(if last == Some('A') { 'B' } else { 'A' });
    text
}

/// An address of the loopback network that nothing else uses, not even by chance, as a port of 127.0.0.1
/// would be. The port is a free one, for programs that listen on every address.
pub fn own_address() -> SocketAddr {
    static SERIAL: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let listener =
        TcpListener::bind(SocketAddr::from(([127, 100 + serial, high, low], 0))).unwrap();
    listener.local_addr().unwrap()
}

/// Says that it is over at the end of a scope, however it ends: threads that go on until then would keep a
/// failed test from ending.
pub struct SaysOver<'a>(pub &'a AtomicBool);

impl Drop for SaysOver<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A connection that comes from another address of this machine, such as 127.0.0.2.
pub fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        let source = SocketAddr::new(source.parse().unwrap(), 0);
        socket.bind(source).unwrap();
        let stream = socket.connect(address).await.unwrap();
        stream.into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

/// A program. Debian keeps servers off the path of most people.
pub fn program(name: &str) -> Command {
    let places = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
    let mut found = places.iter().map(|place| Path::new(place).join(name));
    Command::new(found.find(|path| path.exists()).unwrap_or_else(|| {
        panic!("`{name}` is not installed; scripts/test installs what the tests need")
    }))
}
