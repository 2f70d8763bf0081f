//! The access log: one line per request under the names of OpenTelemetry's HTTP conventions.
//!
//! It tells neither the query (tokens travel in queries) nor the principal.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::Version;
use serde::Serialize;

use super::id::Hex;
use super::json;
use super::metrics::method_label;
use super::record::{Record, Verdict};

/// Appends the record's line as JSON, in the form of the program's log.
pub(super) fn write_json(record: &Record, out: &mut Vec<u8>) {
    json::line(&Line::of(record), out);
}

/// Appends the record's line for people.
pub(super) fn write_pretty(record: &Record, out: &mut Vec<u8>) {
    let line = Line::of(record);
    let mut text = format!("{}  INFO access: ", line.timestamp);
    let status = record.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let path = line.path.unwrap_or("-");
    let host = line.host.unwrap_or("-");
    let millis = record.duration.as_secs_f64() * 1e3;
    // Writing to a `String` does not fail.
    let _ = write!(text, "{} {host}{path} {status} {millis:.1}ms", record.method);
    let policy = line.policy.unwrap_or("-");
    let route = line.route.unwrap_or("-");
    let _ = write!(text, " {} {policy} `{route}`", line.decision.unwrap_or("own"));
    if let Some(reason) = line.reason {
        let _ = write!(text, " {reason}");
    }
    if let Some(error) = line.error {
        let _ = write!(text, " {error}");
    }
    let _ = write!(text, " id={}", line.request_id);
    let visible = text.chars().map(|character| if json::is_invisible(character) { '?' } else { character });
    out.extend_from_slice(visible.collect::<String>().as_bytes());
    out.push(b'\n');
}

#[derive(Serialize)]
struct Line<'r> {
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
    status: Option<u16>,
    duration: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
}

impl<'r> Line<'r> {
    fn of(record: &'r Record) -> Self {
        let method = method_label(&record.method);
        let (decision, would) = match record.verdict {
            Verdict::Allow => (Some("allow"), None),
            Verdict::Deny => (Some("deny"), None),
            Verdict::Observed { would } => (Some("allow"), Some(would)),
            Verdict::Own => (None, None),
        };
        let route = record.route.as_deref();
        Self {
            timestamp: json::time(record.time),
            level: "INFO",
            target: "access",
            method,
            method_original: (method == "_OTHER").then(|| record.method.as_str()),
            scheme: if record.tls { "https" } else { "http" },
            host: record.host.as_deref(),
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
                status: call.status,
                duration: seconds(call.step.duration),
                failure: call.failure,
            }),
            request_id: record.request_id.to_string(),
            trace_id: Hex(&record.trace.trace_id).to_string(),
            span_id: Hex(&record.trace.span_id).to_string(),
        }
    }
}

/// `network.protocol.version`.
pub(super) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// To the microsecond.
fn seconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}
