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

use super::RouteId;
use super::value_type::ValueType;
use crate::target::canonical::shown;
use crate::target::fold::is_folded;
use crate::target::quirks::{Quirks, Reading, ReadingKind};
use crate::target::{PathRules, Target};

pub(in crate::policy) use methods::MethodSet;
pub(in crate::policy) use pattern::{PathPattern, Shape, shape};
pub(in crate::policy) use reading::{Fault, ReadingSet};

use spelling::{SpellingId, Spellings};
use trie::{Spans, View, piece};
use views::{First, Reader, Versions};

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
    /// No reading but those of case and trailing slash changes a pattern.
    steady: bool,
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
    captures: Captures<'t>,
}

/// What the captures of a path hold, by their numbers.
#[derive(Debug, Clone, Default)]
pub(in crate::policy) struct Captures<'t> {
    text: Cow<'t, str>,
    spans: Spans,
    /// A bit for every capture that some reading changes, be it in its letters' case alone.
    wavering: u32,
    /// A bit for every capture that some reading changes otherwise.
    doubtful: u32,
}

impl Captures<'_> {
    /// What a capture holds, decoded; `None` for an empty rest.
    pub(in crate::policy) fn text(&self, number: usize) -> Option<&str> {
        self.spans.get(number).map(|span| piece(&self.text, *span)).filter(|text| !text.is_empty())
    }

    /// The same for all of them.
    pub(in crate::policy) fn texts(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.spans.len()).map(|number| self.text(number))
    }

    /// Whether some reading of the path gives the capture another value, so that a condition on it cannot be known to be
    /// false. Case counts unless the upstream is known to keep or to fold it; that of a UUID never does.
    pub(in crate::policy) fn wavers(&self, number: usize) -> bool {
        number >= self.spans.len() || self.wavering & bit(number) != 0
    }

    /// Whether some reading gives the capture a value that differs in more than the case of letters, so that no condition on
    /// it can be known to be true either.
    pub(in crate::policy) fn is_doubtful(&self, number: usize) -> bool {
        number >= self.spans.len() || self.doubtful & bit(number) != 0
    }
}

impl<'t> Match<'_, 't> {
    /// The route.
    pub(in crate::policy) fn route(&self) -> RouteId {
        self.entry.id
    }

    /// What its captures hold.
    pub(in crate::policy) fn into_captures(self) -> Captures<'t> {
        self.captures
    }

    fn fits(&self) -> bool {
        self.entry.types.iter().zip(self.captures.texts()).all(|(kind, text)| match (kind, text) {
            (Some(kind), Some(text)) => kind.fits(text),
            _ => true,
        })
    }

    /// The same knowing which captures other readings change: otherwise than in case, and in case.
    fn wavering(mut self, doubtful: u32, case: u32) -> Self {
        self.captures.doubtful = doubtful;
        self.captures.wavering = doubtful | case;
        self
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
        let steady =
            spellings.changing.kinds().all(|kind| matches!(kind, ReadingKind::Case | ReadingKind::TrailingSlash));
        (Self { entries, spellings, always, steady, rules }, conflicts)
    }

    /// Its routes, in the order given.
    pub(in crate::policy) fn entries(&self) -> &[RouteEntry] {
        &self.entries
    }

    /// The route for a request, decided by shape and then checked against every reading its upstream might make.
    pub(in crate::policy) fn lookup<'r, 't>(&'r self, method: &str, target: &Target<'t>) -> Lookup<'r, 't> {
        let marks = target.marks();
        let written = View { text: target.text(), folded: !marks.unfolded };
        let reader = Reader { entries: &self.entries, spellings: &self.spellings, method };
        if self.steady && !marks.special {
            let check = |first: &First<'_, '_>| reader.check(written, 0, first, ReadingSet::default());
            return self.answer(&reader, (written, 0), target.sent_text(), check);
        }
        let versions = Versions::new(written, &self.spellings, self.always, self.rules);
        match versions.matched() {
            Ok((path, spelling)) => {
                self.answer(&reader, (path.view(), spelling), None, |first| reader.check_all(&versions, first))
            }
            Err(misreading) => Lookup::Ambiguous(None, misreading),
        }
    }

    /// What matches first, if `check` finds that every server means the same by it. `sent` is the text that is looked up
    /// where it lasts as long as the request.
    fn answer<'r, 't>(
        &'r self,
        reader: &Reader<'r, '_>,
        (view, spelling): (View<'_>, SpellingId),
        sent: Option<&'t str>,
        check: impl FnOnce(&First<'r, '_>) -> Result<u32, Misreading>,
    ) -> Lookup<'r, 't> {
        let Some(found) = reader.seek(view, spelling, self.always) else { return Lookup::NotFound };
        let endpoint = found.endpoint;
        let terminal = endpoint.terminals.iter().find(|terminal| reader.serves(terminal.entry));
        let Some((terminal, entry)) = terminal.and_then(|terminal| Some((terminal, self.entries.get(terminal.entry)?)))
        else {
            let route = endpoint.terminals.first().and_then(|terminal| self.entries.get(terminal.entry));
            return route.map_or(Lookup::NotFound, |route| Lookup::MethodNotAllowed {
                allowed: &endpoint.allow,
                route: route.id,
            });
        };
        let first = First { found, terminal, view, spelling, readings: self.always };
        let spans = (0..entry.pattern.captures().len()).map(|number| terminal.span(number, &first.found.spans));
        let captures = match sent {
            // What was sent and is looked up as it is holds no escape that would be shown otherwise.
            Some(sent) => Captures { text: Cow::Borrowed(sent), spans: spans.collect(), ..Captures::default() },
            None => owned(spans.map(|span| piece(view.text, span))),
        };
        let matched = Match { entry, captures };
        if !matched.fits() {
            return Lookup::CaptureMisfit(entry.id);
        }
        match check(&first) {
            Ok(doubtful) => Lookup::Route(matched.wavering(doubtful, folding(entry, &first))),
            Err(misreading) => Lookup::Ambiguous(Some(matched.wavering(u32::MAX, u32::MAX)), misreading),
        }
    }
}

/// The bit of a capture.
fn bit(number: usize) -> u32 {
    u32::try_from(number).ok().and_then(|number| 1_u32.checked_shl(number)).unwrap_or(u32::MAX)
}

/// Captures that hold these texts, as they are shown.
fn owned<'v>(texts: impl Iterator<Item = &'v str>) -> Captures<'static> {
    let (mut text, mut spans) = (String::new(), Spans::new());
    for value in texts {
        let start = text.len();
        text.push_str(&shown(value));
        spans.push((start, text.len()));
    }
    Captures { text: Cow::Owned(text), spans, ..Captures::default() }
}

/// The captures that an upstream which may fold letters may read differently.
fn folding(entry: &RouteEntry, first: &First<'_, '_>) -> u32 {
    if first.view.folded || entry.quirks.reading(ReadingKind::Case) != Reading::Unknown {
        return 0;
    }
    let is_uuid = |number: &usize| matches!(entry.types.get(*number), Some(Some(ValueType::Uuid)));
    let wavers = |number: &usize| !is_uuid(number) && !is_folded(first.capture(*number));
    (0..entry.pattern.captures().len()).filter(wavers).fold(0, |bits, number| bits | bit(number))
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
