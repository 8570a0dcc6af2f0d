//! The body of a FHIR search by POST, which decides what the search needs.

use axum::body::{Body, Bytes, HttpBody};
use credential_core::catalog::{ApiType, PathRules, SearchForm};
use http::{HeaderMap, header::CONTENT_ENCODING};

use super::{
    decide::{Call, Decision, Policy},
    denial::Denial,
};
use crate::body::{BodyError, is_utf8_form, read_body};

/// The body of a search, as far as it can be read.
enum SearchBody {
    None,
    Read(Bytes),
    /// Not a plain form, so it may name any type.
    Unseen,
}

/// True for `POST …/_search` where FHIR rules also read its body.
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
        let located = self.locate(call)?;
        if self.is_public(&located) {
            return Ok((Decision::Public, body));
        }
        let caller = match self.caller(call.caller()).await {
            Ok(caller) => caller,
            Err(denial) => return Err(self.noted(denial, located, call, SearchForm::Unseen)),
        };
        let (search, body) = SearchBody::read(call.headers, body).await?;
        let requirement = self.requirement(located, call, search.form()?)?;
        let access = self.admit(caller, requirement, call.caller(), Some(call.method))?;
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
        // A compressed body is not what the handler reads.
        if !is_utf8_form(headers) || headers.contains_key(CONTENT_ENCODING) {
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
