//! `identity` of `torwart.yaml`: how the principal is written for the protected API, and what clients may say under the
//! same prefix.

use serde_json::json;

use crate::support::World;
use crate::support::world::Gateway;

const POLICY: &str = r"
version: 1
policy: api
hosts: [api.test]
upstream: api
routes:
  - {path: /me, methods: [GET], require: authenticated}
  - {path: /few, methods: [GET], require: authenticated, forward: {identity_headers: [issuer]}}
";

fn world() -> World {
    World::new().policies(&[POLICY]).issuer("    claims: {organizations: org_uids}\n")
}

fn ask(gateway: &Gateway, path: &str, lines: &str) -> u16 {
    ask_as(gateway, "Jürgen Müller", path, lines)
}

fn ask_as(gateway: &Gateway, subject: &str, path: &str, lines: &str) -> u16 {
    let token = gateway.token(&json!({"sub": subject, "org_uids": ["ä,b", "none"]}));
    let head = format!("GET {path} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n{lines}\r\n");
    gateway.client().ask(head).status()
}

#[test]
fn what_a_header_cannot_carry_is_written_as_the_configuration_says() {
    for (encoding, subject, organizations) in [
        ("percent", "J%C3%BCrgen%20M%C3%BCller", "%C3%A4%2Cb,none"),
        ("latin1", "J\u{fc}rgen%20M\u{fc}ller", "\u{e4}%2Cb,none"),
        ("base64", "SsO8cmdlbiBNw7xsbGVy", "w6QsYg==,bm9uZQ=="),
    ] {
        let identity = format!("identity: {{encoding: {encoding}}}");
        let gateway = world().with(&identity).start();
        assert_eq!(ask(&gateway, "/me", ""), 200, "{encoding}");
        let request = gateway.upstream.only();
        assert_eq!(request.field("x-auth-subject"), Some(subject), "{encoding}");
        assert_eq!(request.field("x-auth-org-uids"), Some(organizations), "{encoding}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_refused_where_it_would_be_sent() {
    let mut gateway = world().with("identity: {max_bytes: 64}").start();
    let long = "ü".repeat(11);
    assert_eq!(ask_as(&gateway, &long, "/me", ""), 403, "every letter takes six bytes");
    gateway.upstream.assert_silent();
    assert_eq!(ask_as(&gateway, &long, "/few", ""), 200, "a route that does not send the subject");
    assert_eq!(ask_as(&gateway, &"ü".repeat(10), "/me", ""), 200);
    assert_eq!(gateway.records()[0]["reason"], "identity-too-large");
}

#[test]
fn only_names_that_the_gateway_never_sets_reach_the_upstream_from_clients() {
    let gateway = world().with("identity: {pass: [X-Auth-Token]}").start();
    let lines = "X-Auth-Token: mine\r\nX_Auth_Token: evil\r\nX-Auth-Other: evil\r\nX-Auth-Permissions: evil\r\n\
                 x.auth.scopes: evil\r\n";
    assert_eq!(ask(&gateway, "/me", lines), 200);
    let request = gateway.upstream.only();
    assert_eq!(request.field("x-auth-token"), Some("mine"));
    assert_eq!(request.fields.iter().find(|(_, value)| value == "evil"), None);
}
