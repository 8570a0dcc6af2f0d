//! Unnamed statements, for connections behind a pooler in transaction mode.
//!
//! sqlx prepares each statement once under a name and then runs it by that name. Behind such a pooler
//! the next transaction may run in another server session, where the name is unknown or belongs to
//! another client's statement. An unnamed statement is prepared anew for each run. A transaction stays
//! in one session, so the statement exists until it has run.

use std::pin::Pin;

use futures_core::Stream;
use sqlx::{
    Describe, Either, Error, Execute, Executor, PgConnection, Postgres, SqlStr,
    error::BoxDynError,
    postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};

use crate::pooler::Pooler;

type Future<'e, T> = Pin<Box<dyn std::future::Future<Output = Result<T, Error>> + Send + 'e>>;

/// A connection for one statement, named or not.
///
/// Why an executor: the query macros mark every query as persistent, and have no option against it.
#[derive(Debug)]
pub(crate) struct On<'c> {
    connection: &'c mut PgConnection,
    pooler: Pooler,
}

impl<'c> On<'c> {
    pub(crate) fn new(connection: &'c mut PgConnection, pooler: Pooler) -> Self {
        Self { connection, pooler }
    }
}

/// Runs a command of the simple protocol, which prepares nothing.
pub(crate) async fn command(connection: &mut PgConnection, sql: &'static str) -> Result<(), Error> {
    sqlx::raw_sql(sql).execute(connection).await?;
    Ok(())
}

impl<'c> Executor<'c> for On<'c> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> Pin<Box<dyn Stream<Item = Result<Either<PgQueryResult, PgRow>, Error>> + Send + 'e>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pooler = self.pooler;
        let query = Query { query, pooler };
        self.connection.fetch_many(query)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> Future<'e, Option<PgRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pooler = self.pooler;
        let query = Query { query, pooler };
        self.connection.fetch_optional(query)
    }

    // The trait requires these two. They prepare under a name, and nothing here calls them.

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> Future<'e, PgStatement>
    where
        'c: 'e,
    {
        self.connection.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> Future<'e, Describe<Postgres>>
    where
        'c: 'e,
    {
        self.connection.describe(sql)
    }
}

/// A query that is persistent only without a pooler.
struct Query<Q> {
    query: Q,
    pooler: Pooler,
}

impl<'q, Q: Execute<'q, Postgres>> Execute<'q, Postgres> for Query<Q> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.pooler == Pooler::None && self.query.persistent()
    }
}
