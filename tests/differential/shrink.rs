//! A smaller case for a person to read.

use serde_json::Value;

use super::engine::Gateway;
use super::reference::{Counts, Reader};
use super::world::{Answer, Request, Sender, World};

/// A configuration, and requests of which the last is answered in two ways.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) world: World,
    pub(crate) requests: Vec<(Request, Sender)>,
}

/// Removes whatever the two do not need to disagree.
pub(crate) fn smallest(mut case: Case) -> Case {
    while let Some(smaller) = case.smaller().into_iter().find(Case::differs) {
        case = smaller;
    }
    case
}

/// Both answers to the last request.
pub(crate) fn answers(world: &World, requests: &[(Request, Sender)]) -> Option<(Answer, Answer)> {
    let gateway = Gateway::start(world).ok()?;
    let (reader, mut counts) = (Reader::new(world), Counts::default());
    let both = |(request, sender): &(Request, Sender)| {
        (reader.answer(request, sender, &mut counts), gateway.answer(request, sender))
    };
    requests.iter().map(both).last()
}

impl Case {
    /// A document that the reference cannot read is no disagreement.
    fn differs(&self) -> bool {
        let answers = || answers(&self.world, &self.requests);
        !self.world.documents.is_empty() && answers().is_some_and(|(said, found)| said != found)
    }

    fn smaller(&self) -> Vec<Self> {
        let (last, before) = self.requests.split_last().unwrap();
        let with = |requests| Self { requests, ..self.clone() };
        let mut smaller: Vec<_> = (0..before.len())
            .map(|number| {
                let mut requests = self.requests.clone();
                requests.remove(number);
                with(requests)
            })
            .collect();
        smaller.extend(worlds(&self.world).into_iter().map(|world| Self { world, ..self.clone() }));
        let ended = |last| with(before.iter().cloned().chain([last]).collect());
        smaller.extend(requests(&last.0).into_iter().map(|request| ended((request, last.1.clone()))));
        smaller.extend(senders(&last.1).into_iter().map(|sender| ended((last.0.clone(), sender))));
        smaller
    }
}

fn worlds(world: &World) -> Vec<World> {
    let mut smaller = Vec::new();
    for number in 0..world.documents.len() {
        let mut without = world.clone();
        without.documents.remove(number);
        smaller.push(without);
        for document in pruned(&world.documents[number]) {
            let mut other = world.clone();
            other.documents[number] = document;
            smaller.push(other);
        }
    }
    for number in 0..world.upstreams.len() {
        let mut plain = world.clone();
        if plain.upstreams[number].1 != super::Quirks::default() {
            plain.upstreams[number].1 = super::Quirks::default();
            smaller.push(plain);
        }
    }
    smaller
}

/// The value without one of its parts, in every way.
fn pruned(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(map) => {
            let without = map.keys().map(|key| {
                let mut map = map.clone();
                map.remove(key);
                Value::Object(map)
            });
            let inside = map.iter().flat_map(|(key, value)| {
                pruned(value).into_iter().map(move |smaller| {
                    let mut map = map.clone();
                    map.insert(key.clone(), smaller);
                    Value::Object(map)
                })
            });
            without.chain(inside).collect()
        }
        Value::Array(items) => {
            let without = (0..items.len()).map(|at| {
                let mut items = items.clone();
                items.remove(at);
                Value::Array(items)
            });
            let inside = items.iter().enumerate().flat_map(|(at, item)| {
                pruned(item).into_iter().map(move |smaller| {
                    let mut items = items.clone();
                    items[at] = smaller;
                    Value::Array(items)
                })
            });
            without.chain(inside).collect()
        }
        _ => Vec::new(),
    }
}

fn requests(request: &Request) -> Vec<Request> {
    let mut smaller = Vec::new();
    for number in 0..request.headers.len() {
        let mut without = request.clone();
        without.headers.remove(number);
        smaller.push(without);
    }
    if let Some((path, query)) = request.target.split_once('?') {
        smaller.push(Request { target: path.to_owned(), ..request.clone() });
        let pieces: Vec<_> = query.split('&').collect();
        for number in 0..pieces.len() {
            let mut pieces = pieces.clone();
            pieces.remove(number);
            smaller.push(Request { target: format!("{path}?{}", pieces.join("&")), ..request.clone() });
        }
    }
    smaller.retain(|smaller| smaller.target != request.target || smaller.headers.len() < request.headers.len());
    smaller
}

fn senders(sender: &Sender) -> Vec<Sender> {
    let mut smaller = Vec::new();
    if sender.certificate.is_some() {
        smaller.push(Sender { certificate: None, ..sender.clone() });
    }
    if sender.address.is_some() {
        smaller.push(Sender { address: None, ..sender.clone() });
    }
    if sender.person.is_some() {
        smaller.push(Sender { person: None, ..sender.clone() });
    }
    if let Some(person) = &sender.person {
        for key in person.claims.keys() {
            let mut person = person.clone();
            person.claims.remove(key);
            smaller.push(Sender { person: Some(person), ..sender.clone() });
        }
    }
    smaller
}
