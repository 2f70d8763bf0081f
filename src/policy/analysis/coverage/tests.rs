//! What a single request shows of a single route, point by point.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};

use super::*;
use crate::clock::Timestamp;
use crate::policy::Head;
use crate::policy::tests::compiled;
use crate::principal::{Flow, IssuerId, IssuerIdentity, Principal};
use crate::target::{Authority, Scheme};

/// A request and who makes it; what is not said is plain.
#[derive(Clone)]
struct Asked {
    method: &'static str,
    target: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    /// The body, as far as it was read.
    body: Option<&'static str>,
    address: Option<&'static str>,
    principal: Option<Principal>,
}

fn token() -> Principal {
    let issuer = IssuerIdentity::named(IssuerId(0), "shoen");
    Principal {
        subject: Some("me".to_owned()),
        client: Some("app".to_owned()),
        flow: Flow::User,
        ..Principal::of(issuer.into())
    }
}

fn with(scopes: &[&str]) -> Asked {
    let principal = Principal { scopes: scopes.iter().collect(), ..token() };
    Asked { principal: Some(principal), ..stranger() }
}

fn stranger() -> Asked {
    Asked { method: "GET", target: "/a", headers: Vec::new(), body: None, address: None, principal: None }
}

fn policies(head: &str, route: &str) -> Policies {
    compiled(&[&format!(
        "version: 1\npolicy: p\nhosts: [api.example.com]\nupstream: crm\nissuers: [shoen]\n{head}routes:\n  - {{path: /a, methods: [GET], {route}}}\n"
    )])
}

fn shown(policies: &Policies, asked: &Asked) -> Vec<String> {
    let authority = Authority::parse("api.example.com", Scheme::Https).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in &asked.headers {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let head = Head::new(asked.method, &authority, asked.target, &headers);
    let head = Head { has_body: headers.contains_key("content-type"), ..head };
    let placed = policies.place(&head).unwrap();
    let address = asked.address.map(|text| text.parse::<IpAddr>().unwrap());
    let now = Timestamp(1_767_225_600);
    let caller = Caller { principal: asked.principal.as_ref(), address, certificate: None, now };
    let mut coverage = Coverage::of(policies);
    let body = asked.body.map(str::as_bytes);
    coverage.saw(&placed.sightings(&caller, body));
    points(&coverage, true)
}

/// What is to be seen, seen or not, in alphabetical order.
fn points(coverage: &Coverage, seen: bool) -> Vec<String> {
    let side = |side| match side {
        Side::Reached => "reached",
        Side::Allowed => "allowed",
        Side::Refused => "refused",
    };
    let told = coverage.points().filter(|point| point.seen == seen);
    let mut told: Vec<String> = told.map(|point| format!("{} {}", side(point.side), point.what)).collect();
    told.sort();
    told
}

/// What a request to `/a` shows beside the route itself.
fn seen(route: &str, asked: &Asked) -> Vec<String> {
    let mut shown = shown(&policies("", route), asked);
    shown.retain(|point| !point.starts_with("reached"));
    shown
}

const NOTHING: [&str; 0] = [];

#[test]
fn there_is_something_to_see_of_every_part() {
    let all = |route: &str| points(&Coverage::of(&policies("", route)), false);
    let reached = "reached route `GET /a`";
    assert_eq!(all("require: public"), [reached]);
    assert_eq!(all("require: authenticated"), ["allowed authenticated", reached, "refused authenticated"]);
    assert_eq!(all("require: {scope: s}"), ["allowed scope: s", reached, "refused scope: s"]);
    assert_eq!(
        all("require: {token: none, network: [10.0.0.0/8]}"),
        ["allowed network: 10.0.0.0/8", reached, "refused network: 10.0.0.0/8"]
    );
    assert_eq!(all("params: {query.q: int}, require: public"), [reached, "refused the type of `query.q`"]);
    assert_eq!(
        all("require: {any_of: [{scope: s}, {subject: me, client: app}], not: {flow: user}}"),
        [
            "allowed all_of 2",
            "allowed any_of",
            "allowed client: app",
            "allowed flow: user",
            "allowed not",
            "allowed scope: s",
            "allowed subject: me",
            reached,
            "refused all_of 2",
            "refused any_of",
            "refused client: app",
            "refused flow: user",
            "refused not",
            "refused scope: s",
            "refused subject: me",
        ]
    );
}

#[test]
fn what_a_document_asks_of_every_route_is_one_part() {
    let two = "require: {subject: me}}\n  - {path: /b, methods: [GET], require: {subject: me}";
    let policies = policies("require: {scope: s}\n", two);
    let all = points(&Coverage::of(&policies), false);
    assert_eq!(all.iter().filter(|point| *point == "allowed scope: s").count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|point| *point == "allowed subject: me").count(), 2, "{all:?}");
    assert_eq!(shown(&policies, &with(&[])), ["reached route `GET /a`", "refused scope: s"]);
    let other = Asked { target: "/b", ..with(&["s"]) };
    assert_eq!(shown(&policies, &other), ["allowed scope: s", "allowed subject: me", "reached route `GET /b`"]);
}

