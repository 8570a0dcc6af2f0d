//! The guard's decision for a gateway that asks before it passes a call on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use credential_core::{
    Credentials,
    catalog::{ApiType, SearchForm},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ALLOW, CACHE_CONTROL},
    uri::PathAndQuery,
};

use crate::{
    access::Access,
    error_body,
    guard::{Call, CheckedNames, Decision, Denial, Policy, reads_as, starts_as},
    problem::Problem,
};

const PATH: &str = "/forward-auth";
/// What every header of ours begins with. A client may send none of that kind.
const OURS: &str = "x-credential-";
const TENANT: HeaderName = HeaderName::from_static("x-credential-tenant");
const CLIENT_ID: HeaderName = HeaderName::from_static("x-credential-client-id");
const SCOPE: HeaderName = HeaderName::from_static("x-credential-scope");
const ON_BEHALF_OF: HeaderName = HeaderName::from_static("x-credential-on-behalf-of");

/// Why a call is refused, for gateways that show no bodies.
const ERROR: HeaderName = HeaderName::from_static("x-credential-error");

/// How the gateway says what the client asked for.
///
/// A client may send such headers too. So the gateway must set those of its own family on every
/// question, and a header of another family, which it would not touch, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardAuthHeaders {
    /// `X-Forwarded-Method` and `X-Forwarded-Uri`: Traefik, Caddy.
    XForwarded,
    /// `X-Original-Method` and `X-Original-URI`: nginx `auth_request`.
    XOriginal,
    /// `X-Original-Method` and `X-Original-URL`, the whole URL: ingress-nginx.
    XOriginalUrl,
    /// No headers: the question has the method of the call, and its path below `/forward-auth`:
    /// Envoy's `ext_authz`. What stands behind a `#` in it is not seen, so the gateway must refuse it.
    Path,
}

impl ForwardAuthHeaders {
    const EVERY: [&'static str; 5] = [
        "x-forwarded-method",
        "x-forwarded-uri",
        "x-original-method",
        "x-original-uri",
        "x-original-url",
    ];

    /// The names of the family's own headers: method, then target.
    fn own(self) -> Option<[&'static str; 2]> {
        let [forwarded_method, forwarded_uri, original_method, uri, url] = Self::EVERY;
        match self {
            Self::XForwarded => Some([forwarded_method, forwarded_uri]),
            Self::XOriginal => Some([original_method, uri]),
            Self::XOriginalUrl => Some([original_method, url]),
            Self::Path => None,
        }
    }

    /// Method and target of the call in question.
    ///
    /// # Errors
    /// `BadRequest` for headers that only a client can have sent, and for what the gateway should
    /// have sent.
    fn read(self, request: &Question) -> Result<(&str, &str), Denial> {
        let headers = &request.headers;
        self.refuse_foreign(headers)?;
        let Some([method, target]) = self.own() else {
            return Ok((request.method.as_str(), request.target()));
        };
        let method = exactly_one(headers, method)?;
        if Method::from_bytes(method.as_bytes()).is_err() {
            return Err(Denial::bad_request("the method is not an HTTP method"));
        }
        let target = exactly_one(headers, target)?;
        if self == Self::XOriginalUrl {
            return Ok((method, target_of_url(target)?));
        }
        Ok((method, target))
    }

    fn refuse_foreign(self, headers: &HeaderMap) -> Result<(), Denial> {
        let own = self.own().unwrap_or_default();
        let foreign = headers.keys().find(|name| {
            let name = name.as_str();
            let families = || Self::EVERY.iter().any(|known| reads_as(name, known));
            starts_as(name, OURS) || (!own.contains(&name) && families())
        });
        match foreign.map(HeaderName::as_str) {
            // What a client sends is not repeated at any length.
            Some(name) if name.len() > 64 => Err(Denial::bad_request(
                "a header that only the gateway may send is not accepted here",
            )),
            Some(name) => Err(Denial::bad_request(format!(
                "the header `{name}` is not accepted here"
            ))),
            None => Ok(()),
        }
    }

    /// The answer that the family's gateway passes on: `auth_request` of nginx knows 2xx, 401 and
    /// 403, and makes a 500 of anything else. It makes one of 503 as well, which is not the
    /// client's fault and stays what it is.
    fn passed_on(self, status: StatusCode) -> StatusCode {
        match self {
            Self::XOriginal | Self::XOriginalUrl
                if status.is_client_error() && status != StatusCode::UNAUTHORIZED =>
            {
                StatusCode::FORBIDDEN
            }
            _ => status,
        }
    }
}

