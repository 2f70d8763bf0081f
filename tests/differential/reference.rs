//! http.md, steps 3 to 8, and policy.md around the conditions: a slow evaluator over the documents as they are written.

#[path = "reference/asked.rs"]
mod asked;
#[path = "reference/bodies.rs"]
mod bodies;
#[path = "reference/counting.rs"]
mod counting;
#[path = "reference/crossing.rs"]
mod crossing;
#[path = "reference/forwarding.rs"]
mod forwarding;
#[path = "reference/json.rs"]
mod json;
#[path = "reference/soap.rs"]
mod soap;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::conditions::{list, one_or_many};
use super::paths::{Entry, Found, Table, Type, canonical, captures_of};
use super::values::{decoded, fits, fold_header, pieces, reads_as};
use super::world::{Answer, Fields, ISSUERS, Outcome, Person, Refusal, Request, Sender, World};
use super::{MethodOverride, PathRules, Quirks};

pub(crate) use bodies::{Body, is_of_body};
pub(crate) use counting::Counts;
pub(crate) use forwarding::component;
pub(crate) use json::{has_second_key, parse, segments, values};

use asked::Asked;

impl Type for Value {
    fn fits(&self, text: &str) -> bool {
        fits(self, text)
    }

    fn is_uuid(&self) -> bool {
        self == "uuid"
    }
}

/// A route with its document.
#[derive(Clone, Copy)]
struct Place<'w> {
    document: &'w Value,
    route: &'w Value,
}

impl<'w> Place<'w> {
    /// `cors`: the route's "replace the document's".
    fn cors(self) -> &'w Value {
        self.route.get("cors").unwrap_or(&self.document["cors"])
    }

    /// `forward`: the route's "replace the document's key by key".
    fn forward(self) -> Map<String, Value> {
        let mut forward = self.document["forward"].as_object().cloned().unwrap_or_default();
        forward.extend(self.route["forward"].as_object().cloned().unwrap_or_default());
        forward
    }
}

/// The routes of a table, and how to find one.
type Compiled<'w> = (Vec<Place<'w>>, Table<Value>);

/// A configuration as the language reads it.
pub(crate) struct Reader<'w> {
    world: &'w World,
    tables: BTreeMap<String, Compiled<'w>>,
}

