//! What is out in the world stays readable: databases, secrets, tokens and audit rows of released
//! versions, and nodes that are brought up to date one after the other.
//!
//! `data/VERSION.sql` and `data/VERSION.txt` were written by that version and are never edited.
//! `FREEZE=1 cargo test -p credential-store-postgres --test compatibility` writes those of this version.

#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use std::{env, fs, path::Path, time::Duration};

use credential_core::{
    Credentials,
    audit::{Heads, verify_trails},
    authenticate::{AuthenticateError, Refusal},
    authorize::{AuthorizeError, TokenRefusal},
    clock::{Clock as _, Timestamp},
    id::CredentialId,
    manage::{CreateCredential, Expected, ScopeChoice, SetScopes, UpdateCredential},
    secret::keyring::Keyring,
    store::{AuditQuery, ListQuery},
    testing::ManualClock,
};
use credential_store_postgres::{PostgresStore, SchemaError, SchemaState};
use test_postgres::{Database, Server};

use common::admin;

/// When the frozen database was written.
const FROZEN_AT: &str = "2026-11-26T06:00:00Z";
const READ: &str = "system/patients.read";

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::parse_rfc3339(FROZEN_AT).unwrap())
}

fn request(name: &str, scopes: &[&str]) -> CreateCredential {
    CreateCredential {
        name: name.into(),
        api_type: "apiv2".into(),
        scopes: scopes
            .iter()
            .map(|&it| it.to_owned())
            .collect::<Vec<_>>()
            .into(),
        ..CreateCredential::default()
    }
}

/// A key as its client holds it.
struct Key {
    id: CredentialId,
    client_id: String,
    secret: String,
    token: String,
}

impl Key {
    async fn new(node: &Credentials, name: &str, scopes: &[&str], asked: Option<&str>) -> Self {
        let created = node
            .manage(&admin("alder"))
            .create(request(name, scopes))
            .await
            .unwrap();
        let client_id = created.credential.identity.client_id.as_str().to_owned();
        let secret = created
            .client_secret
            .as_ref()
            .unwrap()
            .expose_secret()
            .to_owned();
        let client = node.authenticate(&client_id, &secret).await.unwrap();
        let issued = node.issue(&client, asked).unwrap();
        Self {
            id: created.credential.identity.id,
            client_id,
            secret,
            token: issued.access_token.expose_secret().to_owned(),
        }
    }

    fn line(&self) -> String {
        [&self.client_id, &self.secret, &self.token]
            .map(String::as_str)
            .join(" ")
    }
}

/// Everything that a deployment of this version leaves behind.
async fn write(data: &Path) {
    let fresh = common::fresh().await;
    let clock = clock();
    let node = common::node(&fresh.store, &clock);
    let running = node.start().await.unwrap();
    let alder = admin("alder");
    let manage = node.manage(&alder);
    let any = Some(&Expected::Any);

    let live = Key::new(&node, "Lab sync", &[READ, "system/bills.write"], None).await;
    let named = Key::new(&node, "Fax ü gateway", &[READ], Some(READ)).await;
    let revoked = Key::new(&node, "Old sync", &[READ], None).await;
    let ended = Key::new(&node, "Ended token", &[READ], None).await;
    manage.revoke(revoked.id, None).await.unwrap();
    let client = node.authenticate(&ended.client_id, &ended.secret).await;
    node.revoke_token(&client.unwrap(), &ended.token)
        .await
        .unwrap();
    let narrowed = SetScopes {
        choice: ScopeChoice::Named(vec![READ.to_owned()]).into(),
        ..SetScopes::default()
    };
    manage.set_scopes(live.id, any, narrowed).await.unwrap();
    let edited = UpdateCredential {
        name: "Lab results sync".into(),
        expires_at: Some(clock.now().saturating_add(Duration::from_hours(24 * 365))).into(),
        ..UpdateCredential::default()
    };
    manage.update(live.id, any, edited).await.unwrap();
    common::create(&node, "birch", "Lab sync").await;
    node.verify(&live.token).await.unwrap();
    running.shutdown().await;

    fs::create_dir_all(data).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    fs::write(
        data.join(format!("{version}.sql")),
        fresh.database.dump_sql(),
    )
    .unwrap();
    let keys: Vec<String> = [live, named, revoked, ended]
        .iter()
        .map(Key::line)
        .collect();
    fs::write(data.join(format!("{version}.txt")), keys.join("\n") + "\n").unwrap();
}

