//! The line as a type that a library serialises: slow, and easy to compare with the conventions.

use std::net::IpAddr;

use serde::Serialize;

use super::super::{host_and_port, version};
use crate::telemetry::id::tests::hex;
use crate::telemetry::json;
use crate::telemetry::metrics::method_label;
use crate::telemetry::record::{Record, Verdict};

/// Fields in their order.
#[derive(Serialize)]
pub(super) struct Line<'r> {
    timestamp: String,
    level: &'static str,
    target: &'static str,
    #[serde(rename = "http.request.method")]
    method: &'static str,
    #[serde(rename = "http.request.method_original", skip_serializing_if = "Option::is_none")]
    method_original: Option<&'r str>,
    #[serde(rename = "url.scheme")]
    scheme: &'static str,
    #[serde(rename = "server.address", skip_serializing_if = "Option::is_none")]
    host: Option<&'r str>,
    #[serde(rename = "server.port", skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(rename = "url.path", skip_serializing_if = "Option::is_none")]
    path: Option<&'r str>,
    #[serde(rename = "network.protocol.version")]
    version: &'static str,
    #[serde(rename = "client.address", skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(rename = "http.server.request.duration")]
    duration: f64,
    #[serde(rename = "http.request.body.size")]
    request_bytes: u64,
    #[serde(rename = "http.response.body.size")]
    response_bytes: u64,
    #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'r str>,
    #[serde(rename = "http.route", skip_serializing_if = "Option::is_none")]
    route: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<UpstreamLine<'r>>,
    request_id: String,
    trace_id: String,
    span_id: String,
}

#[derive(Serialize)]
struct UpstreamLine<'r> {
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    duration: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
}

impl<'r> Line<'r> {
    pub(super) fn of(record: &'r Record) -> Self {
        let method = method_label(&record.method);
        let (decision, would) = match record.verdict {
            Verdict::Allow => (Some("allow"), None),
            Verdict::Deny => (Some("deny"), None),
            Verdict::Observed { would } => (Some("allow"), Some(would)),
            Verdict::Own => (None, None),
        };
        let route = record.route.as_deref();
        let authority = record.host.as_deref().map(host_and_port);
        Self {
            timestamp: json::time(record.time),
            level: "INFO",
            target: "access",
            method,
            method_original: (method == "_OTHER").then(|| record.method.as_str()),
            scheme: if record.tls { "https" } else { "http" },
            host: authority.map(|(host, _)| host),
            port: authority.and_then(|(_, port)| port),
            path: record.path.as_deref(),
            version: version(record.version),
            address: record.address,
            status: record.status,
            duration: seconds(record.duration),
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            error: record.error,
            policy: route.map(|route| &*route.policy),
            route: route.map(|route| &*route.name).filter(|name| !name.is_empty()),
            decision,
            would,
            reason: record.reason,
            upstream: record.upstream.as_ref().map(|call| UpstreamLine {
                name: &call.name,
                endpoint: call.endpoint.as_deref(),
                retries: (call.retries > 0).then_some(call.retries),
                status: call.status,
                duration: seconds(call.step.duration),
                failure: call.failure,
            }),
            request_id: record.request_id.to_string(),
            trace_id: hex(&record.trace.trace_id),
            span_id: hex(&record.trace.span_id),
        }
    }
}

/// To the microsecond.
fn seconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}
