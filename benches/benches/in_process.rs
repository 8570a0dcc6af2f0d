//! The three paths in process, warm, on one thread. The budgets' own benchmarks follow with the
//! performance round; these show that nothing is off by an order of magnitude.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::allow_attributes, reason = "depends on the macros' version")]

use std::hint::black_box;

use benches::{create, credentials, ready};
use credential_core::catalog::SearchForm;
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

fn authorize(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let credentials = credentials().expect("a deployment");
    let (tokens, running) = runtime.block_on(async {
        let running = credentials.start().await.expect("a start");
        let mut tokens = Vec::new();
        for n in 0..100 {
            let created = create(&credentials, format!("key {n}"))
                .await
                .expect("created");
            let secret = created.client_secret.expose_secret();
            let client = credentials
                .authenticate(created.credential.client_id.as_str(), secret)
                .await
                .expect("authenticated");
            for _ in 0..10 {
                let issued = credentials.issue(&client, None).expect("issued");
                tokens.push(issued.access_token.expose_secret().to_owned());
            }
        }
        (tokens, running)
    });
    let api_type = credentials
        .catalog()
        .api_type("apiv2")
        .expect("listed")
        .clone();
    let mut next = tokens.iter().cycle();
    criterion.bench_function("authorize/tokens=1000", |bencher| {
        bencher.iter(|| {
            let token = next.next().expect("endless");
            let access = ready(credentials.verify(token)).expect("live");
            let requirement = api_type
                .requirement("GET", "/api/2.0/patients/12345/", SearchForm::None)
                .expect("a plain path");
            assert!(access.permits(black_box(&requirement)));
        });
    });
    runtime.block_on(running.shutdown());
}

fn authenticate(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let credentials = credentials().expect("a deployment");
    let running = runtime.block_on(credentials.start()).expect("a start");
    let created = runtime
        .block_on(create(&credentials, "key".to_owned()))
        .expect("created");
    let client_id = created.credential.client_id.as_str();
    let secret = created.client_secret.expose_secret();
    runtime
        .block_on(credentials.authenticate(client_id, secret))
        .expect("live");
    criterion.bench_function("authenticate/secret=warm", |bencher| {
        bencher.iter(|| ready(credentials.authenticate(client_id, secret)).expect("live"));
    });
    let mut forged = secret.to_owned();
    forged.replace_range(
        forged.len() - 1..,
        if secret.ends_with('A') { "B" } else { "A" },
    );
    criterion.bench_function("authenticate/secret=forged", |bencher| {
        bencher.iter(|| ready(credentials.authenticate(client_id, &forged)).expect_err("forged"));
    });
    let tag = [7; 32];
    let token = runtime.block_on(async {
        let client = credentials
            .authenticate(client_id, secret)
            .await
            .expect("live");
        credentials
            .issue(&client, None)
            .expect("issued")
            .access_token
            .expose_secret()
            .to_owned()
    });
    criterion.bench_function("baseline/keyed_hash=token", |bencher| {
        bencher.iter(|| blake3::keyed_hash(&tag, black_box(token.as_bytes())));
    });
    criterion.bench_function("baseline/clocks", |bencher| {
        bencher.iter(|| (credentials.clock().now(), credentials.clock().monotonic()));
    });
    let api_type = credentials
        .catalog()
        .api_type("apiv2")
        .expect("listed")
        .clone();
    criterion.bench_function("baseline/requirement", |bencher| {
        bencher.iter(|| {
            api_type.requirement(
                "GET",
                black_box("/api/2.0/patients/12345/"),
                SearchForm::None,
            )
        });
    });
    criterion.bench_function("baseline/verify", |bencher| {
        bencher.iter(|| ready(credentials.verify(&token)).expect("live"));
    });
    let client = runtime
        .block_on(credentials.authenticate(client_id, secret))
        .expect("live");
    criterion.bench_function("issue/scopes=default", |bencher| {
        bencher.iter(|| credentials.issue(&client, None).expect("issued"));
    });
    runtime.block_on(running.shutdown());
}

criterion_group!(benches, authorize, authenticate);
criterion_main!(benches);
