//! The log of changes and the nodes that follow it.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::fixture::{
    ISSUER, NOW, at_once, catch_up, credential, heartbeat, inserted, latest, new, node, rename,
    rescope, revoke, revoke_token, seconds, tenant,
};
use crate::{
    live::follows,
    secret::keyring::KeyName,
    store::{
        CHANGES_KEPT_FOR, Change, ChangeId, Changes, CredentialStore, Heartbeat, KeyCheck, Mark,
        NODE_ALIVE_FOR, NodeId, StoreError,
    },
};

/// Every kind of change gets the next number and a mark of its own; a node that follows sees each
/// exactly once, in order, also while 8 writers race.
pub async fn changes_have_no_gaps_and_follow_commits<S: CredentialStore + Clone>(store: &S) {
    let node = node();
    let start = catch_up(store, node, None).await.upto;
    let committed: Vec<(ChangeId, Change)> = at_once(8, |n| {
        let store = store.clone();
        async move {
            let made = credential(
                &tenant(&format!("tenant-{}", n % 3)),
                &format!("key {n}"),
                0,
            );
            let mut changes = vec![store.insert(new(&made, 100)).await.unwrap().change];
            let edit = rename(&made, &format!("name {n}"));
            let edited = store.replace(edit).await.unwrap();
            changes.push(edited.change);
            let edit = rescope(&edited.value, &["system/bills.read"]);
            changes.push(store.replace(edit).await.unwrap().change);
            let revocation = revoke_token(&made, 0, 60);
            changes.push(store.revoke_token(revocation).await.unwrap().change);
            changes.push(store.revoke(revoke(&made, NOW)).await.unwrap().change);
            assert!(
                changes.is_sorted_by_key(|change| change.number),
                "one writer's changes keep their order"
            );
            changes
                .into_iter()
                .map(move |change| (change, Change::Credential(made.identity.id)))
        }
    })
    .await
    .into_iter()
    .flatten()
    .collect();

    let mut expected = committed;
    expected.sort_by_key(|(change, _)| change.number);
    let numbers: Vec<u64> = expected.iter().map(|(change, _)| change.number).collect();
    assert_eq!(
        numbers,
        (start.number + 1..=start.number + 40).collect::<Vec<_>>()
    );
    let marks: HashSet<Mark> = expected.iter().map(|(change, _)| change.mark).collect();
    assert_eq!(marks.len(), 40, "no two changes have one mark");
    let changes = catch_up(store, node, Some(start)).await;
    assert!(continues(start, &changes), "{changes:?}");
    assert!(changes.waited < seconds(600), "{:?}", changes.waited);
    let items = changes.items.unwrap().into_iter();
    let listed: Vec<_> = items.map(|item| (item.id, item.change)).collect();
    assert_eq!(listed, expected);
    let (last, _) = expected.pop().unwrap();
    assert_eq!(changes.upto, last);
    let changes = catch_up(store, node, Some(last)).await;
    assert_eq!(changes.items, Some(Vec::new()));
    assert_eq!(changes.upto, last);
}

/// Whether a node that has applied that change goes on with the answer.
pub(super) fn continues(applied: ChangeId, changes: &Changes) -> bool {
    let items = changes.items.as_deref();
    items.is_some_and(|items| follows(applied, items, changes.upto))
}

/// A node without a place in the log gets the latest change and nothing to apply.
pub async fn changes_start_anew_without_a_place<S: CredentialStore + Clone>(store: &S) {
    inserted(store, "alder", "Lab", 0).await;
    let changes = catch_up(store, node(), None).await;
    assert!(changes.upto.number >= 1);
    assert_eq!(changes.items, None);
}

