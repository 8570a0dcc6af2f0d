//! Server sessions: the session of each connection, and the end of sessions of abandoned calls.
//!
//! A call that is given up leaves its statement running on the server, waiting for a lock or, in a
//! commit, for a standby. If the pool opened another connection in its place, a table that is locked
//! for a minute would use up the server's `max_connections`. So the abandoned connection keeps its
//! place in the pool until the server answers on it, or until its session has ended.
//!
//! Why `pg_terminate_backend` and never a cancel request: cancelling a commit that waits for a
//! standby lets it *succeed*, with a warning, and a late request hits the session's next statement.
//! A session that is terminated during that wait answers nobody.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool, Postgres,
    Statement as _, pool::PoolConnection, postgres::PgStatement,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{sleep, timeout},
};

use crate::{executor::command, pooler::own_connection};

/// `application_name` of the connection that ends sessions; there is one at a time, while it is
/// needed.
const APPLICATION: &str = "credential-control";
/// How long an abandoned statement may still run before its session is ended.
const GRACE: Duration = Duration::from_secs(1);
/// How long the control connection may take to connect and to ask once.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Pause between two looks at sessions that are to end; doubled up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long the control connection is kept when nothing is left to do.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// How many connections are remembered. Above that, all are forgotten and asked again.
const REMEMBERED: usize = 1024;

/// A server session. Its start distinguishes it from a later one with the same process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    process: i32,
    /// In microseconds.
    began: i64,
}

const WHO: &str = "select pg_backend_pid() as process, \
    (select (extract(epoch from backend_start) * 1000000)::bigint \
        from pg_stat_get_activity(pg_backend_pid())) as began, \
    current_setting('default_transaction_isolation') = 'read committed' as read_committed";

impl Session {
    /// The session of a connection.
    pub(crate) async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        Ok(met(connection).await?.session)
    }
}

/// What is asked once of each connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Met {
    pub(crate) session: Session,
    /// Whether its default isolation level is READ COMMITTED, in which single statements run.
    pub(crate) read_committed: bool,
}

async fn met(connection: &mut PgConnection) -> Result<Met, sqlx::Error> {
    let (process, began, read_committed) = sqlx::query_as(WHO).fetch_one(connection).await?;
    Ok(Met {
        session: Session { process, began },
        read_committed,
    })
}

/// Ends those of the given sessions that still exist, and returns which are left. A session whose start
/// the role may not see is left alone and counts as existing.
const END: &str = "select s.process, s.began, \
        case when a.backend_start is not null then pg_terminate_backend(s.process) end \
    from unnest($1::int[], $2::bigint[]) as s (process, began) \
    cross join lateral pg_stat_get_activity(s.process) as a \
    where a.backend_start is null \
        or (extract(epoch from a.backend_start) * 1000000)::bigint = s.began";

/// The sessions of one pool. Not for use behind a pooler, where a connection has no session of its own.
#[derive(Debug)]
pub(crate) struct Sessions {
    pool: PgPool,
    known: Mutex<HashMap<usize, Known>>,
    ending: Mutex<Ending>,
    asked: Notify,
}

/// The session of a connection, found by where the connection keeps its prepared [`WHO`].
#[derive(Debug)]
struct Known {
    met: Met,
    /// Keeps the place from being used again by another connection's.
    _statement: PgStatement,
}

#[derive(Debug, Default)]
struct Ending {
    asked: Vec<(Session, oneshot::Sender<()>)>,
    /// A task works on them.
    running: bool,
}

