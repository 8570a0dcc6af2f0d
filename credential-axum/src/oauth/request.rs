//! What every OAuth endpoint does first: reads a form, and keeps secrets out of the URL.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Request, State},
};
use credential_core::Credentials;
use http::request::Parts;

use super::{
    config::IntrospectionSecret,
    error::OAuthError,
    form::{self, Form},
};
use crate::body::{BodyError, is_form, read_body};

/// What the endpoints share.
pub(super) struct Endpoints {
    pub(super) credentials: Credentials,
    pub(super) introspection_secret: Option<IntrospectionSecret>,
    /// Of the token endpoint, which the `aud` of an assertion may name.
    pub(super) token_addresses: Vec<String>,
}

pub(super) type Shared = State<Arc<Endpoints>>;

/// Head and body of a request that sends a form and has no secret in its URL.
pub(super) async fn read(request: Request) -> Result<(Parts, Bytes), OAuthError> {
    let (parts, body) = request.into_parts();
    form::check_query(&parts.uri).map_err(malformed)?;
    if !is_form(&parts.headers) {
        return Err(OAuthError::invalid_request(
            "the body must be application/x-www-form-urlencoded",
        ));
    }
    let body = read_body(body).await.map_err(|error| match error {
        BodyError::TooLarge => OAuthError::TooLarge(error.to_string().into()),
        BodyError::Broken => OAuthError::invalid_request(error.to_string()),
    })?;
    Ok((parts, body))
}

pub(super) fn parse(body: &[u8]) -> Result<Form<'_>, OAuthError> {
    Form::parse(body).map_err(malformed)
}

fn malformed(error: form::FormError) -> OAuthError {
    OAuthError::invalid_request(error.to_string())
}

pub(super) fn token_missing() -> OAuthError {
    OAuthError::invalid_request("token is missing")
}
