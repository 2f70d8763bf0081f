//! A slow, obvious router: every combination of readings in every order, on the request and on every pattern anew, and
//! matching by trying every pattern. The real one must agree with it.

#![expect(clippy::string_slice, reason = "positions are counted in the same text")]

#[path = "../../../../tests/differential/servers.rs"]
mod servers;

use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;

use super::super::pattern::{Shape, shape};
use super::super::*;
use crate::target::fold::fold_letter;
use crate::target::quirks::{Charset, EmptySegments};
use servers::{
    Atom, Captures, Segment, Segments, Values, Way, atoms, best, folded, kind, see, see_pattern, unfold, ways, written,
};

/// Segments of a pattern.
fn pattern_atoms(pattern: &PathPattern) -> Segments {
    let plain = |text: &str| -> Segment {
        let atom = |letter| match letter {
            '\u{1}' => Atom::Kept('/'),
            '\u{2}' => Atom::Kept('\\'),
            '\u{3}' => Atom::Kept(';'),
            letter => Atom::Char(letter),
        };
        text.chars().map(atom).collect()
    };
    let segment = |segment: &String| match shape(segment) {
        Shape::Literal(text) => plain(text),
        Shape::Mixed { prefix, capture, suffix } => {
            [plain(prefix), vec![Atom::Hole(usize::from(capture))], plain(suffix)].concat()
        }
        Shape::Capture(capture) => vec![Atom::Hole(usize::from(capture))],
        Shape::Rest(capture) => vec![Atom::Rest(usize::from(capture))],
    };
    pattern.segments().iter().map(segment).collect()
}

type Seen = (Segments, Vec<Option<Segments>>, BTreeSet<ReadingKind>);

/// Everything that servers may see of a path; `None` when one of them sees what cannot be trusted.
fn everything(start: Seen, ways: &[Way], rules: PathRules, seen: &mut HashSet<Seen>) -> Option<()> {
    if !seen.insert(start.clone()) {
        return Some(());
    }
    let (path, patterns, done) = start;
    for way in ways.iter().copied() {
        let last = [ReadingKind::TrailingSlash, ReadingKind::Case];
        let too_late = done.contains(&ReadingKind::Case) || (done.iter().any(|k| last.contains(k)) && way != Way::Fold);
        if done.contains(&kind(way)) || too_late {
            continue;
        }
        let mut done = done.clone();
        done.insert(kind(way));
        let patterns = patterns.iter().map(|pattern| see_pattern(way, pattern.as_ref()?, rules)).collect();
        everything((see(way, &path, rules)?, patterns, done), ways, rules, seen)?;
    }
    Some(())
}

/// How the server behind a route may read paths.
fn ways_of(entry: &RouteEntry) -> Vec<Way> {
    ways(&entry.quirks, &pattern_atoms(&entry.pattern))
}

