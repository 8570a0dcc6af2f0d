//! A platform with keys of its own, for the tests of what integrations see.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use credential_core::{
    Credentials, CredentialsBuilder, ScopeCatalog,
    actor::{Actor, Role, TenantAdmin},
    clock::Timestamp,
    entropy::OsEntropy,
    manage::{CreateCredential, Created, Expected, Field, ScopeChoice, SetScopes},
    secret::{hash::HashCost, keyring::Keyring},
    testing::{ManualClock, ProbeStore},
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
    pub clock: ManualClock,
    pub store: ProbeStore<MemoryStore>,
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
        Self::build(catalog, ISSUER, app)
    }

    pub fn build(
        catalog: ScopeCatalog,
        issuer: &str,
        app: impl FnOnce(&Credentials) -> Router,
    ) -> Self {
        Self::built(|builder| builder.catalog(catalog).issuer(issuer), app)
    }

    /// With settings of a test's own.
    pub fn built(
        settings: impl FnOnce(CredentialsBuilder) -> CredentialsBuilder,
        app: impl FnOnce(&Credentials) -> Router,
    ) -> Self {
        let clock = ManualClock::new();
        let store = ProbeStore::new(MemoryStore::new());
        let builder = Credentials::builder(store.clone())
            .catalog(ScopeCatalog::elation())
            .keyring(Keyring::generate(&OsEntropy))
            .clock(Arc::new(clock.clone()))
            .hash_cost(HashCost::cheap());
        let credentials = settings(builder).build().unwrap();
        Self {
            app: app(&credentials),
            credentials,
            clock,
            store,
        }
    }

    /// From now on the store does not answer, and what was read before proves nothing any more.
    pub fn cut_off_store(&self) {
        self.store.fail(true);
        self.clock.advance(Duration::from_secs(2));
    }

    pub fn admin(tenant: &str) -> TenantAdmin {
        let actor = Actor {
            id: "admin".parse().unwrap(),
            tenant: tenant.parse().unwrap(),
            role: Role::Admin,
        };
        actor.admin().unwrap()
    }

    /// A new key. Its name is its scopes, so a test needs other scopes for another key.
    pub async fn key(&self, tenant: &str, api_type: &str, scopes: &[&str]) -> Key {
        self.key_until(tenant, api_type, scopes, None).await
    }

    pub async fn key_until(
        &self,
        tenant: &str,
        api_type: &str,
        scopes: &[&str],
        expires_at: Option<Timestamp>,
    ) -> Key {
        let admin = Self::admin(tenant);
        let request = CreateCredential {
            name: format!("{api_type} {}", scopes.join(" ")).into(),
            api_type: api_type.into(),
            scopes: Field::Value(scopes.iter().map(ToString::to_string).collect()),
            expires_at: expires_at.into(),
            ..CreateCredential::default()
        };
        let created = self
            .credentials
            .manage(&admin)
            .create(request)
            .await
            .unwrap();
        let client = self
            .credentials
            .authenticate(
                created.credential.identity.client_id.as_str(),
                created.client_secret.as_ref().unwrap().expose_secret(),
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
            choice: Field::Value(ScopeChoice::Named(
                scopes.iter().map(ToString::to_string).collect(),
            )),
            ..SetScopes::default()
        };
        self.credentials
            .manage(&key.admin)
            .set_scopes(
                key.created.credential.identity.id,
                Some(&Expected::Any),
                request,
            )
            .await
            .unwrap();
    }

    pub async fn revoke(&self, key: &Key) {
        self.credentials
            .manage(&key.admin)
            .revoke(key.created.credential.identity.id, None)
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

/// A challenge with the address of the API's metadata, which every one has.
pub fn in_full(challenge: &str) -> String {
    let apis = [
        ("apiv2", "/api/2.0"),
        ("fhir", "/fhir/r4"),
        ("payments", "/v1"),
    ];
    let (_, base_path) = apis
        .into_iter()
        .find(|(realm, _)| challenge.contains(&format!(r#"realm="{realm}""#)))
        .unwrap();
    format!(
        r#"{challenge}, resource_metadata="{ISSUER}/.well-known/oauth-protected-resource{base_path}""#
    )
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
