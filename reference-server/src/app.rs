//! What is served, and where.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use credential_axum::{
    ClientAddressLayer, Guard, GuardError, NotReady, OAuthConfigError, OpenApi, PageConfig,
    Problem, Stop, Words, WordsError, admin_router, forward_auth_router, oauth_router_with,
    openapi_router, page_router, ready,
};
use credential_core::Credentials;
use credential_store_postgres::ListenerState;
use http::{Method, StatusCode, header};

use crate::{
    config::Config,
    demo,
    metrics_endpoint::{self, Metrics},
    own_host::{OwnHost, only_own_host},
    sign_in,
    store::Store,
};

/// Where Elation's own clients ask for tokens.
const ELATION_TOKEN_PATH: &str = "/api/2.0/oauth2/token/";
const ELATION_DOCUMENTATION: &str = "https://docs.elationhealth.com/";

const ADMIN_API: &str = "/api-access/v1";

/// What could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("could not mount the guard")]
    Guard(#[from] GuardError),
    #[error("could not mount the page")]
    Page(#[from] WordsError),
    #[error("could not mount the OAuth endpoints")]
    OAuth(#[from] OAuthConfigError),
    #[error("could not collect metrics")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Everything that is served.
///
/// # Errors
/// [`AppError`] says what could not be mounted.
pub fn app(
    credentials: &Credentials,
    store: &Store,
    config: &Config,
    stop: &Stop,
) -> Result<Router, AppError> {
    let mut app = Router::new()
        .merge(signed_in(credentials)?)
        .merge(oauth(credentials, config)?)
        .merge(openapi_router(&openapi(credentials)))
        .route("/livez", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(readyz).with_state((credentials.clone(), store.clone(), stop.clone())),
        )
        .route("/", get(|| async { Redirect::to("/settings/api-access") }))
        .fallback(|| async { Problem::not_found() });
    for api_type in credentials.catalog().api_types() {
        let guard = Guard::new(credentials, api_type.id().as_str())?;
        app = app.merge(demo::router(api_type, &guard, credentials.clock()));
    }
    if let Some(headers) = config.forward_auth_headers {
        app = app.merge(forward_auth_router(credentials, headers));
    }
    let listens = store.clone();
    let metrics = Metrics::install(credentials, move || {
        listens
            .listener()
            .map(|state| state == ListenerState::Listening)
    })?;
    Ok(app
        .route(
            "/metrics",
            get(metrics_endpoint::scrape).with_state(metrics),
        )
        .layer(middleware::from_fn(first))
        .layer(ClientAddressLayer::trusting(config.trusted_proxies.clone())))
}

/// Whatever a session opens.
fn signed_in(credentials: &Credentials) -> Result<Router, WordsError> {
    let sessions = sign_in::Sessions::default();
    let page = page_router(credentials, sessions.clone(), page_config()?);
    Ok(Router::new()
        .nest(ADMIN_API, admin_router(credentials, sessions.clone()))
        .merge(sign_in::router(sessions))
        .nest_service("/settings/api-access", page)
        .layer(middleware::from_fn_with_state(
            OwnHost::of(credentials.issuer()),
            only_own_host,
        )))
}

fn oauth(credentials: &Credentials, config: &Config) -> Result<Router, OAuthConfigError> {
    let mut oauth = config.oauth.clone().token_path_alias(ELATION_TOKEN_PATH)?;
    for api_type in ["apiv2", "fhir"] {
        oauth = oauth.documentation(api_type, ELATION_DOCUMENTATION)?;
    }
    if let Some(secret) = &config.introspection_secret {
        oauth = oauth.introspection_secret(secret.as_str().to_owned())?;
    }
    Ok(oauth_router_with(credentials, oauth))
}

/// What the document says of this server.
pub fn openapi(credentials: &Credentials) -> OpenApi {
    OpenApi::new(credentials)
        .admin_api(ADMIN_API)
        .session_cookie(sign_in::COOKIE)
}

/// The first layer of every request. TRACE is refused everywhere: its answer would repeat the request,
/// tokens included.
async fn first(route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    if request.method() == Method::TRACE {
        let allow = [(
            header::ALLOW,
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        )];
        return (StatusCode::METHOD_NOT_ALLOWED, allow).into_response();
    }
    metrics_endpoint::count(route, request, next).await
}

/// Answers from what this node knows already, so that probes cost the store nothing.
async fn readyz(State((credentials, store, stop)): State<(Credentials, Store, Stop)>) -> Response {
    let (status, word) = match ready(&credentials, &stop) {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(NotReady::Draining) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        Err(NotReady::Stale) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let details = Json(serde_json::json!({
        "status": word,
        "store": store.name(),
        "listener": store.listener().map(|state| state.to_string()),
        "freshness_age_ms": credentials.freshness_age().map(|age| age.as_secs_f64() * 1000.0),
    }));
    (status, details).into_response()
}

/// Elation's words for the page.
///
/// # Errors
/// The sentences are not those of the table.
fn page_config() -> Result<PageConfig, WordsError> {
    let words = Words::parse("en", WORDS).map(Arc::new)?;
    let config = PageConfig::default()
        .product("Elation")
        .tenant("practice")
        .admins("Practice Admins")
        .support("Elation support", None)
        .documentation("apiv2", ELATION_DOCUMENTATION)
        .documentation("fhir", ELATION_DOCUMENTATION)
        .link("Switch user", "/sign-in")
        .names(|_, actor| sign_in::shown_names(actor))
        .words(move |_| Some(words.clone()));
    Ok(config)
}

/// What Elation says beside the page's own sentences.
const WORDS: &str = r#"{
    "advice.integrations": "A named vendor or lab integration?",
    "advice.integrations.rest": "It is set up for you: contact {support}.",
    "create.integrations": "Connecting a named vendor or lab? That is set up for you: contact {support}."
}"#;
