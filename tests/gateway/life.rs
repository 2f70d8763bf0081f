//! Reload and shutdown while requests are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::world::POLICY;
use crate::support::{After, World, upstream};

const OPEN: &str = "GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n";

#[test]
fn a_reload_swaps_everything_at_once_and_no_request_fails() {
    let gateway = World::new().workers(2).start();
    let stop = AtomicBool::new(false);
    let asked = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.client();
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.ask(OPEN);
                    assert_eq!(answer.status(), 200);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..20 {
            let before = gateway.snapshots.current().revision;
            gateway.write("policies/0.yaml", &POLICY.replace("path: /me", &format!("path: /me{round}")));
            gateway.snapshots.reload().unwrap_or_else(|problems| panic!("{}", problems.render()));
            assert_ne!(gateway.snapshots.current().revision, before);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(gateway.upstream.requests().len(), asked.load(Ordering::Relaxed));
    gateway.upstream.assert_sound();
}

#[test]
fn a_reload_that_is_wrong_leaves_the_old_configuration_in_force() {
    let gateway = World::new().start();
    let before = gateway.snapshots.current().revision;
    for (file, text) in [
        ("policies/0.yaml", "version: 1\npolicy: api\nhosts: [api.test]\nupstream: nobody\nroutes: []\n"),
        ("policies/0.yaml", "not yaml: ["),
        ("torwart.yaml", "version: 1\nlistners: []\n"),
        ("leaf.pem", "nothing"),
    ] {
        let path = gateway.directory.path().join(file);
        let good = std::fs::read_to_string(&path).expect("a file");
        gateway.write(file, text);
        let problems = gateway.snapshots.reload().expect_err(file);
        assert!(problems.has_errors() && gateway.snapshots.last_error().is_some(), "{file}");
        assert_eq!(gateway.snapshots.current().revision, before, "{file}");
        assert_eq!(gateway.client().ask(OPEN).status(), 200, "{file}");
        gateway.write(file, &good);
    }
    gateway.snapshots.reload().unwrap_or_else(|problems| panic!("{}", problems.render()));
    assert_eq!(gateway.snapshots.last_error(), None);
}

#[test]
fn other_listener_addresses_need_a_restart_and_say_so() {
    let gateway = World::new().start();
    gateway.edit("listeners:\n", "listeners:\n  - {address: \"127.0.0.1:0\"}\n");
    let problems = gateway.snapshots.reload().expect_err("sockets are bound once");
    assert!(problems.render().contains("restart"), "{}", problems.render());
}

#[test]
fn a_new_certificate_is_shown_to_new_connections() {
    let gateway = World::new().start();
    assert_eq!(gateway.tls_client("api.test").ask(OPEN).status(), 200);
    let other = crate::support::authority::Authority::new();
    other.leaf(&["api.test"]).write(gateway.directory.path(), "leaf");
    gateway.snapshots.reload().unwrap_or_else(|problems| panic!("{}", problems.render()));
    let config = Arc::new(gateway.authority.client(&["http/1.1"], None));
    assert!(crate::support::Client::tls(gateway.secure(), config, "api.test").is_err(), "the old authority");
    let config = Arc::new(other.client(&["http/1.1"], None));
    let mut client = crate::support::Client::tls(gateway.secure(), config, "api.test").expect("the new one");
    assert_eq!(client.ask(OPEN).status(), 200);
}

#[test]
fn changed_files_are_noticed() {
    let gateway = World::new().start();
    let _watch = gateway.snapshots.watch().expect("a watch");
    let before = gateway.snapshots.current().revision;
    gateway.write("policies/0.yaml", &POLICY.replace("path: /me", "path: /you"));
    let begun = std::time::Instant::now();
    while gateway.snapshots.current().revision == before {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody noticed");
        thread::yield_now();
    }
}

#[test]
fn a_drain_lets_running_requests_end_and_takes_no_new_ones() {
    let (begun, wait_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let mut gateway = World::new()
        .answering(Arc::new(move |request, stream| {
            if request.target() == "/open/slow" {
                begun.send(()).expect("the test waits");
                let _ = released.lock().expect("no panic").recv();
            }
            upstream::answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        }))
        .start();
    let mut idle = gateway.client();
    assert_eq!(idle.ask(OPEN).status(), 200);
    let mut slow = gateway.client();
    slow.send("GET /open/slow HTTP/1.1\r\nHost: api.test\r\n\r\n");
    wait_begun.recv().expect("it reached the upstream");
    let running = gateway.running();
    let ended = thread::spawn(move || running.shutdown());
    idle.assert_closed();
    assert!(!ended.is_finished(), "a request is still under way");
    release.send(()).expect("the upstream waits");
    let answer = slow.receive();
    assert_eq!((answer.status(), answer.text(), answer.field("connection")), (200, "done", Some("close")));
    slow.assert_closed();
    ended.join().expect("no panic");
    assert!(std::net::TcpStream::connect(gateway.plain()).is_err(), "nobody listens");
}

#[test]
fn a_drain_has_an_end_whatever_clients_do() {
    let (begun, wait_begun) = mpsc::channel();
    let mut gateway = World::new()
        .limit("drain: 300ms")
        .answering(Arc::new(move |_, _| {
            begun.send(()).expect("the test waits");
            After::Continue
        }))
        .start();
    let mut slow = gateway.client();
    slow.send(OPEN);
    wait_begun.recv().expect("it reached the upstream");
    let records = gateway.records();
    assert_eq!(records.len(), 1, "also what was cut off is recorded: {records:#?}");
    slow.assert_closed();
}

#[test]
fn a_client_that_leaves_is_recorded_once() {
    let (begun, wait_begun) = mpsc::channel();
    let mut gateway = World::new()
        .answering(Arc::new(move |_, _| {
            begun.send(()).expect("the test waits");
            After::Continue
        }))
        .start();
    let mut client = gateway.client();
    client.send(OPEN);
    wait_begun.recv().expect("it reached the upstream");
    drop(client);
    gateway.wait_for_the_last_connection();
    assert_eq!(gateway.records().len(), 1);
}
