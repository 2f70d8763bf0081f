//! Everything that one run of `torwart test` finds out.

use std::path::Path;

use serde_json::Value;

use super::coverage::Coverage;
use super::mutation::{Fate, Mutation};
use super::{Report, Suite};
use crate::trial::Loaded;

/// What is asked beside whether the tests pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Questions {
    /// What the tests decide of the policies.
    pub coverage: bool,
    /// Which changes of the policies they would not notice.
    pub mutants: bool,
}

/// What was found out.
#[derive(Debug)]
pub struct Examined<'s> {
    /// What became of the tests.
    pub report: Report<'s>,
    /// What they decide, if that was asked.
    pub coverage: Option<Coverage>,
    /// What they would not notice, if that was asked and all of them pass.
    pub mutation: Option<Mutation>,
}

impl Suite {
    /// Runs the tests and answers the questions about them.
    pub fn examine(&self, loaded: &Loaded, questions: Questions) -> Examined<'_> {
        let report = self.run(loaded);
        let coverage = questions.coverage.then(|| Coverage::of(self, loaded));
        let mutation = (questions.mutants && report.failures() == 0).then(|| Mutation::of(self, loaded));
        Examined { report, coverage, mutation }
    }
}

impl Examined<'_> {
    /// Whether every test passes and no mutant survives. How much the tests cover is no matter.
    pub fn is_good(&self) -> bool {
        let survivors = self.mutation.as_ref().map_or(0, |mutation| mutation.count(Fate::Survived));
        self.report.failures() == 0 && survivors == 0
    }

    /// Everything for people.
    pub fn to_text(&self, base: Option<&Path>) -> String {
        self.report.to_text(base) + &self.beside(base)
    }

    /// Coverage and mutants for people.
    pub fn beside(&self, base: Option<&Path>) -> String {
        let coverage = self.coverage.as_ref().map(|coverage| coverage.to_text(base));
        let mutation = self.mutation.as_ref().map(|mutation| mutation.to_text(base));
        coverage.into_iter().chain(mutation).collect()
    }

    /// Everything for programs.
    pub fn to_json(&self) -> Value {
        let mut all = self.report.to_json();
        if let Some(members) = all.as_object_mut() {
            members.extend(self.coverage.as_ref().map(|coverage| ("coverage".to_owned(), coverage.to_json())));
            members.extend(self.mutation.as_ref().map(|mutation| ("mutation".to_owned(), mutation.to_json())));
        }
        all
    }
}
