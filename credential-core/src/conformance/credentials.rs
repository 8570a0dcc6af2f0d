//! Credentials: insert, get, list, replace, revoke.

use super::fixture::{
    ALL, LATER, NOW, actor, at_once, catch_up, credential, edit, inserted, latest, new, node,
    rename, rescope, revoke, revoke_all, seconds, secret, stored, tenant,
};
use crate::{
    audit::Details,
    clock::Timestamp,
    credential::{
        Credential, CredentialName, Description, Networks, Revocation, Settings, StoredSecret,
    },
    id::{ActorId, CredentialId, ProofId, TenantId},
    secret::hash::SecretHash,
    store::{
        Change, CredentialStore, Edit, ListPosition, ListQuery, LoggedChange, ReplaceHash, Revoke,
        StoreError,
    },
};

/// What was inserted is what `get` returns, field by field.
pub async fn insert_is_there_afterwards<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 5).await;
    let found = store
        .get(&made.identity.tenant, made.identity.id)
        .await
        .unwrap();
    assert_eq!(found, Some(made));
}

/// Text of the greatest length, in any language, and times far away come back as they were.
pub async fn text_and_times_come_back_to_the_byte<S: CredentialStore + Clone>(store: &S) {
    let owner = TenantId::new("t".repeat(TenantId::MAX_LEN)).unwrap();
    let mut made = credential(&owner, &"🩺".repeat(CredentialName::MAX_CHARS), 0);
    made.identity.created_by = ActorId::new("李".repeat(ActorId::MAX_LEN)).unwrap();
    made.settings.scopes = (0..200)
        .map(|n| format!("system/Größe%_{n}'\"\\.read"))
        .collect();
    made.settings.expires_at = Some(Timestamp::MAX);
    made.settings.secrets = vec![
        StoredSecret {
            created_at: LATER,
            expires_at: Some(Timestamp::MAX),
            ended_at: Some(LATER),
            last_used_at: Some(NOW),
            ..secret()
        },
        secret(),
    ];
    store.insert(new(&made, 1)).await.unwrap();
    let found = store.get(&owner, made.identity.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&made));
    let state = store.state(made.identity.id).await.unwrap().value;
    assert_eq!(state.map(|it| it.credential).as_ref(), Some(&made));
    assert_eq!(store.list(&owner, &ALL).await.unwrap(), [made]);
}

/// A letter in the other case.
fn other_case(text: &str) -> String {
    let swap = |c: char| match c {
        'a'..='z' => c.to_ascii_uppercase(),
        _ => c.to_ascii_lowercase(),
    };
    text.chars().map(swap).collect()
}

/// Proofs and tenants are equal only if their bytes are.
pub async fn ids_are_compared_by_their_bytes<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let mut twin = credential(&tenant("Alder"), "Lab", 0);
    let selector = made.settings.secrets.first().unwrap().selector;
    let swapped = ProofId::parse(&other_case(selector.as_str())).unwrap();
    let owner = async |proof: &ProofId| {
        let state = store.state_by_proof(proof).await.unwrap().value;
        state.map(|it| it.credential.identity.id)
    };
    assert_eq!(owner(&swapped).await, None);
    twin.settings.secrets.first_mut().unwrap().selector = swapped;
    store.insert(new(&twin, 1)).await.unwrap();
    assert_eq!(owner(&selector).await, Some(made.identity.id));
    assert_eq!(owner(&swapped).await, Some(twin.identity.id));
    for (one, other) in [(&made, &twin), (&twin, &made)] {
        let owner = &one.identity.tenant;
        assert_eq!(store.get(owner, other.identity.id).await.unwrap(), None);
        let listed = store.list(owner, &ALL).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(one));
        let foreign = Edit {
            tenant: owner.clone(),
            ..rename(other, "Mine")
        };
        let refused = store.replace(foreign).await;
        assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    }
}

