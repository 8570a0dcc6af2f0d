//! Where a call came from.

use std::fmt;

use crate::CallerAddress;

/// What is known of where a call came from, for the refusals that admins see. Never its path, which can
/// name a person.
#[derive(Clone, Copy, Default)]
pub struct CallOrigin<'a> {
    /// Its method. Only a common one (`GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`) is written down.
    pub method: Option<&'a str>,
    /// The client's address. Asked for only if the call is refused.
    pub address: Option<&'a dyn CallerAddress>,
}

impl fmt::Debug for CallOrigin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.and_then(CallerAddress::address);
        f.debug_struct("CallOrigin")
            .field("method", &self.method)
            .field("address", &address)
            .finish()
    }
}
