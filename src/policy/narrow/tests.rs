//! Whatever is sent: of an allowed request no server reads anything but the principal's values.

use std::sync::{Arc, LazyLock};

use http::HeaderMap;
use proptest::prelude::*;

use crate::clock::Timestamp;
use crate::policy::tests::compiled;
use crate::policy::{Caller, Decision, Head, Policies};
use crate::principal::{Flow, IssuerId, IssuerIdentity, Principal};
use crate::target::query::decode;
use crate::target::{Authority, Scheme};

const POLICY: &str = r"
version: 1
policy: crm
hosts: [api.example.com]
upstream: crm
routes:
  - {path: /repeat, methods: [GET], require: authenticated, narrow: {query.org_uid: organizations}}
  - {path: /comma, methods: [GET], require: authenticated, narrow: {query.org_uid: {to: organizations, style: comma}}}
  - {path: /json, methods: [GET], require: authenticated, narrow: {query.org_uid: {to: organizations, style: json}}}
";

/// How a server finds the parameters of a query.
#[derive(Debug, Clone, Copy)]
struct Server {
    /// What stands between parameters.
    separators: &'static [char],
    /// Names are read as PHP reads them, and ASP.NET without case.
    folds: bool,
    /// Which of several values counts.
    takes: Takes,
}

#[derive(Debug, Clone, Copy)]
enum Takes {
    First,
    Last,
    All,
}

impl Server {
    fn all() -> impl Iterator<Item = Self> {
        let takes = [Takes::First, Takes::Last, Takes::All];
        let separators: [&[char]; 2] = [&['&'], &['&', ';']];
        separators.into_iter().flat_map(move |separators| {
            [false, true].into_iter().flat_map(move |folds| takes.map(|takes| Self { separators, folds, takes }))
        })
    }

    /// What it takes for values of `org_uid`.
    fn values(self, query: &str) -> Vec<String> {
        let named = |piece: &str| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let name = String::from_utf8_lossy(&decode(name)).into_owned();
            let name = if self.folds { php(&name) } else { name };
            (name == "org_uid").then(|| {
                // A server written in C stops at NUL.
                String::from_utf8_lossy(&decode(value)).split('\0').next().unwrap_or_default().to_owned()
            })
        };
        let mut values: Vec<_> = query.split(self.separators).filter_map(named).collect();
        match self.takes {
            Takes::First => values.truncate(1),
            Takes::Last => values = values.pop().into_iter().collect(),
            Takes::All => {}
        }
        values
    }
}

fn php(name: &str) -> String {
    let name = match name.trim().split_once('[') {
        Some((name, rest)) if rest.contains(']') => name,
        _ => name.trim(),
    };
    name.replace([' ', '.', '['], "_").to_lowercase()
}

/// The values in one parameter.
fn items(style: &str, text: &str) -> Vec<String> {
    match style {
        "comma" => text.split(',').map(str::to_owned).collect(),
        "json" => match serde_json::from_str(text) {
            Ok(serde_json::Value::Array(items)) => {
                items.iter().map(|item| item.as_str().unwrap_or("no text").to_owned()).collect()
            }
            _ => vec!["no array".to_owned()],
        },
        _ => vec![text.to_owned()],
    }
}

static POLICIES: LazyLock<Policies> = LazyLock::new(|| compiled(&[POLICY]));

fn principal(organizations: &[&str]) -> Principal {
    Principal {
        organizations: Some(organizations.iter().map(|one| (*one).to_owned()).collect()),
        flow: Flow::User,
        ..Principal::of(Arc::new(IssuerIdentity::named(IssuerId(0), "shoen")))
    }
}

