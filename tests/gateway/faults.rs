//! An upstream that misbehaves on order: which status the client gets, what is sent again, and that nothing of it reaches
//! another client.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::upstream::{self, Behaviour};
use crate::support::world::Gateway;
use crate::support::{After, Client, World};

/// Closes a connection by a reset, whatever is still on its way.
fn reset(stream: &TcpStream) -> After {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    let _ = stream.shutdown(Shutdown::Read);
    After::Close
}

/// Does what the path says.
fn on_order() -> Behaviour {
    let plain = upstream::plain();
    Arc::new(move |request, stream| {
        let mut say = |bytes: &[u8]| {
            let _ = stream.write_all(bytes);
        };
        let fault = request.target().trim_start_matches("/open/").to_owned();
        match fault.as_str() {
            "close-before" => return After::Close,
            "reset-before" => {}
            "reset-in-head" => say(b"HTTP/1.1 200 OK\r\nContent-Le"),
            "reset-after-head" => say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
            "half" => {
                say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsecre");
                return After::Close;
            }
            "half-chunked" => {
                say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsecre\r\n");
                return After::Close;
            }
            "garbage" => {
                say(b"\x16\x03\x01\x00secret\r\n\r\n");
                return After::Close;
            }
            "another-status" => say(b"HTTP/1.1 999 secret\r\nContent-Length: 0\r\n\r\n"),
            "flood" => (0..200).for_each(|_| say(b"HTTP/1.1 103 Early Hints\r\nX: secret\r\n\r\n")),
            "more-than-asked" => {
                say(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret",
                );
                return After::Continue;
            }
            "silence" => {
                thread::park_timeout(Duration::from_secs(4));
                say(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret");
                return After::Close;
            }
            _ => return plain(request, stream),
        }
        // What was written is on its way before the reset overtakes it.
        thread::park_timeout(Duration::from_millis(50));
        reset(stream)
    })
}

fn faulty() -> Gateway {
    World::new().answering(on_order()).upstream("timeouts: {connect: 5s, response: 2s}").start()
}

fn request(method: &str, path: &str) -> String {
    let body = if method == "POST" { "Content-Length: 2\r\n\r\nhi" } else { "\r\n" };
    format!("{method} {path} HTTP/1.1\r\nHost: api.test\r\n{body}")
}

/// How often the upstream was asked for a path.
fn asked(gateway: &Gateway, path: &str) -> usize {
    gateway.upstream.requests().iter().filter(|request| request.target() == path).count()
}

/// Another client is served, and gets its own answer.
fn assert_another_is_served(gateway: &Gateway, number: usize) {
    let path = format!("/open/other-{number}");
    let answer = gateway.client().ask(request("GET", &path));
    assert_eq!((answer.status(), answer.text()), (200, format!("GET {path}").as_str()));
}

#[test]
fn an_upstream_that_breaks_before_its_answer_is_502_or_504_and_asked_again_only_where_that_is_safe() {
    let gateway = faulty();
    // What is asked over a connection that served somebody before: `GET` may be sent again, `POST` never.
    let rows = [
        ("close-before", 502, 2),
        ("reset-before", 502, 2),
        ("reset-in-head", 502, 1),
        ("garbage", 502, 1),
        ("another-status", 502, 1),
        ("flood", 502, 1),
        ("silence", 504, 1),
    ];
    let mut number = 0;
    for (fault, status, gets) in rows {
        for (method, times) in [("GET", gets), ("POST", 1), ("HEAD", gets)] {
            let path = format!("/open/{fault}");
            // Leaves a connection behind.
            assert_another_is_served(&gateway, number);
            let before = asked(&gateway, &path);
            let mut client = gateway.client();
            client.send(request(method, &path));
            let answer = if method == "HEAD" { client.receive_head() } else { client.receive() };
            assert_eq!(answer.status(), status, "{method} {fault}");
            assert!(!answer.text().contains("secret"), "{method} {fault}: {}", answer.text());
            assert_eq!(asked(&gateway, &path) - before, times, "{method} {fault}");
            number += 1;
            assert_another_is_served(&gateway, number);
        }
    }
}

#[test]
fn an_answer_that_breaks_off_is_never_whole_for_the_client_and_never_asked_for_again() {
    let gateway = faulty();
    for (number, fault) in ["reset-after-head", "half", "half-chunked"].into_iter().enumerate() {
        for method in ["GET", "POST"] {
            let path = format!("/open/{fault}");
            let before = asked(&gateway, &path);
            let mut client = gateway.client();
            client.send(request(method, &path));
            assert!(client.try_receive().is_err(), "{method} {fault}: a clean end");
            assert_eq!(asked(&gateway, &path) - before, 1, "{method} {fault}");
            assert_another_is_served(&gateway, number);
        }
    }
}

#[test]
fn what_follows_an_answer_is_nobodys() {
    let gateway = faulty();
    for number in 0..20 {
        let answer = gateway.client().ask(request("GET", "/open/more-than-asked"));
        assert_eq!((answer.status(), answer.text()), (200, "ok"));
        assert_another_is_served(&gateway, number);
    }
}

#[test]
fn faults_under_load_reach_nobody_else() {
    let gateway = World::new().workers(2).answering(on_order()).start();
    thread::scope(|scope| {
        let gateway = &gateway;
        for fault in ["close-before", "half", "garbage", "more-than-asked", "half-chunked"] {
            scope.spawn(move || {
                for _ in 0..40 {
                    let mut client = gateway.client();
                    client.send(request("GET", &format!("/open/{fault}")));
                    let _ = client.try_receive();
                }
            });
        }
        for number in 0..4 {
            scope.spawn(move || {
                for turn in 0..60 {
                    assert_another_is_served(gateway, number * 1000 + turn);
                }
            });
        }
    });
}

#[test]
fn a_connection_that_is_refused_or_reset_at_once_is_502_and_one_that_never_comes_about_504() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let rejecting = TcpListener::bind("127.0.0.1:0").expect("a port");
    let reset_at = rejecting.local_addr().expect("an address");
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        for stream in rejecting.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            reset(&stream);
        }
    });
    for address in [gone, reset_at] {
        let gateway = World::new().start();
        gateway.edit(&gateway.upstream.address.to_string(), &address.to_string());
        assert!(gateway.snapshots.reload().is_ok());
        for method in ["GET", "POST"] {
            assert_eq!(gateway.client().ask(request(method, "/open/a")).status(), 502, "{address}");
        }
        gateway.upstream.assert_silent();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2, "one for each request");

    // It takes the connection, and says nothing of TLS.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let gateway = World::new().upstream("timeouts: {connect: 200ms}").start();
    let (before, after) = (gateway.upstream.address, silent.local_addr().expect("an address"));
    gateway.edit(&format!("http://{before}"), &format!("https://{after}"));
    assert!(gateway.snapshots.reload().is_ok());
    assert_eq!(gateway.client().ask(request("GET", "/open/a")).status(), 504);
}

