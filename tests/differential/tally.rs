//! What the triples reached. The property would hold of an engine that refuses everything, and of triples that all are alike.

use std::collections::BTreeMap;

use torwart::policy::Encoding;

use super::world::{Answer, Outcome, Request, World};

/// How often each kind of answer was given.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<String, usize>);

/// Every kind that has to occur, with how often it does at least among 10 000 triples.
const LEAST: [(&str, usize); 73] = [
    ("allow", 195),
    ("allow lifted", 35),
    // Reasons of conditions.
    ("issuer", 10),
    ("certificate", 20),
    ("network", 15),
    ("flow", 25),
    ("client", 8),
    ("authentication", 10),
    ("scope", 25),
    ("permission", 10),
    ("global", 6),
    ("organization", 10),
    ("narrow", 25),
    ("subject", 25),
    ("claim", 15),
    ("request", 15),
    ("any_of", 30),
    ("not", 30),
    // What comes before and after conditions.
    ("token", 140),
    ("host", 35),
    ("target", 65),
    ("no-route", 195),
    ("method", 95),
    ("method-override", 30),
    ("method-refused", 10),
    ("ambiguous-path", 20),
    ("ambiguous-parameter", 15),
    ("ambiguous-header", 3),
    ("value-type", 30),
    ("forward", 15),
    ("identity-too-large", 15),
    // Bodies.
    ("unreadable-body", 20),
    ("body", 15),
    ("body-too-large", 8),
    ("overloaded", 1),
    ("json read: allowed", 8),
    ("json read: forbidden", 8),
    ("json read: 400 body", 3),
    ("json read: 400 value-type", 3),
    ("form read: allowed", 8),
    ("form read: forbidden", 8),
    ("form read: 400 ambiguous-parameter", 5),
    ("form read: 400 value-type", 2),
    ("form read: 400 body", 2),
    ("xml read: allowed", 4),
    ("xml read: forbidden", 4),
    ("xml read: 400 body", 10),
    ("xml read: 400 value-type", 1),
    ("allowed with JSON in a parameter", 7),
    // Limits.
    ("limit per client", 8),
    ("limit per subject", 2),
    ("limit per issuer", 2),
    ("limit per address", 10),
    // Pages of other origins.
    ("preflight granted", 10),
    ("preflight refused", 15),
    ("preflight passed on", 7),
    ("granted to a page", 30),
    ("granted with credentials", 5),
    ("nothing granted to a page", 55),
    // What is sent.
    ("sent in percent", 95),
    ("sent in base64", 45),
    ("sent in latin1", 1),
    ("sent with basic authentication", 6),
    ("sent with narrowed parameters", 10),
    // What would have been refused.
    ("observed", 170),
    ("observed 400", 20),
    ("observed 401", 25),
    ("observed 403", 70),
    ("observed 404", 20),
    ("observed 405", 15),
    ("observed 413", 1),
    ("observed 415", 4),
    ("observed 429", 5),
];

impl Tally {
    /// Counts the kinds that an answer is of.
    pub(crate) fn add(&mut self, world: &World, request: &Request, answer: &Answer) {
        for kind in kinds(world, request, answer) {
            *self.0.entry(kind).or_default() += 1;
        }
    }

    /// Kinds that are rarer than they have to be.
    pub(crate) fn rare(&self, triples: usize) -> Vec<&'static str> {
        let of = |kind: &str| self.0.get(kind).copied().unwrap_or_default();
        let rare =
            |(kind, least): &(&'static str, usize)| (of(kind) < (least * triples / 10_000).max(1)).then_some(*kind);
        LEAST.iter().filter_map(rare).collect()
    }
}

fn kinds(world: &World, request: &Request, answer: &Answer) -> Vec<String> {
    let mut kinds = Vec::new();
    let read = |what: &str| {
        let line = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"))?;
        let line = String::from_utf8_lossy(&line.1).to_lowercase();
        let media = ["json", "form", "xml"].into_iter().find(|media| line.contains(media))?;
        answer.reads.then(|| format!("{media} read: {what}"))
    };
    match &answer.outcome {
        Outcome::Refused(refusal) => {
            match refusal.status {
                403 => kinds.extend(read("forbidden")),
                status => kinds.extend(read(&format!("{status} {}", refusal.reason))),
            }
            kinds.push(match &refusal.exceeded {
                Some(exceeded) => format!("limit per {}", exceeded.per),
                None => refusal.reason.clone(),
            });
        }
        Outcome::Preflight(fields) => {
            kinds.push(if fields.is_empty() { "preflight refused" } else { "preflight granted" }.to_owned());
        }
        Outcome::Forwarded(sent) => match &sent.would {
            Some(would) => kinds.extend(["observed".to_owned(), format!("observed {}", would.status)]),
            None if sent.removes.iter().any(|name| name == "cookie") => kinds.push("preflight passed on".to_owned()),
            None => {
                kinds.push("allow".to_owned());
                kinds.extend(read("allowed"));
                kinds.extend((!sent.lifted.is_empty()).then(|| "allow lifted".to_owned()));
                let has = |name: &str| sent.headers.iter().any(|(own, _)| own == name);
                let values = || sent.headers.iter().flat_map(|(_, value)| value.chars());
                kinds.push(match world.encoding {
                    Encoding::Percent => "sent in percent".to_owned(),
                    Encoding::Latin1 if values().any(|letter| !letter.is_ascii()) => "sent in latin1".to_owned(),
                    Encoding::Latin1 => "sent in ASCII".to_owned(),
                    Encoding::Base64 => "sent in base64".to_owned(),
                });
                kinds.extend(has("authorization").then(|| "sent with basic authentication".to_owned()));
                let route = route(world, &sent.policy, sent.route.as_deref());
                kinds.extend(route.contains("#/").then(|| "allowed with JSON in a parameter".to_owned()));
                let grown = route.contains("\"narrow\"") && sent.target.len() > request.target.len();
                kinds.extend(grown.then(|| "sent with narrowed parameters".to_owned()));
            }
        },
    }
    if let Some(fields) = &answer.grant {
        kinds.push(if fields.is_empty() { "nothing granted to a page" } else { "granted to a page" }.to_owned());
        kinds.extend((fields.len() > 1).then(|| "granted with credentials".to_owned()));
    }
    kinds
}

/// The text of a route.
fn route(world: &World, policy: &str, name: Option<&str>) -> String {
    let document = world.documents.iter().find(|document| document["policy"] == policy).unwrap();
    let mut routes = document["routes"].as_array().unwrap().iter();
    routes.find(|route| route["name"].as_str() == name).map(ToString::to_string).unwrap_or_default()
}
