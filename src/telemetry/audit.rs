//! Audit records: who asked for what, what was decided and why, as one JSON object a line (cli.md, "Audit record").

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::id::Hex;
use super::json;
use super::metrics::Mode;
use super::record::{Condition, Record, Verdict};
use crate::principal::Principal;

/// Bytes of the token's digest that are told: enough to find it, and nothing to use.
const DIGEST_PREFIX: usize = 8;

/// Appends the record's line.
pub(super) fn write(record: &Record, out: &mut Vec<u8>) {
    json::line(&Line::of(record), out);
}

/// The record, every field always there.
#[derive(Serialize)]
struct Line<'r> {
    kind: &'static str,
    time: String,
    request_id: String,
    trace_id: String,
    method: &'r str,
    host: Option<&'r str>,
    path: Option<&'r str>,
    #[serde(serialize_with = "as_map")]
    values: &'r [(Arc<str>, Value)],
    #[serde(serialize_with = "as_map")]
    facts: &'r [(&'static str, Value)],
    address: Option<IpAddr>,
    policy: Option<&'r str>,
    route: Option<&'r str>,
    mode: &'static str,
    decision: &'static str,
    would: Option<u16>,
    reason: Option<&'static str>,
    condition: Option<ConditionLine<'r>>,
    lifted: Vec<ConditionLine<'r>>,
    principal: Option<PrincipalLine<'r>>,
    jti: Option<&'r str>,
    token_digest: Option<String>,
    revision: String,
    status: Option<u16>,
    duration_ms: f64,
}

#[derive(Serialize)]
struct ConditionLine<'r> {
    text: &'r str,
    file: Option<&'r Path>,
    line: Option<usize>,
    column: Option<usize>,
}

#[derive(Serialize)]
struct PrincipalLine<'r> {
    issuer: &'r str,
    subject: Option<&'r str>,
    client: Option<&'r str>,
    flow: &'static str,
    scopes: &'r [String],
    permissions: Option<&'r [String]>,
    organizations: Option<&'r [String]>,
    global: Option<bool>,
}

impl<'r> Line<'r> {
    fn of(record: &'r Record) -> Self {
        let (decision, would) = match record.verdict {
            Verdict::Allow | Verdict::Own => ("allow", None),
            Verdict::Deny => ("deny", None),
            Verdict::Observed { would } => ("allow", Some(would)),
        };
        let route = record.route.as_deref();
        let principal = record.principal.as_deref();
        Self {
            kind: "audit",
            time: json::time(record.time),
            request_id: record.request_id.to_string(),
            trace_id: Hex(&record.trace.trace_id).to_string(),
            method: record.method.as_str(),
            host: record.host.as_deref(),
            path: record.path.as_deref(),
            values: &record.values,
            facts: &record.facts,
            address: record.address,
            policy: route.map(|route| &*route.policy),
            route: route.map(|route| &*route.name).filter(|name| !name.is_empty()),
            mode: route.map_or(Mode::Enforce, |route| route.mode).as_str(),
            decision,
            would,
            reason: record.reason,
            condition: record.condition.as_ref().map(ConditionLine::of),
            lifted: record.lifted.iter().map(ConditionLine::of).collect(),
            principal: principal.map(PrincipalLine::of),
            jti: principal.and_then(|principal| principal.token_id.as_deref()),
            token_digest: token_digest(record),
            revision: hex(&record.revision.0),
            status: record.status,
            duration_ms: milliseconds(record),
        }
    }
}

impl<'r> ConditionLine<'r> {
    fn of(condition: &'r Condition) -> Self {
        let position = condition.place.as_ref().map(crate::diagnostic::Place::line_column);
        Self {
            text: &condition.text,
            file: condition.place.as_ref().map(crate::diagnostic::Place::path),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
        }
    }
}

impl<'r> PrincipalLine<'r> {
    fn of(principal: &'r Principal) -> Self {
        Self {
            issuer: &principal.issuer.name,
            subject: principal.subject.as_deref(),
            client: principal.client.as_deref(),
            flow: principal.flow.as_str(),
            scopes: &principal.scopes,
            permissions: principal.permissions.as_deref(),
            organizations: principal.organizations.as_deref(),
            global: principal.global,
        }
    }
}

/// Of the token that was accepted, else of the one that was refused.
fn token_digest(record: &Record) -> Option<String> {
    let refused = || record.refused_token.as_ref().and_then(|token| token.digest.as_ref());
    let digest = record.principal.as_ref().map(|principal| &principal.token_digest).or_else(refused)?;
    digest.get(..DIGEST_PREFIX).map(hex)
}

fn hex(bytes: &[u8]) -> String {
    Hex(bytes).to_string()
}

/// To the microsecond.
fn milliseconds(record: &Record) -> f64 {
    (record.duration.as_secs_f64() * 1e6).round() / 1e3
}

fn as_map<S: Serializer, N: AsRef<str>>(values: &&[(N, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(values.len()))?;
    for (name, value) in *values {
        map.serialize_entry(name.as_ref(), value)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};
    use serde_json::json;

    use super::super::metrics::Metrics;
    use super::super::record::tests::denied;
    use super::super::{RefusedToken, RequestId, Trace};
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
        principal.scopes = vec![evil.to_owned()];
        principal.token_id = Some(evil.to_owned());
        record.principal = Some(Arc::new(principal));
        record.trace = Trace::start();
        let line = written(&record);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.trim_end_matches('\n').chars().any(json::is_invisible), "{line:?}");
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["decision"], "deny");
        assert_eq!(object["path"], evil);
        assert_eq!(object["values"][evil], evil);
        assert_eq!(object["principal"]["subject"], evil);
        assert_eq!(object["jti"], evil);
    }
}
