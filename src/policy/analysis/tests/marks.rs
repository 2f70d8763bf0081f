//! What routes read, and the values that are told apart for it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{World, document};
use crate::policy::analysis::axis::{Axis, Mark, Space};
use crate::policy::analysis::scene::{Frame, Piece};
use crate::policy::analysis::space::Ground;
use crate::policy::analysis::uses::{Stand, Uses};
use crate::principal::{ClaimPath, Flow};
use crate::target::quirks::Charset;

/// A class of paths with an open second segment and a rest.
fn frame() -> Frame {
    Frame {
        method: "POST".to_owned(),
        host: "api.example.com".to_owned(),
        label: false,
        pieces: vec![Piece::Fixed("a".to_owned()), Piece::Open("sample".to_owned())],
        tail: true,
        charset: Charset::Utf8,
    }
}

/// Asks about the uses and the space of one route.
fn asked<T>(rest: &str, folds: bool, ask: impl FnOnce(&Uses<'_>, &Space, Stand<'_>) -> T) -> T {
    let path = if rest.contains("path:") { "" } else { "path: '/a/{id}/{*rest}', unbound: [id, rest], " };
    let world = World::new(&document(&format!("  - {{{path}methods: [POST], {rest}}}")));
    let route = world.policies.routes().next().unwrap();
    let stand = Stand { route, pattern: &route.pattern };
    let frame = frame();
    let mut uses = Uses::default();
    uses.add(&stand, &frame);
    let (taken, stands) = (BTreeSet::from(["a1".to_owned()]), [stand]);
    let subjects = [];
    let ground =
        Ground { uses: &uses, frame: &frame, stands: &stands, issuers: 2, folds, taken: &taken, subjects: &subjects };
    let space = ground.space();
    ask(&uses, &space, stand)
}

fn marks(rest: &str, axis: &Axis) -> Vec<Mark> {
    asked(rest, false, |_, space, _| space.marks(axis).to_vec())
}

fn texts(marks: &[Mark]) -> Vec<Option<&str>> {
    marks.iter().map(|mark| if let Mark::Text(text) = mark { text.as_deref() } else { panic!("{mark:?}") }).collect()
}

fn claim(name: &str) -> Axis {
    Axis::Claim(ClaimPath::top(name))
}

fn queries(marks: &[Mark]) -> Vec<Vec<String>> {
    let pieces = |mark: &Mark| if let Mark::Query(pieces) = mark { pieces.clone() } else { panic!("{mark:?}") };
    marks.iter().map(pieces).collect()
}

#[test]
fn what_a_route_does_not_read_has_no_marks() {
    asked("require: {token: none, network: [10.0.0.0/8]}", false, |uses, space, _| {
        assert_eq!(uses.axes, BTreeSet::from([Axis::Segment(1), Axis::Tail, Axis::Address]));
        assert_eq!(space.axes.keys().cloned().collect::<BTreeSet<_>>(), uses.axes);
        assert!(space.gaps.is_empty());
    });
    asked("require: authenticated, forward: {identity_headers: none}", false, |uses, space, _| {
        let token = [Axis::Issuer, Axis::Flow, Axis::Subject, Axis::Client];
        assert_eq!(uses.axes, token.into_iter().chain([Axis::Segment(1), Axis::Tail]).collect());
        let issuers = [Some(0), Some(1), None].map(Mark::Issuer);
        assert_eq!(space.marks(&Axis::Issuer), issuers);
        assert_eq!(space.marks(&Axis::Flow), [Flow::User, Flow::ClientCredentials, Flow::Unknown].map(Mark::Flow));
    });
}