/// What the model says of a request, in the words of `ask`.
fn answer(entries: &[RouteEntry], method: &str, target: &Target<'_>) -> String {
    let rules = target.rules();
    let path = atoms(target.path(), rules.charset);
    let patterns: Vec<_> = entries.iter().map(|entry| Some(pattern_atoms(&entry.pattern))).collect();
    let always: BTreeSet<ReadingKind> = ReadingKind::ALL
        .into_iter()
        .filter(|kind| entries.iter().any(|entry| entry.quirks.reading(*kind) == Reading::Always))
        .collect();
    // The match itself: every `always`, the segments' decoding first. Letters of captures stay, so fold only to match.
    let order = [Way::Decode, Way::Slash, Way::Parameters, Way::Dots, Way::TrailingSlash];
    let (mut first, mut first_patterns) = (path.clone(), patterns.clone());
    for way in order.into_iter().filter(|way| always.contains(&kind(*way))) {
        let Some(seen) = see(way, &first, rules) else { return "400".to_owned() };
        first = seen;
        first_patterns = first_patterns.iter().map(|pattern| see_pattern(way, pattern.as_ref()?, rules)).collect();
    }
    let matched = if always.contains(&ReadingKind::Case) {
        let patterns: Vec<_> = first_patterns.iter().map(|pattern| see(Way::Fold, pattern.as_ref()?, rules)).collect();
        let found = best(&patterns, &see(Way::Fold, &first, rules).unwrap());
        // Folding changes no lengths in characters, so the captures are where they were.
        found
            .into_iter()
            .map(|(index, captures)| (index, unfold(patterns[index].as_ref(), &first, &captures)))
            .collect()
    } else {
        best(&first_patterns, &first)
    };
    if matched.is_empty() {
        return "404".to_owned();
    }
    let Some((index, captures)) = matched.iter().find(|(index, _)| entries[*index].methods.contains(method)) else {
        let mut all = MethodSet::default();
        for (index, _) in &matched {
            all.extend(&entries[*index].methods);
        }
        return format!("405 {}", all.names().collect::<Vec<_>>().join(", "));
    };
    let entry = &entries[*index];
    if misfits(entry, captures) {
        return "404 misfit".to_owned();
    }
    let mut seen = HashSet::new();
    if everything((path, patterns, BTreeSet::new()), &ways_of(entry), rules, &mut seen).is_none() {
        return "400".to_owned();
    }
    let mut values = Values::default();
    for (path, patterns, done) in &seen {
        if !done.is_superset(&always) {
            continue;
        }
        let found: Vec<_> =
            best(patterns, path).into_iter().filter(|(i, _)| entries[*i].methods.contains(method)).collect();
        let [(again, captures)] = found.as_slice() else { return "400".to_owned() };
        if again != index {
            return "400".to_owned();
        }
        for number in 0..entry.pattern.captures().len() {
            let value = captures.get(&number).cloned().unwrap_or_default();
            values.add(number, value, done.contains(&ReadingKind::Case));
        }
    }
    let mut said = entry.id.0.to_string();
    for (number, capture) in entry.pattern.captures().iter().enumerate() {
        let value = captures.get(&number).cloned().unwrap_or_default();
        let folds =
            entry.quirks.case == Reading::Unknown && entry.types[number] != Some(ValueType::Uuid) && !folded(&value);
        let wavers = if values.differ(number) { "~~" } else { ["", "~"][usize::from(folds)] };
        let value = if value.is_empty() { "-".to_owned() } else { written(&value) };
        said += &[" ", &capture.name, wavers, "=", &value].concat();
    }
    said
}

/// Whether a capture's value is not of its type.
fn misfits(entry: &RouteEntry, captures: &Captures) -> bool {
    entry.types.iter().enumerate().any(|(number, kind)| match (kind, captures.get(&number)) {
        (Some(kind), Some(value)) => !value.is_empty() && !kind.fits(&written(value)),
        _ => false,
    })
}

