//! What policies cannot mean as they stand (policy.md, "Analysis"): routes that no request arrives at, conditions that no
//! request fulfils, labels that the caller chooses.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostic::{Diagnostics, Place};
use crate::policy::condition::{Condition, Test};
use crate::policy::route::{Route, RouteId};
use crate::policy::template::{Template, ValueSource};

use super::axis::Mark;
use super::classes::{frame_of, fresh, hosts, taken};
use super::encode::Encoder;
use super::half::{Half, Side};
use super::model::Model;
use super::same::Sides;
use super::space::Ground;
use super::uses::{Stand, Uses};

/// Everything that policies cannot mean.
pub fn inspect(side: &Side<'_>) -> Diagnostics {
    let mut found = Diagnostics::new();
    let sides = Sides { old: side, new: side };
    let mut seen: BTreeSet<RouteId> = BTreeSet::new();
    for host in hosts(&sides) {
        let Some(table) = side.table(&host.sample()) else { continue };
        let taken = taken([Some(table), None]);
        for entry in table.router.entries().iter().filter(|entry| seen.insert(entry.id)) {
            let Some(stand) = side.stand(table, entry.id) else { continue };
            let Some(method) = entry.methods.names().next() else { continue };
            let frame = frame_of(entry, &host, method, (table, &fresh(&taken)));
            Lint { side, stand, found: &mut found }.reach(&frame, &taken);
        }
    }
    for route in side.policies.routes() {
        for condition in &route.conditions {
            labels(condition, &mut found);
        }
    }
    found.sort();
    found
}

struct Lint<'l, 's> {
    side: &'l Side<'s>,
    stand: Stand<'s>,
    found: &'l mut Diagnostics,
}

impl Lint<'_, '_> {
    /// Whether some request arrives, and fulfils the conditions.
    fn reach(&mut self, frame: &super::scene::Frame, taken: &BTreeSet<String>) {
        let route: &Route = self.stand.route;
        let mut uses = Uses::default();
        uses.add(&self.stand, frame);
        let stands = [self.stand];
        let issuers: Vec<Arc<str>> = self.side.issuers.iter().map(|issuer| Arc::clone(&issuer.name)).collect();
        let folds = self.side.issuers.iter().any(|issuer| !issuer.case_insensitive.is_empty());
        let count = issuers.len();
        let ground = Ground { uses: &uses, frame, stands: &stands, issuers: count, folds, taken, subjects: &[] };
        let space = ground.space();
        let mut model = Model::new(&space, frame, &issuers);
        let half = Half::new(self.side, Some(self.stand), frame, &space);
        let some_issuer = Mark::Issuer(issuers.first().map(|_| 0));
        let mut encoder = Encoder { model: &mut model, half: &half, some_issuer };
        encoder.arrivals();
        let gates = encoder.gates(&self.stand);
        let token = encoder.token(route);
        let conditions = encoder.conditions(&self.stand);
        if !model.gaps.is_empty() {
            return;
        }
        let arrives = model.formula.all(gates);
        if !half.arrives(&model) || !model.formula.solve(&[arrives]) {
            let help = "remove it, or change the path or the types of its captures: other routes take every such request, or none has the types";
            self.found.warning(route.place.clone(), "no request can match this route").help(help);
            return;
        }
        let given = [arrives, token];
        if !model.formula.solve(&given) {
            return;
        }
        let mut holding: Vec<(usize, _)> = Vec::new();
        for (at, switch) in conditions.iter().enumerate() {
            let Some(condition) = route.conditions.get(at) else { continue };
            if !model.formula.solve(&[arrives, token, *switch]) {
                let message = format!("`{}` can never hold here", condition.test);
                self.never(condition.place.clone(), message, None);
                return;
            }
            holding.push((at, *switch));
            let all: Vec<_> = given.iter().copied().chain(holding.iter().map(|(_, switch)| *switch)).collect();
            if model.formula.solve(&all) {
                continue;
            }
            let other = holding.iter().find(|(_, other)| !model.formula.solve(&[arrives, token, *other, *switch]));
            let other = other.and_then(|(at, _)| route.conditions.get(*at));
            let message = match other {
                Some(other) => format!("`{}` and `{}` can never hold together", other.test, condition.test),
                None => format!("`{}` can never hold together with the conditions before it", condition.test),
            };
            self.never(condition.place.clone(), message, other.map(|other| other.place.clone()));
            return;
        }
    }

    fn never(&mut self, place: Place, message: String, other: Option<Place>) {
        let help =
            "every request for this route is refused: remove one of the conditions, or put alternatives under `any_of`";
        let found = self.found.warning(place, message).help(help);
        if let Some(other) = other {
            found.related(other, "the other condition");
        }
    }
}

/// Reports conditions over what a caller writes beside what is asked for.
fn labels(condition: &Condition, found: &mut Diagnostics) {
    match &condition.test {
        Test::AllOf(parts) | Test::AnyOf(parts) => parts.iter().for_each(|part| labels(part, found)),
        Test::Not(part) => labels(part, found),
        Test::Request(template, _) => {
            if let Some((what, help)) = label(template) {
                let message =
                    format!("{what} is a label that the caller chooses: what is done can be another operation");
                found.warning(condition.place.clone(), message).help(help);
            }
        }
        _ => {}
    }
}

fn label(template: &Template) -> Option<(&'static str, &'static str)> {
    let graphql = (
        "GraphQL's `operationName`",
        "the operation itself stands in `query`: allow whole documents, or give each operation a path of its own",
    );
    match &template.source {
        ValueSource::Header { name, .. } if name.as_str() == "soapaction" => {
            Some(("`SOAPAction`", "ask about `soap.operation`, which is read from the body"))
        }
        ValueSource::Query { name, .. } if &**name == "operationName" => Some(graphql),
        ValueSource::Body { pointer, .. } if pointer.as_str() == "/operationName" => Some(graphql),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
