//! Audit records: who asked for what, what was decided and why, as one JSON object a line (cli.md, "Audit record").

use super::json::Line;
use super::metrics::Mode;
use super::record::{Condition, Record, Verdict};
use crate::principal::Principal;

/// Bytes of the token's digest that are told: enough to find it, and nothing to use.
const DIGEST_PREFIX: usize = 8;

/// Appends the record's line, with every field always there.
pub(super) fn write(record: &Record, out: &mut Vec<u8>) {
    let mut line = Line::begin(out);
    line.time(r#"{"kind":"audit","time":"#, record.time)
        .id(r#","request_id":"#, &record.request_id)
        .hex(r#","trace_id":"#, &record.trace.trace_id)
        .text(r#","method":"#, record.method.as_str())
        .text_or_null(r#","host":"#, record.host.as_deref())
        .text_or_null(r#","path":"#, record.path.as_deref())
        .members(r#","values":"#, &record.values)
        .members(r#","facts":"#, &record.facts);
    match record.address {
        Some(address) => line.address(r#","address":"#, address),
        None => line.raw(r#","address":null"#),
    };
    decided(record, &mut line);
    asked(record, &mut line);
    line.hex(r#","revision":"#, &record.revision.0)
        .number_or_null(r#","status":"#, record.status)
        .milliseconds(r#","duration_ms":"#, record.duration)
        .raw("}\n");
}

/// Which policy decided what, and why.
fn decided(record: &Record, line: &mut Line<'_>) {
    let (decision, would) = match record.verdict {
        Verdict::Allow | Verdict::Own => ("allow", None),
        Verdict::Deny => ("deny", None),
        Verdict::Observed { would } => ("allow", Some(would)),
    };
    let route = record.route.as_deref();
    line.text_or_null(r#","policy":"#, route.map(|route| &*route.policy))
        .text_or_null(r#","route":"#, route.map(|route| &*route.name).filter(|name| !name.is_empty()))
        .word(r#","mode":"#, route.map_or(Mode::Enforce, |route| route.mode).as_str())
        .word(r#","decision":"#, decision)
        .number_or_null(r#","would":"#, would);
    match record.reason {
        Some(reason) => line.word(r#","reason":"#, reason),
        None => line.raw(r#","reason":null"#),
    };
    match &record.condition {
        Some(failed) => condition(r#","condition":"#, failed, line),
        None => _ = line.raw(r#","condition":null"#),
    }
    line.raw(r#","lifted":["#);
    for (number, lifted) in record.lifted.iter().enumerate() {
        condition(if number == 0 { "" } else { "," }, lifted, line);
    }
    line.raw("]");
}

fn condition(before: &'static str, condition: &Condition, line: &mut Line<'_>) {
    line.raw(before).text(r#"{"text":"#, &condition.text);
    match &condition.place {
        Some(place) => {
            let (number, column) = place.line_column();
            line.text(r#","file":"#, &place.path().to_string_lossy())
                .number(r#","line":"#, number as u64)
                .number(r#","column":"#, column as u64)
                .raw("}");
        }
        None => _ = line.raw(r#","file":null,"line":null,"column":null}"#),
    }
}

/// Who asked, and with which token: the one that was accepted, else the one that was refused.
fn asked(record: &Record, line: &mut Line<'_>) {
    let principal = record.principal.as_deref();
    match principal {
        Some(principal) => holder(principal, line),
        None => _ = line.raw(r#","principal":null"#),
    }
    line.text_or_null(r#","jti":"#, principal.and_then(|principal| principal.token_id.as_deref()));
    let refused = || record.refused_token.as_ref().and_then(|token| token.digest.as_ref());
    let digest = principal.map(|principal| &principal.token_digest).or_else(refused);
    match digest.and_then(|digest| digest.first_chunk::<DIGEST_PREFIX>()) {
        Some(prefix) => line.hex(r#","token_digest":"#, prefix),
        None => line.raw(r#","token_digest":null"#),
    };
}

fn holder(principal: &Principal, line: &mut Line<'_>) {
    line.text(r#","principal":{"issuer":"#, &principal.issuer.name)
        .text_or_null(r#","subject":"#, principal.subject.as_deref())
        .text_or_null(r#","client":"#, principal.client.as_deref())
        .word(r#","flow":"#, principal.flow.as_str())
        .texts(r#","scopes":"#, &principal.scopes)
        .texts_or_null(r#","permissions":"#, principal.permissions.as_ref())
        .texts_or_null(r#","organizations":"#, principal.organizations.as_ref())
        .raw(match principal.global {
            Some(true) => r#","global":true}"#,
            Some(false) => r#","global":false}"#,
            None => r#","global":null}"#,
        });
}

#[cfg(test)]
mod tests;
