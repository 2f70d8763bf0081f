//! Routes of one document.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Place, Span};
use crate::document::{Mapping, Node};
use crate::policy::body::BodyRules;
use crate::policy::condition::Condition;
use crate::policy::cors::CrossOrigin;
use crate::policy::limit::Limit;
use crate::policy::route::{Route, RouteId};
use crate::policy::routing::{MethodSet, PathPattern};
use crate::policy::surroundings::Surroundings;
use crate::principal::IssuerSet;
use crate::target::fold::fold_header;

use super::bypass::ClientCredentials;
use super::cors::Crossing;
use super::forward::Forwarding;
use super::limit::Limits;
use super::names::Names;
use super::report::{Report, at};
use super::require::{Conditions, deny_client_credentials, reads_no_token};
use super::{Draft, RouteDraft, answers, header, host_names, issuers, narrow, params};

/// One document's routes on their way.
struct Routes<'c> {
    draft: &'c Draft<'c>,
    surroundings: &'c Surroundings<'c>,
    report: &'c mut Report,
}

/// Compiles the routes of a document and appends them.
pub(super) fn routes_of(
    draft: &Draft<'_>,
    document: usize,
    surroundings: &Surroundings<'_>,
    routes: &mut Vec<RouteDraft>,
    report: &mut Report,
) {
    let mut places: HashMap<String, Place> = HashMap::new();
    let mut host_used = false;
    let first = routes.len();
    document_require(draft, report);
    for node in draft.map.list("routes") {
        let Some(map) = node.map() else { continue };
        let id = RouteId(u32::try_from(routes.len()).unwrap_or(u32::MAX));
        let compiled = Routes { draft, surroundings, report }.route(node, map, id);
        let Some((route, pattern, methods, names)) = compiled else { continue };
        let place = route.place.clone();
        if let Some(other) = places.get(&*route.name) {
            if let Some(found) = report.error(place.clone(), format!("two routes are named `{}`", route.name)) {
                found.help("give one of them a `name` of its own").related(other.clone(), "the other one");
            }
        } else {
            places.insert(route.name.to_string(), place.clone());
        }
        host_used |= names.host.as_ref().is_some_and(|host| names.used.contains(host));
        let example = example(&joined(draft, map.text("path").unwrap_or_default()));
        routes.push(RouteDraft { route: Arc::new(route), pattern, methods, place, example, document });
    }
    let needs_token = routes.iter().skip(first).any(|draft| draft.route.needs_token);
    if let Some((host, place)) = draft.hosts.iter().find(|(host, _)| host.capture().is_some())
        && needs_token
        && !host_used
        && !unbound_anywhere(draft.map, host.capture().unwrap_or_default())
    {
        let capture = host.capture().unwrap_or_default();
        let message = format!("no condition asks about the host's `{{{capture}}}`: tokens of every tenant are welcome");
        let help = format!("name `\"{{{capture}}}\"` in a `require`, or in `unbound` of a route");
        report.warning(place.clone(), message, help);
    }
}

fn unbound_anywhere(map: &Mapping, capture: &str) -> bool {
    let routes = map.list("routes").iter().filter_map(Node::map);
    routes.flat_map(|route| route.list("unbound")).any(|name| name.text() == Some(capture))
}

/// A document's `require` is and-ed to routes that need a token, so it cannot say that none is needed.
fn document_require(draft: &Draft<'_>, report: &mut Report) {
    if let Some(node) = draft.map.get("require").filter(|node| reads_no_token(node)) {
        let help = "a document's `require` is and-ed to its routes: write `require: public` at the routes themselves";
        report.wrong(at(draft.source, node.span), "a document cannot do without a token for all its routes", help);
    }
}

