//! Signatures: the one file that names `jsonwebtoken`.
//!
//! Of that crate only the signature primitive is used: one key, one algorithm, yes or no. Its `decode` and `Validation`
//! are not, because they read header and claims more laxly than tokens.md allows (`authn::jose`, `authn::rules`).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::{aws_lc, verify};

use crate::config::Algorithm;

/// What a key is, and so which algorithms it may be used with (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RSA with a modulus of 2048 to 8192 bits.
    Rsa,
    /// A point on P-256.
    P256,
    /// A point on P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// A shared secret of so many bytes.
    Secret(usize),
}

impl Kind {
    /// Whether the key can be used with the algorithm. A secret has to be as long as the hash (RFC 7518 section 3.2).
    pub fn fits(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => self == Self::Rsa,
            Algorithm::Es256 => self == Self::P256,
            Algorithm::Es384 => self == Self::P384,
            Algorithm::EdDsa => self == Self::Ed25519,
            Algorithm::Hs256 => self.is_secret_of(32),
            Algorithm::Hs384 => self.is_secret_of(48),
            Algorithm::Hs512 => self.is_secret_of(64),
        }
    }

    fn is_secret_of(self, least: usize) -> bool {
        matches!(self, Self::Secret(length) if length >= least)
    }
}

/// A key whose form has been checked, prepared once.
#[derive(Clone)]
pub struct VerifyingKey {
    kind: Kind,
    key: DecodingKey,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// An RSA key of modulus and exponent in big-endian bytes. Size and exponent are the caller's to check.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::of(Kind::Rsa, DecodingKey::from_rsa_raw_components(modulus, exponent))
    }

    /// A key on P-256 or P-384 of an uncompressed point; `None` when the point is not on the curve.
    pub fn ec(kind: Kind, point: &[u8]) -> Option<Self> {
        let parsed = match kind {
            Kind::P256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point),
            Kind::P384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point),
            Kind::Rsa | Kind::Ed25519 | Kind::Secret(_) => return None,
        };
        parsed.ok().map(|_| Self::of(kind, DecodingKey::from_ec_der(point)))
    }

    /// An Ed25519 key; `None` when the bytes are no such key.
    pub fn ed25519(bytes: &[u8]) -> Option<Self> {
        let parsed = ParsedPublicKey::new(&ED25519, bytes);
        parsed.ok().map(|_| Self::of(Kind::Ed25519, DecodingKey::from_ed_der(bytes)))
    }

    /// A shared secret.
    pub fn secret(secret: &[u8]) -> Self {
        Self::of(Kind::Secret(secret.len()), DecodingKey::from_secret(secret))
    }

    fn of(kind: Kind, key: DecodingKey) -> Self {
        // A process that has chosen its provider before keeps it; this graph holds only one.
        let _ = aws_lc::DEFAULT_PROVIDER.install_default();
        Self { kind, key }
    }

    /// What the key is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether `signature` (base64url) over `signed` is this key's under the algorithm. Any failure is a no.
    pub fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        self.kind.fits(algorithm)
            && verify(signature, signed.as_bytes(), &self.key, primitive(algorithm)).unwrap_or(false)
    }
}

fn primitive(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Hs384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::Hs512 => jsonwebtoken::Algorithm::HS512,
    }
}
