//! [`Issuer`], the name under which tokens are issued.

use std::{fmt, str::FromStr};

use url::Url;

/// The public base URL of this deployment: `issuer` of RFC 8414 §2, byte for byte as it is written.
/// Clients compare it as text: one server has one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(String);

/// Why a text is no issuer. Does not repeat the text, for it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// Neither `https://…` nor `http://…`, without a host, or with characters that a URL cannot
    /// have.
    #[error("it is not an http or https URL")]
    NotAUrl,
    /// RFC 8414 §2.
    #[error("it has a query or a fragment, which a base URL cannot have")]
    QueryOrFragment,
    /// It would be published.
    #[error("it has a user name or a password, which would be published")]
    UserInfo,
}

impl FromStr for Issuer {
    type Err = IssuerError;

    fn from_str(text: &str) -> Result<Self, IssuerError> {
        let (scheme, rest) = text.split_once("://").ok_or(IssuerError::NotAUrl)?;
        // Why beside the parser: it forgives what a browser would, and the text itself goes out.
        let plain = |byte: u8| byte.is_ascii_graphic() && !br#"\"<>^`{|}"#.contains(&byte);
        if !matches!(scheme, "https" | "http") || rest.starts_with('/') || !rest.bytes().all(plain)
        {
            return Err(IssuerError::NotAUrl);
        }
        let url = Url::parse(text).map_err(|_| IssuerError::NotAUrl)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(IssuerError::QueryOrFragment);
        }
        if rest.split('/').next().is_some_and(|it| it.contains('@')) {
            return Err(IssuerError::UserInfo);
        }
        if url.has_host() {
            Ok(Self(text.to_owned()))
        } else {
            Err(IssuerError::NotAUrl)
        }
    }
}

impl Issuer {
    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL without slashes at its end: what paths are appended to, and what tokens are bound to.
    pub(crate) fn base(&self) -> &str {
        self.0.trim_end_matches('/')
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_plain_base_urls() {
        for (text, base) in [
            ("http://localhost:8080", "http://localhost:8080"),
            (
                "https://api.example.com/base/",
                "https://api.example.com/base",
            ),
            ("https://[::1]:8443/a/b", "https://[::1]:8443/a/b"),
            ("https://API.example.com", "https://API.example.com"),
        ] {
            let issuer: Issuer = text.parse().unwrap();
            assert_eq!((issuer.as_str(), issuer.base()), (text, base));
        }
        for text in [
            "",
            "/",
            "//",
            "http:///",
            "api.example.com",
            "ftp://x",
            "javascript://x",
            "http://",
            "http:///x",
            "https:x",
            "HTTPS://x",
            " https://x",
            "https://x y",
            "https://x\n",
            "https://ä.example",
            "https://x\\y",
            "https://x:port",
            "https://x:99999",
            "https://:443",
            "https://[::1",
            "https://x/\"",
        ] {
            assert_eq!(
                text.parse::<Issuer>(),
                Err(IssuerError::NotAUrl),
                "{text:?}"
            );
        }
        for text in [
            "http://x?q",
            "https://x/?a=b",
            "https://x?",
            "http://x#f",
            "http://x/#",
        ] {
            let refused = text.parse::<Issuer>();
            assert_eq!(refused, Err(IssuerError::QueryOrFragment), "{text:?}");
        }
        for text in [
            "https://u:p@x",
            "https://u@x/y",
            "https://@x",
            "https://:p@x",
        ] {
            assert_eq!(
                text.parse::<Issuer>(),
                Err(IssuerError::UserInfo),
                "{text:?}"
            );
        }
        // Only before the host.
        assert!("https://x/@y".parse::<Issuer>().is_ok());
    }
}
