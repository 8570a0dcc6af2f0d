//! P1: token text + method + path → grant, freshness proven, last use noted.

use std::hint::black_box;

use allocation_counter::AllocationInfo;
use benches::{
    Error,
    baseline::{self, Map},
    fixture::{Deployment, PATH, may_get, shuffle},
    measure::{in_turn, nanos_each, ready},
    report::{Budget, Line, Report, Unit, progress},
};

use crate::Options;

const TOKENS_EACH: usize = 10;

pub async fn measure(options: &Options, report: &mut Report) -> Result<(), Error> {
    of(options, report, 100, options.size(200, 40)).await?;
    of(options, report, 10_000, options.size(20, 5)).await
}

async fn of(
    options: &Options,
    report: &mut Report,
    credentials: usize,
    rounds: usize,
) -> Result<(), Error> {
    let deployment = Deployment::without_hashing()?;
    let node = &deployment.node;
    let running = node.start().await?;
    let clients = deployment.clients(credentials).await?;
    let mut tokens = deployment.seen_tokens(&clients, TOKENS_EACH).await?;
    shuffle(&mut tokens);
    let api_type = deployment.api_type()?;
    let map = Map::of(&tokens);
    let authorize = |token: &str| {
        let allowed = ready(node.verify(token)).is_ok_and(|it| may_get(&api_type, &it, PATH));
        assert!(allowed, "a live token was refused");
    };

    // A round walks through all tokens, so that each finds what the memory's latency makes of it.
    let walk = |each: &dyn Fn(&str)| {
        let passes = 10_000_usize.div_ceil(tokens.len());
        let mut next = tokens.iter().cycle();
        let batch = 1_000;
        nanos_each(passes * tokens.len() / batch, batch, || {
            each(next.next().map_or("", String::as_str));
        })
    };
    progress("authorize, in turn with its baselines");
    let reads = deployment.store.reads();
    let rounds = in_turn(
        rounds,
        [
            &mut || walk(&authorize),
            &mut || {
                walk(&|token| {
                    black_box(map.get(baseline::siphash(token)));
                })
            },
            &mut || {
                walk(&|token| {
                    black_box(baseline::blake3(token));
                })
            },
        ],
    );
    let reads = deployment.store.reads() - reads;

    let many = tokens.len() > 1_000;
    let name = format!(
        "authorize/tokens={},credentials={credentials},order=random",
        tokens.len()
    );
    let budget = Budget::at_most(if many { 1_000.0 } else { 300.0 }, Unit::Nanos);
    let id = if many { "P1b" } else { "P1a" };
    let line = |name: &str, figure| Line::new(id, name, figure, Unit::Nanos);
    let authorized = rounds.median::<0>();
    report.add(line(&name, authorized).within(budget))?;
    let beside = line("  beside siphash-2-4-128+map_hit", authorized)
        .beside(rounds.median::<1>(), rounds.ratio::<0, 1>());
    report.add(if many {
        beside.within(Budget::at_most(3.0, Unit::Times))
    } else {
        beside
    })?;
    report.add(
        line("  beside keyed blake3", authorized)
            .beside(rounds.median::<2>(), rounds.ratio::<0, 2>()),
    )?;

    let counted = options.size(100_000, 10_000).min(10 * tokens.len());
    let AllocationInfo { count_total, .. } = allocation_counter::measure(|| {
        tokens
            .iter()
            .cycle()
            .take(counted)
            .for_each(|it| authorize(it));
    });
    #[expect(clippy::cast_precision_loss, reason = "counts for people")]
    let [allocations, reads] = [count_total as f64, reads as f64];
    let allocated = format!("  allocations of {counted} more");
    report.add(Line::count(id, allocated, allocations, "allocations", 0.0))?;
    report.add(Line::count(
        id,
        "  store reads, all rounds",
        reads,
        "reads",
        0.0,
    ))?;
    running.shutdown().await;
    Ok(())
}
