//! A mistake in the gateway that panics. Here the time for an upstream's answer is longer than the clock can count, which
//! no configuration file can ask for: whatever is not given a time of its own ends in an overflow while it waits for the answer,
//! with a connection of the upstream in its hands.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use torwart::config::Config;

use crate::support::http2::Http2;
use crate::support::message::Message;
use crate::support::process::wait_until;
use crate::support::world::Gateway;
use crate::support::{Client, World};

const POLICY: &str = r#"
version: 1
policy: api
hosts: [api.test]
upstream: api
routes:
  - {path: /panics, methods: [GET, POST], require: public}
  - {path: "/{*rest}", methods: [GET, POST], require: public, unbound: [rest], forward: {timeout: 10s}}
"#;

/// Panics are counted for the process: one test at a time, so that each knows its own.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    static REPORTING: Once = Once::new();
    REPORTING.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Tests that fail beside this one panic, too, on threads of their own.
            if std::thread::current().name().is_some_and(|name| name.starts_with("worker")) {
                torwart::panics::report(panic);
            }
            before(panic);
        }));
    });
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_long(config: &mut Config) {
    config.upstreams.iter_mut().for_each(|upstream| upstream.response_timeout = Duration::MAX);
}

/// An upstream with one connection, so that one that is not given back is missed by the next request.
fn world() -> World {
    World::new().policies(&[POLICY]).upstream("max_connections: 1, timeouts: {connect: 5s}").beyond(too_long)
}

fn get(client: &mut Client, path: &str) -> Message {
    client.ask(format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n"))
}

fn fields(method: &'static str, path: &'static str) -> Vec<(&'static str, &'static [u8])> {
    vec![(":method", method.as_bytes()), (":scheme", b"http"), (":authority", b"api.test"), (":path", path.as_bytes())]
}

fn counted(gateway: &Gateway) -> u64 {
    let text = gateway.snapshots.telemetry().metrics().text();
    let line = text.lines().find_map(|line| line.strip_prefix("torwart_panics_total "));
    line.expect("it is always shown").parse().expect("a number")
}

#[test]
fn a_panic_ends_its_connection_and_nothing_else() {
    let _alone = alone();
    let mut gateway = world().start();
    let mut other = gateway.client();
    assert_eq!(get(&mut other, "/before").status(), 200);
    let before = counted(&gateway);
    for round in 1..=5 {
        let mut unlucky = gateway.client();
        assert_eq!(get(&mut unlucky, "/mine").status(), 200);
        unlucky.send("GET /panics HTTP/1.1\r\nHost: api.test\r\n\r\n").assert_closed();
        assert_eq!(counted(&gateway), before + round);
        assert_eq!(get(&mut other, "/after").status(), 200, "others on the same worker go on");
        assert_eq!(get(&mut gateway.client(), "/next").status(), 200, "the next one is answered");
    }
    drop(other);
    gateway.wait_for_the_last_connection();
    let states = gateway.snapshots.current().upstreams.states().next().expect("an upstream");
    assert_eq!((states.waiting, states.endpoints[0].requests), (0, 0), "nothing is under way: {states:?}");
    assert!(states.connections <= 1, "{states:?}");
    let records = gateway.records();
    assert_eq!(records.len(), 1 + 5 * 4, "each request has its record, those that panicked too");
    let unanswered: Vec<_> = records.iter().filter(|record| record["status"].is_null()).collect();
    assert_eq!(unanswered.len(), 5);
    assert!(unanswered.iter().all(|record| record["path"] == "/panics" && record["decision"] == "allow"));
}

#[test]
fn the_other_streams_of_an_http2_connection_end_in_peace() {
    let _alone = alone();
    let world = World::new().policies(&[POLICY]).listeners("  - {address: \"127.0.0.1:0\", protocols: [h2]}\n");
    let mut gateway = world.beyond(too_long).start();
    let before = counted(&gateway);
    let mut connection = Http2::over(gateway.client());
    let under_way = connection.begin(&fields("POST", "/slow"));
    connection.data(under_way, b"not ", false);
    wait_until("it is under way", || gateway.upstream.connections() == 1);
    let unlucky = connection.ask(&fields("GET", "/panics"));
    assert_eq!((unlucky.status, unlucky.reset.is_some()), (None, true));
    connection.data(under_way, b"all of it", true);
    assert_eq!(connection.outcome(under_way).status, Some(200));
    while !connection.closed {
        connection.step();
    }
    assert!(connection.goaway.is_some(), "the connection is not used for anything else");
    assert_eq!(counted(&gateway), before + 1);
    assert_eq!(Http2::over(gateway.client()).ask(&fields("GET", "/next")).status, Some(200));
    gateway.wait_for_the_last_connection();
    let records = gateway.records();
    assert_eq!(records.len(), 3, "{records:#?}");
    assert_eq!(records.iter().filter(|record| record["status"].is_null()).count(), 1);
}

#[test]
fn a_panic_before_a_request_is_one_ends_its_connection() {
    let _alone = alone();
    let gateway = World::new().beyond(|config| config.limits.headers = usize::MAX).start();
    let before = counted(&gateway);
    for _ in 0..3 {
        gateway.client().send("GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n").assert_closed();
    }
    assert_eq!(counted(&gateway), before + 3);
    wait_until("all places are free", || gateway.connections() == 0);
    gateway.upstream.assert_silent();
}
