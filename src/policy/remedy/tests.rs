//! What would help a refused request: one condition after another, and paths near one that there is not.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use serde_json::json;

use super::*;
use crate::clock::Timestamp;
use crate::policy::Head;
use crate::policy::tests::compiled;
use crate::principal::{ClaimSet, ClientCertificate, IssuerIdentity, Principal};
use crate::target::{Authority, Scheme};

/// What is otherwise about a principal.
type Difference = fn(&mut Principal);

fn alice(_: &mut Principal) {}

/// What helps a request that is Alice's but for `change`: with a header, a form where one is asked about, an address and a
/// certificate.
fn remedies(require: &str, target: &str, change: Difference) -> Vec<Change> {
    let policies = compiled(&[&format!(
        "version: 1\npolicy: a\nhosts: [a.example.com]\nupstream: crm\nroutes:\n  \
         - path: /a\n    methods: [GET, POST]\n    require: {require}\n"
    )]);
    let claims = json!({"tier": "gold", "groups": ["a", "b"]});
    let mut principal = Principal {
        subject: Some("alice".to_owned()),
        client: Some("app".to_owned()),
        scopes: ["crm"].into(),
        permissions: Some(["p"].into()),
        organizations: Some(["acme"].into()),
        flow: Flow::User,
        claims: claims.as_object().unwrap().into(),
        acr: Some("gold".to_owned()),
        authenticated_at: Some(Timestamp(0)),
        ..Principal::of(Arc::new(IssuerIdentity::named(IssuerId(0), "shoen")))
    };
    change(&mut principal);
    let certificate = ClientCertificate { dns: vec!["a.example.com".to_owned()], ..ClientCertificate::default() };
    let caller = Caller {
        principal: Some(&principal),
        address: Some("192.0.2.7".parse().unwrap()),
        certificate: Some(&certificate),
        now: Timestamp(10),
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-a", HeaderValue::from_static("1"));
    let has_body = require.contains("form.");
    if has_body {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    }
    let authority = Authority::parse("a.example.com", Scheme::Https).unwrap();
    let method = if has_body { "POST" } else { "GET" };
    let head = Head { has_body, ..Head::new(method, &authority, target, &headers) };
    policies.place(&head).unwrap().remedies(&caller, b"f=1")
}

fn query(text: Option<&str>) -> Change {
    Change::Query("q".into(), text.map(str::to_owned))
}

fn claim(name: &str, value: Value) -> Change {
    Change::Claim(ClaimPath::top(name), Some(value))
}

fn address(text: &str) -> Change {
    Change::Address(text.parse().unwrap())
}

#[test]
fn what_is_missing_is_proposed() {
    let permission = |name: &str| Change::Permission(name.to_owned(), true);
    let organization = |name: &str| Change::Organization(name.to_owned(), true);
    for (require, target, changes) in [
        ("{scope: other}", "/a", vec![Change::Scope("other".to_owned(), true)]),
        ("{any_of: [{scope: crm, permission: q}, {permission: r}]}", "/a", vec![permission("q"), permission("r")]),
        ("{global: true}", "/a", vec![Change::Global(true)]),
        ("{authentication: {acr: [silver]}}", "/a", vec![Change::Acr("silver".to_owned())]),
        ("{authentication: {max_age: 5s}}", "/a", vec![Change::LogIn]),
        (
            "{certificate: {dns: [b.example.com]}}",
            "/a",
            vec![Change::Certificate(CertificateName::Dns, "b.example.com".to_owned())],
        ),
        ("{network: [10.0.0.0/8]}", "/a", vec![address("10.0.0.1")]),
        (
            "{organization: \"{query.q}\"}",
            "/a?q=other",
            vec![query(Some("acme")), organization("other"), Change::Global(true)],
        ),
        ("{organization: \"{query.q}\"}", "/a", vec![query(Some("acme")), Change::Global(true)]),
        ("{subject: \"{query.q}\"}", "/a", vec![query(Some("alice"))]),
        ("{subject: \"{query.q}\"}", "/a?q=bob", vec![query(Some("alice")), Change::Subject("bob".to_owned())]),
    ] {
        assert_eq!(remedies(require, target, alice), changes, "{require} {target}");
    }
}

#[test]
fn what_a_principal_has_decides_what_is_proposed() {
    let machine = |principal: &mut Principal| principal.flow = Flow::ClientCredentials;
    let nobody = |principal: &mut Principal| {
        (principal.client, principal.organizations) = (None, None);
        principal.claims = ClaimSet::default();
    };
    let global = |principal: &mut Principal| principal.global = Some(true);
    let organization = Change::Organization("other".to_owned(), true);
    let cases: [(&str, &str, Difference, Vec<Change>); 6] = [
        ("{organization: \"{query.q}\"}", "/a?q=other", nobody, vec![organization, Change::Global(true)]),
        ("{client: \"{query.q}\"}", "/a", nobody, vec![query(Some("example"))]),
        ("{claim: {tier: {equals: \"{query.q}\"}}}", "/a", nobody, vec![query(Some("example"))]),
        ("{subject: bob}", "/a", machine, vec![Change::Subject("bob".to_owned())]),
        ("{subject: \"{query.q}\"}", "/a?q=alice", machine, vec![Change::Flow(Flow::User)]),
        ("{not: {global: true}}", "/a", global, vec![Change::Global(false)]),
    ];
    for (require, target, change, changes) in cases {
        assert_eq!(remedies(require, target, change), changes, "{require} {target}");
    }
}

#[test]
fn under_not_what_is_there_has_to_go() {
    let example = || "example".to_owned();
    for (not, target, changes) in [
        ("{scope: crm}", "/a", vec![Change::Scope("crm".to_owned(), false)]),
        ("{permission: p}", "/a", vec![Change::Permission("p".to_owned(), false)]),
        ("{organization: \"{query.q}\"}", "/a?q=acme", vec![Change::Organization("acme".to_owned(), false)]),
        ("{subject: alice}", "/a", vec![Change::Subject(example())]),
        ("{client: app}", "/a", vec![Change::Client(example())]),
        ("{flow: user}", "/a", vec![Change::Flow(Flow::ClientCredentials)]),
        ("{authentication: {acr: [gold]}}", "/a", vec![Change::Acr(example())]),
        ("{network: [192.0.2.0/24]}", "/a", vec![address("198.51.100.1")]),
        ("{claim: {tier: {equals: gold}}}", "/a", vec![claim("tier", json!("example"))]),
        ("{claim: {tier: {exists: true}}}", "/a", vec![Change::Claim(ClaimPath::top("tier"), None)]),
        ("{claim: {groups: {contains: a}}}", "/a", vec![claim("groups", json!(["example"]))]),
        ("{request: {query.q: present}}", "/a?q=1", vec![query(None)]),
        ("{request: {query.q: \"1\"}}", "/a?q=1", vec![query(Some("example"))]),
        // What the only issuer says, a login that was and a certificate cannot be otherwise.
        ("{issuer: shoen}", "/a", vec![]),
        ("{authentication: {max_age: 5m}}", "/a", vec![]),
        ("{certificate: {dns: [a.example.com]}}", "/a", vec![]),
    ] {
        assert_eq!(remedies(&format!("{{not: {not}}}"), target, alice), changes, "{not} {target}");
    }
}

#[test]
fn a_claim_becomes_what_it_is_compared_with_or_the_request_what_the_claim_is() {
    for (test, target, changes) in [
        ("tier: {equals: silver}", "/a", vec![claim("tier", json!("silver"))]),
        ("tier: {equals: 3}", "/a", vec![claim("tier", json!(3))]),
        ("tier: {equals: 1.5}", "/a", vec![claim("tier", json!(1.5))]),
        ("tier: {equals: true}", "/a", vec![claim("tier", json!(true))]),
        ("tier: {exists: false}", "/a", vec![Change::Claim(ClaimPath::top("tier"), None)]),
        ("level: {exists: true}", "/a", vec![claim("level", json!("example"))]),
        ("tier: {equals: \"{query.q}\"}", "/a", vec![query(Some("gold"))]),
        ("tier: {equals: \"{query.q}\"}", "/a?q=silver", vec![query(Some("gold")), claim("tier", json!("silver"))]),
        ("groups: {contains: c}", "/a", vec![claim("groups", json!(["a", "b", "c"]))]),
    ] {
        assert_eq!(remedies(&format!("{{claim: {{{test}}}}}"), target, alice), changes, "{test} {target}");
    }
}

#[test]
fn what_must_be_absent_is_taken_out_of_the_request() {
    for (value, target, change) in [
        ("query.q", "/a?q=1", query(None)),
        ("header.X-A", "/a", Change::Header(HeaderName::from_static("x-a"), None)),
        (
            "\"query.q#/k\"",
            "/a?q=%7B%22k%22:%221%22%7D",
            Change::QueryJson("q".into(), Pointer::parse("/k").unwrap(), None),
        ),
        ("form.f", "/a", Change::Form("f".into(), None)),
    ] {
        let require = format!("{{request: {{{value}: absent}}}}");
        assert_eq!(remedies(&require, target, alice), [change], "{value}");
    }
}

#[test]
fn a_parameter_that_is_kept_to_the_principals_own_need_not_be_sent() {
    let narrow = |to: &str| format!("authenticated\n    narrow: {{query.q: {to}}}");
    let machine = |principal: &mut Principal| principal.flow = Flow::ClientCredentials;
    let organization = Change::Organization("example".to_owned(), true);
    assert_eq!(remedies(&narrow("organizations"), "/a?q=other", alice), [query(None), organization]);
    assert_eq!(remedies(&narrow("subject"), "/a?q=bob", alice), [query(None)]);
    assert_eq!(remedies(&narrow("subject"), "/a?q=bob", machine), [query(None), Change::Flow(Flow::User)]);
}

/// The paths that are proposed instead of one that no route has.
fn near(routes: &[(&str, &str)], path: &str) -> Vec<String> {
    let route =
        |(path, more): &(&str, &str)| format!("  - {{path: \"{path}\", methods: [GET], require: public, {more}}}\n");
    let policies = compiled(&[&format!(
        "version: 1\npolicy: a\nhosts: [a.example.com]\nupstream: crm\nroutes:\n{}",
        routes.iter().map(route).collect::<String>()
    )]);
    let (authority, headers) = (Authority::parse("a.example.com", Scheme::Https).unwrap(), HeaderMap::new());
    let caller = Caller { principal: None, address: None, certificate: None, now: Timestamp(0) };
    let changes = policies.place(&Head::new("GET", &authority, path, &headers)).unwrap().remedies(&caller, b"");
    let path = |change: Change| if let Change::Path(path) = change { path } else { panic!("{change:?}") };
    changes.into_iter().map(path).collect()
}

#[test]
fn the_paths_that_take_least_typing_are_proposed_once_each() {
    let routes = [
        ("/aaaaaaaaa/cd", ""),
        ("/ab/cdefg", ""),
        ("/ab/cde", ""),
        ("/yy/yy", ""),
        ("/zb/cd", ""),
        ("/zb/{y}", "unbound: [y]"),
    ];
    assert_eq!(near(&routes, "/ab/cd"), ["/zb/cd", "/ab/cde", "/yy/yy", "/ab/cdefg"]);
    let ambiguous = [("/zb/cd", ""), ("/{y}/cd", "unbound: [y]")];
    assert_eq!(near(&ambiguous, "/ZB/cd"), ["/zb/cd"], "not the path that was asked for");
}

#[test]
fn a_proposed_path_has_what_was_asked_for_where_it_fits() {
    let routes = [("/num/{n}", "params: {n: int}, unbound: [n]")];
    assert_eq!(near(&routes, "/nun/7"), ["/num/7"]);
    assert_eq!(near(&routes, "/nun/x"), ["/num/1"]);
}
