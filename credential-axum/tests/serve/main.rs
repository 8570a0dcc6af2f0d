//! The accept loop, by what its clients see on their sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

mod bounds;
mod client;
#[path = "../common/oauth.rs"]
#[expect(dead_code, reason = "these tests need a part of it")]
mod common;
mod peers;
mod readiness;
mod refusals;
mod stops;
