//! From documents and routes to one table a host pattern.

use std::collections::BTreeMap;

use crate::diagnostic::Place;
use crate::policy::host::{HostKey, Hosts};
use crate::policy::metadata::Resource;
use crate::policy::routing::{ConflictKind, Lookup, RouteConflict, RouteEntry, Router};
use crate::policy::surroundings::Surroundings;
use crate::policy::table::{Table, Tables};
use crate::policy::template::ValueSource;
use crate::policy::value_type::ValueType;
use crate::principal::IssuerSet;
use crate::target::Target;
use crate::target::quirks::{Quirks, Reading, ReadingKind};

use super::report::Report;
use super::{Draft, RouteDraft, metadata};

/// Builds every table and reports what cannot stand in one.
pub(super) fn build(
    drafts: &[Draft<'_>],
    routes: &[RouteDraft],
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Tables {
    let mut members: BTreeMap<HostKey, Vec<usize>> = BTreeMap::new();
    for (position, draft) in drafts.iter().enumerate() {
        for (host, _) in &draft.hosts {
            members.entry(host.key()).or_default().push(position);
        }
    }
    let mut hosts = Hosts::default();
    let mut tables = Vec::new();
    let mut resources = Vec::new();
    for (key, documents) in &members {
        hosts.table(key, tables.len());
        agreement(drafts, documents, surroundings, report);
        let (mut table, mut published) = table(key, (drafts, documents), routes, surroundings, report);
        table.resources = resources.len()..resources.len() + published.len();
        resources.append(&mut published);
        tables.push(table);
    }
    for (narrow, answering) in members.keys().zip(&tables) {
        for (wide, documents) in members.iter().filter(|(wide, _)| wide.is_wider_than(narrow)) {
            let hidden = routes.iter().filter(|route| documents.contains(&route.document));
            hidden.for_each(|hidden| stricter_elsewhere(hidden, wide, answering, routes, report));
        }
    }
    Tables { hosts, list: tables, resources }
}

/// Warns of a route that looks as if it protected a path, while a narrower host's table answers that path with less.
fn stricter_elsewhere(hidden: &RouteDraft, wide: &HostKey, answering: &Table, all: &[RouteDraft], report: &mut Report) {
    let Ok(target) = Target::parse(&hidden.example, answering.rules) else { return };
    let found = hidden.methods.names().find_map(|method| match answering.router.lookup(method, &target) {
        Lookup::Route(matched) => Some(matched.route()),
        Lookup::CaptureMisfit(route) => Some(route),
        Lookup::Ambiguous(..) | Lookup::MethodNotAllowed { .. } | Lookup::NotFound => None,
    });
    let Some(answer) = found.and_then(|id| all.get(usize::try_from(id.0).ok()?)) else { return };
    let asks = |draft: &RouteDraft| -> Vec<String> {
        draft.route.conditions.iter().map(|condition| condition.test.to_string()).collect()
    };
    let asked = asks(answer);
    let laxer = hidden.route.needs_token && !answer.route.needs_token
        || asks(hidden).iter().any(|condition| !asked.contains(condition));
    if laxer {
        let message =
            format!("requests for this path never reach the stricter route `{}` of `{wide}`", hidden.route.name);
        let help = "each host has one table, and there is no falling back to a wider one: repeat the conditions here if they are meant";
        report.warning_about(answer.place.clone(), message, help, hidden.place.clone());
    }
}

fn table(
    host: &HostKey,
    (drafts, documents): (&[Draft<'_>], &[usize]),
    all: &[RouteDraft],
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> (Table, Vec<Resource>) {
    let members: Vec<_> = all.iter().filter(|draft| documents.contains(&draft.document)).collect();
    let entries = members.iter().map(|draft| entry(draft)).collect();
    let (router, conflicts) = Router::build(entries);
    for conflict in conflicts {
        describe(&conflict, all, report);
    }
    let issuers = members.iter().flat_map(|draft| draft.route.issuers.iter());
    let resources = metadata::resources(&host.to_string(), (drafts, documents), &members, surroundings);
    let documents: Vec<_> =
        documents.iter().filter_map(|document| Some(drafts.get(*document)?.document.clone())).collect();
    let quirks = documents.first().map(|document| document.quirks).unwrap_or_default();
    let table = Table {
        router,
        rules: (&quirks).into(),
        method_override: quirks.method_override,
        issuers: IssuerSet::new(issuers),
        needs_token: members.iter().any(|draft| draft.route.needs_token),
        documents,
        resources: 0..0,
    };
    (table, resources)
}

fn entry(draft: &RouteDraft) -> RouteEntry {
    let mut types: Vec<Option<ValueType>> = vec![None; draft.pattern.captures().len()];
    for typed in &draft.route.typed {
        if let ValueSource::Capture { index, .. } = typed.source
            && let Some(kind) = types.get_mut(index)
        {
            *kind = Some(typed.kind.clone());
        }
    }
    RouteEntry {
        id: draft.route.id,
        pattern: draft.pattern.clone(),
        methods: draft.methods.clone(),
        types,
        quirks: draft.route.document.quirks,
    }
}

fn describe(conflict: &RouteConflict, routes: &[RouteDraft], report: &mut Report) {
    let place = |id| routes.iter().find(|draft| draft.route.id == id).map(|draft| draft.place.clone());
    let (Some(first), Some(second)) = (place(conflict.first), place(conflict.second)) else { return };
    let (message, help) = match &conflict.kind {
        ConflictKind::SameShape { types: true, .. } => (
            "two routes have the same shape and different `params` types".to_owned(),
            "give their captures the same types: which of the two is meant must not depend on a value".to_owned(),
        ),
        ConflictKind::SameShape { methods, .. } => (
            format!("two routes have the same shape and both list {}", methods.join(", ")),
            "let each method stand in one of them".to_owned(),
        ),
        ConflictKind::Reading(readings) => (
            format!("these two routes are one to a server that does {readings}"),
            format!("rename one, or say `never` for {readings} under `quirks` of the upstream if its server does not"),
        ),
    };
    if let Some(found) = report.error(second, message) {
        found.help(help).related(first, "the other route");
    }
}

/// What acts before the upstream is known must be the same for all documents of a table.
fn agreement(drafts: &[Draft<'_>], documents: &[usize], surroundings: &Surroundings<'_>, report: &mut Report) {
    let place_of = |draft: &Draft<'_>| -> Place { draft.document.place.clone() };
    let members: Vec<_> = documents.iter().filter_map(|document| drafts.get(*document)).collect();
    let Some((first, others)) = members.split_first() else { return };
    for other in others {
        for quirk in differing(&first.document.quirks, &other.document.quirks) {
            let name = |draft: &Draft<'_>| {
                surroundings.upstreams.get(draft.document.upstream).map_or("", |upstream| &*upstream.name).to_owned()
            };
            let message = format!(
                "policies of one host must agree on `quirks.{quirk}`, but upstreams `{}` and `{}` differ",
                name(first),
                name(other)
            );
            if let Some(found) = report.error(place_of(other), message) {
                found
                    .help("it acts before the upstream is known: give both upstreams the same, or the policies different hosts")
                    .related(place_of(first), "the other policy");
            }
        }
    }
}

fn differing(left: &Quirks, right: &Quirks) -> Vec<&'static str> {
    let mut names = Vec::new();
    if left.empty_segments != right.empty_segments {
        names.push("empty_segments");
    }
    if left.charset != right.charset {
        names.push("charset");
    }
    if left.method_override != right.method_override {
        names.push("method_override");
    }
    for kind in ReadingKind::ALL {
        if (left.reading(kind) == Reading::Always) != (right.reading(kind) == Reading::Always) {
            names.push(kind.key());
        }
    }
    names
}
