//! The scope guard: a layer that lets a call through only with a token for it.

mod decide;
mod names;
mod search;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::{OriginalUri, Request},
    response::Response,
};
use credential_core::{
    Credentials,
    catalog::{ApiType, Requirement, SearchForm},
};
use http::{Extensions, HeaderMap, Method, Uri, uri::PathAndQuery};
use tower::{Layer, Service};

pub(crate) use self::{
    decide::{Call, Decision, Denial, Policy},
    names::{CheckedNames, reads_as, starts_as},
};
use crate::error_body;

/// A layer that checks every call against one API type of the catalogue. Cheap to clone.
///
/// It decides on the URI as the client sent it, so it decides alike around a whole router, under
/// `nest` and on a single route. Handlers take [`Access`](crate::Access).
///
/// With `Router::route_layer` it checks every call that has a route. With `Router::layer` it also
/// guards the router's fallback, which `Router::merge` makes that of the whole app: every unknown
/// path of the host is then refused in place of a 404.
///
/// Layers outside of it see refused calls as well: put CORS there, whose preflights carry no
/// token. Nothing outside of it may change method or path.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    credentials: Credentials,
    api_type: Arc<ApiType>,
    names: Arc<CheckedNames>,
    fixed: Option<Requirement>,
}

/// Why there is no such [`Guard`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The catalogue has no API type of that id.
    #[error("the catalogue has no API type `{0}`")]
    UnknownApiType(String),
    /// The API type lists no scope of that name.
    #[error("the API type `{api_type}` has no scope `{scope}`")]
    UnknownScope {
        /// The guard's API type.
        api_type: String,
        /// The name as given.
        scope: String,
    },
}

impl Guard {
    /// A guard by the rules of an API type: method and path say which scope a call needs.
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
            fixed: None,
        })))
    }

    /// A guard for routes that need exactly this scope, wherever they are and whatever the
    /// method.
    ///
    /// # Errors
    /// `UnknownScope`.
    pub fn requires(&self, scope: &str) -> Result<Self, GuardError> {
        let rules = &*self.0;
        let requirement =
            rules
                .api_type
                .requires(scope)
                .ok_or_else(|| GuardError::UnknownScope {
                    api_type: rules.api_type.id().to_string(),
                    scope: scope.to_owned(),
                })?;
        Ok(Self(Arc::new(Rules {
            credentials: rules.credentials.clone(),
            api_type: Arc::clone(&rules.api_type),
            names: Arc::clone(&rules.names),
            fixed: Some(requirement),
        })))
    }

    /// The request to hand on, with its `Access` unless it is public.
    async fn check(&self, request: Request) -> Result<Request, Denial> {
        // Why in parts: a body is not `Sync`, and nothing of it may be borrowed while waiting.
        let (mut parts, body) = request.into_parts();
        let call = Call::sent(&parts.method, &parts.uri, &parts.headers, &parts.extensions);
        let policy = self.0.policy();
        let (decision, body) = if self.0.reads_body(call) {
            policy.search(call, body).await?
        } else {
            (policy.decide(call, SearchForm::None).await?, body)
        };
        hand_on(&mut parts.extensions, decision);
        Ok(Request::from_parts(parts, body))
    }

    /// The decision on a request, where nothing has to be waited for.
    fn check_now(&self, request: &Request) -> Option<Result<Decision, Denial>> {
        let (method, uri) = (request.method(), request.uri());
        let call = Call::sent(method, uri, request.headers(), request.extensions());
        if self.0.reads_body(call) {
            return None;
        }
        self.0.policy().decide_now(call, SearchForm::None)
    }
}

impl Rules {
    fn policy(&self) -> Policy<'_> {
        Policy {
            credentials: &self.credentials,
            api_type: &self.api_type,
            names: &self.names,
            fixed: self.fixed.as_ref(),
        }
    }

    fn reads_body(&self, call: Call<'_>) -> bool {
        self.fixed.is_none() && search::is_search(&self.api_type, call)
    }
}

/// Tells the handler who calls.
fn hand_on(extensions: &mut Extensions, decision: Decision) {
    if let Decision::Allowed(access) = decision {
        extensions.insert(access);
    }
}

impl<'a> Call<'a> {
    /// The call as its client sent it: `nest` takes its prefix off the request's own URI.
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
        // Why apart: a known token needs no future of its own, which would cost more than the check.
        match self.guard.check_now(&request) {
            Some(Ok(decision)) => {
                hand_on(request.extensions_mut(), decision);
                return GuardFuture::Checked {
                    future: self.inner.call(request),
                };
            }
            Some(Err(denial)) => {
                let refusal = error_body::refusal(&denial, &self.guard.0.api_type);
                return GuardFuture::Refused {
                    refusal: Some(refusal),
                };
            }
            None => {}
        }
        // The service that is ready goes with the call; its clone stays.
        let clone = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, clone);
        let guard = self.guard.clone();
        GuardFuture::Asking {
            future: Box::pin(async move {
                match guard.check(request).await {
                    Ok(request) => ready.call(request).await,
                    Err(denial) => Ok(error_body::refusal(&denial, &guard.0.api_type)),
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
            #[pin]
            future: F,
        },
        /// It did not.
        Refused {
            refusal: Option<Response>,
        },
        /// The store, or the body of a search, has a say.
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
            Project::Checked { future } => future.poll(context),
            Project::Asking { future } => future.as_mut().poll(context),
            // Asked again after its answer, which nobody does, it never answers.
            Project::Refused { refusal } => refusal
                .take()
                .map_or(Poll::Pending, |it| Poll::Ready(Ok(it))),
        }
    }
}
