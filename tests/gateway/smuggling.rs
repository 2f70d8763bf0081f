//! Hostile framings, made from a list of mutations of every rule of RFC 9112 sections 3 to 7 and RFC 9113 section 8.
//!
//! Whatever a message looks like, for each of them: the upstream saw nothing, or exactly one request, the one that policy
//! was asked about, with the body that its sender meant. What hides in its body or behind its oddity never becomes a
//! request, and whoever asks next, on the same connection or on another, is answered correctly.

mod http1;
mod http2;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::http2::Http2;
use crate::support::message::Message;
use crate::support::world::Gateway;
use crate::support::{Client, World};

/// A hostile message.
struct Case {
    /// What is odd about it.
    what: String,
    /// The message, for HTTP/1.1 as bytes.
    message: Hostile,
    /// The only body with which it may be forwarded; `None`: it may not.
    passes: Option<Vec<u8>>,
}

enum Hostile {
    /// The bytes of a whole HTTP/1.1 message.
    Bytes(Vec<u8>),
    /// Fields, the body in one DATA frame, trailers.
    Fields(Fields, Option<Vec<u8>>, Fields),
}

type Fields = Vec<(String, Vec<u8>)>;

/// Where a case's own request goes.
fn target(number: usize) -> String {
    format!("/open/case-{number}")
}

/// What must never be read as a request.
fn smuggled(number: usize) -> String {
    format!("GET /open/smuggled-{number} HTTP/1.1\r\nHost: api.test\r\n\r\n")
}

/// A request about which nothing is odd, the last one of its connection.
fn honest(name: &str, number: usize) -> String {
    format!("GET /open/{name}-{number} HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
}

fn world() -> Gateway {
    // What waits for bytes that never come is not what is asked about here.
    World::new().limit("body_idle_timeout: 2s").limit("header_timeout: 2s").start()
}

/// The requests of this case that the upstream has seen whole.
fn seen(gateway: &Gateway, before: usize) -> Vec<Message> {
    gateway.upstream.requests().split_off(before)
}

/// What is wrong with what arrived of a case, if anything. `follower`: whether the honest request behind it was answered.
fn judge(case: &Case, number: usize, arrived: &[Message], follower: bool) -> Result<(), String> {
    let targets: Vec<_> = arrived.iter().map(Message::target).collect();
    let (own, behind) = (target(number), format!("/open/behind-{number}"));
    let times = |wanted: &str| targets.iter().filter(|target| **target == wanted).count();
    if times(&own) + times(&behind) != targets.len() || times(&own) > 1 || times(&behind) != usize::from(follower) {
        return Err(format!("these arrived: {targets:?}"));
    }
    match (arrived.iter().find(|request| request.target() == own), &case.passes) {
        (Some(request), None) => Err(format!("forwarded: {request:?}")),
        (Some(request), Some(body)) if request.body != *body => {
            Err(format!("forwarded with the body {}", request.body.escape_ascii()))
        }
        (Some(request), _) if request.trailers.iter().any(|(name, _)| name != "x-trailer") => {
            Err(format!("forwarded with the trailers {:?}", request.trailers))
        }
        (None, _) if !targets.is_empty() => Err(format!("these follow what was refused: {targets:?}")),
        _ => Ok(()),
    }
}

/// Runs a case and keeps what is wrong with it.
fn note(faults: &mut Vec<String>, case: &Case, run: impl FnOnce() -> Result<(), String>) {
    if let Err(fault) = run() {
        faults.push(format!("{}: {fault}", case.what));
    }
}

/// Everything the upstream saw was asked about, once, under the same name; what it did not read as a request broke off.
fn assert_accounted_for(mut gateway: Gateway) {
    for fault in gateway.upstream.faults() {
        assert!(fault.contains("unexpected end of file"), "the upstream read something odd: {fault}");
    }
    let mut allowed = BTreeMap::new();
    let requests = gateway.upstream.requests();
    for record in gateway.records().iter().filter(|record| record["decision"] == "allow") {
        let asked = (record["method"].to_string(), record["path"].to_string());
        *allowed.entry(asked).or_insert(0) += 1;
    }
    for request in requests {
        let (method, target, _) = request.request_line();
        let asked = (format!("\"{method}\""), format!("\"{target}\""));
        let left = allowed.get_mut(&asked).unwrap_or_else(|| panic!("{asked:?} was never asked about"));
        *left -= 1;
        assert!(*left >= 0, "{asked:?} arrived more often than it was asked about");
    }
}

#[test]
fn no_framing_of_http_1_hides_a_request() {
    let gateway = world();
    let cases = http1::cases();
    assert!(cases.len() >= 500, "{} cases", cases.len());
    let mut faults = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let Hostile::Bytes(bytes) = &case.message else { panic!("bytes") };
        let before = gateway.upstream.requests().len();
        let mut client = gateway.client();
        // A gateway that has seen enough may close before all is written.
        let _ = client.try_send([bytes.as_slice(), honest("behind", number).as_bytes()].concat());
        let mut answers = Vec::new();
        while let Ok(Some(answer)) = client.try_receive() {
            answers.push(answer);
        }
        // An interim answer says nothing yet.
        answers.retain(|answer| answer.status() != 100);
        let follower = answers.iter().any(|answer| answer.body == format!("GET /open/behind-{number}").as_bytes());
        note(&mut faults, case, || judge(case, number, &seen(&gateway, before), follower));
        note(&mut faults, case, || if answers.len() <= 2 { Ok(()) } else { Err(format!("{answers:?}")) });
        let other = gateway.client().ask(honest("other", number));
        assert_eq!(other.body, format!("GET /open/other-{number}").as_bytes(), "{}", case.what);
    }
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
    assert_accounted_for(gateway);
}

