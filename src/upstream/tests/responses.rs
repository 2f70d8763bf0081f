//! What the client gets of an upstream's answer; the client table of the building blocks, row by row.

use super::super::MAX_INTERIM;
use super::support::{Gate, OK, Permitted, Raw, get, run, status_of};

/// What a client gets when the upstream answers with these bytes and closes, and the failures met.
async fn answered(bytes: impl Into<Vec<u8>>) -> (String, String) {
    let raw = Raw::answering_once(bytes).await;
    let gate = Gate::start(&raw.config(), Permitted::default()).await;
    let answer = gate.send(get("")).await;
    (answer, gate.failures().join(" "))
}

async fn is_502(bytes: &str, because: &str) {
    let (answer, failures) = answered(bytes).await;
    assert_eq!(status_of(&answer), "502", "{bytes:?} gave {answer:?}");
    assert!(failures.contains(because), "{bytes:?}: {failures}");
}

#[test]
fn a_whole_answer_is_passed_on_with_its_fields() {
    run(async {
        let (answer, _) = answered(
            "HTTP/1.1 201 Made\r\nContent-Length: 2\r\nX-Other: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 201 Made\r\n"), "{answer}");
        let lower = answer.to_ascii_lowercase();
        for line in ["content-length: 2", "x-other: 1", "set-cookie: a=1", "set-cookie: b=2", "via: 1.1 torwart"] {
            assert!(lower.contains(&format!("\r\n{line}\r\n")), "{line} in {answer}");
        }
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    });
}

#[test]
fn what_concerns_the_connection_behind_is_removed() {
    run(async {
        let (answer, _) = answered(
            "HTTP/1.1 200 OK\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nx_secret: 1\r\nKeep-Alive: timeout=5\r\n\
             Upgrade: h2c\r\nProxy-Authenticate: Basic\r\nProxy-Connection: close\r\nTE: x\r\nVia: 1.0 a\r\n\
             Content-Length: 2\r\n\r\nok",
        )
        .await;
        let lower = answer.to_ascii_lowercase();
        for name in ["secret", "keep-alive", "upgrade", "proxy", "\r\nte:"] {
            assert!(!lower.contains(name), "{name} in {answer}");
        }
        assert!(lower.contains("via: 1.0 a, 1.1 torwart"), "{answer}");
    });
}

/// RFC 9112 section 6.3.
#[test]
fn broken_framing_is_502() {
    run(async {
        let head = "HTTP/1.1 200 OK\r\n";
        is_502(&format!("{head}Content-Length: 2, 2\r\n\r\nok"), "ContentLength").await;
        is_502(&format!("{head}Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"), "ContentLength").await;
        is_502(&format!("{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"), "").await;
        is_502(&format!("{head}Content-Length: +2\r\n\r\nok"), "").await;
        let chunks = "2\r\nok\r\n0\r\n\r\n";
        for coding in ["chunked, chunked", "gzip, chunked", ",chunked", "xchunked", "identity", "gzip", ""] {
            is_502(&format!("{head}Transfer-Encoding: {coding}\r\n\r\n{chunks}"), "TransferEncoding").await;
        }
        is_502(
            &format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
            "TransferEncoding",
        )
        .await;
        is_502(&format!("{head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"), "TransferEncoding")
            .await;
        is_502(&format!("{head}Content-Length: 2\r\nTransfer-Encoding: identity\r\n\r\nok"), "TransferEncoding").await;
        is_502(&format!("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"), "").await;
    });
}

#[test]
fn a_length_is_passed_on_in_its_plain_form() {
    run(async {
        let (answer, _) = answered("HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\nok").await;
        assert!(answer.to_ascii_lowercase().contains("\r\ncontent-length: 2\r\n"), "{answer}");
    });
}

#[test]
fn odd_statuses_and_malformed_heads_are_502() {
    run(async {
        is_502("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", "Status(999)").await;
        is_502("HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n", "Status(600)").await;
        is_502("HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n", "Malformed").await;
        is_502("HTTP/1.1 1000 Odd\r\nContent-Length: 0\r\n\r\n", "Malformed").await;
        is_502("HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", "Malformed").await;
        is_502("<html>hello</html>\r\n\r\n", "Malformed").await;
        is_502("HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 0\r\n\r\n", "Malformed").await;
        is_502("HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 0\r\n\r\n", "Malformed").await;
        is_502("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n", "Malformed").await;
        is_502(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(101)), "Malformed").await;
        is_502(&format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000)), "Malformed").await;
        is_502("", "Closed").await;
        is_502("HTTP/1.1 200 OK\r\nContent-", "Closed").await;
    });
}

