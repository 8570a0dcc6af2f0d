//! What authentication and authorization read, and the few things they write.

use std::time::Duration;

use super::fixture::{LATER, hash, inserted, keyring, latest, revoke_token, seconds, stored};
use crate::{
    clock::{Clock as _, SystemClock},
    entropy::OsEntropy,
    id::{CredentialId, ProofId},
    secret::{hash::SecretHash, keyring::Keyring},
    store::{CredentialStore, REVOKED_TOKENS_KEPT_FOR, ReplaceHash, StoreError},
    token::TokenId,
};

/// Both ways lead to the same state.
pub async fn state_is_found_by_id_and_by_proof<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    inserted(store, "birch", "Lab", 0).await;
    let by_id = store.state(made.identity.id).await.unwrap().value.unwrap();
    assert_eq!(by_id.credential, made);
    assert!(by_id.revoked_tokens.is_empty());
    let selector = made.settings.secrets.first().unwrap().selector;
    let by_selector = store.state_by_proof(&selector).await.unwrap().value;
    assert_eq!(by_selector, Some(by_id));
}

/// What does not exist is `None`, not an error.
pub async fn state_of_a_stranger_is_none<S: CredentialStore + Clone>(store: &S) {
    inserted(store, "alder", "Lab", 0).await;
    let unknown = CredentialId::random(&OsEntropy);
    assert_eq!(store.state(unknown).await.unwrap().value, None);
    let unknown = ProofId::random(&OsEntropy);
    assert_eq!(store.state_by_proof(&unknown).await.unwrap().value, None);
}

/// Only the hash that was verified is replaced; a late or repeated call does nothing.
pub async fn replace_hash_swaps_only_the_hash_it_knows<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let secret = made.settings.secrets.first().unwrap();
    let newer = Keyring::generate(&OsEntropy);
    let change = ReplaceHash {
        id: made.identity.id,
        selector: secret.selector,
        old: secret.hash.clone(),
        new: SecretHash::from_parts(
            secret.hash.phc().replace("AAAA", "BBBB"),
            newer.signing().name().clone(),
        )
        .unwrap(),
    };
    store.replace_hash(change.clone()).await.unwrap();
    let stored = async || {
        let state = store.state(made.identity.id).await.unwrap().value.unwrap();
        state
            .credential
            .settings
            .secrets
            .first()
            .unwrap()
            .hash
            .clone()
    };
    assert_eq!(stored().await, change.new);

    let late = ReplaceHash {
        new: hash(&keyring()),
        ..change.clone()
    };
    store.replace_hash(late).await.unwrap();
    assert_eq!(stored().await, change.new);
}

/// A new hash changes no answer, so neither the version nor the change log moves.
pub async fn replace_hash_moves_neither_version_nor_log<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let before = latest(store).await;
    let secret = made.settings.secrets.first().unwrap();
    let change = ReplaceHash {
        id: made.identity.id,
        selector: secret.selector,
        old: secret.hash.clone(),
        new: SecretHash::from_parts(
            secret.hash.phc().replace("AAAA", "BBBB"),
            secret.hash.key().clone(),
        )
        .unwrap(),
    };
    store.replace_hash(change).await.unwrap();
    assert_eq!(latest(store).await, before);
    let found = stored(store, &made).await;
    assert_eq!(found.version, made.version);
}

/// A revoked token is in its credential's state; a repeat changes nothing.
pub async fn revoked_tokens_are_in_the_state<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "alder", "Other", 0).await;
    let revoke = revoke_token(&made, 0, 60);
    let committed = store.revoke_token(revoke).await.unwrap();
    assert_eq!(latest(store).await, committed.change);
    store.revoke_token(revoke).await.unwrap();
    assert_eq!(latest(store).await, committed.change);
    let selector = made.settings.secrets.first().unwrap().selector;
    for state in [
        store.state(made.identity.id).await.unwrap(),
        store.state_by_proof(&selector).await.unwrap(),
    ] {
        assert_eq!(state.value.unwrap().revoked_tokens, [revoke.token]);
    }
    let state = store.state(other.identity.id).await.unwrap().value.unwrap();
    assert!(state.revoked_tokens.is_empty());
}

/// Not part of [`for_each_credential_case!`](crate::for_each_credential_case): for stores whose clock a test can move, or
/// whose times it can set back. Records may go once the token has expired long enough ago by the
/// store's clock, and not before.
pub async fn revoked_tokens_are_forgotten_after_their_time<S: CredentialStore + Clone>(
    store: &S,
    let_pass: impl AsyncFn(Duration),
) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let now = SystemClock.now();
    let revoked = async |expires| {
        let mut revoke = revoke_token(&made, 0, 0);
        revoke.token.issued_at = now;
        revoke.token.expires_at = now.saturating_add(expires);
        store.revoke_token(revoke).await.unwrap();
        revoke.token.id
    };
    let kept = async || -> Vec<TokenId> {
        let state = store.state(made.identity.id).await.unwrap().value.unwrap();
        state.revoked_tokens.iter().map(|token| token.id).collect()
    };
    let short = revoked(seconds(60)).await;
    let_pass(REVOKED_TOKENS_KEPT_FOR).await;
    let long = revoked(2 * REVOKED_TOKENS_KEPT_FOR).await;
    assert_eq!(kept().await.len(), 2, "a minute less than long enough");
    let_pass(seconds(61)).await;
    let last = revoked(2 * REVOKED_TOKENS_KEPT_FOR).await;
    let kept = kept().await;
    assert!(!kept.contains(&short), "{kept:?}");
    assert!(kept.contains(&long) && kept.contains(&last), "{kept:?}");
}

/// Above the limit the list goes, and a time stands for it that covers every dropped token, also
/// one from a node whose clock is ahead.
pub async fn revoked_tokens_above_the_limit_end_all_older_ones<S: CredentialStore + Clone>(
    store: &S,
) {
    let made = inserted(store, "alder", "Lab", 0).await;
    for issued in [0, 5, 0] {
        let mut revoke = revoke_token(&made, issued, 60);
        revoke.limit = 2;
        store.revoke_token(revoke).await.unwrap();
    }
    let state = store.state(made.identity.id).await.unwrap().value.unwrap();
    assert!(state.revoked_tokens.is_empty());
    assert_eq!(
        state.credential.observed.tokens_valid_from,
        Some(LATER.saturating_add(seconds(5)))
    );
    for _ in 0..3 {
        let mut revoke = revoke_token(&made, 0, 60);
        revoke.limit = 2;
        store.revoke_token(revoke).await.unwrap();
    }
    let state = store.state(made.identity.id).await.unwrap().value.unwrap();
    assert_eq!(
        state.credential.observed.tokens_valid_from,
        Some(LATER.saturating_add(seconds(5))),
        "it never goes back"
    );
}

/// A token of a credential that is not there.
pub async fn revoke_token_of_a_stranger_is_not_found<S: CredentialStore + Clone>(store: &S) {
    let mut made = inserted(store, "alder", "Lab", 0).await;
    made.identity.id = CredentialId::random(&OsEntropy);
    let refused = store.revoke_token(revoke_token(&made, 0, 60)).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
}
