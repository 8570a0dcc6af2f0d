//! The scope guard: a layer that lets a call through only with a token for it.

mod access;
mod challenge;
mod decide;
mod denial;
mod ending;
pub(crate) mod error_body;
mod header_names;
mod search;

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    extract::{MatchedPath, OriginalUri, Request},
    response::Response,
};
use credential_core::{
    Credentials,
    catalog::{ApiType, Requirement, SearchForm, UnknownScope},
};
use http::{Extensions, HeaderMap, HeaderValue, Method, Uri, uri::PathAndQuery};
use tower::{Layer, Service};

pub use self::{
    access::{Access, AccessRejection},
    error_body::CallRefused,
};
pub(crate) use self::{
    challenge::Challenge,
    decide::{Call, Decision, Policy},
    denial::Denial,
    header_names::{CheckedNames, reads_as, starts_as},
};
use crate::client_address::Caller;

/// A layer that checks every call against one API type of the catalogue. Cheap to clone.
///
/// It decides on the URI as the client sent it. The decision is therefore the same around a whole
/// router, under `nest` and on a single route. Handlers take [`Access`](crate::Access).
///
/// With `Router::route_layer` it checks every call that has a route. With `Router::layer` it also
/// guards the router's fallback, which `Router::merge` turns into that of the whole app: every
/// unknown path of the host is then refused instead of a 404.
///
/// Layers outside it also see refused calls. They must not change method or path. CORS belongs
/// there, because a browser's preflight carries no token and a page can read a refusal only with
/// CORS headers:
///
/// ```
/// use axum::{Router, routing::get};
/// use credential_axum::{Access, Guard};
/// # use axum::body::Body;
/// # use credential_core::{Credentials, ScopeCatalog, entropy::OsEntropy, secret::keyring::Keyring};
/// # use credential_store_memory::MemoryStore;
/// use http::{Method, header};
/// # use http::{Request, StatusCode};
/// # use tower::ServiceExt;
/// use tower_http::cors::CorsLayer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let credentials = Credentials::builder(MemoryStore::new())
/// #     .catalog(ScopeCatalog::elation())
/// #     .keyring(Keyring::generate(&OsEntropy))
/// #     .build()?;
/// let cors = CorsLayer::new()
///     .allow_origin(["https://app.example".parse()?])
///     .allow_methods([Method::GET, Method::POST])
///     .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
///     .expose_headers([header::WWW_AUTHENTICATE]);
/// let app: Router = Router::new()
///     .route("/api/2.0/patients/{id}", get(async |_: Access| "one patient"))
///     .route_layer(Guard::new(&credentials, "apiv2")?)
///     .layer(cors); // after the guard: outside of it
/// # let preflight = Request::options("/api/2.0/patients/1")
/// #     .header("origin", "https://app.example")
/// #     .header("access-control-request-method", "GET")
/// #     .header("access-control-request-headers", "authorization")
/// #     .body(Body::empty())?;
/// # let answer = app.clone().oneshot(preflight).await?;
/// # assert_eq!(answer.status(), StatusCode::OK);
/// # assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
/// # assert_eq!(answer.headers()["access-control-allow-headers"], "authorization,content-type");
/// # let call = Request::get("/api/2.0/patients/1")
/// #     .header("origin", "https://app.example")
/// #     .body(Body::empty())?;
/// # let answer = app.oneshot(call).await?;
/// # assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
/// # assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
/// # assert_eq!(answer.headers()["access-control-expose-headers"], "www-authenticate");
/// # Ok(())
/// # }
/// ```
///
/// A host that answers OPTIONS itself lists it as public in the catalogue (`method = "OPTIONS"`,
/// `path = "/{*rest}"`, `public = true`).
#[derive(Debug, Clone)]
pub struct Guard(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    credentials: Credentials,
    api_type: Arc<ApiType>,
    names: Arc<CheckedNames>,
    challenge: Arc<Challenge>,
    fixed: Option<Requirement>,
    /// Whether the warning of calls outside the base path was logged.
    told_outside: AtomicBool,
}