impl Sessions {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            known: Mutex::default(),
            ending: Mutex::default(),
            asked: Notify::new(),
        }
    }

    /// The session of a pooled connection. The first call for a connection makes a round trip, later ones
    /// none.
    ///
    /// sqlx gives pooled connections no identity. But a connection keeps its prepared statements, whose
    /// memory is not used again while a reference exists, so the statement's address identifies it.
    pub(crate) async fn of(&self, connection: &mut PgConnection) -> Result<Met, sqlx::Error> {
        let statement = connection.prepare(sqlx::SqlStr::from_static(WHO)).await?;
        let place = statement.columns().as_ptr().addr();
        if let Some(known) = lock(&self.known).get(&place) {
            return Ok(known.met);
        }
        let met = met(connection).await?;
        let mut known = lock(&self.known);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(
            place,
            Known {
                met,
                _statement: statement,
            },
        );
        Ok(met)
    }

    /// Forgets all connections, so that each is asked again.
    pub(crate) fn forget(&self) {
        lock(&self.known).clear();
    }

    /// Takes over a connection whose call was given up while its session was asked for. Nothing else
    /// runs there yet.
    pub(crate) async fn meet(
        &self,
        mut connection: PoolConnection<Postgres>,
    ) -> Option<PoolConnection<Postgres>> {
        if matches!(timeout(GRACE, self.of(&mut connection)).await, Ok(Ok(_))) {
            return Some(connection);
        }
        connection.close_on_drop();
        None
    }

    /// Takes over the connection of a call that was given up. If its statement ends, the connection goes
    /// back to the pool; otherwise the session is ended and the connection closed.
    pub(crate) async fn settle(
        self: Arc<Self>,
        mut connection: PoolConnection<Postgres>,
        session: Session,
        in_transaction: bool,
    ) -> Option<PoolConnection<Postgres>> {
        let in_grace = timeout(GRACE, settled(&mut connection, session, in_transaction));
        if matches!(in_grace.await, Ok(true)) {
            return Some(connection);
        }
        let by_itself = async {
            if !settled(&mut connection, session, in_transaction).await {
                std::future::pending::<()>().await;
            }
        };
        let by_itself = tokio::select! {
            () = by_itself => true,
            () = self.end(session) => false,
        };
        if by_itself {
            return Some(connection);
        }
        connection.close_on_drop();
        None
    }

    /// Ends a session, and returns once it has ended.
    pub(crate) async fn end(self: &Arc<Self>, session: Session) {
        let (ended, seen) = oneshot::channel();
        {
            let mut ending = lock(&self.ending);
            ending.asked.push((session, ended));
            if !ending.running {
                ending.running = true;
                tokio::spawn(Arc::clone(self).control());
            }
        }
        self.asked.notify_one();
        // It is dropped unsent only if the runtime ends.
        let _ended = seen.await;
    }

    /// Ends sessions until there has been none to end for [`KEPT_FOR`].
    async fn control(self: Arc<Self>) {
        let mut connection: Option<PgConnection> = None;
        let mut pause = SHORTEST_PAUSE;
        loop {
            let sessions = self.to_be_ended();
            if sessions.is_empty() {
                if timeout(KEPT_FOR, self.asked.notified()).await.is_ok() {
                    continue;
                }
                if let Some(connection) = connection.take() {
                    let _closed = timeout(ANSWER_WITHIN, connection.close()).await;
                    // The session ends meanwhile, before another one is opened.
                    sleep(LONGEST_PAUSE).await;
                }
                let mut ending = lock(&self.ending);
                if ending.asked.is_empty() {
                    ending.running = false;
                    return;
                }
                continue;
            }
            let asked = timeout(ANSWER_WITHIN, self.end_once(&mut connection, &sessions)).await;
            let left = match asked {
                Ok(Ok(left)) => left,
                Ok(Err(error)) if nobody_is_there(&error) => Vec::new(),
                failed => {
                    connection = None;
                    let error = match failed {
                        Ok(failed) => failed.err(),
                        Err(_) => None,
                    };
                    tracing::debug!(
                        error = error.as_ref().map(|it| it as &dyn std::error::Error),
                        sessions = sessions.len(),
                        "sessions of calls that were given up could not be ended yet"
                    );
                    sessions.clone()
                }
            };
            lock(&self.ending)
                .asked
                .retain(|(session, _)| left.contains(session) || !sessions.contains(session));
            if left.is_empty() {
                pause = SHORTEST_PAUSE;
            } else {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// The sessions that somebody still waits for.
    fn to_be_ended(&self) -> Vec<Session> {
        let mut ending = lock(&self.ending);
        ending.asked.retain(|(_, ended)| !ended.is_closed());
        ending.asked.iter().map(|(session, _)| *session).collect()
    }

    /// Ends the sessions, and returns those that still exist.
    async fn end_once(
        &self,
        connection: &mut Option<PgConnection>,
        sessions: &[Session],
    ) -> Result<Vec<Session>, sqlx::Error> {
        let connection = if let Some(connection) = connection {
            connection
        } else {
            let mut new = own_connection(&self.pool, APPLICATION).connect().await?;
            // Set once, because the connection is ours, and not in the start-up message, which a
            // pooler in session mode would refuse.
            let limits = "set statement_timeout = '3s'; set lock_timeout = '3s'";
            command(&mut new, limits).await?;
            connection.insert(new)
        };
        let processes: Vec<i32> = sessions.iter().map(|it| it.process).collect();
        let began: Vec<i64> = sessions.iter().map(|it| it.began).collect();
        let left: Vec<(i32, i64, Option<bool>)> = sqlx::query_as(END)
            .bind(processes)
            .bind(began)
            .fetch_all(connection)
            .await?;
        let session = |(process, began, _)| Session { process, began };
        Ok(left.into_iter().map(session).collect())
    }
}

/// Whether the earlier statement has ended, so that the server's next answer belongs to the next
/// statement.
async fn settled(connection: &mut PgConnection, session: Session, in_transaction: bool) -> bool {
    let settle = async {
        if in_transaction {
            command(connection, "rollback").await?;
        }
        Session::of(connection).await
    };
    settle.await.is_ok_and(|answered| answered == session)
}

/// Whether no server listens at the address, so that none of its sessions is left.
fn nobody_is_there(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error)
        if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgPoolOptions;
    use test_postgres::Server;

    use super::*;

    #[tokio::test]
    async fn each_pooled_connection_is_known_by_its_own_session() {
        let database = Server::shared().database();
        let pool = PgPoolOptions::new()
            .max_connections(3)
            .connect(&database.url())
            .await
            .unwrap();
        let sessions = Sessions::new(pool.clone());
        for _ in 0..3 {
            let mut held = Vec::new();
            for _ in 0..3 {
                let mut connection = pool.acquire().await.unwrap();
                let said = sessions.of(&mut connection).await.unwrap().session;
                assert_eq!(said, Session::of(&mut connection).await.unwrap());
                held.push((connection, said));
            }
            // Another connection in the place of one that has ended.
            let (connection, ended) = held.remove(0);
            let sessions = Arc::new(Sessions::new(pool.clone()));
            sessions.end(ended).await;
            drop(connection);
        }
        assert_eq!(
            lock(&sessions.known).len(),
            5,
            "3 at first, then 2 new ones"
        );
    }

    #[tokio::test]
    async fn only_the_session_that_was_meant_is_ended() {
        let database = Server::shared().database();
        let pool = PgPool::connect(&database.url()).await.unwrap();
        let sessions = Arc::new(Sessions::new(pool.clone()));
        let mut connection = PgConnection::connect(&database.url()).await.unwrap();
        let session = Session::of(&mut connection).await.unwrap();
        let earlier = Session {
            began: session.began - 1,
            ..session
        };
        sessions.end(earlier).await;
        assert_eq!(Session::of(&mut connection).await.unwrap(), session);
        sessions.end(session).await;
        Session::of(&mut connection).await.unwrap_err();
        // What has ended has ended.
        sessions.end(session).await;
    }

    #[tokio::test]
    async fn no_server_means_no_session() {
        let server = Server::start();
        let pool = PgPool::connect(&server.url("postgres")).await.unwrap();
        let sessions = Arc::new(Sessions::new(pool.clone()));
        let mut connection = pool.acquire().await.unwrap();
        let session = Session::of(&mut connection).await.unwrap();
        server.stop_immediately();
        sessions.end(session).await;
    }
}
