//! The audit trail.

use super::fixture::{
    NOW, actor, at_once, credential, event, event_about, inserted, keyring, new, rename, revoke,
    tenant,
};
use crate::{
    audit::{Action, AuditEvent, Details, Heads, Subject, TrailReport, verify_trails},
    id::TenantId,
    store::{AuditQuery, CredentialStore, Edit, StoredHead, StoredRow, TrailStore},
};

const ALL: AuditQuery = AuditQuery {
    credential_id: None,
    limit: 1_000,
    before: None,
};

/// Verifies all trails, which must be intact.
async fn verified(store: &impl TrailStore) -> Vec<TrailReport> {
    let mut reports = Vec::new();
    verify_trails(store, &keyring(), &Heads::default(), |report| {
        assert!(report.is_intact(), "{report}");
        reports.push(report);
    })
    .await
    .unwrap();
    reports
}

async fn chain(store: &impl TrailStore, owner: &TenantId) -> Vec<AuditEvent> {
    let rows = store.trail(owner, &ALL).await.unwrap().rows;
    let events = rows.iter().rev().map(|row| row.event().cloned());
    events.collect::<Option<_>>().unwrap()
}

/// Each change writes its event with who, when, what and the details, to the byte.
pub async fn audit_rows_come_with_their_change<S>(store: &S)
where
    S: CredentialStore + TrailStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let made = store.replace(rename(&made, "Röntgen 🩻")).await;
    let made = made.unwrap().value;
    store.revoke(revoke(&made, NOW)).await.unwrap();
    let rows = chain(store, &made.identity.tenant).await;
    let actions: Vec<_> = rows.iter().map(|row| row.action.clone()).collect();
    assert_eq!(actions, [Action::Created, Action::Renamed, Action::Revoked]);
    let renamed = rows.get(1).unwrap();
    assert_eq!(
        renamed.details,
        r#"{"name":"Röntgen 🩻","name_before":"Lab"}"#
    );
    for (row, seq) in rows.iter().zip(1..) {
        assert_eq!(row.seq, seq);
        assert_eq!(row.at, NOW);
        assert_eq!(row.actor, actor());
        assert_eq!(row.subject, Subject::Credential(made.identity.id));
    }
    assert_eq!(verified(store).await.len(), 1);
}

/// An edit with several events writes each, in the order of the edit, in one chain with what follows.
pub async fn audit_rows_of_one_edit_keep_their_order<S>(store: &S)
where
    S: CredentialStore + TrailStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let mut edit = rename(&made, "Imaging");
    edit.settings.scopes = vec!["system/bills.read".into()];
    let scopes = Details::ScopesChanged {
        scopes: &edit.settings.scopes,
        scopes_before: &made.settings.scopes,
    };
    edit.events.push(event(&made, &scopes));
    edit.events.push(event(&made, &scopes));
    let made = store.replace(edit).await.unwrap().value;
    store.revoke(revoke(&made, NOW)).await.unwrap();
    let rows = chain(store, &made.identity.tenant).await;
    let actions: Vec<_> = rows.iter().map(|row| row.action.clone()).collect();
    let expected = [
        Action::Created,
        Action::Renamed,
        Action::ScopesChanged,
        Action::ScopesChanged,
        Action::Revoked,
    ];
    assert_eq!(actions, expected);
    assert_eq!(verified(store).await.len(), 1);
}

/// What was refused, or changed nothing, leaves no row.
pub async fn audit_has_no_row_of_what_did_not_happen<S>(store: &S)
where
    S: CredentialStore + TrailStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let owner = made.identity.tenant.clone();
    let taken = credential(&owner, "lab", 0);
    store.insert(new(&taken, 100)).await.unwrap_err();
    let mut stale = rename(&made, "Imaging");
    stale.expected_version = 9;
    store.replace(stale).await.unwrap_err();
    at_once(16, |_| {
        let (store, revoke) = (store.clone(), revoke(&made, NOW));
        async move { store.revoke(revoke).await.unwrap() }
    })
    .await;
    store.replace(rename(&made, "Imaging")).await.unwrap_err();
    let rows = chain(store, &owner).await;
    let actions: Vec<_> = rows.iter().map(|row| row.action.clone()).collect();
    assert_eq!(actions, [Action::Created, Action::Revoked]);
}

/// An event about the tenant as a whole comes back as such, and is none of a credential's.
pub async fn audit_keeps_what_an_event_is_about<S>(store: &S)
where
    S: CredentialStore + TrailStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let details = Details::Revoked {
        name: "all of them",
        client_id: "none",
    };
    let edit = Edit {
        events: vec![event_about(Subject::Tenant, &made, &details)],
        ..rename(&made, "Imaging")
    };
    store.replace(edit).await.unwrap();
    let rows = chain(store, &made.identity.tenant).await;
    assert_eq!(rows.get(1).unwrap().subject, Subject::Tenant);
    let of_it = AuditQuery {
        credential_id: Some(made.identity.id),
        ..ALL
    };
    let page = store.trail(&made.identity.tenant, &of_it).await.unwrap();
    assert_eq!(page.rows.len(), 1);
    assert_eq!(verified(store).await.len(), 1);
}

