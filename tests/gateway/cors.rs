//! `cors`: preflights, and what answers say to pages of other origins.

use std::sync::Arc;

use serde_json::json;

use crate::support::World;
use crate::support::message::Message;
use crate::support::upstream::{self, Behaviour};
use crate::support::world::Gateway;

const POLICY: &str = r#"
version: 1
policy: api
hosts: [api.test]
upstream: api
cors: {origins: ["https://app.test", "http://localhost:3000"], headers: [Authorization, X-Trace], credentials: true, max_age: 1h}
routes:
  - {path: /a, methods: [GET, PUT], require: {scope: a}, limit: {rate: 2/h, per: address}}
  - {path: /a, methods: [DELETE], require: {scope: a}, cors: {origins: ["https://admin.test"], headers: [Authorization]}}
  - {path: "/files/{*rest}", methods: [GET], unbound: [rest], require: public, cors: {origins: ["*"], methods: [GET]}}
  - path: "/up/{*rest}"
    methods: [GET, POST]
    unbound: [rest]
    require: authenticated
    cors: upstream
    forward: {strip_prefix: /up, headers: {X-Key: secret, X-Who: "{subject}"}, query: {who: "{subject}"}}
  - {path: "/up/options", methods: [OPTIONS], require: authenticated, cors: {origins: ["https://app.test"], headers: [Authorization]}}
  - {path: "/secret/{*rest}", methods: [GET], unbound: [rest], require: authenticated}
  - {path: /observed, methods: [GET], mode: observe, require: authenticated}
  - {path: "/doc/{*rest}", methods: [GET], unbound: [rest], require: public}
  - {path: /small, methods: [POST], require: public, forward: {max_body: 1}}
"#;

const GRANTS: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
    "access-control-expose-headers",
];

/// An upstream that grants everything to everybody.
fn lavish() -> Behaviour {
    Arc::new(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
                    Access-Control-Expose-Headers: *\r\nVary: Accept\r\nContent-Length: 0\r\n\r\n";
        upstream::answer(stream, head.as_bytes())
    })
}

fn world() -> World {
    World::new().policies(&[POLICY]).answering(lavish())
}

fn ask(gateway: &Gateway, line: &str, lines: &str) -> Message {
    gateway.client().ask(format!("{line} HTTP/1.1\r\nHost: api.test\r\n{lines}\r\n"))
}

fn preflight(gateway: &Gateway, path: &str, origin: &str, method: &str) -> Message {
    let lines = format!(
        "Origin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n\
         Access-Control-Request-Headers: authorization,x-evil\r\n"
    );
    ask(gateway, &format!("OPTIONS {path}"), &lines)
}

fn granted(answer: &Message) -> Vec<Option<&str>> {
    GRANTS.iter().map(|name| answer.field(name)).collect()
}

const NOTHING: [Option<&str>; 6] = [None; 6];

#[test]
fn a_preflight_is_answered_for_the_route_of_the_requested_method() {
    let mut gateway = world().start();
    for _ in 0..4 {
        let answer = preflight(&gateway, "/a", "https://app.test", "PUT");
        assert_eq!(answer.status(), 204, "no token, and no limit counts it");
        let headers = Some("Authorization, X-Trace");
        assert_eq!(
            granted(&answer),
            [Some("https://app.test"), Some("true"), Some("PUT"), headers, Some("3600"), None]
        );
        assert_eq!(answer.field("vary"), Some("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"));
        assert_eq!(answer.field("content-length"), None);
    }
    let other = preflight(&gateway, "/a", "https://admin.test", "DELETE");
    assert_eq!(granted(&other), [Some("https://admin.test"), None, Some("DELETE"), Some("Authorization"), None, None]);
    let open = preflight(&gateway, "/files/x?a=1", "https://anywhere.test", "GET");
    assert_eq!(granted(&open), [Some("*"), None, Some("GET"), None, None, None]);
    let head = preflight(&gateway, "/a", "http://localhost:3000", "HEAD");
    assert_eq!(granted(&head)[..3], [Some("http://localhost:3000"), Some("true"), Some("HEAD")]);
    gateway.upstream.assert_silent();
    let records = gateway.records();
    assert!(records.is_empty(), "nothing was decided: {records:?}");
}

#[test]
fn what_is_not_allowed_is_not_named() {
    let gateway = world().start();
    for (path, origin, method) in [
        ("/a", "https://evil.test", "PUT"),
        ("/a", "https://app.test.evil.test", "GET"),
        ("/a", "https://APP.test", "GET"),
        ("/a", "http://app.test", "GET"),
        ("/a", "null", "GET"),
        ("/a", "*", "GET"),
        ("/a", "https://app.test", "DELETE"),
        ("/a", "https://admin.test", "PUT"),
        ("/files/x", "https://app.test", "HEAD"),
    ] {
        let answer = preflight(&gateway, path, origin, method);
        assert_eq!((answer.status(), granted(&answer)), (204, NOTHING.to_vec()), "{method} {path} from {origin}");
    }
    gateway.upstream.assert_silent();
}

#[test]
fn what_is_no_preflight_is_options_like_any_other_method() {
    let gateway = world().start();
    for (path, lines) in [
        ("/a", "Origin: https://app.test\r\n"),
        ("/a", "Access-Control-Request-Method: GET\r\n"),
        ("/a", "Origin: https://app.test\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: GET\r\n"),
        ("/a", "Origin: https://app.test\r\nAccess-Control-Request-Method: POST\r\n"),
        ("/a", "Origin: https://app.test\r\nAccess-Control-Request-Method: get\r\n"),
        ("/nowhere", "Origin: https://app.test\r\nAccess-Control-Request-Method: GET\r\n"),
    ] {
        assert_eq!(ask(&gateway, &format!("OPTIONS {path}"), lines).status(), 401, "{path} {lines}");
    }
    let evil = preflight(&gateway, "/%61dmin/../a", "https://app.test", "GET");
    assert_eq!(evil.status(), 400);
    gateway.upstream.assert_silent();
}

