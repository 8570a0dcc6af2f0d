//! What a host may choose about its OAuth endpoints.

use std::{collections::BTreeMap, fmt};

use http::Uri;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The choices of a host; the default has neither aliases nor a resource server's secret, and names no
/// authorization endpoint.
#[derive(Clone, Default)]
pub struct OAuthConfig {
    pub(super) introspection_secret: Option<IntrospectionSecret>,
    pub(super) token_path_aliases: Vec<String>,
    pub(super) authorization: Authorization,
    /// By API type.
    pub(super) documentation: BTreeMap<String, String>,
}

/// What the metadata says of an authorization endpoint, which no client here needs.
#[derive(Debug, Clone, Default)]
pub(super) enum Authorization {
    /// There is none.
    #[default]
    None,
    /// The host's own, for people.
    At(String),
    /// Ours, which refuses everything.
    Refusing,
}

impl OAuthConfig {
    /// Lets resource servers introspect any token with `Authorization: Bearer <secret>`. Without
    /// it only clients can, and holders of an access token with the scope that the catalogue marks for
    /// introspection, and only tokens of their own tenant.
    ///
    /// Its holder can introspect every tenant's tokens: draw it at random, 32 characters or more.
    /// It is wiped
    /// when the last router that uses it is dropped.
    ///
    /// # Errors
    /// `IntrospectionSecret` if it is empty or holds anything but visible ASCII.
    pub fn introspection_secret(mut self, secret: String) -> Result<Self, OAuthConfigError> {
        let secret = Zeroizing::new(secret);
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(OAuthConfigError::IntrospectionSecret);
        }
        self.introspection_secret = Some(IntrospectionSecret(secret));
        Ok(self)
    }

    /// Serves the token endpoint under a further path as well, such as `/api/2.0/oauth2/token/`.
    /// A path that these endpoints already serve stays what it is.
    ///
    /// # Errors
    /// `TokenPath` if it is not a slash followed by unreserved characters of RFC 3986 §2.3 and
    /// slashes.
    pub fn token_path_alias(mut self, path: &str) -> Result<Self, OAuthConfigError> {
        let plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~')
        };
        if !path.starts_with('/') || !path.bytes().all(plain) {
            return Err(OAuthConfigError::TokenPath(path.to_owned()));
        }
        self.token_path_aliases.push(path.to_owned());
        Ok(self)
    }

    /// Publishes where people authorize: an interactive authorization server of the host, which has the
    /// same issuer. Without it the metadata names none.
    ///
    /// Some clients, such as both MCP SDKs, refuse metadata without an `authorization_endpoint`, even to get a
    /// token that needs none. A host without such a server lets them in by
    /// [`refusing_authorization_endpoint`](Self::refusing_authorization_endpoint).
    ///
    /// # Errors
    /// `Url` if it is not an absolute http or https URL without fragment.
    pub fn authorization_endpoint(mut self, url: &str) -> Result<Self, OAuthConfigError> {
        self.authorization = Authorization::At(checked(url)?);
        Ok(self)
    }

    /// Serves and publishes `/oauth2/authorize`, which refuses every request: to a program with
    /// `unsupported_response_type`, to a person in words. For clients that insist on an
    /// `authorization_endpoint`; the metadata then lists `code`, which no client of this server can use.
    #[must_use]
    pub fn refusing_authorization_endpoint(mut self) -> Self {
        self.authorization = Authorization::Refusing;
        self
    }

    /// Where developers read about an API: `resource_documentation` of its metadata (RFC 9728). Without effect
    /// for an API type that the catalogue does not have.
    ///
    /// # Errors
    /// `Url` if it is not an absolute http or https URL without fragment.
    pub fn documentation(mut self, api_type: &str, url: &str) -> Result<Self, OAuthConfigError> {
        self.documentation
            .insert(api_type.to_owned(), checked(url)?);
        Ok(self)
    }
}

/// A URL that can be published.
fn checked(url: &str) -> Result<String, OAuthConfigError> {
    let parsed = url.parse::<Uri>().ok();
    let absolute = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && !uri.host().is_none_or(str::is_empty)
    });
    // The parser drops a fragment.
    if absolute && !url.contains('#') {
        Ok(url.to_owned())
    } else {
        Err(OAuthConfigError::Url(url.to_owned()))
    }
}

impl fmt::Debug for OAuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthConfig")
            .field(
                "introspection_secret",
                &self.introspection_secret.as_ref().map(|_| "[redacted]"),
            )
            .field("token_path_aliases", &self.token_path_aliases)
            .field("authorization", &self.authorization)
            .field("documentation", &self.documentation)
            .finish()
    }
}

/// Why an [`OAuthConfig`] is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OAuthConfigError {
    /// The secret cannot be sent in a header.
    #[error("the introspection secret must be one or more visible ASCII characters")]
    IntrospectionSecret,
    /// Not a path that can be served unchanged.
    #[error("`{0}` is not a plain path; letters, digits, `-._~` and `/` are accepted")]
    TokenPath(String),
    /// Not a URL that can be published.
    #[error("`{0}` is not an absolute http or https URL without fragment")]
    Url(String),
}

/// A resource server's secret; wiped on drop, compared in constant time.
#[derive(Clone)]
pub(super) struct IntrospectionSecret(Zeroizing<String>);

impl IntrospectionSecret {
    /// Shows only the length of the secret.
    pub(super) fn matches(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_secret(secret: &str) -> Result<OAuthConfig, OAuthConfigError> {
        OAuthConfig::default().introspection_secret(secret.to_owned())
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        let config = with_secret("hush-hush").unwrap();
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn only_the_same_secret_matches() {
        let config = with_secret("hush-hush").unwrap();
        let secret = config.introspection_secret.unwrap();
        assert!(secret.matches("hush-hush"));
        for other in ["", "hush-hus", "hush-hush!", "hush-husi"] {
            assert!(!secret.matches(other), "{other}");
        }
    }

    #[test]
    fn unusable_choices_are_refused() {
        for secret in ["", "two words", "é", "tab\t"] {
            assert!(with_secret(secret).is_err(), "{secret}");
        }
        for path in ["", "token", "/a/{b}", "/a b", "/*", "/a?b", "/é"] {
            let refused = OAuthConfig::default().token_path_alias(path);
            assert_eq!(
                refused.err(),
                Some(OAuthConfigError::TokenPath(path.to_owned()))
            );
        }
        for url in [
            "",
            "/authorize",
            "platform.example/authorize",
            "https:///authorize",
            "ftp://platform.example",
            "https://platform.example/#there",
            "https://platform.example/a b",
        ] {
            let refused = Some(OAuthConfigError::Url(url.to_owned()));
            let config = OAuthConfig::default;
            assert_eq!(config().authorization_endpoint(url).err(), refused);
            assert_eq!(config().documentation("apiv2", url).err(), refused);
        }
    }
}
