//! Statements without names, for connections whose server session is another's a moment later.
//!
//! sqlx prepares each statement under a name once and then runs it by that name. A pooler in
//! transaction mode hands the next transaction to another session, where the name is unknown or,
//! worse, somebody else's. An unnamed statement is prepared anew each time and ends with the next
//! one; within a transaction the session, and so the statement, stays.

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
/// Why an executor: the query macros build their queries as persistent ones and offer no way to say
/// otherwise.
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

    // The two below prepare under a name, and are not used: statements here are only ever run.

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

/// A query that is persistent only where a name lasts.
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
