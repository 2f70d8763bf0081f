//! Signing, and keeping keys.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

use super::*;
use crate::principal::Permissions;
use crate::principal::tests::principal;

const HOUR: i64 = 3600;

fn at(seconds: i64) -> Timestamp {
    Timestamp(1_700_000_000 + seconds)
}

fn config(directory: Option<&Path>) -> Config {
    let mut config = Config::empty("torwart.yaml".into());
    config.assertion_issuer = Some("https://gw".to_owned());
    config.state_directory = directory.map(Path::to_owned);
    config
}

fn open(directory: Option<&Path>, now: Timestamp) -> Arc<Signer> {
    Signer::load(&config(directory), None, now).unwrap().unwrap()
}

fn statement() -> Statement {
    Statement::new(&principal(), Permissions::Told, &"https://gw".into(), &"crm".into())
}

/// Header and payload of an assertion that a key of the set has signed.
fn verified(set: &str, assertion: &HeaderValue) -> Option<(Value, Value)> {
    let text = assertion.to_str().unwrap();
    let (message, signature) = text.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let decoded = |part: &str| BASE64URL.decode(part).unwrap();
    let header: Value = serde_json::from_slice(&decoded(header)).unwrap();
    let set: Value = serde_json::from_str(set).unwrap();
    let key = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"])?;
    let coordinate = |name: &str| decoded(key[name].as_str().unwrap());
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    public.verify(message.as_bytes(), &decoded(signature)).ok()?;
    Some((header, serde_json::from_slice(&decoded(payload)).unwrap()))
}

fn roles(signer: &Signer, now: Timestamp) -> Vec<Role> {
    signer.states(now).into_iter().map(|state| state.role).collect()
}

#[test]
fn an_assertion_verifies_with_the_published_set_and_says_what_it_is() {
    let signer = open(None, at(0));
    let assertion = signer.sign(&statement(), at(5)).unwrap();
    assert!(assertion.is_sensitive());
    let (header, payload) = verified(&signer.key_set(), &assertion).unwrap();
    assert_eq!(header, json!({"alg": "ES256", "typ": "torwart-assertion+jwt", "kid": signer.states(at(5))[0].id}));
    assert_eq!((&payload["iat"], &payload["exp"]), (&json!(at(5).0), &json!(at(65).0)));
    let set: Value = serde_json::from_str(&signer.key_set()).unwrap();
    let key = set["keys"][0].as_object().unwrap();
    let members: Vec<&str> = key.keys().map(String::as_str).collect();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"], "the public half only");
}

#[test]
fn every_assertion_has_an_identifier_of_its_own() {
    let signer = open(None, at(0));
    let ids: std::collections::BTreeSet<String> = (0..100)
        .map(|_| verified(&signer.key_set(), &signer.sign(&statement(), at(0)).unwrap()).unwrap().1["jti"].to_string())
        .collect();
    assert_eq!(ids.len(), 100);
}

#[test]
fn policy_knows_how_long_an_assertion_is_going_to_be() {
    let signer = open(None, at(0));
    for scopes in 0..7 {
        let mut principal = principal();
        principal.scopes = vec!["ä".to_owned(); scopes].into();
        let statement = Statement::new(&principal, Permissions::Told, &"https://gw".into(), &"crm".into());
        assert_eq!(signer.sign(&statement, at(0)).unwrap().len(), statement.signed_length(), "{scopes}");
    }
}

#[test]
fn keys_rotate_and_what_the_old_one_signed_verifies_until_caches_have_forgotten_it() {
    let signer = open(None, at(0));
    let old = signer.sign(&statement(), at(23 * HOUR)).unwrap();
    signer.tend(at(23 * HOUR));
    assert_eq!(roles(&signer, at(23 * HOUR)), [Role::Signing, Role::Next]);
    let announced = signer.key_set();
    let new = signer.sign(&statement(), at(24 * HOUR)).unwrap();
    assert_eq!(roles(&signer, at(24 * HOUR)), [Role::Retired, Role::Signing]);
    assert!(verified(&announced, &new).is_some(), "published before its first use");
    assert_ne!(verified(&announced, &new).unwrap().0["kid"], verified(&announced, &old).unwrap().0["kid"]);
    signer.tend(at(25 * HOUR - 1));
    assert!(verified(&signer.key_set(), &old).is_some());
    signer.tend(at(25 * HOUR));
    assert!(verified(&signer.key_set(), &old).is_none());
    assert!(verified(&signer.key_set(), &new).is_some());
}

