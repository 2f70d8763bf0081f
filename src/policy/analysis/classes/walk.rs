//! Both tables walked together, segment by segment.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::policy::analysis::axis::Choice;
use crate::policy::analysis::half::Position;
use crate::policy::analysis::same::Sides;
use crate::policy::analysis::scene::{Frame, Piece};
use crate::policy::analysis::spelling::spellings;
use crate::policy::route::RouteId;
use crate::policy::routing::{MethodSet, PathPattern, RouteEntry, Shape, shape};
use crate::policy::table::Table;
use crate::target::canonical::KEPT_SLASH;
use crate::target::fold::fold_letter;
use crate::target::quirks::{Reading, ReadingKind};

use super::{Class, HostClass, fresh, taken};

/// Places in both trees that are looked at.
const MOST_STEPS: usize = 200_000;
/// Classes of paths for one pair of routes.
const MOST_FRAMES: usize = 32;

/// Whether the servers of a table read paths in a way of their own always.
fn reads_otherwise(table: &Table) -> bool {
    let always =
        |entry: &RouteEntry| ReadingKind::ALL.into_iter().any(|kind| entry.quirks.reading(kind) == Reading::Always);
    table.router.entries().iter().any(always)
}

/// The routes of a table, if there is one.
fn entries(table: Option<&Table>) -> &[RouteEntry] {
    table.map_or(&[], |table| table.router.entries())
}

/// A pattern on its way: which side, which entry, and how many of its segments are behind.
type Place = (usize, usize, usize);

/// A place in both trees.
#[derive(Debug, Clone, Default)]
struct Step {
    path: Vec<String>,
    /// Patterns that may still match.
    live: Vec<Place>,
    /// Patterns whose rest has begun.
    rests: Vec<Place>,
    /// A segment is spelt in a way that has a second reading.
    odd: bool,
    /// Segments that some pattern names in another spelling: which spelling it is tells where the path leads.
    spelt: Vec<String>,
}

/// Depth, patterns that may still match, patterns whose rest has begun, and segments that are spelt otherwise.
type Seen = (usize, Vec<Place>, Vec<Place>, Vec<String>);

/// Shapes that a segment may have, with the pattern of each.
type Shapes<'s> = [(Place, Shape<'s>)];

/// A segment in a spelling that servers may read otherwise.
#[derive(Debug, Default)]
struct Odd {
    /// What it may be read as.
    like: BTreeSet<String>,
    /// Patterns of which it may be read as several segments, behind those.
    places: Vec<Place>,
}

impl Step {
    /// The place behind one segment more.
    fn with(&self, shapes: &Shapes<'_>, text: String, odd: &Odd, is_odd: bool) -> Self {
        let fits = |shape: &Shape<'_>| matches(shape, &text) || odd.like.iter().any(|like| matches(shape, like));
        let matching = || shapes.iter().filter(|(_, shape)| fits(shape));
        let mut spelt = self.spelt.clone();
        if is_odd || matching().any(|(_, shape)| !is_written(shape, &text)) {
            spelt.push(text.clone());
        }
        let next = matching().map(|((side, at, behind), _)| (*side, *at, behind + 1));
        let live = next.chain(odd.places.iter().copied()).collect();
        let path = self.path.iter().cloned().chain([text]).collect();
        Self { path, live, rests: self.rests.clone(), odd: self.odd || is_odd, spelt }
    }
}

