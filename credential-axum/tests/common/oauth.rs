//! A platform with keys of its own, for the tests of what integrations see.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, body::Body};
use credential_core::{
    Credentials, ScopeCatalog,
    actor::{Actor, Role, TenantAdmin},
    audit::AuditEvent,
    credential::{Credential, CredentialState},
    entropy::OsEntropy,
    id::{CredentialId, Selector, TenantId},
    manage::{CreateCredential, Created, Expected, ScopeChoice, SetScopes},
    secret::{hash::HashCost, keyring::Keyring},
    store::{
        AsOf, AuditQuery, Changes, Committed, CredentialStore, Edit, Heartbeat, KeyCheck, LastUse,
        ListQuery, NewCredential, ReplaceHash, Revoke, RevokeToken, StoreError,
    },
    testing::ManualClock,
};
use credential_store_memory::MemoryStore;
use http::{HeaderMap, StatusCode, request};
use http_body_util::BodyExt;
use tower::ServiceExt;

pub const ISSUER: &str = "https://platform.example";

/// What the tests mount, over a store that can be cut off.
pub struct Platform {
    pub credentials: Credentials,
    app: Router,
    clock: ManualClock,
    cut_off: Arc<AtomicBool>,
}

/// A key, its admin and a token that follows it.
pub struct Key {
    pub admin: TenantAdmin,
    pub created: Created,
    pub token: String,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Platform {
    pub fn new(app: impl FnOnce(&Credentials) -> Router) -> Self {
        Self::with(ScopeCatalog::elation(), app)
    }

    pub fn with(catalog: ScopeCatalog, app: impl FnOnce(&Credentials) -> Router) -> Self {
        let clock = ManualClock::new();
        let cut_off = Arc::new(AtomicBool::new(false));
        let credentials = Credentials::builder(Switched {
            store: MemoryStore::new(),
            cut_off: Arc::clone(&cut_off),
        })
        .catalog(catalog)
        .keyring(Keyring::generate(&OsEntropy))
        .issuer(ISSUER)
        .clock(Arc::new(clock.clone()))
        .hash_cost(HashCost::cheap())
        .build()
        .unwrap();
        Self {
            app: app(&credentials),
            credentials,
            clock,
            cut_off,
        }
    }

    /// From now on the store does not answer, and what was read before proves nothing any more.
    pub fn cut_off_store(&self) {
        self.cut_off.store(true, Ordering::SeqCst);
        self.clock.advance(Duration::from_secs(2));
    }

    /// A new key. Its name is its scopes, so a test needs other scopes for another key.
    pub async fn key(&self, tenant: &str, api_type: &str, scopes: &[&str]) -> Key {
        let admin = Actor {
            id: "admin".parse().unwrap(),
            tenant: tenant.parse().unwrap(),
            role: Role::Admin,
        }
        .admin()
        .unwrap();
        let request = CreateCredential {
            name: Some(format!("{api_type} {}", scopes.join(" "))),
            api_type: Some(api_type.to_owned()),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            ..CreateCredential::default()
        };
        let created = self.credentials.create(&admin, request).await.unwrap();
        let client = self
            .credentials
            .authenticate(
                created.credential.client_id.as_str(),
                created.client_secret.expose_secret(),
            )
            .await
            .unwrap();
        let token = match self.credentials.issue(&client, None) {
            Ok(issued) => issued.access_token.expose_secret().to_owned(),
            Err(_) => String::new(),
        };
        Key {
            admin,
            created,
            token,
        }
    }

    pub async fn set_scopes(&self, key: &Key, scopes: &[&str]) {
        let request = SetScopes {
            choice: Some(ScopeChoice::Named(
                scopes.iter().map(ToString::to_string).collect(),
            )),
            api_type: None,
            faults: Vec::new(),
        };
        self.credentials
            .set_scopes(
                &key.admin,
                key.created.credential.id,
                Some(&Expected::Any),
                request,
            )
            .await
            .unwrap();
    }

    pub async fn revoke(&self, key: &Key) {
        self.credentials
            .revoke(&key.admin, key.created.credential.id, None)
            .await
            .unwrap();
    }

    pub async fn send(&self, request: request::Builder, body: impl Into<Body>) -> Answer {
        let request = request.body(body.into()).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

impl Answer {
    /// A header that must not be there twice; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A store that can be cut off.
#[derive(Debug)]
struct Switched {
    store: MemoryStore,
    cut_off: Arc<AtomicBool>,
}

impl Switched {
    fn store(&self) -> Result<&MemoryStore, StoreError> {
        if self.cut_off.load(Ordering::SeqCst) {
            return Err(StoreError::Backend {
                source: "cut off".into(),
            });
        }
        Ok(&self.store)
    }
}

#[async_trait]
impl CredentialStore for Switched {
    async fn insert(&self, new: NewCredential) -> Result<Committed<()>, StoreError> {
        self.store()?.insert(new).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        id: CredentialId,
    ) -> Result<Option<Credential>, StoreError> {
        self.store()?.get(tenant, id).await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        query: &ListQuery,
    ) -> Result<Vec<Credential>, StoreError> {
        self.store()?.list(tenant, query).await
    }

    async fn replace(&self, edit: Edit) -> Result<Committed<Credential>, StoreError> {
        self.store()?.replace(edit).await
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Committed<Credential>, StoreError> {
        self.store()?.revoke(revoke).await
    }

    async fn state(&self, id: CredentialId) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        self.store()?.state(id).await
    }

    async fn state_by_selector(
        &self,
        selector: &Selector,
    ) -> Result<AsOf<Option<CredentialState>>, StoreError> {
        self.store()?.state_by_selector(selector).await
    }

    async fn replace_hash(&self, change: ReplaceHash) -> Result<(), StoreError> {
        self.store()?.replace_hash(change).await
    }

    async fn revoke_token(&self, revoke: RevokeToken) -> Result<Committed<()>, StoreError> {
        self.store()?.revoke_token(revoke).await
    }

    async fn catch_up(&self, heartbeat: &Heartbeat) -> Result<Changes, StoreError> {
        self.store()?.catch_up(heartbeat).await
    }

    async fn wake_up(&self) {
        self.store.wake_up().await;
    }

    async fn audit_events(
        &self,
        tenant: &TenantId,
        query: &AuditQuery,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        self.store()?.audit_events(tenant, query).await
    }

    async fn audited_tenants(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantId>, StoreError> {
        self.store()?.audited_tenants(after, limit).await
    }

    async fn record_use(&self, uses: &[LastUse]) -> Result<(), StoreError> {
        self.store()?.record_use(uses).await
    }

    async fn check_keys(&self, keys: &[KeyCheck]) -> Result<(), StoreError> {
        self.store()?.check_keys(keys).await
    }
}