/// The limit is per tenant, and the one above it is refused.
pub async fn insert_keeps_the_limit<S: CredentialStore + Clone>(store: &S) {
    let owner = tenant("alder");
    for name in ["a", "b"] {
        store
            .insert(new(&credential(&owner, name, 0), 2))
            .await
            .unwrap();
    }
    let third = store.insert(new(&credential(&owner, "c", 0), 2)).await;
    assert!(matches!(third, Err(StoreError::LimitReached)), "{third:?}");
    let other = credential(&tenant("birch"), "c", 0);
    store.insert(new(&other, 2)).await.unwrap();
}

/// 16 creators race for 3 places: 3 succeed.
pub async fn insert_keeps_the_limit_under_concurrency<S: CredentialStore + Clone>(store: &S) {
    let results = at_once(16, |n| {
        let store = store.clone();
        async move {
            let new = new(&credential(&tenant("alder"), &format!("key {n}"), 0), 3);
            store.insert(new).await
        }
    })
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Ok(_) | Err(StoreError::LimitReached)))
    );
    assert_eq!(store.list(&tenant("alder"), &ALL).await.unwrap().len(), 3);
}

/// Names are compared by their key, within one tenant.
pub async fn insert_keeps_names_unique_in_a_tenant<S: CredentialStore + Clone>(store: &S) {
    inserted(store, "alder", "Lab Sync", 0).await;
    let again = store
        .insert(new(&credential(&tenant("alder"), "LAB sync", 0), 100))
        .await;
    assert!(matches!(again, Err(StoreError::NameTaken)), "{again:?}");
    inserted(store, "birch", "Lab Sync", 0).await;
}

/// 16 creators race for one name: one succeeds.
pub async fn insert_keeps_names_unique_under_concurrency<S: CredentialStore + Clone>(store: &S) {
    let results = at_once(16, |_| {
        let store = store.clone();
        async move {
            store
                .insert(new(&credential(&tenant("alder"), "Lab", 0), 100))
                .await
        }
    })
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Ok(_) | Err(StoreError::NameTaken)))
    );
}

/// A revoked credential gives back its name and its place.
pub async fn insert_counts_only_what_is_not_revoked<S: CredentialStore + Clone>(store: &S) {
    let first = credential(&tenant("alder"), "Lab", 0);
    store.insert(new(&first, 1)).await.unwrap();
    store.revoke(revoke(&first, NOW)).await.unwrap();
    let second = credential(&tenant("alder"), "Lab", 0);
    store.insert(new(&second, 1)).await.unwrap();
}

/// The look before an insert refuses what the insert would refuse, for the same reason, and
/// writes nothing.
pub async fn may_insert_says_what_insert_would<S: CredentialStore + Clone>(store: &S) {
    let (alder, birch) = (tenant("alder"), tenant("birch"));
    let revoked = inserted(store, "alder", "Gone", 0).await;
    store.revoke(revoke(&revoked, NOW)).await.unwrap();
    inserted(store, "alder", "Lab Sync", 0).await;
    let before = latest(store).await;
    // What is taken is taken also where the limit is reached.
    for (owner, name, limit, expected) in [
        (&alder, "LAB sync", 100, "Err(NameTaken)"),
        (&alder, "LAB sync", 1, "Err(NameTaken)"),
        (&alder, "Other", 1, "Err(LimitReached)"),
        (&alder, "Other", 0, "Err(LimitReached)"),
        (&alder, "Other", 2, "Ok(())"),
        (&alder, "Gone", 2, "Ok(())"),
        (&birch, "Lab Sync", 1, "Ok(())"),
        (&birch, "Lab Sync", 0, "Err(LimitReached)"),
    ] {
        let wanted = credential(owner, name, 0);
        let told = store.may_insert(owner, &wanted.settings.name, limit).await;
        assert_eq!(latest(store).await, before, "changed by a look");
        assert_eq!(format!("{told:?}"), expected, "{owner} {name} {limit}");
        if told.is_err() {
            let done = store.insert(new(&wanted, limit)).await;
            let done = done.map(|_| ());
            assert_eq!(format!("{done:?}"), expected, "{owner} {name} {limit}");
        }
    }
    for (owner, name, limit) in [
        (&alder, "Other", 2),
        (&birch, "Lab Sync", 1),
        (&alder, "Gone", 3),
    ] {
        let wanted = credential(owner, name, 0);
        store
            .may_insert(owner, &wanted.settings.name, limit)
            .await
            .unwrap();
        store.insert(new(&wanted, limit)).await.unwrap();
    }
}

