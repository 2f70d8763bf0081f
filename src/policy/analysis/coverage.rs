//! What tests decide of the policies: which routes they reach, which conditions they see hold and fail.
//!
//! A condition has two sides, and a test sees one only when its decision turned on it. It sees the condition *allow* when
//! the request is allowed, the condition is as it has to be, and were it not, the request would be refused. It sees the
//! condition *refuse* when the refusal names it as the reason, or, inside a condition that is named, when it alone is in the
//! way. (Modified condition/decision coverage, RTCA DO-178C section 6.4.4.2, but for conditions that fail together: there the
//! one that is named counts.)

use std::collections::BTreeMap;

use crate::diagnostic::Place;
use crate::policy::body::BodyValues;
use crate::policy::condition::{Condition, Test};
use crate::policy::decision::{Decision, Reason};
use crate::policy::evaluate::{Question, Stance};
use crate::policy::placed::Placed;
use crate::policy::route::Route;
use crate::policy::table::Outcome;
use crate::policy::template::ValueSource;
use crate::policy::truth::Truth;
use crate::policy::{Caller, Policies};

/// Something that tests can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// A request reaches it.
    Reached,
    /// A request is allowed because of it.
    Allowed,
    /// A request is refused because of it.
    Refused,
}

/// One thing to see, of one part of a policy.
#[derive(Debug, Clone)]
pub struct Point {
    /// Where the part stands.
    pub place: Place,
    /// What it is, as a policy would say it.
    pub what: String,
    /// What is to be seen of it.
    pub side: Side,
    /// Whether a test has seen it.
    pub seen: bool,
}

/// Everything there is to see, and what was seen so far.
#[derive(Debug)]
pub struct Coverage {
    points: BTreeMap<(Key, Side), Point>,
}

/// A part of a policy: the file, the bytes, and a word to tell several parts of the same bytes apart. What a document
/// asks of all its routes is one part.
type Key = (std::path::PathBuf, usize, usize, String);

impl Coverage {
    /// Everything there is to see of these policies, none of it seen.
    pub fn of(policies: &Policies) -> Self {
        let mut coverage = Self { points: BTreeMap::new() };
        for route in policies.routes() {
            coverage.add(&route.place, &format!("route `{}`", route.name), &[Side::Reached]);
            if route.needs_token && route.conditions.is_empty() {
                coverage.add(&route.place, TOKEN, &[Side::Allowed, Side::Refused]);
            }
            for typed in &route.typed {
                coverage.add(&route.place, &type_of(&typed.source), &[Side::Refused]);
            }
            for condition in &route.conditions {
                coverage.add_condition(condition);
            }
        }
        coverage
    }

    fn add(&mut self, place: &Place, what: &str, sides: &[Side]) {
        for side in sides {
            let point = Point { place: place.clone(), what: what.to_owned(), side: *side, seen: false };
            self.points.entry((key(place, what), *side)).or_insert(point);
        }
    }

    fn add_condition(&mut self, condition: &Condition) {
        self.add(&condition.place, &in_words(condition), &[Side::Allowed, Side::Refused]);
        if condition.lift.is_some() {
            self.add(&condition.place, &lifted(condition), &[Side::Allowed]);
        }
        for part in parts(condition) {
            self.add_condition(part);
        }
    }

    /// Takes in what one decided request has shown.
    pub fn saw(&mut self, sightings: &[Sighting]) {
        for sighting in sightings {
            if let Some(point) = self.points.get_mut(&(sighting.key.clone(), sighting.side)) {
                point.seen = true;
            }
        }
    }

    /// Everything there is to see, in the order of files and lines.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.values()
    }
}

/// What one request has shown of one part of a policy.
#[derive(Debug, Clone)]
pub struct Sighting {
    key: Key,
    side: Side,
}

const TOKEN: &str = "authenticated";

fn key(place: &Place, what: &str) -> Key {
    (place.source.path.clone(), place.span.start, place.span.end, what.to_owned())
}

fn in_words(condition: &Condition) -> String {
    match &condition.test {
        Test::AllOf(parts) => format!("all_of {}", parts.len()),
        test => test.to_string(),
    }
}

fn lifted(condition: &Condition) -> String {
    format!("the bypass of `{}`", in_words(condition))
}

fn type_of(source: &ValueSource) -> String {
    format!("the type of `{source}`")
}

fn parts(condition: &Condition) -> &[Condition] {
    match &condition.test {
        Test::AllOf(parts) | Test::AnyOf(parts) => parts,
        Test::Not(part) => std::slice::from_ref(&**part),
        _ => &[],
    }
}

