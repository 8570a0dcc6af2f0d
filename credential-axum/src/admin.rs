//! The admin API: its routes, and who may come in.
//!
//! A request that several rules refuse gets the first of these answers: not signed in, from another
//! site, not an admin (all here, for every address); meant for another tenant, too many requests of
//! this tenant (here, for every route); body too large, of another type, not JSON (in the extractors); then the refusals
//! of the use case.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use credential_core::{Credentials, actor::TenantAdmin, clock::Timestamp};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::Value;

use self::{extract::SignedIn, fields::describe};
use crate::{
    cross_site::refuse_cross_site,
    expected_tenant::refuse_other_tenant,
    gzip::{accepts_gzip, shrink},
    hold::hold,
    no_sniff::no_sniff,
    problem::Problem,
    sign_in::SignIn,
};

mod audit;
mod catalog;
mod credential_json;
mod credentials;
mod disable;
mod etag;
mod extract;
mod fields;
mod idempotency;
mod json;
#[cfg(feature = "openapi")]
pub(crate) mod operations;
mod paging;
mod policy;
mod proof_json;
mod proofs;
mod query;
mod revoke;
mod secrets;
mod usage;

/// The admin API, to be nested where the host likes, usually at `/api-access/v1`.
///
/// Every address asks `sign_in` for the actor, and admits only admins, for the credentials of their
/// own tenant. Changes from other sites are refused ([`refuse_cross_site`]). A request may name the
/// tenant that it was made for in `X-Expected-Tenant`, as the page does; it is refused if that is
/// not the signed-in one. `Location` headers have the address as the client sent it, so nesting
/// needs no setting. Caches may not store any answer.
///
/// A request that makes a secret may carry an `Idempotency-Key`: sent again within ten minutes, it gets the first
/// answer again.
///
/// [`ADMIN_ROUTES`] lists what is served.
pub fn admin_router<S>(credentials: &Credentials, sign_in: impl SignIn) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let at_the_gate = AdminGate {
        sign_in: Arc::new(sign_in),
    };
    let mut router = Router::new();
    for route in ADMIN_ROUTES {
        // One of axum's own methods; a test asks every route.
        if let Ok(method) = MethodFilter::try_from(route.method.clone()) {
            let mounted = (route.mount)(method);
            let due = middleware::from_fn_with_state(credentials.clone(), begin);
            router = router.route(route.path, mounted.route_layer(due));
        }
    }
    router
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(middleware::from_fn_with_state(at_the_gate, gate))
        .with_state(credentials.clone())
}

/// One route of the admin API.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AdminRoute {
    /// GET serves HEAD as well.
    pub method: Method,
    /// Below where the router is nested; `{id}` stands for one segment.
    pub path: &'static str,
    mount: fn(MethodFilter) -> MethodRouter<Credentials>,
    reads: Reads,
}

/// What a route reads beside its path, described by the function that reads it.
#[derive(Debug, Clone, Copy)]
enum Reads {
    Nothing,
    Query(fn() -> Value),
    Body(fn() -> Value),
}

impl AdminRoute {
    /// A JSON Schema (draft 2020-12, as OpenAPI 3.1 has it) of the body that the route reads; `None` if
    /// it reads none.
    #[must_use]
    pub fn body_schema(&self) -> Option<Value> {
        match self.reads {
            Reads::Body(describe) => Some(describe()),
            Reads::Nothing | Reads::Query(_) => None,
        }
    }

    /// A JSON Schema of the parameters in the query, each a property; `None` if the route reads none.
    #[must_use]
    pub fn query_schema(&self) -> Option<Value> {
        match self.reads {
            Reads::Query(describe) => Some(describe()),
            Reads::Nothing | Reads::Body(_) => None,
        }
    }
}

