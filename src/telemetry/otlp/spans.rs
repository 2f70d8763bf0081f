//! Records as spans: `opentelemetry/proto/trace/v1/trace.proto`, whose field numbers stand beside the fields here.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::wire::Message;
use crate::telemetry::access::{host_and_port, version};
use crate::telemetry::id::span_id;
use crate::telemetry::metrics::method_label;
use crate::telemetry::record::{Record, Step, UpstreamCall, Verdict};

/// `SpanKind`.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// `StatusCode.STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// The body of an `ExportTraceServiceRequest`.
pub(super) fn request(records: &[Record]) -> Bytes {
    let version = env!("CARGO_PKG_VERSION");
    let attributes = [text("service.name", "torwart"), text("service.version", version)];
    let resource = Message::default().messages(1, attributes);
    let scope = Message::default().text(1, "torwart").text(2, version);
    let spans = records.iter().flat_map(of);
    let scoped = Message::default().message(1, &scope).messages(2, spans.map(Span::encode));
    let resource_spans = Message::default().message(1, &resource).message(2, &scoped);
    Bytes::from(Message::default().message(1, &resource_spans).into_bytes())
}

/// One span.
struct Span<'r> {
    record: &'r Record,
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    name: &'r str,
    kind: u64,
    step: Step,
    attributes: Vec<Message>,
    failed: bool,
}

impl Span<'_> {
    fn encode(self) -> Message {
        let start = self.record.time + self.step.after;
        let status = self.failed.then(|| Message::default().number(3, ERROR));
        Message::default()
            .bytes(1, &self.record.trace.trace_id)
            .bytes(2, &self.id)
            .bytes(4, self.parent.as_ref().map_or(&[], |parent| parent))
            .text(5, self.name)
            .number(6, self.kind)
            .fixed(7, nanos(start))
            .fixed(8, nanos(start + self.step.duration))
            .messages(9, self.attributes)
            .messages(15, status)
    }
}

/// The span of the request, and those of its parts.
fn of(record: &Record) -> impl Iterator<Item = Span<'_>> {
    let authentication = record.authentication.map(|step| child(record, "authenticate", step, issuer(record)));
    let userinfo = record.userinfo.map(|step| child(record, "userinfo", step, issuer(record)));
    let decision = record.decision.map(|step| child(record, "decide", step, decision(record)));
    let upstream = record.upstream.as_ref().map(|call| upstream(record, call));
    [Some(server(record)), authentication, userinfo, decision, upstream].into_iter().flatten()
}

fn server(record: &Record) -> Span<'_> {
    let method = method_label(&record.method);
    let route = record.route.as_deref().map(|route| &*route.name).filter(|name| !name.is_empty());
    let step = Step { after: Duration::ZERO, duration: record.duration };
    let mut attributes = vec![
        text("http.request.method", method),
        text("url.scheme", if record.tls { "https" } else { "http" }),
        text("network.protocol.version", version(record.version)),
        text("torwart.request_id", &record.request_id.to_string()),
    ];
    attributes.extend(record.path.as_deref().map(|path| text("url.path", path)));
    if let Some((host, port)) = record.host.as_deref().map(host_and_port) {
        attributes.push(text("server.address", host));
        attributes.extend(port.map(|port| number("server.port", port.into())));
    }
    attributes.extend(record.address.map(|address| text("client.address", &address.to_string())));
    attributes.extend(route.map(|route| text("http.route", route)));
    attributes.extend(record.status.map(|status| number("http.response.status_code", status.into())));
    attributes.extend(record.error.map(|error| text("error.type", error)));
    attributes.extend(decision(record));
    Span {
        id: record.trace.span_id,
        parent: record.trace.parent_id,
        kind: SERVER,
        failed: record.status.is_none_or(|status| status >= 500),
        ..child(record, route.unwrap_or(method), step, attributes)
    }
}

fn upstream<'r>(record: &'r Record, call: &'r UpstreamCall) -> Span<'r> {
    let mut attributes =
        vec![text("http.request.method", method_label(&record.method)), text("torwart.upstream", &call.name)];
    attributes.extend(call.endpoint.as_deref().map(|endpoint| text("server.address", endpoint)));
    attributes.extend((call.retries > 0).then(|| number("http.request.resend_count", call.retries.into())));
    attributes.extend(call.status.map(|status| number("http.response.status_code", status.into())));
    attributes.extend(call.failure.map(|failure| text("error.type", failure)));
    Span {
        id: record.trace.call_id(),
        kind: CLIENT,
        // For who asks, what is the asker's fault is an error too (semantic conventions, "HTTP client span").
        failed: call.status.is_none_or(|status| status >= 400),
        ..child(record, &call.name, call.step, attributes)
    }
}

fn child<'r>(record: &'r Record, name: &'r str, step: Step, attributes: Vec<Message>) -> Span<'r> {
    let parent = Some(record.trace.span_id);
    Span { record, id: span_id(), parent, name, kind: INTERNAL, step, attributes, failed: false }
}

fn decision(record: &Record) -> Vec<Message> {
    let (decision, would) = match record.verdict {
        Verdict::Allow => ("allow", None),
        Verdict::Deny => ("deny", None),
        Verdict::Observed { would } => ("allow", Some(would)),
        Verdict::Own => return Vec::new(),
    };
    let mut attributes = vec![text("torwart.decision", decision)];
    attributes.extend(would.map(|would| number("torwart.would", would.into())));
    attributes.extend(record.reason.map(|reason| text("torwart.reason", reason)));
    attributes.extend(record.route.as_deref().map(|route| text("torwart.policy", &route.policy)));
    attributes
}

fn issuer(record: &Record) -> Vec<Message> {
    let refused = record.refused_token.as_ref();
    let vouched = record.principal.as_ref().map(|principal| &principal.issuer.name);
    let claimed = refused.and_then(|token| token.issuer.as_ref());
    let mut attributes: Vec<_> = vouched.or(claimed).map(|name| text("torwart.issuer", name)).into_iter().collect();
    attributes.extend(refused.map(|token| text("error.type", token.fault)));
    attributes
}

/// A `KeyValue` with a `string_value`.
fn text(key: &str, value: &str) -> Message {
    Message::default().text(1, key).message(2, &Message::default().text(1, value))
}

/// A `KeyValue` with an `int_value`.
fn number(key: &str, value: u64) -> Message {
    Message::default().text(1, key).message(2, &Message::default().number(3, value))
}

/// Nanoseconds since the epoch, until the year 2554.
fn nanos(moment: SystemTime) -> u64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
