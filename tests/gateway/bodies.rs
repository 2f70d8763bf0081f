//! Bodies that policy asks about: read within their limits, forwarded byte for byte, refused before anything is sent.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::support::http2::Http2;
use super::support::world::{Gateway, World};

const POLICY: &str = r"
version: 1
policy: api
hosts: [api.test]
upstream: api
routes:
  - {path: /json, methods: [POST, PUT], require: {token: none, request: {body./kind: ping}}}
  - {path: /form, methods: [POST], require: {token: none, request: {form.kind: ping}}}
  - {path: /query, methods: [POST], require: {token: none, request: {query.kind: ping}}}
  - {path: /mine, methods: [POST], require: {scope: write, request: {body./kind: ping}}}
  - {path: /watched, methods: [POST], mode: observe, require: {token: none, request: {body./kind: ping}}}
";

fn world() -> World {
    World::new().policies(&[POLICY])
}

fn post(path: &str, more: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn chunked(path: &str, pieces: &[&str], trailers: &str) -> String {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
         TE: trailers\r\nTrailer: X-Sum, X-Auth-Subject\r\n\r\n"
    );
    for piece in pieces {
        let _ = write!(request, "{:x}\r\n{piece}\r\n", piece.len());
    }
    request + "0\r\n" + trailers + "\r\n"
}

fn fields<'f>(path: &'f str, content_type: &'f str) -> [(&'f str, &'f [u8]); 5] {
    [
        (":method", b"POST"),
        (":scheme", b"https"),
        (":authority", b"api.test"),
        (":path", path.as_bytes()),
        ("content-type", content_type.as_bytes()),
    ]
}

fn http2(gateway: &Gateway) -> Http2 {
    let config = std::sync::Arc::new(gateway.authority.client(&["h2"], None));
    Http2::over(super::support::client::Client::tls(gateway.secure(), config, "api.test").expect("a handshake"))
}

fn halves(text: &str) -> [&str; 2] {
    let (first, second) = text.split_at(text.len() / 2);
    [first, second]
}

/// JSON of a length.
fn long(length: usize) -> String {
    format!("{{\"kind\":\"ping\"{}}}", " ".repeat(length - 15))
}

#[test]
fn exactly_the_bytes_that_were_read_are_forwarded() {
    let gateway = world().start();
    let body = " {\"kind\" : \"p\\u0069ng\",\r\n\"\u{e4}\": [1.0, 1e2]}\n\n";
    assert_eq!(gateway.client().ask(post("/json", "", body)).status(), 200);
    let seen = gateway.upstream.only();
    assert_eq!(seen.body, body.as_bytes());
    assert_eq!(seen.field("content-length"), Some(body.len().to_string().as_str()));
    assert_eq!(seen.field("transfer-encoding"), None);
    gateway.upstream.assert_sound();
}

#[test]
fn chunks_are_read_whole_and_their_trailers_are_kept() {
    let gateway = world().start();
    let pieces = ["{\"ki", "nd\":\"pi", "ng\"}"];
    let trailers = "X-Sum: 1\r\nX-Auth-Subject: root\r\n";
    assert_eq!(gateway.client().ask(chunked("/json", &pieces, trailers)).status(), 200);
    assert_eq!(gateway.client().ask(chunked("/json", &pieces, "")).status(), 200);
    let seen = gateway.upstream.requests();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| request.body == pieces.concat().as_bytes()));
    assert_eq!(seen[0].trailers, [("x-sum".to_owned(), "1".to_owned())]);
    assert_eq!(seen[0].field("transfer-encoding"), Some("chunked"));
    assert_eq!(seen[1].field("content-length"), Some("15"), "a length that is known is told");
    gateway.upstream.assert_sound();
}

#[test]
fn bodies_of_http_2_are_read_too() {
    let gateway = world().start();
    let mut client = http2(&gateway);
    let stream = client.begin(&fields("/json", "application/json"));
    client.data(stream, b"{\"kind\":", false);
    client.data(stream, b"\"ping\"}", false);
    client.trailers(stream, &[("x-sum", b"1")]);
    assert_eq!(client.outcome(stream).status, Some(200));
    let stream = client.begin(&fields("/json", "application/json"));
    client.data(stream, b"{\"kind\":\"pong\"}", true);
    assert_eq!(client.outcome(stream).status, Some(403));
    let seen = gateway.upstream.only();
    assert_eq!(seen.text(), "{\"kind\":\"ping\"}");
}

