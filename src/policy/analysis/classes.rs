//! Which route of either side a request may arrive at: every pair of routes that some request has, with a class of paths
//! for it.
//!
//! Both tables are walked together, segment by segment, with every text that some pattern names, with texts that none does,
//! and with spellings of those texts that servers read differently (http.md, "Second readings"). Where both tables route every
//! request alike, the pairs are known without a walk.

mod walk;

use std::collections::{BTreeSet, HashSet};

use crate::policy::host::HostKey;
use crate::policy::route::RouteId;
use crate::policy::routing::{RouteEntry, Shape, shape};
use crate::policy::table::Table;

use super::axis::Choice;
use super::same::{Sides, routed_alike};
use super::scene::{Frame, Piece};
use walk::Walk;

/// A host, or all hosts that differ in their first label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostClass {
    /// The host, or what follows its first label.
    pub(super) host: String,
    /// Whether the first label is open.
    pub(super) label: bool,
}

/// Requests that arrive at one route of the old side and one of the new.
#[derive(Debug)]
pub(super) struct Class {
    /// Where the old side's requests arrive.
    pub(super) old: Option<RouteId>,
    /// Where the new side's requests arrive.
    pub(super) new: Option<RouteId>,
    /// Their paths.
    pub(super) frames: Vec<Frame>,
    /// Their methods.
    pub(super) methods: BTreeSet<String>,
    /// A second reading stands in the way on one side only.
    pub(super) read_differently: bool,
    /// There are more kinds of paths than frames.
    pub(super) more: bool,
}

/// Every class of a host, and whether the walk came to its end.
#[derive(Debug, Default)]
pub(super) struct Classes {
    /// The classes.
    pub(super) all: Vec<Class>,
    /// Segments that some pattern names.
    pub(super) taken: BTreeSet<String>,
    /// Why there may be others.
    pub(super) gap: Option<String>,
}

/// Every host that some policy names, and one for each pattern.
pub(super) fn hosts(sides: &Sides<'_>) -> BTreeSet<HostClass> {
    let keys: Vec<HostKey> =
        [sides.old, sides.new].into_iter().flat_map(|side| side.policies.tables.hosts.keys()).collect();
    let exact: HashSet<&str> =
        keys.iter().filter_map(|key| if let HostKey::Exact(host) = key { Some(host.as_str()) } else { None }).collect();
    let unnamed =
        (0..=exact.len()).map(|number| format!("host{number}.invalid")).find(|host| !exact.contains(host.as_str()));
    let class = |key: &HostKey| match key {
        HostKey::Exact(host) => Some(HostClass { host: host.clone(), label: false }),
        HostKey::FirstLabelOpen(rest) => Some(HostClass { host: rest.clone(), label: true }),
        HostKey::Any => unnamed.clone().map(|host| HostClass { host, label: false }),
    };
    keys.iter().filter_map(class).collect()
}

impl HostClass {
    /// A host of the class.
    pub(super) fn sample(&self) -> String {
        if self.label { format!("tenant.{}", self.host) } else { self.host.clone() }
    }
}

/// Every class of requests to a host.
pub(super) fn classes(sides: &Sides<'_>, host: &HostClass) -> Classes {
    let sample = host.sample();
    let (old, new) = (sides.old.table(&sample), sides.new.table(&sample));
    let mut classes = Classes { taken: taken([old, new]), ..Classes::default() };
    let alike = old.zip(new).and_then(|(old, new)| routed_alike(old, new));
    if let (Some(pairs), Some(table)) = (alike, old) {
        for (old, new) in pairs {
            let methods: BTreeSet<String> = old.methods.names().map(str::to_owned).collect();
            let Some(method) = old.methods.names().next() else { continue };
            let frame = frame_of(old, host, method, (table, &fresh(&classes.taken)));
            let (old, new) = (Some(old.id), Some(new.id));
            classes.all.push(Class { old, new, frames: vec![frame], methods, read_differently: false, more: false });
        }
        classes.all.push(strays(sides, table, host, &fresh(&classes.taken)));
        return classes;
    }
    (classes.all, classes.gap) = Walk::new(sides, host, [old, new]).run();
    // Where more paths lead nowhere than there are frames, each document has one of them at least.
    if classes.all.iter().any(|class| class.old.is_none() && class.new.is_none() && class.more) {
        let fresh = fresh(&classes.taken);
        classes.all.extend([old, new].into_iter().flatten().map(|table| strays(sides, table, host, &fresh)));
    }
    classes
}

/// Literal segments of all patterns.
pub(super) fn taken(tables: [Option<&Table>; 2]) -> BTreeSet<String> {
    let entries = tables.into_iter().flatten().flat_map(|table| table.router.entries());
    let literal = |segment: &String| match shape(segment) {
        Shape::Literal(text) => Some(text.to_owned()),
        Shape::Mixed { .. } | Shape::Capture(_) | Shape::Rest(_) => None,
    };
    entries.flat_map(|entry| entry.pattern.segments().iter().filter_map(literal)).collect()
}

/// A segment that no pattern names.
pub(super) fn fresh(taken: &BTreeSet<String>) -> String {
    (1..=taken.len() + 1).map(|number| format!("a{number}")).find(|text| !taken.contains(text)).unwrap_or_default()
}

/// The paths of one pattern.
pub(super) fn frame_of(entry: &RouteEntry, host: &HostClass, method: &str, (table, fresh): (&Table, &str)) -> Frame {
    let mut pieces = Vec::new();
    let mut tail = false;
    for segment in entry.pattern.segments() {
        match shape(segment) {
            Shape::Literal(text) => pieces.push(Piece::Fixed(text.to_owned())),
            Shape::Mixed { prefix, suffix, .. } => pieces.push(Piece::Open(format!("{prefix}{fresh}{suffix}"))),
            Shape::Capture(_) => pieces.push(Piece::Open(fresh.to_owned())),
            Shape::Rest(_) => tail = true,
        }
    }
    let (host, label) = (host.host.clone(), host.label);
    Frame { method: method.to_owned(), host, label, pieces, tail, charset: table.rules.charset }
}

/// Requests that no route matches: one under the base path of every document, which may observe.
fn strays(sides: &Sides<'_>, table: &Table, host: &HostClass, fresh: &str) -> Class {
    let bases: BTreeSet<&str> = table.documents.iter().map(|document| &*document.base_path).collect();
    let frames = bases.into_iter().map(|base| {
        let segments = base.split('/').filter(|segment| !segment.is_empty()).chain([fresh, fresh]);
        let plain = |segment: &str| if segment.contains('{') { fresh.to_owned() } else { segment.to_owned() };
        let pieces = segments.map(|segment| Piece::Fixed(plain(segment))).collect();
        let (host, label) = (host.host.clone(), host.label);
        Frame { method: "GET".to_owned(), host, label, pieces, tail: false, charset: table.rules.charset }
    });
    let is_astray = |frame: &Frame| {
        let scene = frame.scene(&Choice::new(), &[]);
        scene.is_some_and(|scene| [sides.old, sides.new].iter().all(|side| side.position(&scene).route.is_none()))
    };
    let (frames, methods) = (frames.filter(is_astray).collect(), BTreeSet::new());
    Class { old: None, new: None, frames, methods, read_differently: false, more: false }
}

#[cfg(test)]
mod tests;
