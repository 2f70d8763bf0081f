//! One process follows another: by `SO_REUSEPORT`, by sockets that a service manager keeps, and what the manager is told. Nobody is
//! refused, reset or left without an answer.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::Client;
use crate::support::authority::Authority;
use crate::support::http2::Http2;
use crate::support::process::free_port;
use crate::support::process::{Program, wait_until};
use crate::support::upstream::{self, Upstream};
use crate::support::world::POLICY;

const OPEN: &str = "GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n";

/// What two processes have in common.
struct Stage {
    directory: tempfile::TempDir,
    authority: Authority,
    upstream: Upstream,
    plain: SocketAddr,
    secure: SocketAddr,
}

impl Stage {
    fn new(address: SocketAddr, more: &str) -> Self {
        let (directory, authority) = (tempfile::tempdir().expect("a directory"), Authority::new());
        let upstream = Upstream::start(upstream::plain());
        let root = directory.path();
        let secure = SocketAddr::from(([127, 0, 0, 1], free_port()));
        authority.leaf(&["api.test"]).write(root, "leaf");
        std::fs::create_dir(root.join("policies")).expect("a directory");
        std::fs::write(root.join("policies/api.yaml"), POLICY.replace("authenticated", "public")).expect("a file");
        let keys = crate::support::tokens::Issuer::new().key_set().to_string();
        std::fs::write(root.join("keys.json"), keys).expect("a file");
        let yaml = format!(
            "version: 1\nworkers: 2\nlisteners:\n  - {{address: \"{address}\"}}\n  - {{address: \"{secure}\", tls: \
             {{certificates: {{certificate: leaf.pem, key: leaf.key}}}}}}\nissuers:\n  - {{name: shoen, issuer: \
             \"https://a.test\", audiences: [a], jwks_file: keys.json}}\nupstreams:\n  api: {{endpoints: \
             [\"http://{}\"]}}\nadmin: {{address: \"unix:{}/admin.sock\"}}\nlogging: {{level: error}}\n\
             audit: {{path: /dev/null}}\n{more}",
            upstream.address,
            root.display(),
        );
        std::fs::write(root.join("torwart.yaml"), yaml).expect("a file");
        Self { directory, authority, upstream, plain: address, secure }
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }
}

/// Counts what was answered, and how long anybody had to wait for it.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    longest: AtomicUsize,
    stop: AtomicBool,
}

impl Tally {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn time<T>(&self, ask: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let answer = ask();
        let millis = usize::try_from(begun.elapsed().as_millis()).unwrap_or(usize::MAX);
        self.longest.fetch_max(millis, Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
        answer
    }
}

/// Ends the load also when the test fails, so that it ends.
struct Stop<'t>(&'t Tally);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// A connection for every request.
fn anew(stage: &Stage, tally: &Tally) {
    while !tally.stopped() {
        let answer = tally.time(|| Client::plain(stage.plain).ask(OPEN));
        assert_eq!(answer.status(), 200);
    }
}

/// One connection as long as the gateway keeps it: only after an answer that says so it is replaced.
fn kept(stage: &Stage, tally: &Tally) {
    let config = Arc::new(stage.authority.client(&["http/1.1"], None));
    let connect = || Client::tls(stage.secure, Arc::clone(&config), "api.test").expect("a handshake");
    let mut client = connect();
    while !tally.stopped() {
        let answer = tally.time(|| client.ask(OPEN));
        assert_eq!(answer.status(), 200);
        if answer.field("connection") == Some("close") {
            client = connect();
        }
    }
}

/// Streams on one connection until it is told to go; those that had begun are answered.
fn streams(stage: &Stage, tally: &Tally) {
    let config = Arc::new(stage.authority.client(&["h2"], None));
    let fields: [(&str, &[u8]); 4] =
        [(":method", b"GET"), (":scheme", b"https"), (":authority", b"api.test"), (":path", b"/open/a")];
    while !tally.stopped() {
        let mut connection =
            Http2::over(Client::tls(stage.secure, Arc::clone(&config), "api.test").expect("a handshake"));
        while !tally.stopped() && connection.goaway.is_none() {
            let streams = [0; 3].map(|_| connection.request(&fields));
            for stream in streams {
                let outcome = tally.time(|| connection.outcome(stream));
                assert_eq!(outcome.status, Some(200), "{outcome:?} {:?}", connection.goaway);
            }
        }
    }
}

fn under_load(stage: &Stage, tally: &Tally, hand_over: impl FnOnce()) {
    thread::scope(|scope| {
        let _stop = Stop(tally);
        for load in [anew, anew, kept, kept, streams, streams] {
            scope.spawn(move || load(stage, tally));
        }
        some_answers(tally, 200);
        hand_over();
        some_answers(tally, 200);
    });
    stage.upstream.assert_sound();
}

fn some_answers(tally: &Tally, count: usize) {
    let before = tally.answered.load(Ordering::Relaxed);
    wait_until("requests are answered", || tally.answered.load(Ordering::Relaxed) >= before + count || tally.stopped());
}

#[test]
fn a_second_process_takes_over_and_nobody_notices() {
    let stage = Stage::new(SocketAddr::from(([127, 0, 0, 1], free_port())), "");
    let tally = Tally::default();
    let mut running = Program::start(stage.root());
    under_load(&stage, &tally, || {
        for _ in 0..3 {
            let next = Program::start(stage.root());
            some_answers(&tally, 100);
            running.signal("TERM");
            assert_eq!(running.wait().code(), Some(0));
            some_answers(&tally, 100);
            running = next;
            assert_eq!(running.status()["pid"], running.id(), "the admin socket is the new one's");
        }
    });
    let (answered, longest) = (tally.answered.into_inner(), tally.longest.into_inner());
    println!("{answered} requests over 3 hand-overs, the longest took {longest} ms");
    assert_eq!(stage.upstream.requests().len(), answered);
}

