//! A smaller case for a person to read.

use serde_json::Value;

use super::engine;
use super::reference::Reader;
use super::world::{Request, Sender, World};

/// Removes whatever the two do not need to disagree.
pub(crate) fn smallest(mut world: World, mut request: Request, mut sender: Sender) -> (World, Request, Sender) {
    loop {
        let smaller = worlds(&world).into_iter().find(|smaller| differ(smaller, &request, &sender));
        if let Some(smaller) = smaller {
            world = smaller;
            continue;
        }
        let smaller = requests(&request).into_iter().find(|smaller| differ(&world, smaller, &sender));
        if let Some(smaller) = smaller {
            request = smaller;
            continue;
        }
        let Some(smaller) = senders(&sender).into_iter().find(|smaller| differ(&world, &request, smaller)) else {
            return (world, request, sender);
        };
        sender = smaller;
    }
}

/// A refusal of the reference's own, where a document has become one that it cannot read, is no disagreement.
fn differ(world: &World, request: &Request, sender: &Sender) -> bool {
    if world.documents.is_empty() {
        return false;
    }
    let Ok(policies) = engine::compile(world) else { return false };
    Reader::new(world).answer(request, sender) != engine::answer(&policies, world, request, sender)
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
