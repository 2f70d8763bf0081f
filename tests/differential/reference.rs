//! http.md, steps 3 to 8, and policy.md around the conditions: a slow evaluator over the documents as they are written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::conditions::{Situation, find, lifted, list, one_or_many, refusal};
use super::narrow::narrowings;
use super::paths::{Captured, Entry, Found, Table, Type, canonical, captures_of};
use super::values::{Values, ambiguous_headers, ambiguous_query, decoded, fits, fold, fold_header, pieces};
use super::world::{Answer, Forwarded, ISSUERS, Person, Refusal, Request, Sender, World};
use super::{MethodOverride, PathRules, Quirks};

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

    /// The answer to a request.
    pub(crate) fn answer(&self, request: &Request, sender: &Sender) -> Answer {
        let world = self.world;
        let host = request.host.to_ascii_lowercase();
        let host = host.trim_end_matches(":443").trim_end_matches('.');
        let Some((key, (places, table))) = self.table_of(host) else { return refused(421, "host") };
        let members = members(world, key);
        let quirks = quirks_of(world, members[0]);
        if is_never_served(&request.method) {
            return refused(405, "method-refused");
        }
        let Some((path, query)) = canonical(&request.target, rules(&quirks)) else { return refused(400, "target") };
        let method = match asked_method(request, query, quirks.method_override) {
            Ok(method) => method,
            Err(refusal) => return refusal,
        };
        let label = key.strip_prefix("*.").map(|_| host.split('.').next().unwrap());
        let asked = Asked { world, request, sender, path: &path, query, places, members: &members, label };
        match table.route(&method, &path) {
            Found::Route(index, captures) if host_type(places[index], label) => asked.decide(places[index], &captures),
            Found::Route(index, _) | Found::Misfit(index) => {
                asked.without_route(404, "no-route", Some(places[index].document))
            }
            Found::Ambiguous(found) => {
                asked.ambiguous(found.as_ref().map(|(index, captures)| (places[*index], captures.as_slice())))
            }
            Found::Nothing => asked.without_route(404, "no-route", longest_base_path(&members, &path)),
            Found::MethodNotAllowed(of) => asked.without_route(405, "method", Some(places[of[0]].document)),
        }
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

fn refused(status: u16, reason: &str) -> Answer {
    Answer::Refused(Refusal { status, reason: reason.to_owned(), route: None })
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
fn asked_method(request: &Request, query: Option<&str>, quirk: MethodOverride) -> Result<String, Answer> {
    let names = ["x-http-method-override", "x-http-method", "x-method-override"];
    let headers = request.headers.iter().filter(|(name, _)| names.contains(&fold_header(name).as_str()));
    let mut said: Vec<Option<String>> = headers.map(|(_, value)| String::from_utf8(value.clone()).ok()).collect();
    for piece in pieces(query) {
        // A server that splits at `;` reads a shorter name and a shorter value.
        let shorter = piece.name.split(';').next().unwrap();
        for (name, value) in [(piece.name, piece.value), (shorter, piece.value.split(';').next().unwrap())] {
            if fold(name) == "_method" {
                let value = if name == piece.name { value } else { "" };
                said.push(String::from_utf8(decoded(value)).ok());
            }
        }
    }
    let own = Ok(request.method.clone());
    match said.first() {
        _ if quirk == MethodOverride::Ignore => own,
        None => own,
        Some(first) if said.iter().any(|other| other != first) || first.is_none() => {
            Err(refused(400, "method-override"))
        }
        Some(Some(first)) if *first == request.method => own,
        Some(Some(first)) if quirk == MethodOverride::Honour && request.method == "POST" => {
            if is_never_served(first) {
                Err(refused(405, "method-refused"))
            } else {
                Ok(first.clone())
            }
        }
        Some(_) => Err(refused(400, "method-override")),
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

/// A request that has found its table.
struct Asked<'w> {
    world: &'w World,
    request: &'w Request,
    sender: &'w Sender,
    path: &'w str,
    query: Option<&'w str>,
    places: &'w [Place<'w>],
    members: &'w [&'w Value],
    label: Option<&'w str>,
}

impl<'w> Asked<'w> {
    /// "404 / 405: in a table where some route needs a token: 401 first, unless the request has a token valid for an issuer
    /// accepted in that table". Whoever is told so is known to the record, too.
    fn known_in_table(&self) -> Result<Option<&'w Person>, ()> {
        if self.places.iter().all(|place| reads_no_token(place.route)) {
            return Ok(None);
        }
        let person = self.sender.person.as_ref();
        if self.places.iter().any(|place| accepts(*place, person)) { Ok(person) } else { Err(()) }
    }

    fn without_route(&self, status: u16, reason: &str, document: Option<&'w Value>) -> Answer {
        let (status, reason, person) = match self.known_in_table() {
            Ok(person) => (status, reason, person),
            Err(()) => (401, "token", None),
        };
        let refusal = Refusal { status, reason: reason.to_owned(), route: None };
        match document.filter(|document| document["mode"] == "observe") {
            Some(document) => self.observed(document, None, refusal, person),
            None => Answer::Refused(refusal),
        }
    }

    /// "400 `ambiguous-path`" comes before authentication; who only observes wants to see the token all the same.
    fn ambiguous(&self, found: Option<(Place<'w>, &[Captured])>) -> Answer {
        let name = found.map(|(place, _)| name_of(place.route));
        let refusal = Refusal { status: 400, reason: "ambiguous-path".to_owned(), route: name };
        let document = match &found {
            Some((place, _)) => Some(place.document),
            None => longest_base_path(self.members, self.path),
        };
        let observes = match &found {
            Some((place, _)) => observes(*place),
            None => document.is_some_and(|document| document["mode"] == "observe"),
        };
        match document.filter(|_| observes) {
            None => Answer::Refused(refusal),
            Some(document) => {
                let person = self.known_in_table().unwrap_or(None);
                self.observed(document, found, refusal, person)
            }
        }
    }

    fn decide(&self, place: Place<'w>, captures: &[Captured]) -> Answer {
        let token = !reads_no_token(place.route);
        let person = self.sender.person.as_ref().filter(|_| token);
        let refuse = |status: u16, reason: &str, person: Option<&Person>| {
            let refusal = Refusal { status, reason: reason.to_owned(), route: Some(name_of(place.route)) };
            if observes(place) {
                self.observed(place.document, Some((place, captures)), refusal, person)
            } else {
                Answer::Refused(refusal)
            }
        };
        if token && !accepts(place, person) {
            return refuse(401, "token", None);
        }
        // "and-ed to every route that needs a token"
        let requires: Vec<&Value> =
            [&place.document["require"], &place.route["require"]].into_iter().skip(usize::from(!token)).collect();
        let forward = forward_of(place.document, Some(place.route));
        let narrow = narrowings(place.route);
        let (mut parameters, headers) = bound(&requires, &forward);
        parameters.extend(narrow.iter().filter_map(|one| one.name.strip_prefix("query.")).map(str::to_owned));
        if ambiguous_headers(&self.request.headers, &headers) {
            return refuse(400, "ambiguous-header", person);
        }
        if ambiguous_query(self.query, &parameters) {
            return refuse(400, "ambiguous-parameter", person);
        }
        let values = self.values(place, captures);
        if !values.fit() || !narrow.iter().all(|narrowing| narrowing.is_readable(&values)) {
            return refuse(400, "value-type", person);
        }
        let enforce = Value::from("enforce");
        let mode =
            [place.route, place.document].iter().find_map(|map| map.get("client_credentials")).unwrap_or(&enforce);
        let certificate = self.sender.certificate.as_ref();
        let situation =
            Situation { person, address: self.sender.address, certificate, values: &values, under_not: false };
        if let Some(reason) = refusal(&requires, &narrow, mode, situation) {
            return refuse(if reason == "authentication" { 401 } else { 403 }, reason, person);
        }
        // "After the decision: forward, identity-too-large, limit."
        let added = person.map(|person| narrow.iter().flat_map(|one| one.added(person, &values)).collect::<Vec<_>>());
        let target = self.target(&forward, &added.unwrap_or_default(), Some(&values), person);
        let mut set = self.headers(&forward, &values, person);
        let identity = person
            .map(|person| identity((place.document, Some(place.route)), &requires, &forward, person))
            .unwrap_or_default();
        let faults: Vec<_> = set.iter().filter_map(|(_, value)| value.as_ref().err()).copied().collect();
        let too_large = identity
            .iter()
            .any(|(name, value)| !["policy", "route"].contains(name) && value.len() > self.world.max_bytes);
        if target.is_none() || faults.contains(&"forward") {
            return refuse(403, "forward", person);
        }
        if too_large || faults.contains(&"identity-too-large") {
            return refuse(403, "identity-too-large", person);
        }
        set.extend(identity.into_iter().map(|(name, value)| (header_of(name), Ok(Some(value)))));
        Answer::Forwarded(Box::new(Forwarded {
            would: None,
            policy: text(&place.document["policy"]),
            route: Some(name_of(place.route)),
            upstream: text(&place.document["upstream"]),
            target: target.unwrap(),
            headers: sorted(set),
            removes: removes(&forward),
            authorization: authorization(&forward, token, observes(place)),
            lifted: person.map(|person| lifted(&requires, mode, person)).unwrap_or_default(),
        }))
    }

    /// "the request is forwarded to the document's upstream all the same": without what `forward.query` sets, with the
    /// identity of who is known and the headers that have a value.
    fn observed(
        &self,
        document: &Value,
        matched: Option<(Place<'_>, &[Captured])>,
        would: Refusal,
        person: Option<&Person>,
    ) -> Answer {
        let route = matched.map(|(place, _)| place.route);
        let forward = forward_of(document, route);
        // Captures and parameters are those of a route; headers a request has anyway.
        let without = Values { captures: &[], host: None, query: None, headers: &self.request.headers, params: None };
        let values = matched.map_or(without, |(place, captures)| self.values(place, captures));
        let mut plain = forward.clone();
        plain.remove("query");
        let unchanged = || self.target(&Map::new(), &[], None, person).unwrap();
        let target = self.target(&plain, &[], None, person).unwrap_or_else(unchanged);
        let mut set = self.headers(&forward, &values, person);
        set.retain(|(_, value)| value.is_ok());
        if let Some(person) = person {
            let requires: Vec<_> = matched
                .into_iter()
                .filter(|(place, _)| !reads_no_token(place.route))
                .flat_map(|(place, _)| [&place.document["require"], &place.route["require"]])
                .collect();
            let identity = identity((document, route), &requires, &forward, person);
            let fitting = identity
                .into_iter()
                .filter(|(name, value)| ["policy", "route"].contains(name) || value.len() <= self.world.max_bytes);
            set.extend(fitting.map(|(name, value)| (header_of(name), Ok(Some(value)))));
        }
        Answer::Forwarded(Box::new(Forwarded {
            would: Some(would),
            policy: text(&document["policy"]),
            route: route.map(name_of),
            upstream: text(&document["upstream"]),
            target,
            headers: sorted(set),
            removes: removes(&forward),
            authorization: authorization(&forward, true, true),
            lifted: Vec::new(),
        }))
    }

    fn values<'v>(&'v self, place: Place<'v>, captures: &'v [Captured]) -> Values<'v> {
        Values {
            captures,
            host: host_capture(place.document).zip(self.label),
            query: self.query,
            headers: &self.request.headers,
            params: place.route["params"].as_object(),
        }
    }

    /// Path and query as they are sent, with what `narrow` adds.
    fn target(
        &self,
        forward: &Map<String, Value>,
        narrowed: &[String],
        values: Option<&Values<'_>>,
        person: Option<&Person>,
    ) -> Option<String> {
        let mut path = self.path.to_owned();
        if let Some(prefix) = forward.get("strip_prefix").and_then(Value::as_str) {
            let rest = self.path.strip_prefix(prefix)?;
            if !rest.is_empty() && !rest.starts_with('/') {
                return None;
            }
            path = rest.to_string();
        }
        if let Some(prefix) = forward.get("add_prefix").and_then(Value::as_str) {
            path = format!("{prefix}{path}");
        }
        if path.is_empty() {
            path.push('/');
        }
        let mut query = self.query.map(str::to_owned);
        let empty = Map::new();
        let set = forward.get("query").and_then(Value::as_object).unwrap_or(&empty);
        if !set.is_empty() || !narrowed.is_empty() {
            // "all other bytes of the query stay"
            let others = self.query.into_iter().filter(|query| !query.is_empty()).flat_map(|query| query.split('&'));
            let is_set =
                |piece: &str| set.keys().any(|name| decoded(piece.split('=').next().unwrap()) == name.as_bytes());
            let mut kept: Vec<String> = others.filter(|piece| !is_set(piece)).map(str::to_owned).collect();
            for (name, template) in set {
                // "exactly one value or the request is denied"
                let value = single(template.as_str().unwrap(), values?, person)?;
                kept.push(format!("{}={}", component(name), component(&value)));
            }
            kept.extend(narrowed.iter().cloned());
            query = Some(kept.join("&"));
        }
        Some(query.map_or(path.clone(), |query| format!("{path}?{query}")))
    }

    /// `forward.headers`, each with its value, nothing, or why the request is denied.
    fn headers(
        &self,
        forward: &Map<String, Value>,
        values: &Values<'_>,
        person: Option<&Person>,
    ) -> Vec<(String, Result<Option<String>, &'static str>)> {
        let entries = forward.get("headers").and_then(Value::as_object).into_iter().flatten();
        let of = |(name, written): (&String, &Value)| {
            let value = match written.as_str() {
                // The one file there is.
                None => Ok(Some("s3cret".to_owned())),
                Some(written) => self.header(written, values, person),
            };
            (name.to_ascii_lowercase(), value)
        };
        entries.map(of).collect()
    }

    fn header(
        &self,
        written: &str,
        values: &Values<'_>,
        person: Option<&Person>,
    ) -> Result<Option<String>, &'static str> {
        let mut text = String::new();
        let mut missing = false;
        let parts = parts(written);
        for part in &parts {
            match part {
                Part::Text(own) => text += own,
                Part::Template(name) => match value_of(name, values, person)? {
                    Written::Nothing => missing = true,
                    Written::One(value) => text += &encoded(&value, false),
                    Written::Many(items, separator) if items.is_empty() && separator == "organizations" => {
                        text += "none";
                    }
                    Written::Many(items, separator) => {
                        let separator = if separator == "organizations" { "," } else { separator };
                        text += &joined(&items, separator);
                    }
                },
            }
        }
        let constant = parts.iter().all(|part| matches!(part, Part::Text(_)));
        match (missing, !constant && text.len() > self.world.max_bytes) {
            // "no value: not sent"
            (true, _) => Ok(None),
            (false, true) => Err("identity-too-large"),
            (false, false) => Ok(Some(text)),
        }
    }
}

