//! policy.md, "Limits and cross-origin": how many requests may pass, counted one by one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};

use super::super::fold_letter;
use super::super::world::{Exceeded, ISSUERS, Person, Sender};

const SECOND: u64 = 1_000_000_000;

/// `limit` of a route.
pub(crate) struct Limit {
    /// The policy, and the route where it has its own: "a document's `limit` is one counter for all its routes".
    counter: Counter,
    /// Nanoseconds in which one request is earned back.
    cost: u64,
    burst: u64,
    per: String,
}

/// Name of a policy, and of a route of it.
type Counter = (String, Option<String>);

/// What was counted so far: what is left of each sender's requests in nanoseconds, and since when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(BTreeMap<(Counter, String), (u64, u64)>);

impl Limit {
    /// "`forward`, `limit`: replace the document's key by key".
    pub(crate) fn of(document: &Value, route: &Value, name: &str) -> Option<Self> {
        let mut limit: Map<String, Value> = document["limit"].as_object().cloned().unwrap_or_default();
        let own = route["limit"].as_object();
        limit.extend(own.cloned().unwrap_or_default());
        let (requests, unit) = limit.get("rate")?.as_str()?.split_once('/')?;
        let period = match unit {
            "s" => SECOND,
            "m" => 60 * SECOND,
            _ => 3600 * SECOND,
        };
        let requests: u64 = requests.parse().unwrap();
        Some(Self {
            counter: (document["policy"].as_str().unwrap().to_owned(), own.map(|_| name.to_owned())),
            cost: period / requests,
            burst: limit.get("burst").map_or(requests, |burst| burst.as_u64().unwrap()),
            per: limit.get("per").map_or("client", |per| per.as_str().unwrap()).to_owned(),
        })
    }

    /// "`address` before authentication".
    pub(crate) fn comes_first(&self) -> bool {
        self.per == "address"
    }

    /// "`client` | `subject` | `issuer` after the decision, an absent one falls back to the address".
    fn key(&self, person: Option<&Person>, sender: &Sender) -> String {
        let named = |person: &Person| {
            let issuer = ISSUERS[person.issuer];
            let name = match self.per.as_str() {
                "client" => person.client.clone()?,
                "subject" => person.subject.clone()?,
                "issuer" => String::new(),
                _ => return None,
            };
            let name: String = if issuer.folds { name.chars().map(fold_letter).collect() } else { name };
            Some(format!("{} {name}", issuer.name))
        };
        person.and_then(named).unwrap_or_else(|| match sender.address.map(|address| address.to_canonical()) {
            None => "unknown".to_owned(),
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => format!("{:?}", &address.segments()[..4]),
        })
    }
}

impl Counts {
    /// Counts a request, or says that it is too much, which is not counted.
    pub(crate) fn take(
        &mut self,
        limit: &Limit,
        person: Option<&Person>,
        (sender, at): (&Sender, u64),
    ) -> Option<Exceeded> {
        let all = limit.burst * limit.cost;
        let key = (limit.counter.clone(), limit.key(person, sender));
        let (left, since) = self.0.get(&key).copied().unwrap_or((all, at));
        let left = left.saturating_add(at - since).min(all);
        if left < limit.cost {
            return Some(Exceeded {
                per: limit.per.clone(),
                quota: limit.burst,
                window: all.div_ceil(SECOND),
                retry_after: (limit.cost - left).div_ceil(SECOND),
            });
        }
        self.0.insert(key, (left - limit.cost, at));
        None
    }
}
