//! The condition language twice: as the engine compiles it, and as policy.md tells it, evaluated slowly over the document
//! as written. Random policies, principals and requests have to come to the same decision for the same reason.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use torwart::clock::Timestamp;
use torwart::diagnostic::Source;
use torwart::policy::{Caller, Decision, Head, IdentityFacts, IssuerFacts, Policies, Surroundings, UpstreamFacts};
use torwart::principal::{ClaimPath, ClientCertificate, Derived, Flow, IssuerId, IssuerIdentity, Principal};
use torwart::target::quirks::{Quirks, Reading};
use torwart::target::{Authority, Scheme};

const NOW: i64 = 1_700_000_000;
const UUID: &str = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";
const LOUD_UUID: &str = "5F8C1A52-9D1E-4E0B-8A77-0C6F1BE0A111";

/// Everything that a policy can ask about, in the plainest form.
#[derive(Debug, Clone)]
struct World {
    issuer: usize,
    subject: Option<String>,
    client: Option<String>,
    scopes: Vec<String>,
    permissions: Option<Vec<String>>,
    organizations: Option<Vec<String>>,
    global: Option<bool>,
    flow: &'static str,
    claims: Map<String, Value>,
    acr: Option<String>,
    /// Seconds ago.
    authenticated: Option<i64>,
    /// Values by the name that templates have for them.
    values: BTreeMap<&'static str, Vec<String>>,
    address: Option<IpAddr>,
    /// DNS names and subject.
    certificate: Option<(Vec<String>, String)>,
    /// The question stands under `not`.
    under_not: bool,
}

/// The issuers' names; the second compares `sub` and the claim `c` without case.
const ISSUERS: [&str; 2] = ["shoen", "partner"];

mod reference {
    //! policy.md, "Conditions", sentence by sentence. `None` is unknown.

    use super::{ISSUERS, LOUD_UUID, UUID, World};
    use serde_json::{Map, Value};

    type Truth = Option<bool>;

    /// The order of policy.md, "Reasons".
    const ORDER: [&str; 16] = [
        "issuer",
        "certificate",
        "network",
        "flow",
        "client",
        "authentication",
        "scope",
        "permission",
        "global",
        "organization",
        "narrow",
        "subject",
        "claim",
        "request",
        "any_of",
        "not",
    ];

