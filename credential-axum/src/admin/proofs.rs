//! `/credentials/{id}/keys` and `/credentials/{id}/workloads`: what proves a client in place of a secret.

use axum::{extract::State, response::Response};
use credential_core::{
    Credentials,
    credential::KeySetUrl,
    manage::{SetKeys, SetWorkloads},
};

use super::{
    credentials::in_effect,
    etag::IfMatch,
    extract::{PathId, SignedIn},
    fields::Fields,
    json::{JsonBody, JsonValue},
    proof_json::{KeySetOrNull, TextOrNull, Workloads},
};
use crate::problem::Problem;

pub(super) async fn set_keys(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
    IfMatch(expected): IfMatch,
    JsonBody(mut body): JsonBody,
) -> Result<Response, Problem> {
    let request = keys(&mut body);
    let manage = credentials.manage(&admin);
    let changed = manage.set_keys(id.get()?, expected.as_ref(), request);
    let changed = changed.await.map_err(|error| body.refusal(error))?;
    Ok(in_effect(&credentials, &changed))
}

/// The body of `PUT /credentials/{id}/keys`.
pub(super) fn keys(body: &mut Fields<JsonValue>) -> SetKeys {
    let jwks = body.optional(
        "jwks",
        KeySetOrNull,
        "All public keys that it shall have, as a JWK Set (RFC 7517): an object with a list `keys` of 1 to 10; `null` for none.",
    );
    let url = TextOrNull {
        max_chars: KeySetUrl::MAX_LEN,
    };
    let jwks_uri = body.optional(
        "jwks_uri",
        url,
        "Where the client publishes its keys: an https URL of a JWK Set.",
    );
    body.either(("jwks", &jwks), ("jwks_uri", &jwks_uri), "not_with_jwks");
    SetKeys {
        jwks,
        jwks_uri,
        incomplete: body.incomplete(),
    }
}

pub(super) async fn set_workloads(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
    IfMatch(expected): IfMatch,
    JsonBody(mut body): JsonBody,
) -> Result<Response, Problem> {
    let request = workloads(&mut body);
    let manage = credentials.manage(&admin);
    let changed = manage.set_workloads(id.get()?, expected.as_ref(), request);
    let changed = changed.await.map_err(|error| body.refusal(error))?;
    Ok(in_effect(&credentials, &changed))
}

/// The body of `PUT /credentials/{id}/workloads`.
pub(super) fn workloads(body: &mut Fields<JsonValue>) -> SetWorkloads {
    SetWorkloads {
        workloads: body.required(
            "workloads",
            Workloads,
            "All rules that it shall have: whose tokens, for which audience, about which subject.",
        ),
        incomplete: body.incomplete(),
    }
}
