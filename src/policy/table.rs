//! Finding table and route of a request (http.md, steps 3 and 4).

use std::ops::Range;
use std::sync::Arc;

use crate::policy::cors::CrossOrigin;
use crate::policy::host::Hosts;
use crate::policy::metadata::Resource;
use crate::policy::route::{Document, Route, RouteId};
use crate::policy::routing::{self, Lookup, Match, Router};
use crate::policy::template::ValueSource;
use crate::policy::{Head, PlaceError, Policies};
use crate::principal::IssuerSet;
use crate::target::method::{self, Override};
use crate::target::quirks::MethodOverride;
use crate::target::{PathRules, Target};

/// Every table.
#[derive(Debug, Default)]
pub(in crate::policy) struct Tables {
    pub(in crate::policy) hosts: Hosts,
    pub(in crate::policy) list: Vec<Table>,
    /// Of all tables.
    pub(in crate::policy) resources: Vec<Resource>,
}

/// All documents that name one host pattern.
#[derive(Debug)]
pub(in crate::policy) struct Table {
    pub(in crate::policy) router: Router,
    pub(in crate::policy) rules: PathRules,
    pub(in crate::policy) method_override: MethodOverride,
    /// Issuers that some route accepts.
    pub(in crate::policy) issuers: IssuerSet,
    /// Some route needs a token, so that 404 and 405 are told only to holders of one.
    pub(in crate::policy) needs_token: bool,
    pub(in crate::policy) documents: Vec<Arc<Document>>,
    /// Which resources are its own; none where nothing is published.
    pub(in crate::policy) resources: Range<usize>,
}

/// What routing found out, before anybody was authenticated.
#[derive(Debug)]
pub(in crate::policy) enum Outcome<'r> {
    /// This route.
    Route(&'r Arc<Route>, Captures<'r>),
    /// A path that servers read differently.
    Ambiguous {
        /// The route is only of use if it observes.
        matched: Option<(&'r Arc<Route>, Captures<'r>)>,
        /// Who reads it how.
        why: String,
    },
    /// No route.
    NotFound {
        /// Takes such requests if it observes.
        document: Option<&'r Arc<Document>>,
        /// The route whose captures do not have their types.
        misfit: Option<&'r Arc<Route>>,
    },
    /// No route of the shape lists the method.
    MethodNotAllowed {
        /// Value of `Allow`.
        allow: &'r str,
        /// The document of a route of that shape.
        document: &'r Arc<Document>,
    },
}

/// What captures hold, the host's apart.
#[derive(Debug, Default)]
pub(in crate::policy) struct Captures<'r> {
    /// The label that the host's pattern leaves open, where the route names it.
    pub(in crate::policy) host: Option<&'r str>,
    pub(in crate::policy) path: routing::Captures<'r>,
}

impl Tables {
    /// The table for a host, and the label that its pattern leaves open.
    pub(in crate::policy) fn find<'r>(&'r self, host: &'r str) -> Option<(&'r Table, Option<&'r str>)> {
        let (table, label) = self.hosts.find(host)?;
        Some((self.list.get(table)?, label))
    }
}

