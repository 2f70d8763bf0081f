//! Whether two compiled policies ask for the same: what tells mutants that change nothing from those that tests miss.

use std::collections::BTreeSet;

use crate::policy::Policies;
use crate::policy::condition::{Condition, Test, WordSet};
use crate::policy::route::Route;

/// Whether every route asks of everybody what its counterpart asks. Sound: conditions that are written differently count
/// as different, even where nothing satisfies one and not the other. Only for policies that differ in conditions.
pub fn asks_the_same(one: &Policies, other: &Policies) -> bool {
    let alike = |(one, other): (&std::sync::Arc<Route>, &std::sync::Arc<Route>)| {
        one.needs_token == other.needs_token
            && one.observes == other.observes
            && one.issuers == other.issuers
            && asked(one) == asked(other)
    };
    one.routes().count() == other.routes().count() && one.routes().zip(other.routes()).all(alike)
}

/// Everything that has to hold, in whatever order and however often it is written.
fn asked(route: &Route) -> BTreeSet<String> {
    let mut asked = BTreeSet::new();
    for condition in &route.conditions {
        match (&condition.test, &condition.lift) {
            (Test::Scope(WordSet::AllOf(words)), None) => {
                asked.extend(words.iter().map(|word| format!("scope {word:?}")));
            }
            _ => {
                asked.insert(text(condition));
            }
        }
    }
    asked
}

fn text(condition: &Condition) -> String {
    let lift = condition.lift.as_ref().map(|lift| format!(" unless {lift:?}")).unwrap_or_default();
    let test = match &condition.test {
        Test::AllOf(parts) => format!("all {:?}", parts.iter().map(text).collect::<BTreeSet<_>>()),
        Test::AnyOf(parts) => format!("any {:?}", parts.iter().map(text).collect::<BTreeSet<_>>()),
        Test::Not(part) => format!("not {}", text(part)),
        Test::Claim(path, test) => format!("claim {path:?} {test}"),
        test => test.to_string(),
    };
    format!("{test}{lift}")
}
