//! `reference-server audit verify` on a trail that was tampered with, on real PostgreSQL.
//!
//! The trail of `alder` has rows 1 to 3 by the key `k1` and rows 4 and 5 by `k2`, which followed it;
//! `birch` has one row by each.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/postgres.rs"]
mod postgres;

use std::process::Output;

use common::{CREDENTIALS, KEYRING as K1, Key, READ, Server, run};
use postgres::{Deployment, psql};
use serde_json::json;
use test_postgres::Server as Postgres;

const K2: &str = "k2:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Databases that tests copy. No one writes to them.
struct Story<'a> {
    postgres: &'a Postgres,
    /// `alder` has its first row only.
    first: String,
    /// All rows by `k1`, none by `k2` yet.
    before: String,
    /// The whole trail.
    after: String,
}

impl<'a> Story<'a> {
    fn new(postgres: &'a Postgres) -> Self {
        let deployment = Deployment::new(postgres);
        let node = deployment.node();
        let lab = Key::new(&node.signed_in("alder-admin"), "Lab", READ);
        assert_eq!(node.stop().code, Some(0));
        let first = copy_of(postgres, &deployment.url, "first");
        {
            let node = deployment.node();
            let alder = node.signed_in("alder-admin");
            lab.set_scopes(&alder, &[]);
            lab.set_scopes(&alder, READ);
            Key::new(&node.signed_in("birch-admin"), "Imaging", READ);
            assert_eq!(node.stop().code, Some(0));
        }
        let before = copy_of(postgres, &deployment.url, "before");
        {
            let node = node_with(&deployment.url, &format!("{K2},{K1}"));
            let alder = node.signed_in("alder-admin");
            lab.set_scopes(&alder, &[]);
            Key::new(&alder, "Billing", READ);
            Key::new(&node.signed_in("birch-admin"), "Billing", READ);
            assert_eq!(node.stop().code, Some(0));
        }
        let after = copy_of(postgres, &deployment.url, "after");
        Self {
            postgres,
            first,
            before,
            after,
        }
    }

    /// A copy to tamper with; the server and all its databases end with the test.
    fn copy(&self, of: &str, name: &str) -> String {
        copy_of(self.postgres, of, name)
    }

    /// What whoever holds `k1` alone can write behind the rows of a database: so many edits by
    /// `alder`'s admin.
    fn forged(&self, of: &str, name: &str, edits: usize) -> String {
        let url = self.copy(of, name);
        let node = node_with(&url, K1);
        let alder = node.signed_in("alder-admin");
        let id = psql(
            &url,
            "select replace(id::text, '-', '') from credential_management.credential
             where tenant_id = 'alder' and name = 'Lab'",
        );
        for edit in 0..edits {
            let renamed = alder.json(
                "PATCH",
                &format!("{CREDENTIALS}/{id}"),
                &[("if-match", "*")],
                &json!({"name": format!("Forged {edit}")}),
            );
            assert_eq!(renamed.status, 200, "{}", renamed.body);
            psql(
                &url,
                "update credential_management.credential set name = 'Lab' where name like 'Forged%'",
            );
        }
        assert_eq!(node.stop().code, Some(0));
        url
    }
}

fn copy_of(postgres: &Postgres, url: &str, name: &str) -> String {
    let from = psql(url, "select current_database()");
    postgres.sql(&format!("create database {name} template {from}"));
    postgres.url(name)
}

fn node_with(url: &str, keyring: &str) -> Server {
    let issuer = ["--issuer", "https://api.example.com"];
    Server::start(&[&["--database-url", url, "--keyring", keyring], &issuer[..]].concat())
}

