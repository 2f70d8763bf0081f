//! http.md, "Canonical request target" and "Second readings", and policy.md, "Routes": a slow, obvious router. It makes
//! every combination of readings in every order, on the request and on every pattern anew, and matches by trying every
//! pattern.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::servers::{
    Atom, Captures, Segment, Segments, Values, Way, atoms, best, folded, kind, see, see_pattern, segment_atoms, unfold,
    ways, written,
};
use super::{Charset, EmptySegments, PathRules, Quirks, Reading, ReadingKind};

/// A route as the router sees it.
#[derive(Debug, Clone)]
pub(crate) struct Entry<T> {
    /// Base path included.
    pub(crate) pattern: String,
    /// Every method that it takes.
    pub(crate) methods: Vec<String>,
    /// A type for each capture, in the order of the pattern.
    pub(crate) types: Vec<Option<T>>,
    pub(crate) quirks: Quirks,
}

impl<T> Entry<T> {
    /// How its server may read paths.
    fn ways(&self) -> Vec<Way> {
        ways(&self.quirks, &pattern_atoms(&self.pattern))
    }
}

/// What a text must look like.
pub(crate) trait Type: Clone + PartialEq {
    fn fits(&self, text: &str) -> bool;
    fn is_uuid(&self) -> bool;
}

/// What a capture holds, and whether that depends on who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Captured {
    pub(crate) name: String,
    pub(crate) text: Option<String>,
    pub(crate) wavers: bool,
    /// In more than the case of letters.
    pub(crate) is_doubtful: bool,
}

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// A capture does not have its type.
    Misfit(usize),
    /// The routes of the shape.
    MethodNotAllowed(Vec<usize>),
    /// With what matched first.
    Ambiguous(Option<(usize, Vec<Captured>)>),
    Route(usize, Vec<Captured>),
}

/// The canonical path and the query; nothing for what is refused.
pub(crate) fn canonical(target: &str, rules: PathRules) -> Option<(String, Option<&str>)> {
    let (raw, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let bad_query = |byte: u8| !(0x21..=0x7e).contains(&byte) || byte == b'#';
    if query.is_some_and(|query| query.bytes().any(bad_query)) || !raw.starts_with('/') {
        return None;
    }
    let mut path = String::new();
    let mut rest = raw;
    while let Some(letter) = rest.chars().next() {
        if letter == '%' {
            let byte = u8::from_str_radix(rest.get(1..3).filter(|hex| !hex.contains('+'))?, 16).ok()?;
            if byte < 0x20 || byte == 0x7f {
                return None;
            }
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                path.push(char::from(byte));
            } else {
                path += &format!("%{byte:02X}");
            }
            rest = &rest[3..];
            continue;
        }
        if matches!(letter, '\\' | '#') || letter.is_control() || !letter.is_ascii() {
            return None;
        }
        if letter.is_ascii_alphanumeric() || "-._~/:@!$&'()*+,;=".contains(letter) {
            path.push(letter);
        } else {
            path += &format!("%{:02X}", u32::from(letter));
        }
        rest = &rest[1..];
    }
    match rules.empty_segments {
        EmptySegments::Refuse if path.contains("//") => return None,
        EmptySegments::Merge => {
            while path.contains("//") {
                path = path.replace("//", "/");
            }
        }
        EmptySegments::Refuse | EmptySegments::Keep => {}
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return None;
    }
    if rules.charset == Charset::Utf8 {
        // An escape that stays encoded ends a character as every other ASCII character does.
        let text = String::from_utf8(unescaped(&path)).ok()?;
        if text.chars().any(char::is_control) {
            return None;
        }
    }
    Some((path, query))
}

fn unescaped(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}

/// The names of a pattern's captures, in order.
pub(crate) fn captures_of(pattern: &str) -> Vec<String> {
    let opened = pattern.split('{').skip(1);
    opened.map(|rest| rest.split('}').next().unwrap().trim_start_matches('*').to_owned()).collect()
}

/// Segments of a pattern.
fn pattern_atoms(pattern: &str) -> Segments {
    let mut number = 0;
    let mut hole = |written: &str| {
        number += 1;
        if written.starts_with("{*") { Atom::Rest(number - 1) } else { Atom::Hole(number - 1) }
    };
    let segment = |written: &str| -> Segment {
        let (Some(open), Some(close)) = (written.find('{'), written.find('}')) else { return literal(written) };
        let hole = hole(&written[open..=close]);
        [literal(&written[..open]), vec![hole], literal(&written[close + 1..])].concat()
    };
    pattern.split('/').skip(1).map(segment).collect()
}

