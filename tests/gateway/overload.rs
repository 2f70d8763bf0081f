//! Too much to do: those who are served go on, the others are told at once, and memory stays what it is.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::support::http2::Http2;
use crate::support::process::{Program, wait_until};
use crate::support::upstream::{Behaviour, Upstream};
use crate::support::world::Gateway;
use crate::support::{After, Client, World, upstream};

const OPEN: &str = "GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n";

/// A kernel that says how much memory is used.
struct Kernel(tempfile::TempDir);

impl Kernel {
    fn new() -> Self {
        let kernel = Self(tempfile::tempdir().expect("a directory"));
        std::fs::create_dir_all(kernel.0.path().join("self")).expect("a directory");
        std::fs::write(kernel.0.path().join("meminfo"), "MemTotal: 1000000000 kB\n").expect("a file");
        kernel.says(100);
        kernel
    }

    fn root(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// So many thousandths.
    fn says(&self, used: u32) {
        // Moved there, so that nobody reads half of it.
        let fresh = self.0.path().join("status");
        std::fs::write(&fresh, format!("VmSize: {used}000000 kB\nVmRSS: {used}000000 kB\n")).expect("a file");
        std::fs::rename(fresh, self.0.path().join("self/status")).expect("a file");
    }

    /// The same, and until the gateway has seen it.
    fn has_told(&self, gateway: &Gateway, used: u32) {
        self.says(used);
        let shown = format!("torwart_memory_used_ratio {}\n", f64::from(used) / 1000.0);
        wait_until("it is seen", || gateway.snapshots.telemetry().metrics().text().contains(&shown));
    }
}

/// A gate before the upstream's answers.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().expect("no panic") = true;
        self.opened.notify_all();
    }

    /// An upstream that waits for it.
    fn before(self: &Arc<Self>) -> Behaviour {
        let gate = Arc::clone(self);
        Arc::new(move |_, stream| {
            drop(gate.opened.wait_while(gate.is_open.lock().expect("no panic"), |is_open| !*is_open));
            upstream::answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        })
    }
}

fn sample(gateway: &Gateway, name: &str) -> Option<String> {
    let text = gateway.snapshots.telemetry().metrics().text();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
}

/// A client has its answer a moment before the request is over.
fn wait_until_idle(gateway: &Gateway) {
    wait_until("nothing is under way", || sample(gateway, "http_server_active_requests").as_deref() == Some("0.0"));
}

/// So many clients whose requests wait for the upstream.
fn under_way(gateway: &Gateway, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(OPEN);
    }
    wait_until("all are asked", || gateway.upstream.requests().len() == count);
    clients
}

