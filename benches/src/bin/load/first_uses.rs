//! Many clients authenticate for the first time at once, as after a restart.
//!
//! One Argon2id each is unavoidable. What must hold: every client gets its token or is told when
//! to come back, and comes through if it does; memory stays bounded; clients that were there
//! before are still served.

use std::time::Duration;

use benches::{
    Error,
    measure::{Samples, now},
    report::{Budget, Line, Report, Unit, progress},
};
use tokio::task::{JoinHandle, JoinSet};

use crate::{
    Options,
    client::{Connection, Exchange, Group, drive},
    host::Host,
};

const WARM_CONNECTIONS: usize = 16;
/// Before and after, in slices.
const BESIDE: usize = 4;
const SLICE: Duration = Duration::from_millis(500);
/// Every client is through by then, or the run fails.
const DEADLINE: Duration = Duration::from_mins(10);
const MIB: f64 = 1024.0 * 1024.0;

pub async fn run(options: &Options, report: &mut Report) -> Result<(), Error> {
    let count = options.clients;
    progress("credentials for the first uses");
    let (host, mut clients) = Host::start(count)?;
    let warm = clients.pop().ok_or("no client")?;
    let mut warm = Group::open(&host.address, WARM_CONNECTIONS, vec![warm]).await?;
    drive([&mut warm], SLICE).await?;
    let hashes = host.hashes().await?;

    let mut before = Vec::new();
    for _ in 0..BESIDE {
        before.push(drive([&mut warm], SLICE).await?[0].per_second);
    }
    let began = now();
    let mut first_uses = first_uses(&host.address, clients);
    let mut during = Vec::new();
    while !first_uses.is_finished() {
        progress(&format!(
            "first uses of {count} clients: {:.0?}",
            began.elapsed()
        ));
        during.push(drive([&mut warm], SLICE).await?[0].per_second);
    }
    let Outcome {
        succeeded,
        told_to_retry,
    } = (&mut first_uses).await??;
    let took = began.elapsed();
    let mut after = Vec::new();
    for _ in 0..BESIDE {
        after.push(drive([&mut warm], SLICE).await?[0].per_second);
    }
    let hashes = host.hashes().await? - hashes;
    let resident = host.process().largest_resident()?;

    before.extend(after);
    // The last slice was half over when the last client was through.
    if during.len() > 1 {
        during.pop();
    }
    let [beside, during] = [before, during].map(|figures| Samples::new(figures).median());
    let what = format!("first uses that came through/clients={count}");
    #[expect(clippy::cast_precision_loss, reason = "counts for people")]
    let [succeeded, told_to_retry, hashes, resident, count] =
        [succeeded, told_to_retry, hashes, resident, count as u64].map(|count| count as f64);
    report.add(Line::count("first", what, succeeded, "clients", count))?;
    let line = |what: &str, figure, unit| Line::new("", what, figure, unit);
    report.add(line(
        "  all through after",
        took.as_secs_f64() * 1e9,
        Unit::Nanos,
    ))?;
    report.add(line(
        "  told to retry, and when",
        told_to_retry,
        Unit::Of("answers"),
    ))?;
    report.add(Line::count(
        "",
        "  Argon2id meanwhile",
        hashes,
        "hashes",
        count,
    ))?;
    report.add(
        line("  warm clients meanwhile", during, Unit::PerSecond)
            .beside(beside, during / beside)
            .within(Budget::at_least(0.5, Unit::Times)),
    )?;
    report.add(
        line("  most resident memory", resident, Unit::Bytes)
            .within(Budget::at_most(200.0 * MIB, Unit::Bytes)),
    )
}

struct Outcome {
    succeeded: u64,
    told_to_retry: u64,
}

/// All at once, each on a connection of its own, each coming back as told.
fn first_uses(address: &str, clients: Vec<Exchange>) -> JoinHandle<Result<Outcome, Error>> {
    let address = address.to_owned();
    tokio::spawn(async move {
        let connections = Connection::open_many(&address, clients.len()).await?;
        let mut tasks = JoinSet::new();
        for (connection, exchange) in connections.into_iter().zip(clients) {
            tasks.spawn(until_through(connection, exchange));
        }
        let mut outcome = Outcome {
            succeeded: 0,
            told_to_retry: 0,
        };
        let all = async {
            while let Some(through) = tasks.join_next().await {
                outcome.told_to_retry += through??;
                outcome.succeeded += 1;
            }
            Ok::<_, Error>(())
        };
        tokio::time::timeout(DEADLINE, all)
            .await
            .map_err(|_| "not every client came through in time")??;
        Ok(outcome)
    })
}

/// How often the client was told to retry.
async fn until_through(mut connection: Connection, exchange: Exchange) -> Result<u64, Error> {
    let mut told = 0;
    loop {
        let answer = connection.exchange(&exchange.request).await?;
        match answer.status {
            200 => return Ok(told),
            503 => {
                let after = answer
                    .header("retry-after")
                    .ok_or("a 503 without `Retry-After`")?;
                let after = Duration::from_secs(after.parse()?);
                told += 1;
                tokio::time::sleep(after).await;
            }
            other => return Err(format!("a first use was answered {other}").into()),
        }
    }
}
