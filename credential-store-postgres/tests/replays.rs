//! Requests with an idempotency key on real PostgreSQL: two nodes, what lies in the table, and what goes.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use credential_core::{
    Credentials,
    id::CredentialId,
    manage::{Answered, CreateCredential, Created, IdempotencyKey, ManageError, RotateSecret},
    store::{CredentialStore as _, Heartbeat, ListQuery},
    testing::ManualClock,
};
use credential_store_postgres::PostgresStore;

const KEY: &str = "7f9c2ba4-e88f-427d-8f0b-1b0a5d4f2f6e";

async fn create(node: &Credentials, name: &str) -> Result<Answered, ManageError> {
    let request = CreateCredential {
        name: name.into(),
        api_type: "apiv2".into(),
        ..CreateCredential::default()
    };
    let (admin, key) = (common::admin("alder"), IdempotencyKey::new(KEY).unwrap());
    let manage = node.manage(&admin);
    let write = |made: &Created| {
        made.client_secret
            .as_ref()
            .unwrap()
            .expose_secret()
            .to_owned()
            .into()
    };
    manage.create_once(&key, request, write).await
}

async fn rotate(node: &Credentials, id: CredentialId) -> Result<Answered, ManageError> {
    let request = RotateSecret {
        overlap_seconds: 60.into(),
        ..RotateSecret::default()
    };
    let admin = common::admin("alder");
    let key = IdempotencyKey::new("rotate").unwrap();
    let manage = node.manage(&admin);
    manage
        .rotate_secret_once(&key, id, request, |_, secret| {
            secret.expose_secret().to_owned().into()
        })
        .await
}

/// 32 at once on two nodes, each with connections of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_repetitions_on_two_nodes_make_one() {
    let fresh = common::fresh().await;
    let second = PostgresStore::new(common::pool(&fresh.database.url()).await);
    let clock = ManualClock::new();
    let nodes = [
        common::node(&fresh.store, &clock),
        common::node(&second, &clock),
    ];
    let made = common::create(&nodes[0], "alder", "Rotated").await;
    let id = made.identity.id;
    for rotating in [false, true] {
        let sent = (0..32).map(|n| {
            let node = nodes[n % 2].clone();
            tokio::spawn(async move {
                if rotating {
                    rotate(&node, id).await
                } else {
                    create(&node, "Lab").await
                }
            })
        });
        let mut answers = Vec::new();
        for sent in sent.collect::<Vec<_>>() {
            match sent.await.unwrap() {
                Ok(it) => answers.push((
                    it.credential,
                    it.version,
                    it.body.to_string(),
                    it.effective_everywhere_at,
                )),
                Err(ManageError::IdempotencyInProgress) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(!answers.is_empty());
        assert!(answers.iter().all(|it| *it == answers[0]), "{answers:?}");
    }
    let all = ListQuery {
        limit: 100,
        after: None,
        include_revoked: true,
    };
    let alder = made.identity.tenant;
    let listed = fresh.store.list(&alder, &all).await.unwrap();
    let secrets = listed.iter().map(|it| it.settings.secrets.len());
    let mut secrets: Vec<_> = secrets.collect();
    secrets.sort_unstable();
    assert_eq!(secrets, [1, 2]);
    assert_eq!(
        fresh
            .database
            .query("select count(*) from credential_management.replay"),
        "2"
    );
}

/// What a thief of the database finds: neither the secret nor the idempotency key, in no table.
#[tokio::test]
async fn no_row_holds_a_secret_or_a_key() {
    let fresh = common::fresh().await;
    let node = common::node(&fresh.store, &ManualClock::new());
    let answered = create(&node, "Lab").await.unwrap();
    let tables = fresh.database.query(
        "select relname from pg_class where relkind = 'r'
            and relnamespace = 'credential_management'::regnamespace",
    );
    // The selector is public, and its hash lies under it; what follows is the secret.
    let secret = &answered.body["cred_sandbox_".len() + 16..];
    let hex = |text: &str| {
        let bytes = text.bytes();
        bytes.fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    };
    let mut rows = 0;
    for table in tables.lines() {
        let content = fresh.database.query(&format!(
            "select t::text from credential_management.{table} as t"
        ));
        rows += content.lines().count();
        for hidden in [secret, KEY] {
            assert!(!content.contains(hidden), "{table}");
            assert!(!content.contains(&hex(hidden)), "{table}");
        }
    }
    assert!(rows > 5, "{rows}");
}

/// A row whose time is over answers nobody, and goes when old rows go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_is_not_answered_and_goes() {
    let fresh = common::fresh().await;
    let node = common::node(&fresh.store, &ManualClock::new());
    let first = create(&node, "Lab").await.unwrap();
    let kept = || {
        fresh
            .database
            .query("select count(*) from credential_management.replay")
    };
    let end = || {
        fresh
            .database
            .query("update credential_management.replay set expires_at = now()");
    };
    end();
    let refused = create(&node, "Lab").await;
    assert!(matches!(refused, Err(ManageError::NameTaken)));
    assert_eq!(kept(), "1");
    let second = create(&node, "Imaging").await.unwrap();
    assert_ne!(second.credential, first.credential);
    assert_eq!(kept(), "1", "in the place of the one that is over");

    // More than are removed at once.
    fresh.database.query(
        "insert into credential_management.replay
            select tenant_id, sha256(n::text::bytea), key_name, request, sealed, null, now()
            from credential_management.replay, generate_series(1, 1200) as n",
    );
    let beat = Heartbeat {
        issuer: node.issuer().into(),
        ..common::heartbeat(1)
    };
    for _ in 0..1024 {
        fresh.store.catch_up(&beat).await.unwrap();
    }
    // That runs beside the heartbeat: wait for as long as it may take.
    for _ in 0..2_000 {
        if kept() == "1" {
            break;
        }
    }
    assert_eq!(kept(), "1");
    let again = create(&node, "Imaging").await.unwrap();
    assert_eq!(*again.body, *second.body);
}

/// The database crashes right after the commit, as the node does: another node on it has the answer.
#[tokio::test]
async fn an_answer_outlives_a_crash_of_the_database() {
    let server = test_postgres::Server::start();
    server.sql("create database crashed");
    let pool = common::pool(&server.url("crashed")).await;
    PostgresStore::migrate(&pool).await.unwrap();
    let node = common::node(&PostgresStore::new(pool), &ManualClock::new());
    let first = create(&node, "Lab").await.unwrap();
    drop(node);
    server.stop_immediately();
    server.start_again();
    let store = PostgresStore::new(common::pool(&server.url("crashed")).await);
    let other = common::node(&store, &ManualClock::new());
    let again = create(&other, "Lab").await.unwrap();
    assert_eq!(again.credential, first.credential);
    assert_eq!(*again.body, *first.body);
}
