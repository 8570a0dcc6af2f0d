//! A connection for one call, its transaction, and their limits in time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use credential_core::store::{ANSWER_WITHIN, StoreError};
use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    error::{TookTooLong, backend, is_conflict, store_error},
    executor::{On, command},
    pooler::Pooler,
    sessions::{Session, Sessions},
};

/// How long one call of the store may take, waiting for a connection included.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(4);

// A check stops waiting first. What it leaves behind on the server is ended by the limits below.
const _: () = assert!(ANSWER_WITHIN.as_secs() < CALL_TIMEOUT.as_secs());

/// The server's part of [`CALL_TIMEOUT`]. A node that freezes between two statements would otherwise hold the
/// change counter, and with it every writer, until somebody notices.
macro_rules! limits {
    ($($setting:literal = $seconds:literal),* $(,)?) => {
        /// For a session that is ours, with the isolation level of [`BEGIN`].
        pub(crate) const LIMITS: &[(&str, &str)] = &[
            $( ($setting, concat!($seconds, "s")), )*
            ("default_transaction_isolation", "read committed"),
        ];

        /// Begins a transaction, in one round trip.
        ///
        /// The limits end with the transaction, so the host's pool keeps its own settings and a pooler in
        /// transaction mode carries nothing over.
        ///
        /// READ COMMITTED whatever the host's default: each statement after a lock must see what was
        /// committed while it waited.
        pub(crate) const BEGIN: &str = concat!(
            "begin isolation level read committed read write",
            $( "; set local ", $setting, " = '", $seconds, "s'", )*
        );

        $( const _: () = assert!($seconds <= CALL_TIMEOUT.as_secs()); )*
    };
}
limits! {
    "statement_timeout" = 4,
    "lock_timeout" = 3,
    "idle_in_transaction_session_timeout" = 4,
}

/// Runs a call within [`CALL_TIMEOUT`].
pub(crate) async fn in_time<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(CALL_TIMEOUT, work)
        .await
        .unwrap_or_else(|_| Err(backend(TookTooLong(CALL_TIMEOUT))))
}

/// Runs a call that is one statement and may be repeated. If the server could not serialize it, the call
/// runs once more, in a READ COMMITTED transaction: the default level of the connections has changed since
/// they were asked for it.
pub(crate) async fn once_more<T, F>(pool: &Pool, work: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    match work().await {
        Err(error) if is_conflict(&error) => {
            pool.sessions.forget();
            work().await
        }
        done => done,
    }
}

/// The host's pool, and what stands between it and PostgreSQL.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) connections: PgPool,
    pub(crate) pooler: Pooler,
    pub(crate) sessions: Arc<Sessions>,
    /// As many as the pool has connections. Calls wait here and not in the pool, because a call that
    /// gives up here costs nothing.
    places: Arc<Semaphore>,
    /// Grows when connections are retired.
    generation: Arc<AtomicU64>,
}

impl Pool {
    pub(crate) fn new(pooler: Pooler, connections: PgPool) -> Self {
        let places = usize::try_from(connections.options().get_max_connections());
        Self {
            sessions: Arc::new(Sessions::new(connections.clone())),
            places: Arc::new(Semaphore::new(
                places.map_or(Semaphore::MAX_PERMITS, |it| it.min(Semaphore::MAX_PERMITS)),
            )),
            connections,
            pooler,
            generation: Arc::default(),
        }
    }