#[test]
fn one_endpoint_that_fails_costs_no_answer_and_is_left_alone() {
    let refused = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut gateway = World::new().endpoint(refused).upstream("balance: round_robin").start();
    for _ in 0..50 {
        for method in ["GET", "POST"] {
            assert_eq!(gateway.client().ask(request(method, "/open/a")).status(), 200);
        }
    }
    let states: Vec<_> = gateway.snapshots.current().upstreams.states().flat_map(|state| state.endpoints).collect();
    let told: Vec<_> = states.iter().map(|one| (one.available, one.ejections)).collect();
    assert_eq!(told, [(true, 0), (false, 1)]);
    assert!(states[1].ejected_for.is_some());
    let counted = gateway.snapshots.telemetry().metrics().text();
    assert!(counted.contains("torwart_upstream_retries_total{upstream=\"api\",result=\"sent\"} 5\n"), "{counted}");

    // A reload that changes something else changes nothing of that.
    gateway.edit("policies: policies\n", "policies: policies\nidentity: {max_bytes: 2KiB}\n");
    let revision = gateway.snapshots.current().revision;
    assert!(gateway.snapshots.reload().is_ok());
    assert_ne!(gateway.snapshots.current().revision, revision);
    let kept: Vec<_> = gateway.snapshots.current().upstreams.states().flat_map(|state| state.endpoints).collect();
    assert_eq!(kept[1].ejections, 1);
    assert_eq!((kept[0].connections, gateway.upstream.connections()), (1, 1), "and the connection is the same");
    assert_eq!(gateway.client().ask(request("POST", "/open/a")).status(), 200);
    assert_eq!(gateway.upstream.connections(), 1);

    // One that changes the upstream begins anew.
    gateway.edit("balance: round_robin", "balance: random_two_least_requests");
    assert!(gateway.snapshots.reload().is_ok());
    let begun: Vec<_> = gateway.snapshots.current().upstreams.states().flat_map(|state| state.endpoints).collect();
    assert!(begun.iter().all(|one| one.available && one.ejections == 0));
    assert!(gateway.records().iter().all(|record| record["decision"] == "allow"));
}

