mod reference;

use std::sync::Arc;

use http::{Method, Version};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::metrics::Metrics;
use super::super::record::tests::denied;
use super::super::tests::generated;
use super::super::{RefusedToken, RequestId, Trace, json as lines};
use super::*;

fn written(record: &Record) -> String {
    let mut out = Vec::new();
    write(record, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_record_has_every_field_of_the_specification_in_its_order() {
    let line = written(&denied(&Metrics::default()));
    let condition = r#"{"text":"scope: crm","file":"policies/crm.yaml","line":3,"column":15}"#;
    let wanted = [
        r#"{"kind":"audit","time":"2026-11-21T22:00:00.123Z","request_id":"r-1","#,
        r#""trace_id":"01010101010101010101010101010101","method":"GET","host":"api.example.com","#,
        r#""path":"/crm/customers/1","values":{"customer":"1","claim./a":null},"facts":{"query":"a=1"},"address":"192.0.2.1","#,
        r#""policy":"crm","route":"GET /customers/{customer}","mode":"enforce","decision":"deny","would":null,"#,
        r#""reason":"scope","condition":"#,
        condition,
        r#","lifted":["#,
        condition,
        r#"],"principal":{"issuer":"shoen","subject":"5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111","client":"app","#,
        r#""flow":"user","scopes":["crm","contracts:read"],"permissions":null,"organizations":["o1"],"#,
        r#""global":false},"jti":"t-1","token_digest":"abababababababab","#,
        r#""revision":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","status":403,"duration_ms":1.234}"#,
        "\n",
    ];
    assert_eq!(line, wanted.concat());
}

#[test]
fn a_request_that_nothing_is_known_about_has_the_same_fields() {
    let known = written(&denied(&Metrics::default()));
    let unknown = written(&Record::start(Method::GET, Version::HTTP_11));
    let names = |line: &str| {
        let object: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        object.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&known), names(&unknown));
    let object: Value = serde_json::from_str(&unknown).unwrap();
    assert_eq!(object["decision"], "deny");
    assert_eq!(object["policy"], Value::Null);
    assert_eq!(object["values"], json!({}));
}

#[test]
fn a_refused_token_is_named_by_its_digest() {
    let token = RefusedToken { fault: "expired", issuer: None, digest: Some([0xef; 32]) };
    let refused = Record { principal: None, refused_token: Some(token), ..denied(&Metrics::default()) };
    let object: Value = serde_json::from_str(&written(&refused)).unwrap();
    assert_eq!(object["token_digest"], "efefefefefefefef");
    assert_eq!(object["principal"], Value::Null);
}

#[test]
fn what_is_observed_says_what_enforcement_would_have_answered() {
    let metrics = Metrics::default();
    let routes = metrics.routes([("crm", "r", Mode::Observe)]);
    let route = routes.find("crm", "").cloned();
    let record = Record { verdict: Verdict::Observed { would: 403 }, route, ..denied(&metrics) };
    let object: Value = serde_json::from_str(&written(&record)).unwrap();
    assert_eq!(object["decision"], "allow");
    assert_eq!(object["would"], 403);
    assert_eq!(object["mode"], "observe");
    assert_eq!(object["policy"], "crm");
    assert_eq!(object["route"], Value::Null);
}

/// ASVS 5.0, 16.4.1: data in logs is encoded so that nothing can be injected.
#[test]
fn nothing_that_a_client_chooses_breaks_the_line() {
    let evil = "x\",\"decision\":\"allow\"}\n{\"kind\":\"audit\"}\r\u{2028}\u{9b}2J\u{202e}\0";
    let metrics = Metrics::default();
    let mut record = denied(&metrics);
    record.path = Some(evil.to_owned());
    record.host = Some(evil.into());
    record.request_id = RequestId::Given(evil.into());
    record.values = vec![(evil.into(), Value::from(evil))];
    let mut principal = super::super::record::tests::principal();
    principal.subject = Some(evil.to_owned());
    principal.scopes = [evil].into();
    principal.token_id = Some(evil.to_owned());
    record.principal = Some(Arc::new(principal));
    record.trace = Trace::start();
    let line = written(&record);
    assert_eq!(line.matches('\n').count(), 1);
    assert!(!line.trim_end_matches('\n').chars().any(lines::is_invisible), "{line:?}");
    let object: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["decision"], "deny");
    assert_eq!(object["path"], evil);
    assert_eq!(object["values"][evil], evil);
    assert_eq!(object["principal"]["subject"], evil);
    assert_eq!(object["jti"], evil);
}

proptest! {
    #[test]
    fn every_record_is_written_as_by_the_library(record in generated::record()) {
        let wanted = String::from_utf8(lines::tests::reference(&reference::Line::of(&record))).unwrap();
        prop_assert_eq!(written(&record), wanted);
    }
}
