//! Why there is no document.

use std::io;

use credential_core::outbound::{FETCH_WITHIN, MAX_DOCUMENT};

/// Names the step, and holds nothing that a server sent but its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the URL is not one of https, or has a user name")]
    Url,
    #[error("the host's name was not found")]
    LookUp,
    #[error("the host has no public address")]
    NotPublic,
    #[error("no connection to the host: {0}")]
    Connect(io::ErrorKind),
    #[error("the host's certificate is not trusted")]
    Certificate,
    #[error("no TLS with the host")]
    Tls,
    #[error("the host did not answer in HTTP, or not to the end")]
    Http,
    #[error("the host answered with status {0}; only 200 is taken, and no redirect is followed")]
    Status(u16),
    #[error("the answer is not JSON by its Content-Type")]
    ContentType,
    #[error("the answer is compressed, which was not asked for")]
    Compressed,
    #[error("the answer has more than {MAX_DOCUMENT} bytes")]
    TooLarge,
    #[error("it took more than {} s", FETCH_WITHIN.as_secs())]
    TooSlow,
}
