//! Which resource a token is for (RFC 8707): an API type, by its base URL.

use credential_core::{
    Credentials,
    catalog::{ApiType, SearchForm},
};
use http::{Uri, uri::PathAndQuery};

/// Issuer and base path: the `aud` of introspection, and what `resource` has to name.
pub(super) fn base_url(issuer: &str, api_type: &ApiType) -> String {
    format!("{issuer}{}", api_type.base_path())
}

/// The issuer's path, if it has one that can be served as it stands.
pub(super) fn path_of(issuer: &str) -> Option<String> {
    let path = issuer.parse::<Uri>().ok()?.path().to_owned();
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~' | b'%')
    };
    (path.len() > 1 && path.bytes().all(plain)).then_some(path)
}

/// True if the URI is the API type's base URL or lies below it.
///
/// Scheme, host and default port are compared as RFC 3986 §6.2 has it, the path as sent.
pub(super) fn denotes(resource: &str, credentials: &Credentials, api_type: &ApiType) -> bool {
    // The parser drops a fragment, which a resource may not have. A query names nothing here.
    if resource.contains(['#', '?']) {
        return false;
    }
    let (Ok(resource), Ok(issuer)) = (resource.parse::<Uri>(), credentials.issuer().parse::<Uri>())
    else {
        return false;
    };
    if origin(&resource).is_none() || origin(&resource) != origin(&issuer) {
        return false;
    }
    let path = resource.path_and_query().map_or("/", PathAndQuery::as_str);
    let Some(path) = path.strip_prefix(issuer.path().trim_end_matches('/')) else {
        return false;
    };
    // The issuer itself, without the slash after it.
    let path = if path.is_empty() { "/" } else { path };
    let found = credentials.catalog().api_type_of_path(path);
    found.is_some_and(|found| found.id() == api_type.id())
        && api_type.requirement("GET", path, SearchForm::None).is_ok()
}

/// Scheme, host and port; `None` for what has none, or names a user.
fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let authority = uri.authority()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let port = match (uri.port_u16(), scheme.as_str()) {
        (Some(port), _) => port,
        (None, "https") => 443,
        (None, "http") => 80,
        (None, _) => return None,
    };
    Some((scheme, authority.host().to_ascii_lowercase(), port))
}
