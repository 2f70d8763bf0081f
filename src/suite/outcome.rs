//! What became of tests, for people and for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::Case;
use crate::trial::{Attempt, Loaded};

/// What became of one test.
#[derive(Debug)]
pub struct Outcome<'s> {
    /// The test.
    pub case: &'s Case,
    /// What came instead of what was expected; `None` where it passed.
    pub got: Option<String>,
    /// Why the request was decided as it was; empty where it passed.
    pub explanation: String,
    /// The policy that the request fell under.
    pub policy: Option<String>,
    /// The route that it matched.
    pub route: Option<String>,
    /// The status of the gateway's own answer.
    pub status: Option<u16>,
    /// The reason of a refusal.
    pub reason: Option<&'static str>,
}

/// What became of all tests.
#[derive(Debug)]
pub struct Report<'s> {
    /// In the order of files and lines.
    pub outcomes: Vec<Outcome<'s>>,
}

/// Tries one test.
pub(super) fn of<'s>(case: &'s Case, loaded: &Loaded) -> Outcome<'s> {
    let attempt = loaded.attempt(&case.request, &case.bearer);
    let got = case.expectation.met(&attempt).err();
    Outcome {
        case,
        explanation: if got.is_some() { explained(&attempt) } else { String::new() },
        got,
        policy: attempt.policy.clone(),
        route: attempt.route.clone(),
        status: attempt.status().map(|status| status.as_u16()),
        reason: attempt.reason(),
    }
}

fn explained(attempt: &Attempt<'_>) -> String {
    attempt.explanation().map(|explanation| explanation.to_string()).unwrap_or_default()
}

impl Outcome<'_> {
    /// Whether the test passed.
    pub fn passed(&self) -> bool {
        self.got.is_none()
    }

    /// Expected and got, and the explanation.
    pub fn details(&self) -> String {
        let got = self.got.as_deref().unwrap_or_default();
        let mut text = format!("expected: {}\ngot:      {got}\n", self.case.expectation);
        text.push_str(&self.explanation);
        text
    }

    fn to_json(&self) -> Value {
        let (line, column) = self.case.place.line_column();
        json!({
            "name": self.case.name,
            "path": self.case.place.path().to_string_lossy(),
            "line": line,
            "column": column,
            "passed": self.passed(),
            "expected": self.case.expectation.to_string(),
            "got": self.got,
            "policy": self.policy,
            "route": self.route,
            "status": self.status,
            "reason": self.reason,
            "explanation": if self.passed() { Value::Null } else { self.explanation.lines().collect() },
        })
    }
}

impl Report<'_> {
    /// How many tests failed.
    pub fn failures(&self) -> usize {
        self.outcomes.iter().filter(|outcome| !outcome.passed()).count()
    }

    /// Every failed test with its explanation, and how many passed. Paths below `base` are written relative to it.
    pub fn to_text(&self, base: Option<&Path>) -> String {
        let mut text = String::new();
        for outcome in self.outcomes.iter().filter(|outcome| !outcome.passed()) {
            let _ = writeln!(text, "{}: failed: {}", outcome.case.place.shown(base), outcome.case.name);
            for line in outcome.details().lines() {
                let _ = writeln!(text, "    {line}");
            }
            text.push('\n');
        }
        let failed = self.failures();
        let _ = writeln!(text, "{} passed, {failed} failed", self.outcomes.len() - failed);
        text
    }

    /// The report for programs.
    pub fn to_json(&self) -> Value {
        let failed = self.failures();
        json!({
            "passed": self.outcomes.len() - failed,
            "failed": failed,
            "tests": self.outcomes.iter().map(Outcome::to_json).collect::<Vec<_>>(),
        })
    }
}
