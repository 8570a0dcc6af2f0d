//! Where metadata stands: between the host and the path of the URL that it describes (RFC 8414 §3.1, RFC 9728
//! §3.1).

use http::Uri;

/// The metadata of the authorization server.
pub(crate) const SERVER: &str = "/.well-known/oauth-authorization-server";
/// The metadata of an API.
pub(crate) const RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// The path of the metadata of `url`, unless the URL's own path cannot be served as it stands.
pub(crate) fn path(prefix: &str, url: &str) -> Option<String> {
    let uri = url.parse::<Uri>().ok()?;
    let path = uri.path().trim_end_matches('/');
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~' | b'%')
    };
    path.bytes().all(plain).then(|| format!("{prefix}{path}"))
}

/// The address of the metadata of `url`, as for [`path`].
pub(crate) fn address(prefix: &str, url: &str) -> Option<String> {
    let path = path(prefix, url)?;
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    Some(format!("{scheme}://{host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_url_comes_last() {
        for (url, found) in [
            ("https://x", Some("https://x/well-known")),
            ("https://x/", Some("https://x/well-known")),
            ("https://x:8443/a/b/", Some("https://x:8443/well-known/a/b")),
            ("https://[::1]/~a", Some("https://[::1]/well-known/~a")),
            ("https://x/a:b", None),
            ("https://x/*", None),
        ] {
            assert_eq!(address("/well-known", url).as_deref(), found, "{url}");
        }
    }
}
