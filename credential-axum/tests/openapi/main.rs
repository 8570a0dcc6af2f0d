//! The document says what the routes do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "shared by several test files")]
mod common;
mod document;
mod examples;
mod page;
mod refusals;
