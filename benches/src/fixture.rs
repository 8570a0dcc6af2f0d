//! Deployments, credentials and tokens to measure with.

use std::sync::Arc;

use credential_core::{
    Access, BuildError, Credentials, CredentialsBuilder, ScopeCatalog,
    actor::{Actor, Role, TenantAdmin},
    catalog::{ApiType, ScopeKind, SearchForm},
    entropy::OsEntropy,
    id::CredentialId,
    manage::{CreateCredential, Created, Field, ManageError},
    secret::{
        hash::{HashCost, HashError, SecretHash, SecretHasher, Verdict},
        keyring::Keyring,
    },
    store::Stores,
    testing::ProbeStore,
};
use credential_store_memory::MemoryStore;

use crate::{
    Error,
    report::{progress, progress_of},
};

/// The scope of each credential, unless a function takes others.
pub const SCOPE: &str = "system/patients.read";
/// A path that this scope may GET.
pub const PATH: &str = "/api/2.0/patients/12345/";

/// A store in memory that counts its calls, and a node over it.
#[derive(Debug)]
pub struct Deployment {
    /// The store.
    pub store: ProbeStore<MemoryStore>,
    /// The keys of each node.
    pub keyring: Keyring,
    /// The node.
    pub node: Credentials,
    /// The hasher of each node, if it is not Argon2id.
    hasher: Option<Arc<NoHashing>>,
}

impl Deployment {
    /// A deployment that accepts every secret with a valid tag, for measurements without Argon2.
    ///
    /// # Errors
    /// The settings are out of bounds.
    pub fn without_hashing() -> Result<Self, Error> {
        let keyring = Keyring::generate(&OsEntropy);
        let hasher = Arc::new(NoHashing::new(&keyring)?);
        Ok(Self::with(keyring, Some(hasher))?)
    }

    /// A deployment with the default cost of hashing.
    ///
    /// # Errors
    /// Never with these settings.
    pub fn with_default_cost() -> Result<Self, Error> {
        Ok(Self::with(Keyring::generate(&OsEntropy), None)?)
    }

    fn with(keyring: Keyring, hasher: Option<Arc<NoHashing>>) -> Result<Self, BuildError> {
        let store = ProbeStore::new(MemoryStore::new());
        Ok(Self {
            node: node(&store, &keyring, hasher.clone()).build()?,
            store,
            keyring,
            hasher,
        })
    }

    /// The builder of another node over the same store.
    #[must_use]
    pub fn another_node(&self) -> CredentialsBuilder {
        node(&self.store, &self.keyring, self.hasher.clone())
    }

    /// Creates that many credentials with [`SCOPE`].
    ///
    /// # Errors
    /// The store refuses.
    pub async fn clients(&self, count: usize) -> Result<Vec<Client>, Error> {
        self.clients_named("key", count).await
    }

    /// As [`clients`](Self::clients), with names that begin so.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn clients_named(&self, name: &str, count: usize) -> Result<Vec<Client>, Error> {
        let mut clients = Vec::with_capacity(count);
        for n in 0..count {
            progress_of("credentials", n, count);
            clients.push(Client::create(&self.node, format!("{name} {n}"), &[SCOPE]).await?);
        }
        progress("");
        Ok(clients)
    }

    /// Issues that many tokens to each client, and verifies none.
    ///
    /// # Errors
    /// A client or a token is refused.
    pub async fn tokens(&self, clients: &[Client], each: usize) -> Result<Vec<String>, Error> {
        let mut tokens = Vec::with_capacity(clients.len() * each);
        for (n, client) in clients.iter().enumerate() {
            progress_of("tokens", n, clients.len());
            tokens.extend(client.tokens(&self.node, each, None).await?);
        }
        progress("");
        Ok(tokens)
    }

    /// As [`tokens`](Self::tokens), and verifies each, so that the node's caches are warm.
    ///
    /// # Errors
    /// A client or a token is refused.
    pub async fn seen_tokens(&self, clients: &[Client], each: usize) -> Result<Vec<String>, Error> {
        let tokens = self.tokens(clients, each).await?;
        for (n, token) in tokens.iter().enumerate() {
            progress_of("first looks", n, tokens.len());
            self.node.verify(token).await?;
        }
        progress("");
        Ok(tokens)
    }

    /// Ten scopes of that API type, separated by spaces.
    ///
    /// # Errors
    /// Never with the bundled catalogue.
    pub fn ten_scopes(&self) -> Result<String, Error> {
        let api_type = self.api_type()?;
        let names = scope_names(&api_type);
        Ok(names.get(..10).ok_or("there are fewer")?.join(" "))
    }

    /// The API type of every credential here.
    ///
    /// # Errors
    /// Never with the bundled catalogue.
    pub fn api_type(&self) -> Result<Arc<ApiType>, Error> {
        let found = self.node.catalog().api_type("apiv2");
        Ok(Arc::clone(found.ok_or("the catalogue lacks `apiv2`")?))
    }
}

fn node(
    store: &ProbeStore<MemoryStore>,
    keyring: &Keyring,
    hasher: Option<Arc<NoHashing>>,
) -> CredentialsBuilder {
    let builder = builder(store.clone(), keyring);
    match hasher {
        Some(hasher) => builder.hasher(hasher),
        None => builder,
    }
}

