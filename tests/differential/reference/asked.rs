//! http.md, steps 4 to 8: what becomes of a request that has found its table.

use std::cell::Cell;

use serde_json::{Map, Value};

use super::super::conditions::{Situation, lifted, refusal};
use super::super::narrow::{Narrowing, narrowings};
use super::super::paths::Captured;
use super::super::values::{Values, ambiguous_headers, ambiguous_query};
use super::super::world::{Exceeded, Fields, Forwarded, Outcome, Person, Refusal, Request, Sender, World};
use super::bodies::{Body, Fault, Wanted, is_of_body};
use super::counting::{Counts, Limit};
use super::crossing;
use super::forwarding::{Forwarding, sorted, templates};
use super::{Place, accepts, host_capture, longest_base_path, name_of, observes, quirks_of, reads_no_token, text};

/// A request that has found its table.
pub(crate) struct Asked<'w> {
    pub(crate) world: &'w World,
    pub(crate) request: &'w Request,
    pub(crate) sender: &'w Sender,
    /// The method that policy is asked about.
    pub(crate) method: &'w str,
    pub(crate) path: &'w str,
    pub(crate) query: Option<&'w str>,
    pub(crate) places: &'w [Place<'w>],
    pub(crate) members: &'w [&'w Value],
    pub(crate) label: Option<&'w str>,
    /// The body was asked for.
    pub(crate) reads: Cell<bool>,
}

