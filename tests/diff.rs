//! `policy::analysis`: what two sets of policies decide differently.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "diff/brute.rs"]
mod brute;
#[path = "diff/places.rs"]
mod places;
#[path = "diff/support.rs"]
mod support;

use support::{World, difference, differences};
use torwart::policy::analysis::{Change, Part, Verdict};

/// A document with these routes.
pub(crate) fn document(routes: &str) -> String {
    with("", routes)
}

pub(crate) fn with(head: &str, routes: &str) -> String {
    let routes = routes.trim_start_matches('\n');
    let indent = routes.len() - routes.trim_start_matches(' ').len();
    let lines: Vec<String> = routes.lines().map(|line| format!("  {}\n", line.get(indent..).unwrap_or(""))).collect();
    let start = "version: 1\npolicy: p\nhosts: [api.example.com]\nupstream: u\nissuers: [one]\n";
    format!("{start}{head}routes:\n{}", lines.concat())
}

const OWN: &str = "- {path: '/orders/{id}', methods: [GET], require: {scope: orders, subject: '{id}'}}";

fn decided(old: &str, new: &str) -> Change {
    difference(&document(old), &document(new)).change
}

pub(crate) const ALLOWS_MORE: Change = Change::Decision("denied", "allowed");
pub(crate) const ALLOWS_LESS: Change = Change::Decision("allowed", "denied");

#[test]
fn the_same_policies_do_not_differ() {
    assert!(differences(&document(OWN), &document(OWN)).is_empty());
    let renamed = OWN.replace("'/orders/{id}'", "'/orders/{customer}', name: other").replace("'{id}'", "'{customer}'");
    assert!(differences(&document(OWN), &document(&renamed)).is_empty());
}

#[test]
fn a_dropped_scope_is_found() {
    let new = OWN.replace("scope: orders, ", "");
    assert_eq!(decided(OWN, &new), ALLOWS_MORE);
    assert_eq!(decided(&new, OWN), ALLOWS_LESS);
}

#[test]
fn any_of_in_place_of_all_of_is_found() {
    let old = "- {path: /a, methods: [GET], require: {scope: {all_of: [x, y]}}}";
    assert_eq!(decided(old, &old.replace("all_of", "any_of")), ALLOWS_MORE);
}

#[test]
fn a_wider_network_is_found_and_an_equal_one_is_none() {
    let old = "- {path: /a, methods: [GET], require: {token: none, network: [10.0.0.0/24]}}";
    let found = difference(&document(old), &document(&old.replace("/24", "/23")));
    assert_eq!(found.change, ALLOWS_MORE);
    let address = found.witness.unwrap().scene.address.unwrap().to_string();
    assert!(address.starts_with("10.0.1."), "{address}");
    let split = old.replace("10.0.0.0/24", "10.0.0.0/25, 10.0.0.128/25");
    assert!(differences(&document(old), &document(&split)).is_empty());
}

#[test]
fn a_route_that_a_new_one_shadows_is_found() {
    let new = format!("{OWN}\n- {{path: /orders/all, methods: [GET], require: {{scope: orders}}}}");
    let found = differences(&document(OWN), &document(&new));
    assert!(found.iter().any(|found| found.change == ALLOWS_MORE), "{found:#?}");
    let witness = found.iter().find_map(|found| found.witness.as_ref()).unwrap();
    assert_eq!(witness.scene.target, "/orders/all");
}

#[test]
fn a_bypass_that_gained_a_client_is_found() {
    let old = with("client_credentials: {bypass: [kusy]}\n", OWN);
    let new = with("client_credentials: {bypass: [kusy, batch]}\n", OWN);
    let found = difference(&old, &new);
    assert_eq!(found.change, ALLOWS_MORE);
    let token = found.witness.unwrap().scene.token.unwrap();
    assert_eq!(token.client.as_deref(), Some("batch"));
}

#[test]
fn a_header_no_longer_set_is_found() {
    let old = with("forward: {headers: {X-Tenant: '{subject}'}}\n", OWN);
    let found = difference(&old, &document(OWN));
    assert_eq!(found.change, Change::Effect(vec![Part::Headers]));
    let Verdict::Allowed(effect) = found.witness.unwrap().old else { panic!("it is allowed") };
    assert!(effect.headers.iter().any(|(name, _)| name == "x-tenant"));
}

#[test]
fn an_issuer_that_is_accepted_besides_is_found() {
    let old = document(OWN);
    let found = difference(&old, &old.replace("[one]", "[one, two]"));
    assert_eq!(found.change, ALLOWS_MORE);
    assert_eq!(&*found.witness.unwrap().scene.token.unwrap().issuer, "two");
}

#[test]
fn types_are_compared_as_what_they_accept() {
    let typed = |kind: &str| document(&OWN.replace("methods:", &format!("params: {{id: {kind}}}, methods:")));
    let uuid = typed("uuid");
    let spelt = typed("{regex: '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}'}");
    // Letters of another type than `uuid` may be folded by servers, but only conditions under `not` ask.
    assert!(differences(&uuid, &spelt).is_empty());
    let letters = differences(&uuid, &typed("{regex: '[0-9a-f-]{36}'}"));
    assert!(letters.iter().any(|found| found.change == ALLOWS_MORE), "hyphens anywhere");
    assert!(letters.iter().any(|found| found.change == ALLOWS_LESS), "upper case");
    let found = differences(&typed("int"), &typed("{regex: '[0-9]+'}"));
    let changes: Vec<_> = found.iter().map(|found| found.change.clone()).collect();
    assert_eq!(changes, [ALLOWS_LESS, ALLOWS_MORE], "-5 is an integer, and 007 is not");
}

