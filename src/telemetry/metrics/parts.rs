//! Handles for everything that is counted beside requests: connections, issuers, upstreams, sinks.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;
use super::route::Durations;
use super::tally::Tally;
use crate::clock::Timestamp;

/// A number that goes up and down with the life of things.
#[derive(Debug, Default)]
pub struct Level(AtomicI64);

impl Level {
    /// Counts one thing for as long as the returned guard lives.
    pub fn enter<T: AsRef<Self>>(owner: &Arc<T>) -> Entered<T> {
        owner.as_ref().as_ref().0.fetch_add(1, Ordering::Relaxed);
        Entered(Arc::clone(owner))
    }

    /// Sets the number.
    pub fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The number.
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One thing counted in a [`Level`]; dropping it counts it out.
#[derive(Debug)]
pub struct Entered<T: AsRef<Level>>(Arc<T>);

impl<T: AsRef<Level>> Drop for Entered<T> {
    fn drop(&mut self) {
        self.0.as_ref().as_ref().0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn one(&self) {
        self.many(1);
    }

    /// Adds `n`.
    pub fn many(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes over what another counter has come to.
    pub fn reach(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What all workers are busy with.
#[derive(Debug)]
pub struct LoadMetrics {
    requests: AtomicUsize,
    memory: AtomicU32,
    most_requests: AtomicUsize,
    most_connections: AtomicUsize,
}

impl Default for LoadMetrics {
    fn default() -> Self {
        let [most_requests, most_connections] = [(); 2].map(|()| AtomicUsize::new(usize::MAX));
        Self { requests: AtomicUsize::new(0), memory: AtomicU32::new(0), most_requests, most_connections }
    }
}

impl LoadMetrics {
    /// Counts one more request under way. How many there were before.
    pub(crate) fn begin_request(&self) -> usize {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// One of them has ended.
    pub(crate) fn end_request(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests under way.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Sets how much of the memory is used, in thousandths of the limit that is nearest, and for how many requests and
    /// connections the rest is enough.
    pub(crate) fn set_memory(&self, used: u32, [requests, connections]: [usize; 2]) {
        self.most_requests.store(requests, Ordering::Relaxed);
        self.most_connections.store(connections, Ordering::Relaxed);
        self.memory.store(used, Ordering::Relaxed);
    }

    /// For how many requests at a time memory is enough, as it was seen last.
    pub fn most_requests(&self) -> usize {
        self.most_requests.load(Ordering::Relaxed)
    }

    /// For how many connections it is.
    pub fn most_connections(&self) -> usize {
        self.most_connections.load(Ordering::Relaxed)
    }

    /// How much of the memory is used, as it was seen last.
    pub fn memory(&self) -> u32 {
        self.memory.load(Ordering::Relaxed)
    }
}

/// Connections of one listener.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    /// Open connections; count with [`Level::enter`].
    pub open: Level,
    /// Connections accepted since start.
    pub accepted: Count,
    /// Connections closed for a limit that was reached or for want of memory, for what was wrong with the proxy, or for a flood of frames.
    pub refused: Tally,
    /// TLS handshakes by result: `ok`, or a word for what failed.
    pub handshakes: Tally,
}

impl AsRef<Level> for ListenerMetrics {
    fn as_ref(&self) -> &Level {
        &self.open
    }
}

/// Tokens and keys of one issuer.
#[derive(Debug, Default)]
pub struct IssuerMetrics {
    /// Tokens by result: `ok`, or the word for what is wrong with them.
    pub validations: Tally,
    /// Fetches of keys that succeeded.
    pub refreshes: Count,
    /// Fetches of keys that failed.
    pub refresh_failures: Count,
    /// Calls to userinfo that were answered.
    pub userinfo_answers: Count,
    /// Calls to userinfo that failed.
    pub userinfo_failures: Count,
    /// Calls to introspection that were answered.
    pub introspections: Count,
    /// Calls to introspection that failed.
    pub introspection_failures: Count,
    keys_since: AtomicI64,
}

impl IssuerMetrics {
    /// The keys in force were confirmed by the issuer at `moment`.
    pub fn keys_confirmed(&self, moment: Timestamp) {
        self.keys_since.store(moment.0, Ordering::Relaxed);
    }

    /// Seconds since the keys in force were confirmed; `None` while there are none.
    pub(super) fn keys_age(&self, now: Timestamp) -> Option<i64> {
        let since = self.keys_since.load(Ordering::Relaxed);
        (since != 0).then(|| now.0.saturating_sub(since).max(0))
    }
}

/// The memory of verified tokens.
#[derive(Debug, Default)]
pub struct TokenMemoryMetrics {
    /// Tokens that were remembered.
    pub hits: Count,
    /// Tokens that had to be verified.
    pub misses: Count,
    /// Tokens forgotten to make room for others.
    pub evictions: Count,
    /// Tokens remembered at the moment.
    pub entries: Level,
    /// Bytes they take.
    pub bytes: Level,
}

/// One upstream.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    /// Open connections.
    pub connections: Level,
    /// Requests that wait for a connection.
    pub waiting: Level,
    /// Requests that ended without an answer of the upstream, by what went wrong.
    pub failures: Tally,
    /// Requests sent again, and those that the budget kept from it.
    pub retries: Tally,
    endpoints: Mutex<Vec<EndpointFigures>>,
    /// Times from the request's head to the end of the answer, by method and status.
    pub(super) durations: Durations,
}

impl UpstreamMetrics {
    /// Replaces the figures of all endpoints.
    pub fn show_endpoints(&self, endpoints: Vec<EndpointFigures>) {
        *lock(&self.endpoints) = endpoints;
    }

    /// The figures of all endpoints.
    pub(super) fn endpoints(&self) -> Vec<EndpointFigures> {
        lock(&self.endpoints).clone()
    }
}

/// One address of an endpoint of an upstream.
#[derive(Debug, Clone)]
pub struct EndpointFigures {
    /// The endpoint as configured.
    pub endpoint: Arc<str>,
    /// The address.
    pub address: Arc<str>,
    /// Whether it gets requests.
    pub available: bool,
    /// Requests under way.
    pub requests: usize,
    /// Open connections.
    pub connections: usize,
    /// How often it was ejected.
    pub ejections: u64,
    /// Health checks that passed.
    pub checks_passed: u64,
    /// Health checks that failed.
    pub checks_failed: u64,
    /// Connections opened for requests.
    pub connects: u64,
    /// Attempts to open one that failed.
    pub connects_failed: u64,
}

/// Records on their way to a file or a collector.
#[derive(Debug, Default)]
pub struct SinkMetrics {
    /// Records written.
    pub written: Count,
    /// Records that found the writer's queue full.
    pub dropped: Count,
    /// Records that could not be written.
    pub failed: Count,
}
