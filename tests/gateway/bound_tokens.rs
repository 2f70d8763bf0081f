//! Tokens that are bound to a client certificate (RFC 8705): of no use to anybody who has stolen one.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use serde_json::{Value, json};

use crate::support::authority::{Authority, Leaf};
use crate::support::http2::Http2;
use crate::support::world::Gateway;
use crate::support::{Client, World};

const INVALID: &str = "Bearer realm=\"api\", error=\"invalid_token\"";

fn listeners(mode: &str) -> String {
    format!(
        "  - {{address: \"127.0.0.1:0\"}}\n  - address: \"127.0.0.1:0\"\n    \
         tls: {{certificates: [{{certificate: leaf.pem, key: leaf.key}}], \
         client_certificates: {{mode: {mode}, ca: ca.pem}}}}\n"
    )
}

fn gateway(mode: &str) -> Gateway {
    World::new().listeners(&listeners(mode)).start()
}

/// A token whose `cnf` is this.
fn token(gateway: &Gateway, cnf: &Value) -> String {
    gateway.token(&json!({"cnf": cnf}))
}

fn bound_to(gateway: &Gateway, leaf: &Leaf) -> String {
    token(gateway, &json!({"x5t#S256": leaf.thumbprint()}))
}

fn me(token: &str) -> String {
    format!("GET /me HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\r\n")
}

fn config(gateway: &Gateway, alpn: &str, shown: Option<&Leaf>) -> Arc<ClientConfig> {
    Arc::new(gateway.authority.client(&[alpn], shown))
}

fn http1(gateway: &Gateway, shown: Option<&Leaf>) -> Client {
    Client::tls(gateway.secure(), config(gateway, "http/1.1", shown), "api.test").expect("a handshake")
}

fn http2(gateway: &Gateway, shown: Option<&Leaf>) -> Http2 {
    Http2::over(Client::tls(gateway.secure(), config(gateway, "h2", shown), "api.test").expect("a handshake"))
}

fn ask2(connection: &mut Http2, token: &str) -> Option<u16> {
    let authorization = format!("Bearer {token}");
    let fields: [(&str, &[u8]); 5] = [
        (":method", b"GET"),
        (":scheme", b"https"),
        (":authority", b"api.test"),
        (":path", b"/me"),
        ("authorization", authorization.as_bytes()),
    ];
    connection.ask(&fields).status
}

#[test]
fn a_bound_token_is_good_only_over_a_connection_with_its_certificate_rfc_8705_section_3() {
    let mut gateway = gateway("optional");
    let (own, other) = (gateway.authority.leaf(&["batch.test"]), gateway.authority.leaf(&["batch.test"]));
    let bound = bound_to(&gateway, &own);
    // The second round finds the token in memory.
    for round in 0..2 {
        assert_eq!(http1(&gateway, Some(&own)).ask(me(&bound)).status(), 200, "{round}");
        assert_eq!(ask2(&mut http2(&gateway, Some(&own)), &bound), Some(200), "{round}");
        for thief in [Some(&other), None] {
            let answer = http1(&gateway, thief).ask(me(&bound));
            assert_eq!((answer.status(), answer.field("www-authenticate")), (401, Some(INVALID)), "{round}");
            assert_eq!(ask2(&mut http2(&gateway, thief), &bound), Some(401), "{round}");
        }
        assert_eq!(gateway.client().ask(me(&bound)).status(), 401, "{round}: without TLS");
    }
    assert_eq!(gateway.upstream.requests().len(), 4);
    let refused: Vec<_> = gateway.records().into_iter().filter(|record| record["status"] == 401).collect();
    assert_eq!(refused.len(), 10);
    assert!(refused.iter().all(|record| record["facts"]["token"]["fault"] == "confirmation"), "{refused:?}");
}