fn verify(url: &str, keyring: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let arguments = [
        "audit",
        "verify",
        "--database-url",
        url,
        "--keyring",
        keyring,
    ];
    let Output {
        status,
        stdout,
        stderr,
    } = run(&[&arguments[..], more].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// `alder`'s rows from that number on, as JSON.
fn rows(url: &str, from: u32) -> String {
    psql(
        url,
        &format!(
            "select json_agg(e) from credential_management.audit_event as e
             where tenant_id = 'alder' and seq >= {from}"
        ),
    )
}

/// Puts other rows in the place of `alder`'s from that number on, and the head with them.
fn put_in_place(from: u32, rows: &str) -> String {
    format!(
        "delete from credential_management.audit_event where tenant_id = 'alder' and seq >= {from};
         insert into credential_management.audit_event
         select * from json_populate_recordset(null::credential_management.audit_event,
             $json${rows}$json$);
         {HEAD_FOLLOWS}"
    )
}

/// What a writer of the database does last: the head kept in `tenant` becomes the newest row.
const HEAD_FOLLOWS: &str = "update credential_management.tenant as t
    set audit_seq = e.seq, audit_hash = e.hash
    from (select seq, hash from credential_management.audit_event
        where tenant_id = 'alder' order by seq desc limit 1) as e
    where t.id = 'alder'";

/// An update of one row of `alder`.
fn set(seq: u32, what: &str) -> String {
    format!(
        "update credential_management.audit_event set {what}
         where tenant_id = 'alder' and seq = {seq}"
    )
}

struct Tampering {
    what: &'static str,
    sql: String,
    /// The line that names tenant and row begins with the one and holds the other.
    tenant: &'static str,
    found: &'static [&'static str],
}

fn tampering(
    what: &'static str,
    sql: impl Into<String>,
    tenant: &'static str,
    found: &'static [&'static str],
) -> Tampering {
    Tampering {
        what,
        sql: sql.into(),
        tenant,
        found,
    }
}

const EVENTS: &str = "credential_management.audit_event";
const TENANT: &str = "credential_management.tenant";

