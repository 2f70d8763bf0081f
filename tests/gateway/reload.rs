//! Reload: every kind of file is watched, what is broken changes nothing, and nobody ever sees a mixture.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::authority::Authority;
use crate::support::http2::Http2;
use crate::support::process::{Program, free_port, wait_until};
use crate::support::upstream::{Behaviour, Upstream};
use crate::support::world::{Gateway, POLICY};
use crate::support::{Client, World, upstream};

const OPEN: &str = "GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n";

/// A key of HMAC, long enough.
const SECRET: &str = "a secret of at least thirty-two bytes, one";

/// How often the configuration is replaced, half of the times by a broken one.
const ROUNDS: usize = 200;

/// Waits for the next generation while `change` is made.
fn next_generation(gateway: &Gateway, what: &str, change: impl FnOnce()) {
    let before = gateway.snapshots.current().generation;
    change();
    wait_until(what, || gateway.snapshots.current().generation > before);
    assert_eq!(gateway.snapshots.last_error(), None, "{what}");
}

/// A gateway that reads every kind of file; `shared` holds one that its policy names.
fn with_every_kind_of_file(policy: &str) -> Gateway {
    let up = Authority::new();
    let leaf = up.leaf(&["up.test"]);
    World::new()
        .policies(&[policy])
        .listeners(
            "  - {address: \"127.0.0.1:0\"}\n  - address: \"127.0.0.1:0\"\n    tls:\n      certificates: \
             [{certificate: leaf.pem, key: leaf.key}]\n      client_certificates: {mode: optional, ca: ca.pem}\n",
        )
        .issuer(
            "  - {name: hmac, issuer: \"https://hmac.test\", audiences: [a], algorithms: [HS256], secret_file: hmac}\n  \
             - name: opaque\n    issuer: https://opaque.test\n    audiences: [a]\n    jwks_file: keys.json\n    \
             tls: {ca: issuer-ca.pem}\n    introspection: {endpoint: \"https://127.0.0.1:1/\", client_id: g, client_secret_file: secret}\n",
        )
        // The braces of the usual upstream end early, so that there is room for another one.
        .upstream(
            "max_connections: 9}\n  up: {endpoints: [\"https://127.0.0.1:1\"], \
             tls: {ca: up-ca.pem, certificate: up.pem, key: up.key}",
        )
        .with("admin: {address: \"127.0.0.1:0\", token_file: token}")
        .file("hmac", SECRET)
        .file("secret", "one")
        .file("token", "one")
        .file("issuer-ca.pem", &up.pem())
        .file("up-ca.pem", &up.pem())
        .file("up.pem", &leaf.certificate)
        .file("up.key", &leaf.key)
        .start()
}

