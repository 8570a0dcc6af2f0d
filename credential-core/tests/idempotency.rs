//! Requests that are made once, however often they are sent: `create_once` and `rotate_secret_once`.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod common;

use std::time::Duration;

use common::{Deployment, HeldHasher, Key, actor, admin, request, until};
use credential_core::{
    Credentials,
    actor::{Role, TenantAdmin},
    entropy::OsEntropy,
    id::CredentialId,
    manage::{
        Answered, CreateCredential, Created, Expected, IdempotencyKey, ManageError, RotateSecret,
        UpdateCredential,
    },
    secret::keyring::{KeyName, Keyring},
    store::{AuditQuery, ListQuery, REPLAYS_KEPT_FOR},
};
use zeroize::Zeroizing;

const READ: &[&str] = &["system/patients.read"];
const ALL: ListQuery = ListQuery {
    limit: 100,
    after: None,
    include_revoked: true,
};

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

fn wanted(name: &str) -> CreateCredential {
    request(name, "apiv2", READ)
}

fn overlap(seconds: i64) -> RotateSecret {
    RotateSecret {
        overlap_seconds: seconds.into(),
        ..RotateSecret::default()
    }
}

fn shown(created: &Created) -> Zeroizing<String> {
    let id = created.credential.identity.client_id.as_str();
    Zeroizing::new(format!(
        "{id} {}",
        created.client_secret.as_ref().unwrap().expose_secret()
    ))
}

async fn create(
    node: &Credentials,
    admin: &TenantAdmin,
    name: &str,
    request: CreateCredential,
) -> Result<Answered, ManageError> {
    let manage = node.manage(admin);
    manage.create_once(&key(name), request, shown).await
}

async fn rotate(
    node: &Credentials,
    id: CredentialId,
    name: &str,
    request: RotateSecret,
) -> Result<Answered, ManageError> {
    let alder = admin("alder");
    let manage = node.manage(&alder);
    manage
        .rotate_secret_once(&key(name), id, request, |stored, secret| {
            Zeroizing::new(format!("{} {}", stored.selector, secret.expose_secret()))
        })
        .await
}

/// All that an answer says.
fn all_of(answered: &Answered) -> (CredentialId, u64, String, Option<String>) {
    (
        answered.credential,
        answered.version,
        answered.body.to_string(),
        answered.effective_everywhere_at.map(|at| at.to_string()),
    )
}

async fn listed(node: &Credentials, tenant: &str) -> usize {
    let admin = admin(tenant);
    node.manage(&admin).list(ALL).await.unwrap().items.len()
}

async fn audited(deployment: &Deployment) -> usize {
    let query = AuditQuery {
        credential_id: None,
        before: None,
        limit: 100,
    };
    let alder = admin("alder");
    let manage = deployment.node.manage(&alder);
    manage.audit_events(query).await.unwrap().items.len()
}

/// The secret that an answer shows works.
async fn works(node: &Credentials, answered: &Answered) {
    let (client_id, secret) = answered.body.split_once(' ').unwrap();
    node.authenticate(client_id, secret).await.unwrap();
}

#[tokio::test]
async fn a_repeated_create_is_answered_alike_and_done_once() {
    let deployment = Deployment::with(|builder| builder.limit_per_tenant(1));
    let (node, alder) = (&deployment.node, admin("alder"));
    let first = create(node, &alder, "k", wanted("Lab")).await.unwrap();
    assert_eq!(first.version, 1);
    assert_eq!(first.effective_everywhere_at, None);
    let hashed = deployment.hasher.hashed();
    for node in [node, &deployment.second_node()] {
        // The limit is reached and the name is taken, by the same request.
        let again = create(node, &alder, "k", wanted("Lab")).await.unwrap();
        assert_eq!(all_of(&again), all_of(&first));
    }
    assert_eq!(deployment.hasher.hashed(), hashed);
    assert_eq!(listed(node, "alder").await, 1);
    assert_eq!(audited(&deployment).await, 1);
    works(node, &first).await;
}

