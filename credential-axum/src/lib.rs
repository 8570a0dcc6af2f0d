#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//!
//! # What to use
//!
//! | I want to… | use |
//! | --- | --- |
//! | let admins manage credentials | [`admin_router`] with a [`SignIn`] |
//! | show them a page for it | `page_router` (feature `page`) |
//! | give out and check tokens | [`oauth_router`] |
//! | protect my routes | [`Guard`] as a layer, [`Access`] in handlers |
//! | protect what stands behind a gateway | [`forward_auth_router`] |
//! | test my host | `testing` (feature `testing`) |
//! | serve all that, bounded and drained | `serve` (feature `serve`), or [`DrainUnread`] around `axum::serve`'s app |
//!
//! The routers are generic over the state of the host's own, so they can be merged and nested before
//! `with_state`.

mod access;
mod admin;
mod authorization;
mod body;
mod cross_site;
mod error_body;
mod expected_tenant;
mod forward_auth;
mod guard;
mod media_type;
mod no_sniff;
mod oauth;
#[cfg(feature = "page")]
mod page;
mod problem;
#[cfg(feature = "serve")]
mod serve;
mod sign_in;
#[cfg(feature = "testing")]
pub mod testing;
mod unread;
mod wire;

/// The version whose types stand in this crate's signatures.
pub use {axum, http};

pub use access::{Access, AccessRejection};
pub use admin::{ADMIN_ROUTES, AdminRoute, admin_router};
pub use cross_site::{CrossSite, refuse_cross_site};
pub use error_body::CallRefused;
pub use forward_auth::{ForwardAuthHeaders, forward_auth_router};
pub use guard::{Guard, GuardError, GuardService};
pub use oauth::{OAuthConfig, OAuthConfigError, oauth_router, oauth_router_with};
#[cfg(feature = "page")]
pub use page::{PageConfig, ShownNames, Words, WordsError, page_router};
pub use problem::Problem;
#[cfg(feature = "serve")]
pub use serve::{NotReady, ServeConfig, Stop, ready, serve};
pub use sign_in::{SignIn, SignInError};
pub use unread::{DrainUnread, DrainUnreadFuture, DrainUnreadService};
