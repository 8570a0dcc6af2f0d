//! `/credentials`: list, show, create, edit, set scopes.
//!
//! Bodies are only decoded here; the use cases judge them, so that one answer names every fault.

use axum::{
    Json,
    body::Bytes,
    extract::{OriginalUri, RawQuery, State},
    response::{IntoResponse, Response},
};
use credential_core::{
    Credentials,
    credential::{Credential, CredentialName, Description, Networks},
    manage::{
        Answered, Changed, CreateCredential, Created, Field, Page, ScopeChoice, SetScopes,
        UpdateCredential,
    },
    store::{ListPosition, ListQuery},
};
use http::{StatusCode, header};

use super::{
    credential_json::{ShownChange, ShownCredential, created_body},
    etag::{IfMatch, etag},
    extract::{PathId, SignedIn},
    fields::Fields,
    idempotency::OptionalKey,
    json::{Form, JsonBody, JsonValue, Text, Texts, TimeOrNull, Unchanged, Word},
    paging::{self, Cursor, ListPage},
    proof_json::Authentication,
    query::{self, OneWord},
};
use crate::problem::Problem;

pub(super) async fn list(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = query::parse(query.as_deref());
    let (wanted, view) = which_credentials(&mut query);
    query.check()?;
    let manage = credentials.manage(&admin);
    let now = credentials.clock().now();
    Ok(match view {
        View::Whole => {
            let page = manage.list(wanted).await?;
            page_of(&page, |it| ShownCredential::at(now, it))
        }
        View::Summary => {
            let page = manage.summaries(wanted).await?;
            page_of(&page, |it| {
                ShownCredential::summary(now, credentials.catalog(), it)
            })
        }
    })
}

fn page_of<'a, T>(
    page: &'a Page<T, ListPosition>,
    item: impl Fn(&'a T) -> ShownCredential<'a>,
) -> Response {
    Json(ListPage {
        items: page.items.iter().map(item).collect(),
        next_cursor: page.next.as_ref().map(Cursor::to_text),
    })
    .into_response()
}

/// What is shown of each credential in a list.
pub(super) enum View {
    Whole,
    /// Without its scopes.
    Summary,
}

/// The query of `GET /credentials`.
pub(super) fn which_credentials(query: &mut Fields<String>) -> (ListQuery, View) {
    let wanted = ListQuery {
        limit: paging::limit(query),
        after: paging::after(query),
        include_revoked: query::flag(query, "include_revoked", "Revoked credentials as well."),
    };
    let meaning = "`summary`: `scope_counts` in the place of `scopes`.";
    let view = match query.optional("view", OneWord("summary"), meaning) {
        Field::Value(()) => View::Summary,
        Field::Absent | Field::Unreadable => View::Whole,
    };
    (wanted, view)
}

/// Why there is no `If-None-Match` here: the tag ignores use and the passing of an expiry, so
/// "not modified" would hide both.
pub(super) async fn get(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
) -> Result<Response, Problem> {
    let credential = credentials.manage(&admin).get(id.get()?).await?;
    Ok(one(&credentials, &credential))
}

pub(super) async fn create(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    OriginalUri(uri): OriginalUri,
    key: OptionalKey,
    JsonBody(mut body): JsonBody,
) -> Result<Response, Problem> {
    let key = key.get()?;
    let request = new_credential(&mut body);
    let manage = credentials.manage(&admin);
    let write = |created: &Created| created_body(credentials.clock().now(), created);
    let answered = match &key {
        Some(key) => manage.create_once(key, request, write).await,
        None => manage.create(request).await.map(|created| Answered {
            credential: created.credential.identity.id,
            version: created.credential.version,
            body: write(&created),
            effective_everywhere_at: None,
        }),
    };
    let answered = answered.map_err(|error| body.refusal(error))?;
    let headers = [
        (
            header::LOCATION,
            format!("{}/{}", uri.path(), answered.credential),
        ),
        (header::ETAG, etag(answered.version)),
        (header::CONTENT_TYPE, "application/json".to_owned()),
    ];
    let body = Bytes::from_owner(answered.body);
    Ok((StatusCode::CREATED, headers, body).into_response())
}

/// The body of `POST /credentials`.
pub(super) fn new_credential(body: &mut Fields<JsonValue>) -> CreateCredential {
    CreateCredential {
        name: body.required("name", NAME, NAME_MEANING),
        api_type: body.required(
            "api_type",
            Text { form: Form::Any },
            "The `id` of an API type in `GET /catalog`. It cannot be changed later.",
        ),
        scopes: body.optional(
            "scopes",
            SCOPES,
            "Scopes of that API type, as `GET /catalog` names them. None if left out.",
        ),
        description: body.optional("description", DESCRIPTION, DESCRIPTION_MEANING),
        expires_at: body.optional("expires_at", TimeOrNull, EXPIRY_MEANING),
        allowed_networks: body.optional("allowed_networks", NETWORKS, NETWORKS_MEANING),
        proof: body.optional("authentication", Authentication, PROOF_MEANING),
        incomplete: body.incomplete(),
    }
}

