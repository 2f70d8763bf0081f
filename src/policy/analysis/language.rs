//! Texts that value types tell apart: types as automata, and shortest texts of every combination of fitting and not
//! fitting.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};

use crate::policy::value_type::ValueType;

/// States of a product that are looked at before the search gives up (policy.md, "Analysis").
const MOST_STATES: usize = 10_000;
/// Bytes of one automaton's table.
const MOST_BYTES: usize = 8 << 20;
/// Types that are told apart at once.
const MOST_TYPES: usize = 5;

/// Texts that people write, tried before any automaton is built.
const USUAL: [&str; 16] = [
    "a1",
    "b2",
    "c3",
    "d4",
    "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111",
    "0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02",
    "7d0c2f18-53ab-4c1d-9e0f-1b2a3c4d5e6f",
    "4711",
    "4712",
    "-5",
    "one-two",
    "two-one",
    "x_1",
    "y_2",
    "A b",
    "z.9",
];

/// What texts may consist of, the plainest first: what a segment of a path holds without a second thought, what it can
/// hold, and everything.
const ALPHABETS: [&str; 3] = [r"[\w.~-]+", r"[^\p{Cc}/]+", r"[^\p{Cc}]+"];

/// Texts found, and whether there was a search that did not come to its end.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Up to the number wanted of each combination, as far as there are any.
    pub(super) texts: Vec<String>,
    /// What could not be searched.
    pub(super) gap: Option<String>,
}

/// Texts of every combination of types that fit and types that do not, up to `wanted` of each, none of them among those to
/// avoid.
pub(super) fn texts(types: &[&ValueType], wanted: usize, avoid: [&BTreeSet<String>; 2]) -> Texts {
    let mut found = Texts::default();
    let mut cells: HashMap<Vec<bool>, usize> = HashMap::new();
    let usual = USUAL.iter().map(|text| (*text).to_owned());
    for text in usual.chain((1..=wanted).map(|number| format!("v{number}"))) {
        let cell: Vec<bool> = types.iter().map(|kind| kind.fits(&text)).collect();
        let count = cells.entry(cell).or_default();
        if *count < wanted && !avoid.iter().any(|avoided| avoided.contains(&text)) {
            *count += 1;
            found.texts.push(text);
        }
    }
    let few = types.len() <= MOST_TYPES;
    let signs = if few { 1_usize << types.len() } else { 0 };
    let cell = |signs: usize| -> Vec<bool> { (0..types.len()).map(|bit| signs >> bit & 1 == 1).collect() };
    let lacking: Vec<Vec<bool>> =
        (0..signs).map(cell).filter(|cell| cells.get(cell).is_none_or(|count| *count < wanted)).collect();
    if few && lacking.is_empty() {
        return found;
    }
    let automata = types.iter().map(|kind| automaton(&pattern(kind)?)).collect::<Option<Vec<_>>>();
    let (Some(automata), true) = (automata, few) else {
        found.gap = Some("a type of a value is too large for an automaton".to_owned());
        return found;
    };
    for cell in lacking {
        let known: BTreeSet<String> = avoid.into_iter().flatten().chain(&found.texts).cloned().collect();
        match search(&automata, &cell, wanted, &known) {
            Some(more) => found.texts.extend(more),
            None => found.gap = Some(format!("the types of a value make more than {MOST_STATES} states")),
        }
    }
    found
}

/// The expression of a type; nothing for a list, whose items are told apart instead.
fn pattern(kind: &ValueType) -> Option<String> {
    match kind {
        ValueType::Uuid => Some("[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}".to_owned()),
        ValueType::Int => Some("0|-?[1-9][0-9]{0,18}".to_owned()),
        ValueType::Alnum(_) => Some(r"[\p{L}\p{Nd}]+".to_owned()),
        ValueType::Slug => Some("[a-z0-9]+(?:-[a-z0-9]+)*".to_owned()),
        ValueType::Regex { written, .. } => Some(written.to_string()),
        ValueType::List { .. } => None,
    }
}

type Automaton = dense::DFA<Vec<u32>>;

fn automaton(pattern: &str) -> Option<Automaton> {
    let config = dense::Config::new()
        .start_kind(StartKind::Anchored)
        .match_kind(MatchKind::All)
        .dfa_size_limit(Some(MOST_BYTES))
        .determinize_size_limit(Some(MOST_BYTES));
    dense::Builder::new().configure(config).build(&format!(r"\A(?:{pattern})\z")).ok()
}

/// The shortest texts that fit exactly the types of the cell; `None` when there are too many states to say.
fn search(automata: &[Automaton], cell: &[bool], wanted: usize, known: &BTreeSet<String>) -> Option<Vec<String>> {
    for alphabet in ALPHABETS {
        let alphabet = automaton(alphabet)?;
        let all: Vec<&Automaton> = automata.iter().chain([&alphabet]).collect();
        let signs: Vec<bool> = cell.iter().copied().chain([true]).collect();
        let found = shortest(&all, &signs, wanted, known)?;
        if !found.is_empty() {
            return Some(found);
        }
    }
    Some(Vec::new())
}

/// Walks the product of automata by length. No state is of use more often than there are texts to be found, and known ones
/// that would be found in their place.
fn shortest(automata: &[&Automaton], signs: &[bool], wanted: usize, known: &BTreeSet<String>) -> Option<Vec<String>> {
    let anchored = start::Config::new().anchored(Anchored::Yes);
    let begin = automata.iter().map(|automaton| automaton.start_state(&anchored).ok()).collect::<Option<Vec<_>>>()?;
    let after = |states: &[StateID], byte: u8| -> Vec<StateID> {
        automata.iter().zip(states).map(|(automaton, state)| automaton.next_state(*state, byte)).collect()
    };
    let accepted = |states: &[StateID]| {
        automata
            .iter()
            .zip(states)
            .zip(signs)
            .all(|((automaton, state), sign)| automaton.is_match_state(automaton.next_eoi_state(*state)) == *sign)
    };
    let end = |text: &str| text.bytes().fold(begin.clone(), |states, byte| after(&states, byte));
    let often = wanted + known.iter().filter(|text| accepted(&end(text))).count();
    let mut open = BinaryHeap::from([Reverse((0_usize, Vec::<u8>::new(), begin.clone()))]);
    let mut visits: HashMap<Vec<StateID>, usize> = HashMap::new();
    let mut found = Vec::new();
    while let Some(Reverse((length, text, states))) = open.pop() {
        let visited = visits.entry(states.clone()).or_default();
        if *visited >= often {
            continue;
        }
        *visited += 1;
        if visits.len() > MOST_STATES {
            return None;
        }
        if accepted(&states)
            && let Some(text) = String::from_utf8(text.clone()).ok().filter(|text| !known.contains(text))
        {
            found.push(text);
            if found.len() >= wanted {
                return Some(found);
            }
        }
        let mut reached: HashMap<Vec<StateID>, usize> = HashMap::new();
        for byte in 0..=255_u8 {
            let next = after(&states, byte);
            let lost = automata
                .iter()
                .zip(&next)
                .zip(signs)
                .any(|((automaton, state), sign)| *sign && automaton.is_dead_state(*state));
            let times = reached.entry(next.clone()).or_default();
            if !lost && *times < often {
                *times += 1;
                let mut longer = text.clone();
                longer.push(byte);
                open.push(Reverse((length + 1, longer, next)));
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests;
