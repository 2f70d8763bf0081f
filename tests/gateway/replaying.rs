//! What was decided can be decided again from the audit records alone, and other policies judge a record as they would
//! have judged the request.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use torwart::replay::record::Record;
use torwart::replay::{Judge, Judgement, Outcome, audit};
use torwart::trial::Loaded;

use crate::support::world::{ALICE, BOB, Gateway};
use crate::support::{Client, World};

/// Everything that a condition can ask of a head, a connection and a token.
const THEN: &str = r#"
version: 1
policy: api
hosts: [api.test]
upstream: api
client_credentials: {bypass: [batch]}
require: {scope: api}
routes:
  - {path: "/open/{*rest}", methods: "*", require: public, unbound: [rest]}
  - {path: /partners, methods: [GET], require: {token: none, network: [10.0.0.0/8], request: {query.page: present}}}
  - path: "/customers/{customer}"
    methods: [GET, POST]
    params: {customer: uuid}
    require: {subject: "{customer}"}
    forward: {headers: {X-Mail: "{claim.mail}", X-From: "{query.from}"}}
  - path: /orders
    methods: [GET]
    params: {query.page: int}
    require:
      organization: "{query.org}"
      not: {request: {query.mode: raw}}
  - path: /tenants
    methods: [GET, PUT]
    require: {claim: {tenant: {equals: "{header.X-Tenant}"}}}
    forward: {query: {tenant: "{claim.tenant}"}}
  - path: /nested
    methods: [GET]
    require: {claim: [{name: [deep, er], one_of: [1, true, "x"]}, {name: gone, exists: false}]}
  - {path: /login, methods: [GET], require: {authentication: {acr: [gold], max_age: 1h}}}
  - path: /staff
    methods: [GET, DELETE]
    require:
      any_of:
        - {global: true}
        - {flow: client_credentials, client: [batch]}
        - not: {network: [192.0.2.0/24]}
"#;

/// The same with a change of nearly everything, some of which the records tell and some not.
const LATER: &str = r#"
version: 1
policy: api
hosts: [api.test]
upstream: api
client_credentials: {bypass: [other]}
routes:
  - {path: "/open/{*rest}", methods: [GET], require: {token: none, request: {header.X-New: present}}, unbound: [rest]}
  - {path: /partners, methods: [GET], require: authenticated}
  - path: "/customers/{customer}"
    methods: [GET, DELETE]
    params: {customer: uuid}
    require: {any_of: [{subject: "{customer}"}, {scope: admin}], request: {query.from: absent}}
  - path: /orders
    methods: [GET]
    require: {organization: "{query.org}", request: {query.page: ["1", "2"]}}
  - path: /tenants
    methods: [GET, PUT]
    require: {not: {claim: {tenant: {equals: "{header.X-Tenant}"}}}}
  - path: /nested
    methods: [GET]
    require: {claim: [{name: [deep, er], exists: true}, {name: gone, exists: true}], scope: api}
  - {path: /login, methods: [GET], require: {authentication: {acr: [gold, silver]}}, mode: observe}
  - path: /staff
    methods: [GET]
    require: {network: [10.0.0.0/8, "2001:db8::/32"], scope: {any_of: [api, admin]}}
"#;

/// A request as it is sent, but for its token.
#[derive(Debug, Clone)]
struct Sent {
    method: &'static str,
    target: String,
    headers: Vec<&'static str>,
    token: Option<usize>,
    address: &'static str,
}

