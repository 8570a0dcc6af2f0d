//! P1: token text + method + path → grant, warm, beside a keyed hash of the same texts and a map
//! hit for each. `cargo run --release -p benches --bin budgets` measures the budgets themselves,
//! P2 (many threads, edits meanwhile) among them.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::allow_attributes, reason = "depends on the macros' version")]

use std::{hint::black_box, time::Duration};

use benches::{
    baseline::{self, Map},
    fixture::{Deployment, PATH, may_get, shuffle},
    is_smoke_test,
    measure::ready,
};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const TOKENS_EACH: usize = 10;

fn authorize(criterion: &mut Criterion) {
    let sizes: &[usize] = if is_smoke_test() {
        &[10]
    } else {
        &[100, 10_000]
    };
    for &credentials in sizes {
        of(criterion, credentials);
    }
}

fn of(criterion: &mut Criterion, credentials: usize) {
    let runtime = Runtime::new().expect("a runtime");
    let deployment = Deployment::without_hashing().expect("a deployment");
    let (running, mut tokens) = runtime.block_on(async {
        let running = deployment.node.start().await.expect("a start");
        let clients = deployment.clients(credentials).await.expect("clients");
        let tokens = deployment.seen_tokens(&clients, TOKENS_EACH).await;
        (running, tokens.expect("tokens"))
    });
    shuffle(&mut tokens);
    let api_type = deployment.api_type().expect("listed");
    let map = Map::of(&tokens);
    let digests: Vec<_> = tokens
        .iter()
        .map(|token| baseline::siphash(token))
        .collect();
    let parameters = format!(
        "tokens={},credentials={credentials},order=random",
        tokens.len()
    );
    let mut bench = |name: &str, each: &mut dyn FnMut(&str)| {
        let mut next = tokens.iter().cycle();
        criterion.bench_function(&format!("{name}/{parameters}"), |bencher| {
            bencher.iter(|| each(next.next().expect("endless")));
        });
    };
    bench("authorize", &mut |token| {
        let access = ready(deployment.node.verify(token)).expect("live");
        assert!(may_get(&api_type, &access, black_box(PATH)));
    });
    bench("siphash-2-4-128", &mut |token| {
        black_box(baseline::siphash(token));
    });
    bench("blake3", &mut |token| {
        black_box(baseline::blake3(token));
    });
    bench("siphash-2-4-128+map_hit", &mut |token| {
        black_box(map.get(baseline::siphash(token)));
    });
    let mut next = digests.iter().cycle();
    criterion.bench_function(&format!("map_hit/{parameters}"), |bencher| {
        bencher.iter(|| map.get(*next.next().expect("endless")));
    });
    runtime.block_on(running.shutdown());
}

fn parts(criterion: &mut Criterion) {
    let deployment = Deployment::without_hashing().expect("a deployment");
    let api_type = deployment.api_type().expect("listed");
    let clock = deployment.node.clock();
    criterion.bench_function("clocks/wall+monotonic", |bencher| {
        bencher.iter(|| (clock.now(), clock.monotonic()));
    });
    criterion.bench_function("requirement/path=plain", |bencher| {
        let form = credential_core::catalog::SearchForm::None;
        bencher.iter(|| api_type.requirement("GET", black_box(PATH), form));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = authorize, parts
}
criterion_main!(benches);
