//! Whatever is sent: no panic, and nothing but an issuer's own signature makes a principal.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use torwart::authn::{Failure, Issuers};

use crate::minting::{KEYS, Keys, Setup, claims, encode, outcome, with};

static SETUP: LazyLock<Setup> = LazyLock::new(Setup::new);
static ISSUERS: LazyLock<Issuers> = LazyLock::new(|| SETUP.load());
static STRANGER: LazyLock<Keys> = LazyLock::new(Keys::make);

fn is_refused(token: &str) -> bool {
    matches!(outcome(&ISSUERS, token), Err(Failure::Invalid(_)))
}

#[test]
fn every_single_byte_mutation_of_a_valid_token_is_refused() {
    let tokens = [
        KEYS.es256(&claims()),
        KEYS.token("EdDSA", r#"{"alg":"EdDSA"}"#, &claims().to_string()),
        KEYS.token("RS256", r#"{"alg":"RS256","kid":"rsa"}"#, &claims().to_string()),
    ];
    for token in tokens {
        assert!(outcome(&ISSUERS, &token).is_ok());
        for at in 0..token.len() {
            for replacement in ["A", "B", "_", ".", "=", "~", "+"] {
                let mut mutated = token.clone();
                mutated.replace_range(at..=at, replacement);
                if mutated != token {
                    assert!(is_refused(&mutated), "{at} {replacement}");
                }
            }
            let mut shorter = token.clone();
            shorter.remove(at);
            assert!(is_refused(&shorter), "without {at}");
            let mut longer = token.clone();
            longer.insert(at, 'A');
            assert!(is_refused(&longer), "with another {at}");
        }
    }
}

/// JSON of any shape, with names that mean something.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!(crate::minting::ISSUER)),
        Just(json!(crate::minting::AUDIENCE)),
        Just(json!(crate::minting::NOW.0 + 100)),
    ];
    let name = prop_oneof![
        prop::sample::select(vec![
            "iss",
            "aud",
            "sub",
            "exp",
            "nbf",
            "iat",
            "jti",
            "scope",
            "scp",
            "client_id",
            "azp",
            "cnf",
            "nonce",
            "typ",
            "alg",
            "kid",
            "crit",
            "b64",
            "events",
            "token_use",
            "auth_time",
            "acr",
        ])
        .prop_map(str::to_owned),
        "[a-z/:.]{0,8}",
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_text_never_authenticates(token in "[A-Za-z0-9._~+/-]{0,200}=?") {
        prop_assert!(outcome(&ISSUERS, &token).is_err());
    }

    #[test]
    fn three_random_parts_never_authenticate(
        header in prop::collection::vec(any::<u8>(), 0..60),
        payload in prop::collection::vec(any::<u8>(), 0..60),
        signature in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let token = format!("{}.{}.{}", encode(&header), encode(&payload), encode(&signature));
        prop_assert!(is_refused(&token));
    }

    #[test]
    fn no_header_and_no_claims_make_a_strangers_signature_good(
        header in json_value(),
        changes in prop::collection::btree_map("[a-z]{1,6}", json_value(), 0..4),
        algorithm in prop::sample::select(vec!["RS256", "PS384", "ES256", "EdDSA", "HS256"]),
    ) {
        let mut header = header.as_object().cloned().unwrap_or_default();
        header.entry("alg").or_insert(json!(algorithm));
        let claims = with(Value::Object(changes.into_iter().collect()));
        let token = STRANGER.token(algorithm, &Value::Object(header).to_string(), &claims.to_string());
        prop_assert!(is_refused(&token));
    }

    #[test]
    fn signed_claims_of_any_shape_never_panic_and_what_is_accepted_is_what_the_rules_ask(
        changes in prop::collection::btree_map(
            prop::sample::select(vec!["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "scope", "cnf", "typ"]).prop_map(str::to_owned),
            json_value(),
            0..5,
        ),
    ) {
        let mut claims = claims();
        for (name, value) in changes {
            claims[name] = value;
        }
        if let Ok(principal) = outcome(&ISSUERS, &KEYS.es256(&claims)) {
            prop_assert_eq!(&claims["iss"], &json!(crate::minting::ISSUER));
            prop_assert!(principal.subject.as_ref().is_some_and(|subject| !subject.is_empty()));
            prop_assert!(principal.valid_until() > crate::minting::NOW);
            prop_assert!(claims["cnf"].is_null() || principal.certificate_thumbprint.is_some());
            let audience = json!(crate::minting::AUDIENCE);
            prop_assert!(claims["aud"] == audience || claims["aud"].as_array().is_some_and(|list| list.contains(&audience)));
        }
    }
}
