//! What a test expects, and whether it came so.

use std::fmt;

use http::HeaderMap;

use crate::response::Refusal;
use crate::trial::{Attempt, Outcome};

/// What must become of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// It is allowed, and reaches the upstream like this.
    Allow(Effect),
    /// It is refused, whatever the reason.
    Deny,
    /// It is refused for this reason.
    DenyFor(String),
    /// The gateway answers with this status.
    Status(u16),
    /// It is forwarded because the route only observes, and would be refused for this reason.
    Would(String),
}

/// What reaches the upstream; only what is written is compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effect {
    /// The upstream's name.
    pub upstream: Option<String>,
    /// The path.
    pub path: Option<String>,
    /// The query; empty where there is none.
    pub query: Option<String>,
    /// Header fields in lower case; without a value: not sent.
    pub headers: Vec<(String, Option<String>)>,
}

impl Expectation {
    /// Whether an attempt came out as expected.
    ///
    /// # Errors
    /// What came instead, in words.
    pub fn met(&self, attempt: &Attempt<'_>) -> Result<(), String> {
        match (self, &attempt.outcome) {
            (Self::Allow(effect), Outcome::Allowed(_)) => effect.met(attempt),
            (Self::Deny, Outcome::Refused(_)) => Ok(()),
            (Self::DenyFor(reason), Outcome::Refused(refusal)) if reason_of(refusal) == reason => Ok(()),
            (Self::Would(reason), Outcome::Observed(_, would)) if word(would.reason) == reason => Ok(()),
            (Self::Status(status), _) if attempt.status().map(|found| found.as_u16()) == Some(*status) => Ok(()),
            _ => Err(in_words(attempt)),
        }
    }
}

impl Effect {
    fn met(&self, attempt: &Attempt<'_>) -> Result<(), String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, wanted: Option<&str>, found: &str| {
            if wanted.is_some_and(|wanted| wanted != found) {
                differences.push(format!("{what} `{found}`"));
            }
        };
        compare("upstream", self.upstream.as_deref(), attempt.upstream().unwrap_or_default());
        compare("path", self.path.as_deref(), attempt.forwarded_path().unwrap_or_default());
        compare("query", self.query.as_deref(), attempt.forwarded_query().unwrap_or_default());
        if !self.headers.is_empty() {
            let sent = attempt.headers_sent().unwrap_or_default();
            let wrong = self.headers.iter().filter(|(name, wanted)| value(&sent, name) != *wanted);
            differences.extend(wrong.map(|(name, _)| match value(&sent, name) {
                Some(found) => format!("header {name} `{found}`"),
                None => format!("no header {name}"),
            }));
        }
        if differences.is_empty() { Ok(()) } else { Err(format!("allow, but {}", differences.join(", "))) }
    }
}

/// All values of a header field in one, as RFC 9110 section 5.3 joins them.
pub(super) fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The reason's word in tests: policy's own wherever it has one.
pub(super) fn reason_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Token(_) => "token",
        refusal => refusal.reason(),
    }
}

pub(super) fn word(reason: &'static str) -> &'static str {
    if matches!(reason, "token-required" | "invalid-token") { "token" } else { reason }
}

/// What became of a request.
fn in_words(attempt: &Attempt<'_>) -> String {
    match &attempt.outcome {
        Outcome::Allowed(_) => "allow".to_owned(),
        Outcome::Observed(_, would) => {
            format!(
                "forwarded, because the route only observes; else deny {} ({})",
                word(would.reason),
                would.status.as_u16()
            )
        }
        Outcome::Refused(refusal) => {
            let said = format!("deny {} ({})", reason_of(refusal), refusal.status().as_u16());
            match refusal {
                Refusal::Denied(_) => said,
                refusal => format!("{said}: {}", refusal.explain()),
            }
        }
        Outcome::Answered(status) => format!("answered by the gateway itself ({})", status.as_u16()),
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(effect) => effect.fmt(f),
            Self::Deny => f.write_str("deny"),
            Self::DenyFor(reason) => write!(f, "deny {reason}"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Would(reason) => write!(f, "forwarded, because the route only observes; else deny {reason}"),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("upstream", &self.upstream), ("path", &self.path), ("query", &self.query)];
        let named = named.iter().filter_map(|(what, wanted)| Some(format!("{what} `{}`", wanted.as_deref()?)));
        let headers = self.headers.iter().map(|(name, wanted)| match wanted {
            Some(wanted) => format!("header {name} `{wanted}`"),
            None => format!("no header {name}"),
        });
        let all: Vec<_> = named.chain(headers).collect();
        if all.is_empty() { f.write_str("allow") } else { write!(f, "allow, with {}", all.join(", ")) }
    }
}
