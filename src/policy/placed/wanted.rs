//! What would help whoever is refused: the scopes and the login that challenges name.

use crate::policy::condition::{Condition, Test, WordSet};
use crate::policy::decision::StepUp;
use crate::policy::equality::{Case, same_word};
use crate::policy::evaluate::{Question, Stance};
use crate::policy::route::Route;
use crate::principal::Principal;

/// The scopes that would have helped: the missing ones of an `all_of`, all of an `any_of`.
pub(super) fn missing_scopes(route: &Route, principal: &Principal, question: &Question<'_>) -> String {
    let held = |scope: &str| principal.scopes.iter().any(|one| same_word(one, scope, Case::Sensitive));
    let failing = route.conditions.iter().filter(|one| !one.evaluate(question, Stance::Plain).holds());
    let mut scopes: Vec<&str> = Vec::new();
    for condition in failing {
        let Test::Scope(set) = &condition.test else { continue };
        let (WordSet::AllOf(words) | WordSet::AnyOf(words)) = set;
        for word in words {
            if !held(word) && !scopes.contains(&&**word) {
                scopes.push(word);
            }
        }
    }
    scopes.join(" ")
}

/// What one login has to give for all `authentication` conditions together, those that hold already included: the next
/// token comes of the next login alone.
pub(super) fn step_up(conditions: &[Condition], scopes: String) -> StepUp {
    let mut acr_values: Option<Vec<&str>> = None;
    let mut max_age = None;
    for condition in conditions {
        match &condition.test {
            Test::Acr(values) => acr_values = Some(narrowed(acr_values, values)),
            Test::MaxAge(seconds) => max_age = Some(max_age.map_or(*seconds, |least: u64| least.min(*seconds))),
            _ => {}
        }
    }
    StepUp { acr_values: acr_values.unwrap_or_default().join(" "), max_age, scopes }
}

/// What another condition leaves of the values. Where that is nothing no login helps, and the first condition is named.
fn narrowed<'c>(before: Option<Vec<&'c str>>, values: &'c [Box<str>]) -> Vec<&'c str> {
    let all = || values.iter().map(|value| &**value);
    let Some(before) = before else { return all().collect() };
    let common: Vec<_> = before.iter().copied().filter(|one| all().any(|value| value == *one)).collect();
    if common.is_empty() { before } else { common }
}
