//! Dumps of a database, and its restore from one.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::{Database, show};

/// The content of a database at one moment.
#[derive(Debug, Clone)]
pub struct Dump(Vec<u8>);

impl Database<'_> {
    /// Dumps the database's present content.
    #[must_use]
    pub fn dump(&self) -> Dump {
        let mut dump = Command::new(self.server.binaries().join("pg_dump"));
        dump.args(["--format=custom", "--dbname", &self.url()]);
        Dump(output(&mut dump, &[]))
    }

    /// The database's present content as SQL, without what belongs to this server alone.
    #[must_use]
    pub fn dump_sql(&self) -> String {
        let mut dump = Command::new(self.server.binaries().join("pg_dump"));
        dump.args([
            "--inserts",
            "--no-owner",
            "--no-privileges",
            "--no-comments",
        ]);
        dump.args(["--schema", "credential_management", "--dbname", &self.url()]);
        let sql = String::from_utf8(output(&mut dump, &[])).expect("it is text");
        // Comments name versions, `\restrict` is for psql, settings differ from version to version.
        let belongs = |line: &&str| {
            !(line.is_empty()
                || line.starts_with("--")
                || line.starts_with('\\')
                || line.starts_with("SET ")
                || line.starts_with("SELECT pg_catalog.set_config"))
        };
        sql.lines()
            .filter(belongs)
            .fold(String::new(), |mut all, line| {
                all.push_str(line);
                all.push('\n');
                all
            })
    }

    /// Restores the content of a dump under the same name. Open connections are cut off.
    ///
    /// The restored database replaces the old one at once, so that no client sees half of it.
    pub fn restore(&self, dump: &Dump) {
        let name = &self.name;
        let aside = format!("{name}_restored");
        self.server.sql(&format!("create database {aside}"));
        let mut restore = Command::new(self.server.binaries().join("pg_restore"));
        restore.args(["--exit-on-error", "--dbname", &self.server.url(&aside)]);
        output(&mut restore, &dump.0);
        self.server
            .sql(&format!("drop database {name} with (force)"));
        self.server
            .sql(&format!("alter database {aside} rename to {name}"));
    }
}

/// The output of a program that is given `input`.
fn output(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", show(command)));
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that does not read its input reports that by its exit code.
    let _taken = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("its output can be read");
    assert!(
        output.status.success(),
        "{} failed: {}",
        show(command),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
