//! Every statement of the store finds its rows through an index, however many there are.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

#[expect(dead_code, reason = "shared by all test files")]
mod common;

use std::{fs, path::Path};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// 20 000 credentials of 1 000 tenants, one of which has 1 000, and all that hangs on them.
const MANY: &str = r"
    insert into credential_management.tenant (id, audit_seq, audit_hash)
        select 'tenant-' || n, 20, sha256('') from generate_series(0, 999) as n;
    insert into credential_management.credential (id, tenant_id, name, name_key, api_type,
            client_id, environment, scopes, created_at, created_by, revoked_at, revoked_by, version)
        select md5('c' || n)::uuid,
            'tenant-' || case when n <= 1000 then 0 else n % 1000 end, 'key ' || n,
            sha256(('key ' || n)::bytea), 'apiv2', 'client ' || n, 'sandbox', '{}',
            now() - make_interval(secs => n),
            'dr-lee', case when n % 2 = 0 then now() end, case when n % 2 = 0 then 'dr-lee' end, 1
        from generate_series(1, 20000) as n;
    insert into credential_management.secret (selector, credential_id, ordinal, phc, key_name,
            created_at)
        select left(md5('s' || n), 16), md5('c' || n)::uuid, 1, '$argon2id$', 'k1', now()
        from generate_series(1, 20000) as n;
    insert into credential_management.revoked_token (credential_id, token_id, issued_at, expires_at)
        select md5('c' || n)::uuid, md5('t' || n)::uuid, now(), now()
        from generate_series(1, 20000) as n;
    insert into credential_management.registration_use (credential_id, proof, last_used_at)
        select md5('c' || n)::uuid, left(md5('r' || n), 16), now() from generate_series(1, 20000) as n;
    insert into credential_management.spent_assertion (credential_id, digest, until)
        select md5('c' || n)::uuid, sha256(('a' || n)::bytea), now() + make_interval(secs => n)
        from generate_series(1, 20000) as n;
    insert into credential_management.replay (tenant_id, id, key_name, request, sealed, expires_at)
        select 'tenant-' || n % 1000, sha256(('i' || n)::bytea), 'k1', sha256(''), '', now() + make_interval(secs => n)
        from generate_series(1, 20000) as n;
    insert into credential_management.audit_event (tenant_id, seq, at, actor, action, credential_id,
            details, key_name, hash)
        select 'tenant-' || n % 1000, 1 + n / 1000, now(), 'dr-lee', 'credential.created',
            md5('c' || n)::uuid, '{}', 'k1', sha256('')
        from generate_series(0, 19999) as n;
    insert into credential_management.change (number, mark, previous, credential_id)
        select n, md5('m' || n)::uuid, md5('m' || n - 1)::uuid, md5('c' || n)::uuid from generate_series(1, 20000) as n;
    update credential_management.change_counter set value = 20000;
    insert into credential_management.usage_day (tenant_id, credential_id, day, scopes, allowed, denied)
        select 'tenant-' || n % 1000, md5('c' || n)::uuid, date '2026-01-01' + day, 'system/patients.read', 1, 0
        from generate_series(1, 20000) as n, generate_series(0, 2) as day;
    insert into credential_management.refusal (tenant_id, credential_id, reason, at, last_at, count)
        select 'tenant-' || n % 1000, md5('c' || n)::uuid, 'revoked', now() - make_interval(mins => n),
            now() - make_interval(mins => n), 1
        from generate_series(1, 20000) as n, generate_series(0, 2);
";

/// Tables that stay small whatever grows: nodes, keys, and the one row of the counter.
const SMALL: [&str; 5] = [
    "change_counter",
    "key_check",
    "migration",
    "node",
    "usage_batch",
];

/// From there on PostgreSQL compiles a statement each time it runs, unless told otherwise
/// (`jit_above_cost`).
const JIT_ABOVE_COST: f64 = 100_000.0;

/// The plan of each statement of the store, with it.
async fn plans(statistics: bool) -> Vec<(String, String)> {
    let fresh = common::fresh().await;
    let mut connection = PgConnection::connect(&fresh.database.url()).await.unwrap();
    let run = |sql| sqlx::raw_sql(sql);
    run(MANY).execute(&mut connection).await.unwrap();
    if statistics {
        run("analyze").execute(&mut connection).await.unwrap();
    }
    // As a prepared statement runs after its first few executions: for any parameters.
    run("set plan_cache_mode = force_generic_plan")
        .execute(&mut connection)
        .await
        .unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let mut explained = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let data: serde_json::Value = serde_json::from_str(&text).unwrap();
        let query = data["query"].as_str().unwrap();
        let count = data["describe"]["parameters"]["Left"]
            .as_array()
            .unwrap()
            .len();
        let arguments = match count {
            0 => String::new(),
            _ => format!("({})", vec!["null"; count].join(", ")),
        };
        let plan = explain(&mut connection, query, &arguments).await;
        explained.push((query.to_owned(), plan));
    }
    assert!(explained.len() > 15, "only {}", explained.len());
    explained
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    for (query, plan) in plans(true).await {
        let scans = plan
            .lines()
            .filter_map(|line| line.split_once("Seq Scan on "))
            .map(|(_, rest)| rest.split_whitespace().next().unwrap_or_default());
        for table in scans {
            assert!(
                SMALL.contains(&table),
                "{query}\nreads all of {table}:\n{plan}"
            );
        }
        assert!(
            !plan.contains("Sort Key: credential.created_at"),
            "{query}\nsorts a tenant's credentials:\n{plan}"
        );
    }
}

/// As after `pg_upgrade`, or before the first `analyze`. The fetch of the change log runs several times a
/// second on each node, and compiling it takes longer than the time within which a change must arrive.
#[tokio::test]
async fn no_statement_is_compiled_for_want_of_statistics() {
    for (query, plan) in plans(false).await {
        let (_, cost) = plan.split_once("..").unwrap();
        let cost: f64 = cost.split(' ').next().unwrap().parse().unwrap();
        assert!(
            cost < JIT_ABOVE_COST,
            "{query}\nis reckoned to cost {cost}:\n{plan}"
        );
    }
}

async fn explain(connection: &mut PgConnection, query: &str, arguments: &str) -> String {
    let prepare = format!("prepare statement as {query}");
    let run = |sql: String| sqlx::raw_sql(AssertSqlSafe(sql));
    run(prepare).execute(&mut *connection).await.unwrap();
    let lines: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(format!(
        "explain execute statement{arguments}"
    )))
    .persistent(false)
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    run("deallocate statement".to_owned())
        .execute(&mut *connection)
        .await
        .unwrap();
    lines.into_iter().map(|(line,)| line + "\n").collect()
}