/// Why there is no such [`Guard`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The catalogue has no API type of that id.
    #[error("the catalogue has no API type `{0}`")]
    UnknownApiType(String),
    /// The API type lists no scope of that name.
    #[error(transparent)]
    UnknownScope(#[from] UnknownScope),
}

impl Guard {
    /// A guard by the rules of an API type: method and path decide which scope a call needs.
    ///
    /// # Errors
    /// `UnknownApiType`.
    pub fn new(credentials: &Credentials, api_type: &str) -> Result<Self, GuardError> {
        let found = credentials
            .catalog()
            .api_type(api_type)
            .ok_or_else(|| GuardError::UnknownApiType(api_type.to_owned()))?;
        Ok(Self(Arc::new(Rules {
            credentials: credentials.clone(),
            api_type: Arc::clone(found),
            names: Arc::new(CheckedNames::of(credentials.catalog())),
            challenge: Arc::new(Challenge::of(credentials, found)),
            fixed: None,
            told_outside: AtomicBool::new(false),
        })))
    }

    /// A guard for routes that need exactly this scope, wherever they are and whatever the
    /// method.
    ///
    /// Inside another guard it is a second decision: the call needs both, and is counted by both, each by the scope that it
    /// asks for. Where the total matters, let one guard decide.
    ///
    /// # Errors
    /// `UnknownScope`.
    pub fn requires(&self, scope: &str) -> Result<Self, GuardError> {
        let rules = &*self.0;
        let requirement = rules.api_type.requires(scope)?;
        Ok(Self(Arc::new(Rules {
            credentials: rules.credentials.clone(),
            api_type: Arc::clone(&rules.api_type),
            names: Arc::clone(&rules.names),
            challenge: Arc::clone(&rules.challenge),
            fixed: Some(requirement),
            told_outside: AtomicBool::new(false),
        })))
    }

    /// The request to pass on, with its `Access` unless it is public, and what its answer announces.
    async fn check(&self, request: Request) -> Result<(Request, Option<HeaderValue>), Denial> {
        // Why in parts: a body is not `Sync`, so it must not be borrowed across an await.
        let (mut parts, body) = request.into_parts();
        let call = Call::sent(&parts.method, &parts.uri, &parts.headers, &parts.extensions);
        let policy = self.0.policy();
        let decided = if self.0.reads_body(call) {
            policy.search(call, body).await
        } else {
            let decided = policy.decide(call, SearchForm::None).await;
            decided.map(|decision| (decision, body))
        };
        let (decision, body) =
            decided.inspect_err(|_| self.0.tell_if_outside(call, &parts.extensions))?;
        let ends = ending::announced(&decision);
        self.hand_on(&mut parts.extensions, decision);
        Ok((Request::from_parts(parts, body), ends))
    }

    /// The decision on a request, if it needs no waiting.
    fn check_now(&self, request: &Request) -> Option<Result<Decision, Denial>> {
        let (method, uri) = (request.method(), request.uri());
        let call = Call::sent(method, uri, request.headers(), request.extensions());
        if self.0.reads_body(call) {
            return None;
        }
        let decided = self.0.policy().decide_now(call, SearchForm::None)?;
        Some(decided.inspect_err(|_| self.0.tell_if_outside(call, request.extensions())))
    }

    /// Gives the handler the caller, or the means to find out.
    fn hand_on(&self, extensions: &mut Extensions, decision: Decision) {
        match decision {
            Decision::Allowed(access) => {
                extensions.insert(access);
            }
            Decision::Public => {
                extensions.insert(PublicCall(self.clone()));
            }
        }
    }
}

/// A call that needs no token. A token is verified only if the handler asks for `Access`.
#[derive(Debug, Clone)]
pub(crate) struct PublicCall(Guard);

impl PublicCall {
    /// The caller, if there is a token.
    ///
    /// # Errors
    /// As [`Policy::volunteer`].
    pub(crate) async fn caller(&self, caller: Caller<'_>) -> Result<Option<Access>, Denial> {
        self.0.0.policy().volunteer(caller).await
    }

    pub(crate) fn refusal(&self, denial: &Denial) -> Response {
        self.0.0.refusal(denial)
    }
}

