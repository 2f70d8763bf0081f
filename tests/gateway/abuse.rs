//! Attacks that ask for work without end, each for a while, with one worker for everybody: meanwhile a client that does
//! nothing wrong is served as ever, and memory does not grow.
//!
//! `TORWART_ABUSE_SECONDS=30` lets each go on for longer than the usual moment; `TORWART_ABUSE=unread` leaves out those that
//! have another name.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::Client;
use crate::support::authority::Authority;
use crate::support::process::{Program, wait_until};
use crate::support::upstream::{self, Behaviour, Upstream};
use crate::support::world::POLICY;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Where attackers come from, so that the limit of connections per address is theirs alone.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Attackers of each kind at the same time.
const ATTACKERS: usize = 2;
/// Longest time for ninety-nine of a hundred requests of the client that does nothing wrong, on a machine that has
/// nothing else to do. Its own processor and the upstream's are the attackers' too.
const PATIENCE: Duration = Duration::from_millis(250);
/// The same in the usual run, in which other tests want the processor too and one request in a hundred is the slowest.
const USUAL_PATIENCE: Duration = Duration::from_secs(5);
/// How much more memory an attack may take, in KiB.
const MEMORY: u64 = 64 * 1024;

/// What an attacker does with one connection until it is closed.
struct Attack {
    name: &'static str,
    target: Target,
    /// Sent first.
    opening: Vec<u8>,
    /// Sent over and over; the number counts the times.
    round: fn(u32) -> Vec<u8>,
    /// Between two rounds.
    pause: Duration,
    /// Whether what the gateway says is taken.
    reads: bool,
    /// Connections of one attacker at a time.
    connections: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Target {
    Http1,
    Http2,
    Tls,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request for `/open/a` in literals that no table is needed for; `method` is an index of the static table.
fn head(method: u8) -> Vec<u8> {
    [&[method, 0x86, 0x01, 8], b"api.test".as_slice(), &[0x04, 7], b"/open/a"].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

fn preface(settings: &[u8]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, settings)].concat()
}

/// Stream identifiers of clients are odd.
fn stream(number: u32) -> u32 {
    number % 0x1fff_ffff * 2 + 1
}

fn many(frames: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    frames.flatten().collect()
}

fn http2(name: &'static str, round: fn(u32) -> Vec<u8>) -> Attack {
    let (pause, connections) = (Duration::ZERO, 1);
    Attack { name, target: Target::Http2, opening: preface(&[]), round, pause, reads: true, connections }
}

fn after(opening: &[Vec<u8>], attack: Attack) -> Attack {
    Attack { opening: [attack.opening, opening.concat()].concat(), ..attack }
}

fn unread(attack: Attack) -> Attack {
    Attack { reads: false, ..attack }
}

/// Many connections that do as little as they can.
fn slow(name: &'static str, target: Target, opening: &[u8], round: fn(u32) -> Vec<u8>) -> Attack {
    let pause = Duration::from_millis(20);
    Attack { name, target, opening: opening.to_vec(), round, pause, reads: false, connections: 90 }
}

/// Those that send more than anybody needs.
fn floods() -> Vec<Attack> {
    let requests = |number: u32| {
        many((0..100).map(|one| frame(HEADERS, END_HEADERS | END_STREAM, stream(number * 100 + one), &head(GET))))
    };
    vec![
        http2("rapid reset (CVE-2023-44487)", |number| {
            many((0..100).map(|one| {
                let stream = stream(number * 100 + one);
                [
                    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(GET)),
                    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
                ]
                .concat()
            }))
        }),
        http2("made to reset (CVE-2025-8671)", |number| {
            many((0..100).map(|one| {
                let stream = stream(number * 100 + one);
                [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(GET)), frame(WINDOW_UPDATE, 0, stream, &[0; 4])]
                    .concat()
            }))
        }),
        http2("settings (CVE-2019-9515)", |_| frame(SETTINGS, 0, 0, &[]).repeat(1000)),
        unread(http2("settings, answers unread", |_| frame(SETTINGS, 0, 0, &[]).repeat(1000))),
        http2("ping (CVE-2019-9512)", |_| frame(PING, 0, 0, &[0; 8]).repeat(1000)),
        unread(http2("ping, answers unread", |_| frame(PING, 0, 0, &[0; 8]).repeat(1000))),
        http2("priority (CVE-2019-9513)", |_| many((1..1000).map(|one| frame(PRIORITY, 0, stream(one), &[0; 5])))),
        http2("window updates", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(1000)),
        after(
            &[frame(HEADERS, END_HEADERS, 1, &head(POST))],
            http2("empty data (CVE-2019-9518)", |_| frame(DATA, 0, 1, &[]).repeat(1000)),
        ),
        after(
            &[frame(HEADERS, 0, 1, &head(GET))],
            http2("empty continuation (CVE-2024-27316)", |_| frame(CONTINUATION, 0, 1, &[]).repeat(1000)),
        ),
        after(
            &[frame(HEADERS, 0, 1, &head(GET))],
            http2("continuation with fields", |_| {
                frame(CONTINUATION, 0, 1, &[&[0, 1, b'x', 1, b'y'][..]; 3000].concat()).repeat(10)
            }),
        ),
        http2("an indexed field a thousand times (CVE-2016-6581)", |number| {
            // One field of four thousand bytes put into the table, then named by a byte each.
            let long = [&[0x40, 1, b'a', 0x7f, 0x9d, 0x1e][..], &[b'x'; 3996]].concat();
            let block = [head(GET), long, vec![0xbe; 12_000]].concat();
            frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &block)
        }),
        Attack {
            opening: preface(&[0, 4, 0, 0, 0, 0]),
            ..unread(http2("requests whose answers have no window", requests))
        },
        unread(http2("requests whose answers are not read", requests)),
        http2("frames of an unknown type", |_| frame(0x77, 0, 0, &[]).repeat(1000)),
    ]
}

