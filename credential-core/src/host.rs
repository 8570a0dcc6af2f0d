//! [`Credentials`], the façade that a host holds, and its builder.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    authorize::{
        freshness::{LARGEST_MAX_STALENESS, States, shared},
        token_cache::TokenCache,
    },
    brake::Brake,
    catalog::ScopeCatalog,
    clock::{Clock, SystemClock},
    entropy::{Entropy, OsEntropy},
    id::{ClientIdPrefix, Environment},
    issuer::{Issuer, IssuerError},
    refusals::RefusalLog,
    secret::{
        hash::{Argon2Hasher, HashCost, SecretHasher},
        keyring::Keyring,
        used_keys::UsedKeys,
        verify::{Verifier, VerifierConfig, VerifierStats},
    },
    store::{CredentialStore, NodeId, StoreError},
    store_work::StoreWork,
    telemetry,
    token::{TokenIds, TokenSealer},
};

/// Who issues tokens in a sandbox that was not told.
const SANDBOX_ISSUER: &str = "http://localhost";
/// How often a node asks what changed when nothing wakes it.
const CATCH_UP_EVERY: Duration = Duration::from_millis(250);
/// The shortest time from one catch-up to the next that only a wake-up asks for: a store that wakes
/// without end costs so many round trips and no more.
const WOKEN_AFTER: Duration = Duration::from_millis(5);
/// How often last uses are written, so that an admin sees them within ten seconds.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// The longest pause between attempts while the store does not answer.
const CATCH_UP_BACKOFF: Duration = Duration::from_secs(2);

/// Everything that a host asks of this library. Cheap to clone.
///
/// The use cases live beside their types: management in [`manage`](crate::manage), clients and
/// tokens in [`authenticate`](crate::authenticate), checks in [`authorize`](crate::authorize).
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn CredentialStore>,
    catalog: ScopeCatalog,
    keyring: Keyring,
    used_keys: UsedKeys,
    environment: Environment,
    self_service: bool,
    prefix: ClientIdPrefix,
    issuer: Issuer,
    limit: u32,
    max_staleness: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    verifier: Verifier,
    sealer: TokenSealer,
    token_ids: TokenIds,
    states: States,
    tokens: TokenCache,
    refusals: RefusalLog,
    brake: Brake,
    store_work: StoreWork,
}

impl Credentials {
    /// Starts with a store; everything else has a default or is asked for at
    /// [`build`](CredentialsBuilder::build).
    #[must_use]
    pub fn builder(store: impl CredentialStore) -> CredentialsBuilder {
        CredentialsBuilder::new(Arc::new(store))
    }

    /// Compares the keyring with the store's check values, catches up once, and keeps catching
    /// up in a task until [`Running::shutdown`]. Warns in the log of keys that the store has been
    /// used with and the keyring lacks.
    ///
    /// Without it checks have to ask the store themselves once a second: right, only slower.
    ///
    /// # Errors
    /// `KeyMismatch` if another node uses other bytes under one of the keyring's names;
    /// `IssuerMismatch` if a node that is alive has another issuer;
    /// `Backend` if the store does not answer.
    pub async fn start(&self) -> Result<Running, StoreError> {
        self.check_keys().await?;
        self.states().catch_up().await.map_err(shared)?;
        let api_types = self.catalog().api_types();
        tracing::info!(
            environment = %self.environment(),
            issuer = self.issuer(),
            api_types = ?api_types.iter().map(|it| it.id().as_str()).collect::<Vec<_>>(),
            keys = ?self.keyring().keys().map(|it| it.name().as_str()).collect::<Vec<_>>(),
            "credentials are served"
        );
        let (stop, stopped) = watch::channel(());
        let tasks = [
            tokio::spawn(keep_up(self.clone(), stopped.clone())),
            tokio::spawn(flush_uses(self.clone(), stopped)),
        ];
        Ok(Running { stop, tasks })
    }

