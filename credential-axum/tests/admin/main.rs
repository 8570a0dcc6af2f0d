//! The admin API over HTTP.

#[path = "../common/mod.rs"]
mod common;

mod edits;
mod faults;
mod lists;
mod routes;
mod secrets;