#[tokio::test]
async fn a_repeated_rotation_is_answered_alike_and_done_once() {
    let deployment = Deployment::new();
    let made = deployment.key("Lab", "apiv2", READ).await;
    let node = &deployment.node;
    let first = rotate(node, made.id, "k", overlap(0)).await.unwrap();
    assert_eq!(first.version, 2);
    assert!(first.effective_everywhere_at.is_some());
    let hashed = deployment.hasher.hashed();
    for node in [node, &deployment.second_node()] {
        deployment.advance(60_000);
        let again = rotate(node, made.id, "k", overlap(0)).await.unwrap();
        assert_eq!(all_of(&again), all_of(&first));
    }
    assert_eq!(deployment.hasher.hashed(), hashed);
    // Made, a secret added, the other ended.
    assert_eq!(audited(&deployment).await, 3);
    let (_, secret) = first.body.split_once(' ').unwrap();
    let key = Key {
        secret: secret.to_owned(),
        ..made
    };
    key.token(node, None).await;
}

/// What has become of it since is not looked at.
#[tokio::test]
async fn the_first_answer_comes_again_after_an_edit_and_a_revocation() {
    let deployment = Deployment::new();
    let (node, alder) = (&deployment.node, admin("alder"));
    let first = create(node, &alder, "create", wanted("Lab")).await.unwrap();
    let id = first.credential;
    let rotated = rotate(node, id, "rotate", overlap(60)).await.unwrap();
    let repeat = async || {
        let again = create(node, &alder, "create", wanted("Lab")).await.unwrap();
        assert_eq!(all_of(&again), all_of(&first));
        let again = rotate(node, id, "rotate", overlap(60)).await.unwrap();
        assert_eq!(all_of(&again), all_of(&rotated));
    };
    let rename = UpdateCredential {
        name: "Imaging".into(),
        ..UpdateCredential::default()
    };
    let manage = node.manage(&alder);
    manage
        .update(id, Some(&Expected::Any), rename)
        .await
        .unwrap();
    repeat().await;
    manage.revoke(id, None).await.unwrap();
    repeat().await;
    assert_eq!(listed(node, "alder").await, 1);
}

#[tokio::test]
async fn a_key_is_for_one_request() {
    let deployment = Deployment::new();
    let (node, alder) = (&deployment.node, admin("alder"));
    let first = create(node, &alder, "k", wanted("Lab")).await.unwrap();
    let other = deployment.key("Other", "apiv2", READ).await;
    let later = node.clock().now().saturating_add(Duration::from_secs(60));
    let request = wanted("Lab");
    let others = [
        wanted("Lab 2"),
        CreateCredential {
            api_type: "fhir".into(),
            ..request.clone()
        },
        CreateCredential {
            scopes: vec!["system/bills.read".to_owned()].into(),
            ..request.clone()
        },
        CreateCredential {
            description: "".into(),
            ..request.clone()
        },
        CreateCredential {
            expires_at: Some(later).into(),
            ..request.clone()
        },
        CreateCredential {
            expires_at: None.into(),
            ..request.clone()
        },
        CreateCredential {
            allowed_networks: vec!["192.0.2.0/24".to_owned()].into(),
            ..request.clone()
        },
        CreateCredential {
            incomplete: true,
            ..request
        },
    ];
    for request in others {
        let refused = create(node, &alder, "k", request.clone()).await;
        assert!(
            matches!(refused, Err(ManageError::IdempotencyKeyReused)),
            "{request:?} gave {refused:?}"
        );
    }
    for id in [first.credential, other.id] {
        let refused = rotate(node, id, "k", overlap(0)).await;
        assert!(matches!(refused, Err(ManageError::IdempotencyKeyReused)));
    }

    rotate(node, first.credential, "r", overlap(0))
        .await
        .unwrap();
    for (id, seconds) in [(first.credential, 1), (other.id, 0)] {
        let refused = rotate(node, id, "r", overlap(seconds)).await;
        assert!(matches!(refused, Err(ManageError::IdempotencyKeyReused)));
    }
    let refused = create(node, &alder, "r", wanted("Third")).await;
    assert!(matches!(refused, Err(ManageError::IdempotencyKeyReused)));
    // What ranks above: no such credential, and one that is revoked.
    let nobody = CredentialId::from_bytes([0; 16]);
    let refused = rotate(node, nobody, "r", overlap(0)).await;
    assert!(matches!(refused, Err(ManageError::NotFound)));
    deployment.revoke(&other).await;
    let refused = rotate(node, other.id, "r", overlap(0)).await;
    assert!(matches!(refused, Err(ManageError::Revoked)));
    assert_eq!(listed(node, "alder").await, 2);
}