/// All are found with the keyring that signs now, and without heads kept elsewhere.
#[expect(clippy::too_many_lines, reason = "a table")]
fn tamperings(story: &Story<'_>) -> Vec<Tampering> {
    let rewritten = rows(&story.forged(&story.first, "rewritten", 2), 2);
    let behind = rows(&story.forged(&story.after, "behind", 1), 6);
    vec![
        tampering("actor", set(2, "actor = 'somebody-else'"), "alder", &["row 2 "]),
        tampering("time", set(3, "at = at + interval '1 microsecond'"), "alder", &["row 3 "]),
        tampering("action", set(2, "action = 'credential.revoked'"), "alder", &["row 2 "]),
        tampering("an action that nobody knows", set(2, "action = 'x'"), "alder", &["row 2 "]),
        tampering("details", set(1, "details = '{}'"), "alder", &["row 1 "]),
        tampering(
            "another credential",
            set(4, "credential_id = gen_random_uuid()"),
            "alder",
            &["row 4 "],
        ),
        tampering("no credential", set(4, "credential_id = null"), "alder", &["row 4 "]),
        tampering("another known key", set(3, "key_name = 'k2'"), "alder", &["row 3 "]),
        tampering(
            "a key that nobody has",
            set(3, "key_name = 'k9'"),
            "alder",
            &["row 3 ", "unknown key `k9`"],
        ),
        tampering("another format", set(3, "format = 9"), "alder", &["row 3 ", "format 9"]),
        tampering("hash", set(3, "hash = sha256(hash)"), "alder", &["row 3 "]),
        tampering("newest row's hash", set(5, "hash = sha256(hash)"), "alder", &["row 5 "]),
        tampering(
            "newest row's hash, and the head with it",
            format!("{}; {HEAD_FOLLOWS}", set(5, "hash = sha256(hash)")),
            "alder",
            &["row 5 "],
        ),
        tampering(
            "the first row deleted",
            format!("delete from {EVENTS} where tenant_id = 'alder' and seq = 1"),
            "alder",
            &["row 1 ", "missing"],
        ),
        tampering(
            "a row in the middle deleted",
            format!("delete from {EVENTS} where tenant_id = 'alder' and seq = 3"),
            "alder",
            &["row 3 ", "missing"],
        ),
        tampering(
            "a row in the middle deleted and the later ones moved up",
            format!(
                "delete from {EVENTS} where tenant_id = 'alder' and seq = 3;
                 {}; {}; {HEAD_FOLLOWS}",
                set(4, "seq = 3"),
                set(5, "seq = 4"),
            ),
            "alder",
            &["row 3 "],
        ),
        tampering(
            "the newest rows deleted while the head stands",
            format!("delete from {EVENTS} where tenant_id = 'alder' and seq > 3"),
            "alder",
            &["row 4 ", "missing"],
        ),
        tampering(
            "all rows deleted while the head stands",
            format!("delete from {EVENTS} where tenant_id = 'alder'"),
            "alder",
            &["row 1 ", "missing"],
        ),
        tampering(
            "all rows deleted and the head taken away",
            format!(
                "delete from {EVENTS} where tenant_id = 'alder';
                 update {TENANT} set audit_seq = 0, audit_hash = null where id = 'alder'"
            ),
            "alder",
            &["row 1 ", "missing"],
        ),
        tampering(
            "the head taken away",
            format!("update {TENANT} set audit_seq = 0, audit_hash = null where id = 'alder'"),
            "alder",
            &["row 5 ", "head"],
        ),
        tampering(
            "every head taken away",
            format!("update {TENANT} set audit_seq = 0, audit_hash = null"),
            "birch",
            &["row 2 ", "head"],
        ),
        tampering(
            "the head set back",
            format!(
                "update {TENANT} set audit_seq = 3, audit_hash =
                    (select hash from {EVENTS} where tenant_id = 'alder' and seq = 3)
                 where id = 'alder'"
            ),
            "alder",
            &["row 5 ", "head"],
        ),
        tampering(
            "the head's hash",
            format!("update {TENANT} set audit_hash = sha256(audit_hash) where id = 'alder'"),
            "alder",
            &["row 5 ", "head"],
        ),
        tampering(
            "a head of half a hash",
            format!(
                "alter table {TENANT} drop constraint tenant_audit_head;
                 update {TENANT} set audit_hash = substr(audit_hash, 1, 16) where id = 'alder'"
            ),
            "alder",
            &["row 5 ", "head"],
        ),
        tampering(
            "the tenant deleted, its trail left",
            format!(
                "delete from credential_management.secret as s using credential_management.credential
                    as c where c.id = s.credential_id and c.tenant_id = 'alder';
                 delete from credential_management.credential where tenant_id = 'alder';
                 delete from {TENANT} where id = 'alder'"
            ),
            "alder",
            &["row 5 ", "head"],
        ),
        tampering(
            "two rows changed places",
            format!("{}; {}; {}", set(2, "seq = 99"), set(3, "seq = 2"), set(99, "seq = 3")),
            "alder",
            &["row 2 "],
        ),
        tampering(
            "a row behind every number",
            format!(
                "insert into {EVENTS} (tenant_id, seq, format, at, actor, action, credential_id,
                     details, key_name, hash)
                 select tenant_id, 9223372036854775807, format, at, actor, action, credential_id,
                     details, key_name, hash
                 from {EVENTS} where tenant_id = 'alder' and seq = 5"
            ),
            "alder",
            &["BROKEN"],
        ),
        tampering(
            "another tenant's row in its place",
            format!(
                "delete from {EVENTS} where tenant_id = 'alder' and seq = 1;
                 update {EVENTS} set tenant_id = 'alder' where tenant_id = 'birch' and seq = 1;"
            ),
            "alder",
            &["row 1 "],
        ),
        tampering(
            "a row that cannot be read",
            set(2, "actor = ''"),
            "alder",
            &["row 2 ", "actor", "cannot be read"],
        ),
        tampering(
            "a key's name that cannot be read",
            set(2, "key_name = 'No Name'"),
            "alder",
            &["row 2 ", "key_name", "cannot be read"],
        ),
        tampering(
            "a hash that cannot be read",
            format!(
                "alter table {EVENTS} drop constraint audit_event_hash_length; {}",
                set(4, "hash = '\\x00'")
            ),
            "alder",
            &["row 4 ", "hash", "cannot be read"],
        ),
        tampering(
            "a row before the first",
            format!(
                "alter table {EVENTS} drop constraint audit_event_seq;
                 insert into {EVENTS} select (jsonb_populate_record(e, '{{\"seq\": -3}}')).*
                 from {EVENTS} as e where tenant_id = 'alder' and seq = 1"
            ),
            "alder",
            &["row 0 "],
        ),
        tampering(
            "a made-up row at the end, and the head with it",
            format!(
                "insert into {EVENTS} select (jsonb_populate_record(e, '{{\"seq\": 6}}')).*
                 from {EVENTS} as e where tenant_id = 'alder' and seq = 5; {HEAD_FOLLOWS}"
            ),
            "alder",
            &["row 6 "],
        ),
        tampering(
            "a trail for a tenant that there is not",
            format!(
                "insert into {EVENTS} select (jsonb_populate_record(e, '{{\"tenant_id\": \"x\"}}')).*
                 from {EVENTS} as e where tenant_id = 'alder'"
            ),
            "x",
            &["row 1 "],
        ),
        tampering(
            "a tenant whose name cannot be read",
            format!("insert into {TENANT} (id) values (E'a\\nb')"),
            "a\\nb",
            &["cannot be read"],
        ),
        tampering(
            "an old key signs behind a newer one",
            put_in_place(6, &behind),
            "alder",
            &["row 6 ", "`k1`", "older"],
        ),
        tampering(
            "an old key rewrites what a newer one covers",
            format!(
                "delete from {EVENTS} where tenant_id = 'alder' and seq in (2, 3);
                 insert into {EVENTS} select * from json_populate_recordset(null::{EVENTS},
                    $json${rewritten}$json$)"
            ),
            "alder",
            &["row 4 "],
        ),
    ]
}

