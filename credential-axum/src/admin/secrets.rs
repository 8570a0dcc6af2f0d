//! `/credentials/{id}/secrets`: a further secret, and the end of one.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use credential_core::{
    Credentials,
    manage::{MAX_OVERLAP, ManageError, RotateSecret},
};
use http::{StatusCode, header};

use super::{
    credential_json::rotated_body,
    credentials::in_effect,
    etag::etag,
    extract::{PathId, PathSecret, SignedIn},
    fields::Fields,
    json::{Integer, JsonValue, OptionalJsonBody},
};
use crate::problem::Problem;

pub(super) async fn rotate(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
    OptionalJsonBody(mut body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let request = new_secret(&mut body);
    let rotated = credentials.manage(&admin).rotate_secret(id.get()?, request);
    let rotated = rotated.await.map_err(|error| body.refusal(error))?;
    let headers = [
        (header::ETAG, etag(rotated.changed.credential.version)),
        (header::CONTENT_TYPE, "application/json".to_owned()),
    ];
    let answer = rotated_body(&rotated).map_err(|_| Problem::unavailable())?;
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

/// The body of `POST /credentials/{id}/secrets`.
pub(super) fn new_secret(body: &mut Fields<JsonValue>) -> RotateSecret {
    RotateSecret {
        overlap_seconds: body.optional(
            "overlap_seconds",
            Integer {
                least: 0,
                most: i64::try_from(MAX_OVERLAP.as_secs()).unwrap_or(i64::MAX),
            },
            "How long the secrets that are live now stay live; 0 ends them and their tokens at once. A day if \
             left out.",
        ),
        incomplete: body.incomplete(),
    }
}

pub(super) async fn end(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    PathSecret { id, selector }: PathSecret,
) -> Result<Response, Problem> {
    let manage = credentials.manage(&admin);
    let ended = manage.end_secret(id.get()?, &selector).await;
    let ended = ended.map_err(|error| match error {
        ManageError::NotFound => Problem::no_such_secret(),
        error => error.into(),
    })?;
    Ok(in_effect(&credentials, &ended))
}
