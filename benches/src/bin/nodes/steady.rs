//! Transactions that PostgreSQL counts while one node checks warm tokens, and while it is idle.

use std::time::Duration;

use benches::{
    Error,
    fixture::{Client, SCOPE},
    measure::now,
    report::{Budget, Line, Unit, progress, progress_of},
};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{Node, Options};

/// Tokens of one credential.
const TOKENS_EACH: usize = 10;

/// An idle backend of PostgreSQL reports what it did after ten seconds at the latest.
const REPORTED_AFTER: Duration = Duration::from_secs(11);

/// Transactions of the listening connection's own tests, which fall into one span or the other.
const TESTS: f64 = 2.0;

pub struct Steady {
    authorizations: usize,
    live_tokens: usize,
    idle: Span,
    checking: Span,
    /// Of the node, while idle.
    catch_ups_per_second: f64,
}

/// What happened in a stretch of time.
#[derive(Clone, Copy)]
struct Span {
    transactions: i64,
    heartbeats: i64,
    /// Calls of the node's store beyond catch-ups: state reads, and writes of last uses.
    reads: u64,
    use_writes: u64,
}

pub async fn measure(
    first: &Node,
    second: &Node,
    pool: &PgPool,
    options: &Options,
) -> Result<Steady, Error> {
    let credentials = options.tokens.div_ceil(TOKENS_EACH);
    let mut tokens = Vec::with_capacity(options.tokens);
    for n in 0..credentials {
        progress_of("credentials", n, credentials);
        let client = Client::create(&first.credentials, format!("steady {n}"), &[SCOPE]).await?;
        let each = TOKENS_EACH.min(options.tokens - tokens.len());
        tokens.extend(client.tokens(&first.credentials, each, None).await?);
    }
    let node = &second.credentials;
    for token in &tokens {
        node.verify(token).await?;
    }
    // The same span without a check: last uses, the listener's own tests.
    progress("what an idle node does");
    let idle = counted(pool, second).await?;
    let (began, catch_ups) = (now(), second.store.catch_ups());
    let before = counted(pool, second).await?;
    let (took, catch_ups) = (began.elapsed(), second.store.catch_ups() - catch_ups);
    for (n, token) in tokens
        .iter()
        .cycle()
        .take(options.authorizations)
        .enumerate()
    {
        progress_of("authorizations", n, options.authorizations);
        if !node.verify(token).await?.has_scope(SCOPE) {
            return Err("a live token was refused".into());
        }
        if n % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let after = counted(pool, second).await?;
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    let catch_ups_per_second = catch_ups as f64 / took.as_secs_f64();
    Ok(Steady {
        authorizations: options.authorizations,
        live_tokens: tokens.len(),
        idle: before.since(idle),
        checking: after.since(before),
        catch_ups_per_second,
    })
}

impl Steady {
    pub fn json(&self) -> Value {
        json!({
            "authorizations": self.authorizations,
            "live_tokens": self.live_tokens,
            "transactions_while_idle": self.idle.transactions,
            "heartbeats_while_idle": self.idle.heartbeats,
            "catch_ups_per_second_while_idle": self.catch_ups_per_second,
            "transactions_while_checking": self.checking.transactions,
            "heartbeats_while_checking": self.checking.heartbeats,
            "state_reads_while_checking": self.checking.reads,
            "writes_of_last_uses_while_checking": self.checking.use_writes,
        })
    }

    pub fn lines(&self) -> [Line; 3] {
        let (checking, idle) = (self.checking.beyond(), self.idle.beyond());
        let what = format!("checks={},tokens={}", self.authorizations, self.live_tokens);
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        let reads = self.checking.reads as f64;
        let unit = Unit::Of("transactions");
        [
            Line::count("N2", format!("state reads/{what}"), reads, "reads", 0.0),
            Line {
                baseline: Some(idle),
                ..Line::new(
                    "N2",
                    "  transactions beyond catch-ups and last uses, idle beside",
                    checking,
                    unit,
                )
                .within(Budget::at_most(idle + TESTS, unit))
            },
            Line::new(
                "N3",
                "catch-ups of an idle node",
                self.catch_ups_per_second,
                Unit::PerSecond,
            )
            .within(Budget::at_most(5.0, Unit::PerSecond)),
        ]
    }
}

impl Span {
    fn since(self, before: Self) -> Self {
        Self {
            transactions: self.transactions - before.transactions,
            heartbeats: self.heartbeats - before.heartbeats,
            reads: self.reads - before.reads,
            use_writes: self.use_writes - before.use_writes,
        }
    }

    /// Transactions that are neither catch-ups nor writes of last uses.
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    fn beyond(self) -> f64 {
        (self.transactions - self.heartbeats) as f64 - self.use_writes as f64
    }
}

/// PostgreSQL's own statistics, once they contain everything so far.
async fn counted(pool: &PgPool, node: &Node) -> Result<Span, Error> {
    tokio::time::sleep(REPORTED_AFTER).await;
    let (transactions, heartbeats): (i64, i64) = sqlx::query_as(
        "select d.xact_commit + d.xact_rollback, t.n_tup_upd
         from pg_stat_database d, pg_stat_user_tables t
         where d.datname = current_database()
           and t.schemaname = 'credential_management' and t.relname = 'node'",
    )
    .fetch_one(pool)
    .await?;
    let reads = node.store.reads();
    Ok(Span {
        transactions,
        heartbeats,
        reads,
        use_writes: node.store.calls() - reads,
    })
}
