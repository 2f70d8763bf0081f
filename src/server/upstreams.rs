//! What the admin listener tells of upstreams.

use crate::admin;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::EndpointFigures;

/// Endpoints and whether they answer.
pub(super) fn states(snapshot: &Snapshot) -> Vec<admin::UpstreamState> {
    let states = snapshot.upstreams.states().map(|upstream| admin::UpstreamState {
        name: upstream.name,
        connections: upstream.connections,
        max_connections: upstream.max_connections,
        waiting: upstream.waiting,
        endpoints: upstream
            .endpoints
            .into_iter()
            .map(|endpoint| admin::EndpointState {
                endpoint: endpoint.endpoint,
                address: endpoint.address,
                available: endpoint.available,
                state: endpoint.condition.as_str(),
                requests: endpoint.requests,
                connections: endpoint.connections,
                idle: endpoint.idle,
                connects: endpoint.connects,
                connects_failed: endpoint.connects_failed,
                answers: endpoint.answers,
                failures: endpoint.failures,
                ejections: endpoint.ejections,
                checks_passed: endpoint.checks_passed,
                checks_failed: endpoint.checks_failed,
                ejected_for: endpoint.ejected_for.map(|left| left.as_secs().saturating_add(1)),
                error: endpoint.error,
            })
            .collect(),
    });
    states.collect()
}

/// Brings their metrics up to date.
pub(super) fn measure(snapshot: &Snapshot) {
    for ((_, counters), upstream) in snapshot.upstream_metrics.iter().zip(snapshot.upstreams.states()) {
        counters.connections.set(upstream.connections as u64);
        counters.waiting.set(upstream.waiting as u64);
        let known = upstream.endpoints.into_iter().filter_map(|endpoint| {
            Some(EndpointFigures {
                endpoint: endpoint.endpoint,
                address: endpoint.address?,
                available: endpoint.available,
                requests: endpoint.requests,
                connections: endpoint.connections,
                ejections: endpoint.ejections,
                checks_passed: endpoint.checks_passed,
                checks_failed: endpoint.checks_failed,
                connects: endpoint.connects,
                connects_failed: endpoint.connects_failed,
            })
        });
        counters.show_endpoints(known.collect());
    }
}
