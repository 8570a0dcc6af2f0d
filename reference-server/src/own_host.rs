//! Refuses requests that were made for another host.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};

/// The names under which the demo may be visited: this machine, or the host of the issuer.
#[derive(Debug, Clone)]
pub struct OwnHost {
    /// `HOST` or `HOST:PORT` of the issuer.
    public: String,
}

impl OwnHost {
    pub fn of(issuer: &str) -> Self {
        let (_, rest) = issuer.split_once("://").unwrap_or_default();
        Self {
            public: rest.split('/').next().unwrap_or_default().to_owned(),
        }
    }

    fn is(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case(&self.public)
            || name.eq_ignore_ascii_case("localhost")
            || address.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
    }
}

/// Refuses a request that was made for another host. A page of any site can make its own name resolve to
/// this machine (DNS rebinding). Browsers then treat the demo as a part of that site, and only `Host`
/// shows it.
pub async fn only_own_host(State(own): State<OwnHost>, request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let refused = match (hosts.next(), hosts.next()) {
        (Some(host), None) if host.to_str().is_ok_and(|host| own.is(host)) => None,
        (Some(_), None) => Some((
            StatusCode::MISDIRECTED_REQUEST,
            "this demo is served as localhost and under its issuer's name only\n",
        )),
        // RFC 9112 §3.2
        _ => Some((StatusCode::BAD_REQUEST, "one `Host` header is needed\n")),
    };
    let mut response = match refused {
        Some(refused) => refused.into_response(),
        None => next.run(request).await,
    };
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
