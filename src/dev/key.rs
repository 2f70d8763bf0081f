//! The key that signs dev tokens: ES256, made once and kept, so that tokens survive a restart and `token mint` needs
//! no running server.

use std::path::Path;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

use super::files::{self, FileError, Readers};
use crate::assertion::{self, KeyFault};
use crate::principal::Claims;

/// The private key's file.
const FILE: &str = "dev-signing.key";

/// Signs tokens, and recognises those it has signed.
#[derive(Debug)]
pub struct SigningKey(assertion::SigningKey);

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// No key can be made.
    #[error("cannot make a signing key: {0}")]
    Generation(#[from] rcgen::Error),
    /// The key made is refused, or does not sign.
    #[error(transparent)]
    Unusable(#[from] KeyFault),
}

impl SigningKey {
    /// The directory's key, made when there is none or it cannot be read as one.
    ///
    /// # Errors
    /// The directory cannot be read or written, or no key can be made.
    pub fn ensure(directory: &Path) -> Result<Self, KeyError> {
        files::prepare(directory)?;
        let path = directory.join(FILE);
        let kept = files::read(&path, Readers::Owner)?.and_then(|pem| rcgen::KeyPair::from_pem(&pem).ok());
        if let Some(key) = kept.and_then(|key| Self::new(&key.serialize_der()).ok()) {
            return Ok(key);
        }
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        files::write(&path, &made.serialize_pem(), Readers::Owner)?;
        Self::new(&made.serialize_der())
    }

    fn new(pkcs8: &[u8]) -> Result<Self, KeyError> {
        Ok(Self(assertion::SigningKey::from_pkcs8(pkcs8)?))
    }

    /// The public key set (RFC 7517 section 5).
    pub fn key_set(&self) -> Value {
        json!({"keys": [self.0.public()]})
    }

    /// A JWS in compact form (RFC 7515 section 7.1) whose header names this `typ`.
    ///
    /// # Errors
    /// The system's random numbers fail.
    pub fn sign(&self, typ: &str, claims: &Claims) -> Result<String, KeyError> {
        let header = json!({"alg": "ES256", "typ": typ, "kid": self.0.id()});
        let payload = Value::Object(claims.clone());
        Ok(self.0.sign(&header.to_string(), &payload.to_string())?)
    }

    /// The claims of a token that this key has signed. Times are not looked at.
    pub fn open(&self, token: &str) -> Option<Claims> {
        let (message, signature) = token.rsplit_once('.')?;
        let (_, payload) = message.split_once('.')?;
        let signature = BASE64URL.decode(signature).ok()?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.0.point());
        public.verify(message.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&BASE64URL.decode(payload).ok()?).ok()
    }
}

/// The digest that PKCE and `at_hash` speak of, encoded as they want it.
pub(super) fn sha256(text: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn claims() -> Claims {
        serde_json::from_str(r#"{"sub":"alice","iss":"x"}"#).unwrap()
    }

    #[test]
    fn a_token_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let token = SigningKey::ensure(directory.path()).unwrap().sign("at+jwt", &claims()).unwrap();
        assert_eq!(SigningKey::ensure(directory.path()).unwrap().open(&token), Some(claims()));
    }

    #[test]
    fn the_private_key_is_readable_by_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        SigningKey::ensure(directory.path()).unwrap();
        let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_token_of_another_key_or_with_other_claims_is_not_opened() {
        let (one, another) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = SigningKey::ensure(one.path()).unwrap();
        let foreign = SigningKey::ensure(another.path()).unwrap().sign("JWT", &claims()).unwrap();
        assert_eq!(key.open(&foreign), None);
        let own = key.sign("JWT", &claims()).unwrap();
        let parts: Vec<&str> = own.split('.').collect();
        let changed = format!("{}.{}.{}", parts[0], BASE64URL.encode(r#"{"sub":"bob"}"#), parts[2]);
        assert_eq!(key.open(&changed), None);
    }

    #[test]
    fn a_damaged_key_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "nonsense").unwrap();
        let token = SigningKey::ensure(directory.path()).unwrap().sign("JWT", &claims()).unwrap();
        assert!(SigningKey::ensure(directory.path()).unwrap().open(&token).is_some());
    }

    #[test]
    fn the_key_set_has_the_public_half_only() {
        let directory = tempfile::tempdir().unwrap();
        let set = SigningKey::ensure(directory.path()).unwrap().key_set();
        let key = set["keys"][0].as_object().unwrap();
        assert!(!key.contains_key("d"));
        for coordinate in ["x", "y"] {
            assert_eq!(BASE64URL.decode(key[coordinate].as_str().unwrap()).unwrap().len(), 32);
        }
        // RFC 7638 section 3.1: the identifier is the key's own thumbprint, 32 bytes.
        assert_eq!(BASE64URL.decode(key["kid"].as_str().unwrap()).unwrap().len(), 32);
    }
}
