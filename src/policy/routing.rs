//! Which route a request is for (policy.md, "Routes"), and whether every server would agree (http.md, "Second readings").
//!
//! [`Router::lookup`] matches the path against the tree of shapes, then again in every way the matched route's upstream might
//! read it. A path in which no reading can change anything - most paths - is looked up once or twice and nothing is
//! allocated; [`readings`](self::views) that change something are enumerated.

mod methods;
mod pattern;
mod reading;
mod spelling;
mod trie;
mod views;

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use super::RouteId;
use super::value_type::ValueType;
use crate::target::canonical::shown;
use crate::target::fold::is_folded;
use crate::target::quirks::{Quirks, Reading, ReadingKind};
use crate::target::{PathRules, Target};

pub(in crate::policy) use methods::MethodSet;
pub(in crate::policy) use pattern::{PathPattern, Shape, shape};
pub(in crate::policy) use reading::{Fault, ReadingSet};

use spelling::Spellings;
use trie::View;
use views::{Reader, Versions};

/// A route as the router sees it.
#[derive(Debug, Clone)]
pub(in crate::policy) struct RouteEntry {
    /// Whose it is.
    pub(in crate::policy) id: RouteId,
    /// Its path, base path included.
    pub(in crate::policy) pattern: PathPattern,
    /// The methods it lists.
    pub(in crate::policy) methods: MethodSet,
    /// The types of the pattern's captures by their numbers; missing ones have none.
    pub(in crate::policy) types: Vec<Option<ValueType>>,
    /// How its upstream reads paths. `always`, `empty_segments` and `charset` are the same for all routes of a router.
    pub(in crate::policy) quirks: Quirks,
}

/// Two routes that a router cannot tell apart: a load error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct RouteConflict {
    /// The route that was given first.
    pub(in crate::policy) first: RouteId,
    /// The other.
    pub(in crate::policy) second: RouteId,
    /// Why.
    pub(in crate::policy) kind: ConflictKind,
}

/// Why two routes conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) enum ConflictKind {
    /// Entries of the same shape are one node: they need equal `params` types and disjoint methods.
    SameShape {
        /// The types differ.
        types: bool,
        /// The methods that both have.
        methods: Vec<Box<str>>,
    },
    /// These readings make them equal, and are not `never` for both.
    Reading(ReadingSet),
}

/// The routes of one table.
#[derive(Debug)]
pub(in crate::policy) struct Router {
    entries: Vec<RouteEntry>,
    spellings: Spellings,
    always: ReadingSet,
    rules: PathRules,
}

/// What a look-up found.
#[derive(Debug)]
pub(in crate::policy) enum Lookup<'r, 't> {
    /// One route, however its upstream reads the path.
    Route(Match<'r, 't>),
    /// 400 `ambiguous-path`. What matched first is only of use to a route that observes; there is none when the reading that
    /// the match is made on is itself impossible.
    Ambiguous(Option<Match<'r, 't>>, Misreading),
    /// 404: the best shape is this route's, but a capture does not fit its type.
    CaptureMisfit(RouteId),
    /// 405: the best shape has no route for the method.
    MethodNotAllowed {
        /// What `Allow` says.
        allowed: &'r str,
        /// A route of that shape.
        route: RouteId,
    },
    /// 404.
    NotFound,
}

/// How an upstream might read the path otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Misreading {
    /// The readings that do it.
    pub(in crate::policy) readings: ReadingSet,
    /// What they make of it.
    pub(in crate::policy) problem: Problem,
}

/// What a reading makes of a request that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Problem {
    /// A request for another route.
    OtherRoute(RouteId),
    /// A request for no route.
    NoRoute,
    /// No path that a server could be trusted with.
    Fault(Fault),
    /// More different paths than are worth the work.
    TooMany,
}

/// A route and what its captures hold.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Match<'r, 't> {
    entry: &'r RouteEntry,
    captures: SmallVec<[Cow<'t, str>; 4]>,
    /// A bit for every capture that some reading changes.
    wavering: u32,
}

impl Match<'_, '_> {
    /// The route.
    pub(in crate::policy) fn route(&self) -> RouteId {
        self.entry.id
    }

    /// What a capture holds, decoded; `None` for an empty rest.
    pub(in crate::policy) fn capture(&self, number: usize) -> Option<&str> {
        self.captures.get(number).map(|value| &**value).filter(|value| !value.is_empty())
    }

    /// Whether some reading of the path gives the capture another value, so that a condition on it cannot be known to be
    /// false. Case counts unless the upstream is known to keep or to fold it; that of a UUID never does.
    pub(in crate::policy) fn wavers(&self, number: usize) -> bool {
        self.wavering & bit(number) != 0
    }

    fn fits(&self) -> bool {
        self.entry.types.iter().enumerate().all(|(number, kind)| match (kind, self.capture(number)) {
            (Some(kind), Some(value)) => kind.fits(value),
            _ => true,
        })
    }
}

impl Router {
    /// Compiles the routes of a table. A router that comes with conflicts must not be used.
    pub(in crate::policy) fn build(entries: Vec<RouteEntry>) -> (Self, Vec<RouteConflict>) {
        let rules = entries.first().map(|entry| PathRules::from(&entry.quirks)).unwrap_or_default();
        let always = entries
            .iter()
            .flat_map(|entry| {
                ReadingKind::ALL.into_iter().filter(|kind| entry.quirks.reading(*kind) == Reading::Always)
            })
            .collect();
        let spellings = Spellings::new(&entries, rules);
        let conflicts = spellings.conflicts(&entries, always);
        (Self { entries, spellings, always, rules }, conflicts)
    }