#[test]
fn subjects_are_those_that_are_named_one_that_is_not_and_none() {
    let found = marks("require: {subject: [x, y]}", &Axis::Subject);
    assert_eq!(texts(&found), [Some("b2"), Some("x"), Some("y"), None], "`a1` is a segment of some pattern");
    let linked = "path: '/a/{id}/{*rest}', unbound: [rest], require: {subject: ['{id}', x, p/q]}";
    asked(linked, false, |uses, space, _| {
        assert_eq!(uses.links, [(Axis::Subject, Axis::Segment(1))]);
        assert_eq!(uses.texts, ["x", "p/q"].map(|text| (Axis::Subject, text.to_owned())));
        let subjects = space.marks(&Axis::Subject);
        for text in ["b2", "c3", "x", "X", "p", "q", "P"] {
            let mark = Mark::Text(Some(text.to_owned()));
            assert!(subjects.contains(&mark) && space.marks(&Axis::Segment(1)).contains(&mark), "{text}");
        }
    });
}

#[test]
fn the_values_of_a_type_are_told_apart_from_others() {
    let found = marks("params: {id: int, query.q: slug}, require: authenticated", &Axis::Segment(1));
    let texts = texts(&found);
    assert!(
        texts.contains(&Some("4711")) && texts.contains(&Some("b2")) && texts.contains(&Some("SAMPLE")),
        "{texts:?}"
    );
    for odd in ["sample;1", "sample.", "sample%2541"] {
        assert!(texts.contains(&Some(odd)), "{texts:?}");
    }
    assert!(!texts.contains(&Some("")) && !texts.contains(&None));
    let linked = "path: '/a/{id}/{*rest}', unbound: [rest], require: {subject: ['{id}', ., .., p/q]}";
    let found = marks(linked, &Axis::Segment(1));
    let texts = self::texts(&found);
    for none in ["", ".", "..", "p/q"] {
        assert!(!texts.contains(&Some(none)), "{none} {texts:?}");
    }
}

#[test]
fn a_rest_is_none_one_two_segments_and_empty() {
    let rest = "path: '/a/{id}/{*rest}', unbound: [id], require: {subject: '{rest}'}";
    asked(rest, false, |uses, _, _| assert_eq!(uses.links, [(Axis::Subject, Axis::Tail)], "and no segment before it"));
    let found = marks(rest, &Axis::Tail);
    let texts = texts(&found);
    assert_eq!((texts[0], *texts.last().unwrap()), (None, Some("")));
    assert!(texts.iter().flatten().any(|text| text.contains('/')), "{texts:?}");
}

#[test]
fn more_values_that_are_compared_with_each_other_than_are_told_apart_leave_a_gap() {
    let gaps =
        |others: &str| asked(&format!("require: {{subject: [{others}]}}"), false, |_, space, _| space.gaps.clone());
    assert_eq!(gaps("'{query.a}', '{query.b}', '{query.c}'"), Vec::<String>::new());
    let found = gaps("'{query.a}', '{query.b}', '{query.c}', '{query.d}'");
    assert!(found.iter().any(|gap| gap.starts_with("more values are compared")), "{found:?}");
}

#[test]
fn more_values_than_are_paired_and_more_places_than_one_leave_a_gap() {
    let gaps = |rest: &str| asked(rest, false, |_, space, _| space.gaps.clone());
    let named = |count: usize| (0..count).map(|number| format!("n{number}")).collect::<Vec<_>>().join(", ");
    // Beside those that are named: two that are not, and the empty one.
    for (count, gap) in [(11, false), (12, true), (13, true)] {
        let found = gaps(&format!("require: {{request: {{query.k: [{}]}}}}", named(count)));
        assert_eq!(found.iter().any(|found| found.contains("many values")), gap, "{count} {found:?}");
        let claim = format!("claim: [{{name: c, one_of: [{}]}}, {{name: c, contains: x}}]", named(count));
        let found = gaps(&format!("require: {{{claim}}}"));
        assert_eq!(found.iter().any(|found| found.contains("many values")), gap, "claim: {count} {found:?}");
    }
    assert_eq!(gaps("require: {claim: {d: {contains: {all_of: [1, 2, 3]}}}}"), Vec::<String>::new());
    assert_eq!(gaps("require: {subject: '{query.k#/a}'}"), Vec::<String>::new());
    let found = gaps("require: {subject: ['{query.k#/a}', '{query.k#/b}']}");
    assert!(found.iter().any(|gap| gap.contains("several places")), "{found:?}");
}