/// The builder of any node.
#[must_use]
pub fn builder(store: impl Into<Stores>, keyring: &Keyring) -> CredentialsBuilder {
    Credentials::builder(store)
        .catalog(ScopeCatalog::elation())
        .keyring(keyring.clone())
        .limit_per_tenant(u32::MAX)
}

/// A program with a credential.
#[derive(Debug)]
pub struct Client {
    /// The credential.
    pub id: CredentialId,
    /// Its client id.
    pub client_id: String,
    /// Its secret.
    pub secret: String,
}

impl Client {
    /// Creates a credential as the admin of [`admin`].
    ///
    /// # Errors
    /// The store refuses.
    pub async fn create(
        node: &Credentials,
        name: String,
        scopes: &[&str],
    ) -> Result<Self, ManageError> {
        Self::create_as(&admin(), node, name, scopes).await
    }

    /// Creates a credential as an admin.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn create_as(
        admin: &TenantAdmin,
        node: &Credentials,
        name: String,
        scopes: &[&str],
    ) -> Result<Self, ManageError> {
        let request = CreateCredential {
            name: name.into(),
            api_type: "apiv2".into(),
            scopes: Field::Value(scopes.iter().map(|&scope| scope.to_owned()).collect()),
            ..CreateCredential::default()
        };
        let Created {
            credential,
            client_secret,
        } = node.manage(admin).create(request).await?;
        Ok(Self {
            id: credential.identity.id,
            client_id: credential.identity.client_id.as_str().to_owned(),
            secret: client_secret.map_or_else(String::new, |it| it.expose_secret().to_owned()),
        })
    }

    /// Issues tokens on a node.
    ///
    /// # Errors
    /// The client or its scopes are refused.
    pub async fn tokens(
        &self,
        node: &Credentials,
        count: usize,
        scope: Option<&str>,
    ) -> Result<Vec<String>, Error> {
        let client = node.authenticate(&self.client_id, &self.secret).await?;
        let issue = |_| {
            let issued = node.issue(&client, scope)?;
            Ok(issued.access_token.expose_secret().to_owned())
        };
        (0..count).map(issue).collect()
    }

    /// The secret with its last character changed.
    #[must_use]
    pub fn forged_secret(&self) -> String {
        forge(&self.secret)
    }
}

/// Changes the last character of a secret, which is part of its tag.
#[must_use]
pub fn forge(secret: &str) -> String {
    let mut forged = secret.to_owned();
    if let Some(last) = forged.pop() {
        forged.push(if last == 'x' { 'y' } else { 'x' });
    }
    forged
}

/// The rest of a check, once the token is known: whether method and path are permitted.
#[inline]
#[must_use]
pub fn may_get(api_type: &ApiType, access: &Access, path: &str) -> bool {
    let requirement = api_type.requirement("GET", path, SearchForm::None);
    requirement.is_ok_and(|requirement| access.permits(&requirement))
}

/// The names of an API type's read and write scopes: 151 of `apiv2`.
#[must_use]
pub fn scope_names(api_type: &ApiType) -> Vec<&str> {
    let resources = api_type
        .scopes()
        .filter(|scope| scope.kind == ScopeKind::Resource);
    resources.map(|scope| scope.name.as_str()).collect()
}

/// An admin of one tenant.
///
/// # Panics
/// Never: the names are fixed and right.
#[must_use]
pub fn admin() -> TenantAdmin {
    admin_of("alder").expect("a right tenant id")
}

/// An admin of the tenant of that name.
///
/// # Errors
/// That is no tenant's name.
pub fn admin_of(tenant: &str) -> Result<TenantAdmin, Error> {
    let actor = Actor {
        id: "bench".parse()?,
        tenant: tenant.parse()?,
        role: Role::Admin,
    };
    Ok(actor.admin()?)
}

/// Shuffles, always in the same way.
pub fn shuffle<T>(things: &mut [T]) {
    // SplitMix64: nothing here needs better.
    let mut state = 7_u64;
    for last in (1..things.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let other = usize::try_from(mixed % (last as u64 + 1)).unwrap_or(0);
        things.swap(last, other);
    }
}

/// Hashes nothing and accepts every secret. Each hash is a different text, as a real one would be.
#[derive(Debug)]
struct NoHashing(SecretHash);

impl NoHashing {
    fn new(keyring: &Keyring) -> Result<Self, HashError> {
        let entropy = Arc::new(OsEntropy);
        let hasher = credential_core::secret::hash::Argon2Hasher::new(
            keyring.clone(),
            HashCost::cheap(),
            entropy,
        );
        Ok(Self(hasher.hash("")?))
    }
}

impl SecretHasher for NoHashing {
    fn hash(&self, _: &str) -> Result<SecretHash, HashError> {
        SecretHash::from_parts(self.0.phc(), self.0.key().clone())
    }

    fn verify(&self, _: &str, _: &SecretHash) -> Result<Verdict, HashError> {
        Ok(Verdict::Match { rehash: false })
    }
}
