//! Classes against enumeration: of pairs of small tables, every short path of the texts in them, of others and of other
//! spellings is asked for on both sides, and each must be in a class that says where it arrives.

use std::env;
use std::fmt::Write as _;
use std::sync::Arc;

use super::*;
use crate::diagnostic::Source;
use crate::policy::Policies;
use crate::policy::analysis::half::Side;
use crate::policy::analysis::tests::Dice;
use crate::policy::routing::MethodSet;
use crate::policy::tests::surroundings;
use crate::target::quirks::{Charset, Quirks, Reading, ReadingKind};

/// A table: its routes as `METHODS /pattern`, and what its server always and never does.
type Draft<'d> = (&'d [&'d str], &'d [ReadingKind], &'d [ReadingKind]);

fn quirks(always: &[ReadingKind], never: &[ReadingKind]) -> Quirks {
    let of = |kind| match (always.contains(&kind), never.contains(&kind)) {
        (true, _) => Reading::Always,
        (false, true) => Reading::Never,
        (false, false) => Reading::Unknown,
    };
    Quirks {
        case: of(ReadingKind::Case),
        path_parameters: of(ReadingKind::PathParameters),
        trailing_dot: of(ReadingKind::TrailingDot),
        trailing_slash: of(ReadingKind::TrailingSlash),
        encoded_slash: of(ReadingKind::EncodedSlash),
        double_decoding: of(ReadingKind::DoubleDecoding),
        ..Quirks::default()
    }
}

/// The policies of these documents; nothing where their routes cannot stand beside each other.
fn compiled(documents: &[String], quirks: Quirks) -> Option<Policies> {
    let source = |text: &String| Arc::new(Source { path: "p.yaml".into(), text: text.clone() });
    let sources: Vec<_> = documents.iter().map(source).collect();
    Policies::compile(&sources, &surroundings(&["one"], &[("u", quirks)])).0
}

/// A document of these routes. Captures called `int` are integers.
fn document(head: &str, routes: &[&str]) -> String {
    let mut text = format!("version: 1\npolicy: p\nupstream: u\nissuers: [one]\n{head}\nroutes:\n");
    for route in routes {
        let (methods, path) = route.split_once(' ').unwrap();
        let params = if path.contains("{int}") { "params: {int: int}, " } else { "" };
        writeln!(text, "  - {{path: \"{path}\", methods: [{methods}], {params}require: authenticated}}").unwrap();
    }
    text
}

fn policies((routes, always, never): Draft<'_>) -> Option<Policies> {
    compiled(&[document("hosts: [h.test]", routes)], quirks(always, never))
}

fn side(policies: &Policies) -> Side<'_> {
    Side { policies, issuers: &[], upstreams: &[] }
}

/// The texts that stand in segments of patterns, written plainly and otherwise.
#[derive(Default)]
struct Alphabet {
    plain: BTreeSet<String>,
    odd: BTreeSet<String>,
    longest: usize,
    methods: BTreeSet<String>,
}

impl Alphabet {
    fn of(tables: [Option<&Table>; 2]) -> Self {
        let mut alphabet = Self { plain: BTreeSet::from(["q9".to_owned()]), ..Self::default() };
        let (mut prefixes, mut suffixes) = (BTreeSet::from([""]), BTreeSet::from([""]));
        for entry in tables.into_iter().flatten().flat_map(|table| table.router.entries()) {
            let segments = entry.pattern.segments();
            alphabet.longest = alphabet.longest.max(segments.len());
            alphabet.plain.extend(entry.types.iter().flatten().map(|_| "7".to_owned()));
            alphabet.methods.extend(entry.methods.names().filter(|method| *method != "HEAD").map(str::to_owned));
            let mut texts = Vec::new();
            for segment in segments {
                match shape(segment) {
                    Shape::Literal(text) => texts.push(text.to_owned()),
                    Shape::Mixed { prefix, suffix, .. } => {
                        prefixes.insert(prefix);
                        suffixes.insert(suffix);
                        texts.push(format!("{prefix}q9{suffix}"));
                    }
                    Shape::Capture(_) | Shape::Rest(_) => texts.push("q9".to_owned()),
                }
            }
            texts.push("q9".to_owned());
            for from in 0..texts.len() {
                for to in from + 2..=texts.len() {
                    alphabet.odd.extend(["\u{1}", "%2F"].map(|slash| texts[from..to].join(slash)));
                }
            }
            alphabet.plain.extend(texts.into_iter().filter(|text| !text.is_empty()));
        }
        for prefix in prefixes {
            alphabet.plain.extend(suffixes.iter().map(|suffix| format!("{prefix}q9{suffix}")));
        }
        let written = alphabet.plain.clone();
        for text in written {
            let (first, rest) = text.split_at(1);
            let encoded = format!("%{:02X}{rest}", first.as_bytes()[0]);
            alphabet.odd.extend([
                text.to_uppercase(),
                text.to_lowercase(),
                format!("{text};1"),
                format!("{text}."),
                format!("{text}\u{1}"),
                format!("\u{1}{text}"),
                encoded,
            ]);
        }
        alphabet.odd.retain(|text| !alphabet.plain.contains(text));
        alphabet
    }