#[test]
fn a_label_is_what_a_host_can_have_there() {
    let text = document("  - {path: /a, methods: [GET], require: {subject: ['{tenant}', Ab, x/y]}}");
    let world = World::new(&text.replace("api.example.com", "'{tenant}.example.com'"));
    let route = world.policies.routes().next().unwrap();
    let stand = Stand { route, pattern: &route.pattern };
    let frame = Frame { label: true, pieces: vec![Piece::Fixed("a".to_owned())], tail: false, ..frame() };
    let mut uses = Uses::default();
    uses.add(&stand, &frame);
    let (taken, stands, subjects) = (BTreeSet::new(), [stand], ["{client}".to_owned(), "{client}@clients".to_owned()]);
    let ground = Ground {
        uses: &uses,
        frame: &frame,
        stands: &stands,
        issuers: 1,
        folds: false,
        taken: &taken,
        subjects: &subjects,
    };
    let space = ground.space();
    let labels = texts(space.marks(&Axis::Label));
    assert!(labels.contains(&Some("ab")) && labels.contains(&Some("a1")), "{labels:?}");
    assert!(!labels.iter().any(|label| label.is_none_or(|label| label.contains('/') || label == "Ab")), "{labels:?}");
    // Some issuer tells client credentials by the subject.
    let subjects = texts(space.marks(&Axis::Subject));
    assert!(subjects.contains(&Some("a1@clients")) && subjects.contains(&Some("a1")), "{subjects:?}");
    assert!(texts(space.marks(&Axis::Client)).contains(&Some("a1@clients")), "they are told apart together");
}

#[test]
fn a_parameter_comes_not_once_and_twice_and_as_others_could_read_it() {
    let found = queries(&marks("require: {request: {query.k: [x, y]}}", &Axis::Query("k".into())));
    let has = |pieces: &[&str]| assert!(found.iter().any(|known| known == pieces), "{pieces:?} {found:?}");
    for pieces in
        [&[][..], &["k=x"], &["k=y"], &["k="], &["k=x", "k=y"], &["k%5B%5D=1"], &["x;k=1"], &["k=%FF"], &["x=%zz"]]
    {
        has(pieces);
    }
    has(&["k=b2"]);
    has(&["k=c3"]);
    assert!(!found.iter().any(|pieces| pieces.len() == 2 && pieces[0] == pieces[1]), "{found:?}");
    let distinct: BTreeSet<&Vec<String>> = found.iter().collect();
    assert_eq!(distinct.len(), found.len(), "each once");
    let list = "params: {query.k: {list: '|', of: int}}, require: {subject: '{query.k}'}";
    let found = queries(&marks(list, &Axis::Query("k".into())));
    assert!(found.iter().flatten().any(|piece| piece.contains("%7C")), "{found:?}");
    let json = queries(&marks("require: {subject: '{query.k#/a}'}", &Axis::Query("k".into())));
    assert!(json.contains(&vec!["k=%7B".to_owned()]), "no JSON: {json:?}");
    assert!(
        json.contains(&Vec::new()) && json.iter().flatten().any(|piece| piece.starts_with("k=%7B%22a%22%3A")),
        "{json:?}"
    );
}

#[test]
fn a_narrowed_parameter_comes_in_its_style() {
    for (style, two) in [("comma", "%2C"), ("repeat", "%2C"), ("json", "%22%2C%22")] {
        let rest = format!("require: authenticated, narrow: {{query.own: {{to: organizations, style: {style}}}}}");
        asked(&rest, false, |uses, space, _| {
            let own = Axis::Query("own".into());
            assert_eq!(uses.links, [(Axis::Organizations, own.clone())]);
            assert!(uses.axes.contains(&Axis::Global) && uses.axes.contains(&Axis::Organizations));
            let found = queries(space.marks(&own));
            assert!(found.iter().flatten().any(|piece| piece.contains(two)), "{style} {found:?}");
            assert!(found.contains(&vec!["own=%7B%7D".to_owned()]), "{style} {found:?}");
            assert_eq!(space.marks(&Axis::Organizations), [Mark::Flag(true), Mark::Flag(false)]);
            assert!(space.axes.keys().any(|axis| matches!(axis, Axis::Organization(_))));
            assert_eq!(space.marks(&Axis::Global), [None, Some(true), Some(false)].map(Mark::Global));
        });
    }
    asked("require: authenticated, narrow: {query.own: subject}", false, |uses, _, _| {
        assert!(!uses.axes.contains(&Axis::Global));
        assert_eq!(uses.links, [(Axis::Subject, Axis::Query("own".into()))]);
    });
}