#[test]
fn a_token_is_all_that_is_asked_for_or_not() {
    assert_eq!(seen("require: authenticated", &with(&[])), ["allowed authenticated"]);
    assert_eq!(seen("require: authenticated", &stranger()), ["refused authenticated"]);
    assert_eq!(seen("require: public", &with(&[])), NOTHING);
    // Whoever has no token is refused whatever the conditions say.
    assert_eq!(seen("require: {scope: s}", &stranger()), NOTHING);
    assert_eq!(seen("require: {not: {scope: s}, subject: me}", &stranger()), NOTHING);
    assert_eq!(seen("mode: observe, require: authenticated", &stranger()), ["refused authenticated"]);
}

#[test]
fn what_is_only_observed_shows_what_would_refuse_it() {
    assert_eq!(seen("mode: observe, require: {scope: s}", &with(&[])), ["refused scope: s"]);
    assert_eq!(seen("mode: observe, require: {scope: s}", &with(&["s"])), ["allowed scope: s"]);
}

#[test]
fn of_several_conditions_the_one_that_is_named_counts() {
    let route = "require: {scope: s, subject: me}";
    assert_eq!(seen(route, &with(&["s"])), ["allowed scope: s", "allowed subject: me"]);
    assert_eq!(seen(route, &with(&[])), ["refused scope: s"]);
    let other = "require: {scope: s, subject: other}";
    assert_eq!(seen(other, &with(&["s"])), ["refused subject: other"]);
    assert_eq!(seen(other, &with(&[])), ["refused scope: s"]);
}

#[test]
fn an_alternative_counts_where_no_other_does() {
    let route = "require: {any_of: [{scope: s}, {scope: t}]}";
    assert_eq!(seen(route, &with(&["s"])), ["allowed any_of", "allowed scope: s"]);
    assert_eq!(seen(route, &with(&["t"])), ["allowed any_of", "allowed scope: t"]);
    assert_eq!(seen(route, &with(&["s", "t"])), ["allowed any_of"]);
    assert_eq!(seen(route, &with(&[])), ["refused any_of", "refused scope: s", "refused scope: t"]);
}

#[test]
fn a_part_of_a_conjunction_counts_where_all_others_hold() {
    let route = "require: {any_of: [{scope: never}, {all_of: [{scope: s}, {scope: t}, {subject: me}]}]}";
    let refused = |parts: &[&str]| {
        let parts = parts.iter().map(|part| format!("refused {part}"));
        let mut all: Vec<String> = parts.chain(["refused all_of 3", "refused any_of"].map(str::to_owned)).collect();
        all.push("refused scope: never".to_owned());
        all.sort();
        all
    };
    assert_eq!(
        seen(route, &with(&["s", "t"])),
        ["allowed all_of 3", "allowed any_of", "allowed scope: s", "allowed scope: t", "allowed subject: me"]
    );
    assert_eq!(seen(route, &with(&["t"])), refused(&["scope: s"]));
    assert_eq!(seen(route, &with(&["s"])), refused(&["scope: t"]));
    assert_eq!(seen(route, &with(&[])), refused(&[]));
}

#[test]
fn under_not_a_condition_lets_in_where_it_is_false() {
    let route = "require: {not: {scope: s}}";
    assert_eq!(seen(route, &with(&["t"])), ["allowed not", "allowed scope: s"]);
    assert_eq!(seen(route, &with(&["s"])), ["refused not", "refused scope: s"]);
    // A token that tells no scopes does not say that it has none.
    assert_eq!(seen(route, &with(&[])), ["refused not", "refused scope: s"]);
}

