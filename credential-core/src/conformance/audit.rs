//! The audit trail.

use super::fixture::{
    NOW, actor, at_once, credential, inserted, keyring, new, rename, revoke, tenant,
};
use crate::{
    audit::{Action, AuditEvent, verify_chain},
    id::TenantId,
    store::{AuditQuery, CredentialStore},
};

const ALL: AuditQuery = AuditQuery {
    credential_id: None,
    limit: 1_000,
    before: None,
};

async fn chain(store: &impl CredentialStore, owner: &TenantId) -> Vec<AuditEvent> {
    let mut rows = store.audit_events(owner, &ALL).await.unwrap();
    rows.reverse();
    rows
}

/// Each change writes its event with who, when, what and the details, to the byte.
pub async fn audit_rows_come_with_their_change<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let made = store.replace(rename(&made, "Imaging")).await.unwrap().value;
    store.revoke(revoke(&made, NOW)).await.unwrap();
    let rows = chain(store, &made.tenant).await;
    let actions: Vec<_> = rows.iter().map(|row| row.action).collect();
    assert_eq!(actions, [Action::Created, Action::Renamed, Action::Revoked]);
    let renamed = rows.get(1).unwrap();
    assert_eq!(renamed.details, r#"{"name":"Imaging","name_before":"Lab"}"#);
    for (row, seq) in rows.iter().zip(1..) {
        assert_eq!(row.seq, seq);
        assert_eq!(row.at, NOW);
        assert_eq!(row.actor, actor());
        assert_eq!(row.credential_id, made.id);
    }
    verify_chain(&keyring(), &rows).unwrap();
}

/// Racing writers of one tenant leave one unbroken chain.
pub async fn audit_chain_holds_under_concurrency<S: CredentialStore + Clone>(store: &S) {
    at_once(24, |n| {
        let store = store.clone();
        async move {
            let owner = tenant(["alder", "birch"].get(n % 2).unwrap());
            let made = credential(&owner, &format!("key {n}"), 0);
            store.insert(new(&made, 100)).await.unwrap();
            store.revoke(revoke(&made, NOW)).await.unwrap();
        }
    })
    .await;
    for owner in ["alder", "birch"] {
        let rows = chain(store, &tenant(owner)).await;
        let head = verify_chain(&keyring(), &rows).unwrap().unwrap();
        assert_eq!(head.seq, 24);
    }
}

/// Newest first, behind a place, of one credential.
pub async fn audit_is_paged_and_filtered<S: CredentialStore + Clone>(store: &S) {
    let first = inserted(store, "alder", "Lab", 0).await;
    let second = inserted(store, "alder", "Imaging", 0).await;
    store.revoke(revoke(&first, NOW)).await.unwrap();
    let seqs = async |query: AuditQuery| -> Vec<u64> {
        let rows = store.audit_events(&first.tenant, &query).await.unwrap();
        rows.iter().map(|row| row.seq).collect()
    };
    assert_eq!(seqs(ALL).await, [3, 2, 1]);
    assert_eq!(seqs(AuditQuery { limit: 2, ..ALL }).await, [3, 2]);
    let before = Some(2);
    assert_eq!(seqs(AuditQuery { before, ..ALL }).await, [1]);
    let of = |id| AuditQuery {
        credential_id: Some(id),
        ..ALL
    };
    assert_eq!(seqs(of(first.id)).await, [3, 1]);
    assert_eq!(seqs(of(second.id)).await, [2]);
}

/// A tenant reads its own trail only.
pub async fn audit_is_invisible_across_tenants<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let query = AuditQuery {
        credential_id: Some(made.id),
        ..ALL
    };
    let rows = store.audit_events(&tenant("birch"), &query).await.unwrap();
    assert!(rows.is_empty());
}

/// Every tenant with a trail, once, page by page.
pub async fn audited_tenants_are_paged_in_order<S: CredentialStore + Clone>(store: &S) {
    for owner in ["birch", "alder", "Cedar", "dogwood"] {
        inserted(store, owner, "Lab", 0).await;
        inserted(store, owner, "Imaging", 0).await;
    }
    let first = store.audited_tenants(None, 3).await.unwrap();
    assert_eq!(first, ["Cedar", "alder", "birch"].map(tenant));
    let rest = store.audited_tenants(first.last(), 3).await.unwrap();
    assert_eq!(rest, [tenant("dogwood")]);
    assert!(
        store
            .audited_tenants(rest.last(), 3)
            .await
            .unwrap()
            .is_empty()
    );
}
