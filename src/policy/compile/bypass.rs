//! `client_credentials`: what applies to tokens that stand for a client (policy.md, "Bypass for client credentials").

use std::sync::Arc;

use crate::diagnostic::{Place, Source};
use crate::document::Node;
use crate::policy::condition::Lift;
use crate::policy::decision::Reason;
use crate::policy::surroundings::IssuerFacts;
use crate::principal::IssuerSet;

use super::report::{Report, at};

/// What a route says about client-credentials tokens.
#[derive(Debug, Clone)]
pub(super) enum ClientCredentials {
    /// Conditions apply as to any token.
    Enforce,
    /// Refused, and so is a token whose flow is unknown.
    Deny(Place),
    /// Some conditions are not asked.
    Bypass(Bypass),
}

/// Conditions that are lifted.
#[derive(Debug, Clone)]
pub(super) struct Bypass {
    /// For whom.
    pub(super) lift: Lift,
    /// The kinds that `lift` names; without it, the binding conditions.
    pub(super) kinds: Option<Vec<Reason>>,
    /// Where it is written.
    pub(super) place: Place,
}

impl ClientCredentials {
    /// Reads the key; its shape was checked.
    pub(super) fn read(node: &Node, source: &Arc<Source>, report: &mut Report) -> Self {
        let place = at(source, node.head());
        match node.text() {
            Some("deny") => return Self::Deny(place),
            Some("bypass") => return Self::Bypass(Bypass { lift: Lift::Every, kinds: None, place }),
            Some(_) => return Self::Enforce,
            None => {}
        }
        let Some(map) = node.map() else { return Self::Enforce };
        let clients = map.list("bypass").iter().filter_map(Node::text).map(Into::into).collect();
        let kinds = map.get("lift").map(|lift| lift.list().iter().filter_map(|kind| kind_of(kind.text()?)).collect());
        for kind in map.list("lift").iter().filter(|kind| kind.text() == Some("organization")) {
            let message = "these clients may touch every organisation through this gateway";
            let help = "better: let the issuer say `global: true` for them";
            report.warning(at(source, kind.span), message, help);
        }
        Self::Bypass(Bypass { lift: Lift::Clients(clients), kinds, place })
    }

    /// Reports accepted issuers whose tokens never tell client credentials from users: a bypass would rest on nothing.
    pub(super) fn check(&self, accepted: &IssuerSet, issuers: &[IssuerFacts], report: &mut Report) {
        let Self::Bypass(bypass) = self else { return };
        for issuer in issuers.iter().filter(|issuer| accepted.contains(issuer.id) && !issuer.ability.client_credentials)
        {
            let message = format!("nothing shows which tokens of issuer `{}` are client credentials", issuer.name);
            let help = format!(
                "say `client_credentials_when` (other than `never`) under issuer `{}` in torwart.yaml, or name other `issuers` here",
                issuer.name
            );
            report.wrong(bypass.place.clone(), message, help);
        }
    }
}

fn kind_of(word: &str) -> Option<Reason> {
    match word {
        "subject" => Some(Reason::Subject),
        "claim" => Some(Reason::Claim),
        "permission" => Some(Reason::Permission),
        "organization" => Some(Reason::Organization),
        _ => None,
    }
}
