//! What admins read: the catalogue, credentials, the audit trail.

use axum::{
    Json,
    extract::{FromRequestParts, Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use credential_core::{
    Credentials,
    actor::TenantAdmin,
    audit::AuditEvent,
    credential::Credential,
    id::CredentialId,
    store::{AuditQuery, ListQuery},
};
use http::{header, request::Parts};

use super::{cursor::Cursor, precondition::etag, query::Query};
use crate::{problem::Problem, wire};

/// The admin whom the gate let in.
#[derive(Debug)]
pub(super) struct Admin(pub(super) TenantAdmin);

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let admin = parts.extensions.get().cloned();
        admin.map(Self).ok_or_else(Problem::unauthenticated)
    }
}

/// The `{id}` of the path. What is no id is looked at last, as what names nothing is.
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

pub(super) async fn catalog(State(credentials): State<Credentials>) -> Response {
    Json(wire::Catalog::from(credentials.catalog())).into_response()
}

pub(super) async fn list(
    State(credentials): State<Credentials>,
    Admin(admin): Admin,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query.as_deref());
    let wanted = ListQuery {
        limit: query.limit(),
        after: query.cursor(),
        include_revoked: query.flag("include_revoked"),
    };
    refuse_faults(query)?;
    let page = credentials.list(&admin, wanted).await?;
    let now = credentials.clock().now();
    let item = |credential| wire::Credential::at(now, credential);
    Ok(Json(wire::Page {
        items: page.items.iter().map(item).collect(),
        next_cursor: page.next.as_ref().map(Cursor::to_text),
    })
    .into_response())
}

/// Why there is no `If-None-Match` here: the tag ignores use and the passing of an expiry, so
/// "not modified" would hide both.
pub(super) async fn get(
    State(credentials): State<Credentials>,
    Admin(admin): Admin,
    id: PathId,
) -> Result<Response, Problem> {
    let credential = credentials.get(&admin, id.get()?).await?;
    Ok(one(&credentials, &credential))
}

/// The answer that is a credential.
pub(super) fn one(credentials: &Credentials, credential: &Credential) -> Response {
    let body = wire::Credential::at(credentials.clock().now(), credential);
    ([(header::ETAG, etag(credential.version))], Json(body)).into_response()
}

pub(super) async fn audit_events(
    State(credentials): State<Credentials>,
    Admin(admin): Admin,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query.as_deref());
    let wanted = AuditQuery {
        credential_id: credential_id(&mut query),
        limit: query.limit(),
        before: query.cursor(),
    };
    refuse_faults(query)?;
    let page = credentials.audit_events(&admin, wanted).await?;
    let items: Vec<AuditEvent> = page.items;
    Ok(Json(wire::Page {
        items: items.iter().map(wire::Event::from).collect(),
        next_cursor: page.next.as_ref().map(Cursor::to_text),
    })
    .into_response())
}

fn credential_id(query: &mut Query) -> Option<CredentialId> {
    let id = query.take("credential_id")?.parse().ok();
    if id.is_none() {
        let message = "must be the `id` of a credential";
        query.fault("credential_id", "invalid_id", message);
    }
    id
}

fn refuse_faults(query: Query) -> Result<(), Problem> {
    let faults = query.finish("unknown_parameter");
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(faults))
    }
}
