//! The admin of a request, and the credential that its path names.

use axum::extract::{FromRequestParts, Path};
use credential_core::{actor::TenantAdmin, id::CredentialId};
use http::request::Parts;

use crate::problem::Problem;

/// The admin whom the gate admitted.
#[derive(Debug)]
pub(super) struct SignedIn(pub(super) TenantAdmin);

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let admin = parts.extensions.get().cloned();
        admin.map(Self).ok_or_else(Problem::unauthenticated)
    }
}

/// The `{id}` of the path. Text that is no id is refused when the credential is looked up, as an
/// unknown id is, and not here.
#[derive(Debug)]
pub(super) struct PathId(Option<CredentialId>);

impl PathId {
    pub(super) fn get(self) -> Result<CredentialId, Problem> {
        self.0.ok_or_else(Problem::no_such_credential)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.ok();
        Ok(Self(text.and_then(|Path(text)| text.parse().ok())))
    }
}

/// The `{id}` and the `{selector}` of the path, both as for [`PathId`].
#[derive(Debug)]
pub(super) struct PathSecret {
    pub(super) id: PathId,
    pub(super) selector: String,
}

impl<S: Send + Sync> FromRequestParts<S> for PathSecret {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let texts = Path::<(String, String)>::from_request_parts(parts, state).await;
        let (id, selector) = texts.map(|Path(texts)| texts).unwrap_or_default();
        Ok(Self {
            id: PathId(id.parse().ok()),
            selector,
        })
    }
}
