//! What stands between a connection and PostgreSQL, and how to find out.

use std::{fmt, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, Row as _, postgres::PgConnectOptions,
};
use tokio::time::timeout;

use crate::error::TookTooLong;

/// What stands between a connection and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing that matters: a connection keeps its server session for life. So does a pooler in
    /// session mode.
    None,
    /// A pooler in transaction mode: each transaction may meet another server session, so no call
    /// relies on one. Each is one transaction of unnamed statements, and nothing listens.
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

/// Why it could not be found out what stands before PostgreSQL. Who is in doubt uses
/// [`Pooler::Transaction`], which is right everywhere and only slower.
#[derive(Debug, thiserror::Error)]
#[error("could not find out whether a pooler stands before PostgreSQL")]
pub struct DetectError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// How long all of it may take.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// How long a connection may wait for a server session that another one of ours may be holding.
const SESSION_WITHIN: Duration = Duration::from_secs(1);

/// The server session that answers, when it began, and what time it is there; microseconds.
const LOOK: &str = "select pg_backend_pid(), \
    (select (extract(epoch from backend_start) * 1000000)::bigint \
        from pg_stat_activity where pid = pg_backend_pid()), \
    (extract(epoch from clock_timestamp()) * 1000000)::bigint";

/// How often two connections hold a transaction each. They begin in turns and end in the same order:
/// a pooler that hands out the session used last swaps the two in the first round, one that hands
/// out the session unused for longest in the second.
const ROUNDS: usize = 4;
/// How many connections are made after the first two, one after the other. With them, up to four
/// poolers that are taken in turns and have no session open yet are noticed.
const NEWCOMERS: usize = 3;

impl Pooler {
    /// Finds out, with at most two connections at a time, in some thirty round trips.
    ///
    /// A direct connection is one server session, which begins after the connection does and never
    /// changes. A pooler is recognised by a session that changes, is shared, is older than the
    /// connection that it answers on, or cannot be had for a second while another connection holds
    /// one. So a direct connection is taken for a pooler's only if the server's clock is set back
    /// at that moment, or if it answers one connection and not the other.
    ///
    /// A pooler in session mode is taken for one in transaction mode, because it cannot be told from
    /// outside: who runs one, and knows, need not ask. Many poolers behind one address may go
    /// unnoticed while none of them has a session open.
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

/// Options whose start-up a pooler accepts as it comes: PgBouncer refuses `extra_float_digits`
/// unless it is told to ignore it, and no float is stored here.
pub(crate) fn reachable(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().extra_float_digits(None)
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
            // It waits for a session, unless nothing answers any more: that would say nothing.
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
        commit(&mut first).await?;
        commit(&mut second).await?;
    }

    // Each may have come to a pooler of its own. One that comes to a pooler used before finds a
    // session there.
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

/// One look at the server's side of a connection.
#[derive(Debug, Clone, Copy)]
struct Look {
    session: i32,
    /// `None` where this is not told.
    began: Option<i64>,
    now: i64,
}

impl Look {
    /// By the server's clock, which stands for both: a connection to another server proves nothing.
    fn older_than(self, moment: i64) -> bool {
        self.began.is_some_and(|began| began < moment)
    }
}

// All of it in the simple protocol, which prepares nothing.

async fn look(connection: &mut PgConnection) -> Result<Look, sqlx::Error> {
    let row = sqlx::raw_sql(LOOK).fetch_one(connection).await?;
    Ok(Look {
        session: row.try_get(0)?,
        began: row.try_get(1)?,
        now: row.try_get(2)?,
    })
}

/// Begins a transaction; the session that it runs in.
async fn begin(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::raw_sql("begin; select pg_backend_pid()")
        .fetch_one(connection)
        .await?
        .try_get(0)
}

async fn commit(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("commit").execute(connection).await?;
    Ok(())
}
