//! A platform that embeds the library: its own sign-in, its own catalogue, its own API, and the test of it.
//! On PostgreSQL, with sessions in a table: `embed_postgres.rs`.
use std::error::Error;

use async_trait::async_trait;
use axum::{Router, routing::get, routing::post};
use credential_axum::{Access, Guard, GuardError, SignIn, SignInError, admin_router, oauth_router};
use credential_axum::{ServeConfig, Stop, ready, serve};
use credential_core::actor::{Actor, Role};
use credential_core::{Credentials, ScopeCatalog, entropy::OsEntropy, secret::keyring::Keyring};
use credential_store_memory::MemoryStore;
use http::{StatusCode, request::Parts};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let credentials = Credentials::builder(MemoryStore::new())
        .catalog(ScopeCatalog::from_toml(include_str!("payments.toml"))?)
        .keyring(Keyring::generate(&OsEntropy)) // yours comes from configuration
        .issuer("http://127.0.0.1:8090")
        .build()?; // cheap to clone
    let running = credentials.start().await?; // catches up in the background
    let stop = Stop::on_signals()?; // SIGTERM, SIGINT

    let probed = (credentials.clone(), stop.clone());
    let readyz = get(async move || match ready(&probed.0, &probed.1) {
        Ok(()) => (StatusCode::OK, "ready".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
    });
    let app = app(&credentials)?.route("/readyz", readyz);

    // Opened last, when checks can be answered. Until the signal; then drained: docs/operations.md.
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8090");
    let listener = tokio::net::TcpListener::bind(address).await?;
    serve(listener, app, ServeConfig::default(), stop).await;
    running.shutdown().await; // writes the last uses
    Ok(())
}

/// Apart from `main`, so that a test can ask it.
fn app(credentials: &Credentials) -> Result<Router, GuardError> {
    let guard = Guard::new(credentials, "payments")?;
    let refunds = Router::new().route("/v1/charges/{id}/refunds", post(refund));
    let payouts = post(pay).layer(guard.requires("payouts.write")?);
    Ok(Router::new()
        .nest("/api-access/v1", admin_router(credentials, OurSignIn))
        .merge(oauth_router(credentials))
        .merge(refunds.route_layer(guard)) // method and path name the scope
        .route("/payouts", payouts))
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

#[cfg(test)]
mod tests {
    use credential_axum::testing::{TestHost, access};
    use credential_core::testing::{builder, token};

    use super::*;

    #[tokio::test]
    async fn a_key_for_refunds_pays_nothing_out() -> Result<(), Box<dyn Error>> {
        let catalog = ScopeCatalog::from_toml(include_str!("payments.toml"))?;
        let credentials = builder(MemoryStore::new(), catalog).build()?;
        let host = TestHost::new(app(&credentials)?);
        let key = token(&credentials, "payments", &["refunds.write"]).await;

        let refunded = host.call("POST", "/v1/charges/7/refunds", &key).await;
        assert_eq!(refunded.body(), "refunded for test-tenant\n");
        assert_eq!(host.call("POST", "/payouts", &key).await.status(), 403);
        key.revoke(&credentials).await;
        let refused = host.call("POST", "/v1/charges/7/refunds", &key).await;
        assert_eq!(refused.status(), 401);

        // The handler alone.
        let access = access(&credentials, "payments", "refunds.write").await;
        assert_eq!(refund(access).await, "refunded for test-tenant\n");
        Ok(())
    }
}
