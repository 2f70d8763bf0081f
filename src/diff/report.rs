//! What was found, for people and for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{Outcome, Setting, claims};
use crate::diagnostic::Place;
use crate::policy::Reason;
use crate::policy::analysis::{Change, Difference, Effect, Part, Scene, Told, Verdict, Witness};

impl Outcome {
    /// As text; paths below `base` are written relative to it.
    pub fn text(&self, base: Option<&Path>) -> String {
        let mut out = String::new();
        for difference in &self.differences {
            self.difference(difference, base, &mut out);
        }
        for Setting { place, keys } in &self.settings {
            let _ = writeln!(out, "{place}: {}\n", changed(keys));
        }
        let certain = |found: &&Difference| !matches!(found.change, Change::Undecided(_));
        let differences = self.differences.iter().filter(certain).count() + self.settings.len();
        let undecided = self.differences.len() + self.settings.len() - differences;
        let summary = match (differences, undecided) {
            (0, 0) => "no difference".to_owned(),
            (1, 0) => "1 difference".to_owned(),
            (several, 0) => format!("{several} differences"),
            (several, undecided) => format!("{several} differences, {undecided} undecided"),
        };
        let _ = writeln!(out, "{summary}");
        out
    }

    fn difference(&self, difference: &Difference, base: Option<&Path>, out: &mut String) {
        let _ = writeln!(out, "{}", headline(difference));
        for (when, told) in [("before", &difference.old), ("now", &difference.new)] {
            route(when, told.as_ref(), base, out);
        }
        if let Some(witness) = &difference.witness {
            for (when, verdict) in [("before", &witness.old), ("now", &witness.new)] {
                let _ = writeln!(out, "  {when}: {}", outcome(verdict, base));
            }
            if let Change::Effect(parts) = &difference.change {
                effects(parts, witness, out);
            }
            let _ = writeln!(out, "  try it: {}", self.command(&witness.scene));
        }
        out.push('\n');
    }

    /// A command that explains the request.
    fn command(&self, scene: &Scene) -> String {
        let url = format!("https://{}{}", scene.authority.as_str(), scene.target);
        let mut command = format!("torwart explain {} {}", scene.method, quoted(&url));
        for (name, value) in &scene.headers {
            let _ =
                write!(command, " -H {}", quoted(&format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))));
        }
        if !scene.body.is_empty() {
            let _ = write!(command, " -d {}", quoted(&String::from_utf8_lossy(&scene.body)));
        }
        if let Some(address) = scene.address {
            let _ = write!(command, " --address {address}");
        }
        if let Some(certificate) = &scene.certificate {
            let kinds = [("dns", &certificate.dns), ("uri", &certificate.uri), ("email", &certificate.email)];
            for (kind, names) in kinds {
                for name in names {
                    let _ = write!(command, " --certificate {}", quoted(&format!("{kind}={name}")));
                }
            }
            let _ = write!(command, " --certificate {}", quoted(&format!("subject={}", certificate.subject)));
        }
        match self.claims(scene) {
            Some(claims) => {
                let moment = "2026-01-01T00:00:00Z";
                format!("printf '%s' {} | {command} --time {moment} --claims -", quoted(&claims.to_string()))
            }
            None => command,
        }
    }

    /// The claims of the request's token, with its issuer's name, as `torwart explain --claims` takes them.
    fn claims(&self, scene: &Scene) -> Option<Value> {
        let wanted = scene.token.as_ref()?;
        let mut claims = claims::claims(&self.old, &self.new, wanted)?;
        claims.insert("issuer".to_owned(), json!(&*wanted.issuer));
        Some(Value::Object(claims))
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let differences: Vec<Value> = self.differences.iter().map(|found| self.difference_json(found)).collect();
        let settings: Vec<Value> =
            self.settings.iter().map(|found| json!({"place": found.place, "changed": found.keys})).collect();
        json!({"different": self.differs(), "differences": differences, "settings": settings})
    }

    fn difference_json(&self, difference: &Difference) -> Value {
        let (change, detail) = match &difference.change {
            Change::Decision(before, now) => ("decision", json!({"before": before, "now": now})),
            Change::Effect(parts) => ("effect", json!(parts.iter().map(|part| part.as_str()).collect::<Vec<_>>())),
            Change::Undecided(why) => ("undecided", json!(why)),
        };
        let witness = difference.witness.as_ref().map(|witness| {
            let scene = &witness.scene;
            let headers = scene
                .headers
                .iter()
                .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]));
            json!({
                "method": scene.method,
                "url": format!("https://{}{}", scene.authority.as_str(), scene.target),
                "headers": headers.collect::<Vec<_>>(),
                "body": String::from_utf8_lossy(&scene.body),
                "address": scene.address,
                "claims": self.claims(scene),
                "command": self.command(scene),
                "before": verdict_json(&witness.old),
                "now": verdict_json(&witness.new),
            })
        });
        json!({
            "change": change,
            "detail": detail,
            "hosts": difference.hosts,
            "methods": difference.methods,
            "old": difference.old.as_ref().map(told_json),
            "new": difference.new.as_ref().map(told_json),
            "witness": witness,
        })
    }
}

