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
use tokio::net::TcpListener;

use super::*;
use crate::telemetry::id::tests::hex;
use crate::telemetry::record::tests::{SUBJECT, denied};
use crate::telemetry::{Step, Trace, UpstreamCall, Verdict};

const PATIENCE: Duration = Duration::from_secs(20);

/// A collector that answers with the statuses given, then with 200.
#[derive(Default)]
struct Collector {
    answers: Mutex<Vec<(u16, Option<&'static str>)>>,
    bodies: Mutex<Vec<Bytes>>,
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
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let (status, retry) = collector.answers.lock().unwrap().pop().unwrap_or((200, None));
    if status == 200 {
        collector.bodies.lock().unwrap().push(body);
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
        retries: 0,
        over_budget: false,
        step: step(5, 10),
        status: Some(404),
        failure: None,
    });
    record
}

/// A message taken apart: the fields by number, in order.
struct Read(Vec<(u64, Field)>);

#[derive(Debug, Clone, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Read {
    fn message(mut bytes: &[u8]) -> Self {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in 0.. {
                let (first, rest) = bytes.split_first().unwrap();
                *bytes = rest;
                value |= u64::from(first & 0x7f) << (7 * shift);
                if first & 0x80 == 0 {
                    break;
                }
            }
            value
        }
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = match key & 7 {
                0 => Field::Number(varint(&mut bytes)),
                1 => {
                    let (number, rest) = bytes.split_first_chunk().unwrap();
                    bytes = rest;
                    Field::Number(u64::from_le_bytes(*number))
                }
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).unwrap();
                    let (content, rest) = bytes.split_at(length);
                    bytes = rest;
                    Field::Bytes(content.to_vec())
                }
                other => panic!("no field of spans has wire type {other}"),
            };
            fields.push((key >> 3, value));
        }
        Self(fields)
    }

    fn all(&self, field: u64) -> Vec<Vec<u8>> {
        let found = self.0.iter().filter(|(number, _)| *number == field);
        found
            .map(|(_, value)| if let Field::Bytes(bytes) = value { bytes.clone() } else { panic!("a number") })
            .collect()
    }

    fn bytes(&self, field: u64) -> Vec<u8> {
        self.all(field).pop().unwrap_or_default()
    }

    fn number(&self, field: u64) -> Option<u64> {
        self.0.iter().find_map(|(number, value)| match value {
            Field::Number(value) if *number == field => Some(*value),
            _ => None,
        })
    }

    fn text(&self, field: u64) -> String {
        String::from_utf8(self.bytes(field)).unwrap()
    }

    fn inside(&self, field: u64) -> Self {
        Self::message(&self.bytes(field))
    }

    /// The value of an attribute, `field` of the message being the list.
    fn attribute(&self, field: u64, key: &str) -> Option<Field> {
        let pairs = self.all(field).into_iter().map(|pair| Self::message(&pair));
        pairs.filter(|pair| pair.text(1) == key).map(|pair| pair.inside(2).0.pop().unwrap().1).next()
    }
}

fn said(value: &str) -> Field {
    Field::Bytes(value.as_bytes().to_vec())
}

fn spans(body: &[u8]) -> Vec<Read> {
    let scoped = Read::message(body).inside(1).inside(2);
    scoped.all(2).iter().map(|span| Read::message(span)).collect()
}

#[test]
fn a_request_is_a_span_with_children_for_token_decision_and_upstream() {
    let (address, collector) = collector(&[]);
    let (exporter, metrics) = exporter(address);
    let mut record = record(&metrics);
    let sent = String::from_utf8(record.trace.traceparent().to_vec()).unwrap();
    exporter.push(&mut record);
    exporter.finish(PATIENCE);
    assert_eq!(metrics.traces.written.value(), 1);
    let bodies = collector.bodies.lock().unwrap();
    let resource = Read::message(&bodies[0]).inside(1).inside(1);
    assert_eq!(resource.attribute(1, "service.name"), Some(said("torwart")));
    let spans = spans(&bodies[0]);
    let names: Vec<_> = spans.iter().map(|span| (span.text(5), span.number(6).unwrap())).collect();
    let wanted = [("GET /customers/{customer}", 2), ("authenticate", 1), ("decide", 1), ("crm", 3)];
    assert_eq!(names, wanted.map(|(name, kind)| (name.to_owned(), kind)));
    let [server, token, decision, upstream] = &spans[..] else { panic!("four spans") };
    assert_eq!((server.bytes(1), server.bytes(2), server.bytes(4)), (vec![1; 16], vec![2; 8], vec![3; 8]));
    assert!(spans[1..].iter().all(|span| span.bytes(4) == server.bytes(2)));
    assert!(spans.iter().all(|span| span.bytes(1) == server.bytes(1)));
    // What the upstream was told is the span of the call, so that its own spans hang there.
    assert_eq!(hex(&upstream.bytes(2)), sent.split('-').nth(2).unwrap());
    let times = |span: &Read| (span.number(7).unwrap(), span.number(8).unwrap());
    assert_eq!(times(server), (1_795_298_400_123_000_000, 1_795_298_400_143_000_000));
    assert_eq!(times(token), (1_795_298_400_124_000_000, 1_795_298_400_126_000_000));
    assert_eq!(times(upstream), (1_795_298_400_128_000_000, 1_795_298_400_138_000_000));
    assert_eq!(server.attribute(9, "http.response.status_code"), Some(Field::Number(200)));
    assert_eq!(server.attribute(9, "torwart.decision"), Some(said("allow")));
    assert_eq!(decision.attribute(9, "torwart.policy"), Some(said("crm")));
    assert!(server.all(15).is_empty());
    assert_eq!(upstream.inside(15).number(3), Some(2));
}

#[test]
fn spans_name_no_principal() {
    let (address, collector) = collector(&[]);
    let (exporter, metrics) = exporter(address);
    exporter.push(&mut record(&metrics));
    exporter.finish(PATIENCE);
    let bodies = collector.bodies.lock().unwrap();
    let text = String::from_utf8_lossy(&bodies[0]);
    assert!(text.contains("GET /customers/{customer}"));
    for secret in [SUBJECT, "contracts:read", "t-1"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn what_was_not_sampled_is_not_exported() {
    let (address, collector) = collector(&[]);
    let (exporter, metrics) = exporter(address);
    exporter.push(&mut Record { trace: Trace { sampled: false, ..Trace::start() }, ..record(&metrics) });
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
        exporter.push(&mut record(&metrics));
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
    exporter.push(&mut record(&metrics));
    exporter.finish(PATIENCE);
    assert_eq!(metrics.traces.written.value(), 1);
    assert_eq!(collector.bodies.lock().unwrap().len(), 1);
}

#[test]
fn what_a_collector_refuses_for_good_is_counted_and_not_repeated() {
    let (address, collector) = collector(&[(400, None)]);
    let (exporter, metrics) = exporter(address);
    exporter.push(&mut record(&metrics));
    exporter.finish(PATIENCE);
    assert_eq!(metrics.traces.failed.value(), 1);
    exporter.push(&mut record(&metrics));
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
        exporter.push(&mut record(&metrics));
    }
    assert!(metrics.traces.dropped.value() > 0);
    exporter.finish(Duration::from_millis(10));
    assert!(start.elapsed() < PATIENCE);
}