/// A refused insert leaves no row and no change.
pub async fn insert_refused_writes_nothing<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let before = latest(store).await;
    let refused = credential(&made.identity.tenant, "lab", 0);
    store.insert(new(&refused, 100)).await.unwrap_err();
    assert_eq!(latest(store).await, before);
    assert_eq!(
        store
            .get(&made.identity.tenant, refused.identity.id)
            .await
            .unwrap(),
        None
    );
    let selector = refused.settings.secrets.first().unwrap().selector;
    let state = store.state_by_proof(&selector).await.unwrap();
    assert_eq!(state.value, None);
}

/// Another tenant's credential is not there.
pub async fn get_is_invisible_across_tenants<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    assert_eq!(
        store.get(&tenant("birch"), made.identity.id).await.unwrap(),
        None
    );
}

/// Newest first, ids deciding equal times, and pages meet without gap or overlap, also when a
/// newer credential comes in between.
pub async fn list_is_newest_first_page_by_page<S: CredentialStore + Clone>(store: &S) {
    let mut expected = Vec::new();
    for n in 0..7 {
        // Two of each age, so that the id has to decide.
        let made = inserted(store, "alder", &format!("key {n}"), 100 + n / 2).await;
        expected.push(ListPosition {
            created_at: made.identity.created_at,
            id: made.identity.id,
        });
    }
    expected.sort_by(|a, b| b.cmp(a));
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let query = ListQuery {
            limit: 3,
            after,
            ..ALL
        };
        let page = store.list(&tenant("alder"), &query).await.unwrap();
        assert!(page.len() <= 3);
        inserted(store, "alder", &format!("newer {}", seen.len()), 0).await;
        let Some(last) = page.last() else { break };
        after = Some(ListPosition {
            created_at: last.identity.created_at,
            id: last.identity.id,
        });
        seen.extend(page.iter().map(|credential| ListPosition {
            created_at: credential.identity.created_at,
            id: credential.identity.id,
        }));
        assert!(seen.len() <= expected.len(), "{seen:?} for {expected:?}");
    }
    assert_eq!(seen, expected);
}

/// Revoked credentials are listed only when asked for.
pub async fn list_leaves_out_revoked_unless_asked<S: CredentialStore + Clone>(store: &S) {
    let kept = inserted(store, "alder", "kept", 1).await;
    let ended = inserted(store, "alder", "ended", 2).await;
    store.revoke(revoke(&ended, NOW)).await.unwrap();
    let ids = async |query: ListQuery| -> Vec<CredentialId> {
        let page = store.list(&kept.identity.tenant, &query).await.unwrap();
        page.iter()
            .map(|credential| credential.identity.id)
            .collect()
    };
    assert_eq!(ids(ALL).await, [kept.identity.id]);
    let with_revoked = ListQuery {
        include_revoked: true,
        ..ALL
    };
    assert_eq!(
        ids(with_revoked).await,
        [kept.identity.id, ended.identity.id]
    );
}

/// A list holds one tenant's credentials only.
pub async fn list_is_invisible_across_tenants<S: CredentialStore + Clone>(store: &S) {
    inserted(store, "alder", "Lab", 0).await;
    assert!(store.list(&tenant("birch"), &ALL).await.unwrap().is_empty());
}