    /// The reason of the refusal, or nothing.
    pub(crate) fn decide(document: &Value, world: &World) -> Option<&'static str> {
        let route = &document["routes"][0];
        let mode = &document["client_credentials"];
        let mut failed = Vec::new();
        if mode == "deny" && world.flow != "user" {
            failed.push("flow");
        }
        for require in [&document["require"], &route["require"]] {
            if let Some(map) = require.as_object() {
                reasons(map, mode, world, &mut failed);
            }
        }
        ORDER.into_iter().find(|reason| failed.contains(reason))
    }

    /// The reasons of everything in a map that is not true; an `all_of` has those of its parts.
    fn reasons(map: &Map<String, Value>, mode: &Value, world: &World, failed: &mut Vec<&'static str>) {
        for (key, value) in map {
            if key == "all_of" {
                for part in value.as_array().unwrap() {
                    reasons(part.as_object().unwrap(), mode, world, failed);
                }
            } else if entry(key, value, Some(mode), world, false) != Some(true) {
                failed.push(ORDER.into_iter().find(|reason| reason == key).unwrap());
            }
        }
    }

    /// "A map and `all_of`: false if one is false, else unknown if one is unknown, else true."
    fn all(parts: impl IntoIterator<Item = Truth>) -> Truth {
        let parts: Vec<_> = parts.into_iter().collect();
        if parts.contains(&Some(false)) {
            Some(false)
        } else if parts.contains(&None) {
            None
        } else {
            Some(true)
        }
    }

    /// "`any_of`: true if one is true, else unknown if one is, else false."
    fn any(parts: impl IntoIterator<Item = Truth>) -> Truth {
        let parts: Vec<_> = parts.into_iter().collect();
        if parts.contains(&Some(true)) {
            Some(true)
        } else if parts.contains(&None) {
            None
        } else {
            Some(false)
        }
    }

    fn map(value: &Value, mode: Option<&Value>, world: &World, under_not: bool) -> Truth {
        let entries = value.as_object().unwrap();
        all(entries.iter().map(|(key, value)| entry(key, value, mode, world, under_not)))
    }

    fn entry(key: &str, value: &Value, mode: Option<&Value>, world: &World, under_not: bool) -> Truth {
        match key {
            "all_of" => all(list(value).iter().map(|part| map(part, mode, world, under_not))),
            "any_of" => any(list(value).iter().map(|part| map(part, mode, world, under_not))),
            "not" => map(value, None, &World { under_not: true, ..world.clone() }, true).map(|truth| !truth),
            "claim" => {
                let tests = value.as_object().unwrap().iter();
                all(tests.map(|(name, test)| {
                    let spared = mode.is_some_and(|mode| is_spared("claim", test, mode, world));
                    if spared { Some(true) } else { claim(name, test, world) }
                }))
            }
            "request" => all(value.as_object().unwrap().iter().map(|(name, test)| request(name, test, world))),
            _ if mode.is_some_and(|mode| is_spared(key, value, mode, world)) => Some(true),
            "scope" if world.scopes.is_empty() => None,
            "scope" => Some(set(value, &world.scopes)),
            "permission" => world.permissions.as_ref().map(|held| set(value, held)),
            "organization" => organization(value, world, under_not),
            "subject" => any(one_or_many(value).iter().map(|one| subject(one, world))),
            "client" => any(one_or_many(value).iter().map(|one| client(one, world))),
            "flow" if world.flow == "unknown" => None,
            "flow" => Some(value == world.flow),
            "global" => match world.global {
                None if under_not => None,
                held => Some(value.as_bool() == Some(held.unwrap_or(false))),
            },
            "issuer" => Some(one_or_many(value).iter().any(|name| name == ISSUERS[world.issuer])),
            "authentication" => all(value
                .as_object()
                .unwrap()
                .iter()
                .map(|(key, value)| if key == "acr" { acr(value, world) } else { max_age(value, world) })),
            "network" => {
                let address = world.address?.to_canonical();
                let inside = |net: &Value| net.as_str().unwrap().parse::<ipnet::IpNet>().unwrap().contains(&address);
                Some(list(value).iter().any(inside))
            }
            "certificate" => {
                let tests = value.as_object().unwrap().iter();
                all(tests.map(|(kind, names)| certificate(kind, names, world)))
            }
            other => panic!("no condition `{other}`"),
        }
    }

    /// Whether a condition is not asked of this token: policy.md, "Bypass for client credentials".
    fn is_spared(key: &str, value: &Value, mode: &Value, world: &World) -> bool {
        let applies = match mode {
            Value::String(all) => all == "bypass",
            Value::Object(map) => {
                let client = world.client.as_deref();
                client.is_some_and(|client| {
                    list(&map["bypass"]).iter().any(|name| texts_equal(name.as_str().unwrap(), client))
                })
            }
            _ => false,
        };
        let kind = match mode.get("lift") {
            Some(lift) => list(lift).iter().any(|kind| kind == key),
            None => matches!(key, "subject" | "claim") && value.to_string().contains('{') && has_template(value),
        };
        world.flow == "client_credentials" && applies && kind
    }

    fn has_template(value: &Value) -> bool {
        match value {
            Value::String(text) => text.starts_with('{'),
            Value::Array(items) => items.iter().any(has_template),
            Value::Object(map) => map.values().any(has_template),
            _ => false,
        }
    }

    fn list(value: &Value) -> &[Value] {
        value.as_array().unwrap()
    }

    fn one_or_many(value: &Value) -> Vec<Value> {
        value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
    }

    fn set(value: &Value, held: &[String]) -> bool {
        let has = |word: &Value| held.iter().any(|one| word == one.as_str());
        match value {
            Value::Object(map) => match (map.get("all_of"), map.get("any_of")) {
                (Some(words), None) => list(words).iter().all(has),
                (None, Some(words)) => list(words).iter().any(has),
                _ => panic!("no set"),
            },
            word => has(word),
        }
    }

    fn template(text: &str) -> Option<&str> {
        text.strip_prefix('{')?.strip_suffix('}')
    }

    fn values<'w>(name: &str, world: &'w World) -> &'w [String] {
        world.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// "No value: unknown. Several values: every one must satisfy the condition." Under `not` several that do not agree
    /// are unknown: nobody can tell which of them the server will act on.
    fn every(name: &str, world: &World, test: impl Fn(&str) -> Truth) -> Truth {
        let truths: Vec<_> = values(name, world).iter().map(|value| test(value)).collect();
        match truths.split_first() {
            None => None,
            Some((first, rest)) if world.under_not => {
                rest.iter().all(|truth| truth == first).then_some(*first).flatten()
            }
            Some(_) => all(truths),
        }
    }

    fn texts_equal(left: &str, right: &str) -> bool {
        let uuid = |text: &str| text == UUID || text == LOUD_UUID;
        left == right || uuid(left) && uuid(right)
    }

    fn folded_equal(left: &str, right: &str, world: &World) -> bool {
        texts_equal(left, right) || ISSUERS[world.issuer] == "partner" && left.to_lowercase() == right.to_lowercase()
    }

    fn organization(value: &Value, world: &World, under_not: bool) -> Truth {
        let global = if under_not { world.global } else { Some(world.global.unwrap_or(false)) };
        let templates = value.get("all_of").map_or_else(|| vec![value.clone()], |all| list(all).to_vec());
        let member = |org: &str| match &world.organizations {
            None if under_not => None,
            held => Some(held.iter().flatten().any(|one| texts_equal(one, org))),
        };
        let of = |text: &Value| every(template(text.as_str().unwrap()).unwrap(), world, member);
        any(vec![global, all(templates.iter().map(of))])
    }

    fn subject(value: &Value, world: &World) -> Truth {
        let text = value.as_str().unwrap();
        if template(text).is_some() && world.flow == "client_credentials" {
            return Some(false);
        }
        let subject = world.subject.as_deref()?;
        match template(text) {
            Some(name) => every(name, world, |value| Some(folded_equal(subject, value, world))),
            None => Some(folded_equal(subject, text, world)),
        }
    }

    fn client(value: &Value, world: &World) -> Truth {
        let client = world.client.as_deref()?;
        let text = value.as_str().unwrap();
        match template(text) {
            Some(name) => every(name, world, |value| Some(texts_equal(client, value))),
            None => Some(texts_equal(client, text)),
        }
    }

    fn acr(value: &Value, world: &World) -> Truth {
        let held = world.acr.as_deref()?;
        Some(list(value).iter().any(|acr| acr == held))
    }

    fn max_age(value: &Value, world: &World) -> Truth {
        let seconds: i64 = value.as_str().unwrap().trim_end_matches('s').parse().unwrap();
        match world.authenticated? {
            future if future < -30 => None,
            age => Some(age <= seconds),
        }
    }

    fn certificate(kind: &str, names: &Value, world: &World) -> Truth {
        let (dns, subject) = world.certificate.as_ref()?;
        if kind == "subject" {
            return Some(names == subject.as_str());
        }
        if dns.is_empty() {
            None
        } else {
            Some(list(names).iter().any(|name| dns.iter().any(|one| name == one.as_str())))
        }
    }

    fn claim(name: &str, test: &Value, world: &World) -> Truth {
        let found = world.claims.get(name).filter(|value| !value.is_null());
        let (test, value) = test.as_object().unwrap().iter().next().unwrap();
        if test == "exists" {
            return Some(found.is_some() == value.as_bool().unwrap());
        }
        let found = found?;
        let folds = name == "c";
        match test.as_str() {
            "equals" => equals(found, value, folds, world),
            "one_of" => any(list(value).iter().map(|one| equals(found, one, folds, world))),
            "contains" => match (value.get("all_of"), value.get("any_of")) {
                (Some(several), _) => all(list(several).iter().map(|one| contains(found, one, folds, world))),
                (_, Some(several)) => any(list(several).iter().map(|one| contains(found, one, folds, world))),
                _ => contains(found, value, folds, world),
            },
            other => panic!("no test `{other}`"),
        }
    }

    fn equals(found: &Value, wanted: &Value, folds: bool, world: &World) -> Truth {
        match wanted.as_str().and_then(template) {
            Some(name) => every(name, world, |text| like_text(found, text, folds, world)),
            None => like_literal(found, wanted, folds, world),
        }
    }

    /// "wrong type": a claim that is no array contains nothing.
    fn contains(found: &Value, wanted: &Value, folds: bool, world: &World) -> Truth {
        let items = found.as_array()?;
        match wanted.as_str().and_then(template) {
            Some(name) => every(name, world, |text| any(items.iter().map(|item| like_text(item, text, folds, world)))),
            None => any(items.iter().map(|item| like_literal(item, wanted, folds, world))),
        }
    }

    /// "a JSON integer counts as its shortest decimal spelling; any other non-string is no value"
    fn like_text(found: &Value, text: &str, folds: bool, world: &World) -> Truth {
        match found {
            Value::String(found) if folds => Some(folded_equal(found, text, world)),
            Value::String(found) => Some(texts_equal(found, text)),
            Value::Number(number) if !number.is_f64() => Some(number.to_string() == text),
            _ => None,
        }
    }

    /// "Against literals types are strict: the number 1 is not the string "1"."
    fn like_literal(found: &Value, wanted: &Value, folds: bool, world: &World) -> Truth {
        match (found, wanted) {
            (Value::String(found), Value::String(wanted)) if folds => Some(folded_equal(found, wanted, world)),
            (Value::String(found), Value::String(wanted)) => Some(texts_equal(found, wanted)),
            (Value::Bool(found), Value::Bool(wanted)) => Some(found == wanted),
            (Value::Number(found), Value::Number(wanted)) => Some(found.as_f64() == wanted.as_f64()),
            _ => None,
        }
    }

    fn request(name: &str, test: &Value, world: &World) -> Truth {
        match test.as_str() {
            Some("present") => Some(!values(name, world).is_empty()),
            Some("absent") => Some(values(name, world).is_empty()),
            _ => every(name, world, |value| {
                Some(one_or_many(test).iter().any(|one| texts_equal(one.as_str().unwrap(), value)))
            }),
        }
    }
}

