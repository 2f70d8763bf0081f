//! The JOSE vectors of C2SP/wycheproof against the key and signature layers of the token validator.
//!
//! The vectors lie beside the repository in `shared/vectors/wycheproof` (`TORWART_SHARED` names another place for
//! `shared`). Their payloads are no claim sets, so claims are not looked at; the key of a case makes the issuer's key
//! set, exactly as if it had been published (or been a `secret_file`, when all its keys are secrets).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, in its helpers too, and one that does not run says so"
)]

use std::path::PathBuf;

use serde_json::{Value, json};
use torwart::authn::Fault;
use torwart::authn::jose::{Header, Parts, is_symmetric};
use torwart::authn::keyset::{KeySet, Verdict};

/// Cases that the file marks valid and that are refused, each with the reason.
const REFUSED: [(u64, &str); 6] = [
    (346, "the key says PS256 and the token PS384; a key's own `alg` binds (tokens.md, RFC 8725 section 3.1)"),
    (347, "ES512 is not offered (tokens.md, algorithms)"),
    (350, "the key says PS256 and the token PS384; a key's own `alg` binds (tokens.md, RFC 8725 section 3.1)"),
    (351, "ES512 is not offered (tokens.md, algorithms)"),
    (372, "it holds characters outside base64url"),
    (373, "it holds characters outside base64url"),
];

/// Cases that the file marks invalid and that nobody can tell from a valid one: they are, byte for byte, case 357. The
/// padding that their comments speak of is not in the file.
const INDISTINGUISHABLE: [u64; 2] = [367, 370];

fn directory() -> PathBuf {
    let shared = std::env::var_os("TORWART_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    shared.join("vectors/wycheproof")
}

/// The file's test groups; `None`, said aloud, when the vectors are not there.
fn groups(name: &str) -> Option<Vec<Value>> {
    let path = directory().join(format!("json_web_{name}_test.json"));
    if !path.exists() {
        eprintln!("SKIPPED: no test vectors at `{}`; set TORWART_SHARED to where `vectors` lies", path.display());
        return None;
    }
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    Some(serde_json::from_value(file["testGroups"].take()).unwrap())
}

/// The key set of a group, without what only its private half has.
fn key_set(group: &Value) -> Option<KeySet> {
    let keys = if group["public"].is_object() { &group["public"] } else { &group["private"] };
    let mut list = keys["keys"].as_array().cloned().unwrap_or_else(|| vec![keys.clone()]);
    let secret = list.iter().all(|key| key["kty"] == "oct");
    for key in list.iter_mut().filter(|key| key["kty"] != "oct") {
        for member in ["d", "p", "q", "dp", "dq", "qi"] {
            key.as_object_mut().unwrap().remove(member);
        }
    }
    let text = json!({ "keys": list }).to_string();
    if secret { KeySet::secret(text.as_bytes()) } else { KeySet::public(text.as_bytes()) }.ok()
}

/// Whether the layers up to the signature accept a token.
fn accepts(keys: Option<&KeySet>, token: &str) -> bool {
    let verified = |parts: &Parts<'_>, header: &Header| {
        keys.is_some_and(|keys| keys.verify(header, parts.signed, parts.signature) == Verdict::Valid)
    };
    let outcome =
        Parts::split(token).and_then(|parts| Header::read(&parts.header).map(|header| verified(&parts, &header)));
    matches!(outcome, Ok(true))
}

/// One case of a file.
struct Case {
    number: u64,
    token: Option<String>,
    valid: bool,
    accepted: bool,
}

fn cases(groups: &[Value]) -> Vec<Case> {
    let mut cases = Vec::new();
    for group in groups {
        let keys = key_set(group);
        for case in group["tests"].as_array().unwrap() {
            let token = case["jws"].as_str().or_else(|| case["jwe"].as_str()).map(str::to_owned);
            // Encrypted tokens are refused whatever the file says: there is no decryption (tokens.md, "encoding").
            let encrypted = !case["jwe"].is_null();
            let accepted = token.as_deref().is_some_and(|token| accepts(keys.as_ref(), token));
            let (number, valid) = (case["tcId"].as_u64().unwrap(), case["result"] == "valid" && !encrypted);
            cases.push(Case { number, token, valid, accepted });
        }
    }
    cases
}

/// The cases whose verdict is not the file's.
fn deviations(cases: &[Case]) -> Vec<(u64, bool)> {
    cases.iter().filter(|case| case.accepted != case.valid).map(|case| (case.number, case.accepted)).collect()
}

#[test]
fn every_signature_case_is_classified_as_the_file_says() {
    let Some(groups) = groups("signature") else { return };
    let cases = cases(&groups);
    assert_eq!(cases.len(), 401);
    let mut listed: Vec<_> = REFUSED.iter().map(|(number, _)| (*number, false)).collect();
    listed.extend(INDISTINGUISHABLE.map(|number| (number, true)));
    listed.sort_unstable();
    assert_eq!(deviations(&cases), listed);
}

#[test]
fn the_indistinguishable_cases_are_a_valid_one_byte_for_byte() {
    let Some(groups) = groups("signature") else { return };
    let cases = cases(&groups);
    let of = |number: u64| cases.iter().find(|case| case.number == number).unwrap();
    assert!(of(357).valid);
    for number in INDISTINGUISHABLE {
        assert_eq!(of(number).token, of(357).token);
    }
}

#[test]
fn every_key_case_is_classified_as_the_file_says() {
    let Some(groups) = groups("key") else { return };
    let cases = cases(&groups);
    assert_eq!(cases.len(), 26);
    assert_eq!(deviations(&cases), []);
}

#[test]
fn every_crypto_case_is_classified_as_the_file_says() {
    let Some(groups) = groups("crypto") else { return };
    let cases = cases(&groups);
    assert!(cases.len() > 80, "{}", cases.len());
    assert_eq!(deviations(&cases), []);
}

#[test]
fn algorithms_of_secrets_never_verify_with_a_published_key_set() {
    let Some(groups) = groups("key") else { return };
    let mixed = key_set(&groups[0]).expect("the public key of the mixed set remains");
    assert_eq!(mixed.ids().collect::<Vec<_>>(), [Some("kid-ec-sign")]);
    let token = groups[0]["tests"][0]["jws"].as_str().unwrap();
    let parts = Parts::split(token).unwrap();
    let header = Header::read(&parts.header).unwrap();
    assert!(is_symmetric(header.algorithm));
    let verdict = mixed.verify(&header, parts.signed, parts.signature);
    assert!(matches!(verdict, Verdict::UnknownKey | Verdict::Invalid(Fault::UnknownKey)), "{verdict:?}");
}
