//! Conditions that tokens of accepted issuers can never fulfil, as the issuers are configured (policy.md, "Analysis"). Only
//! what is certain is reported: a claim that no source names, a flow that no rule tells.

use crate::policy::condition::{Condition, Test};
use crate::policy::evaluate::Stance;
use crate::policy::narrow::{Narrowing, Owned};
use crate::policy::surroundings::{Ability, IssuerFacts};
use crate::principal::{Flow, IssuerSet};

use super::report::Report;

/// Reports the conditions of a route that no accepted issuer's tokens fulfil, and warns of those that only some do.
pub(super) fn check(conditions: &[Condition], accepted: &IssuerSet, issuers: &[IssuerFacts], report: &mut Report) {
    let asked = |issuer: &&IssuerFacts| {
        let mut others = conditions.iter().filter(|condition| matches!(condition.test, Test::Issuer(..)));
        accepted.contains(issuer.id) && others.all(|condition| outcomes(condition, issuer, Stance::Plain).yes)
    };
    let asked: Vec<&IssuerFacts> = issuers.iter().filter(asked).collect();
    for condition in conditions {
        // What fails for another reason than a key that is not written, such as `not: {issuer: ..}`, is not told here.
        let lacking = |issuer: &&IssuerFacts| {
            let fulfils = outcomes(condition, issuer, Stance::Plain).yes;
            if fulfils {
                None
            } else {
                key(condition, issuer, Stance::Plain).map(|key| (format!("`{}`", issuer.name), key))
            }
        };
        let unable: Vec<(String, &str)> = asked.iter().filter_map(lacking).collect();
        let Some((_, key)) = unable.first() else { continue };
        let names: Vec<&str> = unable.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(", ");
        let test = &condition.test;
        if unable.len() == asked.len() {
            let message = format!("no token of issuer {names} can tell `{test}`: every request is refused");
            let help = format!("say `{key}` under the issuer in torwart.yaml, or remove the condition");
            report.wrong(condition.place.clone(), message, help);
        } else {
            let message = format!("tokens of issuer {names} can never tell `{test}`, so they are always refused");
            let help = format!("say `{key}` under the issuer in torwart.yaml, or leave it out of `issuers` here");
            report.warning(condition.place.clone(), message, help);
        }
    }
}

/// What can become of a condition. Neither: it is always unknown.
#[derive(Debug, Clone, Copy)]
struct Outcomes {
    yes: bool,
    no: bool,
}

impl Outcomes {
    const BOTH: Self = Self { yes: true, no: true };
    const NEITHER: Self = Self { yes: false, no: false };

    fn only(truth: bool) -> Self {
        Self { yes: truth, no: !truth }
    }

    fn if_told(told: bool) -> Self {
        if told { Self::BOTH } else { Self::NEITHER }
    }
}

/// What can become of a condition for tokens of an issuer.
fn outcomes(condition: &Condition, issuer: &IssuerFacts, stance: Stance) -> Outcomes {
    let Ability { permissions, organizations, global, flow, client_credentials } = issuer.ability;
    if condition.lift.is_some() && client_credentials {
        return Outcomes::BOTH;
    }
    // What is missing counts as none, but under `not` as unknown.
    let missing = |truth| if stance == Stance::Plain { Outcomes::only(truth) } else { Outcomes::NEITHER };
    let of = |part: &Condition| outcomes(part, issuer, stance);
    match &condition.test {
        Test::Permission(_) => Outcomes::if_told(permissions),
        Test::Organization(_) if organizations || global => Outcomes::BOTH,
        Test::Organization(_) => missing(false),
        Test::Global(_) if global => Outcomes::BOTH,
        Test::Global(wanted) => missing(!wanted),
        Test::Flow(_) if !flow => Outcomes::NEITHER,
        Test::Flow(wanted) if !client_credentials => Outcomes::only(*wanted == Flow::User),
        Test::Issuer(issuers, _) => Outcomes::only(issuers.contains(issuer.id)),
        Test::Narrow(narrowing) => match narrowing.to {
            Owned::Organizations => Outcomes::if_told(organizations || global),
            Owned::Permissions => Outcomes::if_told(permissions),
            Owned::Subject | Owned::Client => Outcomes::BOTH,
        },
        Test::AllOf(parts) => {
            Outcomes { yes: parts.iter().all(|part| of(part).yes), no: parts.iter().any(|part| of(part).no) }
        }
        Test::AnyOf(parts) => {
            Outcomes { yes: parts.iter().any(|part| of(part).yes), no: parts.iter().all(|part| of(part).no) }
        }
        Test::Not(part) => {
            let Outcomes { yes, no } = outcomes(part, issuer, Stance::Negated);
            Outcomes { yes: no, no: yes }
        }
        Test::Flow(_)
        | Test::Scope(_)
        | Test::Subject(_)
        | Test::Client(_)
        | Test::Claim(..)
        | Test::Acr(_)
        | Test::MaxAge(_)
        | Test::Network(_)
        | Test::Certificate(..)
        | Test::Request(..) => Outcomes::BOTH,
    }
}

/// The key of `torwart.yaml` that would let an issuer's tokens tell what a condition asks.
fn key(condition: &Condition, issuer: &IssuerFacts, stance: Stance) -> Option<&'static str> {
    match &condition.test {
        Test::Narrow(Narrowing { to: Owned::Permissions, .. }) | Test::Permission(_) => Some("claims.permissions"),
        Test::Narrow(_) | Test::Organization(_) => Some("claims.organizations"),
        Test::Global(_) => Some("claims.global"),
        Test::Flow(_) => Some("client_credentials_when"),
        Test::AllOf(parts) | Test::AnyOf(parts) => {
            let mut unable = parts.iter().filter(|part| !outcomes(part, issuer, stance).yes);
            unable.find_map(|part| key(part, issuer, stance))
        }
        Test::Not(part) => key(part, issuer, Stance::Negated),
        Test::Scope(_)
        | Test::Subject(_)
        | Test::Client(_)
        | Test::Issuer(..)
        | Test::Claim(..)
        | Test::Acr(_)
        | Test::MaxAge(_)
        | Test::Network(_)
        | Test::Certificate(..)
        | Test::Request(..) => None,
    }
}
