//! One JSON Web Key (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use thiserror::Error;

use super::signature::{Kind, VerifyingKey};
use super::{jose, roca};
use crate::config::Algorithm;

/// A key that may verify signatures.
#[derive(Debug, Clone)]
pub struct Key {
    /// `kid`.
    pub id: Option<String>,
    /// `alg`: the only algorithm it may be used with, if it says so.
    pub algorithm: Option<Algorithm>,
    /// The key itself.
    pub verifying: VerifyingKey,
    /// The key's bytes, to tell whether a set has changed.
    pub material: Vec<u8>,
}

impl Key {
    /// Whether the key may be used with the algorithm.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|only| only == algorithm) && self.verifying.kind().fits(algorithm)
    }
}

/// Why a key of a set is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unusable {
    /// A member is missing or has the wrong type or encoding.
    #[error("a member is missing or malformed")]
    Malformed,
    /// `kty` or `crv` is not supported.
    #[error("the type or curve is not supported")]
    Unsupported,
    /// `use` or `key_ops` says that it does not verify signatures (RFC 7517 sections 4.2 and 4.3).
    #[error("`use` or `key_ops` is for something else than verifying signatures")]
    Purpose,
    /// `alg` is no signature algorithm of this kind of key (RFC 8725 section 3.1).
    #[error("`alg` does not fit the key")]
    Algorithm,
    /// An RSA modulus below 2048 or above 8192 bits (RFC 7518 section 3.3).
    #[error("the RSA modulus has not 2048 to 8192 bits")]
    Size,
    /// An even exponent, or 1.
    #[error("the RSA exponent is even, 1 or longer than 33 bits")]
    Exponent,
    /// A key from the library that CVE-2017-15361 is about.
    #[error("the RSA key bears the ROCA fingerprint")]
    Roca,
    /// The point is not on its curve (RFC 8725 section 3.4).
    #[error("the point is not on the curve")]
    Point,
    /// The private half is published with it: everyone can sign.
    #[error("the private key is published with it")]
    Private,
    /// A secret in a public set, or a public key among secrets.
    #[error("secrets and public keys do not mix")]
    Mixed,
    /// A secret shorter than the hash of its algorithm (RFC 7518 section 3.2).
    #[error("the secret is shorter than the hash of its algorithm")]
    Short,
    /// Another key of the set has the same `kid`.
    #[error("another key has the same `kid`")]
    DuplicateId,
}

/// Which keys a set may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Public keys: what issuers publish.
    Public,
    /// Shared secrets: what a `secret_file` holds.
    Secret,
}

/// Reads one key of a set.
///
/// # Errors
/// [`Unusable`], for the log.
pub fn key(jwk: &Map<String, Value>, sort: Sort) -> Result<Key, Unusable> {
    let kind = text(jwk, "kty")?.ok_or(Unusable::Malformed)?;
    if (kind == "oct") != (sort == Sort::Secret) {
        return Err(Unusable::Mixed);
    }
    check_purpose(jwk)?;
    let id = text(jwk, "kid")?.map(str::to_owned);
    let (verifying, material) = match kind {
        "RSA" => rsa(jwk)?,
        "EC" => ec(jwk)?,
        "OKP" => okp(jwk)?,
        "oct" => secret(jwk)?,
        _ => return Err(Unusable::Unsupported),
    };
    let algorithm = bound_algorithm(jwk, verifying.kind())?;
    Ok(Key { id, algorithm, verifying, material })
}

/// `use` and `key_ops`, where given, must both allow verification.
fn check_purpose(jwk: &Map<String, Value>) -> Result<(), Unusable> {
    if text(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(Unusable::Purpose);
    }
    match jwk.get("key_ops") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => Ok(()),
        Some(Value::Array(_)) => Err(Unusable::Purpose),
        Some(_) => Err(Unusable::Malformed),
    }
}

