//! P6 and P7: issuing a token, and a token's first sight on a node.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::allow_attributes, reason = "depends on the macros' version")]

use std::{hint::black_box, time::Duration};

use benches::{
    fixture::{Client, Deployment},
    measure::ready,
};
use credential_core::testing;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

fn token(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let deployment = Deployment::without_hashing().expect("a deployment");
    let node = &deployment.node;
    let names = deployment.ten_scopes().expect("listed");
    let (running, client) = runtime.block_on(async {
        let running = node.start().await.expect("a start");
        let scopes: Vec<_> = names.split(' ').collect();
        let client = Client::create(node, "key".to_owned(), &scopes).await;
        let client = client.expect("a client");
        let authenticated = node.authenticate(&client.client_id, &client.secret).await;
        (running, authenticated.expect("live"))
    });
    for (name, scope) in [("default", None), ("10", Some(names.as_str()))] {
        criterion.bench_function(&format!("issue/scopes={name},held=10"), |bencher| {
            bencher.iter(|| node.issue(&client, black_box(scope)).expect("issued"));
        });
        let issue = || {
            let issued = node.issue(&client, scope).expect("issued");
            issued.access_token.expose_secret().to_owned()
        };
        criterion.bench_function(&format!("first_sight/scopes={name}"), |bencher| {
            bencher.iter_batched(
                issue,
                |token| ready(node.verify(&token)).expect("live"),
                BatchSize::SmallInput,
            );
        });
        let token = issue();
        criterion.bench_function(&format!("open/scopes={name}"), |bencher| {
            bencher.iter(|| assert!(testing::opens(node, black_box(&token))));
        });
    }
    runtime.block_on(running.shutdown());
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = token
}
criterion_main!(benches);