/// Path and query of an absolute URL, as they stand there. The host is the client's own `Host`,
/// so nothing of it may be taken for a path.
fn target_of_url(url: &str) -> Result<&str, Denial> {
    let after_scheme = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let is_host = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
    };
    after_scheme
        .and_then(|rest| {
            let (host, target) = rest.split_at(rest.find('/')?);
            (!host.is_empty() && host.bytes().all(is_host)).then_some(target)
        })
        .ok_or(Denial::bad_request(
            "`X-Original-URL` must be an http or https URL with a host and a path",
        ))
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
/// `X-Credential-Scope` (what the token may do now, separated by spaces; up to some KiB) and
/// `X-Credential-On-Behalf-Of`. All four are always there, empty where there is nothing to say, as for
/// a public call. The gateway must pass them upstream in place of whatever the client sent under
/// those names; a question that carries such a header itself is refused.
///
/// A refusal says its reason in `X-Credential-Error`. Towards nginx, which knows no other, every
/// refusal of the client's fault but 401 is a 403.
///
/// The gateway must pass on every header of the client, or remove on the way upstream what it kept
/// back: what is not shown here was not checked. It does not show bodies, so a FHIR search by POST
/// needs read on everything. `docs/gateways.md` has a configuration for each gateway.
pub fn forward_auth_router<S>(credentials: &Credentials, headers: ForwardAuthHeaders) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let gate = Arc::new(Gate {
        names: CheckedNames::of(credentials.catalog()),
        credentials: credentials.clone(),
        family: headers,
        told_outside: AtomicBool::new(false),
    });
    let mut router = Router::new();
    if headers == ForwardAuthHeaders::Path {
        router = router
            .route(PATH, any(answer))
            .route(&format!("{PATH}/"), any(answer))
            .route(&format!("{PATH}/{{*target}}"), any(answer));
    } else {
        router = router.route(PATH, get(answer).fallback(method_not_allowed));
    }
    router.with_state(gate)
}

/// What the gateway sent, without its body.
struct Question {
    method: Method,
    /// Without what a `nest` took off.
    uri: http::Uri,
    headers: HeaderMap,
}

impl Question {
    /// Path and query below `/forward-auth`.
    fn target(&self) -> &str {
        let all = self.uri.path_and_query().map_or("", PathAndQuery::as_str);
        all.strip_prefix(PATH).unwrap_or_default()
    }
}

struct Gate {
    credentials: Credentials,
    names: CheckedNames,
    family: ForwardAuthHeaders,
    /// Whether it was said that calls are outside of every API type.
    told_outside: AtomicBool,
}

async fn method_not_allowed() -> Response {
    let allow = [(ALLOW, HeaderValue::from_static("GET,HEAD"))];
    (allow, Problem::method_not_allowed()).into_response()
}

async fn answer(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    // Taken, not extracted: axum would copy them.
    let (parts, _) = request.into_parts();
    let question = Question {
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
    };
    gate.answer(&question).await
}

impl Gate {
    async fn answer(&self, question: &Question) -> Response {
        let (method, target) = match self.family.read(question) {
            Ok(call) => call,
            Err(denial) => return self.refusal(&denial, None),
        };
        let call = Call {
            method,
            target,
            headers: &question.headers,
        };
        let Some(api_type) = self.credentials.catalog().api_type_of_path(target) else {
            return self.refusal(&self.nobodys(call), None);
        };
        let decided = self.policy(api_type).decide(call, SearchForm::Unseen).await;
        match decided.and_then(|decision| allowed(&decision)) {
            Ok(response) => response,
            Err(denial) => self.refusal(&denial, Some(api_type)),
        }
    }

    fn refusal(&self, denial: &Denial, api_type: Option<&ApiType>) -> Response {
        let mut response = match api_type {
            Some(api_type) => error_body::refusal(denial, api_type),
            None => error_body::refusal_without_api_type(denial),
        };
        *response.status_mut() = self.family.passed_on(response.status());
        if let Ok(reason) = HeaderValue::try_from(denial.to_string()) {
            response.headers_mut().insert(ERROR, reason);
        }
        response
    }

    fn policy<'a>(&'a self, api_type: &'a ApiType) -> Policy<'a> {
        Policy {
            credentials: &self.credentials,
            api_type,
            names: &self.names,
            fixed: None,
        }
    }

    /// Why a call outside of every API type is refused: for its path, which any API type's rules
    /// look at first, or because it is outside.
    fn nobodys(&self, call: Call<'_>) -> Denial {
        let mut api_types = self.credentials.catalog().api_types().iter();
        let fault = api_types
            .next()
            .and_then(|any| self.policy(any).locate(call).err());
        fault.unwrap_or_else(|| {
            // Once, and without the path, which could be anything.
            if !self.told_outside.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "a gateway asked about a call below no API type's base path, which is refused: \
                     it must ask about the path that the client sent, as the catalogue has it"
                );
            }
            Denial::InsufficientScope {
                needed: String::new(),
            }
        })
    }
}

fn allowed(decision: &Decision) -> Result<Response, Denial> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.reserve(6);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let caller = match decision {
        Decision::Public => None,
        Decision::Allowed(access) => Some(access),
    };
    describe(caller, headers).map_err(|_| {
        // Ids and scopes are visible ASCII by construction. Better no answer than one that
        // leaves out who calls.
        tracing::error!("a caller cannot be described in headers");
        Denial::Unavailable
    })?;
    Ok(response)
}

/// All four are always there, or a gateway would leave the client's own in place.
fn describe(
    caller: Option<&Access>,
    headers: &mut HeaderMap,
) -> Result<(), http::header::InvalidHeaderValue> {
    let scope = caller.map(|access| access.scope());
    for (name, value) in [
        (TENANT, caller.map(|access| access.tenant().as_str())),
        (CLIENT_ID, caller.map(|access| access.client_id().as_str())),
        (SCOPE, scope.as_deref()),
        (ON_BEHALF_OF, caller.and_then(Access::on_behalf_of)),
    ] {
        headers.insert(name, HeaderValue::from_str(value.unwrap_or_default())?);
    }
    Ok(())
}
