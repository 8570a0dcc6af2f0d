//! P3, P4 and P5: a warm secret, a refused one and a secret's first use, beside raw Argon2id.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::allow_attributes, reason = "depends on the macros' version")]

use std::{hint::black_box, time::Duration};

use benches::{
    baseline::{self, Argon2id},
    fixture::{Client, Deployment, SCOPE},
    measure::ready,
};
use criterion::{BatchSize, Criterion, SamplingMode, criterion_group, criterion_main};
use tokio::runtime::Runtime;

fn warm(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let deployment = Deployment::without_hashing().expect("a deployment");
    let node = &deployment.node;
    let (running, client) = runtime.block_on(async {
        let running = node.start().await.expect("a start");
        let client = Client::create(node, "key".to_owned(), &[SCOPE]).await;
        let client = client.expect("a client");
        client.tokens(node, 1, None).await.expect("live");
        (running, client)
    });
    let (client_id, secret) = (client.client_id.as_str(), client.secret.as_str());
    criterion.bench_function("authenticate/secret=warm", |bencher| {
        bencher.iter(|| ready(node.authenticate(client_id, black_box(secret))).expect("live"));
    });
    let forged = client.forged_secret();
    for (name, wrong) in [("forged", forged.as_str()), ("malformed", "secret")] {
        criterion.bench_function(&format!("authenticate/secret={name}"), |bencher| {
            let refused = || node.authenticate(client_id, black_box(wrong));
            bencher.iter(|| ready(refused()).expect_err("refused"));
        });
    }
    criterion.bench_function("keyed_hash/blake3,text=secret", |bencher| {
        bencher.iter(|| baseline::blake3(black_box(secret)));
    });
    runtime.block_on(running.shutdown());
}

fn first_use(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let deployment = Deployment::with_default_cost().expect("a deployment");
    let node = &deployment.node;
    let mut serial = 0;
    let mut new_client = || {
        serial += 1;
        let made = Client::create(node, format!("key {serial}"), &[SCOPE]);
        runtime.block_on(made).expect("a client")
    };
    let parameters = Argon2id::parameters();
    let mut argon2id = Argon2id::new().expect("memory");
    let mut group = criterion.benchmark_group("hashing");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200));
    group.bench_function(format!("argon2id/{parameters}"), |bencher| {
        let secret = new_client().secret;
        bencher.iter(|| argon2id.hash(black_box(&secret)).expect("hashed"));
    });
    group.bench_function(format!("authenticate/secret=new,{parameters}"), |bencher| {
        bencher.iter_batched(
            &mut new_client,
            |client| {
                let authenticated = node.authenticate(&client.client_id, &client.secret);
                runtime.block_on(authenticated).expect("live")
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = warm, first_use
}
criterion_main!(benches);
