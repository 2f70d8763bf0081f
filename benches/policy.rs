//! Deciding and loading, without sockets and tokens: `cargo bench --bench policy`. Figures are in docs/performance.md.
//!
//! `TORWART_DECISIONS=1000 cargo bench --bench policy` decides that often for each size and kind and measures nothing: what
//! callgrind is given, because instruction counts repeat on a busy machine. `TORWART_ROUTES=10` does so for one size.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot go on fails")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use torwart::clock::Timestamp;
use torwart::diagnostic::Source;
use torwart::policy::{
    Ability, Caller, Decision, Head, IdentityFacts, IssuerFacts, Needs, Policies, Surroundings, UpstreamFacts,
};
use torwart::principal::{Claims, Flow, IssuerId, IssuerIdentity, Principal, Texts};
use torwart::target::quirks::Quirks;
use torwart::target::{Authority, PathRules, Scheme, Target};

const CUSTOMER: &str = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";
const ORGANIZATION: &str = "0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02";

/// Routes in one document. Real documents describe one API.
const ROUTES_A_DOCUMENT: usize = 100;

/// Kinds of routes, which take turns.
const KINDS: usize = NAMES.len();

/// Their benchmarks.
const NAMES: [&str; 5] = [
    "a_capture_that_is_the_subject",
    "a_parameter_that_is_an_organisation",
    "alternatives",
    "a_rest_and_a_claim",
    "a_public_route",
];

/// Routes in one table.
const SIZES: [usize; 3] = [10, 1_000, 10_000];

fn main() {
    let Ok(times) = std::env::var("TORWART_DECISIONS") else { return divan::main() };
    let times: usize = times.parse().unwrap();
    let only: Option<usize> = std::env::var("TORWART_ROUTES").ok().map(|routes| routes.parse().unwrap());
    for size in SIZES.into_iter().filter(|size| only.is_none_or(|only| only == *size)) {
        let table = Table::of(size);
        for (kind, name) in NAMES.into_iter().enumerate() {
            let question = table.question(kind);
            for _ in 0..times {
                decide_once(&table.policies, &question);
            }
            tell(name, size);
        }
    }
}

/// Says what was decided just before. A function of its own, so that callgrind can write down what it has counted.
#[inline(never)]
#[expect(clippy::print_stdout, reason = "the names belong to callgrind's counts, which come in the same order")]
fn tell(name: &str, size: usize) {
    println!("{name} {size}");
}

/// The way of a request from its target to a permit: match, second readings, bound and typed values, conditions.
#[divan::bench(args = SIZES)]
fn a_capture_that_is_the_subject(bencher: Bencher<'_, '_>, routes: usize) {
    measure(bencher, routes, 0);
}

/// A bound query parameter that has to be one of the principal's organisations.
#[divan::bench(args = SIZES)]
fn a_parameter_that_is_an_organisation(bencher: Bencher<'_, '_>, routes: usize) {
    measure(bencher, routes, 1);
}

/// Alternatives, a negation and a bound header.
#[divan::bench(args = SIZES)]
fn alternatives(bencher: Bencher<'_, '_>, routes: usize) {
    measure(bencher, routes, 2);
}

/// A capture inside a literal, the rest of a path, and a claim.
#[divan::bench(args = SIZES)]
fn a_rest_and_a_claim(bencher: Bencher<'_, '_>, routes: usize) {
    measure(bencher, routes, 3);
}

/// A public route.
#[divan::bench(args = SIZES)]
fn a_public_route(bencher: Bencher<'_, '_>, routes: usize) {
    measure(bencher, routes, 4);
}

/// One path as it is sent: what most clients send, and what has to be decoded.
const PATHS: [&str; 3] = [
    "/service-0/customers/5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111/contracts-5/4711",
    "/service-0/customers/%35f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111/contracts%2D5/4711",
    "/service-0/lists-6?page=2&org_uid=0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02&sort=name",
];

/// The canonical form alone.
#[divan::bench(args = PATHS)]
fn canonical_form(bencher: Bencher<'_, '_>, path: &str) {
    bencher.bench_local(|| drop(black_box(Target::parse(black_box(path), PathRules::default()))));
}

/// The canonical form, and the route under this reading and every other that a server may have.
#[divan::bench(args = PATHS)]
fn every_reading(bencher: Bencher<'_, '_>, path: &str) {
    let table = Table::of(1_000);
    let question = table.question(0);
    bencher.bench_local(|| {
        let head = Head::new("GET", &question.authority, black_box(path), &question.headers);
        drop(black_box(table.policies.place(&head)));
    });
}

/// What the first request of a token pays for its identity headers: those after it take what was rendered.
#[divan::bench]
fn identity_headers_of_a_new_token(bencher: Bencher<'_, '_>) {
    let table = Table::of(10);
    let question = table.question(0);
    bencher.bench_local(|| {
        let principal = Arc::new(Principal::clone(&question.principal));
        decide_once(&table.policies, &Question { principal, ..question.clone() });
    });
}

/// From texts to tables: what start and reload take, and `torwart check` before its analysis.
#[divan::bench(args = [1_000, 20_000], sample_count = 5, sample_size = 1)]
fn loading(bencher: Bencher<'_, '_>, routes: usize) {
    let sources = documents(routes);
    bencher.bench_local(|| compile(black_box(&sources)));
}

fn measure(bencher: Bencher<'_, '_>, routes: usize, kind: usize) {
    let table = Table::of(routes);
    let question = table.question(kind);
    bencher.bench_local(|| decide_once(&table.policies, black_box(&question)));
}

