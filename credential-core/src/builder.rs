//! The builder of [`Credentials`], and its checks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    Credentials,
    assertion::STRANGERS,
    authorize::token_cache::TokenCache,
    catalog::ScopeCatalog,
    clock::{Clock, SystemClock},
    credentials::Parts,
    entropy::{Entropy, OsEntropy},
    id::{ClientIdPrefix, Environment},
    issuer::{Issuer, IssuerError},
    live::{LARGEST_MAX_STALENESS, LiveStates},
    manage::RunningRetries,
    metrics,
    outbound::{Fetch, KeySets},
    refusal_delay::RefusalDelay,
    refusal_log::RefusalLog,
    secret::{
        hash::{Argon2Hasher, HashCost, SecretHasher},
        keyring::Keyring,
        used_keys::UsedKeys,
        verify::{Verifier, VerifierConfig},
    },
    store::{NodeId, Stores},
    store_work::StoreWork,
    tenant_share::Places,
    token::{TokenIds, TokenSealer},
};

/// The issuer of a sandbox for which none was set.
const SANDBOX_ISSUER: &str = "http://localhost";

impl Credentials {
    /// Starts a builder with the stores. Everything else has a default or is checked at
    /// [`build`](CredentialsBuilder::build).
    #[must_use]
    pub fn builder(stores: impl Into<Stores>) -> CredentialsBuilder {
        CredentialsBuilder::new(stores.into())
    }
}

/// Builds a [`Credentials`].
#[derive(Debug)]
pub struct CredentialsBuilder {
    stores: Stores,
    catalog: Option<ScopeCatalog>,
    keyring: Option<Keyring>,
    environment: Environment,
    self_service: Option<bool>,
    prefix: ClientIdPrefix,
    issuer: Option<String>,
    base_urls: BTreeMap<String, String>,
    limit: u32,
    max_lifetime: Option<Duration>,
    max_staleness: Duration,
    fetch: Option<Arc<dyn Fetch>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    cost: HashCost,
    hasher: Option<Arc<dyn SecretHasher>>,
    verifier: VerifierConfig,
    credential_cache: usize,
    token_cache: usize,
}

impl CredentialsBuilder {
    pub(crate) fn new(stores: Stores) -> Self {
        Self {
            stores,
            catalog: None,
            keyring: None,
            environment: Environment::Sandbox,
            self_service: None,
            prefix: ClientIdPrefix::default(),
            issuer: None,
            base_urls: BTreeMap::new(),
            limit: 100,
            max_lifetime: None,
            max_staleness: Duration::from_secs(1),
            fetch: None,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            cost: HashCost::default(),
            hasher: None,
            verifier: VerifierConfig::default(),
            credential_cache: 100_000,
            token_cache: 200_000,
        }
    }

    /// The API types and scopes on offer. Required.
    #[must_use]
    pub fn catalog(mut self, catalog: ScopeCatalog) -> Self {
        self.catalog = Some(catalog);
        self
    }

    /// The root keys, the same on every node. Required.
    #[must_use]
    pub fn keyring(mut self, keyring: Keyring) -> Self {
        self.keyring = Some(keyring);
        self
    }

    /// Sandbox unless said otherwise.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Whether admins may create and change credentials; by default in the sandbox only. They may
    /// always revoke.
    #[must_use]
    pub fn self_service(mut self, on: bool) -> Self {
        self.self_service = Some(on);
        self
    }

    /// The prefix of client ids and secrets; by default `cred`.
    #[must_use]
    pub fn prefix(mut self, prefix: ClientIdPrefix) -> Self {
        self.prefix = prefix;
        self
    }

    /// The public base URL (RFC 8414 `issuer`), as an [`Issuer`] is written.
    /// Tokens are bound to it: nodes behind one address share one issuer. It is published byte for byte;
    /// a slash at the end counts for nothing else.
    /// Required in production; in the sandbox `http://localhost` by default.
    #[must_use]
    pub fn issuer(mut self, url: &str) -> Self {
        self.issuer = Some(url.to_owned());
        self
    }

    /// The public base URL of one API type, written as an [`Issuer`] is. By default the issuer, followed by
    /// the API type's base path. It is what clients name as `resource` (RFC 8707), and the `aud` of
    /// introspection; the API's metadata (RFC 9728) is below its host.
    #[must_use]
    pub fn base_url(mut self, api_type: &str, url: &str) -> Self {
        self.base_urls.insert(api_type.to_owned(), url.to_owned());
        self
    }

    /// How many credentials that are not revoked a tenant may have; by default 100.
    #[must_use]
    pub fn limit_per_tenant(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// The longest life of a credential, counted from its creation and from each edit of its expiry. By
    /// default there is none, and a credential may live for ever. Credentials that exist keep their end.
    #[must_use]
    pub fn max_lifetime(mut self, longest: Duration) -> Self {
        self.max_lifetime = Some(longest);
        self
    }

    /// How long this node may answer from its cache after its last proof that it is fresh: zero
    /// (every check asks the store) or 500 ms to 60 s; by default 1 s.
    #[must_use]
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = bound;
        self
    }

    /// Lets key sets be fetched by URL, and by the issuer of a trusted workload, and with what. Without it
    /// nothing that would have to be fetched can be registered, and nothing is fetched.
    #[must_use]
    pub fn fetch(mut self, fetch: Arc<dyn Fetch>) -> Self {
        self.fetch = Some(fetch);
        self
    }

