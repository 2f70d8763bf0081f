//! The search for the smallest change of a request that is allowed: breadth first over what each refusal asks for, every
//! candidate decided by the data path's own functions.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::change::Changed;
use crate::trial::{Bearer, Loaded, Outcome, Request};

/// Changes that are combined at most.
const DEPTH: usize = 6;
/// Requests that are tried at most.
const MOST: usize = 3000;
/// Ways of the same size that are told at most.
const TOLD: usize = 4;
/// Letters of a body beyond which nobody reads it here.
const SHOWN: usize = 400;

/// What the search came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The smallest changes that are allowed, all of one size. Empty: none was found.
    pub found: Vec<Found>,
    /// How many requests were decided.
    pub tried: usize,
}

/// Changes that together are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Each, in words.
    pub changes: Vec<String>,
    /// Method and URL of the request that is allowed.
    pub request: String,
    /// Its body, where that is another one.
    pub body: Option<String>,
}

pub(super) fn search(loaded: &Loaded, asked: &Request, bearer: &Bearer) -> Way {
    let mut way = Way { found: Vec::new(), tried: 0 };
    let start = Changed::nothing(asked.clone(), bearer.clone());
    let mut seen = HashSet::from([start.key()]);
    let mut queue = VecDeque::from([start]);
    while let Some(changed) = queue.pop_front() {
        let size = changed.size();
        let done = way.found.first().is_some_and(|found| size > found.changes.len());
        if done || way.found.len() >= TOLD || way.tried >= MOST {
            break;
        }
        let attempt = loaded.attempt(&changed.request, &changed.bearer);
        way.tried += 1;
        if size > 0 && matches!(attempt.outcome, Outcome::Allowed(_)) {
            let request = &changed.request;
            let url = format!("{} {}{}", request.method, super::origin(request), request.target);
            let body = (request.body != asked.body).then(|| String::from_utf8_lossy(&request.body).into_owned());
            way.found.push(Found { changes: changed.in_words(loaded), request: url, body });
            continue;
        }
        if size >= DEPTH || !way.found.is_empty() {
            continue;
        }
        for change in changed.ideas(loaded, &attempt) {
            if let Some(next) = changed.with(change, loaded)
                && seen.insert(next.key())
            {
                queue.push_back(next);
            }
        }
    }
    way
}

impl Way {
    /// For people.
    pub fn text(&self) -> String {
        let Some(first) = self.found.first() else {
            let tried = self.tried;
            return format!("change   none found that is allowed, among {tried} requests with up to {DEPTH} changes\n");
        };
        let mut text = String::new();
        for (number, found) in self.found.iter().enumerate() {
            let label = if number == 0 { "change" } else { "or" };
            for (step, change) in found.changes.iter().enumerate() {
                let label = if step == 0 { label } else { "" };
                let _ = writeln!(text, "{label:<8} {}{change}", if step == 0 { "" } else { "and " });
            }
        }
        let _ = writeln!(text, "         which is allowed: {}", first.request);
        if let Some(body) = first.body.as_ref().filter(|body| body.chars().count() <= SHOWN) {
            let _ = writeln!(text, "         with the body {body}");
        }
        text
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let found = self
            .found
            .iter()
            .map(|found| json!({"changes": found.changes, "request": found.request, "body": found.body}));
        json!({"found": found.collect::<Vec<_>>(), "tried": self.tried, "most_changes": DEPTH})
    }
}
