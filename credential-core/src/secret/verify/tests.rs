use std::{
    pin::pin,
    sync::{Mutex, mpsc},
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{super::check, super::hash::Argon2Hasher, *};
use crate::{
    id::{ClientIdPrefix, Environment},
    secret::{hash::HashCost, keyring::Keyring},
    testing::{CountingHasher, SeededEntropy},
};

/// What the hasher at the gate is told to do next.
#[derive(Debug)]
enum Order {
    Answer(Verdict),
    Fail,
    Panic,
}

/// Says when a hash begins, then waits for an order.
#[derive(Debug)]
struct Gate {
    begun: UnboundedSender<()>,
    orders: Mutex<mpsc::Receiver<Order>>,
    stored: SecretHash,
}

impl SecretHasher for Gate {
    fn hash(&self, _: &str) -> Result<SecretHash, HashError> {
        self.obey().map(|_| self.stored.clone())
    }

    fn verify(&self, _: &str, _: &SecretHash) -> Result<Verdict, HashError> {
        self.obey()
    }
}

impl Gate {
    fn obey(&self) -> Result<Verdict, HashError> {
        self.begun.send(()).unwrap();
        // Not held while panicking, so that the next order can be read.
        let order = self.orders.lock().unwrap().recv();
        match order {
            Ok(Order::Answer(verdict)) => Ok(verdict),
            Ok(Order::Panic) => panic!("ordered to"),
            // An error: the test is over.
            Ok(Order::Fail) | Err(_) => Err(HashError::Malformed),
        }
    }
}

/// A verifier before a gate, and secrets to pass it.
struct Scene {
    verifier: Verifier,
    begun: UnboundedReceiver<()>,
    orders: mpsc::Sender<Order>,
    keyring: Keyring,
    stored: SecretHash,
}

const YES: Order = Order::Answer(Verdict::Match { rehash: false });
const HASHED: Verified = Verified::Hashed { rehash: false };

impl Scene {
    fn new(workers: usize, waiting: usize) -> Self {
        let entropy = SeededEntropy::new(1);
        let keyring = Keyring::generate(&entropy);
        let stored = hasher(&keyring).hash("any").unwrap();
        let (signal, begun) = unbounded_channel();
        let (orders, received) = mpsc::channel();
        let gate = Gate {
            begun: signal,
            orders: Mutex::new(received),
            stored: stored.clone(),
        };
        let config = VerifierConfig {
            workers,
            waiting,
            ..VerifierConfig::default()
        };
        Self {
            verifier: Verifier::new(Arc::new(gate), config, &entropy),
            begun,
            orders,
            keyring,
            stored,
        }
    }

    fn secret(&self, seed: u64) -> ClientSecret {
        secret(&self.keyring, seed)
    }

    /// A caller of its own that verifies a secret.
    fn call(&self, secret: &ClientSecret) -> task::JoinHandle<Result<Verified, VerifyError>> {
        let (verifier, keyring) = (self.verifier.clone(), self.keyring.clone());
        let (text, stored) = (secret.expose_secret().to_owned(), self.stored.clone());
        task::spawn(async move {
            verifier
                .verify(&tenant(), &check(&text, &keyring).unwrap(), &stored)
                .await
        })
    }

    fn is_cached(&self, secret: &ClientSecret) -> bool {
        let secret = check(secret.expose_secret(), &self.keyring).unwrap();
        self.verifier.is_cached(&secret, &self.stored)
    }

    async fn begun(&mut self) {
        self.begun.recv().await.unwrap();
    }

    fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }
}

fn tenant() -> TenantId {
    "alder".parse().unwrap()
}

fn hasher(keyring: &Keyring) -> Argon2Hasher {
    let entropy = Arc::new(SeededEntropy::new(2));
    Argon2Hasher::new(keyring.clone(), HashCost::cheap(), entropy)
}

fn secret(keyring: &Keyring, seed: u64) -> ClientSecret {
    let prefix = ClientIdPrefix::default();
    let entropy = SeededEntropy::new(seed);
    ClientSecret::generate(&prefix, Environment::Sandbox, keyring, &entropy).0
}

