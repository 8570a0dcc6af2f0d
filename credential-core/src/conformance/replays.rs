//! Kept answers.

use std::time::Duration;

use super::fixture::{
    ALL, LATER, NOW, at_once, credential, inserted, keyring, latest, new, rename, seconds, stored,
    tenant,
};
use crate::{
    clock::Timestamp,
    credential::Credential,
    entropy::{Entropy as _, OsEntropy},
    id::TenantId,
    store::{
        CredentialStore, Edit, NewCredential, NewReplay, REPLAYS_KEPT_FOR, Replay, ReplayId,
        ReplayQuery, StoreError,
    },
};

fn id() -> ReplayId {
    let mut id = [0; 32];
    OsEntropy.fill(&mut id);
    ReplayId(id)
}

pub(super) fn answer(id: ReplayId, text: &str) -> NewReplay {
    NewReplay {
        replay: Replay {
            id,
            key: keyring().signing().name().clone(),
            request: [7; 32],
            sealed: [text.as_bytes(), &[0, 255]].concat(),
            effective_at: None,
        },
        aliases: Vec::new(),
        keep_for: REPLAYS_KEPT_FOR,
    }
}

fn new_with(credential: &Credential, replay: NewReplay) -> NewCredential {
    NewCredential {
        replay: Some(replay),
        ..new(credential, 1_000)
    }
}

pub(super) fn edit_with(credential: &Credential, name: &str, replay: NewReplay) -> Edit {
    Edit {
        replay: Some(replay),
        ..rename(credential, name)
    }
}

fn query(owner: &TenantId, ids: &[ReplayId], effective_at: Option<Timestamp>) -> ReplayQuery {
    ReplayQuery {
        tenant: owner.clone(),
        ids: ids.to_vec(),
        effective_at,
    }
}

async fn kept(store: &impl CredentialStore, owner: &str, id: ReplayId) -> Option<Replay> {
    let query = query(&tenant(owner), &[id], None);
    store.replay(&query).await.unwrap()
}

fn is_used<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::IdempotencyKeyUsed))
}

/// An answer is kept with an insert and with an edit, is found under any of its names that is asked for,
/// and comes back to the byte. Reading it moves nothing.
pub async fn an_answer_is_kept_with_its_change<S: CredentialStore + Clone>(store: &S) {
    let (first, second) = (id(), id());
    let made = credential(&tenant("alder"), "Lab", 0);
    let with = new_with(&made, answer(first, "made"));
    let expected = with.replay.clone().unwrap().replay;
    store.insert(with).await.unwrap();
    let with = edit_with(&made, "Imaging", answer(second, &"e".repeat(20_000)));
    let edited = with.replay.clone().unwrap().replay;
    store.replace(with).await.unwrap();

    let before = latest(store).await;
    assert_eq!(kept(store, "alder", first).await, Some(expected.clone()));
    assert_eq!(kept(store, "alder", second).await, Some(edited));
    assert_eq!(kept(store, "alder", id()).await, None);
    let any = query(&tenant("alder"), &[id(), first, id()], None);
    assert_eq!(store.replay(&any).await.unwrap(), Some(expected));
    let none = query(&tenant("alder"), &[], None);
    assert_eq!(store.replay(&none).await.unwrap(), None);
    assert_eq!(latest(store).await, before);
}

/// Another tenant's answer is not there, and its name is free.
pub async fn answers_are_invisible_across_tenants<S: CredentialStore + Clone>(store: &S) {
    let name = id();
    for owner in ["alder", "birch"] {
        assert_eq!(kept(store, owner, name).await, None);
        let made = credential(&tenant(owner), "Lab", 0);
        let with = new_with(&made, answer(name, owner));
        store.insert(with).await.unwrap();
    }
    for owner in ["alder", "birch"] {
        let expected = answer(name, owner).replay;
        assert_eq!(kept(store, owner, name).await, Some(expected));
    }
    let stranger = query(&tenant("birch"), &[name], Some(NOW));
    store.replay(&stranger).await.unwrap();
    let own = kept(store, "alder", name).await.unwrap();
    assert_eq!(own.effective_at, None);
}

