//! The report in the form that continuous integration reads: `JUnit`'s XML, a suite for every file.

use std::fmt::Write as _;
use std::path::Path;

use super::outcome::{Outcome, Report};

/// The whole document. Paths below `base` are written relative to it.
pub fn junit(report: &Report<'_>, base: Option<&Path>) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuites name=\"torwart\" tests=\"{}\" failures=\"{}\" errors=\"0\">",
        report.outcomes.len(),
        report.failures()
    );
    for outcomes in report.outcomes.chunk_by(|one, next| one.case.place.path() == next.case.place.path()) {
        suite(&mut out, outcomes, base);
    }
    out.push_str("</testsuites>\n");
    out
}

fn suite(out: &mut String, outcomes: &[Outcome<'_>], base: Option<&Path>) {
    let Some(first) = outcomes.first() else { return };
    let path = first.case.place.path();
    let file = escaped(&base.and_then(|base| path.strip_prefix(base).ok()).unwrap_or(path).to_string_lossy());
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let _ = writeln!(
        out,
        "  <testsuite name=\"{file}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\">",
        outcomes.len()
    );
    for outcome in outcomes {
        let name = escaped(&outcome.case.name);
        let (line, _) = outcome.case.place.line_column();
        let _ = write!(out, "    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\"");
        match &outcome.got {
            None => out.push_str("/>\n"),
            Some(got) => {
                let message = escaped(&format!("expected {}, got {got}", outcome.case.expectation));
                let details = escaped(&outcome.details());
                let _ = writeln!(
                    out,
                    ">\n      <failure type=\"expectation\" message=\"{message}\">{details}</failure>\n    </testcase>"
                );
            }
        }
    }
    out.push_str("  </testsuite>\n");
}

/// Text as attributes and elements can hold it. Characters that XML 1.0 (section 2.2) cannot hold are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}
