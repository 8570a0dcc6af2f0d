//! Poolers between a connection and PostgreSQL, and their detection.

use std::{fmt, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, PgPool, Row as _,
    postgres::PgConnectOptions,
};
use tokio::time::timeout;

use crate::{error::TookTooLong, executor::command};

/// What stands between a connection and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing, or a pooler in session mode: a connection keeps one server session for its life.
    None,
    /// A pooler in transaction mode: each transaction may run in another server session. Each call
    /// is one transaction of unnamed statements, and there is no LISTEN.
    Transaction,
}

impl fmt::Display for Pooler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Transaction => "transaction",
        })
    }
}

/// The detection failed. In doubt use [`Pooler::Transaction`], which works everywhere and is only
/// slower.
#[derive(Debug, thiserror::Error)]
#[error("could not detect whether there is a pooler in front of PostgreSQL")]
pub struct DetectError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// How long the whole detection may take.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// How long one connection may wait for a server session while our other one holds a session.
const SESSION_WITHIN: Duration = Duration::from_secs(1);

/// The process id of the server session, its start, and the server's time, both in microseconds.
const LOOK: &str = "select pg_backend_pid(), \
    (select (extract(epoch from backend_start) * 1000000)::bigint \
        from pg_stat_activity where pid = pg_backend_pid()), \
    (extract(epoch from clock_timestamp()) * 1000000)::bigint";

/// Rounds in which two connections hold a transaction each.
///
/// The connections alternate in beginning first, and always commit in the same order. A pooler whose
/// free sessions are a stack (LIFO) swaps the two sessions in the first round, a pooler whose free
/// sessions are a queue (FIFO) in the second.
const ROUNDS: usize = 4;
/// Connections that are made one after the other after the first two. With them, up to four poolers
/// behind one address are noticed, also if they are used in turn and have no session open yet.
const NEWCOMERS: usize = 3;

impl Pooler {
    /// Detects a pooler, with at most two connections at a time, in some thirty round trips.
    ///
    /// A direct connection has one server session, which starts after the connection does and never
    /// changes. A pooler is recognised by a session that changes, that is shared, that is older than
    /// its connection, or that is not available for a second while another connection holds one. A
    /// direct connection is taken for a pooler only if the server's clock is set back at that
    /// moment, or if the server answers one connection and not the other.
    ///
    /// A pooler in session mode cannot be recognised from outside and is taken for one in transaction
    /// mode; a host that runs one passes [`Pooler::None`] instead. Many poolers behind one address
    /// may go unnoticed while none of them has a session open.
    ///
    /// # Errors
    /// PostgreSQL cannot be reached, refuses, or does not answer within 10 s.
    pub async fn detect(options: &PgConnectOptions) -> Result<Self, DetectError> {
        let options = reachable(options).application_name("credential-pooler-check");
        match timeout(GIVE_UP_AFTER, detect(&options)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(DetectError(Box::new(error))),
            Err(_) => Err(DetectError(Box::new(TookTooLong(GIVE_UP_AFTER)))),
        }
    }
}

/// Connect options that a pooler accepts in its default configuration. PgBouncer refuses
/// `extra_float_digits`, and no float is stored here.
pub(crate) fn reachable(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().extra_float_digits(None)
}

/// For a connection of the store's own: the pool's current options, because a host may have set another
/// password since, under a name to find it by in `pg_stat_activity`.
pub(crate) fn own_connection(pool: &PgPool, application: &str) -> PgConnectOptions {
    reachable(&pool.connect_options()).application_name(application)
}

async fn detect(options: &PgConnectOptions) -> Result<Pooler, sqlx::Error> {
    let mut first = options.connect().await?;
    let firsts = look(&mut first).await?;
    let mut second = options.connect().await?;
    let seconds = look(&mut second).await?;
    if seconds.session == firsts.session || seconds.older_than(firsts.now) {
        return Ok(Pooler::Transaction);
    }

    for round in 0..ROUNDS {
        let first_begins = round.is_multiple_of(2);
        let (one, other) = if first_begins {
            (&mut first, &mut second)
        } else {
            (&mut second, &mut first)
        };
        let ones = begin(one).await?;
        let Ok(others) = timeout(SESSION_WITHIN, begin(other)).await else {
            // It waits for a session. If the first connection does not answer either, nothing is known.
            look(one).await?;
            return Ok(Pooler::Transaction);
        };
        let now = if first_begins {
            (ones, others?)
        } else {
            (others?, ones)
        };
        if now != (firsts.session, seconds.session) {
            return Ok(Pooler::Transaction);
        }
        command(&mut first, "commit").await?;
        command(&mut second, "commit").await?;
    }

    // The two may have reached two poolers. A further connection to one of these gets a session that
    // is already open.
    first.close().await?;
    for _ in 0..NEWCOMERS {
        let before = look(&mut second).await?;
        let mut newcomer = options.connect().await?;
        let newcomers = look(&mut newcomer).await?;
        if before.session != seconds.session || newcomers.older_than(before.now) {
            return Ok(Pooler::Transaction);
        }
        newcomer.close().await?;
    }
    second.close().await?;
    Ok(Pooler::None)
}

/// The server's side of a connection at one moment.
#[derive(Debug, Clone, Copy)]
struct Look {
    session: i32,
    /// `None` where the role may not see it.
    began: Option<i64>,
    now: i64,
}

impl Look {
    /// Both times are of one server's clock.
    fn older_than(self, moment: i64) -> bool {
        self.began.is_some_and(|began| began < moment)
    }
}

// The simple protocol prepares no statement.

async fn look(connection: &mut PgConnection) -> Result<Look, sqlx::Error> {
    let row = sqlx::raw_sql(LOOK).fetch_one(connection).await?;
    Ok(Look {
        session: row.try_get(0)?,
        began: row.try_get(1)?,
        now: row.try_get(2)?,
    })
}

/// Begins a transaction, and returns the session in which it runs.
async fn begin(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::raw_sql("begin; select pg_backend_pid()")
        .fetch_one(connection)
        .await?
        .try_get(0)
}