/// Texts that meet often enough.
fn text() -> impl Strategy<Value = String> {
    select(vec!["a", "A", "b", "1", UUID, LOUD_UUID]).prop_map(str::to_owned)
}

fn a_template() -> impl Strategy<Value = String> {
    select(vec!["{x}", "{rest}", "{tenant}", "{query.q}", "{query.r}", "{header.x-h}"]).prop_map(str::to_owned)
}

fn comparand() -> impl Strategy<Value = Value> {
    prop_oneof![text(), a_template()].prop_map(Value::String)
}

fn literal() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::String),
        a_template().prop_map(Value::String),
        select(vec![json!(1), json!(2), json!(1.5), json!(true), json!(false)]),
    ]
}

fn one_or_some(item: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Value> {
    prop_oneof![item.clone(), prop::collection::vec(item, 1..3).prop_map(Value::Array)]
}

fn set_of(item: impl Strategy<Value = Value> + Clone + 'static) -> BoxedStrategy<Value> {
    let several = prop::collection::vec(item.clone(), 1..3).prop_map(Value::Array);
    prop_oneof![
        item,
        several.clone().prop_map(|words| json!({"all_of": words})),
        several.prop_map(|words| json!({"any_of": words})),
    ]
    .boxed()
}

fn claim_test() -> impl Strategy<Value = Value> {
    prop_oneof![
        literal().prop_map(|value| json!({"equals": value})),
        prop::collection::vec(literal(), 1..3).prop_map(|values| json!({"one_of": values})),
        set_of(literal().boxed()).prop_map(|value| json!({"contains": value})),
        any::<bool>().prop_map(|value| json!({"exists": value})),
    ]
}

fn leaf() -> BoxedStrategy<(&'static str, Value)> {
    let organization = prop_oneof![
        a_template().prop_map(Value::String),
        prop::collection::vec(a_template(), 1..3).prop_map(|all| json!({"all_of": all})),
    ];
    let names = select(vec!["x", "rest", "tenant", "query.q", "query.r", "header.x-h"]);
    let request_test = prop_oneof![
        one_or_some(text().prop_map(Value::String).boxed()),
        select(vec![json!("present"), json!("absent")]),
    ];
    let authentication = (prop::option::of(Just(json!(["1", "2"]))), prop::option::of(select(vec!["10s", "60s"])));
    let certificate = (prop::option::of(Just(json!(["d1", "d2"]))), prop::option::of(Just("CN=a")));
    prop_oneof![
        set_of(select(vec![json!("s1"), json!("s2")])).prop_map(|value| ("scope", value)),
        set_of(select(vec![json!("p1"), json!("p2")])).prop_map(|value| ("permission", value)),
        organization.prop_map(|value| ("organization", value)),
        one_or_some(comparand().boxed()).prop_map(|value| ("subject", value)),
        one_or_some(comparand().boxed()).prop_map(|value| ("client", value)),
        select(vec![json!("user"), json!("client_credentials")]).prop_map(|value| ("flow", value)),
        any::<bool>().prop_map(|value| ("global", json!(value))),
        one_or_some(select(vec![json!("shoen"), json!("partner")])).prop_map(|value| ("issuer", value)),
        prop::collection::btree_map(select(vec!["c", "d"]), claim_test(), 1..3)
            .prop_map(|value| ("claim", json!(value))),
        authentication.prop_filter_map("nothing asked", |(acr, age)| {
            let mut map = Map::new();
            acr.map(|acr| map.insert("acr".to_owned(), acr));
            age.map(|age| map.insert("max_age".to_owned(), json!(age)));
            (!map.is_empty()).then_some(("authentication", Value::Object(map)))
        }),
        select(vec![json!(["10.0.0.0/8"]), json!(["192.0.2.0/24", "10.0.0.0/8"])]).prop_map(|value| ("network", value)),
        certificate.prop_filter_map("nothing asked", |(dns, subject)| {
            let mut map = Map::new();
            dns.map(|dns| map.insert("dns".to_owned(), dns));
            subject.map(|subject| map.insert("subject".to_owned(), json!(subject)));
            (!map.is_empty()).then_some(("certificate", Value::Object(map)))
        }),
        prop::collection::btree_map(names, request_test, 1..3).prop_map(|value| ("request", json!(value))),
    ]
    .boxed()
}

fn entry(depth: u32) -> BoxedStrategy<(&'static str, Value)> {
    let negated = leaf().prop_map(|(key, value)| ("not", json!({key: value})));
    if depth == 0 {
        return prop_oneof![4 => leaf(), 2 => negated].boxed();
    }
    let several = prop::collection::vec(condition(depth - 1), 1..3).prop_map(Value::Array);
    prop_oneof![
        4 => leaf(),
        2 => negated,
        2 => several.clone().prop_map(|parts| ("any_of", parts)),
        1 => several.prop_map(|parts| ("all_of", parts)),
    ]
    .boxed()
}

/// A map of conditions.
fn condition(depth: u32) -> BoxedStrategy<Value> {
    prop::collection::vec(entry(depth), 1..3)
        .prop_map(|entries| Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
        .boxed()
}

fn document() -> impl Strategy<Value = Value> {
    let kinds = prop::collection::btree_set(select(vec!["subject", "claim", "permission", "organization"]), 1..4);
    let mode = prop_oneof![
        3 => Just(json!("enforce")),
        1 => Just(json!("deny")),
        2 => Just(json!("bypass")),
        1 => prop::collection::vec(text(), 1..3).prop_map(|clients| json!({"bypass": clients})),
        2 => (prop::collection::vec(text(), 1..3), kinds).prop_map(|(clients, kinds)| json!({"bypass": clients, "lift": kinds})),
    ];
    (condition(2), prop::option::of(condition(1)), mode).prop_map(|(route, document, mode)| {
        json!({
            "version": 1,
            "policy": "p",
            "hosts": ["{tenant}.example.com"],
            "upstream": "crm",
            "issuers": ISSUERS,
            "require": document.unwrap_or(json!("authenticated")),
            "client_credentials": mode,
            "routes": [{"path": "/{x}/{*rest}", "methods": ["GET"], "require": route}],
        })
    })
}

fn claims() -> impl Strategy<Value = Map<String, Value>> {
    let scalar = prop_oneof![
        text().prop_map(Value::String),
        select(vec![json!(1), json!(2), json!(-1), json!(1.5), json!(1.0), json!(true), json!(null), json!({})]),
    ];
    let value = prop_oneof![2 => scalar.clone(), 1 => prop::collection::vec(scalar, 0..3).prop_map(Value::Array)];
    prop::collection::hash_map(select(vec!["c", "d"]).prop_map(str::to_owned), value, 0..3)
        .prop_map(|map| map.into_iter().collect())
}

fn values() -> impl Strategy<Value = BTreeMap<&'static str, Vec<String>>> {
    let some = || prop::collection::vec(text(), 0..3);
    // A host has no capitals, so neither has its label.
    let label = select(vec!["a", "b", "1", UUID]).prop_map(str::to_owned);
    (text(), prop::option::of(text()), label, some(), some(), some()).prop_map(|(x, rest, tenant, q, r, h)| {
        BTreeMap::from([
            ("x", vec![x]),
            ("rest", rest.into_iter().collect()),
            ("tenant", vec![tenant]),
            ("query.q", q),
            ("query.r", r),
            ("header.x-h", h),
        ])
    })
}

fn words(all: [&'static str; 2]) -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(all.map(str::to_owned).to_vec(), 0..=2)
}

fn world() -> impl Strategy<Value = World> {
    let identity = (
        0..2_usize,
        prop::option::weighted(0.8, text()),
        prop::option::weighted(0.8, text()),
        words(["s1", "s2"]),
        prop::option::of(words(["p1", "p2"])),
    );
    let reach = (
        prop::option::weighted(0.7, prop::collection::vec(text(), 0..3)),
        prop::option::of(any::<bool>()),
        select(vec!["user", "client_credentials", "unknown"]),
        claims(),
        prop::option::of(select(vec!["1", "2", "3"]).prop_map(str::to_owned)),
        prop::option::of(select(vec![-31, -30, 0, 10, 11, 61])),
    );
    let addresses: Vec<IpAddr> =
        ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.1", "2001:db8::1"].map(|a| a.parse().unwrap()).into();
    let certificate = (
        prop::sample::subsequence(vec!["d1".to_owned(), "d3".to_owned()], 0..=2),
        select(vec!["CN=a", "CN=b"]).prop_map(str::to_owned),
    );
    let connection = (values(), prop::option::of(select(addresses)), prop::option::of(certificate));
    (identity, reach, connection).prop_map(|(identity, reach, (values, address, certificate))| {
        let (issuer, subject, client, scopes, permissions) = identity;
        let (organizations, global, flow, claims, acr, authenticated) = reach;
        World {
            issuer,
            subject,
            client,
            scopes,
            permissions,
            organizations,
            global,
            flow,
            claims,
            acr,
            authenticated,
            values,
            address,
            certificate,
            under_not: false,
        }
    })
}

fn principal(world: &World) -> Principal {
    let folds = ISSUERS[world.issuer] == "partner";
    Principal {
        issuer: Arc::new(IssuerIdentity {
            id: IssuerId(u16::try_from(world.issuer).unwrap()),
            name: ISSUERS[world.issuer].into(),
            case_insensitive: if folds { vec![ClaimPath::top("sub"), ClaimPath::top("c")] } else { vec![] },
            subject_folds: folds,
            client_folds: false,
            organizations_fold: false,
            permissions_fold: false,
        }),
        subject: world.subject.clone(),
        client: world.client.clone(),
        scopes: world.scopes.clone(),
        permissions: world.permissions.clone(),
        organizations: world.organizations.clone(),
        global: world.global,
        flow: match world.flow {
            "user" => Flow::User,
            "client_credentials" => Flow::ClientCredentials,
            _ => Flow::Unknown,
        },
        claims: world.claims.clone(),
        expires_at: Timestamp(NOW + 300),
        not_before: None,
        issued_at: None,
        authenticated_at: world.authenticated.map(|ago| Timestamp(NOW - ago)),
        acr: world.acr.clone(),
        token_id: None,
        token_digest: [0; 32],
        certificate_thumbprint: None,
        leeway: 30,
        derived: Derived::default(),
    }
}

fn compile(document: &Value) -> Policies {
    let source = Source { path: "policy.yaml".into(), text: document.to_string() };
    let issuers = ISSUERS.iter().zip(0..).map(|(name, id)| IssuerFacts {
        id: IssuerId(id),
        name: (*name).into(),
        tells_client_credentials: true,
        permission_scope: None,
    });
    // No second readings: what a capture's other values do is a matter of routing.
    let never = Quirks {
        case: Reading::Never,
        path_parameters: Reading::Never,
        trailing_dot: Reading::Never,
        trailing_slash: Reading::Never,
        encoded_slash: Reading::Never,
        double_decoding: Reading::Never,
        ..Quirks::default()
    };
    let surroundings = Surroundings {
        issuers: issuers.collect(),
        upstreams: vec![UpstreamFacts { name: "crm".into(), quirks: never }],
        identity: IdentityFacts::default(),
        target_bytes: 8192,
        files: &|_| Err("there are no files".to_owned()),
    };
    let (policies, problems) = Policies::compile(&[Arc::new(source)], &surroundings);
    policies.unwrap_or_else(|| panic!("{}", problems.render()))
}

/// The reason of the refusal as the engine has it, or nothing.
fn decide(policies: &Policies, world: &World) -> Option<&'static str> {
    let one = |name: &str| world.values[name].first().cloned().unwrap_or_default();
    let query: Vec<_> = ["q", "r"]
        .iter()
        .flat_map(|name| {
            world.values[format!("query.{name}").as_str()].iter().map(move |value| format!("{name}={value}"))
        })
        .collect();
    let target = format!("/{}/{}?{}", one("x"), one("rest"), query.join("&"));
    let mut headers = HeaderMap::new();
    for value in &world.values["header.x-h"] {
        headers.append(HeaderName::from_static("x-h"), HeaderValue::from_str(value).unwrap());
    }
    let authority = Authority::parse(&format!("{}.example.com", one("tenant")), Scheme::Https).unwrap();
    let head = Head::new("GET", &authority, &target, &headers);
    let placed = policies.place(&head).unwrap();
    let principal = principal(world);
    let certificate = world.certificate.as_ref().map(|(dns, subject)| ClientCertificate {
        dns: dns.clone(),
        subject: subject.clone(),
        ..ClientCertificate::default()
    });
    let caller = Caller {
        principal: Some(&principal),
        address: world.address,
        certificate: certificate.as_ref(),
        now: Timestamp(NOW),
    };
    let explanation = placed.explain(&caller);
    let reason = match placed.decide(&caller) {
        Decision::Allow(_) => None,
        Decision::Deny(denial) => Some(denial.reason().as_str()),
        Decision::Observed(..) | Decision::NeedsBody => panic!("nothing is observed here, and no body is asked about"),
    };
    // An explanation holds what was decided.
    let fulfilled = explanation.conditions.iter().all(|condition| condition.truth == "true");
    assert_eq!(reason.is_none(), fulfilled, "{explanation}");
    reason
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_decides_as_the_language_says(
        document in document(),
        worlds in prop::collection::vec(world(), 12),
    ) {
        let policies = compile(&document);
        for world in &worlds {
            prop_assert_eq!(decide(&policies, world), reference::decide(&document, world), "{} {:#?}", document, world);
        }
    }
}

/// The property would hold of an engine that denies everything, and so it counts both answers.
#[test]
fn both_answers_and_every_reason_occur() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..400 {
        let document = document().new_tree(&mut runner).unwrap().current();
        let world = world().new_tree(&mut runner).unwrap().current();
        *seen.entry(reference::decide(&document, &world).unwrap_or("allow")).or_default() += 1;
    }
    assert!(seen["allow"] > 20, "{seen:?}");
    assert!(seen.len() >= 14, "{seen:?}");
}
