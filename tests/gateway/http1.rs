//! HTTP/1.1 as it should not be written (building-blocks.md section 1), row by row, and as it should.

use crate::support::message::Message;
use crate::support::world::Gateway;
use crate::support::{After, Client, World, upstream};

/// What an attacker would like to have read as a request of its own.
const SMUGGLED: &str = "GET /open/smuggled HTTP/1.1\r\nHost: api.test\r\n\r\n";

/// A policy under which 404 and 405 are told to everybody.
pub(crate) const PUBLIC: &str = "
version: 1
policy: api
hosts: [api.test]
upstream: api
routes:
  - {path: \"/open/{*rest}\", methods: \"*\", require: public, unbound: [rest]}
";

/// Sends each of these with a request behind it: one answer with this status, then the end, and nothing upstream.
fn assert_refused(status: u16, requests: &[&[u8]]) {
    let gateway = World::new().start();
    for request in requests {
        assert_refused_by(&gateway, status, request);
    }
    gateway.upstream.assert_silent();
}

fn assert_refused_by(gateway: &Gateway, status: u16, request: &[u8]) -> Message {
    let mut client = gateway.client();
    client.send([request, SMUGGLED.as_bytes()].concat());
    let answer = client.try_receive();
    let shown = request.escape_ascii();
    let answer = answer.unwrap_or_else(|error| panic!("{error}: {shown}")).unwrap_or_else(|| panic!("none: {shown}"));
    assert_eq!(answer.status(), status, "{shown}: {}", answer.text());
    assert_eq!(answer.field("connection"), Some("close"), "{shown}");
    assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{shown}");
    assert_eq!(answer.field("cache-control"), Some("no-store"), "{shown}");
    assert_eq!(answer.json()["status"], status, "{shown}");
    client.assert_closed();
    answer
}

/// One request through a fresh gateway: what the client got and what the upstream saw.
fn forwarded(request: &[u8]) -> (Message, Message) {
    let gateway = World::new().start();
    let answer = gateway.client().ask(request);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    gateway.upstream.assert_sound();
    (answer, gateway.upstream.only())
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: api.test\r\n\r\n")
}

fn with(field: &str) -> Vec<u8> {
    format!("GET /open/a HTTP/1.1\r\nHost: api.test\r\n{field}\r\n\r\n").into_bytes()
}

fn post(field: &str, body: &str) -> Vec<u8> {
    format!("POST /open/a HTTP/1.1\r\nHost: api.test\r\n{field}\r\n\r\n{body}").into_bytes()
}

#[test]
fn a_public_route_is_forwarded_as_it_came() {
    let (answer, seen) =
        forwarded(b"GET /open/a?b=c%20d&b HTTP/1.1\r\nHost: API.test:80\r\nX-Any: one\r\nX-Any: two\r\n\r\n");
    assert_eq!(answer.text(), "GET /open/a?b=c%20d&b");
    assert_eq!(seen.request_line(), ("GET", "/open/a?b=c%20d&b", "HTTP/1.1"));
    assert_eq!(seen.field("host"), Some("api.test"));
    assert_eq!(seen.all("x-any"), ["one", "two"]);
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!((seen.field("x-auth-policy"), seen.field("x-auth-subject")), (None, None), "no identity without token");
}

#[test]
fn m1_a_transfer_encoding_other_than_one_chunked_is_refused_rfc_9112_section_6_1() {
    let chunks = "0\r\n\r\n";
    assert_refused(
        400,
        &[
            &post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks),
            &post("Transfer-Encoding: chunked, chunked", chunks),
            &post("Transfer-Encoding: gzip, chunked", chunks),
            &post("Transfer-Encoding: ,chunked", chunks),
            &post("Transfer-Encoding: CHUNKED", chunks),
            &post("Transfer-Encoding: chunked,", chunks),
            &post("Transfer-Encoding: identity", chunks),
            &post("Transfer-Encoding: xchunked", chunks),
            &post("Transfer-Encoding: \"chunked\"", chunks),
            &post("Transfer-Encoding: \x0bchunked", chunks),
            &post("Transfer-Encoding: chunked;x=y", chunks),
            &post("Transfer-Encoding:", chunks),
            &post("Transfer_Encoding: chunked", chunks),
        ],
    );
}