/// For verification: the same rows, with the head that the next one will build on.
pub async fn trail_is_paged_beside_its_head<S>(store: &S)
where
    S: CredentialStore + TrailStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    inserted(store, "birch", "Lab", 0).await;
    let made = store.replace(rename(&made, "Imaging")).await.unwrap().value;
    store.revoke(revoke(&made, NOW)).await.unwrap();
    let mut events = chain(store, &made.identity.tenant).await;
    let newest = events.last().unwrap();
    let head = StoredHead {
        seq: newest.seq,
        hash: newest.hash.to_vec(),
    };
    events.reverse();
    let mut before = None;
    let mut rows = Vec::new();
    for length in [2, 1, 0] {
        let query = AuditQuery {
            before,
            limit: 2,
            ..ALL
        };
        let page = store.trail(&made.identity.tenant, &query).await.unwrap();
        assert_eq!(page.head.as_ref(), Some(&head));
        assert_eq!(page.rows.len(), length);
        before = page.rows.last().map(StoredRow::seq);
        rows.extend(page.rows);
    }
    let events: Vec<_> = events.into_iter().map(StoredRow::Event).collect();
    assert_eq!(rows, events);
    let page = store.trail(&tenant("cedar"), &ALL).await.unwrap();
    assert!(page.head.is_none() && page.rows.is_empty(), "{page:?}");
}

/// Racing writers of one tenant leave one unbroken chain.
pub async fn audit_chain_holds_under_concurrency<S>(store: &S)
where
    S: CredentialStore + TrailStore + Clone,
{
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
    let rows: Vec<_> = verified(store)
        .await
        .into_iter()
        .map(|report| (report.tenant, report.rows))
        .collect();
    assert_eq!(rows, [("alder".to_owned(), 24), ("birch".to_owned(), 24)]);
}

/// Newest first, behind a place, of one credential.
pub async fn audit_is_paged_and_filtered<S>(store: &S)
where
    S: CredentialStore + TrailStore + Clone,
{
    let first = inserted(store, "alder", "Lab", 0).await;
    let second = inserted(store, "alder", "Imaging", 0).await;
    store.revoke(revoke(&first, NOW)).await.unwrap();
    let seqs = async |query: AuditQuery| -> Vec<u64> {
        let page = store.trail(&first.identity.tenant, &query).await.unwrap();
        assert_eq!(page.head.map(|head| head.seq), Some(3), "the tenant's");
        page.rows.iter().map(StoredRow::seq).collect()
    };
    assert_eq!(seqs(ALL).await, [3, 2, 1]);
    assert_eq!(seqs(AuditQuery { limit: 2, ..ALL }).await, [3, 2]);
    let before = Some(2);
    assert_eq!(seqs(AuditQuery { before, ..ALL }).await, [1]);
    let of = |id| AuditQuery {
        credential_id: Some(id),
        ..ALL
    };
    assert_eq!(seqs(of(first.identity.id)).await, [3, 1]);
    assert_eq!(seqs(of(second.identity.id)).await, [2]);
}

/// A tenant reads its own trail only.
pub async fn audit_is_invisible_across_tenants<S>(store: &S)
where
    S: CredentialStore + TrailStore + Clone,
{
    let made = inserted(store, "alder", "Lab", 0).await;
    let query = AuditQuery {
        credential_id: Some(made.identity.id),
        ..ALL
    };
    let page = store.trail(&tenant("birch"), &query).await.unwrap();
    assert!(page.head.is_none() && page.rows.is_empty(), "{page:?}");
    let other = inserted(store, "birch", "Lab", 0).await;
    for made in [made, other] {
        let rows = chain(store, &made.identity.tenant).await;
        let subjects: Vec<_> = rows.iter().map(|row| row.subject).collect();
        assert_eq!(subjects, [Subject::Credential(made.identity.id)]);
    }
}

/// Every tenant with a trail, once, page by page.
pub async fn audited_tenants_are_paged_in_order<S>(store: &S)
where
    S: CredentialStore + TrailStore + Clone,
{
    for owner in ["birch", "alder", "Cedar", "dogwood"] {
        inserted(store, owner, "Lab", 0).await;
        inserted(store, owner, "Imaging", 0).await;
    }
    let first = store.audited_tenants(None, 3).await.unwrap();
    assert_eq!(first, ["Cedar", "alder", "birch"]);
    let rest = store.audited_tenants(Some("birch"), 3).await.unwrap();
    assert_eq!(rest, ["dogwood"]);
    let none = store.audited_tenants(Some("dogwood"), 3).await.unwrap();
    assert!(none.is_empty(), "{none:?}");
}
