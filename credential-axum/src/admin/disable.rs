//! `/credentials/{id}/disable` and `…/enable`: a pause.

use axum::{extract::State, response::Response};
use credential_core::Credentials;

use super::{
    credentials::in_effect,
    etag::IfMatch,
    extract::{PathId, SignedIn},
};
use crate::problem::Problem;

pub(super) async fn disable(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let manage = credentials.manage(&admin);
    let changed = manage.disable(id.get()?, expected.as_ref()).await?;
    Ok(in_effect(&credentials, &changed))
}

pub(super) async fn enable(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let manage = credentials.manage(&admin);
    let changed = manage.enable(id.get()?, expected.as_ref()).await?;
    Ok(in_effect(&credentials, &changed))
}
