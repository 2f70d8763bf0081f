//! What a route asks, as a formula: every condition over the marks of the axes that it reads. Single tests are asked by the
//! function that decides requests; only what combines them is said again here.

use crate::policy::Caller;
use crate::policy::condition::{ClaimTest, Comparand, Condition, Operand, Test};
use crate::policy::evaluate::{Question, Stance};
use crate::policy::forward::Part;
use crate::policy::narrow::Owned;
use crate::policy::placed::fits;
use crate::policy::route::Route;
use crate::policy::truth::Truth;
use crate::principal::IssuerIdentity;

use super::axis::{Axis, Choice, Mark};
use super::half::Half;
use super::model::{MOST_COMBINATIONS, Model};
use super::scene::{MOMENT, certificate, wanted};
use super::solver::{Formula, Switch, Tri};
use super::uses::{Stand, owner, principal_axis};

/// Puts a side's route into a model.
pub(super) struct Encoder<'e, 'm, 'h, 's> {
    /// The formula.
    pub(super) model: &'e mut Model<'m>,
    /// The side.
    pub(super) half: &'e Half<'h, 's>,
    /// A mark for an issuer where it does not matter which.
    pub(super) some_issuer: Mark,
}

/// A route's answer as switches.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// It allows.
    pub(super) allows: Switch,
    /// Each of its conditions holds, in their order.
    pub(super) conditions: Vec<Switch>,
}

impl<'m, 's> Encoder<'_, 'm, '_, 's> {
    /// What decides on the side, for requests that arrive where they should. Marks that lead elsewhere are given up first, by
    /// [`Encoder::arrivals`] of both sides.
    pub(super) fn answer(&mut self) -> Answer {
        let off = self.model.formula.constant(false);
        let Some(stand) = self.half.stand else { return Answer { allows: off, conditions: Vec::new() } };
        let route: &Route = stand.route;
        let mut parts = vec![self.token(route)];
        parts.extend(self.gates(&stand));
        let conditions = self.conditions(&stand);
        parts.extend(&conditions);
        parts.extend(self.forwards(&stand));
        Answer { allows: self.model.formula.all(parts), conditions }
    }

    /// Each condition of the route holds.
    pub(super) fn conditions(&mut self, stand: &Stand<'s>) -> Vec<Switch> {
        stand.route.conditions.iter().map(|one| self.condition(stand, one, Stance::Plain).yes).collect()
    }

    /// Gives up marks with which a request arrives at another route: another class has them.
    pub(super) fn arrivals(&mut self) {
        let own = self.half.stand.map(|stand| stand.route.id());
        let space = self.model.space;
        for (axis, marks) in space.axes.iter().filter(|(axis, _)| axis.is_routed()) {
            for (at, mark) in marks.iter().enumerate() {
                let choice = self.half.with_base(space, &Choice::from([(axis, mark)]));
                let scene = self.model.frame.scene(&choice, self.model.issuers);
                if scene.is_none_or(|scene| self.half.side.position(&scene).route != own) {
                    let switch = self.model.at(axis, at);
                    self.model.formula.demand(vec![!switch]);
                }
            }
        }
    }

    /// There is a token of an accepted issuer, if one is needed.
    pub(super) fn token(&mut self, route: &Route) -> Switch {
        if !route.needs_token {
            return self.model.formula.constant(true);
        }
        let accepted = self.issuers(|issuer| route.issuers.contains(issuer.id));
        self.model.formula.any(accepted)
    }

    /// The switches of issuers that this side knows and that are so.
    pub(super) fn issuers(&self, wanted: impl Fn(&IssuerIdentity) -> bool) -> Vec<Switch> {
        let names = self.model.issuers.iter().enumerate();
        let known = names.filter(|(_, name)| self.half.side.issuer(name).is_some_and(|issuer| wanted(issuer)));
        known.map(|(at, _)| self.model.on(&Axis::Issuer, &Mark::Issuer(Some(at)))).collect()
    }

    /// Each value of the request has its type, no second reading, and can be rewritten.
    pub(super) fn gates(&mut self, stand: &Stand<'s>) -> Vec<Switch> {
        let space = self.model.space;
        let mut gates = Vec::new();
        for (axis, marks) in space.axes.iter().filter(|(axis, _)| axis.is_request()) {
            let mut open = Vec::new();
            for (at, mark) in marks.iter().enumerate() {
                let choice = self.half.with_base(space, &Choice::from([(axis, mark)]));
                let Some(scene) = self.model.frame.scene(&choice, self.model.issuers) else { continue };
                let passes = self.half.ask(&scene, |route, placed, question| {
                    route.id() == stand.route.id()
                        && route.typed.iter().all(|typed| fits(typed, question))
                        && route.narrowings().all(|narrowing| narrowing.is_readable(question))
                        && route.effects.plain_target(placed.target.path(), None).is_ok()
                });
                if passes == Some(true) {
                    open.push(self.model.at(axis, at));
                }
            }
            gates.push(self.model.formula.any(open));
        }
        gates
    }