fn sent() -> impl Strategy<Value = Sent> {
    let methods = ["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PURGE"];
    let customers = [format!("/customers/{ALICE}"), format!("/customers/{}", BOB.to_uppercase())];
    let paths = [
        "/open/a;b",
        "/open",
        "/partners",
        "/customers/7",
        "/orders",
        "/orders/",
        "/ORDERS",
        "/tenants",
        "/nested",
        "/login",
        "/staff",
        "/nowhere",
        "/../x",
        "/tenants;x",
        "//staff",
        "/.torwart/x",
        "/%6Fpen/x",
        "/a%00",
    ];
    let paths: Vec<String> = paths.into_iter().map(str::to_owned).chain(customers.clone()).chain(customers).collect();
    let pieces = [
        "org=o1",
        "org=o2",
        "ORG=o1",
        "org%5B%5D=o1",
        "org=o1;x",
        "x=1;org=o2",
        "org=%6F1",
        "org=%ff",
        "page=1",
        "page=x",
        "mode=raw",
        "mode=raw;x=1",
        "mode=fine",
        "from=here",
        "from=%e4",
        "tenant=t2",
        "_method=DELETE",
        "_method=GET",
        "%",
        "x=%zz",
        "x=%00",
        "",
    ];
    let headers = [
        "X-Tenant: t1",
        "x-tenant: t2",
        "X_Tenant: t1",
        "X-Tenant: t\u{e4}",
        "Connection: X-Tenant",
        "X-New: 1",
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: GET",
        "Accept: */*",
    ];
    let addresses = ["10.1.2.3", "192.0.2.9", "::ffff:10.0.0.1", "2001:db8::1", "nobody"];
    (
        prop::sample::select(methods.to_vec()),
        prop::sample::select(paths),
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..3),
        prop::collection::vec(prop::sample::select(headers.to_vec()), 0..2),
        prop::option::weighted(0.85, 0..tokens().len()),
        prop::sample::select(addresses.to_vec()),
    )
        .prop_map(|(method, path, query, headers, token, address)| {
            let target = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
            Sent { method, target, headers, token, address }
        })
}

/// Claims of the tokens that requests come with.
fn tokens() -> Vec<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    vec![
        json!({"sub": ALICE, "scope": "api", "org_uids": ["o1"], "tenant": "t1", "deep": {"er": 1}, "acr": "gold",
            "auth_time": now - 60}),
        json!({"sub": ALICE, "scope": "api admin", "global": true, "tenant": 7, "deep": {"er": "x"}, "gone": null,
            "mail": "a@b.c", "acr": "silver", "auth_time": now - 60}),
        json!({"sub": BOB, "scope": "api", "org_uids": ["o1", "o2"], "tenant": "t2", "deep": 1, "gone": 1,
            "mail": {"not": "text"}, "acr": "gold", "auth_time": now - 100_000}),
        json!({"sub": "batch", "client_id": "batch", "scope": "api"}),
        json!({"sub": "other", "client_id": "other", "scope": "api", "tenant": "t\u{e4}"}),
        json!({"sub": BOB, "org_uids": []}),
        json!({"sub": ALICE, "scope": "api", "exp": 5}),
        json!({"sub": ALICE, "scope": "api", "iss": "https://nobody.test"}),
    ]
}

fn start(policy: &str, quirks: &str) -> Gateway {
    World::new()
        .issuer("    claims: {organizations: org_uids, global: global}\n")
        .policies(&[policy])
        .with("trusted_proxies: [127.0.0.0/8]")
        .upstream(quirks)
        .start()
}

/// Sends every request to a gateway, numbered, and returns the lines of its audit records by number.
fn recorded(gateway: &mut Gateway, requests: &[Sent], claims: &[Value]) -> BTreeMap<usize, String> {
    for (number, sent) in requests.iter().enumerate() {
        let mut text =
            format!("{} {} HTTP/1.1\r\nHost: api.test\r\nX-Request-Id: {number}\r\n", sent.method, sent.target);
        let _ = write!(text, "X-Forwarded-For: {}\r\n", sent.address);
        for header in &sent.headers {
            let _ = write!(text, "{header}\r\n");
        }
        if let Some(token) = sent.token {
            let _ = write!(text, "Authorization: Bearer {}\r\n", gateway.token(&claims[token]));
        }
        if !matches!(sent.method, "GET" | "HEAD" | "TRACE") {
            text.push_str("Content-Length: 0\r\n");
        }
        text.push_str("\r\n");
        let mut client = Client::plain(gateway.plain());
        client.send(text);
        if sent.method == "HEAD" {
            client.receive_head()
        } else {
            client.receive()
        };
    }
    let records = gateway.records();
    let number = |record: &Value| record["request_id"].as_str().and_then(|id| id.parse().ok());
    records.iter().filter_map(|record| Some((number(record)?, record.to_string()))).collect()
}