#[test]
fn every_kind_of_tampering_is_found_and_named() {
    let postgres = Postgres::start();
    let story = Story::new(&postgres);
    let keyring = format!("{K2},{K1}");
    let (code, found, log) = verify(&story.after, &keyring, &[]);
    assert_eq!((code, &*found), (Some(0), ""), "untouched: {log}");

    let table = tamperings(&story);
    assert!(table.len() >= 20, "{}", table.len());
    let mut missed = Vec::new();
    for (
        number,
        Tampering {
            what,
            sql,
            tenant,
            found,
        },
    ) in table.iter().enumerate()
    {
        let url = story.copy(&story.after, &format!("tampered_{number}"));
        psql(&url, sql);
        // The last tenant in order: whatever is wrong before, its row is found as well.
        psql(
            &url,
            "insert into credential_management.tenant (id, audit_seq, audit_hash)
             values ('zelkova', 7, sha256('x'))",
        );
        let (code, printed, log) = verify(&url, &keyring, &[]);
        let line = printed
            .lines()
            .find(|line| line.starts_with(&format!("{tenant}: ")))
            .unwrap_or_default();
        let named = found.iter().all(|part| line.contains(part));
        let others = printed.contains("zelkova: 0 rows, BROKEN: audit row 1 is missing");
        let spared =
            *tenant == "birch" || what.contains("another tenant") || !printed.contains("birch: ");
        if code != Some(1) || !named || !others || !spared {
            missed.push(format!("{what}: {code:?}\n{printed}{log}"));
        }
    }
    assert!(
        missed.is_empty(),
        "{} of {}:\n{}",
        missed.len(),
        table.len(),
        missed.join("\n")
    );
}

