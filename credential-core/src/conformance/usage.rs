//! What may lag behind.

use super::fixture::{NOW, inserted, latest, seconds};
use crate::{
    entropy::OsEntropy,
    id::{CredentialId, ProofId},
    store::{CredentialStore, LastUse, UsageStore},
};

/// Late reports of earlier uses, from slower nodes, take nothing back; unknown ones are passed over.
pub async fn last_use_only_moves_forward<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "alder", "Other", 0).await;
    let used = |at| LastUse {
        credential_id: made.identity.id,
        proof: made.settings.secrets.first().unwrap().selector,
        at: NOW.saturating_add(seconds(at)),
    };
    let unknown = LastUse {
        credential_id: CredentialId::random(&OsEntropy),
        proof: ProofId::random(&OsEntropy),
        at: NOW,
    };
    store.record(&[]).await.unwrap();
    store
        .record(&[used(5), unknown, used(7), used(6)])
        .await
        .unwrap();
    store.record(&[used(3)]).await.unwrap();
    let found = store
        .get(&made.identity.tenant, made.identity.id)
        .await
        .unwrap()
        .unwrap();
    let latest = Some(NOW.saturating_add(seconds(7)));
    assert_eq!(found.observed.last_used_at, latest);
    assert_eq!(found.settings.secrets.first().unwrap().last_used_at, latest);
    let found = store
        .get(&other.identity.tenant, other.identity.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.observed.last_used_at, None);
}

/// Use is not a change: no check answers differently, and no edit becomes stale.
pub async fn last_use_moves_neither_version_nor_log<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let before = latest(store).await;
    let used = LastUse {
        credential_id: made.identity.id,
        proof: made.settings.secrets.first().unwrap().selector,
        at: NOW,
    };
    store.record(&[used]).await.unwrap();
    assert_eq!(latest(store).await, before);
    let found = store
        .get(&made.identity.tenant, made.identity.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.version, made.version);
}