/// The query that an allowed request is forwarded with.
fn forwarded(target: &str, principal: &Principal) -> Option<String> {
    let authority = Authority::parse("api.example.com", Scheme::Https).unwrap();
    let headers = HeaderMap::new();
    let head = Head::new("GET", &authority, target, &headers);
    let placed = POLICIES.place(&head).ok()?;
    let caller = Caller { principal: Some(principal), address: None, certificate: None, now: Timestamp(0) };
    match placed.decide(&caller) {
        Decision::Allow(permit) => Some(permit.path_and_query().query().unwrap_or_default().to_owned()),
        _ => None,
    }
}

fn piece() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        6 => Just("org_uid"),
        1 => proptest::sample::select(vec![
            "org%5Fuid", "%6Frg_uid", "org.uid", "ORG_UID", "org_uid[]", "org_uid%5b0%5d", "org_uid[", "+org_uid",
            "org_uid%20", "org_uid%00x", "", "a", "org", "a;org_uid", "org_uid;", "%zz", "org_uid%",
        ]),
    ];
    let value = prop_oneof![
        5 => proptest::sample::select(vec!["=o1", "=o2", "=%6F1", "=%5B%22o1%22%5D", "=%5B%22o1%22%2c+%22o2%22%5D", "=o1,o2"]),
        2 => proptest::sample::select(vec![
            "", "=", "=o3", "=O1", "=o1,", "=,", "=o1,o3", "=o1%2co3", "=o1;o3", "=o1;org_uid=o3", "=o1%00", "=+o1",
            "=o1%20", "=%5B%5D", "=%5B%22%22%5D", "=%5B%22o3%22%5D", "=%22o1%22", "=%5B%22o1%22;%22o3%22%5D", "=null",
            "=*", "=%", "=%ff", "=[\"o1\"]", "=o1=o3", "=%5B%22o1%5Cu0000%22%5D",
        ]),
    ];
    (name, value).prop_map(|(name, value)| format!("{name}{value}"))
}

fn query() -> impl Strategy<Value = String> {
    let between = prop_oneof![5 => Just("&"), 1 => Just(";"), 1 => Just("&&"), 1 => Just("&;")];
    proptest::collection::vec((piece(), between), 0..4)
        .prop_map(|pieces| {
            pieces.into_iter().flat_map(|(piece, between)| [piece, between.to_owned()]).collect::<String>()
        })
        .prop_flat_map(|query| prop_oneof![Just(query.trim_end_matches(['&', ';']).to_owned()), Just(query)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_server_reads_anything_but_the_principals_values_in_an_allowed_query(
        query in query(),
        style in proptest::sample::select(vec!["repeat", "comma", "json"]),
        own in proptest::sample::select(vec![
            vec!["o1", "o2"], vec!["o1"], vec![], vec!["", "o1"], vec!["o1,o2"], vec!["o1;o3", "o1"], vec!["o1\0", "o2"],
        ]),
    ) {
        let target = if query.is_empty() { format!("/{style}") } else { format!("/{style}?{query}") };
        if let Some(forwarded) = forwarded(&target, &principal(&own)) {
            for server in Server::all() {
                let values = server.values(&forwarded);
                prop_assert!(!values.is_empty(), "{forwarded}: nothing for {server:?}");
                for value in values.iter().flat_map(|value| items(style, value)) {
                    prop_assert!(!value.is_empty() && own.contains(&&*value), "{forwarded}: `{value}` for {server:?}");
                }
            }
        }
    }
}

#[test]
fn the_property_is_about_requests_that_are_allowed_too() {
    let own = principal(&["o1", "o2"]);
    for (target, query) in [
        ("/repeat", "org_uid=o1&org_uid=o2"),
        ("/repeat?org_uid=%6F1&a", "org_uid=%6F1&a"),
        ("/comma?a;b", "a;b&org_uid=o1,o2"),
        ("/json?org_uid=%5B%22o1%22%5D", "org_uid=%5B%22o1%22%5D"),
    ] {
        assert_eq!(forwarded(target, &own).as_deref(), Some(query));
    }
    assert_eq!(forwarded("/repeat?org_uid=o3", &own), None);
}
