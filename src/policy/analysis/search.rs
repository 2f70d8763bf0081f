//! Requests made up to show a difference, each confirmed by both sides before anybody hears of it.

use std::collections::BTreeSet;

use super::axis::{Axis, Mark};
use super::diff::{Answered, Change, Comparison, Which, Witness, change};
use super::encode::Answer;
use super::half::Half;
use super::model::{Found, Model};
use super::pages::Pages;
use super::solver::Switch;
use super::uses::Stand;

/// Requests of one class that are made up before it counts as undecided.
const MOST_ATTEMPTS: usize = 400;
/// Differences of one kind that are told of one class, each decided by another condition.
const MOST_TOLD: usize = 4;

/// The search for requests of one frame.
pub(super) struct Search<'q, 'c, 'm, 's> {
    /// What it is a part of.
    pub(super) comparison: &'q mut Comparison<'c>,
    /// The requests.
    pub(super) model: Model<'m>,
    /// Both sides.
    pub(super) halves: (Half<'m, 's>, Half<'m, 's>),
    /// Their routes.
    pub(super) stands: &'m (Option<Stand<'s>>, Option<Stand<'s>>),
    /// What the effects read, where they are not the same.
    pub(super) sent: Option<BTreeSet<Axis>>,
    /// What could not be said.
    pub(super) gaps: Vec<String>,
}

/// What became of a request that was made up.
enum Tried {
    /// Both sides confirm a difference.
    Told,
    /// It arrives at other routes.
    Elsewhere,
    /// There is no such token.
    Impossible,
    /// Both sides do the same.
    Alike,
}

impl Search<'_, '_, '_, '_> {
    /// Looks for every kind of difference; answers with what could not be said.
    pub(super) fn run(mut self, answered: &Answered) -> Vec<String> {
        let (old, new) = (answered.old.allows, answered.new.allows);
        self.decisions([old, !new], &answered.new);
        self.decisions([!old, new], &answered.old);
        let shown = self.sent.is_some() && self.effects(&[old, new]);
        let cors = |stand: &Option<Stand<'_>>| stand.as_ref().map(|stand| Pages::of(stand.route));
        if let (Some(old), Some(new)) = (cors(&self.stands.0), cors(&self.stands.1))
            && !shown
            && old != new
        {
            self.gaps.push("refusals say something else about pages of other origins (`cors`)".to_owned());
        }
        let observes = |stand: &Option<Stand<'_>>| stand.is_some_and(|stand| stand.route.observes);
        let observing = (observes(&self.stands.0), observes(&self.stands.1));
        let sides = [self.comparison.sides.old, self.comparison.sides.new];
        let any = sides.into_iter().any(|side| side.policies.observing().next().is_some());
        let one_sided = self.stands.0.is_none() || self.stands.1.is_none();
        if observing.0 != observing.1 || any && (self.sent.is_some() || one_sided) {
            self.effects(&[!old, !new]);
        }
        // What could not be compared is why nothing was found.
        self.model.gaps.into_iter().chain(self.gaps).collect()
    }

    /// Requests that one side allows and the other does not, one for every condition that decides so.
    fn decisions(&mut self, wanted: [Switch; 2], refusing: &Answer) {
        let mut assumptions = wanted.to_vec();
        for _ in 0..MOST_TOLD {
            if !self.confirmed(&assumptions, &[], |change| matches!(change, Change::Decision(..))) {
                return;
            }
            // The next is to be decided by another condition.
            match refusing.conditions.iter().find(|switch| !self.model.formula.holds(**switch)) {
                Some(switch) => assumptions.push(*switch),
                None => return,
            }
        }
    }

    /// Requests of which different things reach the upstream; whether one was found.
    fn effects(&mut self, wanted: &[Switch]) -> bool {
        let mut preferred = self.preferred();
        preferred.push(self.model.formula.constant(true));
        self.confirmed(wanted, &preferred, |_| true)
    }

    /// Looks for a request that both sides confirm to be different, and tells of it. Of requests whose effects are compared,
    /// the first has as much to send as it can.
    fn confirmed(&mut self, assumptions: &[Switch], preferred: &[Switch], accepts: impl Fn(&Change) -> bool) -> bool {
        for attempt in 0..MOST_ATTEMPTS {
            let found = if attempt == 0 && !preferred.is_empty() {
                self.model.find_preferring(assumptions, preferred)
            } else {
                self.model.find(assumptions)
            };
            let Some(found) = found else { return false };
            match self.tried(&found, &accepts) {
                Tried::Told => return true,
                Tried::Elsewhere => self.model.forbid(&found, Axis::is_routed),
                Tried::Impossible => self.model.forbid(&found, Axis::is_token),
                Tried::Alike => {
                    let sent = self.sent.as_ref().filter(|_| !preferred.is_empty());
                    // What no effect reads makes no other effect.
                    self.model.forbid(&found, |axis| sent.is_none_or(|sent| sent.contains(axis)));
                }
            }
        }
        self.gaps.push(format!("{MOST_ATTEMPTS} requests were made up and none shows the difference"));
        false
    }

    fn tried(&mut self, found: &Found<'_>, accepts: &impl Fn(&Change) -> bool) -> Tried {
        let Some(scene) = self.model.scene(found) else { return Tried::Elsewhere };
        let arrived =
            |half: &Half<'_, '_>| half.side.position(&scene).route == half.stand.map(|stand| stand.route.id());
        if !arrived(&self.halves.0) || !arrived(&self.halves.1) {
            return Tried::Elsewhere;
        }
        let Some((old, new, exact)) = self.comparison.replay(&scene) else { return Tried::Impossible };
        match change(&old, &new).filter(accepts) {
            Some(change) => {
                let told = (
                    Comparison::told(Which::Old, self.stands, Some(&old)),
                    Comparison::told(Which::New, self.stands, Some(&new)),
                );
                self.comparison.tell(change, told, Some(Witness { scene, old, new }));
                Tried::Told
            }
            None if exact => Tried::Alike,
            None => Tried::Impossible,
        }
    }

    /// Marks that show effects where there are any: what is sent is told apart best where there is something to send.
    fn preferred(&self) -> Vec<Switch> {
        let mut preferred = Vec::new();
        for (axis, marks) in &self.model.space.axes {
            let telling = match axis {
                Axis::Permissions | Axis::Organizations | Axis::Scope(_) | Axis::Permission(_) => {
                    marks.iter().position(|mark| *mark == Mark::Flag(true))
                }
                Axis::Query(_) | Axis::Header(_) | Axis::Claim(_) => (marks.len() > 1).then_some(1),
                _ => None,
            };
            preferred.extend(telling.map(|at| self.model.at(axis, at)));
        }
        preferred
    }
}