/// Every route of [`admin_router`]: the list that makes the router, for documents and tests that
/// must not miss one.
pub const ADMIN_ROUTES: &[AdminRoute] = &[
    AdminRoute {
        method: Method::GET,
        path: "/catalog",
        mount: |method| on(method, catalog::catalog),
        reads: Reads::Nothing,
    },
    AdminRoute {
        method: Method::GET,
        path: "/policy",
        mount: |method| on(method, policy::policy),
        reads: Reads::Nothing,
    },
    AdminRoute {
        method: Method::GET,
        path: "/credentials",
        mount: |method| on(method, credentials::list),
        reads: Reads::Query(|| describe(credentials::which_credentials)),
    },
    AdminRoute {
        method: Method::POST,
        path: "/credentials",
        mount: |method| on(method, credentials::create),
        reads: Reads::Body(|| describe(credentials::new_credential)),
    },
    AdminRoute {
        method: Method::POST,
        path: "/credentials/revoke-all",
        mount: |method| on(method, revoke::revoke_all),
        reads: Reads::Body(|| describe(revoke::confirmation)),
    },
    AdminRoute {
        method: Method::GET,
        path: "/credentials/{id}",
        mount: |method| on(method, credentials::get),
        reads: Reads::Nothing,
    },
    AdminRoute {
        method: Method::PATCH,
        path: "/credentials/{id}",
        mount: |method| on(method, credentials::update),
        reads: Reads::Body(|| describe(credentials::edit)),
    },
    AdminRoute {
        method: Method::DELETE,
        path: "/credentials/{id}",
        mount: |method| on(method, revoke::revoke),
        reads: Reads::Nothing,
    },
    AdminRoute {
        method: Method::PUT,
        path: "/credentials/{id}/scopes",
        mount: |method| on(method, credentials::set_scopes),
        reads: Reads::Body(|| describe(credentials::scopes)),
    },
    AdminRoute {
        method: Method::POST,
        path: "/credentials/{id}/scopes/preview",
        mount: |method| on(method, usage::preview),
        reads: Reads::Body(|| describe(credentials::scopes)),
    },
    AdminRoute {
        method: Method::GET,
        path: "/credentials/{id}/usage",
        mount: |method| on(method, usage::usage),
        reads: Reads::Query(|| describe(usage::which_days)),
    },
    AdminRoute {
        method: Method::GET,
        path: "/credentials/{id}/refusals",
        mount: |method| on(method, usage::refusals),
        reads: Reads::Nothing,
    },
    AdminRoute {
        method: Method::POST,
        path: "/credentials/{id}/disable",
        mount: |method| on(method, disable::disable),
        reads: Reads::Nothing,
    },
    AdminRoute {
        method: Method::POST,
        path: "/credentials/{id}/enable",
        mount: |method| on(method, disable::enable),
        reads: Reads::Nothing,
    },
    AdminRoute {
        method: Method::POST,
        path: "/credentials/{id}/secrets",
        mount: |method| on(method, secrets::rotate),
        reads: Reads::Body(|| describe(secrets::new_secret)),
    },
    AdminRoute {
        method: Method::DELETE,
        path: "/credentials/{id}/secrets/{selector}",
        mount: |method| on(method, secrets::end),
        reads: Reads::Nothing,
    },
    AdminRoute {
        method: Method::PUT,
        path: "/credentials/{id}/keys",
        mount: |method| on(method, proofs::set_keys),
        reads: Reads::Body(|| describe(proofs::keys)),
    },
    AdminRoute {
        method: Method::PUT,
        path: "/credentials/{id}/workloads",
        mount: |method| on(method, proofs::set_workloads),
        reads: Reads::Body(|| describe(proofs::workloads)),
    },
    AdminRoute {
        method: Method::GET,
        path: "/audit-events",
        mount: |method| on(method, audit::audit_events),
        reads: Reads::Query(|| describe(audit::which_events)),
    },
];

/// Admits admins, and passes their proof on as an extension.
async fn gate(State(gate): State<AdminGate>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    // No answer to a GET holds a secret.
    let may_shrink = parts.method == Method::GET && accepts_gzip(&parts.headers);
    let mut response = match gate.admit(&parts).await {
        Ok(admin) => {
            parts.extensions.insert(admin);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => {
            drop(body);
            problem.into_response()
        }
    };
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        hold().await;
    }
    if may_shrink {
        response = shrink(response).await;
    }
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    no_sniff(response).await
}

/// Admits a request to its route, before its body is read. What no route serves is not counted.
async fn begin(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    refuse_other_tenant(request.headers(), admin.tenant())?;
    // Each use case takes its own place.
    credentials.manage(&admin).begin_request()?;
    let mut response = next.run(request).await;
    // What a server adds may be a second old. A page has to tell from it whether a change holds everywhere
    // already, which is this clock's `effective_everywhere_at`.
    if let Some(date) = http_date(credentials.clock().now()) {
        response.headers_mut().insert(header::DATE, date);
    }
    Ok(response)
}

/// RFC 9110 §5.6.7 has dates of four-digit years, and its library none before 1970.
fn http_date(at: Timestamp) -> Option<HeaderValue> {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = u64::try_from(at.as_micros() / 1_000_000).ok()?;
    let at = (seconds < YEAR_10000).then(|| UNIX_EPOCH + Duration::from_secs(seconds))?;
    HeaderValue::try_from(httpdate::fmt_http_date(at)).ok()
}

#[derive(Clone)]
struct AdminGate {
    sign_in: Arc<dyn SignIn>,
}

impl AdminGate {
    async fn admit(&self, parts: &Parts) -> Result<TenantAdmin, Problem> {
        let actor = self.sign_in.actor(parts).await?;
        let actor = actor.ok_or_else(Problem::unauthenticated)?;
        refuse_cross_site(&parts.headers, &parts.method)?;
        actor.admin().map_err(|_| Problem::forbidden())
    }
}