#[test]
fn m2_a_length_that_others_might_read_differently_is_refused_rfc_9112_section_6_3() {
    assert_refused(
        400,
        &[
            &post("Content-Length: 002", "ab"),
            &post("Content-Length: 2\r\nContent-Length: 2", "ab"),
            &post("Content-Length: 2\r\nContent-Length: 3", "ab"),
            &post("Content-Length: 2, 2", "ab"),
            &post("Content-Length: +2", "ab"),
            &post("Content-Length: 0x2", "ab"),
            &post("Content-Length: -2", "ab"),
            &post("Content-Length:", "ab"),
            &post("Content-Length: 99999999999999999999", "ab"),
            &post("Content_Length: 2", "ab"),
        ],
    );
}

#[test]
fn a_length_beside_a_transfer_coding_is_refused_rfc_9112_section_6_3() {
    assert_refused(
        400,
        &[
            &post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
            &post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
        ],
    );
}

#[test]
fn m3_line_ends_other_than_cr_lf_are_refused_rfc_9112_section_2_2() {
    assert_refused(
        400,
        &[
            b"GET /open/a HTTP/1.1\nHost: api.test\n\n",
            b"GET /open/a HTTP/1.1\r\nHost: api.test\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost: api.test\r\n\n",
            b"GET /open/a HTTP/1.1\r\nHost: api.test\r\nX: a\rb\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost: api.test\r\nX: a\r\n b\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\n Host: api.test\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost : api.test\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost: api.test\r\nX: a\0b\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost: api.test\r\n: a\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost: api.test\r\nnothing\r\n\r\n",
        ],
    );
}

#[test]
fn m4_a_request_has_exactly_one_valid_host_rfc_9112_section_3_2() {
    assert_refused(
        400,
        &[
            b"GET /open/a HTTP/1.1\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost: api.test\r\nHost: api.test\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost: api.test\r\nHost: other.test\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost: a/b@c\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost:\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost: user@api.test\r\n\r\n",
            b"GET /open/a HTTP/1.1\r\nHost: api.test:http\r\n\r\n",
            b"GET /open/a HTTP/1.0\r\n\r\n",
        ],
    );
}

#[test]
fn m5_an_absolute_target_names_the_same_authority_as_the_host_rfc_9112_section_3_2_2() {
    assert_refused(
        400,
        &[
            b"GET http://evil.test/open/a HTTP/1.1\r\nHost: api.test\r\n\r\n",
            b"GET http://api.test:81/open/a HTTP/1.1\r\nHost: api.test\r\n\r\n",
            b"GET http://user@api.test/open/a HTTP/1.1\r\nHost: api.test\r\n\r\n",
            b"GET http://api.test/open/a HTTP/1.1\r\n\r\n",
            b"GET https://api.test/open/a HTTP/1.1\r\nHost: api.test\r\n\r\n",
            b"GET ftp://api.test/open/a HTTP/1.1\r\nHost: api.test\r\n\r\n",
        ],
    );
    let (_, seen) = forwarded(b"GET http://API.test:80/open/a HTTP/1.1\r\nHost: api.test.\r\n\r\n");
    assert_eq!((seen.target(), seen.field("host")), ("/open/a", Some("api.test")));
}

#[test]
fn m6_the_authority_form_is_refused_rfc_9112_section_3_2_3() {
    assert_refused(
        400,
        &[
            b"GET admin HTTP/1.1\r\nHost: api.test\r\n\r\n",
            b"GET a:80 HTTP/1.1\r\nHost: api.test\r\n\r\n",
            b"GET api.test HTTP/1.1\r\nHost: api.test\r\n\r\n",
        ],
    );
}

