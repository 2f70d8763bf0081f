//! What is revoked is refused at once, wherever it was known before, and what it opened ends (tokens.md, "revocation").

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use torwart::authn::revocation::{Id, Order, Revoked};
use torwart::clock::Timestamp;

use crate::support::http2::Http2;
use crate::support::upstream::Behaviour;
use crate::support::world::{ALICE, BOB, Gateway, POLICY};
use crate::support::{After, Client, World, upstream};
use crate::upstreams::WEBSOCKET;

/// Longest time that something revoked may go on.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A second issuer, with the keys of the first, whose tokens are accepted as well.
const OTHER: &str =
    "  - {name: other, issuer: \"https://other.test\", audiences: [\"https://api.test\"], jwks_file: keys.json}\n";

fn revoke(gateway: &Gateway, order: Order<'_>) -> Revoked {
    let made = gateway.snapshots.current().issuers.revoke("shoen", order, None, Timestamp::now());
    made.unwrap_or_else(|error| panic!("{error}"))
}

fn take_back(gateway: &Gateway, id: &Id) {
    let taken = gateway.snapshots.current().issuers.register().revocations().take_back(id);
    assert!(taken.expect("nothing is written").is_some());
}

/// The status and challenge of a request with this token.
fn ask(gateway: &Gateway, token: &str) -> (u16, String) {
    let answer = gateway.client().ask(get(token, ""));
    (answer.status(), answer.field("www-authenticate").unwrap_or_default().to_owned())
}

fn get(token: &str, lines: &str) -> String {
    format!("GET /me HTTP/1.1\r\nHost: api.test\r\n{lines}Authorization: Bearer {token}\r\n\r\n")
}

fn now() -> i64 {
    Timestamp::now().0
}

#[test]
fn every_kind_refuses_a_remembered_token_at_once_and_lets_go_of_it_again() {
    let mut gateway = World::new().start();
    let named = gateway.token(&json!({"sub": ALICE, "client_id": "shop", "jti": "t-1", "iat": now() - 60}));
    let nameless = gateway.token(&json!({"sub": ALICE, "client_id": "shop", "iat": now() - 60}));
    let other = gateway.token(&json!({"sub": BOB, "client_id": "app", "jti": "t-2", "iat": now()}));
    let orders = [
        (&named, Order::TokenId("t-1")),
        (&named, Order::Token(&named)),
        (&nameless, Order::Token(&nameless)),
        (&named, Order::Subject(ALICE)),
        (&named, Order::Client("shop")),
        (&named, Order::IssuedBefore(Timestamp(now() - 1))),
    ];
    for (token, order) in orders {
        assert_eq!(ask(&gateway, token).0, 200);
        let made = revoke(&gateway, order);
        let (status, challenge) = ask(&gateway, token);
        assert_eq!(status, 401, "{order:?}");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert_eq!(ask(&gateway, &other).0, 200, "{order:?}");
        take_back(&gateway, &made.revocation.id);
        assert_eq!(ask(&gateway, token).0, 200, "{order:?}");
    }
    assert_eq!(gateway.upstream.requests().len(), 3 * orders.len());
    let refused: Vec<_> = gateway.records().into_iter().filter(|record| record["status"] == 401).collect();
    assert_eq!(refused.len(), orders.len());
    assert!(refused.iter().all(|record| record.to_string().contains("revoked")), "{:#?}", refused[0]);
}

#[test]
fn a_token_that_was_never_seen_is_refused_as_well() {
    let gateway = World::new().start();
    revoke(&gateway, Order::Subject(ALICE));
    assert_eq!(ask(&gateway, &gateway.alice()).0, 401);
    assert_eq!(ask(&gateway, &gateway.alice()).0, 401, "and once it is remembered");
    gateway.upstream.assert_silent();
}

#[test]
fn the_same_subject_of_another_issuer_is_somebody_else() {
    let policy = POLICY.replace("upstream: api", "upstream: api\nissuers: [shoen, other]");
    let gateway = World::new().issuer(OTHER).policies(&[&policy]).start();
    let other = gateway.token(&json!({"sub": ALICE, "iss": "https://other.test", "jti": "t-1", "client_id": "app"}));
    for order in
        [Order::Subject(ALICE), Order::Client("app"), Order::TokenId("t-1"), Order::IssuedBefore(Timestamp(now()))]
    {
        revoke(&gateway, order);
        assert_eq!(ask(&gateway, &other).0, 200, "{order:?}");
    }
    assert_eq!(ask(&gateway, &gateway.alice()).0, 401);
}

#[test]
fn a_subject_without_case_is_revoked_in_every_spelling() {
    let gateway = World::new().issuer("    claims_case: {insensitive: [sub]}\n").start();
    let token = |subject: &str| gateway.token(&json!({"sub": subject}));
    assert_eq!(ask(&gateway, &token("müller")).0, 200);
    revoke(&gateway, Order::Subject("MÜLLER"));
    assert_eq!(ask(&gateway, &token("müller")).0, 401);
    assert_eq!(ask(&gateway, &token("Müller")).0, 401);
    assert_eq!(ask(&gateway, &token("mueller")).0, 200);
}

