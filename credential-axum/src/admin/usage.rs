//! How a credential is used, why it was refused, and what a change of its scopes would do.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use credential_core::{
    Credentials,
    manage::{
        Field, MAX_USAGE_DAYS, RemovedScope, ScopePreview, UNUSED_DAYS, UsageReport, UsedScope,
    },
    store::{DayUse, RefusalCount},
};
use serde::Serialize;

use super::{
    credential_json::text,
    credentials::scopes,
    extract::{PathId, SignedIn},
    fields::Fields,
    json::JsonBody,
    query::{self, WholeNumber},
};
use crate::problem::Problem;

pub(super) async fn usage(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
    RawQuery(query): RawQuery,
) -> Result<Json<ShownUsage>, Problem> {
    let mut query = query::parse(query.as_deref());
    let days = which_days(&mut query);
    let id = id.get()?;
    // What is not the tenant's is not found, whatever else is wrong.
    let usage = credentials.manage(&admin).usage(id, days).await?;
    query.check()?;
    Ok(Json(usage.into()))
}

/// The query of `GET /credentials/{id}/usage`.
pub(super) fn which_days(query: &mut Fields<String>) -> u16 {
    let days = WholeNumber {
        most: MAX_USAGE_DAYS,
        default: UNUSED_DAYS,
    };
    let meaning = "How many days, in UTC, today included.";
    match query.optional("days", days, meaning) {
        Field::Value(days) => days,
        Field::Absent | Field::Unreadable => UNUSED_DAYS,
    }
}

pub(super) async fn refusals(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
) -> Result<Json<Refusals>, Problem> {
    let refusals = credentials.manage(&admin).refusals(id.get()?).await?;
    Ok(Json(Refusals {
        items: refusals.into_iter().map(ShownRefusal::from).collect(),
    }))
}

pub(super) async fn preview(
    State(credentials): State<Credentials>,
    SignedIn(admin): SignedIn,
    id: PathId,
    JsonBody(mut body): JsonBody,
) -> Result<Json<Preview>, Problem> {
    let request = scopes(&mut body);
    let preview = credentials
        .manage(&admin)
        .preview_scopes(id.get()?, request)
        .await
        .map_err(|error| body.refusal(error))?;
    Ok(Json(preview.into()))
}

#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "Usage")
)]
pub(super) struct ShownUsage {
    last_used_at: Option<String>,
    /// Days without a call are left out.
    days: Vec<ShownDay>,
    /// Each scope that a call needed, also under full access.
    scopes: Vec<ShownScope>,
}

impl From<UsageReport> for ShownUsage {
    fn from(usage: UsageReport) -> Self {
        Self {
            last_used_at: text(usage.last_used_at),
            days: usage.days.into_iter().map(ShownDay::from).collect(),
            scopes: usage.scopes.into_iter().map(ShownScope::from).collect(),
        }
    }
}

#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "UsedDay")
)]
struct ShownDay {
    /// In UTC.
    date: String,
    /// Calls that the guard let through.
    allowed: u64,
    /// Calls that it refused for a missing scope or a foreign address.
    denied: u64,
}

impl From<DayUse> for ShownDay {
    fn from(day: DayUse) -> Self {
        Self {
            date: day.day.to_string(),
            allowed: day.allowed,
            denied: day.denied,
        }
    }
}

#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "UsedScope")
)]
struct ShownScope {
    scope: String,
    allowed: u64,
    denied: u64,
    last_used_at: Option<String>,
}

impl From<UsedScope> for ShownScope {
    fn from(used: UsedScope) -> Self {
        Self {
            scope: used.scope,
            allowed: used.allowed,
            denied: used.denied,
            last_used_at: text(used.last_used_at),
        }
    }
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub(super) struct Refusals {
    items: Vec<ShownRefusal>,
}

/// Equal refusals within a minute.
#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "Refusal")
)]
struct ShownRefusal {
    /// The first of them.
    at: String,
    /// The last of them.
    last_at: String,
    /// How many.
    count: u64,
    /// Why: `scope_missing`, `address_not_allowed`, `expired`, `wrong_secret` and others.
    reason: String,
    /// `null` unless a scope was missing.
    needed_scope: Option<String>,
    /// `null` if it was no call of an API.
    method: Option<String>,
    /// `null` if nobody knows.
    address: Option<String>,
}

impl From<RefusalCount> for ShownRefusal {
    fn from(refusal: RefusalCount) -> Self {
        Self {
            at: refusal.at.to_string(),
            last_at: refusal.last_at.to_string(),
            count: refusal.count,
            reason: refusal.reason.into_owned(),
            needed_scope: refusal.needed_scope,
            method: refusal.method.map(Into::into),
            address: refusal.address.map(|it| it.to_string()),
        }
    }
}

#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "ScopePreview")
)]
pub(super) struct Preview {
    /// Scopes that the credential would get.
    added: Vec<String>,
    /// Scopes that it would lose.
    removed: Vec<ShownRemoved>,
    /// Scopes that it holds now, without an allowed call in 30 days.
    unused_30d: Vec<String>,
}

impl From<ScopePreview> for Preview {
    fn from(preview: ScopePreview) -> Self {
        Self {
            added: preview.added,
            removed: preview
                .removed
                .into_iter()
                .map(ShownRemoved::from)
                .collect(),
            unused_30d: preview.unused,
        }
    }
}

#[derive(Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "RemovedScope")
)]
struct ShownRemoved {
    scope: String,
    /// Allowed calls that needed it, in 30 days.
    requests_30d: u64,
    last_used_at: Option<String>,
}

impl From<RemovedScope> for ShownRemoved {
    fn from(removed: RemovedScope) -> Self {
        Self {
            scope: removed.scope,
            requests_30d: removed.requests,
            last_used_at: text(removed.last_used_at),
        }
    }
}

// As the names of the fields say.
const _: () = assert!(UNUSED_DAYS == 30);
