//! `WWW-Authenticate` of a refusal (RFC 6750 §3, RFC 9728 §5.1).

use credential_core::{Credentials, catalog::ApiType};
use http::HeaderValue;

use super::denial::Denial;
use crate::well_known;

/// The parts of a challenge that are the same for every call of one API type; built once.
#[derive(Debug)]
pub(crate) struct Challenge {
    /// Scheme and realm.
    begin: String,
    /// Where the API's metadata is.
    end: String,
}

impl Challenge {
    pub(crate) fn of(credentials: &Credentials, api_type: &ApiType) -> Self {
        let metadata = well_known::address(well_known::RESOURCE, &credentials.base_url(api_type));
        Self {
            begin: begin(api_type.id().as_str()),
            end: metadata.map_or(String::new(), |url| {
                format!(r#", resource_metadata="{url}""#)
            }),
        }
    }

    /// Where no API type is known.
    pub(crate) fn of_no_api_type() -> Self {
        Self {
            begin: begin("api"),
            end: String::new(),
        }
    }

    /// The header, with every scope that the call needs; `None` where no other token would help. A scope that
    /// has no name, or that a header cannot carry, is left out.
    pub(crate) fn to(&self, denial: &Denial) -> Option<HeaderValue> {
        let (error, needed) = match denial {
            Denial::NoToken { needed } => ("", needed),
            Denial::InvalidToken { needed } | Denial::MayNotActFor { needed, .. } => {
                (r#", error="invalid_token""#, needed)
            }
            Denial::OtherApiType { needed, .. } | Denial::InsufficientScope { needed } => {
                (r#", error="insufficient_scope""#, needed)
            }
            Denial::AddressNotAllowed
            | Denial::BadRequest(_)
            | Denial::Trace
            | Denial::TooLarge
            | Denial::Unavailable => return None,
        };
        let Self { begin, end } = self;
        // Scope names are free of quotes and backslashes (RFC 6749 §3.3).
        let scope = match needed.as_str() {
            "" => String::new(),
            needed => format!(r#", scope="{needed}""#),
        };
        HeaderValue::try_from(format!("{begin}{error}{scope}{end}")).ok()
    }
}

fn begin(realm: &str) -> String {
    format!(r#"Bearer realm="{realm}""#)
}
