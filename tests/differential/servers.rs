//! What servers make of paths (http.md, "Second readings"), slow and obvious: the readings one by one, and which pattern is
//! the best for what was read. Both routers that the real one is held against are made of this.

use std::collections::{BTreeMap, BTreeSet};

use super::{Charset, EmptySegments, PathRules, Quirks, Reading, ReadingKind, fold_letter};

/// A character of a segment, or what takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Atom {
    Char(char),
    /// `%2F`, `%5C` or `%3B` as it was sent.
    Kept(char),
    Hole(usize),
    Rest(usize),
}

pub(crate) type Segment = Vec<Atom>;

pub(crate) type Segments = Vec<Segment>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Way {
    Decode,
    DecodeSplit,
    Slash,
    OnlySlash,
    OnlyBackslash,
    Parameters,
    OnlyRawParameters,
    SemicolonEnds,
    SemicolonIsOrdinary,
    Dots,
    TrailingSlash,
    Fold,
}

pub(crate) const WAYS: [Way; 12] = [
    Way::Decode,
    Way::DecodeSplit,
    Way::Slash,
    Way::OnlySlash,
    Way::OnlyBackslash,
    Way::Parameters,
    Way::OnlyRawParameters,
    Way::SemicolonEnds,
    Way::SemicolonIsOrdinary,
    Way::Dots,
    Way::TrailingSlash,
    Way::Fold,
];

pub(crate) fn kind(way: Way) -> ReadingKind {
    match way {
        Way::Decode | Way::DecodeSplit => ReadingKind::DoubleDecoding,
        Way::Slash | Way::OnlySlash | Way::OnlyBackslash => ReadingKind::EncodedSlash,
        Way::Parameters | Way::OnlyRawParameters | Way::SemicolonEnds | Way::SemicolonIsOrdinary => {
            ReadingKind::PathParameters
        }
        Way::Dots => ReadingKind::TrailingDot,
        Way::TrailingSlash => ReadingKind::TrailingSlash,
        Way::Fold => ReadingKind::Case,
    }
}

/// The ways in which the server behind a route may read. One whose own route holds a `;` does not end paths there.
pub(crate) fn ways(quirks: &Quirks, pattern: &Segments) -> Vec<Way> {
    let ways = WAYS.into_iter().filter(|way| possible(*way, quirks));
    ways.filter(|way| *way != Way::SemicolonEnds || !has_semicolon(pattern)).collect()
}

fn has_semicolon(path: &Segments) -> bool {
    path.iter().flatten().any(|atom| *atom == Atom::Char(';'))
}

/// What a pattern becomes. Where paths end at a `;`, none can match a pattern that holds one.
pub(crate) fn see_pattern(way: Way, pattern: &Segments, rules: PathRules) -> Option<Segments> {
    if way == Way::SemicolonEnds && has_semicolon(pattern) { None } else { see(way, pattern, rules) }
}

fn possible(way: Way, quirks: &Quirks) -> bool {
    match (way, quirks.reading(kind(way))) {
        (Way::SemicolonIsOrdinary, reading) => reading == Reading::Never,
        (Way::OnlySlash | Way::OnlyBackslash | Way::SemicolonEnds, reading) => reading == Reading::Unknown,
        (_, reading) => reading != Reading::Never,
    }
}

/// What a server that reads this way sees; `None` where it sees nothing that could be trusted.
pub(crate) fn see(way: Way, path: &Segments, rules: PathRules) -> Option<Segments> {
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
            Way::SemicolonEnds => vec![cut(segment.iter().position(|atom| *atom == Atom::Char(';')))],
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
        let may_empty = matches!(way, Way::Parameters | Way::OnlyRawParameters | Way::SemicolonEnds | Way::Dots);
        if may_empty && !segment.is_empty() && new[0].is_empty() {
            return None;
        }
        seen.extend(new);
        if way == Way::SemicolonEnds && segment.contains(&Atom::Char(';')) {
            break;
        }
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

pub(crate) fn fold(segment: &[Atom]) -> Segment {
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

/// Segments of a canonical path.
pub(crate) fn atoms(path: &str, charset: Charset) -> Segments {
    path.split('/').skip(1).map(|written| segment_atoms(written, charset)).collect()
}

pub(crate) fn segment_atoms(written: &str, charset: Charset) -> Segment {
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

pub(crate) type Captures = BTreeMap<usize, Segment>;

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
pub(crate) fn best(patterns: &[Option<Segments>], path: &Segments) -> Vec<(usize, Captures)> {
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

pub(crate) fn written(segment: &[Atom]) -> String {
    segment.iter().fold(String::new(), |text, atom| match atom {
        Atom::Char(letter) => text + &letter.to_string(),
        Atom::Kept('/') => text + "%2F",
        Atom::Kept('\\') => text + "%5C",
        Atom::Kept(_) => text + "%3B",
        Atom::Hole(_) | Atom::Rest(_) => unreachable!(),
    })
}

pub(crate) fn folded(segment: &[Atom]) -> bool {
    segment.iter().all(|atom| if let Atom::Char(letter) = atom { fold_letter(*letter) == *letter } else { true })
}

/// What servers read in captures.
#[derive(Default)]
pub(crate) struct Values {
    folded: BTreeMap<usize, BTreeSet<Segment>>,
    /// Servers that keep the letters have to agree on them, too.
    exact: BTreeMap<usize, BTreeSet<Segment>>,
}

impl Values {
    pub(crate) fn add(&mut self, capture: usize, value: Segment, without_case: bool) {
        self.folded.entry(capture).or_default().insert(fold(&value));
        if !without_case {
            self.exact.entry(capture).or_default().insert(value);
        }
    }

    pub(crate) fn differ(&self, capture: usize) -> bool {
        [&self.folded, &self.exact].iter().any(|read| read.get(&capture).is_some_and(|values| values.len() > 1))
    }
}

/// The captures of a folded match in the path's own letters.
pub(crate) fn unfold(pattern: Option<&Segments>, path: &Segments, captures: &Captures) -> Captures {
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
