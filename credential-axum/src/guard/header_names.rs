//! Header names that other programs take for a header that a check depends on.
//!
//! CGI, WSGI and their successors cannot distinguish `X_On_Behalf_Of` from `X-On-Behalf-Of` (RFC
//! 3875 §4.1.18). A check of one spelling alone would let the other one through to them.

use credential_core::ScopeCatalog;
use http::HeaderMap;

use super::denial::Denial;

/// Headers by which some frameworks change the method after it was checked.
const METHOD_OVERRIDES: &[&str] = &[
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// Headers by which some frameworks change the path after it was checked.
const PATH_OVERRIDES: &[&str] = &["x-rewrite-url", "x-original-url"];

/// The criteria of a conditional create (HL7 FHIR R4, §3.1.0.8.1).
pub(super) const IF_NONE_EXIST: &str = "if-none-exist";

/// The names that a check depends on.
#[derive(Debug)]
pub(crate) struct CheckedNames {
    /// Accepted in one spelling only.
    one_spelling: Box<[Box<str>]>,
    path_overrides: &'static [&'static str],
}

impl CheckedNames {
    /// Those of every API type: behind one gateway, an API may read the header of another.
    pub(crate) fn of(catalog: &ScopeCatalog) -> Self {
        let users = catalog.api_types().iter().filter_map(|api_type| {
            let header = &api_type.on_behalf_of()?.header;
            Some(header.to_ascii_lowercase().into())
        });
        Self {
            one_spelling: users.chain([IF_NONE_EXIST.into()]).collect(),
            path_overrides: PATH_OVERRIDES,
        }
    }

    /// For questions of a gateway, which may describe the call in such a header. The reader of the
    /// question refuses the header where it is the client's.
    pub(crate) fn of_questions(catalog: &ScopeCatalog) -> Self {
        Self {
            path_overrides: &["x-rewrite-url"],
            ..Self::of(catalog)
        }
    }

    /// Runs for every call: one pass, no allocation.
    ///
    /// # Errors
    /// `BadRequest` for a header that overrides the method or the path, and for a second spelling of a
    /// header that a check reads.
    #[inline]
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Denial> {
        for name in headers.keys() {
            let name = name.as_str();
            if METHOD_OVERRIDES.iter().any(|known| reads_as(name, known)) {
                return Err(Denial::bad_request(
                    "headers that override the method are not accepted",
                ));
            }
            if self
                .path_overrides
                .iter()
                .any(|known| reads_as(name, known))
            {
                return Err(Denial::bad_request(
                    "headers that override the path are not accepted",
                ));
            }
            let checked = self.one_spelling.iter().find(|known| reads_as(name, known));
            if let Some(known) = checked
                && **known != *name
            {
                return Err(Denial::bad_request(format!(
                    "the header `{known}` is accepted in that spelling only"
                )));
            }
        }
        Ok(())
    }
}

/// True if a program may take one header name for the other. Both are in lower case.
#[inline]
pub(crate) fn reads_as(name: &str, known: &str) -> bool {
    name.len() == known.len() && starts_as(name, known)
}

/// True if a program may take the beginning of `name` for `known`.
#[inline]
pub(crate) fn starts_as(name: &str, known: &str) -> bool {
    name.len() >= known.len()
        && name
            .bytes()
            .zip(known.bytes())
            .all(|(one, other)| folded(one) == folded(other))
}

/// Every character but letters and digits counts as the same one.
fn folded(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte
    } else {
        b'-'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(names: &[&'static str]) -> HeaderMap {
        let names = names.iter().map(|name| name.parse().unwrap());
        names
            .map(|name| (name, http::HeaderValue::from_static("5")))
            .collect::<HeaderMap>()
    }

    #[test]
    fn every_spelling_is_recognised_and_nothing_else() {
        let names = CheckedNames::of(&ScopeCatalog::elation());
        for accepted in [
            &[][..],
            &["x-on-behalf-of", "if-none-exist"],
            &["x-on-behalf-of-user", "x-on-behalf", "xx-on-behalf-of"],
            &["x-http-method-overrides", "x-http-methods", "method"],
            &["x-original-urls", "x-original-uri", "x-rewrite", "url"],
        ] {
            assert_eq!(names.check(&headers(accepted)), Ok(()), "{accepted:?}");
        }
        for refused in [
            "x-http-method-override",
            "x_http_method_override",
            "x-method_override",
            "x-rewrite-url",
            "x_rewrite_url",
            "x-original-url",
            "x-original_url",
            "x~http!method",
            "x_on_behalf_of",
            "x-on-behalf_of",
            "if_none_exist",
        ] {
            let refusal = names.check(&headers(&["accept", refused, "host"]));
            assert!(matches!(refusal, Err(Denial::BadRequest(_))), "{refused}");
        }
    }

    #[test]
    fn an_ordinary_call_costs_no_allocation() {
        let names = CheckedNames::of(&ScopeCatalog::elation());
        let headers = headers(&[
            "host",
            "user-agent",
            "accept",
            "accept-encoding",
            "authorization",
            "x-on-behalf-of",
            "x-forwarded-for",
            "x-request-id",
            "content-type",
            "content-length",
        ]);
        let counted = allocation_counter::measure(|| names.check(&headers).unwrap());
        assert_eq!(counted.count_total, 0);
    }
}