/// Starts the program with one socket on descriptor 3, as `sd_listen_fds(3)` has it.
fn activated(stage: &Stage, socket: &TcpListener) -> Program {
    let socket = OwnedFd::from(socket.try_clone().expect("a socket"));
    let line = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --config torwart.yaml run 3<&0 0</dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_torwart")]).stdin(Stdio::from(socket));
    Program::of(command, stage.root())
}

#[test]
fn who_comes_while_nobody_runs_waits_in_the_socket_that_the_manager_keeps() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let stage = Stage::new(socket.local_addr().expect("an address"), "");
    let mut first = activated(&stage, &socket);
    first.wait_until_it_answers();
    let tally = Tally::default();
    let mut second = None;
    thread::scope(|scope| {
        let _stop = Stop(&tally);
        for _ in 0..4 {
            scope.spawn(|| anew(&stage, &tally));
        }
        some_answers(&tally, 100);
        first.signal("TERM");
        assert_eq!(first.wait().code(), Some(0));
        let program = activated(&stage, &socket);
        program.wait_until_it_answers();
        second = Some(program);
        some_answers(&tally, 100);
    });
    assert!(second.is_some_and(|program| program.status()["listeners"][0] == stage.plain.to_string()));
    stage.upstream.assert_sound();
}

#[test]
fn a_socket_that_no_listener_wants_is_an_error() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let stage = Stage::new(SocketAddr::from(([127, 0, 0, 1], free_port())), "");
    let mut program = activated(&stage, &socket);
    assert_eq!(program.wait().code(), Some(2));
    let log = std::fs::read_to_string(stage.root().join("torwart.log")).expect("a log");
    assert!(
        log.contains(&format!("a socket was handed over for `{}`", socket.local_addr().expect("an address"))),
        "{log}"
    );
}

#[test]
fn the_service_manager_is_told_of_the_start_reloads_and_the_end() {
    let stage = Stage::new(SocketAddr::from(([127, 0, 0, 1], free_port())), "");
    let path = stage.root().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let told = || {
        let mut buffer = [0; 1024];
        let length = manager.recv(&mut buffer).expect("a word");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    // A watchdog is fed in between, so what is waited for comes some time.
    let wait_for = |word: &str| {
        let mut fed = 0;
        loop {
            let told = told();
            if told.contains(word) {
                return told;
            }
            fed += 1;
            assert!(told == "WATCHDOG=1" && fed < 1000, "{told:?} instead of {word}");
        }
    };
    let variables = [("NOTIFY_SOCKET", path.to_str().expect("a path")), ("WATCHDOG_USEC", "200000")];
    let mut program = Program::spawn(stage.root(), &variables);
    let ready = told();
    assert!(ready.starts_with("READY=1\nSTATUS=2 listeners, generation 1"), "{ready}");
    assert_eq!(Client::plain(stage.plain).ask(OPEN).status(), 200, "ready is ready");
    wait_for("WATCHDOG=1");
    program.signal("HUP");
    let reloading = wait_for("RELOADING=1");
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    assert!(wait_for("READY=1").contains("generation 2"));
    std::fs::write(stage.root().join("keys.json"), "{").expect("a file");
    program.signal("HUP");
    wait_for("RELOADING=1");
    assert!(wait_for("READY=1").contains("was not loaded"), "the old configuration serves on");
    program.signal("TERM");
    wait_for("STOPPING=1");
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn the_unit_files_of_the_documentation_are_in_order() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else { return };
    assert!(version.status.success());
    let directory = tempfile::tempdir().expect("a directory");
    let documented = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/systemd");
    for name in ["torwart.service", "torwart.socket"] {
        let unit = std::fs::read_to_string(documented.join(name)).expect("a unit");
        let unit = unit.replace("/usr/local/bin/torwart", env!("CARGO_BIN_EXE_torwart"));
        std::fs::write(directory.path().join(name), unit).expect("a file");
    }
    let units = ["torwart.service", "torwart.socket"].map(|name| directory.path().join(name));
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units).output().expect("a verdict");
    let told = String::from_utf8_lossy(&output.stderr);
    let about_ours: Vec<_> = told.lines().filter(|line| line.contains("torwart")).collect();
    assert!(about_ours.is_empty(), "{told}");
}

#[test]
fn too_few_file_descriptors_are_raised_as_far_as_they_may_be_or_told() {
    let stage = Stage::new(SocketAddr::from(([127, 0, 0, 1], free_port())), "limits: {connections: 400}\n");
    for (limits, told) in [("ulimit -n 512", true), ("ulimit -Sn 64", false)] {
        let _ = std::fs::remove_file(stage.root().join("torwart.log"));
        let mut command = Command::new("sh");
        let line = format!("{limits}; exec \"$0\" --config torwart.yaml run");
        command.args(["-c", &line, env!("CARGO_BIN_EXE_torwart")]).stdin(Stdio::null());
        let mut program = Program::of(command, stage.root());
        program.wait_until_it_answers();
        assert_eq!(Client::plain(stage.plain).ask(OPEN).status(), 200);
        // It answers before it tells what it noticed.
        program.signal("TERM");
        assert_eq!(program.wait().code(), Some(0));
        let log = std::fs::read_to_string(stage.root().join("torwart.log")).expect("a log");
        let warned = log.contains("512 files may be open, and `limits.connections: 400` can need ");
        assert_eq!(warned, told, "{limits}: {log}");
    }
}