#[test]
fn m7_only_options_may_ask_for_the_asterisk_rfc_9112_section_3_2_4() {
    assert_refused(400, &[b"GET * HTTP/1.1\r\nHost: api.test\r\n\r\n"]);
    let gateway = World::new().start();
    let mut client = gateway.client();
    let answer = client.ask("OPTIONS * HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert_eq!(answer.status(), 200);
    assert!(answer.field("allow").expect("methods").contains("GET"));
    gateway.upstream.assert_silent();
    assert_eq!(client.ask(get("/open/a")).status(), 200, "the connection goes on");
}

#[test]
fn m8_a_fragment_is_refused() {
    assert_refused(400, &[get("/open/a#/b").as_bytes(), get("/open/a?b#c").as_bytes()]);
}

#[test]
fn m9_a_target_that_others_might_read_differently_is_refused() {
    let gateway = World::new().start();
    for target in [
        "/open/../admin/x",
        "/open/./a",
        "/open/%2e%2e/admin",
        "/open/.%2E/admin",
        "/open\\..\\admin",
        "/open/%00",
        "/open/%zz",
        "/open/%u0041",
        "/open/%",
        "/open/\u{e9}",
        "/open/a?b=\u{e9}",
        "/ADMIN/x/../../open",
    ] {
        let answer = gateway.client().ask(get(target));
        assert_eq!(answer.status(), 400, "{target}");
    }
    gateway.upstream.assert_silent();
    for (sent, forwarded) in
        [("//open///a", "/open/a"), ("/open/%7Ea%2fb", "/open/~a%2Fb"), ("/open/a;b=c", "/open/a;b=c")]
    {
        assert_eq!(gateway.client().ask(get(sent)).status(), 200, "{sent}");
        assert_eq!(gateway.upstream.requests().last().expect("a request").target(), forwarded);
    }
}

#[test]
fn m10_methods_are_an_allow_list_and_case_sensitive_rfc_9110_section_9_1() {
    let gateway = World::new().policies(&[PUBLIC]).start();
    for method in ["get", "Get", "FOO", "PROPFIND", "GETT"] {
        let answer = gateway.client().ask(format!("{method} /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n"));
        assert_eq!(answer.status(), 405, "{method}");
        assert!(answer.field("allow").expect("methods").contains("GET"), "{method}");
    }
    gateway.upstream.assert_silent();
}

#[test]
fn trace_track_and_connect_are_never_forwarded() {
    assert_refused(
        405,
        &[
            b"TRACE /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n",
            b"TRACK /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n",
            b"CONNECT /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n",
            b"CONNECT api.test:80 HTTP/1.1\r\nHost: api.test:80\r\n\r\n",
        ],
    );
}

#[test]
fn m11_hop_by_hop_fields_end_here_rfc_9110_section_7_6_1() {
    let (_, seen) = forwarded(
        b"GET /open/a HTTP/1.1\r\nHost: api.test\r\nConnection: close, X-Org, keep-alive\r\nX-Org: 1\r\nX_Org: 2\r\n\
          Keep-Alive: timeout=5\r\nProxy-Authorization: Basic eDp5\r\nProxy-Connection: close\r\nTE: gzip, trailers\r\n\
          Upgrade: foo\r\nX-Kept: yes\r\n\r\n",
    );
    for gone in ["x-org", "x_org", "keep-alive", "proxy-authorization", "proxy-connection", "upgrade", "proxy"] {
        assert_eq!(seen.field(gone), None, "{gone}");
    }
    assert!(!seen.all("connection").iter().any(|value| value.to_lowercase().contains("x-org")), "{seen:?}");
    assert!(!seen.all("te").iter().any(|value| value.contains("gzip")), "{seen:?}");
    assert_eq!(seen.field("x-kept"), Some("yes"));
}

#[test]
fn m12_an_upgrade_to_h2c_is_ignored_and_what_follows_is_a_request_of_its_own() {
    let gateway = World::new().start();
    let mut client = gateway.client();
    client.send(
        "GET /open/a HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\nGET /admin/x HTTP/1.1\r\nHost: api.test\r\n\r\n",
    );
    assert_eq!(client.receive().status(), 200);
    assert_eq!(client.receive().status(), 401, "the second request is judged on its own");
    let seen = gateway.upstream.only();
    assert_eq!(seen.target(), "/open/a");
    assert_eq!((seen.field("upgrade"), seen.field("http2-settings")), (None, None));
}

#[test]
fn m13_a_trailer_cannot_carry_what_a_header_may_not() {
    let (_, seen) = forwarded(
        b"POST /open/a HTTP/1.1\r\nHost: api.test\r\nTE: trailers\r\nTrailer: X-Auth-Subject, X-Sum\r\n\
          Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Auth-Subject: root\r\nX_Auth_Org_Uids: all\r\n\
          Authorization: Bearer x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Sum: 1\r\n\r\n",
    );
    assert_eq!(seen.body, b"abc");
    let names: Vec<_> = seen.trailers.iter().map(|(name, _)| name.to_lowercase()).collect();
    assert!(names.iter().all(|name| name == "x-sum"), "{names:?}");
}

#[test]
fn m14_no_spelling_of_an_identity_header_passes() {
    let (_, seen) = forwarded(
        b"GET /open/a HTTP/1.1\r\nHost: api.test\r\nX-Auth-Subject: root\r\nX_Auth_Subject: root\r\nx.auth.subject: root\r\n\
          X-AUTH_Org-Uids: all\r\nX-Auth-Anything: 1\r\nX-Original-URL: /admin\r\nX_Rewrite_Url: /admin\r\nProxy: evil\r\n\r\n",
    );
    let odd: Vec<_> = seen
        .fields
        .iter()
        .filter(|(name, value)| {
            value == "root"
                || value == "all"
                || value == "/admin"
                || value == "evil"
                || name.eq_ignore_ascii_case("x-auth-anything")
        })
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn m15_fields_have_a_size_together_and_each_rfc_6585_section_5() {
    let long = |length: usize| with(&format!("X: {}", "a".repeat(length)));
    let many = (0..120).map(|number| format!("X-{number}: a")).collect::<Vec<_>>().join("\r\n");
    let two = format!("X: {0}\r\nY: {0}", "a".repeat(20_000));
    assert_refused(431, &[&long(25_000), &long(40_000), &long(500_000), &with(&many), &with(&two)]);
    let (_, seen) = forwarded(&long(20_000));
    assert_eq!(seen.field("x").expect("it").len(), 20_000);
}

#[test]
fn a_target_has_a_size_rfc_9110_section_15_5_15() {
    assert_refused(414, &[get(&format!("/open/{}", "a".repeat(9_000))).as_bytes()]);
    assert_refused(414, &[get(&format!("/open/{}", "a".repeat(200_000))).as_bytes()]);
}

#[test]
fn m16_an_expectation_that_cannot_be_met_is_refused_rfc_9110_section_10_1_1() {
    assert_refused(
        417,
        &[
            &post("Expect: y 100-continue\r\nContent-Length: 2", "ab"),
            &post("Expect: 100-continue, 100-continue\r\nContent-Length: 2", "ab"),
            &with("Expect: something"),
        ],
    );
}

#[test]
fn m17_bytes_beyond_ascii_pass_unchanged() {
    let gateway = World::new().start();
    let mut client = gateway.client();
    client.send(b"GET /open/a HTTP/1.1\r\nHost: api.test\r\nX-Any: a\xe9\xffb\r\n\r\n");
    assert_eq!(client.receive().status(), 200);
    assert_eq!(gateway.upstream.only().field("x-any"), Some("a\u{e9}\u{ff}b"));
}

#[test]
fn m18_a_get_with_a_body_is_framed_so_that_nothing_of_it_is_a_request() {
    let gateway = World::new().start();
    let mut client = gateway.client();
    client.send(format!(
        "GET /open/a HTTP/1.1\r\nHost: api.test\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
        SMUGGLED.len()
    ));
    assert_eq!(client.receive().text(), "GET /open/a");
    assert_eq!(client.ask(get("/open/b")).text(), "GET /open/b");
    let seen = gateway.upstream.requests();
    assert_eq!(seen.len(), 2, "{seen:#?}");
    assert_eq!(seen[0].body, SMUGGLED.as_bytes());
    assert_eq!(seen[0].field("content-length"), Some(SMUGGLED.len().to_string().as_str()));
    gateway.upstream.assert_sound();
}

#[test]
fn m19_a_bad_chunk_is_the_clients_fault_and_spoils_nobody_elses_connection() {
    let gateway = World::new().start();
    assert_eq!(gateway.client().ask(get("/open/first")).status(), 200);
    for bad in
        ["3\r\nabc\r\nzz\r\n", "3\r\nabc\r\n-1\r\n", "3\r\nabcd\r\n", "3\r\nabc\r\nfffffffffffffffff\r\n", "3\nabc\n"]
    {
        let mut client = gateway.client();
        let head = "POST /open/bad HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}{bad}{SMUGGLED}"));
        let answer = client.try_receive();
        let status = answer.ok().flatten().map(|answer| answer.status());
        assert_eq!(status, Some(400), "{bad:?}");
        client.assert_closed();
        assert_eq!(gateway.client().ask(get("/open/next")).text(), "GET /open/next", "{bad:?}");
    }
    let targets: Vec<_> = gateway.upstream.requests().iter().map(|seen| seen.target().to_owned()).collect();
    assert!(!targets.iter().any(|target| target.contains("smuggled") || target.contains("bad")), "{targets:?}");
}