#[test]
fn an_ambiguous_path_is_refused_to_preflights_too() {
    let gateway = world().start();
    for path in ["/doc/..;/a", "/files/x%2F..%2Fa", "/up/OPTIONS", "/up/options."] {
        let answer = preflight(&gateway, path, "https://app.test", "GET");
        assert_eq!(answer.status(), 400, "{path}: {}", answer.text());
    }
    gateway.upstream.assert_silent();
}

#[test]
fn every_answer_says_what_the_route_grants_and_nothing_that_the_upstream_says() {
    let gateway = world().start();
    let token = gateway.token(&json!({"sub": "alice", "scope": "a"}));
    let from = |line: &str, origin: &str, lines: &str| ask(&gateway, line, &format!("Origin: {origin}\r\n{lines}"));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let page = "https://app.test";
    let allowed = from("GET /a", page, &bearer);
    assert_eq!(allowed.status(), 200);
    let refused = [
        (from("GET /a", page, ""), 401),
        (from("GET /a", page, ""), 429),
        (from("DELETE /nowhere", page, &bearer), 404),
        (from("POST /a", page, &bearer), 405),
        (from("POST /small", page, "Content-Length: 2\r\n\r\nxx"), 413),
        (from("GET /doc/..;/a", page, &bearer), 400),
    ];
    for (answer, status) in refused.iter().chain([&(allowed, 200)]) {
        assert_eq!(answer.status(), *status);
        let wanted = [Some(page), Some("true"), None, None, None, None];
        assert_eq!(granted(answer), wanted, "{status}");
        let vary: Vec<_> = answer.all("vary").into_iter().filter(|value| *value != "Accept").collect();
        assert_eq!(vary, ["Origin"], "{status}");
    }
    let without = gateway.token(&json!({"sub": "alice", "scope": "b"}));
    let admin = from("DELETE /a", "https://admin.test", &format!("Authorization: Bearer {without}\r\n"));
    assert_eq!((admin.status(), granted(&admin)[0]), (403, Some("https://admin.test")));
    for (line, origin) in
        [("DELETE /a", page), ("GET /files/x", "https://app.test"), ("DELETE /a", "https://evil.test")]
    {
        let answer = from(line, origin, &bearer);
        assert_eq!(answer.status(), 200, "who may ask is another question than which page may read");
        let wanted = if line == "GET /files/x" { Some("*") } else { None };
        assert_eq!(granted(&answer), [wanted, None, None, None, None, None], "{line}");
        assert!(answer.all("vary").contains(&"Origin"));
    }
    let plain = ask(&gateway, "GET /files/x", "");
    assert_eq!((granted(&plain), plain.all("vary")), (NOTHING.to_vec(), vec!["Accept", "Origin"]));
}

#[test]
fn an_upstream_that_does_not_answer_is_told_to_the_page() {
    let gateway = World::new()
        .policies(&[POLICY])
        .answering(upstream::fixed(b"nonsense\r\n\r\n", crate::support::After::Close))
        .start();
    let answer = ask(&gateway, "GET /files/x", "Origin: https://app.test\r\n");
    assert_eq!((answer.status(), granted(&answer)[0]), (502, Some("*")));
}

#[test]
fn preflights_that_the_upstream_answers_go_there_as_nobodys() {
    let mut gateway = world().start();
    let hostile = "Authorization: Bearer x\r\nCookie: session=1\r\nDPoP: x\r\nX-Auth-Subject: evil\r\nX-Key: evil\r\n\
                   X_Who: evil\r\nX-Forwarded-For: 1.2.3.4\r\n";
    let asked = "Origin: https://any.test\r\nAccess-Control-Request-Method: POST\r\n";
    let answer = ask(&gateway, "OPTIONS /up/x?a=%20b", &format!("{asked}{hostile}"));
    assert_eq!(answer.status(), 200);
    assert_eq!(granted(&answer)[0], Some("*"), "the upstream's own answer");
    let request = gateway.upstream.only();
    assert_eq!(request.request_line(), ("OPTIONS", "/x?a=%20b", "HTTP/1.1"));
    assert_eq!(request.field("origin"), Some("https://any.test"));
    assert_eq!(request.field("access-control-request-method"), Some("POST"));
    for name in ["authorization", "cookie", "dpop", "x-auth-subject", "x-auth-global", "x-key", "x-who", "x_who"] {
        assert_eq!(request.field(name), None, "{name}");
    }
    let body = ask(&gateway, "OPTIONS /up/x", &format!("{asked}Content-Length: 1\r\n\r\nx"));
    assert_eq!(body.status(), 401, "with a body it is a request like any other");
    assert_eq!(ask(&gateway, "GET /up/x", asked).status(), 401);
    assert_eq!(gateway.upstream.requests().len(), 1);
    let records = gateway.records();
    assert_eq!((&records[0]["decision"], &records[0]["route"]), (&json!("allow"), &json!("GET,POST /up/{*rest}")));
    assert_eq!(records[0]["principal"], json!(null));
}

#[test]
fn what_only_observes_leaves_preflights_and_answers_to_the_upstream() {
    let gateway = world().start();
    let answer = preflight(&gateway, "/observed", "https://evil.test", "GET");
    assert_eq!((answer.status(), granted(&answer)[0]), (200, Some("*")));
    let observed = ask(&gateway, "GET /observed", "Origin: https://app.test\r\n");
    assert_eq!((observed.status(), granted(&observed)[0]), (200, Some("*")));
    assert_eq!(gateway.upstream.requests().len(), 2);
}
