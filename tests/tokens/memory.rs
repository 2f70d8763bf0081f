//! The token memory: what is remembered, what is asked again, and how much it may take.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use torwart::authn::{Failure, Fault};
use torwart::principal::{IssuerId, IssuerSet};

use crate::minting::{KEYS, NOW, Setup, bearer, claims, fault, outcome, outcome_at, with};

#[test]
fn a_verified_token_is_remembered_and_a_refused_one_is_not() {
    let issuers = Setup::new().load();
    let good = KEYS.es256(&claims());
    assert_eq!(fault(&issuers, &good), None);
    assert_eq!(fault(&issuers, &good), None);
    let state = issuers.memory();
    assert_eq!((state.entries, state.hits, state.misses), (1, 1, 1));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", crate::minting::encode(&[1; 64]));
    for _ in 0..3 {
        assert_eq!(fault(&issuers, &forged), Some(Fault::Signature));
    }
    assert_eq!((issuers.memory().entries, issuers.memory().hits), (1, 1));
}

#[test]
fn a_remembered_token_with_another_signature_is_another_token() {
    let issuers = Setup::new().load();
    let one = KEYS.es256(&claims());
    let (signed, signature) = one.rsplit_once('.').unwrap();
    assert_eq!(fault(&issuers, &one), None);
    // ECDSA signatures come in pairs: the other one is as valid, and is verified for itself.
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    negate(&mut bytes[32..]);
    assert_eq!(fault(&issuers, &format!("{signed}.{}", crate::minting::encode(&bytes))), None);
    assert_eq!((issuers.memory().entries, issuers.memory().hits), (2, 0));
    // One that differs in a bit is none, however like the remembered ones it looks.
    bytes[0] ^= 1;
    assert_eq!(fault(&issuers, &format!("{signed}.{}", crate::minting::encode(&bytes))), Some(Fault::Signature));
    assert_eq!(fault(&issuers, signed), Some(Fault::Opaque));
    assert_eq!((issuers.memory().entries, issuers.memory().hits), (2, 0));
}

/// The order of P-256 minus a number, big-endian (SEC 2 section 2.4.2).
fn negate(number: &mut [u8]) {
    let order = "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551";
    let mut borrow = 0_i16;
    for (place, byte) in number.iter_mut().enumerate().rev() {
        let digits = &order[2 * place..2 * place + 2];
        let difference = i16::from(u8::from_str_radix(digits, 16).unwrap()) - i16::from(*byte) - borrow;
        borrow = i16::from(difference < 0);
        *byte = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
}

#[test]
fn a_remembered_token_expires_all_the_same() {
    let issuers = Setup::new().load();
    let token = KEYS.es256(&claims());
    assert!(outcome(&issuers, &token).is_ok());
    assert!(outcome_at(&issuers, &token, NOW.plus(629)).is_ok());
    let failure = outcome_at(&issuers, &token, NOW.plus(630)).unwrap_err();
    assert!(matches!(failure, Failure::Invalid(ref invalid) if invalid.fault == Fault::Expired), "{failure:?}");
    assert_eq!(issuers.memory().entries, 0, "and is forgotten");
}

#[test]
fn a_remembered_token_is_accepted_only_where_its_issuer_is() {
    let issuers = Setup::new().load();
    let token = KEYS.es256(&claims());
    assert!(outcome(&issuers, &token).is_ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for accepted in [IssuerSet::default(), IssuerSet::new([IssuerId(1)])] {
        let outcome = runtime.block_on(issuers.authenticate(&bearer(&token), &accepted, None, NOW));
        let failure = outcome.unwrap_err();
        assert!(
            matches!(failure, Failure::Invalid(ref invalid) if invalid.fault == Fault::IssuerNotAccepted),
            "{failure:?}"
        );
    }
    let fresh = KEYS.es256(&with(json!({"jti": "fresh"})));
    let outcome = runtime.block_on(issuers.authenticate(&bearer(&fresh), &IssuerSet::default(), None, NOW));
    assert!(outcome.is_err());
    assert_eq!(issuers.memory().entries, 1, "what is not accepted is not remembered");
}

#[test]
fn the_memory_is_bounded_in_bytes() {
    let mut setup = Setup::new();
    setup.config.limits.token_memory = 256 * 1024;
    let issuers = setup.load();
    let long = "x".repeat(4000);
    for number in 0..300 {
        let token = KEYS.es256(&with(json!({"jti": number.to_string(), "padding": long})));
        assert_eq!(fault(&issuers, &token), None);
        assert!(issuers.memory().bytes <= 256 * 1024, "{:?}", issuers.memory());
    }
    assert!(issuers.memory().entries >= 10, "{:?}", issuers.memory());
    assert!(issuers.memory().entries <= 256 * 1024 / 4000, "a token's claims are counted: {:?}", issuers.memory());
}

#[test]
fn a_memory_of_nothing_remembers_nothing() {
    let mut setup = Setup::new();
    setup.config.limits.token_memory = 0;
    let issuers = setup.load();
    let token = KEYS.es256(&claims());
    assert_eq!(fault(&issuers, &token), None);
    assert_eq!(fault(&issuers, &token), None);
    assert_eq!((issuers.memory().entries, issuers.memory().hits), (0, 0));
}