#[test]
fn chunk_extensions_never_arrive_and_the_connection_ends_rfc_9112_section_7_1_1() {
    let gateway = World::new().start();
    let head = "POST /open/a HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n";
    let chunks = "3;a=\"b\"\r\nabc\r\n0;c\r\n\r\n";
    // Seen before the decision, they are a reason to refuse.
    assert_refused_by(&gateway, 400, format!("{head}\r\n{chunks}").as_bytes());
    gateway.upstream.assert_silent();
    // Seen afterwards, they are dropped.
    let mut client = gateway.client();
    assert_eq!(client.ask(format!("{head}Expect: 100-continue\r\n\r\n")).status(), 100);
    let answer = client.send(format!("{chunks}{SMUGGLED}")).receive();
    assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
    client.assert_closed();
    gateway.upstream.assert_sound();
    assert_eq!(gateway.upstream.only().body, b"abc");
}

#[test]
fn a_version_that_is_not_http_1_is_refused() {
    let gateway = World::new().start();
    for request in
        ["GET /open/a\r\n\r\n", "GET /open/a HTTP/1.2\r\nHost: api.test\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut client = gateway.client();
        client.send(request);
        let answer = client.try_receive().expect("an answer");
        assert!(answer.is_none_or(|answer| answer.status() == 400), "{request:?}");
        client.assert_closed();
    }
    gateway.upstream.assert_silent();
}

