//! The store contract, case for case.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use credential_core::{
    ScopeCatalog,
    clock::{Clock as _, SystemClock},
    conformance,
    entropy::OsEntropy,
    id::CredentialId,
    secret::keyring::Keyring,
    store::{CredentialStore as _, Stores},
    testing::{self, ManualClock},
};
use credential_store_sqlite::SqliteStore;
use rusqlite::Connection;
use tempfile::TempDir;

/// A file of its own, in a folder that goes with it.
struct Fresh {
    file: PathBuf,
    _folder: TempDir,
}

impl Fresh {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            file: folder.path().join("credentials.db"),
            _folder: folder,
        }
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.file, Arc::new(SystemClock)).unwrap()
    }

    /// A store whose clock is right at first and moves when told.
    fn timed(&self) -> (SqliteStore, ManualClock) {
        let clock = ManualClock::new();
        clock.set_now(SystemClock.now());
        let store = SqliteStore::open(&self.file, Arc::new(clock.clone()));
        (store.unwrap(), clock)
    }
}

macro_rules! run {
    ($($case:ident),* $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let fresh = Fresh::new();
            conformance::$case(&fresh.open()).await;
        }
    )* };
}
credential_core::for_each_credential_case!(run);
credential_core::for_each_trail_case!(run);
credential_core::for_each_usage_case!(run);

macro_rules! run_timed {
    ($($case:ident),* $(,)?) => { $(
        #[tokio::test]
        async fn $case() {
            let fresh = Fresh::new();
            let (store, clock) = fresh.timed();
            let let_pass = async |time: Duration| clock.advance(time);
            conformance::$case(&store, let_pass).await;
        }
    )* };
}
run_timed!(
    catch_up_forgets_dead_nodes,
    changes_are_kept_for_their_time,
    revoked_tokens_are_forgotten_after_their_time,
    answers_end_after_their_time,
    spent_assertions_are_forgotten_after_their_time,
    batch_numbers_are_kept_for_their_time,
);

macro_rules! run_reopened {
    ($($case:ident),* $(,)?) => { $(
        #[tokio::test]
        async fn $case() {
            let fresh = Fresh::new();
            let reopen = async |store| {
                drop(store);
                fresh.open()
            };
            conformance::$case(fresh.open(), reopen).await;
        }
    )* };
}
run_reopened!(all_is_there_after_reopening, trail_goes_on_after_reopening);

/// An afternoon's work: docs/stores.md says so.
#[test]
fn it_is_a_short_program() {
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let rust = files.filter(|file| file.extension().is_some_and(|ending| ending == "rs"));
    let text: String = rust.map(|file| fs::read_to_string(file).unwrap()).collect();
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    assert!((1..=450).contains(&lines), "{lines} lines");
}

/// What the tables held goes back into them, by another connection.
#[tokio::test]
async fn changes_after_a_restore_are_other_changes() {
    let fresh = Fresh::new();
    let store = fresh.open();
    let connection = Connection::open(&fresh.file).unwrap();
    let copy = fresh.file.with_extension("copy");
    let back_up = async || {
        let copy = copy.to_str().unwrap();
        connection.execute("vacuum into ?", [copy]).unwrap();
    };
    let restore = async |()| {
        let copy = copy.to_str().unwrap();
        connection.execute("attach ? as backup", [copy]).unwrap();
        let mut tables = connection
            .prepare("select name from backup.sqlite_schema where type = 'table'")
            .unwrap();
        let tables = tables.query_map([], |row| row.get(0)).unwrap();
        for table in tables.collect::<Result<Vec<String>, _>>().unwrap() {
            let sql = format!(
                "delete from main.{table}; insert into main.{table} select * from backup.{table}"
            );
            connection.execute_batch(&sql).unwrap();
        }
    };
    conformance::changes_after_a_restore_are_other_changes(&store, back_up, restore).await;
}

/// Two processes may have the file open: the rules hold between their connections as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_connections_keep_one_history() {
    let fresh = Fresh::new();
    let (here, there) = (fresh.open(), fresh.open());
    let keyring = Keyring::generate(&OsEntropy);
    let nodes = [here.clone(), there].map(|store| {
        testing::builder(Stores::all(store), ScopeCatalog::elation())
            .keyring(keyring.clone())
            .build()
            .unwrap()
    });
    let scopes = ["system/patients.read"];
    let (one, other) = tokio::join!(
        testing::token_of(&nodes[0], "alder", "apiv2", &scopes),
        testing::token_of(&nodes[1], "birch", "apiv2", &scopes),
    );
    for node in &nodes {
        for token in [&one, &other] {
            node.verify(token.bearer()).await.unwrap();
        }
    }
    let nobody = CredentialId::from_bytes([0; 16]);
    assert_eq!(here.state(nobody).await.unwrap().upto.number, 2);
}