/// RFC 9110 sections 7.8 and 15.2.2.
#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_502() {
    run(async {
        is_502("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbytes", "UnaskedSwitch")
            .await;
        is_502("HTTP/1.1 101 Switching\r\nContent-Length: 2\r\n\r\nok", "UnaskedSwitch").await;
    });
}

#[test]
fn interim_answers_are_passed_over_up_to_ten() {
    run(async {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        let (answer, _) = answered(format!("{}{OK}", early.repeat(MAX_INTERIM))).await;
        assert_eq!(status_of(&answer), "200", "{answer}");
        let raw = Raw::start(|_, mut talk| async move {
            talk.request().await;
            for _ in 0..=MAX_INTERIM {
                talk.say("HTTP/1.1 100 Continue\r\n\r\n").await;
            }
            talk.read().await;
        })
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        assert_eq!(status_of(&gate.send(get("")).await), "502");
        assert!(gate.failures().join("").contains("Interim"));
    });
}

#[test]
fn more_interim_answers_than_allowed_are_502_even_with_an_answer_behind_them() {
    run(async {
        is_502(&format!("{}{OK}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_INTERIM + 1)), "Interim").await;
        is_502(&format!("{}{OK}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(5_000)), "Interim").await;
    });
}

/// RFC 9112 section 8: what is incomplete is not passed on as complete.
#[test]
fn a_truncated_body_ends_in_an_abort() {
    run(async {
        let (answer, _) = answered("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok").await;
        assert!(answer.contains("content-length: 10") && answer.ends_with("ok"), "{answer}");
        let (answer, _) = answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await;
        assert!(!answer.contains("0\r\n\r\n"), "no clean end: {answer}");
        let (answer, _) = answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n").await;
        assert!(!answer.contains("0\r\n\r\n"), "no clean end: {answer}");
    });
}

#[test]
fn a_body_that_ends_with_the_connection_is_framed_for_the_client() {
    run(async {
        let (answer, _) = answered("HTTP/1.1 200 OK\r\n\r\nok").await;
        assert!(answer.ends_with("2\r\nok\r\n0\r\n\r\n"), "{answer}");
        let (answer, _) = answered("HTTP/1.0 200 OK\r\n\r\nok").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (answer, _) = answered("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
        assert!(answer.ends_with("\r\n\r\nok"), "bare LF is normalised: {answer:?}");
    });
}

#[test]
fn answers_without_body_have_none() {
    run(async {
        let (answer, _) = answered("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello").await;
        assert!(answer.ends_with("\r\n\r\n") && !answer.contains("content-length"), "{answer}");
        let (answer, _) = answered("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n").await;
        assert!(answer.contains("etag: x") && answer.ends_with("\r\n\r\n"), "{answer}");
        let raw = Raw::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let answer = gate.send("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(answer.contains("content-length: 5") && answer.ends_with("\r\n\r\n"), "{answer}");
    });
}

#[test]
fn trailers_come_through_unless_they_concern_the_connection() {
    run(async {
        let raw = Raw::answering(
            "HTTP/1.1 200 OK\r\nTrailer: x-checksum, connection\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nok\r\n0\r\nX-Checksum: 7\r\nConnection: close\r\nContent-Length: 9\r\n\r\n",
        )
        .await;
        let gate = Gate::start(&raw.config(), Permitted::default()).await;
        let answer = gate.send(get("TE: trailers\r\n")).await.to_ascii_lowercase();
        assert!(answer.ends_with("0\r\nx-checksum: 7\r\n\r\n"), "{answer}");
    });
}

#[test]
fn the_upstreams_own_address_is_mapped_back_where_that_is_asked_for() {
    run(async {
        let raw = Raw::start(|_, mut talk| async move {
            let own = talk.stream.local_addr().unwrap();
            talk.request().await;
            talk.say(format!("HTTP/1.1 302 Found\r\nLocation: http://{own}/b\r\nContent-Length: 0\r\n\r\n")).await;
        })
        .await;
        let mut upstream = raw.config();
        let gate = Gate::start(&upstream, Permitted::default()).await;
        let as_told = format!("location: http://{}/b\r\n", raw.address);
        assert!(gate.send(get("")).await.to_ascii_lowercase().contains(&as_told));
        upstream.rewrite_location = true;
        let gate = Gate::start(&upstream, Permitted::default()).await;
        let answer = gate.send(get("")).await.to_ascii_lowercase();
        assert!(answer.contains("location: https://api.example.com/b\r\n"), "{answer}");
    });
}
