//! The invariants of building-blocks.md section 6.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::http2::Http2;
use crate::support::world::{ALICE, BOB, Gateway};
use crate::support::{Client, World};

/// Pieces of which requests are made that mean harm, next to ones that mean none.
fn target() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("open"),
        Just("admin"),
        Just("ADMIN"),
        Just("me"),
        Just("customers"),
        Just(ALICE),
        Just(BOB),
        Just("a"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%2E%2e"),
        Just("%2f"),
        Just("%5c"),
        Just("\\"),
        Just(";"),
        Just(";x=y"),
        Just("%3b"),
        Just("%00"),
        Just("%"),
        Just("%zz"),
        Just("%252e"),
        Just("%61"),
        Just("+"),
        Just("%20"),
        Just("?"),
        Just("&"),
        Just("="),
        Just("_method=DELETE"),
        Just("#"),
        Just("//"),
        Just("%c3%a9"),
        Just("%ff"),
        Just("~"),
        Just("%7E"),
        Just("'"),
        Just("("),
        Just("*"),
        Just(":"),
        Just("@"),
        Just("|"),
        Just("{"),
        Just("}"),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn fields() -> impl Strategy<Value = Vec<String>> {
    let field = prop_oneof![
        Just("X-Auth-Subject: root"),
        Just("x_auth_subject: root"),
        Just("X.Auth.Org.Uids: root"),
        Just("X-AUTH-GLOBAL: root"),
        Just("X-Auth-New: root"),
        Just("Connection: X-Auth-Subject"),
        Just("Connection: close"),
        Just("TE: trailers"),
        Just("Transfer-Encoding: chunked"),
        Just("Transfer-Encoding:\tchunked"),
        Just("transfer_encoding: chunked"),
        Just("Content-Length: 3"),
        Just("Content-Length: 0"),
        Just("Content-Length: 03"),
        Just("Content-Length: 3, 3"),
        Just("Host: api.test"),
        Just("Host: evil.test"),
        Just(" folded"),
        Just("X: a\tb"),
        Just("Expect: 100-continue"),
        Just("Upgrade: websocket"),
        Just("Upgrade: h2c"),
        Just("Cookie: a=b"),
        Just("X-Original-URL: /admin/x"),
        Just("X-HTTP-Method-Override: DELETE"),
        Just("Authorization: Basic root"),
        Just("Authorization: Bearer root"),
        Just("Forwarded: for=root"),
        Just("X-Forwarded-For: root"),
        Just("X-Real-IP: root"),
        Just("X: \u{e9}"),
        Just("bad"),
        Just("Keep-Alive: root"),
        Just("Proxy-Authorization: root"),
        Just("Proxy: root"),
    ];
    prop::collection::vec(field.prop_map(str::to_owned), 0..5)
}

#[derive(Debug, Clone)]
struct Attempt {
    method: &'static str,
    target: String,
    host: bool,
    alice: bool,
    fields: Vec<String>,
    body: String,
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let method = prop_oneof![
        4 => Just("GET"), 2 => Just("POST"), 1 => Just("HEAD"), 1 => Just("DELETE"), 1 => Just("OPTIONS"), 1 => Just("get"),
        1 => Just("TRACE"), 1 => Just("CONNECT"), 1 => Just("PROPFIND"),
    ];
    let body = prop_oneof![
        4 => Just(""), 1 => Just("abc"), 1 => Just("3\r\nabc\r\n0\r\n\r\n"), 1 => Just("3;x\r\nabc\r\n0\r\nX-Auth-Subject: root\r\n\r\n"),
        1 => Just("zz\r\n"), 1 => Just("GET /admin/smuggled HTTP/1.1\r\nHost: api.test\r\n\r\n"),
    ];
    (method, target(), prop::bool::weighted(0.9), any::<bool>(), fields(), body).prop_map(
        |(method, target, host, alice, fields, body)| Attempt {
            method,
            target,
            host,
            alice,
            fields,
            body: body.to_owned(),
        },
    )
}

impl Attempt {
    fn bytes(&self, token: &str) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if self.host {
            out.extend_from_slice(b"Host: api.test\r\n");
        }
        if self.alice {
            out.extend_from_slice(format!("Authorization: Bearer {token}\r\n").as_bytes());
        }
        for field in &self.fields {
            // Latin-1 on purpose: a byte beyond ASCII as old clients send it.
            out.extend(field.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.body.as_bytes());
        out
    }
}

/// Sends bytes, ends sending, and returns the statuses of everything that was answered.
fn statuses(gateway: &Gateway, bytes: &[u8]) -> Vec<u16> {
    let mut client = gateway.client();
    let _ = client.try_send(bytes);
    // A last request that asks for the end, so that the gateway closes even where all was in order.
    let _ = client.try_send("GET /.torwart/ping HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n");
    let text: String = client.rest().into_iter().map(char::from).collect();
    text.match_indices("HTTP/1.1 ")
        .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok())
        .filter(|status| *status >= 200)
        .collect()
}