    /// Learns now of all that changed, in place of with the next catch-up: for programs that do not
    /// [`start`](Self::start), and for tests. A readiness probe asks
    /// [`freshness_age`](Self::freshness_age) instead, which costs the store nothing.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        self.states().catch_up().await.map(|_| ()).map_err(shared)
    }

    /// How long ago the latest complete catch-up began; `None`: there was none yet.
    #[must_use]
    pub fn freshness_age(&self) -> Option<Duration> {
        self.states().age()
    }

    /// How long this node may answer from its cache after its last proof that it is fresh; zero: not
    /// at all.
    #[must_use]
    pub fn max_staleness(&self) -> Duration {
        self.0.max_staleness
    }

    /// Counters of secret checks since the start.
    #[must_use]
    pub fn verifier_stats(&self) -> VerifierStats {
        self.verifier().stats()
    }

    /// Brings the metrics that are read on demand up to date; see
    /// [`telemetry`].
    pub fn report_metrics(&self) {
        telemetry::report(
            &self.verifier_stats(),
            self.store_work().refused(),
            self.freshness_age(),
        );
    }

    /// The scopes and API types on offer.
    #[must_use]
    pub fn catalog(&self) -> &ScopeCatalog {
        &self.0.catalog
    }

    /// Where this deployment works.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.0.environment
    }

    /// Whether admins may create and change credentials here. They may always revoke.
    #[must_use]
    pub fn self_service(&self) -> bool {
        self.0.self_service
    }

    /// The public base URL (RFC 8414 `issuer`), without a trailing slash.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.issuer.as_str()
    }

    /// The clock that everything here goes by.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(crate) fn store(&self) -> &dyn CredentialStore {
        &*self.0.store
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }

    pub(crate) fn used_keys(&self) -> &UsedKeys {
        &self.0.used_keys
    }

    pub(crate) fn prefix(&self) -> &ClientIdPrefix {
        &self.0.prefix
    }

    pub(crate) fn limit(&self) -> u32 {
        self.0.limit
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.0.entropy
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    pub(crate) fn sealer(&self) -> &TokenSealer {
        &self.0.sealer
    }

    pub(crate) fn token_ids(&self) -> &TokenIds {
        &self.0.token_ids
    }

    pub(crate) fn states(&self) -> &States {
        &self.0.states
    }

    pub(crate) fn tokens(&self) -> &TokenCache {
        &self.0.tokens
    }

    pub(crate) fn refusals(&self) -> &RefusalLog {
        &self.0.refusals
    }

    pub(crate) fn store_work(&self) -> &StoreWork {
        &self.0.store_work
    }

    pub(crate) fn brake(&self) -> &Brake {
        &self.0.brake
    }
}

/// The background work of a started [`Credentials`]. Dropping it stops the work as well.
#[derive(Debug)]
#[must_use = "dropping it stops the catch-up, and checks then have to ask the store themselves"]
pub struct Running {
    stop: watch::Sender<()>,
    tasks: [JoinHandle<()>; 2],
}

impl Running {
    /// Stops the background work, after a last write of what was used, and waits for its end.
    pub async fn shutdown(self) {
        drop(self.stop);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a background task ended badly");
            }
        }
    }
}

/// Writes last uses every [`FLUSH_EVERY`], and once more at the end.
async fn flush_uses(credentials: Credentials, mut stopped: watch::Receiver<()>) {
    loop {
        let stop = tokio::select! {
            biased;
            _ = stopped.changed() => true,
            () = tokio::time::sleep(FLUSH_EVERY) => false,
        };
        let flushed = credentials.states().flush_uses().await;
        telemetry::uses_flushed(flushed.is_ok(), *flushed.as_ref().unwrap_or(&0));
        if let Err(error) = flushed {
            // What was noted stays noted, so nothing is lost but time.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not write last uses"
            );
        }
        if stop {
            return;
        }
    }
}

/// Catches up every [`CATCH_UP_EVERY`], and at once when the store says so.
async fn keep_up(credentials: Credentials, mut stopped: watch::Receiver<()>) {
    let states = credentials.states();
    let mut pause = CATCH_UP_EVERY;
    loop {
        let woken = async {
            let rested = tokio::time::sleep(WOKEN_AFTER);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = credentials.store().wake_up(), if pause == CATCH_UP_EVERY => {}
            }
            rested.await;
        };
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = woken => {}
        }
        match states.catch_up().await {
            Ok(_) => {
                if pause != CATCH_UP_EVERY {
                    tracing::info!("the store answers again");
                }
                pause = CATCH_UP_EVERY;
            }
            Err(error) => {
                if pause == CATCH_UP_EVERY {
                    tracing::warn!(
                        error = &*error as &dyn std::error::Error,
                        "the store does not answer: checks fail once nothing can be proven"
                    );
                }
                pause = (pause * 2).min(CATCH_UP_BACKOFF);
            }
        }
    }
}