impl Routes<'_> {
    fn route(&mut self, node: &Node, map: &Mapping, id: RouteId) -> Option<(Route, PathPattern, MethodSet, Names)> {
        let source = self.draft.source;
        let pattern = map.get("path").and_then(|path| self.pattern(path));
        let methods = map.get("methods").map(|methods| self.methods(methods));
        let identity = &self.surroundings.identity;
        let removed = (fold_header(&identity.prefix), identity.pass.clone());
        let mut names = Names { removed, ..Names::default() };
        host_names(&self.draft.hosts, &mut names);
        names.unreadable = pattern.is_none();
        if let Some(pattern) = &pattern {
            names.captures = pattern.captures().iter().map(|capture| capture.name.to_string()).collect();
        }
        self.capture_twice(map, &names);
        let typed = map.map("params").map(|params| params::read(params, source, &mut names, self.report));
        let require = map.get("require")?;
        let needs_token = !reads_no_token(require);
        let accepted = self.issuers(map, require, needs_token);
        self.several_introspect(map, &accepted);
        self.without_effect(map, needs_token);
        let conditions = self.conditions(map, require, &accepted, &mut names);
        let observes = map.text("mode").map_or(self.draft.document.observes, |mode| mode == "observe");
        let effects = Forwarding {
            source,
            defaults: self.draft.map.map("forward"),
            own: map.map("forward"),
            upstream: self.draft.document.upstream,
            token: needs_token,
            observes,
            narrowed: conditions.iter().filter_map(Condition::narrowing).map(|one| &*one.name).collect(),
            asks_permissions: conditions.iter().any(Condition::asks_permissions),
            rules: (&self.draft.document.quirks).into(),
            surroundings: self.surroundings,
            names: &mut names,
            report: self.report,
        }
        .effects();
        let body = self.body(node, &mut names);
        let (pattern, methods) = (pattern?, methods?);
        self.bodiless(&methods, &names);
        if needs_token {
            self.unbound(map, &pattern, &names);
        }
        let name = route_name(map);
        let limit = self.limit(map, &name);
        let cors = self.cors(map, &Crossing { source, token: needs_token, observes, effects: &effects });
        let route = Route {
            id,
            limit,
            cors,
            header: header(&name, self.surroundings),
            name: name.into(),
            place: at(source, map.get("path").map_or_else(|| node.head(), |path| path.span)),
            document: Arc::clone(&self.draft.document),
            observes,
            needs_token,
            path: joined(self.draft, map.text("path").unwrap_or_default()).into(),
            pattern: pattern.clone(),
            methods: methods.clone(),
            issuers: accepted,
            conditions: conditions.into(),
            typed: typed.unwrap_or_default().into(),
            captures: names.captures.iter().map(|name| name.as_str().into()).collect(),
            host_capture: names.host.as_deref().map(Into::into),
            query: names.query.clone().into(),
            bound_query: names.bound_query.clone(),
            bound_headers: names.bound_headers.clone(),
            body,
            effects: Arc::new(effects),
        };
        Some((route, pattern, methods, names))
    }

    /// What the route reads of bodies, after everything else was named. Reports parameters that exclude each other.
    fn body(&mut self, node: &Node, names: &mut Names) -> Option<BodyRules> {
        let body = std::mem::take(&mut names.body).rules(&mut names.bound_query, &self.draft.document.quirks);
        let in_body = body.as_ref().and_then(BodyRules::indistinguishable);
        if let Some((first, second)) = names.bound_query.indistinguishable().or(in_body) {
            let message = format!("many servers read the parameters `{first}` and `{second}` as one");
            let help = "no request with either would pass: name only one of them";
            self.report.wrong(at(self.draft.source, node.head()), message, help);
        }
        body
    }

    fn limit(&mut self, map: &Mapping, name: &str) -> Option<(Limit, Place)> {
        let Draft { source, map: defaults, document, .. } = self.draft;
        Limits { source, policy: &document.name, map: defaults, report: self.report }.of(map, name)
    }

    fn cors(&mut self, map: &Mapping, crossing: &Crossing<'_>) -> Option<CrossOrigin> {
        let entry = map.entry("cors").or_else(|| self.draft.map.entry("cors"))?;
        crossing.of(entry, self.report)
    }

    /// The pattern, base path joined with exactly one slash.
    fn pattern(&mut self, node: &Node) -> Option<PathPattern> {
        let written = node.text()?;
        let base = self.draft.document.base_path.trim_end_matches('/');
        let path = written.trim_start_matches('/');
        let joined = joined(self.draft, written);
        match PathPattern::parse(&joined) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let shift = (written.len() - path.len()).saturating_sub(1);
                let inside = |at: usize| at.checked_sub(base.len()).map(|at| at + shift);
                let span = inside(error.span.start).zip(inside(error.span.end)).map(|(start, end)| start..end);
                let (place, help) = if let Some(span) = span {
                    (self.inside(node, written, span), "correct the path")
                } else {
                    let base = self.draft.map.get("base_path").unwrap_or(node);
                    (at(self.draft.source, base.span), "correct the base path")
                };
                self.report.wrong(place, error.message, help);
                None
            }
        }
    }

    /// A part of a text's place; the whole text if it is not written as it reads.
    fn inside(&self, node: &Node, text: &str, part: Range<usize>) -> Place {
        let whole = self.draft.source.text.get(node.span.start..node.span.end).unwrap_or_default();
        let span = match whole.find(text) {
            Some(offset) => {
                let start = node.span.start + offset;
                Span { start: start + part.start, end: start + part.end }
            }
            None => node.span,
        };
        at(self.draft.source, span)
    }

    fn methods(&mut self, node: &Node) -> MethodSet {
        let mut methods = MethodSet::default();
        if node.text() == Some("*") {
            return MethodSet::usual();
        }
        for item in node.list() {
            if let Some(Err(error)) = item.text().map(|method| methods.insert(method)) {
                self.report.wrong(at(self.draft.source, item.span), error.to_string(), "remove it");
            }
        }
        methods
    }

    /// A capture of the path that has the name of one in the host would hide it.
    fn capture_twice(&mut self, map: &Mapping, names: &Names) {
        let Some(path) = map.get("path") else { return };
        let hidden =
            names.captures.iter().find(|name| names.host.as_ref() == Some(name) || names.partial_hosts.contains(name));
        if let Some(name) = hidden {
            let message = format!("host and path both have a capture named `{name}`");
            self.report.wrong(at(self.draft.source, path.span), message, "give one of them another name");
        }
    }

    /// Whose tokens the route accepts. Reports what leaves that open.
    fn issuers(&mut self, map: &Mapping, require: &Node, needs_token: bool) -> IssuerSet {
        let own = map.get("issuers");
        let own = own.map(|node| issuers(node.list(), self.draft.source, self.surroundings, self.report));
        let written = own.or_else(|| self.draft.issuers.clone());
        let configured = &self.surroundings.issuers;
        if !needs_token {
            return IssuerSet::default();
        }
        match (written, configured.as_slice()) {
            (Some(issuers), _) => issuers,
            (None, [only]) => IssuerSet::new([only.id]),
            (None, several) => {
                let known: Vec<_> = several.iter().map(|issuer| &*issuer.name).collect();
                let (place, message, help) = if known.is_empty() {
                    let help = "configure one under `issuers` in torwart.yaml, or write `require: public`";
                    let place = at(self.draft.source, require.span);
                    (place, "this route needs a token, but no issuer is configured", help.to_owned())
                } else {
                    let help = format!("add `issuers: [..]` to the document, with some of {}", known.join(", "));
                    // Said once for the document, which is where the answer belongs.
                    let place = self.draft.document.place.clone();
                    (place, "several issuers are configured, but nothing says whose tokens count here", help)
                };
                self.report.wrong(place, message, help);
                IssuerSet::default()
            }
        }
    }

    /// Reports issuers between which nobody could choose for a token that is no JWT.
    fn several_introspect(&mut self, map: &Mapping, accepted: &IssuerSet) {
        let asked =
            self.surroundings.issuers.iter().filter(|issuer| issuer.introspects && accepted.contains(issuer.id));
        let names: Vec<_> = asked.map(|issuer| format!("`{}`", issuer.name)).collect();
        if names.len() < 2 {
            return;
        }
        let written = map.get("issuers").or_else(|| self.draft.map.get("issuers"));
        let place = written.map_or_else(|| self.draft.document.place.clone(), |node| at(self.draft.source, node.span));
        let message =
            format!("issuers {} have `introspection`: a token that is no JWT could be of any", names.join(" and "));
        self.report.wrong(place, message, "accept one of them here, or let one of them do without `introspection`");
    }

    /// The document's conditions and the route's own, in the order in which they name the reason.
    fn conditions(&mut self, map: &Mapping, require: &Node, accepted: &IssuerSet, names: &mut Names) -> Vec<Condition> {
        let token = !reads_no_token(require);
        let own = map.get("client_credentials");
        let own = own.map(|node| ClientCredentials::read(node, self.draft.source, self.report));
        let client_credentials = own.as_ref().unwrap_or(&self.draft.client_credentials);
        let mut conditions = Vec::new();
        let bypass = match client_credentials {
            ClientCredentials::Bypass(bypass) if token => {
                client_credentials.check(accepted, &self.surroundings.issuers, self.report);
                Some(bypass)
            }
            ClientCredentials::Deny(place) if token => {
                conditions.push(deny_client_credentials(place.clone()));
                None
            }
            ClientCredentials::Enforce | ClientCredentials::Deny(_) | ClientCredentials::Bypass(_) => None,
        };
        let mut compiler = Conditions {
            source: self.draft.source,
            issuers: &self.surroundings.issuers,
            token,
            bypass,
            names,
            report: self.report,
        };
        if let Some(defaults) = self.draft.map.get("require").filter(|node| token && !reads_no_token(node)) {
            conditions.extend(compiler.of(defaults));
        }
        conditions.extend(compiler.of(require));
        if let Some(map) = map.map("narrow") {
            conditions.extend(narrow::read(map, token, self.draft.source, names, self.report));
        }
        conditions.sort_by_key(|condition| condition.test.reason());
        answers::check(&conditions, accepted, &self.surroundings.issuers, self.report);
        if let Some(bypass) = bypass
            && conditions.iter().any(|condition| condition.lift.is_some())
            && conditions.iter().all(|condition| condition.lift.is_some())
        {
            let help = "add a condition that stays, such as `scope`";
            self.report.warning(bypass.place.clone(), "this bypass leaves nothing but authentication", help);
        }
        conditions
    }

    /// Warns of keys that mean nothing to a route that reads no token.
    fn without_effect(&mut self, map: &Mapping, needs_token: bool) {
        for key in ["issuers", "client_credentials"] {
            if let Some(entry) = map.entry(key).filter(|_| !needs_token) {
                let message = format!("`{key}` has no effect: this route reads no token");
                self.report.warning(
                    at(self.draft.source, entry.key.span),
                    message,
                    "remove it, or ask for something of a token",
                );
            }
        }
    }

    /// Warns of values of a body that no request of the route has.
    fn bodiless(&mut self, methods: &MethodSet, names: &Names) {
        let Some((named, place)) = &names.body_first else { return };
        if methods.names().all(|method| ["GET", "HEAD", "OPTIONS"].contains(&method)) {
            let message = format!("`{{{named}}}` never has a value: requests with these methods have no body");
            self.report.warning(place.clone(), message, "name a value of the query, or another method");
        }
    }

    /// Warns of captures that take part in no condition.
    fn unbound(&mut self, map: &Mapping, pattern: &PathPattern, names: &Names) {
        let declared: Vec<_> = map.list("unbound").iter().filter_map(|node| Some((node.text()?, node))).collect();
        for (name, node) in &declared {
            let known = || names.captures.iter().chain(&names.host).chain(&names.partial_hosts).map(String::as_str);
            if !known().any(|known| known == *name) {
                self.report.unknown(at(self.draft.source, node.span), "capture", name, known().collect::<Vec<_>>());
            }
        }
        for capture in pattern.captures() {
            let name = &*capture.name;
            let free = !capture.rest && !names.used.iter().any(|used| used == name);
            if free && !declared.iter().any(|(declared, _)| *declared == name) {
                let place = map
                    .get("path")
                    .map_or_else(|| self.draft.document.place.clone(), |path| at(self.draft.source, path.span));
                let message =
                    format!("no condition asks about `{{{name}}}`: whoever may call this may call it for any value");
                let help = format!("name `\"{{{name}}}\"` in `require`, or say `unbound: [{name}]`");
                self.report.warning(place, message, help);
            }
        }
    }
}

/// Base path and path with exactly one slash between them.
fn joined(draft: &Draft<'_>, path: &str) -> String {
    format!("{}/{}", draft.document.base_path.trim_end_matches('/'), path.trim_start_matches('/'))
}

/// A path that the pattern could match: a letter for every capture.
fn example(pattern: &str) -> String {
    let mut path = String::new();
    let mut rest = pattern;
    while let Some((literal, behind)) = rest.split_once('{') {
        path.push_str(literal);
        path.push('x');
        rest = behind.split_once('}').map_or("", |(_, after)| after);
    }
    path.push_str(rest);
    path
}

/// A route's own name, or `GET,POST /path` as written.
pub(in crate::policy) fn route_name(map: &Mapping) -> String {
    if let Some(name) = map.text("name") {
        return name.to_owned();
    }
    let methods: Vec<_> = map.one_or_many("methods").iter().filter_map(Node::text).collect();
    format!("{} {}", methods.join(","), map.text("path").unwrap_or_default())
}
