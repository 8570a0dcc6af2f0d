//! Whether a node should be sent requests, without a question to anybody.

use std::{sync::Arc, time::Duration};

use credential_axum::{NotReady, Stop, ready};
use credential_core::{
    Credentials, ScopeCatalog,
    entropy::OsEntropy,
    secret::keyring::Keyring,
    testing::{ManualClock, ProbeStore},
};
use credential_store_memory::MemoryStore;
use tokio::sync::Notify;

fn never() -> Stop {
    Stop::when(std::future::pending())
}

#[tokio::test(start_paused = true)]
async fn it_asks_the_store_nothing() {
    for (max_staleness, bound) in [(0, 1_000), (500, 500), (1_000, 1_000), (60_000, 60_000)] {
        let clock = ManualClock::new();
        let store = ProbeStore::new(MemoryStore::new());
        let credentials = Credentials::builder(store.clone())
            .catalog(ScopeCatalog::elation())
            .keyring(Keyring::generate(&OsEntropy))
            .clock(Arc::new(clock.clone()))
            .max_staleness(Duration::from_millis(max_staleness))
            .build()
            .unwrap();
        let stop = never();
        assert_eq!(
            ready(&credentials, &stop),
            Err(NotReady::Stale),
            "not started"
        );
        let running = credentials.start().await.unwrap();
        running.shutdown().await; // so that nothing else asks the store
        let calls = store.calls();
        let catch_ups = store.catch_ups();
        assert_eq!(ready(&credentials, &stop), Ok(()));
        clock.advance_monotonic(Duration::from_millis(bound));
        assert_eq!(ready(&credentials, &stop), Ok(()), "{max_staleness}");
        clock.advance_monotonic(Duration::from_millis(1));
        assert_eq!(
            ready(&credentials, &stop),
            Err(NotReady::Stale),
            "{max_staleness}"
        );
        assert_eq!((store.calls(), store.catch_ups()), (calls, catch_ups));
    }
}

#[tokio::test]
async fn it_fails_from_the_signal_on() {
    let credentials = Credentials::builder(MemoryStore::new())
        .catalog(ScopeCatalog::elation())
        .keyring(Keyring::generate(&OsEntropy))
        .build()
        .unwrap();
    let _running = credentials.start().await.unwrap();
    let signal = Arc::new(Notify::new());
    let signalled = Arc::clone(&signal);
    let stop = Stop::when(async move { signalled.notified().await });
    assert_eq!(ready(&credentials, &stop), Ok(()));
    signal.notify_one();
    stop.told().await;
    assert_eq!(ready(&credentials, &stop), Err(NotReady::Draining));
}
