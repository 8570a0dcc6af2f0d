//! P8: an admin's choice of scopes, parsed and checked.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::allow_attributes, reason = "depends on the macros' version")]

use std::{hint::black_box, time::Duration};

use benches::fixture::scope_names;
use credential_core::ScopeCatalog;
use criterion::{Criterion, criterion_group, criterion_main};

fn scopes(criterion: &mut Criterion) {
    let catalog = ScopeCatalog::elation();
    let api_type = catalog.api_type("apiv2").expect("listed");
    let names = scope_names(api_type);
    for count in [1, 10, names.len()] {
        let chosen = &names[..count];
        criterion.bench_function(&format!("parse+check/scopes={count}"), |bencher| {
            bencher.iter(|| {
                let chosen = black_box(chosen).iter().copied();
                let set = catalog.parse_scopes(api_type, chosen).expect("listed");
                api_type.check(&set).expect("compatible");
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = scopes
}
criterion_main!(benches);