/// Text with templates that have one value each.
fn single(written: &str, values: &Values<'_>, person: Option<&Person>) -> Option<String> {
    parts(written)
        .into_iter()
        .map(|part| match part {
            Part::Text(text) => Some(text),
            Part::Template(name) => match value_of(&name, values, person).ok()? {
                Written::Nothing => None,
                Written::One(text) => Some(text),
                Written::Many(texts, _) => <[String; 1]>::try_from(texts).ok().map(|[only]| only),
            },
        })
        .collect()
}

/// The table of http.md, "Towards the upstream", by the words under `identity_headers`.
fn identity(
    (document, route): (&Value, Option<&Value>),
    requires: &[&Value],
    forward: &Map<String, Value>,
    person: &Person,
) -> Vec<(&'static str, String)> {
    let narrowed = route.is_some_and(|route| narrowings(route).iter().any(|one| one.to == "permissions"));
    let asked = narrowed || requires.iter().any(|require| asks_permissions(require));
    let global = person.global == Some(true);
    let organizations = person.organizations.clone().unwrap_or_default();
    let one = |value: &Option<String>| value.as_ref().map(|value| encoded(value, false));
    let all = [
        ("subject", one(&person.subject).filter(|_| person.flow != "client_credentials")),
        ("client", one(&person.client)),
        ("issuer", Some(ISSUERS[person.issuer].name.to_owned())),
        ("flow", Some(person.flow.to_owned())),
        ("scopes", Some(joined(&person.scopes, " ")).filter(|_| !person.scopes.is_empty())),
        ("permissions", person.permissions.as_ref().map(|held| joined(held, ","))),
        ("global", Some(global.to_string())),
        (
            "organizations",
            (!global).then(|| if organizations.is_empty() { "none".to_owned() } else { joined(&organizations, ",") }),
        ),
        ("policy", Some(text(&document["policy"]))),
        ("route", route.map(|route| encoded(&name_of(route), false))),
    ];
    let wanted = |word: &str| match forward.get("identity_headers") {
        None => word != "permissions" || asked,
        Some(Value::String(_)) => false,
        Some(words) => list(words).iter().any(|one| one == word),
    };
    all.into_iter().filter(|(word, _)| wanted(word)).filter_map(|(word, value)| Some((word, value?))).collect()
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

/// "replace the document's key by key"
fn forward_of(document: &Value, route: Option<&Value>) -> Map<String, Value> {
    let mut forward = document["forward"].as_object().cloned().unwrap_or_default();
    forward.extend(route.and_then(|route| route["forward"].as_object()).cloned().unwrap_or_default());
    forward
}

/// "A parameter is *bound* when `require`, `narrow` or `request` of the matched route names it, or `forward.query` sets it."
fn bound(requires: &[&Value], forward: &Map<String, Value>) -> (Vec<String>, Vec<String>) {
    let mut names = Vec::new();
    for require in requires {
        collect_names(require, &mut names);
    }
    let own =
        |prefix: &str| names.iter().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect::<Vec<_>>();
    let (mut parameters, headers) = (own("query."), own("header."));
    parameters.extend(forward.get("query").and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned());
    (parameters, headers)
}

/// Every request value that a condition names.
fn collect_names(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::String(text) => names.extend(text.strip_prefix('{').map(|rest| rest.trim_end_matches('}').to_owned())),
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_object().filter(|_| key == "request") {
                    Some(tests) => names.extend(tests.keys().cloned()),
                    None => collect_names(value, names),
                }
            }
        }
        _ => {}
    }
}

