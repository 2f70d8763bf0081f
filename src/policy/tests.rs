//! What policies tell about themselves, and which bytes a permit shares.

use std::path::Path;

use super::*;
use crate::principal::{Flow, IssuerIdentity};
use crate::target::Scheme;
use crate::target::quirks::{MethodOverride, Quirks};

const WATCHED: &str = r"
version: 1
policy: watched
hosts: [api.example.com, other.example.com]
upstream: crm
mode: observe
routes:
  - {path: /strict, methods: [GET], mode: enforce, require: authenticated}
";
const PARTLY: &str = r#"
version: 1
policy: partly
hosts: ["*.wild.example.com"]
upstream: crm
routes:
  - {path: /watched, methods: [GET], mode: observe, require: authenticated}
  - {path: /strict, methods: [GET], require: authenticated}
"#;
const STRICT: &str = r"
version: 1
policy: strict
hosts: [strict.example.com]
upstream: crm
metadata: true
routes:
  - {path: /open, methods: [GET], require: public}
  - {path: /orders, methods: [GET], require: {any_of: [{scope: orders}, {not: {scope: never}}]}}
";

const LEGACY: &str = r"
version: 1
policy: legacy
hosts: [legacy.example.com]
upstream: legacy
limit: {rate: 1/s}
routes:
  - path: /old/{*rest}
    methods: [GET]
    require: public
    unbound: [rest]
    limit: {rate: 60/m}
    forward: {strip_prefix: /old, add_prefix: /v2, timeout: 5s, max_body: 1MiB}
  - {path: /plain, methods: [GET], require: public}
  - {path: /closed, methods: [GET], require: {network: [10.0.0.0/8], token: none}}
";

fn policies() -> Policies {
    let sources: Vec<_> = [WATCHED, PARTLY, STRICT, LEGACY]
        .map(|text| Arc::new(Source { path: "policy.yaml".into(), text: text.to_owned() }))
        .into();
    let issuer = |id: u16, name: &str| IssuerFacts {
        id: IssuerId(id),
        name: name.into(),
        ability: Ability::EVERYTHING,
        permission_scope: None,
        introspects: false,
    };
    let surroundings = Surroundings {
        issuers: vec![issuer(0, "shoen")],
        upstreams: vec![
            UpstreamFacts { name: "crm".into(), quirks: Quirks::default() },
            UpstreamFacts {
                name: "legacy".into(),
                quirks: Quirks { method_override: MethodOverride::Ignore, ..Quirks::default() },
            },
        ],
        identity: IdentityFacts::default(),
        target_bytes: 8192,
        files: &|_: &Path| Err("there are no files".to_owned()),
    };
    let (policies, problems) = Policies::compile(&sources, &surroundings);
    policies.unwrap_or_else(|| panic!("{}", problems.render()))
}

#[test]
fn documents_and_routes_that_observe_are_told() {
    assert_eq!(policies().observing().collect::<Vec<_>>(), ["watched", "partly"]);
    let policies = policies();
    let documents: Vec<_> = policies.documents().map(|document| (document.name(), document.observes())).collect();
    assert_eq!(documents, [("watched", true), ("partly", false), ("strict", false), ("legacy", false)]);
    let routes: Vec<_> = policies.routes().map(|route| (route.policy(), route.observes())).collect();
    assert_eq!(routes[..3], [("watched", false), ("partly", true), ("partly", false)]);
}

#[test]
fn hosts_issuers_and_resources_are_told() {
    let policies = policies();
    assert_eq!(
        policies.hosts().collect::<Vec<_>>(),
        ["api.example.com", "other.example.com", "*.wild.example.com", "strict.example.com", "legacy.example.com"]
    );
    assert!(policies.serves("a.wild.example.com") && policies.serves("strict.example.com"));
    assert!(!policies.serves("wild.example.com") && !policies.serves("example.com"));
    assert!(policies.issuers().contains(IssuerId(0)));
    let [resource] = policies.resources() else { panic!("{:?}", policies.resources()) };
    assert_eq!((resource.host(), resource.path()), ("strict.example.com", ""));
    assert!(resource.issuers().contains(IssuerId(0)));
    assert_eq!(resource.scopes().collect::<Vec<_>>(), ["orders"], "not what must not be there");
}

#[test]
fn a_permit_shares_the_bytes_that_arrived_if_they_are_the_target_as_it_was_sent() {
    let policies = policies();
    let principal = Principal {
        scopes: ["orders"].into(),
        flow: Flow::User,
        ..Principal::of(Arc::new(IssuerIdentity::named(IssuerId(0), "shoen")))
    };
    let caller = Caller { principal: Some(&principal), address: None, certificate: None, now: Timestamp(0) };
    let (authority, headers) = (Authority::parse("strict.example.com", Scheme::Https).unwrap(), HeaderMap::new());
    let sent = |target: &str, arrived: &str| {
        let arrived = arrived.parse().unwrap();
        let head = Head { arrived: Some(&arrived), ..Head::new("GET", &authority, target, &headers) };
        let Decision::Allow(permit) = policies.place(&head).unwrap().decide(&caller) else { panic!("{target}") };
        permit.path_and_query().to_string()
    };
    assert_eq!(sent("/orders?a=%7a", "/orders?a=%7a"), "/orders?a=%7a");
    assert_eq!(sent("/%6frders", "/%6frders"), "/orders", "the canonical path");
    assert_eq!(sent("/orders", "/orders/4711"), "/orders", "another target");
}

#[test]
fn permits_and_refusals_tell_what_forwarding_and_records_need() {
    let policies = policies();
    let headers = HeaderMap::new();
    let decided = |host: &str, target: &str| {
        let authority = Authority::parse(host, Scheme::Https).unwrap();
        let caller = Caller { principal: None, address: None, certificate: None, now: Timestamp(0) };
        policies.place(&Head::new("GET", &authority, target, &headers)).unwrap().decide(&caller)
    };
    let allowed = |host: &str, target: &str| match decided(host, target) {
        Decision::Allow(permit) => permit,
        other => panic!("{other:?}"),
    };
    let permit = allowed("legacy.example.com", "/old/a");
    assert_eq!((permit.stripped_prefix(), permit.added_prefix()), (Some("/old"), Some("/v2")));
    assert_eq!((permit.timeout(), permit.max_body()), (Some(std::time::Duration::from_secs(5)), Some(1 << 20)));
    assert!(!permit.strips_method_override(), "its upstream is known to ignore them");
    let limit = permit.limit().unwrap();
    assert_eq!((limit.policy(), limit.route()), ("legacy", Some("GET /old/{*rest}")));
    assert_eq!(limit.to_string(), "60/m, burst: 60, per: client, of this route");
    let permit = allowed("legacy.example.com", "/plain");
    assert_eq!((permit.stripped_prefix(), permit.added_prefix(), permit.timeout()), (None, None, None));
    let limit = permit.limit().unwrap();
    assert_eq!((limit.policy(), limit.route()), ("legacy", None));
    assert!(limit.to_string().starts_with("1/s, burst: "), "{limit}");
    assert!(allowed("strict.example.com", "/open").strips_method_override());
    let Decision::Deny(denial) = decided("legacy.example.com", "/closed") else { panic!("it was allowed") };
    assert_eq!((denial.policy(), denial.route()), (Some("legacy"), Some("GET /closed")));
    assert_eq!(denial.condition().map(|text| &**text), Some("network: 10.0.0.0/8"));
}