#[tokio::test]
async fn a_refusal_does_not_use_the_key_up() {
    let deployment = Deployment::new();
    let (node, alder) = (&deployment.node, admin("alder"));
    let other = deployment.key("Lab", "apiv2", READ).await;
    let refused = create(node, &alder, "k", request("", "apiv2", READ)).await;
    assert!(matches!(refused, Err(ManageError::Invalid(_))));
    let refused = create(node, &alder, "k", wanted("Lab")).await;
    assert!(matches!(refused, Err(ManageError::NameTaken)));
    let refused = rotate(node, other.id, "k", overlap(-1)).await;
    assert!(matches!(refused, Err(ManageError::Invalid(_))));
    for _ in 0..2 {
        deployment.store.fail(true);
        let failed = create(node, &alder, "k", wanted("Imaging")).await;
        assert!(matches!(failed, Err(ManageError::Store(_))));
        deployment.store.fail(false);
    }
    create(node, &alder, "k", wanted("Imaging")).await.unwrap();
    rotate(node, other.id, "r", overlap(60)).await.unwrap();
    let refused = rotate(node, other.id, "r2", overlap(60)).await;
    assert!(matches!(refused, Err(ManageError::TooManySecrets)));
    rotate(node, other.id, "r2", overlap(0)).await.unwrap();
}

#[tokio::test]
async fn after_ten_minutes_the_answer_is_gone_and_the_key_free() {
    let deployment = Deployment::new();
    let (node, alder) = (&deployment.node, admin("alder"));
    let first = create(node, &alder, "k", wanted("Lab")).await.unwrap();
    deployment
        .clock
        .advance(REPLAYS_KEPT_FOR.saturating_sub(Duration::from_secs(1)));
    let again = create(node, &alder, "k", wanted("Lab")).await.unwrap();
    assert_eq!(all_of(&again), all_of(&first));
    // Counted from the first answer, and not from its last repetition.
    deployment.advance(1_000);
    let refused = create(node, &alder, "k", wanted("Lab")).await;
    assert!(matches!(refused, Err(ManageError::NameTaken)));
    let second = create(node, &alder, "k", wanted("Imaging")).await.unwrap();
    assert_ne!(second.credential, first.credential);
    let again = create(node, &alder, "k", wanted("Imaging")).await.unwrap();
    assert_eq!(all_of(&again), all_of(&second));
    assert_eq!(listed(node, "alder").await, 2);
    // A catch-up removes what is over.
    deployment.clock.advance(REPLAYS_KEPT_FOR);
    node.catch_up().await.unwrap();
    let held = format!("{:?}", deployment.memory);
    assert!(held.contains("replays: 0"), "{held}");
}

/// Another admin of the tenant, and another tenant's admin of the same id: each has keys of their own.
#[tokio::test]
async fn the_same_key_of_somebody_else_is_another_key() {
    let deployment = Deployment::new();
    let node = &deployment.node;
    let colleague = {
        let mut colleague = actor("alder", Role::Admin);
        colleague.id = "dr-may".parse().unwrap();
        colleague.admin().unwrap()
    };
    let first = create(node, &admin("alder"), "k", wanted("Lab"))
        .await
        .unwrap();
    let refused = create(node, &colleague, "k", wanted("Lab")).await;
    assert!(matches!(refused, Err(ManageError::NameTaken)));
    let second = create(node, &colleague, "k", wanted("Imaging"))
        .await
        .unwrap();
    let third = create(node, &admin("birch"), "k", wanted("Lab"))
        .await
        .unwrap();
    let again = create(node, &admin("alder"), "k", wanted("Lab"))
        .await
        .unwrap();
    assert_eq!(all_of(&again), all_of(&first));
    for other in [second, third] {
        assert_ne!(other.credential, first.credential);
        assert_ne!(*other.body, *first.body);
    }
    assert_eq!(listed(node, "birch").await, 1);
}

