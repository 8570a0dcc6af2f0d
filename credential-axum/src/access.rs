//! What a handler behind a guard learns about its caller.

use std::{convert::Infallible, ops::Deref, sync::Arc};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use credential_core::catalog::Requirement;
use http::{StatusCode, request::Parts};

use crate::problem::Problem;

/// A call that a [`Guard`](crate::Guard) let through: whose it is and what it may do.
///
/// Take it as an argument of a handler; `Option<Access>` where the guard lets calls through
/// without a token, since routes may be public. Everything of [`credential_core::Access`] is here
/// as well, such as `tenant()` and `has_scope()`.
#[derive(Debug, Clone)]
pub struct Access {
    verified: credential_core::Access,
    requirement: Requirement,
    on_behalf_of: Option<Arc<str>>,
}

impl Access {
    pub(crate) fn new(
        verified: credential_core::Access,
        requirement: Requirement,
        on_behalf_of: Option<&str>,
    ) -> Self {
        Self {
            verified,
            requirement,
            on_behalf_of: on_behalf_of.map(Into::into),
        }
    }

    /// The user that the client says it acts for, in the form that the API type lists. The token
    /// was found to allow that; whether there is such a user is for the host to check.
    #[must_use]
    pub fn on_behalf_of(&self) -> Option<&str> {
        self.on_behalf_of.as_deref()
    }

    /// The scopes that this call needed, separated by spaces.
    #[must_use]
    pub fn required_scope(&self) -> String {
        self.verified.api_type().describe(&self.requirement)
    }
}

impl Deref for Access {
    type Target = credential_core::Access;

    fn deref(&self) -> &credential_core::Access {
        &self.verified
    }
}

/// Refused with 500 and a log event if no guard let the call through: the handler is mounted
/// without one, or its route is public.
impl<S: Sync> FromRequestParts<S> for Access {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(|| {
            tracing::error!(
                path = parts.uri.path(),
                "a handler asks for `Access`, but no guard checked the call: mount the handler \
                 behind a `Guard`, or take `Option<Access>` on public routes"
            );
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "not_guarded",
                "Server misconfigured",
                "The server is misconfigured: this address is not behind its guard.",
            )
        })
    }
}

/// `None` on public routes.
impl<S: Sync> OptionalFromRequestParts<S> for Access {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}