#[test]
fn where_memory_is_scarce_new_requests_are_refused_and_those_under_way_go_on() {
    let (kernel, gate) = (Kernel::new(), Arc::new(Gate::default()));
    let mut gateway = World::new().answering(gate.before()).memory(&kernel.root()).start();
    kernel.has_told(&gateway, 849);
    let mut clients = under_way(&gateway, 40);
    kernel.has_told(&gateway, 850);
    for path in ["/open/a", "/me", "/nothing"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer no.token.at.all\r\n\r\n");
        let mut client = gateway.client();
        let refused = client.ask(head);
        let told = (refused.status(), refused.field("retry-after"), refused.field("connection"));
        assert_eq!(told, (503, Some("1"), Some("close")), "whoever asks for whatever with any token");
        assert_eq!(refused.json()["type"], "urn:torwart:overloaded");
        client.assert_closed();
    }
    let ping = gateway.client().ask("GET /.torwart/ping HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert_eq!(ping.status(), 200, "a load balancer hears that somebody is there");
    assert_eq!(sample(&gateway, "http_server_active_requests").as_deref(), Some("40.0"));
    gate.open();
    assert!(clients.iter_mut().all(|client| client.receive().status() == 200));
    wait_until_idle(&gateway);
    assert_eq!(gateway.client().ask(OPEN).status(), 200, "a few are always served");
    kernel.has_told(&gateway, 849);
    assert_eq!(gateway.client().ask(OPEN).status(), 200);
    wait_until_idle(&gateway);
    let refused = r#"torwart_decisions_total{policy="",route="",decision="deny",reason="overloaded"}"#;
    assert_eq!(sample(&gateway, refused).as_deref(), Some("3"));
    let metrics = gateway.snapshots.telemetry().metrics().text();
    assert!(!metrics.contains("torwart_token_validations_total{"), "no token was looked at");
    let records = gateway.records();
    let overloaded = records.iter().filter(|record| record["reason"] == "overloaded" && record["status"] == 503);
    assert_eq!((records.len(), overloaded.count()), (40 + 3 + 2, 3));
    assert_eq!(gateway.upstream.requests().len(), 42);
}

#[test]
fn where_memory_is_all_but_gone_connections_are_closed_too() {
    let (kernel, gate) = (Kernel::new(), Arc::new(Gate::default()));
    let gateway = World::new().answering(gate.before()).memory(&kernel.root()).start();
    let mut clients = under_way(&gateway, 40);
    kernel.has_told(&gateway, 950);
    let mut late = gateway.client();
    let _ = late.try_send(OPEN);
    late.assert_closed();
    assert_eq!(gateway.connections(), 40);
    gate.open();
    assert!(clients.iter_mut().all(|client| client.receive().status() == 200));
    let listener = gateway.snapshots.current().config.listeners[0].address;
    let name = format!(r#"torwart_connections_refused_total{{listener="{listener}",reason="memory"}}"#);
    assert_eq!(sample(&gateway, &name).as_deref(), Some("1"));
    drop(clients);
    gateway.wait_for_the_last_connection();
    assert_eq!(gateway.client().ask(OPEN).status(), 200, "a few are always served");
}

#[test]
fn what_the_youngest_requests_may_yet_use_is_counted_before_they_do() {
    let (kernel, gate) = (Kernel::new(), Arc::new(Gate::default()));
    // Less than a tenth is used; what thirty requests may come to use would make it 85 percent.
    std::fs::write(kernel.root().join("meminfo"), "MemTotal: 12000 kB\n").expect("a file");
    std::fs::write(kernel.root().join("self/status"), "VmSize: 500 kB\nVmRSS: 500 kB\n").expect("a file");
    let gateway = World::new().answering(gate.before()).memory(&kernel.root()).start();
    wait_until("it is foreseen", || gateway.snapshots.telemetry().metrics().load.most_requests() == 30);
    let mut clients = under_way(&gateway, 30);
    let refused = gateway.client().ask(OPEN);
    assert_eq!((refused.status(), refused.field("retry-after")), (503, Some("1")));
    gate.open();
    assert!(clients.iter_mut().all(|client| client.receive().status() == 200));
    wait_until_idle(&gateway);
    assert!((0..40).all(|_| gateway.client().ask(OPEN).status() == 200));
}

#[test]
fn streams_do_not_multiply_the_requests_under_way() {
    let gate = Arc::new(Gate::default());
    let world = World::new().listeners("  - {address: \"127.0.0.1:0\", protocols: [h2]}\n").limit("connections: 20");
    let gateway = world.answering(gate.before()).start();
    let get = [(":method", &b"GET"[..]), (":scheme", b"http"), (":authority", b"api.test"), (":path", b"/open/a")];
    let mut connection = Http2::over(gateway.client());
    let served: Vec<_> = (0..20).map(|_| connection.request(&get)).collect();
    wait_until("all are asked", || gateway.upstream.requests().len() == 20);
    for _ in 0..10 {
        assert_eq!(connection.ask(&get).status, Some(503));
    }
    gate.open();
    for stream in served {
        assert_eq!(connection.outcome(stream).status, Some(200));
    }
    wait_until_idle(&gateway);
    assert_eq!(connection.ask(&get).status, Some(200), "the connection goes on");
    assert_eq!(gateway.upstream.requests().len(), 21);
}

/// Answers without end, which nobody reads.
fn endless(stopped: &Arc<AtomicBool>) -> Behaviour {
    let stopped = Arc::clone(stopped);
    Arc::new(move |_, stream| {
        let _ = upstream::answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let piece = vec![b'a'; 64 * 1024];
        while !stopped.load(Ordering::Relaxed) && upstream::answer(stream, &piece) == After::Continue {}
        After::Close
    })
}

fn program(root: &Path, port: u16, upstream: SocketAddr) {
    std::fs::create_dir_all(root.join("policies")).expect("a directory");
    let policy = "version: 1\npolicy: api\nhosts: [api.test]\nupstream: api\nroutes:\n  \
                  - {path: \"/{*rest}\", methods: [GET], require: public, unbound: [rest]}\n";
    std::fs::write(root.join("policies/api.yaml"), policy).expect("a file");
    let text = format!(
        "version: 1\nworkers: 1\nlisteners:\n  - {{address: \"127.0.0.1:{port}\"}}\nupstreams:\n  \
         api: {{endpoints: [\"http://{upstream}\"], max_connections: 10000}}\npolicies: policies\n\
         admin: {{address: \"unix:{}\"}}\nlogging: {{level: error}}\naudit: {{path: audit.log}}\n\
         limits: {{connections_per_address: 10000}}\n",
        root.join("admin.sock").display()
    );
    std::fs::write(root.join("torwart.yaml"), text).expect("a file");
    let start = "#!/bin/sh\n# Starts the program with so many KiB of address space.\nulimit -v \"$1\"\n\
                 exec \"$2\" --config torwart.yaml run\n";
    std::fs::write(root.join("limited"), start).expect("a file");
    std::fs::set_permissions(root.join("limited"), std::fs::Permissions::from_mode(0o755)).expect("a file");
}

/// KiB of address space.
fn space(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("VmSize");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_process_with_little_memory_refuses_before_it_runs_out() {
    let stopped = Arc::new(AtomicBool::new(false));
    let upstream = Upstream::start(endless(&stopped));
    let directory = tempfile::tempdir().expect("a directory");
    let (root, port) = (directory.path(), crate::support::process::free_port());
    program(root, port, upstream.address);
    let start = |kib: String| {
        let mut command = Command::new("./limited");
        // One arena: how many there are would otherwise depend on the machine.
        command.args([&kib, env!("CARGO_BIN_EXE_torwart")]).env("MALLOC_ARENA_MAX", "1");
        let program = Program::of(command, root);
        program.wait_until_it_answers();
        program
    };
    let idle = space(&start("unlimited".to_owned()));
    let program = start((idle + 160 * 1024).to_string());
    assert!(program.metric("torwart_memory_used_ratio") < 0.85, "at rest there is room");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut clients = Vec::new();
    // Enough for several times the memory, if all were let in.
    for _ in 0..3000 {
        let mut client = Client::plain(address);
        // Some find their connection closed.
        let _ = client.try_send("GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n");
        clients.push(client);
    }
    wait_until("somebody is refused", || program.metric(OVERLOADED) > 0.0);
    assert!(program.metric("torwart_memory_used_ratio") < 1.0);
    let (status, told) = program.ask("GET", "/api/v1/upstreams").expect("an answer");
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((status, &told["upstreams"][0]["name"]), (200, &serde_json::json!("api")), "operators are answered");
    stopped.store(true, Ordering::Relaxed);
    drop(clients);
    wait_until("all are gone", || program.metric("http_server_active_requests") == 0.0);
    let ping = Client::plain(address).ask("GET /.torwart/ping HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert_eq!(ping.status(), 200, "it serves again");
    assert_eq!(program.status()["pid"], program.id(), "and it is the same process");
}

const OVERLOADED: &str = r#"torwart_decisions_total{policy="",route="",decision="deny",reason="overloaded"}"#;