#[test]
fn a_change_of_every_kind_of_file_is_noticed() {
    let shared = tempfile::tempdir().expect("a directory");
    let header = shared.path().join("header");
    std::fs::write(&header, "one").expect("a file");
    let file = format!("require: authenticated, forward: {{headers: {{X-Secret: {{file: {}}}}}}}}}", header.display());
    let policy = POLICY.replace("upstream: api", "upstream: api\nissuers: [shoen]");
    let policy = policy.replace("require: authenticated}", &file);
    let gateway = with_every_kind_of_file(&policy);
    let _watch = gateway.snapshots.watch().expect("a watch");
    let root = gateway.directory.path();
    let other = Authority::new();
    let texts = [
        ("policies/0.yaml", policy.replace("path: /me", "path: /you")),
        (
            "policies/new.yaml",
            policy.replace("policy: api", "policy: new").replace("api.test, \"127.0.0.1\"", "new.test"),
        ),
        ("keys.json", crate::support::tokens::Issuer::new().key_set().to_string()),
        ("hmac", SECRET.replace("one", "two")),
        ("secret", "two".to_owned()),
        ("token", "two".to_owned()),
        ("ca.pem", other.pem()),
        ("issuer-ca.pem", other.pem()),
        ("up-ca.pem", other.pem()),
    ];
    for (name, text) in &texts {
        next_generation(&gateway, name, || gateway.write(name, text));
    }
    next_generation(&gateway, "a header's file", || std::fs::write(&header, "two").expect("a file"));
    next_generation(&gateway, "torwart.yaml", || gateway.edit("workers: 1", "workers: 1\nx-any: thing"));
    next_generation(&gateway, "a pair towards upstreams", || other.leaf(&["up.test"]).write(root, "up"));
    next_generation(&gateway, "a directory of policies", || {
        std::fs::create_dir(root.join("policies/more")).expect("a directory");
        let text = policy.replace("policy: api", "policy: more").replace("api.test, \"127.0.0.1\"", "more.test");
        gateway.write("policies/more/deep.yaml", &text);
    });
    next_generation(&gateway, "a file taken away", || {
        std::fs::remove_file(root.join("policies/new.yaml")).expect("a file");
    });
    let generation = gateway.snapshots.current().generation;
    gateway.write("notes.txt", "nobody reads this");
    gateway.write("keys.json", &std::fs::read_to_string(root.join("keys.json")).expect("a file"));
    next_generation(&gateway, "the last change", || gateway.write("token", "three"));
    assert_eq!(gateway.snapshots.current().generation, generation + 1, "what is the same or not read is no change");
}

#[test]
fn a_certificate_and_its_key_come_into_force_together() {
    let gateway = World::new().start();
    let _watch = gateway.snapshots.watch().expect("a watch");
    let other = Authority::new();
    let leaf = other.leaf(&["api.test"]);
    let shown = |authority: &Authority| {
        let config = Arc::new(authority.client(&["http/1.1"], None));
        Client::tls(gateway.secure(), config, "api.test").is_ok_and(|mut client| client.ask(OPEN).status() == 200)
    };
    gateway.write("leaf.pem", &leaf.certificate);
    wait_until("the mismatch is told", || gateway.snapshots.last_error().is_some());
    let told = gateway.snapshots.last_error().expect("an error");
    assert!(told.contains("leaf.pem") && told.contains("leaf.key") && told.contains("do not work together"), "{told}");
    assert!(shown(&gateway.authority) && !shown(&other), "the old pair is in force");
    next_generation(&gateway, "the key", || gateway.write("leaf.key", &leaf.key));
    assert!(shown(&other) && !shown(&gateway.authority), "the new pair is in force");
}

#[test]
fn a_file_that_was_missing_is_noticed_when_it_comes() {
    let gateway = World::new().start();
    let _watch = gateway.snapshots.watch().expect("a watch");
    gateway.edit("leaf.pem, key: leaf.key", "new/leaf.pem, key: new/leaf.key");
    wait_until("it is missing", || gateway.snapshots.last_error().is_some_and(|told| told.contains("new/leaf.pem")));
    next_generation(&gateway, "the missing files", || {
        std::fs::create_dir(gateway.directory.path().join("new")).expect("a directory");
        gateway.authority.leaf(&["api.test"]).write(&gateway.directory.path().join("new"), "leaf");
    });
}

/// What is mounted at one moment: a side, and what is broken about it.
struct Mounted<'m> {
    side: &'m str,
    upstream: SocketAddr,
    broken: Option<usize>,
}

/// A mounted `ConfigMap`: all files are links through `..data`, which is swapped.
struct Mount<'m> {
    root: &'m Path,
    authority: &'m Authority,
    keys: String,
    port: u16,
}

