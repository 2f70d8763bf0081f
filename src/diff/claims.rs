//! From what a token has to say to the claims that say it, in the spelling of its issuer.

use serde_json::{Value, json};

use crate::authn::flow::{Named, filled};
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
    Shown { issuer, wanted, claims: &mut claims }.flow();
    Some(claims)
}

/// Subjects that the flow is told by, `{client}` standing for the client.
pub(super) fn subject_forms(issuer: &Issuer) -> Vec<String> {
    fn forms(rule: &FlowRule) -> Vec<String> {
        match rule {
            FlowRule::SubjectIs(form) => vec![form.clone()],
            FlowRule::AnyOf(rules) | FlowRule::AllOf(rules) => rules.iter().flat_map(forms).collect(),
            FlowRule::ClientEqualsSubject => vec![CLIENT.to_owned()],
            FlowRule::ClaimEquals(..) | FlowRule::ClaimExists(..) | FlowRule::Never => Vec::new(),
        }
    }
    issuer.client_credentials_when.as_ref().map_or_else(Vec::new, forms)
}

/// Claims by which the flow is told, as far as claims of their own tell it.
struct Shown<'s> {
    issuer: &'s Issuer,
    wanted: &'s Wanted,
    claims: &'s mut Claims,
}

impl Shown<'_> {
    /// Sets what the rules of the issuer ask for.
    fn flow(&mut self) {
        let issuer = self.issuer;
        let Some(client) = &issuer.client_credentials_when else { return };
        let user = issuer.user_when.as_ref();
        match (self.wanted.flow, user) {
            (Flow::Unknown, None) => self.obscure(client),
            (flow, _) => {
                self.decide(client, flow == Flow::ClientCredentials);
                if let Some(user) = user {
                    self.decide(user, flow == Flow::User);
                }
            }
        }
    }

    /// Makes a rule hold, or not. What is absent stays so where that does it.
    fn decide(&mut self, rule: &FlowRule, holds: bool) {
        match rule {
            FlowRule::ClaimEquals(path, value) if holds => {
                let named = Named { client: self.wanted.client.as_deref(), subject: self.wanted.subject.as_deref() };
                let value = match value {
                    Value::String(text) => filled(text, named).map(Value::String),
                    other => Some(other.clone()),
                };
                let _ = value.and_then(|value| put(self.claims, path, value));
            }
            FlowRule::ClaimExists(path, exists) if *exists == holds && path.find(self.claims).is_none() => {
                let _ = put(self.claims, path, json!("shown"));
            }
            FlowRule::AnyOf(rules) if holds => self.decide_one(rules, holds),
            FlowRule::AllOf(rules) if !holds => self.decide_one(rules, holds),
            FlowRule::AnyOf(rules) | FlowRule::AllOf(rules) => rules.iter().for_each(|rule| self.decide(rule, holds)),
            FlowRule::ClaimEquals(..)
            | FlowRule::ClaimExists(..)
            | FlowRule::ClientEqualsSubject
            | FlowRule::SubjectIs(_)
            | FlowRule::Never => {}
        }
    }

    /// Of several rules the first that claims of its own tell.
    fn decide_one(&mut self, rules: &[FlowRule], holds: bool) {
        if let Some(rule) = rules.iter().find(|rule| tells(rule)) {
            self.decide(rule, holds);
        }
    }

    /// Makes a rule unknown: a value of no type that it compares with.
    fn obscure(&mut self, rule: &FlowRule) {
        match rule {
            FlowRule::ClaimEquals(path, _) => {
                let _ = put(self.claims, path, json!([]));
            }
            FlowRule::AnyOf(rules) | FlowRule::AllOf(rules) => {
                if let Some(rule) = rules.iter().find(|rule| tells(rule)) {
                    self.obscure(rule);
                }
            }
            FlowRule::ClaimExists(..) | FlowRule::ClientEqualsSubject | FlowRule::SubjectIs(_) | FlowRule::Never => {}
        }
    }
}

/// Whether a rule asks about claims of its own, at any depth.
fn tells(rule: &FlowRule) -> bool {
    match rule {
        FlowRule::ClaimEquals(..) | FlowRule::ClaimExists(..) => true,
        FlowRule::AnyOf(rules) | FlowRule::AllOf(rules) => rules.iter().any(tells),
        FlowRule::ClientEqualsSubject | FlowRule::SubjectIs(_) | FlowRule::Never => false,
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
