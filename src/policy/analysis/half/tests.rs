//! Where made-up requests arrive on a side, and with which marks they do.

use super::*;
use crate::policy::analysis::tests::{World, document};
use crate::policy::analysis::{Change, compare};
use crate::target::quirks::Charset;

const HOST: &str = "api.example.com";

/// A frame of a `GET` with these pieces; those in braces are open.
fn frame(pieces: &[&str]) -> Frame {
    let piece = |text: &&str| match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(sample) => Piece::Open(sample.to_owned()),
        None => Piece::Fixed((*text).to_owned()),
    };
    Frame {
        method: "GET".to_owned(),
        host: HOST.to_owned(),
        label: false,
        pieces: pieces.iter().map(piece).collect(),
        tail: false,
        charset: Charset::Utf8,
    }
}

fn text(text: &str) -> Mark {
    Mark::Text(Some(text.to_owned()))
}

fn texts(of: &[&str]) -> Vec<Mark> {
    of.iter().map(|one| text(one)).collect()
}

/// The stand of the route of this name.
fn stand<'w>(world: &'w World, host: &str, name: &str) -> Stand<'w> {
    let side = Side { policies: &world.policies, issuers: &world.issuers, upstreams: &[] };
    let id = world.policies.routes().find(|route| route.name() == name).unwrap().id();
    side.stand(side.table(host).unwrap(), id).unwrap()
}

fn position(world: &World, frame: &Frame) -> (Option<String>, bool) {
    let found = world.side().position(&frame.scene(&Choice::new(), &[]).unwrap());
    let named = found.route.map(|id| world.policies.routes().find(|route| route.id() == id).unwrap().name().to_owned());
    (named, found.open)
}

#[test]
fn a_request_arrives_at_a_route_that_can_answer_or_at_one_that_cannot() {
    let world = World::new(&document(
        "  - {path: '/n/{id}', name: typed, methods: [GET], params: {id: int}, require: public, unbound: [id]}
  - {path: '/{x}', name: any, methods: [GET], require: public, unbound: [x]}
  - {path: /Admin, name: admin, methods: [GET], require: authenticated}
  - {path: /post, name: post, methods: [POST], require: authenticated}",
    ));
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(position(&world, &frame(&["n", "5"])), (named("typed"), true));
    assert_eq!(position(&world, &frame(&["n", "x"])), (named("typed"), false), "another type");
    assert_eq!(position(&world, &frame(&["b"])), (named("any"), true));
    assert_eq!(position(&world, &frame(&["Admin"])), (named("admin"), true));
    assert_eq!(position(&world, &frame(&["admin"])), (named("any"), false), "servers may read it as the other");
    assert_eq!(position(&world, &frame(&["a", "b"])), (None, false));
    assert_eq!(position(&world, &frame(&["post"])), (None, false), "another method");
    let other = Frame { host: "b.example.com".to_owned(), ..frame(&["b"]) };
    assert_eq!(position(&world, &other), (None, false));
}

#[test]
fn a_text_fits_the_shape_of_its_segment_and_the_types_of_what_it_captures() {
    let routes = "  - path: '/o/{id}/file.{ext}.txt/v.{any}/{*rest}'
    name: n
    methods: [GET]
    params: {id: int, ext: {regex: '[a-z]+'}, rest: alnum, tenant: {regex: '[a-c]+'}, query.q: int}
    require: public
    unbound: [id, ext, any, rest, tenant]";
    let world = World::new(&document(routes).replace(HOST, "'{tenant}.example.com'"));
    let stand = stand(&world, "a.example.com", "n");
    let frame = Frame { label: true, tail: true, ..frame(&["o", "{1}", "{file.a.txt}", "{v.1}", "{a}"]) };
    for (axis, fitting, others) in [
        (Axis::Segment(0), &["o"][..], &["x", "O"][..]),
        (Axis::Segment(1), &["1", "42"], &["x", "1x"]),
        (
            Axis::Segment(2),
            &["file.a.txt", "file.abc.txt"],
            &["file.1.txt", "file..txt", "file.txt", "file.a", "a.txt", "a"],
        ),
        // What has no type is a text all the same.
        (Axis::Segment(3), &["v.1", "v.-"], &["v.", "v", "1"]),
        (Axis::Segment(4), &["a", "b2"], &["a-b"]),
        (Axis::Tail, &["a"], &["a-b"]),
        (Axis::Label, &["a", "cab"], &["d"]),
    ] {
        for one in fitting {
            assert!(fits(&stand, &axis, &text(one), &frame), "{axis:?} {one}");
        }
        for one in others {
            assert!(!fits(&stand, &axis, &text(one), &frame), "{axis:?} {one}");
        }
        assert!(fits(&stand, &axis, &Mark::Text(None), &frame));
        assert!(fits(&stand, &axis, &Mark::Flag(false), &frame));
    }
    // The path of the class arrives, however it is spelt; as another segment the same text does not.
    let spelt =
        Frame { pieces: ["O", "1", "FILE.a.txt", "V."].map(|text| Piece::Open(text.to_owned())).into(), ..frame };
    for (at, one) in [(0, "O"), (0, "o"), (2, "FILE.a.txt"), (2, "file.a.txt"), (3, "V.")] {
        assert!(fits(&stand, &Axis::Segment(at), &text(one), &spelt), "{at} {one}");
    }
    for (at, one) in [(0, "1"), (0, "x"), (2, "O"), (3, "FILE.a.txt"), (3, "v.")] {
        assert!(!fits(&stand, &Axis::Segment(at), &text(one), &spelt), "{at} {one}");
    }
    // What no capture takes has no type.
    assert!(fits(&stand, &Axis::Query("q".into()), &text("x"), &spelt));
}

