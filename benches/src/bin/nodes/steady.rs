//! Transactions that PostgreSQL counts while one node checks warm tokens.

use std::time::Duration;

use benches::{Error, create};
use credential_core::Credentials;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{Options, progress};

/// Tokens of one credential.
const TOKENS_EACH: usize = 10;

/// An idle backend of PostgreSQL reports what it did after ten seconds at the latest.
const REPORTED_AFTER: Duration = Duration::from_secs(11);

pub async fn measure(
    first: &Credentials,
    second: &Credentials,
    pool: &PgPool,
    options: &Options,
) -> Result<Value, Error> {
    let credentials = options.tokens.div_ceil(TOKENS_EACH);
    let mut tokens = Vec::with_capacity(options.tokens);
    for n in 0..credentials {
        progress(n, credentials, "credentials");
        let created = create(first, format!("steady {n}")).await?;
        let client = first
            .authenticate(
                created.credential.client_id.as_str(),
                created.client_secret.expose_secret(),
            )
            .await?;
        for _ in 0..TOKENS_EACH.min(options.tokens - tokens.len()) {
            let issued = first.issue(&client, None)?;
            tokens.push(issued.access_token.expose_secret().to_owned());
        }
    }
    for token in &tokens {
        second.verify(token).await?;
    }
    // The same span without a check: last uses, the listener's own tests.
    let idle = counted(pool).await?;
    let before = counted(pool).await?;
    for (n, token) in tokens
        .iter()
        .cycle()
        .take(options.authorizations)
        .enumerate()
    {
        progress(n, options.authorizations, "authorizations");
        if !second
            .verify(token)
            .await?
            .has_scope("system/patients.read")
        {
            return Err("a live token was refused".into());
        }
        if n % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let after = counted(pool).await?;
    Ok(json!({
        "authorizations": options.authorizations,
        "live_tokens": tokens.len(),
        "transactions_while_idle": before.transactions - idle.transactions,
        "heartbeats_while_idle": before.heartbeats - idle.heartbeats,
        "transactions_while_checking": after.transactions - before.transactions,
        "heartbeats_while_checking": after.heartbeats - before.heartbeats,
    }))
}

struct Counted {
    transactions: i64,
    heartbeats: i64,
}

/// What PostgreSQL's own statistics say, once everything so far is in them.
async fn counted(pool: &PgPool) -> Result<Counted, Error> {
    tokio::time::sleep(REPORTED_AFTER).await;
    let (transactions, heartbeats): (i64, i64) = sqlx::query_as(
        "select d.xact_commit + d.xact_rollback, t.n_tup_upd
         from pg_stat_database d, pg_stat_user_tables t
         where d.datname = current_database()
           and t.schemaname = 'credential_management' and t.relname = 'node'",
    )
    .fetch_one(pool)
    .await?;
    Ok(Counted {
        transactions,
        heartbeats,
    })
}