#[test]
fn a_restart_keeps_the_keys_where_there_is_a_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    let before = open(Some(directory.path()), at(0));
    let assertion = before.sign(&statement(), at(0)).unwrap();
    let after = open(Some(directory.path()), at(60));
    assert!(verified(&after.key_set(), &assertion).is_some());
    assert_eq!(after.key_set(), before.key_set());
    let file = directory.path().join("assertion/keys.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_ne!(open(None, at(0)).key_set(), open(None, at(0)).key_set(), "without one they are made anew");
}

#[test]
fn gateways_that_share_a_directory_sign_with_one_key_and_know_the_next_before_it_signs() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (open(Some(directory.path()), at(0)), open(Some(directory.path()), at(1)));
    assert_eq!(one.key_set(), two.key_set());
    for hour in 0..100 {
        one.tend(at(hour * HOUR));
        two.tend(at(hour * HOUR + 30));
        one.tend(at(hour * HOUR + 60));
        assert_eq!(one.key_set(), two.key_set(), "hour {hour}");
    }
    let states = one.states(at(99 * HOUR));
    assert_eq!(states, two.states(at(99 * HOUR)));
}

#[test]
fn gateways_that_start_at_once_over_an_empty_directory_agree() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let sets: Vec<Arc<str>> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..8).map(|_| scope.spawn(|| open(Some(path), at(0)).key_set())).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(sets.iter().all(|set| *set == sets[0]), "{sets:?}");
}

#[test]
fn a_damaged_file_is_replaced_by_the_keys_in_force_or_by_another() {
    let directory = tempfile::tempdir().unwrap();
    let signer = open(Some(directory.path()), at(0));
    let file = directory.path().join("assertion/keys.json");
    let good = fs::read_to_string(&file).unwrap();
    for damaged in ["", "{}", "[]", good.get(..good.len() / 2).unwrap(), &good.replace("pkcs8\":\"M", "pkcs8\":\"N")] {
        fs::write(&file, damaged).unwrap();
        signer.tend(at(60));
        assert_eq!(fs::read_to_string(&file).unwrap(), good, "{damaged}");
        fs::write(&file, damaged).unwrap();
        assert_ne!(open(Some(directory.path()), at(60)).key_set(), signer.key_set());
    }
}

#[test]
fn keys_that_cannot_be_kept_are_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let signer = open(Some(directory.path()), at(0));
    let set = signer.key_set();
    let folder = directory.path().join("assertion");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    signer.tend(at(30 * HOUR));
    assert_eq!(signer.key_set(), set);
    assert!(signer.fault().unwrap().contains("cannot be kept in"), "{:?}", signer.fault());
    assert!(signer.sign(&statement(), at(30 * HOUR)).is_ok());
    assert!(Signer::load(&config(Some(directory.path())), None, at(0)).is_err());
    fs::remove_file(&folder).unwrap();
    signer.tend(at(30 * HOUR));
    assert_eq!((signer.fault(), roles(&signer, at(30 * HOUR)).len()), (None, 2));
}

#[test]
fn a_reload_keeps_the_keys_whatever_changes() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(None, at(0));
    let mut config = config(None);
    config.assertion_issuer = Some("https://other".to_owned());
    let same = Signer::load(&config, Some(&first), at(1)).unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &same), "another issuer");
    config.state_directory = Some(directory.path().to_owned());
    let moved = Signer::load(&config, Some(&same), at(2)).unwrap().unwrap();
    assert_eq!(moved.key_set(), first.key_set(), "another directory");
    assert_eq!(open(Some(directory.path()), at(3)).key_set(), first.key_set());
    config.assertion_issuer = None;
    assert!(Signer::load(&config, Some(&moved), at(4)).unwrap().is_none());
}

#[test]
fn keys_that_no_restart_survives_are_a_warning() {
    assert!(inspect(&config(None)).render().contains("made anew at every start"));
    assert!(inspect(&config(Some(Path::new("/state")))).is_empty());
    assert!(inspect(&Config::empty("torwart.yaml".into())).is_empty());
    assert!(!inspect(&config(None)).has_errors());
}
