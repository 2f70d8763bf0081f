//! The access log: one line per request under the names of OpenTelemetry's HTTP conventions.
//!
//! It tells neither the query (tokens travel in queries) nor the principal.

use std::fmt::Write as _;

use http::Version;

use super::json::{self, Line};
use super::metrics::method_label;
use super::record::{Record, UpstreamCall, Verdict};

/// Appends the record's line as JSON, in the form of the program's log.
pub(super) fn write_json(record: &Record, out: &mut Vec<u8>) {
    let mut line = Line::begin(out);
    line.time(r#"{"timestamp":"#, record.time);
    asked(record, &mut line);
    if let Some(status) = record.status {
        line.number(r#","http.response.status_code":"#, status);
    }
    line.seconds(r#","http.server.request.duration":"#, record.duration)
        .number(r#","http.request.body.size":"#, record.request_bytes)
        .number(r#","http.response.body.size":"#, record.response_bytes);
    if let Some(error) = record.error {
        line.word(r#","error.type":"#, error);
    }
    decided(record, &mut line);
    if let Some(call) = &record.upstream {
        upstream(call, &mut line);
    }
    line.id(r#","request_id":"#, &record.request_id)
        .hex(r#","trace_id":"#, &record.trace.trace_id)
        .hex(r#","span_id":"#, &record.trace.span_id)
        .raw("}\n");
}

/// What came in, and from where.
fn asked(record: &Record, line: &mut Line<'_>) {
    let method = method_label(&record.method);
    line.word(r#","level":"INFO","target":"access","http.request.method":"#, method);
    if method == "_OTHER" {
        line.text(r#","http.request.method_original":"#, record.method.as_str());
    }
    line.word(r#","url.scheme":"#, if record.tls { "https" } else { "http" });
    if let Some((host, port)) = record.host.as_deref().map(host_and_port) {
        line.text(r#","server.address":"#, host);
        if let Some(port) = port {
            line.number(r#","server.port":"#, port);
        }
    }
    if let Some(path) = &record.path {
        line.text(r#","url.path":"#, path);
    }
    line.word(r#","network.protocol.version":"#, version(record.version));
    if let Some(address) = record.address {
        line.address(r#","client.address":"#, address);
    }
}

fn decided(record: &Record, line: &mut Line<'_>) {
    if let Some(route) = record.route.as_deref() {
        line.text(r#","policy":"#, &route.policy);
        if !route.name.is_empty() {
            line.text(r#","http.route":"#, &route.name);
        }
    }
    if let Some(decision) = decision(record.verdict) {
        line.word(r#","decision":"#, decision);
    }
    if let Verdict::Observed { would } = record.verdict {
        line.number(r#","would":"#, would);
    }
    if let Some(reason) = record.reason {
        line.word(r#","reason":"#, reason);
    }
}

fn upstream(call: &UpstreamCall, line: &mut Line<'_>) {
    line.text(r#","upstream":{"name":"#, &call.name);
    if let Some(endpoint) = &call.endpoint {
        line.text(r#","endpoint":"#, endpoint);
    }
    if call.retries > 0 {
        line.number(r#","retries":"#, call.retries);
    }
    if let Some(status) = call.status {
        line.number(r#","status":"#, status);
    }
    line.seconds(r#","duration":"#, call.step.duration);
    if let Some(failure) = call.failure {
        line.word(r#","failure":"#, failure);
    }
    line.raw("}");
}

/// Appends the record's line for people.
pub(super) fn write_pretty(record: &Record, out: &mut Vec<u8>) {
    let mut text = format!("{}  INFO access: ", json::time(record.time));
    let status = record.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let path = record.path.as_deref().unwrap_or("-");
    let host = record.host.as_deref().unwrap_or("-");
    let millis = record.duration.as_secs_f64() * 1e3;
    // Writing to a `String` does not fail.
    let _ = write!(text, "{} {host}{path} {status} {millis:.1}ms", record.method);
    let route = record.route.as_deref();
    let policy = route.map_or("-", |route| &route.policy);
    let route = route.map(|route| &*route.name).filter(|name| !name.is_empty()).unwrap_or("-");
    let _ = write!(text, " {} {policy} `{route}`", decision(record.verdict).unwrap_or("own"));
    for word in [record.reason, record.error].into_iter().flatten() {
        let _ = write!(text, " {word}");
    }
    let _ = write!(text, " id={}", record.request_id);
    let visible = text.chars().map(|character| if json::is_invisible(character) { '?' } else { character });
    out.extend_from_slice(visible.collect::<String>().as_bytes());
    out.push(b'\n');
}

/// What was done, where there was something to decide.
fn decision(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Allow | Verdict::Observed { .. } => Some("allow"),
        Verdict::Deny => Some("deny"),
        Verdict::Own => None,
    }
}

/// A canonical authority as `server.address` and `server.port`.
pub(super) fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    // Without port an IPv6 address ends in its bracket.
    let split = authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    split.map_or((authority, None), |(host, port)| (host, Some(port)))
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

#[cfg(test)]
mod tests;
