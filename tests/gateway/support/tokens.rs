//! An issuer that lives in the test: one ES256 key, and tokens with whatever claims the test wants.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The issuer's name for itself.
pub(crate) const ISSUER: &str = "https://issuer.test";
/// Who its tokens are for.
pub(crate) const AUDIENCE: &str = "https://api.test";

/// See the module's description.
pub(crate) struct Issuer {
    key: EcdsaKeyPair,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { key }
    }

    /// The key set that the gateway is given.
    pub(crate) fn key_set(&self) -> Value {
        self.key_set_by("k1")
    }

    /// The same under another name.
    pub(crate) fn key_set_by(&self, kid: &str) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y}]})
    }

    /// A token with these claims on top of what every token has.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_by("k1", claims)
    }

    /// The same, which says that this key has signed it.
    pub(crate) fn token_by(&self, kid: &str, claims: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut all = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "client_id": "app",
            "iat": now - 5, "exp": now + 300});
        for (name, value) in claims.as_object().expect("claims") {
            all[name] = value.clone();
        }
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid});
        let signed = format!("{}.{}", encoded(&header), encoded(&all));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
