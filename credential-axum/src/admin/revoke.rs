//! The end of one credential, and of all.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use credential_core::{Credentials, manage::RevokeAll};
use serde::Serialize;

use super::{
    credentials::in_effect,
    etag::IfMatch,
    extract::{PathId, SignedIn},
    fields::Fields,
    json::{Form, JsonBody, JsonValue, Text},
};
use crate::problem::Problem;

pub(super) async fn revoke(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let changed = credentials
        .manage(&admin)
        .revoke(id.get()?, expected.as_ref())
        .await?;
    Ok(in_effect(&credentials, &changed))
}

pub(super) async fn revoke_all(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    JsonBody(mut body): JsonBody,
) -> Result<Response, Problem> {
    let request = confirmation(&mut body);
    let revoked = credentials.manage(&admin).revoke_all(request).await;
    let revoked = revoked.map_err(|error| body.refusal(error))?;
    Ok(Json(AllRevoked {
        revoked: revoked.revoked,
        effective_everywhere_at: revoked.effective_everywhere_at.to_string(),
    })
    .into_response())
}

/// The body of `POST /credentials/revoke-all`.
pub(super) fn confirmation(body: &mut Fields<JsonValue>) -> RevokeAll {
    RevokeAll {
        confirm: body.required(
            "confirm",
            Text { form: Form::Pattern("^(0|[1-9][0-9]*)$") },
            "The number of the tenant's credentials that are not revoked, in digits: what the admin has seen \
             and agrees to end.",
        ),
        incomplete: body.incomplete(),
    }
}

/// All credentials of the tenant have ended.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub(super) struct AllRevoked {
    /// How many were.
    revoked: usize,
    /// As in every change.
    effective_everywhere_at: String,
}
