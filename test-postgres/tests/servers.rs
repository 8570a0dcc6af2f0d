//! What tests rely on: a standby loses what it is told to lose, and no more; a dump brings back what
//! was; a forwarder carries, turns, cuts and falls silent.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use test_postgres::{Forwarder, Server};
use tokio::time::timeout;

/// Enough for any answer that comes at all.
const LONG: Duration = Duration::from_secs(20);
/// What never comes is not waited for longer.
const SHORT: Duration = Duration::from_millis(500);

async fn which(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select id from which")
        .fetch_one(connection)
        .await
}

#[test]
fn a_promoted_standby_lacks_exactly_what_came_after_it_was_cut_off() {
    for lost in [1, 2] {
        let primary = Server::start();
        let database = primary.database();
        database.query("create table change (number bigint)");
        let standby = primary.standby("s1");
        database.query("insert into change values (1), (2)");
        standby.catch_up();
        standby.cut_off();
        for number in 0..lost {
            database.query(&format!("insert into change values ({})", 3 + number));
        }
        primary.pause();
        let promoted = standby.promote();
        assert_eq!(promoted.query("select pg_is_in_recovery()"), "f");
        let numbers = promoted.query_in(
            database.name(),
            "insert into change values (100) returning (select max(number) from change)",
        );
        assert_eq!(numbers, "2", "with {lost} lost");
        primary.resume();
        assert_eq!(
            database.query("select max(number) from change"),
            (2 + lost).to_string(),
            "the old primary keeps what the new one lost"
        );
    }
}

#[test]
fn a_standby_that_follows_again_has_everything() {
    let primary = Server::start();
    let database = primary.database();
    let standby = primary.standby("s1");
    standby.cut_off();
    database.query("create table change (number bigint)");
    standby.follow_again();
    let seen = standby.query_in(database.name(), "select count(*) from change");
    assert_eq!(seen, "0");
}

#[tokio::test]
async fn a_commit_waits_for_a_synchronous_standby() {
    let primary = Server::start();
    let standby = primary.standby("s1");
    primary.set("synchronous_standby_names", "s1");
    let sync = "select sync_state from pg_stat_replication where application_name = 's1'";
    // The process that sends to it reads its settings at its own time.
    for _ in 0..1_000 {
        if primary.query(sync) == "sync" {
            break;
        }
    }
    assert_eq!(primary.query(sync), "sync");
    let database = primary.database();
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::query("create table change (number bigint)")
        .execute(&mut connection)
        .await
        .unwrap();
    for gone in ["frozen", "cut off"] {
        match gone {
            "frozen" => standby.pause(),
            _ => standby.cut_off(),
        }
        {
            let commit = sqlx::query("insert into change values (1)").execute(&mut connection);
            let mut commit = Box::pin(commit);
            timeout(SHORT, &mut commit).await.unwrap_err();
            match gone {
                "frozen" => standby.resume(),
                _ => standby.follow_again(),
            }
            timeout(LONG, commit).await.unwrap().unwrap();
        }
    }
    primary.set("synchronous_standby_names", "");
    standby.pause();
    let commit = sqlx::query("insert into change values (2)").execute(&mut connection);
    timeout(LONG, commit).await.unwrap().unwrap();
    standby.resume();
}

#[tokio::test]
async fn a_restore_brings_back_what_was_dumped_under_the_same_name() {
    let server = Server::start();
    let database = server.database();
    database.query("create table which (id bigint primary key); insert into which values (1)");
    let dump = database.dump();
    database.query("update which set id = 2; create table later ()");
    let mut open = PgConnection::connect(&database.url()).await.unwrap();
    assert_eq!(which(&mut open).await.unwrap(), 2);
    database.restore(&dump);
    which(&mut open).await.unwrap_err();
    assert_eq!(database.query("select id from which"), "1");
    assert_eq!(database.query("select to_regclass('later') is null"), "t");
    // Once more: a dump is not used up.
    database.query("update which set id = 3");
    database.restore(&dump);
    assert_eq!(database.query("select id from which"), "1");
}

/// Two servers with a database of one name, which say which they are.
fn two() -> (Server, Server) {
    let servers = [Server::start(), Server::start()];
    for (server, id) in servers.iter().zip(1..) {
        server.sql(&format!(
            "create table which (id bigint); insert into which values ({id})"
        ));
    }
    servers.into()
}

#[tokio::test]
async fn a_forwarder_that_is_turned_keeps_what_is_open() {
    let (one, two) = two();
    let forwarder = Forwarder::start(&one);
    let url = forwarder.url("postgres");
    let mut old = PgConnection::connect(&url).await.unwrap();
    forwarder.turn_to(&two);
    let mut new = PgConnection::connect(&url).await.unwrap();
    assert_eq!(which(&mut old).await.unwrap(), 1);
    assert_eq!(which(&mut new).await.unwrap(), 2);
    forwarder.cut();
    which(&mut old).await.unwrap_err();
    which(&mut new).await.unwrap_err();
    let mut again = PgConnection::connect(&url).await.unwrap();
    assert_eq!(which(&mut again).await.unwrap(), 2);
    // A server's own end is passed on.
    two.stop_immediately();
    which(&mut again).await.unwrap_err();
    PgConnection::connect(&url).await.unwrap_err();
}

#[tokio::test]
async fn a_silenced_connection_carries_nothing_and_does_not_end() {
    let (one, two) = two();
    let forwarder = Forwarder::start(&one);
    let url = forwarder.url("postgres");
    let mut old = PgConnection::connect(&url).await.unwrap();
    forwarder.silence();
    let mut new = PgConnection::connect(&url).await.unwrap();
    assert_eq!(which(&mut new).await.unwrap(), 1);
    timeout(SHORT, which(&mut old)).await.unwrap_err();
    // Not even the server's end reaches it, and nothing reached the server.
    let active =
        "select count(*) from pg_stat_activity where query like '%from which' and state = 'active'";
    assert_eq!(one.query(active), "0");
    drop(new);
    one.stop_immediately();
    timeout(SHORT, which(&mut old)).await.unwrap_err();
    forwarder.turn_to(&two);
    let mut new = PgConnection::connect(&url).await.unwrap();
    assert_eq!(which(&mut new).await.unwrap(), 2);
}
