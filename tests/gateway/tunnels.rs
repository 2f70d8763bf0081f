//! Tunnels of `WebSocket` through the gateway (RFC 6455, RFC 8441): decided like any request, counted as long as they live, ended
//! by the drain.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::http2::Http2;
use crate::support::upstream::Behaviour;
use crate::support::{After, Client, World, upstream};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A frame of text as servers send it, unmasked.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, u8::try_from(text.len()).expect("short")];
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Shakes hands and sends back what it gets.
pub(crate) fn echoing() -> Behaviour {
    Arc::new(|request, stream| {
        let Some(key) = request.field("sec-websocket-key") else {
            return upstream::answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
        };
        let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let proof = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {proof}\r\n\r\n"
        );
        upstream::answer(stream, head.as_bytes());
        let mut buffer = [0; 1024];
        while let Ok(length) = stream.read(&mut buffer) {
            if length == 0 || stream.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        After::Close
    })
}

fn opening(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

#[test]
fn a_websocket_is_tunnelled_after_the_decision_rfc_6455_section_4() {
    let gateway = World::new().answering(echoing()).start();
    let mut refused = gateway.client();
    assert_eq!(refused.ask(opening("/admin/socket")).status(), 401);
    gateway.upstream.assert_silent();

    let mut client = gateway.client();
    let answer = client.ask(opening("/open/socket"));
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(client.send(frame("hello")).bytes(7).expect("an echo"), frame("hello"));
    assert_eq!(gateway.upstream.only().field("upgrade"), Some("websocket"));
}

#[test]
fn a_request_with_a_body_opens_no_tunnel_and_its_body_stays_one() {
    for (field, body) in [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")] {
        let gateway = World::new().start();
        let mut client = gateway.client();
        let opening = opening("/open/socket").replace("Upgrade: websocket", &format!("Upgrade: websocket\r\n{field}"));
        assert_eq!(client.ask(format!("{opening}{body}")).status(), 200, "{field}");
        let seen = gateway.upstream.only();
        assert_eq!((seen.text(), seen.field("upgrade")), ("hello", None), "{field}");
        gateway.upstream.assert_sound();
    }
}

#[test]
fn a_tunnel_counts_as_a_connection_as_long_as_it_lives() {
    let gateway = World::new().limit("connections: 1").answering(echoing()).start();
    let mut client = gateway.client();
    assert_eq!(client.ask(opening("/open/socket")).status(), 101);
    client.send(frame("a")).bytes(3).expect("an echo");
    assert_eq!(gateway.connections(), 1);
    let mut other = gateway.client();
    let _ = other.try_send("GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n");
    other.assert_closed();
    drop(client);
    gateway.wait_for_the_last_connection();
}

#[test]
fn a_tunnel_outlives_the_idle_time_of_its_connection() {
    let gateway = World::new().limit("idle_timeout: 200ms").limit("header_timeout: 200ms").answering(echoing()).start();
    let mut client = gateway.client();
    assert_eq!(client.ask(opening("/open/socket")).status(), 101);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(900) {
        client.send(frame("a")).bytes(3).expect("an echo");
    }
}

#[test]
fn the_drain_ends_a_tunnel_with_going_away_rfc_6455_section_7_4_1() {
    let mut gateway = World::new().answering(echoing()).start();
    let mut client = gateway.client();
    assert_eq!(client.ask(opening("/open/socket")).status(), 101);
    client.send(frame("a")).bytes(3).expect("an echo");
    let running = gateway.running();
    let ended = std::thread::spawn(move || running.shutdown());
    assert_eq!(client.bytes(4).expect("a close frame")[..4], [0x88, 2, 0x03, 0xe9]);
    drop(client);
    ended.join().expect("no panic");
}

#[test]
fn an_upgrade_to_anything_else_is_an_ordinary_request() {
    let gateway = World::new().start();
    let mut client = gateway.client();
    client.send(
        "GET /open/a HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: websocket, foo\r\n\
         Sec-WebSocket-Key: x\r\n\r\n",
    );
    assert_eq!(client.receive().status(), 200);
    assert_eq!(gateway.upstream.only().field("upgrade"), None);
}

#[test]
fn a_websocket_over_http2_is_a_stream_that_outlives_silence_rfc_8441_section_5() {
    let gateway = World::new().limit("idle_timeout: 200ms").limit("header_timeout: 200ms").answering(echoing()).start();
    let config = Arc::new(gateway.authority.client(&["h2"], None));
    let client = Client::tls(gateway.secure(), config, "api.test").expect("a handshake");
    let mut connection = Http2::over(client);
    let opening = |path: &'static [u8]| -> Vec<(&str, &[u8])> {
        vec![
            (":method", b"CONNECT"),
            (":protocol", b"websocket"),
            (":scheme", b"https"),
            (":authority", b"api.test"),
            (":path", path),
            ("sec-websocket-version", b"13"),
        ]
    };
    let refused = connection.begin(&opening(b"/admin/socket"));
    assert_eq!(connection.outcome(refused).status, Some(401));
    gateway.upstream.assert_silent();

    let stream = connection.begin(&opening(b"/open/socket"));
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < Duration::from_millis(900) {
        connection.data(stream, &frame("a"), false);
        sent += frame("a").len();
        while connection.so_far(stream).body.len() < sent {
            assert!(!connection.closed && connection.so_far(stream).reset.is_none());
            connection.step();
        }
    }
    assert_eq!(connection.so_far(stream).status, Some(200));
    assert_eq!(gateway.upstream.only().request_line().0, "GET");
}
