//! What is known of endpoints, for metrics and operators.

use std::sync::Arc;
use std::time::Duration;

use super::Upstreams;
use super::endpoint::Endpoint;
use super::load::{Configured, Upstream};
use super::member::Member;
use super::moment;

/// One upstream at this moment.
#[derive(Debug)]
pub struct UpstreamState {
    /// Its name in `torwart.yaml`.
    pub name: Arc<str>,
    /// Connections that are open or being opened.
    pub connections: usize,
    /// As many as there may be.
    pub max_connections: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Every address of every endpoint, and every endpoint without one.
    pub endpoints: Vec<EndpointState>,
}

/// What an address is fit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is known against it.
    Healthy,
    /// It has failed too often, and is left alone for a time.
    Ejected,
    /// It fails its health checks.
    Failing,
    /// There is no address.
    Unresolved,
}

impl Condition {
    /// A word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Ejected => "ejected",
            Self::Failing => "failing checks",
            Self::Unresolved => "unresolved",
        }
    }
}

/// One address of an endpoint.
#[derive(Debug)]
pub struct EndpointState {
    /// As configured.
    pub endpoint: Arc<str>,
    /// `None` while the name cannot be resolved.
    pub address: Option<Arc<str>>,
    /// Whether requests are sent to it without need.
    pub available: bool,
    /// Why not.
    pub condition: Condition,
    /// Requests under way.
    pub requests: usize,
    /// Open connections.
    pub connections: usize,
    /// Those of them that wait for a request.
    pub idle: usize,
    /// Attempts to open a connection that succeeded, health checks apart.
    pub connects: u64,
    /// Attempts that failed.
    pub connects_failed: u64,
    /// Requests that were answered whole.
    pub answers: u64,
    /// Requests without an answer, or with half of one.
    pub failures: u64,
    /// How often it was ejected.
    pub ejections: u64,
    /// Health checks that passed.
    pub checks_passed: u64,
    /// Health checks that failed.
    pub checks_failed: u64,
    /// Until it comes back, while it is ejected.
    pub ejected_for: Option<Duration>,
    /// What is wrong, as far as it is known.
    pub error: Option<String>,
}

impl Upstreams {
    /// All of them, in the order of the configuration.
    pub fn states(&self) -> impl Iterator<Item = UpstreamState> {
        self.list.iter().map(|configured| state(configured))
    }
}

fn state(Configured { upstream, members, .. }: &Configured) -> UpstreamState {
    let mut endpoints = Vec::new();
    let seats = members.seats();
    let unanswered = members.unanswered();
    for (position, endpoint) in upstream.endpoints.iter().enumerate() {
        let error = unanswered.of(position);
        let mut own = seats.iter().filter(|seat| Arc::ptr_eq(&seat.member.endpoint, endpoint)).peekable();
        if own.peek().is_none() {
            endpoints.push(EndpointState::without_address(endpoint, error));
        }
        endpoints.extend(own.map(|seat| EndpointState::of(&seat.member, upstream, error)));
    }
    UpstreamState {
        name: Arc::clone(&upstream.name),
        connections: upstream.capacity.in_use(),
        max_connections: upstream.capacity.most(),
        waiting: upstream.capacity.waiting(),
        endpoints,
    }
}

impl EndpointState {
    fn without_address(endpoint: &Endpoint, error: Option<&str>) -> Self {
        Self {
            endpoint: Arc::clone(&endpoint.name),
            address: None,
            available: false,
            condition: Condition::Unresolved,
            requests: 0,
            connections: 0,
            idle: 0,
            connects: 0,
            connects_failed: 0,
            answers: 0,
            failures: 0,
            ejections: 0,
            checks_passed: 0,
            checks_failed: 0,
            ejected_for: None,
            error: error.map(str::to_owned),
        }
    }

    /// `error`: why its name has no answer at the moment, if it has none.
    fn of(member: &Member, upstream: &Upstream, error: Option<&str>) -> Self {
        let (checks_passed, checks_failed) = member.health.checks();
        let (connects, connects_failed) = member.connects();
        let (answers, failures) = member.outcomes();
        let (requests, connections) = (member.under_way(), member.connections());
        let ejected_for = member.outlier.left(moment::now());
        let condition = match ejected_for {
            _ if !member.is_healthy() => Condition::Failing,
            Some(_) => Condition::Ejected,
            None => Condition::Healthy,
        };
        // In HTTP/1 each request has a connection of its own, in HTTP/2 all share theirs.
        let in_use = if upstream.http2 && requests > 0 { connections } else { requests };
        Self {
            endpoint: Arc::clone(&member.endpoint.name),
            address: Some(Arc::clone(&member.name)),
            available: member.is_fit(),
            condition,
            requests,
            connections,
            idle: connections.saturating_sub(in_use),
            connects,
            connects_failed,
            answers,
            failures,
            ejections: member.outlier.ejections(),
            checks_passed,
            checks_failed,
            ejected_for,
            error: member.health.error().clone().or_else(|| error.map(str::to_owned)),
        }
    }
}
