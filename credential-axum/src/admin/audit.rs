//! `GET /audit-events`: who changed what, and when.

use std::fmt::Write as _;

use axum::{
    Json,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use credential_core::{
    Credentials,
    manage::Field,
    store::{AuditQuery, StoredRow},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    extract::SignedIn,
    fields::Fields,
    paging::{self, Cursor, ListPage},
    query::{self, Id},
};
use crate::problem::Problem;

pub(super) async fn audit_events(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = query::parse(query.as_deref());
    let wanted = which_events(&mut query);
    query.check()?;
    let page = credentials.manage(&admin).audit_events(wanted).await?;
    Ok(Json(ListPage {
        items: page.items.iter().map(ShownEvent::from).collect(),
        next_cursor: page.next.as_ref().map(Cursor::to_text),
    })
    .into_response())
}

/// The query of `GET /audit-events`.
pub(super) fn which_events(query: &mut Fields<String>) -> AuditQuery {
    let meaning = "Only events of this credential.";
    AuditQuery {
        credential_id: match query.optional("credential_id", Id, meaning) {
            Field::Value(id) => Some(id),
            Field::Absent | Field::Unreadable => None,
        },
        limit: paging::limit(query),
        before: paging::after(query),
    }
}

/// One row of the audit trail. A row that cannot be read is shown by its number alone, between the
/// other rows of its page.
#[derive(Default, Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "AuditEvent")
)]
pub(super) struct ShownEvent<'a> {
    /// Its place in the tenant's trail, from 1.
    seq: u64,
    at: Option<String>,
    actor: Option<&'a str>,
    /// `credential.created` and so on; newer versions may know more.
    action: Option<&'a str>,
    /// `null` if it is about no single credential.
    credential_id: Option<String>,
    /// What changed. Byte for byte as stored, because the hash covers it.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")
    )]
    details: Option<&'a RawValue>,
    /// Links it to the rows before it: 64 hexadecimal digits.
    hash: Option<String>,
    /// The column whose value this software never writes; `null` in every row that can be read.
    unreadable: Option<&'a str>,
}

impl<'a> From<&'a StoredRow> for ShownEvent<'a> {
    fn from(row: &'a StoredRow) -> Self {
        match row {
            StoredRow::Event(event) => Self {
                seq: event.seq,
                at: Some(event.at.to_string()),
                actor: Some(event.actor.as_str()),
                action: Some(event.action.as_str()),
                credential_id: event.subject.credential().map(|id| id.to_string()),
                details: serde_json::from_str(&event.details).ok(),
                hash: Some(hex(&event.hash)),
                unreadable: None,
            },
            StoredRow::Unreadable { seq, column } => Self {
                seq: *seq,
                unreadable: Some(column),
                ..Self::default()
            },
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
