//! [`Credentials`], the façade that a host holds.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use crate::{
    authorize::token_cache::TokenCache,
    catalog::{ApiType, ScopeCatalog},
    clock::Clock,
    entropy::Entropy,
    id::{ClientIdPrefix, Environment},
    issuer::Issuer,
    live::{LiveStates, shared},
    manage::RunningRetries,
    metrics,
    outbound::KeySets,
    refusal_delay::RefusalDelay,
    refusal_log::RefusalLog,
    secret::{
        keyring::{KeySigner, Keyring},
        used_keys::UsedKeys,
        verify::{Verifier, VerifierStats},
    },
    store::{CredentialStore, StoreError, Stores, TrailStore},
    store_work::StoreWork,
    tenant_share::Places,
    token::{TokenIds, TokenSealer},
};

/// Everything that a host asks of this library. Cheap to clone.
///
/// The use cases live beside their types: management in [`manage`](crate::manage), clients and
/// tokens in [`authenticate`](crate::authenticate), checks in [`authorize`](crate::authorize).
#[derive(Debug, Clone)]
pub struct Credentials(pub(crate) Arc<Parts>);

/// The parts of a [`Credentials`], made by its builder.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) stores: Stores,
    pub(crate) catalog: ScopeCatalog,
    pub(crate) keyring: Keyring,
    pub(crate) used_keys: UsedKeys,
    pub(crate) environment: Environment,
    pub(crate) self_service: bool,
    pub(crate) prefix: ClientIdPrefix,
    pub(crate) issuer: Issuer,
    /// By API type: those that do not follow from the issuer.
    pub(crate) base_urls: BTreeMap<String, Issuer>,
    pub(crate) limit: u32,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) max_staleness: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) verifier: Verifier,
    pub(crate) sealer: TokenSealer,
    pub(crate) token_ids: TokenIds,
    pub(crate) key_sets: KeySets,
    pub(crate) strangers: Arc<Places<Option<IpAddr>>>,
    pub(crate) states: LiveStates,
    pub(crate) tokens: TokenCache,
    pub(crate) refusals: RefusalLog,
    pub(crate) refusal_delay: RefusalDelay,
    pub(crate) store_work: StoreWork,
    pub(crate) running_retries: RunningRetries,
}

impl Credentials {
    pub(crate) fn of(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Catches up with the change log now, for programs that do not [`start`](Self::start), and for
    /// tests. A readiness probe asks
    /// [`freshness_age`](Self::freshness_age) instead, which costs the store nothing.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        self.0.states.catch_up().await.map(|_| ()).map_err(shared)
    }

    /// How long ago the latest complete catch-up began; `None`: there was none yet.
    #[must_use]
    pub fn freshness_age(&self) -> Option<Duration> {
        self.0.states.age()
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
        self.0.verifier.stats()
    }

    /// Brings the metrics that are read on demand up to date; see
    /// [`metrics`](crate::metrics).
    pub fn report_metrics(&self) {
        metrics::report(
            &self.verifier_stats(),
            self.0.store_work.refused(),
            self.freshness_age(),
        );
    }

    /// The scopes and API types on offer.
    #[must_use]
    pub fn catalog(&self) -> &ScopeCatalog {
        &self.0.catalog
    }

    /// Whether key sets may be registered by URL: there is a [`Fetch`](crate::outbound::Fetch).
    #[must_use]
    pub fn may_fetch(&self) -> bool {
        self.0.key_sets.may_fetch()
    }

    /// The environment of this deployment.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.0.environment
    }

    /// Whether admins may create and change credentials here. They may always revoke.
    #[must_use]
    pub fn self_service(&self) -> bool {
        self.0.self_service
    }

    /// How many credentials that are not revoked a tenant may have.
    #[must_use]
    pub fn limit_per_tenant(&self) -> u32 {
        self.0.limit
    }

    /// The longest life of a credential; `None`: it may live for ever.
    #[must_use]
    pub fn max_lifetime(&self) -> Option<Duration> {
        self.0.max_lifetime
    }

    /// The public base URL (RFC 8414 `issuer`), byte for byte as the host gave it: perhaps with a slash at
    /// the end.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.issuer.as_str()
    }

    /// The public base URL of one API, without a slash at the end: `resource` of RFC 8707 and RFC 9728, and
    /// the audience of its tokens.
    #[must_use]
    pub fn base_url(&self, api_type: &ApiType) -> String {
        match self.0.base_urls.get(api_type.id().as_str()) {
            Some(url) => url.base().to_owned(),
            None => format!("{}{}", self.0.issuer.base(), api_type.base_path()),
        }
    }

    /// The clock that is used for everything here.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(crate) fn store(&self) -> &dyn CredentialStore {
        &*self.0.stores.credentials
    }

    pub(crate) fn trail(&self) -> Option<&dyn TrailStore> {
        self.0.stores.trail.as_deref()
    }

    /// To be awaited before anything is signed.
    pub(crate) async fn before_signing(&self) -> Result<(), StoreError> {
        let used = &self.0.used_keys;
        used.before_signing(
            self.0.states.histories_lost(),
            &self.0.keyring,
            self.store(),
            self.clock(),
        )
        .await
    }

    /// What signs audit rows.
    pub(crate) async fn signer(&self) -> Result<KeySigner, StoreError> {
        self.before_signing().await?;
        Ok(KeySigner::new(&self.0.keyring, self.0.used_keys.names()))
    }
}