/// The settings are as the edit says, all else stays; the version grows by one.
pub async fn replace_puts_settings_in_the_place_of_others<S: CredentialStore + Clone>(store: &S) {
    let mut made = inserted(store, "alder", "Lab", 0).await;
    let renamed = rename(&made, "Radiology");
    made.settings.name = renamed.settings.name.clone();
    made.version = 2;
    assert_eq!(store.replace(renamed).await.unwrap().value, made);

    let narrowed = rescope(&made, &["system/bills.read"]);
    made.settings.scopes = vec!["system/bills.read".into()];
    made.version = 3;
    assert_eq!(store.replace(narrowed).await.unwrap().value, made);

    for expires_at in [None, Some(NOW.saturating_add(seconds(7)))] {
        let settings = Settings {
            expires_at,
            ..made.settings.clone()
        };
        let details = Details::ExpiryChanged {
            expires_at: expires_at.map(|at| at.to_string()),
            expires_at_before: None,
        };
        let edit = edit(&made, settings, &details);
        made.settings.expires_at = expires_at;
        made.version += 1;
        assert_eq!(store.replace(edit).await.unwrap().value, made);
    }
    let found = store
        .get(&made.identity.tenant, made.identity.id)
        .await
        .unwrap();
    assert_eq!(found, Some(made));
}

/// Everything that an admin decides comes back, and goes again.
pub async fn replace_sets_each_part_of_the_settings<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let details = Details::Renamed {
        name: "Lab",
        name_before: "Lab",
    };
    let mut before = made.clone();
    for settings in [
        Settings {
            description: Description::default(),
            disabled_at: None,
            allowed_networks: Networks::default(),
            ..made.settings.clone()
        },
        Settings {
            description: Description::new(&"🩺\n".repeat(250)).unwrap(),
            disabled_at: Some(Timestamp::MAX),
            allowed_networks: Networks::parse(&["0.0.0.0/0", "::/0", "192.0.2.7"]).unwrap(),
            ..made.settings.clone()
        },
        made.settings.clone(),
    ] {
        let edited = edit(&before, settings.clone(), &details);
        before = store.replace(edited).await.unwrap().value;
        assert_eq!(before.settings, settings);
        assert_eq!(stored(store, &made).await, before);
        let state = store.state(made.identity.id).await.unwrap().value;
        assert_eq!(state.unwrap().credential, before);
    }
}

/// All credentials of a tenant end, with one change of the tenant; those of another stay.
pub async fn revoke_all_ends_a_tenants_credentials<S: CredentialStore + Clone>(store: &S) {
    let other = inserted(store, "birch", "Lab", 0).await;
    let (lab, fax) = (
        inserted(store, "alder", "Lab", 2).await,
        inserted(store, "alder", "Fax", 1).await,
    );
    let old = inserted(store, "alder", "Old", 0).await;
    let old = store.revoke(revoke(&old, NOW)).await.unwrap().value;
    let before = latest(store).await;
    let change = store.revoke_all(revoke_all("alder", &[&lab, &fax])).await;
    let change = change.unwrap().change;
    assert_eq!(latest(store).await, change);
    let logged = catch_up(store, node(), Some(before)).await.items;
    let expected = LoggedChange {
        id: change,
        previous: before.mark,
        change: Change::Tenant(tenant("alder")),
    };
    assert_eq!(logged, Some(vec![expected]));
    for credential in [&lab, &fax] {
        let revoked = Credential {
            version: 2,
            revoked: Some(Revocation {
                at: NOW,
                by: actor(),
            }),
            ..credential.clone()
        };
        assert_eq!(stored(store, credential).await, revoked);
    }
    assert_eq!(stored(store, &other).await, other);
    assert_eq!(
        stored(store, &old).await,
        old,
        "what was revoked stays as it was"
    );
    // Their names and places are free.
    let again = credential(&tenant("alder"), "Lab", 0);
    store.insert(new(&again, 1)).await.unwrap();
}

