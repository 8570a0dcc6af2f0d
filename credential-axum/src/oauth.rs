//! The OAuth 2.0 endpoints: token, introspection, revocation, metadata.
//!
//! Every request is read in one order: its form, its client, its parameters. An unknown client, a
//! wrong secret, and a revoked or expired credential get the same `401`.

mod answer;
mod authorize;
mod client;
mod config;
mod error;
mod form;
mod introspect;
mod metadata;
#[cfg(feature = "openapi")]
pub(crate) mod operations;
mod request;
mod resource;
mod revoke;
mod token;

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    middleware::map_response,
    response::Response,
    routing::{MethodRouter, get, post},
};
use credential_core::{Credentials, catalog::PathRules};
use http::{
    HeaderValue, StatusCode,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_TYPE},
};

use self::{
    authorize::authorize,
    config::Authorization,
    error::OAuthError,
    introspect::introspect,
    metadata::{AUTHORIZE_PATH, INTROSPECT_PATH, Metadata, REVOKE_PATH, TOKEN_PATH},
    request::Endpoints,
    revoke::revoke,
    token::token,
};
use crate::{no_sniff::no_sniff, well_known};

pub use config::{OAuthConfig, OAuthConfigError};

/// The OAuth endpoints with the default [`OAuthConfig`].
///
/// Merge it at the root of the issuer's URL: the addresses in the metadata are the issuer followed
/// by `/oauth2/…`. If the issuer has a path, which a proxy removes, the proxy must pass
/// `/.well-known/oauth-authorization-server<path>` and `/.well-known/oauth-protected-resource<path>…` on
/// unchanged: RFC 8414 and RFC 9728 put the metadata there.
pub fn oauth_router<S>(credentials: &Credentials) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    oauth_router_with(credentials, OAuthConfig::default())
}

/// The OAuth endpoints.
///
/// | route | by |
/// | --- | --- |
/// | `POST /oauth2/token` and its aliases, with and without a slash at the end | RFC 6749 §4.4, RFC 8707 |
/// | `POST /oauth2/introspect` | RFC 7662 |
/// | `POST /oauth2/revoke` | RFC 7009 |
/// | `GET /.well-known/oauth-authorization-server` | RFC 8414 |
/// | `GET /.well-known/oauth-protected-resource{base_path}`, per API type | RFC 9728 |
/// | `GET {base_path}/.well-known/smart-configuration`, per API type with FHIR rules | SMART App Launch 2.2 |
/// | `/oauth2/authorize`, with [`refusing_authorization_endpoint`](OAuthConfig::refusing_authorization_endpoint) | RFC 6749 §3.1 |
pub fn oauth_router_with<S>(credentials: &Credentials, config: OAuthConfig) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let metadata = Metadata::new(credentials, &config);
    // Checked first, because a router panics on a path that it has: an alias never replaces a
    // route.
    let mut taken = BTreeSet::new();
    let mut documents = vec![(well_known::SERVER.to_owned(), metadata.server())];
    if let Some(path) = well_known::path(well_known::SERVER, credentials.issuer()) {
        documents.push((path, metadata.server()));
    }
    for api_type in credentials.catalog().api_types() {
        // Also without what a proxy removes in front of the base path.
        let below = format!("{}{}", well_known::RESOURCE, api_type.base_path());
        let path = well_known::path(well_known::RESOURCE, &credentials.base_url(api_type));
        for path in path.into_iter().chain([below]) {
            documents.push((path, metadata.resource(api_type)));
        }
        if api_type.rules() == PathRules::Fhir {
            let path = format!("{}/.well-known/smart-configuration", api_type.base_path());
            documents.push((path, metadata.smart(api_type)));
        }
    }

    let mut router = Router::new();
    for (path, document) in documents {
        if taken.insert(path.clone()) {
            router = router.route(&path, document_route(document));
        }
    }
    if let Authorization::Refusing = config.authorization {
        taken.insert(AUTHORIZE_PATH.to_owned());
        let refusing = get(authorize).post(authorize);
        let refusing = with_others(refusing, "GET, HEAD, POST, OPTIONS");
        router = router.route(AUTHORIZE_PATH, refusing);
    }
    router = router
        .merge(endpoint(INTROSPECT_PATH, &mut taken, || post(introspect)))
        .merge(endpoint(REVOKE_PATH, &mut taken, || post(revoke)));
    let others = taken.clone();
    router = router.merge(endpoint(TOKEN_PATH, &mut taken, || post(token)));
    for alias in &config.token_path_aliases {
        router = router.merge(endpoint(alias, &mut taken, || post(token)));
    }
    let router = router.layer(map_response(no_sniff));
    let issuer = credentials.issuer().trim_end_matches('/');
    let token_paths = taken.difference(&others);
    let token_addresses = token_paths.map(|path| format!("{issuer}{path}")).collect();
    router.with_state(Arc::new(Endpoints {
        credentials: credentials.clone(),
        introspection_secret: config.introspection_secret,
        token_addresses,
    }))
}

/// One endpoint under its path with and without a slash at the end, unless that path is taken.
fn endpoint(
    path: &str,
    taken: &mut BTreeSet<String>,
    handler: impl Fn() -> MethodRouter<Arc<Endpoints>>,
) -> Router<Arc<Endpoints>> {
    let path = path.trim_end_matches('/');
    let mut router = Router::new();
    for path in [path.to_owned(), format!("{path}/")] {
        if !path.is_empty() && taken.insert(path.clone()) {
            router = router.route(&path, with_others(handler(), "POST, OPTIONS"));
        }
    }
    router
}

/// The answer to other methods (RFC 9110 §9.3.7 and §15.5.6).
///
/// No `Access-Control-Allow-Origin`: a client secret does not belong into a web page, so a
/// browser's preflight has to fail.
fn with_others<S>(route: MethodRouter<S>, allowed: &'static str) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    route
        .options(async move || (StatusCode::NO_CONTENT, [(ALLOW, allowed)]))
        .fallback(async move || OAuthError::MethodNotAllowed(allowed))
}

/// A document that is built once, at the start.
fn document_route(document: Bytes) -> MethodRouter<Arc<Endpoints>> {
    let answer = async move || {
        let mut response = Response::new(Body::from(document.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Public, because SMART apps in browsers read it.
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    };
    with_others(get(answer), "GET, HEAD, OPTIONS")
}
