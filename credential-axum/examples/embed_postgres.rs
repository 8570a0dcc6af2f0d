//! `embed.rs` on PostgreSQL: several nodes of a platform, one database, whose URL is the argument.
use std::{error::Error, time::Duration};

use axum::{Router, routing::post};
use credential_axum::{Access, Guard, ServeConfig, Stop, oauth_router, serve};
use credential_core::{Credentials, ScopeCatalog, secret::keyring::Keyring};
use credential_store_postgres::{Pooler, PostgresStore};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stop = Stop::on_signals()?;
    let url = std::env::args()
        .nth(1)
        .ok_or("usage: embed_postgres DATABASE_URL")?;
    let options: PgConnectOptions = url.parse()?;
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(Duration::from_secs(3)) // above it, checks end in 503
        .connect_with(options.extra_float_digits(None)) // PgBouncer refuses who sends it
        .await?;
    PostgresStore::migrate(&pool).await?; // or at deployment: `check_schema` here
    let pooler = Pooler::detect(&pool.connect_options()).await?;

    let credentials = Credentials::builder(PostgresStore::behind(pooler, pool))
        .catalog(ScopeCatalog::from_toml(include_str!(
            "../tests/data/payments.toml"
        ))?)
        .keyring(Keyring::parse(&std::fs::read_to_string("keyring")?)?) // the same on every node
        .issuer("http://127.0.0.1:8090") // likewise
        .build()?;
    let running = credentials.start().await?;
    let refunds = Router::new().route("/v1/charges/{id}/refunds", post(refund));
    let app = Router::new()
        .merge(oauth_router(&credentials))
        .merge(refunds.route_layer(Guard::new(&credentials, "payments")?));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8090").await?;
    serve(listener, app, ServeConfig::default(), stop).await;
    running.shutdown().await;
    Ok(())
}

async fn refund(access: Access) -> String {
    format!("refunded for {}\n", access.tenant())
}
