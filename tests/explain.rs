//! What an explanation looks like.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use http::HeaderMap;
use torwart::clock::Timestamp;
use torwart::diagnostic::Source;
use torwart::policy::{Ability, Caller, Head, IdentityFacts, IssuerFacts, Policies, Surroundings, UpstreamFacts};
use torwart::principal::{Flow, IssuerId, IssuerIdentity, Principal};
use torwart::target::quirks::Quirks;
use torwart::target::{Authority, Scheme};

const POLICY: &str = r#"version: 1
policy: crm
hosts: [api.example.com]
upstream: crm
require: {scope: crm}
client_credentials: {bypass: [kusy]}
routes:
  - path: /customers/{customer}
    methods: [GET]
    require:
      subject: "{customer}"
      any_of:
        - {permission: staff}
        - not: {network: [10.0.0.0/8]}
      request: {query.page: present}
  - path: /orders/{*rest}
    methods: [GET]
    require: {scope: {any_of: [orders, admin]}}
"#;

fn explain(target: &str, change: impl FnOnce(&mut Principal)) -> String {
    let source = Arc::new(Source { path: "policies/crm.yaml".into(), text: POLICY.to_owned() });
    let facts = IssuerFacts {
        id: IssuerId(0),
        name: "shoen".into(),
        ability: Ability::EVERYTHING,
        permission_scope: None,
        introspects: false,
    };
    let surroundings = Surroundings {
        issuers: vec![facts],
        upstreams: vec![UpstreamFacts { name: "crm".into(), quirks: Quirks::default() }],
        identity: IdentityFacts::default(),
        target_bytes: 8192,
        files: &|_| Err("no files here".to_owned()),
    };
    let (policies, problems) = Policies::compile(&[source], &surroundings);
    assert!(problems.is_empty(), "{}", problems.render());
    let policies = policies.unwrap();
    let authority = Authority::parse("api.example.com", Scheme::Https).unwrap();
    let headers = HeaderMap::new();
    let head = Head::new("GET", &authority, target, &headers);
    let mut principal = alice();
    change(&mut principal);
    let address = Some("10.1.2.3".parse().unwrap());
    let caller = Caller { principal: Some(&principal), address, certificate: None, now: Timestamp(0) };
    policies.place(&head).unwrap().explain(&caller).to_string()
}

fn alice() -> Principal {
    Principal {
        subject: Some("alice".to_owned()),
        client: Some("app".to_owned()),
        scopes: ["crm"].into(),
        flow: Flow::User,
        expires_at: Timestamp(60),
        leeway: 30,
        ..Principal::of(Arc::new(IssuerIdentity::named(IssuerId(0), "shoen")))
    }
}

#[test]
fn a_refusal_is_explained_as_a_tree_with_places() {
    assert_eq!(
        explain("/customers/bob?x=1", |_| ()),
        "\
GET /customers/bob
deny: subject (403)
policy `crm`, route `GET /customers/{customer}`  policies/crm.yaml:8:11
  + scope: crm  <- scopes: crm  [true] policies/crm.yaml:5:11
  - subject: {customer}  <- subject `alice`; {customer} is bob  [false] policies/crm.yaml:11:7
  - request query.page: present  <- {query.page} has no value  [false] policies/crm.yaml:15:17
  ? any_of  [unknown] policies/crm.yaml:12:7
    ? permission: staff  <- no permissions are known  [unknown] policies/crm.yaml:13:12
    - not  [false] policies/crm.yaml:14:11
      + network: 10.0.0.0/8  <- address 10.1.2.3  [true] policies/crm.yaml:14:17
"
    );
}

#[test]
fn what_is_lifted_is_shown_as_the_alternative_that_it_is() {
    let text = explain("/customers/bob?page=1", |principal| {
        principal.flow = Flow::ClientCredentials;
        principal.client = Some("kusy".to_owned());
        principal.permissions = Some(["staff"].into());
    });
    assert!(text.contains("\nallow\n"), "{text}");
    let lifted = "  + subject: {customer}  <- subject `alice`; {customer} is bob  \
        (not asked: any_of: [.., {flow: client_credentials, client: kusy}])  [true] policies/crm.yaml:11:7\n";
    assert!(text.contains(lifted), "{text}");
}

#[test]
fn what_keeps_a_request_from_its_route_is_named() {
    assert_eq!(explain("/elsewhere", |_| ()), "GET /elsewhere\ndeny: no-route (404)\nno route\n");
    assert_eq!(
        explain("/customers/bob?PAGE=1", |_| ()),
        "\
GET /customers/bob
deny: ambiguous-parameter (400)
policy `crm`, route `GET /customers/{customer}`  policies/crm.yaml:8:11
a parameter that servers may read as `page` is not spelt so
"
    );
    let ambiguous = explain("/ORDERS/1", |_| ());
    assert!(ambiguous.starts_with("GET /ORDERS/1\ndeny: no-route (404)\n"), "{ambiguous}");
}
