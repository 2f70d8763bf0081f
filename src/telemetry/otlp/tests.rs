use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::telemetry::record::tests::{SUBJECT, denied};
use crate::telemetry::{Step, Trace, UpstreamCall, Verdict};

const PATIENCE: Duration = Duration::from_secs(20);

/// A collector that answers with the statuses given, then with 200.
#[derive(Default)]
struct Collector {
    answers: Mutex<Vec<(u16, Option<&'static str>)>>,
    bodies: Mutex<Vec<Value>>,
    connections: AtomicUsize,
}

/// Starts it on a thread of its own.
fn collector(answers: &[(u16, Option<&'static str>)]) -> (SocketAddr, Arc<Collector>) {
    let collector = Arc::new(Collector { answers: Mutex::new(answers.to_vec()), ..Collector::default() });
    let (send, receive) = sync_channel(1);
    let shared = Arc::clone(&collector);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            send.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| collect(Arc::clone(&shared), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    (receive.recv().unwrap(), collector)
}

async fn collect(collector: Arc<Collector>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.uri().path(), "/v1/traces");
    assert_eq!(request.headers()["content-type"], "application/json");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let (status, retry) = collector.answers.lock().unwrap().pop().unwrap_or((200, None));
    if status == 200 {
        collector.bodies.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    }
    let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(retry) = retry {
        response.headers_mut().insert("retry-after", retry.parse().unwrap());
    }
    Ok(response)
}

fn exporter(address: SocketAddr) -> (Exporter, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    (Exporter::start(&format!("http://{address}"), Arc::clone(&metrics)).unwrap(), metrics)
}

/// A request that went all the way.
fn record(metrics: &Metrics) -> Record {
    let step = |after, millis| Step { after: Duration::from_millis(after), duration: Duration::from_millis(millis) };
    let mut record = denied(metrics);
    record.duration = Duration::from_millis(20);
    record.trace.parent_id = Some([3; 8]);
    record.verdict = Verdict::Allow;
    record.reason = None;
    record.status = Some(200);
    record.authentication = Some(step(1, 2));
    record.decision = Some(step(3, 1));
    record.upstream = Some(UpstreamCall {
        name: "crm".into(),
        metrics: metrics.upstream("crm"),
        endpoint: Some("127.0.0.1:9000".into()),
        step: step(5, 10),
        status: Some(404),
        failure: None,
    });
    record
}

fn spans(body: &Value) -> Vec<Value> {
    body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
}

fn value(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    attributes.iter().find(|attribute| attribute["key"] == key).map_or(Value::Null, |found| found["value"].clone())
}

#[test]
fn a_request_is_a_span_with_children_for_token_decision_and_upstream() {
    let (address, collector) = collector(&[]);
    let (exporter, metrics) = exporter(address);
    let record = record(&metrics);
    let sent = String::from_utf8(record.trace.traceparent().to_vec()).unwrap();
    exporter.push(Arc::new(record));
    exporter.finish(PATIENCE);
    assert_eq!(metrics.traces.written.value(), 1);
    let bodies = collector.bodies.lock().unwrap();
    let service = &bodies[0]["resourceSpans"][0]["resource"]["attributes"][0];
    assert_eq!(*service, json!({"key": "service.name", "value": {"stringValue": "torwart"}}));
    let spans = spans(&bodies[0]);
    let names: Vec<_> = spans.iter().map(|span| (span["name"].as_str().unwrap(), span["kind"].clone())).collect();
    let wanted = [("GET /customers/{customer}", 2), ("authenticate", 1), ("decide", 1), ("crm", 3)];
    assert_eq!(names, wanted.map(|(name, kind)| (name, Value::from(kind))));
    let [server, token, _, upstream] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(server["traceId"], "01".repeat(16));
    assert_eq!(server["parentSpanId"], "03".repeat(8));
    assert!(spans[1..].iter().all(|span| span["parentSpanId"] == server["spanId"]));
    assert!(spans.iter().all(|span| span["traceId"] == server["traceId"]));
    // What the upstream was told is the span of the call, so that its own spans hang there.
    assert_eq!(upstream["spanId"].as_str(), sent.split('-').nth(2));
    assert_eq!(server["startTimeUnixNano"], "1795298400123000000");
    assert_eq!(server["endTimeUnixNano"], "1795298400143000000");
    assert_eq!(token["startTimeUnixNano"], "1795298400124000000");
    assert_eq!(token["endTimeUnixNano"], "1795298400126000000");
    assert_eq!(value(server, "http.response.status_code"), json!({"intValue": "200"}));
    assert_eq!(value(server, "torwart.decision"), json!({"stringValue": "allow"}));
    assert_eq!(server.get("status"), None);
    assert_eq!(upstream["status"], json!({"code": 2}));
}

#[test]
fn spans_name_no_principal() {
    let (address, collector) = collector(&[]);
    let (exporter, metrics) = exporter(address);
    exporter.push(Arc::new(record(&metrics)));
    exporter.finish(PATIENCE);
    let text = Value::from(collector.bodies.lock().unwrap().clone()).to_string();
    for secret in [SUBJECT, "contracts:read", "\"app\"", "t-1"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn what_was_not_sampled_is_not_exported() {
    let (address, collector) = collector(&[]);
    let (exporter, metrics) = exporter(address);
    exporter.push(Arc::new(Record { trace: Trace { sampled: false, ..Trace::start() }, ..record(&metrics) }));
    exporter.finish(PATIENCE);
    assert!(collector.bodies.lock().unwrap().is_empty());
    assert_eq!(metrics.traces.dropped.value() + metrics.traces.written.value(), 0);
}

#[test]
fn batches_share_a_connection_and_lose_nothing() {
    let (address, collector) = collector(&[]);
    let (exporter, metrics) = exporter(address);
    let records = BATCH + 100;
    for _ in 0..records {
        exporter.push(Arc::new(record(&metrics)));
    }
    exporter.finish(PATIENCE);
    let counts: Vec<_> = collector.bodies.lock().unwrap().iter().map(|body| spans(body).len() / 4).collect();
    assert_eq!(counts.iter().sum::<usize>(), records);
    assert!(counts.iter().all(|count| *count <= BATCH));
    assert_eq!(collector.connections.load(Ordering::Relaxed), 1);
    assert_eq!(metrics.traces.written.value(), records as u64);
}

#[test]
fn a_busy_collector_is_asked_again_when_it_says() {
    // The last one is answered first.
    let (address, collector) = collector(&[(429, Some("0")), (503, Some("0"))]);
    let (exporter, metrics) = exporter(address);
    exporter.push(Arc::new(record(&metrics)));
    exporter.finish(PATIENCE);
    assert_eq!(metrics.traces.written.value(), 1);
    assert_eq!(collector.bodies.lock().unwrap().len(), 1);
}

#[test]
fn what_a_collector_refuses_for_good_is_counted_and_not_repeated() {
    let (address, collector) = collector(&[(400, None)]);
    let (exporter, metrics) = exporter(address);
    exporter.push(Arc::new(record(&metrics)));
    exporter.finish(PATIENCE);
    assert_eq!(metrics.traces.failed.value(), 1);
    exporter.push(Arc::new(record(&metrics)));
    exporter.finish(PATIENCE);
    assert_eq!(metrics.traces.written.value(), 1);
    assert_eq!(collector.bodies.lock().unwrap().len(), 1);
}

#[test]
fn nobody_waits_for_a_collector_that_is_not_there() {
    // Nobody listens on a port that was just given back.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (exporter, metrics) = exporter(address);
    let start = Instant::now();
    for _ in 0..2 * WAITING {
        exporter.push(Arc::new(record(&metrics)));
    }
    assert!(metrics.traces.dropped.value() > 0);
    exporter.finish(Duration::from_millis(10));
    assert!(start.elapsed() < PATIENCE);
}
