//! The examples, run as a host runs: as processes of their own, on real PostgreSQL, asked over HTTP.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU8, Ordering},
    thread,
    time::Duration,
};

use credential_core::{entropy::OsEntropy, secret::keyring::Keyring};
use serde_json::{Value, json};
use test_postgres::Server;
use ureq::Agent;

/// With the test that the file itself has.
#[path = "../examples/embed.rs"]
#[expect(dead_code, reason = "its `main` runs as a process below")]
mod embed;

/// A running example.
struct Host {
    process: Child,
    base: String,
    agent: Agent,
}

struct Answer {
    status: u16,
    body: String,
}

impl Host {
    /// The example's program, given `arguments` and then the address to listen on.
    fn start(example: &str, arguments: &[&str]) -> Self {
        let address = own_address();
        let process = Command::new(program(example))
            .args(arguments)
            .arg(&address)
            .spawn()
            .unwrap();
        let settings = Agent::config_builder().http_status_as_error(false);
        let mut host = Self {
            process,
            base: format!("http://{address}"),
            agent: settings.build().into(),
        };
        host.wait_until_ready();
        host
    }

    fn wait_until_ready(&mut self) {
        while !self
            .agent
            .get(format!("{}/readyz", self.base))
            .call()
            .is_ok_and(|answer| answer.status() == 200)
        {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the example ended: {status}");
            }
            thread::sleep(Duration::from_millis(10)); // between two looks
        }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = self
            .agent
            .run(request.body(body.to_owned()).unwrap())
            .unwrap();
        Answer {
            status: answer.status().as_u16(),
            body: answer.body_mut().read_to_string().unwrap(),
        }
    }

    /// A new key of whom the cookie says, for refunds.
    fn create_key(&self, cookie: &str) -> Answer {
        let headers = [("cookie", cookie), ("content-type", "application/json")];
        let body = json!({"name": "Till 7", "api_type": "payments", "scopes": ["refunds.write"]});
        self.send(
            "POST",
            "/api-access/v1/credentials",
            &headers,
            &body.to_string(),
        )
    }

    /// A token for a key that was just created.
    fn token(&self, key: &Value) -> String {
        let body = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            key.pointer("/credential/client_id")
                .unwrap()
                .as_str()
                .unwrap(),
            key["client_secret"].as_str().unwrap(),
        );
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let answer = self.send("POST", "/oauth2/token", &form, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let token: Value = serde_json::from_str(&answer.body).unwrap();
        token["access_token"].as_str().unwrap().to_owned()
    }

    fn call(&self, method: &str, path: &str, token: &str) -> u16 {
        let authorization = format!("Bearer {token}");
        self.send(method, path, &[("authorization", &authorization)], "")
            .status
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The example as Cargo builds it beside the tests. Only `cargo test` without `--test` does so, hence the check
/// that it is no older than what it is made of.
fn program(example: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests
        .parent()
        .unwrap()
        .with_file_name("examples")
        .join(example);
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let made_of = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let built = changed(&program);
    let is_new = built.is_ok_and(|built| {
        let sources = made_of.split_whitespace().skip(1);
        made_of.contains(".rs")
            && sources
                .filter_map(|source| changed(Path::new(source)).ok())
                .all(|source| source <= built)
    });
    assert!(
        is_new,
        "first: cargo build -p credential-axum --all-features --examples"
    );
    program
}

/// An address of the loopback network that nothing else uses: not even by chance, as a port would be.
fn own_address() -> String {
    static SERIAL: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{high}.{low}:8090", 100 + serial)
}

/// Refunds and nothing else, until the key is revoked.
fn keys_work(host: &Host, cookie: &str) {
    assert_eq!(host.create_key("user=mallory").status, 401);
    let created = host.create_key(cookie);
    assert_eq!(created.status, 201, "{}", created.body);
    let key: Value = serde_json::from_str(&created.body).unwrap();
    let token = host.token(&key);
    assert_eq!(host.call("POST", "/v1/charges/7/refunds", &token), 200);
    assert_eq!(host.call("GET", "/v1/charges/7/refunds", &token), 403);
    assert_eq!(host.call("POST", "/v1/charges/7/refunds", "made-up"), 401);

    let id = key.pointer("/credential/id").unwrap().as_str().unwrap();
    let path = format!("/api-access/v1/credentials/{id}");
    assert_eq!(
        host.send("DELETE", &path, &[("cookie", cookie)], "").status,
        200
    );
    assert_eq!(host.call("POST", "/v1/charges/7/refunds", &token), 401);
}

#[test]
fn embed_answers() {
    let host = Host::start("embed", &[]);
    keys_work(&host, "user=ada");
}

#[test]
fn embed_postgres_reads_its_own_sessions_and_stops_without_loss() {
    let database = Server::shared().database();
    let url = database.url();
    let folder = tempfolder("keyring");
    let keyring = folder.join("keyring");
    let name = "k1".parse().unwrap();
    fs::write(&keyring, &*Keyring::generate_entry(&name, &OsEntropy)).unwrap();
    let mut host = Host::start("embed_postgres", &[&url, keyring.to_str().unwrap()]);

    database.query(
        "insert into person values ('ada', 'acme', true), ('bob', 'acme', false);
         insert into session
         select sha256(convert_to(token, 'UTF8')), person, now() + life::interval
         from (values ('ada-now', 'ada', '1 hour'), ('bob-now', 'bob', '1 hour'), ('ada-old', 'ada', '-1 second'))
             as it (token, person, life)",
    );
    assert_eq!(host.create_key("session=bob-now").status, 403);
    assert_eq!(host.create_key("session=ada-old").status, 401);
    keys_work(&host, "theme=dark; session=ada-now");
    let page = host.send(
        "GET",
        "/settings/api-access/",
        &[("cookie", "session=ada-now")],
        "",
    );
    assert!(page.body.contains("API Access"), "{}", page.body);
    // Signed out: the very next request is a stranger's.
    database.query("delete from session where person = 'ada'");
    assert_eq!(host.create_key("session=ada-now").status, 401);

    let stop = ["-s", "TERM", &host.process.id().to_string()];
    assert!(Command::new("kill").args(stop).status().unwrap().success());
    assert_eq!(host.process.wait().unwrap().code(), Some(0));
    let used = "select count(last_used_at) from credential_management.credential";
    assert_eq!(database.query(used), "1");
    fs::remove_dir_all(folder).unwrap();
}

fn tempfolder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}
