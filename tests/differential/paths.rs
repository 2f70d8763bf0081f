//! http.md, "Canonical request target" and "Second readings", and policy.md, "Routes": a slow, obvious router. It makes
//! every combination of readings in every order, on the request and on every pattern anew, and matches by trying every
//! pattern.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Charset, EmptySegments, Quirks, Reading, ReadingKind, fold_letter};

/// A character of a segment, or what takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Atom {
    Char(char),
    /// `%2F`, `%5C` or `%3B` as it was sent.
    Kept(char),
    Hole(usize),
    Rest(usize),
}

type Segment = Vec<Atom>;
type Segments = Vec<Segment>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Way {
    Decode,
    DecodeSplit,
    Slash,
    OnlySlash,
    OnlyBackslash,
    Parameters,
    OnlyRawParameters,
    SemicolonIsOrdinary,
    Dots,
    TrailingSlash,
    Fold,
}

const WAYS: [Way; 11] = [
    Way::Decode,
    Way::DecodeSplit,
    Way::Slash,
    Way::OnlySlash,
    Way::OnlyBackslash,
    Way::Parameters,
    Way::OnlyRawParameters,
    Way::SemicolonIsOrdinary,
    Way::Dots,
    Way::TrailingSlash,
    Way::Fold,
];

/// What acts on paths before the upstream is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) empty_segments: EmptySegments,
    pub(crate) charset: Charset,
}

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
pub(crate) fn canonical(target: &str, rules: Rules) -> Option<(String, Option<&str>)> {
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

fn kind(way: Way) -> ReadingKind {
    match way {
        Way::Decode | Way::DecodeSplit => ReadingKind::DoubleDecoding,
        Way::Slash | Way::OnlySlash | Way::OnlyBackslash => ReadingKind::EncodedSlash,
        Way::Parameters | Way::OnlyRawParameters | Way::SemicolonIsOrdinary => ReadingKind::PathParameters,
        Way::Dots => ReadingKind::TrailingDot,
        Way::TrailingSlash => ReadingKind::TrailingSlash,
        Way::Fold => ReadingKind::Case,
    }
}

fn possible(way: Way, quirks: &Quirks) -> bool {
    match (way, quirks.reading(kind(way))) {
        (Way::SemicolonIsOrdinary, reading) => reading == Reading::Never,
        (Way::OnlySlash | Way::OnlyBackslash, reading) => reading == Reading::Unknown,
        (_, reading) => reading != Reading::Never,
    }
}

/// What a server that reads this way sees; `None` where it sees nothing that could be trusted.
fn see(way: Way, path: &Segments, rules: Rules) -> Option<Segments> {
    let mut seen = Segments::new();
    for segment in path {
        let cut = |at: Option<usize>| at.map_or(segment.clone(), |at| segment[..at].to_vec());
        let split = |at: &dyn Fn(&Atom) -> bool| segment.split(at).map(<[Atom]>::to_vec).collect::<Segments>();
        let new = match way {
            Way::Decode => vec![decode(segment, rules.charset)?],
            Way::DecodeSplit => decode_and_split(segment, rules.charset)?,
            Way::Slash => split(&|atom| matches!(atom, Atom::Kept('/' | '\\'))),
            Way::OnlySlash => split(&|atom| *atom == Atom::Kept('/')),
            Way::OnlyBackslash => split(&|atom| *atom == Atom::Kept('\\')),
            Way::Parameters => {
                vec![cut(segment.iter().position(|atom| matches!(atom, Atom::Char(';') | Atom::Kept(';'))))]
            }
            Way::OnlyRawParameters => {
                vec![ordinary(&cut(segment.iter().position(|atom| *atom == Atom::Char(';'))))]
            }
            Way::SemicolonIsOrdinary => vec![ordinary(segment)],
            Way::Dots => {
                let mut segment = segment.clone();
                while matches!(segment.last(), Some(Atom::Char('.' | ' '))) {
                    segment.pop();
                }
                vec![segment]
            }
            Way::TrailingSlash => vec![segment.clone()],
            Way::Fold => vec![fold(segment)],
        };
        let may_empty = matches!(way, Way::Parameters | Way::OnlyRawParameters | Way::Dots);
        if may_empty && !segment.is_empty() && new[0].is_empty() {
            return None;
        }
        seen.extend(new);
    }
    if way == Way::TrailingSlash && seen.len() > 1 && seen[seen.len() - 1].is_empty() {
        seen.pop();
    }
    let splits = matches!(way, Way::DecodeSplit | Way::Slash | Way::OnlySlash | Way::OnlyBackslash);
    if splits && rules.empty_segments != EmptySegments::Keep {
        let last = seen.pop().unwrap();
        seen.retain(|segment| !segment.is_empty());
        seen.push(last);
    }
    let dots = |segment: &Segment| matches!(segment.as_slice(), [Atom::Char('.')] | [Atom::Char('.'), Atom::Char('.')]);
    (!seen.iter().any(dots)).then_some(seen)
}

fn fold(segment: &[Atom]) -> Segment {
    let letter = |atom: &Atom| if let Atom::Char(letter) = atom { Atom::Char(fold_letter(*letter)) } else { *atom };
    segment.iter().map(letter).collect()
}

fn ordinary(segment: &[Atom]) -> Segment {
    segment.iter().map(|atom| if *atom == Atom::Kept(';') { Atom::Char(';') } else { *atom }).collect()
}

fn decode(segment: &Segment, charset: Charset) -> Option<Segment> {
    decode_once(segment, charset).map(|decoded| respell(&decoded))
}

/// What a second decoding makes separates; what was kept from the first stays, so decode around it, piece by piece.
fn decode_and_split(segment: &[Atom], charset: Charset) -> Option<Segments> {
    let separates = |atom: &Atom| matches!(atom, Atom::Kept('/' | '\\'));
    let mut pieces: Segments = vec![Vec::new()];
    let mut rest = segment;
    loop {
        let at = rest.iter().position(separates);
        for atom in decode_once(&rest[..at.unwrap_or(rest.len())].to_vec(), charset)? {
            if separates(&atom) {
                pieces.push(Vec::new());
            } else {
                pieces.last_mut()?.push(atom);
            }
        }
        let Some(at) = at else { break };
        pieces.last_mut()?.push(rest[at]);
        rest = &rest[at + 1..];
    }
    Some(pieces.iter().map(|piece| respell(piece)).collect())
}

/// Escapes become what they spell, slashes and backslashes kept ones.
fn decode_once(segment: &Segment, charset: Charset) -> Option<Segment> {
    let mut decoded = Segment::new();
    let mut index = 0;
    let mut bytes: Vec<u8> = Vec::new();
    while index <= segment.len() {
        let byte = match segment.get(index..index + 3) {
            Some([Atom::Char('%'), Atom::Char(high), Atom::Char(low)]) => {
                high.to_digit(16).zip(low.to_digit(16)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
            }
            _ => None,
        };
        if let Some(byte @ 0x20..) = byte
            && byte != b'/'
            && byte != b'\\'
        {
            bytes.push(byte);
            index += 3;
            continue;
        }
        match charset {
            Charset::Utf8 => decoded.extend(String::from_utf8_lossy(&bytes).chars().map(Atom::Char)),
            Charset::Latin1 => decoded.extend(bytes.iter().map(|byte| Atom::Char(char::from(*byte)))),
        }
        bytes.clear();
        match (byte, segment.get(index)) {
            (Some(0), _) => return None,
            (Some(byte @ (b'/' | b'\\')), _) => decoded.push(Atom::Kept(char::from(byte))),
            (Some(byte), _) => decoded.push(Atom::Char(char::from_u32(0x2400 + u32::from(byte)).unwrap())),
            (None, Some(atom)) => decoded.push(*atom),
            (None, None) => {}
        }
        index += if byte.is_some() { 3 } else { 1 };
    }
    Some(decoded)
}

/// Text that spells an escape which stays encoded is that escape.
fn respell(segment: &[Atom]) -> Segment {
    let mut spelt = Segment::new();
    let mut rest = segment;
    while let Some(first) = rest.first() {
        let triple: String = rest.iter().take(3).map(|atom| if let Atom::Char(c) = atom { *c } else { '\0' }).collect();
        let kept = match triple.to_ascii_uppercase().as_str() {
            "%2F" => Some('/'),
            "%5C" => Some('\\'),
            "%3B" => Some(';'),
            _ => None,
        };
        spelt.push(kept.map_or(*first, Atom::Kept));
        rest = &rest[if kept.is_some() { 3 } else { 1 }..];
    }
    spelt
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

/// Segments of a canonical path.
fn atoms(path: &str, charset: Charset) -> Segments {
    path.split('/').skip(1).map(|written| segment_atoms(written, charset)).collect()
}

fn segment_atoms(written: &str, charset: Charset) -> Segment {
    let mut segment = Segment::new();
    let mut rest = written;
    let mut bytes = Vec::new();
    loop {
        if let Some(escape) = rest.strip_prefix('%') {
            let byte = u8::from_str_radix(&escape[..2], 16).unwrap();
            rest = &escape[2..];
            if !b"/\\;".contains(&byte) {
                bytes.push(byte);
                continue;
            }
            flush(&mut bytes, charset, &mut segment);
            segment.push(Atom::Kept(char::from(byte)));
            continue;
        }
        flush(&mut bytes, charset, &mut segment);
        let Some(letter) = rest.chars().next() else { break };
        segment.push(Atom::Char(letter));
        rest = &rest[letter.len_utf8()..];
    }
    segment
}

fn flush(bytes: &mut Vec<u8>, charset: Charset, segment: &mut Segment) {
    match charset {
        Charset::Utf8 => segment.extend(String::from_utf8(bytes.clone()).unwrap().chars().map(Atom::Char)),
        Charset::Latin1 => segment.extend(bytes.iter().map(|byte| Atom::Char(char::from(*byte)))),
    }
    bytes.clear();
}

/// How good a match is, segment by segment; less is better. The end of both comes before an empty rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Literal,
    Mixed(std::cmp::Reverse<usize>, std::cmp::Reverse<usize>),
    Capture,
    End,
    Rest,
}

type Captures = BTreeMap<usize, Segment>;

fn matches(pattern: &Segments, path: &Segments) -> Option<(Vec<Rank>, Captures)> {
    let mut ranks = Vec::new();
    let mut captures = Captures::new();
    for (index, segment) in pattern.iter().enumerate() {
        if let [Atom::Rest(number)] = segment.as_slice() {
            let rest = path.get(index..)?;
            captures.insert(*number, rest.join(&Atom::Char('/')));
            ranks.push(Rank::Rest);
            return Some((ranks, captures));
        }
        let given = path.get(index)?;
        let hole = segment.iter().position(|atom| matches!(atom, Atom::Hole(_)));
        let Some(at) = hole else {
            if segment != given {
                return None;
            }
            ranks.push(Rank::Literal);
            continue;
        };
        let Atom::Hole(number) = segment[at] else { unreachable!() };
        let (prefix, suffix) = (&segment[..at], &segment[at + 1..]);
        if given.len() <= prefix.len() + suffix.len() || !given.starts_with(prefix) || !given.ends_with(suffix) {
            return None;
        }
        captures.insert(number, given[prefix.len()..given.len() - suffix.len()].to_vec());
        ranks.push(if segment.len() == 1 {
            Rank::Capture
        } else {
            Rank::Mixed(std::cmp::Reverse(prefix.len()), std::cmp::Reverse(suffix.len()))
        });
    }
    ranks.push(Rank::End);
    (pattern.len() == path.len()).then_some((ranks, captures))
}

/// The routes of the best shape, with captures.
fn best(patterns: &[Option<Segments>], path: &Segments) -> Vec<(usize, Captures)> {
    let found: Vec<_> = patterns
        .iter()
        .enumerate()
        .filter_map(|(index, pattern)| {
            matches(pattern.as_ref()?, path).map(|(ranks, captures)| (ranks, index, captures))
        })
        .collect();
    let Some(best) = found.iter().map(|(ranks, _, _)| ranks.clone()).min() else { return Vec::new() };
    found.into_iter().filter(|(ranks, _, _)| *ranks == best).map(|(_, index, captures)| (index, captures)).collect()
}

/// A path, the number of what the patterns are read as, and which readings were made.
type Seen = (Segments, usize, BTreeSet<ReadingKind>);

/// What the patterns of a table are read as: reading them again and again is most of the work, so it is done once.
#[derive(Debug)]
struct Versions {
    all: Vec<Vec<Option<Segments>>>,
    read: HashMap<(usize, Way), usize>,
    rules: Rules,
}

impl Versions {
    fn new(patterns: Vec<Option<Segments>>, rules: Rules) -> Self {
        Self { all: vec![patterns], read: HashMap::new(), rules }
    }

    /// The number of what patterns become that are read one way more.
    fn after(&mut self, version: usize, way: Way) -> usize {
        if let Some(known) = self.read.get(&(version, way)) {
            return *known;
        }
        let read: Vec<_> = self.all[version].iter().map(|pattern| see(way, pattern.as_ref()?, self.rules)).collect();
        let number = self.all.iter().position(|known| *known == read).unwrap_or_else(|| {
            self.all.push(read);
            self.all.len() - 1
        });
        self.read.insert((version, way), number);
        number
    }
}

/// Everything that servers may see of a path; `None` when one of them sees what cannot be trusted.
fn everything(start: Seen, quirks: &Quirks, versions: &mut Versions, seen: &mut HashSet<Seen>) -> Option<()> {
    if !seen.insert(start.clone()) {
        return Some(());
    }
    let (path, version, done) = start;
    for way in WAYS {
        let last = [ReadingKind::TrailingSlash, ReadingKind::Case];
        let too_late = done.contains(&ReadingKind::Case) || (done.iter().any(|k| last.contains(k)) && way != Way::Fold);
        if done.contains(&kind(way)) || too_late || !possible(way, quirks) {
            continue;
        }
        let mut done = done.clone();
        done.insert(kind(way));
        let next = (see(way, &path, versions.rules)?, versions.after(version, way), done);
        everything(next, quirks, versions, seen)?;
    }
    Some(())
}

fn written(segment: &[Atom]) -> String {
    segment.iter().fold(String::new(), |text, atom| match atom {
        Atom::Char(letter) => text + &letter.to_string(),
        Atom::Kept('/') => text + "%2F",
        Atom::Kept('\\') => text + "%5C",
        Atom::Kept(_) => text + "%3B",
        Atom::Hole(_) | Atom::Rest(_) => unreachable!(),
    })
}

fn folded(segment: &[Atom]) -> bool {
    segment.iter().all(|atom| if let Atom::Char(letter) = atom { fold_letter(*letter) == *letter } else { true })
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
    rules: Rules,
    versions: RefCell<Versions>,
}

impl<T: Type> Table<T> {
    pub(crate) fn new(entries: Vec<Entry<T>>, rules: Rules) -> Self {
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
        let captured = |wavers: &dyn Fn(usize, &Segment) -> bool| -> Vec<Captured> {
            let of = |(number, name): (usize, String)| {
                let value = captures.get(&number).cloned().unwrap_or_default();
                let text = (!value.is_empty()).then(|| written(&value));
                Captured { name, text, wavers: wavers(number, &value) }
            };
            captures_of(&entry.pattern).into_iter().enumerate().map(of).collect()
        };
        let ambiguous = || Found::Ambiguous(Some((*index, captured(&|_, _| true))));
        let mut seen = HashSet::new();
        if everything((path, 0, BTreeSet::new()), &entry.quirks, versions, &mut seen).is_none() {
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
        let wavers = |number: usize, value: &Segment| {
            let is_uuid = entry.types[number].as_ref().is_some_and(Type::is_uuid);
            values.differ(number) || entry.quirks.case == Reading::Unknown && !is_uuid && !folded(value)
        };
        Found::Route(*index, captured(&wavers))
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
                everything((vec![vec![]], 0, BTreeSet::new()), &entry.quirks, versions, &mut seen).unwrap();
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

/// What servers read in captures.
#[derive(Default)]
struct Values {
    folded: BTreeMap<usize, BTreeSet<Segment>>,
    /// Servers that keep the letters have to agree on them, too.
    exact: BTreeMap<usize, BTreeSet<Segment>>,
}

impl Values {
    fn add(&mut self, capture: usize, value: Segment, without_case: bool) {
        self.folded.entry(capture).or_default().insert(fold(&value));
        if !without_case {
            self.exact.entry(capture).or_default().insert(value);
        }
    }

    fn differ(&self, capture: usize) -> bool {
        [&self.folded, &self.exact].iter().any(|read| read.get(&capture).is_some_and(|values| values.len() > 1))
    }
}

/// Whether a capture's value is not of its type.
fn misfits<T: Type>(entry: &Entry<T>, captures: &Captures) -> bool {
    entry.types.iter().enumerate().any(|(number, kind)| match (kind, captures.get(&number)) {
        (Some(kind), Some(value)) => !value.is_empty() && !kind.fits(&written(value)),
        _ => false,
    })
}

/// The captures of a folded match in the path's own letters.
fn unfold(pattern: Option<&Segments>, path: &Segments, captures: &Captures) -> Captures {
    let mut own = Captures::new();
    for (index, segment) in pattern.into_iter().flatten().enumerate() {
        for (at, atom) in segment.iter().enumerate() {
            match atom {
                Atom::Hole(number) => {
                    own.insert(*number, path[index][at..at + captures[number].len()].to_vec());
                }
                Atom::Rest(number) => {
                    own.insert(*number, path.get(index..).unwrap_or_default().join(&Atom::Char('/')));
                }
                _ => {}
            }
        }
    }
    own
}