fn loaded(gateway: &Gateway) -> Loaded {
    let path = gateway.directory.path().join("torwart.yaml");
    Loaded::configuration(&path, &|_: &str| None).unwrap_or_else(|problems| panic!("{}", problems.render())).0
}

#[test]
fn records_are_judged_as_the_requests_themselves() {
    judged("quirks: {}");
}

#[test]
fn records_are_judged_as_the_requests_themselves_by_servers_with_ways_of_their_own() {
    judged("quirks: {method_override: honour, case: always, path_parameters: always, empty_segments: keep}");
}

fn judged(quirks: &str) {
    let mut runner = TestRunner::deterministic();
    let requests: Vec<Sent> = (0..1000).map(|_| sent().new_tree(&mut runner).unwrap().current()).collect();
    let claims = tokens();
    let (mut before, mut after) = (start(THEN, quirks), start(LATER, quirks));
    let (then, later) = (recorded(&mut before, &requests, &claims), recorded(&mut after, &requests, &claims));
    let numbered = |lines: &BTreeMap<usize, String>| lines.keys().copied().collect::<Vec<_>>();
    assert_eq!(numbered(&then), numbered(&later));
    assert!(then.len() > 900, "{} of {}", then.len(), requests.len());

    // The same policies say the same.
    let tally = audit::replay(&loaded(&before), &before.directory.path().join("audit.log")).unwrap();
    assert_eq!(tally.changes, [].into());
    assert_eq!((tally.malformed, tally.other), (0, 0), "{:?}", tally.shown);
    let unknown: Vec<_> = tally.unknown.keys().map(|why| &**why).collect();
    assert_eq!(unknown, ["it was refused before any policy was asked"]);

    // Others say what they say to the requests, or nothing.
    let others = loaded(&after);
    let judge = Judge::new(&others);
    let (mut changed, mut unknown) = (0, BTreeMap::<String, usize>::new());
    for (number, line) in &then {
        let record = Record::read(line.as_bytes()).unwrap();
        let other = &later[number];
        let really = Record::read(other.as_bytes()).unwrap().decided().outcome();
        let judged = match judge.judge(&record) {
            Judgement::Same => record.decided().outcome(),
            Judgement::Changed(now) => {
                assert_ne!(now, record.decided().outcome());
                changed += 1;
                now
            }
            Judgement::Unknown(why) => {
                *unknown.entry(why.to_string()).or_default() += 1;
                continue;
            }
        };
        assert_eq!(judged, really, "{:?}\n{line}\n{other}", requests[*number]);
    }
    assert!(changed > 100, "{changed}, {unknown:?}");
    assert!(unknown.keys().any(|why| why == "it has no `header.x-new`"), "{unknown:?}");
    assert!(unknown.keys().any(|why| why == "nobody looked whether there was a token"), "{unknown:?}");
    assert!(unknown.values().sum::<usize>() < then.len() / 2, "{unknown:?}");
}

#[test]
fn a_record_is_found_and_says_what_failed_and_where() {
    let mut gateway = start(THEN, "quirks: {}");
    let token = gateway.token(&json!({"sub": BOB, "scope": "api"}));
    let request = format!(
        "GET /customers/{ALICE}?from=me HTTP/1.1\r\nHost: api.test\r\nX-Request-Id: wanted\r\nX-Forwarded-For: 10.0.0.1\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    assert_eq!(gateway.client().ask(request).status(), 403);
    let records = gateway.records();
    let condition = &records[0]["condition"];
    assert_eq!(condition["text"], "subject: {customer}");
    assert_eq!(condition["line"], 14);
    assert_eq!(records[0]["facts"], json!({"query": "from=me"}));
    let path = gateway.directory.path().join("audit.log");
    let line = torwart::replay::search::last(&path, "wanted").unwrap().unwrap();
    let found = Record::read(&line).unwrap();
    assert_eq!(found.decided().outcome(), Outcome::Deny(Some(403), "subject".into()));
    assert!(torwart::replay::search::last(&path, "want").unwrap().is_none());
}
