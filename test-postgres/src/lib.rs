//! Throwaway PostgreSQL servers for tests, with standbys, a pooler and a forwarder.
//!
//! ```no_run
//! let database = test_postgres::Server::shared().database();
//! println!("{}", database.url());
//! ```
//!
//! A server is made from the installed binaries, in a temporary folder, in memory where there is room, on a
//! Unix socket, with durability off. As root it runs as `postgres` or `nobody`, because PostgreSQL refuses root. It is
//! stopped and removed when the process that made it ends, also by a signal. With `TEST_DATABASE_URL`
//! set (a role that may create databases), [`Server::shared`] uses that server instead.
//!
//! Everything here panics and names what is missing: a test that cannot run must fail.

#![expect(
    clippy::missing_panics_doc,
    clippy::expect_used,
    reason = "for tests only: what cannot work panics, as the module says"
)]
#![expect(
    clippy::must_use_candidate,
    reason = "SQL is also run for what it does"
)]

mod dump;
mod folder;
mod forwarder;
mod pgbouncer;
mod standby;

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

pub use dump::Dump;
pub use forwarder::Forwarder;
pub use pgbouncer::PgBouncer;
pub use standby::Standby;

/// Runs until its standard input closes, which happens at the latest when the test process ends. Then
/// stops the server and removes its folder.
const KEEPER: &str = r#"
trap '' INT TERM HUP
cat > /dev/null
pid=$(head -n 1 "$2/data/postmaster.pid" 2> /dev/null) && kill -CONT "$pid" 2> /dev/null
"$1/pg_ctl" -D "$2/data" -m immediate -t 5 stop > /dev/null 2>&1
rm -rf "$2"
"#;

/// Numbers the folders and databases of one process.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A PostgreSQL server.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A server that exists already, by its URL.
    Given(String),
    Own(Own),
}

#[derive(Debug)]
struct Own {
    binaries: PathBuf,
    folder: PathBuf,
    user: Option<(u32, u32)>,
    keeper: Child,
}

impl Server {
    /// The one server of this process: `TEST_DATABASE_URL`, else a throwaway one.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| {
            #[expect(clippy::disallowed_methods, reason = "the one setting of this crate")]
            match std::env::var("TEST_DATABASE_URL") {
                Ok(url) => Self {
                    kind: Kind::Given(url),
                },
                Err(_) => Self::start(),
            }
        })
    }

    /// A throwaway server, for tests that stop or pause it. Stopped when dropped.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`start`](Self::start), with settings such as `max_connections=20`.
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        let own = Own::prepare();
        own.run(
            "initdb",
            [
                "--pgdata=data",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
        );
        let mut config = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\n\
             full_page_writes = off\nmax_connections = 1000\nshared_buffers = 64MB\n\
             wal_level = replica\nwal_keep_size = 256MB\n",
            own.folder.display()
        );
        for setting in settings {
            config.push_str(setting);
            config.push('\n');
        }
        let file = own.folder.join("data/postgresql.auto.conf");
        fs::write(&file, config).expect("the configuration can be written");
        own.pg_ctl(&["-w", "start"]);
        Self {
            kind: Kind::Own(own),
        }
    }

    /// A new, empty database, removed again when dropped.
    pub fn database(&self) -> Database<'_> {
        let name = format!(
            "test_{}_{}",
            std::process::id(),
            SERIAL.fetch_add(1, Ordering::Relaxed)
        );
        self.sql(&format!("create database {name}"));
        Database { server: self, name }
    }

    /// The URL of a database on this server.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        match &self.kind {
            Kind::Given(url) => {
                let (start, query) = url
                    .split_once('?')
                    .map_or((&**url, None), |(start, query)| (start, Some(query)));
                let authority = start.find("://").map_or(0, |at| at + 3);
                let end = start[authority..]
                    .find('/')
                    .map_or(start.len(), |at| authority + at);
                let query = query.map_or(String::new(), |query| format!("?{query}"));
                format!("{}/{database}{query}", &start[..end])
            }
            Kind::Own(own) => format!(
                "postgres://postgres@localhost/{database}?host={}",
                own.folder.display()
            ),
        }
    }

    /// The Unix socket that the server listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.own().folder.join(".s.PGSQL.5432")
    }

    /// Runs SQL in the maintenance database.
    pub fn sql(&self, sql: &str) {
        self.query(sql);
    }

    /// The result of SQL in the maintenance database: a line per row, columns separated by `|`.
    pub fn query(&self, sql: &str) -> String {
        let url = match &self.kind {
            Kind::Given(url) => url.clone(),
            Kind::Own(_) => self.url("postgres"),
        };
        self.psql(&url, sql)
    }

    /// As [`query`](Self::query), in another database: of a standby or a promoted server, say.
    pub fn query_in(&self, database: &str, sql: &str) -> String {
        self.psql(&self.url(database), sql)
    }

    fn psql(&self, url: &str, sql: &str) -> String {
        let mut psql = Command::new(self.binaries().join("psql"));
        psql.args(["-qXAt", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]);
        String::from_utf8_lossy(&succeed(&mut psql))
            .trim_end()
            .to_owned()
    }

    fn binaries(&self) -> PathBuf {
        match &self.kind {
            Kind::Given(_) => binaries(),
            Kind::Own(own) => own.binaries.clone(),
        }
    }

    /// Stops at once, as after a loss of power: nothing is flushed, clients are cut off.
    pub fn stop_immediately(&self) {
        self.own().pg_ctl(&["-m", "immediate", "stop"]);
    }

    /// Starts again after [`stop_immediately`](Self::stop_immediately).
    pub fn start_again(&self) {
        self.own().pg_ctl(&["-w", "start"]);
    }

    /// Freezes every process of the server: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.own().signal("-STOP");
    }

    /// Ends [`pause`](Self::pause).
    pub fn resume(&self) {
        self.own().signal("-CONT");
    }

    fn own(&self) -> &Own {
        match &self.kind {
            Kind::Own(own) => own,
            Kind::Given(_) => panic!("this test stops its server: use `Server::start`"),
        }
    }
}

