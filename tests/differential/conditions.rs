//! policy.md, "Conditions" and "Bypass for client credentials", sentence by sentence, over the document as it is written.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::narrow::Narrowing;
use super::reference::{Body, is_of_body};
use super::values::{Values, fits};
use super::world::{Certificate, ISSUERS, Issuer, Person};

/// `None` is unknown.
pub(crate) type Truth = Option<bool>;

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

/// Everything that a condition can ask about.
#[derive(Clone, Copy)]
pub(crate) struct Situation<'s> {
    pub(crate) person: Option<&'s Person>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) certificate: Option<&'s Certificate>,
    pub(crate) values: &'s Values<'s>,
    /// The question stands under `not`.
    pub(crate) under_not: bool,
}

/// The reason of the refusal, or nothing. `requires` are those of document and route.
pub(crate) fn refusal(
    requires: &[&Value],
    narrow: &[Narrowing<'_>],
    mode: &Value,
    situation: Situation<'_>,
) -> Option<&'static str> {
    let mut failed = Vec::new();
    if let Some(person) = situation.person
        && !narrow.iter().all(|narrowing| narrowing.holds(person, situation.values))
    {
        failed.push("narrow");
    }
    if mode == "deny" && situation.person.is_some_and(|person| person.flow != "user") {
        failed.push("flow");
    }
    for map in requires.iter().filter_map(|require| require.as_object()) {
        reasons(map, mode, situation, &mut failed);
    }
    ORDER.into_iter().find(|reason| failed.contains(reason))
}

/// The reasons of everything in a map that is not true; an `all_of` has those of its parts. Each test of a request value or a
/// claim is a condition.
fn reasons(map: &Map<String, Value>, mode: &Value, situation: Situation<'_>, failed: &mut Vec<&'static str>) {
    for (key, value) in map {
        let single = |name: &String, test: &Value| Value::Object([(name.clone(), test.clone())].into_iter().collect());
        let parts = match (key.as_str(), value) {
            ("all_of", parts) => {
                for part in list(parts) {
                    reasons(part.as_object().unwrap(), mode, situation, failed);
                }
                continue;
            }
            ("token", _) => continue,
            ("request" | "claim", Value::Object(tests)) => {
                tests.iter().map(|(name, test)| single(name, test)).collect()
            }
            ("claim", Value::Array(tests)) => tests.iter().map(|test| Value::Array(vec![test.clone()])).collect(),
            _ => vec![value.clone()],
        };
        // "Reading happens last, after every condition that needs no body."
        let unread = *situation.values.body == Body::Unread;
        let mut due = parts.iter().filter(|part| !(unread && asks_body(key, part)));
        if due.any(|part| entry(key, part, Some(mode), situation) != Some(true)) {
            failed.push(ORDER.into_iter().find(|reason| reason == key).unwrap());
        }
    }
}

fn asks_body(key: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => template(text).is_some_and(is_of_body),
        Value::Array(items) => items.iter().any(|item| asks_body(key, item)),
        Value::Object(map) => {
            map.iter().any(|(name, value)| key == "request" && is_of_body(name) || asks_body(name, value))
        }
        _ => false,
    }
}

/// The kinds of the conditions that are not asked of this principal.
pub(crate) fn lifted(requires: &[&Value], mode: &Value, person: &Person) -> Vec<String> {
    let mut kinds = Vec::new();
    for map in requires.iter().filter_map(|require| require.as_object()) {
        collect_lifted(map, mode, person, &mut kinds);
    }
    kinds.sort();
    kinds
}