#[test]
fn a_refused_body_never_touches_the_upstream() {
    let gateway = world().start();
    for (body, status) in [
        ("{\"kind\":\"pong\"}", 403),
        ("{}", 403),
        ("{", 400),
        ("{\"kind\":\"ping\",\"kind\":\"ping\"}", 400),
        ("{\"kind\":\"ping\",\"KIND\":\"pong\"}", 400),
        ("{\"kind\":\"ping\"}x", 400),
        ("\u{feff}{\"kind\":\"ping\"}", 415),
    ] {
        assert_eq!(gateway.client().ask(post("/json", "", body)).status(), status, "{body}");
        assert_eq!(gateway.client().ask(chunked("/json", &[body], "")).status(), status, "{body}");
    }
    let encoded = post("/json", "Content-Encoding: gzip\r\n", "{\"kind\":\"ping\"}");
    assert_eq!(gateway.client().ask(encoded).status(), 415);
    let answer = gateway.client().ask(post("/form", "", "kind=ping"));
    assert_eq!((answer.status(), answer.json()["type"].clone()), (415, "urn:torwart:unreadable-body".into()));
    gateway.upstream.assert_silent();
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_sent() {
    let gateway = world().limit("inspected_body: 64KiB").start();
    let fitting = long(64 * 1024);
    assert_eq!(gateway.client().ask(post("/json", "", &fitting)).status(), 200);
    assert_eq!(gateway.client().ask(chunked("/json", &halves(&fitting), "")).status(), 200);
    assert_eq!(gateway.upstream.requests().len(), 2);

    // Announced: refused by its head alone, without having been asked for.
    let head = "POST /json HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
                Content-Length: 65537\r\n\r\n";
    let answer = gateway.client().ask(head);
    assert_eq!((answer.status(), answer.json()["type"].clone()), (413, "urn:torwart:body-too-large".into()));
    // In chunks: when there is too much of it.
    let mut client = gateway.client();
    let begin =
        "POST /json HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(begin).send(format!("10001\r\n{fitting} "));
    assert_eq!(client.receive().status(), 413);
    assert_eq!(gateway.upstream.requests().len(), 2, "nothing of the others arrived");
    gateway.upstream.assert_sound();
}

#[test]
fn a_body_of_http_2_beyond_the_limit_is_refused() {
    let gateway = world().limit("inspected_body: 16KiB").start();
    let mut client = http2(&gateway);
    let stream = client.begin(&fields("/json", "application/json"));
    for _ in 0..2 {
        client.data(stream, &[b' '; 16_000], false);
    }
    assert_eq!(client.outcome(stream).status, Some(413));
    let mut announced = fields("/json", "application/json").to_vec();
    announced.push(("content-length", b"16385"));
    let stream = client.begin(&announced);
    assert_eq!(client.outcome(stream).status, Some(413), "before any of it is sent");
    gateway.upstream.assert_silent();
}

#[test]
fn all_bodies_together_have_a_limit() {
    let gateway = world().limit("inspected_body: 64KiB").limit("inspected_total: 64KiB").start();
    let mut first = gateway.client();
    let body = long(60 * 1024);
    first.send(
        "POST /json HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
         Content-Length: 61440\r\n\r\n",
    );
    assert_eq!(first.receive().status(), 100, "reading has begun");
    let refused = gateway.client().ask(post("/json", "", &body));
    assert_eq!((refused.status(), refused.field("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["type"], "urn:torwart:overloaded");
    let refused = gateway.client().ask(chunked("/json", &[&body], ""));
    assert_eq!(refused.status(), 503);
    assert_eq!(gateway.client().ask(post("/json", "", "{\"kind\":\"ping\"}")).status(), 200, "little has room");
    assert_eq!(first.send(&body).receive().status(), 200);
    assert_eq!(gateway.client().ask(post("/json", "", &body)).status(), 200, "the room was given back");
    assert_eq!(gateway.upstream.requests().len(), 3);
}

#[test]
fn a_client_that_leaves_while_it_is_read_gives_its_room_back() {
    let gateway = world().limit("inspected_body: 64KiB").limit("inspected_total: 64KiB").start();
    let body = long(64 * 1024);
    let mut first = gateway.client();
    first.send(
        "POST /json HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
         Content-Length: 65536\r\n\r\n",
    );
    assert_eq!(first.receive().status(), 100);
    first.send("{\"kind\":");
    drop(first);
    gateway.wait_for_the_last_connection();
    gateway.upstream.assert_silent();
    assert_eq!(gateway.client().ask(post("/json", "", &body)).status(), 200);
}

#[test]
fn a_client_that_is_silent_inside_of_its_body_is_told_so() {
    let gateway = world().limit("body_idle_timeout: 200ms").start();
    let mut client = gateway.client();
    client
        .send("POST /json HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{");
    assert_eq!(client.receive().status(), 408);
    client.assert_closed();
    gateway.upstream.assert_silent();
}

#[test]
fn a_body_is_asked_for_only_when_it_is_read() {
    let gateway = world().start();
    let token = gateway.alice();
    let head = format!(
        "POST /mine HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: 15\r\n\r\n"
    );
    // The scope is missing: the answer comes without `100 Continue`, and without a byte of the body.
    assert_eq!(gateway.client().ask(&head).status(), 403);
    assert_eq!(gateway.client().ask(head.replace("application/json", "text/plain")).status(), 403);
    let token = gateway.token(&serde_json::json!({"sub": "x", "scope": "write"}));
    let head = format!(
        "POST /mine HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: 15\r\n\r\n"
    );
    assert_eq!(gateway.client().ask(head.replace("application/json", "text/plain")).status(), 415);
    gateway.upstream.assert_silent();
    let mut client = gateway.client();
    assert_eq!(client.ask(&head).status(), 100);
    assert_eq!(client.ask("{\"kind\":\"ping\"}").status(), 200);
    assert_eq!(gateway.upstream.only().text(), "{\"kind\":\"ping\"}");
}

#[test]
fn a_bound_parameter_must_not_stand_in_a_form_and_other_bodies_stream() {
    let gateway = world().limit("inspected_body: 1KiB").start();
    let form = |body: &str| {
        post("/query?kind=ping", "", body).replace("application/json", "application/x-www-form-urlencoded")
    };
    assert_eq!(gateway.client().ask(form("kind=pong")).status(), 400);
    assert_eq!(gateway.client().ask(form("Kind%5B%5D=pong")).status(), 400);
    assert_eq!(gateway.client().ask(form(&"x=1&".repeat(300))).status(), 413);
    let untyped = form("x=1").replace("Content-Type: application/x-www-form-urlencoded\r\n", "");
    assert_eq!(gateway.client().ask(untyped).status(), 415);
    gateway.upstream.assert_silent();
    assert_eq!(gateway.client().ask(form("x=1")).status(), 200);
    let large = long(100_000).replace("ping", "pong");
    assert_eq!(gateway.client().ask(post("/query?kind=ping", "", &large)).status(), 200);
    let seen = gateway.upstream.requests();
    assert_eq!((seen[0].text(), seen[1].text()), ("x=1", &*large));
}

#[test]
fn what_is_only_observed_is_forwarded_whatever_its_body_is() {
    let mut gateway = world().limit("inspected_body: 32KiB").limit("inspected_total: 40KiB").start();
    let large = long(200_000);
    let mut expected = Vec::new();
    let mut watch = |gateway: &Gateway, request: String, body: &str, would: Option<u16>| {
        assert_eq!(gateway.client().ask(request).status(), 200);
        expected.push((body.to_owned(), would));
    };
    for (body, would) in [("{\"kind\":\"ping\"}", None), ("{\"kind\":\"pong\"}", Some(403)), ("{", Some(400))] {
        watch(&gateway, post("/watched", "", body), body, would);
        watch(&gateway, chunked("/watched", &[body], ""), body, would);
    }
    watch(&gateway, post("/watched", "", &large), &large, Some(413));
    watch(&gateway, chunked("/watched", &halves(&large), ""), &large, Some(413));
    watch(&gateway, post("/watched", "Content-Encoding: x\r\n", "{}"), "{}", Some(415));
    // Somebody else has the room.
    let mut other = gateway.client();
    other.send(
        "POST /json HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
         Content-Length: 30000\r\n\r\n",
    );
    assert_eq!(other.receive().status(), 100);
    let middling = long(20_000);
    watch(&gateway, post("/watched", "", &middling), &middling, Some(503));
    watch(&gateway, chunked("/watched", &halves(&middling), ""), &middling, Some(503));
    drop(other);
    gateway.wait_for_the_last_connection();
    let seen = gateway.upstream.requests();
    assert_eq!(seen.len(), expected.len());
    for (request, (body, _)) in seen.iter().zip(&expected) {
        assert!(request.text() == body, "{} bytes arrived of {}", request.body.len(), body.len());
    }
    gateway.upstream.assert_sound();
    let would = |record: &Value| record["would"].as_u64().and_then(|status| u16::try_from(status).ok());
    let records = gateway.records();
    let watched: Vec<_> = records.iter().filter(|record| record["path"] == "/watched").map(would).collect();
    assert_eq!(watched, expected.into_iter().map(|(_, would)| would).collect::<Vec<_>>(), "{records:#?}");
}

#[test]
fn records_keep_what_was_read() {
    let mut gateway = world().start();
    assert_eq!(gateway.client().ask(post("/json", "", "{\"kind\":\"pong\"}")).status(), 403);
    let form =
        post("/form", "", "kind=ping&kind=pong").replace("application/json", "application/x-www-form-urlencoded");
    assert_eq!(gateway.client().ask(form).status(), 403);
    assert_eq!(gateway.client().ask(post("/json", "", "{")).status(), 400);
    let records = gateway.records();
    assert_eq!(records[0]["values"]["body./kind"], "pong");
    assert_eq!(records[1]["values"]["form.kind"], serde_json::json!(["ping", "pong"]));
    assert_eq!(records[2]["reason"], "body");
}

#[test]
fn a_token_that_expires_while_the_body_is_awaited_is_refused() {
    let gateway = world().issuer("    leeway: 0s\n").start();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let expires = now() + 2;
    let token = gateway.token(&serde_json::json!({"scope": "write", "exp": expires}));
    let mut client = gateway.client();
    let head = format!(
        "POST /mine HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: 15\r\n\r\n"
    );
    assert_eq!(client.ask(&head).status(), 100);
    while now() <= expires {
        std::thread::yield_now();
    }
    assert_eq!(client.ask("{\"kind\":\"ping\"}").status(), 401);
    gateway.upstream.assert_silent();
}
