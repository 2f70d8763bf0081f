//! HTTP/2 as it should not be written (building-blocks.md section 2), and as it should.

use std::sync::Arc;

use crate::support::http2::{Http2, Outcome};
use crate::support::world::{ALICE, Gateway};
use crate::support::{After, Client, World, upstream};

const SETTINGS: u8 = 4;
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];

type Fields<'f> = Vec<(&'f str, &'f [u8])>;

fn connect(gateway: &Gateway) -> Http2 {
    let config = Arc::new(gateway.authority.client(&["h2"], None));
    Http2::over(Client::tls(gateway.secure(), config, "api.test").expect("a handshake"))
}

fn get(path: &'static str) -> Fields<'static> {
    vec![(":method", b"GET"), (":scheme", b"https"), (":authority", b"api.test"), (":path", path.as_bytes())]
}

fn with(field: (&'static str, &'static [u8])) -> Fields<'static> {
    let mut fields = get("/open/a");
    fields.push(field);
    fields
}

/// Neither must be a success, and nothing may arrive.
fn assert_refused(requests: &[Fields<'_>]) {
    let gateway = World::new().start();
    for fields in requests {
        let outcome = connect(&gateway).ask(fields);
        // An answer, a reset stream or, for what spoils the compression's state, a closed connection.
        assert!(outcome.status.is_none_or(|status| (400..500).contains(&status)), "{fields:?}: {outcome:?}");
    }
    gateway.upstream.assert_silent();
}

fn assert_status(status: u16, requests: &[Fields<'_>]) {
    let gateway = World::new().start();
    for fields in requests {
        assert_eq!(connect(&gateway).ask(fields).status, Some(status), "{fields:?}");
    }
    gateway.upstream.assert_silent();
}

#[test]
fn a_request_is_forwarded_with_the_host_of_its_authority_rfc_9113_section_8_3_1() {
    let gateway = World::new().start();
    let mut connection = connect(&gateway);
    let outcome = connection.ask(&get("/open/a?b=c"));
    assert_eq!((outcome.status, outcome.body.as_slice()), (Some(200), &b"GET /open/a?b=c"[..]));
    let seen = gateway.upstream.only();
    assert_eq!(seen.request_line(), ("GET", "/open/a?b=c", "HTTP/1.1"));
    assert_eq!(seen.all("host"), ["api.test"]);
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    gateway.upstream.assert_sound();
    assert_eq!(connection.ask(&get("/open/b")).status, Some(200), "the connection goes on");
}

#[test]
fn a_host_that_differs_from_the_authority_is_refused_rfc_9113_section_8_3_1() {
    assert_status(400, &[with(("host", b"other.test")), with(("host", b"api.test:81")), with(("host", b"a/b"))]);
    let gateway = World::new().start();
    assert_eq!(connect(&gateway).ask(&with(("host", b"API.test"))).status, Some(200), "the same one may be there");
    assert_eq!(gateway.upstream.only().all("host"), ["api.test"]);
}

#[test]
fn a_request_without_any_authority_is_refused() {
    assert_refused(&[vec![(":method", b"GET"), (":scheme", b"https"), (":path", b"/open/a")]]);
}

#[test]
fn user_information_in_the_authority_is_refused_rfc_9113_section_8_3_1() {
    let mut fields = get("/open/a");
    fields[2].1 = b"user@api.test";
    assert_refused(&[fields]);
}

#[test]
fn only_options_may_ask_for_the_asterisk_rfc_9113_section_8_3_1() {
    assert_refused(&[get("*")]);
    let gateway = World::new().start();
    let mut fields = get("*");
    fields[0].1 = b"OPTIONS";
    assert_eq!(connect(&gateway).ask(&fields).status, Some(200));
    gateway.upstream.assert_silent();
}

#[test]
fn a_scheme_that_is_not_the_transports_is_refused_rfc_9113_section_8_3_1() {
    let with_scheme = |scheme: &'static [u8]| {
        let mut fields = get("/open/a");
        fields[1].1 = scheme;
        fields
    };
    assert_refused(&[with_scheme(b"http"), with_scheme(b"ftp"), with_scheme(b"")]);
}

#[test]
fn white_space_around_a_value_is_malformed_rfc_9113_section_8_2_1() {
    assert_refused(&[with(("x-a", b" a")), with(("x-a", b"a ")), with(("x-a", b"\ta")), with(("x-a", b"a\t"))]);
}

#[test]
fn control_characters_in_a_value_are_malformed_rfc_9113_section_8_2_1() {
    assert_refused(&[
        with(("x-a", b"a\0b")),
        with(("x-a", b"a\rb")),
        with(("x-a", b"a\nb")),
        with(("x-a", b"a\r\nx: y")),
    ]);
}

#[test]
fn connection_specific_fields_are_malformed_rfc_9113_section_8_2_2() {
    assert_refused(&[
        with(("connection", b"close")),
        with(("transfer-encoding", b"chunked")),
        with(("upgrade", b"websocket")),
        with(("keep-alive", b"1")),
        with(("proxy-connection", b"close")),
        with(("te", b"gzip")),
        with(("X-Upper", b"a")),
        with((":extra", b"a")),
        with(("", b"a")),
        with(("transfer_encoding", b"chunked")),
    ]);
}

#[test]
fn odd_pseudo_fields_are_malformed_rfc_9113_section_8_3() {
    let mut twice = get("/open/a");
    twice.insert(1, (":path", b"/open/b"));
    let mut late = get("/open/a");
    let path = late.remove(3);
    late.extend([("x-a", &b"a"[..]), path]);
    assert_refused(&[
        twice,
        late,
        get(""),
        get("open/a"),
        get("http://api.test/open/a"),
        get("/open/a b"),
        get("/open/../admin"),
    ]);
}

#[test]
fn a_length_that_is_not_the_datas_never_arrives_whole_rfc_9113_section_8_1_1() {
    let gateway = World::new().start();
    for (length, data) in [(&b"5"[..], &b"abc"[..]), (b"2", b"abc"), (b"003", b"abc")] {
        let mut connection = connect(&gateway);
        let mut fields = get("/open/a");
        fields[0].1 = b"POST";
        fields.push(("content-length", length));
        let stream = connection.begin(&fields);
        connection.data(stream, data, true);
        let outcome = connection.outcome(stream);
        assert!(outcome.status.is_none_or(|status| status == 400), "{length:?}: {outcome:?}");
    }
    assert_eq!(gateway.upstream.requests().len(), 0, "{:?}", gateway.upstream.requests());
}

#[test]
fn cookie_fields_are_joined_for_the_upstream_rfc_9113_section_8_2_3() {
    let gateway = World::new().start();
    let mut fields = get("/open/a");
    fields.extend([("cookie", &b"a=1"[..]), ("cookie", b"b=2"), ("cookie", b"c=3")]);
    assert_eq!(connect(&gateway).ask(&fields).status, Some(200));
    assert_eq!(gateway.upstream.only().all("cookie"), ["a=1; b=2; c=3"]);
}

#[test]
fn a_trailer_cannot_carry_what_a_header_may_not() {
    let gateway = World::new().start();
    let mut connection = connect(&gateway);
    let mut fields = get("/open/a");
    fields[0].1 = b"POST";
    fields.extend([("te", &b"trailers"[..]), ("trailer", b"x-auth-subject, x-sum")]);
    let stream = connection.begin(&fields);
    connection.data(stream, b"abc", false);
    connection.trailers(stream, &[("x-auth-subject", b"root"), ("x_auth_org_uids", b"all"), ("x-sum", b"1")]);
    assert_eq!(connection.outcome(stream).status, Some(200));
    let seen = gateway.upstream.only();
    assert_eq!(seen.body, b"abc");
    let names: Vec<_> = seen.trailers.iter().map(|(name, _)| name.to_lowercase()).collect();
    assert!(names.iter().all(|name| name == "x-sum"), "{names:?}");
}

#[test]
fn methods_are_judged_as_they_are_written() {
    let gateway = World::new().policies(&[crate::http1::PUBLIC]).start();
    for method in [&b"get"[..], b"FOO", b"TRACE", b"TRACK", b"CONNECT"] {
        let mut fields = get("/open/a");
        fields[0].1 = method;
        let outcome = connect(&gateway).ask(&fields);
        assert!(outcome.status.is_none_or(|status| status == 405 || status == 400), "{method:?}: {outcome:?}");
    }
    gateway.upstream.assert_silent();
}

#[test]
fn fields_have_a_size_together_and_each() {
    let long = "a".repeat(15_000);
    let mut two = get("/open/a");
    two.extend([("x-a", long.as_bytes()), ("x-b", long.as_bytes()), ("x-c", long.as_bytes())]);
    let gateway = World::new().start();
    // More than one frame of 16 KiB: the block is cut by hand into CONTINUATION frames.
    let outcome = connect(&gateway).ask_in_pieces(&two);
    assert!(outcome.status == Some(431) || outcome.reset.is_some(), "{outcome:?}");
    gateway.upstream.assert_silent();
}

#[test]
fn a_flood_of_resets_ends_the_connection_cve_2023_44487() {
    let gateway = World::new().start();
    let mut connection = connect(&gateway);
    for _ in 0..2_000 {
        let stream = connection.request(&get("/open/a"));
        connection.cancel(stream);
    }
    while !connection.closed && connection.goaway.is_none() {
        connection.step();
    }
    assert_eq!(gateway.tls_client("api.test").ask("GET /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n").status(), 200);
}

#[test]
fn streams_are_judged_each_on_its_own() {
    let gateway = World::new().start();
    let mut connection = connect(&gateway);
    let bearer = format!("Bearer {}", gateway.alice());
    let own = format!("/customers/{ALICE}");
    let mut allowed = get("/open/a");
    allowed[3].1 = own.as_bytes();
    allowed.push(("authorization", bearer.as_bytes()));
    let streams: Vec<u32> = (0..20)
        .map(|number| connection.request(&if number % 2 == 0 { allowed.clone() } else { get("/admin/x") }))
        .collect();
    let outcomes: Vec<Outcome> = streams.into_iter().map(|stream| connection.outcome(stream)).collect();
    for (number, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.status, Some(if number % 2 == 0 { 200 } else { 401 }), "{number}: {outcome:?}");
    }
    assert_eq!(gateway.upstream.requests().len(), 10);
}