/// Who may no longer do it gets no old answer either.
#[tokio::test]
async fn self_service_is_asked_for_first() {
    let deployment = Deployment::new();
    let (node, alder) = (&deployment.node, admin("alder"));
    let first = create(node, &alder, "k", wanted("Lab")).await.unwrap();
    rotate(node, first.credential, "r", overlap(0))
        .await
        .unwrap();
    let off = deployment.node_builder().self_service(false).build();
    let off = off.unwrap();
    let refused = create(&off, &alder, "k", wanted("Lab")).await;
    assert!(matches!(refused, Err(ManageError::SelfServiceUnavailable)));
    let refused = rotate(&off, first.credential, "r", overlap(0)).await;
    assert!(matches!(refused, Err(ManageError::SelfServiceUnavailable)));
}

#[tokio::test]
async fn the_keyring_may_be_rotated_in_between() {
    let entry = |name: &str| {
        let name: KeyName = name.parse().unwrap();
        Keyring::generate_entry(&name, &OsEntropy).to_string()
    };
    let (old, new) = (entry("old"), entry("new"));
    let deployment = Deployment::new();
    let node = |ring: &str| {
        let ring: Keyring = ring.parse().unwrap();
        deployment.node_builder().keyring(ring).build().unwrap()
    };
    let alder = admin("alder");
    let before = node(&old);
    let first = create(&before, &alder, "k", wanted("Lab")).await.unwrap();
    let rotated = rotate(&before, first.credential, "r", overlap(60))
        .await
        .unwrap();

    // Both signing keys at the same time, while the new keyring is rolled out.
    let both = [node(&format!("{new},{old}")), node(&format!("{old},{new}"))];
    let second = create(&both[0], &alder, "k2", wanted("Two")).await.unwrap();
    for node in &both {
        let again = create(node, &alder, "k", wanted("Lab")).await.unwrap();
        assert_eq!(all_of(&again), all_of(&first));
        let again = rotate(node, first.credential, "r", overlap(60)).await;
        assert_eq!(all_of(&again.unwrap()), all_of(&rotated));
        let again = create(node, &alder, "k2", wanted("Two")).await.unwrap();
        assert_eq!(all_of(&again), all_of(&second));
        let refused = create(node, &alder, "k", wanted("Other")).await;
        assert!(matches!(refused, Err(ManageError::IdempotencyKeyReused)));
    }

    // A key that has leaked unseals nothing.
    let leaked = node(&format!("{new},{old}:tag"));
    let refused = create(&leaked, &alder, "k", wanted("Lab")).await;
    assert!(matches!(refused, Err(ManageError::NameTaken)));
    let again = create(&leaked, &alder, "k2", wanted("Two")).await.unwrap();
    assert_eq!(all_of(&again), all_of(&second));
}

/// While the first runs, a repetition is told so, unless it would be refused for a reason that ranks above.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repetition_of_what_still_runs_is_refused() {
    let deployment = Deployment::new();
    let made = deployment.key("Rotated", "apiv2", READ).await;
    let hasher = HeldHasher::new(deployment.keyring.clone());
    let builder = deployment.node_builder().hasher(hasher.clone());
    let node = builder.build().unwrap();
    let alder = admin("alder");
    let first = {
        let (node, alder) = (node.clone(), alder.clone());
        tokio::spawn(async move { create(&node, &alder, "k", wanted("Lab")).await })
    };
    until(|| hasher.begun().len() == 1).await;
    for request in [wanted("Lab"), wanted("Other")] {
        let refused = create(&node, &alder, "k", request).await;
        assert!(matches!(refused, Err(ManageError::IdempotencyInProgress)));
    }
    let refused = rotate(&node, made.id, "k", overlap(0)).await;
    assert!(matches!(refused, Err(ManageError::IdempotencyInProgress)));
    let refused = create(&node, &alder, "k", wanted("")).await;
    assert!(matches!(refused, Err(ManageError::Invalid(_))));
    let refused = rotate(&node, made.id, "k", overlap(-1)).await;
    assert!(matches!(refused, Err(ManageError::Invalid(_))));
    assert_eq!(hasher.begun().len(), 1);
    hasher.release(1);
    let first = first.await.unwrap().unwrap();
    let again = create(&node, &alder, "k", wanted("Lab")).await.unwrap();
    assert_eq!(all_of(&again), all_of(&first));
}

