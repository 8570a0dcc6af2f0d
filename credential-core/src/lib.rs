#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! | I want to know… | open |
//! | --- | --- |
//! | what a host holds, and its settings | [`Credentials`], [`host`] |
//! | what an admin can do | [`manage`], with the proof in [`actor`] |
//! | what a credential is, and its life | [`credential`] |
//! | may this key call that endpoint? | [`catalog`], then [`authorize`] |
//! | why a client got 401 | [`authenticate`] |
//! | how secrets are made, kept and checked | [`secret`] |
//! | what a token carries | [`token`] |
//! | what a store must guarantee | [`store`], then `conformance` (feature `conformance`) |
//! | what is written down about a change | [`audit`] |
//! | what is counted | [`telemetry`] |
//!
//! Nothing here reads the wall clock or the operating system's randomness except through
//! [`clock::Clock`] and [`entropy::Entropy`].

pub mod actor;
pub mod audit;
pub mod authenticate;
pub mod authorize;
mod base62;
mod brake;
pub mod catalog;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod credential;
pub mod entropy;
pub mod host;
pub mod id;
pub mod issuer;
pub mod manage;
pub mod percent;
mod refusals;
pub mod secret;
pub mod store;
mod store_work;
pub mod telemetry;
mod tenant_share;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
mod turns;
mod usage;

pub use authorize::Access;
pub use catalog::ScopeCatalog;
pub use host::{Credentials, Running};