impl Mount<'_> {
    /// In how many ways a configuration is broken.
    const FAULTS: usize = 6;

    fn swap(&self, number: usize, mounted: &Mounted<'_>) {
        let data = self.root.join(format!("..{number}"));
        std::fs::create_dir_all(data.join("policies")).expect("a directory");
        self.authority.leaf(&["api.test"]).write(&data, "leaf");
        let Mounted { side, upstream, broken } = mounted;
        let mut files = [
            ("torwart.yaml", self.configuration(*upstream)),
            (
                "policies/api.yaml",
                POLICY.replace(
                    "unbound: [rest]}",
                    &format!("unbound: [rest], forward: {{headers: {{X-Side: {side}}}}}}}"),
                ),
            ),
            ("keys.json", self.keys.clone()),
        ];
        match broken {
            Some(0) => files[0].1.push_str("unknown: key\n"),
            Some(1) => files[1].1.push_str("  - {path: \n"),
            Some(2) => files[2].1.truncate(9),
            Some(3) => std::fs::write(data.join("leaf.key"), self.authority.leaf(&["api.test"]).key).expect("a file"),
            Some(4) => std::fs::remove_file(data.join("leaf.pem")).expect("a file"),
            Some(_) => files[1].1 = files[1].1.replace("upstream: api", "upstream: nobody"),
            None => {}
        }
        for (name, text) in &files {
            std::fs::write(data.join(name), text).expect("a file");
        }
        symlink(format!("..{number}"), self.root.join("..next")).expect("a link");
        std::fs::rename(self.root.join("..next"), self.root.join("..data")).expect("a link");
        if let Some(before) = number.checked_sub(1) {
            std::fs::remove_dir_all(self.root.join(format!("..{before}"))).expect("a directory");
        }
    }

    fn configuration(&self, upstream: SocketAddr) -> String {
        let (root, port) = (self.root.display(), self.port);
        format!(
            "version: 1\nworkers: 2\nlisteners:\n  - {{address: \"127.0.0.1:{port}\", tls: {{certificates: \
             [{{certificate: leaf.pem, key: leaf.key}}]}}}}\nissuers:\n  - {{name: shoen, issuer: \"https://a.test\", \
             audiences: [a], jwks_file: keys.json}}\nupstreams:\n  api: {{endpoints: [\"http://{upstream}\"]}}\n\
             admin: {{address: \"unix:{root}/admin.sock\"}}\nlogging: {{level: error}}\naudit: {{path: /dev/null}}\n"
        )
    }
}

/// Answers with its name, and with something else whoever was told to go elsewhere.
fn side(name: &'static str) -> Behaviour {
    Arc::new(move |request, stream| {
        let body = if request.field("x-side") == Some(name) { name } else { "x" };
        upstream::answer(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{body}").as_bytes())
    })
}

#[test]
fn two_hundred_reloads_under_load_fail_no_request_mix_nothing_and_leave_no_memory_behind() {
    let sides = [("a", Upstream::start(side("a"))), ("b", Upstream::start(side("b")))];
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let mount = Mount {
        root: directory.path(),
        authority: &authority,
        keys: crate::support::tokens::Issuer::new().key_set().to_string(),
        port: free_port(),
    };
    for name in ["torwart.yaml", "policies", "keys.json", "leaf.pem", "leaf.key"] {
        symlink(format!("..data/{name}"), mount.root.join(name)).expect("a link");
    }
    mount.swap(0, &Mounted { side: "a", upstream: sides[0].1.address, broken: None });
    let mut program = Program::start(mount.root);
    let address = SocketAddr::from(([127, 0, 0, 1], mount.port));
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut figures = Vec::new();
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        for load in [http1_load, http1_load, http1_anew_load, http2_load] {
            let (stop, asked, authority) = (&stop, &asked, &authority);
            scope.spawn(move || load(address, authority, &|| stop.load(Ordering::Relaxed), asked));
        }
        for round in 1..=ROUNDS {
            let broken = (round % 2 == 1).then_some(round / 2 % Mount::FAULTS);
            let (side, upstream) = &sides[round / 2 % 2];
            mount.swap(round, &Mounted { side, upstream: upstream.address, broken });
            // The watch sees the swap as well, and a signal comes now and then: they may fall together in any way.
            if round % 10 == 0 {
                program.signal("HUP");
            }
            assert_eq!(program.reload(), broken.is_none(), "round {round}: {}", program.status());
            let ready = program.ask("GET", "/readyz").expect("an answer");
            assert_eq!((ready.0, ready.1.contains("was not loaded")), (200, broken.is_some()), "{}", ready.1);
            if round == 20 || round == ROUNDS {
                figures.push((program.resident(), program.descriptors()));
            }
        }
    });
    let asked = asked.load(Ordering::Relaxed);
    let (ok, error) = (reloads(&program, "ok"), reloads(&program, "error"));
    println!(
        "{asked} requests, {ok} good and {error} broken reloads; (KiB, descriptors) after 20 and 200: {figures:?}"
    );
    assert!(ok >= 100.0 && error >= 100.0 && asked > 1000);
    // The watch may have found one more since.
    let generation = || program.metric("torwart_config_generation");
    wait_until("as many generations as good reloads", || (generation() - reloads(&program, "ok")).abs() < 0.5);
    let seen: Vec<usize> = sides.iter().map(|(_, upstream)| upstream.requests().len()).collect();
    assert_eq!(seen.iter().sum::<usize>(), asked, "each request reached one upstream once");
    assert!(seen.iter().all(|seen| *seen > 100), "{seen:?}");
    let [(early, few), (late, many)] = figures[..] else { panic!("two figures") };
    assert!(late < early + 8 * 1024, "{early} KiB after 20 reloads, {late} KiB after {ROUNDS}");
    assert!(many < few + 16, "{few} descriptors after 20 reloads, {many} after {ROUNDS}");
    program.signal("TERM");
    assert_eq!(program.wait().code(), Some(0));
}

