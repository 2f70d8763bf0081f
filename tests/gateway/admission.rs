//! Connections: how many, how slow, how long; and where they come from.

use std::time::{Duration, Instant};

use crate::support::{After, World, upstream};

const OPEN: &str = "GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n";

#[test]
fn an_address_gets_no_more_connections_than_its_share() {
    let gateway = World::new().limit("connections_per_address: 2").start();
    let mut first = gateway.client();
    let mut second = gateway.client();
    assert_eq!((first.ask(OPEN).status(), second.ask(OPEN).status()), (200, 200));
    let mut third = gateway.client();
    let _ = third.try_send(OPEN);
    third.assert_closed();
    drop(first);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        let mut client = gateway.client();
        if client.try_send(OPEN).is_ok() && client.try_receive().is_ok_and(|answer| answer.is_some()) {
            return;
        }
    }
    panic!("a place that was given back is not given again");
}

#[test]
fn a_full_house_closes_the_door() {
    let gateway = World::new().limit("connections: 1").start();
    let mut first = gateway.client();
    assert_eq!(first.ask(OPEN).status(), 200);
    let mut second = gateway.client();
    let _ = second.try_send(OPEN);
    second.assert_closed();
    assert_eq!(first.ask(OPEN).status(), 200);
}

#[test]
fn a_head_that_does_not_arrive_in_time_is_408() {
    let gateway = World::new().limit("header_timeout: 600ms").start();
    for part in ["GET", "GET /open/a HTTP/1.1\r\nHost: api.test\r\n"] {
        let mut client = gateway.client();
        client.send(part);
        let answer = client.receive();
        assert_eq!((answer.status(), answer.field("connection")), (408, Some("close")), "{part:?}");
        client.assert_closed();
    }
    let mut silent = gateway.client();
    silent.assert_closed();
    let mut second = gateway.client();
    assert_eq!(second.ask(OPEN).status(), 200);
    assert_eq!(second.send("GET /open").receive().status(), 408, "the second head on a connection too");
    gateway.upstream.assert_sound();
}

#[test]
fn a_head_that_trickles_in_is_408_however_often_a_byte_arrives() {
    let gateway = World::new().limit("header_timeout: 300ms").start();
    let mut client = gateway.client();
    client.send("GET /open/a HTTP/1.1\r\nHost: api.test\r\nX: ");
    let (told, stop) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let mut trickle = gateway.client();
        scope.spawn(move || {
            trickle.send("GET /open/a HTTP/1.1\r\nX: ");
            while stop.recv_timeout(Duration::from_millis(20)).is_err() {
                if trickle.try_send("a").is_err() {
                    return;
                }
            }
        });
        assert_eq!(client.receive().status(), 408);
        drop(told);
    });
}

#[test]
fn silence_between_requests_has_a_limit_of_its_own() {
    let gateway = World::new().limit("header_timeout: 100ms").limit("idle_timeout: 700ms").start();
    let mut client = gateway.client();
    assert_eq!(client.ask(OPEN).status(), 200);
    let begun = Instant::now();
    client.assert_closed();
    assert!(begun.elapsed() >= Duration::from_millis(500), "closed after {:?}", begun.elapsed());
}

#[test]
fn a_body_that_stalls_is_408() {
    let gateway = World::new().limit("body_idle_timeout: 200ms").start();
    let mut client = gateway.client();
    client.send("POST /open/a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 10\r\n\r\nabc");
    let answer = client.receive();
    assert_eq!((answer.status(), answer.field("connection")), (408, Some("close")));
    client.assert_closed();
    assert_eq!(gateway.upstream.requests().len(), 0, "never a whole request");
}

#[test]
fn a_connection_ends_after_its_number_of_requests() {
    let gateway = World::new().limit("requests_per_connection: 3").start();
    let mut client = gateway.client();
    let connection: Vec<_> = (0..3).map(|_| client.ask(OPEN).field("connection").map(str::to_owned)).collect();
    assert_eq!(connection, [None, None, Some("close".to_owned())]);
    client.assert_closed();
}

