//! Requests and callers as switches: one for every mark of every axis, exactly one of them on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::policy::truth::Truth;

use super::axis::{Axis, Choice, Mark, Space};
use super::scene::{Frame, Scene};
use super::solver::{Formula, Switch, Tri};

/// Combinations of marks that one condition is asked about.
pub(super) const MOST_COMBINATIONS: usize = 60_000;

/// All requests of one class, as a formula.
pub(super) struct Model<'m> {
    /// What holds between the switches.
    pub(super) formula: Formula,
    /// The axes.
    pub(super) space: &'m Space,
    /// The class of paths.
    pub(super) frame: &'m Frame,
    /// Names of issuers.
    pub(super) issuers: &'m [Arc<str>],
    /// Conditions that could not be put into the formula.
    pub(super) gaps: Vec<String>,
    switches: BTreeMap<&'m Axis, Vec<Switch>>,
}

/// A mark's position on every axis.
pub(super) type Found<'m> = BTreeMap<&'m Axis, usize>;

impl<'m> Model<'m> {
    /// Every request of the space.
    pub(super) fn new(space: &'m Space, frame: &'m Frame, issuers: &'m [Arc<str>]) -> Self {
        let mut formula = Formula::new();
        let mut switches = BTreeMap::new();
        for (axis, marks) in &space.axes {
            let own: Vec<Switch> = match marks.len() {
                1 => vec![formula.constant(true)],
                2 => {
                    let one = formula.free();
                    vec![one, !one]
                }
                several => {
                    let own: Vec<Switch> = (0..several).map(|_| formula.free()).collect();
                    formula.exactly_one(&own);
                    own
                }
            };
            switches.insert(axis, own);
        }
        let mut model = Self { formula, space, frame, issuers, gaps: space.gaps.clone(), switches };
        model.global_has_no_organizations();
        model
    }

    /// The organisations of who is global are not read (tokens.md, "The principal").
    fn global_has_no_organizations(&mut self) {
        let global = self.on(&Axis::Global, &Mark::Global(Some(true)));
        let known = self.on(&Axis::Organizations, &Mark::Flag(true));
        self.formula.demand(vec![!global, !known]);
    }

    /// The switch of a mark; off for one that is not there.
    pub(super) fn on(&self, axis: &Axis, mark: &Mark) -> Switch {
        let at = self.space.marks(axis).iter().position(|known| known == mark);
        at.map_or(self.formula.constant(false), |at| self.at(axis, at))
    }

    /// The switch of the mark at a position.
    pub(super) fn at(&self, axis: &Axis, at: usize) -> Switch {
        self.switches.get(axis).and_then(|own| own.get(at)).copied().unwrap_or(self.formula.constant(false))
    }

    /// A truth for every combination of marks on these axes.
    pub(super) fn table(&mut self, axes: &[&Axis], rows: &[(Vec<usize>, Truth)]) -> Tri {
        let chosen = |model: &Self, row: &[usize]| -> Vec<Switch> {
            axes.iter().zip(row).map(|(axis, at)| model.at(axis, *at)).collect()
        };
        if let [_] | [] = axes {
            let of = |model: &mut Self, truth: Truth| {
                let rows: Vec<Switch> =
                    rows.iter().filter(|(_, found)| *found == truth).flat_map(|(row, _)| chosen(model, row)).collect();
                model.formula.any(rows)
            };
            if let ([], [(_, truth)]) = (axes, rows) {
                return self.formula.known(*truth);
            }
            return Tri { yes: of(self, Truth::True), no: of(self, Truth::False) };
        }
        let tri = Tri { yes: self.formula.free(), no: self.formula.free() };
        for (row, truth) in rows {
            let off: Vec<Switch> = chosen(self, row).into_iter().map(|switch| !switch).collect();
            for (switch, expected) in [(tri.yes, Truth::True), (tri.no, Truth::False)] {
                let consequence = if *truth == expected { switch } else { !switch };
                self.formula.demand(off.iter().copied().chain([consequence]).collect());
            }
        }
        tri
    }

    /// Finds a request under these assumptions, as plain as it can be.
    pub(super) fn find(&mut self, assumptions: &[Switch]) -> Option<Found<'m>> {
        if !self.formula.solve(assumptions) {
            return None;
        }
        let mut found = self.read();
        let mut wanted = assumptions.to_vec();
        let axes: Vec<&'m Axis> = self.space.axes.keys().collect();
        for axis in axes {
            let own = found.get(axis).copied().unwrap_or_default();
            let plainest = (0..own.min(3)).find(|at| {
                wanted.push(self.at(axis, *at));
                let possible = self.formula.solve(&wanted);
                wanted.pop();
                possible
            });
            wanted.push(self.at(axis, plainest.unwrap_or(own)));
            if plainest.is_some() {
                found = self.read();
            }
        }
        self.formula.solve(&wanted).then(|| self.read())
    }

    /// Finds a request with these marks as far as the others allow.
    pub(super) fn find_preferring(&mut self, assumptions: &[Switch], preferred: &[Switch]) -> Option<Found<'m>> {
        let mut wanted = assumptions.to_vec();
        if !self.formula.solve(&wanted) {
            return None;
        }
        for switch in preferred {
            wanted.push(*switch);
            if !self.formula.solve(&wanted) {
                wanted.pop();
            }
        }
        self.formula.solve(&wanted).then(|| self.read())
    }

    fn read(&self) -> Found<'m> {
        let mark = |own: &Vec<Switch>| own.iter().position(|switch| self.formula.holds(*switch)).unwrap_or(0);
        self.switches.iter().map(|(axis, own)| (*axis, mark(own))).collect()
    }

    /// Never finds these marks together again.
    pub(super) fn forbid(&mut self, found: &Found<'m>, axes: impl Fn(&Axis) -> bool) {
        let marks = found.iter().filter(|(axis, _)| axes(axis));
        let clause: Vec<Switch> = marks.map(|(axis, at)| !self.at(axis, *at)).collect();
        self.formula.demand(clause);
    }

    /// The marks that were found.
    pub(super) fn choice(&self, found: &Found<'m>) -> Choice<'m> {
        found.iter().filter_map(|(axis, at)| Some((*axis, self.space.marks(axis).get(*at)?))).collect()
    }

    /// The request that was found.
    pub(super) fn scene(&self, found: &Found<'m>) -> Option<Scene> {
        self.frame.scene(&self.choice(found), self.issuers)
    }
}

#[cfg(test)]
mod tests;