/// Collects what a [`Credentials`] is made of.
#[derive(Debug)]
pub struct CredentialsBuilder {
    store: Arc<dyn CredentialStore>,
    catalog: Option<ScopeCatalog>,
    keyring: Option<Keyring>,
    environment: Environment,
    self_service: Option<bool>,
    prefix: ClientIdPrefix,
    issuer: Option<String>,
    limit: u32,
    max_staleness: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    cost: HashCost,
    hasher: Option<Arc<dyn SecretHasher>>,
    verifier: VerifierConfig,
    credential_cache: usize,
    token_cache: usize,
}

impl CredentialsBuilder {
    /// As [`Credentials::builder`], for a store that is only known at run time.
    #[must_use]
    pub fn new(store: Arc<dyn CredentialStore>) -> Self {
        Self {
            store,
            catalog: None,
            keyring: None,
            environment: Environment::Sandbox,
            self_service: None,
            prefix: ClientIdPrefix::default(),
            issuer: None,
            limit: 100,
            max_staleness: Duration::from_secs(1),
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

    /// What client ids and secrets begin with; by default `cred`.
    #[must_use]
    pub fn prefix(mut self, prefix: ClientIdPrefix) -> Self {
        self.prefix = prefix;
        self
    }

    /// The public base URL (RFC 8414 `issuer`), as an [`Issuer`] is written.
    /// Tokens are bound to it: nodes behind one address share one issuer. A trailing slash is
    /// dropped. Required in production; in the sandbox `http://localhost` by default.
    #[must_use]
    pub fn issuer(mut self, url: &str) -> Self {
        self.issuer = Some(url.to_owned());
        self
    }

    /// How many credentials that are not revoked a tenant may have; by default 100.
    #[must_use]
    pub fn limit_per_tenant(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// How long this node may answer from its cache after its last proof that it is fresh: zero
    /// (every check asks the store) or 500 ms to 60 s; by default 1 s.
    #[must_use]
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = bound;
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

    /// How many credentials' states are cached; by default 100 000, of about 1 KiB each.
    #[must_use]
    pub fn credential_cache(mut self, entries: usize) -> Self {
        self.credential_cache = entries;
        self
    }

    /// How many opened tokens are cached; by default 200 000, of about 300 bytes each. Beyond that,
    /// those that end soonest give way; twice as many is the most that there ever are.
    #[must_use]
    pub fn token_cache(mut self, entries: usize) -> Self {
        self.token_cache = entries;
        self
    }

    /// Puts it together. Does no I/O.
    ///
    /// # Errors
    /// [`BuildError`] names what is missing or out of bounds.
    pub fn build(self) -> Result<Credentials, BuildError> {
        let catalog = self.catalog.ok_or(BuildError::NoCatalog)?;
        let keyring = self.keyring.ok_or(BuildError::NoKeyring)?;
        let issuer: Issuer = match self.issuer {
            Some(url) => url.parse()?,
            None if self.environment == Environment::Sandbox => SANDBOX_ISSUER.parse()?,
            None => return Err(BuildError::NoIssuer),
        };
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
        let hasher = Arc::new(telemetry::Timed {
            hasher,
            clock: Arc::clone(&self.clock),
        });
        let mut node = [0; 16];
        self.entropy.fill(&mut node);
        Ok(Credentials(Arc::new(Inner {
            verifier: Verifier::new(hasher, self.verifier, &*self.entropy),
            sealer: TokenSealer::new(keyring.clone(), issuer.as_str(), self.environment),
            token_ids: TokenIds::new(&*self.entropy),
            states: States::new(
                Arc::clone(&self.store),
                catalog.clone(),
                Arc::clone(&self.clock),
                NodeId(node),
                issuer.as_str().into(),
                self.max_staleness,
                self.credential_cache,
            ),
            tokens: TokenCache::new(self.token_cache, &*self.entropy),
            refusals: RefusalLog::new(Arc::clone(&self.clock)),
            store_work: StoreWork::new(self.verifier.workers),
            brake: Brake::new(Arc::clone(&self.clock)),
            self_service: self
                .self_service
                .unwrap_or(self.environment == Environment::Sandbox),
            store: self.store,
            environment: self.environment,
            prefix: self.prefix,
            issuer,
            limit: self.limit,
            max_staleness: self.max_staleness,
            clock: self.clock,
            entropy: self.entropy,
            catalog,
            keyring,
            used_keys: UsedKeys::default(),
        })))
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
    /// The issuer is not one.
    #[error("the issuer cannot be used: {0}")]
    Issuer(#[from] IssuerError),
    /// Out of bounds.
    #[error("max_staleness is {0:?}; it must be zero, or from 500 ms to 60 s")]
    MaxStaleness(Duration),
}
