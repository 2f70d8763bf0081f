//! Claims that only userinfo knows: when it is asked, and what becomes of the request (tokens.md, "Opaque tokens and
//! userinfo").

use serde_json::{Value, json};

use torwart::replay::audit;
use torwart::trial::Loaded;

use crate::issuer::{Answer, Server};
use crate::support::World;
use crate::support::message::Message;
use crate::support::tokens::AUDIENCE;
use crate::support::world::Gateway;

const STAFF: &str = r#"
version: 1
policy: staff
hosts: [api.test]
upstream: api
issuers: [ameise]
routes:
  - {path: /any, methods: [GET], require: authenticated}
  - {path: /scope, methods: [GET], require: {scope: staff}}
  - {path: /staff, methods: [GET], require: {scope: staff, permission: verwaltung}}
  - {path: /inside, methods: [GET], require: {permission: verwaltung, network: [10.0.0.0/8]}}
  - {path: /either, methods: [GET], require: {any_of: [{scope: staff}, {permission: verwaltung}]}, forward: {identity_headers: [subject]}}
  - {path: "/brokers/{broker}", methods: [GET], params: {broker: alnum}, require: {claim: [{name: [broker, id], equals: "{broker}"}]}}
  - {path: /notes, methods: [POST], require: {permission: verwaltung, request: {body./kind: note}}}
"#;

const WATCHED: &str = r"
version: 1
policy: watched
hosts: [watched.test]
upstream: api
issuers: [ameise]
mode: observe
routes:
  - {path: /staff, methods: [GET], require: {permission: verwaltung}}
";

const ISSUER: &str = "https://ameise.test";

fn start(server: &Server) -> Gateway {
    let issuer = format!(
        "  - name: ameise\n    preset: ameise\n    issuer: {ISSUER}\n    audiences: [\"{AUDIENCE}\"]\n    \
         jwks_file: keys.json\n    environment: integration\n    userinfo: {{endpoint: \"{}/userinfo\"}}\n",
        server.origin()
    );
    World::new().policies(&[STAFF, WATCHED]).issuer(&issuer).start()
}

/// An employee, and what userinfo says of her.
fn erika(server: &Server) {
    let said = json!({"sub": "E4711", "ameise/permissions": ["ameise", "verwaltung"], "broker": {"id": "B1"}});
    server.publish("/userinfo", &said);
}

fn token(gateway: &Gateway, claims: &Value) -> String {
    let mut all = json!({"iss": ISSUER, "azp": "web", "sub": "E4711", "scope": "staff"});
    for (name, value) in claims.as_object().expect("claims") {
        all[name] = value.clone();
    }
    gateway.token(&all)
}

fn ask(gateway: &Gateway, host: &str, path: &str, token: &str) -> Message {
    gateway.client().ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"))
}

fn get(gateway: &Gateway, path: &str, token: &str) -> Message {
    ask(gateway, "api.test", path, token)
}

#[test]
fn permissions_that_userinfo_tells_let_in_and_are_told_to_the_upstream() {
    let server = Server::plain();
    erika(&server);
    let mut gateway = start(&server);
    let token = token(&gateway, &json!({}));
    for _ in 0..3 {
        assert_eq!(get(&gateway, "/staff", &token).status(), 200);
    }
    assert_eq!(get(&gateway, "/brokers/b1", &token).status(), 200);
    assert_eq!(server.asked("/userinfo"), 1, "once for all of them");
    let seen = gateway.upstream.requests();
    assert_eq!(seen[0].field("x-auth-permissions"), Some("ameise,verwaltung"));
    assert_eq!(seen[0].field("x-auth-subject"), Some("E4711"));
    let records = gateway.records();
    assert_eq!(records[0]["principal"]["permissions"], json!(["ameise", "verwaltung"]));
    assert_eq!(records[3]["values"]["claim./broker/id"], json!("B1"));
    assert_eq!(records[0]["facts"]["unasked"], Value::Null);
}

