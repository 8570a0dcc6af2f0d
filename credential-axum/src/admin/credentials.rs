//! What admins change: create, edit, set scopes, revoke.
//!
//! Bodies are only decoded here; the use cases judge them, so that one answer names every fault.

use axum::{
    Json,
    extract::{OriginalUri, State},
    response::{IntoResponse, Response},
};
use credential_core::{
    Credentials,
    manage::{Changed, CreateCredential, ScopeChoice, SetScopes, UpdateCredential},
};
use http::{StatusCode, header};

use super::{
    body::{Fields, JsonBody, Value},
    precondition::{IfMatch, etag},
    read::{Admin, PathId, one},
};
use crate::{problem::Problem, wire};

const UNKNOWN_FIELD: &str = "unknown_field";

pub(super) async fn create(
    State(credentials): State<Credentials>,
    Admin(admin): Admin,
    OriginalUri(uri): OriginalUri,
    JsonBody(fields): JsonBody,
) -> Result<Response, Problem> {
    let created = credentials.create(&admin, to_create(fields)).await?;
    let headers = [
        (
            header::LOCATION,
            format!("{}/{}", uri.path(), created.credential.id),
        ),
        (header::ETAG, etag(created.credential.version)),
        (header::CONTENT_TYPE, "application/json".to_owned()),
    ];
    let body = wire::created(credentials.clock().now(), &created);
    let body = body.map_err(|_| Problem::unavailable())?;
    Ok((StatusCode::CREATED, headers, body).into_response())
}

fn to_create(mut fields: Fields) -> CreateCredential {
    CreateCredential {
        name: fields.text("name"),
        api_type: fields.text("api_type"),
        scopes: fields.texts("scopes").unwrap_or_default(),
        expires_at: fields.time_or_null("expires_at").flatten(),
        faults: fields.finish(UNKNOWN_FIELD),
    }
}

pub(super) async fn update(
    State(credentials): State<Credentials>,
    Admin(admin): Admin,
    id: PathId,
    IfMatch(expected): IfMatch,
    JsonBody(fields): JsonBody,
) -> Result<Response, Problem> {
    let request = to_update(fields);
    let credential = credentials
        .update(&admin, id.get()?, expected.as_ref(), request)
        .await?;
    Ok(one(&credentials, &credential))
}

fn to_update(mut fields: Fields) -> UpdateCredential {
    UpdateCredential {
        name: fields.text("name"),
        expires_at: fields.time_or_null("expires_at"),
        api_type: api_type(&mut fields),
        faults: fields.finish(UNKNOWN_FIELD),
    }
}

pub(super) async fn set_scopes(
    State(credentials): State<Credentials>,
    Admin(admin): Admin,
    id: PathId,
    IfMatch(expected): IfMatch,
    JsonBody(fields): JsonBody,
) -> Result<Response, Problem> {
    let request = to_set_scopes(fields);
    let changed = credentials
        .set_scopes(&admin, id.get()?, expected.as_ref(), request)
        .await?;
    Ok(effective(&credentials, &changed))
}

fn to_set_scopes(mut fields: Fields) -> SetScopes {
    let named = fields.has("scopes");
    let preset = fields.has("preset");
    let scopes = fields.texts("scopes").map(ScopeChoice::Named);
    let preset_choice = match fields.text("preset").as_deref() {
        Some("read_only") => Some(ScopeChoice::ReadOnly),
        Some(_) => {
            fields.fault("preset", "unknown_preset", "the only preset is `read_only`");
            None
        }
        None => None,
    };
    match (named, preset) {
        (true, true) => fields.fault(
            "preset",
            "not_with_scopes",
            "send `scopes` or `preset`, not both",
        ),
        (false, false) => fields.fault("scopes", "required", "send `scopes` or `preset`"),
        _ => {}
    }
    SetScopes {
        choice: scopes.or(preset_choice),
        api_type: api_type(&mut fields),
        faults: fields.finish(UNKNOWN_FIELD),
    }
}

pub(super) async fn revoke(
    State(credentials): State<Credentials>,
    Admin(admin): Admin,
    id: PathId,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let changed = credentials
        .revoke(&admin, id.get()?, expected.as_ref())
        .await?;
    Ok(effective(&credentials, &changed))
}

fn effective(credentials: &Credentials, changed: &Changed) -> Response {
    let body = wire::Effective::at(credentials.clock().now(), changed);
    let etag = etag(changed.credential.version);
    ([(header::ETAG, etag)], Json(body)).into_response()
}

/// Whether an API type was named at all; what it says does not matter, it cannot be changed.
fn api_type(fields: &mut Fields) -> Option<String> {
    match fields.take_unlisted("api_type")? {
        Value::Text(text) => Some(text),
        _ => Some(String::new()),
    }
}
