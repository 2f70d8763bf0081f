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
    compiled(&[WATCHED, PARTLY, STRICT, LEGACY])
}

/// Surroundings with these issuers, whose tokens tell everything, and these upstreams. There are no files.
pub(in crate::policy) fn surroundings(issuers: &[&str], upstreams: &[(&str, Quirks)]) -> Surroundings<'static> {
    let issuer = |(name, id): (&&str, u16)| IssuerFacts {
        id: IssuerId(id),
        name: (*name).into(),
        ability: Ability::EVERYTHING,
        permission_scope: None,
        introspects: false,
    };
    let upstream = |(name, quirks): &(&str, Quirks)| UpstreamFacts { name: (*name).into(), quirks: *quirks };
    Surroundings {
        issuers: issuers.iter().zip(0..).map(issuer).collect(),
        upstreams: upstreams.iter().map(upstream).collect(),
        identity: IdentityFacts::default(),
        target_bytes: 8192,
        files: &|_: &Path| Err("there are no files".to_owned()),
    }
}

/// Documents for one issuer whose tokens tell everything.
pub(in crate::policy) fn compiled(documents: &[&str]) -> Policies {
    let (policies, problems) = compiled_for(documents, Ability::EVERYTHING);
    policies.unwrap_or_else(|| panic!("{}", problems.render()))
}

