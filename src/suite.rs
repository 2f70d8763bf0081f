//! Policy tests (policy.md, "Policy tests"): read from `*.test.yaml`, tried against the loaded policies, reported.
//!
//! The form of the files is `cases`'s; the way of a request is `trial`'s.

mod choice;
mod coverage;
mod examination;
mod expectation;
mod junit;
mod missing;
mod mutation;
mod outcome;
mod read;

use std::path::Path;

pub use self::choice::{Choice, choose};
pub use self::coverage::Coverage;
pub use self::examination::{Examined, Questions};
pub use self::expectation::{Effect, Expectation};
pub use self::junit::junit;
pub use self::mutation::{Fate, Mutation, Tried};
pub use self::outcome::{Outcome, Report};
use crate::diagnostic::{Diagnostics, Place};
use crate::policy::Policies;
use crate::trial::{Bearer, Loaded, Request};

/// All tests of one load, in the order of files and lines.
#[derive(Debug)]
pub struct Suite {
    /// The tests.
    pub cases: Vec<Case>,
}

/// One test.
#[derive(Debug)]
pub struct Case {
    /// The sentence that is true when it passes.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Who makes the request.
    pub bearer: Bearer,
    /// The request.
    pub request: Request,
    /// What must become of it.
    pub expectation: Expectation,
}

impl Suite {
    /// Reads the tests of what was loaded.
    ///
    /// # Errors
    /// Requests that cannot be sent, moments that are none, claims of nobody's issuer.
    pub fn read(loaded: &Loaded) -> Result<Self, Diagnostics> {
        read::cases(loaded).map(|cases| Self { cases })
    }

    /// Keeps the tests of one file.
    pub fn keep_file(&mut self, path: &Path) {
        let same = |case: &Case| same_file(case.place.path(), path);
        self.cases.retain(same);
    }

    /// Keeps the tests whose names contain a text.
    pub fn keep_named(&mut self, part: &str) {
        self.cases.retain(|case| case.name.contains(part));
    }

    /// Tries every test.
    pub fn run(&self, loaded: &Loaded) -> Report<'_> {
        Report { outcomes: self.cases.iter().map(|case| outcome::of(case, loaded)).collect() }
    }
}

impl Case {
    /// Whether it passes against these policies of the same configuration.
    pub fn passes(&self, loaded: &Loaded, policies: &Policies) -> bool {
        let attempt = loaded.attempt_with(policies, &self.request, &self.bearer);
        self.expectation.met(&attempt).is_ok()
    }
}

fn same_file(left: &Path, right: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    left == right || whole(left) == whole(right)
}