/// No more changes than were asked for: a node that is further behind starts anew.
pub async fn changes_are_no_more_than_asked_for<S: CredentialStore + Clone>(store: &S) {
    let start = latest(store).await;
    for (made, name) in ["one", "two", "three", "four"].into_iter().enumerate() {
        let made = made + 1;
        inserted(store, "alder", name, 0).await;
        let heartbeat = Heartbeat {
            max_changes: 3,
            ..heartbeat(node(), Some(start))
        };
        let changes = store.catch_up(&heartbeat).await.unwrap();
        assert_eq!(changes.upto.number, start.number + made as u64);
        let listed = changes.items.map(|items| items.len());
        assert_eq!(listed, (made <= 3).then_some(made));
    }
}

/// A node that was away for longer than a moment goes on where it was, however many heartbeats of others
/// came between. Takes a second and a half.
pub async fn changes_are_kept_for_longer_than_a_moment<S: CredentialStore + Clone>(store: &S) {
    let start = latest(store).await;
    for name in ["one", "two"] {
        inserted(store, "alder", name, 0).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    inserted(store, "alder", "three", 0).await;
    for _ in 0..50 {
        latest(store).await;
    }
    let changes = catch_up(store, node(), Some(start)).await;
    assert!(continues(start, &changes), "{changes:?}");
    assert_eq!(changes.items.unwrap().len(), 3);
}

/// Not part of [`for_each_credential_case!`](crate::for_each_credential_case): for stores whose clock a
/// test can move, or whose times it can set back. A row is there for as long as changes are kept, and the
/// latest one for good.
pub async fn changes_are_kept_for_their_time<S: CredentialStore + Clone>(
    store: &S,
    let_pass: impl AsyncFn(Duration),
) {
    let start = latest(store).await;
    inserted(store, "alder", "one", 0).await;
    let before_last = latest(store).await;
    inserted(store, "alder", "two", 0).await;
    let_pass(CHANGES_KEPT_FOR / 4 * 3).await;
    latest(store).await;
    let changes = catch_up(store, node(), Some(start)).await;
    assert!(continues(start, &changes), "{changes:?}");
    let_pass(2 * CHANGES_KEPT_FOR).await;
    latest(store).await;
    let changes = catch_up(store, node(), Some(before_last)).await;
    assert!(continues(before_last, &changes), "{changes:?}");
}

/// A node that has applied more than the store knows (a lost history) is not told "nothing new".
pub async fn changes_never_pretend_to_know_a_future_place<S: CredentialStore + Clone>(store: &S) {
    inserted(store, "alder", "Lab", 0).await;
    let upto = latest(store).await;
    for ahead in [1, 5] {
        let future = ChangeId {
            number: upto.number + ahead,
            mark: Mark([7; 16]),
        };
        let changes = catch_up(store, node(), Some(future)).await;
        assert_eq!(changes.upto, upto);
        assert!(!continues(future, &changes), "{changes:?}");
    }
}

/// A node that has applied another change under the same number is not told that it is up to date,
/// be that the latest change, an earlier one, or number 0.
pub async fn changes_do_not_continue_another_history<S: CredentialStore + Clone>(store: &S) {
    let mut places = vec![latest(store).await];
    let mut made = inserted(store, "alder", "Lab", 0).await;
    places.push(latest(store).await);
    for name in ["one", "two"] {
        let edited = store.replace(rename(&made, name)).await.unwrap();
        made = edited.value;
        places.push(edited.change);
    }
    assert_eq!(places.iter().map(|place| place.number).min(), Some(0));
    for place in places {
        let changes = catch_up(store, node(), Some(place)).await;
        assert!(continues(place, &changes), "{place:?}: {changes:?}");
        let lost = ChangeId {
            mark: Mark([7; 16]),
            ..place
        };
        let changes = catch_up(store, node(), Some(lost)).await;
        assert!(!continues(lost, &changes), "{lost:?}: {changes:?}");
    }
}

/// Not part of [`for_each_credential_case!`](crate::for_each_credential_case): for stores whose content can be put back, as
/// by a restore. The changes that were lost and the ones in their places are told apart, in the log
/// and in reads.
pub async fn changes_after_a_restore_are_other_changes<S, B>(
    store: &S,
    back_up: impl AsyncFnOnce() -> B,
    restore: impl AsyncFnOnce(B),
) where
    S: CredentialStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "alder", "Other", 0).await;
    let kept = latest(store).await;
    let saved = back_up().await;
    let mut lost = vec![
        store.replace(rename(&made, "Lost")).await.unwrap().change,
        store.revoke(revoke(&other, NOW)).await.unwrap().change,
    ];
    lost.push(store.state(made.identity.id).await.unwrap().upto);
    restore(saved).await;
    assert_eq!(
        latest(store).await,
        kept,
        "the backup brings its marks along"
    );

    let mut anew = Vec::new();
    for name in ["one", "two", "three"] {
        inserted(store, "alder", name, 0).await;
        let read = store.state(made.identity.id).await.unwrap();
        assert_eq!(
            read.value.unwrap().credential.settings.name,
            made.settings.name
        );
        anew.push(read.upto);
        assert_eq!(latest(store).await, read.upto);
    }
    for (place, applied) in lost
        .iter()
        .map(|place| (place, false))
        .chain([(&kept, true)])
    {
        let changes = catch_up(store, node(), Some(*place)).await;
        assert_eq!(
            continues(*place, &changes),
            applied,
            "{place:?}: {changes:?}"
        );
        assert!(!anew.contains(place));
    }
    let repeated = lost
        .iter()
        .filter(|place| anew.iter().any(|it| it.number == place.number));
    assert_eq!(repeated.count(), lost.len(), "the numbers are the same");
}