/// What is refused leaves no answer behind, and its name may be used.
pub async fn a_refused_change_keeps_no_answer<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "alder", "Imaging", 0).await;
    let name = id();
    let taken = credential(&tenant("alder"), "Lab", 0);
    let refused = store.insert(new_with(&taken, answer(name, "no"))).await;
    assert!(matches!(refused, Err(StoreError::NameTaken)), "{refused:?}");
    let full = NewCredential {
        limit: 2,
        ..new_with(
            &credential(&tenant("alder"), "Third", 0),
            answer(name, "no"),
        )
    };
    let refused = store.insert(full).await;
    assert!(
        matches!(refused, Err(StoreError::LimitReached)),
        "{refused:?}"
    );
    let refused = store
        .replace(edit_with(&other, "Lab", answer(name, "no")))
        .await;
    assert!(matches!(refused, Err(StoreError::NameTaken)), "{refused:?}");
    let stale = Edit {
        expected_version: 9,
        ..edit_with(&other, "Third", answer(name, "no"))
    };
    let refused = store.replace(stale).await;
    assert!(
        matches!(refused, Err(StoreError::StaleVersion)),
        "{refused:?}"
    );
    let foreign = Edit {
        tenant: tenant("birch"),
        ..edit_with(&other, "Third", answer(name, "no"))
    };
    let refused = store.replace(foreign).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    for owner in ["alder", "birch"] {
        assert_eq!(kept(store, owner, name).await, None, "{owner}");
    }
    store
        .replace(edit_with(&made, "Lab 2", answer(name, "yes")))
        .await
        .unwrap();
    assert!(kept(store, "alder", name).await.is_some());
}

/// A change whose answer's name is in use does nothing, for that reason before any other; so does one of
/// whose other names one is in use. The kept answer stays as it is.
pub async fn a_used_key_refuses_the_change<S: CredentialStore + Clone>(store: &S) {
    let name = id();
    let made = credential(&tenant("alder"), "Lab", 0);
    store
        .insert(new_with(&made, answer(name, "first")))
        .await
        .unwrap();
    let before = latest(store).await;
    let alias = NewReplay {
        aliases: vec![id(), name],
        ..answer(id(), "second")
    };
    for replay in [answer(name, "second"), alias] {
        for wanted in ["Other", "Lab"] {
            let another = credential(&tenant("alder"), wanted, 0);
            let refused = store.insert(new_with(&another, replay.clone())).await;
            assert!(is_used(&refused), "{refused:?}");
        }
        let refused = store
            .replace(edit_with(&made, "Other", replay.clone()))
            .await;
        assert!(is_used(&refused), "{refused:?}");
        let stale = Edit {
            expected_version: 9,
            ..edit_with(&made, "Other", replay.clone())
        };
        let refused = store.replace(stale).await;
        assert!(is_used(&refused), "{refused:?}");
        assert_eq!(
            kept(store, "alder", replay.replay.id).await.is_some(),
            replay.replay.id == name
        );
    }
    assert_eq!(latest(store).await, before);
    assert_eq!(stored(store, &made).await, made);
    let listed = store.list(&tenant("alder"), &ALL).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&made));
    let expected = answer(name, "first").replay;
    assert_eq!(kept(store, "alder", name).await, Some(expected));
}

/// 16 changes race for one name, inserts and edits: one happens, and its answer is kept.
pub async fn one_of_racing_changes_keeps_its_answer<S: CredentialStore + Clone>(store: &S) {
    let name = id();
    let mut edited = Vec::new();
    for n in 0..8 {
        edited.push(inserted(store, "alder", &format!("old {n}"), 0).await);
    }
    let before = latest(store).await;
    let results = at_once(16, |n| {
        let store = store.clone();
        let edited = edited.get(n).cloned();
        async move {
            let replay = answer(name, &n.to_string());
            let done = if let Some(it) = edited {
                let edit = edit_with(&it, &format!("new {n}"), replay);
                store.replace(edit).await.map(drop)
            } else {
                let made = credential(&tenant("alder"), &format!("new {n}"), 0);
                store.insert(new_with(&made, replay)).await.map(drop)
            };
            done.map(|()| n)
        }
    })
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert!(lost.iter().all(is_used), "{lost:?}");
    let [Ok(winner)] = won.as_slice() else {
        panic!("{won:?}");
    };
    let expected = answer(name, &winner.to_string()).replay;
    assert_eq!(kept(store, "alder", name).await, Some(expected));
    assert_eq!(latest(store).await.number, before.number + 1);
}