/// Of a type with few texts a policy may name all but one; that one decides.
#[test]
fn a_value_beside_all_that_are_named_is_found() {
    let letters: Vec<String> = ('a'..='y').map(|letter| format!("'{letter}'")).collect();
    let old = format!(
        "- {{path: '/q/{{x}}', methods: [GET], params: {{x: {{regex: '[a-z]'}}}}, require: {{scope: s, subject: '{{x}}', not: {{subject: [{}]}}}}}}",
        letters.join(", ")
    );
    let new = old.replace("scope: s, ", "");
    let found = difference(&document(&old), &document(&new));
    assert_eq!((found.change, found.witness.unwrap().scene.target.as_str()), (ALLOWS_MORE, "/q/z"));
}

#[test]
fn another_upstream_is_an_effect() {
    let found = difference(&document(OWN), &document(OWN).replace("upstream: u", "upstream: v"));
    assert_eq!(found.change, Change::Effect(vec![Part::Upstream]));
}

#[test]
fn a_limit_or_cors_that_changes_is_an_effect() {
    let found = |old: &str, new: &str| difference(&with(old, OWN), &with(new, OWN)).change;
    let limits = ["", "limit: {rate: 5/s}\n", "limit: {rate: 5/m}\n", "limit: {rate: 5/s, per: address}\n"];
    let pages = ["", "cors: upstream\n", "cors: {origins: ['https://a.test'], headers: [Authorization]}\n"];
    for (part, heads) in [(Part::Limit, &limits[..]), (Part::Cors, &pages[..])] {
        for (old, new) in heads.iter().zip(heads.iter().skip(1)) {
            assert_eq!(found(old, new), Change::Effect(vec![part]), "{old} {new}");
        }
    }
    // How it is written, and what policies and routes are called, is none.
    let renamed = with("limit: {rate: 5/s, burst: 5, per: client}\n", OWN).replace("policy: p", "policy: q");
    assert!(renamed.contains("policy: q"));
    assert!(differences(&with(limits[1], OWN), &renamed).is_empty());
    let orders = [
        "['https://a.test', 'https://b.test'], headers: [Authorization, X-A]",
        "['https://b.test', 'https://a.test'], headers: [x-a, authorization]",
    ];
    let [one, other] = orders.map(|origins| with(&format!("cors: {{origins: {origins}}}\n"), OWN));
    assert!(differences(&one, &other).is_empty());
}

#[test]
fn a_second_reading_that_appears_is_found() {
    let old = "- {path: '/x/{id}', methods: [GET], require: authenticated}";
    let new = format!("{old}\n- {{path: /x/admin, methods: [GET], require: authenticated}}");
    let found = differences(&document(old), &document(&new));
    assert!(found.iter().any(|found| found.change == ALLOWS_LESS), "{found:#?}");
}

#[test]
fn organisations_and_global_are_compared_by_what_they_mean() {
    let route = |require: &str| document(&format!("- {{path: '/o/{{org}}', methods: [GET], require: {{{require}}}}}"));
    let plain = route("organization: '{org}'");
    assert!(differences(&plain, &route("any_of: [{global: true}, {organization: '{org}'}]")).is_empty());
    assert_eq!(difference(&plain, &route("organization: '{org}', global: false")).change, ALLOWS_LESS);
    assert_eq!(difference(&plain, &route("not: {organization: '{org}'}")).change, ALLOWS_LESS);
}

#[test]
fn every_world_of_the_tests_is_made_of_the_same_issuers() {
    assert_eq!(World::new(&document(OWN)).issuers.len(), 2);
}

#[test]
fn a_narrowing_that_is_removed_is_found() {
    let old = "- {path: /orders, methods: [GET], require: {scope: orders}, narrow: {query.org: organizations}}";
    let new = old.replace(", narrow: {query.org: organizations}", "");
    let found = differences(&document(old), &document(&new));
    let changes: Vec<_> = found.iter().map(|found| found.change.clone()).collect();
    assert!(changes.contains(&ALLOWS_MORE), "{changes:?}");
    assert!(changes.contains(&Change::Effect(vec![Part::Target])), "{changes:?}");
    for style in ["comma", "json"] {
        let styled = old.replace("organizations}", &format!("{{to: organizations, style: {style}}}}}"));
        assert!(differences(&document(old), &document(&styled)).iter().all(|found| found.witness.is_some()));
        assert!(!differences(&document(old), &document(&styled)).is_empty());
    }
    for owner in ["subject", "client", "permissions"] {
        let other = old.replace(": organizations", &format!(": {owner}"));
        assert!(differences(&document(&other), &document(&other)).is_empty());
        assert_ne!(differences(&document(old), &document(&other)).len(), 0, "{owner}");
    }
}

#[test]
fn values_in_bodies_are_told_apart() {
    for (source, literal) in [("form.action", "list"), ("body./action", "list"), ("soap.operation", "GetOrder")] {
        let old = format!("- {{path: /a, methods: [POST], require: {{scope: s, request: {{{source}: {literal}}}}}}}");
        assert!(differences(&document(&old), &document(&old)).is_empty());
        let found = difference(&document(&old), &document(&old.replace(literal, &format!("[{literal}, other]"))));
        assert_eq!(found.change, ALLOWS_MORE, "{source}");
        let body = String::from_utf8(found.witness.unwrap().scene.body).unwrap();
        assert!(body.contains("other"), "{body}");
    }
    let own = "- {path: /a, methods: [POST], require: {organization: '{body./items/*/org}'}}";
    let first = own.replace("items/*/org", "org");
    let found = differences(&document(own), &document(&first));
    assert!(found.iter().any(|found| found.witness.is_some()), "{found:?}");
}
