//! `POST /oauth2/introspect`: what a token may do now.

use axum::{
    extract::{Request, State},
    response::Response,
};
use credential_core::{
    Access, Credentials, authenticate::AuthenticatedClient, authorize::AuthorizeError,
    catalog::Scope, id::TenantId, store::StoreError,
};

use super::{
    answer::{self, ActiveToken, INACTIVE},
    client::{self, Presented},
    error::OAuthError,
    form::Form,
    request::{Endpoints, Shared, parse, read, token_missing},
};
use crate::{authorization_header::Authorization, client_address::Caller};

/// `POST /oauth2/introspect`.
pub(super) async fn introspect(
    State(endpoints): Shared,
    request: Request,
) -> Result<Response, OAuthError> {
    let (parts, body) = read(request).await?;
    let form = parse(&body)?;
    let sender = Caller::of(&parts);
    let presented = Presented::of(sender.headers, &form)?;
    let asks = endpoints.who_introspects(sender, presented, &form).await?;
    let token = form.token.as_deref().ok_or_else(token_missing)?;
    // Whoever asks is not the caller of the API, so its address says nothing about the token.
    let asked = endpoints.credentials.bearer(token).called_from_anywhere();
    match asked.verify().await {
        Ok(access) if asks.may_see(access.tenant()) => Ok(active(&access, &endpoints.credentials)),
        Ok(_) | Err(AuthorizeError::Refused(_)) => Ok(answer::no_store(INACTIVE.into())),
        Err(AuthorizeError::Store(error)) => Err(unavailable(&error)),
    }
}

/// The caller of introspection.
enum Asks {
    /// Sees the tokens of its own tenant.
    Client(AuthenticatedClient),
    /// As `Client`, by an access token with the scope for it (SMART App Launch 2.2, "Token Introspection").
    Holder(Access),
    /// Sees every token.
    ResourceServer,
}

impl Asks {
    fn may_see(&self, tenant: &TenantId) -> bool {
        match self {
            Self::Client(client) => client.tenant() == tenant,
            Self::Holder(access) => access.tenant() == tenant,
            Self::ResourceServer => true,
        }
    }
}

impl Endpoints {
    async fn who_introspects(
        &self,
        sender: Caller<'_>,
        presented: Presented<'_>,
        form: &Form<'_>,
    ) -> Result<Asks, OAuthError> {
        // Two valid ways at once: neither is a left-over.
        if let (Presented::Post { .. } | Presented::Assertion(_), Some(secret)) =
            (&presented, &self.introspection_secret)
            && let Authorization::One { value, .. } = Authorization::of(sender.headers)
            && secret.matches(value)
        {
            return Err(client::two_ways());
        }
        if let (Presented::Bearer(value), Some(secret)) = (&presented, &self.introspection_secret)
            && secret.matches(value)
        {
            return Ok(Asks::ResourceServer);
        }
        if let Presented::Bearer(token) = presented
            && let Some(access) = self.holder(sender, token).await?
        {
            return Ok(Asks::Holder(access));
        }
        match presented.authenticate(sender, self, form).await {
            Ok(client) => Ok(Asks::Client(client)),
            Err(OAuthError::InvalidClient { .. } | OAuthError::NoClient) => {
                Err(OAuthError::InvalidClient {
                    bearer: self.introspection_secret.is_some()
                        || introspection_scopes(&self.credentials).next().is_some(),
                })
            }
            Err(other) => Err(other),
        }
    }

    /// Whoever presents a live access token that may introspect. It has to come from where its own key may be
    /// used.
    ///
    /// # Errors
    /// `Unavailable`
    async fn holder(&self, sender: Caller<'_>, token: &str) -> Result<Option<Access>, OAuthError> {
        if introspection_scopes(&self.credentials).next().is_none() {
            return Ok(None);
        }
        let presented = self.credentials.bearer(token).called_from(&sender);
        match presented.verify().await {
            Ok(access) => Ok(Some(access).filter(may_introspect)),
            Err(AuthorizeError::Refused(_)) => Ok(None),
            Err(AuthorizeError::Store(error)) => Err(unavailable(&error)),
        }
    }
}

/// The scopes that the catalogue marks for introspection.
pub(super) fn introspection_scopes(credentials: &Credentials) -> impl Iterator<Item = &Scope> {
    let api_types = credentials.catalog().api_types().iter();
    api_types.filter_map(|api_type| api_type.introspection())
}

fn may_introspect(access: &Access) -> bool {
    let api_type = access.api_type();
    let scope = api_type.introspection().map(|scope| scope.name.as_str());
    let requirement = scope.and_then(|scope| api_type.requires(scope).ok());
    requirement.is_some_and(|requirement| access.meets(&requirement))
}

fn unavailable(error: &StoreError) -> OAuthError {
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "no verdict on a token"
    );
    OAuthError::UNAVAILABLE
}

fn active(access: &Access, credentials: &Credentials) -> Response {
    answer::no_store_json(&ActiveToken {
        active: true,
        scope: &access.scope(),
        client_id: access.client_id().as_str(),
        token_type: "Bearer",
        exp: answer::seconds(access.expires_at()),
        iat: answer::seconds(access.issued_at()),
        iss: credentials.issuer(),
        sub: access.client_id().as_str(),
        aud: &credentials.base_url(access.api_type()),
        tenant: access.tenant().as_str(),
        api_type: access.api_type().id().as_str(),
    })
}
