//! Clients that know what is right, and compare.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::catalogue::{Case, Catalogue, Right};
use crate::ledger::Fate;
use crate::site::{Site, sum};
use crate::support::client::Client;
use crate::support::http2::Http2;

/// Between two requests of one client: the load is steady, and leaves the machine to others as well.
const PAUSE: Duration = Duration::from_millis(12);

/// Whether it is time to stop.
pub(crate) type Until<'s> = &'s (dyn Fn() -> bool + Sync);

/// What a client heard: status and body, or nothing that was whole.
type Heard = Result<(u16, Vec<u8>), String>;

/// A request under way.
pub(crate) struct Asked {
    id: String,
    begun: Instant,
    low: u64,
}

impl Asked {
    pub(crate) fn begin(site: &Site, fate: Fate) -> Self {
        let low = site.ledger.in_force.load(std::sync::atomic::Ordering::SeqCst);
        Self { id: site.ledger.begin(fate), begun: Instant::now(), low }
    }
}

/// Compares what a client heard with what is right.
pub(crate) fn judge(site: &Site, case: &Case, asked: &Asked, heard: Heard) {
    let ledger = &site.ledger;
    let times = ledger.end(&asked.id);
    let wrong = |what: String| {
        let (method, host, target) = (case.method, case.host, &case.target);
        ledger.wrong(format!("{} ({} {method} {host}{target}): {what}", case.name, asked.id));
    };
    if times > 1 && case.method == "POST" {
        wrong(format!("it arrived {times} times"));
    }
    let excused = ledger.is_excused(case.relies_on, asked.begun);
    match (&case.right, heard) {
        (Right::Served { target, subject }, Ok((200, body))) => {
            ledger.count("served");
            match right_answer(site, case, asked, (target, subject), &body) {
                Ok(()) if times == 0 => wrong("it was answered and has never arrived".into()),
                Ok(()) => {}
                Err(what) => wrong(what),
            }
        }
        (Right::Refused(statuses), Ok((status, body))) if statuses.contains(&status) => {
            ledger.count(format!("refused: {}", case.name));
            if !String::from_utf8_lossy(&body).contains("\"type\":\"urn:torwart:") {
                wrong(format!("the answer is not the gateway's own: {}", String::from_utf8_lossy(&body)));
            }
        }
        (_, Ok((status @ (502..=504), _))) if excused => {
            ledger.count(format!("{status} while {} is ill", case.relies_on));
        }
        (Right::Served { .. }, Err(_)) if excused => {
            ledger.count(format!("broken off while {} is ill", case.relies_on));
        }
        (_, heard) => {
            let heard = heard.map(|(status, body)| format!("{status} {}", String::from_utf8_lossy(&body)));
            wrong(format!("{heard:?} instead of {:?} after {:?}", case.right, asked.begun.elapsed()));
        }
    }
}

fn right_answer(
    site: &Site,
    case: &Case,
    asked: &Asked,
    (target, subject): (&str, &str),
    body: &[u8],
) -> Result<(), String> {
    let seen: serde_json::Value = serde_json::from_slice(body).map_err(|error| format!("{error}: another answer"))?;
    let text = |name: &str| seen[name].as_str().unwrap_or_default().to_owned();
    if subject != "?" && (text("subject") != subject) {
        return Err(format!("the upstream was told that it is {:?}", text("subject")));
    }
    let upstream = if case.host == "api.test" { "steady" } else { case.relies_on };
    let expected = [&asked.id, case.method, target, upstream, &sum(&case.body)];
    let told = ["id", "method", "target", "by", "sum"].map(text);
    if told.iter().zip(expected).any(|(told, expected)| told != expected) {
        return Err(format!("the upstream saw {told:?} instead of {expected:?}"));
    }
    if upstream == "steady" {
        let generation: u64 = text("generation").parse().map_err(|_| format!("no generation: {seen}"))?;
        let high = site.ledger.written.load(std::sync::atomic::Ordering::SeqCst);
        if !(asked.low..=high).contains(&generation) {
            return Err(format!("configuration {generation}, where {} to {high} may be in force", asked.low));
        }
    }
    Ok(())
}

