//! Durations and decisions, counted per route through handles that are made when policies are loaded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foldhash::fast::RandomState;
use http::Method;

use super::histogram::Histogram;
use super::tally::Tally;

/// Methods by their label; what is none of them, a client's invention included, is the last.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_OTHER"];

/// Classes of status codes by their label; the last stands for a request that ended without a status.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// Whether a policy is enforced or only watched (policy.md, "Observe").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Decisions are obeyed.
    #[default]
    Enforce,
    /// Decisions are recorded, requests are forwarded.
    Observe,
}

impl Mode {
    /// The word used in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

/// A route as records name it, with its counters. One route of one snapshot; counters outlive reloads.
#[derive(Debug)]
pub struct Route {
    /// The policy's name; empty for requests that no document is responsible for.
    pub policy: Arc<str>,
    /// The route's name; empty for requests under a policy's hosts that match no route of it.
    pub name: Arc<str>,
    /// What the route does with its decisions.
    pub mode: Mode,
    pub(super) series: Arc<Series>,
}

/// The routes of one snapshot by policy and route name. The names are those of the policies: nobody else chooses what is hashed.
#[derive(Debug, Default)]
pub struct Routes {
    by_policy: Named<Named<Arc<Route>>>,
}

type Named<T> = HashMap<Arc<str>, T, RandomState>;

impl Routes {
    pub(super) fn new(routes: impl IntoIterator<Item = Arc<Route>>) -> Self {
        let mut by_policy = Named::<Named<_>>::default();
        for route in routes {
            by_policy.entry(Arc::clone(&route.policy)).or_default().insert(Arc::clone(&route.name), route);
        }
        Self { by_policy }
    }

    /// The handle of a route; with an empty route name, of the requests under the policy that match no route.
    pub fn find(&self, policy: &str, route: &str) -> Option<&Arc<Route>> {
        self.by_policy.get(policy)?.get(route)
    }
}

/// What a decision says, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Allowed.
    Allow,
    /// Refused, with the reason.
    Deny(&'static str),
    /// Would have been refused, was forwarded all the same.
    Observed(&'static str),
}

/// The counters of one route.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub(super) durations: Durations,
    allowed: AtomicU64,
    denied: OnceLock<Box<Tally>>,
    observed: OnceLock<Box<Tally>>,
}

impl Series {
    pub(super) fn count(&self, decision: Counted) {
        match decision {
            Counted::Allow => {
                self.allowed.fetch_add(1, Ordering::Relaxed);
            }
            Counted::Deny(reason) => self.denied.get_or_init(Box::default).count(reason),
            Counted::Observed(reason) => self.observed.get_or_init(Box::default).count(reason),
        }
    }

    /// Decision, reason and count of everything that was counted.
    pub(super) fn decisions(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let allowed = self.allowed.load(Ordering::Relaxed);
        let tally = |decision, tally: Option<&Box<Tally>>| -> Vec<_> {
            tally.map(|tally| tally.iter().map(|(reason, n)| (decision, reason, n)).collect()).unwrap_or_default()
        };
        (allowed > 0)
            .then_some(("allow", "", allowed))
            .into_iter()
            .chain(tally("deny", self.denied.get()))
            .chain(tally("observed", self.observed.get()))
    }
}

/// Durations by method and class of status. Histograms are made when first needed: one allocation in the life of a
/// route for each combination that occurs.
#[derive(Debug, Default)]
pub(super) struct Durations {
    by_method: [OnceLock<Box<ByClass>>; METHODS.len()],
}

type ByClass = [OnceLock<Box<Histogram>>; CLASSES.len()];

impl Durations {
    /// Adds the duration of one request; `status` is `None` when it ended without one.
    pub(super) fn observe(&self, method: &Method, status: Option<u16>, duration: Duration) {
        let by_class = self.by_method.get(method_index(method)).map(|slot| slot.get_or_init(Box::default));
        if let Some(slot) = by_class.and_then(|classes| classes.get(class_index(status))) {
            slot.get_or_init(Box::default).observe(duration);
        }
    }

    /// Method label, class label and histogram of everything that occurred.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, &Histogram)> {
        self.by_method.iter().zip(METHODS).filter_map(|(slot, method)| Some((slot.get()?, method))).flat_map(
            |(classes, method)| {
                let filled = classes.iter().zip(CLASSES);
                filled.filter_map(move |(slot, class)| Some((method, class, &**slot.get()?)))
            },
        )
    }
}

/// The method's name if it is a well-known one, else `_OTHER` (OpenTelemetry, `http.request.method`).
pub(in crate::telemetry) fn method_label(method: &Method) -> &'static str {
    METHODS.get(method_index(method)).copied().unwrap_or("_OTHER")
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        Method::CONNECT => 7,
        Method::TRACE => 8,
        _ => 9,
    }
}

fn class_index(status: Option<u16>) -> usize {
    match status {
        Some(100..=199) => 0,
        Some(200..=299) => 1,
        Some(300..=399) => 2,
        Some(400..=499) => 3,
        Some(500..=599) => 4,
        Some(_) | None => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_a_client_invented_is_other() {
        let durations = Durations::default();
        for name in ["GET", "get", "PROPFIND", "X\u{7c}Y"] {
            durations.observe(&Method::from_bytes(name.as_bytes()).unwrap(), Some(204), Duration::ZERO);
        }
        let seen: Vec<_> = durations.iter().map(|(method, class, h)| (method, class, h.count())).collect();
        assert_eq!(seen, [("GET", "2xx", 1), ("_OTHER", "2xx", 3)]);
    }

    #[test]
    fn a_request_without_status_has_a_class_of_its_own() {
        assert_eq!(CLASSES[class_index(None)], "none");
        assert_eq!(CLASSES[class_index(Some(999))], "none");
        assert_eq!(CLASSES[class_index(Some(101))], "1xx");
        assert_eq!(CLASSES[class_index(Some(599))], "5xx");
    }

    #[test]
    fn every_standard_method_has_its_label() {
        for label in &METHODS[..9] {
            assert_eq!(method_label(&Method::from_bytes(label.as_bytes()).unwrap()), *label);
        }
    }

    #[test]
    fn decisions_are_counted_by_reason() {
        let series = Series::default();
        series.count(Counted::Allow);
        series.count(Counted::Deny("scope"));
        series.count(Counted::Deny("scope"));
        series.count(Counted::Observed("scope"));
        let all: Vec<_> = series.decisions().collect();
        assert_eq!(all, [("allow", "", 1), ("deny", "scope", 2), ("observed", "scope", 1)]);
    }
}