fn asks_permissions(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(asks_permissions),
        Value::Object(map) => map.iter().any(|(key, value)| key == "permission" || asks_permissions(value)),
        _ => false,
    }
}

/// What a header or parameter is made of.
enum Part {
    Text(String),
    Template(String),
}

fn parts(written: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for piece in written.split_inclusive('}') {
        let (before, template) = piece.split_once('{').map_or((piece, None), |(before, rest)| (before, Some(rest)));
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.extend(template.map(|name| Part::Template(name.trim_end_matches('}').to_owned())));
    }
    parts
}

/// The value of a template.
enum Written {
    Nothing,
    One(String),
    /// With what stands between the items.
    Many(Vec<String>, &'static str),
}

/// "A principal's name wins over a capture of that name". "A claim that a header needs and that has the wrong type denies."
fn value_of(name: &str, values: &Values<'_>, person: Option<&Person>) -> Result<Written, &'static str> {
    let one = |text: Option<String>| text.map_or(Written::Nothing, Written::One);
    let many = |items: Vec<String>, separator| {
        if items.is_empty() { Written::Nothing } else { Written::Many(items, separator) }
    };
    let of_person = ["subject", "client", "scopes", "organizations", "permissions", "issuer", "flow", "global"];
    if !of_person.contains(&name) && !name.starts_with("claim.") {
        let texts: Option<Vec<String>> = values.of(name).texts.into_iter().collect();
        let texts = texts.ok_or("forward")?;
        return Ok(if texts.len() == 1 { Written::One(texts[0].clone()) } else { many(texts, ",") });
    }
    let Some(person) = person else { return Ok(Written::Nothing) };
    Ok(match name {
        "subject" => one(person.subject.clone().filter(|_| person.flow != "client_credentials")),
        "client" => one(person.client.clone()),
        "scopes" => many(person.scopes.clone(), " "),
        "permissions" => many(person.permissions.clone().unwrap_or_default(), ","),
        "organizations" if person.global == Some(true) => Written::Nothing,
        "organizations" => Written::Many(person.organizations.clone().unwrap_or_default(), "organizations"),
        "issuer" => one(Some(ISSUERS[person.issuer].name.to_owned())),
        "flow" => one(Some(person.flow.to_owned())),
        "global" => one(Some((person.global == Some(true)).to_string())),
        claim => {
            let claim = claim.strip_prefix("claim.").unwrap();
            let path: Vec<String> = match claim.strip_prefix('/') {
                Some(keys) => keys.split('/').map(str::to_owned).collect(),
                None => vec![claim.to_owned()],
            };
            match find(&path, &person.claims) {
                None => Written::Nothing,
                Some(Value::Array(items)) => {
                    let items: Option<Vec<_>> = items.iter().map(scalar).collect();
                    many(items.ok_or("forward")?, ",")
                }
                Some(value) => Written::One(scalar(value).ok_or("forward")?),
            }
        }
    })
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// "Anything outside visible ASCII (a space too), and `%`, and `,` inside a list item, is percent-encoded (UTF-8)".
fn encoded(text: &str, item: bool) -> String {
    let one = |byte: u8| {
        let plain = byte.is_ascii_graphic() && byte != b'%' && !(item && byte == b',');
        if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(one).collect()
}

fn joined(items: &[String], separator: &str) -> String {
    let items: Vec<_> = items.iter().map(|item| encoded(item, true)).collect();
    items.join(separator)
}

/// A name or value in a query.
pub(crate) fn component(text: &str) -> String {
    let one = |byte: u8| {
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if unreserved { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(one).collect()
}

/// The header of a word under `identity_headers`.
fn header_of(word: &str) -> String {
    match word {
        "client" => "x-auth-client-id".to_owned(),
        "organizations" => "x-auth-org-uids".to_owned(),
        word => format!("x-auth-{word}"),
    }
}

fn sorted(set: Vec<(String, Result<Option<String>, &'static str>)>) -> Vec<(String, String)> {
    let mut headers: Vec<_> = set.into_iter().filter_map(|(name, value)| Some((name, value.ok()??))).collect();
    headers.sort();
    headers
}

fn removes(forward: &Map<String, Value>) -> Vec<String> {
    let set = forward.get("headers").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    let mut names: Vec<_> = set.map(|name| fold_header(name)).collect();
    names.sort();
    names
}

/// "`Authorization` with scheme Bearer or `DPoP`, and any scheme on routes that need a token (unless `authorization: keep`)";
/// under `observe` it is kept.
fn authorization(forward: &Map<String, Value>, token: bool, observed: bool) -> &'static str {
    if observed || forward.get("authorization").is_some_and(|word| word == "keep") {
        "keep"
    } else if token {
        "strip"
    } else {
        "strip tokens"
    }
}