    /// Closes the connections that are idle now, and those in use when their calls end. Connections that the
    /// host itself is using go back to the pool, and are closed by the next retirement.
    pub(crate) fn retire(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        for _ in 0..self.connections.size() {
            let Some(idle) = self.connections.try_acquire() else {
                break;
            };
            // Without a farewell message: the server may be gone.
            drop(idle.detach());
        }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// A pooled connection for one call. If the call is given up, because of a time-out or a caller that
/// disconnected, its statement must neither stay on the server nor meet the next call: see
/// [`Sessions::settle`].
#[derive(Debug)]
pub(crate) struct Call {
    /// `None` once the call has ended.
    connection: Option<(PoolConnection<Postgres>, OwnedSemaphorePermit)>,
    pool: Pool,
    /// The pool's generation when the call began.
    generation: u64,
    /// `None` behind a pooler, which manages its sessions itself; each call sets limits there.
    session: Option<Session>,
    /// Whether a single statement needs an explicit transaction.
    begins: bool,
    in_transaction: bool,
}

impl Call {
    /// For one statement, which is its own transaction. End it with [`end`](Self::end).
    ///
    /// Behind a pooler the transaction is explicit: only within one does a statement run in the session
    /// in which it was prepared. It is also explicit where the default level is not READ COMMITTED: a
    /// serializable heartbeat would fail whenever another node's runs beside it.
    pub(crate) async fn take(pool: &Pool) -> Result<Self, StoreError> {
        let mut call = Self::acquire(pool).await?;
        if call.begins {
            call.start().await?;
        }
        Ok(call)
    }

    /// For several statements in one transaction. End it with [`commit`](Self::commit) or
    /// [`roll_back`](Self::roll_back).
    pub(crate) async fn begin(pool: &Pool) -> Result<Self, StoreError> {
        let mut call = Self::acquire(pool).await?;
        call.start().await?;
        Ok(call)
    }

    async fn start(&mut self) -> Result<(), StoreError> {
        self.in_transaction = true;
        self.simple(BEGIN).await
    }

    async fn acquire(pool: &Pool) -> Result<Self, StoreError> {
        let generation = pool.generation();
        let place = Arc::clone(&pool.places).acquire_owned().await;
        let place = place.map_err(backend)?;
        // Why a task: if the caller disconnects while the pool tests or opens a connection, the pool
        // would lose that connection. The task finishes, and the connection goes back.
        let connection = pool.connections.acquire();
        let acquired = tokio::spawn(async move { (connection.await, place) }).await;
        let (connection, place) = acquired.map_err(backend)?;
        let connection = connection.map_err(store_error)?;
        let mut call = Self {
            connection: Some((connection, place)),
            pool: pool.clone(),
            generation,
            session: None,
            begins: true,
            in_transaction: false,
        };
        if pool.pooler == Pooler::None {
            let met = pool.sessions.of(call.connection()).await;
            let met = met.map_err(store_error)?;
            call.session = Some(met.session);
            call.begins = !met.read_committed;
        }
        Ok(call)
    }

    fn connection(&mut self) -> &mut PgConnection {
        let connection = self.connection.as_mut();
        &mut connection.expect("it is there until the end").0
    }

    /// Where the next statement runs.
    pub(crate) fn on(&mut self) -> On<'_> {
        let pooler = self.pool.pooler;
        On::new(self.connection(), pooler)
    }

    /// Ends a call that [`take`](Self::take) began, after its statement succeeded.
    pub(crate) async fn end(self) -> Result<(), StoreError> {
        if self.in_transaction {
            return self.commit().await;
        }
        self.finish();
        Ok(())
    }

    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        self.simple("commit").await?;
        self.finish();
        Ok(())
    }

    /// Rolls the transaction back and returns `refusal`, or the error of the rollback.
    pub(crate) async fn roll_back(mut self, refusal: StoreError) -> StoreError {
        match self.simple("rollback").await {
            Ok(()) => {
                self.finish();
                refusal
            }
            Err(error) => error,
        }
    }

    /// The call has ended: the connection goes back to the pool, unless it was retired meanwhile.
    fn finish(mut self) {
        if let Some((mut connection, _place)) = self.connection.take()
            && self.generation != self.pool.generation()
        {
            connection.close_on_drop();
        }
    }

    async fn simple(&mut self, sql: &'static str) -> Result<(), StoreError> {
        command(self.connection(), sql).await.map_err(store_error)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some((mut connection, place)) = self.connection.take() else {
            return;
        };
        let (Pooler::None, Ok(runtime)) = (self.pool.pooler, Handle::try_current()) else {
            return connection.close_on_drop();
        };
        let (pool, generation) = (self.pool.clone(), self.generation);
        let (session, in_transaction) = (self.session, self.in_transaction);
        runtime.spawn(async move {
            let sessions = Arc::clone(&pool.sessions);
            let settled = match session {
                Some(session) => sessions.settle(connection, session, in_transaction).await,
                None => sessions.meet(connection).await,
            };
            if let Some(mut connection) = settled
                && generation != pool.generation()
            {
                connection.close_on_drop();
            }
            drop(place);
        });
    }
}
