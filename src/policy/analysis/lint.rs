//! What policies cannot mean as they stand (policy.md, "Analysis"): routes that no request arrives at, conditions that no
//! request fulfils, questions that no accepted issuer answers, labels that the caller chooses.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostic::{Diagnostics, Place};
use crate::policy::condition::{Condition, Test};
use crate::policy::route::{Route, RouteId};
use crate::policy::template::{Template, ValueSource};
use crate::principal::{Flow, IssuerSet};

use super::axis::Mark;
use super::classes::{frame_of, fresh, hosts, taken};
use super::encode::Encoder;
use super::half::{Half, Side};
use super::model::Model;
use super::same::Sides;
use super::space::Ground;
use super::uses::{Stand, Uses};

/// What tokens of an issuer can tell, as it is configured.
#[derive(Debug, Clone)]
pub struct Ability {
    /// The issuer's name.
    pub name: Arc<str>,
    /// Some claim holds permissions.
    pub permissions: bool,
    /// Some claim holds organisations, or tells who is global.
    pub organizations: bool,
    /// Some claim tells who is global.
    pub global: bool,
    /// Some claim holds scopes.
    pub scopes: bool,
    /// Tokens of users are told.
    pub users: bool,
    /// Client-credentials tokens are told.
    pub client_credentials: bool,
}

/// Everything that policies cannot mean.
pub fn inspect(side: &Side<'_>, abilities: &[Ability]) -> Diagnostics {
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
            answerable(condition, route, (side, abilities), &mut found);
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

/// Reports what no accepted issuer's tokens can tell, or only some's.
fn answerable(
    condition: &Condition,
    route: &Route,
    (side, abilities): (&Side<'_>, &[Ability]),
    found: &mut Diagnostics,
) {
    match &condition.test {
        Test::AllOf(parts) => parts.iter().for_each(|part| answerable(part, route, (side, abilities), found)),
        // Of alternatives another may be for the issuers that cannot answer this one.
        Test::AnyOf(_) | Test::Not(_) => {}
        test => {
            let Some((can, key)) = asked(test) else { return };
            let accepted = accepted(&route.issuers, side, abilities);
            let (able, unable): (Vec<&Ability>, Vec<&Ability>) = accepted.into_iter().partition(|one| can(one));
            let names: Vec<String> = unable.iter().map(|one| format!("`{}`", one.name)).collect();
            if names.is_empty() {
                return;
            }
            let names = names.join(", ");
            if able.is_empty() {
                let message = format!("no token of issuer {names} can tell `{test}`: every request is refused");
                let help = format!("say `{key}` under the issuer in torwart.yaml, or remove the condition");
                found.error(condition.place.clone(), message).help(help);
            } else {
                let message = format!("tokens of issuer {names} can never tell `{test}`, so they are always refused");
                let help = format!("say `{key}` under the issuer in torwart.yaml, or leave it out of `issuers` here");
                found.warning(condition.place.clone(), message).help(help);
            }
        }
    }
}

/// An ability, and the key that gives it.
type Asked = (fn(&Ability) -> bool, &'static str);

/// Which ability a test needs.
fn asked(test: &Test) -> Option<Asked> {
    match test {
        Test::Permission(_) => Some((|one| one.permissions, "claims.permissions")),
        Test::Organization(_) => Some((|one| one.organizations, "claims.organizations")),
        Test::Scope(_) => Some((|one| one.scopes, "claims.scopes")),
        Test::Global(true) => Some((|one| one.global, "claims.global")),
        Test::Flow(Flow::User) => Some((|one| one.users, "client_credentials_when")),
        Test::Flow(Flow::ClientCredentials) => Some((|one| one.client_credentials, "client_credentials_when")),
        Test::Flow(Flow::Unknown)
        | Test::Global(false)
        | Test::Subject(_)
        | Test::Client(_)
        | Test::Issuer(..)
        | Test::Claim(..)
        | Test::Acr(_)
        | Test::MaxAge(_)
        | Test::Network(_)
        | Test::Certificate(..)
        | Test::Request(..)
        | Test::Narrow(_)
        | Test::AllOf(_)
        | Test::AnyOf(_)
        | Test::Not(_) => None,
    }
}

fn accepted<'a>(set: &IssuerSet, side: &Side<'_>, abilities: &'a [Ability]) -> Vec<&'a Ability> {
    let names = side.issuers.iter().filter(|issuer| set.contains(issuer.id)).map(|issuer| &issuer.name);
    names.filter_map(|name| abilities.iter().find(|one| one.name == *name)).collect()
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
