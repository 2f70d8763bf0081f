//! The keys of one issuer (RFC 7517 section 5), and which of them a token is tried with. Pure.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Map, Value};
use thiserror::Error;

use super::Fault;
use super::jose::Header;
use super::jwk::{self, Key, Sort, Unusable};
use super::signature::VerifyingKey;
use crate::json;

/// How many keys a token without `kid` is tried with (tokens.md, "keys").
const MOST_TRIED: usize = 16;

/// How many keys of a set are used.
const MOST_KEYS: usize = 256;

/// The usable keys of an issuer.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<Skipped>,
    any_id: bool,
    digest: [u8; 32],
    generation: u64,
}

/// A key that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its `kid`, if it has one.
    pub id: Option<String>,
    /// Why.
    pub reason: Unusable,
}

/// Why a text is no key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeySetError {
    /// Not a JSON object with an array `keys`, or with duplicate names.
    #[error("it is no JSON Web Key set: an object without duplicate names and with an array `keys`")]
    Malformed,
    /// No key in it can be used.
    #[error("it holds no usable key: {0}")]
    Unusable(Unusable),
    /// There are no keys at all.
    #[error("it holds no key")]
    Empty,
    /// A secret of less than 32 bytes.
    #[error("the secret is shorter than 32 bytes")]
    Short,
}

/// What became of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One of the keys made it.
    Valid,
    /// No key has the token's `kid`, or it has none and no key verified: newer keys may.
    UnknownKey,
    /// The keys that it could be refuse it.
    Invalid(Fault),
}

/// Numbers key sets over all issuers and configurations, so that equal numbers mean equal keys.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

impl KeySet {
    /// A key set as issuers publish it. Keys that cannot be used are skipped; secrets always are.
    ///
    /// # Errors
    /// [`KeySetError`] when nothing usable is left.
    pub fn public(text: &[u8]) -> Result<Self, KeySetError> {
        let document = json::object(text).map_err(|_| KeySetError::Malformed)?;
        let Some(Value::Array(keys)) = document.get("keys") else { return Err(KeySetError::Malformed) };
        Self::of(keys.iter().map(Value::as_object), Sort::Public)
    }

    /// What a `secret_file` holds: a JSON Web Key or key set of type `oct`, or the bytes of the secret itself, less
    /// one line end.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn secret(text: &[u8]) -> Result<Self, KeySetError> {
        match json::object(text) {
            Ok(document) if document.get("keys").is_some_and(Value::is_array) => {
                let keys = document.get("keys").and_then(Value::as_array);
                Self::of(keys.into_iter().flatten().map(Value::as_object), Sort::Secret)
            }
            Ok(jwk) if jwk.contains_key("kty") => Self::of([Some(&jwk)].into_iter(), Sort::Secret),
            _ => Self::plain_secret(text),
        }
    }

    fn plain_secret(text: &[u8]) -> Result<Self, KeySetError> {
        let secret = text.strip_suffix(b"\n").unwrap_or(text);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        if secret.len() < 32 {
            return Err(KeySetError::Short);
        }
        let key = Key { id: None, algorithm: None, verifying: VerifyingKey::secret(secret), material: secret.to_vec() };
        Ok(Self::finished(vec![key], Vec::new(), true))
    }

    fn of<'j>(jwks: impl Iterator<Item = Option<&'j Map<String, Value>>>, sort: Sort) -> Result<Self, KeySetError> {
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for jwk in jwks.take(MOST_KEYS) {
            let id = jwk.and_then(|jwk| jwk.get("kid")).and_then(Value::as_str).map(str::to_owned);
            match jwk.ok_or(Unusable::Malformed).and_then(|jwk| jwk::key(jwk, sort)) {
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push(Skipped { id, reason }),
            }
        }
        // One secret among public keys is how algorithm confusion begins, and a public key among secrets the same.
        if sort == Sort::Secret && skipped.iter().any(|key| key.reason == Unusable::Mixed) {
            return Err(KeySetError::Unusable(Unusable::Mixed));
        }
        drop_ambiguous(&mut keys, &mut skipped);
        match (keys.is_empty(), skipped.first()) {
            (true, Some(first)) => Err(KeySetError::Unusable(first.reason)),
            (true, None) => Err(KeySetError::Empty),
            (false, _) => Ok(Self::finished(keys, skipped, false)),
        }
    }

    fn finished(keys: Vec<Key>, skipped: Vec<Skipped>, any_id: bool) -> Self {
        let digest = digest(&keys);
        Self { keys, skipped, any_id, digest, generation: GENERATIONS.fetch_add(1, Ordering::Relaxed) }
    }

    /// The same set under the number of `previous` if both hold the same keys, so that what was verified with one is
    /// verified with the other.
    #[must_use]
    pub fn following(mut self, previous: Option<&Self>) -> Self {
        if let Some(previous) = previous.filter(|previous| previous.digest == self.digest) {
            self.generation = previous.generation;
        }
        self
    }

    /// Equal numbers mean equal keys.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The `kid` of every usable key, in order.
    pub fn ids(&self) -> impl Iterator<Item = Option<&str>> {
        self.keys.iter().map(|key| key.id.as_deref())
    }

    /// The keys that are not used, and why.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Whether the signature over `signed` is one of these keys'. A `kid` names exactly one key; without it the fitting
    /// keys are tried in order.
    pub fn verify(&self, header: &Header, signed: &str, signature: &str) -> Verdict {
        let verifies = |key: &&Key| key.verifying.verifies(header.algorithm, signed, signature);
        let id = header.key_id.as_deref().filter(|_| !self.any_id);
        if let Some(id) = id {
            let mut named = self.keys.iter().filter(|key| key.id.as_deref() == Some(id)).peekable();
            if named.peek().is_none() {
                return Verdict::UnknownKey;
            }
            // One key may be listed once for every algorithm that it may be used with.
            return match named.find(|key| key.fits(header.algorithm)) {
                None => Verdict::Invalid(Fault::UnknownKey),
                Some(key) if verifies(&key) => Verdict::Valid,
                Some(_) => Verdict::Invalid(Fault::Signature),
            };
        }
        let mut fitting = self.keys.iter().filter(|key| key.fits(header.algorithm)).take(MOST_TRIED);
        match fitting.find(verifies) {
            Some(_) => Verdict::Valid,
            None if self.any_id => Verdict::Invalid(Fault::Signature),
            None => Verdict::UnknownKey,
        }
    }
}

/// Drops every key that shares its `kid` with a different one: which of them is meant, nobody can tell. The other one
/// counts even if it cannot be used, unless it is for another purpose altogether.
fn drop_ambiguous(keys: &mut Vec<Key>, skipped: &mut Vec<Skipped>) {
    let is_ambiguous = |key: &Key| {
        let skipped = skipped.iter().any(|other| other.id == key.id && other.reason != Unusable::Purpose);
        key.id.is_some() && (skipped || keys.iter().any(|other| other.id == key.id && other.material != key.material))
    };
    let ambiguous: Vec<bool> = keys.iter().map(is_ambiguous).collect();
    let mut marks = ambiguous.into_iter();
    keys.retain(|key| {
        let keep = !marks.next().unwrap_or(true);
        if !keep {
            skipped.push(Skipped { id: key.id.clone(), reason: Unusable::DuplicateId });
        }
        keep
    });
}

fn digest(keys: &[Key]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for key in keys {
        let described = format!("{:?}|{:?}|{:?}|{}|", key.id, key.algorithm, key.verifying.kind(), key.material.len());
        context.update(described.as_bytes());
        context.update(&key.material);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
