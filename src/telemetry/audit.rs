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
            token_digest: principal.and_then(|principal| principal.token_digest.get(..DIGEST_PREFIX)).map(hex),
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

fn hex(bytes: &[u8]) -> String {
    Hex(bytes).to_string()
}

/// To the microsecond.
fn milliseconds(record: &Record) -> f64 {
    (record.duration.as_secs_f64() * 1e6).round() / 1e3
}

fn as_map<S: Serializer>(values: &&[(Arc<str>, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(values.len()))?;
    for (name, value) in *values {
        map.serialize_entry(name.as_ref() as &str, value)?;
    }
    map.end()
}
