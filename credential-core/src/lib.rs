#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! | I want to know… | open |
//! | --- | --- |
//! | what a host holds, and its settings | [`Credentials`], [`CredentialsBuilder`] |
//! | what an admin can do | [`manage`], with the proof in [`actor`] |
//! | what a credential is, and its life | [`credential`] |
//! | may this key call that endpoint? | [`catalog`], then [`authorize`] |
//! | why a client got 401 | [`authenticate`] |
//! | how secrets are made, kept and checked | [`secret`] |
//! | how a client proves itself without a secret | [`assertion`], with keys in [`jose`] |
//! | what a token carries | [`token`] |
//! | what a store must guarantee | [`store`], then `conformance` (feature `conformance`) |
//! | what is written down about a change | [`audit`] |
//! | what is counted, for operators | [`metrics`] |
//! | what is counted, for admins | [`usage`] |
//!
//! Nothing here reads the wall clock or the operating system's randomness except through
//! [`clock::Clock`] and [`entropy::Entropy`].

pub mod actor;
pub mod assertion;
pub mod audit;
pub mod authenticate;
pub mod authorize;
mod base62;
mod builder;
mod caller_address;
pub mod catalog;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod credential;
mod credentials;
pub mod entropy;
mod flight;
pub mod id;
pub mod issuer;
pub mod jose;
mod live;
pub mod log_limit;
pub mod manage;
pub mod metrics;
pub mod outbound;
mod pacing;
pub mod percent;
mod refusal_delay;
mod refusal_log;
mod running;
pub mod secret;
#[cfg(feature = "serde")]
mod serde_forms;
pub mod store;
mod store_work;
mod tenant_share;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
pub mod usage;

pub use authorize::Access;
pub use builder::{BuildError, CredentialsBuilder};
pub use caller_address::CallerAddress;
pub use catalog::ScopeCatalog;
pub use credentials::Credentials;
pub use running::Running;
