//! What the tests decide of the policies, for people and for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::Suite;
use crate::policy::analysis::coverage::{self, Point, Side};
use crate::trial::Loaded;

/// What there is to see of the policies, and what the tests see.
#[derive(Debug)]
pub struct Coverage {
    seen: coverage::Coverage,
}

impl Coverage {
    /// Tries every test and watches what it turns on.
    pub fn of(suite: &Suite, loaded: &Loaded) -> Self {
        let mut seen = coverage::Coverage::of(&loaded.policies);
        for case in &suite.cases {
            seen.saw(&loaded.attempt(&case.request, &case.bearer).sightings());
        }
        Self { seen }
    }

    /// What no test sees.
    pub fn unseen(&self) -> impl Iterator<Item = &Point> {
        self.seen.points().filter(|point| !point.seen)
    }

    /// Points seen, and points there are.
    pub fn count(&self) -> (usize, usize) {
        (self.seen.points().filter(|point| point.seen).count(), self.seen.points().count())
    }

    /// How much is seen, in per cent rounded down to one place: 100 only if nothing is missing.
    pub fn per_cent(&self) -> f64 {
        let (seen, all) = self.count();
        let tenths = (seen * 1000).checked_div(all).unwrap_or(1000);
        f64::from(u16::try_from(tenths).unwrap_or(0)) / 10.0
    }

    /// Every point that is not seen, and how much is.
    pub fn to_text(&self, base: Option<&Path>) -> String {
        let mut text = String::new();
        for point in self.unseen() {
            let _ = writeln!(text, "{}: {}", point.place.shown(base), missing(point));
        }
        let (seen, all) = self.count();
        let _ = writeln!(text, "coverage: {seen} of {all} ({:.1} %)", self.per_cent());
        text
    }

    /// The points for programs.
    pub fn to_json(&self) -> Value {
        let points = self.seen.points().map(|point| {
            let (line, column) = point.place.line_column();
            json!({
                "path": point.place.path().to_string_lossy(),
                "line": line,
                "column": column,
                "what": point.what,
                "side": match point.side {
                    Side::Reached => "reached",
                    Side::Allowed => "allowed",
                    Side::Refused => "refused",
                },
                "seen": point.seen,
            })
        });
        let (seen, all) = self.count();
        json!({"seen": seen, "points": all, "percent": self.per_cent(), "list": points.collect::<Vec<_>>()})
    }
}

fn missing(point: &Point) -> String {
    let what = &point.what;
    match point.side {
        Side::Reached => format!("no test reaches {what}"),
        Side::Allowed => format!("no test is allowed because of {what}"),
        Side::Refused => format!("no test is refused because of {what}"),
    }
}