#[test]
fn where_case_begins_to_matter_less_a_reload_is_enough() {
    let gateway = World::new().issuer("    claims_case: {insensitive: []}\n").start();
    let token = |subject: &str| gateway.token(&json!({"sub": subject}));
    revoke(&gateway, Order::Subject("Müller"));
    assert_eq!(ask(&gateway, &token("müller")).0, 200);
    gateway.edit("insensitive: []", "insensitive: [sub]");
    gateway.snapshots.reload().unwrap_or_else(|problems| panic!("{}", problems.render()));
    assert_eq!(ask(&gateway, &token("müller")).0, 401);
}

#[test]
fn revocations_survive_reloads_also_where_they_are_kept_nowhere() {
    let gateway = World::new().start();
    revoke(&gateway, Order::Subject(ALICE));
    gateway.edit("name: shoen\n", "name: shoen\n    leeway: 10s\n");
    gateway.snapshots.reload().unwrap_or_else(|problems| panic!("{}", problems.render()));
    assert_eq!(ask(&gateway, &gateway.alice()).0, 401);
    assert_eq!(ask(&gateway, &gateway.token(&json!({"sub": BOB}))).0, 200);
}

#[test]
fn revocations_survive_a_restart_in_the_state_directory() {
    let mut gateway = World::new().with("state: {directory: state}").start();
    revoke(&gateway, Order::Subject(ALICE));
    let bob = revoke(&gateway, Order::Subject(BOB));
    take_back(&gateway, &bob.revocation.id);
    gateway.restart().expect("it starts again");
    assert_eq!(ask(&gateway, &gateway.alice()).0, 401);
    assert_eq!(ask(&gateway, &gateway.token(&json!({"sub": BOB}))).0, 200);
}

#[test]
fn a_file_of_revocations_that_cannot_be_read_is_no_empty_one() {
    let mut gateway = World::new().with("state: {directory: state}").start();
    revoke(&gateway, Order::Subject(ALICE));
    let path = gateway.directory.path().join("state/revocations.log");
    let text = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(path, text.replace("\"subject\"", "\"object\"")).expect("a file");
    let problems = gateway.restart().expect_err("what it held is not known");
    assert!(problems.contains("revocations: ") && problems.contains("line 2"), "{problems}");
}

/// Begins an answer of one chunk or one frame and goes on only when the connection ends; every stream is alive for the
/// whole test.
fn begun() -> Behaviour {
    Arc::new(|request, stream| {
        let first: &[u8] = if request.field("upgrade").is_some() {
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x82\x01a"
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
              9\r\ndata: a\n\n\r\n"
        };
        upstream::answer(stream, first)
    })
}

/// Sends chunks as fast as they are taken.
fn pouring() -> Behaviour {
    Arc::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
        while stream.write_all(&chunk).is_ok() {}
        After::Close
    })
}

fn read_until(client: &mut Client, end: &[u8]) {
    let mut seen = Vec::new();
    while !seen.ends_with(end) {
        seen.extend(client.bytes(1).expect("more"));
    }
}

#[test]
fn an_event_stream_ends_within_a_second_not_cleanly_and_others_go_on() {
    let mut gateway = World::new().answering(begun()).start();
    let (alice, bob) = (gateway.alice(), gateway.token(&json!({"sub": BOB})));
    let mut clients = [&alice, &bob].map(|token| {
        let mut client = gateway.client();
        client.send(get(token, ""));
        read_until(&mut client, b"data: a\n\n\r\n");
        client
    });
    // One that is told at once, and one that follows it too closely and is told with the next tick.
    revoke(&gateway, Order::Client("nobody"));
    revoke(&gateway, Order::Subject(ALICE));
    let revoked = Instant::now();
    assert_eq!(clients[0].rest(), b"", "no last chunk");
    assert!(revoked.elapsed() < AT_ONCE, "{:?}", revoked.elapsed());
    // A client sees its connection end a moment before its place is free.
    while gateway.connections() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(gateway.connections(), 1, "the other one is still there");
    revoke(&gateway, Order::Subject(BOB));
    clients[1].assert_closed();
    drop(clients);
    assert_eq!(gateway.records().len(), 2);
}

#[test]
fn a_stream_that_never_pauses_ends_as_well() {
    let gateway = World::new().answering(pouring()).start();
    let mut client = gateway.client();
    client.send(get(&gateway.alice(), ""));
    client.bytes(100_000).expect("a lot");
    revoke(&gateway, Order::Subject(ALICE));
    let revoked = Instant::now();
    let rest = client.rest();
    assert!(revoked.elapsed() < AT_ONCE && !rest.ends_with(b"0\r\n\r\n"), "{:?}", revoked.elapsed());
}

