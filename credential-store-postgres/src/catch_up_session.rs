//! The session that only catch-ups use, so that a catch-up waits neither for a connection of the pool nor
//! for a pooled connection that has died.

use std::{sync::Arc, time::Duration};

use credential_core::store::StoreError;
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use crate::{
    call::{BEGIN, LIMITS, Pool, in_time},
    error::{backend, store_error},
    executor::{On, command},
    pooler::{Pooler, own_connection},
    sessions::{Session, Sessions},
};

/// `application_name` of the session, to find it in `pg_stat_activity`.
const APPLICATION: &str = "credential-catch-up";

/// How long the server may take to end a session that was given up. A server process that does not end
/// at all (stopped, or waiting for a disk) must not keep the node from catching up.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// One connection beside the pool, opened when it is first needed and again after it failed.
#[derive(Debug, Default)]
pub(crate) struct CatchUpSession(Arc<Mutex<Slot>>);

type Slot = Option<Open>;

#[derive(Debug)]
struct Open {
    connection: PgConnection,
    /// `None` behind a pooler, which sees to its sessions itself.
    session: Option<Session>,
}

/// The session, for one call. If the call is given up, the session is ended before another one is
/// opened, so that the next call does not meet the remains of this one.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Both are `None` once the call has ended.
    slot: Option<OwnedMutexGuard<Slot>>,
    open: Option<Open>,
    pooler: Pooler,
    sessions: Arc<Sessions>,
}

impl CatchUpSession {
    /// For one statement, which is its own transaction; to be ended by [`end`](Turn::end).
    pub(crate) async fn take(&self, pool: &Pool) -> Result<Turn, StoreError> {
        let mut slot = Arc::clone(&self.0).lock_owned().await;
        let open = if let Some(open) = slot.take() {
            open
        } else {
            // Why a task: a caller that disconnects meanwhile would leave a session behind, and the
            // next caller would open another beside it. Why a limit of its own: a connection that is
            // accepted and never answered would keep the slot for ever.
            let pool = pool.clone();
            let opening = tokio::spawn(async move {
                let opened = in_time(async { open(&pool).await.map_err(store_error) }).await;
                (slot, opened)
            });
            let (filled, opened) = opening.await.map_err(backend)?;
            slot = filled;
            opened?
        };
        let mut turn = Turn {
            slot: Some(slot),
            open: Some(open),
            pooler: pool.pooler,
            sessions: Arc::clone(&pool.sessions),
        };
        if turn.pooler == Pooler::Transaction {
            turn.simple(BEGIN).await?;
        }
        Ok(turn)
    }
}

impl Turn {
    /// Where the statement runs.
    pub(crate) fn on(&mut self) -> On<'_> {
        let pooler = self.pooler;
        On::new(self.connection(), pooler)
    }

    fn connection(&mut self) -> &mut PgConnection {
        let open = self.open.as_mut();
        &mut open.expect("it is there until the end").connection
    }

    /// The statement has taken effect: the connection may serve the next call.
    pub(crate) async fn end(mut self) -> Result<(), StoreError> {
        if self.pooler == Pooler::Transaction {
            self.simple("commit").await?;
        }
        if let Some(mut slot) = self.slot.take() {
            *slot = self.open.take();
        }
        Ok(())
    }

    async fn simple(&mut self, sql: &'static str) -> Result<(), StoreError> {
        command(self.connection(), sql).await.map_err(store_error)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (Some(slot), Some(open)) = (self.slot.take(), self.open.take()) else {
            return;
        };
        if let (Some(session), Ok(runtime)) = (open.session, Handle::try_current()) {
            let sessions = Arc::clone(&self.sessions);
            runtime.spawn(async move {
                if timeout(ENDED_WITHIN, sessions.end(session)).await.is_err() {
                    tracing::warn!(
                        "a session that catches up could not be ended on the server; the next one is \
                         opened beside it"
                    );
                }
                drop(slot);
            });
        }
    }
}

async fn open(pool: &Pool) -> Result<Open, sqlx::Error> {
    let mut connection = connect(pool).await?;
    let session = match pool.pooler {
        Pooler::None => Some(Session::of(&mut connection).await?),
        Pooler::Transaction => None,
    };
    Ok(Open {
        connection,
        session,
    })
}

/// Connects, with the limits set once, because the session is ours.
async fn connect(pool: &Pool) -> Result<PgConnection, sqlx::Error> {
    let options = own_connection(&pool.connections, APPLICATION);
    match pool.pooler {
        Pooler::None => match options
            .clone()
            .options(LIMITS.iter().copied())
            .connect()
            .await
        {
            Err(error) if refuses_options(&error) => options.connect().await,
            connected => connected,
        },
        // Each call's transaction sets the limits there.
        Pooler::Transaction => options.statement_cache_capacity(0).connect().await,
    }
}

/// PgBouncer, here in session mode, refuses start-up options unless it is told to ignore them.
fn refuses_options(error: &sqlx::Error) -> bool {
    const PROTOCOL_VIOLATION: &str = "08P01";
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code == PROTOCOL_VIOLATION)
}
