//! Documents that are fetched from other servers: key sets, and what tells where an issuer's keys are.
//!
//! This crate makes no request itself. A host that allows them gives a [`Fetch`] to the
//! [builder](crate::CredentialsBuilder::fetch); without one, nothing that needs one can be registered.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use quick_cache::sync::Cache;
use tokio::time::timeout;
use url::Url;

use crate::{
    clock::{Clock, Monotonic},
    credential::KeySetUrl,
    flight::{Flights, Seat},
    id::TenantId,
    jose::{PublicKey, usable_keys},
    log_limit::LogLimit,
    tenant_share::{Limits, Permit, Place, Places, Refused},
};

/// The largest document, in bytes.
pub const MAX_DOCUMENT: usize = 64 * 1024;
/// How long a document may take, from the look-up of the host's name to the last byte.
pub const FETCH_WITHIN: Duration = Duration::from_secs(3);

/// How far apart two fetches of one key set lie at least, failed ones included.
const FETCH_PAUSE: Duration = Duration::from_secs(60);
/// How long a key set is used if its server does not say.
const DEFAULT_AGE: Duration = Duration::from_secs(5 * 60);
/// The longest that one is used, whatever its server says.
const LONGEST_AGE: Duration = Duration::from_secs(24 * 3600);
/// The most keys of a fetched set that are used.
const MAX_FETCHED_KEYS: usize = 30;
/// How many key sets are remembered.
const REMEMBERED: usize = 4_096;
/// Fetches that run at the same time. One tenant's slow servers leave room for other tenants.
const FETCHES: Limits = Limits {
    at_once: 8,
    each: 2,
    waiting: 64,
    typical: Duration::from_millis(200),
};

/// Fetches documents of JSON from the public Internet.
#[async_trait]
pub trait Fetch: Debug + Send + Sync + 'static {
    /// The document at an https URL that an admin entered, so it may lead anywhere. An implementation
    ///
    /// - asks [`is_public`](crate::credential::is_public) of the address that it is about to connect to, not of an
    ///   earlier look-up;
    /// - follows no redirect, and takes only a 200 whose `Content-Type` is JSON;
    /// - reads at most [`MAX_DOCUMENT`], and gives up after [`FETCH_WITHIN`];
    /// - sends nothing that tells who asks: no cookie, no credentials.
    ///
    /// # Errors
    /// Why there is no document, for the log.
    async fn fetch(&self, url: &str) -> Result<Document, FetchError>;
}

/// A document that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its bytes.
    pub body: Vec<u8>,
    /// How long it may be used (`Cache-Control`); `None` if the server does not say.
    pub max_age: Option<Duration>,
}

/// Why a document could not be had. Never holds what a server sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(pub Box<dyn std::error::Error + Send + Sync>);

impl FetchError {
    fn because(why: &'static str) -> Self {
        Self(why.into())
    }
}

/// Whose keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum KeySource {
    /// A JWK Set.
    Set(KeySetUrl),
    /// The JWK Set that an issuer's discovery document names (`OpenID` Connect Discovery §4).
    Issuer(Box<str>),
}

/// Why there are no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoKeys {
    /// None can be had from there now.
    Unavailable,
    /// Too many fetches of the tenant run and wait: no verdict.
    Crowded { retry_after: Duration },
}

/// The key sets that were fetched, each no longer than it may be used.
#[derive(Debug)]
pub(crate) struct KeySets {
    fetch: Option<Arc<dyn Fetch>>,
    clock: Arc<dyn Clock>,
    sets: Cache<KeySource, Arc<KeySet>>,
    places: Arc<Places<TenantId>>,
    /// The fetches that run, whichever tenants' they are.
    fetching: Arc<Flights<KeySource, ()>>,
}

#[derive(Debug, Default)]
struct KeySet(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    keys: Arc<[PublicKey]>,
    /// Until when the keys may be used.
    fresh_until: Option<Monotonic>,
    /// From when another fetch may run.
    next_fetch: Option<Monotonic>,
}

static FAILED: LogLimit = LogLimit::new();

impl KeySets {
    pub(crate) fn new(fetch: Option<Arc<dyn Fetch>>, clock: Arc<dyn Clock>) -> Self {
        Self {
            fetch,
            clock,
            sets: Cache::new(REMEMBERED),
            places: Places::new(FETCHES),
            fetching: Arc::default(),
        }
    }

    /// Whether anything is fetched at all.
    pub(crate) fn may_fetch(&self) -> bool {
        self.fetch.is_some()
    }

    /// The keys from there. Fetched for that tenant if they are not known, no longer usable, or none of
    /// them is `wanted`; but at most once a minute.
    ///
    /// # Errors
    /// If there are none now, or it cannot be known.
    pub(crate) async fn get(
        &self,
        tenant: &TenantId,
        source: &KeySource,
        wanted: impl Fn(&PublicKey) -> bool,
    ) -> Result<Arc<[PublicKey]>, NoKeys> {
        let fetch = self.fetch.as_ref().ok_or(NoKeys::Unavailable)?;
        let set = self
            .sets
            .get_or_insert_with(source, || Ok::<_, NoKeys>(Arc::default()))?;
        let now = self.clock.monotonic();
        if let Some(known) = set.known(now, &wanted) {
            if set.ends_soon(now)
                && let Ok(Place::Given(place)) = Places::enter(&self.places, tenant)
            {
                // Nobody waits for it: a server that fails for a moment leaves time for another fetch.
                let done = |now| (!set.ends_soon(now)).then_some(());
                _ = self.begin(fetch, source, &set, place, done);
            }
            return known;
        }
        let running = if let Some(running) = self.fetching.join(source) {
            running
        } else {
            // First, so that nobody waits for a fetch that waits for another tenant's place.
            let crowded = |Refused { retry_after }| NoKeys::Crowded { retry_after };
            let place = Places::enter(&self.places, tenant).map_err(crowded)?;
            let place = place.permit_within(FETCH_WITHIN).await.map_err(crowded)?;
            let done = |now| set.known(now, &wanted);
            match self.begin(fetch, source, &set, place, done) {
                Ok(begun) => begun,
                Err(known) => return known,
            }
        };
        running.landed().await.ok_or(NoKeys::Unavailable)?;
        let known = set.known(self.clock.monotonic(), |_| true);
        known.ok_or(NoKeys::Unavailable)?
    }