/// A caller that goes away leaves no mark behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_given_up_may_be_sent_again_at_once() {
    let deployment = Deployment::new();
    let hasher = HeldHasher::new(deployment.keyring.clone());
    let builder = deployment.node_builder().hasher(hasher.clone());
    let node = builder.build().unwrap();
    let alder = admin("alder");
    let given_up = {
        let (node, alder) = (node.clone(), alder.clone());
        tokio::spawn(async move { create(&node, &alder, "k", wanted("Lab")).await })
    };
    until(|| hasher.begun().len() == 1).await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    hasher.release(2);
    create(&node, &alder, "k", wanted("Lab")).await.unwrap();
    assert_eq!(listed(&node, "alder").await, 1);
}

/// 32 at once, on one node and on two: one is made, and every answer is about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_repetitions_make_one() {
    for on_two in [false, true] {
        let deployment = Deployment::new();
        let other = deployment.second_node();
        let made = deployment.key("Rotated", "apiv2", READ).await;
        let sent = (0..64).map(|n: usize| {
            let node = if on_two && n % 4 > 1 {
                &other
            } else {
                &deployment.node
            };
            let (node, id) = (node.clone(), made.id);
            tokio::spawn(async move {
                match n % 2 {
                    0 => create(&node, &admin("alder"), "c", wanted("Lab")).await,
                    _ => rotate(&node, id, "r", overlap(60)).await,
                }
            })
        });
        let mut answers = [Vec::new(), Vec::new()];
        for (n, sent) in sent.collect::<Vec<_>>().into_iter().enumerate() {
            match sent.await.unwrap() {
                Ok(answered) => answers[n % 2].push(all_of(&answered)),
                Err(ManageError::IdempotencyInProgress) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        for answers in answers {
            assert!(!answers.is_empty());
            assert!(answers.iter().all(|it| *it == answers[0]), "{answers:?}");
        }
        let lab = create(&other, &admin("alder"), "c", wanted("Lab")).await;
        works(&other, &lab.unwrap()).await;
        assert_eq!(listed(&other, "alder").await, 2);
        assert_eq!(audited(&deployment).await, 3);
        let rotated = deployment.credential(&made).await;
        assert_eq!(rotated.settings.secrets.len(), 2);
    }
}

/// The node dies, or loses its connections, right after the commit: the answer was never given.
#[tokio::test]
async fn what_was_committed_is_answered_by_another_node() {
    let deployment = Deployment::new();
    let made = deployment.key("Lab", "apiv2", READ).await;
    let (node, other) = (&deployment.node, deployment.second_node());
    let store = deployment.store.clone();
    deployment.store.after_next_commit(move || store.fail(true));
    let lost = rotate(node, made.id, "r", overlap(60)).await;
    assert!(matches!(lost, Err(ManageError::Store(_))), "{lost:?}");
    deployment.store.fail(false);
    deployment.advance(5_000);
    let first = rotate(&other, made.id, "r", overlap(60)).await.unwrap();
    let at = first.effective_everywhere_at.unwrap();
    assert!(at >= node.clock().now(), "nothing older was ever promised");
    deployment.advance(5_000);
    for node in [node, &other] {
        let again = rotate(node, made.id, "r", overlap(60)).await.unwrap();
        assert_eq!(all_of(&again), all_of(&first));
    }
    assert_eq!(audited(&deployment).await, 2);
}

#[test]
fn keys_are_visible_and_bounded_and_never_shown() {
    for text in ["k", "!~", &"k".repeat(255)] {
        assert!(IdempotencyKey::new(text).is_ok(), "{text}");
    }
    for text in ["", " ", "a b", "é", "a\u{7f}", "a\n", &"k".repeat(256)] {
        let error = IdempotencyKey::new(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not an idempotency key: expected 1 to 255 visible ASCII characters"
        );
    }
    assert_eq!(format!("{:?}", key("hush")), "IdempotencyKey([redacted])");
}

#[tokio::test]
async fn debug_shows_no_answer() {
    let deployment = Deployment::new();
    let (node, alder) = (&deployment.node, admin("alder"));
    let answered = create(node, &alder, "k", wanted("Lab")).await.unwrap();
    let (_, secret) = answered.body.split_once(' ').unwrap();
    assert!(!format!("{answered:?}").contains(secret));
}
