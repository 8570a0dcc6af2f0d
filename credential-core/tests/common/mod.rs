//! A deployment in memory, with doubles that count.

#![allow(clippy::unwrap_used, reason = "test set-up")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test binary uses its own part"
)]

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use credential_core::{
    Credentials, CredentialsBuilder, ScopeCatalog,
    actor::{Actor, Role, TenantAdmin},
    authenticate::AuthenticateError,
    credential::Credential,
    entropy::OsEntropy,
    manage::{
        CreateCredential, Created, Expected, Field, ScopeChoice, SetScopes, UpdateCredential,
    },
    secret::{
        hash::{Argon2Hasher, HashCost, HashError, SecretHash, SecretHasher, Verdict},
        keyring::Keyring,
    },
    testing::{CountingHasher, ManualClock, ProbeStore},
};
use credential_store_memory::MemoryStore;

pub struct Deployment {
    pub store: ProbeStore<MemoryStore>,
    /// The same store without the probe.
    pub memory: MemoryStore,
    pub keyring: Keyring,
    pub hasher: Arc<CountingHasher<Argon2Hasher>>,
    pub clock: ManualClock,
    pub node: Credentials,
}

impl Deployment {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(adjust: impl Fn(CredentialsBuilder) -> CredentialsBuilder) -> Self {
        let clock = ManualClock::new();
        let memory = MemoryStore::with_clock(Arc::new(clock.clone()));
        let store = ProbeStore::new(memory.clone());
        let keyring = Keyring::generate(&OsEntropy);
        let hasher = Arc::new(CountingHasher::new(Argon2Hasher::new(
            keyring.clone(),
            HashCost::cheap(),
            Arc::new(OsEntropy),
        )));
        let node = adjust(
            Credentials::builder(store.clone())
                .catalog(ScopeCatalog::elation())
                .keyring(keyring.clone())
                .hasher(hasher.clone())
                .clock(Arc::new(clock.clone())),
        )
        .build()
        .unwrap();
        Self {
            store,
            memory,
            keyring,
            hasher,
            clock,
            node,
        }
    }

    /// Another node over the same store, with caches of its own.
    pub fn second_node(&self) -> Credentials {
        self.node_builder().build().unwrap()
    }

    pub fn node_builder(&self) -> CredentialsBuilder {
        Credentials::builder(self.store.clone())
            .catalog(ScopeCatalog::elation())
            .keyring(self.keyring.clone())
            .hasher(self.hasher.clone())
            .clock(Arc::new(self.clock.clone()))
    }

    pub async fn key(&self, name: &str, api_type: &str, scopes: &[&str]) -> Key {
        self.key_of("alder", name, api_type, scopes).await
    }

    pub async fn key_of(&self, tenant: &str, name: &str, api_type: &str, scopes: &[&str]) -> Key {
        let Created {
            credential,
            client_secret,
        } = self
            .node
            .manage(&admin(tenant))
            .create(request(name, api_type, scopes))
            .await
            .unwrap();
        Key {
            id: credential.identity.id,
            client_id: credential.identity.client_id.as_str().to_owned(),
            secret: client_secret.unwrap().expose_secret().to_owned(),
        }
    }

    /// The credential as an admin sees it.
    pub async fn credential(&self, key: &Key) -> Credential {
        let alder = admin("alder");
        self.node.manage(&alder).get(key.id).await.unwrap()
    }

    pub async fn set_scopes(&self, key: &Key, scopes: &[&str]) {
        let choice = ScopeChoice::Named(scopes.iter().map(|&scope| scope.to_owned()).collect());
        let request = SetScopes {
            choice: choice.into(),
            ..SetScopes::default()
        };
        self.node
            .manage(&admin("alder"))
            .set_scopes(key.id, Some(&Expected::Any), request)
            .await
            .unwrap();
    }

