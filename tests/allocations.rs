//! Deciding allocates nothing where a simple route allows (house.md, "Policy is pure and total"; performance.md).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use allocation_counter::measure;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use torwart::authn::revocation::{Register, Revocations};
use torwart::authn::rules::Rules;
use torwart::clock::Timestamp;
use torwart::config::{Issuer, Preset};
use torwart::diagnostic::Source;
use torwart::policy::{
    Ability, Caller, Decision, Head, IdentityFacts, IssuerFacts, Permit, Policies, Surroundings, UpstreamFacts,
};
use torwart::principal::{IssuerId, Principal};
use torwart::rate::{Counters, Sender};
use torwart::target::quirks::Quirks;
use torwart::target::{Authority, Scheme};

const POLICY: &str = r#"
version: 1
policy: crm
hosts: [api.example.com]
upstream: crm
limit: {rate: 1000/s}
cors: {origins: ["https://app.example.com"], headers: [Authorization]}
routes:
  - path: /customers/{customer}/contracts
    methods: [GET]
    params: {customer: uuid}
    require:
      scope: {all_of: [crm, contracts:read]}
      subject: "{customer}"
      network: [10.0.0.0/8]
      claim: {level: {equals: 3}}
  - path: /batch
    methods: [POST]
    require: {organization: {all_of: ["{body./items/*/id}", "{body./*}"]}}
  - path: /{*rest}
    methods: [GET]
    unbound: [rest]
    require: authenticated
"#;
const ALICE: &str = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";

fn policies() -> Policies {
    let source = Arc::new(Source { path: PathBuf::from("crm.yaml"), text: POLICY.to_owned() });
    let issuer = IssuerFacts {
        id: IssuerId(0),
        name: "shoen".into(),
        ability: Ability::EVERYTHING,
        permission_scope: None,
        introspects: false,
    };
    let surroundings = Surroundings {
        issuers: vec![issuer],
        upstreams: vec![UpstreamFacts { name: "crm".into(), quirks: Quirks::default() }],
        identity: IdentityFacts::default(),
        target_bytes: 8192,
        files: &|_: &Path| Err("there are no files".to_owned()),
    };
    let (policies, problems) = Policies::compile(&[source], &surroundings);
    policies.unwrap_or_else(|| unreachable!("{}", problems.render()))
}

fn principal() -> Principal {
    let rules = Rules::new(&Issuer::new("shoen", "https://auth.example.com", Some(Preset::Kusy)), IssuerId(0));
    let claims = serde_json::json!({"sub": ALICE, "client_id": "app", "scope": "crm contracts:read", "level": 3});
    let claims = claims.as_object().cloned().unwrap_or_default();
    rules.claims_to_principal(claims).unwrap_or_else(|fault| unreachable!("{fault:?}"))
}

#[test]
fn an_allowed_request_is_placed_and_decided_without_an_allocation() {
    let (policies, principal) = (policies(), principal());
    let authority = Authority::parse("api.example.com", Scheme::Https).unwrap_or_else(|error| unreachable!("{error}"));
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("application/json"));
    let target = format!("/customers/{ALICE}/contracts?page=2");
    let address = Some([10, 1, 2, 3].into());
    let caller = Caller { principal: Some(&principal), address, certificate: None, now: Timestamp(1_800_000_000) };
    let ask = |target: &PathAndQuery| {
        let head = Head { arrived: Some(target), ..Head::new("GET", &authority, target.as_str(), &headers) };
        let placed = policies.place(&head).unwrap_or_else(|error| unreachable!("{error}"));
        placed.decide(&caller)
    };
    // As it arrives: a piece of the buffer that the head was read into.
    let arrive = |text: &str| {
        let whole = Bytes::copy_from_slice(text.as_bytes());
        let shared = whole.clone();
        drop(whole);
        PathAndQuery::from_maybe_shared(shared).unwrap_or_else(|error| unreachable!("{error}"))
    };
    // What follows from a principal is worked out once and kept with it.
    assert!(matches!(ask(&arrive(&target)), Decision::Allow(_)));
    for target in [&*target, "/index.html", "/a/b/c?d=e"] {
        let arrived = arrive(target);
        let counted = measure(|| assert!(matches!(ask(&arrived), Decision::Allow(_))));
        assert_eq!(counted.count_total, 0, "{target}");
    }
    // Counting allocates only for a sender that was not there before.
    let counters = Counters::load(policies.routes(), None);
    let sender = Sender { principal: Some(&principal), address };
    let count = |permit: &Permit| permit.route_id().map(|route| counters.count(route, &sender, Instant::now()));
    let Decision::Allow(permit) = ask(&arrive(&target)) else { unreachable!("it was allowed before") };
    assert_eq!(count(&permit), Some(Ok(())));
    assert_eq!(measure(|| assert_eq!(count(&permit), Some(Ok(())))).count_total, 0, "counting");
    let rewritten = arrive("/%69ndex.html");
    let counted = measure(|| assert!(matches!(ask(&rewritten), Decision::Allow(_))));
    assert!(counted.count_total > 0, "allocations are counted at all");
}