#[test]
fn a_websocket_ends_within_a_second_and_says_why_rfc_6455_section_7_4_1() {
    for follows in ["true", "false"] {
        let limit = format!("stream_follows_token: {follows}");
        let gateway = World::new().answering(begun()).limit(&limit).start();
        let mut client = gateway.client();
        client.send(get(&gateway.alice(), WEBSOCKET));
        read_until(&mut client, b"\r\n\r\n\x82\x01a");
        revoke(&gateway, Order::Subject(BOB));
        revoke(&gateway, Order::IssuedBefore(Timestamp(now())));
        let revoked = Instant::now();
        assert_eq!(client.bytes(4).expect("a close frame"), [0x88, 2, 0x03, 0xf0]);
        assert!(revoked.elapsed() < AT_ONCE, "{follows}: {:?}", revoked.elapsed());
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn a_stream_that_may_outlive_its_token_still_ends_when_it_is_revoked() {
    let gateway = World::new().answering(begun()).limit("stream_follows_token: false").start();
    let mut client = gateway.client();
    // Valid only by the leeway, and for a second or two.
    client.send(get(&gateway.token(&json!({"sub": ALICE, "exp": now() - 29})), ""));
    read_until(&mut client, b"data: a\n\n\r\n");
    revoke(&gateway, Order::Subject(ALICE));
    let revoked = Instant::now();
    assert_eq!(client.rest(), b"");
    assert!(revoked.elapsed() < AT_ONCE, "{:?}", revoked.elapsed());
}

#[test]
fn streams_over_http2_end_and_their_connection_goes_on() {
    let gateway = World::new().answering(begun()).start();
    let config = Arc::new(gateway.authority.client(&["h2"], None));
    let mut connection = Http2::over(Client::tls(gateway.secure(), config, "api.test").expect("a handshake"));
    let bearer = [gateway.alice(), gateway.token(&json!({"sub": BOB}))].map(|token| format!("Bearer {token}"));
    let mut begin = |bearer: &str| {
        let stream = connection.request(&[
            (":method", b"GET"),
            (":scheme", b"https"),
            (":authority", b"api.test"),
            (":path", b"/me"),
            ("authorization", bearer.as_bytes()),
        ]);
        while connection.so_far(stream).body.is_empty() {
            connection.step();
        }
        stream
    };
    let (first, second) = (begin(&bearer[0]), begin(&bearer[1]));
    revoke(&gateway, Order::Subject(ALICE));
    let revoked = Instant::now();
    while connection.so_far(first).reset.is_none() {
        connection.step();
    }
    assert!(revoked.elapsed() < AT_ONCE, "{:?}", revoked.elapsed());
    assert!(!connection.closed && connection.so_far(second).reset.is_none());
}

#[test]
fn a_websocket_over_http2_is_closed_with_its_reason() {
    // The gateway makes the key of the handshake, so the upstream has to answer it.
    let gateway = World::new().answering(crate::tunnels::echoing()).start();
    let config = Arc::new(gateway.authority.client(&["h2"], None));
    let mut connection = Http2::over(Client::tls(gateway.secure(), config, "api.test").expect("a handshake"));
    let bearer = format!("Bearer {}", gateway.alice());
    let stream = connection.begin(&[
        (":method", b"CONNECT"),
        (":protocol", b"websocket"),
        (":scheme", b"https"),
        (":authority", b"api.test"),
        (":path", b"/me"),
        ("sec-websocket-version", b"13"),
        ("authorization", bearer.as_bytes()),
    ]);
    connection.data(stream, b"\x82\x01a", false);
    while connection.so_far(stream).body.len() < 3 {
        connection.step();
    }
    revoke(&gateway, Order::Subject(ALICE));
    let revoked = Instant::now();
    while connection.so_far(stream).body.len() < 7 {
        connection.step();
    }
    assert!(revoked.elapsed() < AT_ONCE, "{:?}", revoked.elapsed());
    assert_eq!(connection.so_far(stream).body, b"\x82\x01a\x88\x02\x03\xf0");
}

#[test]
fn a_request_whose_body_was_still_on_its_way_is_refused() {
    const BODIES: &str = r#"
version: 1
policy: api
hosts: [api.test]
upstream: api
routes:
  - {path: /orders, methods: [POST], require: {subject: "{body./customer}"}}
"#;
    let gateway = World::new().policies(&[BODIES]).start();
    let body = json!({"customer": ALICE}).to_string();
    let head = format!(
        "POST /orders HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        gateway.alice(),
        body.len()
    );
    let mut client = gateway.client();
    client.send(&head);
    // The gateway asks for the body after it has looked at the token.
    read_until(&mut client, b"100 Continue\r\n\r\n");
    revoke(&gateway, Order::Subject(ALICE));
    client.send(&body);
    assert_eq!(client.receive().status(), 401);
    gateway.upstream.assert_silent();
}

#[test]
fn many_requests_while_revocations_come_and_go_are_decided_by_the_last_that_returned() {
    let gateway = World::new().workers(2).start();
    let (alice, bob): (String, String) = (gateway.alice(), gateway.token(&json!({"sub": BOB})));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = gateway.client();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(client.ask(get(&bob, "")).status(), 200);
            }
        });
        for _ in 0..50 {
            let made = revoke(&gateway, Order::Subject(ALICE));
            assert_eq!(ask(&gateway, &alice).0, 401);
            take_back(&gateway, &made.revocation.id);
            assert_eq!(ask(&gateway, &alice).0, 200);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
