//! Refuses requests that another site made a signed-in browser send (CSRF).

use http::{HeaderMap, Method, header};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Passes requests that change nothing, that come from our own pages, or that come from no page.
///
/// Browsers say in `Sec-Fetch-Site` (W3C Fetch Metadata) where a request comes from; anything but
/// `same-origin` or `none` is refused. Where that header is missing, an `Origin` (RFC 6454 §7)
/// must name the host that `Host` names. A program that sends neither passes, because it does not
/// act with a browser's cookies. A proxy in front must pass `Host` on unchanged.
///
/// # Errors
/// [`CrossSite`] for a request other than GET, HEAD and OPTIONS that comes from elsewhere, or
/// whose headers are repeated or unreadable.
pub fn refuse_cross_site(headers: &HeaderMap, method: &Method) -> Result<(), CrossSite> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return Ok(());
    }
    let site = only(headers, SEC_FETCH_SITE)?;
    let origin = only(headers, header::ORIGIN.as_str())?;
    let passes = match (site, origin) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = only(headers, header::HOST.as_str())?;
            host.is_some_and(|host| is_own(origin, host))
        }
        (None, None) => true,
    };
    if passes { Ok(()) } else { Err(CrossSite) }
}

/// The request comes from another site: 403 `cross_site`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request comes from another site")]
pub struct CrossSite;

/// The one value of a header, if there is any.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, CrossSite> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| CrossSite),
        (Some(_), Some(_)) => Err(CrossSite),
    }
}

/// Whether an origin such as `https://example.org:8443` names this host. `null` does not.
fn is_own(origin: &str, host: &str) -> bool {
    // Why the origin's scheme: behind a proxy that ends TLS we do not know our own.
    let (authority, default_port) = if let Some(authority) = origin.strip_prefix("https://") {
        (authority, ":443")
    } else if let Some(authority) = origin.strip_prefix("http://") {
        (authority, ":80")
    } else {
        return false;
    };
    let without_port = |authority: &str| {
        let bare = authority.strip_suffix(default_port).unwrap_or(authority);
        bare.to_ascii_lowercase()
    };
    !authority.is_empty() && without_port(authority) == without_port(host)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn verdict(method: &Method, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        refuse_cross_site(&map, method).is_ok()
    }

    #[test]
    fn reading_is_never_refused() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(verdict(&method, &[(SEC_FETCH_SITE, "cross-site")]));
        }
    }

    #[test]
    fn the_table_of_changes() {
        let host = ("host", "api.example.org");
        let site = |value| (SEC_FETCH_SITE, value);
        let origin = |value| ("origin", value);
        let table: &[(&[(&'static str, &'static str)], bool)] = &[
            (&[host], true),
            (&[], true),
            (&[host, site("same-origin")], true),
            (&[host, site("none")], true),
            (&[host, site("same-site")], false),
            (&[host, site("cross-site")], false),
            (&[host, site("Same-Origin")], false),
            (&[host, site("")], false),
            (&[host, site("same-origin"), site("same-origin")], false),
            (&[host, site("sämé")], false),
            (
                &[host, site("same-origin"), origin("https://evil.example")],
                true,
            ),
            (
                &[host, site("cross-site"), origin("https://api.example.org")],
                false,
            ),
            (&[host, origin("https://api.example.org")], true),
            (&[host, origin("https://API.example.org:443")], true),
            (&[host, origin("http://api.example.org:80")], true),
            (&[host, origin("https://api.example.org:80")], false),
            (&[host, origin("https://api.example.org:8443")], false),
            (
                &[host, origin("https://api.example.org.evil.example")],
                false,
            ),
            (&[host, origin("https://evil.example")], false),
            (
                &[host, origin("https://evil.example/api.example.org")],
                false,
            ),
            (&[host, origin("ftp://api.example.org")], false),
            (&[host, origin("null")], false),
            (&[host, origin("")], false),
            (&[host, origin("https://")], false),
            (&[("host", ""), origin("https://")], false),
            (&[origin("https://api.example.org")], false),
            (&[host, host, origin("https://api.example.org")], false),
            (
                &[
                    host,
                    origin("https://api.example.org"),
                    origin("https://evil.example"),
                ],
                false,
            ),
            (&[host, origin("https://äpi.example.org")], false),
            (
                &[("host", "localhost:8080"), origin("http://localhost:8080")],
                true,
            ),
            (&[("host", "[::1]:8080"), origin("http://[::1]:8080")], true),
        ];
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            for (headers, passes) in table {
                assert_eq!(verdict(&method, headers), *passes, "{method} {headers:?}");
            }
        }
    }
}