/// Ends the load also when the test fails, so that it ends.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn reloads(program: &Program, result: &str) -> f64 {
    program.metric(&format!("torwart_config_reloads_total{{result=\"{result}\"}}"))
}

fn http1_load(address: SocketAddr, authority: &Authority, stop: &dyn Fn() -> bool, asked: &AtomicUsize) {
    let config = Arc::new(authority.client(&["http/1.1"], None));
    let mut client = Client::tls(address, config, "api.test").expect("a handshake");
    while !stop() {
        let answer = client.ask(OPEN);
        asked.fetch_add(1, Ordering::Relaxed);
        assert!(answer.status() == 200 && matches!(answer.text(), "a" | "b"), "{answer:?}");
    }
}

/// A new connection, and with it a handshake, for every request.
fn http1_anew_load(address: SocketAddr, authority: &Authority, stop: &dyn Fn() -> bool, asked: &AtomicUsize) {
    let config = Arc::new(authority.client(&["http/1.1"], None));
    while !stop() {
        let mut client = Client::tls(address, Arc::clone(&config), "api.test").expect("a handshake");
        let answer = client.ask(OPEN);
        asked.fetch_add(1, Ordering::Relaxed);
        assert!(answer.status() == 200 && matches!(answer.text(), "a" | "b"), "{answer:?}");
    }
}

/// Several streams at once on one connection.
fn http2_load(address: SocketAddr, authority: &Authority, stop: &dyn Fn() -> bool, asked: &AtomicUsize) {
    let config = Arc::new(authority.client(&["h2"], None));
    let client = Client::tls(address, config, "api.test").expect("a handshake");
    let mut connection = Http2::over(client);
    let fields: [(&str, &[u8]); 4] =
        [(":method", b"GET"), (":scheme", b"https"), (":authority", b"api.test"), (":path", b"/open/a")];
    while !stop() {
        let streams = [0; 4].map(|_| connection.request(&fields));
        for stream in streams {
            let outcome = connection.outcome(stream);
            asked.fetch_add(1, Ordering::Relaxed);
            assert!(outcome.status == Some(200) && matches!(outcome.body.as_slice(), b"a" | b"b"), "{outcome:?}");
        }
    }
}
