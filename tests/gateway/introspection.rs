//! Opaque tokens from outside: what a client is told, and that one slow issuer is nobody else's matter.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use torwart::authn::revocation::Order;
use torwart::clock::Timestamp;

use crate::issuer::{Answer, Server};
use crate::support::World;
use crate::support::tokens::{AUDIENCE, ISSUER};
use crate::support::world::Gateway;

const OPAQUE: &str = "2YotnFZFEjr1zCsicMWpAA";

const POLICY: &str = r"
version: 1
policy: api
hosts: [api.test]
upstream: api
issuers: [shoen]
routes:
  - {path: /me, methods: [GET], require: {scope: me}}
  - {path: /other, methods: [GET], issuers: [other], require: authenticated}
  - {path: /open, methods: [GET], require: public}
";

/// An issuer with this introspection endpoint, and another without.
fn world(server: &Server, policy: &str) -> World {
    let introspection = format!(
        "    environment: integration\n    introspection: \
         {{endpoint: \"{}/introspect\", client_id: torwart, client_secret_file: secret}}\n  \
         - {{name: other, issuer: https://other.test, audiences: [\"{AUDIENCE}\"], jwks_file: keys.json}}\n",
        server.origin()
    );
    World::new().policies(&[policy]).issuer(&introspection).file("secret", "hush")
}

fn active(scope: &str) -> Value {
    let exp = Timestamp::now().0 + 300;
    json!({"active": true, "sub": "17", "client_id": "crm", "scope": scope, "aud": AUDIENCE, "iss": ISSUER, "exp": exp})
}

fn head(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\r\n")
}

fn status(gateway: &Gateway, path: &str, token: &str) -> u16 {
    gateway.client().ask(head(path, token)).status()
}

#[test]
fn the_upstream_sees_whom_the_issuer_vouches_for() {
    let server = Server::plain();
    server.publish("/introspect", &active("me"));
    let mut gateway = world(&server, POLICY).start();
    assert_eq!(status(&gateway, "/me", OPAQUE), 200);
    let seen = gateway.upstream.only();
    assert_eq!(seen.field("x-auth-subject"), Some("17"));
    assert_eq!(seen.field("x-auth-client-id"), Some("crm"));
    assert_eq!(seen.field("authorization"), None);
    let [record] = gateway.records().try_into().expect("one record");
    assert_eq!(record["principal"]["subject"], "17");
    assert!(!record.to_string().contains(OPAQUE) && !record.to_string().contains("hush"));
}