    /// Every path in which at most one segment is spelt otherwise, with and without a slash at its end.
    fn paths(&self) -> Vec<Vec<String>> {
        let mut all: Vec<(Vec<String>, bool)> = vec![(Vec::new(), false)];
        let mut last = all.clone();
        for _ in 0..self.longest {
            let longer = |(path, odd): &(Vec<String>, bool)| {
                let odds = self.odd.iter().filter(|_| !odd).map(|text| (text, true));
                let with = |(text, odd): (&String, bool)| ([path.clone(), vec![text.clone()]].concat(), odd);
                self.plain.iter().map(|text| (text, *odd)).chain(odds).map(with).collect::<Vec<_>>()
            };
            last = last.iter().flat_map(longer).collect();
            all.extend(last.clone());
        }
        all.extend(last.iter().map(|(path, odd)| ([&path[..], &["q9".to_owned()]].concat(), *odd)));
        all.into_iter().flat_map(|(path, _)| [path.clone(), [path, vec![String::new()]].concat()]).collect()
    }
}

/// Where requests arrive, and whether a second reading stands in the way on one side only.
type Arrival = (Option<RouteId>, Option<RouteId>, bool);

fn arrival(sides: &Sides<'_>, frame: &Frame) -> Arrival {
    let scene = frame.scene(&Choice::new(), &[]).unwrap();
    let (old, new) = (sides.old.position(&scene), sides.new.position(&scene));
    (old.route, new.route, old.route.is_some() && new.route.is_some() && old.open != new.open)
}

fn covers(frame: &Frame, path: &[String]) -> bool {
    let fits = |(piece, text): (&Piece, &String)| match piece {
        Piece::Fixed(own) => own == text,
        Piece::Open(_) => !text.is_empty(),
    };
    let long_enough = frame.pieces.len() == path.len() || frame.tail && frame.pieces.len() < path.len();
    long_enough && frame.pieces.iter().zip(path).all(fits)
}

/// Everything that has to be true of the classes of a host; `about` says which.
fn check(sides: &Sides<'_>, host: &HostClass, about: &str) {
    let tables = [sides.old, sides.new].map(|side| side.table(&host.sample()));
    let found = classes(sides, host);
    assert_eq!((found.gap.as_deref(), &found.taken), (None, &taken(tables)), "{about}");
    let walked = !matches!(tables, [Some(old), Some(new)] if routed_alike(old, new).is_some());
    let always = |table: &Table| {
        let entries = table.router.entries().iter();
        entries
            .flat_map(|entry| ReadingKind::ALL.map(|kind| entry.quirks.reading(kind)))
            .any(|reading| reading == Reading::Always)
    };
    let folding = tables.into_iter().flatten().any(always);
    let alphabet = Alphabet::of(tables);
    for path in alphabet.paths() {
        for method in &alphabet.methods {
            let pieces = path.iter().cloned().map(Piece::Fixed).collect();
            let (method, host, label) = (method.clone(), host.host.clone(), host.label);
            let frame = Frame { method, host, label, pieces, tail: false, charset: Charset::default() };
            let (old, new, differently) = arrival(sides, &frame);
            if (old, new) == (None, None) {
                continue;
            }
            let is_it = |class: &&Class| (class.old, class.new) == (old, new) && class.read_differently >= differently;
            let classes: Vec<_> = found.all.iter().filter(is_it).collect();
            let request = format!("{} {path:?} arrives at {old:?} and {new:?}, {differently}\n{about}", frame.method);
            assert!(classes.iter().any(|class| class.methods.contains(&frame.method)), "{request}");
            let covered = |class: &&Class| class.more || class.frames.iter().any(|frame| covers(frame, &path));
            let is_plain =
                walked && !folding && path.iter().all(|text| text.is_empty() || alphabet.plain.contains(text));
            assert!(!is_plain || classes.iter().any(covered), "not covered: {request}");
        }
    }
    for class in found.all.iter().filter(|_| walked) {
        check_class(sides, class, tables, about);
    }
}