#[test]
fn a_frame_is_open_where_some_pattern_leaves_it_open() {
    assert_eq!(frame(&["a", "{b}", "c", "{d}"]).open().collect::<Vec<_>>(), [1, 3]);
    assert_eq!(frame(&["a"]).open().count(), 0);
}

/// The marks that are taken where none is in question.
fn base(world: &World, name: Option<&str>, frame: &Frame, axes: &[(usize, &[&str])]) -> Vec<usize> {
    let mut space = Space::default();
    for (at, marks) in axes {
        space.axes.insert(Axis::Segment(*at), texts(marks));
    }
    space.axes.insert(Axis::Query("q".into()), vec![Mark::Query(Vec::new())]);
    let side = world.side();
    let half = Half::new(&side, name.map(|name| stand(world, HOST, name)), frame, &space);
    let known = half.base.keys().all(|axis| matches!(axis, Axis::Segment(_)));
    assert!(known, "only axes of the path: {:?}", half.base);
    half.base.values().copied().collect()
}

const CROWD: &str =
    "  - {path: '/{x}/{y}', name: any, methods: [GET], params: {x: alnum, y: alnum}, require: public, unbound: [x, y]}
  - {path: '/{x}/A1', name: a, methods: [GET], params: {x: alnum}, require: authenticated}
  - {path: '/B1/{y}', name: b, methods: [GET], params: {y: alnum}, require: authenticated}";

#[test]
fn marks_are_taken_with_which_the_path_fits_and_has_no_second_reading() {
    let world = World::new(&document(CROWD));
    let open = frame(&["{c}", "{d}"]);
    assert_eq!(base(&world, Some("any"), &open, &[(0, &["c", "e"]), (1, &["d", "f"])]), [0, 0]);
    // What has not the type is passed by.
    assert_eq!(base(&world, Some("any"), &open, &[(0, &["-", "c"]), (1, &["-", "+", "d"])]), [1, 2]);
    // The second segment is read as another route's; then the first; no other mark is touched.
    assert_eq!(base(&world, Some("any"), &open, &[(0, &["c", "e"]), (1, &["a1", "-", "f"])]), [0, 2]);
    assert_eq!(base(&world, Some("any"), &open, &[(0, &["b1", "-", "e"]), (1, &["d", "f"])]), [2, 0]);
    // Where nothing helps, the first that fits stays.
    assert_eq!(base(&world, Some("any"), &open, &[(0, &["c", "e"]), (1, &["-", "a1"])]), [0, 1]);
    // A mark with which the request arrives at another route is none.
    assert_eq!(base(&world, Some("any"), &open, &[(0, &["b1", "B1", "e"]), (1, &["d"])]), [2, 0]);
    // Nobody's route has no types and needs no opening.
    assert_eq!(base(&world, None, &open, &[(0, &["b1", "e"]), (1, &["-", "d"])]), [0, 0]);
}

#[test]
fn a_side_knows_whether_requests_arrive_at_its_route() {
    let world = World::new(&document(CROWD));
    let side = world.side();
    let space = Space::default();
    let arrives = |name: Option<&str>, frame: &Frame| {
        let half = Half::new(&side, name.map(|name| stand(&world, HOST, name)), frame, &space);
        half.arrives(&Model::new(&space, frame, &[]))
    };
    assert!(arrives(Some("any"), &frame(&["c", "d"])));
    assert!(!arrives(Some("any"), &frame(&["c", "A1"])));
    assert!(arrives(Some("a"), &frame(&["c", "A1"])));
    assert!(!arrives(Some("a"), &frame(&["c"])));
    assert!(arrives(None, &frame(&["c"])));
    assert!(!arrives(None, &frame(&["c", "d"])));
}

#[test]
fn what_is_chosen_is_kept_and_the_rest_is_taken_from_what_fits() {
    let world = World::new(&document(CROWD));
    let side = world.side();
    let mut space = Space::default();
    space.axes.insert(Axis::Segment(0), texts(&["-", "c"]));
    space.axes.insert(Axis::Segment(1), texts(&["d", "e"]));
    let frame = frame(&["{c}", "{d}"]);
    let half = Half::new(&side, Some(stand(&world, HOST, "any")), &frame, &space);
    let (second, chosen) = (Axis::Segment(1), text("e"));
    let whole = half.with_base(&space, &Choice::from([(&second, &chosen)]));
    let told: Vec<_> = whole.into_values().cloned().collect();
    assert_eq!(told, [text("c"), text("e")]);
}

/// What else is asked of a request is compared where the plainest path of the class could be read as another route's.
#[test]
fn differences_are_found_behind_paths_that_have_a_second_reading() {
    let asking = |rest: &str, values: &str| {
        document(&format!(
            "  - {{path: '{rest}', name: any, methods: [GET], require: {{request: {{query.q: [{values}]}}, scope: s}}, unbound: [x, y]}}
  - {{path: '/{{x}}/A1', methods: [GET], require: {{scope: never}}, unbound: [x]}}
  - {{path: '/A1', methods: [GET], require: {{scope: never}}}}"
        ))
    };
    for (path, unbound) in [("/{x}", "[x]"), ("/{x}/{y}", "[x, y]")] {
        let make = |values: &str| World::new(&asking(path, values).replace("[x, y]", unbound));
        let (old, new) = (make("v"), make("v, w"));
        let found = compare(&old.side(), &new.side(), &old);
        let [more] = found.as_slice() else { panic!("{path}: {found:#?}") };
        assert_eq!(more.change, Change::Decision("denied", "allowed"), "{path}");
        assert_eq!(more.old.as_ref().unwrap().route, "any");
    }
}
