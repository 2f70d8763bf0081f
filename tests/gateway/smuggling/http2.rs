//! Mutations of HTTP/2 requests: what a gateway that translates to HTTP/1.1 could be talked into writing.

use super::{Case, Fields, Hostile, smuggled, target};

/// Collects cases; each gets a number, which is in its target and in what hides in it.
struct Cases(Vec<Case>);

impl Cases {
    fn number(&self) -> usize {
        self.0.len()
    }

    fn hidden(&self) -> String {
        smuggled(self.number())
    }

    /// The fields of a plain request of this case.
    fn fields(&self, method: &str) -> Fields {
        let target = target(self.number());
        let fields = [(":method", method), (":scheme", "https"), (":authority", "api.test"), (":path", &target)];
        fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec()
    }

    fn push(&mut self, what: &str, message: Hostile, passes: Option<&[u8]>) {
        let what = format!("case {}: {}", self.number(), what.escape_debug());
        self.0.push(Case { what, message, passes: passes.map(<[u8]>::to_vec) });
    }

    /// A plain request with one more field.
    fn with(&mut self, name: &str, value: &[u8], passes: Option<&[u8]>) {
        let mut fields = self.fields("GET");
        fields.push((name.to_owned(), value.to_vec()));
        let what = format!("{name}: {}", value.escape_ascii());
        self.push(&what, Hostile::Fields(fields, None, Vec::new()), passes);
    }

    /// A plain request one of whose own fields is another.
    fn instead(&mut self, name: &str, value: &[u8], passes: Option<&[u8]>) {
        let mut fields = self.fields("GET");
        for field in fields.iter_mut().filter(|field| field.0 == name) {
            field.1 = value.to_vec();
        }
        let what = format!("{name}: {}", value.escape_ascii());
        self.push(&what, Hostile::Fields(fields, None, Vec::new()), passes);
    }

    /// A POST with a body, more fields and trailers.
    fn post(&mut self, more: &[(&str, &[u8])], body: &[u8], trailers: &[(&str, &[u8])], passes: Option<&[u8]>) {
        let owned = |list: &[(&str, &[u8])]| -> Fields {
            list.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect()
        };
        let mut fields = self.fields("POST");
        fields.extend(owned(more));
        let what = format!("POST {:?} {:?} {}", shown(more), shown(trailers), body.len());
        self.push(&what, Hostile::Fields(fields, Some(body.to_vec()), owned(trailers)), passes);
    }
}

fn shown(list: &[(&str, &[u8])]) -> Vec<String> {
    list.iter().map(|(name, value)| format!("{name}: {}", value.escape_ascii())).collect()
}

/// Every case.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    characters(&mut cases);
    methods_and_paths(&mut cases);
    other_pseudo_fields(&mut cases);
    connection_specific(&mut cases);
    lengths(&mut cases);
    trailers(&mut cases);
    cases.0
}

fn characters(cases: &mut Cases) {
    for byte in (0..=31_u8).chain([127]) {
        if byte != b'\t' {
            let value = [b"a".as_slice(), &[byte], b"b"].concat();
            cases.with("x-value", &value, None);
        }
        let name = format!("x{}y", char::from(byte));
        cases.with(&name, b"z", None);
    }
    for name in [
        "X-Upper",
        "x y",
        "x:y",
        "x y: z\r\nhost",
        "",
        "x\u{fc}",
        "x(y",
        "x/y",
        "x@y",
        ":x",
        ":status",
        ":protocol",
        ": x",
        "x\"y",
    ] {
        cases.with(name, b"z", None);
    }
    for value in [
        " a",
        "a ",
        "\ta",
        "a\t",
        "a\r\nContent-Length: 50",
        "a\r\n\r\nGET /open/smuggled HTTP/1.1\r\n\r\n",
        "a\nx: y",
        "a\rx: y",
    ] {
        cases.with("x-value", value.as_bytes(), None);
    }
}

/// What would become the request line. A fragment is not here: the library cuts it before anybody sees it, so that
/// nothing of it is left.
fn methods_and_paths(cases: &mut Cases) {
    for method in [
        "",
        "get",
        "GET ",
        " GET",
        "GET\t",
        "GET /open/smuggled HTTP/1.1\r\nX:",
        "G\0ET",
        "GE T",
        "CONNECT",
        "TRACE",
        "TRACK",
        "GET\r\n",
        "G:T",
        "PRI",
    ] {
        cases.instead(":method", method.as_bytes(), None);
    }
    for path in [
        "",
        "*",
        "open",
        "//",
        "/open/a b",
        "/open/a\tb",
        "/open/a\0",
        "/open/a\r\nX: y",
        "/open/a HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        "/open/\\a",
        "/open/../admin",
        "/open/%2e%2e/admin",
        "/open/%00",
        "/open/%zz",
        "/open/\u{e9}",
        "https://api.test/open/a",
        "?a",
        "/open/a?b c",
        "/open/a?b\r\nX: y",
        "/open/a?\0",
        "/open/a\x7f",
    ] {
        cases.instead(":path", path.as_bytes(), None);
    }
}