fn check_class(sides: &Sides<'_>, class: &Class, tables: [Option<&Table>; 2], about: &str) {
    let own = (class.old, class.new, class.read_differently);
    let about = format!("{class:#?}\n{about}");
    assert!(!class.frames.is_empty() || class.old.or(class.new).is_none(), "{about}");
    let of = |(table, id): (Option<&'_ Table>, Option<RouteId>)| -> Option<(Vec<String>, MethodSet)> {
        let entry = table?.router.entries().iter().find(|entry| Some(entry.id) == id)?;
        Some((entry.pattern.segments().to_vec(), entry.methods.clone()))
    };
    let (patterns, listed): (Vec<_>, Vec<_>) = tables.into_iter().zip([class.old, class.new]).filter_map(of).unzip();
    for method in &class.methods {
        assert!(listed.iter().all(|listed| listed.contains(method)), "{method}: {about}");
    }
    for (number, frame) in class.frames.iter().enumerate() {
        assert_eq!(arrival(sides, frame), own, "{frame:?} arrives elsewhere: {about}");
        let begins = |pattern: &Vec<String>| {
            pattern
                .iter()
                .position(|segment| matches!(shape(segment), Shape::Rest(_)))
                .is_some_and(|at| at <= frame.pieces.len())
        };
        let ends = matches!(frame.pieces.last(), Some(Piece::Fixed(text)) if text.is_empty());
        let tail = !patterns.is_empty() && patterns.iter().all(begins) && !ends;
        assert_eq!(frame.tail, tail, "{frame:?}: {about}");
        for (at, piece) in frame.pieces.iter().enumerate() {
            let (Piece::Fixed(text) | Piece::Open(text)) = piece;
            let same = |pattern: &Vec<String>| pattern.get(at).is_some_and(|own| shape(own) == Shape::Literal(text));
            let fixed = text.is_empty() || patterns.iter().all(same);
            assert_eq!(matches!(piece, Piece::Fixed(_)), fixed, "{frame:?}: {about}");
        }
        let written = |frame: &Frame| -> (Vec<Option<String>>, bool) {
            let text = |piece: &Piece| match piece {
                Piece::Open(_) if !class.read_differently => None,
                Piece::Open(text) => Some(format!("open {text}")),
                Piece::Fixed(text) => Some(text.clone()),
            };
            (frame.pieces.iter().map(text).collect(), frame.tail)
        };
        let again = class.frames.iter().skip(number + 1).any(|other| written(other) == written(frame));
        assert!(!again, "{frame:?} is there twice: {about}");
    }
}

fn check_pair(old: Draft<'_>, new: Draft<'_>) -> bool {
    let (Some(before), Some(after)) = (policies(old), policies(new)) else { return false };
    let (before, after) = (side(&before), side(&after));
    let sides = Sides { old: &before, new: &after };
    for host in hosts(&sides) {
        check(&sides, &host, &format!("{old:?}\n{new:?}"));
    }
    true
}

use ReadingKind::{Case, DoubleDecoding, EncodedSlash, PathParameters, TrailingDot, TrailingSlash};

