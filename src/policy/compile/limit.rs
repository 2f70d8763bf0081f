//! `limit`: from what is written to a limit.

use std::sync::Arc;

use crate::diagnostic::{Place, Source};
use crate::document::{Mapping, Node};
use crate::policy::limit::{Limit, Per, Rate};

use super::report::{Report, at};

/// The limits of one document.
pub(super) struct Limits<'c> {
    /// The document.
    pub(super) source: &'c Arc<Source>,
    /// Its name.
    pub(super) policy: &'c str,
    /// What it says.
    pub(super) map: &'c Mapping,
    /// What is wrong.
    pub(super) report: &'c mut Report,
}

impl Limits<'_> {
    /// The limit of a route: one of its own that takes from the document's what it does not say, else the document's,
    /// which counts all such routes together.
    pub(super) fn of(self, route: &Mapping, name: &str) -> Option<(Limit, Place)> {
        let defaults = self.map.entry("limit");
        let own = route.entry("limit");
        let written = own.or(defaults)?;
        let node = |key: &str| -> Option<&Node> {
            let mut maps = [own, defaults].into_iter().flatten().filter_map(|entry| entry.value.map());
            maps.find_map(|map| map.get(key))
        };
        let Some(rate) = node("rate") else {
            let help = "add `rate`, such as `100/s`, `60/m` or `5/h`";
            self.report.wrong(at(self.source, written.key.span), "a limit without a rate", help);
            return None;
        };
        let rate = Rate::parse(rate.text()?).ok()?;
        let limit = Limit {
            policy: self.policy.into(),
            route: own.map(|_| name.into()),
            rate,
            burst: node("burst").and_then(Node::number).unwrap_or(rate.requests),
            per: match node("per").and_then(Node::text) {
                Some("subject") => Per::Subject,
                Some("issuer") => Per::Issuer,
                Some("address") => Per::Address,
                _ => Per::Client,
            },
        };
        Some((limit, at(self.source, written.key.span)))
    }
}
