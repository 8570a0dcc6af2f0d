//! Where a call came from.

use std::net::IpAddr;

/// What is known of where a call came from, for the refusals that admins see. Never its path, which can
/// name a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallOrigin<'a> {
    /// Its method. Only a common one (`GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`) is written down.
    pub method: Option<&'a str>,
    /// The client's address.
    pub address: Option<IpAddr>,
}
