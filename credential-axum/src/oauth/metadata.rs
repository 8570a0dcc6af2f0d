//! The metadata of the endpoints: RFC 8414 and SMART App Launch 2.2.

use axum::body::Bytes;
use credential_core::{Credentials, catalog::ApiType};

use super::answer::{ServerMetadata, SmartConfiguration};

pub(super) const TOKEN_PATH: &str = "/oauth2/token";
pub(super) const INTROSPECT_PATH: &str = "/oauth2/introspect";
pub(super) const REVOKE_PATH: &str = "/oauth2/revoke";

const GRANT_TYPES: &[&str] = &["client_credentials"];
const CLIENT_METHODS: &[&str] = &["client_secret_basic", "client_secret_post"];
/// With a resource server's secret, which RFC 8414 §2 names by its token type.
const INTROSPECTION_METHODS: &[&str] = &["client_secret_basic", "client_secret_post", "Bearer"];
const CAPABILITIES: &[&str] = &[
    "client-confidential-symmetric",
    "permission-v1",
    "permission-v2",
];

/// The documents, built once: they do not change while the process runs.
pub(super) struct Metadata<'a> {
    credentials: &'a Credentials,
    bearer: bool,
    token: String,
    introspect: String,
    revoke: String,
}

impl<'a> Metadata<'a> {
    /// `bearer`: whether a resource server's secret is configured.
    pub(super) fn new(credentials: &'a Credentials, bearer: bool) -> Self {
        let issuer = credentials.issuer();
        Self {
            credentials,
            bearer,
            token: format!("{issuer}{TOKEN_PATH}"),
            introspect: format!("{issuer}{INTROSPECT_PATH}"),
            revoke: format!("{issuer}{REVOKE_PATH}"),
        }
    }

    /// RFC 8414 §3.2.
    pub(super) fn server(&self) -> Bytes {
        let api_types = self.credentials.catalog().api_types();
        json(&ServerMetadata {
            issuer: self.credentials.issuer(),
            token_endpoint: &self.token,
            token_endpoint_auth_methods_supported: CLIENT_METHODS,
            introspection_endpoint: &self.introspect,
            introspection_endpoint_auth_methods_supported: if self.bearer {
                INTROSPECTION_METHODS
            } else {
                CLIENT_METHODS
            },
            revocation_endpoint: &self.revoke,
            revocation_endpoint_auth_methods_supported: CLIENT_METHODS,
            grant_types_supported: GRANT_TYPES,
            response_types_supported: &[],
            scopes_supported: api_types.iter().flat_map(|api| names(api)).collect(),
        })
    }

    /// `{base_path}/.well-known/smart-configuration` of one API type.
    pub(super) fn smart(&self, api_type: &ApiType) -> Bytes {
        json(&SmartConfiguration {
            token_endpoint: &self.token,
            token_endpoint_auth_methods_supported: CLIENT_METHODS,
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
