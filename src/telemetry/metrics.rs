//! Everything that is counted, and its `OpenMetrics` text.
//!
//! Counting happens on the request's path: it takes no lock and, after the first request of a kind, allocates nothing.
//! Handles are made when something is loaded (a route, an issuer, an upstream, a listener); no label value ever comes
//! from a request.

mod encode;
mod histogram;
mod named;
mod parts;
mod process;
mod route;
mod tally;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::encode::CONTENT_TYPE;
pub use self::histogram::Histogram;
pub use self::parts::{
    Count, EndpointFigures, Entered, IssuerMetrics, Level, ListenerMetrics, LoadMetrics, SinkMetrics,
    TokenMemoryMetrics, UpstreamMetrics,
};
pub(crate) use self::process::kibibytes;
pub(super) use self::route::method_label;
pub use self::route::{Counted, Mode, Route, Routes};
pub use self::tally::Tally;

use self::named::Named;
use self::route::Series;
use super::record::Record;
use crate::clock::Timestamp;

/// All counters of the process. They live as long as it does; reloads change which of them are shown.
#[derive(Debug, Default)]
pub struct Metrics {
    /// The memory of verified tokens.
    pub token_memory: Arc<TokenMemoryMetrics>,
    /// Requests under way, and memory.
    pub load: Arc<LoadMetrics>,
    /// Audit records.
    pub audit: SinkMetrics,
    /// Lines of the access log.
    pub access: SinkMetrics,
    /// Traces of requests.
    pub traces: SinkMetrics,
    unrouted: Series,
    routes: Mutex<Vec<Arc<Route>>>,
    issuers: Named<IssuerMetrics>,
    upstreams: Named<UpstreamMetrics>,
    listeners: Named<ListenerMetrics>,
    reloads: Tally,
    last_reload_failed: AtomicBool,
    last_reload: AtomicI64,
    generation: AtomicU64,
}

impl Metrics {
    /// The handles of a snapshot's routes. Routes that were there before keep their counters; those that are gone are
    /// not shown any more. Every policy gets one more handle, with an empty route name, for the requests under its
    /// hosts that match no route.
    pub fn routes<'n>(&self, routes: impl IntoIterator<Item = (&'n str, &'n str, Mode)>) -> Routes {
        let mut shown = lock(&self.routes);
        let before = Routes::new(shown.drain(..));
        let mut wanted: BTreeMap<(&str, &str), Mode> = BTreeMap::new();
        for (policy, route, mode) in routes {
            wanted.insert((policy, route), mode);
            let whole = wanted.entry((policy, "")).or_insert(mode);
            if mode == Mode::Observe {
                *whole = mode;
            }
        }
        *shown = wanted
            .into_iter()
            .map(|((policy, route), mode)| {
                let series = before.find(policy, route).map(|known| Arc::clone(&known.series)).unwrap_or_default();
                Arc::new(Route { policy: policy.into(), name: route.into(), mode, series })
            })
            .collect();
        Routes::new(shown.iter().cloned())
    }

    /// The handle of an issuer, made at its first mention.
    pub fn issuer(&self, name: &str) -> Arc<IssuerMetrics> {
        self.issuers.handle(name)
    }

    /// The handle of an upstream, made at its first mention.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        self.upstreams.handle(name)
    }

    /// The handle of a listener, named by its address as configured.
    pub fn listener(&self, address: &str) -> Arc<ListenerMetrics> {
        self.listeners.handle(address)
    }

    /// Counts an attempt to load the configuration, the first one included.
    /// What is in force from then on has this generation.
    pub fn reloaded(&self, outcome: Result<u64, ()>, now: Timestamp) {
        self.reloads.count(if outcome.is_ok() { "ok" } else { "error" });
        self.last_reload_failed.store(outcome.is_err(), Ordering::Relaxed);
        if let Ok(generation) = outcome {
            self.last_reload.store(now.0, Ordering::Relaxed);
            self.generation.store(generation, Ordering::Relaxed);
        }
    }

    /// Counts one request.
    pub(super) fn count(&self, record: &Record) {
        let series = record.route.as_ref().map_or(&self.unrouted, |route| &*route.series);
        series.durations.observe(&record.method, record.status, record.duration);
        if let Some(decision) = record.counted() {
            series.count(decision);
        }
        if let Some(principal) = &record.principal {
            self.issuers.with(&principal.issuer.name, |issuer| issuer.validations.count("ok"));
        } else if let Some(token) = &record.refused_token {
            let name = token.issuer.as_deref().unwrap_or_default();
            self.issuers.with(name, |issuer| issuer.validations.count(token.fault));
        }
        if let Some(call) = &record.upstream {
            call.metrics.durations.observe(&record.method, call.status, call.step.duration);
            if let Some(failure) = call.failure {
                call.metrics.failures.count(failure);
            }
            (0..call.retries).for_each(|_| call.metrics.retries.count("sent"));
            if call.over_budget {
                call.metrics.retries.count("over-budget");
            }
        }
    }

    /// All metrics as `OpenMetrics` text.
    pub fn text(self: &Arc<Self>) -> String {
        encode::text(self)
    }
}

/// Locks even if another holder panicked: counters have no state between that could be half-made.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
