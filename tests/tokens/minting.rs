//! Keys made at test start, and tokens signed with them. Written on the primitives of `aws-lc-rs`, so that what is
//! tested does not also make what it is tested with.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};
use torwart::authn::{Failure, Fault, Issuers};
use torwart::clock::Timestamp;
use torwart::config::{Audiences, Config, Issuer, KeySource};
use torwart::principal::{IssuerId, IssuerSet, Principal};

/// The moment at which tests happen.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000);

/// The issuer of most tokens.
pub(crate) const ISSUER: &str = "https://issuer.example";

/// The audience of most tokens.
pub(crate) const AUDIENCE: &str = "https://api.example";

/// One key of every kind.
pub(crate) struct Keys {
    pub(crate) rsa: RsaKeyPair,
    pub(crate) p256: EcdsaKeyPair,
    pub(crate) p384: EcdsaKeyPair,
    pub(crate) ed25519: Ed25519KeyPair,
    pub(crate) secret: Vec<u8>,
}

impl Keys {
    pub(crate) fn make() -> Self {
        let mut secret = vec![0; 64];
        aws_lc_rs::rand::fill(&mut secret).unwrap();
        // Text, as it comes out of a secret's file: of a last line break in that file the key has nothing.
        for byte in &mut secret {
            *byte = b'!' + *byte % 94;
        }
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
            secret,
        }
    }

    /// One more key on P-256.
    pub(crate) fn fresh_p256() -> EcdsaKeyPair {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
    }

    /// The public halves, named after their kind.
    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": [
            rsa_jwk(&self.rsa, "rsa"),
            ec_jwk(&self.p256, "p256"),
            ec_jwk(&self.p384, "p384"),
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed25519", "x": encode(self.ed25519.public_key().as_ref())},
        ]})
    }

    /// A signature under the algorithm of this JOSE name.
    pub(crate) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &random, message, &mut signature).unwrap();
            signature
        };
        let hmac = |algorithm| hmac::sign(&hmac::Key::new(algorithm, &self.secret), message).as_ref().to_vec();
        match algorithm {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            "PS512" => rsa(&RSA_PSS_SHA512),
            "ES256" => self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed25519.sign(message).as_ref().to_vec(),
            "HS256" => hmac(hmac::HMAC_SHA256),
            "HS384" => hmac(hmac::HMAC_SHA384),
            "HS512" => hmac(hmac::HMAC_SHA512),
            other => panic!("no key for `{other}`"),
        }
    }

    /// A token of this header and this payload, both as text, signed under the algorithm whatever the header says.
    pub(crate) fn token(&self, algorithm: &str, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
        let signature = encode(&self.sign(algorithm, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// An ES256 token with these claims.
    pub(crate) fn es256(&self, claims: &Value) -> String {
        self.token("ES256", r#"{"alg":"ES256","kid":"p256","typ":"at+jwt"}"#, &claims.to_string())
    }
}

/// The keys that most tests share; making them takes time.
pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(Keys::make);

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn rsa_jwk(key: &RsaKeyPair, id: &str) -> Value {
    let public = PublicKeyComponents::<Vec<u8>>::from(key.public_key());
    json!({"kty": "RSA", "kid": id, "n": encode(&public.n), "e": encode(&public.e)})
}

pub(crate) fn ec_jwk(key: &EcdsaKeyPair, id: &str) -> Value {
    let point = key.public_key().as_ref();
    let length = (point.len() - 1) / 2;
    let curve = if length == 32 { "P-256" } else { "P-384" };
    json!({"kty": "EC", "crv": curve, "kid": id, "x": encode(&point[1..=length]), "y": encode(&point[length + 1..])})
}

/// The private scalar, for tests that publish it by mistake.
pub(crate) fn private_scalar(key: &EcdsaKeyPair) -> String {
    let scalar: aws_lc_rs::encoding::EcPrivateKeyBin<'_> = key.private_key().as_be_bytes().unwrap();
    encode(scalar.as_ref())
}

/// Claims that are accepted.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "17", "client_id": "crm", "scope": "a b",
        "exp": NOW.0 + 600, "iat": NOW.0 - 1, "jti": "t-1",
    })
}

/// The accepted claims with some replaced; `null` removes one.
pub(crate) fn with(changes: Value) -> Value {
    let mut claims = claims();
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        object.insert(name.clone(), value.clone());
        if value.is_null() {
            object.remove(name);
        }
    }
    claims
}

/// A configuration of one issuer whose keys come from a file with the shared keys.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) directory: tempfile::TempDir,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::with_keys(&KEYS.jwks().to_string())
    }

    pub(crate) fn with_keys(jwks: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jwks.json");
        std::fs::write(&path, jwks).unwrap();
        let mut config = Config::empty(directory.path().join("torwart.yaml"));
        let mut issuer = Issuer::new("shoen", ISSUER, None);
        issuer.audiences = Audiences::OneOf(vec![AUDIENCE.to_owned()]);
        issuer.keys = KeySource::File(path);
        config.issuers.push(issuer);
        Self { config, directory }
    }

    pub(crate) fn change(mut self, change: impl FnOnce(&mut Issuer)) -> Self {
        change(&mut self.config.issuers[0]);
        self
    }

    pub(crate) fn load(&self) -> Issuers {
        Issuers::load(&self.config, None).unwrap_or_else(|problems| panic!("{}", problems.render()))
    }
}

/// Every issuer up to the fifth.
pub(crate) fn anyone() -> IssuerSet {
    IssuerSet::new((0..5).map(IssuerId))
}

pub(crate) fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    headers
}

/// The outcome of a token at [`NOW`].
pub(crate) fn outcome(issuers: &Issuers, token: &str) -> Result<Arc<Principal>, Failure> {
    outcome_at(issuers, token, NOW)
}

pub(crate) fn outcome_at(issuers: &Issuers, token: &str, now: Timestamp) -> Result<Arc<Principal>, Failure> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    }
    let headers = bearer(token);
    let found = RUNTIME.with(|runtime| runtime.block_on(issuers.authenticate(&headers, &anyone(), None, now)));
    found.map(|principal| principal.expect("a token was sent"))
}

/// The check that a token fails at [`NOW`].
pub(crate) fn fault(issuers: &Issuers, token: &str) -> Option<Fault> {
    match outcome(issuers, token) {
        Ok(_) => None,
        Err(Failure::Invalid(invalid)) => Some(invalid.fault),
        Err(other) => panic!("{other}"),
    }
}
