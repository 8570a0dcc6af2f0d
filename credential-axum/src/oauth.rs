//! The OAuth 2.0 endpoints: token, introspection, revocation, metadata.
//!
//! Every request is read in one order: its form, who sends it, what it asks for. The same `401`
//! goes to an unknown client, a wrong secret, and a revoked or expired credential.

mod answer;
mod client;
mod config;
mod error;
mod form;
mod metadata;
mod resource;

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::map_response,
    response::Response,
    routing::{MethodRouter, get, post},
};
use credential_core::{
    Access, Credentials,
    authenticate::{AuthenticatedClient, IssueError},
    authorize::{AuthorizeError, RevokeTokenError},
    catalog::PathRules,
    id::TenantId,
    percent::Decoded,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_TYPE},
};

use self::{
    answer::{ActiveToken, INACTIVE, TokenAnswer},
    client::Presented,
    config::IntrospectionSecret,
    error::OAuthError,
    form::Form,
    metadata::{INTROSPECT_PATH, Metadata, REVOKE_PATH, TOKEN_PATH},
};
use crate::{
    authorization_header::Authorization,
    body::{BodyError, is_form, read_body},
    no_sniff::no_sniff,
};

pub use config::{OAuthConfig, OAuthConfigError};

const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";

/// The OAuth endpoints with the default [`OAuthConfig`].
///
/// Merge it at the root of what the issuer's URL names: the paths in the metadata are the issuer
/// followed by `/oauth2/…`. Where the issuer has a path, which a proxy takes off, let the proxy pass
/// `/.well-known/oauth-authorization-server<path>` as it is: RFC 8414 has the metadata there.
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
/// | `GET {base_path}/.well-known/smart-configuration`, per API type with FHIR rules | SMART App Launch 2.2 |
pub fn oauth_router_with<S>(credentials: &Credentials, config: OAuthConfig) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let metadata = Metadata::new(credentials, config.introspection_secret.is_some());
    // Sorted out first, since a router takes no path twice: an alias never replaces a route.
    let mut taken = BTreeSet::new();
    let mut documents = vec![(METADATA_PATH.to_owned(), metadata.server())];
    if let Some(path) = resource::path_of(credentials.issuer()) {
        // RFC 8414 §3.1: the issuer's path comes last.
        documents.push((format!("{METADATA_PATH}{path}"), metadata.server()));
    }
    for api_type in credentials.catalog().api_types() {
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
    router = router
        .merge(endpoint(INTROSPECT_PATH, &mut taken, || post(introspect)))
        .merge(endpoint(REVOKE_PATH, &mut taken, || post(revoke)))
        .merge(endpoint(TOKEN_PATH, &mut taken, || post(token)));
    for alias in &config.token_path_aliases {
        router = router.merge(endpoint(alias, &mut taken, || post(token)));
    }
    let router = router.layer(map_response(no_sniff));
    router.with_state(Arc::new(Endpoints {
        credentials: credentials.clone(),
        introspection_secret: config.introspection_secret,
    }))
}

struct Endpoints {
    credentials: Credentials,
    introspection_secret: Option<IntrospectionSecret>,
}

type Shared = State<Arc<Endpoints>>;

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

/// What the other methods are told (RFC 9110 §9.3.7 and §15.5.6).
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

/// A document that was written at the start.
fn document_route(document: Bytes) -> MethodRouter<Arc<Endpoints>> {
    let answer = async move || {
        let mut response = Response::new(Body::from(document.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Public, and SMART wants apps in browsers to find it.
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    };
    with_others(get(answer), "GET, HEAD, OPTIONS")
}

/// `POST /oauth2/token`.
async fn token(State(endpoints): Shared, request: Request) -> Result<Response, OAuthError> {
    let (headers, body) = read(request).await?;
    let form = parse(&body)?;
    let client = Presented::of(&headers, &form)?
        .authenticate(&endpoints.credentials, &form)
        .await?;
    match form.grant_type.as_deref() {
        Some("client_credentials") => {}
        Some(_) => return Err(OAuthError::UnsupportedGrantType),
        None => return Err(OAuthError::invalid_request("grant_type is missing")),
    }
    endpoints.check_resources(&client, &form)?;
    let issued = endpoints
        .credentials
        .issue(&client, form.scope.as_deref())
        .map_err(|error| match error {
            IssueError::Scope(why) => OAuthError::InvalidScope(why.to_string()),
            IssueError::Ending => OAuthError::InvalidClient { bearer: false },
            IssueError::Seal(_) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no token was issued"
                );
                OAuthError::Server
            }
        })?;
    Ok(answer::no_store_json(&TokenAnswer {
        access_token: issued.access_token.expose_secret(),
        token_type: "Bearer",
        expires_in: issued.expires_in,
        scope: &issued.scope,
    }))
}