/// Lets other tasks and threads run until something holds. No clock: what never comes to hold fails
/// the test after some seconds' worth of turns.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000_000 {
        if holds() {
            return;
        }
        thread::yield_now();
        task::yield_now().await;
    }
    panic!("never came to hold");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_concurrent_first_uses_cost_one_hash_and_a_second_use_none() {
    let entropy = SeededEntropy::new(1);
    let keyring = Keyring::generate(&entropy);
    let secret = Arc::new(secret(&keyring, 3));
    let counting = Arc::new(CountingHasher::new(hasher(&keyring)));
    let verifier = Verifier::new(counting.clone(), VerifierConfig::default(), &entropy);
    let stored = verifier.hash(&tenant(), &secret).await.unwrap();
    assert_eq!((counting.hashed(), counting.verified()), (1, 0));

    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (verifier, keyring) = (verifier.clone(), keyring.clone());
            let (secret, stored) = (Arc::clone(&secret), stored.clone());
            task::spawn(async move {
                let secret = check(secret.expose_secret(), &keyring).unwrap();
                verifier.verify(&tenant(), &secret, &stored).await
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(counting.verified(), 1);

    let genuine = check(secret.expose_secret(), &keyring).unwrap();
    let again = verifier.verify(&tenant(), &genuine, &stored).await.unwrap();
    assert_eq!((again, counting.verified()), (Verified::Cached, 1));
}

#[tokio::test]
async fn callers_share_a_flight_and_one_of_them_is_told_to_rehash() {
    let mut scene = Scene::new(1, 0);
    let secret = scene.secret(3);
    let callers: Vec<_> = (0..10).map(|_| scene.call(&secret)).collect();
    scene.begun().await;
    until(|| scene.verifier.stats().cache_misses == 10).await;
    scene.order(Order::Answer(Verdict::Match { rehash: true }));
    let mut told = 0;
    for caller in callers {
        if caller.await.unwrap().unwrap() == (Verified::Hashed { rehash: true }) {
            told += 1;
        }
    }
    assert_eq!(told, 1);
    let stats = scene.verifier.stats();
    assert_eq!((stats.hashes, stats.refused, stats.cached), (1, 0, 1));
    assert!(scene.is_cached(&secret));
}

#[tokio::test]
async fn a_wrong_secret_is_not_remembered() {
    let mut scene = Scene::new(1, 0);
    let secret = scene.secret(3);
    for hashes in 1..=2 {
        let caller = scene.call(&secret);
        scene.begun().await;
        scene.order(Order::Answer(Verdict::Mismatch));
        assert!(matches!(caller.await.unwrap(), Err(VerifyError::Wrong)));
        assert_eq!(scene.verifier.stats().hashes, hashes);
    }
    assert!(!scene.is_cached(&secret));
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_lose_the_result() {
    let mut scene = Scene::new(1, 0);
    let secret = scene.secret(3);
    let caller = scene.call(&secret);
    scene.begun().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    scene.order(YES);
    until_landed(&scene, &secret).await;
    assert_eq!(
        scene.call(&secret).await.unwrap().unwrap(),
        Verified::Cached
    );
    assert_eq!(scene.verifier.stats().hashes, 1);
}

/// The hash is on another thread, so turns of this one say nothing: joins the flight, which answers
/// once it has landed.
async fn until_landed(scene: &Scene, secret: &ClientSecret) {
    let answer = scene.call(secret).await.unwrap().unwrap();
    assert!(matches!(answer, HASHED | Verified::Cached));
}

#[tokio::test]
async fn a_rehash_that_nobody_waits_for_is_left_to_the_next_caller() {
    let mut scene = Scene::new(1, 1);
    let (secret, next) = (scene.secret(3), scene.secret(4));
    let due = || Order::Answer(Verdict::Match { rehash: true });
    let caller = scene.call(&secret);
    scene.begun().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    scene.order(due());
    // Begins on the one worker, so after the first has answered; and lands after it.
    let other = scene.call(&next);
    scene.begun().await;
    scene.order(YES);
    assert_eq!(other.await.unwrap().unwrap(), HASHED);
    until(|| scene.verifier.0.flights.count() == 0).await;
    assert!(!scene.is_cached(&secret) && scene.is_cached(&next));

    let caller = scene.call(&secret);
    scene.begun().await;
    scene.order(due());
    let answer = caller.await.unwrap().unwrap();
    assert_eq!(answer, Verified::Hashed { rehash: true });
}

#[tokio::test]
async fn work_that_nobody_waits_for_is_skipped() {
    let mut scene = Scene::new(1, 2);
    let (first, second, third) = (scene.secret(3), scene.secret(4), scene.secret(5));
    let running = scene.call(&first);
    scene.begun().await;
    let (abandoned, kept) = (scene.call(&second), scene.call(&third));
    until(|| scene.verifier.stats().waiting == 2).await;
    assert_eq!(scene.verifier.stats().running, 1);

    abandoned.abort();
    // Its place is free while the first still runs.
    until(|| scene.verifier.stats().skipped == 1).await;
    until(|| scene.verifier.stats().waiting == 1).await;
    scene.order(YES);
    scene.order(YES);
    assert_eq!(running.await.unwrap().unwrap(), HASHED);
    assert_eq!(kept.await.unwrap().unwrap(), HASHED);
    let stats = scene.verifier.stats();
    assert_eq!((stats.hashes, stats.waiting, stats.skipped), (2, 0, 1));
    assert!(!scene.is_cached(&second));
    assert_eq!(scene.verifier.0.flights.count(), 0);
}

#[tokio::test]
async fn a_new_caller_revives_a_flight_that_all_others_left() {
    let mut scene = Scene::new(1, 1);
    let (first, second) = (scene.secret(3), scene.secret(4));
    let running = scene.call(&first);
    scene.begun().await;
    let abandoned = scene.call(&second);
    until(|| scene.verifier.stats().waiting == 1).await;
    // Leaves and joins before the flight's task has a turn to notice.
    abandoned.abort();
    let genuine = check(second.expose_secret(), &scene.keyring).unwrap();
    let tenant = tenant();
    let mut joined = pin!(scene.verifier.verify(&tenant, &genuine, &scene.stored));
    tokio::select! {
        biased;
        _ = &mut joined => panic!("answered early"),
        () = std::future::ready(()) => {}
    }
    scene.order(YES);
    scene.order(YES);
    assert_eq!(running.await.unwrap().unwrap(), HASHED);
    assert_eq!(joined.await.unwrap(), HASHED);
    let stats = scene.verifier.stats();
    assert_eq!((stats.hashes, stats.skipped, stats.refused), (2, 0, 0));
}

#[tokio::test]
async fn too_many_waiting_are_refused_but_may_join() {
    let mut scene = Scene::new(1, 1);
    let (first, second, third) = (scene.secret(3), scene.secret(4), scene.secret(5));
    let running = scene.call(&first);
    scene.begun().await;
    let waiting = scene.call(&second);
    until(|| scene.verifier.stats().waiting == 1).await;

    let refused = scene.call(&third).await.unwrap();
    let Err(VerifyError::Overloaded { retry_after }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(retry_after, Duration::from_secs(1));
    let refused = scene.verifier.hash(&tenant(), &third).await;
    assert!(matches!(refused, Err(VerifyError::Overloaded { .. })));
    assert_eq!(scene.verifier.stats().refused, 2);

    let joined = scene.call(&second);
    until(|| scene.verifier.stats().cache_misses == 4).await;
    scene.order(YES);
    scene.order(YES);
    for caller in [running, waiting, joined] {
        assert_eq!(caller.await.unwrap().unwrap(), HASHED);
    }
    assert_eq!(scene.verifier.stats().hashes, 2);
    // The refused one comes again.
    let again = scene.call(&third);
    scene.begun().await;
    scene.order(YES);
    assert_eq!(again.await.unwrap().unwrap(), HASHED);
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_next_call_works() {
    let mut scene = Scene::new(1, 0);
    let secret = scene.secret(3);
    for order in [Order::Panic, Order::Fail] {
        let caller = scene.call(&secret);
        scene.begun().await;
        scene.order(order);
        let failed = caller.await.unwrap();
        assert!(matches!(failed, Err(VerifyError::Failed(_))), "{failed:?}");
    }
    let genuine = scene.secret(3);
    scene.order(Order::Panic);
    let failed = scene.verifier.hash(&tenant(), &genuine).await;
    assert!(matches!(
        failed,
        Err(VerifyError::Failed(HashError::Failed { .. }))
    ));

    scene.order(YES);
    assert_eq!(scene.call(&secret).await.unwrap().unwrap(), HASHED);
    assert_eq!(scene.verifier.stats().running, 0);
}

#[test]
fn a_runtime_that_ends_leaves_no_flight_behind() {
    let scene = Scene::new(1, 1);
    let (first, second) = (scene.secret(3), scene.secret(4));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        scene.call(&first);
        scene.call(&second);
        until(|| scene.verifier.stats().waiting == 1).await;
    });
    assert_eq!(scene.verifier.0.flights.count(), 2);
    scene.order(YES);
    drop(runtime);
    assert_eq!(scene.verifier.0.flights.count(), 0);
    assert_eq!(scene.verifier.stats().waiting, 0);
}

#[tokio::test]
async fn what_is_remembered_is_one_secret_for_one_stored_hash() {
    let scene = Scene::new(1, 0);
    let keyring = &scene.keyring;
    let (text, other) = (scene.secret(3), scene.secret(4));
    let secret = check(text.expose_secret(), keyring).unwrap();
    let stored = &scene.stored;
    assert!(!scene.verifier.is_cached(&secret, stored));
    scene.verifier.remember(&secret, stored);
    assert_eq!(
        scene
            .verifier
            .verify(&tenant(), &secret, stored)
            .await
            .unwrap(),
        Verified::Cached
    );
    assert_eq!(scene.verifier.stats().hashes, 0);

    assert!(!scene.is_cached(&other));
    let other_hash = hasher(keyring).hash("other").unwrap();
    let other_key = SecretHash::from_parts(stored.phc(), "k2".parse().unwrap()).unwrap();
    assert_eq!(other_hash.key(), stored.key());
    for changed in [
        SecretHash::from_parts(stored.phc().replacen("t=1", "t=2", 1), stored.key().clone())
            .unwrap(),
        other_key,
    ] {
        assert!(!scene.verifier.is_cached(&secret, &changed));
    }
}

#[tokio::test]
async fn a_caller_that_just_missed_the_landing_starts_no_flight() {
    let scene = Scene::new(1, 0);
    let text = scene.secret(3);
    let secret = check(text.expose_secret(), &scene.keyring).unwrap();
    let inner = &scene.verifier.0;
    // Looked into the cache in vain, then came this, then it goes for the table of flights.
    scene.verifier.remember(&secret, &scene.stored);
    let digest = inner.digest(&secret, &scene.stored);
    let boarded = Inner::board(inner, digest, &tenant(), &secret, &scene.stored);
    assert!(matches!(boarded, Err(Ok(Verified::Cached))) && inner.flights.count() == 0);
}

#[tokio::test]
async fn without_a_cache_each_use_is_hashed() {
    let entropy = SeededEntropy::new(1);
    let keyring = Keyring::generate(&entropy);
    let counting = Arc::new(CountingHasher::new(hasher(&keyring)));
    let config = VerifierConfig {
        cache_entries: 0,
        ..VerifierConfig::default()
    };
    let verifier = Verifier::new(counting.clone(), config, &entropy);
    let text = secret(&keyring, 3);
    let stored = verifier.hash(&tenant(), &text).await.unwrap();
    let genuine = check(text.expose_secret(), &keyring).unwrap();
    for uses in 1..=2 {
        assert_eq!(
            verifier.verify(&tenant(), &genuine, &stored).await.unwrap(),
            HASHED
        );
        assert_eq!(counting.verified(), uses);
    }
}

#[tokio::test]
async fn a_rehash_verifies_and_can_be_remembered() {
    let entropy = SeededEntropy::new(1);
    let keyring = Keyring::generate(&entropy);
    let verifier = Verifier::new(
        Arc::new(hasher(&keyring)),
        VerifierConfig::default(),
        &entropy,
    );
    let text = secret(&keyring, 3);
    let genuine = check(text.expose_secret(), &keyring).unwrap();
    let stored = verifier.rehash(&tenant(), &genuine).await.unwrap();
    assert!(!verifier.is_cached(&genuine, &stored));
    assert_eq!(
        verifier.verify(&tenant(), &genuine, &stored).await.unwrap(),
        HASHED
    );
    verifier.remember(&genuine, &stored);
    assert!(verifier.is_cached(&genuine, &stored));
}

#[test]
fn two_verifiers_digest_under_different_keys() {
    let keyring = Keyring::generate(&SeededEntropy::new(1));
    let stored = hasher(&keyring).hash("any").unwrap();
    let text = secret(&keyring, 3);
    let genuine = check(text.expose_secret(), &keyring).unwrap();
    let digest = |seed| {
        let config = VerifierConfig::default();
        let hasher = Arc::new(hasher(&keyring));
        let verifier = Verifier::new(hasher, config, &SeededEntropy::new(seed));
        verifier.0.digest(&genuine, &stored).0
    };
    assert_ne!(digest(1), digest(2));
    assert_eq!(digest(1), digest(1));
}

#[test]
fn debug_shows_no_key() {
    let scene = Scene::new(1, 0);
    let shown = format!("{:?}", scene.verifier);
    assert!(shown.contains("stats") && !shown.contains("flights") && !shown.contains("key: ["));
}
