//! `limit`: how many requests pass, whose are counted together, and what is said to the others.

use std::sync::Arc;
use std::thread;

use serde_json::json;

use crate::support::World;
use crate::support::message::Message;
use crate::support::world::{ALICE, BOB, Gateway};

const POLICY: &str = r"
version: 1
policy: api
hosts: [api.test]
upstream: api
limit: {rate: 2/h, per: client}
routes:
  - {path: /a, methods: [GET], require: authenticated}
  - {path: /b, methods: [GET], require: {scope: b}}
  - {path: /own, methods: [GET], require: authenticated, limit: {burst: 3}}
  - {path: /subject, methods: [GET], require: authenticated, limit: {rate: 60/m, burst: 1, per: subject}}
  - {path: /issuer, methods: [GET], require: authenticated, limit: {burst: 1, per: issuer}}
  - {path: /address, methods: [GET], require: authenticated, limit: {burst: 2, per: address}}
  - {path: /open, methods: [GET], require: public, limit: {burst: 1}}
  - {path: /observed, methods: [GET], mode: observe, require: {scope: o}, limit: {burst: 1}}
  - {path: /flood, methods: [GET], mode: observe, require: authenticated, limit: {burst: 1, per: address}}
  - {path: /free, methods: [GET], require: public, limit: {rate: 1000000/s}}
";

fn world() -> World {
    World::new().policies(&[POLICY]).with("trusted_proxies: [127.0.0.1]")
}

