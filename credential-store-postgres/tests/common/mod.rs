//! A migrated database per test.

use credential_store_postgres::PostgresStore;
use sqlx::{PgPool, postgres::PgPoolOptions};
use test_postgres::{Database, Server};

/// A store on a database of its own.
pub struct Fresh {
    pub store: PostgresStore,
    // Behind the store, so that it outlives it.
    #[expect(dead_code, reason = "held for its end; not every test file looks inside")]
    pub database: Database<'static>,
}

pub async fn fresh() -> Fresh {
    let database = Server::shared().database();
    let pool = pool(&database.url()).await;
    PostgresStore::migrate(&pool).await.unwrap();
    Fresh {
        store: PostgresStore::new(pool),
        database,
    }
}

/// Few connections: racing calls wait for one, as they would in production.
pub async fn pool(url: &str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(5)
        .connect(url)
        .await
        .unwrap()
}
