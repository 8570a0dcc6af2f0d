//! Metrics, through the `metrics` facade: a host that installs a recorder gets all of them, and
//! without a recorder they cost almost nothing. None is on the warm path of a check.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `credential_authentications_total` | counter | `outcome`: `ok`, a refusal's word, `busy`, `store` |
//! | `credential_refusals_held_total` | counter | |
//! | `credential_tokens_issued_total` | counter | |
//! | `credential_token_refusals_total` | counter | `reason`: a refusal's word, `store` |
//! | `credential_argon2_seconds` | histogram | |
//! | `credential_argon2_running`, `credential_argon2_waiting` | gauge | |
//! | `credential_argon2_refused_total`, `credential_argon2_skipped_total` | counter | |
//! | `credential_verified_cache_hits_total`, `credential_verified_cache_misses_total` | counter | |
//! | `credential_verified_cache_entries` | gauge | |
//! | `credential_state_reads_total` | counter | `outcome`: `ok`, `error` |
//! | `credential_catch_ups_total` | counter | `outcome`: `ok`, `error` |
//! | `credential_changes_applied_total` | counter | |
//! | `credential_change_delay_seconds` | histogram | |
//! | `credential_caches_dropped_total` | counter | |
//! | `credential_store_calls_failed_total` | counter | |
//! | `credential_store_calls_refused_total` | counter | |
//! | `credential_freshness_age_seconds` | gauge | |
//! | `credential_use_flushes_total` | counter | `outcome`: `ok`, `error` |
//! | `credential_uses_written_total` | counter | |
//! | `credential_usage_batches_total` | counter | |
//! | `credential_usage_lost_total` | counter | `what`: `calls`, `last_uses`, `refusals` |
//!
//! `credential_change_delay_seconds` runs from the moment that a change was made, on whichever node,
//! until nothing on this one answers from before it; on PostgreSQL by the server's clock, so that the
//! nodes' do not matter.
//!
//! Gauges and the counters of secret checks are brought up to date by
//! [`Credentials::report_metrics`](crate::Credentials::report_metrics): call it when metrics are
//! asked for.

use std::{sync::Arc, time::Duration};

use ::metrics::{counter, gauge, histogram};

use crate::{
    clock::Clock,
    secret::{
        hash::{HashError, SecretHash, SecretHasher, Verdict},
        verify::VerifierStats,
    },
    usage::Flushed,
};

pub(crate) fn authenticated() {
    // Why a function of its own: with a literal label nothing is allocated.
    counter!("credential_authentications_total", "outcome" => "ok").increment(1);
}

pub(crate) fn not_authenticated(outcome: &'static str) {
    counter!("credential_authentications_total", "outcome" => outcome).increment(1);
}

pub(crate) fn refusal_held() {
    counter!("credential_refusals_held_total").increment(1);
}

pub(crate) fn token_issued() {
    counter!("credential_tokens_issued_total").increment(1);
}

pub(crate) fn token_refusal(reason: &'static str) {
    counter!("credential_token_refusals_total", "reason" => reason).increment(1);
}

pub(crate) fn state_read(ok: bool) {
    counter!("credential_state_reads_total", "outcome" => outcome(ok)).increment(1);
}

/// A call of an admin or a client, not of a check.
pub(crate) fn store_call_failed() {
    counter!("credential_store_calls_failed_total").increment(1);
}

pub(crate) fn catch_up(ok: bool) {
    counter!("credential_catch_ups_total", "outcome" => outcome(ok)).increment(1);
}

pub(crate) fn changes_applied(count: usize) {
    counter!("credential_changes_applied_total").increment(count as u64);
}

/// From the moment that a change was made, on whichever node, until nothing on this one answers from
/// before it: the oldest change of each catch-up that brought any.
pub(crate) fn change_delay(delay: Duration) {
    histogram!("credential_change_delay_seconds").record(delay.as_secs_f64());
}

pub(crate) fn caches_dropped() {
    counter!("credential_caches_dropped_total").increment(1);
}

pub(crate) fn usage_flushed(flushed: Option<Flushed>) {
    counter!("credential_use_flushes_total", "outcome" => outcome(flushed.is_some())).increment(1);
    let Flushed { batches, rows } = flushed.unwrap_or_default();
    counter!("credential_usage_batches_total").increment(batches as u64);
    counter!("credential_uses_written_total").increment(rows as u64);
}

/// What was counted and did not fit what waits to be written.
pub(crate) fn usage_lost(what: &'static str, count: u64) {
    counter!("credential_usage_lost_total", "what" => what).increment(count);
}

fn outcome(ok: bool) -> &'static str {
    if ok { "ok" } else { "error" }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floats; these counts are small"
)]
pub(crate) fn report(
    stats: &VerifierStats,
    store_calls_refused: u64,
    freshness_age: Option<Duration>,
) {
    gauge!("credential_argon2_running").set(stats.running as f64);
    gauge!("credential_argon2_waiting").set(stats.waiting as f64);
    counter!("credential_argon2_refused_total").absolute(stats.refused);
    counter!("credential_argon2_skipped_total").absolute(stats.skipped);
    counter!("credential_store_calls_refused_total").absolute(store_calls_refused);
    counter!("credential_verified_cache_hits_total").absolute(stats.cache_hits);
    counter!("credential_verified_cache_misses_total").absolute(stats.cache_misses);
    gauge!("credential_verified_cache_entries").set(stats.cached as f64);
    let age = freshness_age.map_or(f64::INFINITY, |age| age.as_secs_f64());
    gauge!("credential_freshness_age_seconds").set(age);
}

/// A hasher whose every hash is timed.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) hasher: Arc<dyn SecretHasher>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Timed {
    fn time<T>(&self, hash: impl FnOnce() -> T) -> T {
        let began = self.clock.monotonic();
        let result = hash();
        let took = self.clock.monotonic().saturating_since(began);
        histogram!("credential_argon2_seconds").record(took.as_secs_f64());
        result
    }
}

impl SecretHasher for Timed {
    fn hash(&self, secret: &str) -> Result<SecretHash, HashError> {
        self.time(|| self.hasher.hash(secret))
    }

    fn verify(&self, secret: &str, stored: &SecretHash) -> Result<Verdict, HashError> {
        self.time(|| self.hasher.verify(secret, stored))
    }
}
