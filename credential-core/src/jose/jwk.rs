//! A public key (RFC 7517, RFC 7518 §6).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use ring::{
    agreement::{self, ECDH_P256, ECDH_P384, EphemeralPrivateKey},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PSS_2048_8192_SHA256, RsaParameters,
        RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::Algorithm;

/// The longest `kid`, in characters.
const MAX_KID: usize = 256;
/// Members of private and symmetric keys (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// The bits of an RSA modulus that are accepted.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// The longest RSA exponent, in bytes: a longer one makes each verification cost many times as much.
const RSA_EXPONENT: usize = 4;

/// A public key that verifies signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kid: Option<Box<str>>,
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    /// The uncompressed point.
    P256(Box<[u8]>),
    P384(Box<[u8]>),
    Ed25519(Box<[u8]>),
}

/// Why a key is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not an object, or a member that a key must have is missing or unreadable.
    #[error("it is not a JWK: an object with `kty` and that type's members")]
    Malformed,
    /// Private or symmetric. Whoever sent it should take it out of use.
    #[error(
        "it holds a private or symmetric key: register the public key only, and replace this one"
    )]
    Private,
    /// Of another type or curve.
    #[error("it must be an RSA key, an EC key on P-256 or P-384, or an OKP key on Ed25519")]
    Unsupported,
    /// RSA of an unaccepted size.
    #[error(
        "an RSA key must have 2048 to 4096 bits and an odd exponent from 3 on, of 4 bytes at most"
    )]
    RsaSize,
    /// Not a point of its curve.
    #[error("it is not a point of its curve")]
    NotOnCurve,
    /// Its `use` or `key_ops` say that it does not verify signatures.
    #[error("its `use` must be `sig` and its `key_ops` must hold `verify`, where they are given")]
    NotForSignatures,
    /// Its `alg` is unknown, or not one of its type.
    #[error(
        "its `alg` must be one of RS256, RS384, PS256, ES256, ES384, EdDSA and Ed25519 that fits the key"
    )]
    Algorithm,
    /// Its `kid` is not a text of 1 to 256 characters.
    #[error("its `kid` must be a text of 1 to 256 characters")]
    Kid,
}

impl KeyFault {
    /// A word for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_key",
            Self::Private => "private_key",
            Self::Unsupported => "unsupported_key",
            Self::RsaSize => "key_size",
            Self::NotOnCurve => "not_on_curve",
            Self::NotForSignatures => "not_for_signatures",
            Self::Algorithm => "unsupported_algorithm",
            Self::Kid => "invalid_kid",
        }
    }
}

impl PublicKey {
    /// Reads a JWK. Members that say nothing about verifying are dropped.
    ///
    /// # Errors
    /// [`KeyFault`], the first.
    pub fn parse(jwk: &Value) -> Result<Self, KeyFault> {
        let key = Self::read(jwk)?;
        // Last, because it costs the most.
        if key.material.is_on_curve() {
            Ok(key)
        } else {
            Err(KeyFault::NotOnCurve)
        }
    }

    /// As [`parse`](Self::parse), without the check of a point, which costs as much as a verification: for keys
    /// that were checked when they were registered, and for those of which no more than one verification depends.
    pub(crate) fn read(jwk: &Value) -> Result<Self, KeyFault> {
        let members = jwk.as_object().ok_or(KeyFault::Malformed)?;
        if PRIVATE.iter().any(|name| members.contains_key(*name))
            || members.get("kty").is_some_and(|kty| kty == "oct")
        {
            return Err(KeyFault::Private);
        }
        let kid = match members.get("kid") {
            None => None,
            Some(Value::String(kid)) if (1..=MAX_KID).contains(&kid.chars().count()) => {
                Some(kid.as_str().into())
            }
            Some(_) => return Err(KeyFault::Kid),
        };
        let for_signatures = members.get("use").is_none_or(|it| it == "sig");
        let verifies = |it: &Value| {
            let list = it.as_array();
            list.is_some_and(|list| list.iter().any(|it| it == "verify"))
        };
        if !for_signatures || !members.get("key_ops").is_none_or(verifies) {
            return Err(KeyFault::NotForSignatures);
        }
        let algorithm = match members.get("alg") {
            None => None,
            Some(name) => {
                let known = name.as_str().and_then(Algorithm::named);
                Some(known.ok_or(KeyFault::Algorithm)?)
            }
        };
        let key = Self {
            kid,
            algorithm: None,
            material: Material::parse(members)?,
        };
        if !algorithm.is_none_or(|algorithm| key.fits(algorithm)) {
            return Err(KeyFault::Algorithm);
        }
        Ok(Self { algorithm, ..key })
    }

