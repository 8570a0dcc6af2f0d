//! `/oauth2/authorize`: an authorization endpoint for clients that insist on one, and for nothing else.

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};

use super::{answer::no_store, error::OAuthError};

/// What a person who came here should know.
const WORDS: &str = "\
There is nothing to sign in to here (unsupported_response_type).

This server gives access tokens to programs only. A program gets one from the token endpoint, with the \
grant client_credentials and the client id and client secret of an API key.

If a program sent you here, it tried to sign you in. Tell its developer that it has to use the grant \
client_credentials. This address exists only because some programs do not read the description of a server \
without it.
";

/// Refuses every request, and never redirects: no client here has an address to be sent back to.
pub(super) async fn authorize(request: Request) -> Response {
    let accepted = request.headers().get_all(ACCEPT).iter();
    let person = accepted
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"));
    if !person {
        return OAuthError::UnsupportedResponseType.into_response();
    }
    let mut response = no_store(Body::from(WORDS));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