    /// Another clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of randomness, for tests.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// The Argon2id parameters; by default OWASP's 19 456 KiB, t=2, p=1. Secrets hashed with
    /// others are hashed anew on their next success.
    #[must_use]
    pub fn hash_cost(mut self, cost: HashCost) -> Self {
        self.cost = cost;
        self
    }

    /// Another way to hash secrets in place of Argon2id, such as one that counts in tests.
    #[must_use]
    pub fn hasher(mut self, hasher: Arc<dyn SecretHasher>) -> Self {
        self.hasher = Some(hasher);
        self
    }

    /// How many hashes run and wait, and how many verified secrets are remembered.
    #[must_use]
    pub fn verifier(mut self, config: VerifierConfig) -> Self {
        self.verifier = config;
        self
    }

    /// How many credentials' states are cached; by default 100 000, of about 1 KiB each, counters of calls
    /// included.
    #[must_use]
    pub fn credential_cache(mut self, entries: usize) -> Self {
        self.credential_cache = entries;
        self
    }

    /// How many opened tokens are cached; by default 200 000, of about 300 bytes each. Beyond that,
    /// the tokens that end soonest are evicted. There are never more than twice as many.
    #[must_use]
    pub fn token_cache(mut self, entries: usize) -> Self {
        self.token_cache = entries;
        self
    }

    /// Builds. Does no I/O.
    ///
    /// # Errors
    /// [`BuildError`] names the part that is missing or out of bounds.
    pub fn build(self) -> Result<Credentials, BuildError> {
        let catalog = self.catalog.ok_or(BuildError::NoCatalog)?;
        let keyring = self.keyring.ok_or(BuildError::NoKeyring)?;
        let issuer: Issuer = match self.issuer {
            Some(url) => url.parse()?,
            None if self.environment == Environment::Sandbox => SANDBOX_ISSUER.parse()?,
            None => return Err(BuildError::NoIssuer),
        };
        let mut base_urls = BTreeMap::new();
        for (api_type, url) in self.base_urls {
            if catalog.api_type(&api_type).is_none() {
                return Err(BuildError::NoSuchApiType(api_type));
            }
            match url.parse() {
                Ok(url) => base_urls.insert(api_type, url),
                Err(fault) => return Err(BuildError::BaseUrl { api_type, fault }),
            };
        }
        let bounds = Duration::from_millis(500)..=LARGEST_MAX_STALENESS;
        if !self.max_staleness.is_zero() && !bounds.contains(&self.max_staleness) {
            return Err(BuildError::MaxStaleness(self.max_staleness));
        }
        let hasher = self.hasher.unwrap_or_else(|| {
            Arc::new(Argon2Hasher::new(
                keyring.clone(),
                self.cost,
                Arc::clone(&self.entropy),
            ))
        });
        let hasher = Arc::new(metrics::Timed {
            hasher,
            clock: Arc::clone(&self.clock),
        });
        let mut node = [0; 16];
        self.entropy.fill(&mut node);
        Ok(Credentials::of(Parts {
            verifier: Verifier::new(hasher, self.verifier, &*self.entropy),
            sealer: TokenSealer::new(keyring.clone(), issuer.base(), self.environment),
            token_ids: TokenIds::new(&*self.entropy),
            strangers: Places::new(STRANGERS),
            key_sets: KeySets::new(self.fetch, Arc::clone(&self.clock)),
            states: LiveStates::new(
                self.stores.clone(),
                catalog.clone(),
                Arc::clone(&self.clock),
                NodeId(node),
                issuer.base().into(),
                self.max_staleness,
                self.credential_cache,
            ),
            tokens: TokenCache::new(self.token_cache, &*self.entropy),
            refusals: RefusalLog::new(Arc::clone(&self.clock)),
            running_retries: RunningRetries::default(),
            store_work: StoreWork::new(self.verifier.workers, Arc::clone(&self.clock)),
            refusal_delay: RefusalDelay::new(Arc::clone(&self.clock)),
            self_service: self
                .self_service
                .unwrap_or(self.environment == Environment::Sandbox),
            stores: self.stores,
            environment: self.environment,
            prefix: self.prefix,
            issuer,
            base_urls,
            limit: self.limit,
            max_lifetime: self.max_lifetime,
            max_staleness: self.max_staleness,
            clock: self.clock,
            entropy: self.entropy,
            catalog,
            keyring,
            used_keys: UsedKeys::default(),
        }))
    }
}

/// Why a [`CredentialsBuilder`] does not build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// No catalogue was given.
    #[error("no scope catalogue: call `catalog`")]
    NoCatalog,
    /// No keyring was given.
    #[error("no keyring: call `keyring`")]
    NoKeyring,
    /// No issuer was given, in production.
    #[error("no issuer: call `issuer` with the public base URL, which tokens are bound to")]
    NoIssuer,
    /// The issuer is invalid.
    #[error("the issuer cannot be used: {0}")]
    Issuer(#[from] IssuerError),
    /// A base URL was given for an API type that the catalogue does not have.
    #[error("the catalogue has no API type `{0}`, for which a base URL was given")]
    NoSuchApiType(String),
    /// The base URL of an API type is invalid.
    #[error("the base URL of the API type `{api_type}` cannot be used: {fault}")]
    BaseUrl {
        /// The API type.
        api_type: String,
        /// What is wrong with the URL.
        fault: IssuerError,
    },
    /// Out of bounds.
    #[error("max_staleness is {0:?}; it must be zero, or from 500 ms to 60 s")]
    MaxStaleness(Duration),
}
