//! A P-256 key that signs JWTs with ES256 (RFC 7518 section 3.4).

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// The system made no key, knows no random numbers, or was given something that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot make or use a signing key")]
pub struct KeyFault;

/// A private key with its identifier.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    id: String,
}

impl SigningKey {
    /// A key that nobody has.
    ///
    /// # Errors
    /// The system's random numbers fail.
    pub fn generate() -> Result<Self, KeyFault> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self::of).map_err(|_| KeyFault)
    }

    /// The key in PKCS #8 form.
    ///
    /// # Errors
    /// It is no P-256 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyFault> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Self::of).map_err(|_| KeyFault)
    }

    fn of(pair: EcdsaKeyPair) -> Self {
        let (x, y) = coordinates(&pair);
        // RFC 7638 section 3.2: the members in this order, without white space.
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let id = BASE64URL.encode(digest::digest(&digest::SHA256, members.as_bytes()));
        Self { pair, id }
    }

    /// The private key in PKCS #8 form.
    ///
    /// # Errors
    /// The library cannot write it.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        let document = self.pair.to_pkcs8v1().map_err(|_| KeyFault)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// The key's own thumbprint (RFC 7638).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half (RFC 7518 section 6.2.1).
    pub fn public(&self) -> Value {
        let (x, y) = coordinates(&self.pair);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y})
    }

    /// The public half as an uncompressed point (SEC 1 section 2.3.3).
    pub fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// A JWS in compact form (RFC 7515 section 7.1) of a header and a payload in JSON.
    ///
    /// # Errors
    /// The system's random numbers fail.
    pub fn sign(&self, header: &str, payload: &str) -> Result<String, KeyFault> {
        let mut jws = String::with_capacity((header.len() + payload.len()) * 4 / 3 + 96);
        BASE64URL.encode_string(header, &mut jws);
        jws.push('.');
        BASE64URL.encode_string(payload, &mut jws);
        let signature = self.pair.sign(&SystemRandom::new(), jws.as_bytes()).map_err(|_| KeyFault)?;
        jws.push('.');
        BASE64URL.encode_string(signature, &mut jws);
        Ok(jws)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Both coordinates as a JWK has them. The public key is an uncompressed point: a byte, then 32 bytes each.
fn coordinates(pair: &EcdsaKeyPair) -> (String, String) {
    let point = pair.public_key().as_ref();
    let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
    (BASE64URL.encode(x), BASE64URL.encode(y))
}
