//! TLS towards clients: which certificate, which protocol, who the client is.

use std::io;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};

use crate::support::{Client, World};

const LISTENERS: &str = "  - {address: \"127.0.0.1:0\"}
  - address: \"127.0.0.1:0\"
    tls:
      certificates: [{certificate: leaf.pem, key: leaf.key}, {certificate: other.pem, key: other.key}]
";

const TWO_HOSTS: &str = "
version: 1
policy: api
hosts: [api.test, other.test, a.wild.test, unknown.test]
upstream: api
routes:
  - {path: \"/open/{*rest}\", methods: \"*\", require: public, unbound: [rest]}
";

const CERTIFICATE_POLICY: &str = "
version: 1
policy: api
hosts: [api.test]
upstream: api
routes:
  - {path: /batch, methods: [GET], require: {token: none, certificate: {dns: [batch.test]}}}
";

fn get(host: &str) -> String {
    format!("GET /open/a HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn the_certificate_is_chosen_by_name_and_covers_what_is_asked_for_rfc_9110_section_7_4() {
    let gateway = World::new().listeners(LISTENERS).policies(&[TWO_HOSTS]).start();
    assert_eq!(gateway.tls_client("api.test").ask(get("api.test")).status(), 200);
    assert_eq!(gateway.tls_client("other.test").ask(get("other.test")).status(), 200);
    assert_eq!(gateway.tls_client("a.wild.test").ask(get("a.wild.test")).status(), 200);
    let before = gateway.upstream.requests().len();

    let mut client = gateway.tls_client("api.test");
    let answer = client.ask(get("other.test"));
    assert_eq!((answer.status(), answer.json()["type"].as_str()), (421, Some("urn:torwart:misdirected")));
    assert_eq!(client.ask(get("a.wild.test")).status(), 200, "the same certificate covers it");
    assert_eq!(gateway.tls_client("other.test").ask(get("api.test")).status(), 421);
    assert_eq!(gateway.tls_client("api.test").ask(get("nobody.test")).status(), 421);
    assert_eq!(gateway.upstream.requests().len(), before + 1);
}

#[test]
fn a_client_that_sends_no_name_may_ask_for_any_host() {
    let gateway = World::new().listeners(LISTENERS).policies(&[TWO_HOSTS]).start();
    // Clients send no SNI for addresses (RFC 6066 section 3).
    assert_eq!(gateway.tls_client("127.0.0.1").ask(get("other.test")).status(), 200);
}

#[test]
fn a_name_that_no_certificate_has_is_shown_the_first() {
    let gateway = World::new().listeners(LISTENERS).policies(&[TWO_HOSTS]).start();
    let config = Arc::new(gateway.authority.client(&["http/1.1"], None));
    let error = Client::tls(gateway.secure(), config, "unknown.test").err().expect("the name does not fit");
    assert!(
        error.to_string().contains("NotValidForName") || error.to_string().contains("not valid for name"),
        "{error}"
    );
}

#[test]
fn the_protocol_comes_from_alpn_and_is_http_1_1_without() {
    let gateway = World::new().start();
    let config = Arc::new(gateway.authority.client(&[], None));
    let mut client = Client::tls(gateway.secure(), config, "api.test").expect("a handshake");
    assert_eq!(client.ask(get("api.test")).status(), 200);
    let config = Arc::new(gateway.authority.client(&["spdy/3"], None));
    assert!(Client::tls(gateway.secure(), config, "api.test").is_err(), "no protocol in common");
}

#[test]
fn a_listener_that_speaks_only_http_2_serves_nobody_else() {
    let gateway = World::new()
        .listeners(
            "  - {address: \"127.0.0.1:0\"}\n  - address: \"127.0.0.1:0\"\n    protocols: [h2]\n    \
             tls: {certificates: [{certificate: leaf.pem, key: leaf.key}]}\n",
        )
        .start();
    let config = Arc::new(gateway.authority.client(&[], None));
    if let Ok(mut client) = Client::tls(gateway.secure(), config, "api.test") {
        let _ = client.try_send(get("api.test"));
        client.assert_closed();
    }
    gateway.upstream.assert_silent();
}

#[test]
fn tls_1_2_is_offered_unless_it_is_switched_off() {
    for (more, allowed) in [("", true), (", min_version: \"1.3\"", false)] {
        let listeners = format!(
            "  - {{address: \"127.0.0.1:0\"}}\n  - address: \"127.0.0.1:0\"\n    \
             tls: {{certificates: [{{certificate: leaf.pem, key: leaf.key}}]{more}}}\n"
        );
        let gateway = World::new().listeners(&listeners).start();
        for (version, works) in [(&TLS12, allowed), (&TLS13, true)] {
            let config = gateway.authority.client_with(&["http/1.1"], None, &[version]);
            let client = Client::tls(gateway.secure(), Arc::new(config), "api.test");
            assert_eq!(client.is_ok(), works, "{version:?} {more}");
        }
    }
}

#[test]
fn a_client_certificate_is_verified_and_asked_about() {
    for (mode, without) in [("optional", Ok(403)), ("required", Err(()))] {
        let listeners = format!(
            "  - {{address: \"127.0.0.1:0\"}}\n  - address: \"127.0.0.1:0\"\n    \
             tls: {{certificates: [{{certificate: leaf.pem, key: leaf.key}}], \
             client_certificates: {{mode: {mode}, ca: ca.pem}}}}\n"
        );
        let gateway = World::new().listeners(&listeners).policies(&[CERTIFICATE_POLICY]).start();
        let ask = |leaf| -> io::Result<u16> {
            let config = Arc::new(gateway.authority.client(&["http/1.1"], leaf));
            let mut client = Client::tls(gateway.secure(), config, "api.test")?;
            client.try_send("GET /batch HTTP/1.1\r\nHost: api.test\r\n\r\n")?;
            let answer = client.try_receive()?;
            answer.map(|answer| answer.status()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        };
        let batch = gateway.authority.leaf(&["batch.test"]);
        let other = gateway.authority.leaf(&["nobatch.test"]);
        let foreign = crate::support::authority::Authority::new().leaf(&["batch.test"]);
        assert_eq!(ask(Some(&batch)).ok(), Some(200), "{mode}");
        assert_eq!(ask(Some(&other)).ok(), Some(403), "{mode}");
        assert!(ask(Some(&foreign)).is_err(), "{mode}: of another authority");
        assert_eq!(ask(None).map_err(|_| ()), without, "{mode}");
        if mode == "required" {
            let config = Arc::new(gateway.authority.client_with(&["http/1.1"], None, &[&TLS13]));
            let told = Client::tls(gateway.secure(), config, "api.test").and_then(|mut client| client.try_receive());
            let error = told.expect_err("no certificate").to_string();
            assert!(error.contains("CertificateRequired"), "the client is told why: {error}");
        }
        assert_eq!(gateway.upstream.requests().len(), 1, "{mode}");
    }
}

#[test]
fn bytes_that_are_no_tls_are_not_answered_as_http() {
    let gateway = World::new().start();
    let mut client = Client::plain(gateway.secure());
    client.send("GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n");
    let rest = client.rest();
    assert!(!rest.starts_with(b"HTTP"), "{}", rest.escape_ascii());
    gateway.upstream.assert_silent();
}

#[test]
fn a_handshake_that_does_not_come_about_is_given_up() {
    let gateway = World::new().limit("tls_handshake_timeout: 200ms").start();
    let mut client = Client::plain(gateway.secure());
    client.assert_closed();
    let mut client = Client::plain(gateway.secure());
    // The beginning of a ClientHello.
    client.send([22, 3, 1, 1, 0]);
    client.assert_closed();
    gateway.wait_for_the_last_connection();
}