/// Reads what that version has left behind.
async fn read(data: &Path, version: &str) {
    let frozen = fs::read_to_string(data.join(format!("{version}.sql"))).unwrap();
    let keys = fs::read_to_string(data.join(format!("{version}.txt"))).unwrap();
    let keys: Vec<Vec<&str>> = keys.lines().map(|line| line.split(' ').collect()).collect();
    let database = Server::shared().database();
    database.query(&frozen);
    let pool = common::pool(&database.url()).await;
    PostgresStore::migrate(&pool).await.unwrap();
    let state = PostgresStore::schema_state(&pool).await.unwrap();
    assert_eq!(state, SchemaState::Current, "{version}");
    let store = PostgresStore::new(pool);
    let node = common::node(&store, &clock());
    let running = node.start().await.unwrap();

    let reading = node.catalog().api_type("apiv2").unwrap();
    let reading = reading.requires(READ).unwrap();
    for (key, dead) in keys.iter().zip([
        None,
        None,
        Some(TokenRefusal::CredentialRevoked),
        Some(TokenRefusal::Revoked),
    ]) {
        let [client_id, secret, token] = key[..] else {
            panic!("{key:?}");
        };
        let access = node.verify(token).await;
        match dead {
            None => {
                let access = access.unwrap();
                assert!(access.permits(&reading), "{version}");
                assert_eq!(access.scope(), READ, "{version}");
                assert_eq!(access.tenant().as_str(), "alder");
            }
            Some(why) => assert!(
                matches!(access, Err(AuthorizeError::Refused(it)) if it == why),
                "{version}: {access:?}"
            ),
        }
        let client = node.authenticate(client_id, secret).await;
        if dead == Some(TokenRefusal::CredentialRevoked) {
            assert!(
                matches!(client, Err(AuthenticateError::Refused(Refusal::Revoked))),
                "{version}: {client:?}"
            );
        } else {
            node.issue(&client.unwrap(), None).unwrap();
        }
    }

    let alder = admin("alder");
    let manage = node.manage(&alder);
    let all = ListQuery {
        limit: 100,
        after: None,
        include_revoked: true,
    };
    let mut names: Vec<String> = manage
        .list(all)
        .await
        .unwrap()
        .items
        .iter()
        .map(name)
        .collect();
    names.sort_unstable();
    let expected = [
        "Ended token",
        "Fax ü gateway",
        "Lab results sync",
        "Old sync",
    ];
    assert_eq!(names, expected, "{version}");
    let query = AuditQuery {
        credential_id: None,
        limit: 100,
        before: None,
    };
    let rows = manage.audit_events(query).await.unwrap().items;
    let readable = rows.iter().filter(|row| row.event().is_some());
    assert_eq!((readable.count(), rows.len()), (8, 8), "{version}");

    // What this version adds is chained behind what that one wrote.
    for id in manage
        .list(all)
        .await
        .unwrap()
        .items
        .iter()
        .map(|it| it.identity.id)
    {
        manage.revoke(id, None).await.unwrap();
    }
    trails_are_intact(&store, &["alder: 11 rows", "birch: 1 rows"]).await;
    running.shutdown().await;
}

fn name(credential: &credential_core::credential::Credential) -> String {
    credential.settings.name.as_str().to_owned()
}

async fn trails_are_intact(store: &PostgresStore, expected: &[&str]) {
    let keyring = Keyring::parse(common::KEYRING).unwrap();
    let mut reports = Vec::new();
    verify_trails(store, &keyring, &Heads::default(), |report| {
        reports.push(report.to_string());
    })
    .await
    .unwrap();
    assert_eq!(reports, expected);
}

#[tokio::test]
async fn what_every_released_version_has_left_behind_is_read() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    if env::var_os("FREEZE").is_some() {
        write(&data).await;
    }
    let mut versions = 0;
    for file in fs::read_dir(&data).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|it| it == "sql") {
            versions += 1;
            read(&data, path.file_stem().unwrap().to_str().unwrap()).await;
        }
    }
    assert!(versions >= 1, "{data:?} is empty");
}

/// The migration of a later version.
const LATER: i64 = 9999;

/// What a later migration may do without a move of `compatibility.oldest`.
fn migrate_on(database: &Database<'_>) {
    let tables =
        "credential secret revoked_token tenant audit_event change change_counter node key_check";
    for table in tables.split(' ') {
        database.query(&format!(
            "alter table credential_management.{table} add later text; \
             alter table credential_management.{table} add counted bigint not null default 7"
        ));
    }
    database.query(
        "create table credential_management.later (id bigint primary key);
         insert into credential_management.migration (version, description, success, checksum, execution_time)
         values (9999, 'later', true, '\\x00', 0)",
    );
}

#[tokio::test]
async fn a_node_of_this_version_goes_on_beside_a_newer_one() {
    let fresh = common::fresh().await;
    let clock = clock();
    let older = common::node(&fresh.store, &clock);
    let running = older.start().await.unwrap();
    let before = Key::new(&older, "Before", &[READ], None).await;
    migrate_on(&fresh.database);
    older.verify(&before.token).await.unwrap();
    let after = Key::new(&older, "After", &[READ], None).await;

    // It may also be restarted meanwhile.
    let state = PostgresStore::schema_state(&fresh.pool).await.unwrap();
    let newer = matches!(
        state,
        SchemaState::Newer {
            found: LATER,
            compatible: true,
            ..
        }
    );
    assert!(newer, "{state:?}");
    PostgresStore::migrate(&fresh.pool).await.unwrap();
    let restarted = common::node(&PostgresStore::new(fresh.pool.clone()), &clock);
    let other = restarted.start().await.unwrap();
    for key in [&before, &after] {
        restarted.verify(&key.token).await.unwrap();
        restarted
            .manage(&admin("alder"))
            .revoke(key.id, None)
            .await
            .unwrap();
        assert!(restarted.verify(&key.token).await.is_err());
    }
    trails_are_intact(&fresh.store, &["alder: 4 rows"]).await;
    other.shutdown().await;
    running.shutdown().await;
}

#[tokio::test]
async fn a_schema_that_this_version_cannot_live_with_is_refused() {
    let fresh = common::fresh().await;
    migrate_on(&fresh.database);
    fresh
        .database
        .query("update credential_management.compatibility set oldest = 9999");
    let refused = PostgresStore::migrate(&fresh.pool).await.unwrap_err();
    assert!(
        matches!(refused, SchemaError::Newer { found: LATER, .. }),
        "{refused}"
    );
    let node = common::node(&fresh.store, &clock());
    let refused = node.start().await.unwrap_err();
    let source = std::error::Error::source(&refused).unwrap().to_string();
    assert!(
        source.contains("at migration 9999, newer than migration "),
        "{source}"
    );
}
