//! The numbered log of changes and the nodes that follow it.

use super::fixture::{
    NOW, at_once, catch_up, credential, inserted, latest, new, node, rename, rescope, revoke,
    revoke_token, seconds, tenant,
};
use crate::{
    secret::keyring::KeyName,
    store::{CHANGES_KEPT_FOR, Change, CredentialStore, Heartbeat, KeyCheck, NodeId, StoreError},
};

/// Every kind of change gets the next number; a node that follows sees each exactly once, in
/// order, also while 8 writers race.
pub async fn changes_have_no_gaps_and_follow_commits<S: CredentialStore + Clone>(store: &S) {
    let node = node();
    let start = catch_up(store, node, None).await.upto;
    let committed: Vec<(u64, Change)> = at_once(8, |n| {
        let store = store.clone();
        async move {
            let made = credential(
                &tenant(&format!("tenant-{}", n % 3)),
                &format!("key {n}"),
                0,
            );
            let mut numbers = vec![store.insert(new(&made, 100)).await.unwrap().change];
            let edit = rename(&made, &format!("name {n}"));
            let edited = store.replace(edit).await.unwrap();
            numbers.push(edited.change);
            let edit = rescope(&edited.value, &["system/bills.read"]);
            numbers.push(store.replace(edit).await.unwrap().change);
            let revocation = revoke_token(&made, 0, 60);
            numbers.push(store.revoke_token(revocation).await.unwrap().change);
            numbers.push(store.revoke(revoke(&made, NOW)).await.unwrap().change);
            assert!(numbers.is_sorted(), "one writer's changes keep their order");
            numbers
                .into_iter()
                .map(move |number| (number, Change::Credential(made.id)))
        }
    })
    .await
    .into_iter()
    .flatten()
    .collect();

    let mut expected = committed;
    expected.sort_by_key(|(number, _)| *number);
    let numbers: Vec<u64> = expected.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (start + 1..=start + 40).collect::<Vec<_>>());
    let changes = catch_up(store, node, Some(start)).await;
    assert_eq!(changes.upto, start + 40);
    assert_eq!(changes.items, Some(expected));
    let changes = catch_up(store, node, Some(start + 40)).await;
    assert_eq!(changes.items, Some(Vec::new()));
}

/// A node without a place in the log gets the latest number and nothing to apply.
pub async fn changes_start_anew_without_a_place<S: CredentialStore + Clone>(store: &S) {
    inserted(store, "alder", "Lab", 0).await;
    let changes = catch_up(store, node(), None).await;
    assert!(changes.upto >= 1);
    assert_eq!(changes.items, None);
}

/// A node that has applied more than the store knows (a lost time line) is not told "nothing new".
pub async fn changes_never_pretend_to_know_a_future_place<S: CredentialStore + Clone>(store: &S) {
    inserted(store, "alder", "Lab", 0).await;
    let upto = latest(store).await;
    let changes = catch_up(store, node(), Some(upto + 5)).await;
    assert_eq!(changes.upto, upto);
    assert!(changes.items.is_none_or(|items| items.is_empty()));
}

/// A state read carries the number of the latest change that is in it.
pub async fn reads_carry_the_number_of_the_latest_change<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let committed = store.replace(rename(&made, "Radiology")).await.unwrap();
    let selector = made.secrets.first().unwrap().selector;
    assert_eq!(store.state(made.id).await.unwrap().upto, committed.change);
    let read = store.state_by_selector(&selector).await.unwrap();
    assert_eq!(read.upto, committed.change);
    assert_eq!(read.value.unwrap().credential.name.as_str(), "Radiology");
}

async fn heartbeat<S: CredentialStore>(store: &S, node: NodeId, staleness: u64, at: u64) -> u64 {
    let heartbeat = Heartbeat {
        node,
        applied: None,
        max_staleness: seconds(staleness),
        at: NOW.saturating_add(seconds(at)),
    };
    let changes = store.catch_up(&heartbeat).await.unwrap();
    changes.largest_max_staleness.as_secs()
}

/// Each node learns the largest bound of all, its own latest one included.
pub async fn catch_up_knows_the_slowest_node<S: CredentialStore + Clone>(store: &S) {
    let (quick, slow) = (node(), node());
    assert_eq!(heartbeat(store, quick, 1, 0).await, 1);
    assert_eq!(heartbeat(store, slow, 9, 0).await, 9);
    assert_eq!(heartbeat(store, quick, 1, 1).await, 9);
    assert_eq!(heartbeat(store, slow, 2, 1).await, 2);
}

/// A node that has not been heard of for as long as changes are kept no longer counts.
pub async fn catch_up_forgets_dead_nodes<S: CredentialStore + Clone>(store: &S) {
    let (alive, dead) = (node(), node());
    heartbeat(store, dead, 9, 0).await;
    let kept = CHANGES_KEPT_FOR.as_secs();
    assert_eq!(heartbeat(store, alive, 1, kept).await, 9);
    assert_eq!(heartbeat(store, alive, 1, kept + 1).await, 1);
}

fn check(name: &str, value: &str) -> KeyCheck {
    KeyCheck {
        name: name.parse::<KeyName>().unwrap(),
        value: value.to_owned(),
    }
}

/// A name keeps the value it was first used with; comparing keeps nothing.
pub async fn keys_are_compared_by_name<S: CredentialStore + Clone>(store: &S) {
    store.check_keys(&[check("k1", "aa")]).await.unwrap();
    store.use_key(&check("k1", "bb")).await.unwrap();
    let mismatch = |refused: Result<Vec<KeyName>, StoreError>| {
        assert!(
            matches!(&refused, Err(StoreError::KeyMismatch { name }) if name.as_str() == "k1"),
            "{refused:?}"
        );
    };
    mismatch(store.use_key(&check("k1", "aa")).await);
    mismatch(
        store
            .check_keys(&[check("k2", "cc"), check("k1", "aa")])
            .await,
    );
    let both = [check("k1", "bb"), check("k2", "cc")];
    let known = store.check_keys(&both).await.unwrap();
    assert_eq!(known, [check("k1", "").name]);
}

/// Oldest first, whatever their names, each once.
pub async fn keys_are_kept_in_the_order_of_their_first_use<S: CredentialStore + Clone>(store: &S) {
    for name in ["k2", "k3", "k2", "k1"] {
        store.use_key(&check(name, name)).await.unwrap();
    }
    let names = store.check_keys(&[]).await.unwrap();
    assert_eq!(names, ["k2", "k3", "k1"].map(|name| check(name, "").name));
    assert_eq!(store.use_key(&check("k3", "k3")).await.unwrap(), names);
}