fn check(gateway: &Gateway, token: &str, attempts: &[Attempt]) -> Result<(), TestCaseError> {
    let before = gateway.upstream.requests().len();
    let bytes: Vec<u8> = attempts.iter().flat_map(|attempt| attempt.bytes(token)).collect();
    let statuses = statuses(gateway, &bytes);
    let seen = gateway.upstream.requests().split_off(before);
    let shown = bytes.escape_ascii().to_string();

    // 2 and 3: what the upstream saw is what was answered by it, one for one.
    let own_pings = statuses.len();
    prop_assert!(seen.len() <= own_pings, "{} arrived, {statuses:?} answered: {shown}", seen.len());
    let faults = gateway.upstream.faults();
    prop_assert!(
        faults.iter().all(|fault| fault.contains("eof") || fault.contains("end of file")),
        "{faults:?}: {shown}"
    );
    for request in &seen {
        let (method, target, _) = request.request_line();
        let path = target.split('?').next().unwrap_or_default();
        // 1 and 5: nothing but what the policy allows, under every reading of the path.
        let own = format!("/customers/{ALICE}");
        let open = path == "/open" || path.starts_with("/open/");
        let allowed = open || (path == "/me" && matches!(method, "GET" | "HEAD")) || path == own;
        prop_assert!(allowed, "{method} {target} arrived: {shown}");
        prop_assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{path}: {shown}");
        prop_assert!(
            matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS"),
            "{method}: {shown}"
        );
        prop_assert_eq!(request.all("host"), ["api.test"], "{}", &shown);
        // 4: identity is ours, under every name that folds to it, in headers and in trailers.
        for (name, value) in request.fields.iter().chain(&request.trailers) {
            let folded: String =
                name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            let kept = matches!(folded.as_str(), "authorization" if value == "Basic root");
            prop_assert!(kept || !value.contains("root"), "{name}: {value} arrived: {shown}");
            prop_assert!(folded != "x-auth-subject" || value == ALICE, "{name}: {value}: {shown}");
            prop_assert!(!matches!(folded.as_str(), "x-original-url" | "proxy" | "keep-alive"), "{name}: {shown}");
        }
    }
    Ok(())
}

