//! Values at the edges of what columns hold.

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use std::time::Duration;

use credential_core::{
    clock::{Clock as _, Timestamp},
    manage::{CreateCredential, ManageError},
    store::{CredentialStore as _, KeyCheck, StoreError},
    testing::ManualClock,
};

#[tokio::test]
async fn times_are_kept_to_the_microsecond() {
    let fresh = common::fresh().await;
    for at in [
        Timestamp::from_micros(1_767_225_600_123_457),
        Timestamp::from_micros(1),
        Timestamp::from_micros(-1),
        Timestamp::MIN,
        Timestamp::MAX.saturating_sub(Duration::from_micros(1)),
    ] {
        let clock = ManualClock::at(at);
        let node = common::node(&fresh.store, &clock);
        let request = CreateCredential {
            name: format!("key {}", at.as_micros()).into(),
            api_type: "apiv2".into(),
            expires_at: at.checked_add(Duration::from_micros(1)).into(),
            ..CreateCredential::default()
        };
        let made = node
            .manage(&common::admin("alder"))
            .create(request)
            .await
            .unwrap();
        let made = made.credential;
        assert_eq!(made.identity.created_at, clock.now());
        let found = fresh
            .store
            .get(&made.identity.tenant, made.identity.id)
            .await
            .unwrap();
        assert_eq!(found, Some(made));
    }
}

/// NFKC makes 18 characters of this one: the key of such a name is too long for an index, its
/// digest is not.
#[tokio::test]
async fn a_name_whose_key_is_very_long_is_unique_too() {
    let fresh = common::fresh().await;
    let node = common::node(&fresh.store, &ManualClock::new());
    let name = "\u{fdfa}".repeat(100);
    let made = common::create(&node, "alder", &name).await;
    assert_eq!(made.settings.name.as_str(), name);
    let again = CreateCredential {
        name: name.into(),
        api_type: "apiv2".into(),
        ..CreateCredential::default()
    };
    let refused = node.manage(&common::admin("alder")).create(again).await;
    assert!(
        matches!(refused, Err(ManageError::NameTaken)),
        "{refused:?}"
    );
}

/// A mebibyte goes in and out; what PostgreSQL cannot hold is refused, and the store goes on.
#[tokio::test]
async fn odd_input_breaks_nothing() {
    let fresh = common::fresh().await;
    let check = |name: &str, value: String| KeyCheck {
        name: name.parse().unwrap(),
        value,
    };
    let long = "'\\\"$1; drop schema public;-- \u{1f600}".repeat(1 << 15);
    assert!(long.len() > 1 << 20);
    let known = check("k1", long);
    for _ in 0..2 {
        let names = fresh.store.use_key(&known).await.unwrap();
        assert_eq!(names, std::slice::from_ref(&known.name));
    }
    let refused = fresh.store.use_key(&check("k2", "a\0b".into())).await;
    let Err(error @ StoreError::Backend { .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.to_string(), "the store did not answer");
    fresh.store.check_keys(&[known]).await.unwrap();
}
