//! The host's sign-in, as a trait.

use std::error::Error;

use async_trait::async_trait;
use credential_core::{actor::Actor, log_limit::LogLimit};
use http::request::Parts;

/// The host's sign-in: it names the actor of a request, with tenant and role.
///
/// Called once per request of the admin API, before anything else. `parts.uri` is
/// what the router sees; behind `Router::nest` the address as sent is in the extension
/// [`OriginalUri`](axum::extract::OriginalUri).
#[async_trait]
pub trait SignIn: Send + Sync + 'static {
    /// The signed-in actor, or `None` if nobody is signed in.
    ///
    /// # Errors
    /// [`SignInError`] if the sign-in could not be checked: 503, and the source is logged.
    async fn actor(&self, parts: &Parts) -> Result<Option<Actor>, SignInError>;
}

/// The sign-in could not be checked, for example because the session store is down.
#[derive(Debug, thiserror::Error)]
#[error("could not check who is signed in")]
pub struct SignInError(#[source] Box<dyn Error + Send + Sync>);

impl SignInError {
    /// Wraps the host's own error, or a text. It is logged, never sent.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }

    /// Logs at a bounded rate: if the sign-in's store is down, every request ends here.
    pub(crate) fn log(&self) {
        static LOGGED: LogLimit = LogLimit::new();
        if let Some(unlogged) = LOGGED.is_due() {
            tracing::error!(
                error = self as &dyn Error,
                unlogged,
                "sign-in gave no verdict"
            );
        }
    }
}