/// A route, and what its captures hold.
pub(crate) type Matched<'w, 'c> = (Place<'w>, &'c [Captured]);

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

    pub(crate) fn without_route(&self, status: u16, reason: &str, document: Option<&'w Value>) -> Outcome {
        let (status, reason, person) = match self.known_in_table() {
            Ok(person) => (status, reason, person),
            Err(()) => (401, "token", None),
        };
        let refusal = refused(status, reason, None);
        match document.filter(|document| document["mode"] == "observe") {
            Some(document) => self.observed(document, None, refusal, person),
            None => Outcome::Refused(refusal),
        }
    }

    /// "400 `ambiguous-path`" comes before authentication; who only observes wants to see the token all the same.
    pub(crate) fn ambiguous(&self, found: Option<Matched<'w, '_>>) -> Outcome {
        let refusal = refused(400, "ambiguous-path", found.map(|(place, _)| place));
        let document = match &found {
            Some((place, _)) => Some(place.document),
            None => longest_base_path(self.members, self.path),
        };
        let observing = match &found {
            Some((place, _)) => observes(*place),
            None => document.is_some_and(|document| document["mode"] == "observe"),
        };
        match document.filter(|_| observing) {
            None => Outcome::Refused(refusal),
            Some(document) => {
                let person = self.known_in_table().unwrap_or(None);
                self.observed(document, found, refusal, person)
            }
        }
    }

    /// What every answer on a route or under a document says to pages; who only observes leaves answers as they are.
    pub(crate) fn grant(&self, place: Place<'_>) -> Option<Fields> {
        if observes(place) { None } else { crossing::grant(place.cors(), self.request) }
    }

    /// A preflight, where the route of the method that it asks about has `cors`.
    pub(crate) fn preflight(&self, (place, captures): Matched<'w, '_>, method: &str) -> Option<Outcome> {
        let cors = place.cors();
        if !self.has_preflights(place) {
            return None;
        }
        if cors != "upstream" && !observes(place) {
            return Some(Outcome::Preflight(crossing::answer(cors, self.request, method)));
        }
        let forwarding = self.forwarding(place.forward(), None);
        let without = self.observed(place.document, Some((place, captures)), Refusal::default(), None);
        let Outcome::Forwarded(mut sent) = without else { return None };
        sent.would = forwarding.plain_target().is_none().then(|| refused(403, "forward", Some(place)));
        sent.headers.clear();
        if !observes(place) {
            // "without token and identity", and whatever else says who somebody is.
            sent.authorization = "strip";
            sent.removes.extend(["authorization", "cookie"].map(str::to_owned));
            sent.removes.sort();
            sent.removes.dedup();
            match forwarding.plain_target() {
                Some(target) => sent.target = target,
                None => return Some(Outcome::Refused(refused(403, "forward", Some(place)))),
            }
        }
        Some(Outcome::Forwarded(sent))
    }

    /// "`cors: upstream`: a preflight without body is forwarded", and so it is by who only observes; others are answered.
    /// "Neither: OPTIONS is a method like any other."
    pub(crate) fn has_preflights(&self, place: Place<'_>) -> bool {
        let cors = place.cors();
        !cors.is_null() && (cors != "upstream" && !observes(place) || !self.has_body())
    }

    fn has_body(&self) -> bool {
        self.request.body.is_some()
    }

    /// Steps 5 to 7: who asks, whether that may pass, and whether it is too much. "`address` before authentication".
    pub(crate) fn decide(&self, (place, captures): Matched<'w, '_>, counts: &mut Counts) -> Outcome {
        let limit = Limit::of(place.document, place.route, &name_of(place.route));
        let moment = (self.sender, self.request.at);
        let first = limit.as_ref().filter(|limit| limit.comes_first());
        let flood = first.and_then(|limit| counts.take(limit, None, moment));
        let too_much = |exceeded: Exceeded| Refusal { exceeded: Some(exceeded), ..refused(429, "limit", Some(place)) };
        if let Some(exceeded) = flood.clone().filter(|_| !observes(place)) {
            return Outcome::Refused(too_much(exceeded));
        }
        let person = self.sender.person.as_ref().filter(|_| !reads_no_token(place.route));
        let known = accepts(place, person);
        let judged = if reads_no_token(place.route) || known {
            self.judge((place, captures), person)
        } else {
            Err((401, "token"))
        };
        match judged {
            Ok(sent) => {
                // "After the decision: ..., limit", and what is refused anyway is not counted.
                let then = limit.as_ref().filter(|limit| !limit.comes_first());
                match flood.or_else(|| counts.take(then?, person, moment)).map(too_much) {
                    None => Outcome::Forwarded(Box::new(sent)),
                    Some(would) if observes(place) => {
                        Outcome::Forwarded(Box::new(Forwarded { would: Some(would), ..sent }))
                    }
                    Some(refusal) => Outcome::Refused(refusal),
                }
            }
            Err((status, reason)) => {
                let refusal = flood.map_or_else(|| refused(status, reason, Some(place)), too_much);
                if !observes(place) {
                    return Outcome::Refused(refusal);
                }
                let person = person.filter(|_| known);
                self.observed(place.document, Some((place, captures)), refusal, person)
            }
        }
    }

    /// Step 6: what is sent, or why not.
    fn judge(&self, (place, captures): Matched<'w, '_>, person: Option<&'w Person>) -> Result<Forwarded, Fault> {
        let token = !reads_no_token(place.route);
        // "and-ed to every route that needs a token"
        let requires: Vec<&Value> =
            [&place.document["require"], &place.route["require"]].into_iter().skip(usize::from(!token)).collect();
        let forwarding = self.forwarding(place.forward(), person);
        let narrow = narrowings(place.route);
        let (mut parameters, headers) = bound(&requires, &forwarding.forward);
        parameters.extend(narrow.iter().filter_map(|one| one.name.strip_prefix("query.")).map(str::to_owned));
        let mut names = names(&requires, &forwarding.forward);
        // What a value has to look like is asked of it wherever it is named.
        names.extend(place.route["params"].as_object().into_iter().flat_map(Map::keys).cloned());
        // A parameter that holds JSON has to have one meaning, whatever it is read for.
        let with_json =
            names.iter().filter_map(|name| Some(name.strip_prefix("query.")?.split_once('#')?.0.to_owned()));
        parameters.extend(with_json);
        let wanted = Wanted {
            names: &names,
            parameters: &parameters,
            quirks: quirks_of(self.world, place.document),
            method: self.method,
            longest: self.world.inspected_body,
        };
        let unread = self.values((place, captures), &Body::Unread);
        if ambiguous_headers(&self.request.headers, &headers) {
            return Err((400, "ambiguous-header"));
        }
        self.check_path(place, &wanted)?;
        self.check_values(&wanted, &unread, &narrow)?;
        let enforce = Value::from("enforce");
        let mode =
            [place.route, place.document].iter().find_map(|map| map.get("client_credentials")).unwrap_or(&enforce);
        let certificate = self.sender.certificate.as_ref();
        let denied = |values: &Values<'_>| {
            let situation = Situation { person, address: self.sender.address, certificate, values, under_not: false };
            match refusal(&requires, &narrow, mode, situation) {
                None => Ok(()),
                Some("authentication") => Err((401, "authentication")),
                Some(reason) => Err((403, reason)),
            }
        };
        // "bodies are asked last, and not at all where the others already deny"
        denied(&unread)?;
        let body = wanted.read(self.request, &self.reads)?;
        let values = self.values((place, captures), &body);
        if !values.fit(&is_of_body) {
            return Err((400, "value-type"));
        }
        denied(&values)?;
        // "After the decision: forward, identity-too-large, limit."
        let added = person.map(|person| narrow.iter().flat_map(|one| one.added(person, &values)).collect::<Vec<_>>());
        let target = forwarding.target(&parameters, &added.unwrap_or_default(), &values);
        let mut set = forwarding.headers(&values);
        let (identity, provenance) = forwarding.identity((place.document, Some(place.route)), &requires);
        let faults: Vec<_> = set.iter().filter_map(|(_, value)| value.as_ref().err()).copied().collect();
        let Some(target) = target.filter(|_| !faults.contains(&"forward")) else {
            return Err((403, "forward"));
        };
        let fits = |value: &str| value.chars().count() <= self.world.max_bytes;
        if identity.iter().any(|(_, value)| !fits(value)) || faults.contains(&"identity-too-large") {
            return Err((403, "identity-too-large"));
        }
        set.extend(identity.into_iter().chain(provenance).map(|(name, value)| (name, Ok(Some(value)))));
        Ok(Forwarded {
            would: None,
            policy: text(&place.document["policy"]),
            route: Some(name_of(place.route)),
            upstream: text(&place.document["upstream"]),
            target,
            headers: sorted(set),
            removes: forwarding.removes(),
            authorization: forwarding.authorization(token, observes(place)),
            lifted: person.map(|person| lifted(&requires, mode, person)).unwrap_or_default(),
        })
    }

    /// Where a server begins the query at a `;` in the path, it reads other parameters than those that are bound.
    fn check_path(&self, place: Place<'_>, wanted: &Wanted<'_>) -> Result<(), Fault> {
        let pattern =
            [&place.document["base_path"], &place.route["path"]].map(|part| part.as_str().unwrap_or_default());
        if wanted.is_ambiguous_path(self.path, &pattern.concat()) {
            return Err((400, "ambiguous-parameter"));
        }
        Ok(())
    }

    /// "bound and typed values (400)", as far as they stand in the head.
    fn check_values(&self, wanted: &Wanted<'_>, values: &Values<'_>, narrow: &[Narrowing<'_>]) -> Result<(), Fault> {
        let ambiguous = ambiguous_query(self.query, wanted.parameters) || wanted.is_ambiguous_query(self.query);
        if ambiguous || !values.is_readable(wanted.names) {
            return Err((400, "ambiguous-parameter"));
        }
        if !values.fit(&|name| !is_of_body(name)) || !narrow.iter().all(|narrowing| narrowing.is_readable(values)) {
            return Err((400, "value-type"));
        }
        Ok(())
    }

    /// "the request is forwarded to the document's upstream all the same": without what `forward.query` sets, with the
    /// identity of who is known and the headers that have a value.
    fn observed(
        &self,
        document: &'w Value,
        matched: Option<Matched<'w, '_>>,
        would: Refusal,
        person: Option<&'w Person>,
    ) -> Outcome {
        // What stands in the body has no value, whether or not it was read.
        let body = &Body::Unread;
        let route = matched.map(|(place, _)| place.route);
        let of_document = || document["forward"].as_object().cloned().unwrap_or_default();
        let forwarding = self.forwarding(matched.map_or_else(of_document, |(place, _)| place.forward()), person);
        // Captures and parameters are those of a route; headers a request has anyway.
        let headers = &self.request.headers;
        let without = Values { captures: &[], host: None, query: None, headers, params: None, body };
        let values = matched.map_or(without, |matched| self.values(matched, body));
        let unchanged = || self.query.map_or(self.path.to_owned(), |query| format!("{}?{query}", self.path));
        let target = forwarding.plain_target().unwrap_or_else(unchanged);
        let mut set = forwarding.headers(&values);
        set.retain(|(_, value)| value.is_ok());
        let requires: Vec<_> = matched
            .into_iter()
            .filter(|(place, _)| !reads_no_token(place.route))
            .flat_map(|(place, _)| [&place.document["require"], &place.route["require"]])
            .collect();
        let (identity, provenance) = forwarding.identity((document, route), &requires);
        let fitting = identity.into_iter().filter(|(_, value)| value.chars().count() <= self.world.max_bytes);
        set.extend(fitting.chain(provenance).map(|(name, value)| (name, Ok(Some(value)))));
        Outcome::Forwarded(Box::new(Forwarded {
            would: Some(would),
            policy: text(&document["policy"]),
            route: route.map(name_of),
            upstream: text(&document["upstream"]),
            target,
            headers: sorted(set),
            removes: forwarding.removes(),
            authorization: forwarding.authorization(true, true),
            lifted: Vec::new(),
        }))
    }

    fn forwarding(&self, forward: Map<String, Value>, person: Option<&'w Person>) -> Forwarding<'w> {
        Forwarding { world: self.world, forward, path: self.path, query: self.query, person }
    }

    fn values<'v>(&'v self, (place, captures): Matched<'v, 'v>, body: &'v Body) -> Values<'v> {
        Values {
            captures,
            host: host_capture(place.document).zip(self.label),
            query: self.query,
            headers: &self.request.headers,
            params: place.route["params"].as_object(),
            body,
        }
    }
}

fn refused(status: u16, reason: &str, place: Option<Place<'_>>) -> Refusal {
    let route = place.map(|place| name_of(place.route));
    Refusal { status, reason: reason.to_owned(), route, exceeded: None }
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
    for parameter in &mut parameters {
        parameter.truncate(parameter.find("#/").unwrap_or(parameter.len()));
    }
    parameters.extend(forward.get("query").and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned());
    (parameters, headers)
}

/// Every template that a route has.
fn names(requires: &[&Value], forward: &Map<String, Value>) -> Vec<String> {
    let mut names = templates(forward);
    for require in requires {
        collect_names(require, &mut names);
    }
    names
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