fn other_pseudo_fields(cases: &mut Cases) {
    for authority in [
        "",
        "user@api.test",
        "api.test/x",
        "api.test\r\nX: y",
        "api.test, evil.test",
        "api.test api.test",
        "evil.test",
        "api.test:80:80",
        "api.test:x",
        "api.test\0",
        "[::1",
        "api.test?x",
        "api.test#x",
        " api.test",
        "api.test\\x",
        "http://api.test",
    ] {
        cases.instead(":authority", authority.as_bytes(), None);
    }
    for scheme in ["", "http", "ftp", "https\r\nX: y", "https://evil.test/?", "HTTPS ", "h ttps"] {
        cases.instead(":scheme", scheme.as_bytes(), None);
    }
    for (name, value) in [
        (":method", "POST"),
        (":path", "/open/smuggled"),
        (":authority", "evil.test"),
        (":scheme", "https"),
        ("host", "evil.test"),
        ("host", "api.test:81"),
        ("host", ""),
        (":method", "GET"),
    ] {
        cases.with(name, value.as_bytes(), None);
    }
    for missing in [":method", ":path", ":scheme", ":authority"] {
        let mut fields = cases.fields("GET");
        fields.retain(|(name, _)| name != missing);
        cases.push(&format!("no {missing}"), Hostile::Fields(fields, None, Vec::new()), None);
    }
    // A pseudo-header behind a regular field is malformed (RFC 9113 section 8.3).
    let mut fields = cases.fields("GET");
    fields.rotate_left(1);
    fields.insert(0, ("x-first".to_owned(), b"y".to_vec()));
    cases.push("a field before the pseudo-headers", Hostile::Fields(fields, None, Vec::new()), None);
}

fn connection_specific(cases: &mut Cases) {
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", ""),
        ("connection", "close"),
        ("connection", "content-length"),
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("upgrade", "websocket"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "chunked"),
        ("te", "trailers, chunked"),
        ("transfer_encoding", "chunked"),
        ("content_length", "5"),
        ("transfer.encoding", "chunked"),
        ("expect", "x"),
        ("expect", "100-continue, x"),
    ] {
        let hidden = cases.hidden();
        cases.post(&[(name, value.as_bytes())], hidden.as_bytes(), &[], None);
        let chunks = format!("0\r\n\r\n{}", cases.hidden());
        cases.post(&[(name, value.as_bytes())], chunks.as_bytes(), &[], None);
    }
}

fn lengths(cases: &mut Cases) {
    for odd in [
        "0",
        "1",
        "+L",
        "-L",
        "0L",
        "0xL",
        "L,L",
        "L, L",
        "",
        "L ",
        "Le0",
        "\"L\"",
        "99999999999999999999",
        "L\0",
        "L\r\n",
        "M",
    ] {
        let hidden = cases.hidden();
        let value = odd.replace('L', &hidden.len().to_string()).replace('M', &(hidden.len() + 1).to_string());
        cases.post(&[("content-length", value.as_bytes())], hidden.as_bytes(), &[], None);
    }
    let hidden = cases.hidden();
    let right = hidden.len().to_string();
    let two: &[(&str, &[u8])] = &[("content-length", right.as_bytes()), ("content-length", b"0")];
    cases.post(two, hidden.as_bytes(), &[], None);
    let hidden = cases.hidden();
    let right = hidden.len().to_string();
    cases.post(&[("content-length", right.as_bytes())], hidden.as_bytes(), &[], Some(hidden.as_bytes()));
    let hidden = cases.hidden();
    cases.post(&[], hidden.as_bytes(), &[], Some(hidden.as_bytes()));
}

fn trailers(cases: &mut Cases) {
    for (name, value) in [("X-Upper", "y"), ("x y", "z"), ("x-value", "a\r\nb: c"), ("x\r\ny", "z"), ("x-value", "a\0")]
    {
        let hidden = cases.hidden();
        cases.post(&[], hidden.as_bytes(), &[(name, value.as_bytes())], None);
    }
    for (name, value) in [
        ("content-length", "50"),
        ("host", "evil.test"),
        ("x-auth-subject", "root"),
        ("x_auth_subject", "root"),
        ("authorization", "Bearer x"),
        ("x-trailer", "y"),
        ("cookie", "a=b"),
        ("te", "trailers"),
        ("forwarded", "for=root"),
        // The library leaves these out.
        (":path", "/open/smuggled"),
        (":method", "POST"),
        (":status", "200"),
        ("x\"y", "z"),
    ] {
        let hidden = cases.hidden();
        cases.post(&[], hidden.as_bytes(), &[(name, value.as_bytes())], Some(hidden.as_bytes()));
    }
}
