//! `POST /oauth2/token`: a client's proof for an access token.

use axum::{
    extract::{Request, State},
    response::Response,
};
use credential_core::{
    authenticate::{AuthenticatedClient, IssueError},
    percent::Decoded,
};

use super::{
    answer::{self, TokenAnswer},
    client::Presented,
    error::OAuthError,
    form::Form,
    request::{Endpoints, Shared, parse, read},
    resource,
};
use crate::client_address::Caller;

/// The grant type of RFC 7523 §2.1.
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// `POST /oauth2/token`.
pub(super) async fn token(
    State(endpoints): Shared,
    request: Request,
) -> Result<Response, OAuthError> {
    let (parts, body) = read(request).await?;
    let form = parse(&body)?;
    let sender = Caller::of(&parts);
    let client = if form.grant_type.as_deref() == Some(JWT_BEARER) {
        endpoints.client_of_grant(sender, &form).await?
    } else {
        let client = Presented::client(sender, &form, &endpoints).await?;
        match form.grant_type.as_deref() {
            Some("client_credentials") => client,
            Some(_) => return Err(OAuthError::UnsupportedGrantType),
            None => return Err(OAuthError::invalid_request("grant_type is missing")),
        }
    };
    endpoints.check_resources(&client, &form)?;
    let issued = endpoints
        .credentials
        .issue_from(&client, form.scope.as_deref(), &sender)
        .map_err(|error| match error {
            IssueError::Scope(why) => OAuthError::InvalidScope(why.to_string()),
            IssueError::Ending => OAuthError::InvalidClient { bearer: false },
            IssueError::Seal(_) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no token was issued"
                );
                OAuthError::Server
            }
        })?;
    Ok(answer::no_store_json(&TokenAnswer {
        access_token: issued.access_token.expose_secret(),
        token_type: "Bearer",
        expires_in: issued.expires_in,
        scope: &issued.scope,
        client_secret_expires_at: issued.ends_soon.map(answer::seconds),
    }))
}

impl Endpoints {
    /// Refuses a `resource` that the client's tokens are not for (RFC 8707).
    fn check_resources(
        &self,
        client: &AuthenticatedClient,
        form: &Form<'_>,
    ) -> Result<(), OAuthError> {
        let ours = |resource: &Decoded<'_>| {
            resource::denotes(resource, &self.credentials, client.api_type())
        };
        if form.resources.iter().all(ours) {
            return Ok(());
        }
        let base = self.credentials.base_url(client.api_type());
        Err(OAuthError::InvalidTarget(format!(
            "this client gets tokens for {base} only"
        )))
    }
}
