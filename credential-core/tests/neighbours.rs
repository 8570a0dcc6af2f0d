//! What one tenant may cost another: hashes, places in queues, calls of the store.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod common;

use std::{sync::Arc, time::Duration};

use common::{Deployment, HeldHasher, Key, admin, request, until};
use credential_core::{
    Credentials, CredentialsBuilder,
    authenticate::AuthenticateError,
    authorize::RevokeTokenError,
    credential::Credential,
    manage::{Created, ManageError, Page},
    secret::verify::{VerifierConfig, VerifyError},
    store::{ListPosition, ListQuery},
};
use tokio::task::JoinHandle;

const READ: &[&str] = &["system/patients.read"];

/// A node whose hashes stand still, over a store in which keys were made before.
struct Scene {
    deployment: Deployment,
    hasher: Arc<HeldHasher>,
    node: Credentials,
}

impl Scene {
    fn new(workers: usize, waiting: usize) -> Self {
        let limited = |builder: CredentialsBuilder| builder.limit_per_tenant(10_000);
        let deployment = Deployment::with(limited);
        let hasher = HeldHasher::new(deployment.keyring.clone());
        let node = limited(deployment.node_builder())
            .hasher(hasher.clone())
            .verifier(VerifierConfig {
                workers,
                waiting,
                ..VerifierConfig::default()
            })
            .build()
            .unwrap();
        Self {
            deployment,
            hasher,
            node,
        }
    }

    /// A key that this node has not seen yet.
    async fn key_of(&self, tenant: &str, name: &str) -> Key {
        self.deployment.key_of(tenant, name, "apiv2", READ).await
    }

    async fn keys_of(&self, tenant: &str, count: usize) -> Vec<Key> {
        let mut keys = Vec::new();
        for n in 0..count {
            keys.push(self.key_of(tenant, &format!("key {n}")).await);
        }
        keys
    }

    fn create(&self, tenant: &str, name: &str) -> JoinHandle<Result<Created, ManageError>> {
        let (node, admin) = (self.node.clone(), admin(tenant));
        let request = request(name, "apiv2", READ);
        tokio::spawn(async move { node.manage(&admin).create(request).await })
    }

    fn first_use(&self, key: &Key) -> JoinHandle<Result<(), AuthenticateError>> {
        let node = self.node.clone();
        let (client_id, secret) = (key.client_id.clone(), key.secret.clone());
        tokio::spawn(async move { node.authenticate(&client_id, &secret).await.map(drop) })
    }

    async fn begun(&self, count: usize) {
        until(|| self.hasher.begun().len() >= count).await;
        assert_eq!(self.hasher.begun().len(), count);
    }

    async fn waiting(&self, count: usize) {
        until(|| self.node.verifier_stats().waiting >= count).await;
        assert_eq!(self.node.verifier_stats().waiting, count);
    }

    /// Lets every hash go, now and later.
    fn open(&self) {
        self.hasher.release(1_000_000);
    }
}

impl Drop for Scene {
    /// A test that fails leaves no thread standing.
    fn drop(&mut self) {
        self.open();
    }
}

fn retry_after(refused: &Result<(), AuthenticateError>) -> Option<Duration> {
    match refused {
        Err(AuthenticateError::Busy(VerifyError::Overloaded { retry_after })) => Some(*retry_after),
        _ => None,
    }
}

#[tokio::test]
async fn two_hundred_refused_creates_hash_nothing_and_delay_nobody() {
    let scene = Scene::new(1, 128);
    let birch = scene.key_of("birch", "Lab").await;
    scene.key_of("alder", "Lab").await;
    let refused: Vec<_> = (0..200).map(|_| scene.create("alder", "LAB")).collect();
    let first_use = scene.first_use(&birch);
    scene.begun(1).await;
    for refused in refused {
        assert!(refused.await.unwrap().is_err());
    }
    assert_eq!(scene.hasher.begun(), [birch.secret], "birch's alone");
    scene.open();
    first_use.await.unwrap().unwrap();
}

