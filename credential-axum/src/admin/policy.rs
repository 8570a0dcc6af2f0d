//! `GET /policy`: what this deployment allows, and where it sees the caller.

use std::net::IpAddr;

use axum::{
    Json,
    extract::{Request, State},
};
use credential_core::{Credentials, credential::Networks, manage::MAX_OVERLAP};
use serde::Serialize;

use super::extract::SignedIn;
use crate::client_address::client_address;

const SECONDS_PER_DAY: u64 = 24 * 3600;

/// The limits that an admin's choices have.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub(super) struct Policy {
    /// How many credentials a tenant may have that are not revoked.
    limit: u32,
    /// The longest life of a credential; `null`: no bound.
    max_lifetime_days: Option<u64>,
    /// How long old secrets may stay live beside a new one.
    max_overlap_seconds: u64,
    /// The kinds of `authentication` that can be chosen.
    authentication: &'static [&'static str],
    /// How many `allowed_networks` a credential may have.
    max_networks: usize,
    /// Where this request comes from, for an admin who binds a key to it; `null` if nobody knows.
    client_address: Option<IpAddr>,
}

pub(super) async fn policy(
    State(credentials): State<Credentials>,
    SignedIn(_): SignedIn,
    request: Request,
) -> Json<Policy> {
    let longest = credentials.max_lifetime();
    Json(Policy {
        limit: credentials.limit_per_tenant(),
        max_lifetime_days: longest.map(|longest| longest.as_secs() / SECONDS_PER_DAY),
        max_overlap_seconds: MAX_OVERLAP.as_secs(),
        authentication: &["secret", "public_key", "workload"],
        max_networks: Networks::MAX,
        client_address: client_address(request.extensions(), request.headers()),
    })
}