#[test]
fn who_lacks_the_permission_is_refused_after_asking() {
    let server = Server::plain();
    server.publish("/userinfo", &json!({"sub": "E4711", "ameise/permissions": ["ameise"], "broker": {"id": "B2"}}));
    let gateway = start(&server);
    let token = token(&gateway, &json!({}));
    let answer = get(&gateway, "/staff", &token);
    assert_eq!((answer.status(), answer.field("www-authenticate")), (403, None));
    assert_eq!(get(&gateway, "/brokers/b1", &token).status(), 403);
    assert_eq!(server.asked("/userinfo"), 1);
    gateway.upstream.assert_silent();
}

#[test]
fn permissions_that_were_not_released_are_challenged_for() {
    let server = Server::plain();
    let gateway = start(&server);
    let wanted = Some("Bearer realm=\"staff\", error=\"insufficient_scope\", scope=\"ameise/permissions\"");
    server.publish("/userinfo", &json!({"sub": "E4711"}));
    let answer = get(&gateway, "/staff", &token(&gateway, &json!({"jti": "1"})));
    assert_eq!((answer.status(), answer.field("www-authenticate")), (403, wanted));
    server.answer("/userinfo", Answer::Say(403, String::new(), Vec::new()));
    let answer = get(&gateway, "/staff", &token(&gateway, &json!({"jti": "2"})));
    assert_eq!((answer.status(), answer.field("www-authenticate")), (403, wanted));
    gateway.upstream.assert_silent();
}

