//! Which keys of a published set are used (tokens.md, "keys"; RFC 7517, RFC 8725 section 3.4).

use serde_json::{Value, json};
use torwart::authn::Fault;
use torwart::authn::jwk::Unusable;
use torwart::authn::keyset::{KeySet, KeySetError};

use crate::minting::{KEYS, Setup, claims, ec_jwk, encode, fault, private_scalar, rsa_jwk};

/// One of the shared keys by its `kid`, with members replaced; `null` removes one.
fn jwk(id: &str, changes: Value) -> Value {
    let set = KEYS.jwks();
    let mut key = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == id).unwrap().clone();
    for (name, value) in changes.as_object().unwrap() {
        key[name] = value.clone();
        if value.is_null() {
            key.as_object_mut().unwrap().remove(name);
        }
    }
    key
}

/// Why a set of this one key is not used; `None` when it is.
fn unusable(key: &Value) -> Option<Unusable> {
    match KeySet::public(json!({ "keys": [key] }).to_string().as_bytes()) {
        Ok(_) => None,
        Err(KeySetError::Unusable(reason)) => Some(reason),
        Err(other) => panic!("{other}"),
    }
}

fn decoded(text: &Value) -> Vec<u8> {
    base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text.as_str().unwrap()).unwrap()
}

#[test]
fn use_other_than_sig_and_key_ops_without_verify_are_skipped() {
    for id in ["rsa", "p256", "p384", "ed25519"] {
        assert_eq!(unusable(&jwk(id, json!({}))), None, "{id}");
        assert_eq!(unusable(&jwk(id, json!({"use": "sig", "key_ops": ["verify"]}))), None, "{id}");
        assert_eq!(unusable(&jwk(id, json!({"key_ops": ["sign", "verify"]}))), None, "{id}");
        for changes in [
            json!({"use": "enc"}),
            json!({"use": "SIG"}),
            json!({"key_ops": []}),
            json!({"key_ops": ["sign"]}),
            json!({"key_ops": ["encrypt"], "use": "sig"}),
            json!({"key_ops": ["verify"], "use": "enc"}),
        ] {
            assert_eq!(unusable(&jwk(id, changes.clone())), Some(Unusable::Purpose), "{id} {changes}");
        }
        assert_eq!(unusable(&jwk(id, json!({"use": ["sig"]}))), Some(Unusable::Malformed), "{id}");
        assert_eq!(unusable(&jwk(id, json!({"key_ops": "verify"}))), Some(Unusable::Malformed), "{id}");
    }
}

#[test]
fn a_keys_own_alg_binds_rfc_8725_3_1() {
    let set = json!({"keys": [jwk("rsa", json!({"alg": "PS256"}))]}).to_string();
    let issuers = Setup::with_keys(&set).load();
    let token = |algorithm: &str| {
        KEYS.token(algorithm, &format!("{{\"alg\":\"{algorithm}\",\"kid\":\"rsa\"}}"), &claims().to_string())
    };
    assert_eq!(fault(&issuers, &token("PS256")), None);
    for algorithm in ["RS256", "PS384", "RS512"] {
        assert_eq!(fault(&issuers, &token(algorithm)), Some(Fault::UnknownKey), "{algorithm}");
    }
}

#[test]
fn an_alg_of_another_kind_of_key_makes_a_key_useless() {
    for (id, algorithm) in [
        ("rsa", "ES256"),
        ("rsa", "RSA-OAEP"),
        ("rsa", "none"),
        ("rsa", "HS256"),
        ("p256", "ES384"),
        ("p256", "ES512"),
        ("p384", "ES256"),
        ("ed25519", "ES256"),
    ] {
        assert_eq!(unusable(&jwk(id, json!({"alg": algorithm}))), Some(Unusable::Algorithm), "{id} {algorithm}");
    }
    for name in ["EdDSA", "Ed25519"] {
        assert_eq!(unusable(&jwk("ed25519", json!({"alg": name}))), None, "{name}");
    }
}

#[test]
fn rsa_keys_below_2048_and_above_8192_bits_are_refused() {
    let odd = |bytes: usize, first: u8| {
        let mut modulus = vec![0x5a; bytes];
        modulus[0] = first;
        *modulus.last_mut().unwrap() = 0x5b;
        encode(&modulus)
    };
    assert_eq!(unusable(&jwk("rsa", json!({"n": odd(128, 0x80)}))), Some(Unusable::Size));
    assert_eq!(unusable(&jwk("rsa", json!({"n": odd(256, 0x7f)}))), Some(Unusable::Size), "2047 bits");
    assert_eq!(unusable(&jwk("rsa", json!({"n": odd(256, 0x80)}))), None);
    assert_eq!(unusable(&jwk("rsa", json!({"n": odd(1024, 0xff)}))), None);
    assert_eq!(unusable(&jwk("rsa", json!({"n": odd(1025, 0x01)}))), Some(Unusable::Size), "8193 bits");
    assert_eq!(unusable(&jwk("rsa", json!({"n": ""}))), Some(Unusable::Size));
}

