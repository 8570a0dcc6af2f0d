//! `/credentials/{id}/secrets`: a further secret, and the end of one.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use credential_core::{
    Credentials,
    credential::StoredSecret,
    manage::{Answered, Changed, MAX_OVERLAP, ManageError, RotateSecret},
    secret::ClientSecret,
};
use http::{StatusCode, header};

use super::{
    credential_json::{in_effect_from, new_secret_body},
    credentials::in_effect,
    etag::etag,
    extract::{PathId, PathSecret, SignedIn},
    fields::Fields,
    idempotency::OptionalKey,
    json::{Integer, JsonValue, OptionalJsonBody},
};
use crate::problem::Problem;

pub(super) async fn rotate(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
    key: OptionalKey,
    OptionalJsonBody(mut body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let key = key.get()?;
    let id = id.get()?;
    let request = new_secret(&mut body);
    let manage = credentials.manage(&admin);
    let answered = if let Some(key) = &key {
        let write =
            |stored: &StoredSecret, secret: &ClientSecret| new_secret_body(Some(stored), secret);
        manage.rotate_secret_once(key, id, request, write).await
    } else {
        manage.rotate_secret(id, request).await.map(|rotated| {
            let Changed {
                credential,
                effective_everywhere_at,
            } = &rotated.changed;
            let stored = credential.secret(&rotated.selector);
            Answered {
                credential: id,
                version: credential.version,
                body: new_secret_body(stored, &rotated.client_secret),
                effective_everywhere_at: Some(*effective_everywhere_at),
            }
        })
    };
    let answered = answered.map_err(|error| body.refusal(error))?;
    let headers = [
        (header::ETAG, etag(answered.version)),
        (header::CONTENT_TYPE, "application/json".to_owned()),
    ];
    let body = in_effect_from(answered.effective_everywhere_at, &answered.body);
    Ok((StatusCode::CREATED, headers, Bytes::from_owner(body)).into_response())
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