#[test]
fn an_upstream_without_a_healthy_endpoint_is_503_and_checks_end_with_it() {
    let sick = Arc::new(AtomicBool::new(true));
    let (state, plain) = (Arc::clone(&sick), upstream::plain());
    let behaviour: Behaviour = Arc::new(move |request, stream| {
        if request.target() == "/health" && state.load(Ordering::SeqCst) {
            return upstream::answer(stream, b"HTTP/1.1 503 Sick\r\nContent-Length: 0\r\n\r\n");
        }
        plain(request, stream)
    });
    let gateway = World::new().answering(behaviour).upstream("health: {path: /health, interval: 100ms}").start();
    let wait_for = |status: u16| {
        let begun = Instant::now();
        loop {
            let answer = gateway.client().ask(request("GET", "/open/a"));
            if answer.status() == status {
                return answer;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{} stays", answer.status());
            thread::park_timeout(Duration::from_millis(20));
        }
    };
    let answer = wait_for(503);
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert_eq!(answer.json()["type"], "urn:torwart:upstream-unavailable");
    sick.store(false, Ordering::SeqCst);
    wait_for(200);
    let health =
        gateway.upstream.requests().into_iter().find(|request| request.target() == "/health").expect("a check");
    assert!(health.fields.iter().all(|(name, _)| name == "host" || name == "user-agent"), "{health:?}");

    gateway.edit("path: /health", "path: /other");
    assert!(gateway.snapshots.reload().is_ok());
    let checks = |path: &str| asked(&gateway, path);
    let begun = Instant::now();
    let mut before = checks("/health");
    while checks("/other") < 5 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the new path is not asked for");
        if checks("/other") == 0 {
            before = checks("/health");
        }
        thread::park_timeout(Duration::from_millis(20));
    }
    assert!(checks("/health") <= before + 1, "the old one is asked for no more");
}

#[test]
fn who_finds_neither_a_connection_nor_a_place_in_the_queue_is_503() {
    let gateway = World::new()
        .answering(on_order())
        .upstream("max_connections: 1, timeouts: {connect: 200ms, response: 20s}")
        .start();
    thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut client = gateway.client();
            client.send(request("GET", "/open/silence"));
            client.receive().status()
        });
        while asked(&gateway, "/open/silence") == 0 {
            thread::yield_now();
        }
        let begun = Instant::now();
        // A hundred may wait, the others are told at once.
        let mut clients: Vec<_> = (0..130).map(|_| gateway.client()).collect();
        for client in &mut clients {
            client.send(request("GET", "/open/a"));
        }
        let answers: Vec<_> = clients.iter_mut().map(Client::receive).collect();
        for answer in &answers {
            assert_eq!((answer.status(), answer.field("retry-after")), (503, Some("1")));
        }
        assert!(begun.elapsed() < Duration::from_secs(3), "nobody waits for longer than connecting may take");
        assert_eq!(busy.join().expect("no panic"), 200);
    });
    assert_eq!(asked(&gateway, "/open/a"), 0);
    assert_eq!(gateway.client().ask(request("GET", "/open/a")).status(), 200);
}
