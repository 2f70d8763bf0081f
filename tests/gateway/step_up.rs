//! A login that is not good enough (RFC 9470), as a client sees it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::World;
use crate::support::world::Gateway;

const BANK: &str = "
version: 1
policy: bank
hosts: [api.test]
upstream: api
routes:
  - path: /transfer
    methods: [POST]
    require: {scope: {all_of: [pay, sign]}, authentication: {acr: [\"urn:x:silver\", gold], max_age: 5m}}
  - {path: /fresh, methods: [GET], require: {authentication: {max_age: 1m}}}
  - {path: /strong, methods: [GET], require: {authentication: {acr: [gold]}}}
  - {path: /either, methods: [GET], require: {any_of: [{authentication: {acr: [gold]}}, {scope: pay}]}}
";

fn bank() -> Gateway {
    World::new().policies(&[BANK]).start()
}

fn ago(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() - seconds
}

/// Status and challenge.
fn ask(gateway: &Gateway, line: &str, claims: &Value) -> (u16, Option<String>) {
    let token = gateway.token(claims);
    let request = format!("{line} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\r\n");
    let answer = gateway.client().ask(request);
    (answer.status(), answer.field("www-authenticate").map(str::to_owned))
}

fn step_up(more: &str) -> (u16, Option<String>) {
    (401, Some(format!("Bearer realm=\"bank\", error=\"insufficient_user_authentication\"{more}")))
}

#[test]
fn the_challenge_says_which_login_is_wanted_rfc_9470_section_3() {
    let mut gateway = bank();
    let both = ", acr_values=\"urn:x:silver gold\", max_age=\"300\"";
    let scopes = "pay sign";
    for claims in [
        json!({"scope": scopes, "acr": "gold", "auth_time": ago(400)}),
        json!({"scope": scopes, "acr": "gold"}),
        json!({"scope": scopes, "acr": "gold", "auth_time": null}),
        json!({"scope": scopes, "acr": "gold", "auth_time": ago(1).to_string()}),
        json!({"scope": scopes, "acr": "bronze", "auth_time": ago(1)}),
        json!({"scope": scopes, "acr": ["gold"], "auth_time": ago(1)}),
        json!({"scope": scopes, "acr": "GOLD", "auth_time": ago(1)}),
        json!({"scope": scopes, "auth_time": ago(1)}),
        json!({"scope": scopes}),
    ] {
        assert_eq!(ask(&gateway, "POST /transfer", &claims), step_up(both), "{claims}");
    }
    let stale = json!({"acr": "gold", "auth_time": ago(400)});
    assert_eq!(ask(&gateway, "GET /fresh", &stale), step_up(", max_age=\"60\""));
    assert_eq!(ask(&gateway, "GET /strong", &json!({"acr": "bronze"})), step_up(", acr_values=\"gold\""));
    gateway.upstream.assert_silent();
    let reasons: Vec<_> = gateway.records().iter().map(|record| record["reason"].clone()).collect();
    assert!(reasons.len() == 11 && reasons.iter().all(|reason| reason == "authentication"), "{reasons:?}");
}

#[test]
fn a_good_login_passes_and_a_scope_alone_is_403() {
    let gateway = bank();
    let login = |scope: &str| json!({"scope": scope, "acr": "gold", "auth_time": ago(200)});
    assert_eq!(ask(&gateway, "POST /transfer", &login("sign pay")), (200, None));
    let missing = "Bearer realm=\"bank\", error=\"insufficient_scope\", scope=\"sign\"";
    assert_eq!(ask(&gateway, "POST /transfer", &login("pay")), (403, Some(missing.to_owned())));
}

#[test]
fn scopes_that_are_missing_beside_the_login_are_asked_for_at_once() {
    let gateway = bank();
    let claims = json!({"scope": "pay", "acr": "bronze", "auth_time": ago(1)});
    let wanted = step_up(", acr_values=\"urn:x:silver gold\", max_age=\"300\", scope=\"sign\"");
    assert_eq!(ask(&gateway, "POST /transfer", &claims), wanted);
}

#[test]
fn one_of_several_ways_out_is_not_asked_for() {
    let gateway = bank();
    assert_eq!(ask(&gateway, "GET /either", &json!({"acr": "bronze"})), (403, None));
    assert_eq!(ask(&gateway, "GET /either", &json!({"acr": "gold"})), (200, None));
}