/// A state read carries the latest change that is in it.
pub async fn reads_carry_the_latest_change<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let committed = store.replace(rename(&made, "Radiology")).await.unwrap();
    let selector = made.settings.secrets.first().unwrap().selector;
    assert_eq!(
        store.state(made.identity.id).await.unwrap().upto,
        committed.change
    );
    let read = store.state_by_proof(&selector).await.unwrap();
    assert_eq!(read.upto, committed.change);
    assert_eq!(
        read.value.unwrap().credential.settings.name.as_str(),
        "Radiology"
    );
}

/// What a state says and the change that it is as of belong together, also while others write.
pub async fn reads_are_of_one_moment<S: CredentialStore + Clone>(store: &S) {
    const AT_LEAST: usize = 20;
    let mut made = inserted(store, "alder", "Lab", 0).await;
    let selector = made.settings.secrets.first().unwrap().selector;
    let (id, start) = (made.identity.id, latest(store).await);
    let edits = Arc::new(AtomicUsize::new(0));
    let reading = AtomicBool::new(true);
    let readers = at_once(3, |_| {
        let (store, edits) = (store.clone(), Arc::clone(&edits));
        async move {
            let mut reads = Vec::new();
            while reads.len() < AT_LEAST || edits.load(Ordering::SeqCst) < AT_LEAST {
                reads.push(store.state(id).await.unwrap());
                reads.push(store.state_by_proof(&selector).await.unwrap());
                tokio::task::yield_now().await;
            }
            reads
        }
    });
    let readers = async {
        let reads = readers.await;
        reading.store(false, Ordering::SeqCst);
        reads
    };
    let writer = async {
        let mut names = vec![(start.number, made.settings.name.clone())];
        while reading.load(Ordering::SeqCst) {
            let name = format!("name {}", names.len());
            let edited = store.replace(rename(&made, &name)).await.unwrap();
            made = edited.value;
            names.push((edited.change.number, made.settings.name.clone()));
            edits.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
        names
    };
    let (reads, names) = tokio::join!(readers, writer);
    for read in reads.into_iter().flatten() {
        let found = read.value.unwrap().credential.settings.name;
        let mut names = names.iter();
        let then = names.rfind(|(number, _)| *number <= read.upto.number);
        let (_, expected) = then.unwrap();
        assert_eq!(found, *expected, "as of {:?}", read.upto);
    }
}

/// The bound that a node learns when it says its own.
async fn bound<S: CredentialStore>(store: &S, node: NodeId, staleness: u64) -> u64 {
    let heartbeat = Heartbeat {
        max_staleness: seconds(staleness),
        ..heartbeat(node, None)
    };
    let changes = store.catch_up(&heartbeat).await.unwrap();
    changes.largest_max_staleness.as_secs()
}

/// Each node learns the largest bound of all, its own latest one included.
pub async fn catch_up_knows_the_slowest_node<S: CredentialStore + Clone>(store: &S) {
    let (quick, slow) = (node(), node());
    assert_eq!(bound(store, quick, 1).await, 1);
    assert_eq!(bound(store, slow, 9).await, 9);
    assert_eq!(bound(store, quick, 1).await, 9);
    assert_eq!(bound(store, slow, 2).await, 2);
}

/// A node that starts while another one of another issuer is alive is refused, and leaves no trace; one
/// that runs already goes on.
pub async fn catch_up_refuses_a_newcomer_of_another_issuer<S: CredentialStore + Clone>(store: &S) {
    let (first, newcomer) = (node(), node());
    let start = catch_up(store, first, None).await.upto;
    let beat = |node, applied, issuer: &str| Heartbeat {
        max_staleness: seconds(9),
        issuer: issuer.into(),
        ..heartbeat(node, applied)
    };
    let elsewhere = "https://elsewhere.example.com";
    for _ in 0..2 {
        let refused = store.catch_up(&beat(newcomer, None, elsewhere)).await;
        assert!(
            matches!(&refused, Err(StoreError::IssuerMismatch { issuer, other })
                if **issuer == *elsewhere && other == ISSUER),
            "{refused:?}"
        );
    }
    // Neither by its issuer nor by its bound.
    assert_eq!(bound(store, node(), 2).await, 2);
    assert_eq!(bound(store, first, 1).await, 2, "of the third");
    let running = store
        .catch_up(&beat(newcomer, Some(start), elsewhere))
        .await;
    running.unwrap();
}

/// Not part of [`for_each_credential_case!`](crate::for_each_credential_case): for stores whose clock a test can move, or
/// whose times it can set back. A node that has not been heard of for as long as changes are kept no
/// longer counts.
pub async fn catch_up_forgets_dead_nodes<S: CredentialStore + Clone>(
    store: &S,
    let_pass: impl AsyncFn(Duration),
) {
    let (alive, dead) = (node(), node());
    bound(store, dead, 9).await;
    let_pass(CHANGES_KEPT_FOR.saturating_sub(seconds(60))).await;
    assert_eq!(bound(store, alive, 1).await, 9);
    let_pass(seconds(61)).await;
    assert_eq!(bound(store, alive, 1).await, 1);
    // For issuers a node counts as alive for a shorter time.
    let elsewhere = Heartbeat {
        issuer: "https://elsewhere.example.com".into(),
        ..heartbeat(node(), None)
    };
    store.catch_up(&elsewhere).await.unwrap_err();
    let_pass(NODE_ALIVE_FOR + seconds(1)).await;
    store.catch_up(&elsewhere).await.unwrap();
}

/// Waiting for a change ends when there is one, and does not end at once again and again while there is
/// none: a node catches up each time.
pub async fn wake_up_waits_for_a_change<S: CredentialStore + Clone>(store: &S) {
    const MOMENT: Duration = Duration::from_millis(200);
    let mut wakes = 0;
    let quiet = async {
        while wakes < 20 {
            store.wake_up().await;
            wakes += 1;
            // Also where waking never waits, the time below passes.
            tokio::task::yield_now().await;
        }
    };
    let _quiet = tokio::time::timeout(MOMENT, quiet).await;
    assert!(
        wakes < 20,
        "woken {wakes} times within {MOMENT:?} by no change"
    );
}

pub(super) fn check(name: &str, value: &str) -> KeyCheck {
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
    // A refusal has kept nothing.
    store.use_key(&check("k1", "bb")).await.unwrap();
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