impl Table {
    /// Canonicalises the target and settles which method policy is asked about.
    pub(in crate::policy) fn read<'r>(&self, head: &Head<'r>) -> Result<(Target<'r>, Option<String>), PlaceError> {
        if method::is_never_served(head.method) {
            return Err(PlaceError::MethodRefused);
        }
        let target = Target::parse(head.raw_target, self.rules).map_err(PlaceError::Target)?;
        if self.method_override == MethodOverride::Ignore {
            return Ok((target, None));
        }
        match (method::overriding(head.method, head.headers, target.query()), self.method_override) {
            (Override::Absent | Override::Same, _) => Ok((target, None)),
            (Override::Other(other), MethodOverride::Honour) if head.method == "POST" => {
                // Servers override nothing but POST; on another method they may or may not, so nobody can tell what is asked.
                if method::is_never_served(&other) {
                    return Err(PlaceError::MethodRefused);
                }
                let other = other.into_owned();
                Ok((target, Some(other)))
            }
            (Override::Other(_) | Override::Conflicting, _) => Err(PlaceError::MethodOverride),
        }
    }

    /// Finds the route.
    pub(in crate::policy) fn outcome<'r>(
        &'r self,
        policies: &'r Policies,
        method: &str,
        target: &Target<'r>,
        label: Option<&'r str>,
    ) -> Outcome<'r> {
        let route = |id: RouteId| policies.route_by_id(id);
        let fallback = || Outcome::NotFound { document: self.longest_base_path(target), misfit: None };
        let misfit = |route: &'r Arc<Route>| Outcome::NotFound { document: Some(&route.document), misfit: Some(route) };
        match self.router.lookup(method, target) {
            Lookup::Route(matched) => match route(matched.route()) {
                Some(route) => {
                    let captures = Captures::of(matched, route, label);
                    if captures.host_fits(route) { Outcome::Route(route, captures) } else { misfit(route) }
                }
                None => fallback(),
            },
            Lookup::Ambiguous(matched, misreading) => Outcome::Ambiguous {
                matched: matched.and_then(|matched| {
                    let route = route(matched.route())?;
                    Some((route, Captures::of(matched, route, label)))
                }),
                why: misreading.to_string(),
            },
            Lookup::CaptureMisfit(id) => route(id).map_or_else(fallback, misfit),
            Lookup::MethodNotAllowed { allowed, route: id } => match route(id) {
                Some(route) => Outcome::MethodNotAllowed { allow: allowed, document: &route.document },
                None => fallback(),
            },
            Lookup::NotFound => fallback(),
        }
    }

    /// What a preflight for a method is about, if the route of that method says what becomes of it: whoever passes them
    /// on passes none that has a body.
    pub(in crate::policy) fn preflight<'r>(
        &'r self,
        policies: &'r Policies,
        (asked, has_body): (&str, bool),
        target: &Target<'r>,
        label: Option<&'r str>,
    ) -> Option<Outcome<'r>> {
        let outcome = self.outcome(policies, asked, target, label);
        let (Outcome::Route(route, _) | Outcome::Ambiguous { matched: Some((route, _)), .. }) = &outcome else {
            return None;
        };
        match &route.cors {
            Some(CrossOrigin::Gateway(_)) => Some(outcome),
            Some(CrossOrigin::Upstream(_)) if !has_body => Some(outcome),
            Some(CrossOrigin::Upstream(_)) | None => None,
        }
    }

    /// The document that takes what no route matches, if it observes: the one with the longest base path that the request is
    /// under.
    pub(in crate::policy) fn longest_base_path(&self, target: &Target<'_>) -> Option<&Arc<Document>> {
        let mut best: Option<(usize, &Arc<Document>)> = None;
        for document in &self.documents {
            let base = document.base_path.trim_matches('/');
            let segments: Vec<_> = base.split('/').filter(|segment| !segment.is_empty()).collect();
            let mut asked = target.segments();
            let under = segments
                .iter()
                .all(|segment| asked.next().is_some_and(|asked| segment.starts_with('{') || *segment == asked));
            if under && best.is_none_or(|(length, _)| segments.len() > length) {
                best = Some((segments.len(), document));
            }
        }
        best.map(|(_, document)| document)
    }
}

impl<'r> Captures<'r> {
    fn of(matched: Match<'_, 'r>, route: &Route, label: Option<&'r str>) -> Self {
        Self { host: label.filter(|_| route.host_capture.is_some()), path: matched.into_captures() }
    }

    /// Whether the host's label has its type.
    fn host_fits(&self, route: &Route) -> bool {
        let label = self.host.unwrap_or_default();
        route.typed.iter().all(|typed| !matches!(typed.source, ValueSource::Host { .. }) || typed.kind.fits(label))
    }
}
