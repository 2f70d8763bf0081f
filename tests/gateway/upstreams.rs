//! What `forward` and the keys of an upstream do to a request and its answer.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use torwart::upstream::Condition;

use crate::support::process::wait_until;
use crate::support::upstream::Behaviour;
use crate::support::world::ALICE;
use crate::support::world::Gateway;
use crate::support::{After, World, upstream};

const FORWARDING: &str = r#"
version: 1
policy: api
hosts: [api.test]
upstream: api
routes:
  - path: "/crm/{*rest}"
    methods: "*"
    require: public
    unbound: [rest]
    forward: {strip_prefix: /crm, add_prefix: /v2}
  - path: /legacy
    methods: [GET, POST]
    require: authenticated
    forward:
      basic_auth: {username: torwart, password_file: ../password}
      headers: {X-User: "{subject}", X-Tenant: "{claim.tenant}", X-Fixed: yes-indeed}
      identity_headers: [subject]
      max_body: 4
  - path: /keep
    methods: [GET]
    require: authenticated
    forward: {authorization: keep}
  - path: /slow
    methods: [GET]
    require: public
    forward: {timeout: 100ms}
"#;

fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n{lines}\r\n")
}

#[test]
fn prefixes_are_exchanged_and_the_answers_own_address_is_mapped_back() {
    let found: Behaviour = Arc::new(|request, stream| {
        let host = request.field("host").expect("a host").to_owned();
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{host}/v2/b?c\r\nSet-Cookie: a=1; Path=/v2\r\nContent-Length: 0\r\n\r\n"
        );
        upstream::answer(stream, answer.as_bytes())
    });
    let world = World::new().policies(&[FORWARDING]).file("password", "s3cret").answering(found);
    let gateway = world.upstream("host: endpoint, rewrite_location: true").start();
    let answer = gateway.client().ask(get("/crm/a?b=%20", ""));
    assert_eq!(answer.field("location"), Some("http://api.test/crm/b?c"));
    assert_eq!(answer.field("set-cookie"), Some("a=1; Path=/crm"));
    let request = gateway.upstream.only();
    assert_eq!(request.target(), "/v2/a?b=%20");
    assert_eq!(request.field("host"), Some(gateway.upstream.address.to_string().as_str()));
}

#[test]
fn what_forward_sets_is_the_only_value_there_is() {
    let world = World::new().policies(&[FORWARDING]).upstream("host: legacy.internal");
    let gateway = world.file("password", "s3cret\n").start();
    let hostile = "X_User: evil\r\nx.tenant: evil\r\nX-Tenant: evil\r\nX-Fixed: evil\r\nX-Auth-Subject: evil\r\n\
        X-Auth-Scopes: evil\r\nx_auth_global: evil\r\nAuthorization_: evil\r\n";
    let token = gateway.token(&json!({"sub": ALICE, "tenant": "acme"}));
    let with = |token: &str| get("/legacy", &format!("{hostile}Authorization: Bearer {token}\r\n"));
    assert_eq!(gateway.client().ask(with(&token)).status(), 200);
    assert_eq!(gateway.client().ask(with(&gateway.alice())).status(), 200);
    let requests = gateway.upstream.requests();
    for (request, tenant) in requests.iter().zip([Some("acme"), None]) {
        assert_eq!(request.field("x-user"), Some(ALICE));
        assert_eq!(request.field("x-tenant"), tenant, "no value: not sent, and the client's own still removed");
        assert_eq!(request.field("x-fixed"), Some("yes-indeed"));
        assert_eq!(request.field("authorization"), Some("Basic dG9yd2FydDpzM2NyZXQ="));
        assert_eq!(request.field("x-auth-subject"), Some(ALICE));
        assert_eq!(request.field("x-auth-global"), None, "`identity_headers: [subject]`");
        assert_eq!(request.field("host"), Some("legacy.internal"));
        let evil = request.fields.iter().find(|(name, value)| value == "evil" && name != "authorization_");
        assert_eq!(evil, None);
    }
}

