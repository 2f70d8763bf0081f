//! What takes its time: streams that end with their token, big bodies, clients that are slow or leave, and what is revoked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::catalogue::Dice;
use crate::clients::{Until, Way, connect};
use crate::ledger::Fate;
use crate::site::{ALICE, BIG, Site, seconds, sum};
use crate::support::client::Client;

/// How much later than its token a stream may end on a machine that has other work.
const LATE: Duration = Duration::from_secs(5);

/// Leeway of the tokens' issuer, and the second that is cut off where times are whole seconds.
const LEEWAY: u64 = 1;

fn head(method: &str, path: &str, id: &str, token: &str, lines: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: api.test\r\nX-Soak: {id}\r\nAuthorization: Bearer {token}\r\n{lines}\r\n"
    )
}

const UPGRADE: &str = "X-Do: socket\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// What is said when a tunnel is closed for its token (RFC 6455 section 7.4.1).
const POLICY_VIOLATION: [u8; 4] = [0x88, 2, 0x03, 0xf0];

/// Compares the end of a stream with the end of its token.
fn judge_end(site: &Site, what: &str, expires: u64) {
    let now = seconds();
    if now < expires {
        site.ledger.wrong(format!("{what} ended {} s before its token", expires - now));
    } else if now > expires + LEEWAY + 1 + LATE.as_secs() {
        site.ledger.wrong(format!("{what} ended {} s after its token", now - expires));
    } else {
        site.ledger.count(format!("{what} ended with its token"));
    }
}

/// Asks for something that goes on, with a token of a few seconds. When it expires is told beside the client.
fn ask_for_stream(site: &Site, dice: &mut Dice, fields: &str) -> (Client, u64) {
    let expires = seconds() + 2 + dice.below(5) as u64;
    let asked = site.ledger.begin(Fate::Either);
    let mut client = connect(site, if dice.below(2) == 0 { Way::Plain } else { Way::Tls });
    client.send(head("GET", "/me", &asked, &site.alice(&json!({"exp": expires, "jti": asked})), fields));
    (client, expires)
}

/// `WebSocket`s that live as long as their token.
pub(crate) fn sockets(site: &Site, seed: u64, until: Until<'_>) {
    let mut dice = Dice::new(seed);
    while !until() {
        let (mut client, expires) = ask_for_stream(site, &mut dice, UPGRADE);
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            seen.extend(client.bytes(1).unwrap_or_else(|| b"\r\n\r\n".to_vec()));
        }
        if !seen.starts_with(b"HTTP/1.1 101 ") {
            site.ledger.wrong(format!("no WebSocket: {}", String::from_utf8_lossy(&seen)));
            continue;
        }
        let frame = [0x82, 1, b'a'];
        loop {
            if client.try_send(frame).is_err() {
                site.ledger.wrong("a WebSocket was closed without a word".into());
                break;
            }
            match client.bytes(3) {
                Some(bytes) if bytes == frame => thread::park_timeout(Duration::from_millis(100)),
                Some(bytes) if bytes == POLICY_VIOLATION[..3] => {
                    judge_end(site, "a WebSocket", expires);
                    break;
                }
                other => {
                    site.ledger.wrong(format!("a WebSocket says {other:?}"));
                    break;
                }
            }
        }
    }
}

/// Event streams that live as long as their token.
pub(crate) fn events(site: &Site, seed: u64, until: Until<'_>) {
    let mut dice = Dice::new(seed);
    while !until() {
        let (mut client, expires) = ask_for_stream(site, &mut dice, "X-Do: events\r\n");
        let all = client.rest();
        if !all.starts_with(b"HTTP/1.1 200 ") || all.ends_with(b"0\r\n\r\n") {
            site.ledger.wrong(format!("an event stream: {}", String::from_utf8_lossy(&all)));
        }
        judge_end(site, "an event stream", expires);
    }
}

