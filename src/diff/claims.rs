//! From what a token has to say to the claims that say it, in the spelling of its issuer.

use serde_json::{Value, json};

use crate::config::{FlowRule, Issuer};
use crate::policy::analysis::Wanted;
use crate::principal::{ClaimPath, Claims, Flow};
use crate::trial::Loaded;

/// The placeholder of `subject_is`.
const CLIENT: &str = "{client}";

/// The claims of a token that says what is wanted, as the issuer of the old side writes them, or of the new one if only that
/// has it. Nothing when two things would have to stand in one claim.
pub fn claims(old: &Loaded, new: &Loaded, wanted: &Wanted) -> Option<Claims> {
    let issuer = old.issuer(&wanted.issuer).or_else(|| new.issuer(&wanted.issuer))?.issuer();
    let mut claims = wanted.claims.clone();
    let sources = &issuer.claims;
    let list = |items: &Vec<String>| json!(items);
    let fields: [(&[ClaimPath], Option<Value>); 6] = [
        (&sources.subject, wanted.subject.as_ref().map(|text| json!(text))),
        (&sources.client, wanted.client.as_ref().map(|text| json!(text))),
        (&sources.scopes, Some(json!(wanted.scopes.join(" "))).filter(|_| !wanted.scopes.is_empty())),
        (&sources.permissions, wanted.permissions.as_ref().map(list)),
        (&sources.organizations, wanted.organizations.as_ref().map(list)),
        (&sources.global, wanted.global.map(Value::Bool)),
    ];
    for (sources, value) in fields {
        if let (Some(source), Some(value)) = (sources.first(), value) {
            put(&mut claims, source, value)?;
        }
    }
    if let Some(acr) = &wanted.acr {
        put(&mut claims, &ClaimPath::top("acr"), json!(acr))?;
    }
    if let Some(at) = wanted.authenticated_at {
        put(&mut claims, &ClaimPath::top("auth_time"), json!(at.0))?;
    }
    if let Some(rule) = &issuer.client_credentials_when {
        show(rule, wanted, &mut claims);
    }
    Some(claims)
}

/// Subjects that the flow is told by, `{client}` standing for the client.
pub(super) fn subject_forms(issuer: &Issuer) -> Vec<String> {
    fn forms(rule: &FlowRule) -> Vec<String> {
        match rule {
            FlowRule::SubjectIs(form) => vec![form.clone()],
            FlowRule::AnyOf(rules) => rules.iter().flat_map(forms).collect(),
            FlowRule::ClientEqualsSubject => vec![CLIENT.to_owned()],
            FlowRule::ClaimEquals(..) | FlowRule::ClaimExists(..) | FlowRule::Never => Vec::new(),
        }
    }
    issuer.client_credentials_when.as_ref().map_or_else(Vec::new, forms)
}

/// Sets claims by which the flow is told, as far as claims of their own tell it.
fn show(rule: &FlowRule, wanted: &Wanted, claims: &mut Claims) {
    match (rule, wanted.flow) {
        (FlowRule::ClaimEquals(path, value), Flow::ClientCredentials) => {
            let filled = match (value, &wanted.client) {
                (Value::String(text), Some(client)) => json!(text.replace(CLIENT, client)),
                _ => value.clone(),
            };
            let _ = put(claims, path, filled);
        }
        (FlowRule::ClaimEquals(path, _), Flow::Unknown) => {
            let _ = put(claims, path, json!([]));
        }
        (FlowRule::ClaimExists(path, exists), Flow::ClientCredentials | Flow::User)
            if *exists == (wanted.flow == Flow::ClientCredentials) =>
        {
            let _ = put(claims, path, json!("shown"));
        }
        (FlowRule::AnyOf(rules), Flow::User) => rules.iter().for_each(|rule| show(rule, wanted, claims)),
        (FlowRule::AnyOf(rules), Flow::ClientCredentials | Flow::Unknown) => {
            let telling = |rule: &&FlowRule| matches!(rule, FlowRule::ClaimEquals(..) | FlowRule::ClaimExists(..));
            if let Some(rule) = rules.iter().find(telling) {
                show(rule, wanted, claims);
            }
        }
        _ => {}
    }
}

/// Sets a claim; nothing when something else stands there.
fn put(claims: &mut Claims, path: &ClaimPath, value: Value) -> Option<()> {
    let (last, way) = path.0.split_last()?;
    let mut inner = claims;
    for key in way {
        inner = inner.entry(key.clone()).or_insert_with(|| Value::Object(Claims::new())).as_object_mut()?;
    }
    match inner.get(last) {
        Some(other) if *other != value => None,
        _ => {
            inner.insert(last.clone(), value);
            Some(())
        }
    }
}