    /// What its owner calls it.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The only algorithm that it may be used with; `None`: each that fits its type.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// `RSA`, `EC` or `OKP`.
    #[must_use]
    pub fn kty(&self) -> &'static str {
        match self.material {
            Material::Rsa { .. } => "RSA",
            Material::P256(_) | Material::P384(_) => "EC",
            Material::Ed25519(_) => "OKP",
        }
    }

    /// Its digest with SHA-256 (RFC 7638), in base64url.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        // Sorted by name and without spaces, as the RFC has it.
        let members = Value::Object(self.material.members()).to_string();
        URL_SAFE_NO_PAD.encode(Sha256::digest(members))
    }

    /// The key as a JWK: its material, `kid` and `alg`.
    #[must_use]
    pub fn to_jwk(&self) -> Value {
        let mut members = self.material.members();
        if let Some(kid) = &self.kid {
            members.insert("kid".to_owned(), (**kid).into());
        }
        if let Some(algorithm) = self.algorithm {
            members.insert("alg".to_owned(), algorithm.as_str().into());
        }
        Value::Object(members)
    }

    /// Whether it is the same key, whatever its owner calls it.
    pub(super) fn is_the_key(&self, other: &Self) -> bool {
        self.material == other.material
    }

    /// Whether it may have signed with that algorithm.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        let of_type = match self.material {
            Material::Rsa { .. } => matches!(
                algorithm,
                Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Ps256
            ),
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
            Material::Ed25519(_) => algorithm == Algorithm::Ed25519,
        };
        of_type && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether it made that signature.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let plain = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key)
                .verify(message, signature)
                .is_ok()
        };
        match (&self.material, algorithm) {
            (Material::Rsa { n, e }, Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Ps256) => {
                let parameters: &RsaParameters = match algorithm {
                    Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    _ => &RSA_PKCS1_2048_8192_SHA256,
                };
                let key = RsaPublicKeyComponents { n, e };
                key.verify(parameters, message, signature).is_ok()
            }
            (Material::P256(point), Algorithm::Es256) => plain(&ECDSA_P256_SHA256_FIXED, point),
            (Material::P384(point), Algorithm::Es384) => plain(&ECDSA_P384_SHA384_FIXED, point),
            (Material::Ed25519(key), Algorithm::Ed25519) => plain(&ED25519, key),
            _ => false,
        }
    }
}

impl Material {
    fn parse(members: &Map<String, Value>) -> Result<Self, KeyFault> {
        // Only what a key of some type must have: `jsonwebtoken` reads the others as well, and fewer values.
        let names = ["kty", "crv", "n", "e", "x", "y"];
        let material = members
            .iter()
            .filter(|(name, _)| names.contains(&name.as_str()));
        let material = material.map(|(name, value)| (name.clone(), value.clone()));
        let jwk: Jwk = serde_json::from_value(Value::Object(material.collect()))
            .map_err(|_| unreadable(members))?;
        let decoded = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text);
            bytes.map_err(|_| KeyFault::Malformed)
        };
        match &jwk.algorithm {
            AlgorithmParameters::RSA(key) => {
                let (n, e) = (decoded(&key.n)?, decoded(&key.e)?);
                let (n, e) = (significant(&n), significant(&e));
                let bits = n
                    .first()
                    .map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
                let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
                let exponent = odd(e) && e != [1] && e.len() <= RSA_EXPONENT;
                if !RSA_BITS.contains(&bits) || !odd(n) || !exponent {
                    return Err(KeyFault::RsaSize);
                }
                Ok(Self::Rsa {
                    n: n.into(),
                    e: e.into(),
                })
            }
            AlgorithmParameters::EllipticCurve(key) => {
                let length = match key.curve {
                    EllipticCurve::P256 => 32,
                    EllipticCurve::P384 => 48,
                    _ => return Err(KeyFault::Unsupported),
                };
                let (x, y) = (decoded(&key.x)?, decoded(&key.y)?);
                let point = [&[4], &*x, &*y].concat();
                if x.len() != length || y.len() != length {
                    return Err(KeyFault::NotOnCurve);
                }
                let point = point.into();
                Ok(match key.curve {
                    EllipticCurve::P256 => Self::P256(point),
                    _ => Self::P384(point),
                })
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                let key = decoded(&key.x)?;
                if key.len() != 32 {
                    return Err(KeyFault::NotOnCurve);
                }
                Ok(Self::Ed25519(key.into()))
            }
            AlgorithmParameters::OctetKeyPair(_) => Err(KeyFault::Unsupported),
            _ => Err(unreadable(members)),
        }
    }

    fn is_on_curve(&self) -> bool {
        match self {
            Self::P256(point) => is_on_curve(&ECDH_P256, point),
            Self::P384(point) => is_on_curve(&ECDH_P384, point),
            // These have no point that could be elsewhere, or are refused when they verify.
            Self::Rsa { .. } | Self::Ed25519(_) => true,
        }
    }

    /// The members that RFC 7638 digests.
    fn members(&self) -> Map<String, Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let ec = |curve: &str, point: &[u8]| {
            let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
            json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
        };
        let members = match self {
            Self::Rsa { n, e } => json!({"kty": "RSA", "n": text(n), "e": text(e)}),
            Self::P256(point) => ec("P-256", point),
            Self::P384(point) => ec("P-384", point),
            Self::Ed25519(key) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(key)}),
        };
        match members {
            Value::Object(members) => members,
            _ => Map::new(), // Unreachable: all are objects.
        }
    }
}