/// One decision, allowed. A function of its own, so that callgrind can count what happens inside it.
#[inline(never)]
fn decide_once(policies: &Policies, question: &Question) {
    let head = Head {
        arrived: Some(&question.target),
        ..Head::new("GET", &question.authority, question.target.as_str(), &question.headers)
    };
    let placed = policies.place(&head).unwrap_or_else(|error| panic!("{error}"));
    let principal = match placed.needs() {
        Needs::Nothing => None,
        Needs::Token(_) | Needs::TokenToTell(_) => Some(&*question.principal),
    };
    let caller = Caller { principal, address: None, certificate: None, now: Timestamp(1_700_000_000) };
    match placed.decide(&caller) {
        Decision::Allow(permit) => drop(black_box(permit)),
        other => panic!("{other:?}"),
    }
}

/// Compiled routes and how many there are.
struct Table {
    policies: Policies,
    routes: usize,
}

/// A request and who sends it.
#[derive(Clone)]
struct Question {
    authority: Authority,
    target: PathAndQuery,
    headers: HeaderMap,
    principal: Arc<Principal>,
}

impl Table {
    fn of(routes: usize) -> Self {
        Self { policies: compile(&documents(routes)), routes }
    }

    /// A request for the last route of this kind.
    fn question(&self, kind: usize) -> Question {
        let number = self.routes - KINDS + kind;
        let service = format!("/service-{}", number / ROUTES_A_DOCUMENT);
        let target = match kind {
            0 => format!("{service}/customers/{CUSTOMER}/contracts-{number}/4711"),
            1 => format!("{service}/lists-{number}?page=2&org_uid={ORGANIZATION}&sort=name"),
            2 => format!("{service}/orders-{number}/4711"),
            3 => format!("{service}/Files-{number}('a')/2026/11/report.pdf"),
            _ => format!("{service}/health-{number}"),
        };
        let mut headers = HeaderMap::new();
        let sent = [
            ("accept", "application/json"),
            ("user-agent", "bench"),
            ("x-api-version", "2"),
            ("authorization", "Bearer x"),
        ];
        for (name, value) in sent {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let authority = Authority::parse("api.example.com", Scheme::Https).unwrap();
        let target = PathAndQuery::try_from(target).unwrap();
        Question { authority, target, headers, principal: Arc::new(principal()) }
    }
}

/// Documents with so many routes together.
fn documents(routes: usize) -> Vec<Arc<Source>> {
    let numbers: Vec<usize> = (0..routes).collect();
    let document = |(at, numbers): (usize, &[usize])| {
        let mut text = format!(
            "version: 1\npolicy: service-{at}\nhosts: [api.example.com]\nbase_path: /service-{at}\nupstream: crm\nrequire: {{scope: crm}}\nroutes:\n"
        );
        for number in numbers {
            route(*number, &mut text);
        }
        Arc::new(Source { path: format!("service-{at}.yaml").into(), text })
    };
    numbers.chunks(ROUTES_A_DOCUMENT).enumerate().map(document).collect()
}

fn route(number: usize, text: &mut String) {
    let written = match number % KINDS {
        0 => format!(
            "  - path: /customers/{{customer}}/contracts-{number}/{{contract}}\n    methods: [GET, POST]\n    params: {{customer: uuid, contract: int}}\n    unbound: [contract]\n    require: {{scope: contracts, subject: \"{{customer}}\"}}\n"
        ),
        1 => format!(
            "  - path: /lists-{number}\n    methods: [GET]\n    params: {{query.org_uid: uuid}}\n    require: {{scope: lists, organization: \"{{query.org_uid}}\"}}\n"
        ),
        2 => format!(
            "  - path: /orders-{number}/{{order}}\n    methods: [GET, DELETE]\n    unbound: [order]\n    require:\n      any_of: [{{scope: orders:admin}}, {{scope: orders, flow: user}}]\n      not: {{client: banned}}\n      request: {{header.X-Api-Version: [\"2\", \"3\"]}}\n"
        ),
        3 => format!(
            "  - path: /Files-{number}('{{id}}')/{{*rest}}\n    methods: [GET]\n    unbound: [id]\n    require:\n      scope: files\n      claim: {{department: {{one_of: [sales, support]}}}}\n"
        ),
        _ => format!("  - {{path: /health-{number}, methods: [GET], require: public}}\n"),
    };
    let _ = text.write_str(&written);
}

fn compile(sources: &[Arc<Source>]) -> Policies {
    let surroundings = Surroundings {
        issuers: vec![IssuerFacts {
            id: IssuerId(0),
            name: "shoen".into(),
            ability: Ability::EVERYTHING,
            permission_scope: None,
            introspects: false,
        }],
        upstreams: vec![UpstreamFacts { name: "crm".into(), quirks: Quirks::default() }],
        identity: IdentityFacts::default(),
        target_bytes: 8192,
        files: &|_| Err("there are no files".to_owned()),
    };
    let (policies, problems) = Policies::compile(sources, &surroundings);
    policies.unwrap_or_else(|| panic!("{}", problems.render()))
}

fn principal() -> Principal {
    let words = |text: &str| text.split(' ').collect::<Texts>();
    Principal {
        subject: Some(CUSTOMER.to_owned()),
        client: Some("app".to_owned()),
        scopes: words("openid crm contracts lists orders files"),
        organizations: Some(words(&format!("{CUSTOMER} {ORGANIZATION}"))),
        global: Some(false),
        flow: Flow::User,
        claims: serde_json::from_str::<Claims>(r#"{"department": "support"}"#).unwrap().into(),
        expires_at: Timestamp(1_700_000_300),
        leeway: 30,
        ..Principal::of(Arc::new(IssuerIdentity::named(IssuerId(0), "shoen")))
    }
}
