//! The guard's decision for a gateway that asks before it passes a call on.

mod question;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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
    catalog::{ApiType, ApiTypeId, ErrorBody, SearchForm},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ALLOW, CACHE_CONTROL},
};

pub use self::question::ForwardAuthHeaders;
use self::question::{PATH, Question};
use crate::{
    guard::{Access, Call, Challenge, CheckedNames, Decision, Denial, Policy, error_body},
    problem::Problem,
};

const TENANT: HeaderName = HeaderName::from_static("x-credential-tenant");
const CLIENT_ID: HeaderName = HeaderName::from_static("x-credential-client-id");
const SCOPE: HeaderName = HeaderName::from_static("x-credential-scope");
const ON_BEHALF_OF: HeaderName = HeaderName::from_static("x-credential-on-behalf-of");

/// Why a call is refused, for gateways that show no bodies.
const ERROR: HeaderName = HeaderName::from_static("x-credential-error");

/// `GET /forward-auth`: 200 if the call in question may go on, else the guard's own refusal.
///
/// The 200 names the caller in `X-Credential-Tenant`, `X-Credential-Client-Id`,
/// `X-Credential-Scope` (what the token may do now, separated by spaces; up to some KiB) and
/// `X-Credential-On-Behalf-Of`. All four are always present, and empty where there is no value, as
/// for a public call. The gateway must pass them upstream in place of headers that the client sent
/// under those names. A question that has such a header itself is refused.
///
/// A refusal has its reason in `X-Credential-Error`. For nginx, which passes on no other status,
/// every 4xx but 401 is a 403.
///
/// The gateway must pass every header of the client to this endpoint, and must remove upstream any
/// header that it withheld, because that was not checked. It does not pass bodies, so a FHIR search
/// by POST needs read on everything. `docs/gateways.md` has a configuration for each gateway.
pub fn forward_auth_router<S>(credentials: &Credentials, headers: ForwardAuthHeaders) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let gate = Arc::new(ForwardAuth {
        names: CheckedNames::of_questions(credentials.catalog()),
        challenges: (credentials.catalog().api_types().iter())
            .map(|it| (it.id().clone(), Challenge::of(credentials, it)))
            .collect(),
        no_api_type: Challenge::of_no_api_type(),
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

struct ForwardAuth {
    credentials: Credentials,
    names: CheckedNames,
    challenges: BTreeMap<ApiTypeId, Challenge>,
    no_api_type: Challenge,
    family: ForwardAuthHeaders,
    /// Whether the warning of calls outside every API type was logged.
    told_outside: AtomicBool,
}

async fn method_not_allowed() -> Response {
    let allow = [(ALLOW, HeaderValue::from_static("GET,HEAD"))];
    (allow, Problem::method_not_allowed()).into_response()
}

async fn answer(State(gate): State<Arc<ForwardAuth>>, request: Request) -> Response {
    // Taken, not extracted: axum would copy them.
    let (parts, _) = request.into_parts();
    let question = Question {
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        extensions: parts.extensions,
    };
    gate.answer(&question).await
}

impl ForwardAuth {
    async fn answer(&self, question: &Question) -> Response {
        let (method, target) = match self.family.read(question) {
            Ok(call) => call,
            Err(denial) => return self.refusal(&denial, None),
        };
        let call = Call {
            method,
            target,
            headers: &question.headers,
            extensions: &question.extensions,
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
        let shape = api_type.map_or(ErrorBody::Problem, ApiType::error_body);
        let challenge = api_type.and_then(|it| self.challenges.get(it.id()));
        let challenge = challenge.unwrap_or(&self.no_api_type);
        let mut response = error_body::refusal(denial, shape, challenge);
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
            // Once, and without the path, which may have any content.
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
        // Ids and scopes are visible ASCII by construction. No answer is better than one without
        // the caller.
        tracing::error!("a caller cannot be described in headers");
        Denial::Unavailable
    })?;
    Ok(response)
}

/// All four are always set, or a gateway would leave the client's own in place.
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