const PAIRS: &[(Draft<'_>, Draft<'_>)] = &[
    // Only other spellings tell the sides apart, each reading by itself.
    ((&["GET /a/{x}", "GET /{x}/{y}"], &[], &[]), (&["GET /a/{x}", "GET /{x}/{y}"], &[Case], &[])),
    ((&["GET /a/{x}", "GET /{x}/{y}"], &[PathParameters], &[]), (&["GET /a/{x}", "GET /{x}/{y}"], &[], &[])),
    ((&["GET /a/{x}", "GET /{x}/{y}"], &[], &[]), (&["GET /a/{x}", "GET /{x}/{y}"], &[TrailingDot], &[])),
    ((&["GET /a/{x}", "GET /{x}/{y}"], &[DoubleDecoding], &[]), (&["GET /a/{x}", "GET /{x}/{y}"], &[], &[])),
    ((&["GET /a/b/{x}", "GET /{x}/{y}"], &[], &[]), (&["GET /a/b/{x}", "GET /{x}/{y}"], &[EncodedSlash], &[])),
    ((&["GET /a/{x}", "GET /{x}/{y}"], &[], &[Case]), (&["GET /a/{x}", "GET /{x}/{y}"], &[], &[PathParameters])),
    ((&["GET /a", "GET /b"], &[], &[]), (&["GET /a", "GET /b"], &[Case], &[])),
    (
        (&["GET /a"], &[Case, PathParameters, TrailingDot, TrailingSlash, EncodedSlash, DoubleDecoding], &[]),
        (
            &["GET /a", "POST /a"],
            &[Case, PathParameters, TrailingDot, TrailingSlash, EncodedSlash, DoubleDecoding],
            &[],
        ),
    ),
    ((&["GET /a/", "GET /{x}"], &[], &[]), (&["GET /a/", "GET /{x}"], &[EncodedSlash], &[])),
    ((&["GET /a/b", "GET /{x}"], &[], &[]), (&["GET /a/b", "GET /{x}"], &[EncodedSlash], &[])),
    ((&["GET /a", "GET /{x}"], &[], &[]), (&["GET /a", "GET /{x}"], &[EncodedSlash], &[])),
    ((&["GET /a/b", "GET /{x}/{y}"], &[], &[]), (&["GET /a/b", "GET /{x}/{y}"], &[PathParameters], &[])),
    ((&["GET /a/b/c", "GET /{x}/{y}"], &[], &[]), (&["GET /a/b/c", "GET /{x}/{y}"], &[EncodedSlash], &[])),
    ((&["GET /a", "GET /{*r}"], &[], &[]), (&["GET /a", "GET /{*r}"], &[], &[Case])),
    // Literals that differ in case alone.
    ((&["GET /a/{x}", "GET /A/{x}"], &[], &[Case]), (&["GET /a/{x}", "GET /A/{x}", "POST /b"], &[], &[Case])),
    ((&["GET /Abc/{x}"], &[Case], &[]), (&["GET /abc/{x}", "GET /b"], &[Case], &[])),
    // Rests, and what stands beside them.
    ((&["GET /a", "GET /a/{*r}"], &[], &[TrailingSlash]), (&["GET /{*r}"], &[], &[])),
    ((&["GET /a/{*r}"], &[], &[]), (&["GET /a/{*r}", "GET /a/b/{x}"], &[], &[])),
    ((&["GET /{x}/{*r}", "GET /{x}"], &[], &[]), (&["GET /{*r}"], &[], &[])),
    ((&["GET /a/{*r}"], &[], &[]), (&["GET /a/{x}", "GET /a"], &[], &[])),
    // Texts with captures inside.
    ((&["GET /f-{x}", "GET /{x}-g"], &[], &[]), (&["GET /f-{x}-g", "GET /{x}"], &[], &[])),
    ((&["GET /f{x}/b", "GET /f-{x}/{y}"], &[], &[]), (&["GET /f{x}/b", "GET /{x}g/{y}"], &[], &[])),
    ((&["GET /abc{x}defg/b", "GET /{x}/{y}"], &[], &[]), (&["GET /abc{x}defg/b", "GET /{x}/b"], &[], &[])),
    ((&["GET /abcd{x}efgh/b"], &[], &[]), (&["GET /abcd{x}efgh/b", "POST /c"], &[], &[])),
    // Only where two of four segments are read out of one does what follows tell the sides apart.
    ((&["GET /{x}/{y}/{int}"], &[], &[EncodedSlash]), (&["GET /a/b/c/7"], &[EncodedSlash], &[])),
    // What stands for other texts is taken.
    ((&["GET /a1", "GET /{x}"], &[], &[]), (&["GET /a1", "GET /a2", "GET /{x}"], &[], &[])),
    ((&["GET /a1/a2"], &[], &[]), (&["GET /{x}/{y}"], &[], &[])),
    ((&["GET /xyzzy", "GET /{x}"], &[], &[]), (&["GET /xyzzy", "GET /a2", "GET /{x}"], &[], &[])),
    // Types and methods.
    ((&["GET /{int}", "GET /a"], &[], &[]), (&["GET /{x}", "GET /a"], &[], &[])),
    ((&["GET /{int}", "POST /{int}"], &[], &[]), (&["GET,POST /{int}"], &[], &[])),
    // Alike, and nothing on one side.
    ((&["GET /a", "POST /a", "GET /{x}/b"], &[], &[]), (&["GET /{y}/b", "POST /a", "GET /a"], &[], &[])),
    ((&["GET /a"], &[], &[]), (&["POST /b/"], &[], &[])),
];

