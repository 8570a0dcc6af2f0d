//! P2: eight threads authorize while an admin edits the scopes of other credentials.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use benches::{
    Error,
    fixture::{Deployment, PATH, SCOPE, admin, may_get, shuffle},
    measure::{Samples, now, ready_soon},
    report::{Budget, Line, Report, Unit, progress_of},
};
use credential_core::{
    Credentials,
    catalog::ApiType,
    manage::{Expected, ScopeChoice, SetScopes},
};
use tokio::{runtime::Handle, time::MissedTickBehavior};

use crate::Options;

const THREADS: usize = 8;
/// Credentials that are used, with ten tokens each, and as many others that are edited.
const CREDENTIALS: usize = 1_000;
const EDITS_PER_SECOND: u32 = 1_000;
const SLICE: Duration = Duration::from_millis(500);
/// Calls between two looks at the clock; the first of them is timed by itself.
const TIMED_ONE_IN: usize = 16;

pub async fn measure(options: &Options, report: &mut Report) -> Result<(), Error> {
    let deployment = Deployment::without_hashing()?;
    let running = deployment.node.start().await?;
    let clients = deployment.clients(2 * CREDENTIALS).await?;
    let (used, edited) = clients.split_at(CREDENTIALS);
    let mut tokens = deployment.seen_tokens(used, 10).await?;
    shuffle(&mut tokens);
    let api_type = deployment.api_type()?;
    // Others' tokens are looked at once, so that there is something cached to drop.
    deployment.seen_tokens(edited, 1).await?;

    let editing = Arc::new(Editing::default());
    let edits = tokio::spawn(edit(
        deployment.node.clone(),
        edited.iter().map(|client| client.id).collect(),
        Arc::clone(&editing),
    ));
    let (mut quiet, mut busy) = (Slices::default(), Slices::default());
    let (mut ratios, mut edits_per_second) = (Vec::new(), Vec::new());
    let rounds = options.size(16, 4);
    for round in 0..rounds {
        progress_of(
            "authorize on eight threads, without and with edits",
            round,
            rounds,
        );
        let mut slice = |with_edits: bool| {
            editing.on.store(with_edits, Ordering::Relaxed);
            let before = editing.done.load(Ordering::Relaxed);
            let (rate, latencies) = authorize(&deployment.node, &api_type, &tokens);
            let done = editing.done.load(Ordering::Relaxed) - before;
            let slices = if with_edits { &mut busy } else { &mut quiet };
            slices.latencies.extend(latencies);
            slices.rates.push(rate);
            (rate, done)
        };
        // Which one comes first changes, so that drift has no side.
        let first_with_edits = round % 2 == 1;
        let (first, second) = (slice(first_with_edits), slice(!first_with_edits));
        let (with, without) = if first_with_edits {
            (first, second)
        } else {
            (second, first)
        };
        ratios.push(with.0 / without.0);
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        edits_per_second.push(with.1 as f64 / SLICE.as_secs_f64());
    }
    edits.abort();

    let done = Samples::new(edits_per_second).median();
    let name = format!("authorize/threads={THREADS},edits_per_second={EDITS_PER_SECOND}");
    let [quiet_rate, busy_rate] =
        [quiet.rates, busy.rates].map(|rates| Samples::new(rates).median());
    report.add(
        Line::new("P2", &*name, busy_rate, Unit::PerSecond)
            .beside(quiet_rate, Samples::new(ratios).median())
            .within(Budget::at_least(0.8, Unit::Times)),
    )?;
    let [quiet, busy] = [quiet.latencies, busy.latencies].map(Samples::new);
    for (name, share) in [("  p50", 0.5), ("  p99", 0.99)] {
        let [quiet, busy] = [&quiet, &busy].map(|latencies| latencies.percentile(share));
        report.add(
            Line::new("P2", name, busy, Unit::Nanos)
                .beside(quiet, busy / quiet)
                .within(Budget::at_most(1.5, Unit::Times)),
        )?;
    }
    report.add(
        Line::new(
            "P2",
            "  edits that an admin got through",
            done,
            Unit::PerSecond,
        )
        .within(Budget::at_least(
            0.9 * f64::from(EDITS_PER_SECOND),
            Unit::PerSecond,
        )),
    )?;
    running.shutdown().await;
    Ok(())
}

#[derive(Default)]
struct Slices {
    rates: Vec<f64>,
    latencies: Vec<f64>,
}

#[derive(Debug, Default)]
struct Editing {
    on: AtomicBool,
    done: AtomicU64,
}

/// Takes a scope away and gives it back, credential by credential.
async fn edit(
    node: Credentials,
    edited: Vec<credential_core::id::CredentialId>,
    editing: Arc<Editing>,
) -> Result<(), Error> {
    let mut beat = tokio::time::interval(Duration::from_secs(1) / EDITS_PER_SECOND);
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let admin = admin();
    for scopes in [&[][..], &[SCOPE]].into_iter().cycle() {
        for id in &edited {
            beat.tick().await;
            if !editing.on.load(Ordering::Relaxed) {
                continue;
            }
            let choice = scopes
                .iter()
                .map(|&scope: &&str| scope.to_owned())
                .collect();
            let request = SetScopes {
                choice: ScopeChoice::Named(choice).into(),
                ..SetScopes::default()
            };
            node.manage(&admin)
                .set_scopes(*id, Some(&Expected::Any), request)
                .await?;
            editing.done.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Authorizations per second of all threads together, and nanoseconds of a sample of them.
fn authorize(node: &Credentials, api_type: &ApiType, tokens: &[String]) -> (f64, Vec<f64>) {
    let (start, runtime) = (Barrier::new(THREADS), Handle::current());
    let work = |thread: usize| {
        let _entered = runtime.enter();
        let check = |token: &String| {
            let access = ready_soon(node.verify(token));
            let allowed = access.is_ok_and(|access| may_get(api_type, &access, PATH));
            assert!(allowed, "a live token was refused");
        };
        let skipped = thread * tokens.len() / THREADS;
        let mut next = tokens.iter().cycle().skip(skipped);
        let mut latencies = Vec::with_capacity(1 << 20);
        start.wait();
        let began = now();
        while began.elapsed() < SLICE {
            let mut batch = next.by_ref().take(TIMED_ONE_IN);
            let sent = now();
            batch.next().into_iter().for_each(check);
            #[expect(clippy::cast_precision_loss, reason = "below 2^52 ns")]
            latencies.push(sent.elapsed().as_nanos() as f64);
            batch.for_each(check);
        }
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        let rate = (latencies.len() * TIMED_ONE_IN) as f64 / began.elapsed().as_secs_f64();
        (rate, latencies)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || work(n))).collect();
        let (mut rate, mut latencies) = (0.0, Vec::new());
        for thread in threads {
            // One that panicked has said why; its share is missing from the rate.
            if let Ok((of_thread, timed)) = thread.join() {
                rate += of_thread;
                latencies.extend(timed);
            }
        }
        (rate, latencies)
    })
}