    /// Every header and parameter that is set has a value as it must.
    fn forwards(&mut self, stand: &Stand<'s>) -> Vec<Switch> {
        let effects = &stand.route.effects;
        let facts = &self.half.side.policies.identity;
        let mut parts = Vec::new();
        for setting in &effects.headers {
            let axes = self.part_axes(stand, &setting.parts);
            let tri = self.asked(&axes, &|question, _| setting.header(question, facts).is_ok().into());
            parts.push(tri.yes);
        }
        if !effects.query.is_empty() {
            let settings = effects.query.iter().flat_map(|setting| &setting.parts);
            let axes = self.part_axes(stand, settings);
            let tri = self
                .asked(&axes, &|question, _| effects.target("/", None, std::iter::empty(), question).is_ok().into());
            parts.push(tri.yes);
        }
        parts
    }

    fn part_axes<'p>(&self, stand: &Stand<'s>, parts: impl IntoIterator<Item = &'p Part>) -> Vec<Axis> {
        let axes = parts.into_iter().flat_map(|part| match part {
            Part::Text(_) => Vec::new(),
            Part::Principal(value) => vec![principal_axis(value)],
            Part::Request(template) => stand.axes(&template.source, self.model.frame),
        });
        axes.collect()
    }

    fn condition(&mut self, stand: &Stand<'s>, condition: &Condition, stance: Stance) -> Tri {
        let test = self.test(stand, &condition.test, stance);
        if condition.lift.is_none() {
            return test;
        }
        let mut axes = vec![Axis::Flow, Axis::Client];
        self.per_issuer(&mut axes, |issuer| issuer.client_folds);
        let lifted = self.asked(&axes, &|question, _| condition.lifted_for(question.caller.principal).into()).yes;
        let lifted = Formula::certain(lifted);
        self.model.formula.tri_any(&[lifted, test])
    }

    fn test(&mut self, stand: &Stand<'s>, test: &Test, stance: Stance) -> Tri {
        match test {
            Test::AllOf(parts) => {
                let parts: Vec<Tri> = parts.iter().map(|part| self.condition(stand, part, stance)).collect();
                self.model.formula.tri_all(&parts)
            }
            Test::AnyOf(parts) => {
                let parts: Vec<Tri> = parts.iter().map(|part| self.condition(stand, part, stance)).collect();
                self.model.formula.tri_any(&parts)
            }
            Test::Not(part) => !self.condition(stand, part, Stance::Negated),
            Test::Scope(set) => self.scopes(set),
            Test::Permission(set) => self.permissions(set),
            Test::Organization(templates) => {
                let global = self.single(&Test::Global(true), &[Axis::Global], stance);
                let members: Vec<Tri> = templates.iter().map(|template| self.member(stand, template, stance)).collect();
                let members = self.model.formula.tri_all(&members);
                self.model.formula.tri_any(&[global, members])
            }
            Test::Subject(values) => self.comparands(stand, values, stance, &Axis::Subject),
            Test::Client(values) => self.comparands(stand, values, stance, &Axis::Client),
            Test::Claim(path, claim) => {
                let axis = Axis::Claim(path.clone());
                let (operands, all): (&[Operand], bool) = match claim {
                    ClaimTest::OneOf(operands) | ClaimTest::ContainsAny(operands) => (operands, false),
                    ClaimTest::ContainsAll(operands) => (operands, true),
                    ClaimTest::Exists(_) => return self.single(test, &[axis], stance),
                };
                let parts: Vec<Tri> = operands
                    .iter()
                    .map(|operand| {
                        let mut axes = vec![axis.clone()];
                        if let Operand::Template(template) = operand {
                            axes.extend(stand.axes(&template.source, self.model.frame));
                        }
                        self.per_issuer(&mut axes, |issuer| issuer.case_insensitive.contains(path));
                        let one = Box::new([operand.clone()]);
                        let one = match claim {
                            ClaimTest::OneOf(_) => ClaimTest::OneOf(one),
                            ClaimTest::ContainsAll(_) => ClaimTest::ContainsAll(one),
                            ClaimTest::ContainsAny(_) | ClaimTest::Exists(_) => ClaimTest::ContainsAny(one),
                        };
                        self.single(&Test::Claim(path.clone(), one), &axes, stance)
                    })
                    .collect();
                if all { self.model.formula.tri_all(&parts) } else { self.model.formula.tri_any(&parts) }
            }
            Test::Narrow(narrowing) => match narrowing.to {
                Owned::Organizations | Owned::Permissions => self.narrowed(narrowing),
                Owned::Subject | Owned::Client => {
                    let mut axes = vec![Axis::Query(narrowing.name.clone()), owner(narrowing.to), Axis::Flow];
                    self.per_issuer(&mut axes, |issuer| issuer.subject_folds || issuer.client_folds);
                    self.single(test, &axes, stance)
                }
            },
            Test::Flow(_) => self.single(test, &[Axis::Flow], stance),
            Test::Global(_) => self.single(test, &[Axis::Global], stance),
            Test::Issuer(..) => self.single(test, &[Axis::Issuer], stance),
            Test::Acr(_) => self.single(test, &[Axis::Acr], stance),
            Test::MaxAge(_) => self.single(test, &[Axis::Age], stance),
            Test::Network(_) => self.single(test, &[Axis::Address], stance),
            Test::Certificate(kind, _) => self.single(test, &[Axis::Certificate, Axis::Names((*kind).into())], stance),
            Test::Request(template, _) => self.single(test, &stand.axes(&template.source, self.model.frame), stance),
        }
    }

    /// One of several texts or values.
    fn comparands(&mut self, stand: &Stand<'s>, values: &[Comparand], stance: Stance, axis: &Axis) -> Tri {
        let mut parts = Vec::new();
        for value in values {
            let mut axes = vec![axis.clone()];
            if let Comparand::Template(template) = value {
                axes.push(Axis::Flow);
                axes.extend(stand.axes(&template.source, self.model.frame));
            }
            let one = Box::new([value.clone()]);
            let test = if *axis == Axis::Subject { Test::Subject(one) } else { Test::Client(one) };
            self.per_issuer(&mut axes, |issuer| issuer.subject_folds || issuer.client_folds);
            parts.push(self.single(&test, &axes, stance));
        }
        self.model.formula.tri_any(&parts)
    }

    /// Adds the issuer to the axes if it matters which it is.
    fn per_issuer(&self, axes: &mut Vec<Axis>, folds: impl Fn(&IssuerIdentity) -> bool) {
        if self.half.side.issuers.iter().any(|issuer| folds(issuer)) {
            axes.push(Axis::Issuer);
        }
    }

    /// One test, asked for every combination of marks on the axes that it reads.
    fn single(&mut self, test: &Test, axes: &[Axis], stance: Stance) -> Tri {
        self.asked(axes, &|question, _| test.evaluate(question, stance))
    }

    /// A truth for every combination of marks on these axes. What does not come as far as conditions is unknown.
    fn asked(&mut self, axes: &[Axis], ask: &dyn Fn(&Question<'_>, &Choice<'_>) -> Truth) -> Tri {
        let space = self.model.space;
        let mut known: Vec<&'m Axis> = space.axes.keys().filter(|known| axes.contains(known)).collect();
        known.sort_by_key(|axis| !axis.is_request());
        if space.combinations(&known) > MOST_COMBINATIONS {
            self.model.gaps.push("a condition compares too many values at once".to_owned());
            let tri = Tri { yes: self.model.formula.free(), no: self.model.formula.free() };
            self.model.formula.demand(vec![!tri.yes, !tri.no]);
            return tri;
        }
        let (request, caller): (Vec<&Axis>, Vec<&Axis>) = known.iter().partition(|axis| axis.is_request());
        let mut rows = Vec::new();
        space.each(&request, |head| {
            let head_choice = self.half.with_base(space, &choose(space, &request, head));
            let scene = self.model.frame.scene(&head_choice, self.model.issuers);
            let answered = scene.and_then(|scene| {
                self.half.ask(&scene, |_, _, question| {
                    space.each(&caller, |rest| {
                        let mut choice = head_choice.clone();
                        choice.extend(choose(space, &caller, rest));
                        let truth = self.with_caller(question, &choice, ask);
                        rows.push((head.iter().chain(rest).copied().collect::<Vec<_>>(), truth));
                    });
                })
            });
            if answered.is_none() {
                space.each(&caller, |rest| {
                    rows.push((head.iter().chain(rest).copied().collect(), Truth::Unknown));
                });
            }
        });
        self.model.table(&known, &rows)
    }

    /// Asks with the caller that these marks make.
    fn with_caller(
        &self,
        question: &Question<'_>,
        choice: &Choice<'_>,
        ask: &dyn Fn(&Question<'_>, &Choice<'_>) -> Truth,
    ) -> Truth {
        let mut choice = choice.clone();
        choice.entry(&Axis::Issuer).or_insert(&self.some_issuer);
        let token = wanted(&choice, self.model.issuers);
        let principal = token.and_then(|token| Some(token.principal(self.half.side.issuer(&token.issuer)?)));
        let shown = certificate(&choice);
        let address = if let Some(Mark::Address(address)) = choice.get(&Axis::Address) { *address } else { None };
        let caller = Caller { principal: principal.as_ref(), address, certificate: shown.as_ref(), now: MOMENT };
        ask(&Question { caller: &caller, ..*question }, &choice)
    }
}

/// The marks at these positions.
pub(super) fn choose<'m>(space: &'m super::axis::Space, axes: &[&'m Axis], at: &[usize]) -> Choice<'m> {
    axes.iter().zip(at).filter_map(|(axis, at)| Some((*axis, space.marks(axis).get(*at)?))).collect()
}