    /// Its routes, in the order given.
    pub(in crate::policy) fn entries(&self) -> &[RouteEntry] {
        &self.entries
    }

    /// The route for a request, decided by shape and then checked against every reading its upstream might make.
    pub(in crate::policy) fn lookup<'r, 't>(&'r self, method: &str, target: &'t Target<'_>) -> Lookup<'r, 't> {
        let written = View { text: target.text(), starts: target.starts() };
        let reader = Reader { entries: &self.entries, spellings: &self.spellings, method };
        let mut versions =
            (!self.is_plain(written)).then(|| Versions::new(written, &self.spellings, self.always, self.rules));
        let first = match versions.as_mut().map(Versions::matched) {
            None => reader.seek(written, 0, self.always).map(|(endpoint, found)| (endpoint, captured(written, &found))),
            Some(Ok((path, spelling))) => {
                let (view, spelling) = (path.view(), *spelling);
                reader.seek(view, spelling, self.always).map(|(endpoint, found)| (endpoint, owned(view, &found)))
            }
            Some(Err(misreading)) => return Lookup::Ambiguous(None, misreading),
        };
        let Some((endpoint, found)) = first else { return Lookup::NotFound };
        let terminal = endpoint.terminals.iter().find(|terminal| reader.serves(terminal.entry));
        let Some((terminal, entry)) = terminal.and_then(|terminal| Some((terminal, self.entries.get(terminal.entry)?)))
        else {
            let route = endpoint.terminals.first().and_then(|terminal| self.entries.get(terminal.entry));
            return route.map_or(Lookup::NotFound, |route| Lookup::MethodNotAllowed {
                allowed: &endpoint.allow,
                route: route.id,
            });
        };
        let mut raw: SmallVec<[Cow<'t, str>; 4]> =
            smallvec::smallvec![Cow::Borrowed(""); entry.pattern.captures().len()];
        for (number, value) in terminal.captures.iter().zip(found) {
            if let Some(capture) = raw.get_mut(usize::from(*number)) {
                *capture = value;
            }
        }
        let mut matched = Match { entry, captures: raw.iter().cloned().map(show).collect(), wavering: 0 };
        if !matched.fits() {
            return Lookup::CaptureMisfit(entry.id);
        }
        let checked = match versions {
            None => reader.check(written, 0, (terminal.entry, &raw), ReadingSet::default()),
            Some(versions) => reader.check_all(&versions, (terminal.entry, &raw)),
        };
        match checked {
            Ok(wavering) => {
                matched.wavering = wavering | folding(entry, &raw);
                Lookup::Route(matched)
            }
            Err(misreading) => {
                matched.wavering = u32::MAX;
                Lookup::Ambiguous(Some(matched), misreading)
            }
        }
    }

    /// Whether no reading but those of case and trailing slash changes the path or a pattern.
    fn is_plain(&self, view: View<'_>) -> bool {
        let patterns_stay =
            self.spellings.changing.kinds().all(|kind| matches!(kind, ReadingKind::Case | ReadingKind::TrailingSlash));
        patterns_stay && {
            let ends_a_name = |byte: u8| matches!(byte, b'.' | b' ');
            let mut before = 0;
            let touched = view.text.bytes().any(|byte| {
                let touched = matches!(byte, 1..=3 | b';' | b'%') || (byte == b'/' && ends_a_name(before));
                before = byte;
                touched
            });
            !touched && !ends_a_name(before)
        }
    }
}

/// The bit of a capture.
fn bit(number: usize) -> u32 {
    u32::try_from(number).ok().and_then(|number| 1_u32.checked_shl(number)).unwrap_or(u32::MAX)
}

/// The captures that an upstream which may fold letters may read differently.
fn folding(entry: &RouteEntry, raw: &[Cow<'_, str>]) -> u32 {
    if entry.quirks.reading(ReadingKind::Case) != Reading::Unknown {
        return 0;
    }
    let is_uuid = |number| matches!(entry.types.get(number), Some(Some(ValueType::Uuid)));
    let wavering = raw.iter().enumerate().filter(|(number, value)| !is_folded(value) && !is_uuid(*number));
    wavering.fold(0, |bits, (number, _)| bits | bit(number))
}

fn captured<'t>(view: View<'t>, found: &[trie::Found]) -> SmallVec<[Cow<'t, str>; 4]> {
    found.iter().map(|(start, end)| Cow::Borrowed(view.text.get(*start..*end).unwrap_or_default())).collect()
}

fn owned<'t>(view: View<'_>, found: &[trie::Found]) -> SmallVec<[Cow<'t, str>; 4]> {
    captured(view, found).into_iter().map(|value| Cow::Owned(value.into_owned())).collect()
}

fn show(value: Cow<'_, str>) -> Cow<'_, str> {
    match value {
        Cow::Borrowed(value) => shown(value),
        Cow::Owned(value) => Cow::Owned(shown(&value).into_owned()),
    }
}

impl fmt::Display for Misreading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readings = self.readings;
        match self.problem {
            Problem::OtherRoute(_) => {
                write!(formatter, "a server that does {readings} reads the path of another route")
            }
            Problem::NoRoute => write!(formatter, "a server that does {readings} reads a path of no route"),
            Problem::Fault(Fault::DotSegment) => {
                write!(formatter, "a server that does {readings} reads a `.` or `..` segment")
            }
            Problem::Fault(Fault::EmptiedSegment) => {
                write!(formatter, "a server that does {readings} reads an empty segment")
            }
            Problem::Fault(Fault::Nul) => write!(formatter, "a server that does {readings} reads a NUL"),
            Problem::TooMany => formatter.write_str("servers may read the path in too many different ways"),
        }
    }
}

#[cfg(test)]
mod tests;
