//! `forward.assertion`: what the upstream can verify, and what clients cannot make it believe.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use torwart::assertion::{Role, Signer};
use torwart::clock::Timestamp;
use torwart::config::Config;

use crate::support::World;
use crate::support::message::Message;
use crate::support::world::Gateway;

const POLICY: &str = r"
version: 1
policy: api
hosts: [api.test]
upstream: api
forward: {assertion: true}
routes:
  - {path: /me, methods: [GET, POST], require: authenticated}
  - {path: /open, methods: [GET], require: public}
";

const HOUR: i64 = 3600;

fn world() -> World {
    World::new()
        .policies(&[POLICY])
        .issuer("    claims: {organizations: org_uids, global: global}\n")
        .with("assertion: {issuer: https://gateway.test}")
}

fn me(gateway: &Gateway, claims: &Value) -> Message {
    let token = gateway.token(claims);
    let head = format!("GET /me HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\r\n");
    assert_eq!(gateway.client().ask(head).status(), 200);
    gateway.upstream.requests().pop().expect("a request")
}

/// The one assertion of a request, verified with the keys that are published.
fn assertion(gateway: &Gateway, request: &Message) -> Value {
    verified(&key_set(gateway), request.all("x-auth-assertion").as_slice()).expect("it verifies").1
}

fn key_set(gateway: &Gateway) -> Arc<str> {
    gateway.snapshots.current().signer.as_ref().expect("a signer").key_set()
}

/// `kid` and payload.
fn verified(set: &str, assertions: &[&str]) -> Option<(String, Value)> {
    let [assertion] = assertions else { panic!("one assertion, not {assertions:?}") };
    let (message, signature) = assertion.rsplit_once('.').expect("a JWS");
    let (header, payload) = message.split_once('.').expect("a JWS");
    let decoded = |part: &str| BASE64URL.decode(part).expect("base64url");
    let header: Value = serde_json::from_slice(&decoded(header)).expect("JSON");
    assert_eq!((&header["typ"], &header["alg"]), (&json!("torwart-assertion+jwt"), &json!("ES256")));
    let set: Value = serde_json::from_str(set).expect("JSON");
    let key = set["keys"].as_array().expect("a list").iter().find(|key| key["kid"] == header["kid"])?;
    let coordinate = |name: &str| decoded(key[name].as_str().expect("text"));
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    public.verify(message.as_bytes(), &decoded(signature)).ok()?;
    let kid = header["kid"].as_str().expect("text").to_owned();
    Some((kid, serde_json::from_slice(&decoded(payload)).expect("JSON")))
}

#[test]
fn an_upstream_can_verify_who_asks() {
    let gateway = world().start();
    let before = Timestamp::now().0;
    let seen = me(&gateway, &json!({"sub": "alice", "client_id": "app", "scope": "a b", "org_uids": ["ä"]}));
    let mut told = assertion(&gateway, &seen);
    let (issued, expires) = (told["iat"].as_i64().expect("a time"), told["exp"].as_i64().expect("a time"));
    assert!((before..=Timestamp::now().0).contains(&issued) && expires == issued + 60, "{told}");
    for made in ["iat", "exp", "jti"] {
        told.as_object_mut().expect("an object").remove(made);
    }
    assert_eq!(
        told,
        json!({"iss": "https://gateway.test", "aud": "api", "sub": "alice", "client_id": "app", "issuer": "shoen",
            "flow": "user", "scope": "a b", "global": false, "organizations": ["ä"]})
    );
}

