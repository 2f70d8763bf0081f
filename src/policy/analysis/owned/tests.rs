//! The formula of a route's conditions against the function that decides requests: a caller with every combination of
//! marks that some throws of dice make up.

use std::sync::Arc;

use super::super::axis::Space;
use super::super::classes::{frame_of, fresh, hosts, taken};
use super::super::half::{Half, Side};
use super::super::same::Sides;
use super::super::scene::{MOMENT, certificate};
use super::super::space::Ground;
use super::super::tests::Dice;
use super::super::uses::Uses;
use super::*;
use crate::policy::Caller;
use crate::policy::evaluate::Question;
use crate::policy::tests::compiled;
use crate::principal::{ClaimPath, IssuerId, IssuerIdentity};

/// Throws of dice for every route.
const THROWS: usize = 300;

fn document(route: &str) -> String {
    format!(
        "version: 1\npolicy: p\nhosts: [api.example.com]\nupstream: crm\nissuers: [shoen]\nroutes:\n  - {{{route}}}\n"
    )
}

fn issuer(folds: bool) -> Arc<IssuerIdentity> {
    let case_insensitive = if folds { vec![ClaimPath::top("groups")] } else { Vec::new() };
    Arc::new(IssuerIdentity {
        case_insensitive,
        organizations_fold: folds,
        permissions_fold: folds,
        ..IssuerIdentity::named(IssuerId(0), "shoen")
    })
}

/// A mark on every axis.
fn thrown<'m>(space: &'m Space, dice: &mut Dice) -> Vec<(&'m Axis, usize)> {
    space.axes.iter().map(|(axis, marks)| (axis, dice.roll(marks.len()))).collect()
}

/// Asks of many requests what the formula says of each condition of a route, and what is decided; how often which truth was
/// decided.
fn agree(route: &str, folds: bool) -> [usize; 3] {
    let policies = compiled(&[&document(route)]);
    let issuers = [issuer(folds)];
    let side = Side { policies: &policies, issuers: &issuers, upstreams: &["crm".into()] };
    let host = hosts(&Sides { old: &side, new: &side }).pop_first().unwrap();
    let table = side.table(&host.sample()).unwrap();
    let entry = table.router.entries().first().unwrap();
    let stand = side.stand(table, entry.id).unwrap();
    let taken = taken([Some(table), None]);
    let frame = frame_of(entry, &host, "GET", (table, &fresh(&taken)));
    let mut uses = Uses::default();
    uses.add(&stand, &frame);
    let stands = [stand];
    let ground =
        Ground { uses: &uses, frame: &frame, stands: &stands, issuers: 1, folds, taken: &taken, subjects: &[] };
    let (space, names) = (ground.space(), ["shoen".into()]);
    let mut model = Model::new(&space, &frame, &names);
    let half = Half::new(&side, Some(stand), &frame, &space);
    let mut encoder = Encoder { model: &mut model, half: &half, some_issuer: Mark::Issuer(Some(0)) };
    let switches = encoder.conditions(&stand);
    assert_eq!(model.gaps, Vec::<String>::new());
    let (mut dice, mut truths) = (Dice(0x9E37_79B9_7F4A_7C15), [0; 3]);
    for _ in 0..THROWS {
        let found = thrown(&space, &mut dice).into_iter().collect();
        let choice = model.choice(&found);
        let on: Vec<Switch> = found.iter().map(|(axis, at)| model.at(axis, *at)).collect();
        // Nobody is global and has organisations.
        if !model.formula.solve(&on) {
            continue;
        }
        let Some(scene) = model.scene(&found) else { continue };
        let Some(token) = &scene.token else { continue };
        let (principal, shown) = (token.principal(&issuers[0]), certificate(&choice));
        let caller =
            Caller { principal: Some(&principal), address: scene.address, certificate: shown.as_ref(), now: MOMENT };
        let decided = half.ask(&scene, |route, _, question| -> Vec<Truth> {
            let question = Question { caller: &caller, ..*question };
            route.conditions.iter().map(|condition| condition.evaluate(&question, Stance::Plain)).collect()
        });
        for (number, truth) in decided.into_iter().flatten().enumerate() {
            truths[truth as usize] += 1;
            for (switch, expected) in
                [(switches[number], truth == Truth::True), (!switches[number], truth != Truth::True)]
            {
                let said = model.formula.solve(&[on.clone(), vec![switch]].concat());
                assert_eq!(said, expected, "{route}: condition {number} is {truth:?} of {scene:?}");
            }
        }
    }
    truths
}

#[test]
fn what_the_formula_says_of_a_caller_is_what_is_decided() {
    for conditions in [
        "scope: {all_of: [a, b]}, permission: {any_of: [p, q]}",
        "scope: {any_of: [a, b]}, permission: {all_of: [p, q]}",
        "scope: a, permission: p",
        "all_of: [{not: {scope: {all_of: [a, b]}}}, {not: {scope: a}}, {not: {permission: {any_of: [p, q]}}}]",
        "organization: '{org}'",
        "organization: {all_of: ['{org}', '{query.o}']}",
        "not: {organization: '{org}'}",
        "not: {organization: {all_of: ['{org}', '{query.o}']}}",
        "any_of: [{organization: '{org}', scope: a}, {not: {permission: p}, global: false}]",
    ] {
        let path = if conditions.contains("{org}") { "/o/{org}" } else { "/o" };
        for folds in [false, true] {
            let truths = agree(&format!("path: '{path}', methods: [GET], require: {{{conditions}}}"), folds);
            assert!(truths.iter().filter(|count| **count > 1).count() > 1, "{conditions}: {truths:?}");
        }
    }
}

/// Values with a comma in them, which one style cannot tell apart, and values that are none.
#[test]
fn what_the_formula_says_of_what_is_narrowed_is_what_is_decided() {
    for to in ["organizations", "permissions"] {
        for style in ["repeat", "comma", "json"] {
            for asked in ["authenticated", "{request: {query.o: ['a,b', K]}}", "{request: {query.o: ['a', ' ', 'b']}}"]
            {
                let narrow = format!("narrow: {{query.o: {{to: {to}, style: {style}}}}}");
                for folds in [false, true] {
                    let truths = agree(&format!("path: /o, methods: [GET], require: {asked}, {narrow}"), folds);
                    assert!(truths.iter().filter(|count| **count > 1).count() > 1, "{narrow}: {truths:?}");
                }
            }
        }
    }
}
