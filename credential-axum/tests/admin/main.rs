//! The admin API over HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "shared by several test files")]
mod common;

mod edits;
mod faults;
mod idempotency;
mod lists;
mod neighbours;
mod proofs;
mod routes;
mod schemas;
mod secrets;
