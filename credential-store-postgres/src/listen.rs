//! Waking: each change sends a NOTIFY, and each node LISTENs on a connection of its own.
//!
//! Only speed depends on it: a node that misses a notice learns of the change at its next catch-up. The
//! connection is outside the host's pool, so neither can starve the other.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{
    call::Pool,
    pooler::{Pooler, own_connection},
};

/// What changes notify; the statement that appends a change names it too.
const CHANNEL: &str = "credential_management_change";
/// `application_name` of the listening connection, to find it in `pg_stat_activity`.
const APPLICATION: &str = "credential-listener";
/// How long the connection may be silent before it is tested.
const TEST_AFTER: Duration = Duration::from_secs(15);
/// How long connecting, or a notice that was sent as a test, may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Pause before the second attempt to connect; doubled up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether changes on other nodes wake this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerState {
    /// No caller has waited for a change yet.
    NotStarted,
    /// The first connection is being made.
    Connecting,
    /// A notice that was sent as a test arrived.
    Listening,
    /// The connection was lost, cannot be made, or delivers nothing (a pooler that was not named). The
    /// node learns of changes one catch-up interval later, and goes on trying to connect.
    Down,
    /// The store is behind a pooler in transaction mode, where LISTEN does not work. The node learns of
    /// changes one catch-up interval later.
    BehindPooler,
}

impl fmt::Display for ListenerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStarted => "not started",
            Self::Connecting => "connecting",
            Self::Listening => "listening",
            Self::Down => "down",
            Self::BehindPooler => "behind a pooler",
        })
    }
}

/// What the listening task tells the stores that share it.
#[derive(Debug, Clone, Copy)]
struct Heard {
    /// Grows with each reason to catch up.
    wakes: u64,
    state: ListenerState,
}

/// The listening task. It starts with the first call that waits, and ends with the last store that
/// shares it.
#[derive(Debug)]
pub(crate) struct Listener {
    pool: Pool,
    heard: watch::Sender<Heard>,
    /// `None`: there is nothing to listen to.
    task: OnceLock<Option<Task>>,
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listener {
    pub(crate) fn new(pool: Pool) -> Self {
        let heard = Heard {
            wakes: 0,
            state: match pool.pooler {
                Pooler::None => ListenerState::NotStarted,
                Pooler::Transaction => ListenerState::BehindPooler,
            },
        };
        Self {
            pool,
            heard: watch::Sender::new(heard),
            task: OnceLock::new(),
        }
    }

    pub(crate) fn state(&self) -> ListenerState {
        self.heard.borrow().state
    }

    /// Returns once there has been a reason to catch up since `seen`, and advances `seen`. Behind a pooler
    /// it never returns.
    pub(crate) async fn heard_since(&self, seen: &AtomicU64) {
        self.task.get_or_init(|| match self.pool.pooler {
            Pooler::None => {
                self.heard
                    .send_modify(|heard| heard.state = ListenerState::Connecting);
                let pool = self.pool.connections.clone();
                Some(Task(tokio::spawn(listen(pool, self.heard.clone()))))
            }
            Pooler::Transaction => {
                tracing::info!(
                    "behind a pooler changes on other nodes do not wake this one: it learns of \
                     them one interval later"
                );
                None
            }
        });
        let mut heard = self.heard.subscribe();
        // The sender is in `self`, so waiting does not fail.
        if let Ok(heard) = heard
            .wait_for(|heard| heard.wakes != seen.load(Ordering::Relaxed))
            .await
        {
            seen.store(heard.wakes, Ordering::Relaxed);
        }
    }
}

/// Why the listening connection cannot be used.
#[derive(Debug, thiserror::Error)]
enum Deaf {
    #[error("the connection was lost")]
    Lost,
    #[error("a notice sent as a test did not arrive: is there a pooler in transaction mode?")]
    Undelivered,
    #[error("PostgreSQL did not answer in time")]
    TookTooLong,
    #[error("PostgreSQL refused")]
    Refused(#[from] sqlx::Error),
}

async fn listen(pool: PgPool, heard: watch::Sender<Heard>) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let error = match listen_once(&pool, &heard).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let was = heard.borrow().state;
        heard.send_modify(|heard| heard.state = ListenerState::Down);
        if was == ListenerState::Listening {
            pause = SHORTEST_PAUSE;
        }
        if was != ListenerState::Down {
            // Logged once until it works again; the state shows the rest.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "changes on other nodes do not wake this one: it learns of them one interval later"
            );
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

enum Never {}

/// Listens until that fails.
async fn listen_once(pool: &PgPool, heard: &watch::Sender<Heard>) -> Result<Never, Deaf> {
    let ours = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWER_WITHIN)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(own_connection(pool, APPLICATION));
    let set_up = async {
        let mut listener = PgListener::connect_with(&ours).await?;
        listener.eager_reconnect(false);
        // A channel of this connection alone, so that its tests wake no other node.
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut listener)
            .await?;
        let test_channel = format!("credential_management_test_{backend}");
        listener.listen_all([CHANNEL, &*test_channel]).await?;
        Ok::<_, sqlx::Error>((listener, test_channel))
    };
    let (mut listener, test_channel) = timeout(ANSWER_WITHIN, set_up)
        .await
        .map_err(|_| Deaf::TookTooLong)??;
    let mut tested = false;
    loop {
        // The first round tests at once. Why tests: a connection whose packets are dropped is silent for
        // ever. A notice of a change counts as a test.
        let within = if tested { TEST_AFTER } else { Duration::ZERO };
        if let Ok(channel) = timeout(within, next(&mut listener)).await {
            wake(heard, &channel?, &test_channel);
            continue;
        }
        send_test(pool, &test_channel).await?;
        let arrived = async {
            loop {
                let channel = next(&mut listener).await?;
                wake(heard, &channel, &test_channel);
                if channel == test_channel {
                    return Ok(());
                }
            }
        };
        timeout(ANSWER_WITHIN, arrived)
            .await
            .map_err(|_| Deaf::Undelivered)
            .flatten()?;
        if !tested {
            tested = true;
            if heard.borrow().state == ListenerState::Down {
                tracing::info!("changes on other nodes wake this one again");
            }
            heard.send_modify(|heard| {
                heard.state = ListenerState::Listening;
                // Something may have changed while nobody listened.
                heard.wakes = heard.wakes.wrapping_add(1);
            });
        }
    }
}

/// The channel of the next notice. May be dropped while it waits.
async fn next(listener: &mut PgListener) -> Result<String, Deaf> {
    match listener.try_recv().await? {
        Some(notice) => Ok(notice.channel().to_owned()),
        None => Err(Deaf::Lost),
    }
}

fn wake(heard: &watch::Sender<Heard>, channel: &str, test_channel: &str) {
    if channel != test_channel {
        heard.send_modify(|heard| heard.wakes = heard.wakes.wrapping_add(1));
    }
}

/// Sends a notice on a connection of its own. Why not on the listening one: behind a pooler it would hear
/// only itself. Why not on the pool's: a test must not wait for the host.
async fn send_test(pool: &PgPool, channel: &str) -> Result<(), Deaf> {
    let options = own_connection(pool, "credential-listener-test").statement_cache_capacity(0);
    let send = async {
        let mut connection = options.connect().await?;
        sqlx::query("select pg_notify($1, '')")
            .bind(channel)
            .execute(&mut connection)
            .await?;
        connection.close().await
    };
    timeout(ANSWER_WITHIN, send)
        .await
        .map_err(|_| Deaf::TookTooLong)??;
    Ok(())
}