#[test]
fn requests_of_these_tables_are_in_the_class_of_where_they_arrive() {
    for (old, new) in PAIRS {
        assert!(check_pair(*old, *new), "{old:?}\n{new:?}");
        check_pair(*new, *old);
    }
}

#[test]
fn a_fresh_text_is_none_of_those_that_are_taken() {
    let of = |taken: &[&str]| fresh(&taken.iter().map(|text| (*text).to_owned()).collect());
    assert_eq!([of(&[]), of(&["a2", "b"]), of(&["a1", "a2"])], ["a1", "a1", "a3"]);
}

const PATTERNS: [&str; 24] = [
    "/a",
    "/a/",
    "/a/b",
    "/a/{x}",
    "/a/{int}",
    "/{x}",
    "/{int}",
    "/{x}/b",
    "/{x}/{y}",
    "/a/{*r}",
    "/{*r}",
    "/f-{x}",
    "/f{x}",
    "/{x}-g",
    "/f{x}g/b",
    "/a1",
    "/a1/{x}",
    "/a2/b",
    "/B/{x}",
    "/A",
    "/a/b/{x}",
    "/b/{x}",
    "/{x}/{*r}",
    "/",
];

impl Dice {
    fn routes(&mut self) -> Vec<String> {
        let count = 1 + self.roll(3);
        let one = |dice: &mut Self| {
            format!("{} {}", ["GET", "POST", "GET,POST"][dice.roll(3)], PATTERNS[dice.roll(PATTERNS.len())])
        };
        (0..count).map(|_| one(self)).collect()
    }

    fn kinds(&mut self) -> Vec<ReadingKind> {
        ReadingKind::ALL.into_iter().filter(|_| self.roll(5) == 0).collect()
    }
}

#[test]
fn requests_of_other_tables_are_in_the_class_of_where_they_arrive() {
    let read = |name: &str, usual: u64| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (first, count) = (read("TORWART_CLASSES_FIRST", 1), read("TORWART_CLASSES_PAIRS", 12));
    let mut checked = 0;
    for seed in first..first + count {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        (0..4).for_each(|_| {
            dice.roll(2);
        });
        let old = dice.routes();
        let new = match dice.roll(3) {
            0 => dice.routes(),
            1 => [old.clone(), dice.routes()[..1].to_vec()].concat(),
            _ => old.clone(),
        };
        let [mut always, never, mut other_always, other_never] = [(); 4].map(|()| dice.kinds());
        if old.iter().chain(&new).any(|route| route.contains("{int}")) {
            // What is read as an integer and is none as it is written has no class of its own.
            always.clear();
            other_always.clear();
        }
        let [old, new] = [&old, &new].map(|routes| routes.iter().map(String::as_str).collect::<Vec<_>>());
        checked += usize::from(check_pair((&old, &always, &never), (&new, &other_always, &other_never)));
    }
    assert!(checked > 0 || count < 10, "no pair can be compiled");
}
