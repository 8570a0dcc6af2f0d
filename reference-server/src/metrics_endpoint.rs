//! `/metrics` in the format of Prometheus: what core counts, and requests by route and status.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use credential_core::Credentials;
use http::header;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Buckets in seconds, from a cache hit to a hash that had to wait.
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// The state that `/metrics` answers from.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    credentials: Credentials,
    listening: Arc<dyn Fn() -> Option<bool> + Send + Sync>,
}

impl Metrics {
    /// Makes this process's metrics readable. `listening` says whether changes on other nodes
    /// wake this one, where there are others.
    ///
    /// # Errors
    /// Something else already collects them.
    pub fn install(
        credentials: &Credentials,
        listening: impl Fn() -> Option<bool> + Send + Sync + 'static,
    ) -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
            .install_recorder()?;
        Ok(Self {
            handle,
            credentials: credentials.clone(),
            listening: Arc::new(listening),
        })
    }
}

/// Everything counted so far.
pub async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    metrics.credentials.report_metrics();
    if let Some(listening) = (metrics.listening)() {
        metrics::gauge!("credential_listener_up").set(f64::from(u8::from(listening)));
    }
    metrics.handle.run_upkeep();
    let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4");
    ([content_type], metrics.handle.render())
}

/// Counts a request under its route, never under the path as sent, which may have any content.
pub async fn count(route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let route = route.map_or_else(|| "none".to_owned(), |route| route.as_str().to_owned());
    let status = response.status().as_str().to_owned();
    metrics::counter!("http_requests_total", "route" => route, "status" => status).increment(1);
    response
}