/// Pairs of routes that are one shape where they must not be.
fn conflicting(entries: &[RouteEntry], rules: PathRules) -> BTreeSet<(u32, u32)> {
    let patterns: Vec<_> = entries.iter().map(|entry| Some(pattern_atoms(&entry.pattern))).collect();
    let always: BTreeSet<ReadingKind> = ReadingKind::ALL
        .into_iter()
        .filter(|kind| entries.iter().any(|entry| entry.quirks.reading(*kind) == Reading::Always))
        .collect();
    let shape = |pattern: &Segments| -> Vec<Segment> {
        let nameless = |atom: &Atom| match atom {
            Atom::Hole(_) => Atom::Hole(0),
            Atom::Rest(_) => Atom::Rest(0),
            other => *other,
        };
        pattern.iter().map(|segment| segment.iter().map(nameless).collect()).collect()
    };
    let mut pairs = BTreeSet::new();
    for (one, first) in entries.iter().enumerate() {
        for (other, second) in entries.iter().enumerate().skip(one + 1) {
            let methods = first.methods.common(&second.methods).next().is_some();
            let types = first.types != second.types;
            let equal = |list: &[Option<Segments>]| match (&list[one], &list[other]) {
                (Some(one), Some(other)) => shape(one) == shape(other),
                _ => false,
            };
            let mut conflict = equal(&patterns) && (methods || types);
            let order = [Way::Decode, Way::Slash, Way::Parameters, Way::Dots, Way::TrailingSlash, Way::Fold];
            let matched: Vec<_> = patterns
                .iter()
                .map(|pattern| {
                    let ways = order.into_iter().filter(|way| always.contains(&kind(*way)));
                    ways.fold(pattern.clone(), |pattern, way| see_pattern(way, &pattern?, rules))
                })
                .collect();
            conflict |= equal(&matched) && (methods || types);
            for entry in [first, second] {
                let mut seen = HashSet::new();
                everything((vec![vec![]], patterns.clone(), BTreeSet::new()), &ways_of(entry), rules, &mut seen)
                    .unwrap();
                conflict |= methods && seen.iter().any(|(_, list, done)| done.is_superset(&always) && equal(list));
            }
            if conflict {
                pairs.insert((first.id.0, second.id.0));
            }
        }
    }
    pairs
}

fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![5 => Just(Reading::Unknown), 2 => Just(Reading::Never)]
}

fn quirks() -> impl Strategy<Value = Quirks> {
    (reading(), reading(), reading(), reading(), reading(), reading()).prop_map(|(a, b, c, d, e, f)| Quirks {
        case: a,
        path_parameters: b,
        trailing_dot: c,
        trailing_slash: d,
        encoded_slash: e,
        double_decoding: f,
        ..Quirks::default()
    })
}

/// What is the same for a table: `always`, runs, charset.
fn table() -> impl Strategy<Value = (u8, EmptySegments, Charset)> {
    let always = prop_oneof![3 => Just(0_u8), 2 => (0_u8..6).prop_map(|bit| 1 << bit), 1 => 0_u8..64];
    let runs =
        prop_oneof![4 => Just(EmptySegments::Merge), 1 => Just(EmptySegments::Keep), 1 => Just(EmptySegments::Refuse)];
    (always, runs, prop_oneof![4 => Just(Charset::Utf8), 1 => Just(Charset::Latin1)])
}

fn with_table(mut quirks: Quirks, (always, empty_segments, charset): (u8, EmptySegments, Charset)) -> Quirks {
    let fields = [
        &mut quirks.case,
        &mut quirks.path_parameters,
        &mut quirks.trailing_dot,
        &mut quirks.trailing_slash,
        &mut quirks.encoded_slash,
        &mut quirks.double_decoding,
    ];
    for (bit, field) in fields.into_iter().enumerate() {
        if always & 1 << bit != 0 {
            *field = Reading::Always;
        }
    }
    Quirks { empty_segments, charset, ..quirks }
}

const PIECES: [&str; 26] = [
    "a",
    "A",
    "b",
    "ab",
    ";",
    "%3B",
    "%2F",
    "%5C",
    ".",
    "%20",
    "%2561",
    "%2541",
    "%252F",
    "%255c",
    "%253B",
    "%252e",
    "%25",
    "%25252F",
    ";x",
    ".;",
    "%C3%84",
    "%C3%A4",
    ":c",
    "%2500",
    "%250A",
    "%25C3%25A4",
];

