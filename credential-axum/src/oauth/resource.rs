//! Which resource a token is for (RFC 8707): an API type, by its base URL.

use credential_core::{Credentials, catalog::ApiType};
use http::{Uri, uri::PathAndQuery};

/// True if the URI is the API type's base URL or lies below it, and not below that of another API type.
///
/// Scheme, host and default port are compared as RFC 3986 §6.2 has it, the path as sent.
pub(super) fn denotes(resource: &str, credentials: &Credentials, api_type: &ApiType) -> bool {
    // The parser drops a fragment, which a resource may not have. A query names nothing here.
    if resource.contains(['#', '?']) {
        return false;
    }
    let Ok(resource) = resource.parse::<Uri>() else {
        return false;
    };
    let Some(rest) = below(&resource, &credentials.base_url(api_type)) else {
        return false;
    };
    let nearer = |other: &ApiType| {
        let other = below(&resource, &credentials.base_url(other));
        other.is_some_and(|other| other.len() < rest.len())
    };
    let mut others = credentials.catalog().api_types().iter();
    let path = match (api_type.base_path(), rest) {
        ("", "") => "/".to_owned(),
        (base, rest) => format!("{base}{rest}"),
    };
    // A path that parsers read differently may be that of another API.
    !others.any(|other| nearer(other)) && api_type.locate("GET", &path).is_ok()
}

/// The rest of the URI's path, if it begins with the URL: empty, or with a slash at its beginning.
fn below<'a>(resource: &'a Uri, url: &str) -> Option<&'a str> {
    let url = url.parse::<Uri>().ok()?;
    if origin(resource).is_none() || origin(resource) != origin(&url) {
        return None;
    }
    let path = resource.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = path.strip_prefix(url.path().trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
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
