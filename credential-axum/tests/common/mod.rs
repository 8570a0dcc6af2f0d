//! A host for tests: memory store, manual clock, repeatable randomness, sign-in by a header.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, Bytes},
};
use credential_axum::{SignIn, SignInError, admin_router};
use credential_core::{
    Credentials, CredentialsBuilder, ScopeCatalog,
    actor::{Actor, Role},
    secret::{hash::HashCost, keyring::Keyring},
    testing::{ManualClock, ProbeStore, SeededEntropy},
};
use credential_store_memory::MemoryStore;
use http::{HeaderMap, HeaderValue, Request, StatusCode, request};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

pub const BASE: &str = "/api-access/v1";
pub const ADMIN: &str = "alder-admin";
pub const STAFF: &str = "alder-staff";
pub const OTHER_ADMIN: &str = "birch-admin";
/// Nobody can say who this is.
pub const UNKNOWABLE: &str = "unknowable";
const ACTOR_HEADER: &str = "x-test-actor";

/// Trusts a header, as no host should.
struct HeaderSignIn;

#[async_trait]
impl SignIn for HeaderSignIn {
    async fn actor(&self, parts: &request::Parts) -> Result<Option<Actor>, SignInError> {
        let name = parts.headers.get(ACTOR_HEADER).map(HeaderValue::as_bytes);
        let (id, tenant, role) = match name {
            None => return Ok(None),
            Some(b"alder-admin") => (ADMIN, "alder", Role::Admin),
            Some(b"alder-staff") => (STAFF, "alder", Role::Member),
            Some(b"birch-admin") => (OTHER_ADMIN, "birch", Role::Admin),
            Some(_) => return Err(SignInError::new("the session store is down")),
        };
        Ok(Some(Actor {
            id: id.parse().unwrap(),
            tenant: tenant.parse().unwrap(),
            role,
        }))
    }
}

/// A host with the admin API nested at [`BASE`].
pub struct Host {
    pub credentials: Credentials,
    pub clock: ManualClock,
    pub store: ProbeStore<MemoryStore>,
    pub router: Router,
}

impl Host {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(settings: impl FnOnce(CredentialsBuilder) -> CredentialsBuilder) -> Self {
        Self::over(ProbeStore::new(MemoryStore::new()), settings)
    }

    /// Over a store that other hosts may share.
    pub fn over(
        store: ProbeStore<MemoryStore>,
        settings: impl FnOnce(CredentialsBuilder) -> CredentialsBuilder,
    ) -> Self {
        let clock = ManualClock::new();
        let entropy = SeededEntropy::new(1);
        let builder = Credentials::builder(store.clone())
            .catalog(ScopeCatalog::elation())
            .keyring(Keyring::generate(&entropy))
            .clock(Arc::new(clock.clone()))
            .entropy(Arc::new(entropy))
            .hash_cost(HashCost::cheap());
        let credentials = settings(builder).build().unwrap();
        let router = Router::new().nest(BASE, admin_router(&credentials, HeaderSignIn));
        Self {
            credentials,
            clock,
            store,
            router,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// A read by alder's admin.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(ask("GET", path).by(ADMIN).empty()).await
    }

    /// A new credential of alder.
    pub async fn create(&self, name: &str) -> Value {
        let body = serde_json::json!({
            "name": name,
            "api_type": "apiv2",
            "scopes": ["system/patients.read"],
        });
        let request = ask("POST", "/credentials").by(ADMIN).json(&body);
        let answer = self.send(request).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()
    }

    /// The address of a new credential of alder, below [`BASE`].
    pub async fn created_path(&self, name: &str) -> String {
        let created = self.create(name).await;
        format!(
            "/credentials/{}",
            created["credential"]["id"].as_str().unwrap()
        )
    }
}

/// Begins a request below [`BASE`].
pub fn ask(method: &str, path: &str) -> Ask {
    let uri = format!("{BASE}{path}");
    Ask(Request::builder().method(method).uri(uri))
}

pub struct Ask(request::Builder);

impl Ask {
    pub fn by(self, actor: &str) -> Self {
        self.header(ACTOR_HEADER, actor)
    }

    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        Self(self.0.header(name, value.as_ref()))
    }

    pub fn if_match(self, tag: &str) -> Self {
        self.header("if-match", tag)
    }

    pub fn empty(self) -> Request<Body> {
        self.0.body(Body::empty()).unwrap()
    }

    pub fn json(self, body: &Value) -> Request<Body> {
        self.raw(body.to_string())
    }

    /// Bytes that claim to be JSON.
    pub fn raw(self, body: impl Into<Body>) -> Request<Body> {
        self.header("content-type", "application/json").body(body)
    }

    pub fn body(self, body: impl Into<Body>) -> Request<Body> {
        self.0.body(body.into()).unwrap()
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and `code` of a problem, after checking everything that each problem has.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        let problem = self.json();
        let code = problem["code"].as_str().unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(
            problem["type"],
            format!("urn:problem-type:credential:{code}")
        );
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        (self.status.as_u16(), code.to_owned())
    }

    /// Field and code of each fault of an invalid request.
    pub fn faults(&self) -> Vec<(String, String)> {
        assert_eq!(self.problem(), (422, "invalid".to_owned()), "{self:?}");
        self.all_errors()
    }

    pub fn all_errors(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.json()["errors"]
            .as_array()
            .unwrap()
            .iter()
            .inspect(|fault| assert!(!text(&fault["message"]).is_empty()))
            .map(|fault| (text(&fault["field"]), text(&fault["code"])))
            .collect()
    }
}