/// Nothing is revoked unless the events are for exactly what is not revoked.
pub async fn revoke_all_refuses_when_others_came_first<S: CredentialStore + Clone>(store: &S) {
    let (lab, fax) = (
        inserted(store, "alder", "Lab", 2).await,
        inserted(store, "alder", "Fax", 1).await,
    );
    let foreign = inserted(store, "birch", "Lab", 0).await;
    let before = latest(store).await;
    for asked in [
        &[&lab][..],
        &[],
        &[&foreign],
        &[&lab, &foreign],
        &[&lab, &fax, &foreign],
    ] {
        let refused = store.revoke_all(revoke_all("alder", asked)).await;
        assert!(
            matches!(refused, Err(StoreError::StaleVersion)),
            "{refused:?}"
        );
    }
    let nobody = store.revoke_all(revoke_all("cedar", &[&lab])).await;
    assert!(
        matches!(nobody, Err(StoreError::StaleVersion)),
        "{nobody:?}"
    );
    assert_eq!(latest(store).await, before);
    assert_eq!(stored(store, &lab).await, lab);
    assert_eq!(stored(store, &foreign).await, foreign);
    // Of nothing, nothing.
    let nothing = store.revoke_all(revoke_all("cedar", &[])).await.unwrap();
    assert_eq!(nothing.change, before);
    store
        .revoke_all(revoke_all("alder", &[&fax, &lab]))
        .await
        .unwrap();
    let after = latest(store).await;
    let nothing = store.revoke_all(revoke_all("alder", &[])).await.unwrap();
    assert_eq!((nothing.change, latest(store).await), (after, after));
}

/// An edit that was decided on an older version changes nothing.
pub async fn replace_refuses_a_stale_version<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    store.replace(rename(&made, "Radiology")).await.unwrap();
    let before = latest(store).await;
    let stale = store.replace(rename(&made, "Pharmacy")).await;
    assert!(matches!(stale, Err(StoreError::StaleVersion)), "{stale:?}");
    assert_eq!(latest(store).await, before);
    let found = stored(store, &made).await;
    assert_eq!(found.settings.name.as_str(), "Radiology");
}

/// A secret that is added authenticates from then on, one that is taken away no longer; they are listed
/// in the order of the edit.
pub async fn replace_adds_and_takes_away_secrets<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let first = made.settings.secrets.first().unwrap().clone();
    let ending = StoredSecret {
        expires_at: Some(NOW.saturating_add(seconds(60))),
        ended_at: Some(NOW.saturating_add(seconds(30))),
        ..first.clone()
    };
    let (second, third) = (secret(), secret());
    let mut before = made.clone();
    for secrets in [
        vec![ending, second.clone()],
        // Neither in the order in which they came nor in that of their selectors, both ways.
        vec![third.clone(), second.clone()],
        vec![second.clone(), third.clone()],
        vec![],
        vec![third.clone(), second.clone()],
    ] {
        let settings = Settings {
            secrets: secrets.clone(),
            ..before.settings.clone()
        };
        let details = Details::Renamed {
            name: "Lab",
            name_before: "Lab",
        };
        let edited = edit(&before, settings, &details);
        before = store.replace(edited).await.unwrap().value;
        assert_eq!(before.settings.secrets, secrets);
        assert_eq!(stored(store, &made).await, before);
        let state = store.state(made.identity.id).await.unwrap().value;
        assert_eq!(state.unwrap().credential, before);
        let listed = store.list(&made.identity.tenant, &ALL).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&before));
    }
    for (secret, owner) in [
        (first, None),
        (second, Some(made.identity.id)),
        (third, Some(made.identity.id)),
    ] {
        let state = store.state_by_proof(&secret.selector).await.unwrap().value;
        assert_eq!(state.map(|it| it.credential.identity.id), owner);
    }
}

