//! The release server as a process of its own.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use benches::Error;

/// What resource servers introspect with in these runs.
pub const INTROSPECTION_SECRET: &str = "load-introspection-secret";

/// Killed when dropped.
pub struct Server {
    pub address: String,
    process: Child,
}

impl Server {
    /// Builds and starts it.
    pub fn start() -> Result<Self, Error> {
        let cargo = option_env!("CARGO").unwrap_or("cargo");
        let built = Command::new(cargo)
            .args(["build", "--release", "--quiet", "-p", "reference-server"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()?;
        if !built.success() {
            return Err("the server does not build".into());
        }
        // Its neighbour: both are release binaries of one workspace.
        let binary = std::env::current_exe()?.with_file_name("reference-server");
        let mut process = Command::new(binary)
            .args(["--listen", "127.0.0.1:0", "--log", "error"])
            .args(["--forward-auth-headers", "x-original"])
            .args(["--introspection-secret", INTROSPECTION_SECRET])
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("no output to read")?;
        let mut first = String::new();
        BufReader::new(stdout).read_line(&mut first)?;
        let address = first
            .trim_end()
            .strip_prefix("listening on http://")
            .ok_or("the server did not start")?
            .to_owned();
        Ok(Self { address, process })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