#[test]
fn a_token_that_was_never_seen_is_as_useless_to_a_thief() {
    let gateway = gateway("optional");
    let (own, other) = (gateway.authority.leaf(&["batch.test"]), gateway.authority.leaf(&["batch.test"]));
    for thief in [Some(&other), None] {
        assert_eq!(http1(&gateway, thief).ask(me(&bound_to(&gateway, &own))).status(), 401);
    }
    gateway.upstream.assert_silent();
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_no_certificate() {
    let gateway = gateway("optional");
    let foreign = Authority::new().leaf(&["batch.test"]);
    let bound = bound_to(&gateway, &foreign);
    let config = config(&gateway, "http/1.1", Some(&foreign));
    let answer = Client::tls(gateway.secure(), config, "api.test").and_then(|mut client| {
        client.try_send(me(&bound))?;
        client.try_receive()
    });
    assert!(!matches!(answer, Ok(Some(_))), "the handshake fails");
    gateway.upstream.assert_silent();
}

#[test]
fn whatever_cannot_be_checked_of_a_binding_is_refused() {
    let gateway = gateway("required");
    let own = gateway.authority.leaf(&["batch.test"]);
    let right = own.thumbprint();
    let hexadecimal = "9f".repeat(32);
    let mut client = http1(&gateway, Some(&own));
    for cnf in [
        json!({"jkt": right}),
        json!({"x5t#S256": right, "jkt": right}),
        json!({"x5t#S256": right, "kid": "x"}),
        json!({"x5t#S256": format!("{right}=")}),
        json!({"x5t#S256": hexadecimal}),
        json!({"x5t#S256": [right]}),
        json!({"x5t#S256": null}),
        json!({"x5t": right}),
        json!({}),
        json!([]),
        json!(right),
        json!(false),
    ] {
        assert_eq!(client.ask(me(&token(&gateway, &cnf))).status(), 401, "{cnf}");
    }
    gateway.upstream.assert_silent();
    assert_eq!(client.ask(me(&token(&gateway, &Value::Null))).status(), 200, "null is absent");
    assert_eq!(client.ask(me(&bound_to(&gateway, &own))).status(), 200);
}

#[test]
fn an_issuer_that_requires_binding_has_no_other_tokens() {
    let gateway = World::new().listeners(&listeners("optional")).issuer("    sender_constraint: required\n").start();
    let own = gateway.authority.leaf(&["batch.test"]);
    let mut client = http1(&gateway, Some(&own));
    let answer = client.ask(me(&gateway.alice()));
    assert_eq!((answer.status(), answer.field("www-authenticate")), (401, Some(INVALID)));
    assert_eq!(client.ask(me(&bound_to(&gateway, &own))).status(), 200);
}

#[test]
fn a_resumed_session_still_shows_the_certificate() {
    for version in [&TLS12, &TLS13] {
        let gateway = gateway("optional");
        let (own, other) = (gateway.authority.leaf(&["batch.test"]), gateway.authority.leaf(&["batch.test"]));
        let bound = bound_to(&gateway, &own);
        for (shown, status) in [(Some(&own), 200), (Some(&other), 401), (None, 401)] {
            let config = Arc::new(gateway.authority.client_with(&["http/1.1"], shown, &[version]));
            let connect = || Client::tls_as(gateway.secure(), Arc::clone(&config), "api.test").expect("a handshake");
            let (mut first, kind) = connect();
            assert_eq!(kind, HandshakeKind::Full, "{version:?}");
            assert_eq!(first.ask(me(&bound)).status(), status, "{version:?}");
            let (mut second, kind) = connect();
            assert_eq!(kind, HandshakeKind::Resumed, "{version:?}");
            assert_eq!(second.ask(me(&bound)).status(), status, "{version:?}: resumed");
        }
    }
}

#[test]
fn who_is_trusted_no_longer_is_turned_away_from_open_connections_too() {
    for mode in ["optional", "required"] {
        let gateway = gateway(mode);
        let own = gateway.authority.leaf(&["batch.test"]);
        let bound = bound_to(&gateway, &own);
        let mut client = http1(&gateway, Some(&own));
        let mut streams = http2(&gateway, Some(&own));
        assert_eq!((client.ask(me(&bound)).status(), ask2(&mut streams, &bound)), (200, Some(200)));

        // The same authority in another file: nothing to verify again.
        reload(&gateway, &format!("{}{}", Authority::new().pem(), gateway.authority.pem()));
        assert_eq!((client.ask(me(&bound)).status(), ask2(&mut streams, &bound)), (200, Some(200)));

        reload(&gateway, &Authority::new().pem());
        let before = gateway.upstream.requests().len();
        assert_eq!(ask2(&mut streams, &bound), Some(421), "{mode}");
        let answer = client.ask(me(&bound));
        assert_eq!((answer.status(), answer.json()["type"].as_str()), (421, Some("urn:torwart:misdirected")), "{mode}");
        client.assert_closed();
        assert_eq!(gateway.upstream.requests().len(), before, "{mode}");
    }
}

#[test]
fn who_has_shown_nothing_is_turned_away_once_a_certificate_is_required() {
    let gateway = gateway("optional");
    let mut client = http1(&gateway, None);
    let open = "GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n";
    assert_eq!(client.ask(open).status(), 200);
    gateway.edit("mode: optional", "mode: required");
    gateway.snapshots.reload().unwrap_or_else(|problems| panic!("{}", problems.render()));
    assert_eq!(client.ask(open).status(), 421);
    client.assert_closed();
}

#[test]
fn a_certificate_counts_for_nothing_once_nobody_is_asked() {
    let gateway = gateway("optional");
    let own = gateway.authority.leaf(&["batch.test"]);
    let bound = bound_to(&gateway, &own);
    let mut client = http1(&gateway, Some(&own));
    assert_eq!(client.ask(me(&bound)).status(), 200);
    gateway.edit("mode: optional", "mode: none");
    gateway.snapshots.reload().unwrap_or_else(|problems| panic!("{}", problems.render()));
    assert_eq!(client.ask(me(&bound)).status(), 401);
    assert_eq!(client.ask(me(&gateway.alice())).status(), 200, "other tokens need none");
}

#[test]
fn a_certificate_that_has_expired_meanwhile_does_not_count() {
    let gateway = gateway("optional");
    let last = SystemTime::now() + Duration::from_secs(3);
    let own = gateway.authority.leaf_until(&["batch.test"], last.into());
    let bound = bound_to(&gateway, &own);
    let mut client = http1(&gateway, Some(&own));
    assert_eq!(client.ask(me(&bound)).status(), 200);
    let begun = Instant::now();
    let status = loop {
        let status = client.ask(me(&bound)).status();
        if status != 200 || begun.elapsed() > Duration::from_secs(20) {
            break status;
        }
    };
    assert_eq!(status, 421);
    client.assert_closed();
}

/// Puts another bundle of authorities into force.
fn reload(gateway: &Gateway, bundle: &str) {
    gateway.write("ca.pem", bundle);
    gateway.snapshots.reload().unwrap_or_else(|problems| panic!("{}", problems.render()));
}
