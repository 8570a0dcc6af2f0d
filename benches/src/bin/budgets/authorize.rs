//! P1: token text + method + path → grant, freshness proven, last use noted.

use std::{hint::black_box, net::IpAddr};

use allocation_counter::AllocationInfo;
use benches::{
    Error,
    baseline::{self, Map},
    fixture::{Deployment, PATH, admin, may_get, shuffle},
    measure::{in_turn, nanos_each, ready},
    report::{Budget, Line, Report, Unit, progress},
};

use credential_core::manage::{Expected, Field, UpdateCredential};

use crate::Options;

const TOKENS_EACH: usize = 10;

pub async fn measure(options: &Options, report: &mut Report) -> Result<(), Error> {
    of(options, report, 100, options.size(200, 40)).await?;
    of(options, report, 10_000, options.size(20, 5)).await?;
    bound(options, report, options.size(200, 40)).await
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
    // Both ways in: the guard asks the first, and the second only if it has no answer.
    let authorize = |token: &str| {
        let allowed = ready(node.verify(token)).is_ok_and(|it| may_get(&api_type, &it, PATH));
        assert!(allowed, "a live token was refused");
    };
    let at_once = |token: &str| match node.bearer(token).verify_known() {
        Some(access) => {
            let allowed = access.is_ok_and(|it| may_get(&api_type, &it, PATH));
            assert!(allowed, "a live token was refused");
        }
        None => authorize(token),
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
            &mut || walk(&at_once),
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

    let id = if tokens.len() > 1_000 { "P1b" } else { "P1a" };
    let [hit, hash] = [rounds.median::<2>(), rounds.median::<3>()];
    let figures = [
        (
            rounds.median::<0>(),
            rounds.ratio::<0, 2>(),
            rounds.ratio::<0, 3>(),
        ),
        (
            rounds.median::<1>(),
            rounds.ratio::<1, 2>(),
            rounds.ratio::<1, 3>(),
        ),
    ];
    for (via, (authorized, to_hit, to_hash)) in ["verify_known", "verify"].into_iter().zip(figures)
    {
        let name = format!("authorize/via={via},tokens={},order=random", tokens.len());
        report_one(
            report,
            id,
            &name,
            authorized,
            [(hit, to_hit), (hash, to_hash)],
        )?;
    }

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

/// Credentials that are bound to three networks, of which the last is the caller's; beside credentials that
/// are bound to none.
async fn bound(options: &Options, report: &mut Report, rounds: usize) -> Result<(), Error> {
    const NETWORKS: [&str; 3] = ["2001:db8::/32", "192.0.2.0/24", "198.51.100.0/24"];
    let deployment = Deployment::without_hashing()?;
    let node = &deployment.node;
    let running = node.start().await?;
    let clients = deployment.clients(100).await?;
    let mut free = deployment.seen_tokens(&clients, TOKENS_EACH).await?;
    let clients = deployment.clients_named("bound", 100).await?;
    let mut bound = deployment.tokens(&clients, TOKENS_EACH).await?;
    let caller = IpAddr::from([198, 51, 100, 7]);
    for client in &clients {
        let request = UpdateCredential {
            allowed_networks: Field::Value(NETWORKS.map(str::to_owned).into()),
            ..UpdateCredential::default()
        };
        let admin = admin();
        let update = node.manage(&admin);
        update
            .update(client.id, Some(&Expected::Any), request)
            .await?;
    }
    // The first look reads the changed state, the second links the token to it.
    for token in bound.iter().chain(&bound) {
        node.bearer(token).called_from(&caller).verify().await?;
    }
    shuffle(&mut free);
    shuffle(&mut bound);
    let api_type = deployment.api_type()?;
    let authorize = |token: &str| {
        let bearer = node.bearer(token).called_from(&caller);
        let access = match bearer.verify_known() {
            Some(decided) => decided.ok(),
            None => ready(bearer.verify()).ok(),
        };
        let allowed = access.is_some_and(|it| may_get(&api_type, &it, PATH));
        assert!(allowed, "a live token was refused");
    };
    let walk = |tokens: &[String]| {
        let mut next = tokens.iter().cycle();
        nanos_each(10, 1_000, || {
            authorize(next.next().map_or("", String::as_str));
        })
    };
    progress("authorize with networks, in turn with authorize without");
    let rounds = in_turn(rounds, [&mut || walk(&bound), &mut || walk(&free)]);
    let name = "authorize/via=verify_known,networks=3,tokens=1000,order=random";
    let line = Line::new("P1c", name, rounds.median::<0>(), Unit::Nanos);
    let budget = Budget::at_most(300.0, Unit::Nanos);
    report.add(line.within(budget))?;
    let line = Line::new(
        "P1c",
        "  beside networks=0",
        rounds.median::<0>(),
        Unit::Nanos,
    );
    report.add(line.beside(rounds.median::<1>(), rounds.ratio::<0, 1>()))?;

    let counted = options.size(100_000, 10_000);
    let AllocationInfo { count_total, .. } = allocation_counter::measure(|| {
        bound
            .iter()
            .cycle()
            .take(counted)
            .for_each(|it| authorize(it));
    });
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    let allocations = count_total as f64;
    let allocated = format!("  allocations of {counted} more");
    report.add(Line::count(
        "P1c",
        allocated,
        allocations,
        "allocations",
        0.0,
    ))?;
    running.shutdown().await;
    Ok(())
}

/// A figure of P1, and beside it the baselines and the ratios to them.
fn report_one(
    report: &mut Report,
    id: &'static str,
    name: &str,
    authorized: f64,
    [(hit, to_hit), (hash, to_hash)]: [(f64, f64); 2],
) -> Result<(), Error> {
    let line = |name: &str| Line::new(id, name, authorized, Unit::Nanos);
    let many = id == "P1b";
    let budget = Budget::at_most(if many { 1_000.0 } else { 300.0 }, Unit::Nanos);
    report.add(line(name).within(budget))?;
    let beside_hit = line("  beside siphash-2-4-128+map_hit").beside(hit, to_hit);
    report.add(if many {
        beside_hit.within(Budget::at_most(3.0, Unit::Times))
    } else {
        beside_hit
    })?;
    report.add(line("  beside keyed blake3").beside(hash, to_hash))
}
