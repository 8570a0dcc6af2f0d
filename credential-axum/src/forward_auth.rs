//! The guard's decision for a gateway that asks before it passes a call on.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use credential_core::{
    Credentials,
    catalog::{ApiType, SearchForm},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ALLOW, CACHE_CONTROL},
};

use crate::{
    access::Access,
    error_body,
    guard::{Call, Decision, Denial, Policy},
    problem::Problem,
};

const TENANT: HeaderName = HeaderName::from_static("x-credential-tenant");
const CLIENT_ID: HeaderName = HeaderName::from_static("x-credential-client-id");
const SCOPE: HeaderName = HeaderName::from_static("x-credential-scope");
const ON_BEHALF_OF: HeaderName = HeaderName::from_static("x-credential-on-behalf-of");

/// In which headers the gateway says what the client asked for.
///
/// A client may send such headers too. So the gateway must set those of its own family on every
/// question, and a header of the other family, which it would not touch, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardAuthHeaders {
    /// `X-Forwarded-Method` and `X-Forwarded-Uri`: Traefik, Caddy.
    XForwarded,
    /// `X-Original-Method` and `X-Original-URI`: nginx `auth_request`.
    XOriginal,
}

impl ForwardAuthHeaders {
    const FORWARDED: [&'static str; 2] = ["x-forwarded-method", "x-forwarded-uri"];
    const ORIGINAL: [&'static str; 2] = ["x-original-method", "x-original-uri"];

    /// Method and target of the call in question.
    fn read(self, headers: &HeaderMap) -> Result<(&str, &str), Denial> {
        let ([method, target], others) = match self {
            Self::XForwarded => (Self::FORWARDED, Self::ORIGINAL),
            Self::XOriginal => (Self::ORIGINAL, Self::FORWARDED),
        };
        if let Some(other) = others.into_iter().find(|name| headers.contains_key(*name)) {
            return Err(Denial::bad_request(format!(
                "`{other}` is not accepted here"
            )));
        }
        let method = exactly_one(headers, method)?;
        if Method::from_bytes(method.as_bytes()).is_err() {
            return Err(Denial::bad_request("the method is not an HTTP method"));
        }
        Ok((method, exactly_one(headers, target)?))
    }
}

fn exactly_one<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Denial> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    match (value, values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(Denial::bad_request(format!(
            "`{name}` must be there exactly once"
        ))),
    }
}

/// `GET /forward-auth`: 200 if the call in question may go on, else the guard's own refusal.
///
/// The 200 names the caller in `X-Credential-Tenant`, `X-Credential-Client-Id`,
/// `X-Credential-Scope` (what the token may do now, separated by spaces; up to some KiB) and, if
/// the call names a user, `X-Credential-On-Behalf-Of`. A public call gets none of them. The
/// gateway must pass them upstream in place of whatever the client sent under those names.
///
/// A gateway does not show bodies, so a FHIR search by POST needs read on everything.
pub fn forward_auth_router(credentials: &Credentials, headers: ForwardAuthHeaders) -> Router {
    let gate = Arc::new(Gate {
        credentials: credentials.clone(),
        family: headers,
    });
    Router::new()
        .route("/forward-auth", get(answer).fallback(method_not_allowed))
        .with_state(gate)
}

struct Gate {
    credentials: Credentials,
    family: ForwardAuthHeaders,
}

async fn method_not_allowed() -> Response {
    let allow = [(ALLOW, HeaderValue::from_static("GET,HEAD"))];
    (allow, Problem::method_not_allowed()).into_response()
}

async fn answer(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    // Taken, not extracted: axum would copy them.
    let headers = request.into_parts().0.headers;
    let (method, target) = match gate.family.read(&headers) {
        Ok(call) => call,
        Err(denial) => return error_body::refusal_without_api_type(&denial),
    };
    let call = Call {
        method,
        target,
        headers: &headers,
    };
    let Some(api_type) = gate.credentials.catalog().api_type_of_path(target) else {
        return error_body::refusal_without_api_type(&gate.nobodys(call));
    };
    let decided = gate.policy(api_type).decide(call, SearchForm::Unseen).await;
    match decided.and_then(|decision| allowed(&decision)) {
        Ok(response) => response,
        Err(denial) => error_body::refusal(&denial, api_type),
    }
}

impl Gate {
    fn policy<'a>(&'a self, api_type: &'a ApiType) -> Policy<'a> {
        Policy {
            credentials: &self.credentials,
            api_type,
            fixed: None,
        }
    }

    /// Why a call outside of every API type is refused: for its path, which any API type's rules
    /// look at first, or because it is outside.
    fn nobodys(&self, call: Call<'_>) -> Denial {
        let mut api_types = self.credentials.catalog().api_types().iter();
        api_types
            .next()
            .and_then(|any| self.policy(any).requirement(call, SearchForm::None).err())
            .unwrap_or(Denial::InsufficientScope {
                needed: String::new(),
            })
    }
}

fn allowed(decision: &Decision) -> Result<Response, Denial> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.reserve(5);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Decision::Allowed(access) = decision {
        describe(access, headers).map_err(|_| {
            // Ids and scopes are visible ASCII by construction. Better no answer than one that
            // leaves out who calls.
            tracing::error!("a caller cannot be described in headers");
            Denial::Unavailable
        })?;
    }
    Ok(response)
}

fn describe(
    access: &Access,
    headers: &mut HeaderMap,
) -> Result<(), http::header::InvalidHeaderValue> {
    headers.insert(TENANT, HeaderValue::from_str(access.tenant().as_str())?);
    headers.insert(
        CLIENT_ID,
        HeaderValue::from_str(access.client_id().as_str())?,
    );
    headers.insert(SCOPE, HeaderValue::from_str(&access.scope())?);
    if let Some(user) = access.on_behalf_of() {
        headers.insert(ON_BEHALF_OF, HeaderValue::from_str(user)?);
    }
    Ok(())
}