/// What is different, for whom.
fn headline(difference: &Difference) -> String {
    let what = match &difference.change {
        Change::Decision(before, now) => format!("{before} before, {now} now"),
        Change::Effect(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| part.as_str()).collect();
            format!("forwarded differently: {}", parts.join(", "))
        }
        Change::Undecided(why) => format!("undecided: {why}"),
    };
    let methods = difference.methods.join(",");
    let hosts = difference.hosts.join(", ");
    [what, methods, hosts].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" - ")
}

fn route(when: &str, told: Option<&Told>, base: Option<&Path>, out: &mut String) {
    let Some(told) = told else {
        let _ = writeln!(out, "  {when}: no route");
        return;
    };
    let _ = writeln!(out, "  {when}: policy `{}`, route `{}` at {}", told.policy, told.route, shown(&told.place, base));
    for (condition, place) in &told.conditions {
        let _ = writeln!(out, "    {condition} at {}", shown(place, base));
    }
}

fn outcome(verdict: &Verdict, base: Option<&Path>) -> String {
    let because = |verdict: &Verdict| {
        verdict.refusal().map_or_else(String::new, |refusal| {
            let reason = refusal.reason.map_or("malformed", Reason::as_str);
            let place = refusal.place.as_ref().map_or_else(String::new, |place| format!(" at {}", shown(place, base)));
            format!("{} {reason}{place}", refusal.status)
        })
    };
    match verdict {
        Verdict::Allowed(effect) => format!("allowed, to `{}` as {}", effect.upstream, effect.target),
        Verdict::Observed(effect, _) => {
            format!("only observed, to `{}` as {}; else {}", effect.upstream, effect.target, because(verdict))
        }
        Verdict::Refused(_) => format!("denied, {}", because(verdict)),
        Verdict::Answered(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let fields = if fields.is_empty() { "nothing allowed".to_owned() } else { fields.join(", ") };
            format!("a preflight, answered by the gateway with {fields}")
        }
    }
}

/// The parts that differ, side by side.
fn effects(parts: &[Part], witness: &Witness, out: &mut String) {
    let (Some(old), Some(new)) = (witness.old.effect(), witness.new.effect()) else { return };
    for part in parts {
        match part {
            Part::Headers => {
                for (sign, own, other) in [("-", old, new), ("+", new, old)] {
                    for (name, value) in own.headers.iter().filter(|header| !other.headers.contains(header)) {
                        let _ = writeln!(out, "    {sign} {name}: {value}");
                    }
                    for name in own.removed.iter().filter(|name| !other.removed.contains(name)) {
                        let _ = writeln!(out, "    {sign} the client's own `{name}` is removed");
                    }
                }
            }
            Part::Upstream
            | Part::Target
            | Part::Authorization
            | Part::Timeout
            | Part::MaxBody
            | Part::Limit
            | Part::Cors => {
                let _ = writeln!(
                    out,
                    "    - {}: {}\n    + {}: {}",
                    part.as_str(),
                    told(*part, old),
                    part.as_str(),
                    told(*part, new)
                );
            }
        }
    }
}

fn told(part: Part, effect: &Effect) -> String {
    match part {
        Part::Upstream => effect.upstream.clone(),
        Part::Target => effect.target.clone(),
        Part::Headers => String::new(),
        Part::Authorization => effect.authorization.to_owned(),
        Part::Timeout => effect.timeout.map_or_else(|| "the upstream's".to_owned(), |timeout| format!("{timeout:?}")),
        Part::MaxBody => effect.max_body.map_or_else(|| "the default".to_owned(), |bytes| bytes.to_string()),
        Part::Limit => effect.limit.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
        Part::Cors => effect.cors.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
    }
}

fn changed(keys: &[&str]) -> String {
    match keys {
        ["added" | "removed"] => keys.concat(),
        _ => format!("{} changed", keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")),
    }
}

fn told_json(told: &Told) -> Value {
    let conditions: Vec<Value> = told
        .conditions
        .iter()
        .map(|(condition, place)| json!({"condition": condition, "at": place.to_string()}))
        .collect();
    json!({"policy": told.policy, "route": told.route, "at": told.place.to_string(), "conditions": conditions})
}

fn verdict_json(verdict: &Verdict) -> Value {
    let effect = verdict.effect().map(|effect| {
        json!({
            "upstream": effect.upstream,
            "target": effect.target,
            "headers": effect.headers,
            "authorization": effect.authorization,
        })
    });
    let refusal = verdict.refusal().map(|refusal| {
        json!({
            "status": refusal.status,
            "reason": refusal.reason.map(Reason::as_str),
            "condition": refusal.condition,
            "at": refusal.place.as_ref().map(ToString::to_string),
        })
    });
    json!({"decision": verdict.as_str(), "effect": effect, "refusal": refusal})
}

/// `path:line:column`, the path relative to `base` if it is below.
fn shown(place: &Place, base: Option<&Path>) -> String {
    let (line, column) = place.line_column();
    let path = base.and_then(|base| place.path().strip_prefix(base).ok()).unwrap_or(place.path());
    format!("{}:{line}:{column}", path.display())
}

/// A word that a shell takes as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
