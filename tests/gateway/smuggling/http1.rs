//! Mutations of HTTP/1.1 messages.

use super::{Case, Hostile, smuggled, target};

/// Collects cases; each gets a number, which is in its target and in what hides in it.
struct Cases(Vec<Case>);

/// What a length may be written like when `L` is the right one. Other servers read some of these as `L`, some as 0.
const LENGTHS: [&str; 38] = [
    "0L",
    "00000L",
    "+L",
    "-L",
    "0xL",
    "0XL",
    "L,L",
    "L, L",
    "L ,L",
    "L,",
    ",L",
    "L;",
    "L;a=b",
    "L\x0b",
    "\x0bL",
    "\x0cL",
    "L\x0c",
    "L\0",
    "\0L",
    "Le0",
    "L.0",
    "L.",
    "\"L\"",
    "'L'",
    "L L",
    "L\tL",
    "0, L",
    "L, 0",
    "",
    "-0",
    "-1",
    "18446744073709551617",
    "99999999999999999999",
    "NaN",
    "L\u{a0}",
    "\u{ff11}",
    "0b1",
    "L\r\n 0",
];

/// What a transfer coding may be written like.
const CODINGS: [&str; 42] = [
    "Chunked",
    "CHUNKED",
    "chunKed",
    "chunked,",
    ",chunked",
    "chunked, chunked",
    "chunked,chunked",
    "chunked, identity",
    "identity, chunked",
    "identity",
    "gzip",
    "gzip, chunked",
    "deflate, chunked",
    "compress",
    "trailers",
    "chunked;q=1",
    "chunked; a",
    "\"chunked\"",
    "'chunked'",
    "{chunked}",
    "xchunked",
    "chunkedx",
    "x chunked",
    "chunked x",
    "chunked\x0b",
    "\x0bchunked",
    "\x0cchunked",
    "chunked\x0c",
    "chunked\0",
    "\0chunked",
    "chunked\x1f",
    "chunked\x7f",
    "chun\tked",
    "",
    ";",
    "null",
    "chunke",
    "cow",
    "chunked\r\n identity",
    "\r\n chunked",
    "chunked\u{a0}",
    "\u{212a}",
];

/// Names that somebody might take for another one; `_` stands for it.
const NAMES: [&str; 18] = [
    "_ ", "_\t", " _", "\t_", "_\x0b", "_\x0c", "_\0", "\0_", "_\x7f", "\x0b_", "\"_\"", "_:", ":_", "X: y\n_",
    "X: y\r_", "_\r\n ", "_\u{a0}", "(_)",
];

/// Lines that may stand for the size 5.
const SIZES: [&str; 34] = [
    "0x5",
    "0X5",
    "+5",
    "-5",
    " 5",
    "\t5",
    "5 ",
    "5\t",
    "5 ;",
    "5;",
    "5;a",
    "5;a=b",
    "5;a=\"b\"",
    "5; a = b",
    "5;\"\r\n",
    "5\x0b",
    "5\x0c",
    "5\0",
    "5;\0",
    "5_",
    "5.",
    "5,5",
    "5h",
    "h5",
    "",
    "\"5\"",
    "5;\n",
    "5;\r",
    "5\u{a0}",
    "FFFFFFFFFFFFFFFFF",
    "10000000000000005",
    "-FFFFFFFFFFFFFFFB",
    "5\r",
    "5\n\r",
];

impl Cases {
    fn number(&self) -> usize {
        self.0.len()
    }

    /// The request that hides.
    fn hidden(&self) -> String {
        smuggled(self.number())
    }

    fn push(&mut self, what: impl Into<String>, bytes: impl Into<Vec<u8>>, passes: Option<&[u8]>) {
        let what = format!("case {}: {}", self.number(), what.into().escape_debug());
        let passes = passes.map(<[u8]>::to_vec);
        self.0.push(Case { what, message: Hostile::Bytes(bytes.into()), passes });
    }

    /// A POST with these lines between Host and the empty line.
    fn post(&mut self, what: impl Into<String>, lines: &str, body: &str, passes: Option<&[u8]>) {
        let target = target(self.number());
        self.push(what, latin1(&format!("POST {target} HTTP/1.1\r\nHost: api.test\r\n{lines}\r\n\r\n{body}")), passes);
    }

    /// A chunked POST with this body.
    fn chunked(&mut self, what: impl Into<String>, body: &str, passes: Option<&[u8]>) {
        self.post(what, "Transfer-Encoding: chunked", body, passes);
    }
}