/// `alg` binds: an unknown one, or one of another kind of key, makes the key useless.
fn bound_algorithm(jwk: &Map<String, Value>, kind: Kind) -> Result<Option<Algorithm>, Unusable> {
    let Some(name) = text(jwk, "alg")? else { return Ok(None) };
    // RFC 9864 gives EdDSA with this curve a name of its own.
    let name = if name == "Ed25519" { "EdDSA" } else { name };
    let algorithm = Algorithm::named(name).ok_or(Unusable::Algorithm)?;
    match kind {
        _ if kind.fits(algorithm) => Ok(Some(algorithm)),
        Kind::Secret(_) if jose::is_symmetric(algorithm) => Err(Unusable::Short),
        _ => Err(Unusable::Algorithm),
    }
}

fn rsa(jwk: &Map<String, Value>) -> Result<(VerifyingKey, Vec<u8>), Unusable> {
    refuse_private(jwk)?;
    let (modulus, exponent) = (number(jwk, "n")?, number(jwk, "e")?);
    if !(2048..=8192).contains(&bits(&modulus)) {
        return Err(Unusable::Size);
    }
    let odd = exponent.last().is_some_and(|last| last % 2 == 1);
    if !odd || !(2..=33).contains(&bits(&exponent)) {
        return Err(Unusable::Exponent);
    }
    if modulus.last().is_some_and(|last| last % 2 == 0) {
        return Err(Unusable::Malformed);
    }
    if roca::is_vulnerable(&modulus) {
        return Err(Unusable::Roca);
    }
    Ok((VerifyingKey::rsa(&modulus, &exponent), [modulus, exponent].concat()))
}

fn ec(jwk: &Map<String, Value>) -> Result<(VerifyingKey, Vec<u8>), Unusable> {
    refuse_private(jwk)?;
    let (kind, length) = match text(jwk, "crv")?.ok_or(Unusable::Malformed)? {
        "P-256" => (Kind::P256, 32),
        "P-384" => (Kind::P384, 48),
        _ => return Err(Unusable::Unsupported),
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    // RFC 7518 section 6.2.1.2: coordinates have the full length of the curve's field.
    if x.len() != length || y.len() != length {
        return Err(Unusable::Malformed);
    }
    let point = [&[4], x.as_slice(), &y].concat();
    let key = VerifyingKey::ec(kind, &point).ok_or(Unusable::Point)?;
    Ok((key, point))
}

fn okp(jwk: &Map<String, Value>) -> Result<(VerifyingKey, Vec<u8>), Unusable> {
    refuse_private(jwk)?;
    if text(jwk, "crv")? != Some("Ed25519") {
        return Err(Unusable::Unsupported);
    }
    let x = bytes(jwk, "x")?;
    let key = VerifyingKey::ed25519(&x).ok_or(Unusable::Point)?;
    Ok((key, x))
}

fn secret(jwk: &Map<String, Value>) -> Result<(VerifyingKey, Vec<u8>), Unusable> {
    let secret = bytes(jwk, "k")?;
    let key = VerifyingKey::secret(&secret);
    if key.kind().fits(Algorithm::Hs256) { Ok((key, secret)) } else { Err(Unusable::Short) }
}

fn refuse_private(jwk: &Map<String, Value>) -> Result<(), Unusable> {
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|member| jwk.contains_key(*member));
    if private { Err(Unusable::Private) } else { Ok(()) }
}

fn text<'j>(jwk: &'j Map<String, Value>, name: &str) -> Result<Option<&'j str>, Unusable> {
    match jwk.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Unusable::Malformed),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Unusable> {
    let text = text(jwk, name)?.ok_or(Unusable::Malformed)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Unusable::Malformed)
}

/// An unsigned big-endian number. Leading zero octets, which some issuers send although RFC 7518 section 2 forbids them,
/// are dropped.
fn number(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Unusable> {
    let bytes = bytes(jwk, name)?;
    Ok(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}
