//! What a store must still know after it was closed and opened again. Called by name, by stores that
//! outlive their process.

use super::{
    change_log::{check, continues},
    fixture::{
        ALL, NOW, at_once, catch_up, credential, heartbeat, inserted, keyring, latest, new, node,
        rename, revoke, revoke_token, seconds, tenant,
    },
    replays::{answer, edit_with},
};
use crate::{
    audit::{Heads, verify_trails},
    store::{CredentialStore, Heartbeat, ListQuery, ReplayId, ReplayQuery, StoreError, TrailStore},
};

/// Credentials, revocations, the change log with its marks, kept answers, nodes and keys are what they were, and go on
/// from there.
pub async fn all_is_there_after_reopening<S: CredentialStore + Clone>(
    store: S,
    reopen: impl AsyncFnOnce(S) -> S,
) {
    let with_revoked = ListQuery {
        include_revoked: true,
        ..ALL
    };
    let alder = tenant("alder");
    let empty = latest(&store).await;
    let ended = inserted(&store, "alder", "Ended", 2).await;
    let kept = inserted(&store, "alder", "Kept", 1).await;
    store.revoke(revoke(&ended, NOW)).await.unwrap();
    let replay = answer(ReplayId([7; 32]), "kept");
    let answered = ReplayQuery {
        tenant: alder.clone(),
        ids: vec![replay.replay.id],
        effective_at: Some(NOW),
    };
    let renamed = edit_with(&kept, "Renamed", replay);
    let kept = store.replace(renamed).await.unwrap();
    let answer = store.replay(&answered).await.unwrap();
    assert!(answer.is_some());
    let revocation = revoke_token(&kept.value, 0, 60);
    let place = store.revoke_token(revocation).await.unwrap().change;
    at_once(4, |n| {
        let store = store.clone();
        async move {
            let made = credential(&tenant("birch"), &format!("key {n}"), 0);
            store.insert(new(&made, 100)).await.unwrap();
        }
    })
    .await;
    store.use_key(&check("k2", "aa")).await.unwrap();
    store.use_key(&check("k1", "bb")).await.unwrap();
    let slow = Heartbeat {
        max_staleness: seconds(9),
        ..heartbeat(node(), None)
    };
    store.catch_up(&slow).await.unwrap();

    let selector = kept.value.settings.secrets.first().unwrap().selector;
    let listed = store.list(&alder, &with_revoked).await.unwrap();
    assert_eq!(listed.len(), 2);
    let state = store.state_by_proof(&selector).await.unwrap();
    let changes = catch_up(&store, node(), Some(empty)).await;
    assert!(continues(empty, &changes), "{changes:?}");

    let store = reopen(store).await;
    assert_eq!(store.list(&alder, &with_revoked).await.unwrap(), listed);
    assert_eq!(store.state_by_proof(&selector).await.unwrap(), state);
    let again = catch_up(&store, node(), Some(empty)).await;
    assert_eq!(again.upto, changes.upto);
    assert_eq!(again.items, changes.items);
    assert_eq!(again.largest_max_staleness, seconds(9));
    assert_eq!(store.replay(&answered).await.unwrap(), answer);
    let names = store.check_keys(&[check("k1", "bb")]).await.unwrap();
    assert_eq!(names, [check("k2", "").name, check("k1", "").name]);
    let other = store.use_key(&check("k1", "cc")).await;
    assert!(
        matches!(other, Err(StoreError::KeyMismatch { .. })),
        "{other:?}"
    );

    // Rules, numbers and marks go on.
    let taken = store
        .insert(new(&credential(&alder, "RENAMED", 0), 9))
        .await;
    assert!(matches!(taken, Err(StoreError::NameTaken)), "{taken:?}");
    let full = store.insert(new(&credential(&alder, "Other", 0), 1)).await;
    assert!(matches!(full, Err(StoreError::LimitReached)), "{full:?}");
    store.revoke_token(revocation).await.unwrap();
    assert_eq!(latest(&store).await, changes.upto, "a repeat is one still");
    let next = store.replace(rename(&kept.value, "Next")).await.unwrap();
    assert_eq!(next.value.version, 3);
    assert_eq!(next.change.number, changes.upto.number + 1);
    for applied in [empty, place, changes.upto, next.change] {
        let changes = catch_up(&store, node(), Some(applied)).await;
        assert!(continues(applied, &changes), "{applied:?}: {changes:?}");
    }
}

/// The audit trail is what it was, and the next row goes on behind its head.
pub async fn trail_goes_on_after_reopening<S>(store: S, reopen: impl AsyncFnOnce(S) -> S)
where
    S: CredentialStore + TrailStore + Clone,
{
    let made = inserted(&store, "alder", "Lab", 0).await;
    let made = store.replace(rename(&made, "Röntgen")).await.unwrap().value;
    let store = reopen(store).await;
    store.revoke(revoke(&made, NOW)).await.unwrap();
    let mut rows = Vec::new();
    verify_trails(&store, &keyring(), &Heads::default(), |report| {
        assert!(report.is_intact(), "{report}");
        rows.push((report.tenant, report.rows));
    })
    .await
    .unwrap();
    assert_eq!(rows, [("alder".to_owned(), 3)]);
}
