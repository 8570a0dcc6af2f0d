//! H5: start to first answer, and memory at rest.

use std::time::Duration;

use benches::{
    Error,
    measure::Samples,
    report::{Budget, Line, Report, Unit, progress},
};

use crate::server::{Server, start_to_first_answer};

const STARTS: usize = 9;
/// Until what a start allocates for itself alone is free again.
const REST: Duration = Duration::from_secs(1);

pub async fn run(report: &mut Report) -> Result<(), Error> {
    progress("starts");
    let binary = Server::build()?;
    let (mut times, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (server, took) = start_to_first_answer(&binary).await?;
        times.push(took.as_secs_f64() * 1e9);
        tokio::time::sleep(REST).await;
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        bytes.push(server.process().resident()? as f64);
    }
    let [time, bytes] = [times, bytes].map(|figures| Samples::new(figures).median());
    report.add(
        Line::new(
            "H5",
            "start to first answer, store=memory",
            time,
            Unit::Nanos,
        )
        .within(Budget::at_most(2e8, Unit::Nanos)),
    )?;
    let limit = 30.0 * 1024.0 * 1024.0;
    report.add(
        Line::new("H5", "resident memory at rest", bytes, Unit::Bytes)
            .within(Budget::at_most(limit, Unit::Bytes)),
    )
}
