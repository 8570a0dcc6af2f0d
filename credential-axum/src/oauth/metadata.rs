//! What the endpoints say about themselves and about the APIs: RFC 8414, RFC 9728 and SMART App Launch 2.2.

use std::collections::BTreeMap;

use axum::body::Bytes;
use credential_core::{Credentials, catalog::ApiType, jose::Algorithm};

use super::{
    answer::{ResourceMetadata, ServerMetadata, SmartConfiguration},
    config::{Authorization, OAuthConfig},
    introspect::introspection_scopes,
    token::JWT_BEARER,
};

pub(super) const TOKEN_PATH: &str = "/oauth2/token";
pub(super) const INTROSPECT_PATH: &str = "/oauth2/introspect";
pub(super) const REVOKE_PATH: &str = "/oauth2/revoke";
/// Served only if the host wants it.
pub(super) const AUTHORIZE_PATH: &str = "/oauth2/authorize";

pub(super) const GRANT_TYPES: &[&str] = &["client_credentials", JWT_BEARER];
/// How a client authenticates, the same at every endpoint.
const CLIENT_METHODS: &[&str] = &[
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
];
const CAPABILITIES: &[&str] = &[
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "permission-v1",
    "permission-v2",
];

/// The documents, built once: they do not change while the process runs.
pub(super) struct Metadata<'a> {
    credentials: &'a Credentials,
    token: String,
    introspect: String,
    introspection_methods: Vec<&'a str>,
    revoke: String,
    authorize: Option<String>,
    documentation: &'a BTreeMap<String, String>,
}

impl<'a> Metadata<'a> {
    pub(super) fn new(credentials: &'a Credentials, config: &'a OAuthConfig) -> Self {
        let below = |path| format!("{}{path}", credentials.issuer().trim_end_matches('/'));
        let mut introspection_methods = CLIENT_METHODS.to_vec();
        if config.introspection_secret.is_some()
            || introspection_scopes(credentials).next().is_some()
        {
            // A resource server's secret or an access token, which RFC 8414 §2 names by its token type.
            introspection_methods.push("Bearer");
        }
        Self {
            credentials,
            token: below(TOKEN_PATH),
            introspect: below(INTROSPECT_PATH),
            introspection_methods,
            revoke: below(REVOKE_PATH),
            authorize: match &config.authorization {
                Authorization::None => None,
                Authorization::At(url) => Some(url.clone()),
                Authorization::Refusing => Some(below(AUTHORIZE_PATH)),
            },
            documentation: &config.documentation,
        }
    }

    /// RFC 8414 §3.2.
    pub(super) fn server(&self) -> Bytes {
        let api_types = self.credentials.catalog().api_types();
        json(&ServerMetadata {
            issuer: self.credentials.issuer(),
            authorization_endpoint: self.authorize.as_deref(),
            token_endpoint: &self.token,
            token_endpoint_auth_methods_supported: CLIENT_METHODS,
            token_endpoint_auth_signing_alg_values_supported: Algorithm::NAMES,
            introspection_endpoint: &self.introspect,
            introspection_endpoint_auth_methods_supported: &self.introspection_methods,
            introspection_endpoint_auth_signing_alg_values_supported: Algorithm::NAMES,
            revocation_endpoint: &self.revoke,
            revocation_endpoint_auth_methods_supported: CLIENT_METHODS,
            revocation_endpoint_auth_signing_alg_values_supported: Algorithm::NAMES,
            grant_types_supported: GRANT_TYPES,
            response_types_supported: match self.authorize {
                Some(_) => &["code"],
                None => &["none"],
            },
            scopes_supported: api_types.iter().flat_map(|api| names(api)).collect(),
        })
    }

    /// RFC 9728 §3.2, of one API type.
    pub(super) fn resource(&self, api_type: &ApiType) -> Bytes {
        let documentation = self.documentation.get(api_type.id().as_str());
        json(&ResourceMetadata {
            resource: &self.credentials.base_url(api_type),
            authorization_servers: &[self.credentials.issuer()],
            scopes_supported: names(api_type).collect(),
            bearer_methods_supported: &["header"],
            resource_name: api_type.label(),
            resource_documentation: documentation.map(String::as_str),
        })
    }

    /// `{base_path}/.well-known/smart-configuration` of one API type.
    pub(super) fn smart(&self, api_type: &ApiType) -> Bytes {
        json(&SmartConfiguration {
            token_endpoint: &self.token,
            token_endpoint_auth_methods_supported: CLIENT_METHODS,
            token_endpoint_auth_signing_alg_values_supported: Algorithm::NAMES,
            introspection_endpoint: &self.introspect,
            revocation_endpoint: &self.revoke,
            grant_types_supported: GRANT_TYPES,
            scopes_supported: names(api_type).collect(),
            capabilities: CAPABILITIES,
            code_challenge_methods_supported: &["S256"],
        })
    }
}

fn names(api_type: &ApiType) -> impl Iterator<Item = &str> {
    api_type.scopes().map(|scope| scope.name.as_str())
}

fn json(document: &impl serde::Serialize) -> Bytes {
    // These types have string keys and no fallible `Serialize`.
    serde_json::to_vec(document).unwrap_or_default().into()
}
