//! The body of a FHIR search by POST, which decides what the search needs.

use axum::body::{Body, Bytes, HttpBody};
use credential_core::catalog::{ApiType, PathRules, Requirement, SearchForm};
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use super::decide::{Call, Decision, Denial, Policy};
use crate::body::{BodyError, read_body};

/// The body of a search, as far as it can be read.
enum SearchBody {
    None,
    Read(Bytes),
    /// Not a plain form: it could name anything.
    Unseen,
}

/// True for `POST …/_search` where FHIR rules give its body a say.
pub(super) fn is_search(api_type: &ApiType, call: Call<'_>) -> bool {
    if api_type.rules() != PathRules::Fhir || call.method != "POST" {
        return false;
    }
    let path = call.target.split('?').next().unwrap_or_default();
    let path = path.strip_suffix('/').unwrap_or(path);
    path.rsplit('/').next() == Some("_search")
}

impl Policy<'_> {
    /// Decides on a search, and returns its body for the handler. The body is read for callers
    /// with a valid token only.
    ///
    /// # Errors
    /// As [`Policy::decide`]; also `TooLarge`, and `BadRequest` for the body.
    pub(super) async fn search(
        &self,
        call: Call<'_>,
        body: Body,
    ) -> Result<(Decision, Body), Denial> {
        if self.requirement(call, SearchForm::None)? == Requirement::Public {
            return Ok((Decision::Public, body));
        }
        let caller = self.caller(call.headers).await?;
        let (search, body) = SearchBody::read(call.headers, body).await?;
        let requirement = self.requirement(call, search.form()?)?;
        let access = self.admit(caller, requirement, call.headers)?;
        Ok((Decision::Allowed(access), body))
    }
}

impl SearchBody {
    /// Reads the body if it is a plain form; returns it for the handler as well.
    ///
    /// # Errors
    /// `TooLarge`; `BadRequest` for one that breaks off.
    async fn read(headers: &HeaderMap, body: Body) -> Result<(Self, Body), Denial> {
        if body.is_end_stream() {
            return Ok((Self::None, body));
        }
        if !is_plain_form(headers) {
            return Ok((Self::Unseen, body));
        }
        let bytes = read_body(body).await.map_err(|error| match error {
            BodyError::TooLarge => Denial::TooLarge,
            BodyError::Broken => Denial::bad_request(error.to_string()),
        })?;
        Ok((Self::Read(bytes.clone()), Body::from(bytes)))
    }

    /// What the rules look at.
    ///
    /// # Errors
    /// `BadRequest` for bytes that are not UTF-8.
    fn form(&self) -> Result<SearchForm<'_>, Denial> {
        match self {
            Self::None => Ok(SearchForm::None),
            Self::Unseen => Ok(SearchForm::Unseen),
            Self::Read(bytes) => std::str::from_utf8(bytes)
                .map(SearchForm::Read)
                .map_err(|_| Denial::bad_request("the body is not UTF-8")),
        }
    }
}

/// One `Content-Type` of a form in UTF-8, not compressed: then the handler reads what the rules
/// read.
fn is_plain_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(header), None, None) = (types.next(), types.next(), headers.get(CONTENT_ENCODING))
    else {
        return false;
    };
    let mut parts = header.as_bytes().split(|byte| *byte == b';');
    let essence = parts.next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        && parts.all(|parameter| {
            parameter
                .trim_ascii()
                .eq_ignore_ascii_case(b"charset=utf-8")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn plain(headers: &[(HeaderName, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_static(value));
        }
        is_plain_form(&map)
    }

    #[test]
    fn only_a_plain_form_is_read() {
        let form = "application/x-www-form-urlencoded";
        assert!(plain(&[(CONTENT_TYPE, form)]));
        assert!(plain(&[(
            CONTENT_TYPE,
            "Application/x-www-form-urlencoded; charset=UTF-8"
        )]));
        for other in [
            &[][..],
            &[(CONTENT_TYPE, "application/fhir+json")],
            &[(CONTENT_TYPE, form), (CONTENT_TYPE, form)],
            &[(CONTENT_TYPE, form), (CONTENT_ENCODING, "gzip")],
            &[(
                CONTENT_TYPE,
                "application/x-www-form-urlencoded; charset=utf-16",
            )],
        ] {
            assert!(!plain(other), "{other:?}");
        }
    }
}