#[test]
fn what_the_issuer_does_not_vouch_for_is_an_invalid_token() {
    let server = Server::plain();
    let rows = [
        (json!({"active": false}), "inactive"),
        (json!({"active": "true"}), "inactive"),
        (json!({"active": true, "token_type": "refresh_token"}), "kind"),
    ];
    for (answer, result) in rows {
        server.publish("/introspect", &answer);
        let gateway = world(&server, POLICY).start();
        let refused = gateway.client().ask(head("/me", OPAQUE));
        assert_eq!(refused.status(), 401, "{answer}");
        assert_eq!(refused.field("www-authenticate"), Some("Bearer realm=\"api\", error=\"invalid_token\""));
        gateway.upstream.assert_silent();
        let metrics = gateway.snapshots.telemetry().metrics().text();
        let line = format!("torwart_token_validations_total{{issuer=\"shoen\",result=\"{result}\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[test]
fn a_token_without_the_scope_is_told_so() {
    let server = Server::plain();
    server.publish("/introspect", &active("you"));
    let gateway = world(&server, POLICY).start();
    assert_eq!(status(&gateway, "/me", OPAQUE), 403);
}

#[test]
fn an_endpoint_that_gives_no_answer_is_503_with_retry_after() {
    let server = Server::plain();
    server.answer("/introspect", Answer::Say(401, String::new(), Vec::new()));
    let gateway = world(&server, POLICY).start();
    let refused = gateway.client().ask(head("/me", OPAQUE));
    assert_eq!((refused.status(), refused.field("retry-after")), (503, Some("2")));
    assert!(refused.text().contains("urn:torwart:issuer-unavailable"), "{}", refused.text());
    gateway.upstream.assert_silent();
}

#[test]
fn a_route_whose_issuers_cannot_be_asked_refuses_opaque_tokens() {
    let server = Server::plain();
    server.publish("/introspect", &active("me"));
    let gateway = world(&server, POLICY).start();
    assert_eq!(status(&gateway, "/other", OPAQUE), 401);
    assert_eq!(server.asked("/introspect"), 0);
}

#[test]
fn a_thousand_requests_with_one_token_make_one_call() {
    let server = Server::plain();
    server.answer("/introspect", Answer::WhenTold(active("me").to_string().into_bytes()));
    let gateway = world(&server, POLICY).workers(4).start();
    let mut clients: Vec<_> = (0..1000).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(head("/me", OPAQUE));
    }
    server.tell();
    for client in &mut clients {
        assert_eq!(client.receive().status(), 200);
    }
    assert_eq!(server.asked("/introspect"), 1);
}

#[test]
fn a_client_that_goes_away_takes_the_call_from_nobody() {
    let server = Server::plain();
    server.answer("/introspect", Answer::WhenTold(active("me").to_string().into_bytes()));
    let gateway = world(&server, POLICY).start();
    let mut first = gateway.client();
    first.send(head("/me", OPAQUE));
    server.wait_for("/introspect");
    let mut second = gateway.client();
    second.send(head("/me", OPAQUE));
    drop(first);
    server.tell();
    assert_eq!(second.receive().status(), 200);
    assert_eq!(server.asked("/introspect"), 1);
}

#[test]
fn an_endpoint_that_hangs_holds_up_no_other_token_and_no_other_route() {
    let server = Server::plain();
    server.answer("/introspect", Answer::Hang);
    let gateway = world(&server, POLICY).start();
    let mut waiting: Vec<_> = (0..30).map(|_| gateway.client()).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.send(head("/me", &format!("opaque-{number}")));
    }
    server.wait_for("/introspect");
    let begun = Instant::now();
    let other = gateway.token(&json!({"iss": "https://other.test"}));
    for _ in 0..20 {
        assert_eq!(status(&gateway, "/other", &other), 200);
        assert_eq!(status(&gateway, "/open", OPAQUE), 200);
        assert_eq!(status(&gateway, "/me", &gateway.token(&json!({"scope": "me"}))), 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    for client in &mut waiting {
        let refused = client.receive();
        assert_eq!((refused.status(), refused.field("retry-after")), (503, Some("2")));
    }
}

#[test]
fn a_reload_with_another_introspection_forgets_what_was_said() {
    let server = Server::plain();
    server.publish("/introspect", &active("me"));
    let gateway = world(&server, POLICY).start();
    assert_eq!(status(&gateway, "/me", OPAQUE), 200);
    gateway.snapshots.reload().expect("a good configuration");
    assert_eq!(status(&gateway, "/me", OPAQUE), 200);
    assert_eq!(server.asked("/introspect"), 1, "nothing has changed");
    gateway.edit("client_id: torwart", "client_id: gate");
    server.publish("/introspect", &json!({"active": false}));
    gateway.snapshots.reload().expect("a good configuration");
    assert_eq!(status(&gateway, "/me", OPAQUE), 401);
    assert_eq!(server.asked("/introspect"), 2);
}

#[test]
fn a_revoked_opaque_token_is_refused_whether_it_is_remembered_or_not() {
    let server = Server::plain();
    server.publish("/introspect", &active("me"));
    let gateway = world(&server, POLICY).start();
    for order in [Order::Subject("17"), Order::Client("crm"), Order::Token(OPAQUE)] {
        assert_eq!(status(&gateway, "/me", OPAQUE), 200, "{order:?}");
        let made = gateway.snapshots.current().issuers.revoke("shoen", order, None, Timestamp::now());
        let made = made.unwrap_or_else(|error| panic!("{order:?}: {error}"));
        assert_eq!(status(&gateway, "/me", OPAQUE), 401, "{order:?}");
        let other = if matches!(order, Order::Token(_)) { 200 } else { 401 };
        assert_eq!(status(&gateway, "/me", &format!("{OPAQUE}-{}", made.revocation.id)), other, "{order:?}");
        let taken = gateway.snapshots.current().issuers.register().revocations().take_back(&made.revocation.id);
        assert!(taken.expect("nothing is written").is_some());
    }
}

#[test]
fn two_issuers_that_could_be_asked_on_one_route_are_a_load_error() {
    let server = Server::plain();
    let gateway = world(&server, POLICY).start();
    let introspection = "introspection: {endpoint: \"https://x.test/\", client_id: x, client_secret_file: secret}";
    gateway.edit("jwks_file: keys.json}", &format!("jwks_file: keys.json, {introspection}}}"));
    gateway.snapshots.reload().expect("no route accepts both");
    gateway.write("policies/0.yaml", &POLICY.replace("issuers: [other]", "issuers: [other, shoen]"));
    let problems = gateway.snapshots.reload().expect_err("nobody knows whom to ask").render();
    assert!(problems.contains("0.yaml:9:") && problems.contains("issuers `shoen` and `other`"), "{problems}");
}
