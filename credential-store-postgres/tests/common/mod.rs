//! A migrated database per test, and credentials made through core.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

use std::sync::Arc;

use credential_core::{
    Credentials, ScopeCatalog,
    actor::{Actor, Role, TenantAdmin},
    clock::Clock,
    credential::Credential,
    manage::CreateCredential,
    secret::{hash::HashCost, keyring::Keyring},
    testing::ManualClock,
};
use credential_store_postgres::PostgresStore;
use sqlx::{PgPool, postgres::PgPoolOptions};
use test_postgres::{Database, Server};

/// A store on a database of its own.
pub struct Fresh {
    pub store: PostgresStore,
    pub pool: PgPool,
    // Last, so that it outlives the others.
    pub database: Database<'static>,
}

pub async fn fresh() -> Fresh {
    let database = Server::shared().database();
    let pool = pool(&database.url()).await;
    PostgresStore::migrate(&pool).await.unwrap();
    Fresh {
        store: PostgresStore::new(pool.clone()),
        pool,
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

/// A node over a store.
pub fn node(store: &PostgresStore, clock: &ManualClock) -> Credentials {
    Credentials::builder(store.clone())
        .catalog(ScopeCatalog::elation())
        .keyring(Keyring::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap())
        .hash_cost(HashCost::cheap())
        .limit_per_tenant(1_000)
        .clock(Arc::new(clock.clone()) as Arc<dyn Clock>)
        .build()
        .unwrap()
}

pub fn admin(tenant: &str) -> TenantAdmin {
    Actor {
        id: "dr-lee".parse().unwrap(),
        tenant: tenant.parse().unwrap(),
        role: Role::Admin,
    }
    .admin()
    .unwrap()
}

pub async fn create(node: &Credentials, tenant: &str, name: &str) -> Credential {
    let request = CreateCredential {
        name: Some(name.to_owned()),
        api_type: Some("apiv2".to_owned()),
        scopes: vec!["system/patients.read".to_owned()],
        ..CreateCredential::default()
    };
    node.create(&admin(tenant), request)
        .await
        .unwrap()
        .credential
}
