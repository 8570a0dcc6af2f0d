//! The signature algorithms that are accepted.

/// A signature algorithm (RFC 7518 §3.1, RFC 8037, RFC 9864). All are asymmetric: there is no `none`, and
/// no HMAC that a public key could be taken for the key of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    Ed25519,
}

impl Algorithm {
    /// The names that are accepted, for metadata. The last two are of one algorithm.
    pub const NAMES: &'static [&'static str] = &[
        "RS256", "RS384", "PS256", "ES256", "ES384", "EdDSA", "Ed25519",
    ];

    /// The algorithm of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "PS256" => Self::Ps256,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::Ed25519,
            _ => return None,
        })
    }

    /// Its name; of Ed25519 the older one, which every library knows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ed25519 => "EdDSA",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_are_accepted() {
        for name in Algorithm::NAMES {
            let algorithm = Algorithm::named(name).unwrap();
            assert!(algorithm.as_str() == *name || *name == "Ed25519");
        }
        for other in ["none", "HS256", "rs256", "RS512", "ES512", "ES256K", ""] {
            assert_eq!(Algorithm::named(other), None, "{other}");
        }
    }
}
