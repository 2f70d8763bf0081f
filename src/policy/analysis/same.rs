//! Whether two routes say the same, apart from names and from where they stand: what is the same needs no comparison.

use http::{HeaderName, HeaderValue};

use crate::policy::condition::{Condition, Test};
use crate::policy::cors::CrossOrigin;
use crate::policy::forward::{Effects, HeaderEntry, Part, Setting};
use crate::policy::limit::Limit;
use crate::policy::route::Route;
use crate::policy::routing::{RouteEntry, Router};
use crate::policy::table::Table;
use crate::policy::template::ValueSource;
use crate::policy::value_type::ValueType;
use crate::principal::IssuerSet;

use super::half::Side;
use super::pages::Pages;
use super::uses::Stand;

/// The two sides, for what is only a number on either.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides<'s> {
    /// Before.
    pub(super) old: &'s Side<'s>,
    /// After.
    pub(super) new: &'s Side<'s>,
}

impl<'s> Sides<'s> {
    /// Whether two routes decide and forward alike, given that they are asked about the same requests.
    pub(super) fn routes(&self, old: &Stand<'_>, new: &Stand<'_>) -> bool {
        let (one, other): (&Route, &Route) = (old.route, new.route);
        old.pattern.segments() == new.pattern.segments()
            && one.observes == other.observes
            && one.needs_token == other.needs_token
            && self.issuer_sets(&one.issuers, &other.issuers)
            && one.host_capture.is_some() == other.host_capture.is_some()
            && types(one).eq(types(other))
            && one.query == other.query
            && one.bound_query == other.bound_query
            && one.bound_headers == other.bound_headers
            && one.body == other.body
            && conditions(&one.conditions, &other.conditions)
            && self.effects(one, other)
    }

    /// Whether two routes forward alike.
    pub(super) fn effects(&self, old: &Route, new: &Route) -> bool {
        let upstream = |side: &Side<'_>, route: &Route| side.upstreams.get(route.document.upstream).cloned();
        old.needs_token == new.needs_token
            && upstream(self.old, old) == upstream(self.new, new)
            && old.document.strips_method_override() == new.document.strips_method_override()
            && self.old.policies.identity == self.new.policies.identity
            && old.narrowings().eq(new.narrowings())
            && old.limit().map(Limit::nameless) == new.limit().map(Limit::nameless)
            && Pages::of(old) == Pages::of(new)
            && preflights(old, new)
            && effects(&old.effects, &new.effects)
    }

    /// Whether both accept the same issuers, by name, and compare their tokens alike.
    fn issuer_sets(&self, old: &IssuerSet, new: &IssuerSet) -> bool {
        let named = |side: &'s Side<'s>, set: &IssuerSet| {
            let mut members: Vec<_> = side.issuers.iter().filter(|issuer| set.contains(issuer.id)).collect();
            members.sort_by(|one, other| one.name.cmp(&other.name));
            members
        };
        let (old, new) = (named(self.old, old), named(self.new, new));
        old.len() == new.len()
            && old.iter().zip(&new).all(|(one, other)| {
                one.name == other.name
                    && one.case_insensitive == other.case_insensitive
                    && one.subject_folds == other.subject_folds
                    && one.client_folds == other.client_folds
                    && one.organizations_fold == other.organizations_fold
                    && one.permissions_fold == other.permissions_fold
            })
    }
}

/// The types of captures and request values.
fn types(route: &Route) -> impl Iterator<Item = (&ValueSource, &ValueType)> {
    route.typed.iter().map(|typed| (&typed.source, &typed.kind))
}

/// Whether preflights that both pass on are passed on alike.
fn preflights(old: &Route, new: &Route) -> bool {
    match (&old.cors, &new.cors) {
        (Some(CrossOrigin::Upstream(one)), Some(CrossOrigin::Upstream(other))) => effects(one, other),
        _ => true,
    }
}

/// Whether two lists of conditions ask the same, in whatever order and however often.
pub(super) fn conditions(one: &[Condition], other: &[Condition]) -> bool {
    one.iter().all(|condition| other.iter().any(|known| same(condition, known)))
        && other.iter().all(|condition| one.iter().any(|known| same(condition, known)))
}

