//! A platform that embeds the library: its own sign-in, its own catalogue, its own API.

use std::error::Error;

use async_trait::async_trait;
use axum::{Router, routing::post};
use credential_axum::{Access, Guard, SignIn, SignInError, admin_router, oauth_router};
use credential_core::actor::{Actor, Role};
use credential_core::{Credentials, ScopeCatalog, entropy::OsEntropy, secret::keyring::Keyring};
use credential_store_memory::MemoryStore;
use http::request::Parts;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let credentials = Credentials::builder(MemoryStore::new())
        .catalog(ScopeCatalog::from_toml(include_str!("../tests/data/payments.toml"))?)
        .keyring(Keyring::generate(&OsEntropy)) // yours comes from configuration
        .issuer("http://127.0.0.1:8090")
        .build()?; // cheap to clone
    let running = credentials.start().await?; // catches up in the background

    let guard = Guard::new(&credentials, "payments")?;
    let charges = Router::new().route("/v1/charges/{id}/refunds", post(refund));
    let app = Router::new()
        .nest("/api-access/v1", admin_router(&credentials, OurSignIn))
        .merge(oauth_router(&credentials))
        .merge(charges.layer(guard.clone())) // method and path name the scope
        .route("/payouts", post(pay).layer(guard.requires("payouts.write")?));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8090").await?;
    axum::serve(listener, app).await?;
    running.shutdown().await;
    Ok(())
}

async fn refund(access: Access) -> String {
    format!("refunded for {}\n", access.tenant())
}

async fn pay(access: Access) -> String {
    format!("paid out for {}, as {} allows\n", access.tenant(), access.required_scope())
}

/// Yours looks a session up. Here `Cookie: user=ada` is signed in as an admin of `acme`.
struct OurSignIn;

#[async_trait]
impl SignIn for OurSignIn {
    async fn actor(&self, parts: &Parts) -> Result<Option<Actor>, SignInError> {
        if parts.headers.get("cookie").is_none_or(|cookie| cookie != "user=ada") {
            return Ok(None);
        }
        let (id, tenant) = ("ada".parse(), "acme".parse());
        let id = id.map_err(SignInError::new)?;
        let tenant = tenant.map_err(SignInError::new)?;
        Ok(Some(Actor { id, tenant, role: Role::Admin }))
    }
}
