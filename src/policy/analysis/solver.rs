//! Formulas over switches, and assignments that make one hold: a thin face over a SAT solver.

use batsat::{BasicSolver, SolverInterface as _, lbool};

use crate::policy::truth::Truth;

/// A switch or its opposite.
pub(super) type Switch = batsat::Lit;

/// A truth of three values, as two switches of which at most one is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tri {
    /// It is true.
    pub(super) yes: Switch,
    /// It is false.
    pub(super) no: Switch,
}

impl std::ops::Not for Tri {
    type Output = Self;

    /// Swaps true and false and keeps unknown.
    fn not(self) -> Self {
        Self { yes: self.no, no: self.yes }
    }
}

/// Switches and what must hold between them.
pub(super) struct Formula {
    solver: BasicSolver,
    on: Switch,
}

impl Formula {
    /// A formula without switches, which holds.
    pub(super) fn new() -> Self {
        let mut solver = BasicSolver::default();
        let on = Switch::new(solver.new_var_default(), true);
        solver.add_clause_reuse(&mut vec![on]);
        Self { solver, on }
    }

    /// A switch that nothing holds down.
    pub(super) fn free(&mut self) -> Switch {
        Switch::new(self.solver.new_var_default(), true)
    }

    /// The switch that is on, or the one that is off.
    pub(super) fn constant(&self, on: bool) -> Switch {
        if on { self.on } else { !self.on }
    }

    /// Whether a switch is the constant of this value.
    fn is(&self, switch: Switch, on: bool) -> bool {
        switch == self.constant(on)
    }

    /// Demands that one of these is on.
    pub(super) fn demand(&mut self, mut clause: Vec<Switch>) {
        self.solver.add_clause_reuse(&mut clause);
    }

    /// Demands that exactly one of these is on.
    pub(super) fn exactly_one(&mut self, switches: &[Switch]) {
        self.demand(switches.to_vec());
        for (at, one) in switches.iter().enumerate() {
            for other in switches.iter().skip(at + 1) {
                self.demand(vec![!*one, !*other]);
            }
        }
    }

    /// A switch that is on when all of these are.
    pub(super) fn all(&mut self, switches: impl IntoIterator<Item = Switch>) -> Switch {
        let mut parts: Vec<Switch> = switches.into_iter().filter(|switch| !self.is(*switch, true)).collect();
        parts.sort_unstable_by_key(batsat::Lit::idx);
        parts.dedup();
        if parts.iter().any(|switch| self.is(*switch, false)) {
            return self.constant(false);
        }
        match parts.as_slice() {
            [] => return self.constant(true),
            [only] => return *only,
            _ => {}
        }
        let whole = self.free();
        let mut back = vec![whole];
        for part in parts {
            self.demand(vec![!whole, part]);
            back.push(!part);
        }
        self.demand(back);
        whole
    }

    /// A switch that is on when one of these is.
    pub(super) fn any(&mut self, switches: impl IntoIterator<Item = Switch>) -> Switch {
        let opposites: Vec<Switch> = switches.into_iter().map(|switch| !switch).collect();
        !self.all(opposites)
    }

    /// A truth that is known.
    pub(super) fn known(&self, truth: Truth) -> Tri {
        Tri { yes: self.constant(truth == Truth::True), no: self.constant(truth == Truth::False) }
    }

    /// A truth that is never unknown.
    pub(super) fn certain(switch: Switch) -> Tri {
        Tri { yes: switch, no: !switch }
    }

    /// [`Truth::all`] of several.
    pub(super) fn tri_all(&mut self, parts: &[Tri]) -> Tri {
        let yes = self.all(parts.iter().map(|part| part.yes));
        let no = self.any(parts.iter().map(|part| part.no));
        Tri { yes, no }
    }

    /// [`Truth::any`] of several.
    pub(super) fn tri_any(&mut self, parts: &[Tri]) -> Tri {
        let yes = self.any(parts.iter().map(|part| part.yes));
        let no = self.all(parts.iter().map(|part| part.no));
        Tri { yes, no }
    }

    /// Finds an assignment under these assumptions; the solver then answers [`Formula::holds`].
    pub(super) fn solve(&mut self, assumptions: &[Switch]) -> bool {
        self.solver.solve_limited(assumptions) == lbool::TRUE
    }

    /// Whether the switch is on in the assignment found last.
    pub(super) fn holds(&self, switch: Switch) -> bool {
        self.solver.value_lit(switch) == lbool::TRUE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_found_exactly_where_there_is_one() {
        let mut formula = Formula::new();
        let (a, b, c) = (formula.free(), formula.free(), formula.free());
        formula.exactly_one(&[a, b, c]);
        let both = formula.all([a, b]);
        let either = formula.any([a, b]);
        assert!(!formula.solve(&[both]));
        assert!(formula.solve(&[either, !a]));
        assert!(formula.holds(b) && !formula.holds(c));
        assert!(formula.solve(&[!either]) && formula.holds(c));
        assert_eq!(formula.all([]), formula.constant(true));
        assert_eq!(formula.any([]), formula.constant(false));
    }

    #[test]
    fn three_values_are_combined_as_truths_are() {
        let truths = [Truth::True, Truth::False, Truth::Unknown];
        for (one, other) in truths.into_iter().flat_map(|one| truths.into_iter().map(move |other| (one, other))) {
            let mut formula = Formula::new();
            let parts = [formula.known(one), formula.known(other)];
            assert_eq!(formula.tri_all(&parts), formula.known(Truth::all([one, other])));
            assert_eq!(formula.tri_any(&parts), formula.known(Truth::any([one, other])));
            assert_eq!(!parts[0], formula.known(!one));
        }
    }
}
