//! Spellings, and formulas against enumeration.

use proptest::prelude::*;

use crate::policy::analysis::solver::{Formula, Switch};
use crate::policy::analysis::spelling::{component, is_label, is_path, keeping, turned};
use crate::target::canonical::{KEPT_BACKSLASH, KEPT_SEMICOLON, KEPT_SLASH};

// Spellings.

#[test]
fn letters_are_turned_all_of_them_into_the_other_case() {
    assert_eq!(["abc-1", "aBc", "ABC", "1-2"].map(turned), ["ABC-1", "ABC", "abc", "1-2"]);
}

#[test]
fn escapes_that_are_kept_are_written_with_what_stands_for_them() {
    assert_eq!(keeping("a%2Fb%5C%3B%41"), format!("a{KEPT_SLASH}b{KEPT_BACKSLASH}{KEPT_SEMICOLON}%41"));
}

#[test]
fn a_label_is_what_a_host_name_can_have_between_two_dots() {
    for label in ["a", "A-1", "x_y", "9", &"a".repeat(63)] {
        assert!(is_label(label), "{label}");
    }
    for none in ["", "a.b", "a b", "ä", "a/", &"a".repeat(64), &"a".repeat(65)] {
        assert!(!is_label(none), "{none}");
    }
}

#[test]
fn a_path_has_segments_that_stay_what_they_are() {
    for path in ["a", "a/b", "a/", "", "a/...", "a/.b"] {
        assert!(is_path(path), "{path}");
    }
    for none in ["/a", "a//b", "a\n", "a/./b", "a/..", "..", "."] {
        assert!(!is_path(none), "{none}");
    }
}

#[test]
fn what_a_query_cannot_hold_is_escaped() {
    assert_eq!(component("aZ9-._~ &=+%ä/"), "aZ9-._~%20%26%3D%2B%25%C3%A4%2F");
}

// Formulas.

/// A formula over four switches, as numbers that nothing else means.
#[derive(Debug, Clone)]
enum Tree {
    Switch(usize, bool),
    All(Vec<Tree>),
    Any(Vec<Tree>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = (0..6_usize, any::<bool>()).prop_map(|(at, on)| Tree::Switch(at, on));
    leaf.prop_recursive(3, 24, 4, |inner| {
        let several = prop::collection::vec(inner, 0..4);
        (several, any::<bool>()).prop_map(|(parts, all)| if all { Tree::All(parts) } else { Tree::Any(parts) })
    })
}

impl Tree {
    fn holds(&self, on: [bool; 6]) -> bool {
        match self {
            Self::Switch(at, wanted) => on[*at] == *wanted,
            Self::All(parts) => parts.iter().all(|part| part.holds(on)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(on)),
        }
    }

    fn built(&self, formula: &mut Formula, switches: &[Switch; 6]) -> Switch {
        match self {
            Self::Switch(at, true) => switches[*at],
            Self::Switch(at, false) => !switches[*at],
            Self::All(parts) => {
                let parts: Vec<Switch> = parts.iter().map(|part| part.built(formula, switches)).collect();
                formula.all(parts)
            }
            Self::Any(parts) => {
                let parts: Vec<Switch> = parts.iter().map(|part| part.built(formula, switches)).collect();
                formula.any(parts)
            }
        }
    }
}

#[test]
fn a_truth_that_is_certain_is_false_where_it_is_not_true() {
    let mut formula = Formula::new();
    let switch = formula.free();
    let certain = Formula::certain(switch);
    assert_eq!((certain.yes, certain.no), (switch, !switch));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_formula_holds_exactly_where_it_should(tree in trees(), one_of in prop::collection::btree_set(0..4_usize, 0..4)) {
        let mut formula = Formula::new();
        // The last two are constants.
        let mut switches = [formula.constant(true); 6];
        switches[5] = formula.constant(false);
        for switch in &mut switches[..4] {
            *switch = formula.free();
        }
        let chosen: Vec<Switch> = one_of.iter().map(|at| switches[*at]).collect();
        let whole = tree.built(&mut formula, &switches);
        if !chosen.is_empty() {
            formula.exactly_one(&chosen);
        }
        for number in 0..16_usize {
            let on = [0, 1, 2, 3, 4, 5].map(|at| if at < 4 { number >> at & 1 == 1 } else { at == 4 });
            let allowed = chosen.is_empty() || one_of.iter().filter(|at| on[**at]).count() == 1;
            let fixed: Vec<Switch> = (0..4).map(|at| if on[at] { switches[at] } else { !switches[at] }).collect();
            prop_assert_eq!(formula.solve(&fixed), allowed);
            if allowed {
                prop_assert_eq!(formula.holds(whole), tree.holds(on));
                let with = |switch| fixed.iter().copied().chain([switch]).collect::<Vec<_>>();
                prop_assert_eq!(formula.solve(&with(whole)), tree.holds(on));
                prop_assert_eq!(formula.solve(&with(!whole)), !tree.holds(on));
            }
        }
    }
}