const NAME: Text = Text {
    form: Form::Short(
        CredentialName::MAX_CHARS,
        // No controls, and something besides spaces.
        r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
    ),
};
const NAME_MEANING: &str = "What admins call it: at least one character besides spaces around it. Unique, whatever the \
     case, among the tenant's credentials that are not revoked.";
const DESCRIPTION: Text = Text {
    form: Form::Short(
        Description::MAX_CHARS,
        // No controls but white space.
        r"^[^\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f]*$",
    ),
};
const SCOPES: Texts = Texts {
    most: None,
    form: Form::Any,
};
const NETWORKS: Texts = Texts {
    most: Some(Networks::MAX),
    form: Form::Pattern(r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"),
};
const DESCRIPTION_MEANING: &str = "A note of the admins; line breaks are allowed.";
const EXPIRY_MEANING: &str = "When it ends, in the future; `null`: never, or after the longest life that `GET /policy` allows.";
const PROOF_MEANING: &str =
    "How the client authenticates; by default with a secret, which is made and answered once.";
const NETWORKS_MEANING: &str = "The networks that it may be used from, in CIDR notation, or single addresses: at most 50. None: \
     from everywhere.";

pub(super) async fn update(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
    IfMatch(expected): IfMatch,
    JsonBody(mut body): JsonBody,
) -> Result<Response, Problem> {
    let request = edit(&mut body);
    let edited = credentials
        .manage(&admin)
        .update(id.get()?, expected.as_ref(), request)
        .await
        .map_err(|error| body.refusal(error))?;
    Ok(one(&credentials, &edited))
}

/// The body of `PATCH /credentials/{id}`.
pub(super) fn edit(body: &mut Fields<JsonValue>) -> UpdateCredential {
    UpdateCredential {
        name: body.optional("name", NAME, NAME_MEANING),
        description: body.optional("description", DESCRIPTION, DESCRIPTION_MEANING),
        expires_at: body.optional("expires_at", TimeOrNull, EXPIRY_MEANING),
        allowed_networks: body.optional("allowed_networks", NETWORKS, NETWORKS_MEANING),
        api_type: api_type(body),
        incomplete: body.incomplete(),
    }
}

pub(super) async fn set_scopes(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
    IfMatch(expected): IfMatch,
    JsonBody(mut body): JsonBody,
) -> Result<Response, Problem> {
    let request = scopes(&mut body);
    let changed = credentials
        .manage(&admin)
        .set_scopes(id.get()?, expected.as_ref(), request)
        .await
        .map_err(|error| body.refusal(error))?;
    Ok(in_effect(&credentials, &changed))
}

/// The body of `PUT /credentials/{id}/scopes`.
pub(super) fn scopes(body: &mut Fields<JsonValue>) -> SetScopes {
    let scopes = body.optional("scopes", SCOPES, "All scopes that it shall hold.");
    let preset = body.optional(
        "preset",
        Word {
            word: "read_only",
            unknown: ("unknown_preset", "the only preset is `read_only`"),
        },
        "`read_only`: every read scope of the API type's resources and nothing else.",
    );
    body.either(("scopes", &scopes), ("preset", &preset), "not_with_scopes");
    SetScopes {
        choice: match scopes {
            Field::Absent => preset.map(|()| ScopeChoice::ReadOnly),
            named => named.map(ScopeChoice::Named),
        },
        api_type: api_type(body),
        incomplete: body.incomplete(),
    }
}

/// Accepted, so that a client can send back what it read.
fn api_type(body: &mut Fields<JsonValue>) -> Field<String> {
    let meaning = "The API type that it has. Any other is refused.";
    body.optional("api_type", Unchanged, meaning)
}

/// The answer that is a credential.
fn one(credentials: &Credentials, credential: &Credential) -> Response {
    let body = ShownCredential::at(credentials.clock().now(), credential);
    ([(header::ETAG, etag(credential.version))], Json(body)).into_response()
}

/// The answer with the time from which a change counts everywhere.
pub(super) fn in_effect(credentials: &Credentials, changed: &Changed) -> Response {
    let body = ShownChange::at(credentials.clock().now(), changed);
    let etag = etag(changed.credential.version);
    ([(header::ETAG, etag)], Json(body)).into_response()
}