#[test]
fn no_framing_of_http_2_hides_a_request() {
    let gateway = world();
    let config = Arc::new(gateway.authority.client(&["h2"], None));
    let connect = || Http2::over(Client::tls(gateway.secure(), Arc::clone(&config), "api.test").expect("a handshake"));
    let get = |path: &str| {
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "api.test"), (":path", path)];
        fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec()
    };
    let cases = http2::cases();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let mut faults = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let Hostile::Fields(fields, body, trailers) = &case.message else { panic!("fields") };
        let before = gateway.upstream.requests().len();
        let mut connection = connect();
        let stream = match body {
            None => connection.request(&borrowed(fields)),
            Some(body) => {
                let stream = connection.begin(&borrowed(fields));
                connection.data(stream, body, trailers.is_empty());
                if !trailers.is_empty() {
                    connection.trailers(stream, &borrowed(trailers));
                }
                stream
            }
        };
        let outcome = connection.outcome(stream);
        let behind = connection.ask(&borrowed(&get(&format!("/open/behind-{number}"))));
        note(&mut faults, case, || match behind.status {
            Some(200) => Ok(()),
            _ if connection.closed => Ok(()),
            _ => Err(format!("{outcome:?}, behind it {behind:?}")),
        });
        let arrived = seen(&gateway, before);
        let (own, rest): (Vec<_>, Vec<_>) =
            arrived.into_iter().partition(|request| !request.target().contains("behind"));
        note(&mut faults, case, || judge(case, number, &own, false));
        assert_eq!(rest.len(), usize::from(behind.status == Some(200)), "{}", case.what);
        let other = connect().ask(&borrowed(&get(&format!("/open/other-{number}"))));
        assert_eq!(other.body, format!("GET /open/other-{number}").as_bytes(), "{}", case.what);
    }
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
    assert_accounted_for(gateway);
}

#[test]
fn what_is_announced_as_empty_is_forwarded_when_it_has_ended_empty() {
    let gateway = world();
    let config = Arc::new(gateway.authority.client(&["h2"], None));
    let mut connection = Http2::over(Client::tls(gateway.secure(), config, "api.test").expect("a handshake"));
    let post = [
        (":method", b"POST".as_slice()),
        (":scheme", b"https"),
        (":authority", b"api.test"),
        (":path", b"/open/a"),
        ("content-length", b"0"),
    ];
    let stream = connection.begin(&post);
    // Meanwhile others are served.
    let other = [&post[1..3], &[(":method", b"GET"), (":path", b"/open/b")]].concat();
    assert_eq!(connection.ask(&other).status, Some(200));
    assert_eq!(gateway.upstream.requests().len(), 1, "it has not ended");
    connection.data(stream, b"", true);
    assert_eq!(connection.outcome(stream).status, Some(200));
    let arrived = gateway.upstream.requests();
    assert_eq!((arrived.len(), arrived[1].target(), arrived[1].body.as_slice()), (2, "/open/a", b"".as_slice()));
}

fn borrowed(fields: &Fields) -> Vec<(&str, &[u8])> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}
