//! A connection for one call, its transaction, and their limits in time.

use std::time::Duration;

use credential_core::store::StoreError;
use sqlx::{PgPool, Postgres, pool::PoolConnection};

use crate::{
    error::{TookTooLong, backend, store_error},
    pooler::Pooler,
    unnamed::On,
};

/// How long one call of the store may take, waiting for a connection included. Less than the 5 s
/// that core waits, so that the call ends here, where its connection is closed with it.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// Begins a transaction, in one round trip.
///
/// The limits are the server's part of [`CALL_TIMEOUT`] and end with the transaction, so the host's
/// pool keeps its own settings and a pooler in transaction mode carries nothing over. A node that
/// freezes between two statements would otherwise hold the change counter, and with it every
/// writer, until somebody notices.
///
/// READ COMMITTED whatever the host's default: each statement after a lock must see what was
/// committed while it waited.
const BEGIN: &str = "begin isolation level read committed read write; \
    set local statement_timeout = '4s'; \
    set local lock_timeout = '3s'; \
    set local idle_in_transaction_session_timeout = '4s'";

/// Runs a call within [`CALL_TIMEOUT`].
pub(crate) async fn in_time<T>(
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or_else(|_| Err(backend(TookTooLong(CALL_TIMEOUT))))
}

/// The host's pool, and what stands between it and PostgreSQL.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) connections: PgPool,
    pub(crate) pooler: Pooler,
}

/// A pooled connection that is closed, not reused, unless its call came to an end: what was given
/// up half way, by a time-out or a caller that went away, must neither stay open on the server nor
/// meet the next call.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: PoolConnection<Postgres>,
    pooler: Pooler,
    came_to_an_end: bool,
}

impl Lease {
    /// For one statement, which is its own transaction; to be ended by [`end`](Self::end).
    ///
    /// Behind a pooler the transaction is an explicit one: it alone keeps the session from the
    /// preparing of the statement to its end.
    pub(crate) async fn take(pool: &Pool) -> Result<Self, StoreError> {
        match pool.pooler {
            Pooler::None => Self::acquire(pool).await,
            Pooler::Transaction => Self::begin(pool).await,
        }
    }

    /// For several statements in one transaction; to be ended by [`commit`](Self::commit) or
    /// [`roll_back`](Self::roll_back).
    pub(crate) async fn begin(pool: &Pool) -> Result<Self, StoreError> {
        let mut lease = Self::acquire(pool).await?;
        lease.simple(BEGIN).await?;
        Ok(lease)
    }

    async fn acquire(pool: &Pool) -> Result<Self, StoreError> {
        Ok(Self {
            connection: pool.connections.acquire().await.map_err(store_error)?,
            pooler: pool.pooler,
            came_to_an_end: false,
        })
    }

    /// Where the next statement runs.
    pub(crate) fn on(&mut self) -> On<'_> {
        On::new(&mut self.connection, self.pooler)
    }

    /// Ends what [`take`](Self::take) began: the statement has taken effect.
    pub(crate) async fn end(self) -> Result<(), StoreError> {
        match self.pooler {
            Pooler::None => {
                self.finish();
                Ok(())
            }
            Pooler::Transaction => self.commit().await,
        }
    }

    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        self.simple("commit").await?;
        self.finish();
        Ok(())
    }

    /// Ends the transaction without effect and returns `refusal`, or what kept it from ending.
    pub(crate) async fn roll_back(mut self, refusal: StoreError) -> StoreError {
        match self.simple("rollback").await {
            Ok(()) => {
                self.finish();
                refusal
            }
            Err(error) => error,
        }
    }

    /// The call came to an end: the connection may serve the next.
    fn finish(mut self) {
        self.came_to_an_end = true;
    }

    async fn simple(&mut self, sql: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(sql)
            .execute(&mut *self.connection)
            .await
            .map_err(store_error)?;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.came_to_an_end {
            self.connection.close_on_drop();
        }
    }
}