    /// From now on the key may be used from these networks only; none: from everywhere.
    pub async fn set_networks(&self, key: &Key, networks: &[&str]) {
        let request = UpdateCredential {
            allowed_networks: Field::Value(networks.iter().map(ToString::to_string).collect()),
            ..UpdateCredential::default()
        };
        let alder = admin("alder");
        let manage = self.node.manage(&alder);
        let updated = manage.update(key.id, Some(&Expected::Any), request).await;
        updated.unwrap();
    }

    pub async fn revoke(&self, key: &Key) {
        self.node
            .manage(&admin("alder"))
            .revoke(key.id, None)
            .await
            .unwrap();
    }

    pub fn advance(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }
}

pub struct Key {
    pub id: credential_core::id::CredentialId,
    pub client_id: String,
    pub secret: String,
}

impl Key {
    pub async fn token(&self, node: &Credentials, scope: Option<&str>) -> String {
        let client = node
            .authenticate(&self.client_id, &self.secret)
            .await
            .unwrap();
        let issued = node.issue(&client, scope).unwrap();
        issued.access_token.expose_secret().to_owned()
    }

    pub async fn refusal(&self, node: &Credentials) -> credential_core::authenticate::Refusal {
        match node.authenticate(&self.client_id, &self.secret).await {
            Err(AuthenticateError::Refused(refusal)) => refusal,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
}

pub fn actor(tenant: &str, role: Role) -> Actor {
    Actor {
        id: "dr-lee".parse().unwrap(),
        tenant: tenant.parse().unwrap(),
        role,
    }
}

pub fn admin(tenant: &str) -> TenantAdmin {
    actor(tenant, Role::Admin).admin().unwrap()
}

/// The same text with its last character changed.
pub fn with_another_end(text: &str) -> String {
    let mut text = text.to_owned();
    let last = text.pop();
    text.push(if last == Some('A') { 'B' } else { 'A' });
    text
}

pub fn request(name: &str, api_type: &str, scopes: &[&str]) -> CreateCredential {
    CreateCredential {
        name: name.into(),
        api_type: api_type.into(),
        scopes: Field::Value(scopes.iter().map(|&scope| scope.to_owned()).collect()),
        ..CreateCredential::default()
    }
}

/// Hashes for real, but begins none before it is let go: each hash stands still until then.
#[derive(Debug)]
pub struct HeldHasher {
    inner: Argon2Hasher,
    held: Mutex<Held>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    /// What is being hashed, in the order of beginning: secrets, all different.
    begun: Vec<String>,
    /// How many may come to their end.
    released: usize,
}

impl HeldHasher {
    pub fn new(keyring: Keyring) -> Arc<Self> {
        Arc::new(Self {
            inner: Argon2Hasher::new(keyring, HashCost::cheap(), Arc::new(OsEntropy)),
            held: Mutex::default(),
            moved: Condvar::new(),
        })
    }

    /// The secrets whose hashes have begun.
    pub fn begun(&self) -> Vec<String> {
        self.held.lock().unwrap().begun.clone()
    }

    /// Lets so many more come to their end.
    pub fn release(&self, count: usize) {
        self.held.lock().unwrap().released += count;
        self.moved.notify_all();
    }

    fn stand(&self, secret: &str) {
        let mut held = self.held.lock().unwrap();
        held.begun.push(secret.to_owned());
        let place = held.begun.len();
        while held.released < place {
            held = self.moved.wait(held).unwrap();
        }
    }
}

impl SecretHasher for HeldHasher {
    fn hash(&self, secret: &str) -> Result<SecretHash, HashError> {
        self.stand(secret);
        self.inner.hash(secret)
    }

    fn verify(&self, secret: &str, stored: &SecretHash) -> Result<Verdict, HashError> {
        self.stand(secret);
        self.inner.verify(secret, stored)
    }
}

/// Lets other tasks and threads run until something holds. No clock: what never comes to hold fails
/// the test after some seconds' worth of turns.
pub async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000_000 {
        if holds() {
            return;
        }
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
    panic!("never came to hold");
}
