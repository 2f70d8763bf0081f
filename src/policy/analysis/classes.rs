//! Which route of either side a request may arrive at: every pair of routes that some request has, with a class of paths
//! for it.
//!
//! Both tables are walked together, segment by segment, with every text that some pattern names, with texts that none does,
//! and with spellings of those texts that servers read differently (http.md, "Second readings"). Where both tables route every
//! request alike, the pairs are known without a walk.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use crate::policy::host::HostKey;
use crate::policy::route::RouteId;
use crate::policy::routing::{MethodSet, RouteEntry, Shape, shape};
use crate::policy::table::Table;
use crate::target::canonical::KEPT_SLASH;
use crate::target::fold::fold_text;
use crate::target::quirks::{Reading, ReadingKind};

use super::axis::Choice;
use super::half::Position;
use super::same::{Sides, routed_alike};
use super::scene::{Frame, Piece};

/// Places in both trees that are looked at.
const MOST_STEPS: usize = 200_000;
/// Classes of paths for one pair of routes.
const MOST_FRAMES: usize = 32;

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
        classes.all.push(strays(table, host, &fresh(&classes.taken)));
        return classes;
    }
    let mut walk = Walk::new(sides, host, [old, new]);
    walk.run();
    classes.gap = walk.gap.take();
    classes.all = walk.found.into_values().collect();
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
fn strays(table: &Table, host: &HostClass, fresh: &str) -> Class {
    let bases: BTreeSet<&str> = table.documents.iter().map(|document| &*document.base_path).collect();
    let frames = bases.into_iter().map(|base| {
        let segments = base.split('/').filter(|segment| !segment.is_empty()).chain([fresh, fresh]);
        let plain = |segment: &str| if segment.contains('{') { fresh.to_owned() } else { segment.to_owned() };
        let pieces = segments.map(|segment| Piece::Fixed(plain(segment))).collect();
        let (host, label) = (host.host.clone(), host.label);
        Frame { method: "GET".to_owned(), host, label, pieces, tail: false, charset: table.rules.charset }
    });
    let (frames, methods) = (frames.collect(), BTreeSet::new());
    Class { old: None, new: None, frames, methods, read_differently: false, more: false }
}

/// Whether the servers of a table read paths in a way of their own always.
fn reads_otherwise(table: &Table) -> bool {
    let always =
        |entry: &RouteEntry| ReadingKind::ALL.into_iter().any(|kind| entry.quirks.reading(kind) == Reading::Always);
    table.router.entries().iter().any(always)
}

/// A place in both trees.
#[derive(Debug, Clone)]
struct Step {
    path: Vec<String>,
    /// Patterns that may still match: which side, which entry.
    live: Vec<(usize, usize)>,
    /// Patterns whose rest has begun.
    rests: Vec<(usize, usize)>,
    /// A segment is spelt in a way that has a second reading.
    odd: bool,
}

/// Depth, patterns that may still match, patterns whose rest has begun, and whether a segment is odd.
type Seen = (usize, Vec<(usize, usize)>, Vec<(usize, usize)>, bool);

struct Walk<'w, 's> {
    sides: &'w Sides<'s>,
    host: &'w HostClass,
    tables: [Option<&'s Table>; 2],
    methods: Vec<String>,
    fresh: String,
    /// Some server reads paths in another way always, so that other spellings arrive where nothing is open.
    folding: bool,
    seen: HashSet<Seen>,
    found: BTreeMap<(Option<RouteId>, Option<RouteId>, bool), Class>,
    gap: Option<String>,
}

impl<'w, 's> Walk<'w, 's> {
    fn new(sides: &'w Sides<'s>, host: &'w HostClass, tables: [Option<&'s Table>; 2]) -> Self {
        let mut methods: BTreeSet<String> = MethodSet::usual().names().map(str::to_owned).collect();
        for entry in tables.into_iter().flatten().flat_map(|table| table.router.entries()) {
            methods.extend(entry.methods.names().map(str::to_owned));
        }
        methods.insert("UNLISTED".to_owned());
        Self {
            fresh: fresh(&taken(tables)),
            folding: tables.into_iter().flatten().any(reads_otherwise),
            sides,
            host,
            tables,
            methods: methods.into_iter().collect(),
            seen: HashSet::new(),
            found: BTreeMap::new(),
            gap: None,
        }
    }