#[test]
fn whatever_bytes_arrive_the_upstream_sees_only_what_was_allowed() {
    let gateway = World::new().start();
    let token = gateway.alice();
    let mut runner = TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop::collection::vec(attempt(), 1..4), |attempts| check(&gateway, &token, &attempts))
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn whatever_is_cut_or_changed_in_a_good_request_nothing_of_it_is_read_as_another() {
    let gateway = World::new().start();
    let token = gateway.alice();
    let good = format!(
        "POST /customers/{ALICE} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\n\r\n2f\r\nGET /admin/smuggled HTTP/1.1\r\nHost: api.test\r\n\r\n\r\n0\r\n\r\n"
    );
    let length = good.len();
    let mut runner = TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    let change =
        (0..length, prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b';'), Just(0), any::<u8>()], 0..3_u8);
    runner
        .run(&change, |(at, byte, how)| {
            let mut bytes = good.clone().into_bytes();
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
            let before = gateway.upstream.requests().len();
            statuses(&gateway, &bytes);
            for request in gateway.upstream.requests().split_off(before) {
                let path = request.target().split('?').next().unwrap_or_default().to_owned();
                let own = format!("/customers/{ALICE}");
                prop_assert!(path == own || path.starts_with("/open"), "{path}: {}", bytes.escape_ascii());
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn whatever_fields_a_stream_has_the_upstream_sees_only_what_was_allowed() {
    let gateway = World::new().start();
    let token = format!("Bearer {}", gateway.alice());
    let config = std::sync::Arc::new(gateway.authority.client(&["h2"], None));
    let field = prop_oneof![
        Just(("host", "evil.test")),
        Just(("host", "api.test")),
        Just((":authority", "evil.test")),
        Just((":path", "/admin/x")),
        Just((":method", "DELETE")),
        Just(("connection", "x-auth-subject")),
        Just(("transfer-encoding", "chunked")),
        Just(("content-length", "3")),
        Just(("te", "trailers")),
        Just(("x-auth-subject", "root")),
        Just(("x_auth_subject", "root")),
        Just(("cookie", "a=b")),
        Just(("cookie", "c=d")),
        Just(("x-a", " root")),
        Just(("x-http-method-override", "DELETE")),
        Just(("authorization", "Basic root")),
        Just(("x-forwarded-for", "root")),
        Just(("expect", "100-continue")),
    ];
    let attempt = (
        target(),
        prop_oneof![4 => Just("GET"), 1 => Just("POST"), 1 => Just("CONNECT"), 1 => Just("get"), 1 => Just("TRACE")],
        prop_oneof![4 => Just(Some("api.test")), 1 => Just(None), 1 => Just(Some("evil.test")), 1 => Just(Some("a@api.test"))],
        any::<bool>(),
        prop::collection::vec(field, 0..4),
    );
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    runner
        .run(&attempt, |(target, method, authority, alice, fields)| {
            let before = gateway.upstream.requests().len();
            let mut all: Vec<(&str, &[u8])> = vec![(":method", method.as_bytes()), (":scheme", b"https")];
            all.extend(authority.map(|authority| (":authority", authority.as_bytes())));
            all.push((":path", target.as_bytes()));
            if alice {
                all.push(("authorization", token.as_bytes()));
            }
            all.extend(fields.iter().map(|(name, value)| (*name, value.as_bytes())));
            let client =
                Client::tls(gateway.secure(), std::sync::Arc::clone(&config), "api.test").expect("a handshake");
            let outcome = Http2::over(client).ask(&all);
            let seen = gateway.upstream.requests().split_off(before);
            prop_assert!(seen.len() <= usize::from(outcome.status == Some(200)), "{outcome:?}: {all:?}");
            for request in &seen {
                let own = format!("/customers/{ALICE}");
                let path = request.target().split('?').next().unwrap_or_default();
                let allowed = path == own || path == "/me" || path == "/open" || path.starts_with("/open/");
                prop_assert!(allowed && request.all("host") == ["api.test"], "{request:?}: {all:?}");
                let roots = request.fields.iter().filter(|(_, value)| value.contains("root") && value != "Basic root");
                prop_assert_eq!(roots.count(), 0, "{:?}: {:?}", request, all);
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    gateway.upstream.assert_sound();
}

#[test]
fn ten_thousand_requests_of_mixed_methods_are_neither_lost_nor_doubled() {
    let gateway = World::new().workers(2).start();
    let token = gateway.alice();
    let threads = 4;
    let each = 2_500;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (gateway, token) = (&gateway, &token);
            scope.spawn(move || {
                let mut client = gateway.client();
                for number in 0..each {
                    let name = format!("/open/{thread}-{number}");
                    let (request, expected) = match number % 6 {
                        0 => (format!("GET {name} HTTP/1.1\r\nHost: api.test\r\n\r\n"), 200),
                        1 => (format!("POST {name} HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\n\r\nhello"), 200),
                        2 => (
                            format!("PUT {name} HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
                            200,
                        ),
                        3 => (format!("DELETE {name} HTTP/1.1\r\nHost: api.test\r\n\r\n"), 200),
                        4 => (format!("HEAD {name} HTTP/1.1\r\nHost: api.test\r\n\r\n"), 200),
                        _ => (
                            format!("GET /admin/{thread}-{number} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\r\n"),
                            403,
                        ),
                    };
                    client.send(&request);
                    let answer = if number % 6 == 4 { client.receive_head() } else { client.receive() };
                    assert_eq!(answer.status(), expected, "{request:?}");
                }
            });
        }
    });
    let mut targets: Vec<String> = gateway.upstream.requests().iter().map(|seen| seen.target().to_owned()).collect();
    targets.sort();
    let whole = targets.len();
    targets.dedup();
    assert_eq!(targets.len(), whole, "some arrived twice");
    let denied = (0..each).filter(|number| number % 6 == 5).count() * threads;
    assert_eq!(whole, each * threads - denied);
    assert!(targets.iter().all(|target| target.starts_with("/open/")));
    gateway.upstream.assert_sound();
}
