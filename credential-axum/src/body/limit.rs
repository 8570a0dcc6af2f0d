//! Reading a request body with a limit of our own, whatever the host configured.

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// The largest body that is read: 64 KiB.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// `413`.
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    /// `400`: the connection or the encoding broke off.
    #[error("the body broke off")]
    Broken,
}

/// Reads a body of at most [`BODY_LIMIT`] bytes.
///
/// # Errors
/// `TooLarge` before reading if the announced length says so, else as soon as the limit is
/// passed; `Broken`.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return Err(BodyError::TooLarge);
    }
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Broken),
    }
}