#[tokio::test]
async fn another_tenants_first_use_waits_for_the_running_hash_and_its_own() {
    // Alder has as many as may wait, and more.
    let scene = Scene::new(1, 128);
    let birch = scene.key_of("birch", "Lab").await;
    let keys = scene.keys_of("alder", 300).await;
    let flood: Vec<_> = keys.iter().map(|key| scene.first_use(key)).collect();
    scene.begun(1).await;
    scene.waiting(128).await;
    let first_use = scene.first_use(&birch);
    // Whoever comes later does not push in.
    let more: Vec<_> = (0..50)
        .map(|n| scene.create("alder", &format!("new {n}")))
        .collect();
    until(|| first_use.is_finished() || scene.node.verifier_stats().cache_misses == 301).await;
    scene.hasher.release(1);
    scene.begun(2).await;
    assert_eq!(scene.hasher.begun()[1], birch.secret, "the next hash");
    scene.open();
    first_use.await.unwrap().unwrap();
    for refused in flood {
        let told = refused.await.unwrap();
        assert!(told.is_ok() || retry_after(&told).is_some(), "{told:?}");
    }
    for create in more {
        drop(create.await.unwrap());
    }
}

#[tokio::test]
async fn concurrent_creates_starve_nobody() {
    let scene = Scene::new(1, 128);
    let birch = scene.key_of("birch", "Lab").await;
    let creates: Vec<_> = (0..200)
        .map(|n| scene.create("alder", &format!("new {n}")))
        .collect();
    scene.begun(1).await;
    let first_use = scene.first_use(&birch);
    scene.waiting(1).await;
    scene.hasher.release(1);
    scene.begun(2).await;
    assert_eq!(scene.hasher.begun()[1], birch.secret, "the next hash");
    scene.open();
    first_use.await.unwrap().unwrap();
    for create in creates {
        drop(create.await.unwrap());
    }
}