impl Own {
    /// An empty folder whose owner may run a server in it, and a keeper that removes both at the end.
    fn prepare() -> Self {
        let binaries = binaries();
        let user = unprivileged();
        let folder = folder::unused("test-postgres");
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
            .expect("the folder's owner may set its mode");
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).expect("root may give a folder away");
        }
        let mut keeper = Command::new("sh");
        keeper
            .args(["-c", KEEPER, "keeper"])
            .args([&binaries, &folder])
            .stdin(Stdio::piped());
        Self {
            keeper: as_user(&mut keeper, user).spawn().expect("`sh` runs"),
            binaries,
            folder,
            user,
        }
    }

    fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) {
        let mut command = Command::new(self.binaries.join(program));
        command.args(arguments).current_dir(&self.folder);
        succeed(as_user(&mut command, self.user));
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        // Why a log file: the server would keep a pipe open, and `output` would wait for its end.
        self.run(
            "pg_ctl",
            ["-D", "data", "-l", "log", "-s"].iter().chain(arguments),
        );
    }

    fn signal(&self, signal: &str) {
        let file =
            fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("the server runs");
        let postmaster = file.lines().next().unwrap_or_default();
        // The postmaster first, so that it starts no process that would be missed.
        succeed(Command::new("kill").args([signal, postmaster]));
        let children = fs::read_dir("/proc")
            .expect("/proc can be read")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|pid| parent(pid).is_ok_and(|parent| parent.as_deref() == Some(postmaster)));
        for child in children {
            // A process that has just ended is no error.
            let _ended = Command::new("kill").args([signal, &child]).status();
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _stopped = self.keeper.wait();
    }
}

/// A database for one test.
#[derive(Debug)]
pub struct Database<'a> {
    server: &'a Server,
    name: String,
}

impl Database<'_> {
    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The result of SQL in this database: a line per row, columns separated by `|`.
    pub fn query(&self, sql: &str) -> String {
        self.server.query_in(&self.name, sql)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // A throwaway server is removed with its databases.
        if matches!(self.server.kind, Kind::Given(_)) && !std::thread::panicking() {
            let name = &self.name;
            self.server
                .sql(&format!("drop database {name} with (force)"));
        }
    }
}

/// The folder with `initdb` and the other programs: Debian's newest version, else the one that `pg_config`
/// names, else the search path's.
fn binaries() -> PathBuf {
    let version = |path: &Path| -> u32 {
        let folder = path.parent().and_then(Path::file_name);
        folder
            .and_then(OsStr::to_str)
            .and_then(|name| name.parse().ok())
            .unwrap_or(0)
    };
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|path| path.join("initdb").exists())
        .max_by_key(|path| version(path));
    let configured = || {
        let output = Command::new("pg_config").arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    };
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
    };
    debian
        .or_else(|| configured().filter(|path| path.join("initdb").exists()))
        .or_else(on_path)
        .expect(
            "no PostgreSQL server binaries found: install them (Debian, Ubuntu: \
             `apt-get install -y postgresql`) or set TEST_DATABASE_URL",
        )
}

/// The user as whom the server runs, if this process is root's.
fn unprivileged() -> Option<(u32, u32)> {
    let id = |option: &str, user: &str| -> Option<u32> {
        let output = Command::new("id").args([option, user]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.trim().parse().ok()
    };
    let me = Command::new("id").arg("-u").output().expect("`id` runs");
    if me.stdout.trim_ascii() != b"0" {
        return None;
    }
    let user = ["postgres", "nobody"]
        .into_iter()
        .find_map(|user| Some((id("-u", user)?, id("-g", user)?)));
    Some(user.expect("as root, PostgreSQL needs a user `postgres` or `nobody` to run as"))
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    match user {
        Some((uid, gid)) => command.uid(uid).gid(gid),
        None => command,
    }
}

fn succeed(command: &mut Command) -> Vec<u8> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", show(command)));
    assert!(
        output.status.success(),
        "{} failed: {}",
        show(command),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn show(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The parent of a process.
fn parent(pid: &str) -> io::Result<Option<String>> {
    if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may have any content. State and parent follow it.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    Ok(rest.split_whitespace().nth(1).map(str::to_owned))
}