/// The bytes of a request.
pub(crate) fn message(case: &Case, asked: &Asked) -> Vec<u8> {
    let (id, length) = (&asked.id, case.body.len());
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\nX-Soak: {id}\r\n", case.method, case.target, case.host);
    for (name, value) in &case.fields {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if case.method != "GET" {
        let _ = write!(head, "Content-Length: {length}\r\n");
    }
    [head.as_bytes(), b"\r\n", &case.body].concat()
}

fn exchange(client: &mut Client, bytes: &[u8]) -> io::Result<(u16, Vec<u8>, bool)> {
    // Who is refused before the end of the body may not get rid of the rest.
    let sent = client.try_send(bytes);
    let Some(answer) = client.try_receive()? else {
        return Err(sent.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
    };
    let closes = answer.all("connection").contains(&"close");
    Ok((answer.status(), answer.body, closes))
}

/// How a client connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    Tls,
    /// With a client certificate.
    Certified,
}

/// A new connection.
pub(crate) fn connect(site: &Site, way: Way) -> Client {
    let config = |shown| Arc::new(site.authority.client(&["http/1.1"], shown));
    let tls = |config| Client::tls(site.secure, config, "api.test").expect("a handshake");
    match way {
        Way::Plain => Client::plain(site.plain),
        Way::Tls => tls(config(None)),
        Way::Certified => tls(config(Some(&site.client_certificate))),
    }
}

/// Requests over connections that live for up to so many of them.
pub(crate) fn http1(site: &Site, seed: u64, way: Way, most: usize, until: Until<'_>) {
    let mut catalogue = Catalogue::new(site, seed);
    catalogue.has_certificate = way == Way::Certified;
    let mut connection: Option<(Client, usize)> = None;
    while !until() {
        let case = catalogue.draw();
        let (mut client, left) =
            connection.take().unwrap_or_else(|| (connect(site, way), 1 + catalogue.dice.below(most)));
        let asked = Asked::begin(site, case.fate());
        match exchange(&mut client, &message(&case, &asked)) {
            Ok((status, body, closes)) => {
                judge(site, &case, &asked, Ok((status, body)));
                connection = (!closes && left > 1).then_some((client, left - 1));
            }
            Err(error) => judge(site, &case, &asked, Err(error.to_string())),
        }
        thread::park_timeout(PAUSE);
    }
}

/// Several requests at once over HTTP/2.
pub(crate) fn http2(site: &Site, seed: u64, until: Until<'_>) {
    let mut catalogue = Catalogue::new(site, seed);
    while !until() {
        let config = Arc::new(site.authority.client(&["h2"], None));
        let mut connection = Http2::over(Client::tls(site.secure, config, "api.test").expect("a handshake"));
        for _ in 0..40 {
            if until() {
                break;
            }
            let cases: Vec<_> = (0..6).map(|_| catalogue.draw()).collect();
            let streams: Vec<_> = cases.iter().map(|case| begin(site, &mut connection, case)).collect();
            for (case, (asked, stream)) in cases.iter().zip(streams) {
                let outcome = connection.outcome(stream);
                let heard = match (outcome.status, outcome.reset) {
                    (Some(status), None) if outcome.ended => Ok((status, outcome.body)),
                    // Who is refused need not send the rest (RFC 9113 section 8.1).
                    (Some(status), Some(0)) if case.fate() == Fate::Refused => Ok((status, outcome.body)),
                    (status, reset) => Err(format!("status {status:?}, reset {reset:?}")),
                };
                judge(site, case, &asked, heard);
            }
            thread::park_timeout(PAUSE * 6);
        }
    }
}

fn begin(site: &Site, connection: &mut Http2, case: &Case) -> (Asked, u32) {
    let asked = Asked::begin(site, case.fate());
    let mut fields: Vec<(&str, &[u8])> = vec![
        (":method", case.method.as_bytes()),
        (":scheme", b"https"),
        (":authority", case.host.as_bytes()),
        (":path", case.target.as_bytes()),
        ("x-soak", asked.id.as_bytes()),
    ];
    fields.extend(case.fields.iter().map(|(name, value)| (*name, value.as_bytes())));
    let stream = if case.body.is_empty() {
        connection.request(&fields)
    } else {
        let stream = connection.begin(&fields);
        let mut pieces = case.body.chunks(16_000).peekable();
        while let Some(piece) = pieces.next() {
            connection.data(stream, piece, pieces.peek().is_none());
        }
        stream
    };
    (asked, stream)
}