/// Whether two conditions ask the same.
pub(super) fn same(one: &Condition, other: &Condition) -> bool {
    one.lift == other.lift && tests(&one.test, &other.test)
}

fn tests(one: &Test, other: &Test) -> bool {
    match (one, other) {
        (Test::Scope(one), Test::Scope(other)) | (Test::Permission(one), Test::Permission(other)) => one == other,
        (Test::Organization(one), Test::Organization(other)) => one == other,
        (Test::Subject(one), Test::Subject(other)) | (Test::Client(one), Test::Client(other)) => one == other,
        (Test::Flow(one), Test::Flow(other)) => one == other,
        (Test::Global(one), Test::Global(other)) => one == other,
        (Test::Claim(path, one), Test::Claim(other_path, other)) => path == other_path && one == other,
        (Test::Issuer(_, one), Test::Issuer(_, other)) | (Test::Acr(one), Test::Acr(other)) => one == other,
        (Test::MaxAge(one), Test::MaxAge(other)) => one == other,
        (Test::Network(one), Test::Network(other)) => one == other,
        (Test::Certificate(kind, one), Test::Certificate(other_kind, other)) => kind == other_kind && one == other,
        (Test::Request(template, one), Test::Request(other_template, other)) => {
            template == other_template && one == other
        }
        (Test::AllOf(one), Test::AllOf(other)) | (Test::AnyOf(one), Test::AnyOf(other)) => conditions(one, other),
        (Test::Narrow(one), Test::Narrow(other)) => one == other,
        (Test::Not(one), Test::Not(other)) => same(one, other),
        _ => false,
    }
}

/// Whether two `forward` blocks do the same.
fn effects(one: &Effects, other: &Effects) -> bool {
    let Effects {
        identity,
        assertion,
        fixed,
        headers,
        query,
        removes,
        authorization,
        timeout,
        max_body,
        strip_prefix,
        add_prefix,
        rules,
        longest_target,
    } = one;
    *identity == other.identity
        && *assertion == other.assertion
        && entries(fixed).eq(entries(&other.fixed))
        && settings(headers).eq(settings(&other.headers))
        && settings(query).eq(settings(&other.query))
        && *removes == other.removes
        && *authorization == other.authorization
        && *timeout == other.timeout
        && *max_body == other.max_body
        && *strip_prefix == other.strip_prefix
        && *add_prefix == other.add_prefix
        && *rules == other.rules
        && *longest_target == other.longest_target
}

fn entries(headers: &[HeaderEntry]) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    headers.iter().map(|entry| (&entry.name, &entry.value))
}

fn settings<N>(settings: &[Setting<N>]) -> impl Iterator<Item = (&N, &[Part])> {
    settings.iter().map(|setting| (&setting.name, &*setting.parts))
}

/// Pairs of routes of two tables that route every request alike; nothing when some request may be routed differently.
pub(super) fn routed_alike<'t>(old: &'t Table, new: &'t Table) -> Option<Vec<(&'t RouteEntry, &'t RouteEntry)>> {
    let sorted = |router: &'t Router| {
        let mut entries: Vec<&RouteEntry> = router.entries().iter().collect();
        entries.sort_by(|one, other| {
            let methods = |entry: &RouteEntry| entry.methods.names().map(str::to_owned).collect::<Vec<_>>();
            one.pattern.segments().cmp(other.pattern.segments()).then_with(|| methods(one).cmp(&methods(other)))
        });
        entries
    };
    let (one, other) = (sorted(&old.router), sorted(&new.router));
    let alike = |(one, other): (&&RouteEntry, &&RouteEntry)| {
        one.pattern.segments() == other.pattern.segments()
            && one.methods == other.methods
            && one.types == other.types
            && one.quirks == other.quirks
    };
    let same = old.rules == new.rules
        && old.method_override == new.method_override
        && one.len() == other.len()
        && one.iter().zip(&other).all(alike);
    same.then(|| one.into_iter().zip(other).collect())
}
