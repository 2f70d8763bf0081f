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
    let host = record.host.as_deref().unwrap_or("-");
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
    fn of(record: &'r Record) -> Self {
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
            trace_id: Hex(&record.trace.trace_id).to_string(),
            span_id: Hex(&record.trace.span_id).to_string(),
        }
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

/// To the microsecond.
fn seconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Method;
    use serde_json::{Value, json};

    use super::super::metrics::Metrics;
    use super::super::record::tests::{SUBJECT, denied};
    use super::super::{Step, UpstreamCall};
    use super::*;

    fn text(record: &Record, write: fn(&Record, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_the_names_of_the_http_conventions() {
        let metrics = Metrics::default();
        let mut record = denied(&metrics);
        let step = Step { after: std::time::Duration::ZERO, duration: std::time::Duration::from_millis(2) };
        record.upstream = Some(UpstreamCall {
            name: "crm".into(),
            metrics: Arc::default(),
            endpoint: Some("127.0.0.1:9000".into()),
            retries: 1,
            over_budget: true,
            step,
            status: None,
            failure: Some("timeout"),
        });
        let line: Value = serde_json::from_str(&text(&record, write_json)).unwrap();
        let wanted = json!({
            "timestamp": "2026-11-21T22:00:00.123Z", "level": "INFO", "target": "access",
            "http.request.method": "GET", "url.scheme": "https", "server.address": "api.example.com",
            "url.path": "/crm/customers/1", "network.protocol.version": "2", "client.address": "192.0.2.1",
            "http.response.status_code": 403, "http.server.request.duration": 0.001_234,
            "http.request.body.size": 5, "http.response.body.size": 7,
            "policy": "crm", "http.route": "GET /customers/{customer}", "decision": "deny", "reason": "scope",
            "upstream": {"name": "crm", "endpoint": "127.0.0.1:9000", "retries": 1, "duration": 0.002, "failure": "timeout"},
            "request_id": "r-1", "trace_id": "01010101010101010101010101010101", "span_id": "0202020202020202",
        });
        assert_eq!(line, wanted);
    }

    #[test]
    fn a_port_stands_apart_from_its_host() {
        assert_eq!(host_and_port("api.example.com"), ("api.example.com", None));
        assert_eq!(host_and_port("api.example.com:8443"), ("api.example.com", Some(8443)));
        assert_eq!(host_and_port("[::1]"), ("[::1]", None));
        assert_eq!(host_and_port("[::1]:80"), ("[::1]", Some(80)));
        let record = Record { host: Some("localhost:1".into()), ..denied(&Metrics::default()) };
        let line: Value = serde_json::from_str(&text(&record, write_json)).unwrap();
        assert_eq!((&line["server.address"], &line["server.port"]), (&json!("localhost"), &json!(1)));
    }

    #[test]
    fn the_principal_is_in_no_line() {
        let record = denied(&Metrics::default());
        for line in [text(&record, write_json), text(&record, write_pretty)] {
            for secret in [SUBJECT, "contracts:read", "\"app\"", "t-1", "abab"] {
                assert!(!line.contains(secret), "{secret} in {line}");
            }
        }
    }

    #[test]
    fn a_method_that_a_client_invented_stands_apart() {
        let record = Record { method: Method::from_bytes(b"BREW").unwrap(), ..denied(&Metrics::default()) };
        let line: Value = serde_json::from_str(&text(&record, write_json)).unwrap();
        assert_eq!(line["http.request.method"], "_OTHER");
        assert_eq!(line["http.request.method_original"], "BREW");
    }

    #[test]
    fn a_pretty_line_is_one_line_whatever_the_path_holds() {
        let path = Some("/a\n\u{1b}[31mINFO access: forged".to_owned());
        let record = Record { path, ..denied(&Metrics::default()) };
        let line = text(&record, write_pretty);
        assert_eq!(
            line,
            "2026-11-21T22:00:00.123Z  INFO access: GET api.example.com/a??[31mINFO access: forged 403 1.2ms deny crm \
             `GET /customers/{customer}` scope id=r-1\n"
        );
    }
}
