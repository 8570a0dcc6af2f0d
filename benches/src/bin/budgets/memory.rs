//! P9: bytes of a node's cache entries, and of credentials in the memory store.

use std::thread;

use benches::{
    Error,
    fixture::{Client, Deployment, SCOPE, admin_of},
    measure::Process,
    report::{Budget, Line, Unit, progress, progress_of},
};
use tokio::runtime;

use crate::Options;

const LIMIT: f64 = 1.5 * 1024.0;

/// Scopes that each credential's calls need.
const IN_USE: usize = 10;

/// Credentials of one tenant in the memory store.
const PER_TENANT: usize = 100;

/// Must be called before anything else: memory that was freed before would be reused and not counted.
pub async fn measure(options: &Options) -> Result<[Line; 2], Error> {
    let store = store(options).await?;
    Ok([caches(options).await?, store])
}

/// Counts what a node allocates for entries, its tables included, at nine tenths of its caches'
/// capacity.
#[expect(clippy::cast_precision_loss, reason = "counts for people")]
async fn caches(options: &Options) -> Result<Line, Error> {
    let capacity = options.size(50_000, 5_000);
    let entries = capacity / 10 * 9;
    let deployment = Deployment::without_hashing()?;
    let clients = deployment.clients(entries).await?;
    let tokens = deployment.tokens(&clients, 1).await?;
    progress("filling the caches of a node");
    // What is held, and others: a denied call has a counter of its own as an allowed one has.
    let api_type = deployment.api_type()?;
    let others = api_type.scopes().map(|it| it.name.as_str());
    let others = others.filter(|it| *it != SCOPE).take(IN_USE - 1);
    let in_use: Vec<_> = [SCOPE]
        .into_iter()
        .chain(others)
        .map(|it| api_type.requires(it))
        .collect::<Result<_, _>>()?;
    let mut node = None;
    let mut refused = 0;
    let mut allowed = 0;
    // On one thread with a runtime of its own, because only its allocations are counted, and reads are
    // tasks.
    let fill = || -> Result<_, Error> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        Ok(allocation_counter::measure(|| {
            let sized = deployment
                .another_node()
                .credential_cache(capacity)
                .token_cache(capacity);
            node = sized.build().ok();
            for token in &tokens {
                let verified = node
                    .as_ref()
                    .map(|node| runtime.block_on(node.verify(token)));
                let Some(Ok(access)) = verified else {
                    refused += 1;
                    continue;
                };
                allowed += in_use.iter().filter(|it| access.permits(it)).count();
            }
        }))
    };
    let counted = thread::scope(|scope| scope.spawn(fill).join())
        .map_err(|_| "the thread that fills the caches has panicked")??;
    let node = node
        .filter(|_| refused == 0 && allowed == tokens.len())
        .ok_or("a live token was refused")?;
    // What was evicted is read again.
    let reads = deployment.store.reads();
    for token in &tokens {
        node.verify(token).await?;
    }
    let evicted = deployment.store.reads() - reads;
    let bytes = counted.bytes_current as f64 / (entries as f64 - evicted as f64);
    let what =
        format!("memory/credential+token,entries={entries},tables=included,scopes-in-use={IN_USE}");
    Ok(Line::new("P9", what, bytes, Unit::Bytes).within(Budget::at_most(LIMIT, Unit::Bytes)))
}

/// Counts resident memory, because the store is filled by more than one thread.
#[expect(clippy::cast_precision_loss, reason = "counts for people")]
async fn store(options: &Options) -> Result<Line, Error> {
    let count = options.size(1_000_000, 100_000);
    let deployment = Deployment::without_hashing()?;
    let process = Process { id: None };
    let before = process.resident()?;
    for n in 0..count {
        progress_of("credentials in the memory store", n, count);
        let admin = admin_of(&format!("tenant-{}", n / PER_TENANT))?;
        Client::create_as(&admin, &deployment.node, format!("key {n}"), &[SCOPE]).await?;
    }
    let bytes = (process.resident()? - before) as f64 / count as f64;
    let what = format!("memory/store=memory,credentials={count},audit=included");
    Ok(Line::new("P9", what, bytes, Unit::Bytes).within(Budget::at_most(LIMIT, Unit::Bytes)))
}