impl<'w> Reader<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let keys: BTreeSet<String> =
            world.documents.iter().flat_map(|document| hosts(document).collect::<Vec<_>>()).collect();
        let table = |key: String| {
            let places = places(world, &key);
            let entries = places.iter().map(|place| entry_of(world, *place)).collect();
            let rules = rules(&quirks_of(world, members(world, &key)[0]));
            (key, (places, Table::new(entries, rules)))
        };
        Self { world, tables: keys.into_iter().map(table).collect() }
    }

    /// The answer to a request, after those that were counted.
    pub(crate) fn answer(&self, request: &Request, sender: &Sender, counts: &mut Counts) -> Answer {
        self.placed(request, sender, counts).unwrap_or_else(|(status, reason)| {
            let refusal = Refusal { status, reason: reason.to_owned(), route: None, exceeded: None };
            Answer { outcome: Outcome::Refused(refusal), reads: false, grant: None }
        })
    }

    fn placed(&self, request: &Request, sender: &Sender, counts: &mut Counts) -> Result<Answer, (u16, &'static str)> {
        let world = self.world;
        let host = request.host.to_ascii_lowercase();
        let host = host.trim_end_matches(":443").trim_end_matches('.');
        let (key, (places, table)) = self.table_of(host).ok_or((421, "host"))?;
        let members = members(world, key);
        let quirks = quirks_of(world, members[0]);
        if is_never_served(&request.method) {
            return Err((405, "method-refused"));
        }
        let (path, query) = canonical(&request.target, rules(&quirks)).ok_or((400, "target"))?;
        let method = asked_method(request, query, quirks.method_override)?;
        let label = key.strip_prefix("*.").map(|_| host.split('.').next().unwrap());
        let (method, path, members) = (method.as_str(), path.as_str(), members.as_slice());
        let asked =
            Asked { world, request, sender, method, path, query, places, members, label, reads: Cell::new(false) };
        let found = |method: &str| match table.route(method, path) {
            Found::Route(index, _) if !host_type(places[index], label) => Found::Misfit(index),
            found => found,
        };
        if let Some(method) = crossing::preflight(request) {
            let passed = match found(&method) {
                Found::Route(index, captures) => {
                    let outcome = asked.preflight((places[index], &captures), &method);
                    outcome.map(|outcome| Answer { outcome, reads: false, grant: None })
                }
                // A path with a second reading is nobody's, whoever answers preflights there.
                Found::Ambiguous(Some((index, captures))) if asked.has_preflights(places[index]) => Some(Answer {
                    outcome: asked.ambiguous(Some((places[index], &captures))),
                    reads: false,
                    grant: asked.grant(places[index]),
                }),
                _ => None,
            };
            if let Some(answer) = passed {
                return Ok(answer);
            }
        }
        let of_document = |document: Option<&Value>| -> Option<Fields> {
            let document = document.filter(|document| document["mode"] != "observe")?;
            crossing::grant(&document["cors"], request)
        };
        let without_route = |status, reason, document| Answer {
            outcome: asked.without_route(status, reason, document),
            reads: false,
            grant: of_document(document),
        };
        Ok(match found(method) {
            Found::Route(index, captures) => Answer {
                outcome: asked.decide((places[index], &captures), counts),
                reads: asked.reads.get(),
                grant: asked.grant(places[index]),
            },
            Found::Misfit(index) => without_route(404, "no-route", Some(places[index].document)),
            Found::Ambiguous(found) => Answer {
                reads: false,
                outcome: asked.ambiguous(found.as_ref().map(|(index, captures)| (places[*index], captures.as_slice()))),
                grant: found.as_ref().and_then(|(index, _)| asked.grant(places[*index])),
            },
            Found::Nothing => without_route(404, "no-route", longest_base_path(members, path)),
            Found::MethodNotAllowed(of) => without_route(405, "method", Some(places[of[0]].document)),
        })
    }

    /// "the exact host, else a pattern with its first label open, else `"*"`; there is no falling back to a wider one"
    fn table_of(&self, host: &str) -> Option<(&String, &Compiled<'w>)> {
        let open = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let candidates = [Some(host.to_owned()), open, Some("*".to_owned())];
        candidates.into_iter().flatten().find_map(|key| self.tables.get_key_value(&key))
    }

    /// The routes, as names of their policies and positions, that cannot stand in one table with one before them.
    pub(crate) fn conflicts(&self) -> BTreeSet<(String, usize)> {
        let mut second = BTreeSet::new();
        for (places, table) in self.tables.values() {
            let id = |index: usize| -> (String, usize) {
                let Place { document, route } = places[index];
                let number = list(&document["routes"]).iter().position(|other| std::ptr::eq(other, route));
                (text(&document["policy"]), number.unwrap())
            };
            for (one, other) in table.conflicting() {
                if !second.contains(&id(one)) {
                    second.insert(id(other));
                }
            }
        }
        second
    }
}

/// "All documents that name the same host pattern form one table".
fn members<'w>(world: &'w World, key: &str) -> Vec<&'w Value> {
    world.documents.iter().filter(|document| hosts(document).any(|host| host == key)).collect()
}

fn places<'w>(world: &'w World, key: &str) -> Vec<Place<'w>> {
    let routes = |document: &'w Value| list(&document["routes"]).iter().map(move |route| Place { document, route });
    members(world, key).into_iter().flat_map(routes).collect()
}

/// The tables that a document is part of: "`*.x` and `{t}.x` are one pattern".
fn hosts(document: &Value) -> impl Iterator<Item = String> {
    list(&document["hosts"]).iter().map(|host| {
        let host = host.as_str().unwrap().to_ascii_lowercase();
        host.split_once('}').map_or_else(|| host.clone(), |(_, rest)| format!("*{rest}"))
    })
}

/// The capture that all host patterns of a document have.
fn host_capture(document: &Value) -> Option<&str> {
    let names: Vec<_> = list(&document["hosts"])
        .iter()
        .map(|host| host.as_str().unwrap().strip_prefix('{').and_then(|rest| rest.split('}').next()))
        .collect();
    names[0].filter(|_| names.iter().all(|name| *name == names[0]))
}

fn quirks_of(world: &World, document: &Value) -> Quirks {
    world.upstreams.iter().find(|(name, _)| document["upstream"] == *name).unwrap().1
}

fn rules(quirks: &Quirks) -> PathRules {
    PathRules { empty_segments: quirks.empty_segments, charset: quirks.charset }
}

/// "TRACE, TRACK and CONNECT are always 405"
fn is_never_served(method: &str) -> bool {
    ["TRACE", "TRACK", "CONNECT"].contains(&method.to_ascii_uppercase().as_str())
}

