//! From documents to tables: everything that can be wrong with policies is found here.

mod answers;
mod bypass;
mod cors;
mod forward;
mod limit;
mod metadata;
mod names;
mod narrow;
mod params;
mod report;
mod require;
mod route;
mod tables;

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;

use crate::diagnostic::{Diagnostics, Place, Source};
use crate::document::{Mapping, Node, check, parse};
use crate::policy::host::HostPattern;
use crate::policy::metadata::resource_path;
use crate::policy::route::{Document, Route};
use crate::policy::routing::{MethodSet, PathPattern};
use crate::policy::surroundings::Surroundings;
use crate::policy::{Policies, shape};
use crate::principal::{IssuerId, IssuerSet};

use bypass::ClientCredentials;
use forward::Forwarding;
use names::Names;
use report::{Report, at};

pub(in crate::policy) use names::ReadParameter;
pub(in crate::policy) use params::TypedValue;
pub(in crate::policy) use route::route_name;

/// A document on its way.
struct Draft<'d> {
    source: &'d Arc<Source>,
    map: &'d Mapping,
    document: Arc<Document>,
    hosts: Vec<(HostPattern, Place)>,
    /// Whose tokens count, and where that is written; `None`: not written.
    issuers: Option<IssuerSet>,
    client_credentials: ClientCredentials,
}

/// A route on its way.
struct RouteDraft {
    route: Arc<Route>,
    pattern: PathPattern,
    methods: MethodSet,
    /// Where its path is written.
    place: Place,
    /// A path that it could match.
    example: String,
    /// Position of its document.
    document: usize,
}

/// Compiles documents; `None` beside an error.
pub(super) fn compile(sources: &[Arc<Source>], surroundings: &Surroundings<'_>) -> (Option<Policies>, Diagnostics) {
    let mut report = Report::default();
    let parsed: Vec<_> =
        sources.iter().filter_map(|source| Some((source, parse(source, report.diagnostics())?))).collect();
    compile_all(&parsed.iter().map(|(source, node)| (*source, node)).collect::<Vec<_>>(), surroundings, report)
}

/// Compiles parsed documents; `None` beside an error.
pub(super) fn compile_parsed(
    documents: &[(&Arc<Source>, &Node)],
    surroundings: &Surroundings<'_>,
) -> (Option<Policies>, Diagnostics) {
    compile_all(documents, surroundings, Report::default())
}

fn compile_all(
    parsed: &[(&Arc<Source>, &Node)],
    surroundings: &Surroundings<'_>,
    mut report: Report,
) -> (Option<Policies>, Diagnostics) {
    for (source, node) in parsed {
        check(node, &shape::DOCUMENT, source, report.diagnostics());
    }
    let mut drafts = Vec::new();
    let mut names: HashMap<String, Place> = HashMap::new();
    for (source, node) in parsed {
        let Some(map) = node.map() else { continue };
        unique_name(map, source, &mut names, &mut report);
        drafts.extend(draft(source, map, surroundings, &mut report));
    }
    let mut routes = Vec::new();
    for (position, draft) in drafts.iter().enumerate() {
        route::routes_of(draft, position, surroundings, &mut routes, &mut report);
    }
    metadata::check(&drafts, &routes, &mut report);
    let tables = tables::build(&drafts, &routes, surroundings, &mut report);
    let documents = drafts.iter().map(|draft| Arc::clone(&draft.document)).collect();
    let hosts = drafts.iter().flat_map(|draft| &draft.hosts).map(|(host, _)| host.to_string().into()).collect();
    let routes = routes.into_iter().map(|draft| draft.route).collect();
    let problems = report.finish();
    let policies = (!problems.has_errors()).then(|| Policies::assemble(documents, routes, tables, hosts, surroundings));
    (policies, problems)
}

fn unique_name(map: &Mapping, source: &Arc<Source>, names: &mut HashMap<String, Place>, report: &mut Report) {
    let Some(node) = map.get("policy") else { return };
    let Some(name) = node.text() else { return };
    let place = at(source, node.span);
    if let Some(first) = names.get(name) {
        if let Some(found) = report.error(place, format!("two policies are named `{name}`")) {
            found.help("give each a name of its own").related(first.clone(), "the other one");
        }
    } else {
        names.insert(name.to_owned(), place);
    }
}