#[test]
fn a_header_comes_not_once_and_twice_and_under_names_that_others_take_for_it() {
    let found = marks("require: {request: {header.x-kind: [v, w]}}", &Axis::Header("x-kind".into()));
    let written = |mark: &Mark| {
        let Mark::Fields(fields) = mark else { panic!("{mark:?}") };
        fields.iter().map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii())).collect::<Vec<_>>()
    };
    let found: Vec<Vec<String>> = found.iter().map(written).collect();
    for fields in [
        &[][..],
        &["x-kind: v"],
        &["x-kind: "],
        &["x-kind: v", "x-kind: w"],
        &["x-kind: \\xff"],
        &["x_kind: 1"],
        &["connection: x-kind"],
    ] {
        assert!(found.iter().any(|known| known == fields), "{fields:?} {found:?}");
    }
}

#[test]
fn a_claim_is_absent_of_every_type_and_every_value_that_is_asked_about() {
    let asks = "require: {claim: {c: {one_of: [x, 7, 1.5, true]}, d: {contains: {all_of: [1, 2]}}, e: {exists: true}}}";
    asked(asks, false, |uses, space, _| {
        let values = |name: &str| {
            let marks = space.marks(&claim(name)).iter();
            marks.map(|mark| if let Mark::Json(value) = mark { value.clone() } else { panic!() }).collect::<Vec<_>>()
        };
        let c = values("c");
        for value in [json!("x"), json!(7), json!(8), json!(1.5), json!(2.5), json!(true), json!(false), json!({})] {
            assert!(c.contains(&Some(value.clone())), "{value} {c:?}");
        }
        assert!(c.contains(&None) && !c.iter().flatten().any(Value::is_array), "{c:?}");
        assert!(c.contains(&Some(json!("7"))), "as text too");
        let d = values("d");
        for value in [json!([]), json!([1]), json!([2]), json!([1, 2]), json!([null])] {
            assert!(d.contains(&Some(value.clone())), "{value} {d:?}");
        }
        assert!(!d.contains(&Some(json!([1, 1]))) && !d.contains(&Some(json!([2, 1]))), "{d:?}");
        assert_eq!(uses.arrays.keys().collect::<Vec<_>>(), [&ClaimPath::top("d")]);
        assert!(space.gaps.is_empty(), "{:?}", space.gaps);
    });
    asked("require: {claim: {d: {contains: {all_of: [1, 2, 3, 4]}}}}", false, |_, space, _| {
        assert!(space.gaps.iter().any(|gap| gap.contains("claim `d`")), "{:?}", space.gaps);
    });
}

#[test]
fn words_are_those_that_are_named_and_one_that_is_not() {
    let words = |rest: &str, folds: bool| {
        asked(rest, folds, |_, space, _| {
            let word = |axis: &Axis| match axis {
                Axis::Scope(word) | Axis::Permission(word) => Some(word.to_string()),
                _ => None,
            };
            space.axes.keys().filter_map(word).collect::<Vec<_>>()
        })
    };
    let plain = "forward: {identity_headers: none}";
    assert_eq!(words(&format!("require: {{scope: x}}, {plain}"), false), ["another-scope", "x"]);
    let granted = marks("require: {scope: x}", &Axis::Scope("x".into()));
    assert_eq!(granted, [Mark::Flag(false), Mark::Flag(true)]);
    let taken = format!("require: {{scope: another-scope}}, {plain}");
    assert_eq!(words(&taken, false), ["another-scope", "another-scopex"]);
    let permission = format!("require: {{permission: p}}, {plain}");
    assert_eq!(words(&permission, false), ["another-permission", "p"]);
    assert_eq!(words(&permission, true), ["ANOTHER-PERMISSION", "P", "another-permission", "p"]);
    let told =
        "require: authenticated, forward: {identity_headers: none, headers: {X-A: '{scopes}', X-B: '{permissions}'}}";
    assert_eq!(words(told, false), ["another-scope", "another-permission", "b2"]);
}

