//! `POST /oauth2/revoke`: one of the client's own tokens ends.

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use credential_core::authorize::RevokeTokenError;
use http::header::CONTENT_TYPE;

use super::{
    answer,
    client::Presented,
    error::OAuthError,
    request::{Shared, parse, read, token_missing},
};
use crate::{client_address::Caller, hold::hold};

/// `POST /oauth2/revoke`. Hints are ignored: there is one kind of token.
pub(super) async fn revoke(
    State(endpoints): Shared,
    request: Request,
) -> Result<Response, OAuthError> {
    let (parts, body) = read(request).await?;
    let form = parse(&body)?;
    let client = Presented::client(Caller::of(&parts), &form, &endpoints).await?;
    let token = form.token.as_deref().ok_or_else(token_missing)?;
    match endpoints.credentials.revoke_token(&client, token).await {
        Ok(()) => {
            let mut response = answer::no_store(Body::empty());
            response.headers_mut().remove(CONTENT_TYPE);
            Ok(response)
        }
        Err(RevokeTokenError::Busy { retry_after }) => {
            hold().await;
            Err(OAuthError::Unavailable {
                retry_after: retry_after.as_secs(),
            })
        }
        // Core counts it, and logs it at a bounded rate.
        Err(RevokeTokenError::Store(_)) => Err(OAuthError::UNAVAILABLE),
    }
}