#[test]
fn a_connection_that_says_nothing_is_told_to_go_and_closed() {
    let gateway = World::new().limit("idle_timeout: 300ms").limit("header_timeout: 300ms").start();
    let mut connection = connect(&gateway);
    assert_eq!(connection.ask(&get("/open/a")).status, Some(200));
    while !connection.closed {
        connection.step();
    }
    assert!(connection.goaway.is_some());
}

#[test]
fn a_connection_ends_after_its_number_of_requests() {
    let gateway = World::new().limit("requests_per_connection: 3").start();
    let mut connection = connect(&gateway);
    for _ in 0..3 {
        assert_eq!(connection.ask(&get("/open/a")).status, Some(200));
    }
    while !connection.closed {
        connection.step();
    }
    assert!(connection.goaway.is_some());
}

#[test]
fn a_drain_says_goaway_and_lets_running_streams_end_rfc_9113_section_6_8() {
    let (begun, wait_begun) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let mut gateway = World::new()
        .answering(Arc::new(move |_, stream| {
            begun.send(()).expect("the test waits");
            let _ = released.lock().expect("no panic").recv();
            upstream::answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        }))
        .start();
    let mut connection = connect(&gateway);
    let stream = connection.request(&get("/open/a"));
    wait_begun.recv().expect("it reached the upstream");
    let running = gateway.running();
    let ended = std::thread::spawn(move || running.shutdown());
    while connection.goaway.is_none() {
        connection.step();
    }
    release.send(()).expect("the upstream waits");
    let outcome = connection.outcome(stream);
    assert_eq!((outcome.status, outcome.body.as_slice()), (Some(200), &b"done"[..]));
    ended.join().expect("no panic");
}

