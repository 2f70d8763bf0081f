//! Why a request is decided as it is, what reaches the upstream, and the smallest change that would be allowed: what
//! `torwart explain` and the admin surface show.

mod body;
mod change;
mod past;
mod search;
mod text;
mod token;

use std::path::Path;

use http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::policy::{ExplainedCondition, Explanation};
use crate::response::{Circumstances, Refusal};
use crate::trial::{Attempt, Bearer, Loaded, Outcome, Request};

pub use past::{Past, PastError, find};
pub use search::{Found, Way};
pub use token::{Known, TokenError, claims, pasted, persona};

/// Everything there is to say about one request.
#[derive(Debug)]
pub struct Explained {
    /// Method and URL, as asked about.
    pub request: String,
    /// Who asks, in words.
    pub asked_as: String,
    /// `allow`, `deny` or `observe`: forwarded, though it would be refused.
    pub decision: &'static str,
    /// The status of the gateway's answer, or the one that is only observed.
    pub status: Option<u16>,
    /// Why it is refused.
    pub reason: Option<&'static str>,
    /// Headers of the gateway's answer that say what is missing.
    pub answer: Vec<(String, String)>,
    /// What was wrong before any condition was asked.
    pub obstacle: Option<String>,
    /// The conditions; `None`: no policy was asked.
    pub explanation: Option<Explanation>,
    /// What reaches the upstream.
    pub forwarded: Option<Forwarded>,
    /// The smallest change that is allowed, for what is refused.
    pub way: Option<Way>,
}

/// What reaches the upstream.
#[derive(Debug)]
pub struct Forwarded {
    /// The upstream's name.
    pub upstream: String,
    /// Its path.
    pub path: String,
    /// Its query.
    pub query: Option<String>,
    /// Headers that the gateway sets.
    pub headers: Vec<(String, String)>,
}

/// Explains a request.
pub fn explain(loaded: &Loaded, request: &Request, bearer: &Bearer) -> Explained {
    let attempt = loaded.attempt(request, bearer);
    let (decision, status, reason) = match &attempt.outcome {
        Outcome::Allowed(_) => ("allow", None, None),
        Outcome::Answered(status) => ("allow", Some(status.as_u16()), None),
        Outcome::Observed(_, would) => ("observe", Some(would.status.as_u16()), Some(would.reason)),
        Outcome::Refused(refusal) => ("deny", Some(refusal.status().as_u16()), Some(refusal.reason())),
    };
    let refused = !matches!(attempt.outcome, Outcome::Allowed(_) | Outcome::Answered(_));
    Explained {
        request: format!("{} {}{}", request.method, origin(request), request.target),
        asked_as: token::in_words(bearer),
        decision,
        status,
        reason,
        answer: answer(&attempt),
        obstacle: obstacle(&attempt),
        explanation: attempt.explanation(),
        forwarded: forwarded(&attempt),
        way: refused.then(|| search::search(loaded, request, bearer)),
    }
}

fn origin(request: &Request) -> String {
    let scheme = match request.scheme {
        crate::target::Scheme::Http => "http",
        crate::target::Scheme::Https => "https",
    };
    format!("{scheme}://{}", request.authority)
}

/// What the answer says about how to get in.
fn answer(attempt: &Attempt<'_>) -> Vec<(String, String)> {
    let Outcome::Refused(refusal) = &attempt.outcome else { return Vec::new() };
    let circumstances = Circumstances { realm: attempt.policy.as_deref(), ..Circumstances::default() };
    let headers: HeaderMap = refusal.answer(&circumstances).headers().clone();
    let named = ["www-authenticate", "allow", "retry-after"].into_iter().filter_map(|name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.to_owned(), value.to_owned()))
    });
    named.collect()
}

/// Why, where no condition is to blame.
fn obstacle(attempt: &Attempt<'_>) -> Option<String> {
    match &attempt.outcome {
        Outcome::Refused(refusal) => (!matches!(refusal, Refusal::Denied(_))).then(|| refusal.explain()),
        Outcome::Allowed(_) | Outcome::Observed(..) | Outcome::Answered(_) => None,
    }
}

fn forwarded(attempt: &Attempt<'_>) -> Option<Forwarded> {
    let headers = attempt.headers_set().map(|(name, value)| {
        // A credential that the gateway adds is nobody's to read.
        let shown = if name == "authorization" { "(not shown)".into() } else { String::from_utf8_lossy(value) };
        (name.to_owned(), shown.into_owned())
    });
    let headers = headers.collect();
    Some(Forwarded {
        upstream: attempt.upstream()?.to_owned(),
        path: attempt.forwarded_path()?.to_owned(),
        query: attempt.forwarded_query().map(str::to_owned),
        headers,
    })
}

impl Explained {
    /// For people. Files below `base` are named from there.
    pub fn text(&self, base: Option<&Path>) -> String {
        text::of(self, base)
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "request": self.request,
            "as": self.asked_as,
            "decision": self.decision,
            "status": self.status,
            "reason": self.reason,
            "answer": pairs(&self.answer),
            "obstacle": self.obstacle,
            "route": self.explanation.as_ref().map(route),
            "conditions": self.explanation.as_ref().map(|all| all.conditions.iter().map(condition).collect::<Vec<_>>()),
            "forward": self.forwarded.as_ref().map(|sent| json!({
                "upstream": sent.upstream,
                "path": sent.path,
                "query": sent.query,
                "headers": pairs(&sent.headers),
            })),
            "smallest_change": self.way.as_ref().map(Way::to_json),
        })
    }
}

fn pairs(list: &[(String, String)]) -> Value {
    Value::Object(list.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect())
}

fn route(explanation: &Explanation) -> Value {
    let mut map = place(explanation.place.as_ref());
    map.insert("text".to_owned(), json!(explanation.route));
    map.insert("obstacle".to_owned(), json!(explanation.obstacle));
    Value::Object(map)
}

fn condition(condition: &ExplainedCondition) -> Value {
    let mut map = place(Some(&condition.place));
    let fields = [
        ("asked", json!(condition.asked)),
        ("found", json!(condition.found)),
        ("truth", json!(condition.truth)),
        ("lifted", json!(condition.lifted)),
        ("parts", condition.parts.iter().map(self::condition).collect()),
    ];
    map.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(map)
}

fn place(place: Option<&crate::diagnostic::Place>) -> Map<String, Value> {
    let position = place.map(crate::diagnostic::Place::line_column);
    let fields = [
        ("file", json!(place.map(crate::diagnostic::Place::path))),
        ("line", json!(position.map(|(line, _)| line))),
        ("column", json!(position.map(|(_, column)| column))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
