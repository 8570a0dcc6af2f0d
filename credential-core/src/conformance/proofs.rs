//! What proves a client in place of a secret, and assertions that count once.

use std::time::Duration;

use super::fixture::{
    KEY_SET_URL, NOW, credential, edit, inserted, latest, new, registration, seconds, stored,
    tenant,
};
use crate::{
    audit::Details,
    clock::{Clock as _, SystemClock},
    credential::Settings,
    entropy::OsEntropy,
    id::{ClientId, ClientIdPrefix, Environment},
    store::{ASSERTIONS_KEPT_FOR, CredentialStore, LastUse, SpendAssertion, UsageStore},
};

/// Registrations come as they are said, in their order, and go.
pub async fn replace_adds_and_takes_away_registrations<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "birch", "Lab", 0).await;
    let first = made.settings.registrations.first().unwrap().clone();
    let (second, third) = (registration(KEY_SET_URL), registration(KEY_SET_URL));
    let mut before = made.clone();
    for registrations in [
        vec![first.clone(), second.clone()],
        // Neither in the order in which they came nor in that of their proofs, both ways.
        vec![third.clone(), second.clone(), first],
        vec![second.clone(), third.clone()],
        vec![],
        vec![third, second],
    ] {
        let settings = Settings {
            registrations: registrations.clone(),
            ..before.settings.clone()
        };
        let details = Details::Disabled { name: "Lab" };
        before = store
            .replace(edit(&before, settings, &details))
            .await
            .unwrap()
            .value;
        assert_eq!(before.settings.registrations, registrations);
        assert_eq!(stored(store, &made).await, before);
        let state = store.state(made.identity.id).await.unwrap().value;
        assert_eq!(state.unwrap().credential, before);
    }
    assert_eq!(stored(store, &other).await, other);
}

/// An edit does not undo a use that was recorded after it was decided on; a use is of its proof alone.
pub async fn last_use_of_a_registration_stays<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let proof = made.settings.registrations.last().unwrap().proof;
    let used = LastUse {
        credential_id: made.identity.id,
        proof,
        at: NOW.saturating_add(seconds(5)),
    };
    super::usage::record_uses(store, &[used]).await;
    let mut expected = made.clone();
    expected.observed.last_used_at = Some(used.at);
    expected
        .settings
        .registrations
        .last_mut()
        .unwrap()
        .last_used_at = Some(used.at);
    assert_eq!(stored(store, &made).await, expected);
    // Decided on what was there before the use.
    let details = Details::Disabled { name: "Lab" };
    let edited = edit(&made, made.settings.clone(), &details);
    let edited = store.replace(edited).await.unwrap().value;
    expected.version += 1;
    assert_eq!(edited, expected);
    let earlier = LastUse { at: NOW, ..used };
    super::usage::record_uses(store, &[earlier]).await;
    assert_eq!(stored(store, &made).await, expected);
}

/// A credential is found by its client id, which is compared by its bytes.
pub async fn state_is_found_by_client<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    inserted(store, "birch", "Lab", 0).await;
    let by_id = store.state(made.identity.id).await.unwrap();
    let by_client = store
        .state_by_client(&made.identity.client_id)
        .await
        .unwrap();
    assert_eq!(by_client, by_id);
    assert!(by_client.value.is_some());
    let prefix = ClientIdPrefix::default();
    let unknown = ClientId::generate(&prefix, Environment::Sandbox, &OsEntropy);
    assert_eq!(store.state_by_client(&unknown).await.unwrap().value, None);
}

fn spend(
    of: &crate::credential::Credential,
    digest: u8,
    until: crate::clock::Timestamp,
) -> SpendAssertion {
    SpendAssertion {
        credential_id: of.identity.id,
        digest: [digest; 32],
        until,
    }
}

/// An assertion counts once for its credential, moves no version and is no change.
pub async fn an_assertion_is_spent_once<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "alder", "Other", 0).await;
    let before = latest(store).await;
    let until = SystemClock.now().saturating_add(seconds(300));
    assert!(store.spend_assertion(spend(&made, 1, until)).await.unwrap());
    assert!(!store.spend_assertion(spend(&made, 1, until)).await.unwrap());
    // Whatever it says of its end.
    let later = until.saturating_add(seconds(60));
    assert!(!store.spend_assertion(spend(&made, 1, later)).await.unwrap());
    assert!(store.spend_assertion(spend(&made, 2, until)).await.unwrap());
    assert!(
        store
            .spend_assertion(spend(&other, 1, until))
            .await
            .unwrap()
    );
    // Also one that has ended long ago by the store's clock: the node that accepts it goes by another.
    assert!(store.spend_assertion(spend(&made, 3, NOW)).await.unwrap());
    assert!(!store.spend_assertion(spend(&made, 3, NOW)).await.unwrap());
    assert_eq!(latest(store).await, before);
    assert_eq!(stored(store, &made).await, made);
}

/// Of 16 at once one counts.
pub async fn an_assertion_is_spent_once_under_concurrency<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let spend = spend(&made, 7, SystemClock.now().saturating_add(seconds(300)));
    let results = super::fixture::at_once(16, |_| {
        let store = store.clone();
        async move { store.spend_assertion(spend).await.unwrap() }
    })
    .await;
    assert_eq!(results.into_iter().filter(|first| *first).count(), 1);
}

/// Not part of [`for_each_credential_case!`](crate::for_each_credential_case): for stores whose clock a test can move, or
/// whose times it can set back. A record may go once the assertion ended long enough ago by the store's
/// clock, and not before.
pub async fn spent_assertions_are_forgotten_after_their_time<S: CredentialStore + Clone>(
    store: &S,
    let_pass: impl AsyncFn(Duration),
) {
    let made = credential(&tenant("alder"), "Lab", 0);
    store.insert(new(&made, 100)).await.unwrap();
    let until = SystemClock.now().saturating_add(seconds(60));
    assert!(store.spend_assertion(spend(&made, 1, until)).await.unwrap());
    let other = |digest| spend(&made, digest, until.saturating_add(seconds(100_000)));
    // Still remembered: clocks differ.
    let_pass(ASSERTIONS_KEPT_FOR).await;
    assert!(store.spend_assertion(other(2)).await.unwrap());
    assert!(!store.spend_assertion(spend(&made, 1, until)).await.unwrap());
    let_pass(seconds(120)).await;
    // Of that one, or of this one itself.
    assert!(store.spend_assertion(other(3)).await.unwrap());
    assert!(store.spend_assertion(spend(&made, 1, until)).await.unwrap());
    assert!(!store.spend_assertion(other(3)).await.unwrap());
}