/// Characters up to U+00FF as one byte each, as old clients send them; others as UTF-8.
fn latin1(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for character in text.chars() {
        match u8::try_from(u32::from(character)) {
            Ok(byte) => out.push(byte),
            Err(_) => out.extend_from_slice(character.to_string().as_bytes()),
        }
    }
    out
}

/// Every case.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    lengths(&mut cases);
    codings(&mut cases);
    names(&mut cases);
    sizes(&mut cases);
    ends_of_chunks(&mut cases);
    trailers(&mut cases);
    line_ends(&mut cases);
    request_lines(&mut cases);
    fields(&mut cases);
    hosts(&mut cases);
    named_by_connection(&mut cases);
    versions_and_upgrades(&mut cases);
    bodies_where_few_expect_them(&mut cases);
    cases.0
}

fn lengths(cases: &mut Cases) {
    for odd in LENGTHS {
        let hidden = cases.hidden();
        let value = odd.replace('L', &hidden.len().to_string());
        cases.post(format!("length {odd}"), &format!("Content-Length: {value}"), &hidden, None);
        let hidden = cases.hidden();
        let value = odd.replace('L', &hidden.len().to_string());
        cases.post(
            format!("length {odd} before another"),
            &format!("Content-Length: {value}\r\nContent-Length: {}", hidden.len()),
            &hidden,
            None,
        );
        let body = format!("0\r\n\r\n{}", cases.hidden());
        let value = odd.replace('L', &body.len().to_string());
        cases.post(
            format!("length {odd} beside chunks"),
            &format!("Content-Length: {value}\r\nTransfer-Encoding: chunked"),
            &body,
            None,
        );
    }
}

fn codings(cases: &mut Cases) {
    for odd in CODINGS {
        let hidden = cases.hidden();
        cases.post(format!("coding {odd}"), &format!("Transfer-Encoding: {odd}"), &format!("0\r\n\r\n{hidden}"), None);
        let body = format!("0\r\n\r\n{}", cases.hidden());
        let lines = format!("Content-Length: {}\r\nTransfer-Encoding: {odd}", body.len());
        cases.post(format!("coding {odd} beside a length"), &lines, &body, None);
        let body = format!("0\r\n\r\n{}", cases.hidden());
        let lines = format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: {odd}");
        cases.post(format!("coding {odd} beside another"), &lines, &body, None);
    }
}

fn names(cases: &mut Cases) {
    for odd in NAMES {
        let hidden = cases.hidden();
        let name = odd.replace('_', "Content-Length");
        cases.post(format!("name {name}"), &format!("{name}: {}", hidden.len()), &hidden, None);
        let hidden = cases.hidden();
        let lines = format!("Content-Length: 0\r\n{name}: {}", hidden.len());
        cases.post(format!("name {name} beside the right one"), &lines, &hidden, None);
        let name = odd.replace('_', "Transfer-Encoding");
        let body = format!("0\r\n\r\n{}", cases.hidden());
        let lines = format!("Content-Length: {}\r\n{name}: chunked", body.len());
        cases.post(format!("name {name}"), &lines, &body, None);
    }
    for folded in ["Content_Length", "Content.Length", "content-length_"] {
        let hidden = cases.hidden();
        let refused = folded != "content-length_";
        // A name that no server folds to another is a field like any other: what follows is a request of its own, and
        // here it asks for nothing that hides.
        let (body, passes) = if refused { (hidden, None) } else { (String::new(), Some(&b""[..])) };
        cases.post(format!("name {folded}"), &format!("{folded}: 40"), &body, passes);
    }
    for folded in ["Transfer_Encoding", "Transfer.Encoding"] {
        let body = format!("0\r\n\r\n{}", cases.hidden());
        let lines = format!("Content-Length: {}\r\n{folded}: chunked", body.len());
        cases.post(format!("name {folded}"), &lines, &body, None);
    }
}