#[test]
fn a_stream_whose_client_takes_nothing_is_reset_and_the_others_go_on() {
    let gateway = World::new()
        .limit("body_idle_timeout: 300ms")
        .answering(Arc::new(|request, stream| {
            if request.target() == "/open/small" {
                return upstream::answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
            upstream::answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
            let piece = vec![b'a'; 64 * 1024];
            while upstream::answer(stream, &piece) == After::Continue {}
            After::Close
        }))
        .start();
    let mut connection = connect(&gateway);
    connection.take_nothing = true;
    let stream = connection.request(&get("/open/large"));
    let outcome = connection.outcome(stream);
    assert!(outcome.reset.is_some(), "{:?} bytes", outcome.body.len());
    assert!(outcome.body.len() <= 65_535, "no more than the window: {}", outcome.body.len());
    assert_eq!(connection.ask(&get("/open/small")).status, Some(200));
}

/// Each would hold a connection to the upstream, and a new one would be opened for the next.
#[test]
fn short_answers_that_have_no_window_hold_no_connection_to_the_upstream() {
    let gateway = World::new().start();
    let mut connection = connect(&gateway);
    connection.take_nothing = true;
    connection.frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE[..], &[0; 4]].concat());
    let streams = [(); 20].map(|()| {
        let stream = connection.request(&get("/open/a"));
        while connection.so_far(stream).status.is_none() {
            connection.step();
        }
        stream
    });
    assert_eq!(gateway.upstream.connections(), 1);
    connection.frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE[..], &[0, 0, 0xff, 0xff]].concat());
    for stream in streams {
        let outcome = connection.outcome(stream);
        assert_eq!((outcome.status, outcome.body.as_slice()), (Some(200), &b"GET /open/a"[..]), "nothing was lost");
    }
}
