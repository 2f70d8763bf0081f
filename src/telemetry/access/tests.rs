mod reference;

use std::sync::Arc;

use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::metrics::Metrics;
use super::super::record::tests::{SUBJECT, denied};
use super::super::tests::generated;
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

proptest! {
    #[test]
    fn every_line_is_written_as_by_the_library(record in generated::record()) {
        let wanted = String::from_utf8(super::json::tests::reference(&reference::Line::of(&record))).unwrap();
        prop_assert_eq!(text(&record, write_json), wanted);
    }
}