/// Those that do as little as they can, or leave to others what they have asked for.
fn idlers() -> Vec<Attack> {
    vec![
        slow("handshakes that never begin", Target::Tls, b"", |_| Vec::new()),
        slow("handshakes that drip", Target::Tls, &[0x16, 3, 1, 2, 0, 1], |_| vec![0]),
        slow("heads that drip", Target::Http1, b"GET /open/a HTTP/1.1\r\nHost: api.test\r\n", |_| b"X".to_vec()),
        slow(
            "bodies that drip",
            Target::Http1,
            b"POST /open/a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 100000\r\n\r\n",
            |_| b"x".to_vec(),
        ),
        slow("answers that nobody takes", Target::Http1, b"GET /open/big HTTP/1.1\r\nHost: api.test\r\n\r\n", |_| {
            Vec::new()
        }),
        Attack {
            pause: Duration::ZERO,
            connections: 10,
            ..slow("pipelined requests, unread", Target::Http1, b"", |_| {
                b"GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n".repeat(100)
            })
        },
    ]
}

/// Answers with little, or with more than fits anywhere.
fn behaviour() -> Behaviour {
    let big = [b"HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n\r\n".as_slice(), &vec![b'x'; 16 << 20]].concat();
    Arc::new(move |request, stream| {
        let small = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        upstream::answer(stream, if request.target() == "/open/big" { &big } else { small })
    })
}

/// A connection of an attacker's. Writing does not wait for long.
fn connect(address: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(ELSEWHERE, 0).into()).expect("an address");
    socket.connect_timeout(&address.into(), Duration::from_secs(5)).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    Some(stream)
}

fn drain(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    let mut buffer = [0; 8 * 1024];
    let open = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(error) => break error.kind() == std::io::ErrorKind::WouldBlock,
        }
    };
    stream.set_nonblocking(false).expect("a socket");
    open
}

/// Lets time pass: what an attack, and who is honest beside it, do takes time and ends with nothing that could be waited for.
fn pause(time: Duration) {
    let begun = Instant::now();
    while let Some(left) = time.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// Attacks until it is told to stop, again and again over new connections; gives how many were closed on it.
fn run(attack: &Attack, address: SocketAddr, stop: &AtomicBool) -> u64 {
    let mut closed = 0;
    let mut open: Vec<(TcpStream, u32)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while open.len() < attack.connections {
            let Some(mut stream) = connect(address) else { break };
            let _ = stream.write_all(&attack.opening);
            open.push((stream, 0));
        }
        open.retain_mut(|(stream, number)| {
            *number += 1;
            let sent = stream.write_all(&(attack.round)(*number));
            // Bytes of which the rest could not be sent cannot be followed by others.
            let full = sent.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            let keep = if full { attack.connections > 1 } else { sent.is_ok() } && (!attack.reads || drain(stream));
            closed += u64::from(!keep);
            keep
        });
        pause(attack.pause);
    }
    closed
}

