use super::super::axis::Kind;
use super::*;
use crate::principal::Flow;
use crate::target::quirks::Charset;

/// A few axes; `Organizations` is known by its first mark, everything else is switched on by its second.
fn space() -> Space {
    let flags = |first: bool| vec![Mark::Flag(first), Mark::Flag(!first)];
    let axes = [
        (Axis::Issuer, vec![Mark::Issuer(Some(0)), Mark::Issuer(None)]),
        (Axis::Flow, [Flow::User, Flow::ClientCredentials, Flow::Unknown].map(Mark::Flow).to_vec()),
        (Axis::Global, [None, Some(true), Some(false)].map(Mark::Global).to_vec()),
        (Axis::Scope("read".into()), flags(false)),
        (Axis::Organizations, flags(true)),
        (Axis::Names(Kind::Dns), vec![Mark::Names(Vec::new())]),
    ];
    Space { axes: axes.into(), gaps: vec!["a gap".to_owned()] }
}

fn frame() -> Frame {
    let (method, host) = ("GET".to_owned(), "a.example.com".to_owned());
    Frame { method, host, label: false, pieces: Vec::new(), tail: false, charset: Charset::Utf8 }
}

fn names() -> [Arc<str>; 1] {
    ["shoen".into()]
}

/// The positions that were found, in the order of the axes.
fn positions(found: Option<Found<'_>>) -> Option<Vec<usize>> {
    found.map(|found| found.into_values().collect())
}

/// Every axis has exactly one mark, and who is global has no organisations; there is nothing else to it.
#[test]
fn every_combination_of_marks_is_a_request_but_those_of_a_global_caller_with_organisations() {
    let (space, frame, names) = (space(), frame(), names());
    let mut model = Model::new(&space, &frame, &names);
    assert_eq!(model.gaps, ["a gap"]);
    let axes: Vec<&Axis> = space.axes.keys().collect();
    let global = axes.iter().position(|axis| **axis == Axis::Global).unwrap();
    let organizations = axes.iter().position(|axis| **axis == Axis::Organizations).unwrap();
    let mut rows = Vec::new();
    space.each(&axes, |row| rows.push(row.to_vec()));
    assert_eq!(rows.len(), 2 * 3 * 3 * 2 * 2);
    for row in rows {
        let on: Vec<Switch> = axes.iter().zip(&row).map(|(axis, at)| model.at(axis, *at)).collect();
        let by_mark = axes.iter().zip(&row).map(|(axis, at)| model.on(axis, &space.marks(axis)[*at]));
        assert_eq!(by_mark.collect::<Vec<_>>(), on);
        let possible = !(row[global] == 1 && row[organizations] == 0);
        assert_eq!(model.formula.solve(&on), possible, "{row:?}");
        if possible {
            assert_eq!(positions(Some(model.read())), Some(row.clone()));
            let found = model.find(&on).unwrap();
            let choice = model.choice(&found);
            assert!(axes.iter().zip(&row).all(|(axis, at)| *choice[axis] == space.marks(axis)[*at]));
            let token = model.scene(&found).unwrap().token;
            assert_eq!(token.map(|token| token.flow), frame.scene(&choice, &names).unwrap().token.map(|it| it.flow));
        }
        for (axis, at) in axes.iter().zip(&row) {
            for other in (0..space.marks(axis).len()).filter(|other| other != at) {
                let other = model.at(axis, other);
                assert!(!model.formula.solve(&[on.clone(), vec![other]].concat()), "one mark of {axis:?}");
            }
        }
    }
    let off = model.formula.constant(false);
    assert_eq!((model.on(&Axis::Acr, &Mark::Flag(true)), model.on(&Axis::Global, &Mark::Flag(true))), (off, off));
    assert_eq!((model.at(&Axis::Acr, 0), model.at(&Axis::Global, 3)), (off, off));
}