/// A known type with members that are wrong, or another type or curve.
fn unreadable(members: &Map<String, Value>) -> KeyFault {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    match (text("kty"), text("crv")) {
        (Some("RSA") | None, _)
        | (Some("EC"), Some("P-256" | "P-384") | None)
        | (Some("OKP"), Some("Ed25519") | None) => KeyFault::Malformed,
        _ => KeyFault::Unsupported,
    }
}

/// Without zeros in front: encoders differ in whether they write them.
fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// ring tells only when it agrees on a key with the point.
fn is_on_curve(curve: &'static agreement::Algorithm, point: &[u8]) -> bool {
    let ours = EphemeralPrivateKey::generate(curve, &SystemRandom::new());
    let theirs = agreement::UnparsedPublicKey::new(curve, point);
    ours.is_ok_and(|ours| agreement::agree_ephemeral(ours, &theirs, |_| ()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(jwk: &Value) -> PublicKey {
        PublicKey::parse(jwk).unwrap()
    }

    fn signed(text: &str) -> (&str, Vec<u8>) {
        let (message, signature) = text.rsplit_once('.').unwrap();
        (message, URL_SAFE_NO_PAD.decode(signature).unwrap())
    }

    /// RFC 7515 appendix A.2 and RFC 7520 §4.1: the same algorithm, keys of their own.
    #[test]
    fn rsa_examples_of_the_rfcs() {
        let of_7515 = key(&json!({
            "kty": "RSA", "e": "AQAB",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SF\
                  d2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTB\
                  EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2\
                  PAcDTW9gb54h4FRWyuXpoQ",
        }));
        let of_7520 = key(&json!({
            "kty": "RSA", "e": "AQAB", "use": "sig", "kid": "bilbo.baggins@hobbiton.example",
            "n": "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKr\
                  Kb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpP\
                  I9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwU\
                  kRz5iaiQkqgc5gHdrNP5zw",
        }));
        for (mine, other, text) in [
            (
                &of_7515,
                &of_7520,
                "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290\
                 Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5j\
                 ujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZ\
                 RmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqV\
                 t5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            ),
            (
                &of_7520,
                &of_7515,
                "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2lu\
                 ZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVw\
                 IHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.MRjdkly7_-oTPTS3\
                 AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-\
                 Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQ\
                 dLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7\
                 vjbU5y18kDquDg",
            ),
        ] {
            let (message, signature) = signed(text);
            let verifies = |key: &PublicKey, algorithm| {
                key.verifies(algorithm, message.as_bytes(), &signature)
            };
            assert!(verifies(mine, Algorithm::Rs256), "{text}");
            assert!(!verifies(other, Algorithm::Rs256));
            for algorithm in [Algorithm::Rs384, Algorithm::Ps256, Algorithm::Es256] {
                assert!(!verifies(mine, algorithm), "{algorithm:?}");
            }
        }
    }

    /// RFC 7515 appendix A.3, RFC 8037 appendix A.4 and RFC 7638 §3.1.
    #[test]
    fn examples_of_the_rfcs() {
        let es256 = key(&json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }));
        let (message, signature) = signed(
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl\
             LmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA\
             pmWQxfKTUJqPP3-Kg6NU1Q",
        );
        assert!(es256.verifies(Algorithm::Es256, message.as_bytes(), &signature));
        let ed = key(&json!({
            "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }));
        let (message, signature) = signed(
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3\
             AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        );
        assert!(ed.verifies(Algorithm::Ed25519, message.as_bytes(), &signature));
        assert_eq!(
            ed.thumbprint(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
        let rsa = key(&json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWK\
                  RXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaS\
                  qzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHa\
                  Q-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        }));
        assert_eq!(
            rsa.thumbprint(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn a_changed_bit_is_another_signature() {
        let ed = key(&json!({
            "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }));
        let (message, signature) = signed(
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3\
             AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        );
        for bit in 0..signature.len() * 8 {
            let mut other = signature.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !ed.verifies(Algorithm::Ed25519, message.as_bytes(), &other),
                "{bit}"
            );
        }
    }

    #[test]
    fn a_key_is_the_same_when_it_was_stored() {
        for jwk in [
            json!({
                "kty": "EC", "crv": "P-256", "kid": "é", "alg": "ES256", "use": "sig", "ext": true,
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }),
        ] {
            let key = key(&jwk);
            assert_eq!(PublicKey::parse(&key.to_jwk()), Ok(key));
        }
    }
}
