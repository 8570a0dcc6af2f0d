//! Why a call may not go on.

use std::borrow::Cow;

/// Why a call may not go on. The text is for the client: it gives no reason why a token was
/// refused, and nothing about other tenants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denial {
    /// `400`: parsers could read the call differently.
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// `405`: TRACE, whose answer would repeat the request, tokens included.
    #[error("the method TRACE is not accepted")]
    Trace,
    /// `413`: the body of a search.
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    /// `401` without an error code (RFC 6750 §3.1).
    #[error("an access token is needed")]
    NoToken {
        /// As for `InsufficientScope`; also empty if that would take reading more of the call.
        needed: String,
    },
    /// `401 invalid_token`, whatever the reason.
    #[error("the access token is not valid")]
    InvalidToken {
        /// As for `NoToken`.
        needed: String,
    },
    /// `401 invalid_token`: the call names a user and the token does not allow that.
    #[error("the access token lacks the scope `{scope}`, which `{header}` needs")]
    MayNotActFor {
        /// Every scope that the call needs, this one among them.
        needed: String,
        /// The scope.
        scope: String,
        /// The header, as the catalogue lists it.
        header: String,
    },
    /// `403` without an error code: the credential is bound to networks, and the call comes from elsewhere,
    /// or nobody knows from where. Which networks, is the tenant's to know.
    #[error("the access token may not be used from the address that this call comes from")]
    AddressNotAllowed,
    /// `403 insufficient_scope`: a token for another API, which could never have the scope.
    #[error("{}", other_api_type(.token, .called, .needed))]
    OtherApiType {
        /// The API type that the token is for.
        token: String,
        /// The API type that was called.
        called: String,
        /// As for `InsufficientScope`.
        needed: String,
    },
    /// `403 insufficient_scope`.
    #[error("{}", insufficient(.needed))]
    InsufficientScope {
        /// Scope names separated by spaces; empty if no scope would do.
        needed: String,
    },
    /// `503`: nothing can be proven now.
    #[error("access cannot be checked right now; try again in a moment")]
    Unavailable,
}

fn insufficient(needed: &str) -> Cow<'static, str> {
    if needed.is_empty() {
        "no scope allows this call".into()
    } else {
        format!("the access token lacks what this call needs: {needed}").into()
    }
}

fn other_api_type(token: &str, called: &str, needed: &str) -> String {
    let with = if needed.is_empty() { "" } else { " with " };
    format!(
        "the access token is for the API `{token}`; this call needs one for `{called}`{with}{needed}"
    )
}

impl Denial {
    /// Filled in by whoever knows the call.
    pub(crate) const NO_TOKEN: Self = Self::NoToken {
        needed: String::new(),
    };
    /// As `NO_TOKEN`.
    pub(crate) const INVALID_TOKEN: Self = Self::InvalidToken {
        needed: String::new(),
    };

    pub(crate) fn bad_request(why: impl Into<Cow<'static, str>>) -> Self {
        Self::BadRequest(why.into())
    }
}
