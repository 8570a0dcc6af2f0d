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
//! | describe these routes to programs and people | `openapi_router` (feature `openapi`) |
//! | protect what stands behind a gateway | [`forward_auth_router`] |
//! | stand behind proxies | [`ClientAddressLayer`] around everything |
//! | test my host | `testing` (feature `testing`) |
//! | serve all that, bounded and drained | `serve` (feature `serve`), or [`DrainUnread`] around `axum::serve`'s app |
//!
//! The routers are generic over the state of the host's own, so they can be merged and nested before
//! `with_state`.

mod admin;
mod authorization_header;
mod body;
mod client_address;
mod cross_site;
mod expected_tenant;
mod forward_auth;
mod guard;
mod gzip;
mod hold;
mod no_sniff;
mod oauth;
#[cfg(feature = "openapi")]
mod openapi;
#[cfg(feature = "page")]
mod page;
mod problem;
#[cfg(feature = "serve")]
mod serve;
mod sign_in;
#[cfg(feature = "testing")]
pub mod testing;
mod well_known;

/// The version whose types stand in this crate's signatures.
pub use {axum, http, serde_json};

pub use admin::{ADMIN_ROUTES, AdminRoute, admin_router};
pub use body::unread::{DrainUnread, DrainUnreadFuture, DrainUnreadService};
pub use client_address::{ClientAddressLayer, ClientAddressService, client_address};
pub use cross_site::{CrossSite, refuse_cross_site};
pub use forward_auth::{ForwardAuthHeaders, forward_auth_router};
pub use guard::{Access, AccessRejection, CallRefused, Guard, GuardError, GuardService};
pub use oauth::{OAuthConfig, OAuthConfigError, oauth_router, oauth_router_with};
#[cfg(feature = "openapi")]
pub use openapi::{OpenApi, openapi_router};
#[cfg(feature = "page")]
pub use page::{PageConfig, ShownNames, Words, WordsError, page_router};
pub use problem::Problem;
#[cfg(feature = "serve")]
pub use serve::{NotReady, ServeConfig, Stop, ready, serve};
pub use sign_in::{SignIn, SignInError};