#[test]
fn nobody_asks_where_nothing_turns_on_it() {
    let server = Server::plain();
    erika(&server);
    let mut gateway = start(&server);
    let plain = token(&gateway, &json!({}));
    let scopeless = token(&gateway, &json!({"scope": "other"}));
    let full = token(&gateway, &json!({"ameise/permissions": ["verwaltung"]}));
    for (path, token, status) in [
        ("/any", &plain, 200),
        ("/scope", &plain, 200),
        ("/either", &plain, 200),
        ("/staff", &scopeless, 403),
        ("/inside", &plain, 403),
        ("/staff", &full, 200),
        ("/nowhere", &plain, 404),
        ("/brokers/b-1", &plain, 404),
    ] {
        assert_eq!(get(&gateway, path, token).status(), status, "{path}");
    }
    assert_eq!(get(&gateway, "/staff", "x").status(), 401);
    assert_eq!(server.asked("/userinfo"), 0);
    let records = gateway.records();
    assert_eq!(records[0]["facts"]["unasked"], json!(["ameise/permissions", "broker", "client"]));

    // Decided again from the records: the same by the same policies, and nothing where it would turn on what nobody knows.
    let replayed = |gateway: &Gateway| {
        let path = gateway.directory.path().join("torwart.yaml");
        let (loaded, _) = Loaded::configuration(&path, &|_: &str| None).expect("policies");
        let tally = audit::replay(&loaded, &gateway.directory.path().join("audit.log")).expect("records");
        assert!(tally.changes.is_empty(), "{:?}", tally.changes);
        tally.unknown.keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(replayed(&gateway).is_empty());
    gateway.write(
        "policies/0.yaml",
        &STAFF.replace(
            "/scope, methods: [GET], require: {",
            "/scope, methods: [GET], require: {permission: verwaltung, ",
        ),
    );
    assert_eq!(replayed(&gateway), ["nobody had asked userinfo about the caller"]);
}

#[test]
fn a_body_is_not_read_before_the_claims_are_known() {
    let server = Server::plain();
    server.publish("/userinfo", &json!({"sub": "E4711", "ameise/permissions": []}));
    let gateway = start(&server);
    let token = token(&gateway, &json!({}));
    let head = format!(
        "POST /notes HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    );
    assert_eq!(gateway.client().ask(head).status(), 403, "without a byte of the body");
    gateway.upstream.assert_silent();
}

#[test]
fn the_body_decides_once_the_claims_are_known() {
    let server = Server::plain();
    erika(&server);
    let gateway = start(&server);
    let token = token(&gateway, &json!({}));
    for (body, status) in [(r#"{"kind":"note"}"#, 200), (r#"{"kind":"memo"}"#, 403)] {
        let request = format!(
            "POST /notes HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(gateway.client().ask(request).status(), status, "{body}");
    }
    assert_eq!(gateway.upstream.only().text(), r#"{"kind":"note"}"#);
}

#[test]
fn a_token_that_userinfo_refuses_or_that_is_another_persons_is_invalid() {
    let server = Server::plain();
    let mut gateway = start(&server);
    let refused = Answer::Say(401, String::new(), Vec::new());
    let other = json!({"sub": "E4712", "ameise/permissions": ["verwaltung"]}).to_string().into_bytes();
    let other = Answer::Say(200, "Content-Type: application/json\r\n".to_owned(), other);
    for (number, answer) in [refused, other].into_iter().enumerate() {
        server.answer("/userinfo", answer);
        let answer = get(&gateway, "/staff", &token(&gateway, &json!({"jti": number.to_string()})));
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"staff\", error=\"invalid_token\""));
    }
    gateway.upstream.assert_silent();
    let records = gateway.records();
    let faults: Vec<_> = records.iter().map(|record| record["facts"]["token"]["fault"].clone()).collect();
    assert_eq!(faults, [json!("userinfo"), json!("userinfo_subject")]);
    assert_eq!(records[0]["principal"], Value::Null);
}

#[test]
fn an_endpoint_that_fails_is_unavailable_and_never_a_yes_or_no() {
    let server = Server::plain();
    server.answer("/userinfo", Answer::Say(500, String::new(), Vec::new()));
    let gateway = start(&server);
    let answer = get(&gateway, "/staff", &token(&gateway, &json!({})));
    assert_eq!((answer.status(), answer.field("www-authenticate")), (503, None));
    assert!(answer.field("retry-after").is_some());
    gateway.upstream.assert_silent();
}

#[test]
fn other_routes_do_not_notice_an_endpoint_that_hangs() {
    let server = Server::plain();
    server.answer("/userinfo", Answer::Hang);
    let gateway = start(&server);
    let plain = token(&gateway, &json!({}));
    let mut waiting: Vec<_> = (0..100).map(|_| gateway.client()).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        let token = token(&gateway, &json!({"jti": number.to_string()}));
        client.send(format!("GET /staff HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\r\n"));
    }
    for _ in 0..20 {
        assert_eq!(get(&gateway, "/scope", &plain).status(), 200);
    }
    assert_eq!(gateway.upstream.requests().len(), 20);
}

#[test]
fn an_observed_failure_passes_with_the_identity_of_a_token_that_holds() {
    let server = Server::plain();
    server.answer("/userinfo", Answer::Say(500, String::new(), Vec::new()));
    let mut gateway = start(&server);
    assert_eq!(ask(&gateway, "watched.test", "/staff", &token(&gateway, &json!({"jti": "1"}))).status(), 200);
    server.answer("/userinfo", Answer::Say(401, String::new(), Vec::new()));
    assert_eq!(ask(&gateway, "watched.test", "/staff", &token(&gateway, &json!({"jti": "2"}))).status(), 200);
    let seen = gateway.upstream.requests();
    assert_eq!(seen[0].field("x-auth-subject"), Some("E4711"));
    assert_eq!(seen[0].field("x-auth-permissions"), None);
    assert_eq!(seen[1].field("x-auth-subject"), None, "whose token userinfo does not know is nobody");
    let would: Vec<_> = gateway.records().iter().map(|record| record["would"].clone()).collect();
    assert_eq!(would, [json!(503), json!(401)]);
}
