//! What may lag behind.

use super::fixture::{NOW, credential, inserted, latest, new, seconds, secret, stored, tenant};
use crate::{
    credential::Credential,
    entropy::OsEntropy,
    id::{CredentialId, ProofId},
    store::{CredentialStore, LastUse, MAX_USES, UsageStore},
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
    let found = stored(store, &made).await;
    let latest = Some(NOW.saturating_add(seconds(7)));
    assert_eq!(found.observed.last_used_at, latest);
    assert_eq!(found.settings.secrets.first().unwrap().last_used_at, latest);
    let found = stored(store, &other).await;
    assert_eq!(found.observed.last_used_at, None);
}

/// A use is noted on the secret that it names, and on no other: neither of the same credential nor of
/// another one.
pub async fn last_use_is_of_one_proof<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let mut made = credential(&tenant("alder"), "Lab", 0);
    made.settings.secrets.push(secret());
    store.insert(new(&made, 100)).await.unwrap();
    let mut other = inserted(store, "alder", "Other", 0).await;
    let use_of = |proof, at| LastUse {
        credential_id: made.identity.id,
        proof,
        at: NOW.saturating_add(seconds(at)),
    };
    let of = |credential: &Credential, n: usize| {
        let secret = credential.settings.secrets.get(n);
        secret.unwrap().selector
    };
    // The last one is another credential's.
    let uses = [use_of(of(&made, 1), 5), use_of(of(&other, 0), 7)];
    store.record(&uses).await.unwrap();
    let at = |at| Some(NOW.saturating_add(seconds(at)));
    made.settings.secrets.last_mut().unwrap().last_used_at = at(5);
    made.observed.last_used_at = at(7);
    for expected in [&made, &other] {
        let found = store
            .get(&expected.identity.tenant, expected.identity.id)
            .await;
        assert_eq!(found.unwrap().as_ref(), Some(expected));
    }
    store
        .record(&[use_of(of(&made, 0), 6), use_of(of(&made, 0), 9)])
        .await
        .unwrap();
    made.settings.secrets.first_mut().unwrap().last_used_at = at(9);
    made.observed.last_used_at = at(9);
    other.observed.last_used_at = None;
    for expected in [made, other] {
        let found = store
            .get(&expected.identity.tenant, expected.identity.id)
            .await;
        assert_eq!(found.unwrap(), Some(expected));
    }
}

/// A call may be as large as core makes it.
pub async fn last_use_takes_a_full_batch<S>(store: &S)
where
    S: CredentialStore + UsageStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let mut uses: Vec<_> = (1..MAX_USES)
        .map(|_| LastUse {
            credential_id: CredentialId::random(&OsEntropy),
            proof: ProofId::random(&OsEntropy),
            at: NOW,
        })
        .collect();
    uses.push(LastUse {
        credential_id: made.identity.id,
        proof: made.settings.secrets.first().unwrap().selector,
        at: NOW,
    });
    store.record(&uses).await.unwrap();
    let found = store.get(&made.identity.tenant, made.identity.id).await;
    assert_eq!(found.unwrap().unwrap().observed.last_used_at, Some(NOW));
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
    let found = stored(store, &made).await;
    assert_eq!(found.version, made.version);
}
