//! Client authentication of the OAuth endpoints: a secret by Basic or by body (RFC 6749 §2.3.1), or a
//! signed assertion (RFC 7523 §2.2).

use base64::{Engine, engine::general_purpose::STANDARD};
use credential_core::{
    assertion::Assertion,
    authenticate::{AuthenticateError, AuthenticatedClient},
    percent::decode,
    secret::verify::VerifyError,
};
use http::HeaderMap;
use zeroize::Zeroizing;

use super::{error::OAuthError, form::Form, request::Endpoints};
use crate::{authorization_header::Authorization, client_address::Caller};

const REFUSED: OAuthError = OAuthError::InvalidClient { bearer: false };

/// The only `client_assertion_type` (RFC 7523 §2.2).
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What is answered to an assertion whose client, key or state does not fit: one text for all, so that a
/// stranger learns nothing of a client.
const NOT_ACCEPTED: &str = "the assertion is not accepted: the client is unknown or not live, or none of its \
    registered keys and rules fits the assertion's alg, kid, claims and signature";

/// The client authentication that a request offers. No `Debug`: it holds a secret.
pub(super) enum Presented<'a> {
    /// `client_secret_basic`: the base64 of RFC 7617, not yet read.
    Basic(&'a str),
    /// `client_secret_post`.
    Post {
        client_id: &'a str,
        client_secret: &'a str,
    },
    /// A signed assertion.
    Assertion(&'a str),
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
        if let Some(assertion) = assertion(form)? {
            if form.client_secret.is_some() || Authorization::any_is(headers, "Basic") {
                return Err(OAuthError::invalid_request(
                    "the client authenticates with an assertion and with a secret",
                ));
            }
            return Ok(Self::Assertion(assertion));
        }
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
        endpoints: &Endpoints,
    ) -> Result<AuthenticatedClient, OAuthError> {
        Presented::of(sender.headers, form)?
            .authenticate(sender, endpoints, form)
            .await
    }

    /// Checks the proof of a client.
    ///
    /// # Errors
    /// `InvalidClient`; `NoClient`; `BadAssertion`; `InvalidRequest` if the body names another client than the header;
    /// `Unavailable`.
    pub(super) async fn authenticate(
        self,
        sender: Caller<'_>,
        endpoints: &Endpoints,
        form: &Form<'_>,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let credentials = &endpoints.credentials;
        let signed = matches!(self, Self::Assertion(_));
        let result = match self {
            Self::Assertion(text) => endpoints.check_assertion(text, sender, form).await,
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
            Self::Bearer(_) | Self::Nothing => return Err(OAuthError::NoClient),
        };
        if matches!(result, Err(AuthenticateError::Refused(_))) {
            // In a flood of these, other requests that are ready go first.
            tokio::task::yield_now().await;
        }
        result.map_err(|error| match error {
            AuthenticateError::Refused(_) if signed => {
                OAuthError::BadAssertion(NOT_ACCEPTED.to_owned())
            }
            AuthenticateError::Refused(_) => REFUSED,
            AuthenticateError::Assertion(fault) => OAuthError::BadAssertion(fault.to_string()),
            AuthenticateError::Busy(_)
            | AuthenticateError::Crowded { .. }
            | AuthenticateError::Store(_) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "no verdict on a client"
                );
                match error {
                    AuthenticateError::Crowded { retry_after }
                    | AuthenticateError::Busy(VerifyError::Overloaded { retry_after }) => {
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

/// The assertion that a form offers.
///
/// # Errors
/// `InvalidRequest` for half of one, or of another type.
fn assertion<'a>(form: &'a Form<'_>) -> Result<Option<&'a str>, OAuthError> {
    match (&form.client_assertion_type, &form.client_assertion) {
        (None, None) => Ok(None),
        (Some(kind), Some(assertion)) if **kind == *JWT_BEARER => Ok(Some(assertion)),
        (Some(_), Some(_)) => Err(OAuthError::invalid_request(format!(
            "client_assertion_type must be {JWT_BEARER}"
        ))),
        _ => Err(OAuthError::invalid_request(
            "client_assertion_type and client_assertion go together",
        )),
    }
}

impl Endpoints {
    async fn check_assertion(
        &self,
        text: &str,
        sender: Caller<'_>,
        form: &Form<'_>,
    ) -> Result<AuthenticatedClient, AuthenticateError> {
        let assertion = Assertion {
            text,
            client_id: form.client_id.as_deref(),
            token_addresses: &self.token_addresses,
        };
        self.credentials
            .authenticate_assertion(assertion, &sender)
            .await
    }

    /// The client of a token request whose grant is an assertion (RFC 7523 §2.1).
    ///
    /// # Errors
    /// `InvalidGrant` in place of `BadAssertion`; otherwise as for other grants.
    pub(super) async fn client_of_grant(
        &self,
        sender: Caller<'_>,
        form: &Form<'_>,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let text = form.assertion.as_deref();
        let text = text.ok_or_else(|| OAuthError::invalid_request("assertion is missing"))?;
        match Presented::of(sender.headers, form)? {
            Presented::Nothing | Presented::Bearer(_) => {}
            _ => {
                return Err(OAuthError::invalid_request(
                    "with this grant the assertion alone authenticates the client",
                ));
            }
        }
        let client = Presented::Assertion(text).authenticate(sender, self, form);
        client.await.map_err(|error| match error {
            OAuthError::BadAssertion(why) => OAuthError::InvalidGrant(why),
            other => other,
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
