//! What one tenant's many requests do to its own, and not to anybody else's.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{body::Body, extract::Request};
use credential_axum::{ADMIN_ROUTES, AdminRoute};
use credential_core::testing::ProbeStore;
use credential_store_memory::MemoryStore;
use http::Method;
use tokio::time::{Instant, sleep};

use crate::common::{ADMIN, Answer, Host, OTHER_ADMIN, STAFF, UNKNOWABLE, ask};

/// Long enough for all that can run now, and no time on the test's own clock.
async fn a_moment() {
    sleep(Duration::from_millis(1)).await;
}

/// The answers to requests of alder's admin that are sent at once.
async fn refused(host: &Arc<Host>, requests: Vec<Request<Body>>) -> Vec<Answer> {
    let send = |request| {
        let host = Arc::clone(host);
        tokio::spawn(async move { host.send(request).await })
    };
    let under_way: Vec<_> = requests.into_iter().map(send).collect();
    let mut answers = Vec::new();
    for answer in under_way {
        answers.push(answer.await.unwrap());
    }
    answers
}

/// Lists of alder's that stand at the store, wait, and were refused.
async fn flooded() -> (Arc<Host>, ProbeStore<MemoryStore>) {
    let host = Arc::new(Host::new());
    let path = host.created_path("Lab").await;
    let store = host.store.clone();
    store.hold_calls();
    let lists: Vec<_> = (0..500)
        .map(|_| {
            let (host, path) = (Arc::clone(&host), path.clone());
            tokio::spawn(async move { host.get(&path).await.problem() })
        })
        .collect();
    while lists.iter().filter(|it| it.is_finished()).count() < 500 - 3 - 256 {
        a_moment().await;
    }
    for list in lists
        .into_iter()
        .filter(tokio::task::JoinHandle::is_finished)
    {
        assert_eq!(list.await.unwrap(), (429, "rate_limited".to_owned()));
    }
    assert_eq!(store.running(), 3);
    (host, store)
}

#[tokio::test(start_paused = true)]
async fn a_tenants_too_many_requests_are_429_on_every_route_and_its_own_matter() {
    let (host, store) = flooded().await;
    let path = |route: &AdminRoute| route.path.replace("{id}", &format!("{:032}", 0));
    let ours = |route: &AdminRoute| ask(route.method.as_str(), &path(route)).by(ADMIN);
    // Before anything is read of the request.
    let requests = ADMIN_ROUTES
        .iter()
        .map(|route| ours(route).body("not json"));
    let asked = Instant::now();
    for answer in refused(&host, requests.collect()).await {
        assert_eq!(answer.problem(), (429, "rate_limited".into()));
        let again: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=120).contains(&again), "{again}");
    }
    let held = asked.elapsed();
    assert!(
        held >= Duration::from_secs(1),
        "who repeats at once: {held:?}"
    );
    for route in ADMIN_ROUTES {
        let path = path(route);
        // After who is refused for good.
        let method = route.method.as_str();
        let stranger = host.send(ask(method, &path).empty()).await;
        assert_eq!(stranger.problem().0, 401);
        let staff = host.send(ask(method, &path).by(STAFF).empty()).await;
        assert_eq!(staff.problem(), (403, "forbidden".into()));
        if route.method != Method::GET {
            let foreign = ask(method, &path).by(ADMIN);
            let foreign = foreign.header("sec-fetch-site", "cross-site").empty();
            assert_eq!(host.send(foreign).await.problem().1, "cross_site");
        }
    }
    let other = tokio::spawn(async move {
        let list = ask("GET", "/credentials").by(OTHER_ADMIN).empty();
        host.send(list).await.status
    });
    while store.running() < 4 {
        a_moment().await;
    }
    store.release_calls(10_000);
    assert_eq!(other.await.unwrap(), 200);
}

#[tokio::test(start_paused = true)]
async fn once_the_rush_is_over_everything_works_again() {
    let (host, store) = flooded().await;
    store.release_calls(10_000);
    while store.running() > 0 {
        a_moment().await;
    }
    assert_eq!(host.get("/credentials").await.status, 200);
}

/// What this thread logs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn overload_and_outages_are_not_logged_line_by_line() {
    let written = Lines::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let count = || {
        let bytes = written.0.lock().unwrap();
        bytes.split(|byte| *byte == b'\n').count() - 1
    };
    let (host, store) = flooded().await;
    let list = |_| ask("GET", "/credentials").by(ADMIN).empty();
    for answer in refused(&host, (0..200).map(list).collect()).await {
        assert_eq!(answer.status, 429);
    }
    store.release_calls(10_000);
    while store.running() > 0 {
        a_moment().await;
    }
    assert_eq!(count(), 0, "too many requests");
    store.fail(true);
    for _ in 0..200 {
        assert_eq!(host.get("/credentials").await.status, 503);
    }
    // Or none, if another test of this process has brought such a line in the last ten seconds. That
    // there is one at all is shown in core's `tests/refusal_log.rs`.
    let lines = count();
    assert!(lines <= 1, "a store that is down: {lines}");
    for _ in 0..200 {
        let nobody_knows = ask("GET", "/credentials").by(UNKNOWABLE).empty();
        assert_eq!(host.send(nobody_knows).await.status, 503);
    }
    assert!(count() <= lines + 1, "a sign-in that is down: {}", count());
}