#[test]
fn rsa_exponents_are_odd_and_above_one_and_moduli_odd() {
    for (exponent, wanted) in [
        (vec![1], Some(Unusable::Exponent)),
        (vec![], Some(Unusable::Exponent)),
        (vec![2], Some(Unusable::Exponent)),
        (vec![1, 0, 0], Some(Unusable::Exponent)),
        (vec![1, 1, 1, 1, 1, 1], Some(Unusable::Exponent)),
        (vec![3], None),
        (vec![0, 1, 0, 1], None),
    ] {
        assert_eq!(unusable(&jwk("rsa", json!({"e": encode(&exponent)}))), wanted, "{exponent:?}");
    }
    let mut even = decoded(&jwk("rsa", json!({}))["n"]);
    *even.last_mut().unwrap() &= 0xfe;
    assert_eq!(unusable(&jwk("rsa", json!({"n": encode(&even)}))), Some(Unusable::Malformed));
}

#[test]
fn a_modulus_with_a_leading_zero_octet_is_the_same_key() {
    let padded = [vec![0], decoded(&jwk("rsa", json!({}))["n"])].concat();
    let set = json!({"keys": [jwk("rsa", json!({"n": encode(&padded)}))]}).to_string();
    let token = KEYS.token("RS256", r#"{"alg":"RS256","kid":"rsa"}"#, &claims().to_string());
    assert_eq!(fault(&Setup::with_keys(&set).load(), &token), None);
}

#[test]
fn points_lie_on_their_curve_and_have_its_length_rfc_7518_6_2_1_2() {
    let mut y = decoded(&jwk("p256", json!({}))["y"]);
    y[31] ^= 1;
    assert_eq!(unusable(&jwk("p256", json!({"y": encode(&y)}))), Some(Unusable::Point));
    assert_eq!(unusable(&jwk("p256", json!({"x": encode(&[0; 32]), "y": encode(&[0; 32])}))), Some(Unusable::Point));
    assert_eq!(unusable(&jwk("p256", json!({"x": encode(&[1; 31])}))), Some(Unusable::Malformed));
    assert_eq!(unusable(&jwk("p256", json!({"crv": "P-384"}))), Some(Unusable::Malformed));
    assert_eq!(unusable(&jwk("p384", json!({"crv": "P-256"}))), Some(Unusable::Malformed));
    for curve in ["P-521", "secp256k1", "p-256", "Ed25519"] {
        assert_eq!(unusable(&jwk("p256", json!({"crv": curve}))), Some(Unusable::Unsupported), "{curve}");
    }
    assert_eq!(unusable(&jwk("ed25519", json!({"crv": "Ed448"}))), Some(Unusable::Unsupported));
    assert_eq!(unusable(&jwk("ed25519", json!({"x": encode(&[1; 31])}))), Some(Unusable::Point));
}

#[test]
fn a_published_private_key_is_not_used() {
    let scalar = private_scalar(&KEYS.p256);
    assert_eq!(unusable(&jwk("p256", json!({"d": scalar}))), Some(Unusable::Private));
    assert_eq!(unusable(&jwk("rsa", json!({"p": "AQ"}))), Some(Unusable::Private));
}

#[test]
fn unknown_and_misfitting_key_types_are_skipped() {
    assert_eq!(unusable(&jwk("p256", json!({"kty": "RSA"}))), Some(Unusable::Malformed));
    assert_eq!(unusable(&jwk("p256", json!({"kty": "ec"}))), Some(Unusable::Unsupported));
    assert_eq!(unusable(&jwk("p256", json!({"kty": null}))), Some(Unusable::Malformed));
    assert_eq!(unusable(&json!("text")), Some(Unusable::Malformed));
    assert_eq!(unusable(&jwk("p256", json!({"kid": 5}))), Some(Unusable::Malformed));
}

#[test]
fn an_unusable_key_does_not_take_the_others_with_it() {
    let mut set = KEYS.jwks();
    let odd = [json!({"kty": "oct", "kid": "s", "k": encode(&[1; 64])}), json!(5), json!({"kty": "AKP", "kid": "pq"})];
    set["keys"].as_array_mut().unwrap().splice(0..0, odd);
    let read = KeySet::public(set.to_string().as_bytes()).unwrap();
    assert_eq!(read.ids().flatten().collect::<Vec<_>>(), ["rsa", "p256", "p384", "ed25519"]);
    assert_eq!(read.skipped().len(), 3);
}

#[test]
fn two_keys_with_one_kid_are_both_dropped() {
    let other = crate::minting::Keys::make();
    let mut twin = ec_jwk(&other.p256, "p256");
    let set = |twin: &Value| json!({"keys": [jwk("p256", json!({})), twin, jwk("rsa", json!({}))]}).to_string();
    let ids = |text: &str| {
        let read = KeySet::public(text.as_bytes()).unwrap();
        read.ids().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ids(&set(&twin)), ["rsa"]);
    twin["use"] = json!("enc");
    assert_eq!(ids(&set(&twin)), ["p256", "rsa"], "a key for another purpose is no rival");
    assert_eq!(ids(&set(&jwk("p256", json!({"alg": "ES256"})))), ["p256", "p256", "rsa"], "the same key twice is one");
}

#[test]
fn a_key_listed_once_for_every_algorithm_serves_them_all() {
    let keys = ["RS256", "PS256"].map(|algorithm| jwk("rsa", json!({"alg": algorithm})));
    let issuers = Setup::with_keys(&json!({ "keys": keys }).to_string()).load();
    for (algorithm, wanted) in [("RS256", None), ("PS256", None), ("RS512", Some(Fault::UnknownKey))] {
        let header = format!("{{\"alg\":\"{algorithm}\",\"kid\":\"rsa\"}}");
        assert_eq!(fault(&issuers, &KEYS.token(algorithm, &header, &claims().to_string())), wanted, "{algorithm}");
    }
}

#[test]
fn a_token_without_kid_is_tried_with_sixteen_keys_and_no_more() {
    let others: Vec<Value> =
        (0..16).map(|number| ec_jwk(&crate::minting::Keys::fresh_p256(), &format!("other-{number}"))).collect();
    let token = KEYS.token("ES256", r#"{"alg":"ES256"}"#, &claims().to_string());
    let with = |before: usize| {
        let mut keys: Vec<Value> = others.iter().take(before).cloned().collect();
        // Keys of another kind do not count.
        keys.insert(0, rsa_jwk(&KEYS.rsa, "rsa"));
        keys.push(jwk("p256", json!({})));
        fault(&Setup::with_keys(&json!({ "keys": keys }).to_string()).load(), &token)
    };
    assert_eq!(with(15), None);
    assert_eq!(with(16), Some(Fault::Signature));
}

#[test]
fn a_key_set_is_an_object_with_a_list_of_keys() {
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert_eq!(KeySet::public(text.as_bytes()).unwrap_err(), KeySetError::Malformed, "{text}");
    }
    assert_eq!(KeySet::public(br#"{"keys":[]}"#).unwrap_err(), KeySetError::Empty);
    let twice = KEYS.jwks().to_string().replacen("\"kid\":\"rsa\"", "\"kid\":\"rsa\",\"kid\":\"rsa\"", 1);
    assert_eq!(KeySet::public(twice.as_bytes()).unwrap_err(), KeySetError::Malformed);
}

#[test]
fn a_secret_file_holds_secrets_only() {
    let secret = json!({"kty": "oct", "kid": "s", "k": encode(&[1; 32])});
    let read = |keys: Value| KeySet::secret(json!({ "keys": keys }).to_string().as_bytes());
    assert!(read(json!([secret])).is_ok());
    let alone = KeySet::secret(secret.to_string().as_bytes()).unwrap();
    assert_eq!(alone.ids().collect::<Vec<_>>(), [Some("s")], "one key is read, not its text taken for the secret");
    let like = json!({"k": encode(&[1; 32])}).to_string();
    assert_eq!(
        KeySet::secret(like.as_bytes()).unwrap().ids().collect::<Vec<_>>(),
        [None],
        "JSON that is no key is a secret"
    );
    assert_eq!(read(json!([secret, jwk("p256", json!({}))])).unwrap_err(), KeySetError::Unusable(Unusable::Mixed));
    let bound = |algorithm: &str| {
        read(json!([{"kty": "oct", "k": encode(&[1; 32]), "alg": algorithm}])).map(|_| ()).map_err(
            |error| match error {
                KeySetError::Unusable(reason) => reason,
                other => panic!("{other}"),
            },
        )
    };
    assert_eq!(bound("HS256"), Ok(()));
    assert_eq!(bound("HS512"), Err(Unusable::Short));
    assert_eq!(bound("RS256"), Err(Unusable::Algorithm), "no secret is long enough for that");
    assert_eq!(KeySet::secret(b"short").unwrap_err(), KeySetError::Short);
    assert!(KeySet::secret(&[b'x'; 32]).is_ok());
    assert_eq!(KeySet::secret(&[&[b'x'; 31], b"\n".as_slice()].concat()).unwrap_err(), KeySetError::Short);
}
