//! Nodes of one deployment: several servers, one keyring, one PostgreSQL.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "test set-up, of which each test binary uses its own part"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

use test_postgres::{Database, Dump, PgBouncer, Server as Postgres};

use crate::common::{KEYRING, Server, run};

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
        let direct = ["--database-pooler", "none"];
        let migrated = run(&[&["migrate", "--database-url", &url][..], &direct].concat());
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

    /// Runs SQL in a transaction that stays open, with its locks, until it is dropped.
    pub fn hold(&self, sql: &str) -> Held {
        let mut psql = Command::new("psql")
            .args(["-qtAX", "-v", "ON_ERROR_STOP=1", "-d", &self.direct_url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is installed with PostgreSQL");
        let script = format!("begin;\n{sql};\n\\echo held\n");
        psql.stdin
            .as_mut()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        let said = BufReader::new(psql.stdout.take().unwrap()).lines();
        assert!(said.map(Result::unwrap).any(|line| line == "held"), "{sql}");
        Held(psql)
    }
}

/// An open transaction.
pub struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
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
