//! What happens to a credential between its creation and its end: rotation, pause, expiry, and the end of
//! all at once.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Deployment, Key, admin, request};
use credential_core::{
    Credentials,
    authenticate::Refusal,
    authorize::{AuthorizeError, TokenRefusal},
    clock::{Clock as _, Timestamp},
    credential::{Credential, Status},
    manage::{
        AllRevoked, Changed, Expected, Fault, Field, ManageError, RevokeAll, RotateSecret, Rotated,
        UpdateCredential,
    },
    store::{AuditQuery, ListQuery},
    testing::ManualClock,
};

const READ: &[&str] = &["system/patients.read"];
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

async fn rotate(
    node: &Credentials,
    key: &Key,
    overlap_seconds: i64,
) -> Result<Rotated, ManageError> {
    let request = RotateSecret {
        overlap_seconds: overlap_seconds.into(),
        ..RotateSecret::default()
    };
    node.manage(&admin("alder"))
        .rotate_secret(key.id, request)
        .await
}

/// The key with the secret that a rotation gave.
fn with_new_secret(key: &Key, rotated: &Rotated) -> Key {
    Key {
        id: key.id,
        client_id: key.client_id.clone(),
        secret: rotated.client_secret.expose_secret().to_owned(),
    }
}

async fn end(node: &Credentials, key: &Key, selector: &str) -> Result<Changed, ManageError> {
    node.manage(&admin("alder"))
        .end_secret(key.id, selector)
        .await
}

async fn disable(node: &Credentials, key: &Key) -> Changed {
    let disabled = node.manage(&admin("alder")).disable(key.id, None).await;
    disabled.unwrap()
}

async fn enable(node: &Credentials, key: &Key) -> Changed {
    node.manage(&admin("alder"))
        .enable(key.id, None)
        .await
        .unwrap()
}

async fn refusal_of(node: &Credentials, token: &str) -> TokenRefusal {
    match node.verify(token).await {
        Err(AuthorizeError::Refused(refusal)) => refusal,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the token is accepted"),
    }
}

/// The selectors of the secrets, oldest first.
fn selectors(credential: &Credential) -> Vec<String> {
    let secrets = credential.settings.secrets.iter();
    secrets
        .map(|secret| secret.selector.as_str().to_owned())
        .collect()
}

async fn actions(deployment: &Deployment, key: &Key) -> Vec<(String, String)> {
    let query = AuditQuery {
        credential_id: Some(key.id),
        limit: 100,
        before: None,
    };
    let alder = admin("alder");
    let events = deployment.node.manage(&alder).audit_events(query);
    let events = events.await.unwrap().items.into_iter().rev();
    let events = events.map(|row| row.event().unwrap().clone());
    events
        .map(|event| (event.action.as_str().to_owned(), event.details))
        .collect()
}

#[tokio::test]
async fn both_secrets_work_until_the_overlap_ends() {
    let deployment = Deployment::new();
    let (node, second) = (&deployment.node, &deployment.second_node());
    let old = deployment.key("Lab", "apiv2", READ).await;
    let old_token = old.token(second, None).await;
    let rotated = rotate(node, &old, 3600).await.unwrap();
    let new = with_new_secret(&old, &rotated);
    deployment.advance(2_000);
    for node in [node, second] {
        node.verify(&old_token).await.unwrap();
        node.verify(&old.token(node, None).await).await.unwrap();
        node.verify(&new.token(node, None).await).await.unwrap();
    }
    let new_token = new.token(second, None).await;
    deployment.clock.advance(Duration::from_secs(3_597));
    let late_token = old.token(second, None).await;
    second.verify(&late_token).await.unwrap();
    deployment.clock.advance(Duration::from_secs(1));
    for node in [node, second] {
        assert!(node.verify(&late_token).await.is_err());
        assert_eq!(old.refusal(node).await, Refusal::Expired);
        new.token(node, None).await;
    }
    assert!(second.verify(&new_token).await.is_ok());
    let credential = deployment.credential(&old).await;
    let now = deployment.clock.now();
    assert_eq!(credential.live_secrets(now).count(), 1);
    assert_eq!(credential.listed_secrets(now).count(), 2);
    assert_eq!(
        credential
            .listed_secrets(now.saturating_add(31 * DAY))
            .count(),
        1
    );
}

