//! The release server as a process of its own.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use benches::{
    Error,
    measure::{Process, now},
    report::progress,
};

use crate::client::{Connection, render};

/// The secret with which resource servers introspect in these runs.
pub const INTROSPECTION_SECRET: &str = "load-introspection-secret";

/// Killed when dropped.
pub struct Server {
    pub address: String,
    process: Child,
    /// Kept open: it greets in more than one line.
    output: BufReader<ChildStdout>,
}

impl Server {
    /// Builds the server, so that it matches the sources.
    pub fn build() -> Result<PathBuf, Error> {
        progress("building the server");
        // Why not the one that built this program: outside of `cargo run`, that one is given
        // another compiler by rustup for each dependency that pins its own.
        let built = Command::new("cargo")
            .args(["build", "--release", "--quiet", "-p", "reference-server"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()?;
        if !built.success() {
            return Err("the server does not build".into());
        }
        // Its neighbour: both are release binaries of one workspace.
        Ok(std::env::current_exe()?.with_file_name("reference-server"))
    }

    /// Builds and starts it.
    pub fn start() -> Result<Self, Error> {
        Self::start_binary(&Self::build()?)
    }

    /// Starts what was built.
    pub fn start_binary(binary: &PathBuf) -> Result<Self, Error> {
        let mut process = Command::new(binary)
            .args(["--listen", "127.0.0.1:0", "--log", "error"])
            .args(["--forward-auth-headers", "x-original"])
            .args(["--introspection-secret", INTROSPECTION_SECRET])
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("no output to read")?;
        // From here on, dropping it ends the process.
        let mut server = Self {
            address: String::new(),
            process,
            output: BufReader::new(output),
        };
        let mut first = String::new();
        server.output.read_line(&mut first)?;
        first
            .trim_end()
            .strip_prefix("listening on http://")
            .ok_or("the server did not start")?
            .clone_into(&mut server.address);
        Ok(server)
    }

    /// What Linux reports about it.
    pub fn process(&self) -> Process {
        Process {
            id: Some(self.process.id()),
        }
    }

    /// Adds to a failure whether the server ended. One that was told to stop closes its connections
    /// first and ends a little later, so this waits for that.
    pub fn explain<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        const STEP: Duration = Duration::from_millis(50);
        result.map_err(|error| {
            for _ in 0..40 {
                if let Ok(Some(status)) = self.process.try_wait() {
                    return format!("{error}: the server had ended ({status})").into();
                }
                std::thread::sleep(STEP);
            }
            format!("{error}: the server still runs").into()
        })
    }

    /// Hashes and reads of a credential's state so far, by its own metrics.
    pub async fn hashes_and_reads(&self) -> Result<[u64; 2], Error> {
        let mut connection = Connection::open(&self.address).await?;
        let request = render("GET", "/metrics", &[], "");
        let answer = connection.exchange(&request).await?;
        let metrics = str::from_utf8(answer.body)?;
        let sum = |name: &str| {
            let values = metrics.lines().filter_map(|line| {
                let (named, value) = line.rsplit_once(' ')?;
                named.starts_with(name).then_some(value)
            });
            values.map(str::parse::<u64>).sum::<Result<u64, _>>()
        };
        Ok([
            sum("credential_argon2_seconds_count")?,
            sum("credential_state_reads_total")?,
        ])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the binary and waits for its first answer.
pub async fn start_to_first_answer(binary: &PathBuf) -> Result<(Server, Duration), Error> {
    let began = now();
    let server = Server::start_binary(binary)?;
    let mut connection = Connection::open(&server.address).await?;
    let answer = connection
        .exchange(&render("GET", "/livez", &[], ""))
        .await?;
    if answer.status != 200 {
        return Err(format!("the first answer was {}", answer.status).into());
    }
    Ok((server, began.elapsed()))
}