/// http.md: "`X-HTTP-Method-Override`, ..., or a query parameter folding to `_method` (after `&` or `;`), with another value
/// than the method: 400".
fn asked_method(request: &Request, query: Option<&str>, quirk: MethodOverride) -> Result<String, (u16, &'static str)> {
    let names = ["x-http-method-override", "x-http-method", "x-method-override"];
    let headers = request.headers.iter().filter(|(name, _)| names.contains(&fold_header(name).as_str()));
    let mut said: Vec<Option<String>> = headers.map(|(_, value)| String::from_utf8(value.clone()).ok()).collect();
    for piece in pieces(query) {
        // A server that splits at `;` reads a shorter name and a shorter value.
        let shorter = piece.name.split(';').next().unwrap();
        for (name, value) in [(piece.name, piece.value), (shorter, piece.value.split(';').next().unwrap())] {
            if reads_as(name, "_method") {
                let value = if name == piece.name { value } else { "" };
                said.push(String::from_utf8(decoded(value)).ok());
            }
        }
    }
    let own = Ok(request.method.clone());
    match said.first() {
        _ if quirk == MethodOverride::Ignore => own,
        None => own,
        Some(first) if said.iter().any(|other| other != first) || first.is_none() => Err((400, "method-override")),
        Some(Some(first)) if *first == request.method => own,
        Some(Some(first)) if quirk == MethodOverride::Honour && request.method == "POST" => {
            if is_never_served(first) {
                Err((405, "method-refused"))
            } else {
                Ok(first.clone())
            }
        }
        Some(_) => Err((400, "method-override")),
    }
}

fn entry_of(world: &World, place: Place<'_>) -> Entry<Value> {
    let base = place.document["base_path"].as_str().unwrap_or_default().trim_end_matches('/');
    let path = place.route["path"].as_str().unwrap().trim_start_matches('/');
    let pattern = format!("{base}/{path}");
    let kind = |name: &String| place.route["params"].get(name).cloned();
    Entry {
        types: captures_of(&pattern).iter().map(kind).collect(),
        pattern,
        methods: methods(&place.route["methods"]),
        quirks: quirks_of(world, place.document),
    }
}

/// "`GET` implies `HEAD`. `"*"` is GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
fn methods(written: &Value) -> Vec<String> {
    if written == "*" {
        return ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map(str::to_owned).to_vec();
    }
    let mut methods: Vec<String> = list(written).iter().map(|method| method.as_str().unwrap().to_owned()).collect();
    if methods.iter().any(|method| method == "GET") && methods.iter().all(|method| method != "HEAD") {
        methods.push("HEAD".to_owned());
    }
    methods
}

fn host_type(place: Place<'_>, label: Option<&str>) -> bool {
    match (host_capture(place.document).and_then(|name| place.route["params"].get(name)), label) {
        (Some(kind), Some(label)) => fits(kind, label),
        _ => true,
    }
}

/// "what no route matches: to that of the document with the longest base path"
fn longest_base_path<'w>(members: &[&'w Value], path: &str) -> Option<&'w Value> {
    let depth = |document: &Value| {
        let base = document["base_path"].as_str().unwrap_or_default().trim_matches('/').to_owned();
        let wanted: Vec<_> = base.split('/').filter(|segment| !segment.is_empty()).collect();
        let asked: Vec<_> = path.split('/').skip(1).collect();
        asked.starts_with(&wanted).then_some(wanted.len())
    };
    let deepest = members.iter().filter_map(|document| depth(document)).max()?;
    members.iter().copied().find(|document| depth(document) == Some(deepest))
}

fn reads_no_token(route: &Value) -> bool {
    route["require"] == "public" || route["require"].get("token").is_some()
}

/// The issuers that a route accepts.
fn accepts(place: Place<'_>, person: Option<&Person>) -> bool {
    let written = place.route.get("issuers").unwrap_or(&place.document["issuers"]);
    !reads_no_token(place.route)
        && person.is_some_and(|one| list(written).iter().any(|name| name == ISSUERS[one.issuer].name))
}

fn observes(place: Place<'_>) -> bool {
    place.route.get("mode").unwrap_or(&place.document["mode"]) == "observe"
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// "default as written, `GET,POST /path`"
fn name_of(route: &Value) -> String {
    let methods: Vec<_> = one_or_many(&route["methods"]).iter().map(text).collect();
    route["name"].as_str().map_or_else(|| format!("{} {}", methods.join(","), text(&route["path"])), str::to_owned)
}