fn sizes(cases: &mut Cases) {
    for odd in SIZES {
        // Extensions may be dropped (RFC 9112 section 7.1.1), as white space that some clients write behind the size.
        let dropped = (odd.starts_with("5;") || odd.trim_end_matches([' ', '\t', ';']) == "5")
            && !odd.contains(['\n', '\r', '\0']);
        let passes = dropped.then_some(&b"hello"[..]);
        let hidden = cases.hidden();
        cases.chunked(format!("size {odd}"), &format!("{odd}\r\nhello\r\n0\r\n\r\n"), passes);
        let last = odd.replace('5', "0");
        let passes = dropped.then_some(&b"abc"[..]);
        let body = format!("3\r\nabc\r\n{last}\r\n\r\n{}", if dropped { "" } else { &hidden });
        cases.chunked(format!("last size {last}"), &body, passes);
    }
    for (size, length) in [("05", 5), ("0000000000000005", 5), ("a", 10), ("A", 10)] {
        let data = "x".repeat(length);
        cases.chunked(format!("size {size}"), &format!("{size}\r\n{data}\r\n0\r\n\r\n"), Some(data.as_bytes()));
    }
}

fn ends_of_chunks(cases: &mut Cases) {
    for odd in ["", "\n", "\r", "\n\r", "\r\r\n", " \r\n", "\0\r\n", "x\r\n", "\r\n\r\n", "\x0b\x0c", "\r\n "] {
        let hidden = cases.hidden();
        cases.chunked(format!("end of chunk {odd}"), &format!("5\r\nhello{odd}0\r\n\r\n{hidden}"), None);
        let hidden = cases.hidden();
        let size = hidden.len();
        cases.chunked(format!("end of a long chunk {odd}"), &format!("{size:x}\r\n{hidden}{odd}0\r\n\r\n"), None);
    }
    for odd in ["0\r\n\n", "0\n\r\n", "0\n\n", "0\r\r\n\r\n", "0\r\n\r", "\r\n0\r\n\r\n", "0\r\n \r\n", "0"] {
        let hidden = cases.hidden();
        cases.chunked(format!("end of body {odd}"), &format!("5\r\nhello\r\n{odd}{hidden}"), None);
    }
}

fn trailers(cases: &mut Cases) {
    let hidden_as_trailer = [
        "X : y",
        " X: y",
        "\tX: y",
        "X",
        ": y",
        "X\0: y",
        "X: a\0b",
        "X: a\rb",
        "X: y\nA: b",
        "X: y\r\n z",
        "X\x0b: y",
        "(X): y",
        "X: \x01",
    ];
    for odd in hidden_as_trailer {
        let hidden = cases.hidden();
        cases.chunked(format!("trailer {odd}"), &format!("5\r\nhello\r\n0\r\n{odd}\r\n\r\n{hidden}"), None);
    }
    for field in [
        "Content-Length: 50",
        "Transfer-Encoding: chunked",
        "Host: evil.test",
        "Connection: keep-alive",
        "Authorization: Bearer x",
        "X-Auth-Subject: root",
        "x_auth_subject: root",
        "Trailer: x",
        "Upgrade: websocket",
        "Expect: 100-continue",
        "TE: chunked",
        "Content_Length: 50",
        "Transfer.Encoding: chunked",
    ] {
        let body = format!("5\r\nhello\r\n0\r\n{field}\r\n\r\n");
        cases.chunked(format!("trailer {field}"), &body, Some(b"hello"));
    }
}

fn line_ends(cases: &mut Cases) {
    for odd in
        ["\n", "\r", "\n\r", "\r\r\n", "\r\n\r", "\0\r\n", "\x0b\r\n", "\x0c", "\u{85}", "\r\n\0", "\r \n", "\r\t\n"]
    {
        let (own, hidden) = (target(cases.number()), cases.hidden());
        let bytes = format!("GET {own} HTTP/1.1{odd}Host: api.test\r\nX: y\r\n\r\n{hidden}");
        cases.push(format!("line end {odd} behind the request line"), latin1(&bytes), None);
        let (own, hidden) = (target(cases.number()), cases.hidden());
        let bytes = format!("GET {own} HTTP/1.1\r\nHost: api.test{odd}X: y\r\n\r\n{hidden}");
        cases.push(format!("line end {odd} behind a field"), latin1(&bytes), None);
        let (own, hidden) = (target(cases.number()), cases.hidden());
        let bytes = format!("GET {own} HTTP/1.1\r\nHost: api.test\r\nX: y{odd}{odd}{hidden}");
        cases.push(format!("line end {odd} behind the head"), latin1(&bytes), None);
    }
}

