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
#[path = "differential/tally.rs"]
mod tally;
#[path = "differential/values.rs"]
mod values;
#[path = "differential/world.rs"]
mod world;

use torwart::target::PathRules;
use torwart::target::fold::fold_letter;
use torwart::target::quirks::{Charset, EmptySegments, FormParameters, MethodOverride, Quirks, Reading, ReadingKind};

use dice::Dice;
use engine::Gateway;
use reference::{Counts, Reader};
use shrink::Case;
use tally::Tally;
use world::{Request, Sender, World};

/// Requests of each configuration.
const REQUESTS: usize = 12;

/// How many triples are tried where nobody says.
const USUAL: usize = 5_000;

#[test]
fn the_engine_answers_as_the_language_says() {
    let triples = number("TORWART_TRIPLES").unwrap_or(USUAL);
    let first = number("TORWART_SEED").unwrap_or(0);
    let mut tally = Tally::default();
    for seed in first..first + triples.div_ceil(REQUESTS) {
        let mut dice = Dice::new(u64::try_from(seed).unwrap());
        let world = generate::world(&mut dice);
        let gateway = Gateway::start(&world).unwrap_or_else(|problems| panic!("seed {seed}: {problems}"));
        let (reader, mut counts) = (Reader::new(&world), Counts::default());
        let mut before: Vec<(Request, Sender)> = Vec::new();
        for _ in 0..REQUESTS {
            let (request, sender) = generate::question(&mut dice, &world, before.last());
            let expected = reader.answer(&request, &sender, &mut counts);
            let found = gateway.answer(&request, &sender);
            tally.add(&world, &request, &expected);
            before.push((request, sender));
            if expected != found {
                disagree(seed, &world, &before);
            }
        }
    }
    println!("{triples} triples: {tally:#?}");
    assert_eq!(tally.rare(triples), [""; 0], "too rare for {triples} triples");
}

/// Makes the case smaller while the two still disagree, and shows it.
fn disagree(seed: usize, world: &World, before: &[(Request, Sender)]) -> ! {
    let Case { world, requests } = shrink::smallest(Case { world: world.clone(), requests: before.to_vec() });
    let (said, found) = shrink::answers(&world, &requests).unwrap();
    let mut case = String::new();
    for document in &world.documents {
        case += &format!("{}\n", serde_json::to_string_pretty(document).unwrap());
    }
    for (name, quirks) in world.upstreams.iter().filter(|(_, quirks)| *quirks != Quirks::default()) {
        case += &format!("{name}: {quirks:?}\n");
    }
    case += &format!("{:?}, max_bytes {}, inspected_body {}\n", world.encoding, world.max_bytes, world.inspected_body);
    for (request, sender) in &requests {
        case += &format!("{request}\n{sender:?}\n");
    }
    panic!("seed {seed}\n{case}the language says {said:#?}\nthe engine says {found:#?}");
}

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("`{variable}` is no number")))
}
