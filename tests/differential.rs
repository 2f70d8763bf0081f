//! The language twice: as the engine compiles it, and as policy.md and http.md tell it, evaluated slowly over the documents
//! as they are written. Random configurations, requests and senders have to come to the same answer: status, reason, route,
//! upstream, path and query, headers, and what was lifted for whom.
//!
//! The usual run tries a few thousand. `TORWART_TRIPLES=100000 cargo test --test differential` tries as many as it says,
//! and `TORWART_SEED` begins elsewhere.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a test that cannot go on fails"
)]

#[path = "differential/conditions.rs"]
mod conditions;
#[path = "differential/dice.rs"]
mod dice;
#[path = "differential/engine.rs"]
mod engine;
#[path = "differential/generate.rs"]
mod generate;
#[path = "differential/narrow.rs"]
mod narrow;
#[path = "differential/paths.rs"]
mod paths;
#[path = "differential/reference.rs"]
mod reference;
#[path = "differential/servers.rs"]
mod servers;
#[path = "differential/shrink.rs"]
mod shrink;
#[path = "differential/values.rs"]
mod values;
#[path = "differential/world.rs"]
mod world;

use std::collections::BTreeMap;

use torwart::target::PathRules;
use torwart::target::fold::fold_letter;
use torwart::target::quirks::{Charset, EmptySegments, FormParameters, MethodOverride, Quirks, Reading, ReadingKind};

use dice::Dice;
use reference::Reader;
use world::{Answer, Request, Sender, World};

/// Requests of each configuration.
const REQUESTS: usize = 20;

/// How many triples are tried where nobody says.
const USUAL: usize = 4_000;

#[test]
fn the_engine_answers_as_the_language_says() {
    let triples = number("TORWART_TRIPLES").unwrap_or(USUAL);
    let first = number("TORWART_SEED").unwrap_or(0);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for seed in first..first + triples.div_ceil(REQUESTS) {
        let mut dice = Dice::new(u64::try_from(seed).unwrap());
        let world = generate::world(&mut dice);
        let policies = engine::compile(&world).unwrap_or_else(|problems| panic!("seed {seed}: {problems}"));
        let reader = Reader::new(&world);
        for _ in 0..REQUESTS {
            let (request, sender) = generate::question(&mut dice, &world);
            let expected = reader.answer(&request, &sender);
            let found = engine::answer(&policies, &world, &request, &sender);
            if expected != found {
                disagree(seed, world.clone(), request, sender);
            }
            *seen.entry(class(&expected)).or_default() += 1;
        }
    }
    // The property would hold of an engine that refuses everything, and so it counts what occurs.
    println!("{triples} triples: {seen:#?}");
    for class in EVERYTHING {
        assert!(seen.get(class).copied().unwrap_or_default() >= triples / 2000, "`{class}` is missing in {seen:#?}");
    }
    assert!(seen["allow"] > triples / 10, "{seen:#?}");
}

/// Every answer that has to occur.
const EVERYTHING: [&str; 29] = [
    "allow",
    "allow lifted",
    "issuer",
    "certificate",
    "network",
    "flow",
    "client",
    "authentication",
    "scope",
    "permission",
    "global",
    "organization",
    "narrow",
    "subject",
    "claim",
    "request",
    "any_of",
    "not",
    "forward",
    "identity-too-large",
    "token",
    "ambiguous-path",
    "ambiguous-parameter",
    "ambiguous-header",
    "value-type",
    "no-route",
    "method",
    "target",
    "observed",
];

fn class(answer: &Answer) -> String {
    match answer {
        Answer::Refused(refusal) => refusal.reason.clone(),
        Answer::Forwarded(sent) if sent.would.is_some() => "observed".to_owned(),
        Answer::Forwarded(sent) if !sent.lifted.is_empty() => "allow lifted".to_owned(),
        Answer::Forwarded(_) => "allow".to_owned(),
    }
}

/// Makes the case smaller while the two still disagree, and shows it.
fn disagree(seed: usize, world: World, request: Request, sender: Sender) -> ! {
    let (world, request, sender) = shrink::smallest(world, request, sender);
    let policies = engine::compile(&world).unwrap();
    let documents: Vec<_> = world.documents.iter().map(|one| serde_json::to_string_pretty(one).unwrap()).collect();
    panic!(
        "seed {seed}\n{}\n{:#?}\nmax_bytes {}\n{request:#?}\n{sender:#?}\nthe language says {:#?}\nthe engine says {:#?}",
        documents.join("\n"),
        world.upstreams,
        world.max_bytes,
        Reader::new(&world).answer(&request, &sender),
        engine::answer(&policies, &world, &request, &sender),
    );
}

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("`{variable}` is no number")))
}
