//! A database behind a real PgBouncer, whose server sessions are shared by all that connect.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

use std::{str::FromStr as _, sync::OnceLock};

use credential_store_postgres::{Pooler, PostgresStore};
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use test_postgres::{Database, PgBouncer, Server};

/// Sessions that PgBouncer opens per database.
pub const SESSIONS: usize = 4;

/// A store on a database of its own, behind a pooler.
pub struct Pooled {
    pub store: PostgresStore,
    pub database: Database<'static>,
}

impl Drop for Pooled {
    /// PgBouncer keeps the sessions of a database open for ten minutes. Those of all cases together are
    /// more than the server has.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.database.query(
                "select pg_terminate_backend(pid) from pg_stat_activity \
                 where datname = current_database() and pid <> pg_backend_pid()",
            );
        }
    }
}

/// The one server and the one PgBouncer of this process. Sessions take turns, so that no two
/// transactions in a row meet the same one.
pub fn shared() -> &'static (Server, PgBouncer) {
    static SHARED: OnceLock<(Server, PgBouncer)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let server = Server::start();
        let bouncer = PgBouncer::start_with(&server, &["server_round_robin = 1"]);
        (server, bouncer)
    })
}

pub async fn fresh() -> Pooled {
    let (server, _) = shared();
    let database = server.database();
    let direct = crate::common::pool(&database.url()).await;
    PostgresStore::migrate(&direct).await.unwrap();
    direct.close().await;
    take_names(&database).await;
    Pooled {
        store: PostgresStore::behind(Pooler::Transaction, pool(&database).await),
        database,
    }
}

/// Other clients have taken in every session the names that sqlx would give its statements: whoever
/// names one fails.
async fn take_names(database: &Database<'_>) {
    in_every_session(database, async |connection| {
        for n in 1..=40 {
            let sql = format!("prepare sqlx_s_{n} as select 'of another client'");
            run(connection, sql).await;
        }
    })
    .await;
}

/// Looks into every session of the database: as many transactions as there are sessions, at once.
pub async fn in_every_session(
    database: &Database<'_>,
    mut look: impl AsyncFnMut(&mut PgConnection),
) {
    let mut connections = Vec::new();
    for _ in 0..SESSIONS {
        let mut connection = PgConnection::connect_with(&options(database))
            .await
            .unwrap();
        run(&mut connection, "begin".to_owned()).await;
        connections.push(connection);
    }
    for mut connection in connections {
        look(&mut connection).await;
        run(&mut connection, "commit".to_owned()).await;
    }
}

async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
}

/// How a database is reached through the pooler.
pub fn options(database: &Database<'_>) -> PgConnectOptions {
    let url = shared().1.url(database);
    // As it comes, PgBouncer refuses what sqlx would send.
    PgConnectOptions::from_str(&url)
        .unwrap()
        .extra_float_digits(None)
}

/// A pool of connections to the pooler.
pub async fn pool(database: &Database<'_>) -> PgPool {
    PgPoolOptions::new()
        .max_connections(5)
        .connect_with(options(database))
        .await
        .unwrap()
}
