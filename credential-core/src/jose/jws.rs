//! A signed token in compact form (RFC 7515 §3.1), read strictly and not yet verified.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{Algorithm, json::parse_object};

/// The longest text that is looked at, in bytes.
const MAX_LEN: usize = 8 * 1024;

/// A token's parts. Nothing in it is to be believed before a key verified the signature.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    /// `typ` in lower case, without `application/`.
    pub(crate) typ: Option<String>,
    /// Where the sender says that its keys are.
    pub(crate) jku: Option<String>,
    pub(crate) claims: Map<String, Value>,
    /// What is signed.
    pub(crate) message: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

/// Why a text is not read as a signed token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwsFault {
    #[error("it is longer than 8 KiB")]
    TooLong,
    #[error(
        "it is not three parts in base64url without padding, the first two of them JSON objects without repeated members"
    )]
    Form,
    #[error("its header has `{0}`, which is not accepted")]
    Parameter(&'static str),
    #[error("its header's `{0}` must be a text that is not empty")]
    NotText(&'static str),
    #[error(
        "its header's `alg` is not one of RS256, RS384, PS256, ES256, ES384, EdDSA and Ed25519"
    )]
    Algorithm,
}

/// Header parameters that would change what is verified or by what, or how the payload is read.
const REFUSED: [&str; 8] = ["crit", "jwk", "x5u", "x5c", "b64", "zip", "enc", "epk"];

impl<'a> Jws<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, JwsFault> {
        if text.len() > MAX_LEN {
            return Err(JwsFault::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(JwsFault::Form)?;
        let (header, payload) = message.split_once('.').ok_or(JwsFault::Form)?;
        // A dot in the payload is no base64url, so there are three parts and no more.
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsFault::Form);
        let object = |part: &str| parse_object(&decoded(part)?).ok_or(JwsFault::Form);
        let header = object(header)?;
        if let Some(refused) = REFUSED.into_iter().find(|name| header.contains_key(*name)) {
            return Err(JwsFault::Parameter(refused));
        }
        let text_of = |name: &'static str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(JwsFault::NotText(name)),
        };
        let algorithm = text_of("alg")?.ok_or(JwsFault::Algorithm)?;
        let typ = text_of("typ")?.map(|typ| {
            // RFC 7515 §4.1.9.
            let typ = typ.to_ascii_lowercase();
            typ.strip_prefix("application/")
                .map_or(typ.clone(), str::to_owned)
        });
        Ok(Self {
            algorithm: Algorithm::named(&algorithm).ok_or(JwsFault::Algorithm)?,
            kid: text_of("kid")?,
            typ,
            jku: text_of("jku")?,
            claims: object(payload)?,
            message: message.as_bytes(),
            signature: decoded(signature)?,
        })
    }
}
