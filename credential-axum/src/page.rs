//! The API Access page: what a tenant's admins see and click.
//!
//! The server renders the frame and decides who sees which state. The data comes from the admin
//! API, which checks everything again. Markup is in `page/html.rs`, the browser's files are in
//! `page/assets/`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{OriginalUri, Path, Request, State},
    http::HeaderMap,
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use credential_core::Credentials;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;

use crate::{expected_tenant, sign_in::SignIn};

mod asset;
mod config;
mod html;
mod words;

pub use config::{PageConfig, ShownNames};
pub use words::{Words, WordsError};

use html::{Admin, Place, View};

/// The page, to be mounted where the host likes, usually at `/settings/api-access`.
///
/// Below its address, `/keys/{id}` is the page of one key.
///
/// Mount it with [`Router::nest_service`], which serves the address with and without a trailing
/// slash; [`Router::nest`] works too, without one.
///
/// A signed-in person who is no admin sees one sentence. Where self-service is off, admins see
/// their list, can delete keys, and read whom to contact for everything else. The page needs
/// [`admin_router`](crate::admin_router) with the same
/// `sign_in` on the same origin, at [`PageConfig::admin_api`].
///
/// Everything that the browser loads is below the page's own address. The
/// `Content-Security-Policy` allows nothing else and no inline script or style.
///
/// The view is a function of the state: a small library (Preact, vendored with its licence, no
/// build step) redraws it after every change. Its predecessor patched elements by hand, and buttons
/// appeared twice, lost the focus or showed a state that was gone.
pub fn page_router<S>(
    credentials: &Credentials,
    sign_in: impl SignIn,
    config: PageConfig,
) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let page = Arc::new(Page {
        api_types: html::api_types(credentials.catalog(), &config),
        credentials: credentials.clone(),
        sign_in: Box::new(sign_in),
        config,
    });
    Router::new()
        .route("/", get(show))
        .route("/keys/{api_key}", get(show))
        .route("/assets/{version}/{file}", get(serve_asset))
        .fallback(|| async { not_found() })
        .layer(middleware::from_fn(protect))
        .with_state(page)
}

struct Page {
    credentials: Credentials,
    sign_in: Box<dyn SignIn>,
    config: PageConfig,
    /// Facts about each API type that the catalogue's JSON does not have, as JSON.
    api_types: serde_json::Value,
}

async fn show(
    State(page): State<Arc<Page>>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let signed_in = page.sign_in.actor(&parts).await;
    let (mut expected, mut names) = (None, None);
    let (status, view) = match &signed_in {
        Err(error) => {
            error.log();
            (StatusCode::SERVICE_UNAVAILABLE, View::Unavailable)
        }
        Ok(None) => (StatusCode::UNAUTHORIZED, View::SignedOut),
        Ok(Some(actor)) if actor.admin().is_err() => (StatusCode::FORBIDDEN, View::NotAdmin),
        Ok(Some(actor)) => (
            StatusCode::OK,
            View::Admin(Admin {
                environment: page.credentials.environment(),
                self_service: page.credentials.self_service(),
                api_types: &page.api_types,
                actor: actor.id.as_str(),
                expected_tenant: expected.insert(expected_tenant::mark(&actor.tenant)),
                names: names.insert(page.config.names_for(&parts, actor)),
            }),
        ),
    };
    let (path, key) = place(uri.path());
    let mount = page.config.mount_path.as_deref();
    let mount = mount.unwrap_or(path).trim_end_matches('/');
    let words = page.config.words_for(&parts);
    let place = Place { mount, key };
    let html = html::render(&page.config, &words, place, view);
    let mut response = (status, Html(html.into_string())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The page's own path, and the key whose page it is, as the address spells it.
///
/// Why not axum's `Path`: a host's own parameters, which may have any name, are in it as well. `/keys/` is
/// looked for from the end, because a host's path may hold it too.
fn place(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once("/keys/") {
        Some((mount, key)) if !key.is_empty() && !key.contains('/') => (mount, Some(key)),
        _ => (path, None),
    }
}

/// By name, because a host may mount the page below parameters of its own.
#[derive(Debug, Deserialize)]
struct AssetPath {
    version: String,
    file: String,
}

async fn serve_asset(Path(path): Path<AssetPath>, headers: HeaderMap) -> Response {
    asset::serve(&path.version, &path.file, &headers).unwrap_or_else(not_found)
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "There is nothing at this address.\n").into_response()
}

/// The headers that protect every answer of the page.
async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in PROTECTION {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

const PROTECTION: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];
