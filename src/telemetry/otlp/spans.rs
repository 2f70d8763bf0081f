//! Records as spans in OTLP's JSON encoding: ids in hexadecimal, 64-bit numbers as text, enumerations as numbers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::telemetry::access::version;
use crate::telemetry::id::Hex;
use crate::telemetry::metrics::method_label;
use crate::telemetry::record::{Record, Step, UpstreamCall, Verdict};

/// `SPAN_KIND_*`.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// The body of an `ExportTraceServiceRequest`.
pub(super) fn request(records: &[Arc<Record>]) -> Bytes {
    let spans: Vec<Span> = records.iter().flat_map(|record| of(record)).collect();
    let resource = [attribute("service.name", "torwart"), attribute("service.version", env!("CARGO_PKG_VERSION"))];
    let request = json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "torwart", "version": env!("CARGO_PKG_VERSION")}, "spans": spans}],
    }]});
    Bytes::from(request.to_string())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    trace_id: String,
    #[serde(rename = "spanId")]
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Serialize)]
struct Status {
    code: u8,
}

/// The span of the request, and those of its parts.
fn of(record: &Record) -> Vec<Span> {
    let mut spans = vec![server(record)];
    let parts = [("authenticate", record.authentication), ("decide", record.decision)];
    spans.extend(parts.into_iter().filter_map(|(name, step)| {
        let attributes = if name == "decide" { decision(record) } else { issuer(record) };
        Some(child(record, name, step?, attributes))
    }));
    spans.extend(record.upstream.as_ref().map(|call| upstream(record, call)));
    spans
}

fn server(record: &Record) -> Span {
    let method = method_label(&record.method);
    let route = record.route.as_deref().map(|route| &*route.name).filter(|name| !name.is_empty());
    let whole = Step { after: Duration::ZERO, duration: record.duration };
    let mut attributes = vec![
        attribute("http.request.method", method),
        attribute("url.scheme", if record.tls { "https" } else { "http" }),
        attribute("network.protocol.version", version(record.version)),
        attribute("torwart.request_id", &record.request_id.to_string()),
    ];
    attributes.extend(record.path.as_deref().map(|path| attribute("url.path", path)));
    attributes.extend(record.host.as_deref().map(|host| attribute("server.address", host)));
    attributes.extend(record.address.map(|address| attribute("client.address", &address.to_string())));
    attributes.extend(route.map(|route| attribute("http.route", route)));
    attributes.extend(record.status.map(|status| number("http.response.status_code", status.into())));
    attributes.extend(record.error.map(|error| attribute("error.type", error)));
    attributes.extend(decision(record));
    let failed = record.status.is_none_or(|status| status >= 500);
    let parent = record.trace.parent_id.map(|parent| Hex(&parent).to_string());
    Span {
        id: Hex(&record.trace.span_id).to_string(),
        parent_span_id: parent,
        kind: SERVER,
        status: failed.then_some(Status { code: ERROR }),
        ..child(record, route.unwrap_or(method), whole, attributes)
    }
}

fn upstream(record: &Record, call: &UpstreamCall) -> Span {
    let mut attributes =
        vec![attribute("http.request.method", method_label(&record.method)), attribute("torwart.upstream", &call.name)];
    attributes.extend(call.endpoint.as_deref().map(|endpoint| attribute("server.address", endpoint)));
    attributes.extend(call.status.map(|status| number("http.response.status_code", status.into())));
    attributes.extend(call.failure.map(|failure| attribute("error.type", failure)));
    // For a client, RFC 9110's client errors are errors too (semantic conventions, "Status").
    let failed = call.status.is_none_or(|status| status >= 400);
    Span {
        id: Hex(&record.trace.call_id()).to_string(),
        kind: CLIENT,
        status: failed.then_some(Status { code: ERROR }),
        ..child(record, &call.name, call.step, attributes)
    }
}

fn child(record: &Record, name: &str, step: Step, attributes: Vec<Value>) -> Span {
    let start = record.time + step.after;
    Span {
        trace_id: Hex(&record.trace.trace_id).to_string(),
        id: Hex(&crate::telemetry::id::span_id()).to_string(),
        parent_span_id: Some(Hex(&record.trace.span_id).to_string()),
        name: name.to_owned(),
        kind: INTERNAL,
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(start + step.duration),
        attributes,
        status: None,
    }
}

fn decision(record: &Record) -> Vec<Value> {
    let (decision, would) = match record.verdict {
        Verdict::Allow => ("allow", None),
        Verdict::Deny => ("deny", None),
        Verdict::Observed { would } => ("allow", Some(would)),
        Verdict::Own => return Vec::new(),
    };
    let mut attributes = vec![attribute("torwart.decision", decision)];
    attributes.extend(would.map(|would| number("torwart.would", would.into())));
    attributes.extend(record.reason.map(|reason| attribute("torwart.reason", reason)));
    attributes.extend(record.route.as_deref().map(|route| attribute("torwart.policy", &route.policy)));
    attributes
}

fn issuer(record: &Record) -> Vec<Value> {
    record.principal.iter().map(|principal| attribute("torwart.issuer", &principal.issuer.name)).collect()
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn number(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn nanos(moment: SystemTime) -> String {
    moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
