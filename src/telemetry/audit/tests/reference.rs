//! The audit record as a type that a library serialises: slow, and easy to compare with the specification.

use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::super::DIGEST_PREFIX;
use crate::principal::{Principal, Texts};
use crate::telemetry::id::tests::hex;
use crate::telemetry::json;
use crate::telemetry::metrics::Mode;
use crate::telemetry::record::{Condition, Record, Verdict};

/// The record, every field always there.
#[derive(Serialize)]
pub(super) struct Line<'r> {
    kind: &'static str,
    time: String,
    request_id: String,
    trace_id: String,
    method: &'r str,
    host: Option<&'r str>,
    path: Option<&'r str>,
    #[serde(serialize_with = "as_map")]
    values: &'r [(String, Value)],
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
    scopes: Vec<String>,
    permissions: Option<Vec<String>>,
    organizations: Option<Vec<String>>,
    global: Option<bool>,
}

impl<'r> Line<'r> {
    pub(super) fn of(record: &'r Record) -> Self {
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
            trace_id: hex(&record.trace.trace_id),
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
            scopes: principal.scopes.to_vec(),
            permissions: principal.permissions.as_ref().map(Texts::to_vec),
            organizations: principal.organizations.as_ref().map(Texts::to_vec),
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