impl Placed<'_> {
    /// What this caller's request shows of the policies. `body`: where it was read.
    pub fn sightings(&self, caller: &Caller<'_>, body: Option<&[u8]>) -> Vec<Sighting> {
        let decision = match body {
            Some(body) => self.decide_with_body(caller, body),
            None => self.decide(caller),
        };
        let mut seen = Seen::default();
        match &self.outcome {
            Outcome::Route(route, captures) => {
                seen.note(&route.place, &format!("route `{}`", route.name), Side::Reached);
                seen.token(route, &decision);
                if let (Ok(query), Ok(read)) = (self.bound_values(route), self.body_values(route, body)) {
                    let body = &read;
                    let supposed = Truth::Unknown;
                    let question =
                        Question { captures, query: &query, headers: self.head.headers, body, caller, supposed };
                    seen.route(route, &question, &decision);
                }
            }
            Outcome::NotFound { misfit: Some(route), .. } => seen.misfit(route),
            Outcome::Ambiguous { .. } | Outcome::NotFound { misfit: None, .. } | Outcome::MethodNotAllowed { .. } => {}
        }
        seen.sightings
    }
}

#[derive(Default)]
struct Seen {
    sightings: Vec<Sighting>,
}

impl Seen {
    fn note(&mut self, place: &Place, what: &str, side: Side) {
        self.sightings.push(Sighting { key: key(place, what), side });
    }

    fn token(&mut self, route: &Route, decision: &Decision) {
        let side = match decision {
            // A preflight asks nothing of anybody.
            Decision::Allow(permit) if permit.preflight => return,
            Decision::Allow(_) => Side::Allowed,
            Decision::Deny(denial) | Decision::Observed(_, denial) if denial.reason() == Reason::Token => Side::Refused,
            Decision::Deny(_)
            | Decision::Observed(..)
            | Decision::Answered(_)
            | Decision::NeedsClaims
            | Decision::NeedsBody => return,
        };
        self.note(&route.place, TOKEN, side);
    }

    /// A capture of the route does not have its type.
    fn misfit(&mut self, route: &Route) {
        for typed in &route.typed {
            if matches!(typed.source, ValueSource::Host { .. } | ValueSource::Capture { .. }) {
                self.note(&route.place, &type_of(&typed.source), Side::Refused);
            }
        }
    }

    fn route(&mut self, route: &Route, question: &Question<'_>, decision: &Decision) {
        let refused = match decision {
            Decision::Deny(denial) | Decision::Observed(_, denial) => Some(denial.reason()),
            Decision::Allow(permit) if permit.preflight => return,
            Decision::Allow(_) => None,
            Decision::Answered(_) | Decision::NeedsClaims | Decision::NeedsBody => return,
        };
        if refused == Some(Reason::ValueType) {
            let unfit = route.typed.iter().filter(|typed| !crate::policy::placed::fits(typed, question));
            unfit.for_each(|typed| self.note(&route.place, &type_of(&typed.source), Side::Refused));
            return;
        }
        // Where the body was not read, what asks about it was not asked.
        let unread = route.body.is_some() && matches!(question.body, BodyValues::Unread);
        let mut asked = route.conditions.iter().filter(|one| !unread || !one.asks_body());
        let failed = asked.find(|one| !one.evaluate(question, Stance::Plain).holds());
        match (failed, refused) {
            (None, None) => route.conditions.iter().for_each(|one| self.condition(one, question, Stance::Plain)),
            // What has no token, or an ambiguous value, is refused whatever the conditions say.
            (Some(failed), Some(reason)) if failed.test.reason() == reason => {
                self.condition(failed, question, Stance::Plain);
            }
            _ => {}
        }
    }

    /// Conditions of which every one must hold: one decides where no other is in its way.
    fn conjunction(&mut self, conditions: &[Condition], question: &Question<'_>) {
        let fine: Vec<bool> = conditions.iter().map(|one| one.evaluate(question, Stance::Plain).holds()).collect();
        for (number, condition) in conditions.iter().enumerate() {
            if fine.iter().enumerate().all(|(other, fine)| other == number || *fine) {
                self.condition(condition, question, Stance::Plain);
            }
        }
    }

    /// A condition that the decision turns on.
    fn condition(&mut self, condition: &Condition, question: &Question<'_>, stance: Stance) {
        if condition.lifted_for(question.caller.principal) {
            if !condition.test.evaluate(question, stance).holds() {
                self.note(&condition.place, &lifted(condition), Side::Allowed);
            }
            return;
        }
        let truth = condition.evaluate(question, stance);
        let wanted = if stance == Stance::Plain { Truth::True } else { Truth::False };
        let side = if truth == wanted { Side::Allowed } else { Side::Refused };
        self.note(&condition.place, &in_words(condition), side);
        match (&condition.test, stance) {
            (Test::AllOf(parts), Stance::Plain) => self.conjunction(parts, question),
            (Test::AnyOf(parts), Stance::Plain) => self.alternatives(parts, question),
            (Test::Not(part), _) => self.condition(part, question, Stance::Negated),
            _ => {}
        }
    }

    /// Alternatives of which one is enough: a part decides where no other is in its way.
    fn alternatives(&mut self, parts: &[Condition], question: &Question<'_>) {
        let free: Vec<bool> = parts.iter().map(|part| !part.evaluate(question, Stance::Plain).holds()).collect();
        for (number, part) in parts.iter().enumerate() {
            if free.iter().enumerate().all(|(other, free)| other == number || *free) {
                self.condition(part, question, Stance::Plain);
            }
        }
    }
}

#[cfg(test)]
mod tests;