#[test]
fn authorization_goes_on_where_it_is_kept_and_the_routes_own_limits_count() {
    let silent: Behaviour = Arc::new(|request, stream| {
        if request.target() == "/slow" {
            std::thread::park_timeout(std::time::Duration::from_secs(2));
        }
        upstream::answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let gateway = World::new().policies(&[FORWARDING]).answering(silent).file("password", "s3cret").start();
    let token = gateway.alice();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(gateway.client().ask(get("/keep", &bearer)).status(), 200);
    assert_eq!(gateway.upstream.only().field("authorization"), Some(format!("Bearer {token}").as_str()));
    assert_eq!(gateway.client().ask(get("/slow", "")).status(), 504);
    let large = format!("POST /legacy HTTP/1.1\r\nHost: api.test\r\n{bearer}Content-Length: 5\r\n\r\n12345");
    assert_eq!(gateway.client().ask(large).status(), 413);
    let fits = format!("POST /legacy HTTP/1.1\r\nHost: api.test\r\n{bearer}Content-Length: 4\r\n\r\n1234");
    assert_eq!(gateway.client().ask(fits).status(), 200);
}

#[test]
fn a_worker_keeps_its_connections_to_an_upstream() {
    let gateway = World::new().start();
    let mut client = gateway.client();
    for _ in 0..50 {
        assert_eq!(client.ask(get("/open/a", "")).status(), 200);
        assert_eq!(gateway.client().ask(get("/open/a", "")).status(), 200);
    }
    assert_eq!((gateway.upstream.requests().len(), gateway.upstream.connections()), (100, 1));
}

#[test]
fn few_connections_are_shared_by_many_workers() {
    let gateway = World::new().workers(4).upstream("max_connections: 1").start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(gateway.client().ask(get("/open/a", "")).status(), 200);
                }
            });
        }
    });
    assert_eq!(gateway.upstream.requests().len(), 80);
}

/// Agrees to a WebSocket and says one frame, or else says one chunk; three seconds later says another and ends.
fn endless() -> Behaviour {
    Arc::new(|request, stream| {
        let (first, second): (&[u8], &[u8]) = if request.field("upgrade").is_some() {
            let switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x82\x01a";
            (switched, b"\x82\x01b")
        } else {
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n")
        };
        let _ = stream.write_all(first);
        std::thread::park_timeout(Duration::from_secs(3));
        let _ = stream.write_all(second);
        After::Close
    })
}

/// A token that has, with the leeway of 30 seconds, a second or two left.
fn ending(gateway: &Gateway) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    gateway.token(&json!({"sub": ALICE, "exp": now - 29}))
}

pub(crate) const WEBSOCKET: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

#[test]
fn a_tunnel_ends_with_its_token_and_says_why_rfc_6455_section_7_4_1() {
    let gateway = World::new().answering(endless()).start();
    let mut client = gateway.client();
    client.send(get("/me", &format!("{WEBSOCKET}Authorization: Bearer {}\r\n", ending(&gateway))));
    let all = client.rest();
    assert!(all.starts_with(b"HTTP/1.1 101 ") && all.ends_with(b"\r\n\r\n\x82\x01a\x88\x02\x03\xf0"), "{all:?}");
}

#[test]
fn a_streaming_answer_ends_with_its_token_and_not_cleanly() {
    let mut gateway = World::new().answering(endless()).start();
    let mut client = gateway.client();
    client.send(get("/me", &format!("Authorization: Bearer {}\r\n", ending(&gateway))));
    let all = String::from_utf8(client.rest()).expect("text");
    assert!(all.starts_with("HTTP/1.1 200 ") && all.ends_with("\r\n\r\n1\r\na\r\n"), "{all:?}");
    drop(client);
    assert_eq!(gateway.records().len(), 1);
}

#[test]
fn what_streams_may_outlive_its_token_where_that_is_configured() {
    let gateway = World::new().answering(endless()).limit("stream_follows_token: false").start();
    for (lines, last) in [(WEBSOCKET, b"\x82\x01a\x82\x01b".as_slice()), ("", b"1\r\nb\r\n0\r\n\r\n")] {
        let mut client = gateway.client();
        let close = if lines.is_empty() { "Connection: close\r\n" } else { "" };
        client.send(get("/me", &format!("{lines}{close}Authorization: Bearer {}\r\n", ending(&gateway))));
        let all = client.rest();
        assert!(all.ends_with(last), "{:?}", String::from_utf8_lossy(&all));
    }
}