fn segment() -> impl Strategy<Value = String> {
    let plain = proptest::sample::select(&["a", "A", "b", "ab"][..]).prop_map(str::to_owned);
    let pieces =
        proptest::collection::vec(proptest::sample::select(&PIECES[..]), 1..3).prop_map(|pieces| pieces.concat());
    prop_oneof![3 => plain, 3 => pieces, 1 => Just(String::new())]
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(segment(), 1..4).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn pattern() -> impl Strategy<Value = String> {
    let literal =
        || proptest::sample::select(&["a", "A", "b", "ab", "a;x", "b.", "a%2Fb", "%2561", "\u{e4}", "%3B", "a%20"][..]);
    let names = ["c0", "c1", "c2"];
    let part = (0..8_u8, literal(), literal());
    (proptest::collection::vec(part, 1..4), 0..4_u8).prop_map(move |(parts, tail)| {
        let mut path = String::new();
        for (index, (kind, one, other)) in parts.iter().enumerate() {
            let (open, name, close) = ("{", names[index], "}");
            path += &match kind {
                0 | 1 => ["/", open, name, close].concat(),
                2 => ["/", one, open, name, close].concat(),
                3 => ["/", open, name, close, other].concat(),
                4 => ["/", one, open, name, close, other].concat(),
                _ => ["/", one].concat(),
            };
        }
        match tail {
            0 => path + "/",
            1 => path + "/{*r}",
            _ => path,
        }
    })
}

fn entries() -> impl Strategy<Value = Vec<RouteEntry>> {
    let methods = proptest::sample::select(&["GET", "POST", "GET,POST"][..]);
    let any = prop_oneof![6 => pattern(), 1 => Just("/{*r}".to_owned())];
    let route = (any, methods, quirks(), 0..8_u8);
    (proptest::collection::vec(route, 1..6), table()).prop_map(|(routes, table)| {
        let entry = |(index, (pattern, methods, quirks, kind)): (usize, (String, &str, Quirks, u8))| {
            let mut entry = super::entry(index, &format!("{methods} {pattern}"), with_table(quirks, table));
            if kind == 0 {
                entry.types = vec![Some(ValueType::Slug); entry.pattern.captures().len()];
            }
            entry
        };
        routes.into_iter().enumerate().map(entry).collect()
    })
}

/// Drops routes until none conflict.
fn sound(mut entries: Vec<RouteEntry>, rules: PathRules) -> Vec<RouteEntry> {
    while let Some((_, second)) = conflicting(&entries, rules).first().copied() {
        entries.retain(|entry| entry.id.0 != second);
    }
    entries
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn conflicts_are_those_of_the_model(entries in entries()) {
        let rules = PathRules::from(&entries[0].quirks);
        let expected = conflicting(&entries, rules);
        let (_, conflicts) = Router::build(entries.clone());
        let found: BTreeSet<_> = conflicts.iter().map(|conflict| (conflict.first.0, conflict.second.0)).collect();
        prop_assert_eq!(found, expected, "{:?}", entries.iter().map(|entry| &entry.pattern).collect::<Vec<_>>());
    }

    #[test]
    fn the_router_agrees_with_the_model(entries in entries(), paths in proptest::collection::vec(path(), 1..8)) {
        let rules = PathRules::from(&entries[0].quirks);
        let entries = sound(entries, rules);
        let (router, conflicts) = Router::build(entries.clone());
        prop_assert_eq!(conflicts, vec![]);
        for path in &paths {
            let Ok(target) = Target::parse(path, rules) else { continue };
            for method in ["GET", "POST"] {
                let expected = answer(&entries, method, &target);
                let found = super::ask(&router, &format!("{method} {path}"));
                prop_assert_eq!(found, expected, "{} {} {:?}", method, path, entries);
            }
        }
    }
}

/// A server that decodes twice reads `//a/A` and so the second capture as `A`, which others read as `a`.
#[test]
fn captures_that_readings_tell_apart_by_case_alone_waver() {
    let entries = vec![super::entry(0, "GET /{c0}/{c1}/{*r}", Quirks::default())];
    let target = Target::parse("/%252F/a/A", PathRules::default()).unwrap();
    let (router, _) = Router::build(entries.clone());
    assert_eq!(super::ask(&router, "GET /%252F/a/A"), "0 c0~~=%2F c1~~=a r~~=A");
    assert_eq!(answer(&entries, "GET", &target), "0 c0~~=%2F c1~~=a r~~=A");
}

/// A case asks both routers several times, so a quarter of the usual number is tried.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases / 4, ..usual }
}
