//! A whole host on PostgreSQL: one pool for its own tables and for the credentials, people and sessions in
//! those tables, the page, and a stop that drains. Several nodes may run on one database.
use std::{error::Error, time::Duration};

use async_trait::async_trait;
use axum::{Router, routing::get, routing::post};
use credential_axum::{Access, Guard, GuardError, SignIn, SignInError, admin_router, oauth_router};
use credential_axum::{PageConfig, ServeConfig, Stop, page_router, ready, serve};
use credential_core::actor::{Actor, Role};
use credential_core::{Credentials, ScopeCatalog, secret::keyring::Keyring};
use credential_store_postgres::{Pooler, PostgresStore};
use http::{HeaderMap, StatusCode, header, request::Parts};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

const USAGE: &str = "usage: embed_postgres DATABASE_URL KEYRING_FILE ADDRESS";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, keyring, address] = &*arguments else {
        return Err(USAGE.into());
    };
    let stop = Stop::on_signals()?; // SIGTERM, SIGINT
    let options: PgConnectOptions = url.parse()?;
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(Duration::from_secs(3)) // above it, checks end in 503
        .connect_with(options.extra_float_digits(None)) // PgBouncer refuses who sends it
        .await?;
    sqlx::raw_sql(OUR_TABLES).execute(&pool).await?; // yours: your own migrations
    PostgresStore::migrate(&pool).await?; // or at deployment: `check_schema` here
    let pooler = Pooler::detect(&pool.connect_options()).await?;

    let credentials = Credentials::builder(PostgresStore::behind(pooler, pool.clone()))
        .catalog(ScopeCatalog::from_toml(include_str!("payments.toml"))?)
        .keyring(Keyring::parse(&std::fs::read_to_string(keyring)?)?) // the same on every node
        .issuer("http://127.0.0.1:8090") // likewise
        .build()?;
    let running = credentials.start().await?;
    let probed = (credentials.clone(), stop.clone());
    let readyz = get(async move || match ready(&probed.0, &probed.1) {
        Ok(()) => (StatusCode::OK, "ready".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
    });
    let app = app(&credentials, &pool)?.route("/readyz", readyz);

    let listener = tokio::net::TcpListener::bind(address).await?;
    serve(listener, app, ServeConfig::default(), stop).await;
    running.shutdown().await; // writes the last uses
    pool.close().await;
    Ok(())
}

fn app(credentials: &Credentials, pool: &PgPool) -> Result<Router, GuardError> {
    let sign_in = || Sessions(pool.clone());
    let page = page_router(credentials, sign_in(), PageConfig::default());
    let refunds = Router::new().route("/v1/charges/{id}/refunds", post(refund));
    Ok(Router::new()
        .nest("/api-access/v1", admin_router(credentials, sign_in()))
        .nest_service("/settings/api-access", page)
        .merge(oauth_router(credentials))
        .merge(refunds.route_layer(Guard::new(credentials, "payments")?)))
}

async fn refund(access: Access) -> String {
    format!("refunded for {}\n", access.tenant())
}

/// What this platform had before. Of a session's token only the digest is kept.
const OUR_TABLES: &str = "
    create table if not exists person (
        id text primary key,
        merchant text not null,
        is_admin boolean not null
    );
    create table if not exists session (
        token_sha256 bytea primary key,
        person text not null references person,
        expires_at timestamptz not null
    )";

/// Who has the session that the cookie `session` names.
struct Sessions(PgPool);

#[async_trait]
impl SignIn for Sessions {
    async fn actor(&self, parts: &Parts) -> Result<Option<Actor>, SignInError> {
        let Some(token) = cookie(&parts.headers, "session") else {
            return Ok(None);
        };
        let found: Option<(String, String, bool)> = sqlx::query_as(
            "select person.id, merchant, is_admin from session join person on person.id = person
             where token_sha256 = sha256(convert_to($1, 'UTF8')) and expires_at > now()",
        )
        .bind(token)
        .fetch_optional(&self.0)
        .await
        .map_err(SignInError::new)?;
        let Some((id, merchant, is_admin)) = found else {
            return Ok(None);
        };
        Ok(Some(Actor {
            id: id.parse().map_err(SignInError::new)?,
            tenant: merchant.parse().map_err(SignInError::new)?,
            role: if is_admin { Role::Admin } else { Role::Member },
        }))
    }
}

/// A cookie's value. Browsers may send several cookies in one header.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let headers = headers.get_all(header::COOKIE).iter();
    let mut pairs = headers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|pair| pair.0 == name).map(|pair| pair.1)
}
