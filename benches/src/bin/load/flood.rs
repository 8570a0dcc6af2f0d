//! Floods of secrets that are refused, beside good clients with warm secrets.
//!
//! Good and bad clients have as many connections each and send as fast as they are answered, so a
//! server that is fair to connections gives either about one half; that, and no failure, is what
//! good clients must keep under forged secrets. Dead ones are known, and must not affect them.

use std::time::Duration;

use benches::{
    Error,
    measure::Samples,
    report::{Budget, Line, Report, Unit, progress},
};
use credential_core::clock::{Clock as _, SystemClock};

use crate::{
    Options,
    client::{Exchange, Group, drive, p50_and_p99},
    server::Server,
    setup::{Admin, Key, token_by_post},
};

const CONNECTIONS: usize = 64;
/// Until a credential that is to expire has expired.
const EXPIRES_IN: Duration = Duration::from_secs(1);

/// Secrets without our tag.
pub async fn forged(options: &Options, report: &mut Report) -> Result<(), Error> {
    progress("a flood of forged secrets");
    let mut server = Server::start()?;
    let mut admin = Admin::sign_in(&server.address).await?;
    let good = admin.create("good").await?;
    let forged = benches::fixture::forge(&good.secret);
    let bad = vec![token_by_post(
        "a forged secret",
        &good.client_id,
        &forged,
        401,
    )];
    let result = run("forged", 0.5, options, &server, &good, bad, report).await;
    server.explain(result)
}

/// Secrets of ours that are dead: of a revoked credential, of an expired one, of another client.
pub async fn dead(options: &Options, report: &mut Report) -> Result<(), Error> {
    progress("a flood of dead secrets");
    let mut server = Server::start()?;
    let mut admin = Admin::sign_in(&server.address).await?;
    let good = admin.create("good").await?;
    let other = admin.create("other").await?;
    let revoked = admin.create("revoked").await?;
    let expired = admin.create("expired").await?;
    admin.revoke(&revoked).await?;
    let end = SystemClock.now().saturating_add(EXPIRES_IN);
    admin.expire_at(&expired, &end.to_string()).await?;
    tokio::time::sleep(EXPIRES_IN + EXPIRES_IN / 2).await;
    let of = |name, key: &Key| token_by_post(name, &key.client_id, &key.secret, 401);
    let bad = vec![
        of("a revoked secret", &revoked),
        of("an expired secret", &expired),
        token_by_post(
            "another client's secret",
            &good.client_id,
            &other.secret,
            401,
        ),
    ];
    let result = run("dead", 0.9, options, &server, &good, bad, report).await;
    server.explain(result)
}

/// `least` is the share of its throughput that good clients keep.
async fn run(
    name: &str,
    least: f64,
    options: &Options,
    server: &Server,
    good: &Key,
    bad: Vec<Exchange>,
    report: &mut Report,
) -> Result<(), Error> {
    let good = token_by_post("a good client", &good.client_id, &good.secret, 200);
    let mut good = Group::open(&server.address, CONNECTIONS, vec![good]).await?;
    let mut bad = Group::open(&server.address, CONNECTIONS, bad).await?;
    let time = options.slice();
    // The one first use of the good client's secret, and the first look at the others.
    drive([&mut good], time).await?;
    for (connection, exchange) in bad.connections.iter_mut().zip(&bad.exchanges) {
        connection.exchange(&exchange.request).await?;
    }
    let before = server.hashes_and_reads().await?;
    if before.contains(&0) {
        return Err("the first use is missing from the server's metrics".into());
    }
    let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
    let (mut ratios, mut latencies) = (Vec::new(), [Vec::new(), Vec::new()]);
    let mut refused = Vec::new();
    for _ in 0..options.slices() {
        let [before] = drive([&mut good], time).await?;
        let [during, flood] = drive([&mut good, &mut bad], time).await?;
        let [after] = drive([&mut good], time).await?;
        let beside = f64::midpoint(before.per_second, after.per_second);
        ratios.push(during.per_second / beside);
        quiet.push(beside);
        flooded.push(during.per_second);
        refused.push(flood.per_second);
        for (all, slices) in latencies
            .iter_mut()
            .zip([vec![before, after], vec![during]])
        {
            all.extend(slices.into_iter().flat_map(|slice| slice.latencies));
        }
    }
    let after = server.hashes_and_reads().await?;

    let [quiet, flooded, ratio, refused] =
        [quiet, flooded, ratios, refused].map(|figures| Samples::new(figures).median());
    let what = |what: &str| format!("{what}/flood={name},connections={CONNECTIONS}+{CONNECTIONS}");
    report.add(
        Line::new("flood", what("good clients"), flooded, Unit::PerSecond)
            .beside(quiet, ratio)
            .within(Budget::at_least(least, Unit::Times)),
    )?;
    let [[_, quiet_p99], [_, flooded_p99]] = latencies.map(p50_and_p99);
    report.add(
        Line::new("", "  their p99", flooded_p99 * 1e3, Unit::Nanos)
            .beside(quiet_p99 * 1e3, flooded_p99 / quiet_p99),
    )?;
    report.add(Line::new("", "  refused", refused, Unit::PerSecond))?;
    for ((what, unit), (before, after)) in [
        ("  Argon2id meanwhile", "hashes"),
        ("  store reads meanwhile", "reads"),
    ]
    .into_iter()
    .zip(before.into_iter().zip(after))
    {
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        let count = (after - before) as f64;
        report.add(Line::count("", what, count, unit, 0.0))?;
    }
    Ok(())
}