/// A proof belongs to one credential for ever: a store refuses a secret with another credential's
/// selector, and changes nothing.
pub async fn a_selector_of_another_credential_is_refused<S: CredentialStore + Clone>(store: &S) {
    let owner = inserted(store, "alder", "Lab", 0).await;
    let other = inserted(store, "birch", "Lab", 0).await;
    let before = latest(store).await;
    let taken = StoredSecret {
        selector: owner.settings.secrets.first().unwrap().selector,
        ..secret()
    };
    let mut settings = other.settings.clone();
    settings.secrets.push(taken.clone());
    let details = Details::Renamed {
        name: "Lab",
        name_before: "Lab",
    };
    let refused = store.replace(edit(&other, settings, &details)).await;
    assert!(
        matches!(refused, Err(StoreError::Backend { .. })),
        "{refused:?}"
    );
    let mut added = credential(&tenant("birch"), "Imaging", 0);
    added.settings.secrets = vec![taken.clone()];
    let refused = store.insert(new(&added, 1_000)).await;
    assert!(
        matches!(refused, Err(StoreError::Backend { .. })),
        "{refused:?}"
    );
    assert_eq!(latest(store).await, before);
    let found = store.state_by_proof(&taken.selector).await.unwrap().value;
    assert_eq!(found.map(|it| it.credential), Some(owner));
    let found = store.get(&other.identity.tenant, other.identity.id).await;
    assert_eq!(found.unwrap(), Some(other));
}

/// An edit was decided on what was read before: what the store learned of a secret meanwhile stays.
pub async fn replace_leaves_the_hash_and_last_use_of_a_secret<S: CredentialStore + Clone>(
    store: &S,
) {
    let mut made = credential(&tenant("alder"), "Lab", 0);
    let used = Some(NOW);
    made.settings.secrets.first_mut().unwrap().last_used_at = used;
    store.insert(new(&made, 1_000)).await.unwrap();
    let secret = made.settings.secrets.first().unwrap().clone();
    let rehashed = secret.hash.phc().replace("AAAA", "BBBB");
    let rehashed = SecretHash::from_parts(rehashed, "k2".parse().unwrap()).unwrap();
    let change = ReplaceHash {
        id: made.identity.id,
        selector: secret.selector,
        old: secret.hash.clone(),
        new: rehashed.clone(),
    };
    store.replace_hash(change).await.unwrap();
    let mut renamed = rename(&made, "Imaging");
    let stale = renamed.settings.secrets.first_mut().unwrap();
    stale.last_used_at = None;
    let edited = store.replace(renamed).await.unwrap().value;
    for after in [edited, stored(store, &made).await] {
        let secret = after.settings.secrets.first().unwrap();
        assert_eq!(secret.hash, rehashed);
        assert_eq!(secret.last_used_at, used);
    }
}

/// Of 16 edits on one version one wins, and the others learn that they were late.
pub async fn replace_lets_one_of_two_racing_edits_win<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let results = at_once(16, |n| {
        let (store, edit) = (store.clone(), rename(&made, &format!("name {n}")));
        async move { store.replace(edit).await }
    })
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Ok(_) | Err(StoreError::StaleVersion)))
    );
}

/// Revoked comes before stale, and nothing is edited any more.
pub async fn replace_refuses_a_revoked_credential<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    store.revoke(revoke(&made, NOW)).await.unwrap();
    let refused = store.replace(rename(&made, "Radiology")).await;
    assert!(matches!(refused, Err(StoreError::Revoked)), "{refused:?}");
}

/// Where several errors apply: not found, revoked, stale, taken.
pub async fn replace_refuses_for_the_first_reason<S: CredentialStore + Clone>(store: &S) {
    inserted(store, "alder", "Taken", 0).await;
    let made = inserted(store, "alder", "Lab", 0).await;
    store.replace(rename(&made, "Imaging")).await.unwrap();
    let wrong = rename(&made, "Taken");
    let refused = store.replace(wrong.clone()).await;
    assert!(
        matches!(refused, Err(StoreError::StaleVersion)),
        "{refused:?}"
    );
    store.revoke(revoke(&made, NOW)).await.unwrap();
    let refused = store.replace(wrong.clone()).await;
    assert!(matches!(refused, Err(StoreError::Revoked)), "{refused:?}");
    let foreign = Edit {
        tenant: tenant("birch"),
        ..wrong
    };
    let refused = store.replace(foreign).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
}

