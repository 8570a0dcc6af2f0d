//! The question of a gateway: how each family of gateways describes the call.

use http::{Extensions, HeaderMap, HeaderName, Method, StatusCode, Uri, uri::PathAndQuery};

use crate::guard::{Denial, reads_as, starts_as};

/// Where questions are asked.
pub(super) const PATH: &str = "/forward-auth";

/// The prefix of our headers. A client may not send any header with it.
const OURS: &str = "x-credential-";

/// What the gateway sent, without its body.
pub(super) struct Question {
    pub(super) method: Method,
    /// The original URI, without the effect of `nest`.
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// Who asks, and which proxies are trusted.
    pub(super) extensions: Extensions,
}

impl Question {
    /// Path and query below `/forward-auth`.
    fn target(&self) -> &str {
        let all = self.uri.path_and_query().map_or("", PathAndQuery::as_str);
        all.strip_prefix(PATH).unwrap_or_default()
    }
}

/// How the gateway describes the client's call.
///
/// A client may send such headers too. Therefore the gateway must set those of its own family on
/// every question, and headers of another family, which it would not replace, are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardAuthHeaders {
    /// `X-Forwarded-Method` and `X-Forwarded-Uri`: Traefik, Caddy.
    XForwarded,
    /// `X-Original-Method` and `X-Original-URI`: nginx `auth_request`.
    XOriginal,
    /// `X-Original-Method` and `X-Original-URL`, the whole URL: ingress-nginx.
    XOriginalUrl,
    /// No headers: the question has the method of the call, and its path below `/forward-auth`:
    /// Envoy's `ext_authz`. The part behind a `#` is not seen here, so the gateway must refuse such
    /// paths.
    Path,
}

impl ForwardAuthHeaders {
    const EVERY: [&'static str; 5] = [
        "x-forwarded-method",
        "x-forwarded-uri",
        "x-original-method",
        "x-original-uri",
        "x-original-url",
    ];

    /// The names of the family's own headers: method, then target.
    fn own(self) -> Option<[&'static str; 2]> {
        let [forwarded_method, forwarded_uri, original_method, uri, url] = Self::EVERY;
        match self {
            Self::XForwarded => Some([forwarded_method, forwarded_uri]),
            Self::XOriginal => Some([original_method, uri]),
            Self::XOriginalUrl => Some([original_method, url]),
            Self::Path => None,
        }
    }

    /// Method and target of the call in question.
    ///
    /// # Errors
    /// `BadRequest` for headers that only a client can have sent, and for what the gateway should
    /// have sent.
    pub(super) fn read(self, request: &Question) -> Result<(&str, &str), Denial> {
        let headers = &request.headers;
        self.refuse_foreign(headers)?;
        let Some([method, target]) = self.own() else {
            return Ok((request.method.as_str(), request.target()));
        };
        let method = exactly_one(headers, method)?;
        if Method::from_bytes(method.as_bytes()).is_err() {
            return Err(Denial::bad_request("the method is not an HTTP method"));
        }
        let target = exactly_one(headers, target)?;
        if self == Self::XOriginalUrl {
            return Ok((method, target_of_url(target)?));
        }
        Ok((method, target))
    }

    fn refuse_foreign(self, headers: &HeaderMap) -> Result<(), Denial> {
        let own = self.own().unwrap_or_default();
        let foreign = headers.keys().find(|name| {
            let name = name.as_str();
            let families = || Self::EVERY.iter().any(|known| reads_as(name, known));
            starts_as(name, OURS) || (!own.contains(&name) && families())
        });
        match foreign.map(HeaderName::as_str) {
            // Bounded, because a client chooses the length.
            Some(name) if name.len() > 64 => Err(Denial::bad_request(
                "a header that only the gateway may send is not accepted here",
            )),
            Some(name) => Err(Denial::bad_request(format!(
                "the header `{name}` is not accepted here"
            ))),
            None => Ok(()),
        }
    }

    /// The answer that the family's gateway passes on: `auth_request` of nginx knows 2xx, 401 and
    /// 403, and makes a 500 of anything else. It makes one of 503 as well, which is not the
    /// client's fault and stays what it is.
    pub(super) fn passed_on(self, status: StatusCode) -> StatusCode {
        match self {
            Self::XOriginal | Self::XOriginalUrl
                if status.is_client_error() && status != StatusCode::UNAUTHORIZED =>
            {
                StatusCode::FORBIDDEN
            }
            _ => status,
        }
    }
}

/// Path and query of an absolute URL, unchanged. The client chooses the host part (it is the `Host`
/// header), so no character of it may be taken for the beginning of the path.
fn target_of_url(url: &str) -> Result<&str, Denial> {
    let after_scheme = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let is_host = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
    };
    after_scheme
        .and_then(|rest| {
            let (host, target) = rest.split_at(rest.find('/')?);
            (!host.is_empty() && host.bytes().all(is_host)).then_some(target)
        })
        .ok_or(Denial::bad_request(
            "`X-Original-URL` must be an http or https URL with a host and a path",
        ))
}

fn exactly_one<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Denial> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    match (value, values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(Denial::bad_request(format!(
            "`{name}` must be there exactly once"
        ))),
    }
}
