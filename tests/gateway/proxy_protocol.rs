//! The PROXY protocol: the client's address from a trusted proxy, and nothing at all from anybody else.

use std::time::{Duration, Instant};

use crate::support::world::Gateway;
use crate::support::{Client, World};

const OPEN: &str = "GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n";
const CLIENT: &str = "PROXY TCP4 198.51.100.7 10.0.0.1 56324 443\r\n";

/// Version 2 for a client over IPv4, with a TLV behind its addresses.
const VERSION_2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\xc6\x33\x64\x07\x0a\x00\x00\x01\xdc\x04\x01\xbb\x04\x00\x01\x00";
/// Version 2 for a connection of the proxy's own.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

fn world(proxies: &str) -> World {
    World::new()
        .listeners(
            "  - {address: \"127.0.0.1:0\", proxy_protocol: true}\n  - address: \"127.0.0.1:0\"\n    \
             proxy_protocol: true\n    tls: {certificates: [{certificate: leaf.pem, key: leaf.key}]}\n",
        )
        .with(&format!("trusted_proxies: [{proxies}]"))
}

fn refused(gateway: &Gateway, reason: &str) -> u64 {
    let metrics = gateway.snapshots.telemetry().metrics().text();
    let lines = metrics.lines().filter(|line| line.starts_with("torwart_connections_refused_total"));
    let of_reason = lines.filter(|line| line.contains(&format!("reason=\"{reason}\"")));
    of_reason.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// What the upstream is told of whoever begins a connection with these bytes.
fn told(gateway: &Gateway, header: impl AsRef<[u8]>, request: &str) -> String {
    let mut client = gateway.client();
    client.send(header);
    assert_eq!(client.ask(request).status(), 200);
    let requests = gateway.upstream.requests();
    requests.last().and_then(|seen| seen.field("x-forwarded-for")).expect("an address").to_owned()
}

#[test]
fn the_client_is_whom_the_proxy_names() {
    let mut gateway = world("127.0.0.1").start();
    assert_eq!(told(&gateway, CLIENT, OPEN), "198.51.100.7");
    assert_eq!(told(&gateway, VERSION_2, OPEN), "198.51.100.7");
    assert_eq!(told(&gateway, "PROXY TCP6 2001:db8::7 ::1 1 2\r\n", OPEN), "2001:db8::7");
    assert_eq!(told(&gateway, LOCAL, OPEN), "127.0.0.1", "the proxy speaks for itself");
    assert_eq!(told(&gateway, "PROXY UNKNOWN\r\n", OPEN), "127.0.0.1");
    let records = gateway.records();
    let addresses: Vec<_> = records.iter().map(|record| record["address"].as_str().expect("an address")).collect();
    assert_eq!(addresses, ["198.51.100.7", "198.51.100.7", "2001:db8::7", "127.0.0.1", "127.0.0.1"]);
}

#[test]
fn headers_are_believed_of_trusted_proxies_also_behind_the_announced_address() {
    let gateway = world("127.0.0.1, 10.0.0.0/8").start();
    let forwarded = OPEN.replace("\r\n\r\n", "\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
    assert_eq!(told(&gateway, CLIENT, &forwarded), "198.51.100.7", "a client says what it likes");
    let proxied = CLIENT.replace("198.51.100.7", "10.1.2.3");
    assert_eq!(told(&gateway, &proxied, &forwarded), "203.0.113.9, 10.1.2.3");
}

#[test]
fn the_header_stands_before_the_handshake() {
    let gateway = world("127.0.0.1").start();
    let config = std::sync::Arc::new(gateway.authority.client(&["http/1.1"], None));
    for header in [CLIENT.as_bytes(), VERSION_2] {
        let mut client = Client::tls_behind(gateway.secure(), config.clone(), "api.test", header).expect("a handshake");
        assert_eq!(client.ask(OPEN).status(), 200);
    }
    let addresses: Vec<_> =
        gateway.upstream.requests().iter().map(|seen| seen.field("x-forwarded-for").map(str::to_owned)).collect();
    assert_eq!(addresses, [Some("198.51.100.7".to_owned()), Some("198.51.100.7".to_owned())]);
    assert!(Client::tls(gateway.secure(), config, "api.test").is_err(), "without a header there is no handshake");
    gateway.upstream.assert_sound();
}

#[test]
fn whoever_is_no_trusted_proxy_is_closed_whatever_is_sent() {
    let gateway = world("10.0.0.0/8").start();
    for bytes in [CLIENT, OPEN, ""] {
        let mut client = gateway.client();
        let _ = client.try_send(format!("{bytes}{OPEN}"));
        client.assert_closed();
    }
    assert_eq!(refused(&gateway, "untrusted_proxy"), 3);
    gateway.upstream.assert_silent();
}

#[test]
fn what_is_no_header_is_closed_without_an_answer() {
    let gateway = world("127.0.0.1").start();
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(100));
    let tlvs = [&b"\r\n\r\n\0\r\nQUIT\n\x20\x00\xff\xff"[..], &[0; 9_000]].concat();
    let faults: [&[u8]; 7] = [
        OPEN.as_bytes(),
        b"PROXY TCP4 198.51.100.7 10.0.0.1 56324\r\n",
        b"PROXY TCP4 198.51.100.777 10.0.0.1 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x00",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\x00\x0c",
        long.as_bytes(),
        &tlvs,
    ];
    for bytes in faults {
        let mut client = gateway.client();
        let _ = client.try_send(bytes);
        let _ = client.try_send(OPEN);
        client.assert_closed();
    }
    gateway.wait_for_the_last_connection();
    assert_eq!(refused(&gateway, "proxy_header"), 7);
    gateway.upstream.assert_silent();
}

#[test]
fn a_header_has_a_time() {
    let gateway = world("127.0.0.1").limit("header_timeout: 300ms").start();
    let begun = Instant::now();
    let mut silent = gateway.client();
    let mut half = gateway.client();
    half.send("PROXY TCP4 198.5");
    silent.assert_closed();
    half.assert_closed();
    assert!(begun.elapsed() >= Duration::from_millis(250));
    gateway.wait_for_the_last_connection();
    assert_eq!(refused(&gateway, "proxy_header_timeout"), 2);
    drop(gateway.client());
    gateway.wait_for_the_last_connection();
    assert_eq!(refused(&gateway, "proxy_header_timeout"), 2, "who only looks whether somebody listens is no fault");
}

#[test]
fn the_share_of_an_address_is_the_clients_and_not_the_proxys() {
    let gateway = world("127.0.0.1").limit("connections_per_address: 1").start();
    let connect = |address: &str| {
        let mut client = gateway.client();
        let _ = client.try_send(format!("{}{OPEN}", CLIENT.replace("198.51.100.7", address)));
        client
    };
    let mut first = connect("198.51.100.7");
    assert_eq!(first.receive().status(), 200);
    connect("198.51.100.7").assert_closed();
    assert_eq!(refused(&gateway, "connections_per_address"), 1);
    let mut other = connect("198.51.100.8");
    assert_eq!(other.receive().status(), 200);
    assert_eq!(gateway.connections(), 2);
    drop((first, other));
    gateway.wait_for_the_last_connection();
    assert_eq!(connect("198.51.100.7").receive().status(), 200, "a place that was given back");
}

#[test]
fn a_listener_takes_the_protocol_up_and_down_at_a_reload() {
    let gateway = World::new().with("trusted_proxies: [127.0.0.1]").start();
    assert_eq!(gateway.client().ask(OPEN).status(), 200);
    gateway.edit("  - {address: \"127.0.0.1:0\"}", "  - {address: \"127.0.0.1:0\", proxy_protocol: true}");
    gateway.snapshots.reload().expect("a good configuration");
    assert_eq!(told(&gateway, CLIENT, OPEN), "198.51.100.7");
    gateway.edit(", proxy_protocol: true", "");
    gateway.snapshots.reload().expect("a good configuration");
    assert_eq!(gateway.client().ask(CLIENT.to_owned() + OPEN).status(), 400, "a header is no request");
}