/// A walk through both trees.
pub(super) struct Walk<'w, 's> {
    sides: &'w Sides<'s>,
    host: &'w HostClass,
    tables: [Option<&'s Table>; 2],
    /// The patterns of each side's routes.
    patterns: [HashMap<RouteId, &'s PathPattern>; 2],
    methods: Vec<String>,
    fresh: String,
    /// Some server reads paths in another way always, so that other spellings arrive where nothing is open.
    folding: bool,
    seen: HashSet<Seen>,
    found: BTreeMap<(Option<RouteId>, Option<RouteId>, bool), Class>,
    gap: Option<String>,
}

impl<'w, 's> Walk<'w, 's> {
    /// Before the first step.
    pub(super) fn new(sides: &'w Sides<'s>, host: &'w HostClass, tables: [Option<&'s Table>; 2]) -> Self {
        let mut methods: BTreeSet<String> = MethodSet::usual().names().map(str::to_owned).collect();
        for entry in tables.into_iter().flat_map(entries) {
            methods.extend(entry.methods.names().map(str::to_owned));
        }
        methods.insert("UNLISTED".to_owned());
        let of = |table| entries(table).iter().map(|entry| (entry.id, &entry.pattern)).collect();
        Self {
            patterns: tables.map(of),
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
        entries(self.tables.get(side).copied().flatten())
    }

    /// What remains of a pattern.
    fn remaining(&self, (side, at, behind): Place) -> &'s [String] {
        self.entries(side).get(at).and_then(|entry| entry.pattern.segments().get(behind..)).unwrap_or_default()
    }

    /// The shape that a pattern has next.
    fn next(&self, place: Place) -> Option<Shape<'s>> {
        self.remaining(place).first().map(|segment| shape(segment))
    }

    /// Every class, and why there may be others.
    pub(super) fn run(mut self) -> (Vec<Class>, Option<String>) {
        let live = (0..2).flat_map(|side| (0..self.entries(side).len()).map(move |at| (side, at, 0))).collect();
        // Odd spellings come last, so that classes are shown by plain paths where there are any.
        let mut open = VecDeque::from([Step { live, ..Step::default() }]);
        while let Some(mut step) = open.pop_front() {
            let depth = step.path.len();
            let (begun, live): (Vec<_>, Vec<_>) =
                step.live.into_iter().partition(|place| matches!(self.next(*place), Some(Shape::Rest(_))));
            step.live = live;
            step.rests.extend(begun);
            if !self.seen.insert((depth, step.live.clone(), step.rests.clone(), step.spelt.clone())) {
                continue;
            }
            if self.seen.len() > MOST_STEPS {
                self.gap = Some("the routes make too many different paths".to_owned());
                break;
            }
            self.arrive(&step.path);
            if step.path.last().is_none_or(|last| !last.is_empty()) {
                self.arrive(&step.path.iter().cloned().chain([String::new()]).collect::<Vec<_>>());
            }
            self.longer(&step, &mut open);
        }
        (self.found.into_values().collect(), self.gap)
    }

    /// Every path that is one segment longer, as far as some pattern tells it apart.
    fn longer(&self, step: &Step, open: &mut VecDeque<Step>) {
        let shapes: Vec<_> = step.live.iter().filter_map(|place| Some((*place, self.next(*place)?))).collect();
        if shapes.is_empty() && (step.rests.is_empty() || step.path.last() == Some(&self.fresh)) {
            return;
        }
        for text in self.plain(&shapes) {
            let like = Odd { like: BTreeSet::from([text.clone()]), places: Vec::new() };
            open.push_front(step.with(&shapes, text, &like, false));
        }
        let is_open = !step.rests.is_empty() || shapes.iter().any(|(_, shape)| !matches!(shape, Shape::Literal(_)));
        if (is_open || self.folding) && !step.odd {
            open.extend(self.odd(&shapes).into_iter().map(|(text, odd)| step.with(&shapes, text, &odd, true)));
        }
    }

    /// A text of every kind that the shapes tell apart.
    fn plain(&self, shapes: &Shapes<'s>) -> BTreeSet<String> {
        let mut texts = BTreeSet::from([self.fresh.clone()]);
        let suffixes = || {
            shapes.iter().filter_map(|(_, shape)| match shape {
                Shape::Mixed { suffix, .. } => Some(*suffix),
                Shape::Literal(_) | Shape::Capture(_) | Shape::Rest(_) => None,
            })
        };
        texts.extend(suffixes().map(|suffix| format!("{}{suffix}", self.fresh)));
        for (_, shape) in shapes {
            match shape {
                Shape::Literal(text) => {
                    texts.insert((*text).to_owned());
                }
                Shape::Mixed { prefix, .. } => {
                    texts.extend(suffixes().chain([""]).map(|suffix| format!("{prefix}{}{suffix}", self.fresh)));
                }
                Shape::Capture(_) | Shape::Rest(_) => {}
            }
        }
        texts
    }