/// Rows whose key is gone are not called altered; the rest of the trail is verified all the same.
/// Also to admins: the row that somebody wrote into is named, and the others of its page are shown.
#[test]
fn a_row_that_cannot_be_read_hides_no_other_row() {
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    let node = deployment.node();
    let alder = node.signed_in("alder-admin");
    let lab = Key::new(&alder, "Lab", READ);
    lab.set_scopes(&alder, &[]);
    lab.revoke(&alder);
    deployment.sql(&set(2, "actor = ''"));
    let page = |query: &str| {
        let answer = alder.get(&format!("/api-access/v1/audit-events?{query}"), &[]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let all = page("");
    let items = all["items"].as_array().unwrap();
    let told: Vec<_> = items
        .iter()
        .map(|item| (&item["seq"], &item["action"], &item["unreadable"]))
        .collect();
    let null = &json!(null);
    assert_eq!(
        told,
        [
            (&json!(3), &json!("credential.revoked"), null),
            (&json!(2), null, &json!("actor")),
            (&json!(1), &json!("credential.created"), null),
        ]
    );
    for name in ["at", "actor", "credential_id", "details", "hash"] {
        assert_eq!(items[1].get(name), Some(null), "{name}");
    }
    // It is a place to go on from like any other.
    let first = page("limit=2");
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = page(&format!("limit=2&cursor={cursor}"));
    assert_eq!(rest["items"][0]["seq"], 1);
}

#[test]
fn an_unknown_key_is_named_and_nothing_is_called_altered() {
    let postgres = Postgres::start();
    let story = Story::new(&postgres);
    let (code, printed, _) = verify(&story.after, K2, &[]);
    assert_eq!(code, Some(1));
    for line in [
        "alder: 5 rows, UNPROVEN: audit row 1 is signed with the unknown key `k1`",
        "birch: 2 rows, UNPROVEN: audit row 1 is signed with the unknown key `k1`",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    assert!(!printed.contains("BROKEN"), "{printed}");

    let url = story.copy(&story.after, "altered");
    psql(&url, &set(5, "actor = 'somebody-else'"));
    let (code, printed, _) = verify(&url, K2, &[]);
    assert_eq!(code, Some(1));
    let both = "alder: 5 rows, BROKEN: audit row 5 was altered, or does not follow the row before it, \
                UNPROVEN: audit row 1 is signed with the unknown key `k1`";
    assert!(printed.contains(both), "{printed}");
}

/// What a leaked key signed counts where a newer row covers it, or a head that was kept elsewhere.
#[test]
fn a_leaked_key_makes_nothing_verify() {
    let postgres = Postgres::start();
    let story = Story::new(&postgres);
    let leaked = format!("{K2},{K1}:tag");
    let (code, printed, log) = verify(&story.after, &leaked, &[]);
    assert_eq!((code, &*printed), (Some(0), ""), "all is covered: {log}");

    // Everything that `k2` covered is replaced by what `k1` signs.
    let rewritten = rows(&story.forged(&story.first, "rewritten", 3), 2);
    let url = story.copy(&story.after, "all_by_the_old_key");
    psql(&url, &put_in_place(2, &rewritten));
    let (code, printed, log) = verify(&url, &leaked, &[]);
    assert_eq!(code, Some(1));
    assert!(
        printed.contains("alder: 4 rows, UNPROVEN: audit row 1 and those behind it rest on `k1`"),
        "{printed}{log}"
    );
    assert!(!printed.contains("birch"), "{printed}");

    // A trail that ends before the new key's first row is as good as the heads kept elsewhere.
    let (code, printed, _) = verify(&story.before, &leaked, &[]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("alder: 3 rows, UNPROVEN: audit row 1 "),
        "{printed}"
    );
    let kept = kept_heads(&story.before, K1);
    let (code, printed, log) = verify(&story.before, &leaked, &["--heads", kept.path()]);
    assert_eq!((code, &*printed), (Some(0), ""), "{log}");
    let url = story.copy(&story.before, "forged_tail");
    psql(
        &url,
        &put_in_place(4, &rows(&story.forged(&story.before, "tail", 1), 4)),
    );
    let (code, printed, _) = verify(&url, &leaked, &["--heads", kept.path()]);
    assert_eq!(code, Some(1));
    assert!(
        printed.contains("alder: 4 rows, UNPROVEN: audit row 4 "),
        "{printed}"
    );
    psql(&url, &put_in_place(2, &rewritten));
    let (code, printed, _) = verify(&url, &leaked, &["--heads", kept.path()]);
    assert_eq!(code, Some(1));
    assert!(
        printed.contains("BROKEN: audit row 3 is not the row whose head was kept elsewhere"),
        "{printed}"
    );
}

/// What was removed together with the head that the store keeps shows against heads kept elsewhere.
#[test]
fn heads_kept_elsewhere_show_what_was_cut_off() {
    let postgres = Postgres::start();
    let story = Story::new(&postgres);
    let keyring = format!("{K2},{K1}");
    let kept = kept_heads(&story.after, &keyring);
    let lines = std::fs::read_to_string(kept.path()).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    for (line, start) in lines.lines().zip(["alder 5 ", "birch 2 "]) {
        assert!(line.starts_with(start), "{lines}");
        assert_eq!(line.len(), start.len() + 64, "{lines}");
    }
    let with_heads = |url: &str| verify(url, &keyring, &["--heads", kept.path()]);
    assert_eq!(with_heads(&story.after).0, Some(0));

    let cut = story.copy(&story.after, "cut");
    psql(
        &cut,
        &format!("delete from {EVENTS} where tenant_id = 'alder' and seq > 3; {HEAD_FOLLOWS}"),
    );
    assert_eq!(
        verify(&cut, &keyring, &[]).0,
        Some(0),
        "without, it does not show"
    );
    let (code, printed, _) = with_heads(&cut);
    assert_eq!(code, Some(1));
    assert_eq!(printed, "alder: 3 rows, BROKEN: audit row 4 is missing\n");

    let gone = story.copy(&story.after, "gone");
    psql(
        &gone,
        &format!(
            "delete from {EVENTS} where tenant_id = 'birch';
             delete from credential_management.secret as s using credential_management.credential as c
             where c.id = s.credential_id and c.tenant_id = 'birch';
             delete from credential_management.credential where tenant_id = 'birch';
             delete from {TENANT} where id = 'birch'"
        ),
    );
    let (code, printed, _) = with_heads(&gone);
    assert_eq!(code, Some(1));
    assert_eq!(printed, "birch: 0 rows, BROKEN: audit row 1 is missing\n");

    // A broken trail's head is nothing to keep, and does not mix with those that are.
    psql(&gone, &set(2, "actor = 'somebody-else'"));
    let (code, printed, log) = verify(&gone, &keyring, &["--print-heads"]);
    assert_eq!((code, &*printed), (Some(1), ""));
    assert!(log.contains("alder: 5 rows, BROKEN: audit row 2 "), "{log}");

    for (text, fault) in [
        ("alder 5\n", "line 1 is not `tenant seq hash`"),
        ("\n# kept\nalder 0 00\n", "line 3 is not `tenant seq hash`"),
    ] {
        let odd = File::of(text);
        let (code, _, log) = verify(&story.after, &keyring, &["--heads", odd.path()]);
        assert_eq!(code, Some(2));
        assert!(log.contains(fault), "{log}");
    }
    let (code, _, log) = verify(&story.after, &keyring, &["--heads", "/nowhere"]);
    assert_eq!(code, Some(2));
    assert!(log.contains("--heads: `/nowhere`"), "{log}");
}

/// A head that was lost keeps its tenant from writing until it is repaired, and no other tenant. What
/// was altered stays to be seen.
#[test]
fn writing_goes_on_after_a_repair() {
    let postgres = Postgres::start();
    let story = Story::new(&postgres);
    let keyring = format!("{K2},{K1}");
    let node = node_with(&story.after, &keyring);
    let create = |user: &str, name: &str| {
        let request = json!({"name": name, "api_type": "apiv2", "scopes": READ});
        let admin = node.signed_in(user);
        admin.json("POST", CREDENTIALS, &[], &request).status
    };
    psql(
        &story.after,
        &format!("update {TENANT} set audit_seq = 0, audit_hash = null where id = 'alder'"),
    );
    assert_eq!(create("alder-admin", "Refused"), 503);
    assert_eq!(create("birch-admin", "Spared"), 201);

    // The repair of docs/operations.md.
    let repair =
        "update credential_management.tenant as t set audit_seq = e.seq, audit_hash = e.hash
        from (select tenant_id, seq, hash from credential_management.audit_event
            where tenant_id = 'alder' order by seq desc limit 1) as e
        where t.id = e.tenant_id and t.audit_seq < e.seq";
    psql(&story.after, repair);
    assert_eq!(create("alder-admin", "Accepted"), 201);
    let (code, printed, log) = verify(&story.after, &keyring, &[]);
    assert_eq!((code, &*printed), (Some(0), ""), "{log}");

    // Rows that are gone stay missed, also by a head that is there; writing goes on behind them.
    psql(
        &story.after,
        &format!("delete from {EVENTS} where tenant_id = 'alder' and seq > 4"),
    );
    psql(&story.after, repair);
    assert_eq!(create("alder-admin", "Behind the gap"), 201);
    let (code, printed, _) = verify(&story.after, &keyring, &[]);
    assert_eq!(code, Some(1));
    assert_eq!(printed, "alder: 5 rows, BROKEN: audit row 5 is missing\n");
    let log = node.stop().log;
    assert!(log.contains("goes on behind the head"), "{log}");
}

/// While a new key is rolled out, one node signs with it and the other does not yet.
#[test]
fn no_row_steps_back_while_nodes_differ_in_their_first_key() {
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    let old = node_with(&deployment.url, &format!("{K1},{K2}"));
    let key = Key::new(&old.signed_in("alder-admin"), "Lab", READ);
    let new = node_with(&deployment.url, &format!("{K2},{K1}"));
    for scopes in [&[][..], READ, &[], READ] {
        key.set_scopes(&new.signed_in("alder-admin"), scopes);
        Key::new(
            &old.signed_in("birch-admin"),
            &format!("{}", scopes.len()),
            READ,
        )
        .revoke(&old.signed_in("birch-admin"));
        let other: &[&str] = if scopes.is_empty() { READ } else { &[] };
        key.set_scopes(&old.signed_in("alder-admin"), other);
    }
    let signed = "select string_agg(distinct key_name, ',') from credential_management.audit_event
        where tenant_id = 'alder' and seq > 1";
    assert_eq!(deployment.sql(signed), "k2");
    let (code, printed, log) = verify(&deployment.url, &format!("{K2},{K1}"), &[]);
    assert_eq!((code, &*printed), (Some(0), ""), "{log}");
}

/// A node with a keyring that has nothing to do with the store: it says so, calls refused secrets and
/// tokens by their reason, and leaves nothing behind.
#[test]
fn an_unrelated_keyring_is_named_and_leaves_nothing_behind() {
    let postgres = Postgres::start();
    let deployment = Deployment::new(&postgres);
    let kept =
        || deployment.sql("select string_agg(name, ',') from credential_management.key_check");
    let node = deployment.node();
    assert_eq!(kept(), "", "nothing was signed yet");
    let key = Key::new(&node.signed_in("alder-admin"), "Lab", READ);
    assert_eq!(kept(), "k1");
    assert_eq!(node.stop().code, Some(0));

    let node = node_with(&deployment.url, K2);
    assert_eq!(key.token_from(&node.client()).status, 401);
    assert_eq!(key.patients(&node.client()), 401);
    let forged = common::with_another_end(&key.secret);
    let made_up = [
        ("grant_type", "client_credentials"),
        ("client_id", &*key.client_id),
        ("client_secret", &*forged),
    ];
    assert_eq!(node.client().form("/oauth2/token", &made_up).status, 401);
    let metrics = node.client().get("/metrics", &[]).body;
    assert!(metrics.contains("unknown_key"), "{metrics}");
    assert_eq!(kept(), "k1", "nothing was signed with the other");
    let log = node.stop().log;
    let warned = log.lines().find(|line| line.contains("WARN"));
    assert!(
        warned.is_some_and(|line| line.contains("keys=\"k1\"")),
        "{log}"
    );
    assert!(log.contains("reason=\"unknown_key\""), "{log}");

    // What it signs is kept; the next node with other bytes under that name does not start.
    let node = node_with(&deployment.url, K2);
    Key::new(&node.signed_in("birch-admin"), "Imaging", READ);
    assert_eq!(kept(), "k1,k2");
    drop(node);
    let other_bytes = K1.replace("k1:", "k2:");
    let at = ["--listen", "127.0.0.1:0", "--database-url", &deployment.url];
    let refused = run(&[&at[..], &["--keyring", &other_bytes]].concat());
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("the key `k2` of the keyring differs"),
        "{said}"
    );
}

/// A file that is removed again.
struct File(std::path::PathBuf);

impl File {
    fn of(text: &str) -> Self {
        static SERIAL: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("heads-{}-{serial}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What `--print-heads` prints, in a file.
fn kept_heads(url: &str, keyring: &str) -> File {
    let (code, printed, log) = verify(url, keyring, &["--print-heads"]);
    assert_eq!(code, Some(0), "{log}");
    File::of(&printed)
}