#[test]
fn every_request_has_an_identifier_of_its_own() {
    let gateway = world().start();
    let claims = json!({"sub": "alice", "client_id": "app"});
    let ids: BTreeSet<String> =
        (0..20).map(|_| assertion(&gateway, &me(&gateway, &claims))["jti"].to_string()).collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn clients_and_the_global_are_told_as_what_they_are() {
    let gateway = world().start();
    let machine = assertion(&gateway, &me(&gateway, &json!({"sub": "batch", "client_id": "batch"})));
    assert_eq!((machine.get("sub"), &machine["flow"]), (None, &json!("client_credentials")));
    assert_eq!((&machine["client_id"], &machine["organizations"]), (&json!("batch"), &json!([])));
    let claims = json!({"sub": "root", "client_id": "app", "global": true, "org_uids": ["o"]});
    let global = assertion(&gateway, &me(&gateway, &claims));
    assert_eq!((&global["global"], global.get("organizations")), (&json!(true), None));
}

#[test]
fn what_a_client_asserts_itself_never_arrives() {
    let gateway = world().start();
    let own = me(&gateway, &json!({"sub": "alice", "client_id": "app"}));
    let stolen = own.field("x-auth-assertion").expect("an assertion").to_owned();
    let token = gateway.token(&json!({"sub": "bob", "client_id": "app"}));
    let forged = ["X-Auth-Assertion", "x-auth-assertion", "X_Auth_Assertion", "X.Auth.Assertion", "X-Auth_Assertion"];
    let lines = forged.map(|name| format!("{name}: {stolen}\r\n")).concat();
    let asked = [
        format!("GET /me HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n{lines}\r\n"),
        format!("GET /open HTTP/1.1\r\nHost: api.test\r\n{lines}\r\n"),
        format!(
            "POST /me HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\nTE: trailers\r\n\
             Trailer: X-Auth-Assertion\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n{lines}\r\n"
        ),
    ];
    for request in &asked {
        assert_eq!(gateway.client().ask(request).status(), 200, "{request}");
        let seen = gateway.upstream.requests().pop().expect("a request");
        let all = || seen.fields.iter().chain(&seen.trailers);
        assert!(all().all(|(_, value)| *value != stolen), "{seen:?}");
        let named = all().filter(|(name, _)| name.replace(['_', '.'], "-").eq_ignore_ascii_case(forged[0])).count();
        assert_eq!(named, usize::from(!request.contains("/open")), "{seen:?}");
        if named == 1 {
            assert_eq!(assertion(&gateway, &seen)["sub"], "bob");
        }
    }
}

#[test]
fn the_name_follows_the_prefix() {
    let gateway = world().with("identity: {prefix: X-User-}").start();
    let seen = me(&gateway, &json!({"sub": "alice", "client_id": "app"}));
    assert_eq!((seen.all("x-user-assertion").len(), seen.field("x-auth-assertion")), (1, None));
}

/// A gateway's keys as they were left in a state directory at some moment.
fn left(directory: &Path, at: Timestamp) -> Arc<Signer> {
    let mut config = Config::empty("torwart.yaml".into());
    config.assertion_issuer = Some("https://gateway.test".to_owned());
    config.state_directory = Some(directory.to_owned());
    Signer::load(&config, None, at).expect("keys").expect("a signer")
}

fn kid(gateway: &Gateway, seen: &Message) -> String {
    verified(&key_set(gateway), seen.all("x-auth-assertion").as_slice()).expect("it verifies").0
}

#[test]
fn keys_survive_a_restart_and_rotate_over_it() {
    let state = tempfile::tempdir().expect("a directory");
    let (now, claims) = (Timestamp::now(), json!({"sub": "alice", "client_id": "app"}));
    let with_state = || world().with(&format!("state: {{directory: {}}}", state.path().display()));
    // Made 23 and a half hours ago, and not looked after since: the next key is published now and signs in an hour.
    let first = left(state.path(), now.plus(-23 * HOUR - HOUR / 2)).states(now)[0].id.clone();
    let gateway = with_state().start();
    assert_eq!(kid(&gateway, &me(&gateway, &claims)), first);
    let published: Value = serde_json::from_str(&key_set(&gateway)).expect("JSON");
    assert_eq!(published["keys"].as_array().map(Vec::len), Some(2), "the next one is published before it signs");
    let next = published["keys"][1]["kid"].as_str().expect("text").to_owned();
    let after = left(state.path(), now.plus(HOUR + 60));
    let roles: Vec<_> = after.states(now.plus(HOUR + 60)).into_iter().map(|key| (key.id, key.role)).collect();
    assert_eq!(roles, [(first, Role::Retired), (next, Role::Signing)]);
    drop(gateway);
    let again = with_state().start();
    assert_eq!(*key_set(&again), *after.key_set());
}

#[test]
fn a_reload_keeps_the_keys_and_follows_the_issuer() {
    let gateway = world().start();
    let claims = json!({"sub": "alice", "client_id": "app"});
    let before = kid(&gateway, &me(&gateway, &claims));
    gateway.edit("https://gateway.test", "https://other.test");
    gateway.snapshots.reload().unwrap_or_else(|problems| panic!("{}", problems.render()));
    let seen = me(&gateway, &claims);
    assert_eq!((kid(&gateway, &seen), &assertion(&gateway, &seen)["iss"]), (before, &json!("https://other.test")));
    gateway.edit("assertion: {issuer: https://other.test}", "");
    let problems = gateway.snapshots.reload().expect_err("policies ask for assertions").render();
    assert!(problems.contains("nobody is said to sign"), "{problems}");
    assert_eq!(assertion(&gateway, &me(&gateway, &claims))["sub"], "alice");
}

#[test]
fn keys_that_cannot_be_kept_where_the_configuration_says_are_an_error() {
    let gateway = world().file("state", "a file, not a directory").start();
    gateway.edit("assertion:", "state: {directory: state}\nassertion:");
    let problems = gateway.snapshots.reload().expect_err("a state directory that is a file").render();
    assert!(problems.contains("the keys of assertions cannot be kept in"), "{problems}");
    assert_eq!(me(&gateway, &json!({"sub": "alice", "client_id": "app"})).all("x-auth-assertion").len(), 1);
}