#[test]
fn a_client_that_stops_reading_is_given_up() {
    let gateway = World::new()
        .limit("body_idle_timeout: 300ms")
        .answering(std::sync::Arc::new(|_, stream| {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
            upstream::answer(stream, head.as_bytes());
            let piece = vec![b'a'; 64 * 1024];
            while upstream::answer(stream, &piece) == After::Continue {}
            After::Close
        }))
        .start();
    let mut client = gateway.client();
    client.send(OPEN);
    gateway.wait_for_the_last_connection();
}

#[test]
fn the_client_address_is_what_trusted_proxies_say_and_nobody_else() {
    let policy = "
version: 1
policy: api
hosts: [api.test]
upstream: api
routes:
  - {path: /inside, methods: [GET], require: {token: none, network: [\"198.51.100.0/24\"]}}
";
    let request = |forwarded: &str| format!("GET /inside HTTP/1.1\r\nHost: api.test\r\n{forwarded}\r\n\r\n");
    let gateway = World::new().policies(&[policy]).start();
    let answer = gateway.client().ask(request("X-Forwarded-For: 198.51.100.7"));
    assert_eq!(answer.status(), 403, "nobody is trusted");
    gateway.upstream.assert_silent();

    let gateway = World::new().policies(&[policy]).with("trusted_proxies: [127.0.0.0/8]").start();
    let status = |forwarded: &str| gateway.client().ask(request(forwarded)).status();
    assert_eq!(status("X-Forwarded-For: 198.51.100.7"), 200);
    assert_eq!(status("X-Forwarded-For: 203.0.113.9, 198.51.100.7"), 200);
    assert_eq!(status("X-Forwarded-For: 198.51.100.7, 203.0.113.9"), 403, "the right-most that is no proxy");
    assert_eq!(status("X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-For: 127.0.0.9"), 200);
    assert_eq!(status("X-Forwarded-For: 198.51.100.7, unknown"), 403, "unknown is no address");
    assert_eq!(status("X-Forwarded-For: ::ffff:198.51.100.7"), 200);
    assert_eq!(status("Forwarded: for=198.51.100.7"), 403, "the other header does not count");
    assert_eq!(status("X-Any: 1"), 403);
}

#[test]
fn a_request_id_is_kept_from_a_trusted_proxy_only() {
    let request = "GET /open/a HTTP/1.1\r\nHost: api.test\r\nX-Request-Id: from-outside\r\n\
                   traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";
    let gateway = World::new().start();
    gateway.client().ask(request);
    let seen = gateway.upstream.only();
    assert_ne!(seen.field("x-request-id"), Some("from-outside"));
    let trace = seen.field("traceparent").expect("a trace");
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{trace}");
    assert!(!trace.contains("00f067aa0ba902b7"), "the gateway's own span: {trace}");

    let gateway = World::new().with("trusted_proxies: [127.0.0.1/32]").start();
    gateway.client().ask(request);
    assert_eq!(gateway.upstream.only().field("x-request-id"), Some("from-outside"));
}

#[test]
fn a_redirecting_listener_only_redirects() {
    let gateway = World::new()
        .listeners("  - {address: \"127.0.0.1:0\", redirect: https}\n  - {address: \"127.0.0.1:0\"}\n")
        .start();
    let mut client = gateway.client();
    let answer = client.ask("POST /open/a?b=c HTTP/1.1\r\nHost: API.test:8080\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((answer.status(), answer.field("location")), (308, Some("https://api.test/open/a?b=c")));
    assert_eq!(client.ask("GET /.torwart/ping HTTP/1.1\r\nHost: x\r\n\r\n").status(), 200);
    for odd in
        ["GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n", "GET /a HTTP/1.1\r\n\r\n", "GET admin HTTP/1.1\r\nHost: a\r\n\r\n"]
    {
        assert_eq!(gateway.client().ask(odd).status(), 400, "{odd:?}");
    }
    gateway.upstream.assert_silent();
}