#[test]
fn ages_are_told_apart_on_both_sides_of_every_limit() {
    let asks = "require: {authentication: {acr: [high], max_age: 60s}}";
    let ages = [Some(0), Some(60), Some(61), None, Some(-86_400)].map(Mark::Age);
    assert_eq!(marks(asks, &Axis::Age), ages);
    let acrs = marks(asks, &Axis::Acr);
    let acrs = texts(&acrs);
    assert!(acrs.contains(&Some("high")) && acrs.contains(&None) && acrs.len() > 2, "{acrs:?}");
}

#[test]
fn a_body_comes_with_every_text_and_with_what_is_none() {
    let found = marks("require: {request: {body./x: [v]}}", &Axis::Body("/x".into()));
    for value in [json!("v"), json!(true), json!(null), json!({})] {
        assert!(found.contains(&Mark::Json(Some(value.clone()))), "{value} {found:?}");
    }
    assert!(found.contains(&Mark::Json(None)) && found.contains(&Mark::Text(Some("{".to_owned()))));
    assert!(!found.iter().any(|mark| matches!(mark, Mark::Json(Some(Value::Array(_))))));
    let several = marks("require: {request: {body./*/x: [v, w]}}", &Axis::Body("/*/x".into()));
    assert!(several.contains(&Mark::Json(Some(json!(["v", "w"])))) && several.contains(&Mark::Json(Some(json!([])))));
    let operation = marks("require: {request: {soap.operation: [Get, 9x]}}", &Axis::Operation);
    let operation = texts(&operation);
    assert!(operation.contains(&Some("Get")) && operation.contains(&None) && !operation.contains(&Some("9x")));
}

#[test]
fn what_is_sent_depends_on_what_is_written_and_rewritten() {
    let sent = |rest: &str, other: Option<&str>| {
        asked(rest, false, |uses, _, stand| match other {
            None => uses.sent(&(Some(stand), None), &frame()),
            Some(other) => asked(other, false, |_, _, second| uses.sent(&(Some(stand), Some(second)), &frame())),
        })
    };
    let none = "require: authenticated, forward: {identity_headers: none}";
    let token = [Axis::Issuer, Axis::Flow, Axis::Subject, Axis::Client];
    let path = [Axis::Segment(1), Axis::Tail];
    assert_eq!(sent(none, None), BTreeSet::new());
    assert_eq!(sent(none, Some(none)), BTreeSet::new());
    for prefix in ["strip_prefix: /a", "add_prefix: /b"] {
        let rewritten = format!("require: authenticated, forward: {{identity_headers: none, {prefix}}}");
        assert_eq!(sent(&rewritten, None), BTreeSet::from(path.clone()), "{prefix}");
        assert_eq!(sent(none, Some(&rewritten)), BTreeSet::from(path.clone()), "{prefix}");
        assert_eq!(sent(&rewritten, Some(none)), BTreeSet::from(path.clone()), "{prefix}");
    }
    let written = "require: authenticated, forward: {identity_headers: none, headers: {X-A: '{claim.c}', X-B: '{query.q} {subject}'}}";
    assert_eq!(sent(written, None), BTreeSet::from([claim("c"), Axis::Query("q".into()), Axis::Subject]));
    for other in [
        "require: authenticated, forward: {identity_headers: [subject]}",
        "require: authenticated, forward: {identity_headers: none, assertion: true}",
        "require: public, forward: {identity_headers: none}",
    ] {
        assert_eq!(sent(none, Some(other)), BTreeSet::from(token.clone()), "{other}");
    }
    let narrowed = "require: authenticated, narrow: {query.own: subject}, forward: {identity_headers: none}";
    let own = Axis::Query("own".into());
    assert_eq!(sent(narrowed, None), token.iter().cloned().chain([own]).collect());
}
