//! Self-service API credentials: a tenant's admins create, scope and revoke them, integrations
//! trade them for tokens, and a platform asks on every request what a token may do. A check costs
//! well under a microsecond, and a revocation or scope edit is already in its answer.
//!
//! ```
//! use credential_core::{
//!     Credentials, ScopeCatalog,
//!     actor::{Actor, Role},
//!     entropy::OsEntropy,
//!     manage::CreateCredential,
//!     secret::keyring::Keyring,
//! };
//! use credential_store_memory::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let credentials = Credentials::builder(MemoryStore::new())
//!     .catalog(ScopeCatalog::elation())
//!     .keyring(Keyring::generate(&OsEntropy))
//!     .build()?;
//! let running = credentials.start().await?;
//!
//! // An admin creates a credential. The secret is in this one answer and nowhere else.
//! let lee = Actor { id: "dr-lee".parse()?, tenant: "alder".parse()?, role: Role::Admin };
//! let admin = lee.admin()?;
//! let created = credentials
//!     .create(&admin, CreateCredential {
//!         name: Some("Lab sync".into()),
//!         api_type: Some("apiv2".into()),
//!         scopes: vec!["system/patients.read".into()],
//!         ..CreateCredential::default()
//!     })
//!     .await?;
//!
//! // An integration trades it for a token.
//! let client = credentials
//!     .authenticate(created.credential.client_id.as_str(), created.client_secret.expose_secret())
//!     .await?;
//! let token = credentials.issue(&client, None)?.access_token;
//!
//! // The platform looks up once what its calls need, and asks on every request.
//! let apiv2 = credentials.catalog().api_type("apiv2").ok_or("listed")?;
//! let reading = apiv2.requires("system/patients.read")?;
//! let writing = apiv2.requires("system/patients.write")?;
//! let access = credentials.verify(token.expose_secret()).await?;
//! assert!(access.permits(&reading));
//! assert!(!access.permits(&writing));
//!
//! // A revocation is in the very next answer.
//! credentials.revoke(&admin, created.credential.id, None).await?;
//! assert!(credentials.verify(token.expose_secret()).await.is_err());
//! running.shutdown().await;
//! # Ok(())
//! # }
//! ```
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
//! [`clock::Clock`] and [`entropy::Entropy`]. Features: `testing` adds a manual clock, seeded
//! entropy and cheap hashing; `conformance` adds the store contract as test functions.

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