    fn entries(&self, side: usize) -> &'s [RouteEntry] {
        self.tables.get(side).copied().flatten().map_or(&[], |table| table.router.entries())
    }

    fn entry(&self, (side, at): (usize, usize)) -> Option<&'s RouteEntry> {
        self.entries(side).get(at)
    }

    fn run(&mut self) {
        let live = (0..2).flat_map(|side| (0..self.entries(side).len()).map(move |at| (side, at))).collect();
        // Odd spellings come last, so that classes are shown by plain paths where there are any.
        let mut open = VecDeque::from([Step { path: Vec::new(), live, rests: Vec::new(), odd: false }]);
        while let Some(mut step) = open.pop_front() {
            let depth = step.path.len();
            let (begun, live): (Vec<_>, Vec<_>) = step.live.into_iter().partition(|at| {
                let segment = self.entry(*at).and_then(|entry| entry.pattern.segments().get(depth));
                segment.is_some_and(|segment| matches!(shape(segment), Shape::Rest(_)))
            });
            step.live = live;
            step.rests.extend(begun);
            if !self.seen.insert((depth, step.live.clone(), step.rests.clone(), step.odd)) {
                continue;
            }
            if self.seen.len() > MOST_STEPS {
                self.gap = Some("the routes make too many different paths".to_owned());
                return;
            }
            self.arrive(&step.path);
            if step.path.last().is_none_or(|last| !last.is_empty()) {
                self.arrive(&step.path.iter().cloned().chain([String::new()]).collect::<Vec<_>>());
            }
            self.longer(&step, &mut open);
        }
    }

    /// Every path that is one segment longer, as far as some pattern tells it apart.
    fn longer(&self, step: &Step, open: &mut VecDeque<Step>) {
        let depth = step.path.len();
        let shapes: Vec<((usize, usize), Shape<'s>)> = step
            .live
            .iter()
            .filter_map(|at| Some((*at, shape(self.entry(*at)?.pattern.segments().get(depth)?))))
            .collect();
        if shapes.is_empty() && (step.rests.is_empty() || depth > 0 && step.path.last() == Some(&self.fresh)) {
            return;
        }
        let is_open = !step.rests.is_empty() || shapes.iter().any(|(_, shape)| !matches!(shape, Shape::Literal(_)));
        let mut texts: BTreeSet<String> = BTreeSet::from([self.fresh.clone()]);
        let mut odd: BTreeMap<String, String> = BTreeMap::new();
        for (at, shape) in &shapes {
            match shape {
                Shape::Literal(text) => {
                    texts.insert((*text).to_owned());
                    if (is_open || self.folding) && !step.odd {
                        odd.extend(spellings(text).map(|spelt| (spelt, (*text).to_owned())));
                        odd.extend(self.joined(*at, depth).map(|spelt| (spelt, String::new())));
                    }
                }
                Shape::Mixed { prefix, .. } => {
                    let others = shapes.iter().filter_map(|(_, other)| match other {
                        Shape::Mixed { suffix, .. } => Some(*suffix),
                        Shape::Literal(_) | Shape::Capture(_) | Shape::Rest(_) => None,
                    });
                    texts.extend(others.chain([""]).map(|suffix| format!("{prefix}{}{suffix}", self.fresh)));
                    let others = shapes.iter().filter_map(|(_, other)| match other {
                        Shape::Mixed { suffix, .. } => Some(*suffix),
                        Shape::Literal(_) | Shape::Capture(_) | Shape::Rest(_) => None,
                    });
                    texts.extend(others.map(|suffix| format!("{}{suffix}", self.fresh)));
                }
                Shape::Capture(_) | Shape::Rest(_) => {}
            }
        }
        let plain = texts.into_iter().map(|text| (text.clone(), text, step.odd));
        for (text, like, odd) in plain.chain(odd.into_iter().map(|(text, like)| (text, like, true))) {
            let path = step.path.iter().cloned().chain([text.clone()]).collect();
            let matching = shapes.iter().filter(|(_, shape)| matches(shape, &text) || matches(shape, &like));
            let live = matching.map(|(at, _)| *at).collect();
            let next = Step { path, live, rests: step.rests.clone(), odd };
            if odd { open.push_back(next) } else { open.push_front(next) }
        }
    }

    /// The literals that remain of a pattern as one segment, for servers that take an encoded slash for a slash.
    fn joined(&self, at: (usize, usize), depth: usize) -> Option<String> {
        let remaining = self.entry(at)?.pattern.segments().get(depth..)?;
        let literals = remaining.iter().map(|segment| match shape(segment) {
            Shape::Literal(text) if !text.is_empty() => text.to_owned(),
            _ => self.fresh.clone(),
        });
        let literals: Vec<String> = literals.collect();
        (literals.len() > 1).then(|| literals.join(&KEPT_SLASH.to_string()))
    }

    /// Notes where requests for a path arrive.
    fn arrive(&mut self, path: &[String]) {
        for method in self.methods.clone() {
            let charset = self.tables.iter().flatten().next().map(|table| table.rules.charset).unwrap_or_default();
            let (host, label) = (self.host.host.clone(), self.host.label);
            let pieces = path.iter().cloned().map(Piece::Fixed).collect();
            let frame = Frame { method: method.clone(), host, label, pieces, tail: false, charset };
            let Some(scene) = frame.scene(&Choice::new(), &[]) else { continue };
            let (old, new) = (self.sides.old.position(&scene), self.sides.new.position(&scene));
            self.note(frame, path, method, (old, new));
        }
    }

    fn note(&mut self, mut frame: Frame, path: &[String], method: String, (old, new): (Position, Position)) {
        let differently = old.route.is_some() && new.route.is_some() && old.open != new.open;
        let patterns: Vec<&RouteEntry> = [(0, old.route), (1, new.route)]
            .into_iter()
            .filter_map(|(side, id)| self.entries(side).iter().find(|entry| Some(entry.id) == id))
            .collect();
        let mut tail = !patterns.is_empty();
        for pattern in &patterns {
            let rest = pattern.pattern.segments().iter().position(|segment| matches!(shape(segment), Shape::Rest(_)));
            tail &= rest.is_some_and(|rest| rest <= path.len());
        }
        for (at, piece) in frame.pieces.iter_mut().enumerate() {
            let literal = |entry: &&RouteEntry| {
                let segment = entry.pattern.segments().get(at).map(|segment| shape(segment));
                matches!((segment, path.get(at)), (Some(Shape::Literal(text)), Some(own)) if text == own)
            };
            if let Piece::Fixed(text) = piece
                && !patterns.iter().all(literal)
                && !text.is_empty()
            {
                *piece = Piece::Open(text.clone());
            }
        }
        frame.tail = tail && path.last().is_none_or(|last| !last.is_empty());
        let class = self.found.entry((old.route, new.route, differently)).or_insert_with(|| Class {
            old: old.route,
            new: new.route,
            frames: Vec::new(),
            methods: BTreeSet::new(),
            read_differently: differently,
            more: false,
        });
        class.methods.insert(method);
        let alike = |known: &Frame| {
            known.tail == frame.tail
                && known.pieces.len() == frame.pieces.len()
                && known.pieces.iter().zip(&frame.pieces).all(|(one, other)| {
                    one == other || matches!((one, other), (Piece::Open(_), Piece::Open(_)) if !differently)
                })
        };
        if !class.frames.iter().any(alike) {
            if class.frames.len() < MOST_FRAMES {
                class.frames.push(frame);
            } else {
                class.more = true;
            }
        }
    }
}

/// Whether a segment of a pattern matches, case aside.
fn matches(shape: &Shape<'_>, text: &str) -> bool {
    match shape {
        Shape::Literal(literal) => *literal == text || fold_text(literal) == fold_text(text),
        Shape::Mixed { prefix, suffix, .. } => {
            text.len() > prefix.len() + suffix.len() && text.starts_with(prefix) && text.ends_with(suffix)
        }
        Shape::Capture(_) => !text.is_empty(),
        Shape::Rest(_) => true,
    }
}

/// Other spellings of a segment that some servers read as this one.
fn spellings(text: &str) -> impl Iterator<Item = String> {
    let turned = if text.contains(|letter: char| letter.is_ascii_lowercase()) {
        text.to_ascii_uppercase()
    } else {
        text.to_ascii_lowercase()
    };
    let mut letters = text.chars();
    let twice = letters.next().map(|first| {
        let mut bytes = [0; 4];
        let escaped: Vec<String> = first.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("{}{}", escaped.concat(), letters.as_str())
    });
    let spelt = [Some(turned), Some(format!("{text};1")), Some(format!("{text}.")), twice];
    let own = text.to_owned();
    spelt.into_iter().flatten().filter(move |spelt| *spelt != own && !own.is_empty())
}