/// `POST /oauth2/introspect`.
async fn introspect(State(endpoints): Shared, request: Request) -> Result<Response, OAuthError> {
    let (headers, body) = read(request).await?;
    let form = parse(&body)?;
    let presented = Presented::of(&headers, &form)?;
    let asks = endpoints
        .who_introspects(&headers, presented, &form)
        .await?;
    let token = form.token.as_deref().ok_or_else(token_missing)?;
    match endpoints.credentials.verify(token).await {
        Ok(access) if asks.may_see(access.tenant()) => {
            Ok(active(&access, endpoints.credentials.issuer()))
        }
        Ok(_) | Err(AuthorizeError::Refused(_)) => Ok(answer::no_store(INACTIVE.into())),
        Err(AuthorizeError::Store(error)) => {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "no verdict on a token"
            );
            Err(OAuthError::UNAVAILABLE)
        }
    }
}

/// Who asks about a token.
enum Asks {
    /// Sees the tokens of its own tenant.
    Client(AuthenticatedClient),
    /// Sees every token.
    ResourceServer,
}

impl Asks {
    fn may_see(&self, tenant: &TenantId) -> bool {
        match self {
            Self::Client(client) => client.tenant() == tenant,
            Self::ResourceServer => true,
        }
    }
}

impl Endpoints {
    /// Refuses a token for something else than what the client's tokens are for (RFC 8707).
    fn check_resources(
        &self,
        client: &AuthenticatedClient,
        form: &Form<'_>,
    ) -> Result<(), OAuthError> {
        let ours = |resource: &Decoded<'_>| {
            resource::denotes(resource, &self.credentials, client.api_type())
        };
        if form.resources.iter().all(ours) {
            return Ok(());
        }
        let base = resource::base_url(self.credentials.issuer(), client.api_type());
        Err(OAuthError::InvalidTarget(format!(
            "this client gets tokens for {base} only"
        )))
    }

    async fn who_introspects(
        &self,
        headers: &HeaderMap,
        presented: Presented<'_>,
        form: &Form<'_>,
    ) -> Result<Asks, OAuthError> {
        // Two good ways at once are no left-over.
        if let (Presented::Post { .. }, Some(secret)) = (&presented, &self.introspection_secret)
            && let Authorization::One { value, .. } = Authorization::of(headers)
            && secret.matches(value)
        {
            return Err(client::two_ways());
        }
        if let (Presented::Bearer(value), Some(secret)) = (&presented, &self.introspection_secret)
            && secret.matches(value)
        {
            return Ok(Asks::ResourceServer);
        }
        match presented.authenticate(&self.credentials, form).await {
            Ok(client) => Ok(Asks::Client(client)),
            Err(OAuthError::InvalidClient { .. }) => Err(OAuthError::InvalidClient {
                bearer: self.introspection_secret.is_some(),
            }),
            Err(other) => Err(other),
        }
    }
}

fn active(access: &Access, issuer: &str) -> Response {
    const MICROS_PER_SECOND: i64 = 1_000_000;
    answer::no_store_json(&ActiveToken {
        active: true,
        scope: &access.scope(),
        client_id: access.client_id().as_str(),
        token_type: "Bearer",
        exp: access
            .expires_at()
            .as_micros()
            .div_euclid(MICROS_PER_SECOND),
        iat: access.issued_at().as_micros().div_euclid(MICROS_PER_SECOND),
        iss: issuer,
        sub: access.client_id().as_str(),
        aud: &resource::base_url(issuer, access.api_type()),
        tenant: access.tenant().as_str(),
        api_type: access.api_type().id().as_str(),
    })
}

/// `POST /oauth2/revoke`. Hints are ignored: there is one kind of token.
async fn revoke(State(endpoints): Shared, request: Request) -> Result<Response, OAuthError> {
    let (headers, body) = read(request).await?;
    let form = parse(&body)?;
    let client = Presented::of(&headers, &form)?
        .authenticate(&endpoints.credentials, &form)
        .await?;
    let token = form.token.as_deref().ok_or_else(token_missing)?;
    match endpoints.credentials.revoke_token(&client, token).await {
        Ok(()) => {
            let mut response = answer::no_store(Body::empty());
            response.headers_mut().remove(CONTENT_TYPE);
            Ok(response)
        }
        Err(RevokeTokenError::Busy { retry_after }) => Err(OAuthError::Unavailable {
            retry_after: retry_after.as_secs(),
        }),
        // Core counts it, and logs it seldom.
        Err(RevokeTokenError::Store(_)) => Err(OAuthError::UNAVAILABLE),
    }
}

/// Headers and body of a request that keeps its secrets out of the URL and sends a form.
async fn read(request: Request) -> Result<(HeaderMap, Bytes), OAuthError> {
    let (parts, body) = request.into_parts();
    form::check_query(&parts.uri).map_err(malformed)?;
    if !is_form(&parts.headers) {
        return Err(OAuthError::invalid_request(
            "the body must be application/x-www-form-urlencoded",
        ));
    }
    let body = read_body(body).await.map_err(|error| match error {
        BodyError::TooLarge => OAuthError::TooLarge(error.to_string().into()),
        BodyError::Broken => OAuthError::invalid_request(error.to_string()),
    })?;
    Ok((parts.headers, body))
}

fn parse(body: &[u8]) -> Result<Form<'_>, OAuthError> {
    Form::parse(body).map_err(malformed)
}

fn malformed(error: form::FormError) -> OAuthError {
    OAuthError::invalid_request(error.to_string())
}

fn token_missing() -> OAuthError {
    OAuthError::invalid_request("token is missing")
}
