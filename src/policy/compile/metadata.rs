//! `metadata`: the protected resources of every table, and what would be in their way.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::policy::metadata::{Resource, WELL_KNOWN, is_published, scopes};
use crate::policy::surroundings::Surroundings;
use crate::principal::IssuerSet;

use super::report::{Report, at};
use super::{Draft, RouteDraft};

/// Reports `metadata` that has nothing to tell, and routes that requests would never reach because of it.
pub(super) fn check(drafts: &[Draft<'_>], routes: &[RouteDraft], report: &mut Report) {
    for (position, draft) in drafts.iter().enumerate().filter(|(_, draft)| draft.document.metadata.is_some()) {
        let Some(entry) = draft.map.entry("metadata") else { continue };
        let place = at(draft.source, entry.key.span);
        if !routes.iter().any(|route| route.document == position && route.route.needs_token) {
            let message = "`metadata` has nothing to tell: no route of this document needs a token";
            report.warning(place.clone(), message, "remove it");
        }
        for covered in routes.iter().filter(|route| is_published(&route.route.path)) {
            let shared = drafts.get(covered.document).is_some_and(|other| {
                other.hosts.iter().any(|(host, _)| draft.hosts.iter().any(|(own, _)| own.key() == host.key()))
            });
            let message = format!("the gateway itself answers below `{WELL_KNOWN}`: requests never reach this route");
            if let Some(found) = shared.then(|| report.error(covered.place.clone(), message)).flatten() {
                found.help("remove the route, or `metadata`").related(place.clone(), "metadata of the same host");
            }
        }
    }
}

/// The resources of a table: the whole host, which is what all its documents with `metadata` protect together, and
/// each path that some of them have in common.
pub(super) fn resources(
    host: &str,
    (drafts, documents): (&[Draft<'_>], &[usize]),
    routes: &[&RouteDraft],
    surroundings: &Surroundings<'_>,
) -> Vec<Resource> {
    let path_of = |position: usize| drafts.get(position).and_then(|draft| draft.document.metadata.as_ref());
    let mut paths: BTreeSet<&Arc<str>> = documents.iter().filter_map(|position| path_of(*position)).collect();
    let whole: Arc<str> = "".into();
    if !paths.is_empty() {
        paths.insert(&whole);
    }
    let protecting =
        |path: &str, position: usize| path_of(position).is_some_and(|own| path.is_empty() || **own == *path);
    let resource = |path: &Arc<str>| {
        let members: Vec<_> = routes.iter().copied().filter(|route| protecting(path, route.document)).collect();
        Resource {
            host: host.into(),
            path: Arc::clone(path),
            issuers: IssuerSet::new(members.iter().flat_map(|member| member.route.issuers.iter())),
            scopes: members.iter().flat_map(|member| asked(member, surroundings)).map(Into::into).collect(),
        }
    };
    paths.into_iter().map(resource).collect()
}

/// The scopes that a route may ask for, that of absent permissions included.
fn asked<'r>(draft: &'r RouteDraft, surroundings: &'r Surroundings<'_>) -> BTreeSet<&'r str> {
    let route = &draft.route;
    let mut found = BTreeSet::new();
    route.conditions.iter().for_each(|condition| scopes(condition, &mut found));
    if route.conditions.iter().any(crate::policy::condition::Condition::asks_permissions) {
        let accepted = surroundings.issuers.iter().filter(|issuer| route.issuers.contains(issuer.id));
        found.extend(accepted.filter_map(|issuer| issuer.permission_scope.as_deref()));
    }
    found
}