    /// Texts that servers may read otherwise.
    fn odd(&self, shapes: &Shapes<'s>) -> BTreeMap<String, Odd> {
        let mut odd: BTreeMap<String, Odd> = BTreeMap::new();
        for text in self.plain(shapes) {
            for spelt in spellings(&text) {
                odd.entry(spelt).or_default().like.insert(text.clone());
            }
        }
        for (place, _) in shapes {
            for (text, behind) in self.joined(*place) {
                odd.entry(text).or_default().places.push(behind);
            }
        }
        odd
    }

    /// A text of a shape.
    fn sample(&self, shape: &Shape<'_>) -> String {
        match shape {
            Shape::Literal(text) => (*text).to_owned(),
            Shape::Mixed { prefix, suffix, .. } => format!("{prefix}{}{suffix}", self.fresh),
            Shape::Capture(_) | Shape::Rest(_) => self.fresh.clone(),
        }
    }

    /// What follows in a pattern and one segment more, some of it as one segment: for servers that take an encoded slash for a
    /// slash, be it encoded once or twice. With the place behind it.
    fn joined(&self, (side, at, behind): Place) -> Vec<(String, Place)> {
        let remaining = self.remaining((side, at, behind)).iter().map(|segment| self.sample(&shape(segment)));
        let mut texts = remaining.chain([self.fresh.clone()]);
        let mut whole = vec![texts.next().unwrap_or_default(); 2];
        let mut joined = Vec::new();
        for (count, text) in (2..).zip(texts) {
            for (whole, slash) in whole.iter_mut().zip([KEPT_SLASH.to_string(), "%2F".to_owned()]) {
                whole.push_str(&slash);
                whole.push_str(&text);
                joined.push((whole.clone(), (side, at, behind + count)));
            }
        }
        joined
    }

    /// Notes where requests for a path arrive.
    fn arrive(&mut self, path: &[String]) {
        let charset = self.tables.iter().flatten().next().map(|table| table.rules.charset).unwrap_or_default();
        for method in self.methods.clone() {
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
        let patterns = [old.route, new.route].into_iter().zip(&self.patterns);
        let patterns: Vec<&PathPattern> = patterns.filter_map(|(id, all)| all.get(&id?).copied()).collect();
        let mut tail = !patterns.is_empty();
        for pattern in &patterns {
            let rest = pattern.segments().iter().position(|segment| matches!(shape(segment), Shape::Rest(_)));
            tail &= rest.is_some_and(|rest| rest <= path.len());
        }
        for (at, piece) in frame.pieces.iter_mut().enumerate() {
            let literal = |pattern: &&PathPattern| {
                let segment = pattern.segments().get(at).map(|segment| shape(segment));
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
    let folded = |text| str::chars(text).map(fold_letter);
    match shape {
        Shape::Literal(literal) => folded(literal).eq(folded(text)),
        Shape::Mixed { prefix, suffix, .. } => has_ends(folded(text), folded(prefix), folded(suffix)),
        Shape::Capture(_) => !text.is_empty(),
        Shape::Rest(_) => true,
    }
}

/// Whether a segment of a pattern that matches, case aside, has the very letters of a text.
fn is_written(shape: &Shape<'_>, text: &str) -> bool {
    match shape {
        Shape::Literal(literal) => *literal == text,
        Shape::Mixed { prefix, suffix, .. } => has_ends(text.chars(), prefix.chars(), suffix.chars()),
        Shape::Capture(_) | Shape::Rest(_) => true,
    }
}

/// Whether a text begins and ends so, with something between.
fn has_ends<T: DoubleEndedIterator<Item = char>>(mut text: T, mut prefix: T, suffix: T) -> bool {
    prefix.all(|letter| text.next() == Some(letter))
        && suffix.rev().all(|letter| text.next_back() == Some(letter))
        && text.next().is_some()
}