#[test]
fn a_truth_of_every_combination_is_put_into_the_formula() {
    let (space, frame, names) = (space(), frame(), names());
    let truths = [Truth::True, Truth::False, Truth::Unknown, Truth::False, Truth::True, Truth::True, Truth::Unknown];
    for axes in [&[][..], &[&Axis::Flow], &[&Axis::Flow, &Axis::Global], &[&Axis::Global, &Axis::Issuer, &Axis::Flow]] {
        for from in 0..truths.len() {
            let mut model = Model::new(&space, &frame, &names);
            let mut rows = Vec::new();
            space.each(axes, |row| rows.push((row.to_vec(), truths[(from + rows.len()) % truths.len()])));
            let tri = model.table(axes, &rows);
            for (row, truth) in rows {
                let on: Vec<Switch> = axes.iter().zip(&row).map(|(axis, at)| model.at(axis, *at)).collect();
                let mut can = |switch: Switch| model.formula.solve(&[on.clone(), vec![switch]].concat());
                let expected = [truth == Truth::True, truth == Truth::False];
                assert_eq!([can(tri.yes), can(tri.no)], expected, "{axes:?} {row:?} {truth:?}");
                assert_eq!([can(!tri.yes), can(!tri.no)], expected.map(|is| !is), "{axes:?} {row:?} {truth:?}");
            }
        }
    }
}

#[test]
fn the_plainest_request_is_found_and_never_again_what_is_forbidden() {
    let (space, frame, names) = (space(), frame(), names());
    let mut model = Model::new(&space, &frame, &names);
    let axes: Vec<Axis> = space.axes.keys().cloned().collect();
    let [issuer, flow, global, scope, organizations, dns] = axes.as_slice() else { panic!("{axes:?}") };
    assert_eq!([issuer, flow, global, dns], [&Axis::Issuer, &Axis::Flow, &Axis::Global, &Axis::Names(Kind::Dns)]);
    assert_eq!(positions(model.find(&[])), Some(vec![0, 0, 0, 0, 0, 0]));
    let (is_global, others) = (model.at(global, 1), model.at(organizations, 0));
    let reads = model.at(scope, 1);
    assert_eq!(positions(model.find(&[is_global, reads])), Some(vec![0, 0, 1, 1, 1, 0]));
    assert_eq!(positions(model.find(&[is_global, others])), None);
    // Somebody is global, or reads by a flow that nobody knows: the plainer of both has the plainer flow.
    let unknown = model.at(flow, 2);
    let other = model.formula.all([unknown, reads]);
    let either = model.formula.any([is_global, other]);
    assert_eq!(positions(model.find(&[either])), Some(vec![0, 0, 1, 0, 1, 0]));
    assert_eq!(positions(model.find(&[either, !is_global])), Some(vec![0, 2, 0, 1, 0, 0]));
    let plainest = model.find(&[]).unwrap();
    model.forbid(&plainest, |axis| [flow, scope].contains(&axis));
    assert_eq!(positions(model.find(&[])), Some(vec![0, 0, 0, 1, 0, 0]));
    assert_eq!(positions(model.find(&[!reads])), Some(vec![0, 1, 0, 0, 0, 0]));
    let next = model.find(&[]).unwrap();
    model.forbid(&next, |_| true);
    assert_eq!(positions(model.find(&[])), Some(vec![0, 0, 0, 1, 1, 0]));
}

#[test]
fn preferred_marks_are_found_as_far_as_they_go_together() {
    let (space, frame, names) = (space(), frame(), names());
    let mut model = Model::new(&space, &frame, &names);
    let is_global = model.on(&Axis::Global, &Mark::Global(Some(true)));
    let others = model.on(&Axis::Organizations, &Mark::Flag(true));
    let reads = model.on(&Axis::Scope("read".into()), &Mark::Flag(true));
    let nobody = model.on(&Axis::Issuer, &Mark::Issuer(None));
    let mut found = |assumptions: &[Switch], preferred: &[Switch]| {
        let found = model.find_preferring(assumptions, preferred)?;
        let marks = [Axis::Issuer, Axis::Global, Axis::Scope("read".into()), Axis::Organizations];
        Some(marks.map(|axis| found[&axis]))
    };
    assert_eq!(found(&[], &[is_global, others, reads, nobody]), Some([1, 1, 1, 1]));
    assert_eq!(
        found(&[!nobody], &[nobody, others, is_global, !reads]).map(|[one, _, two, three]| [one, two, three]),
        Some([0, 0, 0])
    );
    assert_eq!(found(&[is_global], &[others, reads]).map(|[_, one, two, three]| [one, two, three]), Some([1, 1, 1]));
    assert_eq!(found(&[is_global, others], &[]), None);
}