    /// A fetch, or the one that runs already. It goes on if all who wait for it hang up: otherwise the next one
    /// would begin another.
    ///
    /// # Errors
    /// With what `done` gives: then another has ended since the caller looked.
    fn begin<E>(
        &self,
        fetch: &Arc<dyn Fetch>,
        source: &KeySource,
        set: &Arc<KeySet>,
        place: Permit<TenantId>,
        done: impl FnOnce(Monotonic) -> Option<E>,
    ) -> Result<Seat<()>, E> {
        let (fetch, set) = (Arc::clone(fetch), Arc::clone(set));
        let clock = Arc::clone(&self.clock);
        let began = clock.monotonic();
        let prepare = || done(began).map_or(Ok(((), place)), Err);
        Flights::board(
            &self.fetching,
            source.clone(),
            prepare,
            |flight, place| async move {
                // A discovery document and its set together: whose place this is, others wait for it.
                let found = timeout(FETCH_WITHIN, keys_of(&*fetch, flight.key())).await;
                let found = found.unwrap_or_else(|_| Err(FetchError::because("it took too long")));
                let found = found.map_err(|error| log(flight.key(), &error));
                set.record(found.ok(), began);
                drop(place);
                flight.land(());
            },
        )
    }
}

impl KeySet {
    /// The answer without a fetch; `None`: there must be one.
    fn known(
        &self,
        now: Monotonic,
        wanted: impl Fn(&PublicKey) -> bool,
    ) -> Option<Result<Arc<[PublicKey]>, NoKeys>> {
        let state = lock(&self.0);
        let fresh = state.fresh_until.is_some_and(|until| now < until);
        let paused = state.next_fetch.is_some_and(|at| now < at);
        if fresh && (paused || state.keys.iter().any(wanted)) {
            return Some(Ok(Arc::clone(&state.keys)));
        }
        paused.then_some(Err(NoKeys::Unavailable))
    }

    /// Whether to fetch it before it may not be used any more.
    fn ends_soon(&self, now: Monotonic) -> bool {
        let state = lock(&self.0);
        let soon = now.saturating_add(FETCH_PAUSE);
        state.fresh_until.is_some_and(|until| until <= soon)
            && state.next_fetch.is_none_or(|at| at <= now)
    }

    /// What a fetch found that began at that time. Ages count from there: the answer may have been made then.
    fn record(&self, found: Option<(Vec<PublicKey>, Duration)>, began: Monotonic) {
        let mut state = lock(&self.0);
        state.next_fetch = Some(began.saturating_add(FETCH_PAUSE));
        // Otherwise what is known stays until its time is over.
        if let Some((keys, age)) = found {
            state.keys = keys.into();
            state.fresh_until = Some(began.saturating_add(age));
        }
    }
}

/// The rest of a URL may be meant for few eyes.
fn log(source: &KeySource, error: &FetchError) {
    let url = match source {
        KeySource::Set(url) => url.as_str(),
        KeySource::Issuer(issuer) => issuer,
    };
    if let Some(unlogged) = FAILED.is_due() {
        let url = Url::parse(url).ok();
        let host = url.as_ref().and_then(Url::host_str);
        tracing::warn!(%error, host, unlogged, "a key set could not be fetched");
    }
}

/// The usable keys, and for how long.
async fn keys_of(
    fetch: &dyn Fetch,
    source: &KeySource,
) -> Result<(Vec<PublicKey>, Duration), FetchError> {
    let document = match source {
        KeySource::Set(url) => get(fetch, url.as_str()).await?,
        KeySource::Issuer(issuer) => {
            let issuer = &**issuer;
            let path = "/.well-known/openid-configuration";
            let found = get(fetch, &format!("{}{path}", issuer.trim_end_matches('/'))).await?;
            let found: Discovery = serde_json::from_slice(&found.body)
                .map_err(|_| FetchError::because("the discovery document cannot be read"))?;
            if found.issuer != issuer {
                return Err(FetchError::because(
                    "the discovery document names another issuer",
                ));
            }
            let url =
                KeySetUrl::parse(&found.jwks_uri).map_err(|fault| FetchError(fault.into()))?;
            get(fetch, url.as_str()).await?
        }
    };
    let keys = usable_keys(&document.body, MAX_FETCHED_KEYS)
        .ok_or_else(|| FetchError::because("not a key set"))?;
    let age = document.max_age.unwrap_or(DEFAULT_AGE);
    Ok((keys, age.clamp(FETCH_PAUSE, LONGEST_AGE)))
}

/// The same bounds again, whatever the implementation does.
async fn get(fetch: &dyn Fetch, url: &str) -> Result<Document, FetchError> {
    let document = timeout(FETCH_WITHIN, fetch.fetch(url)).await;
    let document = document.map_err(|_| FetchError::because("it took too long"))??;
    if document.body.len() > MAX_DOCUMENT {
        return Err(FetchError::because("the document is too large"));
    }
    Ok(document)
}

#[derive(serde::Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