/// Documents for one issuer, and what is found in them.
pub(in crate::policy) fn compiled_for(documents: &[&str], ability: Ability) -> (Option<Policies>, Diagnostics) {
    let source = |text: &&str| Arc::new(Source { path: "policy.yaml".into(), text: (*text).to_owned() });
    let sources: Vec<_> = documents.iter().map(source).collect();
    let legacy = Quirks { method_override: MethodOverride::Ignore, ..Quirks::default() };
    let mut surroundings = surroundings(&["shoen"], &[("crm", Quirks::default()), ("legacy", legacy)]);
    surroundings.issuers.iter_mut().for_each(|issuer| issuer.ability = ability);
    Policies::compile(&sources, &surroundings)
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

#[test]
fn each_path_is_a_resource_of_its_own_and_all_of_them_are_the_hosts() {
    let document = |name: &str, host: &str, more: &str, scope: &str| {
        format!(
            "version: 1\npolicy: {name}\nhosts: [{host}]\nupstream: crm\n{more}\nroutes:\n  \
             - {{path: /a, methods: [GET], require: {{scope: {scope}}}}}\n"
        )
    };
    let documents = [
        document("crm", "a.example.com", "base_path: /crm\nmetadata: true", "crm"),
        document("pim", "a.example.com", "base_path: /pim\nmetadata: true", "pim"),
        document("quiet", "a.example.com", "base_path: /quiet", "quiet"),
        document("other", "b.example.com", "metadata: true", "other"),
        document("closed", "c.example.com", "", "closed"),
    ];
    let policies = compiled(&documents.each_ref().map(String::as_str));
    let told: Vec<_> =
        policies.resources().iter().map(|one| (one.host(), one.path(), one.scopes().collect())).collect();
    let wanted: [(&str, &str, Vec<&str>); 4] = [
        ("a.example.com", "", vec!["crm", "pim"]),
        ("a.example.com", "/crm", vec!["crm"]),
        ("a.example.com", "/pim", vec!["pim"]),
        ("b.example.com", "", vec!["other"]),
    ];
    assert_eq!(told, wanted);
    let headers = HeaderMap::new();
    let well_known = "/.well-known/oauth-protected-resource";
    for (host, target, published, challenged) in [
        ("a.example.com", well_known, Some(Published::Resource(0)), Some("")),
        ("a.example.com", &format!("{well_known}/pim"), Some(Published::Resource(2)), Some("")),
        ("a.example.com", &format!("{well_known}/pim/"), Some(Published::Resource(2)), Some("")),
        ("a.example.com", &format!("{well_known}/quiet"), Some(Published::Nothing), Some("")),
        ("a.example.com", "/pim/a", None, Some("/pim")),
        ("a.example.com", "/quiet/a", None, None),
        ("b.example.com", well_known, Some(Published::Resource(3)), Some("")),
        ("c.example.com", well_known, None, None),
    ] {
        let authority = Authority::parse(host, Scheme::Https).unwrap();
        let placed = policies.place(&Head::new("GET", &authority, target, &headers)).unwrap();
        assert_eq!((placed.published(), placed.resource_path().as_deref()), (published, challenged), "{host}{target}");
    }
}

#[test]
fn preflights_are_not_counted_against_the_limit_of_the_route_that_they_ask_about() {
    let policies = compiled(&[r#"
version: 1
policy: crossing
hosts: [api.example.com]
upstream: crm
limit: {rate: 1/s}
cors: {origins: ["https://app.example.com"]}
routes:
  - {path: /a, methods: [GET], require: authenticated}
"#]);
    let authority = Authority::parse("api.example.com", Scheme::Https).unwrap();
    let named = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
        let pair = |&(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    };
    let asking = named(&[("origin", "https://app.example.com"), ("access-control-request-method", "GET")]);
    let limited = |method, headers: &HeaderMap| {
        policies.place(&Head::new(method, &authority, "/a", headers)).unwrap().limit().is_some()
    };
    assert!(limited("GET", &HeaderMap::new()));
    assert!(!limited("OPTIONS", &asking));
}

#[test]
fn a_route_that_reads_no_token_tells_the_upstream_of_nobody_whoever_is_handed_in() {
    let policies = policies();
    let principal = Principal {
        subject: Some("alice".into()),
        scopes: ["orders"].into(),
        flow: Flow::User,
        ..Principal::of(Arc::new(IssuerIdentity::named(IssuerId(0), "shoen")))
    };
    let caller = Caller { principal: Some(&principal), address: None, certificate: None, now: Timestamp(0) };
    let (authority, headers) = (Authority::parse("strict.example.com", Scheme::Https).unwrap(), HeaderMap::new());
    let told = |target| {
        let placed = policies.place(&Head::new("GET", &authority, target, &headers)).unwrap();
        let Decision::Allow(permit) = placed.decide(&caller) else { panic!("{target}") };
        permit.headers().count()
    };
    assert!(told("/orders") > 0);
    assert_eq!(told("/open"), 0);
}

#[test]
fn a_route_tells_what_deciding_takes_beside_what_every_record_has() {
    let policies = compiled(&[r"
version: 1
policy: naming
hosts: [api.example.com]
upstream: crm
routes:
  - {path: /session, methods: [GET], require: {scope: s, request: {header.Cookie: present, query.a: present}}}
  - {path: /plain, methods: [GET], require: {claim: {tier: {equals: gold}}, request: {header.X-A: present}}}
"]);
    let facts: Vec<Vec<String>> =
        policies.routes().map(|route| route.facts().iter().map(ToString::to_string).collect()).collect();
    assert_eq!(facts, [["query.a", "credentials"], ["header.x-a", "claim.tier"]]);
}

#[test]
fn what_tokens_can_tell_decides_which_conditions_are_refused() {
    let none = Ability::NOTHING;
    for (require, more, ability, refused) in [
        ("{permission: p}", "", none, true),
        ("{permission: p}", "", Ability { permissions: true, ..none }, false),
        // A condition that nobody is excused from has to be answered for its own sake.
        ("{permission: p}", "", Ability { flow: true, client_credentials: true, ..none }, true),
        // Who may be excused is told by what client credentials are told by.
        ("{scope: s, permission: p}", "client_credentials: {bypass: [k], lift: [permission]}", none, true),
        (
            "{scope: s, permission: p}",
            "client_credentials: {bypass: [k], lift: [permission]}",
            Ability { flow: true, client_credentials: true, ..none },
            false,
        ),
        // A flow that no token has.
        ("{flow: client_credentials}", "", Ability { flow: true, ..none }, true),
        ("{not: {flow: client_credentials}}", "", Ability { flow: true, ..none }, false),
        ("{not: {flow: user}}", "", Ability { flow: true, ..none }, true),
        // Either tells whose a value is.
        ("authenticated", "narrow: {query.org: organizations}", none, true),
        ("authenticated", "narrow: {query.org: organizations}", Ability { global: true, ..none }, false),
        ("authenticated", "narrow: {query.org: organizations}", Ability { organizations: true, ..none }, false),
    ] {
        let document = format!(
            "version: 1\npolicy: a\nhosts: [a.example.com]\nupstream: crm\nroutes:\n  \
             - path: /a\n    methods: [GET]\n    require: {require}\n    {more}\n"
        );
        let (policies, problems) = compiled_for(&[&document], ability);
        assert_eq!(policies.is_none(), refused, "{require} {more} {ability:?}\n{}", problems.render());
    }
}