#[tokio::test]
async fn without_an_overlap_the_old_secret_ends_at_once() {
    let deployment = Deployment::new();
    let (node, second) = (&deployment.node, &deployment.second_node());
    let old = deployment.key("Lab", "apiv2", READ).await;
    let token = old.token(second, None).await;
    second.verify(&token).await.unwrap();
    let rotated = rotate(node, &old, 0).await.unwrap();
    let new = with_new_secret(&old, &rotated);
    assert_eq!(refusal_of(node, &token).await, TokenRefusal::SecretEnded);
    deployment.advance(1_001);
    assert_eq!(refusal_of(second, &token).await, TokenRefusal::SecretEnded);
    assert_eq!(old.refusal(second).await, Refusal::Expired);
    new.token(second, None).await;
    let story = actions(&deployment, &old).await;
    let story: Vec<&str> = story.iter().map(|(action, _)| action.as_str()).collect();
    let expected = [
        "credential.created",
        "credential.secret_ended",
        "credential.secret_added",
    ];
    assert_eq!(story, expected);
}

/// The clocks of nodes differ: what an admin ended or disabled is refused whatever a node's date is.
#[tokio::test]
async fn a_node_whose_clock_is_behind_refuses_what_was_ended() {
    let deployment = Deployment::new();
    let behind = ManualClock::new();
    behind.set_now(deployment.clock.now().saturating_sub(HOUR));
    let slow = deployment.node_builder();
    let slow = slow
        .clock(std::sync::Arc::new(behind.clone()))
        .build()
        .unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(&slow, None).await;
    slow.verify(&token).await.unwrap();
    let rotated = rotate(&deployment.node, &key, 0).await.unwrap();
    behind.advance_monotonic(Duration::from_secs(2));
    assert_eq!(refusal_of(&slow, &token).await, TokenRefusal::SecretEnded);
    assert_eq!(key.refusal(&slow).await, Refusal::Expired);
    let key = with_new_secret(&key, &rotated);
    disable(&deployment.node, &key).await;
    behind.advance_monotonic(Duration::from_secs(2));
    assert_eq!(key.refusal(&slow).await, Refusal::Disabled);
}

/// To that node the overlap has passed already. What an admin ends there ends for the others too.
#[tokio::test]
async fn a_node_whose_clock_is_ahead_ends_what_is_still_live_elsewhere() {
    for by_rotation in [false, true] {
        let deployment = Deployment::new();
        let node = &deployment.node;
        let ahead = ManualClock::new();
        ahead.set_now(
            deployment
                .clock
                .now()
                .saturating_add(Duration::from_secs(120)),
        );
        let fast = deployment.node_builder();
        let fast = fast.clock(std::sync::Arc::new(ahead)).build().unwrap();
        let old = deployment.key("Lab", "apiv2", READ).await;
        let token = old.token(node, None).await;
        let first = selectors(&deployment.credential(&old).await).remove(0);
        rotate(node, &old, 60).await.unwrap();
        node.verify(&token).await.unwrap();
        if by_rotation {
            rotate(&fast, &old, 0).await.unwrap();
        } else {
            end(&fast, &old, &first).await.unwrap();
        }
        deployment.advance(1_001);
        assert_eq!(refusal_of(node, &token).await, TokenRefusal::SecretEnded);
        assert_eq!(old.refusal(node).await, Refusal::Expired);
    }
}