/// An answer whose time is over is not there, whether or not its row is, and its name may be used anew.
pub async fn an_answer_ends_and_its_key_is_free<S: CredentialStore + Clone>(store: &S) {
    let name = id();
    let over = |text| NewReplay {
        keep_for: seconds(0),
        ..answer(name, text)
    };
    let made = credential(&tenant("alder"), "Lab", 0);
    store.insert(new_with(&made, over("first"))).await.unwrap();
    let later = query(&tenant("alder"), &[name], Some(NOW));
    assert_eq!(store.replay(&later).await.unwrap(), None);
    store
        .replace(edit_with(&made, "Lab 2", over("second")))
        .await
        .unwrap();
    assert_eq!(kept(store, "alder", name).await, None);
    let alias = NewReplay {
        aliases: vec![name],
        ..answer(id(), "third")
    };
    let other = credential(&tenant("alder"), "Imaging", 0);
    store.insert(new_with(&other, alias)).await.unwrap();
    let third = credential(&tenant("alder"), "Third", 0);
    store
        .insert(new_with(&third, answer(name, "fourth")))
        .await
        .unwrap();
    let expected = answer(name, "fourth").replay;
    assert_eq!(kept(store, "alder", name).await, Some(expected));
}

/// The first time that is said of an answer is kept, and told to all who race.
pub async fn the_first_effective_time_of_an_answer_stays<S: CredentialStore + Clone>(store: &S) {
    let (name, other) = (id(), id());
    let made = credential(&tenant("alder"), "Lab", 0);
    store
        .insert(new_with(&made, answer(name, "yes")))
        .await
        .unwrap();
    store
        .replace(edit_with(&made, "Lab 2", answer(other, "other")))
        .await
        .unwrap();
    let told = at_once(8, |n| {
        let store = store.clone();
        async move {
            let at = LATER.saturating_add(seconds(n as u64));
            let query = query(&tenant("alder"), &[name], Some(at));
            let found = store.replay(&query).await.unwrap();
            found.unwrap().effective_at.unwrap()
        }
    })
    .await;
    let first = *told.first().unwrap();
    assert!(told.iter().all(|at| *at == first), "{told:?}");
    let found = kept(store, "alder", name).await.unwrap();
    assert_eq!(found.effective_at, Some(first));
    assert_eq!(found.sealed, answer(name, "yes").replay.sealed);
    let untouched = kept(store, "alder", other).await.unwrap();
    assert_eq!(untouched.effective_at, None);
}

/// Not part of [`for_each_credential_case!`](crate::for_each_credential_case): for stores whose clock a test can move,
/// or whose times it can set back. An answer can be had for its time by the store's clock, and no longer.
pub async fn answers_end_after_their_time<S: CredentialStore + Clone>(
    store: &S,
    let_pass: impl AsyncFn(Duration),
) {
    let name = id();
    let made = credential(&tenant("alder"), "Lab", 0);
    store
        .insert(new_with(&made, answer(name, "yes")))
        .await
        .unwrap();
    let_pass(REPLAYS_KEPT_FOR.saturating_sub(seconds(60))).await;
    let again = edit_with(&made, "Lab 2", answer(name, "again"));
    assert!(is_used(&store.replace(again.clone()).await));
    assert!(kept(store, "alder", name).await.is_some());
    let_pass(seconds(61)).await;
    assert_eq!(kept(store, "alder", name).await, None);
    store.replace(again).await.unwrap();
    assert!(kept(store, "alder", name).await.is_some());
}