/// Reads what a document says for all its routes.
fn draft<'d>(
    source: &'d Arc<Source>,
    map: &'d Mapping,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Draft<'d>> {
    let name = map.text("policy").unwrap_or_default();
    let hosts = hosts(map, source, report);
    let upstream = map.get("upstream").and_then(|node| upstream(node, source, surroundings, report));
    let issuers = map.get("issuers").map(|node| issuers(node.list(), source, surroundings, report));
    let observes = map.text("mode") == Some("observe");
    let client_credentials = map
        .get("client_credentials")
        .map_or(ClientCredentials::Enforce, |node| ClientCredentials::read(node, source, report));
    let (upstream, facts) = upstream.and_then(|index| Some((index, surroundings.upstreams.get(index)?)))?;
    let quirks = facts.quirks;
    let mut captured = Names::default();
    host_names(&hosts, &mut captured);
    // What an observing document does with requests that no route matches: what templates cannot name is not sent.
    let effects = Forwarding {
        source,
        defaults: map.map("forward"),
        own: None,
        upstream,
        token: true,
        observes,
        asks_permissions: false,
        narrowed: Vec::new(),
        rules: (&quirks).into(),
        surroundings,
        names: &mut captured,
        report: &mut Report::default(),
    }
    .effects();
    let document = Document {
        name: name.into(),
        header: header(name, surroundings),
        place: at(source, map.get("policy").map_or_else(Default::default, |node| node.span)),
        upstream,
        observes,
        base_path: map.text("base_path").unwrap_or_default().into(),
        hosts: hosts.iter().map(|(host, _)| host.to_string().into()).collect(),
        quirks,
        effects: Arc::new(effects),
        metadata: (map.bool("metadata") == Some(true))
            .then(|| resource_path(map.text("base_path").unwrap_or_default())),
        cors: map.map("cors").filter(|_| !observes).and_then(|map| cors::read(map, source, &mut Report::default())),
    };
    Some(Draft { source, map, document: Arc::new(document), hosts, issuers, client_credentials })
}

fn hosts(map: &Mapping, source: &Arc<Source>, report: &mut Report) -> Vec<(HostPattern, Place)> {
    let mut hosts: Vec<(HostPattern, Place)> = Vec::new();
    for node in map.list("hosts") {
        let place = at(source, node.span);
        let Some(Ok(pattern)) = node.text().map(HostPattern::parse) else { continue };
        if let Some((first, other)) = hosts.iter().find(|(first, _)| first.key() == pattern.key()) {
            let message = format!("`{pattern}` and `{first}` are the same hosts");
            if let Some(found) = report.error(place, message) {
                found.help("keep one of them").related(other.clone(), "the other one");
            }
        } else {
            hosts.push((pattern, place));
        }
    }
    hosts
}

/// Captures of the hosts: one that every pattern has, and those that only some have.
fn host_names(hosts: &[(HostPattern, Place)], names: &mut Names) {
    let captures: Vec<_> = hosts.iter().map(|(host, _)| host.capture()).collect();
    for name in captures.iter().flatten() {
        if captures.iter().all(|other| other.as_ref() == Some(name)) {
            names.host = Some((*name).to_owned());
        } else {
            names.partial_hosts.push((*name).to_owned());
        }
    }
}

fn upstream(node: &Node, source: &Arc<Source>, surroundings: &Surroundings<'_>, report: &mut Report) -> Option<usize> {
    let name = node.text()?;
    let found = surroundings.upstreams.iter().position(|upstream| *upstream.name == *name);
    if found.is_none() {
        let known = surroundings.upstreams.iter().map(|upstream| &*upstream.name);
        report.unknown(at(source, node.span), "upstream", name, known);
    }
    found
}

/// The issuers that a list names.
fn issuers(list: &[Node], source: &Arc<Source>, surroundings: &Surroundings<'_>, report: &mut Report) -> IssuerSet {
    let mut ids: Vec<IssuerId> = Vec::new();
    for node in list {
        let Some(name) = node.text() else { continue };
        if let Some(issuer) = surroundings.issuers.iter().find(|issuer| *issuer.name == *name) {
            ids.push(issuer.id);
        } else {
            let known = surroundings.issuers.iter().map(|issuer| &*issuer.name);
            report.unknown(at(source, node.span), "issuer", name, known);
        }
    }
    IssuerSet::new(ids)
}

/// A name as the value of `X-Auth-Policy` or `X-Auth-Route`.
fn header(name: &str, surroundings: &Surroundings<'_>) -> HeaderValue {
    let encoded = surroundings.identity.encoding.text(name);
    HeaderValue::from_bytes(&encoded).unwrap_or(HeaderValue::from_static("-"))
}