/// Big bodies up and down.
pub(crate) fn bodies(site: &Site, seed: u64, until: Until<'_>) {
    let mut dice = Dice::new(seed);
    let mut number = 0;
    while !until() {
        number += 1;
        let asked = site.ledger.begin(Fate::Served);
        let token = site.alice(&json!({}));
        let mut client = connect(site, if number % 2 == 0 { Way::Plain } else { Way::Tls });
        let whole = if number % 3 == 0 {
            client.send(head("GET", "/me", &asked, &token, "X-Do: big\r\n"));
            client.try_receive().is_ok_and(|answer| {
                answer.is_some_and(|answer| answer.body.len() == BIG && answer.body.iter().all(|byte| *byte == b'b'))
            })
        } else {
            let body = vec![u8::try_from(dice.below(256)).expect("a byte"); 1 + dice.below(2 * BIG)];
            let (lines, sent) = if number % 3 == 1 {
                (format!("Content-Length: {}\r\n", body.len()), body.clone())
            } else {
                ("Transfer-Encoding: chunked\r\n".to_owned(), chunked(&body))
            };
            client.send(head("POST", "/upload", &asked, &token, &lines));
            let sent = client.try_send(sent);
            let answer = client.try_receive().ok().flatten();
            sent.is_ok() && answer.is_some_and(|answer| answer.status() == 200 && answer.json()["sum"] == sum(&body))
        };
        let times = site.ledger.end(&asked);
        if whole && times == 1 {
            site.ledger.count("big bodies");
        } else {
            site.ledger.wrong(format!("a big body (kind {}) arrived {times} times, whole: {whole}", number % 3));
        }
        thread::park_timeout(Duration::from_millis(300));
    }
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 1000);
    for piece in body.chunks(30_000) {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// Clients that leave in the middle, and clients that are slow.
pub(crate) fn unsteady(site: &Site, seed: u64, until: Until<'_>) {
    let mut dice = Dice::new(seed);
    while !until() {
        let token = site.alice(&json!({}));
        match dice.below(5) {
            0 => {
                let asked = site.ledger.begin(Fate::Either);
                let mut client = connect(site, Way::Tls);
                let _ = client.try_send(head("POST", "/upload", &asked, &token, "Content-Length: 1000000\r\n"));
                let _ = client.try_send(vec![b'x'; 100_000]);
                site.ledger.count("left in the middle of a request");
            }
            1 => {
                let asked = site.ledger.begin(Fate::Either);
                let mut client = connect(site, Way::Plain);
                let _ = client.try_send(head("GET", "/me", &asked, &token, "X-Do: big\r\n"));
                let _ = client.bytes(10_000);
                site.ledger.count("left in the middle of an answer");
            }
            2 => drips_its_head(site, &token, until),
            3 => reads_slowly(site, &token),
            _ => never_ends_its_head(site),
        }
        thread::park_timeout(Duration::from_millis(100));
    }
}

fn drips_its_head(site: &Site, token: &str, until: Until<'_>) {
    let asked = site.ledger.begin(Fate::Served);
    let mut client = connect(site, Way::Plain);
    for piece in head("GET", "/me", &asked, token, "").as_bytes().chunks(40) {
        client.send(piece);
        thread::park_timeout(Duration::from_millis(if until() { 1 } else { 50 }));
    }
    let status = client.try_receive().ok().flatten().map(|answer| answer.status());
    let times = site.ledger.end(&asked);
    if (status, times) == (Some(200), 1) {
        site.ledger.count("a head that dripped");
    } else {
        site.ledger.wrong(format!("a head that dripped: {status:?}, arrived {times} times"));
    }
}

fn reads_slowly(site: &Site, token: &str) {
    let asked = site.ledger.begin(Fate::Served);
    let mut client = connect(site, Way::Plain);
    client.send(head("GET", "/me", &asked, token, "X-Do: big\r\n"));
    let mut taken = 0;
    while let Some(piece) = client.bytes(256 << 10) {
        taken += piece.len();
        if taken >= BIG {
            break;
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    site.ledger.end(&asked);
    if taken >= BIG {
        site.ledger.count("an answer that was read slowly");
    } else {
        site.ledger.wrong(format!("an answer that was read slowly ended after {taken} bytes"));
    }
}

fn never_ends_its_head(site: &Site) {
    let asked = site.ledger.begin(Fate::Refused);
    let begun = Instant::now();
    let mut client = connect(site, Way::Plain);
    client.send(format!("GET /open/a HTTP/1.1\r\nHost: api.test\r\nX-Soak: {asked}\r\n"));
    let rest = client.rest();
    let (closed, text) = (begun.elapsed(), String::from_utf8_lossy(&rest).into_owned());
    if (rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 ")) && closed < Duration::from_secs(15) {
        site.ledger.count("a head without end");
    } else {
        site.ledger.wrong(format!("a head without end: {text} after {closed:?}"));
    }
}

/// Framings of which each hides a request that must not arrive.
const FRAMINGS: [&str; 12] = [
    "POST /open/x HTTP/1.1\r\nHost: api.test\r\nX-Soak: OUTER\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
    "POST /open/x HTTP/1.1\r\nHost: api.test\r\nX-Soak: OUTER\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\nHIDDEN",
    "POST /open/x HTTP/1.1\r\nHost: api.test\r\nX-Soak: OUTER\r\nContent-Length: +0\r\n\r\nHIDDEN",
    "POST /open/x HTTP/1.1\r\nHost: api.test\r\nX-Soak: OUTER\r\nContent-Length : 0\r\n\r\nHIDDEN",
    "POST /open/x HTTP/1.1\r\nHost: api.test\r\nX-Soak: OUTER\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nHIDDEN",
    "POST /open/x HTTP/1.1\r\nHost: api.test\r\nX-Soak: OUTER\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nHIDDEN",
    "POST /open/x HTTP/1.1\r\nHost: api.test\r\nX-Soak: OUTER\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\nHIDDEN",
    "POST /open/x HTTP/1.1\r\nHost: api.test\r\nX-Soak: OUTER\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\nHIDDEN",
    "POST /open/x HTTP/1.0\r\nHost: api.test\r\nX-Soak: OUTER\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
    "GET /open/x HTTP/1.1\r\nHost: api.test\r\nHost: other.test\r\nX-Soak: OUTER\r\n\r\nHIDDEN",
    "GET /open/x HTTP/1.1\r\nHost: api.test\r\nX-Soak: OUTER\r\nX-Fold: a\r\n b\r\n\r\nHIDDEN",
    "GET /open/x HTTP/1.1\r\nHost: api.test\r\nX-Soak: OUTER\r\nX-Null: a\0b\r\n\r\nHIDDEN",
];

/// Bytes that are no request, and requests that hide others.
pub(crate) fn hostile(site: &Site, seed: u64, until: Until<'_>) {
    let mut dice = Dice::new(seed);
    while !until() {
        let (outer, hidden) = (site.ledger.begin(Fate::Either), site.ledger.begin(Fate::Refused));
        let hidden = format!("GET /open/y HTTP/1.1\r\nHost: api.test\r\nX-Soak: {hidden}\r\n\r\n");
        let number = dice.below(FRAMINGS.len() + 1);
        let bytes = match FRAMINGS.get(number) {
            Some(framing) => framing.replace("OUTER", &outer).replace("HIDDEN", &hidden).into_bytes(),
            None => (0..200).map(|_| u8::try_from(dice.below(256)).expect("a byte")).collect(),
        };
        if let Ok(answer) = raw(site, &bytes)
            && (answer.starts_with(b"HTTP/1.1 2") && number != 0)
        {
            site.ledger.wrong(format!("framing {number} was served: {}", String::from_utf8_lossy(&answer)));
        }
        site.ledger.count("hostile framings");
        thread::park_timeout(Duration::from_millis(50));
    }
}

/// What comes back until the end.
fn raw(site: &Site, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(site.plain)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(bytes)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Tokens that are used, then revoked, then used again, with a stream of each.
pub(crate) fn revocations(site: &Site, seed: u64, until: Until<'_>) {
    let mut dice = Dice::new(seed);
    while !until() {
        let (before, stream) = (site.ledger.begin(Fate::Either), site.ledger.begin(Fate::Either));
        let token = site.alice(&json!({"sub": ALICE, "jti": before, "exp": seconds() + 60}));
        let mut client = connect(site, Way::Plain);
        let status = client.ask(head("GET", "/me", &before, &token, "")).status();
        let mut streaming = connect(site, Way::Tls);
        streaming.send(head("GET", "/me", &stream, &token, "X-Do: events\r\n"));
        let began = streaming.bytes(12).is_some_and(|start| start == b"HTTP/1.1 200");
        let body = json!({"issuer": "shoen", "jti": before}).to_string();
        let revoked = site.program.say("POST", "/api/v1/revocations", &body).map(|(status, _)| status);
        let at = Instant::now();
        let after = site.ledger.begin(Fate::Refused);
        let refused = client.ask(head("GET", "/me", &after, &token, "")).status();
        streaming.rest();
        let ended = at.elapsed();
        if status != 200 || !began || !matches!(revoked, Some(200 | 201)) || refused != 401 || ended > LATE {
            let what = format!("{status}, a stream: {began}, revoked: {revoked:?}, then {refused}, ended in {ended:?}");
            site.ledger.wrong(format!("a revocation: {what}"));
        }
        site.ledger.count("revocations");
        thread::park_timeout(Duration::from_millis(500 + dice.below(1000) as u64));
    }
}