fn collect_lifted(map: &Map<String, Value>, mode: &Value, person: &Person, kinds: &mut Vec<String>) {
    for (key, value) in map {
        match key.as_str() {
            "all_of" | "any_of" => {
                for part in list(value) {
                    collect_lifted(part.as_object().unwrap(), mode, person, kinds);
                }
            }
            "claim" => {
                let spared = claims(value).into_iter().filter(|(_, test)| is_spared(key, test, mode, person));
                kinds.extend(spared.map(|_| "claim".to_owned()));
            }
            "not" => {}
            _ if is_spared(key, value, mode, person) => kinds.push(key.clone()),
            _ => {}
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

fn map(value: &Value, mode: Option<&Value>, situation: Situation<'_>) -> Truth {
    let entries = value.as_object().unwrap();
    all(entries.iter().map(|(key, value)| entry(key, value, mode, situation)))
}

fn entry(key: &str, value: &Value, mode: Option<&Value>, situation: Situation<'_>) -> Truth {
    match key {
        "all_of" => all(list(value).iter().map(|part| map(part, mode, situation))),
        "any_of" => any(list(value).iter().map(|part| map(part, mode, situation))),
        "not" => map(value, None, Situation { under_not: true, ..situation }).map(|truth| !truth),
        "request" => all(value.as_object().unwrap().iter().map(|(name, test)| request(name, test, situation))),
        "network" => {
            let address = situation.address?.to_canonical();
            let inside = |net: &Value| net.as_str().unwrap().parse::<ipnet::IpNet>().unwrap().contains(&address);
            Some(list(value).iter().any(inside))
        }
        "certificate" => {
            let tests = value.as_object().unwrap().iter();
            all(tests.map(|(kind, names)| certificate(kind, names, situation)))
        }
        _ => of_person(key, value, mode, situation.person?, situation),
    }
}

fn of_person(key: &str, value: &Value, mode: Option<&Value>, person: &Person, situation: Situation<'_>) -> Truth {
    let spared = |value: &Value| mode.is_some_and(|mode| is_spared(key, value, mode, person));
    let under_not = situation.under_not;
    let issuer = ISSUERS[person.issuer];
    match key {
        "claim" => all(claims(value)
            .into_iter()
            .map(|(path, test)| if spared(test) { Some(true) } else { claim(&path, test, person, situation) })),
        _ if spared(value) => Some(true),
        "scope" if person.scopes.is_empty() => None,
        "scope" => Some(set(value, &person.scopes, false)),
        "permission" => person.permissions.as_ref().map(|held| set(value, held, issuer.folds)),
        "organization" => organization(value, person, situation),
        "subject" => any(one_or_many(value).iter().map(|one| subject(one, person, situation))),
        "client" => any(one_or_many(value).iter().map(|one| client(one, person, situation))),
        "flow" if person.flow == "unknown" => None,
        "flow" => Some(value == person.flow),
        "global" => match person.global {
            None if under_not => None,
            held => Some(value.as_bool() == Some(held.unwrap_or(false))),
        },
        "issuer" => Some(one_or_many(value).iter().any(|name| name == issuer.name)),
        "authentication" => all(value
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| if key == "acr" { acr(value, person) } else { max_age(value, person) })),
        other => panic!("no condition `{other}`"),
    }
}

/// Whether a condition is not asked of this token: policy.md, "Bypass for client credentials".
fn is_spared(key: &str, value: &Value, mode: &Value, person: &Person) -> bool {
    let applies = match mode {
        Value::String(word) => word == "bypass",
        Value::Object(map) => person.client.as_deref().is_some_and(|client| {
            let is_this = |name: &Value| equal(name.as_str().unwrap(), client, ISSUERS[person.issuer].folds);
            list(&map["bypass"]).iter().any(is_this)
        }),
        _ => false,
    };
    let kind = match mode.get("lift") {
        Some(lift) => list(lift).iter().any(|kind| kind == key),
        None => matches!(key, "subject" | "claim") && has_template(value),
    };
    person.flow == "client_credentials" && applies && kind
}

fn has_template(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with('{'),
        Value::Array(items) => items.iter().any(has_template),
        Value::Object(map) => map.iter().any(|(key, value)| key != "name" && has_template(value)),
        _ => false,
    }
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

pub(crate) fn one_or_many(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

fn set(value: &Value, held: &[String], folds: bool) -> bool {
    let has = |word: &Value| {
        let word = word.as_str().unwrap();
        held.iter().any(|one| word == one || folds && word.to_lowercase() == one.to_lowercase())
    };
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

/// "No value: unknown. Several values: every one must satisfy the condition." One that depends on who reads the request is
/// unknown, the case of letters counting under `not` only, and so are, under `not`, several that do not agree: nobody can tell
/// which of them the server will act on.
fn every(name: &str, situation: Situation<'_>, test: impl Fn(&str) -> Truth) -> Truth {
    let found = situation.values.of(name);
    let truths: Vec<_> = found.texts.iter().map(|text| text.as_deref().and_then(&test)).collect();
    match truths.split_first() {
        None => None,
        Some(_) if found.is_doubtful || situation.under_not && found.wavers => None,
        Some((first, rest)) if situation.under_not => {
            rest.iter().all(|truth| truth == first).then_some(*first).flatten()
        }
        Some(_) => all(truths),
    }
}

/// "Equality is of decoded text, byte for byte; two values that both have the form 8-4-4-4-12 hex digits compare as UUIDs;
/// claims that the issuer declares case-insensitive compare under Unicode simple case folding."
pub(crate) fn equal(left: &str, right: &str, folds: bool) -> bool {
    let uuids = fits(&Value::from("uuid"), left) && fits(&Value::from("uuid"), right);
    left == right || (uuids || folds) && left.to_lowercase() == right.to_lowercase()
}

fn organization(value: &Value, person: &Person, situation: Situation<'_>) -> Truth {
    let under_not = situation.under_not;
    let folds = ISSUERS[person.issuer].folds;
    let global = if under_not { person.global } else { Some(person.global.unwrap_or(false)) };
    let templates = value.get("all_of").map_or_else(|| vec![value.clone()], |all| list(all).to_vec());
    let member = |org: &str| match &person.organizations {
        None if under_not => None,
        held => Some(held.iter().flatten().any(|one| equal(one, org, folds))),
    };
    let of = |text: &Value| every(template(text.as_str().unwrap()).unwrap(), situation, member);
    any(vec![global, all(templates.iter().map(of))])
}

/// "With a template: false for a client-credentials token, which stands for no customer."
fn subject(value: &Value, person: &Person, situation: Situation<'_>) -> Truth {
    let text = value.as_str().unwrap();
    if template(text).is_some() && person.flow == "client_credentials" {
        return Some(false);
    }
    one_of_two(person.subject.as_deref()?, text, ISSUERS[person.issuer], situation)
}

fn client(value: &Value, person: &Person, situation: Situation<'_>) -> Truth {
    one_of_two(person.client.as_deref()?, value.as_str().unwrap(), ISSUERS[person.issuer], situation)
}

fn one_of_two(own: &str, text: &str, issuer: Issuer, situation: Situation<'_>) -> Truth {
    match template(text) {
        Some(name) => every(name, situation, |value| Some(equal(own, value, issuer.folds))),
        None => Some(equal(own, text, issuer.folds)),
    }
}

fn acr(value: &Value, person: &Person) -> Truth {
    let held = person.acr.as_deref()?;
    Some(list(value).iter().any(|acr| acr == held))
}

/// "`auth_time` is not older (one in the future beyond the leeway is unknown)"
fn max_age(value: &Value, person: &Person) -> Truth {
    let seconds: i64 = value.as_str().unwrap().trim_end_matches('s').parse().unwrap();
    match person.authenticated? {
        future if future < -30 => None,
        age => Some(age <= seconds),
    }
}

/// "of every kind named the verified TLS client certificate has one, exactly"
fn certificate(kind: &str, names: &Value, situation: Situation<'_>) -> Truth {
    let shown = situation.certificate?;
    let held = match kind {
        "subject" => return Some(names == shown.subject.as_str()),
        "dns" => &shown.dns,
        "uri" => &shown.uri,
        "email" => &shown.email,
        other => panic!("no kind `{other}`"),
    };
    if held.is_empty() {
        None
    } else {
        Some(list(names).iter().any(|name| held.iter().any(|one| name == one.as_str())))
    }
}

/// Every test under `claim`, with the keys to descend.
fn claims(value: &Value) -> Vec<(Vec<String>, &Value)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match value {
        Value::Object(map) => map.iter().map(|(name, test)| (vec![name.clone()], test)).collect(),
        list => {
            self::list(list).iter().map(|item| (one_or_many(&item["name"]).iter().map(text).collect(), item)).collect()
        }
    }
}

fn claim(path: &[String], test: &Value, person: &Person, situation: Situation<'_>) -> Truth {
    let found = find(path, &person.claims);
    let (test, value) = test.as_object().unwrap().iter().find(|(key, _)| *key != "name").unwrap();
    if test == "exists" {
        return Some(found.is_some() == value.as_bool().unwrap());
    }
    let found = found?;
    let folds = ISSUERS[person.issuer].folds && (*path == ["c"] || *path == ["broker", "id"]);
    match test.as_str() {
        "equals" => equals(found, value, folds, situation),
        "one_of" => any(list(value).iter().map(|one| equals(found, one, folds, situation))),
        "contains" => match (value.get("all_of"), value.get("any_of")) {
            (Some(several), _) => all(list(several).iter().map(|one| contains(found, one, folds, situation))),
            (_, Some(several)) => any(list(several).iter().map(|one| contains(found, one, folds, situation))),
            _ => contains(found, value, folds, situation),
        },
        other => panic!("no test `{other}`"),
    }
}

/// A claim by the keys to descend; `null` is absent.
pub(crate) fn find<'c>(path: &[String], claims: &'c Map<String, Value>) -> Option<&'c Value> {
    let (first, rest) = path.split_first().unwrap();
    let mut value = claims.get(first)?;
    for key in rest {
        value = value.as_object()?.get(key)?;
    }
    (!value.is_null()).then_some(value)
}

fn equals(found: &Value, wanted: &Value, folds: bool, situation: Situation<'_>) -> Truth {
    match wanted.as_str().and_then(template) {
        Some(name) => every(name, situation, |text| like_text(found, text, folds)),
        None => like_literal(found, wanted, folds),
    }
}

/// "wrong type": a claim that is no array contains nothing.
fn contains(found: &Value, wanted: &Value, folds: bool, situation: Situation<'_>) -> Truth {
    let items = found.as_array()?;
    match wanted.as_str().and_then(template) {
        Some(name) => every(name, situation, |text| any(items.iter().map(|item| like_text(item, text, folds)))),
        None => any(items.iter().map(|item| like_literal(item, wanted, folds))),
    }
}

/// "a JSON integer counts as its shortest decimal spelling; any other non-string is no value"
fn like_text(found: &Value, text: &str, folds: bool) -> Truth {
    match found {
        Value::String(found) => Some(equal(found, text, folds)),
        Value::Number(number) if !number.is_f64() => Some(number.to_string() == text),
        _ => None,
    }
}

/// "Against literals types are strict: the number 1 is not the string "1"."
fn like_literal(found: &Value, wanted: &Value, folds: bool) -> Truth {
    match (found, wanted) {
        (Value::String(found), Value::String(wanted)) => Some(equal(found, wanted, folds)),
        (Value::Bool(found), Value::Bool(wanted)) => Some(found == wanted),
        (Value::Number(found), Value::Number(wanted)) => Some(found.as_f64() == wanted.as_f64()),
        _ => None,
    }
}

/// "`exists`, `present` and `absent` ask just that and are never unknown" - but that under `not` a value which depends on who
/// reads the request makes any condition unknown.
fn request(name: &str, test: &Value, situation: Situation<'_>) -> Truth {
    let found = situation.values.of(name);
    match test.as_str() {
        Some("present" | "absent") if situation.under_not && found.wavers => None,
        Some("present") => Some(!found.texts.is_empty()),
        Some("absent") => Some(found.texts.is_empty()),
        _ => every(name, situation, |value| {
            Some(one_or_many(test).iter().any(|one| equal(one.as_str().unwrap(), value, false)))
        }),
    }
}
