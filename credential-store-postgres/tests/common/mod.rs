//! A migrated database per test, and credentials made through core.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

use std::{sync::Arc, time::Duration};

use credential_core::{
    Credentials, ScopeCatalog,
    actor::{Actor, Role, TenantAdmin},
    clock::Clock,
    credential::Credential,
    manage::CreateCredential,
    secret::{hash::HashCost, keyring::Keyring},
    store::{Heartbeat, MAX_CHANGES, NodeId},
    testing::ManualClock,
};
use credential_store_postgres::PostgresStore;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use test_postgres::{Database, Server};

pub const KEYRING: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A store on a database of its own.
pub struct Fresh {
    pub store: PostgresStore,
    pub pool: PgPool,
    // Last, so that it outlives the others.
    pub database: Database<'static>,
}

impl Fresh {
    /// The same database, by new connections.
    pub async fn reconnected(
        self,
        with: impl FnOnce(PgConnectOptions) -> PgConnectOptions,
    ) -> Self {
        let options = with(self.pool.connect_options().as_ref().clone());
        self.pool.close().await;
        let pool = PgPoolOptions::new()
            .max_connections(5)
            .connect_with(options)
            .await
            .unwrap();
        Self {
            store: PostgresStore::new(pool.clone()),
            pool,
            database: self.database,
        }
    }
}

/// Gives a role of this database alone what docs/operations.md gives to one of that name; its name.
pub fn grant(database: &Database<'_>, documented: &str) -> String {
    let (_, roles) = include_str!("../../../docs/operations.md")
        .split_once("### Roles")
        .unwrap();
    let (_, sql) = roles.split_once("```sql\n").unwrap();
    let (sql, _) = sql.split_once("```").unwrap();
    let role = format!("{documented}_of_{}", database.name());
    let statements = sql.split_inclusive(';');
    let statements: String = statements
        .filter(|statement| statement.contains(documented))
        .collect();
    database.query(&statements.replace(documented, &role));
    database.query(&format!("alter role {role} login"));
    role
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

/// A heartbeat of a node that starts.
pub fn heartbeat(node: u8) -> Heartbeat {
    Heartbeat {
        node: NodeId([node; 16]),
        applied: None,
        max_changes: MAX_CHANGES,
        max_staleness: Duration::from_secs(1),
        issuer: "https://api.example.com".into(),
    }
}

/// A node over a store.
pub fn node(store: &PostgresStore, clock: &ManualClock) -> Credentials {
    Credentials::builder(store.clone())
        .catalog(ScopeCatalog::elation())
        .keyring(Keyring::parse(KEYRING).unwrap())
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
        name: name.into(),
        api_type: "apiv2".into(),
        scopes: vec!["system/patients.read".to_owned()].into(),
        ..CreateCredential::default()
    };
    node.manage(&admin(tenant))
        .create(request)
        .await
        .unwrap()
        .credential
}
