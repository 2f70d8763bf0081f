//! The test that is missing: a request that a mutant decides otherwise than the policies, written as a test that passes
//! against the policies and fails against the mutant.

use http::HeaderMap;
use serde_json::{Value, json};

use super::expectation::{reason_of, word};
use super::{Case, Effect, Expectation};
use crate::cases::REASONS;
use crate::diff;
use crate::policy::analysis::Scene;
use crate::policy::analysis::mutants::Mutant;
use crate::trial::{Attempt, Bearer, Loaded, Outcome, Request};

/// What there is to be noticed of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nothing: no request is decided or forwarded otherwise.
    Nothing,
    /// What this test notices, as YAML.
    Test(String),
    /// Something, but no request could be made that shows it.
    Something,
}

/// What there is to be noticed of a mutant. `new`: the policies with its change.
pub(super) fn look(old: &Loaded, new: &Loaded, mutant: &Mutant) -> Missing {
    let differences = diff::differences(old, new);
    if differences.is_empty() {
        return Missing::Nothing;
    }
    let mut scenes = differences.iter().filter_map(|difference| Some(&difference.witness.as_ref()?.scene));
    scenes.find_map(|scene| test(old, new, scene, mutant)).map_or(Missing::Something, Missing::Test)
}

fn test(old: &Loaded, new: &Loaded, scene: &Scene, mutant: &Mutant) -> Option<String> {
    let request = diff::request(scene)?;
    let claims = match &scene.token {
        None => None,
        Some(wanted) => Some((&*wanted.issuer, diff::claims(old, new, wanted)?)),
    };
    let bearer = match &claims {
        None => Bearer::Nobody,
        Some((issuer, claims)) => old.token(Some(issuer), claims.clone(), request.now)?,
    };
    let candidates = {
        let (before, after) = (old.attempt(&request, &bearer), old.attempt_with(&new.policies, &request, &bearer));
        expectations(&before, &after)
    };
    let (name, place) = (format!("notices: {}", mutant.change), mutant.place.clone());
    let mut case = Case { name, place, bearer, request, expectation: Expectation::Deny };
    candidates.into_iter().find_map(|expectation| {
        case.expectation = expectation;
        let tells = case.passes(old, &old.policies) && !case.passes(old, &new.policies);
        tells.then(|| written(&case, claims.as_ref().map(|(issuer, claims)| (*issuer, claims))))
    })
}

/// Expectations that the attempt before the change meets, the plainest first.
fn expectations(before: &Attempt<'_>, after: &Attempt<'_>) -> Vec<Expectation> {
    match &before.outcome {
        Outcome::Refused(refusal) => {
            let reason = reason_of(refusal);
            let status = Expectation::Status(refusal.status().as_u16());
            if REASONS.contains(&reason) { vec![Expectation::DenyFor(reason.to_owned()), status] } else { vec![status] }
        }
        Outcome::Observed(_, would) => vec![Expectation::Would(word(would.reason).to_owned())],
        Outcome::Answered(status) => vec![Expectation::Status(status.as_u16())],
        Outcome::Allowed(_) => {
            let text = |text: Option<&str>| Some(text.unwrap_or_default().to_owned());
            let effect = Effect {
                upstream: text(before.upstream()).filter(|_| before.upstream() != after.upstream()),
                path: text(before.forwarded_path()).filter(|_| before.forwarded_path() != after.forwarded_path()),
                query: text(before.forwarded_query()).filter(|_| before.forwarded_query() != after.forwarded_query()),
                headers: differing(before.headers_sent().as_ref(), after.headers_sent().as_ref()),
            };
            vec![Expectation::Allow(Effect::default()), Expectation::Allow(effect)]
        }
    }
}

/// Header fields that are sent before and not, or otherwise, after; and those that are sent only after.
fn differing(before: Option<&HeaderMap>, after: Option<&HeaderMap>) -> Vec<(String, Option<String>)> {
    let (Some(before), Some(after)) = (before, after) else { return Vec::new() };
    let text = |headers: &HeaderMap, name: &str| super::expectation::value(headers, name);
    let mut names: Vec<_> = before.keys().chain(after.keys()).map(|name| name.as_str().to_owned()).collect();
    names.sort();
    names.dedup();
    let wanted = names.into_iter().map(|name| (text(before, &name), text(after, &name), name));
    wanted.filter(|(before, after, _)| before != after).map(|(before, _, name)| (name, before)).collect()
}

/// The test as YAML, its values in the spelling of JSON, which is YAML too.
fn written(case: &Case, token: Option<(&str, &crate::principal::Claims)>) -> String {
    let mut lines = vec![format!("- name: {}", json!(case.name))];
    if let Some((issuer, claims)) = token {
        let mut all = claims.clone();
        all.insert("issuer".to_owned(), json!(issuer));
        lines.push(format!("  as: {}", Value::Object(all)));
    }
    lines.push(format!("  request: {}", asked(&case.request)));
    lines.push(format!("  expect: {}", expected(&case.expectation)));
    lines.join("\n")
}

fn asked(request: &Request) -> Value {
    let url = format!("https://{}{}", request.authority.as_str(), request.target);
    let Request { headers, body, address, certificate, .. } = request;
    if headers.is_empty() && body.is_empty() && address.is_none() && certificate.is_none() {
        return json!(format!("{} {url}", request.method));
    }
    let mut all = serde_json::Map::new();
    let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
    put("method", json!(request.method));
    put("url", json!(url));
    if !headers.is_empty() {
        let text = |name: &http::HeaderName| -> Vec<_> {
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
        };
        put("headers", headers.keys().map(|name| (name.as_str().to_owned(), json!(text(name)))).collect());
    }
    if !body.is_empty() {
        put("body", json!(String::from_utf8_lossy(body)));
    }
    if let Some(address) = address {
        put("address", json!(address));
    }
    if let Some(shown) = certificate {
        let mut names = json!({"dns": shown.dns, "uri": shown.uri, "email": shown.email});
        if let Some(names) = names.as_object_mut().filter(|_| !shown.subject.is_empty()) {
            names.insert("subject".to_owned(), json!(shown.subject));
        }
        put("certificate", names);
    }
    Value::Object(all)
}

fn expected(expectation: &Expectation) -> Value {
    match expectation {
        Expectation::Allow(effect) if *effect == Effect::default() => json!("allow"),
        Expectation::Allow(effect) => {
            let mut all = serde_json::Map::new();
            for (key, value) in [("upstream", &effect.upstream), ("path", &effect.path), ("query", &effect.query)] {
                all.extend(value.as_ref().map(|value| (key.to_owned(), json!(value))));
            }
            if !effect.headers.is_empty() {
                all.insert(
                    "headers".to_owned(),
                    effect.headers.iter().cloned().map(|(name, value)| (name, json!(value))).collect(),
                );
            }
            json!({"allow": all})
        }
        Expectation::Deny => json!("deny"),
        Expectation::DenyFor(reason) => json!({"deny": reason}),
        Expectation::Status(status) => json!({"status": status}),
        Expectation::Would(reason) => json!({"would": reason}),
    }
}