#[tokio::test]
async fn a_lone_tenant_may_use_the_whole_pool() {
    let scene = Scene::new(3, 8);
    let keys = scene.keys_of("alder", 11).await;
    let uses: Vec<_> = keys.iter().map(|key| scene.first_use(key)).collect();
    scene.begun(3).await;
    scene.waiting(8).await;
    scene.open();
    for first_use in uses {
        first_use.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn when_to_come_back_follows_the_callers_own_queue() {
    let scene = Scene::new(1, 4);
    let birch = scene.keys_of("birch", 8).await;
    let keys = scene.keys_of("alder", 1_000).await;
    let flood: Vec<_> = keys.iter().map(|key| scene.first_use(key)).collect();
    until(|| flood.iter().filter(|it| it.is_finished()).count() == 995).await;
    // Two of four places are birch's, at alder's cost; the others of birch are refused.
    let uses: Vec<_> = birch.iter().map(|key| scene.first_use(key)).collect();
    until(|| uses.iter().filter(|it| it.is_finished()).count() == 6).await;
    scene.open();
    let mut longest = Duration::ZERO;
    for told in flood {
        longest = longest.max(retry_after(&told.await.unwrap()).unwrap_or_default());
    }
    assert!(longest > Duration::from_secs(20), "{longest:?}");
    let mut served = 0;
    for told in uses {
        let told = told.await.unwrap();
        match retry_after(&told) {
            Some(again) => assert_eq!(again, Duration::from_secs(1)),
            None => served += told.map(|()| 1).unwrap(),
        }
    }
    assert_eq!(served, 2);
}

fn list(
    deployment: &Deployment,
    tenant: &str,
) -> JoinHandle<Result<Page<Credential, ListPosition>, ManageError>> {
    let (node, admin) = (deployment.node.clone(), admin(tenant));
    let query = ListQuery {
        limit: 50,
        after: None,
        include_revoked: false,
    };
    tokio::spawn(async move { node.manage(&admin).list(query).await })
}

/// So many requests of a tenant's admins; how many may go on.
fn begun(deployment: &Deployment, tenant: &str, requests: usize) -> usize {
    let admin = admin(tenant);
    let node = &deployment.node;
    let begun = (0..requests).filter(|_| node.manage(&admin).begin_request().is_ok());
    begun.count()
}

#[tokio::test]
async fn a_loop_of_one_tenants_admin_is_slowed_down_and_nobody_else_is() {
    let deployment = Deployment::new();
    deployment.advance(60_000);
    assert_eq!(begun(&deployment, "alder", 20_000), 2_000);
    assert_eq!(begun(&deployment, "birch", 100), 100);
    deployment.advance(1_000);
    assert_eq!(begun(&deployment, "alder", 20_000), 1_000);
    let refused = deployment.node.manage(&admin("alder")).begin_request();
    assert!(
        matches!(refused, Err(ManageError::RateLimited { retry_after })
            if retry_after == Duration::from_secs(1))
    );
    // Refusals cost no turn of those that come later.
    deployment.advance(2_000);
    assert_eq!(begun(&deployment, "alder", 20_000), 2_000);
}

#[tokio::test]
async fn lists_of_one_admin_leave_room_for_everybody_else() {
    let deployment = Deployment::new();
    let (alder, birch) = (
        deployment.key("Lab", "apiv2", READ).await,
        deployment.key_of("birch", "Lab", "apiv2", READ).await,
    );
    let running = deployment.node.start().await.unwrap();
    let token = birch.token(&deployment.node, None).await;
    deployment.node.verify(&token).await.unwrap();
    let store = &deployment.store;
    store.hold_calls();
    let calls = store.calls();
    let flood: Vec<_> = (0..2_500).map(|_| list(&deployment, "alder")).collect();
    let refused = || flood.iter().filter(|it| it.is_finished()).count();
    until(|| refused() == 2_500 - 3 - 256).await;
    assert_eq!(store.running(), 3, "of alder's at the store");

    // A warm check has nothing to do with it.
    deployment.node.verify(&token).await.unwrap();
    assert_eq!(store.calls(), calls + 3);
    // Another admin's call, and a first look at a key, are at the store at once.
    let other = list(&deployment, "birch");
    let node = deployment.second_node();
    let first_use = tokio::spawn({
        let (client_id, secret) = (birch.client_id.clone(), birch.secret.clone());
        async move { node.authenticate(&client_id, &secret).await.map(drop) }
    });
    until(|| store.running() == 5).await;
    // Who is refused is told so, in its own time; who waits is served.
    store.release_calls(100_000);
    first_use.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
    let mut served = 0;
    for answer in flood {
        match answer.await.unwrap() {
            Ok(page) => {
                assert_eq!(page.items[0].identity.id, alder.id);
                served += 1;
            }
            Err(ManageError::RateLimited { retry_after }) => {
                assert!((1..=120).contains(&retry_after.as_secs()));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(served, 3 + 256);
    running.shutdown().await;
}

#[tokio::test]
async fn many_tenants_together_leave_room_for_checks() {
    let deployment = Deployment::new();
    let store = &deployment.store;
    let keys = [
        deployment.key("Lab", "apiv2", READ).await,
        deployment.key("Lab 2", "apiv2", READ).await,
    ];
    store.hold_calls();
    let floods: Vec<_> = (0..500)
        .map(|n| list(&deployment, &format!("tenant-{}", n % 50)))
        .collect();
    until(|| store.running() == 6).await;
    let node = deployment.second_node();
    let uses = keys.map(|key| {
        let node = node.clone();
        tokio::spawn(async move {
            node.authenticate(&key.client_id, &key.secret)
                .await
                .map(drop)
        })
    });
    until(|| store.running() == 8).await;
    assert_eq!(store.most_at_once(), 8, "six of admins, two of checks");
    store.release_calls(100_000);
    for first_use in uses {
        first_use.await.unwrap().unwrap();
    }
    for list in floods {
        // Of each tenant ten: within everybody's share of the places in which to wait, or refused.
        let answer = list.await.unwrap();
        assert!(matches!(
            answer,
            Ok(_) | Err(ManageError::RateLimited { .. })
        ));
    }
}

#[tokio::test]
async fn reads_of_checks_leave_room_for_the_rest() {
    let deployment = Deployment::new();
    let mut keys = Vec::new();
    for n in 0..100 {
        keys.push(deployment.key(&format!("key {n}"), "apiv2", READ).await);
    }
    let node = deployment.second_node();
    let store = &deployment.store;
    store.hold_calls();
    let uses: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let node = node.clone();
            let first_use = async move {
                node.authenticate(&key.client_id, &key.secret)
                    .await
                    .map(drop)
            };
            tokio::spawn(first_use)
        })
        .collect();
    until(|| store.running() == 8).await;
    let other = list(&deployment, "birch");
    until(|| store.running() == 9).await;
    assert_eq!(store.most_at_once(), 9, "eight reads, one list");
    store.release_calls(100_000);
    other.await.unwrap().unwrap();
    for first_use in uses {
        first_use.await.unwrap().unwrap();
    }
    assert!(store.most_at_once() <= 9, "{}", store.most_at_once());
}

#[tokio::test]
async fn revocations_of_one_client_leave_room_for_its_own_admins_too() {
    let deployment = Deployment::new();
    let running = deployment.node.start().await.unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let node = deployment.node.clone();
    let client = node
        .authenticate(&key.client_id, &key.secret)
        .await
        .unwrap();
    let client = Arc::new(client);
    let store = &deployment.store;
    store.hold_calls();
    let revocations: Vec<_> = (0..500)
        .map(|_| {
            let (node, client) = (node.clone(), Arc::clone(&client));
            tokio::spawn(async move {
                let token = node.issue(&client, None).unwrap().access_token;
                node.revoke_token(&client, token.expose_secret()).await
            })
        })
        .collect();
    until(|| revocations.iter().filter(|it| it.is_finished()).count() == 500 - 3 - 256).await;
    assert_eq!(store.running(), 3);
    // The admin ends it all.
    let revoke = tokio::spawn({
        let node = node.clone();
        async move { node.manage(&admin("alder")).revoke(key.id, None).await }
    });
    until(|| store.running() == 4).await;
    store.release_calls(100_000);
    revoke.await.unwrap().unwrap();
    let mut busy = 0;
    for answer in revocations {
        match answer.await.unwrap() {
            Ok(()) => {}
            Err(RevokeTokenError::Busy { retry_after }) => {
                assert!((1..=120).contains(&retry_after.as_secs()));
                busy += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(busy, 500 - 3 - 256);
    running.shutdown().await;
}

#[tokio::test]
async fn the_same_new_name_many_times_at_once_is_hashed_once() {
    let scene = Scene::new(1, 128);
    scene.open();
    let creates: Vec<_> = (0..200).map(|_| scene.create("alder", "Lab")).collect();
    let mut made = 0;
    for create in creates {
        match create.await.unwrap() {
            Ok(_) => made += 1,
            Err(ManageError::NameTaken) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((made, scene.hasher.begun().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_for_a_store_that_hangs_is_told_so() {
    let deployment = Deployment::new();
    deployment.key("Lab", "apiv2", READ).await;
    deployment.store.hold_calls();
    let mut lists: Vec<_> = (0..4).map(|_| list(&deployment, "alder")).collect();
    until(|| deployment.store.running() == 3).await;
    let waited = tokio::time::Instant::now();
    let told = lists.pop().unwrap().await.unwrap();
    assert!(
        matches!(told, Err(ManageError::RateLimited { .. })),
        "{told:?}"
    );
    assert_eq!(waited.elapsed().as_secs(), 3);
    // Who gives up leaves no place behind.
    for list in &lists {
        list.abort();
    }
    until(|| deployment.store.running() == 0).await;
    deployment.store.release_calls(1);
    list(&deployment, "alder").await.unwrap().unwrap();
}