/// A body of a mebibyte made of these pieces.
fn body(begin: &str, piece: impl Fn(usize) -> String, end: &str) -> Vec<u8> {
    let mut body = begin.to_owned();
    for number in 0.. {
        let next = piece(number);
        if body.len() + next.len() + end.len() > 1 << 20 {
            break;
        }
        body += &next;
    }
    (body + end).into_bytes()
}

#[test]
fn what_is_kept_of_a_body_is_in_proportion_to_it_and_little_for_an_honest_one() {
    let (policies, principal) = (policies(), principal());
    let authority = Authority::parse("api.example.com", Scheme::Https).unwrap_or_else(|error| unreachable!("{error}"));
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let head = Head { has_body: true, ..Head::new("POST", &authority, "/batch", &headers) };
    let placed = policies.place(&head).unwrap_or_else(|error| unreachable!("{error}"));
    let caller =
        Caller { principal: Some(&principal), address: None, certificate: None, now: Timestamp(1_800_000_000) };
    assert!(matches!(placed.decide(&caller), Decision::NeedsBody));
    for (about, body, times) in [
        ("values", body("[", |_| "0,".to_owned(), "0]"), 12),
        ("keys", body("{", |number| format!("\"{number:x}\":0,"), "\"\":0}"), 4),
        ("escapes", body("[", |_| "\"\\n\",".to_owned(), "0]"), 12),
        ("lists in lists", body("[", |_| "[[[]]],".to_owned(), "0]"), 12),
        (
            "an honest batch",
            body("{\"items\":[", |_| format!("{{\"id\":\"{ALICE}\",\"note\":\"some text\"}},"), "{}]}"),
            1,
        ),
    ] {
        let counted =
            measure(|| assert!(matches!(placed.decide_with_body(&caller, &body), Decision::Deny(_)), "{about}"));
        let most = counted.bytes_max;
        assert!(most <= times * body.len() as u64, "{about}: {most} bytes for {}", body.len());
    }
}

#[test]
fn a_million_revocations_are_loaded_into_less_than_200_megabytes() {
    let directory = tempfile::tempdir().unwrap_or_else(|error| unreachable!("{error}"));
    let mut text = String::from("{\"torwart\":\"revocations\",\"version\":1}\n");
    for number in 0..1_000_000_u32 {
        let kind = if number % 2 == 0 { "subject" } else { "jti" };
        // As long as a UUID.
        let value = format!("{number:08x}-9d1e-4e0b-8a77-0c6f1be0a111");
        let _ = writeln!(text, r#"{{"issuer":"https://auth.example.com","kind":"{kind}","value":"{value}","at":1}}"#);
    }
    std::fs::write(directory.path().join("revocations.log"), text).unwrap_or_else(|error| unreachable!("{error}"));
    let revocations = Revocations::new();
    let allocated = measure(|| {
        revocations.keep_in(directory.path()).unwrap_or_else(|error| unreachable!("{error}"));
    });
    assert_eq!(revocations.len(), 1_000_000);
    println!("{} bytes, at most {}", allocated.bytes_current, allocated.bytes_max);
    assert!(allocated.bytes_max < 200_000_000, "{}", allocated.bytes_max);

    let register = Register::new(revocations, ["https://auth.example.com"]);
    let (now, principal) = (Timestamp(1_800_000_000), principal());
    assert!(register.check(&principal, now).is_ok());
    let asked = measure(|| assert!(register.check(&principal, now).is_ok()));
    assert_eq!(asked.count_total, 0);
}
