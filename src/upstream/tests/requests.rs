//! What reaches the upstream of a client's request.

use super::support::{Gate, OK, Permitted, Raw, get, run, status_of};
use crate::policy::AuthorizationHeader;

async fn forwarded(lines: &str, permitted: Permitted) -> Raw {
    let raw = Raw::answering(OK).await;
    let gate = Gate::start(&raw.config(), permitted).await;
    let answer = gate.send(get(lines)).await;
    assert_eq!(status_of(&answer), "200", "{answer} {:?}", gate.failures());
    raw
}

#[test]
fn a_request_arrives_with_path_query_host_and_identity() {
    run(async {
        let raw = forwarded("Accept: a\r\nAccept: b\r\nX-Other: 1\r\n", Permitted::default()).await;
        let seen = raw.seen();
        assert!(seen.starts_with("get /a?b=c http/1.1\r\n"), "{seen}");
        assert_eq!(raw.values("host"), ["api.example.com"]);
        assert_eq!(raw.values("x-auth-subject"), ["alice"]);
        assert_eq!(raw.values("accept"), ["a", "b"]);
        assert_eq!(raw.values("x-other"), ["1"]);
        assert_eq!(raw.values("x-request-id"), ["0190-id"]);
        assert_eq!(raw.values("traceparent"), ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]);
        assert_eq!(raw.values("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(raw.values("x-forwarded-proto"), ["https"]);
        assert_eq!(raw.values("x-forwarded-host"), ["api.example.com"]);
        assert_eq!(raw.values("x-forwarded-port"), ["8443"]);
        assert_eq!(raw.values("forwarded"), ["for=127.0.0.1;host=\"api.example.com\";proto=https"]);
        assert_eq!(raw.values("via"), ["1.1 torwart"]);
        assert!(!seen.contains("connection:"), "{seen}");
        assert!(!seen.contains("content-length") && !seen.contains("transfer-encoding"), "{seen}");
    });
}

/// RFC 9110 section 7.6.1; building-blocks M11, M12, M14, M16.
#[test]
fn what_concerns_one_connection_stays_behind() {
    run(async {
        let lines = "Connection: X-Secret, x_named\r\nX-Secret: 1\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n\
            Proxy-Authorization: Basic eA==\r\nProxy_Connection: close\r\nTE: gzip, trailers\r\nUpgrade: h2c\r\n\
            HTTP2-Settings: AAMA\r\nTransfer_Encoding: chunked\r\nContent_Length: 5\r\nProxy: http://evil\r\n\
            X-Original-URL: /admin\r\nX_Rewrite_URL: /admin\r\nDPoP: x\r\n";
        let raw = forwarded(lines, Permitted::default()).await;
        let seen = raw.seen();
        for name in [
            "x-secret",
            "x-named",
            "keep-alive",
            "proxy",
            "upgrade",
            "http2",
            "transfer",
            "content",
            "original",
            "rewrite",
            "dpop",
            "connection",
            "gzip",
        ] {
            assert!(!seen.contains(name), "{name} in {seen}");
        }
        assert_eq!(raw.values("te"), ["trailers"]);
    });
}

#[test]
fn identity_cannot_be_claimed_in_any_spelling() {
    run(async {
        let lines = "X-Auth-Subject: evil\r\nX_Auth_Subject: evil\r\nx.auth.subject: evil\r\nX-AUTH_Global: true\r\n\
            X-Auth-Anything: evil\r\nX-Auth-Token: mine\r\nX_Auth_Token: evil\r\nX~Internal~User: evil\r\n\
            X-Internal-User: evil\r\n";
        let permitted = Permitted { removes: vec!["x-internal-user".into()], ..Permitted::default() };
        let raw = forwarded(lines, permitted).await;
        assert!(!raw.seen().contains("evil"), "{}", raw.seen());
        assert_eq!(raw.values("x-auth-subject"), ["alice"]);
        assert_eq!(raw.values("x-auth-global"), ["false"]);
        assert_eq!(raw.values("x-auth-token"), ["mine"], "`identity.pass` exempts the name as it is written there");
    });
}

#[test]
fn authorization_goes_on_only_where_it_may() {
    run(async {
        let strip = |authorization| Permitted { authorization, ..Permitted::default() };
        for (value, rule, arrives) in [
            ("Bearer abc", AuthorizationHeader::Strip, false),
            ("Basic abc", AuthorizationHeader::Strip, false),
            ("Bearer abc", AuthorizationHeader::StripTokens, false),
            ("bEaReR abc", AuthorizationHeader::StripTokens, false),
            ("DPoP abc", AuthorizationHeader::StripTokens, false),
            ("Basic abc, Bearer x", AuthorizationHeader::StripTokens, false),
            ("Bearer", AuthorizationHeader::StripTokens, false),
            ("Basic abc", AuthorizationHeader::StripTokens, true),
            ("Bearer abc", AuthorizationHeader::Keep, true),
        ] {
            let raw = forwarded(&format!("Authorization: {value}\r\n"), strip(rule)).await;
            assert_eq!(raw.values("authorization").len(), usize::from(arrives), "{value} {rule:?}");
        }
        let basic = Permitted { set: vec![("authorization", "Basic ours")], ..strip(AuthorizationHeader::Keep) };
        let raw = forwarded("Authorization: Bearer abc\r\n", basic).await;
        assert_eq!(raw.values("authorization"), ["Basic ours"]);
    });
}

#[test]
fn where_a_request_came_from_is_believed_of_trusted_proxies_only() {
    run(async {
        let lines = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 7.7.7.7\r\nX-Forwarded-Proto: http\r\n\
            X-Forwarded-Host: evil\r\nX-Forwarded-Prefix: /x\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
        let raw = forwarded(lines, Permitted::default()).await;
        let seen = raw.seen();
        assert!(!seen.contains("6.6.6.6") && !seen.contains("7.7.7.7") && !seen.contains("evil"), "{seen}");
        assert!(!seen.contains("x-forwarded-prefix"), "{seen}");

        let raw = forwarded(lines, Permitted { trusted: true, ..Permitted::default() }).await;
        assert_eq!(raw.values("x-forwarded-for"), ["6.6.6.6, 127.0.0.1"]);
        assert_eq!(raw.values("x-forwarded-proto"), ["http"]);
        assert_eq!(raw.values("x-forwarded-host"), ["evil"]);
        assert_eq!(raw.values("x-real-ip"), ["6.6.6.6"]);
        assert_eq!(raw.values("x-forwarded-prefix"), ["/x"]);
        assert!(!raw.seen().contains("7.7.7.7"), "{}", raw.seen());
        let forwarded = raw.values("forwarded");
        assert_eq!(forwarded.len(), 1);
        assert!(!forwarded[0].contains("6.6.6.6"), "the other header is not believed: {forwarded:?}");
    });
}

#[test]
fn the_other_fields_are_handled_as_declared() {
    run(async {
        let lines = "Cookie: a=1\r\nCookie: b=2\r\nVia: 1.0 fred\r\nX-HTTP-Method-Override: GET\r\n\
            X_HTTP_Method: GET\r\ntracestate: x=y\r\nX-Request-Id: theirs\r\nTraceparent: theirs\r\n";
        let raw = forwarded(lines, Permitted::default()).await;
        assert_eq!(raw.values("cookie"), ["a=1; b=2"]);
        assert_eq!(raw.values("via"), ["1.0 fred, 1.1 torwart"]);
        let seen = raw.seen();
        assert!(!seen.contains("method") && !seen.contains("tracestate") && !seen.contains("theirs"), "{seen}");
    });
}

/// Building-blocks M1, M2, M18.
#[test]
fn bodies_are_framed_anew() {
    run(async {
        let send = |head: &str, body: &str| {
            let bytes = format!("{head}Host: api.example.com\r\nConnection: close\r\n\r\n{body}");
            async move {
                let raw = Raw::answering(OK).await;
                let gate = Gate::start(&raw.config(), Permitted::default()).await;
                assert_eq!(status_of(&gate.send(bytes).await), "200");
                raw
            }
        };
        let chunked = "3\r\nabc\r\n0\r\n\r\n";
        let raw = send("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", chunked).await;
        assert_eq!(raw.values("transfer-encoding"), ["chunked"]);
        assert!(raw.seen().ends_with(chunked), "{}", raw.seen());

        let raw = send("HEAD / HTTP/1.1\r\nContent-Length: 003\r\n", "abc").await;
        assert_eq!(raw.values("content-length"), ["3"]);
        assert!(raw.seen().ends_with("\r\n\r\nabc"), "{}", raw.seen());

        let raw = send("POST / HTTP/1.1\r\nTransfer-Encoding: CHUNKED\r\n", chunked).await;
        assert_eq!(raw.values("transfer-encoding"), ["chunked"]);

        let raw = send("POST / HTTP/1.1\r\nContent-Length: 0\r\n", "").await;
        assert_eq!(raw.values("content-length"), ["0"]);

        let raw = send("DELETE / HTTP/1.1\r\n", "").await;
        assert!(!raw.seen().contains("content-length") && !raw.seen().contains("transfer"), "{}", raw.seen());
    });
}

/// Building-blocks M13.
#[test]
fn trailers_say_nothing_that_headers_may_not() {
    run(async {
        let raw = Raw::answering(OK).await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let bytes = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTE: trailers\r\n\
            Trailer: x-auth-subject, x_auth_global, x-checksum\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\n0\r\nX-Auth-Subject: evil\r\nx_auth_global: evil\r\nX-Checksum: 7\r\n\
            Authorization: evil\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(status_of(&gate.send(bytes).await), "200");
        let seen = raw.seen();
        assert!(!seen.contains("evil"), "{seen}");
        assert_eq!(raw.values("trailer"), ["x-checksum"]);
        assert_eq!(raw.values("x-checksum"), ["7"]);
        assert!(raw.values("content-length").is_empty(), "{seen}");
    });
}