#[test]
fn a_bypass_counts_where_the_condition_would_not_hold() {
    let head = "client_credentials: {bypass: [app], lift: [subject]}\n";
    let policies = policies(head, "require: {scope: s, any_of: [{subject: other}, {scope: t}]}");
    let program = |scopes: &[&str], subject: &str| Asked {
        principal: Some(Principal {
            flow: Flow::ClientCredentials,
            subject: Some(subject.to_owned()),
            scopes: scopes.iter().collect(),
            ..token()
        }),
        ..stranger()
    };
    let reached = "reached route `GET /a`";
    let lifted = "allowed the bypass of `subject: other`";
    assert_eq!(shown(&policies, &program(&["s"], "app")), ["allowed any_of", "allowed scope: s", lifted, reached]);
    // It has the subject anyway, so nothing turns on the bypass.
    assert_eq!(shown(&policies, &program(&["s"], "other")), ["allowed any_of", "allowed scope: s", reached]);
    // Nobody's bypass is anything else's.
    let user = shown(&policies, &with(&["s"]));
    assert_eq!(user, [reached, "refused any_of", "refused scope: t", "refused subject: other"]);
}

#[test]
fn values_without_their_types_are_told_each_by_itself() {
    let route = "params: {query.q: int, query.r: int}, require: authenticated";
    let asked = |target| Asked { target, ..with(&[]) };
    assert_eq!(seen(route, &asked("/a?q=1&r=2")), ["allowed authenticated"]);
    assert_eq!(seen(route, &asked("/a?q=x&r=2")), ["refused the type of `query.q`"]);
    assert_eq!(seen(route, &asked("/a?q=1&r=x")), ["refused the type of `query.r`"]);
    let both = ["refused the type of `query.q`", "refused the type of `query.r`"];
    assert_eq!(seen(route, &asked("/a?q=x&r=x")), both);
    // A path whose capture has another type is no path of the route: what else it has is not looked at.
    let captured = "require: public}\n  - {path: '/{id}/b', methods: [GET], params: {id: int, query.q: int}, unbound: [id], require: public";
    let policies = policies("", captured);
    assert_eq!(shown(&policies, &asked("/x/b?q=x")), ["refused the type of `id`"]);
    assert_eq!(shown(&policies, &asked("/1/b?q=x")), ["reached route `GET /{id}/b`", "refused the type of `query.q`"]);
    assert_eq!(shown(&policies, &asked("/1/b?q=1")), ["reached route `GET /{id}/b`"]);
}

#[test]
fn a_preflight_shows_nothing_but_where_it_arrives() {
    let preflight = Asked {
        method: "OPTIONS",
        headers: vec![("origin", "https://a.test"), ("access-control-request-method", "GET")],
        address: Some("192.0.2.1"),
        ..stranger()
    };
    for cors in ["upstream", "{origins: ['https://a.test']}"] {
        for require in ["authenticated", "{scope: s}", "{not: {network: [10.0.0.0/8]}, token: none}"] {
            let route = format!("cors: {cors}, require: {require}");
            assert_eq!(shown(&policies("", &route), &preflight), ["reached route `GET /a`"], "{route}");
        }
    }
}

#[test]
fn what_asks_about_a_body_counts_once_it_was_read() {
    // The body's condition is written first, and is asked last.
    let route = "require: public}\n  - {path: /b, methods: [POST], require: {all_of: [{request: {body./kind: [order]}}, {scope: s}]}";
    let policies = policies("", route);
    let asked = |scopes: &[&str], body| Asked {
        method: "POST",
        target: "/b",
        headers: vec![("content-type", "application/json")],
        body,
        ..with(scopes)
    };
    let reached = "reached route `POST /b`";
    let order = Some("{\"kind\": \"order\"}");
    assert_eq!(
        shown(&policies, &asked(&["s"], order)),
        ["allowed request body./kind: order", "allowed scope: s", reached]
    );
    assert_eq!(
        shown(&policies, &asked(&["s"], Some("{\"kind\": \"other\"}"))),
        [reached, "refused request body./kind: order"]
    );
    assert_eq!(shown(&policies, &asked(&["s"], None)), [reached], "nothing is decided before it is read");
    assert_eq!(shown(&policies, &asked(&[], None)), [reached, "refused scope: s"]);
    assert_eq!(shown(&policies, &asked(&[], order)), [reached, "refused scope: s"]);
    assert_eq!(shown(&policies, &asked(&["s"], Some("{"))), [reached], "what cannot be read is refused by itself");
}

#[test]
fn a_token_that_a_route_does_not_read_is_none_of_its_business() {
    let route = "require: {token: none, network: [10.0.0.0/8]}";
    for principal in [None, Some(token())] {
        let asked = |address| Asked { address: Some(address), principal: principal.clone(), ..stranger() };
        assert_eq!(seen(route, &asked("10.0.0.1")), ["allowed network: 10.0.0.0/8"]);
        assert_eq!(seen(route, &asked("192.0.2.1")), ["refused network: 10.0.0.0/8"]);
    }
}
