//! A forwarder of connections whose target server can be changed.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{Server, folder};

/// Forwards connections from a Unix socket of its own to one server, and later to another, so that clients
/// follow a promotion without a new URL. Closed, with its connections, when dropped.
#[derive(Debug)]
pub struct Forwarder {
    folder: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<PathBuf>,
    connections: Mutex<Vec<Arc<Connection>>>,
    muted: AtomicBool,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Connection {
    client: UnixStream,
    server: UnixStream,
    silent: AtomicBool,
}

impl Forwarder {
    /// Forwards to that server.
    #[must_use]
    pub fn start(to: &Server) -> Self {
        let folder = folder::unused("test-forwarder");
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        let listener =
            UnixListener::bind(folder.join(".s.PGSQL.5432")).expect("a socket can be made there");
        let shared = Arc::new(Shared {
            target: Mutex::new(to.socket()),
            connections: Mutex::default(),
            muted: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let accept = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accept.closed.load(Ordering::Acquire) {
                    return;
                }
                // The server is not there: the client is cut off, as by a server that just died.
                let _refused = client.and_then(|client| accept.connect(client));
            }
        });
        Self { folder, shared }
    }

    /// New connections go to that server from now on. Those that are open stay where they are.
    pub fn turn_to(&self, server: &Server) {
        *lock(&self.shared.target) = server.socket();
    }

    /// Closes every open connection.
    pub fn cut(&self) {
        for connection in lock(&self.shared.connections).drain(..) {
            connection.close();
        }
    }

    /// Silences the connections that are open now: they stay open and carry nothing more, as if a firewall
    /// dropped their packets. New connections work.
    pub fn silence(&self) {
        for connection in lock(&self.shared.connections).iter() {
            connection.silent.store(true, Ordering::Release);
        }
    }

    /// Silences connections that are opened from now on (`true`), or lets new ones work again. A silent
    /// connection is accepted and carries nothing, as through a load balancer whose host is gone.
    pub fn mute(&self, muted: bool) {
        self.shared.muted.store(muted, Ordering::Release);
    }

    /// The URL of a database through it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@localhost/{database}?host={}",
            self.folder.display()
        )
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _woken = UnixStream::connect(self.folder.join(".s.PGSQL.5432"));
        self.cut();
        // At worst an empty folder is left.
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

impl Shared {
    fn connect(&self, client: UnixStream) -> io::Result<()> {
        let server = UnixStream::connect(&*lock(&self.target))?;
        let ways = [
            (client.try_clone()?, server.try_clone()?),
            (server.try_clone()?, client.try_clone()?),
        ];
        let connection = Arc::new(Connection {
            client,
            server,
            silent: AtomicBool::new(self.muted.load(Ordering::Acquire)),
        });
        lock(&self.connections).push(Arc::clone(&connection));
        for (from, to) in ways {
            let connection = Arc::clone(&connection);
            thread::spawn(move || connection.copy(from, to));
        }
        Ok(())
    }
}

impl Connection {
    /// Copies one way until either side ends.
    fn copy(&self, mut from: UnixStream, mut to: UnixStream) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let length = from.read(&mut buffer).unwrap_or(0);
            if self.silent.load(Ordering::Acquire) {
                if length == 0 {
                    return;
                }
            } else if length == 0 || to.write_all(&buffer[..length]).is_err() {
                return self.close();
            }
        }
    }

    fn close(&self) {
        for end in [&self.client, &self.server] {
            // A connection that has ended is no error.
            let _closed = end.shutdown(Shutdown::Both);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
