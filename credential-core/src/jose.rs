//! Public keys and signed tokens, as JOSE has them: JWK (RFC 7517), JWS (RFC 7515).
//!
//! Keys are read by `jsonwebtoken`, signatures checked by `ring`. Why not `jsonwebtoken::decode` as a whole:
//! it verifies with the provider that some part of the process installed, says nothing of a repeated member and
//! of `crit`, and does not know the algorithm name `Ed25519` (RFC 9864).

mod algorithm;
mod json;
mod jwk;
mod jws;
mod key_set;

pub use self::{
    algorithm::Algorithm,
    jwk::{KeyFault, PublicKey},
    key_set::{KeySetFault, MAX_KEY_SET, MAX_KEYS, parse_key_set},
};
pub(crate) use self::{
    jws::{Jws, JwsFault},
    key_set::{stored_key_set, usable_keys},
};
