use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn is_jwt(payload: &str) -> bool {
    is_jwt_of(&format!("x.{payload}.x"), |issuer| issuer == "https://i")
}

/// The same bytes with another last character: the bits that carry nothing are set.
fn untidy(encoded: &str) -> Option<String> {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let unused = match encoded.len() % 4 {
        2 => 0b1111,
        3 => 0b11,
        _ => return None,
    };
    let (rest, last) = encoded.split_at(encoded.len() - 1);
    let other = letters.find(last).unwrap() | unused;
    Some(format!("{rest}{}", letters.chars().nth(other).unwrap()))
}

proptest! {
    #[test]
    fn no_spelling_makes_a_jwt_of_a_configured_issuer_anything_else(name in "[ -~]{0,12}", issuer in "https://[ij]") {
        let payload = json!({"iss": issuer, "name": name}).to_string();
        let wanted = issuer == "https://i";
        prop_assert_eq!(is_jwt(&URL_SAFE_NO_PAD.encode(&payload)), wanted);
        for engine in [URL_SAFE, STANDARD, STANDARD_NO_PAD] {
            prop_assert_eq!(is_jwt(&engine.encode(&payload)), wanted);
        }
        if let Some(untidy) = untidy(&URL_SAFE_NO_PAD.encode(&payload)) {
            prop_assert_eq!(is_jwt(&untidy), wanted);
        }
    }
}

#[test]
fn a_payload_with_a_name_twice_is_no_opaque_token() {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    assert!(is_jwt(&encode(r#"{"iss":"https://i","iss":"https://j"}"#)));
    assert!(is_jwt(&encode(r#"{"iss":"https://j","iss":"https://i"}"#)));
    assert!(is_jwt(&encode(r#"{"a":{"b":1,"b":2}}"#)));
}

#[test]
fn an_answer_about_a_token_that_has_expired_is_a_refusal() {
    let now = Timestamp(1_800_000_000);
    let mut issuer = crate::config::Issuer::new("i", "https://i", None);
    issuer.audiences = crate::config::Audiences::OneOf(vec!["api".to_owned()]);
    let rules = Rules::new(&issuer, crate::principal::IssuerId(0));
    let judged = |end: i64| {
        let answer = json!({"active": true, "sub": "17", "client_id": "shop", "aud": "api", "exp": end});
        judge(&rules, answer.as_object().unwrap().clone(), TokenDigest::of("opaque"), now)
    };
    let leeway = rules.issuer().leeway;
    assert!(matches!(judged(now.0 - leeway + 1), Verdict::Vouched(_)));
    assert!(matches!(judged(now.0 - leeway), Verdict::Refused(Fault::Expired)), "which is remembered for ten seconds");
}

#[test]
fn other_numbers_of_parts_and_other_payloads_are_opaque() {
    let payload = URL_SAFE_NO_PAD.encode(r#"{"iss":"https://i"}"#);
    let configured = |issuer: &str| issuer == "https://i";
    for token in [payload.clone(), format!("x.{payload}"), format!("x.{payload}.x.x"), format!("x.{payload}.x.x.x")] {
        assert!(!is_jwt_of(&token, configured), "{token}");
    }
    for payload in [r#""https://i""#, "[]", "{}", r#"{"iss":null}"#, r#"{"iss":["https://i"]}"#, "", "{"] {
        assert!(!is_jwt(&URL_SAFE_NO_PAD.encode(payload)), "{payload}");
    }
}
