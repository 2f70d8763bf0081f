//! What a record keeps of a request.

use http::{HeaderName, HeaderValue};
use serde_json::json;

use super::*;
use crate::clock::Timestamp;
use crate::policy::tests::compiled;
use crate::policy::{Caller, Policies};
use crate::target::{Authority, Scheme};

const NAMING: &str = r"
version: 1
policy: naming
hosts: [api.example.com]
upstream: crm
routes:
  - path: /orders
    methods: [GET, POST]
    require: {scope: s, request: {query.org: a, header.X-Tenant: b, header.X-Zone: c}}
";
const SILENT: &str = r"
version: 1
policy: silent
hosts: [api.example.com]
upstream: crm
routes:
  - {path: /orders, methods: [GET], require: public}
";

/// What is kept of a request with these headers.
fn kept(policies: &Policies, head: (&str, &str, bool), headers: &[(&str, &str)]) -> Value {
    let authority = Authority::parse("api.example.com", Scheme::Https).unwrap();
    let pair =
        |(name, value): &(&str, &str)| -> (HeaderName, HeaderValue) { (name.parse().unwrap(), value.parse().unwrap()) };
    let headers: HeaderMap = headers.iter().map(pair).collect();
    let (method, target, has_body) = head;
    let head = Head { has_body, ..Head::new(method, &authority, target, &headers) };
    let placed = policies.place(&head).unwrap();
    assert_eq!(placed.method(), method);
    Value::Object(placed.facts().into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[test]
fn of_the_query_everything_is_kept_that_servers_may_take_for_a_named_parameter_or_a_method() {
    let (naming, silent) = (compiled(&[NAMING]), compiled(&[SILENT]));
    let kept = |policies: &Policies, target: &str| kept(policies, ("GET", target, false), &[]);
    for (query, facts) in [
        ("", json!({})),
        ("?", json!({})),
        ("?a=1&b", json!({})),
        ("?a=1&org=a&b=2&ORG=%62", json!({"query": "org=a&ORG=%62"})),
        ("?a;org=a&b", json!({"query": "a;org=a"})),
        ("?org;a=1&b", json!({"query": "org;a=1"})),
        ("?a=1&_method=GET", json!({"query": "_method=GET"})),
        ("?a=%zz", json!({"query": "%"})),
        ("?a=%zz&org=a", json!({"query": "org=a&%"})),
        ("?org=%zz&a", json!({"query": "org=%zz"})),
    ] {
        assert_eq!(kept(&naming, &format!("/orders{query}")), facts, "{query}");
    }
    assert_eq!(kept(&silent, "/orders?org=a&a=%zz"), json!({}), "no policy names a parameter");
    assert_eq!(kept(&silent, "/orders?org=a&_method=GET"), json!({"query": "_method=GET"}));
}

#[test]
fn of_the_headers_those_are_kept_that_make_the_request_ambiguous() {
    let policies = compiled(&[NAMING]);
    let body = json!({"content-type": [], "content-encoding": []});
    for (method, headers, has_body, facts) in [
        ("GET", &[("X-Tenant", "b"), ("Accept", "*/*")][..], false, json!({})),
        ("GET", &[("X_Tenant", "b")], false, json!({"headers": ["X-Tenant"]})),
        ("GET", &[("Connection", "close, x-zone")], false, json!({"headers": ["X-Zone"]})),
        ("GET", &[("Content_Type", "a")], false, json!({})),
        ("POST", &[("Content_Type", "a")], true, json!({"headers": ["content-type"], "body": body})),
        ("GET", &[("X-HTTP-Method-Override", "GET")], false, json!({"method_override": ["GET"]})),
        (
            "POST",
            &[("Content-Type", "text/xml"), ("Content-Encoding", "gzip")],
            true,
            json!({"body": {"content-type": ["text/xml"], "content-encoding": ["gzip"]}}),
        ),
    ] {
        assert_eq!(kept(&policies, (method, "/orders", has_body), headers), facts, "{headers:?}");
    }
}

#[test]
fn values_that_policies_name_are_kept_whether_or_not_they_are_there() {
    let policies = compiled(&[NAMING]);
    let authority = Authority::parse("api.example.com", Scheme::Https).unwrap();
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-tenant"), HeaderValue::from_static("b"))]);
    let placed = policies.place(&Head::new("GET", &authority, "/orders?org=a&org=b", &headers)).unwrap();
    let caller = Caller { principal: None, address: None, certificate: None, now: Timestamp(0) };
    let wanted = [("query.org", json!(["a", "b"])), ("header.X-Tenant", json!("b")), ("header.X-Zone", json!(null))];
    assert_eq!(placed.values(&caller), wanted.map(|(name, value)| (name.to_owned(), value)));
}