fn ask(gateway: &Gateway, path: &str, lines: &str) -> Message {
    gateway.client().ask(format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n{lines}\r\n"))
}

fn status(gateway: &Gateway, path: &str, token: &str) -> u16 {
    ask(gateway, path, &format!("Authorization: Bearer {token}\r\n")).status()
}

fn token(gateway: &Gateway, subject: &str, client: &str) -> String {
    gateway.token(&json!({"sub": subject, "client_id": client, "scope": "o"}))
}

#[test]
fn what_is_too_much_is_429_and_says_when_there_is_room_again() {
    let mut gateway = world().start();
    let app = token(&gateway, ALICE, "app");
    assert_eq!([0, 1].map(|_| status(&gateway, "/a", &app)), [200, 200]);
    let refused = ask(&gateway, "/a", &format!("Authorization: Bearer {app}\r\n"));
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.field("retry-after").expect("a wait").parse().expect("seconds");
    assert!((1790..=1800).contains(&wait), "{wait}");
    assert_eq!(refused.field("ratelimit-policy"), Some("\"client\";q=2;w=3600"));
    assert_eq!(refused.field("ratelimit"), Some(format!("\"client\";r=0;t={wait}").as_str()));
    assert_eq!(refused.field("cache-control"), Some("no-store"));
    assert_eq!(refused.field("www-authenticate"), None);
    assert_eq!(refused.json()["type"], "urn:torwart:limit");
    assert_eq!(gateway.upstream.requests().len(), 2);
    let metrics = gateway.snapshots.telemetry().metrics().text();
    let line = r#"torwart_decisions_total{policy="api",route="GET /a",decision="deny",reason="limit"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    let records = gateway.records();
    assert_eq!(
        records.iter().map(|record| record["decision"].as_str()).collect::<Vec<_>>(),
        [Some("allow"), Some("allow"), Some("deny")]
    );
    assert_eq!((&records[2]["reason"], &records[2]["condition"]["line"]), (&json!("limit"), &json!(6)));
    assert_eq!(records[2]["principal"]["client"], "app");
}

#[test]
fn a_documents_limit_counts_all_its_routes_together_and_a_routes_own_replaces_it_key_by_key() {
    let gateway = world().start();
    let app = token(&gateway, ALICE, "app");
    assert_eq!(status(&gateway, "/b", &app), 403, "what is refused is not counted");
    assert_eq!(status(&gateway, "/a", &app), 200);
    let both = gateway.token(&json!({"sub": BOB, "client_id": "app", "scope": "b"}));
    assert_eq!(status(&gateway, "/b", &both), 200);
    assert_eq!([status(&gateway, "/a", &app), status(&gateway, "/b", &both)], [429, 429]);
    assert_eq!(status(&gateway, "/a", &token(&gateway, ALICE, "other")), 200, "another client has its own");
    assert_eq!([0; 4].map(|_| status(&gateway, "/own", &app)), [200, 200, 200, 429]);
}

#[test]
fn requests_are_counted_together_as_the_limit_says() {
    let gateway = world().start();
    let (alice, bob) = (token(&gateway, ALICE, "app"), token(&gateway, BOB, "app"));
    assert_eq!([&alice, &bob, &alice].map(|token| status(&gateway, "/subject", token)), [200, 200, 429]);
    assert_eq!([&alice, &bob].map(|token| status(&gateway, "/issuer", token)), [200, 429]);
    let from = |address: &str| ask(&gateway, "/open", &format!("X-Forwarded-For: {address}\r\n")).status();
    assert_eq!(["192.0.2.1", "192.0.2.2", "192.0.2.1"].map(from), [200, 200, 429], "nobody is counted by address");
    assert_eq!(["2001:db8::1", "2001:db8::2"].map(from), [200, 429], "a network of IPv6 is one sender");
    assert_eq!(["unknown", "_hidden"].map(from), [200, 429], "whose address is unknown are counted as one");
}

#[test]
fn addresses_are_counted_before_anybody_is_authenticated() {
    let mut gateway = world().start();
    assert_eq!([0; 4].map(|_| status(&gateway, "/address", "bad")), [401, 401, 429, 429]);
    assert_eq!(status(&gateway, "/address", &token(&gateway, ALICE, "app")), 429);
    gateway.upstream.assert_silent();
    let records = gateway.records();
    assert_eq!((&records[3]["reason"], &records[3]["condition"]["line"]), (&json!("limit"), &json!(13)));
    assert_eq!(records[4]["principal"], json!(null));
}

#[test]
fn under_observe_a_limit_is_only_recorded() {
    let mut gateway = world().start();
    let app = token(&gateway, ALICE, "app");
    assert_eq!([0; 2].map(|_| status(&gateway, "/observed", &app)), [200, 200]);
    let without = gateway.token(&json!({"sub": ALICE, "client_id": "other"}));
    assert_eq!([0; 2].map(|_| status(&gateway, "/observed", &without)), [200, 200]);
    assert_eq!([&app, "bad", &app].map(|token| status(&gateway, "/flood", token)), [200, 200, 200]);
    assert_eq!(gateway.upstream.requests().len(), 7);
    let records = gateway.records();
    let would: Vec<_> = records.iter().map(|record| (record["would"].as_u64(), record["reason"].as_str())).collect();
    assert_eq!(
        would,
        [
            (None, None),
            (Some(429), Some("limit")),
            (Some(403), Some("scope")),
            (Some(403), Some("scope")),
            (None, None),
            (Some(429), Some("limit")),
            (Some(429), Some("limit")),
        ]
    );
}

#[test]
fn a_reload_keeps_the_counts_of_limits_that_did_not_change() {
    let gateway = world().start();
    let app = token(&gateway, ALICE, "app");
    assert_eq!([0; 3].map(|_| status(&gateway, "/a", &app)), [200, 200, 429]);
    assert_eq!([0; 4].map(|_| status(&gateway, "/own", &app)), [200, 200, 200, 429]);
    gateway.write("policies/0.yaml", &POLICY.replace("burst: 3", "burst: 4").replace("{path: /free", "{path: /more"));
    gateway.snapshots.reload().expect("a good policy");
    assert_eq!(status(&gateway, "/a", &app), 429);
    assert_eq!([0; 5].map(|_| status(&gateway, "/own", &app)), [200, 200, 200, 200, 429]);
}

#[test]
fn workers_count_together() {
    let gateway = Arc::new(world().workers(2).start());
    let app = token(&gateway, ALICE, "app");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (gateway, app) = (Arc::clone(&gateway), app.clone());
            thread::spawn(move || (0..5).filter(|_| status(&gateway, "/own", &app) == 200).count())
        })
        .collect();
    let passed: usize = threads.into_iter().map(|thread| thread.join().expect("a client")).sum();
    assert_eq!(passed, 3);
}
