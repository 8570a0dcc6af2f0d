//! What a handler behind a guard learns about its caller.

use std::{ops::Deref, sync::Arc};

use axum::{
    extract::{FromRequestParts, MatchedPath, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use credential_core::catalog::Requirement;
use http::{StatusCode, request::Parts};

use super::{PublicCall, denial::Denial};
use crate::{client_address::Caller, problem::Problem};

/// A call that a [`Guard`](crate::Guard) let through: its caller, and what it may do.
///
/// Take it as an argument of a handler. On a route that the catalogue lists as public, a handler may take
/// `Option<Access>`: then a token is welcome and not needed. Everything of [`credential_core::Access`] is here
/// as well, such as `tenant()` and `permits()`.
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

    /// The user for whom the client acts, in the form that the API type lists. The token allows
    /// that; the host must check that the user exists.
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

impl Access {
    /// The caller, for a handler that asks for it.
    ///
    /// # Errors
    /// [`AccessRejection`]
    async fn of(parts: &Parts) -> Result<Option<Self>, AccessRejection> {
        if let Some(access) = parts.extensions.get::<Self>() {
            return Ok(Some(access.clone()));
        }
        let Some(public) = parts.extensions.get::<PublicCall>() else {
            tracing::error!(
                route = parts
                    .extensions
                    .get::<MatchedPath>()
                    .map(MatchedPath::as_str),
                "a handler asks for `Access`, but no guard checked the call: mount the handler \
                 behind a `Guard`"
            );
            return Err(AccessRejection(Why::NotGuarded));
        };
        let caller = public.caller(Caller::of(parts)).await;
        caller.map_err(|denial| AccessRejection::denied(denial, public))
    }
}

/// On a public route the token is verified here: without a valid one, the answer is the guard's
/// refusal. 500 and a log event if there is no guard around the handler.
impl<S: Sync> FromRequestParts<S> for Access {
    type Rejection = AccessRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AccessRejection> {
        if let Some(access) = Self::of(parts).await? {
            return Ok(access);
        }
        Err(match parts.extensions.get::<PublicCall>() {
            Some(public) => AccessRejection::denied(Denial::NO_TOKEN, public),
            None => AccessRejection(Why::NotGuarded),
        })
    }
}

/// `None` on a public route that was called without a token. A token that is present must be valid:
/// an invalid one is refused as elsewhere.
impl<S: Sync> OptionalFromRequestParts<S> for Access {
    type Rejection = AccessRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, AccessRejection> {
        Self::of(parts).await
    }
}

/// Why a handler that asks for [`Access`] was not reached; answered as the guard answers.
#[derive(Debug)]
pub struct AccessRejection(Why);

#[derive(Debug)]
enum Why {
    NotGuarded,
    Denied(Denial, PublicCall),
}

impl AccessRejection {
    fn denied(denial: Denial, public: &PublicCall) -> Self {
        Self(Why::Denied(denial, public.clone()))
    }
}

impl IntoResponse for AccessRejection {
    fn into_response(self) -> Response {
        match self.0 {
            Why::Denied(denial, public) => public.refusal(&denial),
            Why::NotGuarded => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "not_guarded",
                "Server misconfigured",
                "The server is misconfigured: this address is not behind its guard.",
            )
            .into_response(),
        }
    }
}