#[tokio::test]
async fn two_secrets_are_the_most_unless_all_end() {
    let deployment = Deployment::new();
    let node = &deployment.node;
    let key = deployment.key("Lab", "apiv2", READ).await;
    rotate(node, &key, 3600).await.unwrap();
    let hashed = deployment.hasher.hashed();
    let refused = rotate(node, &key, 1).await;
    assert!(matches!(refused, Err(ManageError::TooManySecrets)));
    assert_eq!(
        deployment.hasher.hashed(),
        hashed,
        "nothing is hashed for it"
    );
    let rotated = rotate(node, &key, 0).await.unwrap();
    let now = deployment.clock.now();
    let credential = &rotated.changed.credential;
    let live: Vec<_> = credential.live_secrets(now).map(|it| it.selector).collect();
    assert_eq!(live, [rotated.selector]);
    assert_eq!(credential.settings.secrets.len(), 3);
}

#[tokio::test]
async fn an_overlap_is_a_day_unless_said_and_a_week_at_most() {
    let deployment = Deployment::new();
    let node = &deployment.node;
    let key = deployment.key("Lab", "apiv2", READ).await;
    let manage = admin("alder");
    for (overlap, code) in [(-1, "out_of_range"), (604_801, "out_of_range")] {
        let Err(ManageError::Invalid(faults)) = rotate(node, &key, overlap).await else {
            panic!("{overlap} is accepted");
        };
        assert_eq!(codes(&faults), [("overlap_seconds", code)]);
    }
    let unreadable = RotateSecret {
        overlap_seconds: Field::Unreadable,
        ..RotateSecret::default()
    };
    let refused = node.manage(&manage).rotate_secret(key.id, unreadable).await;
    assert!(matches!(refused, Err(ManageError::Invalid(faults)) if faults.is_empty()));
    let rotated = node
        .manage(&manage)
        .rotate_secret(key.id, RotateSecret::default())
        .await
        .unwrap();
    let old = rotated.changed.credential.settings.secrets.first().unwrap();
    let in_a_day = deployment.clock.now().saturating_add(DAY);
    assert_eq!(old.expires_at, Some(in_a_day));
    // The end that a secret has is never put off.
    end(node, &key, rotated.selector.as_str()).await.unwrap();
    let longer = rotate(node, &key, 604_800).await.unwrap();
    let old = longer.changed.credential.settings.secrets.first().unwrap();
    assert_eq!(old.expires_at, Some(in_a_day));
}

#[tokio::test]
async fn ending_a_secret_leaves_the_last_one() {
    let deployment = Deployment::new();
    let (node, second) = (&deployment.node, &deployment.second_node());
    let old = deployment.key("Lab", "apiv2", READ).await;
    let first = selectors(&deployment.credential(&old).await).remove(0);
    let refused = end(node, &old, &first).await;
    assert!(matches!(refused, Err(ManageError::LastProof)));
    let rotated = rotate(node, &old, 3600).await.unwrap();
    let new = with_new_secret(&old, &rotated);
    let (old_token, new_token) = (old.token(second, None).await, new.token(second, None).await);
    let ended = end(node, &old, &first).await.unwrap();
    assert_eq!(
        refusal_of(node, &old_token).await,
        TokenRefusal::SecretEnded
    );
    deployment.advance(1_001);
    assert_eq!(
        refusal_of(second, &old_token).await,
        TokenRefusal::SecretEnded
    );
    second.verify(&new_token).await.unwrap();
    // A repeat is the same answer, and no event.
    let again = end(node, &old, &first).await.unwrap();
    assert_eq!(again.credential, ended.credential);
    let refused = end(node, &old, rotated.selector.as_str()).await;
    assert!(matches!(refused, Err(ManageError::LastProof)));
    for unknown in ["", "0000000000000000", &first.to_lowercase()[1..]] {
        let refused = end(node, &old, unknown).await;
        assert!(matches!(refused, Err(ManageError::NotFound)), "{unknown}");
    }
    let story = actions(&deployment, &old).await;
    let story: Vec<&str> = story.iter().map(|(action, _)| action.as_str()).collect();
    let expected = [
        "credential.created",
        "credential.secret_added",
        "credential.secret_ended",
    ];
    assert_eq!(story, expected);
    deployment.revoke(&old).await;
    let refused = end(node, &old, &first).await;
    assert!(matches!(refused, Err(ManageError::Revoked)));
    let refused = rotate(node, &old, 0).await;
    assert!(matches!(refused, Err(ManageError::Revoked)));
}

