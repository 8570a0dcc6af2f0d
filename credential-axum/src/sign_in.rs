//! How the host tells us who is signed in.

use std::error::Error;

use async_trait::async_trait;
use credential_core::{actor::Actor, log_limit::LogLimit};
use http::request::Parts;

/// The host's sign-in: who makes this request, and in which tenant and role.
///
/// Asked once per request of the admin API, before anything else is looked at. `parts.uri` is
/// what the router sees; behind `Router::nest` the address as sent is in the extension
/// [`OriginalUri`](axum::extract::OriginalUri).
#[async_trait]
pub trait SignIn: Send + Sync + 'static {
    /// The signed-in actor, or `None` if nobody is signed in.
    ///
    /// # Errors
    /// [`SignInError`] if that could not be found out: 503, and the source is logged.
    async fn actor(&self, parts: &Parts) -> Result<Option<Actor>, SignInError>;
}

/// Who is signed in could not be found out, for example because the session store is down.
#[derive(Debug, thiserror::Error)]
#[error("could not find out who is signed in")]
pub struct SignInError(#[source] Box<dyn Error + Send + Sync>);

impl SignInError {
    /// Wraps the host's own error, or a text. It is logged, never sent.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }

    /// Logs it, seldom: what a sign-in needs may be down, and then every request ends here.
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