/// Asks twenty times a second, half of the times over a new connection; gives how long each took.
fn honest(address: SocketAddr, stop: &AtomicBool) -> Vec<Duration> {
    let request = "GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n";
    let mut took = Vec::new();
    let mut kept = Client::plain(address);
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        if took.len() % 2 == 0 {
            assert_eq!(Client::plain(address).ask(request).status(), 200);
        } else {
            assert_eq!(kept.ask(request).status(), 200);
        }
        took.push(begun.elapsed());
        pause(Duration::from_millis(50).saturating_sub(begun.elapsed()));
    }
    took
}

struct World {
    program: Program,
    #[expect(dead_code, reason = "held, not asked")]
    upstream: Upstream,
    #[expect(dead_code, reason = "held, not asked")]
    directory: tempfile::TempDir,
    ports: [SocketAddr; 3],
}

fn world() -> World {
    let upstream = Upstream::start(behaviour());
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    Authority::new().leaf(&["api.test"]).write(root, "leaf");
    std::fs::create_dir(root.join("policies")).expect("a directory");
    std::fs::write(root.join("policies/api.yaml"), POLICY).expect("a file");
    let keys = crate::support::tokens::Issuer::new().key_set().to_string();
    std::fs::write(root.join("keys.json"), keys).expect("a file");
    let ports = [(); 3].map(|()| crate::support::process::free_port());
    let [one, two, tls] = ports;
    let admin = root.join("admin.sock");
    let text = format!(
        "version: 1\nworkers: 1\nlisteners:\n  - {{address: \"127.0.0.1:{one}\"}}\n  \
         - {{address: \"127.0.0.1:{two}\", protocols: [h2]}}\n  - {{address: \"127.0.0.1:{tls}\", tls: {{certificates: \
         [{{certificate: leaf.pem, key: leaf.key}}]}}}}\nissuers:\n  - {{name: shoen, issuer: \"https://a.test\", \
         audiences: [a], jwks_file: keys.json}}\nupstreams:\n  api: {{endpoints: [\"http://{}\"], timeouts: {{idle: 1s}}}}\n\
         admin: {{address: \"unix:{}\"}}\nlogging: {{level: error}}\naudit: {{path: /dev/null}}\n\
         limits: {{connections_per_address: 200, header_timeout: 2s, tls_handshake_timeout: 2s, body_idle_timeout: 2s}}\n",
        upstream.address,
        admin.display()
    );
    std::fs::write(root.join("torwart.yaml"), text).expect("a file");
    let ports = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    World { program: Program::start(root), upstream, directory, ports }
}

/// How long each attack goes on, and the longest time that others may wait.
fn terms() -> (Duration, Duration) {
    match std::env::var("TORWART_ABUSE_SECONDS") {
        Ok(seconds) => (Duration::from_secs(seconds.parse().expect("a number of seconds")), PATIENCE),
        Err(_) => (Duration::from_secs(1), USUAL_PATIENCE),
    }
}

#[test]
fn under_every_attack_others_are_served_and_memory_is_bounded() {
    let world = world();
    let World { program, ports: [http1, http2, tls], .. } = &world;
    // What the program takes when it has served a while.
    let warm = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| honest(*http1, &warm));
        pause(Duration::from_millis(500));
        warm.store(true, Ordering::Relaxed);
    });
    let (few, (lasting, patience)) = (program.descriptors(), terms());
    let mut faults = Vec::new();
    let only = std::env::var("TORWART_ABUSE").unwrap_or_default();
    for attack in floods().into_iter().chain(idlers()).filter(|attack| attack.name.contains(&only)) {
        let address = match attack.target {
            Target::Http1 => *http1,
            Target::Http2 => *http2,
            Target::Tls => *tls,
        };
        let before = program.resident();
        let (stop, closed, most) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(before));
        let mut took = thread::scope(|scope| {
            for _ in 0..ATTACKERS {
                scope.spawn(|| closed.fetch_add(run(&attack, address, &stop), Ordering::Relaxed));
            }
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    most.fetch_max(program.resident(), Ordering::Relaxed);
                    pause(Duration::from_millis(20));
                }
            });
            let control = scope.spawn(|| honest(*http1, &stop));
            pause(lasting);
            stop.store(true, Ordering::Relaxed);
            control.join().expect("it is served")
        });
        took.sort();
        let slowest = took[(took.len() * 99).div_ceil(100) - 1];
        let grown = most.into_inner() - before;
        let line = format!(
            "{}: {} requests of others, 99 % within {slowest:?}; {grown} KiB more; {} connections closed",
            attack.name,
            took.len(),
            closed.into_inner()
        );
        println!("{line}");
        if slowest > patience || grown > MEMORY {
            faults.push(line);
        }
    }
    wait_until("everybody is gone", || program.descriptors() < few + 16);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