/// Two admins end one secret each: whoever comes second is told that it is the last.
#[tokio::test(flavor = "multi_thread")]
async fn two_ends_at_once_leave_one_secret() {
    for _ in 0..50 {
        let deployment = Deployment::new();
        let (node, second) = (deployment.node.clone(), deployment.second_node());
        let key = deployment.key("Lab", "apiv2", READ).await;
        let rotated = rotate(&node, &key, 3600).await.unwrap();
        let both = selectors(&rotated.changed.credential);
        let id = key.id;
        let ends = [(node, both[0].clone()), (second, both[1].clone())].map(|(node, selector)| {
            tokio::spawn(
                async move { node.manage(&admin("alder")).end_secret(id, &selector).await },
            )
        });
        let mut ended = 0;
        for end in ends {
            match end.await.unwrap() {
                Ok(_) => ended += 1,
                Err(ManageError::LastProof) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(ended, 1);
        let now = deployment.clock.now();
        assert_eq!(
            deployment.credential(&key).await.live_secrets(now).count(),
            1
        );
    }
}

#[tokio::test]
async fn disabled_is_refused_at_once_and_enabling_brings_the_same_back() {
    let deployment = Deployment::new();
    let (node, second) = (&deployment.node, &deployment.second_node());
    let key = deployment.key("Lab", "apiv2", READ).await;
    let token = key.token(second, None).await;
    second.verify(&token).await.unwrap();
    let disabled = disable(node, &key).await;
    let now = deployment.clock.now();
    assert_eq!(disabled.credential.status(now), Status::Disabled);
    assert_eq!(disabled.credential.settings.disabled_at, Some(now));
    assert_eq!(
        refusal_of(node, &token).await,
        TokenRefusal::CredentialDisabled
    );
    assert_eq!(key.refusal(node).await, Refusal::Disabled);
    deployment.advance(1_001);
    assert_eq!(
        refusal_of(second, &token).await,
        TokenRefusal::CredentialDisabled
    );
    assert_eq!(key.refusal(second).await, Refusal::Disabled);

    // It can be edited, narrowed and rotated meanwhile.
    deployment.set_scopes(&key, READ).await;
    rotate(node, &key, 3600).await.unwrap();
    // A repeat is harmless, whatever version is expected.
    let alder = admin("alder");
    let stale = Expected::OneOf(vec![1]);
    let again = node.manage(&alder).disable(key.id, Some(&stale)).await;
    assert_eq!(again.unwrap().credential.settings.disabled_at, Some(now));
    let refused = node.manage(&alder).enable(key.id, Some(&stale)).await;
    assert!(matches!(refused, Err(ManageError::StaleVersion)));

    let enabled = enable(node, &key).await;
    assert_eq!(enable(node, &key).await.credential, enabled.credential);
    node.verify(&token).await.unwrap();
    deployment.advance(1_001);
    second.verify(&token).await.unwrap();
    key.token(second, None).await;
    let story = actions(&deployment, &key).await;
    let story: Vec<&str> = story.iter().map(|(action, _)| action.as_str()).collect();
    let expected = [
        "credential.created",
        "credential.disabled",
        "credential.secret_added",
        "credential.enabled",
    ];
    assert_eq!(story, expected);

    deployment.revoke(&key).await;
    for refused in [
        node.manage(&alder).disable(key.id, None).await,
        node.manage(&alder).enable(key.id, None).await,
    ] {
        assert!(matches!(refused, Err(ManageError::Revoked)));
    }
}

#[tokio::test]
async fn where_self_service_is_off_admins_still_take_away() {
    let deployment = Deployment::new();
    let off = deployment.node_builder().self_service(false);
    let off = &off.build().unwrap();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let rotated = rotate(&deployment.node, &key, 3600).await.unwrap();
    let refused = rotate(off, &key, 0).await;
    assert!(matches!(refused, Err(ManageError::SelfServiceUnavailable)));
    end(off, &key, rotated.selector.as_str()).await.unwrap();
    disable(off, &key).await;
    let alder = admin("alder");
    let refused = off.manage(&alder).enable(key.id, None).await;
    assert!(matches!(refused, Err(ManageError::SelfServiceUnavailable)));
    revoke_all(off, "1").await.unwrap();
}

#[tokio::test]
async fn another_tenants_admin_can_do_none_of_it() {
    let deployment = Deployment::new();
    let node = &deployment.node;
    let key = deployment.key("Lab", "apiv2", READ).await;
    let before = deployment.credential(&key).await;
    let first = selectors(&before).remove(0);
    let birch = admin("birch");
    let foreign = node.manage(&birch);
    for refused in [
        foreign.disable(key.id, None).await,
        foreign.enable(key.id, None).await,
        foreign.end_secret(key.id, &first).await,
        foreign
            .rotate_secret(key.id, RotateSecret::default())
            .await
            .map(|it| it.changed),
    ] {
        assert!(matches!(refused, Err(ManageError::NotFound)));
    }
    let confirm = RevokeAll {
        confirm: "1".into(),
        incomplete: false,
    };
    let refused = foreign.revoke_all(confirm).await;
    assert!(matches!(refused, Err(ManageError::Invalid(_))));
    assert_eq!(deployment.credential(&key).await, before);
}

async fn revoke_all(node: &Credentials, confirm: &str) -> Result<AllRevoked, ManageError> {
    let request = RevokeAll {
        confirm: confirm.into(),
        incomplete: false,
    };
    node.manage(&admin("alder")).revoke_all(request).await
}

fn codes(faults: &[Fault]) -> Vec<(&str, &str)> {
    faults
        .iter()
        .map(|fault| (fault.field.as_str(), fault.code))
        .collect()
}

/// More than one page of keys.
#[tokio::test]
async fn all_keys_of_a_tenant_end_at_once() {
    let deployment = Deployment::with(|builder| builder.limit_per_tenant(1_000));
    let (node, second) = (&deployment.node, &deployment.second_node());
    let mut tokens = Vec::new();
    for n in 0..120 {
        let key = deployment.key(&format!("Key {n}"), "apiv2", READ).await;
        let token = key.token(second, None).await;
        second.verify(&token).await.unwrap();
        tokens.push(token);
    }
    let other = deployment.key_of("birch", "Lab", "apiv2", READ).await;
    let other_token = other.token(second, None).await;
    for wrong in ["", "119", "0120", " 120", "all"] {
        let Err(ManageError::Invalid(faults)) = revoke_all(node, wrong).await else {
            panic!("{wrong} is accepted");
        };
        assert_eq!(codes(&faults), [("confirm", "wrong_number")]);
    }
    let missing = node
        .manage(&admin("alder"))
        .revoke_all(RevokeAll::default())
        .await;
    assert!(matches!(missing, Err(ManageError::Invalid(faults))
            if codes(&faults) == [("confirm", "required")]));
    node.verify(&tokens[0]).await.unwrap();

    let done = revoke_all(node, "120").await.unwrap();
    let bound = deployment
        .clock
        .now()
        .saturating_add(Duration::from_secs(1));
    assert_eq!((done.revoked, done.effective_everywhere_at), (120, bound));
    for token in &tokens {
        let refusal = refusal_of(node, token).await;
        assert_eq!(refusal, TokenRefusal::CredentialRevoked);
    }
    deployment.advance(1_001);
    for token in &tokens {
        let refusal = refusal_of(second, token).await;
        assert_eq!(refusal, TokenRefusal::CredentialRevoked);
    }
    second.verify(&other_token).await.unwrap();
    let all = ListQuery {
        limit: 100,
        after: None,
        include_revoked: false,
    };
    let left = node.manage(&admin("alder")).list(all).await.unwrap().items;
    assert!(left.is_empty());
    assert_eq!(revoke_all(node, "0").await.unwrap().revoked, 0);
}

async fn expiry(
    node: &Credentials,
    key: &Key,
    at: Option<Timestamp>,
) -> Result<Option<Timestamp>, ManageError> {
    let request = UpdateCredential {
        expires_at: at.into(),
        ..UpdateCredential::default()
    };
    let any = Some(&Expected::Any);
    let edited = node
        .manage(&admin("alder"))
        .update(key.id, any, request)
        .await;
    edited.map(|it| it.settings.expires_at)
}

#[tokio::test]
async fn a_longest_life_bounds_every_credential() {
    let deployment = Deployment::with(|builder| builder.max_lifetime(90 * DAY));
    let node = &deployment.node;
    let now = deployment.clock.now();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let created = deployment.credential(&key).await;
    let longest = now.saturating_add(90 * DAY);
    assert_eq!(created.settings.expires_at, Some(longest));
    let mut long = request("Long", "apiv2", READ);
    long.expires_at = Some(longest.saturating_add(Duration::from_secs(1))).into();
    let Err(ManageError::Invalid(faults)) = node.manage(&admin("alder")).create(long).await else {
        panic!("it is too long");
    };
    assert_eq!(codes(&faults), [("expires_at", "too_long")]);

    deployment.clock.advance(10 * DAY);
    let now = deployment.clock.now();
    let longest = now.saturating_add(90 * DAY);
    let later = longest.saturating_add(Duration::from_secs(1));
    let Err(ManageError::Invalid(faults)) = expiry(node, &key, Some(later)).await else {
        panic!("it is too long");
    };
    assert_eq!(codes(&faults), [("expires_at", "too_long")]);
    assert_eq!(expiry(node, &key, None).await.unwrap(), Some(longest));
    let sooner = now.saturating_add(DAY);
    assert_eq!(
        expiry(node, &key, Some(sooner)).await.unwrap(),
        Some(sooner)
    );
    // Saving what is there is no edit of the expiry, also once it has passed.
    deployment.clock.advance(2 * DAY);
    assert_eq!(
        expiry(node, &key, Some(sooner)).await.unwrap(),
        Some(sooner)
    );
}

#[tokio::test]
async fn descriptions_and_networks_are_edited_and_told() {
    let deployment = Deployment::new();
    let key = deployment.key("Lab", "apiv2", READ).await;
    let request = UpdateCredential {
        description: " Sends results\nat night ".into(),
        allowed_networks: ["192.0.2.7".to_owned(), "2001:DB8::/32".to_owned()]
            .to_vec()
            .into(),
        ..UpdateCredential::default()
    };
    let alder = admin("alder");
    let any = Some(&Expected::Any);
    let manage = deployment.node.manage(&alder);
    let edited = manage.update(key.id, any, request.clone()).await.unwrap();
    assert_eq!(
        edited.settings.description.as_str(),
        "Sends results\nat night"
    );
    let networks: Vec<String> = edited.settings.allowed_networks.texts().collect();
    assert_eq!(networks, ["192.0.2.7/32", "2001:db8::/32"]);
    let again = manage.update(key.id, any, request).await.unwrap();
    assert_eq!(again.version, edited.version, "nothing changed");
    let story = actions(&deployment, &key).await;
    let expected = [
        (
            "credential.description_changed",
            r#"{"description":"Sends results\nat night","description_before":""}"#,
        ),
        (
            "credential.networks_changed",
            r#"{"allowed_networks":["192.0.2.7/32","2001:db8::/32"],"allowed_networks_before":[]}"#,
        ),
    ];
    let expected = expected.map(|(action, details)| (action.to_owned(), details.to_owned()));
    assert_eq!(story[1..], expected);
}
