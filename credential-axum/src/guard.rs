//! The scope guard: a layer that lets a call through only with a token for it.

mod decide;
mod search;

use std::{
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
use http::{Uri, request::Parts, uri::PathAndQuery};
use tower::{Layer, Service};

pub(crate) use self::decide::{Call, Decision, Denial, Policy};
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
            fixed: Some(requirement),
        })))
    }

    /// The request to hand on, with its `Access` unless it is public.
    async fn check(&self, request: Request) -> Result<Request, Denial> {
        let rules = &*self.0;
        let policy = Policy {
            credentials: &rules.credentials,
            api_type: &rules.api_type,
            fixed: rules.fixed.as_ref(),
        };
        // Why in parts: a body is not `Sync`, and nothing of it may be borrowed while waiting.
        let (mut parts, body) = request.into_parts();
        let call = call(&parts);
        let (decision, body) = if rules.fixed.is_none() && search::is_search(&rules.api_type, call)
        {
            policy.search(call, body).await?
        } else {
            (policy.decide(call, SearchForm::None).await?, body)
        };
        if let Decision::Allowed(access) = decision {
            parts.extensions.insert(access);
        }
        Ok(Request::from_parts(parts, body))
    }
}

/// The call as its client sent it: `nest` takes its prefix off the request's own URI.
fn call(parts: &Parts) -> Call<'_> {
    let uri: &Uri = match parts.extensions.get::<OriginalUri>() {
        Some(OriginalUri(original)) => original,
        None => &parts.uri,
    };
    Call {
        method: parts.method.as_str(),
        target: uri.path_and_query().map_or("", PathAndQuery::as_str),
        headers: &parts.headers,
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
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The service that is ready goes with the call; its clone stays.
        let clone = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, clone);
        let guard = self.guard.clone();
        Box::pin(async move {
            match guard.check(request).await {
                Ok(request) => ready.call(request).await,
                Err(denial) => Ok(error_body::refusal(&denial, &guard.0.api_type)),
            }
        })
    }
}