#[test]
fn a_list_call_reaches_the_upstream_with_the_callers_own_organisations() {
    const LISTS: &str = "
version: 1
policy: api
hosts: [api.test]
upstream: api
routes:
  - {path: /list, methods: [GET], require: authenticated, narrow: {query.org: organizations}}
";
    let organizations = "    claims: {organizations: org_uids}\n";
    let mut gateway = World::new().policies(&[LISTS]).issuer(organizations).start();
    let ask = |target: &str, organizations: &[&str]| {
        let token = gateway.token(&json!({"sub": ALICE, "org_uids": organizations}));
        gateway.client().ask(get(target, &format!("Authorization: Bearer {token}\r\n"))).status()
    };
    assert_eq!(ask("/list?page=1", &["o1", "o2"]), 200);
    assert_eq!(ask("/list?org=o2", &["o1", "o2"]), 200);
    assert_eq!(ask("/list?org=o3", &["o1", "o2"]), 403);
    assert_eq!(ask("/list?org[]=o3", &["o1", "o2"]), 400);
    assert_eq!(ask("/list", &[]), 403);
    let targets: Vec<_> = gateway.upstream.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/list?page=1&org=o1&org=o2", "/list?org=o2"]);
    let records = gateway.records();
    let reasons: Vec<_> = records.iter().map(|record| record["reason"].as_str().unwrap_or("-")).collect();
    assert_eq!(reasons, ["-", "-", "narrow", "ambiguous-parameter", "narrow"]);
    assert_eq!(records[2]["condition"]["line"], 7);
    assert_eq!(records[2]["values"]["query.org"], "o3");
}

#[test]
fn what_becomes_of_connections_and_requests_is_known_by_address() {
    let dead = std::net::SocketAddr::from(([127, 0, 0, 1], crate::support::process::free_port()));
    let gateway = World::new().endpoint(dead).start();
    let states = || gateway.snapshots.current().upstreams.states().next().expect("an upstream");
    assert_eq!(states().max_connections, 1024);
    let mut asked = 0;
    while states().endpoints[1].connects_failed == 0 {
        assert_eq!(gateway.client().ask(get("/open/a", "")).status(), 200, "asked elsewhere");
        asked += 1;
        assert!(asked < 1000, "nobody tries it");
    }
    let [good, bad] = &states().endpoints[..] else { panic!("two endpoints") };
    assert_eq!((good.answers, good.failures, good.requests), (asked, 0, 0));
    assert_eq!((good.connects, good.connects_failed, good.connections, good.idle), (1, 0, 1, 1));
    assert_eq!((bad.answers, bad.failures, bad.connects, bad.connections, bad.idle), (0, 1, 0, 0, 0));
    assert_eq!((good.condition, bad.condition), (Condition::Healthy, Condition::Healthy), "once is not often");
}

#[test]
fn a_connection_that_a_request_holds_is_not_idle() {
    let broken = World::new().answering(upstream::fixed(b"no answer at all\r\n\r\n", After::Close)).start();
    let states = || broken.snapshots.current().upstreams.states().next().expect("an upstream");
    for _ in 0..5 {
        assert_eq!(broken.client().ask(get("/open/a", "")).status(), 502);
    }
    assert_eq!((states().endpoints[0].answers, states().endpoints[0].failures), (0, 5));
    let (held, hold) = std::sync::mpsc::channel::<()>();
    let hold = std::sync::Mutex::new(hold);
    let slow = World::new().answering(Arc::new(move |_, stream| {
        let _ = hold.lock().expect("no panic").recv();
        upstream::answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    }));
    let slow = slow.start();
    let endpoint = || slow.snapshots.current().upstreams.states().next().expect("an upstream").endpoints.remove(0);
    let mut client = slow.client();
    client.send(get("/open/a", ""));
    wait_until("it is asked", || slow.upstream.requests().len() == 1);
    assert_eq!((endpoint().requests, endpoint().connections, endpoint().idle), (1, 1, 0));
    held.send(()).expect("an upstream");
    assert_eq!(client.receive().status(), 200);
    assert_eq!((endpoint().requests, endpoint().connections, endpoint().idle), (0, 1, 1));
}