fn request_lines(cases: &mut Cases) {
    let odd = [
        "GET §",
        "GET § ",
        "GET  § HTTP/1.1",
        "GET §  HTTP/1.1",
        "GET\t§\tHTTP/1.1",
        "GET\t§ HTTP/1.1",
        "GET §\tHTTP/1.1",
        " GET § HTTP/1.1",
        "\tGET § HTTP/1.1",
        "GET § HTTP/1.1 ",
        "GET § HTTP/1.1\t",
        "GET § HTTP/1.1 x",
        "GET § x HTTP/1.1",
        "GET § HTTP/0.9",
        "GET § HTTP/1.2",
        "GET § HTTP/1.10",
        "GET § HTTP/1.01",
        "GET § HTTP/01.1",
        "GET § HTTP/2.0",
        "GET § HTTP/2",
        "GET § HTTP/3.0",
        "GET § http/1.1",
        "GET § HTTP/1,1",
        "GET § HTTP 1.1",
        "GET § HTTP/1.1HTTP/1.1",
        "GET § HTTPS/1.1",
        "GET § HTTP/+1.1",
        "GET § HTTP/1.-1",
        "GET § HTTP/1.1\0",
        "GET §\0 HTTP/1.1",
        "GET\0§ HTTP/1.1",
        "\0GET § HTTP/1.1",
        "GET §\x0b HTTP/1.1",
        "GET\x0b§\x0bHTTP/1.1",
        "get § HTTP/1.1",
        "GET: § HTTP/1.1",
        "G\"ET § HTTP/1.1",
        "GET\u{a0}§ HTTP/1.1",
        "§ HTTP/1.1",
        "GET HTTP/1.1",
        "GET §\\x HTTP/1.1",
        "GET §#x HTTP/1.1",
        "GET §\u{e9} HTTP/1.1",
        "GET http://user@api.test§ HTTP/1.1",
        "GET http://evil.test§ HTTP/1.1",
        "GET http:§ HTTP/1.1",
        "GET //api.test§ HTTP/1.1",
        "GET api.test§ HTTP/1.1",
        "GET *§ HTTP/1.1",
        "GET ?§ HTTP/1.1",
        "CONNECT § HTTP/1.1",
        "TRACE § HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET § HTTP/1.1\r\r",
    ];
    for line in odd {
        let line = line.replace('§', &target(cases.number()));
        let hidden = cases.hidden();
        let bytes = format!("{line}\r\nHost: api.test\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
        cases.push(format!("request line {line}"), latin1(&bytes), None);
    }
}

fn fields(cases: &mut Cases) {
    let control = (0..=31_u8).chain([127]).filter(|byte| ![b'\t', b'\n', b'\r'].contains(byte)).map(char::from);
    for odd in control {
        for line in [format!("X{odd}Y: z"), format!("X: y{odd}z"), format!("X: {odd}")] {
            let hidden = cases.hidden();
            let lines = format!("{line}\r\nContent-Length: {}", hidden.len());
            cases.post(format!("field {line}"), &lines, &hidden, None);
        }
    }
    for odd in [
        "X",
        "X y",
        ": y",
        "X : y",
        "X\t: y",
        " X: y",
        "\tX: y",
        "X: y\r\n z",
        "X: y\r\n\tz",
        "X:\r\n y",
        "X(: y",
        "X,Y: z",
        "X;Y: z",
        "X/Y: z",
        "X@Y: z",
        "X[: y",
        "X{: y",
        "X\"Y\": z",
        "X\\Y: z",
        "X=Y: z",
        "X?: y",
        "\u{fc}: y",
        "X\u{fc}: y",
        "\u{feff}X: y",
        "GET / HTTP/1.1",
        "=?: y",
    ] {
        let hidden = cases.hidden();
        let lines = format!("{odd}\r\nContent-Length: {}", hidden.len());
        cases.post(format!("field {odd}"), &lines, &hidden, None);
        let (own, hidden) = (target(cases.number()), cases.hidden());
        let bytes = format!(
            "POST {own} HTTP/1.1\r\n{odd}\r\nHost: api.test\r\nContent-Length: {}\r\n\r\n{hidden}",
            hidden.len()
        );
        cases.push(format!("first field {odd}"), latin1(&bytes), None);
    }
}

fn hosts(cases: &mut Cases) {
    for odd in [
        "",
        "Host:",
        "Host: api.test\r\nHost: api.test",
        "Host: api.test\r\nHost: evil.test",
        "Host: api.test, api.test",
        "Host: api.test/x",
        "Host: user@api.test",
        "Host: api.test:80:80",
        "Host: api.test:x",
        "Host: api.test:",
        "Host: api test",
        "Host: api.test\\x",
        "Host: [::1",
        "Host: api.test?x",
        "Host: api.test#x",
        "Host: api.test%00",
        "Host: http://api.test",
        "Host : api.test",
        "X: y\r\n Host: api.test",
        "Host: api.test\0",
        "Host: \u{e4}pi.test",
        "H\u{f6}st: api.test",
        "Host: api.test;x",
        "Host: (api.test)",
        "Host: api..test",
        "Host: .",
    ] {
        let (own, hidden) = (target(cases.number()), cases.hidden());
        let bytes = format!("POST {own} HTTP/1.1\r\n{odd}\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
        // An empty port is the default one (RFC 3986 section 3.2.3).
        let passes = (odd == "Host: api.test:").then_some(hidden.as_bytes());
        cases.push(format!("host {odd}"), latin1(&bytes), passes);
    }
}

fn named_by_connection(cases: &mut Cases) {
    for name in [
        "Content-Length",
        "content_length",
        "Host",
        "Transfer-Encoding",
        "close, Content-Length",
        "X-Forwarded-For",
        "Authorization",
        "Cookie",
    ] {
        let hidden = cases.hidden();
        let lines = format!("Connection: {name}\r\nContent-Length: {}", hidden.len());
        cases.post(format!("Connection: {name}"), &lines, &hidden, Some(hidden.as_bytes()));
        let chunks = format!("{:x}\r\n{}\r\n0\r\n\r\n", cases.hidden().len(), cases.hidden());
        let lines = format!("Connection: {name}\r\nTransfer-Encoding: chunked");
        let hidden = cases.hidden();
        cases.post(format!("Connection: {name} with chunks"), &lines, &chunks, Some(hidden.as_bytes()));
    }
}

fn versions_and_upgrades(cases: &mut Cases) {
    for (version, lines) in [
        ("1.0", "Transfer-Encoding: chunked"),
        ("1.0", "Transfer-Encoding: chunked\r\nConnection: keep-alive"),
        ("1.0", "Transfer-Encoding: identity"),
    ] {
        let (own, hidden) = (target(cases.number()), cases.hidden());
        let bytes = format!("POST {own} HTTP/{version}\r\nHost: api.test\r\n{lines}\r\n\r\n0\r\n\r\n{hidden}");
        cases.push(format!("HTTP/{version} {lines}"), bytes, None);
    }
    for upgrade in [
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Upgrade: TLS/1.0\r\nConnection: Upgrade",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13",
        "Upgrade: websocket\r\nConnection: Upgrade",
        "Upgrade: websocket, h2c\r\nConnection: Upgrade",
        "Upgrade: foo",
    ] {
        let hidden = cases.hidden();
        let lines = format!("{upgrade}\r\nContent-Length: {}", hidden.len());
        cases.post(format!("with a length, {upgrade}"), &lines, &hidden, Some(hidden.as_bytes()));
    }
    for expect in ["100-continue, x", "x", "100-continue\0", "200-ok", "100-continue;x", "100 continue", ""] {
        let hidden = cases.hidden();
        let lines = format!("Expect: {expect}\r\nContent-Length: {}", hidden.len());
        cases.post(format!("Expect: {expect}"), &lines, &hidden, None);
    }
    for expect in ["100-continue", "100-Continue"] {
        let hidden = cases.hidden();
        let lines = format!("Expect: {expect}\r\nContent-Length: {}", hidden.len());
        cases.post(format!("Expect: {expect}"), &lines, &hidden, Some(hidden.as_bytes()));
    }
}

/// Servers that expect no body with these read it as the next request (CL.0).
fn bodies_where_few_expect_them(cases: &mut Cases) {
    for method in ["GET", "DELETE", "OPTIONS", "PUT", "PATCH", "PROPFIND", "QUERY"] {
        let (own, hidden) = (target(cases.number()), cases.hidden());
        let bytes =
            format!("{method} {own} HTTP/1.1\r\nHost: api.test\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
        cases.push(format!("{method} with a length"), bytes, Some(hidden.as_bytes()));
        let (own, hidden) = (target(cases.number()), cases.hidden());
        let chunks = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
        let bytes = format!("{method} {own} HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        cases.push(format!("{method} with chunks"), bytes, Some(hidden.as_bytes()));
    }
}
