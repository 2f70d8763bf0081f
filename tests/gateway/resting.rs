//! Connections between two requests: they are put to rest, which nobody may notice but in the memory that they take.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::support::authority::Authority;
use crate::support::process::Program;
use crate::support::upstream::{self, Upstream};
use crate::support::{Client, World};

const OPEN: &str = "GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n";
/// Longer than a connection stays awake.
const LONG: Duration = Duration::from_millis(600);

/// Says nothing for so long, which is what these tests are about.
#[expect(clippy::disallowed_methods, reason = "silence is what is tested, and not waited for")]
fn pause(time: Duration) {
    thread::sleep(time);
}

#[test]
fn the_requests_of_a_connection_are_counted_across_its_rests() {
    let mut gateway = World::new().limit("requests_per_connection: 3").start();
    let mut client = gateway.tls_client("api.test");
    let told = [LONG, LONG, Duration::ZERO].map(|silence| {
        let answer = client.ask(OPEN);
        pause(silence);
        (answer.status(), answer.field("connection").map(str::to_owned))
    });
    assert_eq!(told, [(200, None), (200, None), (200, Some("close".to_owned()))]);
    client.assert_closed();
    assert_eq!(gateway.records().len(), 3);
}

#[test]
fn a_resting_connection_takes_its_place_until_it_ends() {
    let gateway = World::new().limit("connections: 2").limit("idle_timeout: 2s").start();
    let mut clients = [gateway.client(), gateway.tls_client("api.test")];
    for client in &mut clients {
        assert_eq!(client.ask(OPEN).status(), 200);
    }
    pause(LONG);
    assert_eq!(gateway.connections(), 2);
    gateway.client().assert_closed();
    // Every one of them is closed when it has said nothing for too long.
    clients.iter_mut().for_each(Client::assert_closed);
    gateway.wait_for_the_last_connection();
}

#[test]
fn an_odd_head_after_a_rest_is_refused_as_ever() {
    let mut gateway = World::new().start();
    for (head, status) in [("GET /open/a HTTP/1.1\nHost: api.test\n\n", 400), ("nonsense\r\n\r\n", 400)] {
        let mut client = gateway.tls_client("api.test");
        assert_eq!(client.ask(OPEN).status(), 200);
        pause(LONG);
        let answer = client.ask(head);
        assert_eq!((answer.status(), answer.field("connection")), (status, Some("close")), "{head:?}");
        client.assert_closed();
    }
    assert_eq!(gateway.records().len(), 4);
    assert_eq!(gateway.upstream.requests().len(), 2);
}

#[test]
fn every_request_around_the_moment_of_rest_is_answered() {
    let gateway = World::new().workers(2).start();
    thread::scope(|scope| {
        for number in 0_u64..32 {
            let mut client = if number % 4 == 0 { gateway.client() } else { gateway.tls_client("api.test") };
            scope.spawn(move || {
                for round in 0..8 {
                    let answer = client.ask(OPEN);
                    assert_eq!((answer.status(), answer.field("connection")), (200, None), "{number} {round}");
                    // From 3 ms before the moment to 3 ms behind it.
                    pause(Duration::from_micros(247_000 + (number * 8 + round) * 1_000_003 % 6_000));
                }
            });
        }
    });
    assert_eq!(gateway.upstream.requests().len(), 32 * 8);
    gateway.upstream.assert_sound();
}

fn configuration(root: &Path, port: u16, upstream: SocketAddr) {
    std::fs::create_dir_all(root.join("policies")).expect("a directory");
    let policy = "version: 1\npolicy: api\nhosts: [api.test]\nupstream: api\nroutes:\n  \
                  - {path: \"/{*rest}\", methods: [GET], require: public, unbound: [rest]}\n";
    std::fs::write(root.join("policies/api.yaml"), policy).expect("a file");
    let text = format!(
        "version: 1\nworkers: 1\nlisteners:\n  - address: \"127.0.0.1:{port}\"\n    \
         tls: {{certificates: [{{certificate: leaf.pem, key: leaf.key}}]}}\nupstreams:\n  \
         api: {{endpoints: [\"http://{upstream}\"]}}\npolicies: policies\n\
         admin: {{address: \"unix:{}\"}}\nlogging: {{level: error}}\naudit: {{path: audit.log}}\n\
         limits: {{connections_per_address: 10000}}\n",
        root.join("admin.sock").display()
    );
    std::fs::write(root.join("torwart.yaml"), text).expect("a file");
}

#[test]
fn an_idle_connection_keeps_little_memory() {
    let upstream = Upstream::start(upstream::plain());
    let directory = tempfile::tempdir().expect("a directory");
    let (root, port) = (directory.path(), crate::support::process::free_port());
    configuration(root, port, upstream.address);
    let authority = Authority::new();
    authority.leaf(&["api.test"]).write(root, "leaf");
    let program = Program::start(root);
    let config = Arc::new(authority.client(&["http/1.1"], None));
    let idle = |count: usize| -> Vec<Client> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let clients = (0..count).map(|_| {
            let mut client = Client::tls(address, Arc::clone(&config), "api.test").expect("a handshake");
            assert_eq!(client.ask(OPEN).status(), 200);
            client
        });
        clients.collect()
    };
    // What the program needs for its first connections is not what one more costs.
    let first = idle(100);
    pause(LONG);
    let before = program.resident();
    // A few at a time: what many take together before they rest may stay with the allocator.
    let others: Vec<Vec<Client>> = (0..6)
        .map(|_| {
            let some = idle(50);
            pause(LONG);
            some
        })
        .collect();
    let each = program.resident().saturating_sub(before) / 300;
    assert!(each <= MOST, "{each} KiB");
    drop((first, others));
}

/// KiB of resident memory that an idle connection may cost. One that is not put to rest costs 40.
const MOST: u64 = 16;