/// Another's name is taken; one's own in other letters is not; a name left behind is free.
pub async fn replace_keeps_names_unique<S: CredentialStore + Clone>(store: &S) {
    inserted(store, "alder", "Lab", 0).await;
    let made = inserted(store, "alder", "Radiology", 0).await;
    let taken = store.replace(rename(&made, "LAB")).await;
    assert!(matches!(taken, Err(StoreError::NameTaken)), "{taken:?}");
    let made = store
        .replace(rename(&made, "RADIOLOGY"))
        .await
        .unwrap()
        .value;
    store.replace(rename(&made, "Imaging")).await.unwrap();
    inserted(store, "alder", "Radiology", 0).await;
}

/// Another tenant's credential cannot be edited, and the answer is as for one that is not there.
pub async fn replace_is_invisible_across_tenants<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let mut edit = rename(&made, "Radiology");
    edit.tenant = tenant("birch");
    let refused = store.replace(edit).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    let found = store
        .get(&made.identity.tenant, made.identity.id)
        .await
        .unwrap();
    assert_eq!(found, Some(made));
}

/// A repeat keeps the first time, version and audit trail.
pub async fn revoke_is_final_and_keeps_the_first<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let first = store.revoke(revoke(&made, NOW)).await.unwrap();
    let revoked = Credential {
        version: 2,
        revoked: Some(Revocation {
            at: NOW,
            by: actor(),
        }),
        ..made.clone()
    };
    assert_eq!(first.value, revoked);
    let later = Revoke {
        by: ActorId::new("somebody-else").unwrap(),
        ..revoke(&made, NOW.saturating_add(seconds(9)))
    };
    let again = store.revoke(later).await.unwrap();
    assert_eq!(again.value, first.value);
    assert_eq!(latest(store).await, first.change);
    let found = store
        .get(&made.identity.tenant, made.identity.id)
        .await
        .unwrap();
    assert_eq!(
        found,
        Some(first.value),
        "a revoked credential stays readable"
    );
}

/// Of 16 revocations at once, one counts.
pub async fn revoke_counts_once_under_concurrency<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let results = at_once(16, |n| {
        let at = NOW.saturating_add(seconds(n as u64));
        let (store, revoke) = (store.clone(), revoke(&made, at));
        async move { store.revoke(revoke).await.unwrap().value }
    })
    .await;
    let first = results.first().unwrap();
    assert!(results.iter().all(|result| result == first));
    assert_eq!(first.version, made.version + 1);
}

/// With an expected version, a revocation is refused when another edit came first.
pub async fn revoke_honours_an_expected_version<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    store.replace(rename(&made, "Radiology")).await.unwrap();
    let mut stale = revoke(&made, NOW);
    stale.expected_version = Some(1);
    let refused = store.revoke(stale.clone()).await;
    assert!(
        matches!(refused, Err(StoreError::StaleVersion)),
        "{refused:?}"
    );
    stale.expected_version = Some(2);
    let revoked = store.revoke(stale.clone()).await.unwrap();
    // What is revoked is revoked, whatever was expected.
    for expected in [Some(1), Some(9), None] {
        stale.expected_version = expected;
        let again = store.revoke(stale.clone()).await.unwrap();
        assert_eq!(again.value, revoked.value);
    }
}

/// Another tenant's credential cannot be revoked, and the answer is as for one not there.
pub async fn revoke_is_invisible_across_tenants<S: CredentialStore + Clone>(store: &S) {
    let made = inserted(store, "alder", "Lab", 0).await;
    let mut foreign = revoke(&made, NOW);
    foreign.tenant = tenant("birch");
    let refused = store.revoke(foreign).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    let found = store
        .get(&made.identity.tenant, made.identity.id)
        .await
        .unwrap();
    assert_eq!(found, Some(made));
}