/// Text of a pattern: percent-decoded, but for the escapes that stay.
fn literal(written: &str) -> Segment {
    let escaped: String = written
        .chars()
        .map(|letter| if letter.is_ascii() { letter.to_string() } else { percent(letter.to_string().as_bytes()) })
        .collect();
    segment_atoms(&escaped, Charset::Utf8)
}

fn percent(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// A path, the number of what the patterns are read as, and which readings were made.
type Seen = (Segments, usize, BTreeSet<ReadingKind>);

/// What the patterns of a table are read as: reading them again and again is most of the work, so it is done once.
#[derive(Debug)]
struct Versions {
    all: Vec<Vec<Option<Segments>>>,
    read: HashMap<(usize, Way), usize>,
    rules: PathRules,
}

impl Versions {
    fn new(patterns: Vec<Option<Segments>>, rules: PathRules) -> Self {
        Self { all: vec![patterns], read: HashMap::new(), rules }
    }

    /// The number of what patterns become that are read one way more.
    fn after(&mut self, version: usize, way: Way) -> usize {
        if let Some(known) = self.read.get(&(version, way)) {
            return *known;
        }
        let read: Vec<_> =
            self.all[version].iter().map(|pattern| see_pattern(way, pattern.as_ref()?, self.rules)).collect();
        let number = self.all.iter().position(|known| *known == read).unwrap_or_else(|| {
            self.all.push(read);
            self.all.len() - 1
        });
        self.read.insert((version, way), number);
        number
    }
}

/// Everything that servers may see of a path; `None` when one of them sees what cannot be trusted.
fn everything(start: Seen, ways: &[Way], versions: &mut Versions, seen: &mut HashSet<Seen>) -> Option<()> {
    if !seen.insert(start.clone()) {
        return Some(());
    }
    let (path, version, done) = start;
    for way in ways.iter().copied() {
        let last = [ReadingKind::TrailingSlash, ReadingKind::Case];
        let too_late = done.contains(&ReadingKind::Case) || (done.iter().any(|k| last.contains(k)) && way != Way::Fold);
        if done.contains(&kind(way)) || too_late {
            continue;
        }
        let mut done = done.clone();
        done.insert(kind(way));
        let next = (see(way, &path, versions.rules)?, versions.after(version, way), done);
        everything(next, ways, versions, seen)?;
    }
    Some(())
}

/// The readings that some route's server always does, and so the match itself.
fn always<T>(entries: &[Entry<T>]) -> BTreeSet<ReadingKind> {
    let declared = |kind: &ReadingKind| entries.iter().any(|entry| entry.quirks.reading(*kind) == Reading::Always);
    ReadingKind::ALL.into_iter().filter(declared).collect()
}

/// The routes of one table.
#[derive(Debug)]
pub(crate) struct Table<T> {
    entries: Vec<Entry<T>>,
    rules: PathRules,
    versions: RefCell<Versions>,
}

impl<T: Type> Table<T> {
    pub(crate) fn new(entries: Vec<Entry<T>>, rules: PathRules) -> Self {
        let patterns = entries.iter().map(|entry| Some(pattern_atoms(&entry.pattern))).collect();
        Self { entries, rules, versions: RefCell::new(Versions::new(patterns, rules)) }
    }

    /// Which of the routes a request with this canonical path is for.
    pub(crate) fn route(&self, method: &str, path: &str) -> Found {
        let (entries, rules) = (&self.entries, self.rules);
        let versions = &mut *self.versions.borrow_mut();
        let path = atoms(path, rules.charset);
        let always = always(entries);
        // The match itself: every `always`, the segments' decoding first. Letters of captures stay, so fold only to match.
        let order = [Way::Decode, Way::Slash, Way::Parameters, Way::Dots, Way::TrailingSlash];
        let (mut first, mut version) = (path.clone(), 0);
        for way in order.into_iter().filter(|way| always.contains(&kind(*way))) {
            let Some(seen) = see(way, &first, rules) else { return Found::Ambiguous(None) };
            first = seen;
            version = versions.after(version, way);
        }
        let matched = if always.contains(&ReadingKind::Case) {
            version = versions.after(version, Way::Fold);
            let patterns = &versions.all[version];
            let found = best(patterns, &see(Way::Fold, &first, rules).unwrap());
            // Folding changes no lengths in characters, so the captures are where they were.
            found
                .into_iter()
                .map(|(index, captures)| (index, unfold(patterns[index].as_ref(), &first, &captures)))
                .collect()
        } else {
            best(&versions.all[version], &first)
        };
        if matched.is_empty() {
            return Found::Nothing;
        }
        let takes = |index: usize| entries[index].methods.iter().any(|one| one == method);
        let Some((index, captures)) = matched.iter().find(|(index, _)| takes(*index)) else {
            return Found::MethodNotAllowed(matched.iter().map(|(index, _)| *index).collect());
        };
        let entry = &entries[*index];
        if misfits(entry, captures) {
            return Found::Misfit(*index);
        }
        let captured =
            |is_doubtful: &dyn Fn(usize) -> bool, folds: &dyn Fn(usize, &Segment) -> bool| -> Vec<Captured> {
                let of = |(number, name): (usize, String)| {
                    let value = captures.get(&number).cloned().unwrap_or_default();
                    let text = (!value.is_empty()).then(|| written(&value));
                    let is_doubtful = is_doubtful(number);
                    Captured { name, text, wavers: is_doubtful || folds(number, &value), is_doubtful }
                };
                captures_of(&entry.pattern).into_iter().enumerate().map(of).collect()
            };
        let ambiguous = || Found::Ambiguous(Some((*index, captured(&|_| true, &|_, _| true))));
        let mut seen = HashSet::new();
        if everything((path, 0, BTreeSet::new()), &entry.ways(), versions, &mut seen).is_none() {
            return ambiguous();
        }
        let complete = seen.iter().filter(|(_, _, done)| done.is_superset(&always));
        let different: BTreeSet<_> =
            complete.map(|(path, version, done)| (path, version, done.contains(&ReadingKind::Case))).collect();
        let mut values = Values::default();
        for (path, version, folds) in different {
            let found = best(&versions.all[*version], path);
            let found: Vec<_> = found.into_iter().filter(|(index, _)| takes(*index)).collect();
            let [(again, captures)] = found.as_slice() else { return ambiguous() };
            if again != index {
                return ambiguous();
            }
            for number in 0..entry.types.len() {
                let value = captures.get(&number).cloned().unwrap_or_default();
                values.add(number, value, folds);
            }
        }
        let folds = |number: usize, value: &Segment| {
            let is_uuid = entry.types[number].as_ref().is_some_and(Type::is_uuid);
            entry.quirks.case == Reading::Unknown && !is_uuid && !folded(value)
        };
        Found::Route(*index, captured(&|number| values.differ(number), &folds))
    }

    /// Pairs of routes that are one shape where they must not be.
    pub(crate) fn conflicting(&self) -> BTreeSet<(usize, usize)> {
        let entries = &self.entries;
        let versions = &mut *self.versions.borrow_mut();
        let always = always(entries);
        let order = [Way::Decode, Way::Slash, Way::Parameters, Way::Dots, Way::TrailingSlash, Way::Fold];
        let ways = order.into_iter().filter(|way| always.contains(&kind(*way)));
        let matched = ways.fold(0, |version, way| versions.after(version, way));
        // What each upstream may read the patterns as; the path takes no part.
        let read: Vec<BTreeSet<usize>> = entries
            .iter()
            .map(|entry| {
                let mut seen = HashSet::new();
                everything((vec![vec![]], 0, BTreeSet::new()), &entry.ways(), versions, &mut seen).unwrap();
                let complete = seen.into_iter().filter(|(_, _, done)| done.is_superset(&always));
                complete.map(|(_, version, _)| version).collect()
            })
            .collect();
        let mut pairs = BTreeSet::new();
        for (one, first) in entries.iter().enumerate() {
            for (other, second) in entries.iter().enumerate().skip(one + 1) {
                let methods = first.methods.iter().any(|method| second.methods.contains(method));
                let types = first.types != second.types;
                let equal = |version: usize| match (&versions.all[version][one], &versions.all[version][other]) {
                    (Some(one), Some(other)) => nameless(one) == nameless(other),
                    _ => false,
                };
                let same = (equal(0) || equal(matched)) && (methods || types);
                if same || methods && read[one].union(&read[other]).any(|version| equal(*version)) {
                    pairs.insert((one, other));
                }
            }
        }
        pairs
    }
}

/// The shape of a pattern: what it is but for the names of its captures.
fn nameless(pattern: &Segments) -> Segments {
    let atom = |atom: &Atom| match atom {
        Atom::Hole(_) => Atom::Hole(0),
        Atom::Rest(_) => Atom::Rest(0),
        other => *other,
    };
    pattern.iter().map(|segment| segment.iter().map(atom).collect()).collect()
}

/// Whether a capture's value is not of its type.
fn misfits<T: Type>(entry: &Entry<T>, captures: &Captures) -> bool {
    entry.types.iter().enumerate().any(|(number, kind)| match (kind, captures.get(&number)) {
        (Some(kind), Some(value)) => !value.is_empty() && !kind.fits(&written(value)),
        _ => false,
    })
}
