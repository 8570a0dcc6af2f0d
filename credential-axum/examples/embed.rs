//! A platform that embeds the library: its own sign-in, its own catalogue, its own API. The same on
//! PostgreSQL: `embed_postgres.rs`.
use async_trait::async_trait;
use axum::{Router, routing::get, routing::post};
use credential_axum::{Access, Guard, SignIn, SignInError, admin_router, oauth_router};
use credential_axum::{ServeConfig, Stop, ready, serve};
use credential_core::actor::{Actor, Role};
use credential_core::{Credentials, ScopeCatalog, entropy::OsEntropy, secret::keyring::Keyring};
use credential_store_memory::MemoryStore;
use http::{StatusCode, request::Parts};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let catalog = include_str!("../tests/data/payments.toml");
    let credentials = Credentials::builder(MemoryStore::new())
        .catalog(ScopeCatalog::from_toml(catalog)?)
        .keyring(Keyring::generate(&OsEntropy)) // yours comes from configuration
        .issuer("http://127.0.0.1:8090")
        .build()?; // cheap to clone
    let running = credentials.start().await?; // catches up in the background
    let stop = Stop::on_signals()?; // SIGTERM, SIGINT

    let guard = Guard::new(&credentials, "payments")?;
    let refunds = Router::new().route("/v1/charges/{id}/refunds", post(refund));
    let payouts = post(pay).layer(guard.requires("payouts.write")?);
    let probed = (credentials.clone(), stop.clone());
    let readyz = get(async move || match ready(&probed.0, &probed.1) {
        Ok(()) => (StatusCode::OK, "ready".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
    });
    let app = Router::new()
        .nest("/api-access/v1", admin_router(&credentials, OurSignIn))
        .merge(oauth_router(&credentials))
        .merge(refunds.route_layer(guard)) // method and path name the scope
        .route("/payouts", payouts)
        .route("/readyz", readyz);

    // Opened last, when checks can be answered. Until the signal; then drained: docs/operations.md.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8090").await?;
    serve(listener, app, ServeConfig::default(), stop).await;
    running.shutdown().await; // writes the last uses
    Ok(())
}

async fn refund(access: Access) -> String {
    format!("refunded for {}\n", access.tenant())
}

async fn pay(access: Access) -> String {
    format!("{} pays out for {}\n", access.client_id(), access.tenant())
}

/// Yours looks a session up. Here the cookie `user=ada` is an admin of `acme`.
struct OurSignIn;

#[async_trait]
impl SignIn for OurSignIn {
    async fn actor(&self, parts: &Parts) -> Result<Option<Actor>, SignInError> {
        let ada = Actor {
            id: "ada".parse().map_err(SignInError::new)?,
            tenant: "acme".parse().map_err(SignInError::new)?,
            role: Role::Admin,
        };
        let cookie = parts.headers.get("cookie");
        Ok(cookie.filter(|cookie| *cookie == "user=ada").map(|_| ada))
    }
}
