//! Client authentication of the OAuth endpoints, by Basic or by body (RFC 6749 §2.3.1).

use base64::{Engine, engine::general_purpose::STANDARD};
use credential_core::{
    Credentials,
    authenticate::{AuthenticateError, AuthenticatedClient},
    percent::decode,
    secret::verify::VerifyError,
};
use http::HeaderMap;
use zeroize::Zeroizing;

use super::{error::OAuthError, form::Form};
use crate::{authorization_header::Authorization, client_address::Caller};

const REFUSED: OAuthError = OAuthError::InvalidClient { bearer: false };

/// The client authentication that a request offers. No `Debug`: it holds a secret.
pub(super) enum Presented<'a> {
    /// `client_secret_basic`: the base64 of RFC 7617, not yet read.
    Basic(&'a str),
    /// `client_secret_post`.
    Post {
        client_id: &'a str,
        client_secret: &'a str,
    },
    /// A bearer secret; only introspection knows one.
    Bearer(&'a str),
    /// Nothing, an incomplete pair, or an unknown scheme.
    Nothing,
}

impl<'a> Presented<'a> {
    /// Finds the one way in which the client authenticates.
    ///
    /// A client that authenticates in the body may send a left-over `Authorization` header. It is
    /// ignored, unless it has a scheme for clients.
    ///
    /// # Errors
    /// `InvalidRequest` for more than one way (RFC 6749 §2.3).
    pub(super) fn of(headers: &'a HeaderMap, form: &'a Form<'_>) -> Result<Self, OAuthError> {
        if let (Some(client_id), Some(client_secret)) = (&form.client_id, &form.client_secret)
            && !Authorization::any_is(headers, "Basic")
        {
            return Ok(Self::Post {
                client_id,
                client_secret,
            });
        }
        let header = match Authorization::of(headers) {
            Authorization::Absent => return Ok(Self::Nothing),
            Authorization::Repeated => {
                return Err(OAuthError::invalid_request(
                    "the Authorization header is repeated",
                ));
            }
            Authorization::Unreadable => Self::Nothing,
            Authorization::One { scheme, value } => {
                if scheme.eq_ignore_ascii_case("Basic") {
                    Self::Basic(value)
                } else if scheme.eq_ignore_ascii_case("Bearer") {
                    Self::Bearer(value)
                } else {
                    Self::Nothing
                }
            }
        };
        if form.client_secret.is_some() {
            return Err(two_ways());
        }
        Ok(header)
    }

    /// The client that a request proves to be.
    ///
    /// # Errors
    /// As [`of`](Self::of) and [`authenticate`](Self::authenticate).
    pub(super) async fn client(
        sender: Caller<'_>,
        form: &Form<'_>,
        credentials: &Credentials,
    ) -> Result<AuthenticatedClient, OAuthError> {
        Presented::of(sender.headers, form)?
            .authenticate(sender, credentials, form)
            .await
    }

    /// Checks the proof of a client.
    ///
    /// # Errors
    /// `InvalidClient`; `InvalidRequest` if the body names another client than the header;
    /// `Unavailable`.
    pub(super) async fn authenticate(
        self,
        sender: Caller<'_>,
        credentials: &Credentials,
        form: &Form<'_>,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let result = match self {
            Self::Post {
                client_id,
                client_secret,
            } => {
                let authenticated =
                    credentials.authenticate_from(client_id, client_secret, &sender);
                authenticated.await
            }
            Self::Basic(value) => {
                let decoded = decode_basic(value).ok_or(REFUSED)?;
                let (client_id, client_secret) = decoded.split_once(':').ok_or(REFUSED)?;
                let (Ok(client_id), Ok(client_secret)) = (decode(client_id), decode(client_secret))
                else {
                    return Err(REFUSED);
                };
                if form
                    .client_id
                    .as_deref()
                    .is_some_and(|id| *id != *client_id)
                {
                    return Err(OAuthError::invalid_request(
                        "the body and the Authorization header name different clients",
                    ));
                }
                let authenticated =
                    credentials.authenticate_from(&client_id, &client_secret, &sender);
                authenticated.await
            }
            Self::Bearer(_) | Self::Nothing => return Err(REFUSED),
        };
        if matches!(result, Err(AuthenticateError::Refused(_))) {
            // In a flood of these, other requests that are ready go first.
            tokio::task::yield_now().await;
        }
        result.map_err(|error| match error {
            AuthenticateError::Refused(_) => REFUSED,
            AuthenticateError::Busy(_) | AuthenticateError::Store(_) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "no verdict on a client"
                );
                match error {
                    AuthenticateError::Busy(VerifyError::Overloaded { retry_after }) => {
                        OAuthError::Unavailable {
                            retry_after: retry_after.as_secs(),
                        }
                    }
                    _ => OAuthError::UNAVAILABLE,
                }
            }
        })
    }
}

pub(super) fn two_ways() -> OAuthError {
    OAuthError::invalid_request(
        "the client authenticates in the Authorization header and in the body",
    )
}

/// The text of Basic credentials; wiped on drop.
fn decode_basic(value: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(value.len()));
    STANDARD.decode_vec(value, &mut bytes).ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}