impl Rules {
    fn refusal(&self, denial: &Denial) -> Response {
        error_body::refusal(denial, self.api_type.error_body(), &self.challenge)
    }

    fn policy(&self) -> Policy<'_> {
        Policy {
            credentials: &self.credentials,
            api_type: &self.api_type,
            names: &self.names,
            fixed: self.fixed.as_ref(),
        }
    }

    /// Logs once that a refused call was outside this API type. The route is named, which is the
    /// host's own, but not the path, which may have any content.
    fn tell_if_outside(&self, call: Call<'_>, extensions: &Extensions) {
        if self.fixed.is_some() || self.api_type.covers(call.target) {
            return;
        }
        if !self.told_outside.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                api_type = self.api_type.id().as_str(),
                base_path = self.api_type.base_path(),
                route = extensions.get::<MatchedPath>().map(MatchedPath::as_str),
                "a call from outside of the base path reached this guard, which refuses all of \
                 them: mount it where the catalogue's `base_path` says, or use \
                 `Guard::requires` for this route"
            );
        }
    }

    fn reads_body(&self, call: Call<'_>) -> bool {
        self.fixed.is_none() && search::is_search(&self.api_type, call)
    }
}

impl<'a> Call<'a> {
    /// The call as the client sent it: `nest` removes its prefix from the request's URI.
    fn sent(
        method: &'a Method,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        extensions: &'a Extensions,
    ) -> Self {
        let uri = match extensions.get::<OriginalUri>() {
            Some(OriginalUri(original)) => original,
            None => uri,
        };
        Self {
            method: method.as_str(),
            target: uri.path_and_query().map_or("", PathAndQuery::as_str),
            headers,
            extensions,
        }
    }
}

impl<S> Layer<S> for Guard {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> GuardService<S> {
        GuardService {
            inner,
            guard: self.clone(),
        }
    }
}

/// A service behind a [`Guard`].
#[derive(Debug, Clone)]
pub struct GuardService<S> {
    inner: S,
    guard: Guard,
}

impl<S> Service<Request> for GuardService<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = GuardFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // Why a separate path: a future of its own would cost more than the check of a known token.
        match self.guard.check_now(&request) {
            Some(Ok(decision)) => {
                let ends = ending::announced(&decision);
                self.guard.hand_on(request.extensions_mut(), decision);
                return GuardFuture::Checked {
                    ends,
                    future: self.inner.call(request),
                };
            }
            Some(Err(denial)) => {
                let refusal = self.guard.0.refusal(&denial);
                return GuardFuture::Refused {
                    refusal: Some(refusal),
                };
            }
            None => {}
        }
        // The call takes the service that is ready, and a clone stays.
        let clone = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, clone);
        let guard = self.guard.clone();
        GuardFuture::Asking {
            future: Box::pin(async move {
                match guard.check(request).await {
                    Ok((request, ends)) => {
                        let answer = ready.call(request).await;
                        answer.map(|answer| ending::announce(ends.as_ref(), answer))
                    }
                    Err(denial) => Ok(guard.0.refusal(&denial)),
                }
            }),
        }
    }
}

pin_project_lite::pin_project! {
    /// The answer of a [`GuardService`].
    #[project = Project]
    pub enum GuardFuture<F, E> {
        /// The call went on.
        Checked {
            ends: Option<HeaderValue>,
            #[pin]
            future: F,
        },
        /// The call was refused.
        Refused {
            refusal: Option<Response>,
        },
        /// The decision needs the store, or the body of a search.
        Asking {
            future: Pin<Box<dyn Future<Output = Result<Response, E>> + Send>>,
        },
    }
}

impl<F, E> fmt::Debug for GuardFuture<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardFuture").finish_non_exhaustive()
    }
}

impl<F, E> Future for GuardFuture<F, E>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Project::Checked { ends, future } => future
                .poll(context)
                .map_ok(|answer| ending::announce(ends.as_ref(), answer)),
            Project::Asking { future } => future.as_mut().poll(context),
            // Asked again after its answer, which nobody does, it never answers.
            Project::Refused { refusal } => refusal
                .take()
                .map_or(Poll::Pending, |it| Poll::Ready(Ok(it))),
        }
    }
}
