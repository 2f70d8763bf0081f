//! What an explanation says it found.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use crate::clock::Timestamp;
use crate::policy::tests::compiled;
use crate::policy::{Caller, Head};
use crate::principal::{Flow, IssuerId, IssuerIdentity, Principal};
use crate::target::{Authority, Scheme};

const POLICY: &str = r#"
version: 1
policy: crm
hosts: [api.example.com]
upstream: crm
routes:
  - {path: /form, methods: [POST], require: {request: {query.q: x, form.f: "1"}}}
  - {path: /list, methods: [POST], require: authenticated, narrow: {query.org: organizations}}
"#;

/// What every condition found of a request whose body is read or is not.
fn found(target: &str, body: Option<&[u8]>, global: Option<bool>) -> Vec<String> {
    let policies = compiled(&[POLICY]);
    let principal = Principal {
        organizations: Some(["acme", "beta"].into()),
        global,
        flow: Flow::User,
        ..Principal::of(Arc::new(IssuerIdentity::named(IssuerId(0), "shoen")))
    };
    let caller = Caller { principal: Some(&principal), address: None, certificate: None, now: Timestamp(0) };
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, form)]);
    let authority = Authority::parse("api.example.com", Scheme::Https).unwrap();
    let head = Head { has_body: true, ..Head::new("POST", &authority, target, &headers) };
    let placed = policies.place(&head).unwrap();
    let explanation = body.map_or_else(|| placed.explain(&caller), |body| placed.explain_with_body(&caller, body));
    explanation.conditions.into_iter().map(|condition| condition.found).collect()
}

#[test]
fn values_of_a_body_are_shown_where_it_was_read() {
    assert_eq!(found("/form?q=y", Some(b"f=2"), None), ["{query.q} is y", "{form.f} is 2"]);
    assert_eq!(found("/form?q=y", None, None), ["{query.q} is y", "{form.f} was not read"]);
}

#[test]
fn of_more_than_fifty_values_the_others_are_counted() {
    let shown = |count: usize| found(&format!("/form?{}", "q=y&".repeat(count)), None, None).swap_remove(0);
    let fifty = format!("{{query.q}} is {}", ["y"; 50].join(", "));
    assert_eq!(shown(50), fifty);
    assert_eq!(shown(52), format!("{fifty}, and 2 more"));
}

#[test]
fn beside_what_was_sent_of_a_parameter_stands_whose_values_it_is_kept_to() {
    assert_eq!(found("/list?org=other&org=acme", None, None), ["own: acme, beta; {query.org} is other, acme"]);
    assert_eq!(found("/list", None, None), ["own: acme, beta; {query.org} is not sent"]);
    assert_eq!(found("/list?org=other", None, Some(true)), ["the principal is global; {query.org} is other"]);
}
