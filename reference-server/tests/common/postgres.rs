//! Nodes of one deployment: several servers, one keyring, one PostgreSQL.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "test set-up, of which each test binary uses its own part"
)]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use test_postgres::{Database, Dump, PgBouncer, Server as Postgres};

use crate::common::{Answer, Client, Server, run};

/// 32 bytes in base64: the keyring of all nodes.
pub const KEYRING: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub const CREDENTIALS: &str = "/api-access/v1/credentials";

pub struct Deployment<'a> {
    /// Where nodes and commands go.
    pub url: String,
    database: Database<'a>,
}

impl<'a> Deployment<'a> {
    /// A migrated database.
    pub fn new(postgres: &'a Postgres) -> Self {
        let database = postgres.database();
        let url = database.url();
        let migrated = run(&["migrate", "--database-url", &url]);
        assert!(migrated.status.success(), "{migrated:?}");
        Self { url, database }
    }

    /// A migrated database that is reached through a pooler.
    pub fn behind(bouncer: &PgBouncer, postgres: &'a Postgres) -> Self {
        let direct = Self::new(postgres);
        Self {
            url: bouncer.url(&direct.database),
            database: direct.database,
        }
    }

    /// PostgreSQL itself.
    pub fn direct_url(&self) -> String {
        self.database.url()
    }

    pub fn node(&self) -> Server {
        self.node_with(&[])
    }

    pub fn node_with(&self, more: &[&str]) -> Server {
        node_at(&self.url, more)
    }

    /// A node beside the others that is not behind their pooler.
    pub fn direct_node(&self) -> Server {
        node_at(&self.direct_url(), &[])
    }

    pub fn name(&self) -> &str {
        self.database.name()
    }

    /// All that it holds now.
    pub fn dump(&self) -> Dump {
        self.database.dump()
    }

    pub fn restore(&self, dump: &Dump) {
        self.database.restore(dump);
    }

    /// Runs SQL in this database and returns what it prints.
    pub fn sql(&self, sql: &str) -> String {
        psql(&self.direct_url(), sql)
    }
}

/// Runs SQL in a database and returns what it prints.
pub fn psql(url: &str, sql: &str) -> String {
    let output = Command::new("psql")
        .args(["-qtAX", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
        .output()
        .expect("psql is installed with PostgreSQL");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn node_at(url: &str, more: &[&str]) -> Server {
    // One issuer, as behind one address: tokens are bound to it.
    let arguments = [
        "--database-url",
        url,
        "--keyring",
        KEYRING,
        "--issuer",
        "https://api.example.com",
    ];
    Server::start(&[&arguments[..], more].concat())
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

    pub fn revoke(&self, admin: &Client) -> Answer {
        let revoked = admin.send("DELETE", &self.path, &[], None);
        assert_eq!(revoked.status, 200, "{}", revoked.body);
        revoked
    }
}

/// Asks until the answer is right or the time is up; the time it took.
#[expect(clippy::disallowed_methods, reason = "these tests are about real time")]
pub fn until(within: Duration, mut right: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !right() {
        assert!(began.elapsed() < within, "still not right after {within:?}");
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
