//! A throwaway PgBouncer in front of a throwaway server.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{Database, Server, as_user, folder};

/// The port in the name of its socket.
const PORT: u16 = 6432;

/// Runs PgBouncer until its own standard input closes, which happens at the latest when the test process
/// ends. Then kills it and removes its folder.
const KEEPER: &str = r#"
trap '' INT TERM HUP
"$1" "$2/pgbouncer.ini" &
pid=$!
exec 2> /dev/null
cat > /dev/null
kill -KILL "$pid"
rm -rf "$2"
"#;

/// A PgBouncer in transaction mode, on a Unix socket, in front of every database of one [`Server`].
/// Its configuration is the default one, but with four server sessions per database, so that clients share
/// them.
#[derive(Debug)]
pub struct PgBouncer {
    folder: PathBuf,
    user: Option<(u32, u32)>,
    config: String,
    keeper: Option<Child>,
}

impl PgBouncer {
    /// Starts one. Stopped when dropped.
    #[must_use]
    pub fn start(server: &Server) -> Self {
        Self::start_with(server, &[])
    }

    /// As [`start`](Self::start), with settings such as `default_pool_size = 1`.
    #[must_use]
    pub fn start_with(server: &Server, settings: &[&str]) -> Self {
        let server = server.own();
        let folder = folder::unused("test-pgbouncer");
        // The later of two settings of one name counts.
        let config = format!(
            "[databases]\n* = host={} user=postgres\n[pgbouncer]\nlisten_port = {PORT}\n\
             unix_socket_dir = {}\nauth_type = any\npool_mode = transaction\n\
             default_pool_size = 4\nmax_client_conn = 1000\n{}\n",
            server.folder.display(),
            folder.display(),
            settings.join("\n")
        );
        let mut bouncer = Self {
            folder,
            // The owner of the server's socket. PgBouncer refuses root as well.
            user: server.user,
            config,
            keeper: None,
        };
        bouncer.start_again();
        bouncer
    }

    /// Kills it: clients and server sessions are cut off.
    pub fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ended = keeper.wait();
        }
    }

    /// Starts again after [`kill`](Self::kill), at the same place.
    pub fn start_again(&mut self) {
        fs::create_dir_all(&self.folder).expect("a temporary folder can be made");
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))
            .expect("the folder's owner may set its mode");
        let file = self.folder.join("pgbouncer.ini");
        fs::write(&file, &self.config).expect("the configuration can be written");
        if let Some((uid, gid)) = self.user {
            chown(&self.folder, Some(uid), Some(gid)).expect("root may give a folder away");
            chown(&file, Some(uid), Some(gid)).expect("root may give a file away");
        }
        let mut command = Command::new("sh");
        command
            .args(["-c", KEEPER, "keeper"])
            .args([&binary(), &self.folder])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        let keeper = self
            .keeper
            .insert(as_user(&mut command, self.user).spawn().expect("`sh` runs"));
        let mut log = BufReader::new(keeper.stderr.take().expect("it is piped"));
        let mut said = String::new();
        while !said.contains("process up") {
            let length = log.read_line(&mut said).expect("its log is text");
            assert!(length > 0, "PgBouncer does not start: {said}");
        }
        // Reads on, or PgBouncer would block once the pipe is full.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    }

    /// The URL of a database through it.
    #[must_use]
    pub fn url(&self, database: &Database<'_>) -> String {
        format!(
            "postgres://postgres@localhost/{}?host={}&port={PORT}",
            database.name(),
            self.folder.display()
        )
    }

    /// The Unix socket that it listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{PORT}"))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `pgbouncer`, also where the search path leaves out `/usr/sbin`.
fn binary() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").to_owned()])
        .map(|folder| folder.join("pgbouncer"))
        .find(|file| file.exists())
        .expect("no PgBouncer found: install it (Debian, Ubuntu: `apt-get install -y pgbouncer`)")
}