#[test]
fn http_1_0_is_served_without_keep_alive() {
    let gateway = World::new().start();
    let mut client = gateway.client();
    client.send("GET /open/a HTTP/1.0\r\nHost: api.test\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.receive().status(), 200);
    client.assert_closed();
    assert_refused_by(
        &gateway,
        400,
        b"POST /open/a HTTP/1.0\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
}

#[test]
fn a_refusal_with_an_unread_body_ends_the_connection() {
    let gateway = World::new().start();
    let mut client = gateway.client();
    client.send(format!("POST /admin/a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1000000\r\n\r\n{SMUGGLED}"));
    let answer = client.receive();
    assert_eq!((answer.status(), answer.field("connection")), (401, Some("close")));
    client.assert_closed();
    gateway.upstream.assert_silent();
}

#[test]
fn a_body_is_asked_for_only_after_the_decision_rfc_9110_section_10_1_1() {
    let gateway = World::new().start();
    let mut client = gateway.client();
    client.send("POST /admin/a HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.receive().status(), 401, "no 100 before the refusal");
    client.assert_closed();

    let mut client = gateway.client();
    client.send("POST /open/a HTTP/1.1\r\nHost: api.test\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.receive().status(), 100);
    assert_eq!(client.send("abc").receive().status(), 200);
    let seen = gateway.upstream.only();
    assert_eq!((seen.body.as_slice(), seen.field("expect")), (&b"abc"[..], None));
}

#[test]
fn a_body_has_a_size_rfc_9110_section_15_5_14() {
    let gateway = World::new().limit("body: 10").start();
    let mut client = gateway.client();
    client.send("POST /open/a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 11\r\n\r\n");
    assert_eq!(client.receive().status(), 413, "before any byte of it was read");
    client.assert_closed();
    gateway.upstream.assert_silent();

    let mut client = gateway.client();
    client.send("POST /open/a HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n");
    assert_eq!(client.receive().status(), 413, "counted while it streams");
    client.assert_closed();
    assert_eq!(gateway.upstream.requests().len(), 0, "the upstream never sees a broken body as a whole one");

    let exact = "POST /open/a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 10\r\n\r\n1234567890";
    assert_eq!(gateway.client().ask(exact).status(), 200);
}

#[test]
fn pipelined_requests_are_answered_in_order_and_each_is_judged() {
    let gateway = World::new().start();
    let mut client = gateway.client();
    client.send(format!("{}{}{}", get("/open/1"), get("/admin/2"), get("/open/3")));
    let answers: Vec<_> = (0..3).map(|_| client.receive().status()).collect();
    assert_eq!(answers, [200, 401, 200]);
    let targets: Vec<_> = gateway.upstream.requests().iter().map(|seen| seen.target().to_owned()).collect();
    assert_eq!(targets, ["/open/1", "/open/3"]);
}

#[test]
fn an_irregular_message_behind_a_regular_one_is_refused_and_the_first_is_not() {
    let gateway = World::new().start();
    let mut client = gateway.client();
    client.send(format!("{}GET /open/b HTTP/1.1\nHost: api.test\r\n\r\n{SMUGGLED}", get("/open/a")));
    assert_eq!(client.receive().status(), 200);
    assert_eq!(client.receive().status(), 400);
    client.assert_closed();
    assert_eq!(gateway.upstream.only().target(), "/open/a");
}

#[test]
fn cookies_and_unknown_fields_pass() {
    let (_, seen) = forwarded(b"GET /open/a HTTP/1.1\r\nHost: api.test\r\nCookie: a=1; b=2\r\nX-Own: yes\r\n\r\n");
    assert_eq!((seen.field("cookie"), seen.field("x-own")), (Some("a=1; b=2"), Some("yes")));
}

#[test]
fn an_unasked_101_and_broken_framing_of_the_upstream_are_502() {
    for odd in [
        &b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\0z\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ] {
        let odd = odd.to_vec();
        let shown = odd.escape_ascii().to_string();
        let gateway = World::new()
            .answering(std::sync::Arc::new(move |_, stream| {
                upstream::answer(stream, &odd);
                After::Close
            }))
            .start();
        let answer = gateway.client().ask(get("/open/a"));
        assert_eq!(answer.status(), 502, "{shown}");
        assert_eq!(answer.json()["type"], "urn:torwart:bad-gateway", "{shown}");
    }
}

#[test]
fn hop_by_hop_fields_of_an_answer_end_here() {
    let gateway = World::new()
        .answering(upstream::fixed(
            b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Internal\r\nX-Internal: secret\r\nKeep-Alive: timeout=5\r\n\
              Upgrade: h2c\r\nProxy-Authenticate: Basic\r\nX-Kept: yes\r\nContent-Length: 2\r\n\r\nok",
            After::Continue,
        ))
        .start();
    let answer = gateway.client().ask(get("/open/a"));
    assert_eq!((answer.status(), answer.text(), answer.field("x-kept")), (200, "ok", Some("yes")));
    for gone in ["x-internal", "keep-alive", "upgrade", "proxy-authenticate"] {
        assert_eq!(answer.field(gone), None, "{gone}");
    }
}

#[test]
fn a_truncated_answer_never_ends_cleanly_rfc_9112_section_8() {
    for truncated in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let gateway = World::new().answering(upstream::fixed(truncated, After::Close)).start();
        let mut client = gateway.client();
        client.send(get("/open/a"));
        assert!(client.try_receive().is_err(), "{}", truncated.escape_ascii());
    }
}

#[test]
fn what_follows_an_answer_reaches_no_other_request() {
    let gateway = World::new()
        .answering(upstream::fixed(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            After::Continue,
        ))
        .start();
    for _ in 0..5 {
        assert_eq!(gateway.client().ask(get("/open/a")).text(), "ok");
    }
}

#[test]
fn head_and_204_have_no_body_and_the_connection_goes_on() {
    let gateway = World::new()
        .answering(std::sync::Arc::new(|request, stream| match request.request_line().0 {
            "DELETE" => upstream::answer(stream, b"HTTP/1.1 204 No Content\r\n\r\n"),
            _ => upstream::answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
        }))
        .start();
    let mut client = gateway.client();
    client.send("HEAD /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert_eq!(client.receive_head().field("content-length"), Some("7"));
    let answer = client.ask("DELETE /open/a HTTP/1.1\r\nHost: api.test\r\n\r\n");
    assert_eq!((answer.status(), answer.body.len()), (204, 0));
    drop(Client::plain(gateway.plain()));
    assert_eq!(gateway.upstream.requests().len(), 2);
}
