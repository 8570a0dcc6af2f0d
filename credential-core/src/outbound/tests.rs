use std::collections::HashMap;

use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::yield_now, time::Instant};

use super::*;
use crate::testing::ManualClock;

const URL: &str = "https://keys.example.com/jwks.json";
const ISSUER: &str = "https://issuer.example.com/";
const DISCOVERY: &str = "https://issuer.example.com/.well-known/openid-configuration";

/// Servers that a test speaks for.
#[derive(Debug, Default)]
struct Servers {
    answers: Mutex<HashMap<String, Document>>,
    /// What was fetched, in order.
    fetched: Mutex<Vec<String>>,
    /// Hosts whose answers wait until there is a permit for each.
    slow: Mutex<HashMap<String, Arc<Semaphore>>>,
}

#[async_trait]
impl Fetch for Servers {
    async fn fetch(&self, url: &str) -> Result<Document, FetchError> {
        lock(&self.fetched).push(url.to_owned());
        let slow = lock(&self.slow).get(url).cloned();
        if let Some(slow) = slow {
            slow.acquire().await.unwrap().forget();
        }
        let answer = lock(&self.answers).get(url).cloned();
        answer.ok_or_else(|| FetchError::because("404"))
    }
}

impl Servers {
    fn answer(&self, url: &str, body: &str, max_age: Option<u64>) {
        let document = Document {
            body: body.into(),
            max_age: max_age.map(Duration::from_secs),
        };
        lock(&self.answers).insert(url.to_owned(), document);
    }

    /// From now on this key is published there.
    fn publish(&self, url: &str, kid: &str, max_age: Option<u64>) {
        self.answer(url, &key_set(kid).to_string(), max_age);
    }

    fn discovery(&self, issuer: &str, jwks_uri: &str) {
        let document = json!({"issuer": issuer, "jwks_uri": jwks_uri});
        self.answer(DISCOVERY, &document.to_string(), None);
    }

    /// From now on answers from there wait for permits.
    fn slow(&self, url: &str) -> Arc<Semaphore> {
        let permits = Arc::new(Semaphore::new(0));
        lock(&self.slow).insert(url.to_owned(), Arc::clone(&permits));
        permits
    }

    fn fail(&self, url: &str) {
        lock(&self.answers).remove(url);
    }

    fn fetched(&self) -> Vec<String> {
        lock(&self.fetched).clone()
    }

    fn count(&self) -> usize {
        lock(&self.fetched).len()
    }
}

fn key_set(kid: &str) -> Value {
    // RFC 8037, appendix A.2.
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x}]})
}

struct Test {
    servers: Arc<Servers>,
    clock: ManualClock,
    sets: Arc<KeySets>,
}

impl Test {
    fn new() -> Self {
        let (servers, clock) = (Arc::new(Servers::default()), ManualClock::new());
        let fetch: Arc<dyn Fetch> = Arc::clone(&servers) as _;
        let sets = KeySets::new(Some(fetch), Arc::new(clock.clone()));
        Self {
            servers,
            clock,
            sets: Arc::new(sets),
        }
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The `kid`s that are known from there to a caller that wants this one.
    async fn of(&self, source: &KeySource, wanted: &str) -> Result<Vec<String>, NoKeys> {
        kids(&self.sets, "alder", source, wanted).await
    }

    async fn get(&self, wanted: &str) -> Result<Vec<String>, NoKeys> {
        self.of(&set(URL), wanted).await
    }

    /// A caller of its own.
    fn call(&self, tenant: &'static str, url: &str) -> tokio::task::JoinHandle<Found> {
        let (sets, url) = (Arc::clone(&self.sets), url.to_owned());
        tokio::spawn(async move { kids(&sets, tenant, &set(&url), "a").await })
    }
}

type Found = Result<Vec<String>, NoKeys>;

async fn kids(sets: &KeySets, tenant: &str, source: &KeySource, wanted: &str) -> Found {
    let tenant = tenant.parse().unwrap();
    let wanted = |key: &PublicKey| key.kid() == Some(wanted);
    let keys = sets.get(&tenant, source, wanted).await?;
    let kids = keys.iter().filter_map(PublicKey::kid);
    Ok(kids.map(str::to_owned).collect())
}

fn set(url: &str) -> KeySource {
    KeySource::Set(KeySetUrl::parse(url).unwrap())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it is compared with what callers get"
)]
fn found(kid: &str) -> Found {
    Ok(vec![kid.to_owned()])
}

/// Lets every other task go on until it waits.
async fn settle() {
    for _ in 0..1_000 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_is_fetched_once_and_used_until_its_age_ends() {
    for (max_age, seconds) in [
        (Some(600), 600),
        (None, 300),
        // Within bounds.
        (Some(0), 60),
        (Some(u64::MAX), 24 * 3600),
    ] {
        let test = Test::new();
        test.servers.publish(URL, "a", max_age);
        assert_eq!(test.get("a").await, found("a"));
        test.servers.fail(URL);
        test.advance(seconds - 1);
        assert_eq!(test.get("a").await, found("a"), "{max_age:?}");
        settle().await;
        test.advance(1);
        assert_eq!(test.get("a").await, Err(NoKeys::Unavailable), "{max_age:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_fetch_there_are_no_keys() {
    let sets = KeySets::new(None, Arc::new(ManualClock::new()));
    assert!(!sets.may_fetch());
    assert_eq!(
        kids(&sets, "alder", &set(URL), "a").await,
        Err(NoKeys::Unavailable)
    );
}

/// The age counts from when the fetch began: the answer may have been made then.
#[tokio::test(start_paused = true)]
async fn the_time_of_a_fetch_is_part_of_the_age() {
    let test = Test::new();
    test.servers.publish(URL, "a", Some(60));
    let permits = test.servers.slow(URL);
    let caller = test.call("alder", URL);
    settle().await;
    test.advance(2);
    permits.add_permits(1);
    assert_eq!(caller.await.unwrap(), found("a"));
    test.servers.publish(URL, "b", Some(60));
    permits.add_permits(1);
    test.advance(57);
    assert_eq!(test.get("a").await, found("a"));
    // No moment without keys in between.
    test.advance(1);
    assert_eq!(test.get("b").await, found("b"));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_looked_for_once_a_minute() {
    let test = Test::new();
    test.servers.publish(URL, "a", Some(3600));
    assert_eq!(test.get("a").await, found("a"));
    test.servers.publish(URL, "b", Some(3600));
    for _ in 0..59 {
        assert_eq!(test.get("b").await, found("a"));
        test.advance(1);
    }
    assert_eq!(test.servers.count(), 1);
    // Who asks for the known one asks nobody else.
    test.advance(1);
    assert_eq!(test.get("a").await, found("a"));
    assert_eq!(test.servers.count(), 1);
    assert_eq!(test.get("b").await, found("b"));
    for _ in 0..59 {
        assert_eq!(test.get("c").await, found("b"));
        test.advance(1);
    }
    assert_eq!(test.servers.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_fetch_keeps_what_is_known_until_its_age_ends() {
    let test = Test::new();
    test.servers.publish(URL, "a", Some(150));
    assert_eq!(test.get("a").await, found("a"));
    test.servers.fail(URL);
    test.advance(60);
    assert_eq!(test.get("b").await, found("a"));
    assert_eq!(test.servers.count(), 2);
    test.advance(60);
    assert_eq!(test.get("b").await, found("a"));
    assert_eq!(test.servers.count(), 3);
    test.advance(29);
    assert_eq!(test.get("a").await, found("a"));
    test.advance(1);
    assert_eq!(test.get("a").await, Err(NoKeys::Unavailable));
    assert_eq!(test.servers.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_404_for_an_hour_is_asked_for_once_a_minute_and_then_works() {
    let test = Test::new();
    for second in 0..3600 {
        assert_eq!(test.get("a").await, Err(NoKeys::Unavailable), "{second}");
        test.advance(1);
    }
    assert_eq!(test.servers.count(), 60);
    test.servers.publish(URL, "a", None);
    assert_eq!(test.get("a").await, found("a"));
}

/// So a server that fails once, when an age ends, does not keep clients out for a minute.
#[tokio::test(start_paused = true)]
async fn a_set_in_use_is_fetched_within_the_last_minute_of_its_age() {
    let test = Test::new();
    test.servers.publish(URL, "a", Some(300));
    assert_eq!(test.get("a").await, found("a"));
    test.servers.publish(URL, "b", Some(300));
    test.advance(239);
    assert_eq!(test.get("a").await, found("a"));
    settle().await;
    assert_eq!(test.servers.count(), 1);
    test.advance(1);
    // Nobody waits for it, however slow it is.
    let permits = test.servers.slow(URL);
    assert_eq!(test.get("a").await, found("a"));
    assert_eq!(test.get("a").await, found("a"));
    settle().await;
    assert_eq!(test.servers.count(), 2);
    permits.add_permits(1);
    settle().await;
    assert_eq!(test.get("b").await, found("b"));
    assert_eq!(test.servers.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_fetch() {
    let test = Test::new();
    test.servers.publish(URL, "a", None);
    let permits = test.servers.slow(URL);
    // One tenant has no place left beside that fetch.
    let other = "https://other.example.com/jwks.json";
    let others = test.servers.slow(other);
    let busy = test.call("alder", other);
    settle().await;
    // More than may wait for a place, and of many tenants.
    let tenants = ["alder", "birch", "cedar", "elm"];
    let callers: Vec<_> = (0..400)
        .map(|at| test.call(tenants[at % tenants.len()], URL))
        .collect();
    settle().await;
    assert_eq!(test.servers.count(), 2);
    permits.add_permits(1);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), found("a"));
    }
    assert_eq!(test.servers.count(), 2);
    others.add_permits(1);
    assert_eq!(busy.await.unwrap(), Err(NoKeys::Unavailable));
    assert_eq!(test.sets.places.running(), 0);
    assert_eq!(test.sets.fetching.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_starts_no_other_fetch() {
    let test = Test::new();
    test.servers.publish(URL, "a", None);
    let permits = test.servers.slow(URL);
    for _ in 0..3 {
        let caller = test.call("alder", URL);
        settle().await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    assert_eq!(test.servers.count(), 1);
    permits.add_permits(1);
    settle().await;
    // It was fetched for whoever comes next.
    assert_eq!(test.get("a").await, found("a"));
    assert_eq!(test.servers.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_tenants_slow_servers_delay_no_other_tenant() {
    let test = Test::new();
    let url = |name: &str, at: usize| format!("https://{name}.example.com/{at}");
    let mut slow = Vec::new();
    // As many as may run and wait, and more.
    for at in 0..100 {
        test.servers.slow(&url("slow", at));
        slow.push(test.call("alder", &url("slow", at)));
    }
    settle().await;
    assert_eq!(test.servers.count(), 2, "of 8 places");
    let began = Instant::now();
    for (at, tenant) in ["birch", "cedar", "elm"].into_iter().enumerate() {
        test.servers.publish(&url("good", at), "a", None);
        let found_there = test.call(tenant, &url("good", at)).await.unwrap();
        assert_eq!(found_there, found("a"), "{tenant}");
    }
    // A set of that tenant that others use as well is fetched in their places.
    test.servers.publish(URL, "a", None);
    slow.push(test.call("alder", URL));
    settle().await;
    assert_eq!(test.call("birch", URL).await.unwrap(), found("a"));
    assert_eq!(began.elapsed(), Duration::ZERO);
    let mut crowded = 0;
    for caller in slow {
        let answer = caller.await.unwrap();
        crowded += usize::from(matches!(answer, Err(NoKeys::Crowded { .. })));
    }
    assert!(crowded >= 100 - 2 - FETCHES.waiting, "{crowded}");
    assert_eq!(test.sets.places.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_never_ends_is_given_up() {
    let test = Test::new();
    test.servers.publish(URL, "a", None);
    test.servers.slow(URL);
    let began = Instant::now();
    assert_eq!(test.get("a").await, Err(NoKeys::Unavailable));
    assert_eq!(began.elapsed(), FETCH_WITHIN);
    assert_eq!(test.get("a").await, Err(NoKeys::Unavailable));
    assert_eq!(test.servers.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_issuers_keys_are_those_that_its_discovery_names() {
    let test = Test::new();
    let issuer = KeySource::Issuer(ISSUER.into());
    test.servers.publish(URL, "a", None);
    test.servers.discovery(ISSUER, URL);
    assert_eq!(test.of(&issuer, "a").await, found("a"));
    assert_eq!(test.servers.fetched(), [DISCOVERY, URL]);
    // It may move them.
    let moved = "https://other.example.com/keys";
    test.servers.publish(moved, "b", None);
    test.servers.discovery(ISSUER, moved);
    test.advance(60);
    assert_eq!(test.of(&issuer, "b").await, found("b"));
    assert_eq!(test.servers.fetched()[2..], [DISCOVERY, moved]);
}

#[tokio::test(start_paused = true)]
async fn a_discovery_document_leads_to_no_other_place() {
    let said = |issuer: &str, jwks_uri: &str| json!({"issuer": issuer, "jwks_uri": jwks_uri});
    for document in [
        said("https://issuer.example.com", URL),
        said("https://evil.example.com/", URL),
        said(ISSUER, "http://keys.example.com/jwks.json"),
        said(ISSUER, "https://127.0.0.1/jwks.json"),
        said(ISSUER, "https://169.254.169.254/latest"),
        said(ISSUER, "https://localhost/jwks.json"),
        said(ISSUER, "https://user@keys.example.com/jwks.json"),
        said(ISSUER, "file:///etc/passwd"),
        json!({"issuer": ISSUER}),
        json!({"issuer": [ISSUER], "jwks_uri": URL}),
        json!([]),
    ] {
        let test = Test::new();
        test.servers.publish(URL, "a", None);
        let said = document.to_string();
        test.servers.answer(DISCOVERY, &said, None);
        let issuer = KeySource::Issuer(ISSUER.into());
        assert_eq!(
            test.of(&issuer, "a").await,
            Err(NoKeys::Unavailable),
            "{said}"
        );
        assert_eq!(test.servers.fetched(), [DISCOVERY], "{said}");
    }
    let test = Test::new();
    let large = format!("{}{}", " ".repeat(MAX_DOCUMENT), said(ISSUER, URL));
    test.servers.answer(DISCOVERY, &large, None);
    let issuer = KeySource::Issuer(ISSUER.into());
    assert_eq!(test.of(&issuer, "a").await, Err(NoKeys::Unavailable));
    assert_eq!(test.servers.fetched(), [DISCOVERY]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_key_set_is_refused() {
    let good = key_set("a").to_string();
    let large = format!("{}{good}", " ".repeat(MAX_DOCUMENT));
    for body in [&large, "", "null", "[]", "{}", r#"{"keys":{}}"#, &good[1..]] {
        let test = Test::new();
        test.servers.answer(URL, body, None);
        let start: String = body.chars().take(20).collect();
        assert_eq!(test.get("a").await, Err(NoKeys::Unavailable), "{start}");
    }
    // What is of no use here does not spoil the rest.
    let test = Test::new();
    let mut set = key_set("a");
    let keys = set["keys"].as_array_mut().unwrap();
    keys.insert(0, json!({"kty": "oct", "k": "AAAA"}));
    keys.insert(1, json!({"kty": "EC", "crv": "secp256k1"}));
    keys.insert(2, json!(7));
    test.servers.answer(URL, &set.to_string(), None);
    assert_eq!(test.get("a").await, found("a"));
    // At most so many.
    let many: Vec<_> = (0..=MAX_FETCHED_KEYS)
        .map(|at| key_set(&at.to_string())["keys"][0].clone())
        .collect();
    let test = Test::new();
    test.servers
        .answer(URL, &json!({"keys": many}).to_string(), None);
    assert_eq!(test.get("0").await.unwrap().len(), MAX_FETCHED_KEYS);
}

#[tokio::test(start_paused = true)]
async fn another_kind_of_source_is_another_set() {
    let test = Test::new();
    test.servers.publish(URL, "a", None);
    assert_eq!(test.get("a").await, found("a"));
    let issuer = KeySource::Issuer(URL.into());
    assert_eq!(test.of(&issuer, "a").await, Err(NoKeys::Unavailable));
    assert_eq!(test.get("a").await, found("a"));
}
